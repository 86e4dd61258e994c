"""How SWAE's cost grows: seconds and memory against the number of rows, and of pseudo-inputs.

The data are float32 rows of 64 columns from a mixture of 20 standard normals. Each size runs in a fresh
process of one thread. Seconds are CPU seconds.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import torch
from _report import Report, parser
from inference import MemoryWatch
from time_to_quality import image_line, take_resume_option

from skswae import SWAETransformer
from skswae._swae import SWAEModule, closest

N_FEATURES = 64
BATCH_SIZE = 512
CHUNK_ROWS = 100_000


class TimedModule(SWAEModule):
    """A module that knows when its epoch began."""

    def before_epoch(self, epoch):
        super().before_epoch(epoch)
        self.began = time.process_time()


class Timed(SWAETransformer):
    """A SWAETransformer that keeps the CPU seconds of its epochs: without PCA's start and the last pass."""

    def _build_module(self, parts):
        module = super()._build_module(parts)
        if type(module) is not SWAEModule:
            raise SystemExit("This benchmark expects SWAETransformer to build a SWAEModule.")
        module.__class__ = TimedModule
        self.epoch_seconds: list[float] = []
        return module

    def _after_epoch(self, module, epoch, record, seconds):
        self.epoch_seconds.append(time.process_time() - module.began)


def mixture(n_rows: int) -> np.ndarray:
    """Rows of 20 normals of unit variance, whose means are three times as wide."""
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((20, N_FEATURES), dtype=np.float32)
    X = np.empty((n_rows, N_FEATURES), dtype=np.float32)
    for start in range(0, n_rows, CHUNK_ROWS):
        chunk = X[start : start + CHUNK_ROWS]
        chunk[:] = rng.standard_normal(chunk.shape, dtype=np.float32)
        chunk += means[rng.integers(20, size=len(chunk))]
    return X


def timed_fit(X, n_pseudo_inputs: int, at_least: float) -> dict:
    """The memory of a fit of one epoch, and the median seconds of epochs that take so many together."""
    common = {"n_pseudo_inputs": n_pseudo_inputs, "batch_size": BATCH_SIZE, "device": "cpu"}
    with MemoryWatch() as memory:
        model = Timed(max_iter=1, random_state=0, **common).fit(X)
    seconds = model.epoch_seconds
    if seconds[0] < at_least:
        n_epochs = math.ceil(at_least / seconds[0])
        seconds = Timed(max_iter=n_epochs, random_state=0, **common).fit(X).epoch_seconds
    return {
        "epoch": float(np.median(seconds)),
        "n_epochs": len(seconds),
        "before": memory.before,
        "peak": memory.peak,
    }


def search(X, n_pseudo_inputs: int, at_least: float) -> dict:
    """Step 2 alone for all rows, in batches as in training."""
    rows = torch.from_numpy(X)
    keys = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:n_pseudo_inputs]]

    def one_pass() -> float:
        start = time.process_time()
        for x in rows.split(BATCH_SIZE):
            closest(x, keys, "euclidean")
        return time.process_time() - start

    closest(rows[:BATCH_SIZE], keys[:100], "euclidean")
    with MemoryWatch() as memory:
        seconds = [one_pass()]
    while sum(seconds) < at_least:
        seconds.append(one_pass())
    return {"seconds": float(np.median(seconds)), "added": memory.added}


def work(task: dict) -> dict:
    """What a fresh process does."""
    torch.set_num_threads(1)
    X = mixture(task["rows"])
    Timed(max_iter=1, batch_size=BATCH_SIZE, device="cpu").fit(X[:2000])  # lazy imports
    if task["part"] == "search":
        return search(X, task["K"], task["at_least"])
    return {"data": X.nbytes / 1e6, **timed_fit(X, task["K"], task["at_least"])}


def in_fresh_process(task: dict) -> dict:
    """The result of :func:`work`."""
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def slope(x, y) -> float:
    """Of log y against log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def slopes(x, y) -> str:
    """Over all sizes, and between the two largest, where fixed costs matter least."""
    if len(x) < 2:
        return "not fitted"
    return f"{slope(x, y):.2f} (between the two largest: {slope(x[-2:], y[-2:]):.2f})"


def against_rows(report, store, sizes, n_pseudo_inputs, at_least):
    """An epoch against the number of rows; the seconds of one."""
    report.add(f"## Rows: x {N_FEATURES} columns, K = {n_pseudo_inputs}, batches of {BATCH_SIZE}")
    report.add()
    report.add(
        f"An epoch: the median of as many as take {at_least:g} s together, one of the largest sizes. The "
        "memory is the anonymous memory of the process, during a fit of one epoch; the data lie in it."
    )
    report.add()
    report.header(
        "rows",
        "epochs timed",
        "CPU s an epoch",
        "rows/s",
        "MB of the data",
        "MB before fit",
        "peak MB in fit",
        "peak less the data",
        "added by fit / data",
    )
    seconds = []
    for n in sizes:
        task = {"part": "fit", "rows": n, "K": n_pseudo_inputs, "at_least": at_least}
        result = store.get(task, in_fresh_process, task)
        seconds.append(result["epoch"])
        report.row(
            f"{n:,}",
            result["n_epochs"],
            f"{result['epoch']:.3f}",
            f"{n / result['epoch']:,.0f}",
            *(f"{result[key]:.0f}" for key in ("data", "before", "peak")),
            f"{result['peak'] - result['data']:.0f}",
            f"{(result['peak'] - result['before']) / result['data']:.2f}",
        )
    report.add()
    report.add(f"Slope of log seconds against log rows: {slopes(sizes, seconds)}; linear cost is 1.")
    report.add()
    return seconds


def against_pseudo_inputs(report, store, counts, n_rows, at_least):
    """Step 2 and an epoch against K; the seconds of both."""
    report.add(f"## Pseudo-inputs: {n_rows:,} rows x {N_FEATURES} columns, batches of {BATCH_SIZE}")
    report.add()
    report.add(
        "Step 2 of Algorithm 1, the closest pseudo-input of each row, is timed alone over all rows; the "
        "epoch of the estimator holds it and the training of all pseudo-inputs."
    )
    report.add()
    report.header(
        "K",
        "Step 2, CPU s",
        "ns a row and K",
        "MB added by it",
        "epoch, CPU s",
        "ns a row and K",
        "MB added by fit",
        "MB of the data",
    )
    searches, epochs = [], []
    for K in counts:
        task = {"part": "search", "rows": n_rows, "K": K, "at_least": at_least}
        found = store.get(task, in_fresh_process, task)
        task = {**task, "part": "fit"}
        fitted = store.get(task, in_fresh_process, task)
        searches.append(found["seconds"])
        epochs.append(fitted["epoch"])
        report.row(
            f"{K:,}",
            f"{found['seconds']:.3f}",
            f"{1e9 * found['seconds'] / n_rows / K:.2f}",
            f"{found['added']:.0f}",
            f"{fitted['epoch']:.3f}",
            f"{1e9 * fitted['epoch'] / n_rows / K:.2f}",
            f"{fitted['peak'] - fitted['before']:.0f}",
            f"{fitted['data']:.0f}",
        )
    report.add()
    report.add(
        f"Slopes of log seconds against log K; linear cost is 1. Step 2: {slopes(counts, searches)}. An "
        f"epoch, with its part that K does not change: {slopes(counts, epochs)}."
    )
    report.add()
    return searches, epochs


def draw(path, sizes, row_seconds, counts, searches, epochs, n_rows):
    """Two log-log plots, each with a line of slope 1 through the largest size."""
    from matplotlib.figure import Figure  # without pyplot no display is asked for

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)

    def line(axes, x, y):
        x = np.asarray(x, dtype=float)
        axes.plot(x, y[-1] * x / x[-1], "--", color="0.5", linewidth=1, label="slope 1")

    line(left, sizes, row_seconds)
    left.plot(sizes, row_seconds, "o-", color="C0", label="an epoch")
    left.set(xlabel="rows", title=f"{N_FEATURES} columns, batches of {BATCH_SIZE}")
    line(right, counts, searches)
    right.plot(counts, searches, "o-", color="C1", label="Step 2 alone")
    right.plot(counts, epochs, "s-", color="C0", label="an epoch")
    right.set(xlabel="pseudo-inputs K", title=f"{n_rows:,} rows")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", ylabel="CPU seconds")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def powers(low: int, high: int) -> list[int]:
    """Powers of 10 from low to high."""
    return [10**e for e in range(2, 12) if low <= 10**e <= high]


def main():
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(json.loads(sys.argv[2]))))
        return
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--min-rows", type=int, default=10_000)
    arguments.add_argument("--max-rows", type=int, default=1_000_000, help="powers of 10 up to this")
    arguments.add_argument("--pseudo-inputs", type=int, default=500, help="K for the growth with rows")
    arguments.add_argument("--max-k", type=int, default=100_000, help="K from 100, powers of 10 up to this")
    arguments.add_argument("--k-rows", type=int, default=100_000, help="rows for the growth with K")
    arguments.add_argument("--seconds", type=float, default=3.0, help="at least, for small sizes")
    arguments.add_argument("--plot", type=pathlib.Path, help="also draw to this file")
    arguments.add_argument("--resume", type=pathlib.Path, help="JSON file of the parts that are done")
    arguments = arguments.parse_args()
    if arguments.max_k > arguments.k_rows:
        raise SystemExit("There are no more pseudo-inputs than rows: --max-k must be at most --k-rows.")
    store = take_resume_option(arguments.resume)
    torch.set_num_threads(1)
    report = Report("How SWAE's cost grows", arguments.output)
    sizes = powers(arguments.min_rows, arguments.max_rows)
    counts = powers(100, arguments.max_k)
    row_seconds = against_rows(report, store, sizes, arguments.pseudo_inputs, arguments.seconds)
    searches, epochs = against_pseudo_inputs(report, store, counts, arguments.k_rows, arguments.seconds)
    if arguments.plot is not None:
        draw(arguments.plot, sizes, row_seconds, counts, searches, epochs, arguments.k_rows)
        report.add(image_line(arguments.plot, arguments.output, "Seconds against rows and pseudo-inputs"))
        report.add()
    if store.note():
        report.add(store.note())


if __name__ == "__main__":
    main()
