"""Using a fitted SWAE: throughput and memory on a file of rows, latency of one row, rows a second by batch.

The model is the default network on 784 columns with 500 pseudo-inputs, fitted to 2,000 rows of noise: what
it has learned does not matter here.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import pathlib
import re
import tempfile
import threading
import time

import numpy as np
import torch
from _report import Report, parser
from sklearn.decomposition import PCA
from sklearn.utils.validation import validate_data

from skswae import SWAETransformer

N_FEATURES = 784
N_COMPONENTS = 8
CHUNK_ROWS = 10_000
ADDED_MB, BEYOND_MS = 300, 0.3  # the bounds


def anonymous_mb() -> float:
    """This process's anonymous memory; pages mapped from files do not count."""
    status = pathlib.Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    if found is None:
        raise SystemExit("This benchmark reads RssAnon from /proc/self/status, which Linux has.")
    return int(found.group(1)) * 1024 / 1e6


class MemoryWatch:
    """Within the block, the peak of the anonymous memory, looked at every 20 ms; and its value before."""

    def __enter__(self):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            # what the allocator has kept of earlier calls would hide as much of this one
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.before = self.peak = anonymous_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self):
        while not self._done.wait(0.02):
            self.peak = max(self.peak, anonymous_mb())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_mb())

    @property
    def added(self) -> float:
        """The peak over the value before, in MB."""
        return self.peak - self.before


def yes(holds: bool) -> str:
    """The answer to a bound."""
    return "yes" if holds else "**no**"


def write_rows(path, n_rows, n_columns, draw):
    """A float32 file of rows, chunk by chunk, opened for reading."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, n_columns))
    for start in range(0, n_rows, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, n_rows)
        rows[start:stop] = draw((stop - start, n_columns))
    rows.flush()
    del rows
    return np.load(path, mmap_mode="r")


def throughput(report, model, n_rows, n_samples):
    """Seconds and memory of the calls on files of rows."""
    report.add(f"## Throughput and memory: {n_rows:,} x {N_FEATURES} float32 rows in a file (memmap)")
    report.add()
    report.add(
        "MB added: the peak of the anonymous memory during the call over its value before, the result "
        "included. Each call comes after one on 2,000 rows."
    )
    report.add()
    rng = np.random.default_rng(1)
    report.header("call", "rows", "s", "rows/s", "MB added", "MB of the result", "MB added beside the result")
    with tempfile.TemporaryDirectory() as folder:
        X = write_rows(
            pathlib.Path(folder) / "X.npy", n_rows, N_FEATURES, lambda s: rng.random(s, dtype=np.float32)
        )
        Z = write_rows(
            pathlib.Path(folder) / "Z.npy",
            n_rows,
            N_COMPONENTS,
            lambda s: rng.standard_normal(s, dtype=np.float32),
        )
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
            report.row(
                name,
                f"{n:,}",
                f"{seconds:.2f}",
                f"{n / seconds:,.0f}",
                f"{memory.added:.0f}",
                f"{size:.0f}",
                f"{memory.added - size:.0f}",
            )
            del result
        del X, Z, calls, argument, call  # before the files go
    report.add()
    report.add(
        f"Bound: transform adds at most {ADDED_MB} MB: {yes(added['transform'] <= ADDED_MB)}, "
        f"{added['transform']:.0f} MB."
    )
    report.add()


def timed(call) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def latency(report, model, n_calls):
    """One row: the whole call beside the module's."""
    report.add(f"## Latency: one row of {N_FEATURES} columns, {n_calls} calls of each, in turns")
    report.add()
    report.add(
        "The bare call is `module.encode` on a ready tensor under `no_grad`; in float64 that of a copy made "
        "beforehand. Beyond it: the difference of the medians, of which scikit-learn's `validate_data`, "
        "timed alone, is a part, and the rest is this package's."
    )
    report.add()
    report.header(
        "dtype",
        "transform, ms",
        "5 % to 95 %",
        "bare, ms",
        "5 % to 95 %",
        "beyond it, ms",
        "validate_data, ms",
        "the rest, ms",
    )
    answers = []
    for dtype in (np.float32, np.float64):
        row = np.random.default_rng(2).random((1, N_FEATURES)).astype(dtype)
        tensor = torch.from_numpy(row)
        module = copy.deepcopy(model.module_).eval()
        if dtype == np.float64:
            module = module.double()

        def bare(module=module, tensor=tensor):
            with torch.no_grad():
                module.encode(tensor)

        calls = {
            "transform": lambda row=row: model.transform(row),
            "bare": bare,
            "validate_data": lambda row=row: validate_data(
                model, row, reset=False, dtype=[np.float64, np.float32]
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for i in range(n_calls + 20):
            for name, call in calls.items():
                ms = timed(call)
                if i >= 20:  # the first ones are slower
                    times[name].append(ms)
        median = {name: float(np.median(ms)) for name, ms in times.items()}
        spread = {name: "{:.3f} to {:.3f}".format(*np.percentile(ms, [5, 95])) for name, ms in times.items()}
        beyond = median["transform"] - median["bare"]
        name = np.dtype(dtype).name
        report.row(
            name,
            f"{median['transform']:.3f}",
            spread["transform"],
            f"{median['bare']:.3f}",
            spread["bare"],
            f"{beyond:.3f}",
            f"{median['validate_data']:.3f}",
            f"{beyond - median['validate_data']:.3f}",
        )
        answers.append(f"{name} {yes(beyond <= BEYOND_MS)} ({beyond:.3f} ms)")
    report.add()
    report.add(f"Bound: at most {BEYOND_MS} ms beyond the bare module call: {', '.join(answers)}.")
    report.add()


def batches(report, model, X, seconds):
    """Rows a second by batch, beside PCA."""
    report.add("## Rows a second of transform by batch, float32")
    report.add()
    report.header("rows in a call", f"SWAE({N_COMPONENTS})", f"PCA({N_COMPONENTS})", "PCA / SWAE")
    pca = PCA(N_COMPONENTS, random_state=0).fit(X)
    rng = np.random.default_rng(3)
    for n in (1, 10, 100, 1000, 10_000):
        rows = rng.random((n, N_FEATURES), dtype=np.float32)
        rates = []
        for fitted in (model, pca):
            fitted.transform(rows)
            times: list[float] = []
            while sum(times) < 1000 * seconds or len(times) < 3:
                times.append(timed(lambda fitted=fitted, rows=rows: fitted.transform(rows)))
            rates.append(1000 * n / float(np.median(times)))
        report.row(f"{n:,}", *(f"{rate:,.0f}" for rate in rates), f"{rates[1] / rates[0]:.1f}")
    report.add()


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--rows", type=int, default=1_000_000, help="rows of the file, of 3136 bytes each")
    arguments.add_argument("--samples", type=int, default=100_000)
    arguments.add_argument("--calls", type=int, default=300, help="calls for each latency")
    arguments.add_argument("--seconds", type=float, default=2.0, help="at least, for each rate")
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    report = Report("SWAE at inference", arguments.output)
    X = np.random.default_rng(0).random((2000, N_FEATURES), dtype=np.float32)
    model = SWAETransformer(N_COMPONENTS, n_pseudo_inputs=500, max_iter=1, device="cpu", random_state=0)
    model.fit(X)
    throughput(report, model, arguments.rows, arguments.samples)
    latency(report, model, arguments.calls)
    batches(report, model, X, arguments.seconds)


if __name__ == "__main__":
    main()
