"""How SWAE's cost grows: seconds and memory against the number of rows, and of pseudo-inputs.

The data are float32 rows of 64 columns from a mixture of 20 standard normals, drawn in parts of 100,000 rows:
10 million rows are 2.6 GB, of which no copy is made. Each size runs in a fresh process of one thread. Seconds
are CPU seconds. The page is written row by row, and --resume keeps the sizes that are done.

`--rows 10000 100000 1000000 10000000 --max-k 0` measures 10 million rows too, and no pseudo-inputs.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from _harness import MemoryWatch, Page, Store, in_fresh_process, parser, run_script, save, timed, yes
from _watch import Watch

from skswae import SWAETransformer

N_FEATURES = 64
BATCH_SIZE = 512
CHUNK_ROWS = 100_000
SLOPES, MB_MORE = (0.9, 1.1), 25  # of log seconds against log rows; memory at most, beyond the rows' order


def mixture(n_rows: int) -> np.ndarray:
    """Draw rows of 20 normals of unit variance, whose means are three times as wide."""
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((20, N_FEATURES), dtype=np.float32)
    X = np.empty((n_rows, N_FEATURES), dtype=np.float32)
    for start in range(0, n_rows, CHUNK_ROWS):
        chunk = X[start : start + CHUNK_ROWS]
        chunk[:] = rng.standard_normal(chunk.shape, dtype=np.float32)
        chunk += means[rng.integers(20, size=len(chunk))]
    return X


def swae(n_pseudo_inputs, max_iter: int = 1) -> SWAETransformer:
    """Return the model that is timed."""
    sizes = {"n_pseudo_inputs": n_pseudo_inputs, "batch_size": BATCH_SIZE, "max_iter": max_iter}
    return SWAETransformer(**sizes, device="cpu", random_state=0)


def search(module, X: np.ndarray, at_least: float) -> dict:
    """Time Step 2 alone for all rows, in batches as in training."""
    batches = module.scaler.standardize(torch.from_numpy(X)).split(BATCH_SIZE)

    @torch.no_grad()
    def one_pass() -> None:
        for x in batches:
            module.assign(x)

    with MemoryWatch() as memory:
        seconds = [timed(time.process_time, one_pass)]
    while sum(seconds) < at_least:
        seconds.append(timed(time.process_time, one_pass))
    return {"search": float(np.median(seconds)), "search_added": memory.added}


def work(task: dict) -> dict:
    """Measure one size, in a fresh process: the memory of a fit of one epoch, and epochs' median seconds.

    There are as many epochs as take ``at_least`` seconds together, and one at least.
    """
    torch.set_num_threads(1)
    X, K, at_least = mixture(task["rows"]), task["K"], task["at_least"]
    swae("auto").fit(X[:2000])  # lazy imports
    with MemoryWatch() as memory:
        model = swae(K)
        seconds = Watch().fit(model, X).epoch_seconds
    found = {"data": X.nbytes / 1e6, "before": memory.before, "peak": memory.peak}
    if task["search"]:
        found |= search(model.module_, X, at_least)
    if seconds[0] < at_least:
        seconds = Watch().fit(swae(K, math.ceil(at_least / seconds[0])), X).epoch_seconds
    return {**found, "epoch": float(np.median(seconds)), "n_epochs": len(seconds)}


def slope(x, y) -> float:
    """Return the slope of log y against log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def slopes(x, y) -> str:
    """Return the slope over all sizes, and between the two largest, where fixed costs matter least."""
    if len(x) < 2:
        return "not fitted"
    return f"{slope(x, y):.2f} (between the two largest: {slope(x[-2:], y[-2:]):.2f})"


def judge_rows(page, sizes, seconds, added) -> None:
    """Say whether the time is linear in the rows and the memory flat."""
    if len(sizes) < 2:
        return
    largest = slope(sizes[-2:], seconds[-2:])
    low, high = SLOPES
    page.add(
        f"- Time linear in the rows (slope between the two largest sizes from {low} to {high}): "
        f"{yes(low <= largest <= high)}, {largest:.2f}."
    )
    # beyond the order of the rows, 4 bytes each
    rest = [mb - 4e-6 * n for mb, n in zip(added, sizes)]
    more = rest[-1] - rest[0]
    page.add(
        f"- Memory flat (the fit of {sizes[-1]:,} rows adds at most {MB_MORE} MB more than that of "
        f"{sizes[0]:,}, but for the order of the rows, 4 bytes each): {yes(more <= MB_MORE)}, {more:.0f} MB."
    )
    page.add()


def against_rows(page, store, sizes, n_pseudo_inputs, at_least):
    """Add the table of an epoch against the number of rows, and return the seconds."""
    page.section(
        f"Rows: x {N_FEATURES} columns, K = {n_pseudo_inputs}, batches of {BATCH_SIZE}",
        f"An epoch: the median of as many as take {at_least:g} s together, one of the largest sizes. The "
        "memory is the anonymous memory of the process, during a fit of one epoch; the data lie in it.",
    )
    page.header(
        "rows | epochs timed | CPU s an epoch | rows/s | MB of the data | MB before fit | peak MB in fit | "
        "added by fit, MB"
    )
    seconds, added = [], []
    for n in sizes:
        task = {"rows": n, "K": n_pseudo_inputs, "at_least": at_least, "search": False}
        found = store.get(task, in_fresh_process, task)
        seconds.append(found["epoch"])
        added.append(found["peak"] - found["before"])
        page.row(
            f"{n:,}",
            found["n_epochs"],
            f"{found['epoch']:.3f}",
            f"{n / found['epoch']:,.0f}",
            *(f"{found[key]:.0f}" for key in ("data", "before", "peak")),
            f"{added[-1]:.0f}",
        )
    page.add()
    page.paragraph(f"Slope of log seconds against log rows: {slopes(sizes, seconds)}; linear cost is 1.")
    judge_rows(page, sizes, seconds, added)
    return seconds


def against_pseudo_inputs(page, store, counts, n_rows, at_least):
    """Add the table of Step 2 and an epoch against K, and return the seconds of both."""
    page.section(
        f"Pseudo-inputs: {n_rows:,} rows x {N_FEATURES} columns, batches of {BATCH_SIZE}",
        "Step 2 of Algorithm 1, the closest pseudo-input of each row, is timed alone over all rows; the "
        "epoch of the estimator holds it and the training of all pseudo-inputs.",
    )
    page.header(
        "K | Step 2, CPU s | ns a row and K | MB added by it | epoch, CPU s | ns a row and K | "
        "MB added by fit | MB of the data"
    )
    searches, epochs = [], []
    for K in counts:
        task = {"rows": n_rows, "K": K, "at_least": at_least, "search": True}
        found = store.get(task, in_fresh_process, task)
        searches.append(found["search"])
        epochs.append(found["epoch"])
        page.row(
            f"{K:,}",
            f"{found['search']:.3f}",
            f"{1e9 * found['search'] / n_rows / K:.2f}",
            f"{found['search_added']:.0f}",
            f"{found['epoch']:.3f}",
            f"{1e9 * found['epoch'] / n_rows / K:.2f}",
            f"{found['peak'] - found['before']:.0f}",
            f"{found['data']:.0f}",
        )
    page.add()
    page.paragraph(
        f"Slopes of log seconds against log K; linear cost is 1. Step 2: {slopes(counts, searches)}. An "
        f"epoch, with its part that K does not change: {slopes(counts, epochs)}."
    )
    return searches, epochs


def draw(path, sizes, row_seconds, counts, searches, epochs, n_rows):
    """Draw two log-log plots, each with a line of slope 1 through the largest size."""
    from matplotlib.figure import Figure  # without pyplot no display is asked for

    figure = Figure(figsize=(11 if counts else 5.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2) if counts else (figure.subplots(), None)

    def line(axes, x, y):
        x = np.asarray(x, dtype=float)
        axes.plot(x, y[-1] * x / x[-1], "--", color="0.5", linewidth=1, label="slope 1")

    line(left, sizes, row_seconds)
    left.plot(sizes, row_seconds, "o-", color="C0", label="an epoch")
    left.set(xlabel="rows", title=f"{N_FEATURES} columns, batches of {BATCH_SIZE}")
    if counts:
        line(right, counts, searches)
        right.plot(counts, searches, "o-", color="C1", label="Step 2 alone")
        right.plot(counts, epochs, "s-", color="C0", label="an epoch")
        right.set(xlabel="pseudo-inputs K", title=f"{n_rows:,} rows")
    for axes in figure.axes:
        axes.set(xscale="log", yscale="log", ylabel="CPU seconds")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    save(figure, path)


def main():
    arguments = parser(__doc__, "plot", "resume")
    sizes = [10_000, 100_000, 1_000_000]
    arguments.add_argument("--rows", type=int, nargs="+", default=sizes, help="numbers of rows")
    arguments.add_argument("--pseudo-inputs", type=int, default=500, help="K for the growth with rows")
    arguments.add_argument(
        "--max-k", type=int, default=100_000, help="K from 100, powers of 10 up to this; 0: none"
    )
    arguments.add_argument("--k-rows", type=int, default=100_000, help="rows for the growth with K")
    arguments.add_argument("--seconds", type=float, default=3.0, help="at least, for small sizes")
    arguments = arguments.parse_args()
    if arguments.max_k > arguments.k_rows:
        raise SystemExit("There are no more pseudo-inputs than rows: --max-k must be at most --k-rows.")
    store = Store(arguments.resume)
    torch.set_num_threads(1)
    page = Page("How SWAE's cost grows", arguments.output)
    sizes = sorted(arguments.rows)
    counts = [10**e for e in range(2, 12) if 10**e <= arguments.max_k]
    row_seconds = against_rows(page, store, sizes, arguments.pseudo_inputs, arguments.seconds)
    searches, epochs = [], []
    if counts:
        searches, epochs = against_pseudo_inputs(page, store, counts, arguments.k_rows, arguments.seconds)
    if arguments.plot is not None:
        draw(arguments.plot, sizes, row_seconds, counts, searches, epochs, arguments.k_rows)
        page.image(arguments.plot, "Seconds against rows and pseudo-inputs")
    page.paragraph(store.note())


if __name__ == "__main__":
    run_script(main, work)
