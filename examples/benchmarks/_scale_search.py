"""Many small fits: a search of 100 fits of digits by several ways, against the arithmetic of its steps.

``python _scale_search.py`` prints the lines of the page. Each way runs in a fresh process.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from _harness import markdown_table
from _literal import BareProducts, ProductsAndAdam, swae_products
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae import SWAETransformer

FULL = {"betas": 5, "seeds": 4, "folds": 5, "rows": 1797, "epochs": 5}
QUICK = {"betas": 1, "seeds": 2, "folds": 2, "rows": 200, "epochs": 1}
WAYS = {
    "loop": ("a plain loop of the fits, without a search", None),
    "serial": ("`GridSearchCV(n_jobs=1)`", None),
    "loky": ("`n_jobs=2` (loky)", None),
    "dask": ("Dask, 2 workers of 1 thread", "distributed"),
    "ray": ("Ray, 2 workers", "ray"),
}
PROCESSES = (1, 2, 4, 8)  # on one GPU


# ---------------------------------------------------------------------------
# CPU seconds of a process and of those that it has started, directly or not
# ---------------------------------------------------------------------------


class CPUWatch:
    """Within the block, CPU seconds of this process and its descendants, looked at every 0.1 s."""

    def __enter__(self):
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._look(at_start=True)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.1):
            self._look()

    def _look(self, at_start=False):
        tick, parents, seconds = os.sysconf("SC_CLK_TCK"), {}, {}
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                pid = int(path.parent.name)
                parents[pid], seconds[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
        for pid in parents:
            above = pid
            while above in parents and above != os.getpid():
                above = parents[above]
            if above == os.getpid():
                self._last[pid] = seconds[pid]
                self._first.setdefault(pid, seconds[pid] if at_start else 0.0)

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> float:
        """What was computed since the block began."""
        return sum(self._last.values()) - sum(self._first.values())


# ---------------------------------------------------------------------------
# The search
# ---------------------------------------------------------------------------


def rows_of(size: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return digits in [0, 1], float32, and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X[: size["rows"]] / 16).astype(np.float32), y[: size["rows"]]


def search_of(size: dict[str, int], device: str = "cpu") -> GridSearchCV:
    """Return the search, not fitted."""
    swae = SWAETransformer(8, max_iter=size["epochs"], device=device)
    grid = {
        "swae__beta": np.linspace(0.1, 0.9, size["betas"]).tolist(),
        "swae__random_state": list(range(size["seeds"])),
    }
    pipe = Pipeline([("swae", swae), ("knn", KNeighborsClassifier(5))])
    cv = StratifiedKFold(size["folds"])
    return GridSearchCV(pipe, grid, cv=cv, refit=False, error_score="raise")


def loop(search: GridSearchCV, X: np.ndarray, y: np.ndarray) -> float:
    """Make the fits and scores of a search one after the other; return the best mean."""
    means = []
    for parameters in ParameterGrid(search.param_grid):
        scores = []
        for train, test in search.cv.split(X, y):
            model = clone(search.estimator).set_params(**parameters).fit(X[train], y[train])
            scores.append(model.score(X[test], y[test]))
        means.append(np.mean(scores))
    return float(max(means))


@contextlib.contextmanager
def backend(way: str, X: np.ndarray, y: np.ndarray) -> Iterator[Any]:
    """Start what a way needs, and give joblib's configuration."""
    import joblib

    if way == "dask":
        from dask.distributed import Client, LocalCluster

        local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**local) as cluster, Client(cluster):
            yield joblib.parallel_config("dask", scatter=[X, y])
    elif way == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()
        yield joblib.parallel_config("ray", n_jobs=2)
        ray.shutdown()
    else:
        yield joblib.parallel_config(n_jobs=2 if way == "loky" else 1)


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Search in one of the ways, in a fresh process."""
    torch.set_num_threads(1)
    size = task["size"]
    X, y = rows_of(size)
    if "device" in task:
        return on_device(task, X, y)
    first = search_of({**QUICK, "seeds": 1})
    loop(first, X[:200], y[:200])  # lazy imports
    search = search_of(size)
    start = time.perf_counter()
    with CPUWatch() as cpu, backend(task["way"], X, y) as config:
        started = time.perf_counter() - start
        if task["way"] == "loop":
            best = loop(search, X, y)
        else:
            with config:
                best = float(search.fit(X, y).best_score_)
        wall = time.perf_counter() - start - started
    return {"wall": wall, "start": started, "cpu": cpu.seconds, "best": best}


def on_device(task: dict[str, Any], X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Fit again and again on a device, from the moment that all processes are ready for some seconds."""
    model = search_of(task["size"], task["device"]).estimator["swae"].set_params(random_state=0)
    model.fit(X)
    print("ready", flush=True)
    sys.stdin.readline()
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < task["seconds"]:
        clone(model).fit(X)
        n += 1
    return {"rate": n / (time.perf_counter() - start)}


def command(task: dict[str, Any]) -> list[str]:
    return [sys.executable, "-W", "ignore", __file__, json.dumps(task)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def side_by_side(n_processes: int, size: dict[str, int], seconds: float, device: str) -> float:
    """Return the fits a second of several processes on one device."""
    task = {"size": size, "device": device, "seconds": seconds}
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command(task), env=environment(), **options) for _ in range(n_processes)]
    for process in processes:
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                raise RuntimeError("A process has ended before it was ready.")
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(json.loads(process.communicate()[0].splitlines()[-1])["rate"] for process in processes)


def arithmetic(size: dict[str, int]) -> dict[str, float]:
    """Time what the steps of all fits cannot do without: their products, and Adam, at the sizes of a fit."""
    torch.set_num_threads(1)
    X, y = rows_of(size)
    search = search_of(size)
    train, _ = next(iter(search.cv.split(X, y)))
    epochs = SWAETransformer(8, max_iter=1, device="cpu", random_state=0).fit(X[train])
    steps = max(1, len(train) // epochs.batch_size_) * size["epochs"]
    products = BareProducts(swae_products(X.shape[1], epochs.n_pseudo_inputs_), epochs.batch_size_)
    both = ProductsAndAdam(products, epochs.module_.parameters())
    found = {}
    for name, side in (("products", products), ("with_adam", both)):
        side.steps(steps)
        times = []
        for _ in range(5):
            start = time.process_time()
            side.steps(steps)
            times.append(time.process_time() - start)
        found[name] = float(np.median(times)) * n_fits(size)
    return {**found, "steps": steps, "batch": epochs.batch_size_}


def n_fits(size: dict[str, int]) -> int:
    return size["betas"] * size["seeds"] * size["folds"]


def installed(package: str | None) -> bool:
    if package is not None:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return False
    return True


def measure(quick: bool = False) -> dict[str, Any]:
    """Measure the ways that there are packages for, and processes on a GPU; quickly, two ways only."""
    size = QUICK if quick else FULL
    results: dict[str, Any] = {"size": size, "arithmetic": arithmetic(size), "ways": {}, "gpu": {}}
    for way, (_, package) in WAYS.items():
        task = {"way": way, "size": size}
        if quick and way in ("loop", "serial"):
            results["ways"][way] = work(task)
        elif not quick and installed(package):
            done = subprocess.run(command(task), stdout=subprocess.PIPE, check=True, env=environment())
            results["ways"][way] = json.loads(done.stdout.splitlines()[-1])
    if torch.cuda.is_available():
        results["device"] = torch.cuda.get_device_name()
        for n in PROCESSES:
            results["gpu"][str(n)] = side_by_side(n, size, 2 if quick else 15, "cuda")
    return results


def lines(results: dict[str, Any]) -> list[str]:
    """Return the section of the page."""
    size, floor, ways = results["size"], results["arithmetic"], results["ways"]
    fits = n_fits(size)
    text = (
        f"{fits} fits of `SWAETransformer(8, max_iter={size['epochs']})` and a 5-NN score each: "
        f"{size['betas']} values of beta x {size['seeds']} seeds x {size['folds']} folds of "
        f"{size['rows']:,} digits, {floor['steps']} steps in batches of {floor['batch']}; no last fit. "
        "Arithmetic: the matrix products of these steps alone (`torch.mm` on tensors of the same sizes), "
        f"and products with Adam's updates, timed on one thread and times {fits}. Seconds of a way do not "
        "count the start of a cluster, which stands beside them, but do count what workers import. CPU "
        "seconds are those of all its processes, start included. One torch thread a process."
    )
    head = ["", "start, s", "s", "CPU s", "CPU s by those of the arithmetic", "best mean accuracy"]
    rows: list[list[Any]] = [
        [name, "", "", f"{floor[key]:.1f}", f"{floor[key] / floor['with_adam']:.2f}", ""]
        for name, key in (("products", "products"), ("products and Adam (the arithmetic)", "with_adam"))
    ]
    for way, (name, _) in WAYS.items():
        if way in ways:
            found = ways[way]
            ratio = f"{found['cpu'] / floor['with_adam']:.2f}"
            numbers = f"{found['start']:.1f}", f"{found['wall']:.1f}", f"{found['cpu']:.1f}"
            rows.append([name, *numbers, ratio, f"{found['best']:.4f}"])
        else:
            rows.append([name, "not measured", "", "", "", ""])
    found = ["## Many small fits", "", text, "", *markdown_table(head, rows)]
    found += ["### Several processes on one GPU", ""]
    if not results["gpu"]:
        return [*found, "There was no GPU.", ""]
    found += [f"Fits a second of all processes together, on {results['device']}.", ""]
    first = results["gpu"]["1"]
    cells = [[n, f"{rate:.2f}", f"{rate / first:.2f}"] for n, rate in results["gpu"].items()]
    return found + markdown_table(["processes", "fits/s", "times one process"], cells)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(work(json.loads(sys.argv[1]))))
    else:
        print("\n".join(lines(measure())))
