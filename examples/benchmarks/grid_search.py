"""A grid search over SWAE in a pipeline on digits, one after another and in parallel.

GridSearchCV over 4 values of beta and 5 of n_components in 5 folds, and a last fit to all rows, in three
ways: one process with one torch thread, one process with all threads, and two processes (joblib's loky).
Each runs in a fresh process, so that the settings of its threads are its own.
"""

from __future__ import annotations

import resource
import statistics
import time

import torch
from _harness import Page, in_fresh_process, interleaved, parser, run_script, yes
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae import SWAETransformer

GRID = {"swae__beta": [0.0, 0.25, 0.5, 0.75], "swae__n_components": [2, 4, 8, 16, 32]}
N_FOLDS = 5
WAYS = {
    "one": "one process, one thread",
    "threads": "one process, all threads",
    "processes": "n_jobs=2",
}
SPEEDUP = 1.7  # the bound


def pipeline(max_iter):
    """Return SWAE and a classifier."""
    swae = SWAETransformer(max_iter=max_iter, device="cpu", random_state=0)
    return Pipeline([("swae", swae), ("knn", KNeighborsClassifier(5))])


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those of its children that have ended."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def work(task: dict) -> dict:
    """Search in one of the ways, in a fresh process."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    pipeline(1).fit(X[:300], y[:300]).score(X[:300], y[:300])  # lazy imports
    n_jobs = 2 if task["way"] == "processes" else 1
    search = GridSearchCV(pipeline(task["max_iter"]), GRID, cv=N_FOLDS, n_jobs=n_jobs)
    start, cpu = time.perf_counter(), cpu_seconds()
    search.fit(X, y)
    wall = time.perf_counter() - start
    if n_jobs > 1:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)  # only those that have ended are counted
    return {
        "wall": wall,
        "cpu": cpu_seconds() - cpu,
        "threads": torch.get_num_threads(),
        "score": float(search.best_score_),
    }


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--max-iter", type=int, default=10, help="epochs of each fit")
    arguments.add_argument("--repeats", type=int, default=2)
    arguments = arguments.parse_args()
    page = Page("Grid search", arguments.output)
    n_settings = len(GRID["swae__beta"]) * len(GRID["swae__n_components"])
    page.paragraph(
        f"{n_settings} settings x {N_FOLDS} folds and the last fit, max_iter={arguments.max_iter}, 1,797 "
        f"rows of digits in [0, 1]. Medians of {arguments.repeats} run(s), the ways in turns. The seconds of "
        "n_jobs=2 include the start of its processes, which import torch."
    )

    def run(way):
        task = {"way": way, "max_iter": arguments.max_iter}
        return lambda: in_fresh_process(task, threads=1 if way == "one" else None)

    page.header(" | torch threads of the main process | s | all s | CPU s | best mean accuracy")
    wall = {}
    for way, results in interleaved({way: run(way) for way in WAYS}, arguments.repeats).items():
        wall[way] = statistics.median(r["wall"] for r in results)
        page.row(
            WAYS[way],
            results[0]["threads"],
            f"{wall[way]:.1f}",
            ", ".join(f"{r['wall']:.1f}" for r in results),
            f"{statistics.median(r['cpu'] for r in results):.1f}",
            f"{results[0]['score']:.4f}",
        )
    page.add()
    speedup, gain = wall["one"] / wall["processes"], wall["threads"] / wall["processes"]
    page.paragraph(
        f"Bound: n_jobs=2 at least {SPEEDUP} times as fast as one process with one thread: "
        f"{yes(speedup >= SPEEDUP)}, {speedup:.2f} times."
    )
    page.paragraph(
        f"Bound: n_jobs=2 never slower than one process with all threads: {yes(gain >= 1)}, "
        f"{gain:.2f} times as fast."
    )


if __name__ == "__main__":
    run_script(main, work)
