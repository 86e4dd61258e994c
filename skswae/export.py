"""Fitted models as ONNX files, which run without Python, scikit-learn and torch.

Each part of a model becomes one graph, units included. :func:`export_onnx` writes it to a file; a pipeline
goes through ``skl2onnx.to_onnx``, which gets the two functions at the end of this page from the estimator.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skswae._device import as_array, own_settings
from skswae._files import replacing
from skswae.modules._base import AutoencoderModule, detached_copy

OPSET = 18
"""Version of ONNX's operators in a file: the oldest that torch exports to, so that most runtimes read it."""

_MOST_BYTES = 2**31 - 2**20
"""Most bytes of weights in one file: Protocol Buffers hold less than 2 GB, and the graph needs some of it."""

_NAMES = {"encoder": ("X", "codes"), "decoder": ("codes", "X"), "reconstruction": ("X", "X_reconstructed")}
"""Names of the input and the output of each part."""


def export_onnx(estimator, path, part="encoder", *, opset=OPSET):
    """Write a part of a fitted estimator to one ONNX file.

    Input and output are float32 in the units of the user, of any number of rows: units and output activation
    are part of the graph, and the units are computed in float64, so that data far from 0 lose nothing.
    The file holds the weights of its part, no rows and no codes of training rows. Before it is written, it is
    run by onnxruntime on a few rows and compared with the estimator.

    Parameters
    ----------
    estimator : object
        A fitted estimator of this package, or of a class outside it that is derived from
        :class:`skswae.base.BaseAutoencoder`. A pipeline goes to ``skl2onnx.to_onnx`` instead.
    path : path-like
        The file, by custom ``*.onnx``, in a folder that exists. An older one is replaced in one step, once
        the new one is complete.
    part : {"encoder", "decoder", "reconstruction"}, default="encoder"
        What the file computes:

        - "encoder": :meth:`transform`, from ``X`` of shape (n_samples, n_features) to ``codes`` of shape
          (n_samples, n_components);
        - "decoder": :meth:`inverse_transform`, from ``codes`` to ``X``;
        - "reconstruction": :meth:`reconstruct`, from ``X`` to ``X_reconstructed``.
    opset : int, default=18
        Version of ONNX's operators, at least 18; what is possible above depends on the versions of torch and
        onnx.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ImportError
        If one of the packages of the extra ``skswae[onnx]`` is missing.
    ValueError
        If an argument cannot be used, if torch cannot translate the network, which then is one of the user's
        own, if the file computes something else than the estimator, or if the weights are above 2 GB.
    OSError
        If the file cannot be written; an older one is then as it was.

    Notes
    -----
    Codes agree with those of ``transform`` up to the rounding of float32, not to the bit: another library
    adds in another order. Batches are not padded, as ``transform`` pads them for torch, which computes a few
    rows by other kernels than many: what onnxruntime rounds otherwise for a few rows is as little.

    ``metadata_props`` of the file hold ``skswae_version``, ``class``, ``part``, ``n_features``,
    ``n_components`` and ``feature_names``, a list in JSON or ``null``.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer, export_onnx
    >>> X = (load_digits().data / 16).astype(np.float32)
    >>> ae = AETransformer(n_components=8, max_iter=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "encoder.onnx")
    ...     export_onnx(ae, path)
    ...     session = onnxruntime.InferenceSession(path)
    >>> (codes,) = session.run(["codes"], {"X": X})
    >>> bool(np.allclose(codes, ae.transform(X), atol=1e-4))
    True
    """
    module = _module_of(estimator)
    if not isinstance(part, str) or part not in _NAMES:
        raise ValueError(
            f"The 'part' argument must be 'encoder', 'decoder' or 'reconstruction'. Got {part!r} instead."
        )
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The 'path' argument must name a file in a folder that exists. Got {str(path)!r}."
        )
    _require("onnx", "onnxscript", "onnxruntime")
    import onnx

    model = _build(type(estimator).__name__, module, part, opset)
    names = getattr(estimator, "feature_names_in_", None)
    properties = {
        "skswae_version": _version(),
        "class": type(estimator).__name__,
        "part": part,
        "n_features": str(module.n_features),
        "n_components": str(module.n_components),
        "feature_names": json.dumps(None if names is None else [str(name) for name in names]),
    }
    onnx.helper.set_model_props(model, properties)
    with replacing(path) as beside:
        beside.write_bytes(model.SerializeToString())


def _version() -> str:
    import skswae  # here: it imports this page

    return skswae.__version__


def _module_of(estimator: Any) -> AutoencoderModule:
    """Return a copy of the module of a fitted estimator, on the CPU and in evaluation mode."""
    check_is_fitted(estimator)
    module = getattr(estimator, "module_", None)
    if not isinstance(module, AutoencoderModule):
        raise ValueError(
            "The 'estimator' argument must be an estimator of skswae; skl2onnx.to_onnx converts a pipeline "
            f"that holds one. Got {type(estimator).__name__} instead."
        )
    with own_settings():
        return detached_copy(module).to("cpu").eval()


def _require(*packages: str) -> None:
    try:
        for package in packages:
            __import__(package)
    except ImportError as error:
        needed = ", ".join(packages)
        raise ImportError(f'ONNX needs the packages {needed}, the extra "onnx" of skswae. {error}') from error


# ---------------------------------------------------------------------------
# From a module to a graph
# ---------------------------------------------------------------------------


class _Part(nn.Module):
    """A part of a module as one function of rows or codes, in the units of the user.

    The networks compute in float32. Units are float64: rows of float64, which skl2onnx may have, lose
    nothing before they are in the units of the networks.
    """

    def __init__(self, module: AutoencoderModule, part: str):
        super().__init__()
        self.module = module
        self.part = part

    def forward(self, given: Tensor) -> Tensor:
        dtype = given.dtype if given.is_floating_point() else torch.float32
        scaler, out = self.module.scaler, given.float()
        if self.part != "decoder":
            out = self.module.encode_x(scaler.standardize(given.double()).float())
        if self.part != "encoder":
            out = scaler.unstandardize(self.module.decode_x(out).double())
        return out.to(dtype)


def _build(name: str, module: AutoencoderModule, part: str, opset: int, dtype=torch.float32) -> Any:
    """Return an ``onnx.ModelProto`` of a part that computes what the module does.

    ``name`` is that of the estimator in messages, ``dtype`` that of input and output.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, Integral) or isinstance(opset, bool) or not OPSET <= opset <= newest:
        raise ValueError(
            f"The version of ONNX's operators, 'opset' or skl2onnx's 'target_opset', must be an integer from "
            f"{OPSET} to {newest}. Got {opset!r} instead."
        )
    refused = f"The {part} of {name} cannot be exported to ONNX"
    given, expected = _examples(module, part)
    given = given.to(dtype)
    source, target = _NAMES[part]
    with own_settings(), torch.no_grad(), _quiet():
        shapes = ({0: torch.export.Dim("n_samples")},)
        try:
            captured = torch.export.export(
                _Part(module, part).eval(),
                (given,),
                dynamic_shapes=shapes,
                strict=False,  # the default of newer versions
            )
            program: Any = torch.onnx.export(
                captured,
                dynamo=True,
                dynamic_shapes=shapes,  # for their names
                input_names=[source],
                output_names=[target],
                opset_version=int(opset),
                verbose=False,
            )
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"{refused}: its network must consist of torch's functions of whole batches, without NumPy, "
                "without decisions of Python's about the numbers in them, and with x.shape[0] for the number "
                f"of rows rather than len(x). torch {torch.__version__} raised {type(error).__name__}: "
                f"{reason}"
            ) from error
    n_bytes = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"{refused}: a file holds at most {_MOST_BYTES / 1e9:.2f} GB. Got {n_bytes / 1e9:.2f} GB of "
            "weights. Take a smaller network."
        )
    model = program.model_proto
    found = {version.version for version in model.opset_import if version.domain == ""}
    if found != {opset}:
        raise ValueError(f"{refused} with opset {opset}: torch got as far as {found}.")
    _strip(model.graph)
    # older runtimes refuse a newer container, of which nothing is used
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    _check(model, given, expected, 1.0 if part == "encoder" else float(module.scaler.scale), refused)
    return model


def _examples(module: AutoencoderModule, part: str) -> tuple[Tensor, Tensor]:
    """Return a few rows or codes, and what the module makes of them: of codes of training rows."""
    codes = module.codes.rows[:5]
    if len(codes) < 2:
        codes = torch.zeros(5, module.n_components)
    with own_settings(), torch.no_grad():
        rows = module.decode(codes)
        if part == "decoder":
            return codes, rows
        found = module.encode(rows)
        return rows, found if part == "encoder" else module.decode(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what torch and its exporter say about themselves, not about the network."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    if before == logging.NOTSET:  # which packages, such as torchvision, it could also export
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):  # in their own code
                warnings.filterwarnings("ignore", category=category, module=_EXPORTER)
            yield
    finally:
        logger.setLevel(before)


_EXPORTER = r"(torch|onnxscript|onnx_ir|onnx|copyreg)(\.|$)"


def _strip(graph: Any) -> None:
    """Remove what torch notes of where each node came from: files of this machine, and lines in them."""
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (graph, *graph.node, *values):
        part.doc_string = ""
        del part.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:  # a loop has a graph of its own
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _strip(inner)


def _check(model: Any, given: Tensor, expected: Tensor, unit: float, refused: str) -> None:
    """Raise ValueError unless onnxruntime computes what the module does, of all rows and of one."""
    import onnxruntime

    answer = as_array(expected)
    # far more than rounding, far less than another function; where all numbers are equal, by their unit
    tolerance = 1e-3 * np.ptp(answer) + 1e-5 * unit + 4 * np.spacing(np.abs(answer).max())
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (source,) = session.get_inputs()
        for n_rows in (len(answer), 1):
            (found,) = session.run(None, {source.name: as_array(given[:n_rows])})
            error = np.abs(found - answer[:n_rows]).max() if found.shape == answer[:n_rows].shape else np.inf
            if not error <= tolerance:
                break
    except Exception as failure:
        raise ValueError(f"{refused}: onnxruntime cannot run it. It raised: {failure}") from failure
    if not error <= tolerance:
        raise ValueError(
            f"{refused}: onnxruntime computes something else than the estimator on {n_rows} row(s), by up to "
            f"{error:.3g} where numbers differ by {np.ptp(answer):.3g}."
        )


# ---------------------------------------------------------------------------
# Within a pipeline, for skl2onnx
# ---------------------------------------------------------------------------


def skl2onnx_shapes(operator: Any) -> None:
    """Set the type and the shape of the codes, from those of the rows: a shape calculator of skl2onnx."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    check_is_fitted(operator.raw_operator)
    rows = operator.inputs[0].type
    kind = DoubleTensorType if isinstance(rows, DoubleTensorType) else FloatTensorType
    operator.outputs[0].type = kind([rows.shape[0], operator.raw_operator.module_.n_components])


def skl2onnx_convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the graph of the encoder to a larger one: a converter of skl2onnx."""
    _require("onnx", "onnxscript", "onnxruntime")
    import onnx
    from skl2onnx.common.data_types import DoubleTensorType

    estimator, rows = operator.raw_operator, operator.inputs[0]
    dtype = torch.float64 if isinstance(rows.type, DoubleTensorType) else torch.float32
    model = _build(type(estimator).__name__, _module_of(estimator), "encoder", container.target_opset, dtype)
    # the graph's own names may be those of another step
    prefix = scope.get_unique_operator_name(type(estimator).__name__) + "_"
    graph = onnx.compose.add_prefix_graph(model.graph, prefix)
    number = graph.input[0].type.tensor_type.elem_type
    given = onnx.helper.make_node(
        "Cast", [rows.full_name], [graph.input[0].name], f"{prefix}given", to=number
    )
    result = onnx.helper.make_node(
        "Identity", [graph.output[0].name], [operator.outputs[0].full_name], f"{prefix}result"
    )
    container.nodes.extend([given, *graph.node, result])
    container.initializers.extend(graph.initializer)
    for version in model.opset_import:
        container.node_domain_version_pair_sets.add((version.domain, version.version))
