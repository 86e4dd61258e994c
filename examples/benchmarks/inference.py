"""Using a fitted SWAE: throughput and memory on a file of rows, latency of one row, rows a second by batch.

The model is the default network on 784 columns with 500 pseudo-inputs, fitted to 2,000 rows of noise: what
it has learned does not matter here.
"""

from __future__ import annotations

import copy
import pathlib
import tempfile
import time

import numpy as np
import torch
from _harness import MemoryWatch, Page, interleaved, parser, timed, yes
from sklearn.decomposition import PCA
from sklearn.utils.validation import validate_data

from skswae import SWAETransformer

N_FEATURES = 784
N_COMPONENTS = 8
CHUNK_ROWS = 10_000
ADDED_MB, BEYOND_MS = 300, 0.2  # the bounds


def write_rows(path, n_rows, n_columns, draw):
    """Write a float32 file of rows, chunk by chunk, and open it for reading."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, n_columns))
    for start in range(0, n_rows, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, n_rows)
        rows[start:stop] = draw((stop - start, n_columns), dtype=np.float32)
    rows.flush()
    del rows
    return np.load(path, mmap_mode="r")


def throughput(page, model, n_rows, n_samples):
    """Add seconds and memory of the calls on files of rows."""
    page.section(
        f"Throughput and memory: {n_rows:,} x {N_FEATURES} float32 rows in a file (memmap)",
        "MB added: the peak of the anonymous memory during the call over its value before, the result "
        "included. Each call comes after one on 2,000 rows.",
    )
    rng = np.random.default_rng(1)
    page.header("call | rows | s | rows/s | MB added | MB of the result | MB added beside the result")
    with tempfile.TemporaryDirectory() as folder:
        X = write_rows(pathlib.Path(folder) / "X.npy", n_rows, N_FEATURES, rng.random)
        Z = write_rows(pathlib.Path(folder) / "Z.npy", n_rows, N_COMPONENTS, rng.standard_normal)
        calls = {
            "transform": (model.transform, X),
            "score_samples": (model.score_samples, X),
            "inverse_transform": (model.inverse_transform, Z),
            "sample": (lambda n: model.sample(n, random_state=0), n_samples),
        }
        added = {}
        for name, (call, argument) in calls.items():
            call(2000 if name == "sample" else argument[:2000])
            with MemoryWatch() as memory:
                start = time.perf_counter()
                result = call(argument)
                seconds = time.perf_counter() - start
            added[name], size = memory.added, result.nbytes / 1e6
            n = len(result)
            figures = f"{memory.added:.0f}", f"{size:.0f}", f"{memory.added - size:.0f}"
            page.row(name, f"{n:,}", f"{seconds:.2f}", f"{n / seconds:,.0f}", *figures)
            del result
        del X, Z, calls, argument, call  # before the files go
    page.add()
    page.paragraph(
        f"Bound: transform adds at most {ADDED_MB} MB: {yes(added['transform'] <= ADDED_MB)}, "
        f"{added['transform']:.0f} MB."
    )


def latency(page, model, n_calls):
    """Add the time of one row: the whole call beside the module's."""
    page.section(
        f"Latency: one row of {N_FEATURES} columns, {n_calls} calls of each, in turns",
        "The bare call is `module.encode` on a ready tensor under `no_grad`; in float64 that of a copy made "
        "beforehand. Beyond it: the difference of the medians. Two parts of it are timed alone: "
        "scikit-learn's `validate_data`, and what the bare call takes longer for as many rows as a call is "
        "filled up to, so that a row's code does not depend on the others. The rest is this package's; in "
        "float64 most of it is the copy of the networks.",
    )
    page.header(
        "dtype | transform, ms | 5 % to 95 % | bare, ms | 5 % to 95 % | beyond it, ms | validate_data, ms | "
        "rows filled up, ms | the rest, ms"
    )
    answers = []
    for dtype in (np.float32, np.float64):
        row = np.random.default_rng(2).random((1, N_FEATURES)).astype(dtype)
        tensor = torch.from_numpy(row)
        module = copy.deepcopy(model.module_).eval().to(tensor.dtype)

        def check(row=row):
            validate_data(model, row, reset=False, dtype=[np.float64, np.float32])

        calls = {
            "transform": (model.transform, row),
            "bare": (torch.no_grad()(module.encode), tensor),
            "validate_data": (check,),
            "filled": (torch.no_grad()(module.encode), tensor.repeat(module.row_block, 1)),
        }
        runs = {name: lambda call=call: timed(time.perf_counter, *call) for name, call in calls.items()}
        # the first ones are slower
        ms = {name: 1000 * np.array(found[20:]) for name, found in interleaved(runs, n_calls + 20).items()}
        median = {name: float(np.median(found)) for name, found in ms.items()}
        spread = {
            name: "{:.3f} to {:.3f}".format(*np.percentile(found, [5, 95])) for name, found in ms.items()
        }
        beyond = median["transform"] - median["bare"]
        cells = [cell for name in ("transform", "bare") for cell in (f"{median[name]:.3f}", spread[name])]
        name = np.dtype(dtype).name
        parts = median["validate_data"], median["filled"] - median["bare"]
        page.row(name, *cells, *(f"{part:.3f}" for part in (beyond, *parts, beyond - sum(parts))))
        answers.append(f"{name} {yes(beyond <= BEYOND_MS)} ({beyond:.3f} ms)")
    page.add()
    page.paragraph(f"Bound: at most {BEYOND_MS} ms beyond the bare module call: {', '.join(answers)}.")


def batches(page, model, X, seconds):
    """Add rows a second by batch, beside PCA."""
    page.section("Rows a second of transform by batch, float32")
    page.header(f"rows in a call | SWAE({N_COMPONENTS}) | PCA({N_COMPONENTS}) | PCA / SWAE")
    pca = PCA(N_COMPONENTS, random_state=0).fit(X)
    rng = np.random.default_rng(3)
    for n in (1, 10, 100, 1000, 10_000):
        rows = rng.random((n, N_FEATURES), dtype=np.float32)
        rates = []
        for fitted in (model, pca):
            fitted.transform(rows)
            times: list[float] = []
            while sum(times) < seconds or len(times) < 3:
                times.append(timed(time.perf_counter, fitted.transform, rows))
            rates.append(n / float(np.median(times)))
        page.row(f"{n:,}", *(f"{rate:,.0f}" for rate in rates), f"{rates[1] / rates[0]:.1f}")


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="rows of the file, of 3136 bytes each")
    arguments.add_argument("--samples", type=int, default=100_000)
    arguments.add_argument("--calls", type=int, default=300, help="calls for each latency")
    arguments.add_argument("--seconds", type=float, default=2.0, help="at least, for each rate")
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    page = Page("SWAE at inference", arguments.output)
    X = np.random.default_rng(0).random((2000, N_FEATURES), dtype=np.float32)
    model = SWAETransformer(N_COMPONENTS, n_pseudo_inputs=500, max_iter=1, device="cpu", random_state=0)
    model.fit(X)
    throughput(page, model, arguments.rows, arguments.samples)
    latency(page, model, arguments.calls)
    batches(page, model, X, arguments.seconds)


if __name__ == "__main__":
    main()
