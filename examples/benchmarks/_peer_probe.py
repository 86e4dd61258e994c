"""What ``peers.py`` runs in the environment of a package: ``python _peer_probe.py TASK_FILE``.

It imports nothing of this repository: the environment has the package and what that needs.
"""

import importlib.metadata
import json
import pathlib
import pickle
import sys
import types
import warnings

START = """
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
"""


def tell(name, **found):
    """Print a finding as a line of JSON."""
    print("FOUND " + json.dumps({"name": name, **found}), flush=True)


def attempt(name, function, *arguments):
    """Tell what a call returns, or which error it raises."""
    try:
        tell(name, ok=True, value=function(*arguments))
    except Exception as error:  # whatever a package raises is a finding
        tell(name, ok=False, error=f"{type(error).__name__}: {error}"[:300])


def namespace(*codes):
    """Run the texts in turn, after ``START``, in one module, and return its names."""
    module = types.ModuleType("job")  # where pickle finds classes again
    sys.modules["job"] = module
    for code in (START, *codes):
        exec(compile(code, "job", "exec"), vars(module))
    return vars(module)


def features(task):
    """Try what an estimator of scikit-learn's can do."""
    import numpy as np
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    names = namespace(task["setup"])
    rows, labels = names["X_train"][:300], names["y_train"][:300]

    def make():
        return eval(task["quick"], names)

    def search():
        pipe = make_pipeline(make(), KNeighborsClassifier(5))
        grid = {f"{pipe.steps[0][0]}__{task['parameter']}": task["values"]}
        return float(GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(rows, labels).best_score_)

    def pickled():
        fitted = make().fit(rows)
        again = pickle.loads(pickle.dumps(fitted))
        if not np.allclose(again.transform(rows), fitted.transform(rows), atol=1e-4):
            raise AssertionError("the codes differ after pickling")

    def pipeline():
        return make_pipeline(make(), KNeighborsClassifier(5)).fit(rows, labels).score(rows, labels)

    def method(name):
        def call():
            fitted = make().fit(rows)
            argument = 5 if name == "sample" else fitted.transform(rows[:5])
            return list(np.asarray(getattr(fitted, name)(argument)).shape)

        return call

    for name, call in (
        ("transform", lambda: list(make().fit(rows).transform(rows).shape)),
        ("inverse_transform", method("inverse_transform")),
        ("sample", method("sample")),
        ("Pipeline", pipeline),
        ("GridSearchCV", search),
        ("pickle", pickled),
    ):
        attempt(name, call)
    attempt("device", lambda: [p for p in make().get_params() if "device" in p])


def checks(task):
    """Count scikit-learn's own checks of an estimator by how they ended."""
    from sklearn.utils.estimator_checks import check_estimator

    estimator = eval(task["quick"], namespace(task["setup"]))
    counts = {"passed": 0, "failed": 0, "skipped": 0, "xfail": 0}

    def seen(estimator, check_name, exception, status, expected_to_fail, expected_to_fail_reason):
        counts[status] += 1
        if status == "failed":
            print(check_name, type(exception).__name__, str(exception)[:200], flush=True)
        tell("checks", ok=True, value=counts)

    check_estimator(estimator, on_skip=None, on_fail=None, callback=seen)


def weight():
    """Return the bytes of the files of this environment's packages, without bytecode, and their versions."""
    sizes, versions = {}, {}
    for found in importlib.metadata.distributions():
        files = [pathlib.Path(str(found.locate_file(f))) for f in found.files or () if f.suffix != ".pyc"]
        name = found.metadata["Name"].lower()
        sizes[name] = sum(f.stat().st_size for f in files if f.is_file())
        versions[name] = found.version
    return {"sizes": sizes, "versions": versions}


def main():
    """Do what the file says, in the current folder."""
    warnings.simplefilter("ignore")
    task = json.loads(pathlib.Path(sys.argv[1]).read_text())
    kind = task["kind"]
    if kind == "weight":
        attempt("weight", weight)
    elif kind == "run":
        attempt(task["name"], lambda: namespace(*task["codes"]) and None)
    elif kind == "features":
        features(task)
    else:
        checks(task)


if __name__ == "__main__":
    main()
