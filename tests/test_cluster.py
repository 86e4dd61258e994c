"""Searches under Dask and Ray, studies of several processes, inference on workers: the guide's lines, run.

For ``.ci/cluster``, whose environment has these packages. The guide's blocks run once, in one namespace; the
tests look at what they leave, and go on with the cluster that they have started.
"""

import asyncio
import contextlib
import copy
import glob
import importlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skswae import SWAETransformer, export_onnx, save_model
from skswae.networks import GatedMLP

GUIDE = pathlib.Path(__file__).parent.parent / "docs" / "guide"
BLOCKS = {
    page: re.findall(r"^```py\n(.*?)^```$", (GUIDE / page).read_text(), re.M | re.S)
    for page in ("scale_search.md", "scale_inference.md")
}
pytestmark = pytest.mark.filterwarnings("default")  # these packages have warnings of their own


def run_blocks(page, names, without="study = "):
    """Run the blocks of a page, and yield after each."""
    for block in BLOCKS[page]:
        if without not in block:
            # devices that this machine has not
            block = block.replace("ray.init(num_cpus=2, ", "ray.init(num_cpus=2, num_gpus=2, ")
            exec(compile(block, page, "exec"), names)
            yield block


def close(names):
    """End what a page has started."""
    if "ray" in names:
        names["ray"].shutdown()
    for name in ("client", "cluster"):
        if name in names:
            names[name].close()


@pytest.mark.cluster  # first: the clusters of the other page are kept to the end
def test_the_recipes_for_codes_on_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    try:
        list(run_blocks("scale_inference.md", names))
    finally:
        close(names)
    expected = names["swae"].transform(names["frame"])
    assert names["Z"].dtype == names["found"].dtype == np.float32
    assert names["found"].shape == names["Z"].shape
    np.testing.assert_array_equal(names["Z"], expected)
    for folder in ("codes", "codes_ray"):
        table = pd.read_parquet(folder).sort_values("id")
        np.testing.assert_array_equal(table.pop("id"), np.arange(len(expected)))
        assert set(table.dtypes) == {np.dtype(np.float32)}
        np.testing.assert_array_equal(table.to_numpy(), expected)


@pytest.fixture(scope="module")
def guide():
    """The names of the page after its last block; ``searches`` are the search after each of its fits."""
    names = {"__name__": "page", "searches": []}
    try:
        for block in run_blocks("scale_search.md", names):
            if "with joblib" in block:
                names["searches"].append(copy.deepcopy(names["search"]))
        yield names
    finally:
        close(names)


@pytest.mark.cluster
def test_a_search_equals_a_serial_one(guide):
    serial = clone(guide["search"]).fit(guide["X"], guide["y"])
    assert len(guide["searches"]) == 3  # Dask, Ray, and Dask with all arrays on all workers
    for search in guide["searches"]:
        for name in ("params", "mean_test_score", "std_test_score"):
            np.testing.assert_array_equal(search.cv_results_[name], serial.cv_results_[name])
        assert search.best_params_ == serial.best_params_
        a, b = (s.best_estimator_[0].transform(guide["X"]) for s in (search, serial))
        np.testing.assert_array_equal(a, b)


class Shaky(TransformerMixin, BaseEstimator):
    """Hands the rows on; fits fail, or end their process, but not ``parent``, as often as ``deaths``."""

    def __init__(self, fails=False, deaths=0, parent=None, log="", number=0):
        self.fails = fails
        self.deaths = deaths
        self.parent = parent
        self.log = log
        self.number = number

    def fit(self, X, y=None):
        if self.fails:
            raise ValueError("this fit fails")
        if self.deaths and os.getpid() != self.parent:
            log = pathlib.Path(self.log)
            if (len(log.read_text()) if log.exists() else 0) < self.deaths:
                with log.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def transform(self, X):
        return np.asarray(X)


class Counted(np.ndarray):
    """Rows that count how often they are pickled, here or in a worker."""

    log = ""

    def __array_finalize__(self, other):
        self.log = getattr(other, "log", self.log)

    def __reduce_ex__(self, protocol):
        if len(self) == 150:  # not those of a fold
            with open(self.log, "a") as file:
                file.write("x")
        return restored, (np.asarray(self), self.log)


def restored(rows, log):
    """Make counted rows of an array."""
    rows = rows.view(Counted)
    rows.log = log
    return rows


@pytest.fixture
def counted(tmp_path):
    X, y = load_iris(return_X_y=True)
    return restored(X, str(tmp_path / "pickles")), y


def search_of(**parameters):
    pipe = make_pipeline(Shaky(parent=os.getpid()), KNeighborsClassifier())
    return GridSearchCV(pipe, {f"shaky__{name}": values for name, values in parameters.items()}, cv=2)


def n_pickles(search, X, y, *config, **keywords):
    pathlib.Path(X.log).write_text("")
    with joblib.parallel_config(*config, **keywords):
        search.set_params(refit=False, error_score="raise").fit(X, y)
    return len(pathlib.Path(X.log).read_text())


@pytest.mark.cluster
def test_dask_gets_x_once(guide, counted):
    from distributed.protocol import dask_serialize

    X, y = counted

    @dask_serialize.register(Counted)
    def refuse(rows):
        raise NotImplementedError  # pickle it: Dask would send an array's memory as it is

    guide["client"].wait_for_workers(2)
    found = [n_pickles(search_of(number=range(n)), X, y, "dask", scatter=[X]) for n in (3, 12)]
    assert found[0] == found[1]  # of 6 and of 24 fits
    assert 1 <= found[0] <= 4  # to two workers, one of which may send it on


@pytest.mark.cluster
def test_ray_gets_x_once_from_its_store_and_else_with_each_fit(guide, counted):
    X, y = counted
    assert n_pickles(search_of(number=range(3)), X, y, "ray", n_jobs=2) == 6  # if fewer, mend the page
    pathlib.Path(X.log).write_text("")
    reference = guide["ray"].put(X)
    stored = guide["InStore"](reference)
    with joblib.parallel_config("ray", n_jobs=2):
        search_of(number=range(3)).set_params(refit=False, error_score="raise").fit(stored, y)
    assert len(pathlib.Path(X.log).read_text()) == 1


@pytest.mark.cluster
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_fit_that_fails(backend, guide):
    X, y = load_iris(return_X_y=True)
    with joblib.parallel_config(backend, n_jobs=2):
        with pytest.raises(ValueError, match="this fit fails") as caught:
            search_of(fails=[True, False]).set_params(error_score="raise").fit(X, y)
        with pytest.warns(FitFailedWarning, match="this fit fails"):
            search = search_of(fails=[False, True]).fit(X, y)
    assert "in fit" in str(caught.value.__cause__)  # the worker's traceback
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])


@pytest.mark.cluster
def test_a_worker_that_dies(guide, tmp_path):
    """Under Dask others make its fits, if they have all arrays; a search under Ray ends with an error."""
    X, y = load_iris(return_X_y=True)
    expected = search_of(number=range(6)).fit(X, y)
    guide["client"].wait_for_workers(2)
    dies = search_of(number=range(6), deaths=[1], log=[str(tmp_path / "dask")])
    folds = list(StratifiedKFold(2).split(X, y))
    arrays = [X, y, *(numbers for fold in folds for numbers in fold)]
    with joblib.parallel_config("dask", scatter=arrays):
        found = dies.set_params(cv=folds, error_score="raise").fit(X, y)
    assert (tmp_path / "dask").read_text() == "x"
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    dies = search_of(number=range(2), deaths=[1], log=[str(tmp_path / "ray")])
    ended = guide["ray"].exceptions.ActorDiedError
    with joblib.parallel_config("ray", n_jobs=2), pytest.raises(ended, match="died unexpectedly"):
        dies.fit(X, y)


def visible(_):
    """What a worker sees: its number, and its devices."""
    import time

    time.sleep(0.05)  # so that one worker does not take all
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.cluster
@pytest.mark.parametrize(("share", "n_devices"), [(1, 2), (0.5, 1)])
def test_ray_gives_each_worker_its_device(share, n_devices, guide):
    with joblib.parallel_config("ray", n_jobs=2, ray_remote_args={"num_gpus": share}):
        found = set(joblib.Parallel()(joblib.delayed(visible)(i) for i in range(20)))
    assert len({pid for pid, _ in found}) == len(found) == 2
    assert len({devices for _, devices in found}) == n_devices
    assert {devices for _, devices in found} <= {"0", "1"}


@pytest.mark.cluster
def test_dask_gives_each_worker_its_device(guide):
    from dask.distributed import Client

    with guide["gpu_cluster"](2) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        with joblib.parallel_config("dask", client=client, resources={"GPU": 1}):
            found = set(joblib.Parallel()(joblib.delayed(visible)(i) for i in range(20)))
    assert len({pid for pid, _ in found}) == 2
    assert {devices for _, devices in found} == {"0", "1"}


# ---------------------------------------------------------------------------
# Optuna
# ---------------------------------------------------------------------------


def studied(folder, url):
    """Run the guide's study in two processes, as the guide does, and compare its values with serial ones."""
    import optuna

    (script,) = [block for block in BLOCKS["scale_search.md"] if "study = " in block]
    (folder / "study.py").write_text(script)
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(study_name="digits", direction="maximize", storage=storage)
    command = [sys.executable, "study.py", url, "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    study = optuna.load_study(study_name="digits", storage=storage)
    trials = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    storage.remove_session()
    storage.engine.dispose()
    assert 4 <= len(trials) <= 5
    assert all("finished with value" in error for error in errors)  # each has made some
    sys.path.insert(0, str(folder))
    try:
        page = importlib.import_module("study")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["study"]
    for trial in trials[:2]:
        assert page.objective(optuna.trial.FixedTrial(trial.params)) == trial.value


@pytest.mark.cluster
def test_a_study_of_two_processes_in_sqlite(tmp_path):
    studied(tmp_path, f"sqlite:///{tmp_path / 'study.db'}")


@contextlib.contextmanager
def postgres():
    """Start a server in a folder of its own, on a socket in it; it refuses to be run by root."""
    (initdb,) = glob.glob("/usr/lib/postgresql/*/bin/initdb")[-1:]
    control = str(pathlib.Path(initdb).with_name("pg_ctl"))
    who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = tempfile.mkdtemp()
    if who:
        shutil.chown(folder, "postgres", "postgres")
    run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, **who}
    data = f"{folder}/data"
    try:
        subprocess.run([initdb, "-D", data, "-U", "study", "-A", "trust", "--no-sync"], **run)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        subprocess.run([control, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start"], **run)
        try:
            yield f"postgresql+psycopg://study@/postgres?host={folder}"
        finally:
            subprocess.run([control, "-D", data, "-w", "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder)


@pytest.mark.postgres
def test_a_study_of_two_processes_in_postgresql(tmp_path):
    with postgres() as url:
        studied(tmp_path, url)


# ---------------------------------------------------------------------------
# The service
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A fitted model, and the services of its two files."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(GUIDE.parents[1] / "examples" / "serving")
    import app
    from fastapi.testclient import TestClient

    folder = tmp_path_factory.mktemp("served")
    X = (load_digits().data[:200] / 16).astype(np.float32)
    swae = SWAETransformer(3, network=GatedMLP((16,)), max_iter=1, random_state=0).fit(X)
    save_model(swae, folder / "model.safetensors")
    export_onnx(swae, folder / "model.onnx")
    services = {
        name: TestClient(app.create_app(str(folder / f"model.{name}"), max_rows=50))
        for name in ("safetensors", "onnx")
    }
    yield swae, X, services, folder
    monkeypatch.undo()


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_the_service_answers_with_codes(kind, served):
    swae, X, services, _ = served
    known = services[kind].get("/health").json()
    assert (known["status"], known["class"]) == ("ok", "SWAETransformer")
    assert (known["n_features"], known["n_components"], known["max_rows"]) == (64, 3, 50)
    for n in (1, 50):
        answer = services[kind].post("/codes", json={"rows": X[:n].tolist()})
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(answer.json()["codes"], swae.transform(X[:n]), rtol=1e-4, atol=1e-5)


ROW = str([0.5] * 64)
BAD = {
    "": (422, "the request: Invalid JSON"),
    "[1]": (422, "the request: Input should be an object"),
    "{}": (422, "rows: Field required"),
    '{"rows": []}': (422, "rows: List should have at least 1 item"),
    '{"rows": [0.5]}': (422, "rows.0: Input should be a valid"),
    '{"rows": [[0.5, 1]]}': (422, "rows.0: must have 64 numbers. Got 2."),
    f'{{"rows": [{ROW}, [1]]}}': (422, "rows.1: must have 64 numbers. Got 1."),
    f'{{"rows": [{ROW.replace("0.5", "NaN", 1)}]}}': (422, "rows.0.0: Input should be a finite number"),
    f'{{"rows": [{ROW.replace("0.5", "-Infinity", 1)}]}}': (422, "rows.0.0: Input should be a finite number"),
    f'{{"rows": [{ROW.replace("0.5", "null", 1)}]}}': (422, "rows.0.0: Input should be a valid number"),
    f'{{"rows": [{ROW.replace("0.5", "true", 1)}]}}': (422, "rows.0.0: Input should be a valid number"),
    f'{{"rows": [{ROW.replace("0.5", chr(34) + "1" + chr(34), 1)}]}}': (422, "rows.0.0: Input should be a"),
    f'{{"rows": [{ROW.replace("0.5", "1e39", 1)}]}}': (422, "rows: must hold numbers that are finite"),
    f'{{"rows": [{ROW.replace("0.5", "3e38")}]}}': (422, "finite in float32"),
    f'{{"rows": [{", ".join([ROW] * 51)}]}}': (413, "rows must be at most 50. Got 51."),
    " " * 200_000: (413, "A request must have at most 103400 bytes."),
}


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_the_service_refuses_what_is_no_row(kind, served):
    for body, (status, words) in BAD.items():
        answer = served[2][kind].post("/codes", content=body)
        assert answer.status_code == status, (body[:60], answer.text)
        assert words in answer.json()["detail"], body[:60]
        assert len(answer.json()["detail"]) < 500
    assert served[2][kind].get("/codes").status_code == 405


@pytest.mark.cluster
def test_the_load_of_the_benchmark_on_the_service_as_it_is_started(served):
    import _scale_serving

    _, X, _, folder = served
    with _scale_serving.service(folder / "model.safetensors") as (port, _):
        ms = asyncio.run(_scale_serving.load(port, _scale_serving.request_of(X[:2]), 50.0, 1.0))
        assert len(ms) == 50
        assert np.isfinite(ms).all()
        with pytest.raises(RuntimeError, match=r"answered .* 422"):
            asyncio.run(_scale_serving.load(port, _scale_serving.request_of(X[:2, :5]), 50.0, 1.0))
