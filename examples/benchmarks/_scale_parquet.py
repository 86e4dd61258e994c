"""Fits to rows of parquet files: memory, speed beside an array, passes over them, and the block shuffle.

``measure`` gives the numbers and ``lines`` the part of the page. By itself, with the name of a JSON file,
this script writes there what ``measure`` has found so far, and goes on from what the file has.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _harness import MemoryWatch, circumstances, markdown_table, mnist, put_text, yes
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer
from skswae.data import ArrayData, DataSource, ParquetRows
from skswae.data import _parquet as reading
from skswae.networks import GatedMLP

WIDTH = 64
MOST_MB = 1000  # of anonymous memory, for the large files
LEAST_RATIO = 0.8  # of the rows per second of an array


def write(folder: pathlib.Path, n_rows: int, group_rows: int, groups_per_file: int = 8) -> int:
    """Write rows around a curved surface of 8 dimensions, row group by row group; return the bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((8, WIDTH), dtype=np.float32)
    schema = pa.schema([(f"x{j:02d}", pa.float32()) for j in range(WIDTH)])
    n_groups = -(-n_rows // group_rows)
    for first in range(0, n_groups, groups_per_file):
        path = folder / f"part-{first // groups_per_file:05d}.parquet"
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
            for group in range(first, min(first + groups_per_file, n_groups)):
                n = min(group_rows, n_rows - group * group_rows)
                X = np.tanh(rng.standard_normal((n, 8), dtype=np.float32) @ mixing)
                X += np.float32(0.1) * rng.standard_normal((n, WIDTH), dtype=np.float32)
                columns = [np.ascontiguousarray(column) for column in X.T]
                file.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=group_rows)
    return sum(path.stat().st_size for path in folder.iterdir())


def small_network(**parameters: Any) -> SWAETransformer:
    """Return an estimator with a small network, whose steps leave little time to hide the reading in."""
    settings = {"network": GatedMLP((64,)), "n_pseudo_inputs": 100, "batch_size": 4096, "max_iter": 1}
    return SWAETransformer(**{**settings, "device": "cpu", "random_state": 0, **parameters})


class SameOrder(ArrayData):
    """Rows in memory, in the order that parquet rows have."""

    def __init__(self, X: np.ndarray, like: DataSource):
        super().__init__(X)
        self.blocks = like.blocks


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Fit to the files of a folder, or to their rows in memory, and transform; in a process of its own."""
    torch.set_num_threads(1)
    rows = ParquetRows(task["folder"], shuffle_bytes=task.get("shuffle_bytes", 2**27))
    X: Any = rows if task["how"] == "parquet" else np.asarray(rows)
    if task["how"] == "same order":
        X = SameOrder(X, rows)
    rows._kept.rows.clear()
    decoded, decode = [0], reading.decode

    def counted(file: Any, group: int, names: Any, into: np.ndarray) -> None:
        decoded[0] += len(into)
        decode(file, group, names, into)

    small_network().fit(np.random.default_rng(0).random((300, 8)))  # lazy imports
    reading.decode = counted
    clocks = time.perf_counter, time.process_time
    found: dict[str, Any] = {"rows": len(rows)}
    model = small_network()
    with MemoryWatch() as memory:
        start = [clock() for clock in clocks]
        model.fit(X)
        found["fit_wall"], found["fit_cpu"] = (clock() - s for clock, s in zip(clocks, start))
    found |= {"before_mb": memory.before, "fit_peak_mb": memory.peak, "fit_passes": decoded[0] / len(rows)}
    with tempfile.TemporaryDirectory() as folder, MemoryWatch() as memory:
        shape = len(rows), model.module_.n_components
        Z = np.lib.format.open_memmap(f"{folder}/codes.npy", "w+", dtype=np.float32, shape=shape)
        start = [clock() for clock in clocks]
        model.transform(X, out=Z)
        found["transform_wall"], found["transform_cpu"] = (clock() - s for clock, s in zip(clocks, start))
    found |= {"transform_peak_mb": memory.peak, "codes_mb": Z.nbytes / 1e6}
    weights = [value.double().sum() for value in model.module_.state_dict().values()]
    reading.decode = decode
    return {**found, "digest": [float(w) for w in weights], "loss": float(model.history_["loss"][-1])}


def in_process(task: dict[str, Any], fresh: bool) -> dict[str, Any]:
    """Return :func:`work`'s result, from a fresh process with one thread."""
    if not fresh:
        return work(task)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **dict.fromkeys(names, "1")},
    )
    return json.loads(done.stdout.splitlines()[-1])


def reading_ahead(folder: str) -> dict[str, Any]:
    """Return the seconds of what reads the rows, with the thread that reads ahead and without it."""
    from skswae.data._checks import check_finite_chunks
    from skswae.data._scaler import Scaler

    rows = ParquetRows(folder)

    def seconds(use: Callable[[], Any], ahead: bool) -> list[float]:
        read_parts = ParquetRows.read_parts
        if not ahead:
            ParquetRows.read_parts = DataSource.read_parts
        try:
            rows._kept.rows.clear()
            start = time.perf_counter(), time.process_time()
            use()
            return [time.perf_counter() - start[0], time.process_time() - start[1]]
        finally:
            ParquetRows.read_parts = read_parts

    def waits() -> None:
        for _ in rows.shuffled(512, 0):
            time.sleep(0.002)

    uses = {
        "an epoch of 512 rows at a time, after each of which the caller waits 2 ms, as for a GPU": waits,
        "check": lambda: check_finite_chunks(rows),
        "means and variances": lambda: Scaler(WIDTH).fit(rows),
        "fit": lambda: small_network().fit(rows),
    }
    found: dict[str, Any] = {}
    for name, use in uses.items():
        turns = [[seconds(use, ahead) for ahead in (True, False)] for _ in range(3)]
        medians = np.median(np.array(turns), axis=0)  # (with and without, wall and CPU)
        found[name] = medians.tolist()
    return found


def quality(quick: bool) -> dict[str, Any]:
    """Fit to images sorted by class and in random order, with buffers of one, some and all row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = os.environ.get("SKSWAE_DATA")
    rng = np.random.default_rng(0)
    if folder and not quick:
        X, X_test, y, y_test = mnist(folder)
        some = rng.permutation(len(X))[:20_000]
        X, y, name, group_rows, epochs = X[some], y[some], "20,000 rows of MNIST", 1000, 4
    else:
        digits = load_digits()
        X, y = (digits.data / 16).astype(np.float32), digits.target
        some = rng.permutation(len(X))
        X_test, y_test, X, y = X[some[:500]], y[some[:500]], X[some[500:]], y[some[500:]]
        name, group_rows, epochs = "digits", 65, 2 if quick else 40
    n_groups = -(-len(X) // group_rows)
    group_bytes = group_rows * X.shape[1] * 4
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for order in ("sorted by class", "random"):
            index = np.argsort(y, kind="stable") if order != "random" else np.arange(len(y))
            path = pathlib.Path(temporary) / f"{order[:6]}.parquet"
            columns = map(np.ascontiguousarray, X[index].T)
            table = pa.table({f"x{j:03d}": column for j, column in enumerate(columns)})
            pq.write_table(table, path, row_group_size=group_rows)
            for n in (1, max(2, n_groups // 5), n_groups):
                rows = ParquetRows(path, shuffle_bytes=n * group_bytes)
                settings = {"max_iter": epochs, "early_stopping": False, "random_state": 0}
                model = SWAETransformer(8, **settings, device="cpu").fit(rows)
                del model.feature_names_in_  # the test rows are an array
                near = KNeighborsClassifier(5).fit(model.transform(X[index]), y[index])
                error = float(np.square(model.reconstruct(X_test) - X_test).sum(axis=1).mean())
                score = near.score(model.transform(X_test), y_test)
                found.append({"order": order, "groups": n, "of": n_groups, "error": error, "knn": score})
    return {"data": name, "group_rows": group_rows, "epochs": epochs, "fits": found}


def measure(
    quick: bool,
    save: Callable[[dict[str, Any]], None] = lambda _: None,
    known: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all results; ``quick`` is a trial of seconds, whose numbers mean nothing.

    ``save`` is called with what there is after each part, and parts that are ``known`` are not measured.
    """
    found: dict[str, Any] = {**circumstances(), "quick": quick, **(known or {})}
    subset, large, group_rows = (3000, 6000, 500) if quick else (1_000_000, 20_000_000, 2**17)
    small = {"shuffle_bytes": 4 * group_rows * WIDTH * 4} if quick else {}

    def beside_an_array(folder: str) -> dict[str, Any]:
        write(pathlib.Path(folder), subset, group_rows)
        hows = ("parquet", "array", "same order")
        turns = [
            {how: in_process({"how": how, "folder": folder, **small}, not quick) for how in hows}
            for _ in range(1 if quick else 2)
        ]
        return {how: [turn[how] for turn in turns] for how in hows}

    def larger_than_memory(folder: str) -> dict[str, Any]:
        n_bytes = write(pathlib.Path(folder), large, group_rows)
        return {**in_process({"how": "parquet", "folder": folder, **small}, not quick), "bytes": n_bytes}

    def ahead(folder: str) -> dict[str, Any]:
        write(pathlib.Path(folder), subset, group_rows)
        return reading_ahead(folder)

    parts = {
        "subset": beside_an_array,
        "large": larger_than_memory,
        "quality": lambda _: quality(quick),
        "ahead": ahead,
    }
    for name, part in parts.items():
        if name not in found:
            with tempfile.TemporaryDirectory() as folder:
                found[name] = part(folder)
            save(found)
    return found


def lines(results: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    subset, large = results["subset"], results["large"]
    n = subset["array"][0]["rows"]

    def speed(how: str, clock: str) -> float:
        return float(np.median([n / turn[f"fit_{clock}"] for turn in subset[how]]))

    ratios = {clock: speed("parquet", clock) / speed("array", clock) for clock in ("wall", "cpu")}
    equal = all(a["digest"] == b["digest"] for a, b in zip(subset["parquet"], subset["same order"]))
    peak = max(large["fit_peak_mb"], large["transform_peak_mb"])
    found = [
        "## Rows larger than memory",
        "",
        f"`ParquetRows`, {WIDTH} columns of float32, uncompressed, the default buffer of 134 MB; one epoch "
        "of `SWAETransformer` with a small network (one layer of 64 units, 100 pseudo-inputs, batches of "
        "4,096 rows), so that reading weighs more than with the default one. One torch thread, each fit in a "
        "fresh process. `transform` writes into a memory-mapped file. Memory is the peak of the anonymous "
        "memory of the whole process, Python and torch included.",
        "",
    ]
    head = ["rows", "MB of rows", "MB before", "peak MB, fit", "peak MB, transform", "CPU s, fit"]
    head += ["wall s, fit", "CPU s, transform", "passes of the fit over the files"]
    head += [f"at most {MOST_MB:,} MB"]
    row = [f"{large['rows']:,}", f"{large['rows'] * WIDTH * 4 / 1e6:,.0f}"]
    row += [f"{large[key]:,.0f}" for key in ("before_mb", "fit_peak_mb", "transform_peak_mb", "fit_cpu")]
    row += [f"{large['fit_wall']:,.0f}", f"{large['transform_cpu']:,.0f}", f"{large['fit_passes']:.1f}"]
    found += markdown_table(head, [[*row, yes(peak <= MOST_MB)]])
    found += [
        f"The same fit to {n:,} rows, from parquet files and from an array in memory, in turns, medians. "
        f"The weights of the streamed fit {'are' if equal else '**are not**'} those of a fit to the array in "
        "the same order, to the bit.",
        "",
    ]
    found += markdown_table(
        ["clock", "rows/s, parquet", "rows/s, array", "ratio", f"at least {LEAST_RATIO}"],
        [
            [
                "CPU" if clock == "cpu" else clock,
                *(f"{speed(how, clock):,.0f}" for how in ("parquet", "array")),
                f"{ratio:.2f}",
                yes(ratio >= LEAST_RATIO),
            ]
            for clock, ratio in ratios.items()
        ],
    )
    found += [f"Reading ahead by one thread, on the files of {n:,} rows, medians of 3 turns.", ""]
    found += markdown_table(
        ["what", "wall s with", "wall s without", "CPU s with", "CPU s without"],
        [
            [what, *(f"{turn[clock]:.2f}" for clock in (0, 1) for turn in turns)]
            for what, turns in results["ahead"].items()
        ],
    )
    judged = results["quality"]
    found += [
        f"The block shuffle: {judged['data']}, row groups of {judged['group_rows']:,} rows, "
        f"{judged['epochs']} epochs of the default estimator with 8 components. The buffer holds as many row "
        "groups as said, shuffled together. Error is the squared error of a reconstructed test row, "
        "5-NN the share of test rows that get their class from codes of training rows; one seed.",
        "",
    ]
    found += markdown_table(
        ["rows in the file", "row groups in the buffer", "error", "5-NN"],
        [
            [fit["order"], f"{fit['groups']} of {fit['of']}", f"{fit['error']:.2f}", f"{fit['knn']:.3f}"]
            for fit in judged["fits"]
        ],
    )
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(json.loads(sys.argv[2]))))
    else:
        target = pathlib.Path(sys.argv[1])
        torch.set_num_threads(1)
        results = measure(
            "--quick" in sys.argv,
            lambda found: put_text(target, json.dumps(found, indent=1) + "\n"),
            json.loads(target.read_text()) if target.exists() else None,
        )
        print("\n".join(lines(results)))
