"""The same fit from an array, files, stores, a data set and batches: speed, passes and memory.

``measure`` gives the numbers and ``lines`` the part of the page. By itself, with the name of a JSON file,
this script writes there what ``measure`` finds.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from _harness import MemoryWatch, circumstances, markdown_table, put_text

from skswae import SWAETransformer
from skswae.data import BatchRows, DataSource
from skswae.data._dataset import as_source
from skswae.networks import GatedMLP

WIDTH, CHUNK = 64, 1000
NAMES = {
    "array": "an array in memory",
    "memmap": "`numpy.memmap`",
    "columns": "`numpy.memmap`, column by column",
    "h5py": "h5py, without chunks",
    "h5py chunks": f"h5py, chunks of {CHUNK:,} rows",
    "zarr": f"zarr, chunks of {CHUNK:,} rows",
    "items": "`torch.utils.data.Dataset`",
    "batches": f"`BatchRows`, batches of {CHUNK:,} rows from a file",
}


class Counted(DataSource):
    """Rows of another source, which are counted when they are read."""

    def __init__(self, source: DataSource):
        self.source, self.n_read = source, 0
        self.shape, self.dtype, self.blocks = source.shape, source.dtype, source.blocks
        self.forward_only = source.forward_only
        self.order, self.split = source.order, source.split

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.source.read(index)
        self.n_read += len(rows)
        return rows


def prepare(folder: pathlib.Path, n_rows: int) -> None:
    """Write the rows in every form, chunk by chunk."""
    import h5py
    import zarr

    rng, shape = np.random.default_rng(0), (n_rows, WIDTH)
    mixing = rng.standard_normal((8, WIDTH), dtype=np.float32)
    file = h5py.File(folder / "X.h5", "w")
    stores = [
        np.lib.format.open_memmap(folder / "memmap.npy", "w+", np.float32, shape),
        np.lib.format.open_memmap(folder / "columns.npy", "w+", np.float32, shape, True),
        file.create_dataset("h5py", shape, "f4"),
        file.create_dataset("h5py chunks", shape, "f4", chunks=(CHUNK, WIDTH)),
        zarr.open(str(folder / "X.zarr"), mode="w", shape=shape, dtype="f4", chunks=(CHUNK, WIDTH)),
    ]
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        X = np.tanh(rng.standard_normal((n, 8), dtype=np.float32) @ mixing)
        X += np.float32(0.1) * rng.standard_normal((n, WIDTH), dtype=np.float32)
        for store in stores:
            store[start : start + n] = X
    file.close()


@contextlib.contextmanager
def opened(how: str, folder: pathlib.Path) -> Iterator[Any]:
    """Give the rows in one of the forms."""
    mapped = np.load(folder / ("columns.npy" if how == "columns" else "memmap.npy"), mmap_mode="r")
    if how == "array":
        yield np.array(mapped)
    elif how in ("memmap", "columns"):
        yield mapped
    elif how == "items":
        yield torch.utils.data.TensorDataset(torch.from_numpy(np.array(mapped)))
    elif how == "batches":
        starts = range(0, len(mapped), CHUNK)
        yield BatchRows(lambda: (np.array(mapped[i : i + CHUNK]) for i in starts), len(mapped))
    elif how == "zarr":
        import zarr

        yield zarr.open(str(folder / "X.zarr"), mode="r")
    else:
        import h5py

        with h5py.File(folder / "X.h5", "r") as file:
            yield file[how]


def work(how: str, folder: pathlib.Path) -> dict[str, Any]:
    """Fit for an epoch with the default network, and transform into a file."""
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"network": GatedMLP((64,)), "n_pseudo_inputs": 100, "batch_size": 512}
    model = SWAETransformer(8, **settings, max_iter=1, random_state=0, device="cpu")
    model.fit(np.random.default_rng(0).random((600, WIDTH)))  # lazy imports
    with opened(how, folder) as X:
        found: dict[str, Any] = {"how": how, "rows": X.shape[0] if hasattr(X, "shape") else len(X)}
        with MemoryWatch() as memory:
            start = time.perf_counter(), time.process_time()
            model.fit(X)
            found["fit_wall"] = time.perf_counter() - start[0]
            found["fit_cpu"] = time.process_time() - start[1]
        found["fit_mb"], found["loss"] = memory.added, float(model.history_["loss"][-1])
        if how != "batches":
            shape = found["rows"], 8
            out = np.lib.format.open_memmap(folder / "Z.npy", "w+", np.float32, shape)
            with MemoryWatch() as memory:
                start = time.perf_counter(), time.process_time()
                model.transform(X, out=out)
                found["transform_wall"] = time.perf_counter() - start[0]
                found["transform_cpu"] = time.process_time() - start[1]
            found["transform_mb"] = memory.added
    return found


def passes(how: str, folder: pathlib.Path) -> float:
    """Return how often a fit of one epoch reads the rows, without the epoch."""
    settings: dict[str, Any] = {"network": GatedMLP((8,)), "n_pseudo_inputs": 100, "batch_size": 512}
    with opened(how, folder) as X:
        source = Counted(as_source(X))
        SWAETransformer(8, **settings, max_iter=1, random_state=0, device="cpu").fit(source)
    return source.n_read / len(source) - 1


def measure(quick: bool) -> dict[str, Any]:
    """Return all results; ``quick`` is a trial of seconds, whose numbers mean nothing."""
    n_rows, repeats = (1200, 1) if quick else (100_000, 2)
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(folder, n_rows)
        for _ in range(repeats):
            for how in NAMES:
                if quick:
                    runs.append(work(how, folder))
                    continue
                command = [sys.executable, __file__, "--worker", how, name]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
        n_passes = passes("h5py", folder)
    return {**circumstances(), "quick": quick, "runs": runs, "passes": n_passes}


def lines(results: dict[str, Any]) -> list[str]:
    """Return the part of the page."""
    runs = results["runs"]
    n_rows = runs[0]["rows"]

    def median(how: str, key: str) -> float:
        return float(np.median([run[key] for run in runs if run["how"] == how]))

    rows = []
    for how, name in NAMES.items():
        cells = [f"{median(how, 'fit_wall'):.1f} / {median(how, 'fit_cpu'):.1f}"]
        cells += [
            f"{median('array', 'fit_cpu') / median(how, 'fit_cpu'):.2f}",
            f"{median(how, 'fit_mb'):.0f}",
        ]
        if how == "batches":
            cells += ["", ""]
        else:
            rate = n_rows / median(how, "transform_cpu")
            cells += [f"{rate:,.0f}", f"{median(how, 'transform_mb'):.0f}"]
        rows.append([name, *cells, f"{median(how, 'loss'):.3f}"])
    head = [
        "rows from",
        "fit, s (wall / CPU)",
        "speed, of the array's (CPU)",
        "added memory of the fit, MB",
    ]
    head += ["`transform`, rows a CPU second", "added memory, MB", "loss"]
    return [
        "## Files, stores, data sets and batches",
        "",
        f"One epoch of SWAE (`GatedMLP((64,))`, 100 pseudo-inputs, batches of 512) over {n_rows:,} rows of "
        f"{WIDTH} float32 numbers ({n_rows * WIDTH * 4 / 1e6:.0f} MB), and `transform(X, out=...)` into a "
        "memory-mapped file, in a process of one thread for each; medians of "
        f"{sum(run['how'] == 'array' for run in runs)} runs. All files are in the page cache. The memory is "
        "the anonymous memory, at its peak, less that before the call. Chunks are kept up to "
        f"134 MB. Beside its epochs a fit reads the rows of a store {results['passes']:.1f} times.",
        "",
        *markdown_table(head, rows),
        "",
    ]


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        print(json.dumps(work(sys.argv[2], pathlib.Path(sys.argv[3]))))
    else:
        put_text(pathlib.Path(sys.argv[1]), json.dumps(measure("--quick" in sys.argv), indent=1) + "\n")
