"""The runner of the paper's experiments: what it stores, skips and survives, and presets that make sense."""

import importlib
import json
import linecache
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import _measures
import _treatments
import configurations
import denoising_grey
import joblib
import numpy as np
import pytest
import run as runner
from sklearn.decomposition import PCA

import skswae
import skswae.base

ROOT = pathlib.Path(__file__).parent.parent
TIMES = ("cpu_seconds", "seconds", "resumed", "date")


def start(results, *arguments):
    """What main does, without its handlers of signals left behind, in a process that has seen no file."""
    _treatments.own_files.clear()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        return runner.main(["--results", str(results), *map(str, arguments)])
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before):
            signal.signal(number, handler)


def records(results, preset="smoke"):
    """Of all runs, without what may differ from one time to another."""
    found = {}
    for path in sorted((results / preset / "runs").iterdir()):
        record = json.loads(path.read_text())
        record.pop("measuring_seconds", None)
        for name in TIMES:
            record.get("fit", {}).pop(name, None)
        found[path.name] = record
    return found


# ---------------------------------------------------------------------------
# Configurations
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", configurations.PRESETS)
def test_every_setting_of_a_preset_is_a_parameter(name):
    """And every pattern matches something: a misspelt one would be passed over in silence."""
    preset = configurations.PRESETS[name]
    for data, dims in preset.cells.items():
        for model in configurations.MODELS:
            estimator = runner.make_estimator(runner.Run(data, dims[0], model, 3), preset, {}, "cpu")
            known = estimator.get_params()
            assert known["n_components"] == dims[0]
            assert known["random_state"] == 3
            if isinstance(estimator, skswae.base.BaseAutoencoder):
                estimator._validate_params()
                assert set(preset.parameters(data, model)) <= set(known), (data, model)
    for data_pattern, model_pattern, _ in preset.settings:
        named = configurations.Preset("", {}, 1, [(data_pattern, model_pattern, {"found": True})])
        assert any(
            "found" in named.parameters(data, model)
            for data in configurations.DATA
            for model in configurations.MODELS
        ), (data_pattern, model_pattern)


def test_the_presets_say_what_the_paper_says():
    """A few of its figures, where a pattern could go astray."""
    text, code = configurations.PRESETS["paper-text"], configurations.PRESETS["paper-code"]
    for preset in (text, code):
        assert preset.parameters("mnist", "swae-0.5")["n_pseudo_inputs"] == 4000
        assert preset.parameters("coil20", "swae-0.5")["n_pseudo_inputs"] == 500
        assert preset.parameters("mnist", "vampprior")["n_pseudo_inputs"] == 500
        assert preset.parameters("mnist", "vae")["likelihood"] == "bernoulli"
        assert preset.parameters("coil20", "vae")["likelihood"] == "discretized_logistic"
        assert type(preset.parameters("mnist", "vae")["network"]).__name__ == "GatedConvNet"
        assert type(preset.parameters("mnist", "wae-mmd")["network"]).__name__ == "DCGANNet"
        shape = preset.parameters("cifar10_sub", "swae-1")["network"].image_shape
        assert shape == (3, 32, 32)
        assert preset.parameters("mnist", "swae-0.5")["init"] == "random"
    assert text.parameters("mnist", "swae-1")["learning_rate_init"] == 1e-3
    assert code.parameters("mnist", "swae-1")["learning_rate_init"] == 5e-4
    assert code.parameters("mnist", "swae-1")["solver"] == "normalized_adam"


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def test_a_random_split_is_the_trial_s():
    a, b, other = (_treatments.load("digits", trial) for trial in (0, 0, 1))
    assert a.digest == b.digest != other.digest
    assert (len(a.X_train), len(a.X_val), len(a.X_test)) == (1197, 200, 400)
    rows = np.concatenate([a.X_train, a.X_val, a.X_test])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, other_rows(other)))
    assert a.X_coded is a.X_train
    assert a.augment is None
    assert rows.min() >= 0.0
    assert rows.max() <= 1.0


def other_rows(split):
    return np.concatenate([split.X_train, split.X_val, split.X_test])


def test_binary_rows_are_drawn_from_the_grey_ones():
    grey, binary = _treatments.load("digits", 0), _treatments.load("digits-binary", 0)
    np.testing.assert_array_equal(binary.X_train, grey.X_train)
    assert binary.augment is skswae.datasets.binarise
    for drawn, pixels in (
        (binary.X_coded, grey.X_train), (binary.X_val, grey.X_val), (binary.X_test, grey.X_test)
    ):  # fmt: skip
        assert set(np.unique(drawn)) == {0.0, 1.0}
        assert (drawn[pixels == 0] == 0).all()
        assert (drawn[pixels == 1] == 1).all()
        assert abs(drawn.mean() - pixels.mean()) < 0.01
    # the test rows are drawn once for all trials' models, after the validation rows
    rng = np.random.RandomState(777)
    skswae.datasets.binarised(grey.X_val, rng)
    np.testing.assert_array_equal(binary.X_test, skswae.datasets.binarised(grey.X_test, rng))


@pytest.fixture
def table(tmp_path):
    """A CSV file with a column of words, and its rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + np.repeat([[0.0], [4.0]], 30, axis=0)
    path = tmp_path / "mine.csv"
    lines = [f"{a},{kind},{b},{c}" for (a, b, c), kind in zip(X.tolist(), ["red"] * 30 + ["blue"] * 30)]
    path.write_text("\n".join(["width,colour,height,depth", *lines, ""]))
    return path, X


def test_files_of_one_s_own(table, tmp_path):
    path, X = table
    rows, y = _treatments.read_file(path, "colour")
    np.testing.assert_array_equal(rows, X)
    assert list(y) == ["red"] * 30 + ["blue"] * 30
    np.save(tmp_path / "a.npy", X.reshape(60, 3, 1))
    rows, y = _treatments.read_file(tmp_path / "a.npy")
    np.testing.assert_array_equal(rows, X)
    assert y is None
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(60))
    assert list(_treatments.read_file(tmp_path / "a.npz")[1]) == list(range(60))


def test_bad_files(table, tmp_path):
    path, X = table
    with pytest.raises(ValueError, match=r"--target must be a column of .*width.* Got 'color'"):
        _treatments.read_file(path, "color")
    with pytest.raises(ValueError, match="numbers in every column but the labels'"):
        _treatments.read_file(path)
    with pytest.raises(ValueError, match=r"\.csv, \.npy or \.npz"):
        _treatments.read_file("mine.xlsx")
    np.savez(tmp_path / "a.npz", rows=X)
    with pytest.raises(ValueError, match=r"must hold an array X. Got \['rows'\]"):
        _treatments.read_file(tmp_path / "a.npz")
    np.save(tmp_path / "few.npy", X[:20])
    with pytest.raises(ValueError, match=r"at least 40 rows\. Got 20"):
        _treatments.read_file(tmp_path / "few.npy")
    np.save(tmp_path / "a.npy", np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="finite"):
        _treatments.read_file(tmp_path / "a.npy")
    for text, message in {
        "a,b\n1,2\n3,\n": "Got '' in column 'b', row 2",
        ",a\n0,1\n": r"Got one without, at place 1: a column of row numbers\?",
        "a;b\n1;2\n": "Got semicolons",
        "a,b\n1,2\n3\n": "must have 2 columns in each row. Got 1 in row 2",
    }.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            _treatments.read_file(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="line of column names"):
        _treatments.read_file(tmp_path / "empty.csv")


# ---------------------------------------------------------------------------
# The runner
# ---------------------------------------------------------------------------

FEW = ("--preset", "smoke", "--data", "digits", "--models", "swae-0.5", "vae", "pca", "--dims", 2)


def test_a_second_time_does_nothing(tmp_path, capsys, monkeypatch):
    assert start(tmp_path, *FEW) == 0
    first = records(tmp_path)
    assert set(first) == {f"digits_2_{model}_0.json" for model in ("swae-0.5", "vae", "pca")}
    vae, pca = first["digits_2_vae_0.json"], first["digits_2_pca_0.json"]
    for name in ("knn_5", "knn_5_drawn", "reconstruction", "reconstruction_drawn", "denoising",
                 "frechet_pixels", "frechet_classifier_gmm", "trustworthiness"):  # fmt: skip
        assert np.isfinite(vae["measures"][name]), name
    assert "frechet_pixels" not in pca["measures"]
    assert vae["measures"]["knn_5"] > 0.5
    assert vae["measures"]["reconstruction"] < vae["measures"]["reconstruction_drawn"]
    assert vae["seed"] == 0
    assert vae["error"] is None
    assert vae["parameters"]["max_iter"] == 6
    assert set(vae["fit"]["versions"]) == {"python", "skswae", "torch", "sklearn", "numpy"}
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    capsys.readouterr()
    assert start(tmp_path, *FEW) == 0
    assert capsys.readouterr().out.count("done before") == 3
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    # other measures: of the models that are there
    monkeypatch.setattr(_measures, "VERSION", 99)
    monkeypatch.setattr(runner, "fit", None)
    assert start(tmp_path, *FEW) == 0
    assert {r["measures_version"] for r in records(tmp_path).values()} == {99}


def test_a_changed_configuration_is_run_again(tmp_path, monkeypatch, capsys):
    arguments = ("--data", "digits", "--models", "vae", "--preset", "smoke")
    start(tmp_path, *arguments)
    smoke = configurations.PRESETS["smoke"]
    changed = configurations.Preset(
        "", smoke.cells, 1, [*smoke.settings, ("*", "*", {"max_iter": 2})], n_samples=50
    )
    monkeypatch.setitem(runner.PRESETS, "smoke", changed)
    capsys.readouterr()
    start(tmp_path, *arguments)
    assert "fitted in" in capsys.readouterr().out
    assert records(tmp_path)["digits_2_vae_0.json"]["parameters"]["max_iter"] == 2


def test_measuring_equals_fitting_and_measuring_at_once(tmp_path):
    start(tmp_path / "a", *FEW)
    start(tmp_path / "b", *FEW, "--fit-only")
    assert records(tmp_path / "b") == {}
    start(tmp_path / "b", *FEW)
    assert records(tmp_path / "a") == records(tmp_path / "b")


def test_a_failure_is_a_result(tmp_path, monkeypatch, capsys):
    def fail(self, X, y=None, **arguments):
        raise ValueError("Training diverged: as it was told to")

    with monkeypatch.context() as m:
        m.setattr(skswae.VAETransformer, "fit", fail)
        assert start(tmp_path, *FEW) == 1
    record = records(tmp_path)["digits_2_vae_0.json"]
    assert record["error"] == "ValueError: Training diverged: as it was told to"
    assert "measures" not in record
    assert record["fit"].keys() == {"hardware", "versions"}  # and the date
    assert start(tmp_path, *FEW) == 1  # it stands until it is tried again
    assert "failed before" in capsys.readouterr().out
    assert start(tmp_path, *FEW, "--retry") == 0
    assert records(tmp_path)["digits_2_vae_0.json"]["error"] is None


def test_shards_are_a_partition():
    options = runner.parse(["--preset", "cpu"])
    preset = configurations.PRESETS["cpu"]
    everything = runner.chosen_runs(options, preset, {})
    assert len(everything) == len(set(everything)) == 3 * 3 * 10
    parts = []
    for i in (1, 2, 3):
        options = runner.parse(["--preset", "cpu", "--shard", f"{i}/3"])
        parts += runner.chosen_runs(options, preset, {})
    assert sorted(map(str, parts)) == sorted(map(str, everything))


def test_what_another_process_does_is_left_to_it(tmp_path, capsys):
    folder = runner.Folder(tmp_path / "smoke")
    with folder.claimed("digits_2_vae_0") as mine:
        assert mine
        start(tmp_path, *FEW)
    out = capsys.readouterr().out
    assert "digits_2_vae_0: is being done elsewhere" in out
    assert "digits_2_vae_0.json" not in records(tmp_path)


def test_own_data_and_own_estimator(table, tmp_path, monkeypatch):
    path, _ = table
    (tmp_path / "mine_too.py").write_text(
        "from sklearn.decomposition import PCA\nclass Doubled(PCA):\n"
        "    def transform(self, X):\n        return 2 * super().transform(X)\n"
        "    def inverse_transform(self, X):\n        return super().inverse_transform(X / 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ("--preset", "smoke", "--data", path, "--target", "colour", "--dims", 2, 3)
    assert start(tmp_path / "r", *arguments, "--models", "pca", "swae-0", "--estimator", "mine_too:Doubled",
                 "--parameters", '{"whiten": false}') == 0  # fmt: skip
    found = records(tmp_path / "r")
    assert set(found) == {
        f"mine_{k}_{model}_0.json" for k in (2, 3) for model in ("pca", "swae-0", "doubled")
    }
    own, pca = found["mine_2_doubled_0.json"], found["mine_2_pca_0.json"]
    assert own["measures"]["knn_5"] > 0.9
    assert own["measures"]["reconstruction"] == pytest.approx(pca["measures"]["reconstruction"], rel=1e-6)
    assert found["mine_3_doubled_0.json"]["measures"]["reconstruction"] == pytest.approx(0.0, abs=1e-20)
    monkeypatch.delitem(sys.modules, "mine_too")
    # neither takes the place of another's results
    assert start(tmp_path / "r", *arguments, "--estimator", "sklearn.decomposition:PCA") == 0
    assert "mine_2_own-pca_0.json" in records(tmp_path / "r")
    (tmp_path / "digits.csv").write_bytes(path.read_bytes())
    with pytest.raises(SystemExit, match="needs another name: 'digits'"):
        start(tmp_path / "r", "--data", tmp_path / "digits.csv", "--target", "colour", "--dims", 2)


def test_without_labels_there_is_no_accuracy(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(50, 4)))
    start(tmp_path, "--preset", "smoke", "--data", tmp_path / "rows.npy", "--dims", 2, "--models", "ae")
    measures = records(tmp_path)["rows_2_ae_0.json"]["measures"]
    assert not any(name.startswith(("knn", "frechet_classifier")) for name in measures)
    assert np.isfinite(measures["frechet_pixels"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digits", "--models", "swea"], "--models must be of .* Got 'swea'"),
        (["--shard", "4/3"], "must be such as 2/3. Got '4/3'"),
        (["--data", "digits", "--dims", "0"], "must be an integer of at least 1. Got '0'"),
        (["--parameters", '{"a": 1}'], "--parameters are of the class that --estimator names"),
        (["--estimator", "a:B", "--parameters", "{a: 1}"], "must be JSON, such as .* Got '{a: 1}'"),
        (["--estimator", "sklearn.cluster:DBSCAN", "--data", "digits"], "must have a method 'transform'"),
        (["--data", "nothing.txt"], "must be a data set's name or a .csv"),
        (["--data", "nothing.csv"], "No such file"),
        (["--preset", "cpu", "--data", "digits"], "--dims must be given for 'digits'"),
        (["--estimator", "PCA", "--data", "digits"], "must be MODULE:CLASS. Got 'PCA'"),
        (
            ["--estimator", "no_such_module:A", "--data", "digits"],
            "can be made without arguments. .*no_such_module",
        ),
        (
            ["--estimator", "sklearn.decomposition:PCA", "--parameters", '{"beta": 1}', "--data", "digits"],
            "--parameters must be of .*whiten. Got beta",
        ),
    ],
)
def test_bad_arguments(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path, *arguments)
    said = f"{stopped.value.code} {capsys.readouterr().err}"
    assert re.search(message, said), said


def test_killed_at_any_moment(tmp_path):
    """SIGKILL at random moments: the results are the undisturbed ones', and nothing broken is left."""
    models = ["swae-0.5", "vae", "wae-gan"]
    arguments = ["--preset", "smoke", "--data", "digits", "--dims", "2", "--models", *models]
    start(tmp_path / "whole", *arguments)
    command = [sys.executable, str(ROOT / "examples" / "paper" / "run.py"), *arguments]
    command += ["--results", str(tmp_path / "killed"), "--checkpoint-seconds", "0", "--threads", "1"]
    rng = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    begun = time.perf_counter()
    undisturbed = [*command]
    undisturbed[command.index(str(tmp_path / "killed"))] = str(tmp_path / "timed")
    subprocess.run(undisturbed, check=True, capture_output=True, env=environment)
    length = time.perf_counter() - begun
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        time.sleep(rng.uniform(0.3, 0.8) * length)
        process.kill()
        process.wait()
        for path in tmp_path.glob("killed/smoke/runs/*.json"):
            json.loads(path.read_text())
        for path in tmp_path.glob("killed/smoke/models/*.joblib"):
            joblib.load(path)
    assert subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL).returncode == 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert list(tmp_path.glob("killed/smoke/state/*.ckpt")) == []


def test_own_results_are_not_overwritten(table, tmp_path, monkeypatch, capsys):
    """By another file of the same name, other parameters, or changed code."""
    path, _ = table
    module = tmp_path / "mine_three.py"
    text = (
        "from sklearn.decomposition import PCA\nclass Own(PCA):\n"
        "    def sample(self, n, random_state=None):\n"
        "        return self.inverse_transform([[0.0] * self.n_components] * n)\n"
    )
    module.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ("--preset", "smoke", "--target", "colour", "--dims", 2, "--estimator", "mine_three:Own")
    assert start(tmp_path / "r", "--data", path, *arguments) == 0
    first = records(tmp_path / "r")
    measures = first["mine_2_own_0.json"]["measures"]
    # the sampler that is documented has no prior to choose
    assert "frechet_pixels" in measures
    assert "frechet_pixels_gmm" not in measures
    assert first["mine_2_own_0.json"]["class"] == "mine_three:Own"
    capsys.readouterr()
    assert start(tmp_path / "r", "--data", path, *arguments, "--parameters", '{"whiten": true}') == 1
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.csv"
    other.write_text(path.read_text().replace("blue", "green"))
    assert start(tmp_path / "r", "--data", other, *arguments) == 1
    module.write_text(text.replace("0.0", "1.0"))
    monkeypatch.delitem(sys.modules, "mine_three")
    importlib.invalidate_caches()
    linecache.checkcache()
    assert start(tmp_path / "r", "--data", path, *arguments) == 1
    assert capsys.readouterr().out.count("failed: results of other rows, parameters or code") == 3
    assert records(tmp_path / "r") == first
    monkeypatch.delitem(sys.modules, "mine_three")


def test_any_failure_leaves_the_other_runs_alone(table, tmp_path, monkeypatch):
    path, _ = table
    (tmp_path / "mine_four.py").write_text(
        "from sklearn.decomposition import PCA\nclass Broken(PCA):\n"
        "    def transform(self, X):\n        raise RuntimeError('no reason')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ("--preset", "smoke", "--data", path, "--target", "colour", "--dims", 2)
    assert start(tmp_path / "r", *arguments, "--estimator", "mine_four:Broken", "--models", "ae") == 1
    found = records(tmp_path / "r")
    assert found["mine_2_broken_0.json"]["error"] == "RuntimeError: no reason"
    assert found["mine_2_ae_0.json"]["error"] is None
    monkeypatch.delitem(sys.modules, "mine_four")


def test_rows_that_are_mostly_training_rows(tmp_path):
    """Of a table with few different rows no distance to the nearest training row is defined."""
    X = np.random.default_rng(0).integers(0, 2, size=(60, 3))
    np.savez(tmp_path / "few.npz", X=X, y=np.zeros(60))
    assert (
        start(tmp_path, "--preset", "smoke", "--data", tmp_path / "few.npz", "--dims", 2, "--models", "ae")
        == 0
    )
    measures = records(tmp_path)["few_2_ae_0.json"]["measures"]
    assert "nearest_row_ratio" not in measures
    assert "frechet_classifier" not in measures  # one class
    assert np.isfinite(measures["precision"])


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = runner.Folder(tmp_path / "smoke")
    left = [
        folder.runs / "digits_2_vae_0.json.1.tmp",
        folder.models / "digits_2_vae_0.joblib.1.tmp",
        folder.state / "digits_2_vae_0_12345678.ckpt",
        folder.state / "digits_2_vae_0_1.ckpt.1.tmp",
    ]
    others = [folder.models / "digits_2_vae_1.joblib.1.tmp", folder.state / "digits_2_vae_1_12345678.ckpt"]
    for path in (*left, *others):
        path.write_bytes(b"")
    start(tmp_path, *FEW)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_errors_against_grey_rows():
    """Of a model that gives rows back: the noise of the draw, and with it the noise that is added."""
    grey, binary = _treatments.load("digits", 0), _treatments.load("digits-binary", 0)
    model = PCA().fit(binary.X_coded)
    noisy, clean = denoising_grey.errors(model, binary.X_test, grey.X_test)
    drawn = np.square(binary.X_test - grey.X_test).sum(axis=1).mean()
    assert clean == pytest.approx(drawn, rel=1e-4)
    assert noisy == pytest.approx(drawn + 64 * 0.3**2, rel=0.03)
