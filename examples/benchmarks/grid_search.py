"""A grid search over SWAE in a pipeline on digits: its cost beyond the training steps, and in parallel.

GridSearchCV over 4 values of beta and 5 of n_components in 5 folds, and a last fit to all rows, in three
ways: one process with one torch thread, one process with all threads, and two processes (joblib's loky).
Each runs in a fresh process, so that the settings of its threads are its own.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from _report import Report, parser
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

import skswae._base
import skswae._module
from skswae import SWAETransformer

GRID = {"swae__beta": [0.0, 0.25, 0.5, 0.75], "swae__n_components": [2, 4, 8, 16, 32]}
N_FOLDS = 5
WAYS = {
    "one": "one process, one thread",
    "threads": "one process, all threads",
    "processes": "n_jobs=2",
}
OVERHEAD, SPEEDUP = 0.15, 1.7  # the bounds
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PARTS = {
    "steps": "training steps: forward, backward, Adam, schedule",
    "batches": "gathering of the batches",
    "pca": "the start from PCA",
    "transform": "transform",
    "knn": "KNeighborsClassifier's fit and score",
}


class Stopwatches:
    """CPU seconds spent in functions that are replaced by timed ones."""

    def __init__(self):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.calls = dict.fromkeys(PARTS, 0)

    def wrap(self, owner, name: str, part: str, generator: bool = False) -> None:
        """Time owner.name, or, of a function that yields, what it does between two yields."""
        function = getattr(owner, name, None)
        if function is None:
            raise SystemExit(f"This benchmark times {owner.__name__}.{name}, which is no longer there.")

        def timed(*args, **keywords):
            start = time.process_time()
            try:
                return function(*args, **keywords)
            finally:
                self.seconds[part] += time.process_time() - start
                self.calls[part] += 1

        def timed_generator(*args, **keywords):
            items, end = iter(function(*args, **keywords)), object()
            while True:
                start = time.process_time()
                item = next(items, end)
                self.seconds[part] += time.process_time() - start
                self.calls[part] += 1
                if item is end:
                    return
                yield item

        setattr(owner, name, timed_generator if generator else timed)

    def check(self) -> None:
        """Each was called; else something else does the work now."""
        silent = [PARTS[part] for part, n in self.calls.items() if n == 0]
        if silent:
            raise SystemExit(f"This benchmark found no call of: {'; '.join(silent)}.")


def watched() -> Stopwatches:
    """Stopwatches on the package's functions and the classifier's; none is called within another."""
    watches = Stopwatches()
    # by the names under which fit finds them, wherever they are defined
    step = getattr(skswae._base, "EagerStep", None)
    sources = [getattr(skswae._base, name, None) for name in ("TensorSource", "HostSource")]
    if step is None or not any(sources):
        raise SystemExit("This benchmark times EagerStep and TensorSource, which skswae._base no longer has.")
    watches.wrap(step, "__call__", "steps")
    for source in filter(None, sources):
        watches.wrap(source, "shuffled", "batches", generator=True)
    watches.wrap(skswae._module, "_pca_start", "pca")
    watches.wrap(SWAETransformer, "transform", "transform")
    for name in ("fit", "score"):
        watches.wrap(KNeighborsClassifier, name, "knn")
    return watches


def pipeline(max_iter):
    """SWAE and a classifier."""
    swae = SWAETransformer(max_iter=max_iter, device="cpu", random_state=0)
    return Pipeline([("swae", swae), ("knn", KNeighborsClassifier(5))])


def cpu_seconds() -> float:
    """Of this process and of those of its children that have ended."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def work(way: str, max_iter: int) -> dict:
    """What a fresh process does."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    pipeline(1).fit(X[:300], y[:300]).score(X[:300], y[:300])  # lazy imports
    search = GridSearchCV(pipeline(max_iter), GRID, cv=N_FOLDS, n_jobs=2 if way == "processes" else 1)
    watches = watched() if way == "one" else None
    start, cpu, own = time.perf_counter(), cpu_seconds(), time.process_time()
    search.fit(X, y)
    wall, own = time.perf_counter() - start, time.process_time() - own
    if way == "processes":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)  # their seconds count when they have ended
    result = {
        "wall": wall,
        "cpu": cpu_seconds() - cpu,
        "threads": torch.get_num_threads(),
        "score": float(search.best_score_),
    }
    if watches is not None:
        watches.check()
        result["parts"] = {**watches.seconds, "rest": own - sum(watches.seconds.values())}
    return result


def in_fresh_process(way: str, max_iter: int) -> dict:
    """The result of :func:`work`."""
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    if way == "one":
        environment |= dict.fromkeys(THREAD_VARIABLES, "1")
    command = [sys.executable, __file__, "--worker", way, str(max_iter)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def yes(holds: bool) -> str:
    """The answer to a bound."""
    return "yes" if holds else "**no**"


def main():
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(sys.argv[2], int(sys.argv[3]))))
        return
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--max-iter", type=int, default=10, help="epochs of each fit")
    arguments.add_argument("--repeats", type=int, default=2)
    arguments = arguments.parse_args()
    report = Report("Grid search", arguments.output)
    n_settings = len(GRID["swae__beta"]) * len(GRID["swae__n_components"])
    report.add(
        f"{n_settings} settings x {N_FOLDS} folds and the last fit, max_iter={arguments.max_iter}, 1,797 "
        f"rows of digits in [0, 1]. Medians of {arguments.repeats} run(s), the ways in turns. The seconds of "
        "n_jobs=2 include the start of its processes, which import torch."
    )
    report.add()
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for way, results in runs.items():
            results.append(in_fresh_process(way, arguments.max_iter))

    report.header("", "torch threads of the main process", "s", "all s", "CPU s", "best mean accuracy")
    wall = {}
    for way, results in runs.items():
        wall[way] = statistics.median(r["wall"] for r in results)
        report.row(
            WAYS[way],
            results[0]["threads"],
            f"{wall[way]:.1f}",
            ", ".join(f"{r['wall']:.1f}" for r in results),
            f"{statistics.median(r['cpu'] for r in results):.1f}",
            f"{results[0]['score']:.4f}",
        )
    report.add()
    speedup = wall["one"] / wall["processes"]
    report.add(
        f"Bound: n_jobs=2 at least {SPEEDUP} times as fast as one process with one thread: "
        f"{yes(speedup >= SPEEDUP)}, {speedup:.2f} times."
    )
    report.add()
    report.add(
        f"Bound: n_jobs=2 never slower than one process with all threads: "
        f"{yes(wall['processes'] <= wall['threads'])}, "
        f"{wall['threads'] / wall['processes']:.2f} times as fast."
    )
    report.add()

    report.add("## Where the time of one process with one thread goes")
    report.add()
    parts = {
        part: statistics.median(r["parts"][part] for r in runs["one"]) for part in runs["one"][0]["parts"]
    }
    total, steps = sum(parts.values()), parts["steps"]
    report.header("part", "CPU s", "of all", "of the steps")
    for part, seconds in parts.items():
        name = PARTS.get(
            part, "the rest: checks, building of networks, the last pass of a fit, the search itself"
        )
        report.row(name, f"{seconds:.2f}", f"{seconds / total:.1%}", f"{seconds / steps:.1%}")
    report.add()
    overhead = (total - parts["knn"] - steps) / steps
    report.add(
        "The overhead is all that is neither a training step nor the classifier: the gathering of batches, "
        "PCA's start, transform and the rest, over the seconds of the training steps. "
        f"Bound: at most {OVERHEAD:.0%}: {yes(overhead <= OVERHEAD)}, {overhead:.1%}."
    )
    report.add()


if __name__ == "__main__":
    main()
