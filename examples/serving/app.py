"""A small HTTP service: posted rows in, codes out, from one model in one process with one thread.

    pip install -r examples/serving/requirements.txt
    python examples/serving/app.py digits.safetensors --port 8000
    curl -s localhost:8000/health
    curl -s localhost:8000/codes -H "content-type: application/json" -d '{"rows": [[0, 0.5]]}'  # 2 columns

The file is one of ``skswae.save_model``, or one of ``skswae.export_onnx`` (named ``*.onnx``), for which
onnxruntime is enough: no skswae, scikit-learn or torch. Rows are in the units of the training rows, and are
computed in float32.

``POST /codes`` takes ``{"rows": [[...], ...]}`` and answers ``{"codes": [[...], ...]}``; ``GET /health`` says
what is served. A bad request is answered by 422, or 413 if it is too large, and ``{"detail": "..."}``. It
listens on the loopback address alone. For more cores start more processes, each on a port of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field, Strict, ValidationError

MAX_ROWS = 1000
BYTES_A_NUMBER = 32  # of JSON: the longest float64 has 24 characters

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Rows(BaseModel):
    """What is posted."""

    rows: Annotated[list[list[Number]], Field(min_length=1)]


def open_model(path: str) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    """Return a function of float32 rows, and what is known of the model."""
    if path.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        known = session.get_modelmeta().custom_metadata_map
        if known.get("part") != "encoder":
            raise SystemExit(
                f"{path} must hold the part 'encoder' of export_onnx. Got {known.get('part')!r}."
            )
        about = {"class": known["class"], "n_features": int(known["n_features"])}
        return lambda X: session.run(["codes"], {"X": X})[0], {**about, "engine": "onnxruntime"}
    import torch

    from skswae import load_model

    torch.set_num_threads(1)
    model = load_model(path)
    about = {"class": type(model).__name__, "n_features": int(model.n_features_in_)}
    if hasattr(model, "feature_names_in_"):  # a request has no names: columns are in the order of the fit
        del model.feature_names_in_
    return model.transform, {**about, "engine": "torch"}


def create_app(path: str, max_rows: int = MAX_ROWS) -> FastAPI:
    """Return the service of a file; ``max_rows`` is the most that a request may have."""
    transform, about = open_model(path)
    n_features = about["n_features"]
    about |= {"n_components": len(transform(np.zeros((1, n_features), np.float32))[0]), "max_rows": max_rows}
    most_bytes = 1000 + BYTES_A_NUMBER * n_features * max_rows
    app = FastAPI(title="skswae")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **about}

    # not in a thread of a pool: a second computation at a time would only make both slower
    @app.post("/codes")
    async def codes(request: Request) -> dict[str, list[list[float]]]:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > most_bytes:
                raise HTTPException(413, f"A request must have at most {most_bytes} bytes.")
        try:
            rows = Rows.model_validate_json(bytes(body)).rows
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the request"
            raise HTTPException(422, f"{where}: {first['msg']}") from None
        if len(rows) > max_rows:
            raise HTTPException(413, f"rows must be at most {max_rows}. Got {len(rows)}.")
        wrong = next((i for i, row in enumerate(rows) if len(row) != n_features), None)
        if wrong is not None:
            raise HTTPException(422, f"rows.{wrong}: must have {n_features} numbers. Got {len(rows[wrong])}.")
        with np.errstate(over="ignore"):
            X = np.array(rows, dtype=np.float32)
        if not np.isfinite(X).all():
            raise HTTPException(422, "rows: must hold numbers that are finite in float32.")
        try:
            found = transform(X)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        if not np.isfinite(found).all():
            raise HTTPException(422, "rows: must hold numbers whose codes are finite in float32.")
        return {"codes": found.tolist()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a file of save_model, or of export_onnx")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS, help="the most that a request may have")
    arguments = parser.parse_args()
    app = create_app(arguments.model, arguments.max_rows)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
