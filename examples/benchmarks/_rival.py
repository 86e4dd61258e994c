"""One way to reduce rows, measured in a process of its own that imports nothing before its clock runs.

``python _rival.py`` reads a task a line from its input and answers each with a line of JSON. The first task
is done twice: as a script's user meets it, with what is imported and compiled, and again. Later ones are
done once, with all of that in memory. Judging the codes is never timed.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

TRANSFORM_REPEATS, TRANSFORM_SECONDS = 5, 2.0  # calls are repeated until there are as many, or took as long


def pca(k):
    from sklearn.decomposition import PCA

    return PCA(k, random_state=0)


def swae(k, max_iter="auto"):
    from skswae import SWAETransformer

    return SWAETransformer(k, max_iter=max_iter, device="cpu", random_state=0)


def ae(k):
    from skswae import AETransformer

    return AETransformer(k, device="cpu", random_state=0)


def umap(k):
    from umap import UMAP

    return UMAP(n_components=k)  # without a seed it may use all threads


def pacmap(k):
    from pacmap import PaCMAP

    return PaCMAP(n_components=k, save_tree=True)  # the index of the rows, which transform would build again


class Raw:
    """The rows themselves."""

    def fit(self, X):
        return self

    def transform(self, X):
        return X


RIVALS = {"raw": lambda k: Raw(), "pca": pca, "swae": swae, "ae": ae, "umap": umap, "pacmap": pacmap}


def now() -> np.ndarray:
    """Return wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(make, X, X_test, *, repeats=TRANSFORM_REPEATS):
    """Return the fitted model, the codes of both sets of rows, and the seconds of each part."""
    seconds = {}
    start = now()
    model = make()
    made = now()
    seconds["import"] = made - start
    model.fit(X)
    fitted = now()
    seconds["fit"] = fitted - made
    Z = getattr(model, "embedding_", None)  # the codes are the fit's result
    if Z is None:
        Z = model.transform(X)
    seconds["codes"] = now() - fitted
    times: list[np.ndarray] = []
    while len(times) < repeats and sum(t[0] for t in times) < TRANSFORM_SECONDS:
        start = now()
        Z_test = model.transform(X_test)
        times.append(now() - start)
    seconds["transform"] = np.median(times, axis=0)
    flat = {f"{name}_{kind}": float(s) for name, pair in seconds.items() for kind, s in zip(KINDS, pair)}
    return model, Z, Z_test, flat


KINDS = ("wall", "cpu")


def judge(model, Z, Z_test, y, y_test, X_test, threads):
    """Return the 5-NN accuracy of the codes, and the reconstruction error where there is a decoder."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(5, n_jobs=threads).fit(Z, y)
    found = {"accuracy": float(classifier.score(Z_test, y_test))}
    # UMAP has an inverse too: an optimisation for each row, after a triangulation that 8 components rule out
    if hasattr(model, "inverse_transform") and not hasattr(model, "embedding_"):
        error = np.square(X_test - model.inverse_transform(Z_test), dtype=np.float64)
        found["error"] = float(error.sum(axis=1).mean())
    if hasattr(model, "n_iter_"):
        found["epochs"] = int(model.n_iter_)
    return found


def answer(task: dict, first: bool) -> dict:
    """Measure a task, the first one twice."""
    with np.load(task["data"]) as data:
        X, X_test, y, y_test = (data[name] for name in ("X", "X_test", "y", "y_test"))
    found = {}

    def make():
        return RIVALS[task["rival"]](task["k"], **task["parameters"])

    if first:
        found["first"] = measure(make, X, X_test, repeats=1)[-1]
    model, Z, Z_test, seconds = measure(make, X, X_test)
    return {**found, **seconds, **judge(model, Z, Z_test, y, y_test, X_test, task["threads"])}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    first = True
    for line in sys.stdin:
        try:
            found = answer(json.loads(line), first)
            first = False
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
