"""Fits and calls in many threads and processes: are they equal to serial ones, and is anything left of them?

Each trial runs twice in a process of its own, which is killed after 10 minutes. Models of all classes, and
one with a network that draws from torch's global streams, are fitted on 100 digits and compared with the same
fits one after the other with one torch thread, to the bit. What the process has after the second time more
than after the first is counted: child processes, threads of the system, open files, and shared memory,
semaphores and folders that are not empty of joblib's. So is what is there when it has ended.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import torch
from _harness import Part, Store, parser, run_script, yes
from joblib.externals.loky import get_reusable_executor
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import skswae
from skswae.networks import GatedMLP
from skswae.training._auto import n_threads as threads_of

TIMEOUT = 600
DIGITS = load_digits()
X, Y = DIGITS.data[:100] / 16, DIGITS.target[:100]


class OwnNetwork(BaseEstimator):
    """Draws from torch's global streams where it is built and where it is trained."""

    def build_encoder(self, n_features, n_outputs):
        layers = torch.nn.Linear(n_features, 16), torch.nn.ReLU(), torch.nn.Dropout(0.1)
        return torch.nn.Sequential(*layers, torch.nn.Linear(16, n_outputs))

    build_decoder = build_encoder


MODELS: list[tuple[str, dict[str, Any]]] = [
    ("AETransformer", {}),
    ("VAETransformer", {}),
    ("WAETransformer", {"divergence": "mmd"}),
    ("WAETransformer", {"divergence": "gan"}),
    ("VampPriorTransformer", {"n_pseudo_inputs": 10}),
    ("MIMTransformer", {"n_pseudo_inputs": 10}),
    ("SWAETransformer", {}),
    ("SWAETransformer", {"network": OwnNetwork()}),
]


def made(number: int) -> Any:
    """Make one of the models, not fitted."""
    name, parameters = MODELS[number % len(MODELS)]
    common = {"network": GatedMLP((16,)), "n_components": 2, "max_iter": 2, "random_state": number}
    return getattr(skswae, name)(**{**common, "device": "cpu", **parameters})


def numbers(model: Any) -> str:
    """Return a hash of a fitted model's numbers and of what it computes."""
    state = {name: value.numpy() for name, value in model.module_.state_dict().items()}
    return joblib.hash([state, model.history_, used(model)])


def used(model: Any) -> str:
    """Return a hash of what a fitted model computes."""
    codes = model.transform(X)
    found = [codes, model.inverse_transform(codes), model.score_samples(X), model.sample(5, random_state=0)]
    return joblib.hash(found)


def fitted(number: int) -> str:
    """Fit one of the models, and return the hash of its numbers."""
    return numbers(made(number).fit(X))


def serial(n_fits: int) -> list[str]:
    """Fit one after the other with one torch thread."""
    torch.set_num_threads(1)
    return [fitted(number) for number in range(n_fits)]


def equal(found: list[Any], expected: list[Any]) -> list[int]:
    """Return how many there are and how many are equal."""
    return [len(expected), sum(a == b for a, b in zip(found, expected))]


# ---------------------------------------------------------------------------
# Trials: each returns how much it tried and how much of it was equal
# ---------------------------------------------------------------------------


def fits_in_threads() -> list[int]:
    """Fit 24 models in 8 threads."""
    expected = serial(24)
    with ThreadPoolExecutor(8, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return equal(list(pool.map(fitted, range(24))), expected)


def one_model_in_threads() -> list[int]:
    """Use one fitted model of each kind 20 times in 8 threads at once."""
    models = [made(number).fit(X) for number in range(len(MODELS))]
    tasks = [model for model in models for _ in range(20)]
    expected = [used(model) for model in models for _ in range(20)]
    with ThreadPoolExecutor(8, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return equal(list(pool.map(used, tasks)), expected)


def in_joblib(backend: str) -> list[int]:
    """Fit 16 models, and use 8 fitted ones, under a backend of joblib's with n_jobs=-1."""
    expected = serial(16)
    models = [made(number).fit(X) for number in range(len(MODELS))]
    run = joblib.Parallel(n_jobs=-1, backend=backend)
    found = run(joblib.delayed(fitted)(number) for number in range(16))
    found += run(joblib.delayed(used)(model) for model in models)
    return equal(found, expected + [used(model) for model in models])


def searches_in_threads() -> list[int]:
    """Search a grid with n_jobs=2 in two threads at once."""

    def search(n_jobs: int) -> str:
        model = make_pipeline(made(0), KNeighborsClassifier(3))
        grid = {"aetransformer__n_components": [2, 3]}
        found = GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, Y)
        return joblib.hash([found.cv_results_["mean_test_score"], numbers(found.best_estimator_[0])])

    expected = search(1)
    with ThreadPoolExecutor(2) as pool:
        return equal(list(pool.map(search, [2, 2])), [expected] * 2)


def many_threads(n_threads: int) -> None:
    """Fit a model that is large enough to be trained with several of torch's threads."""
    torch.set_num_threads(n_threads)
    model = skswae.SWAETransformer(batch_size=500, max_iter=3, device="cpu")
    model.fit(np.tile(X, (5, 1)))
    assert threads_of(model.module_, 500, torch.device("cpu")) == n_threads


def in_a_fork(function: Callable[[], Any], seconds: float = 120) -> Any:
    """Return what a forked process computes, as text; nothing if it hangs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + seconds
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.005)
    with os.fdopen(reading, "rb") as file:
        return file.read().decode()


def after_a_fork(n_threads: int) -> list[int]:
    """Fork a process that has trained with several torch threads; it trains on, too."""
    expected = serial(len(MODELS))
    model = made(6).fit(X)
    codes = used(model)
    many_threads(n_threads)
    kept = fitted(1)
    found = [in_a_fork(lambda number=number: fitted(number)) for number in range(len(MODELS))]
    found += [in_a_fork(lambda: used(model)), fitted(1)]
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        found += pool.map(fitted, range(len(MODELS)))
    pool.join()
    return equal(found, [*expected, codes, kept, *expected])


def forked_while_training(n_threads: int) -> list[int]:
    """Fork 20 times while another thread trains with several torch threads."""
    expected = serial(len(MODELS))
    many_threads(n_threads)
    stop = threading.Event()

    def train() -> None:
        while not stop.is_set():
            many_threads(n_threads)

    thread = threading.Thread(target=train)
    thread.start()
    found = []
    for number in range(20):
        time.sleep(0.01 * (number % 7))
        found.append(in_a_fork(lambda number=number: fitted(number % len(MODELS))))
    stop.set()
    thread.join()
    return equal(found, [expected[number % len(MODELS)] for number in range(20)])


def in_joblib_after_threads() -> list[int]:
    """Fit under joblib's forking backend after fits with several torch threads."""
    expected = serial(8)
    many_threads(4)
    found = joblib.Parallel(n_jobs=2, backend="multiprocessing")(map(joblib.delayed(fitted), range(8)))
    return equal(found, expected)


TRIALS: dict[str, tuple[Callable[..., list[int]], tuple]] = {
    "24 fits in 8 threads": (fits_in_threads, ()),
    "one fitted model of each kind in 8 threads": (one_model_in_threads, ()),
    "joblib, threading, n_jobs=-1": (in_joblib, ("threading",)),
    "joblib, loky, n_jobs=-1": (in_joblib, ("loky",)),
    "joblib, multiprocessing, n_jobs=-1": (in_joblib, ("multiprocessing",)),
    "GridSearchCV(n_jobs=2) in 2 threads": (searches_in_threads, ()),
    "fork after fits with 2 torch threads": (after_a_fork, (2,)),
    "fork after fits with 3 torch threads": (after_a_fork, (3,)),
    "fork after fits with 4 torch threads": (after_a_fork, (4,)),
    "fork while another thread trains, 2 torch threads": (forked_while_training, (2,)),
    "fork while another thread trains, 4 torch threads": (forked_while_training, (4,)),
    "joblib, multiprocessing, after fits with 4 torch threads": (in_joblib_after_threads, ()),
}


# ---------------------------------------------------------------------------
# What is left
# ---------------------------------------------------------------------------


def processes(field: int, pid: int) -> int:
    """Count the processes whose parent (field 1) or session (field 3) is this one."""
    n = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        n += int(fields[field]) == pid and int(path.parent.name) != pid
    return n


def shared(pid: int) -> list[pathlib.Path]:
    """List shared memory, semaphores and folders with the process's number in their names."""
    folders = (pathlib.Path("/dev/shm"), pathlib.Path(tempfile.gettempdir()))
    return [path for folder in folders for path in folder.iterdir() if str(pid) in path.name]


def held() -> dict[str, int]:
    """Count what this process has, without the workers that joblib keeps for the next call."""
    get_reusable_executor().shutdown(wait=True)
    gc.collect()
    pid, own = os.getpid(), pathlib.Path("/proc/self")
    # joblib makes two empty folders in each call, whatever is called, and removes them when the process ends
    places = [path for path in shared(pid) if path.is_file() or any(path.iterdir())]
    return {
        "processes": processes(1, pid),
        "threads": len(list((own / "task").iterdir())),
        "files": len(list((own / "fd").iterdir())),
        "shared": len(places),
    }


def work(task: dict) -> dict:
    """Make a trial twice."""
    function, arguments = TRIALS[task["trial"]]
    torch.set_num_threads(1)
    first, before = function(*arguments), held()
    second, after = function(*arguments), held()
    more = {name: after[name] - before[name] for name in before}
    return {"tried": first[0] + second[0], "equal": first[1] + second[1], "more": more}


def in_a_session(task: dict) -> dict:
    """Make a trial in a process of its own, and look for what it leaves; at its end in time or after."""
    command = [sys.executable, "-W", "ignore", sys.argv[0], "--worker", json.dumps(task)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=TIMEOUT)
        hangs = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        hangs = True
    deadline = time.monotonic() + 20  # joblib's tracker of resources ends after those it tracks
    while processes(3, process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = {"processes": processes(3, process.pid), "shared": len(shared(process.pid))}
    found = (
        json.loads(out.splitlines()[-1]) if process.returncode == 0 else {"tried": 1, "equal": 0, "more": {}}
    )
    return {**found, "hangs": hangs, "left": left}


def main():
    arguments = parser(__doc__, "resume").parse_args()
    store = Store(arguments.resume)
    page = Part("Threads and processes", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    page.header("trial | tried | equal | hangs | more processes, threads, files, shared | left after the end")
    tried = n_equal = lost = 0
    for name in TRIALS:
        task = {"trial": name}
        found = store.get(task, in_a_session, task)
        more, left = found["more"], found["left"]
        page.row(name, found["tried"], found["equal"], int(found["hangs"]),
                 ", ".join(map(str, more.values())), sum(left.values()))  # fmt: skip
        tried, n_equal = tried + found["tried"], n_equal + found["equal"]
        lost += found["hangs"] + sum(left.values()) + sum(n > 0 for n in more.values())
    page.add()
    lost += tried - n_equal
    page.paragraph(
        f"Tried {tried}, equal to serial {n_equal}, lost in all (different, hung or left behind) {lost}. "
        f"Bound: none lost: {yes(lost == 0)}."
    )
    page.paragraph(store.note())
    sys.exit(lost > 0)


if __name__ == "__main__":
    run_script(main, work)
