"""Several processes share a fit, and it is the fit of one process but for rounding."""

import os
import pathlib
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch.distributed as dist

from skswae import load_model

from . import processes

SCRIPT = pathlib.Path(__file__).parent / "processes.py"
ALL = [*processes.MODELS, "a source of one's own", "parquet", "partial_fit", "warm_start"]


def run(n_processes, scenario, folder, *options):
    """Run a scenario by torchrun; return what each process found."""
    package = str(SCRIPT.parents[1])
    paths = os.pathsep.join(path for path in (package, os.environ.get("PYTHONPATH")) if path)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={n_processes}",
    ]
    done = subprocess.run(
        [*torchrun, *options, str(SCRIPT), scenario, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [pickle.loads((folder / f"{scenario}_{rank}.pkl").read_bytes()) for rank in range(n_processes)]


def assert_equal(found, other):
    assert found["state"].keys() == other["state"].keys()
    for name, value in found["state"].items():
        np.testing.assert_array_equal(value, other["state"][name], err_msg=name)
    for name, value in found["history"].items():
        np.testing.assert_array_equal(value, other["history"][name], err_msg=name)


def assert_close(found, alone):
    """Compare up to rounding: losses, codes, samples, and every number of the module."""
    assert found["history"].keys() == alone["history"].keys()
    for name, curve in alone["history"].items():
        np.testing.assert_allclose(found["history"][name], curve, rtol=2e-6, atol=2e-6, err_msg=name)
    spread = alone["codes"].std(axis=0)
    assert np.abs((found["codes"] - alone["codes"]) / spread).max() < 1e-3
    assert np.abs(found["samples"] - alone["samples"]).max() < 1e-2
    for name, value in alone["state"].items():
        other = found["state"][name]
        assert other.shape == value.shape, name
        if value.size:
            np.testing.assert_allclose(other, value, rtol=1e-3, atol=1e-3 * np.abs(value).max(), err_msg=name)


@pytest.mark.slow
def test_two_processes(tmp_path):
    """In a group that the script has made, this process and another fit what one process does."""
    alone = {name: processes.described(processes.MODELS[name]().fit(processes.X)) for name in ("swae", "mmd")}
    parts = processes.SWAETransformer(3, **processes.SETTINGS).partial_fit(processes.X[:150])
    alone["partial_fit"] = processes.described(parts.partial_fit(processes.X[150:]))
    address = (tmp_path / "store").as_uri()
    package = str(SCRIPT.parents[1])
    paths = os.pathsep.join(path for path in (package, os.environ.get("PYTHONPATH")) if path)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    # functions have the name of their module in both
    code = f"from tests import processes; processes.main('two', {str(tmp_path)!r}, {address!r})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as other:
        dist.init_process_group("gloo", init_method=address, rank=0, world_size=2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = processes.two(tmp_path, 0)
        finally:
            dist.destroy_process_group()
        _, said = other.communicate(timeout=60)
    assert other.returncode == 0, said
    second = pickle.loads((tmp_path / "two_1.pkl").read_bytes())
    for name in (*alone, "own rows"):
        assert_equal(second[name], found[name])
    for name, fitted in alone.items():
        assert_close(found[name], fitted)
    for texts in (found, second):
        assert "must agree on the number of rows of X" in texts["rows"]
        assert "NaN" in texts["NaN"]
    assert "rank 1 of 2" in found["NaN"]
    assert (tmp_path / "model_0.safetensors").exists()
    assert not (tmp_path / "model_1.safetensors").exists()
    assert not (tmp_path / "own.checkpoint").exists()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return processes.fits(processes.MODELS, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", params=[2, 4])
def shared(request, tmp_path_factory):
    return run(request.param, "every", tmp_path_factory.mktemp("every"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_shared_fit_is_that_of_one_process(alone, shared, name):
    for other in shared[1:]:
        assert_equal(other[name], shared[0][name])
    assert_close(shared[0][name], alone[name])


@pytest.mark.slow
def test_code_that_draws_for_itself(tmp_path):
    """Dropout and augmentation are other in each process; the model and its running statistics are one."""
    first, second = run(2, "own_code", tmp_path)
    assert_equal(first, second)
    assert np.isfinite(first["history"]["loss"]).all()
    variances = [value for name, value in first["state"].items() if name.endswith("running_var")]
    assert len(variances) > 1
    assert all((value > 0).all() for value in variances)


@pytest.mark.slow
def test_rows_of_ones_own(tmp_path):
    found = run(3, "own_rows", tmp_path)
    for other in found[1:]:
        assert_equal(other["model"], found[0]["model"])
        assert_equal(other["stopped"], found[0]["stopped"])
    assert found[0]["usage"] == len(processes.X)
    whole = processes.SWAETransformer(3, **{**processes.SETTINGS, "max_iter": 20}).fit(processes.X)
    assert found[0]["model"]["history"]["loss"][-1] == pytest.approx(whole.history_["loss"][-1], rel=0.05)


@pytest.mark.slow
def test_an_error_is_one_on_all(tmp_path):
    first, second = run(2, "errors", tmp_path)
    for found in (first, second):
        for name in ("one process's rows", "one process's own rows"):
            assert "NaN" in found[name]
        assert "must agree on the rows of X" in found["other rows"]
        assert "LocalRows" in found["other rows"]
        fewer = "must agree on the number of rows of X. Got 301 in the process of rank 0 and 300"
        assert fewer in found["fewer rows"]
        assert "must agree on the rows of X_val" in found["other held-out rows"]
        assert "must agree on the classes of y" in found["other classes"]
        assert "must agree on the number of features" in found["other columns"]
        assert "must agree on the 'n_components' parameter. Got 2 " in found["another parameter"]
        assert "must agree on the 'network" in found["another network"]
        assert "at least as many LocalRows as there are batches" in found["too few own rows"]
        assert "ValueError" in found["too few rows"]
        assert "must agree on whether X is LocalRows" in found["own and others"]
        assert found["a checkpoint"] == found["a model that goes on"] == "nothing"
        assert "must agree on whether there is a checkpoint" in found["a checkpoint of one"]
        assert "must agree on whether there is X_val" in found["held-out rows of one"]
        assert "RuntimeError" in found["an error in training"]
        assert np.isnan(found["an error in one fit of a search"]).tolist() == [True, False]
        assert "must agree on the fitted model" in found["other fitted models"]
        assert "at least a row for each of 2 processes" in found["fewer rows than processes"]
    assert "rank 1 of 2" in first["one process's rows"]
    assert "no augmentation" in second["an error in training"]
    assert "Another process of the fit has failed" in first["an error in training"]
    np.testing.assert_array_equal(first["then"], second["then"])


@pytest.mark.slow
def test_workers_are_no_processes_of_the_group(tmp_path):
    alone = [processes._score(k) for k in (2, 3)]
    first, second = run(2, "who", tmp_path)
    assert (first["first"], second["first"]) == (True, False)
    for found in (first, second):
        workers = [found[name] for name in found if name.startswith("workers")]
        assert workers == [alone] * 4
        np.testing.assert_array_equal(found["shared"], first["shared"])
    assert [first["alone"], second["alone"]] == alone
    assert load_model(tmp_path / "model_0.safetensors").n_components in (2, 3)
    assert not (tmp_path / "model_1.safetensors").exists()


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    folders = [tmp_path / name for name in ("killed", "undisturbed")]
    for folder in folders:
        folder.mkdir()
    (folders[1] / "killed").write_text("")
    killed, undisturbed = (run(2, "killed", folder, "--max-restarts=3")[0] for folder in folders)
    assert (folders[0] / "killed").exists()
    assert not list(tmp_path.rglob("*.checkpoint"))
    assert_equal(killed, undisturbed)
