"""The runner of the paper's experiments: what it stores, skips and survives, and presets that make sense."""

import importlib
import json
import linecache
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
import numpy as np
import pytest
import run as runner
from sklearn.decomposition import PCA

import skswae
import skswae.base

TIMES = ("cpu_seconds", "seconds", "resumed", "date")


def start(results, *arguments):
    """What main does, without its handlers of signals left behind, in a process that has seen no file."""
    _treatments.own_files.clear()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        return runner.main(["--results", str(results), "--preset", "smoke", *map(str, arguments)])
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before):
            signal.signal(number, handler)


def records(results):
    """All runs, without what may differ from one time to another."""
    found = {}
    for path in sorted((results / "smoke" / "runs").glob("*.json")):
        found[path.name] = record = json.loads(path.read_text())
        record.pop("measuring_seconds", None)
        for name in TIMES:
            record["fit"].pop(name, None)
    return found


@pytest.fixture
def table(tmp_path):
    """A CSV file with a column of words, and its rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + np.repeat([[0.0], [4.0]], 30, axis=0)
    path = tmp_path / "mine.csv"
    lines = [f"{a},{kind},{b},{c}" for (a, b, c), kind in zip(X.tolist(), ["red"] * 30 + ["blue"] * 30)]
    path.write_text("\n".join(["width,colour,height,depth", *lines, ""]))
    return path, X


@pytest.fixture
def few(table):
    """Arguments for three quick runs."""
    return "--data", table[0], "--target", "colour", "--models", "swae-0.5", "vae", "pca", "--dims", 2


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module with a transformer of one's own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(body):
        head = "from sklearn.decomposition import PCA\nclass Own(PCA):\n"
        (tmp_path / "mine_too.py").write_text(head + body)
        sys.modules.pop("mine_too", None)
        importlib.invalidate_caches()
        linecache.checkcache()

    yield write
    sys.modules.pop("mine_too", None)


@pytest.mark.parametrize("name", configurations.PRESETS)
def test_every_setting_of_a_preset_is_a_parameter(name):
    """And every pattern matches something: a misspelt one would be passed over in silence."""
    preset = configurations.PRESETS[name]
    for data, dims in preset.cells.items():
        for model in configurations.MODELS:
            estimator = runner.make_estimator(runner.Run(data, dims[0], model, 3), preset, {}, "cpu")
            known = estimator.get_params()
            assert (known["n_components"], known["random_state"]) == (dims[0], 3)
            if isinstance(estimator, skswae.base.BaseAutoencoder):
                estimator._validate_params()
                assert set(preset.parameters(data, model)) <= set(known), (data, model)
    names = [(data, model) for data in configurations.DATA for model in configurations.MODELS]
    for *patterns, _ in preset.settings:
        named = configurations.Preset("", {}, 1, [(*patterns, {"found": True})])
        assert any("found" in named.parameters(*cell) for cell in names), patterns


def test_splits_are_the_trial_s_and_binary_rows_drawn_from_grey_ones():
    grey, again, other = (_treatments.load("digits", trial) for trial in (0, 0, 1))
    assert grey.digest == again.digest != other.digest
    rows, others = (np.concatenate([split.X_train, split.X_val, split.X_test]) for split in (grey, other))
    assert sorted(map(tuple, rows)) == sorted(map(tuple, others))
    binary = _treatments.load("digits-binary", 0)
    np.testing.assert_array_equal(binary.X_train, grey.X_train)
    assert binary.augment is skswae.datasets.binarise
    assert set(np.unique(binary.X_coded)) == {0.0, 1.0}
    # the test rows are drawn once for all trials' models, after the validation rows
    rng = np.random.RandomState(777)
    np.testing.assert_array_equal(binary.X_val, skswae.datasets.binarised(grey.X_val, rng))
    np.testing.assert_array_equal(binary.X_test, skswae.datasets.binarised(grey.X_test, rng))
    # errors against grey rows: for a model that gives rows back, the noise of the draw and what is added
    model = PCA().fit(binary.X_coded)
    noisy, clean = denoising_grey.errors(model, binary.X_test, grey.X_test)
    assert clean == pytest.approx(np.square(binary.X_test - grey.X_test).sum(axis=1).mean(), rel=1e-4)
    assert noisy == pytest.approx(clean + 64 * 0.3**2, rel=0.03)


def test_own_files(table, tmp_path):
    rows, y = _treatments.read_file(table[0], "colour")
    np.testing.assert_array_equal(rows, table[1])
    assert list(y) == ["red"] * 30 + ["blue"] * 30
    for target, message in {
        "color": r"--target must be a column of .*width.* Got 'color'",
        None: r"numbers in every column but the labels'.* Got 'red' in column 'colour', row 1",
    }.items():
        with pytest.raises(ValueError, match=message):
            _treatments.read_file(table[0], target)
    np.save(tmp_path / "few.npy", table[1][:20])
    with pytest.raises(ValueError, match=r"at least 40 rows\. Got 20"):
        _treatments.read_file(tmp_path / "few.npy")
    for text, message in {
        "": "line of column names",
        "a,b\n1,2\n3,\n": "Got '' in column 'b', row 2",
        ",a\n0,1\n": r"Got one without: a column of row numbers\?",
        "a;b\n1;2\n": "Got semicolons",
        "a,b\n1,2\n3\n": "in column 'b', row 2",
        "a,b\n1,2\n3,4,5\n": "as many columns in each row",
    }.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            _treatments.read_file(tmp_path / "bad.csv")


@pytest.mark.slow
def test_a_second_time_does_nothing(few, tmp_path, capsys, monkeypatch):
    assert start(tmp_path, *few) == 0
    first = records(tmp_path)
    assert set(first) == {f"mine_2_{model}_0.json" for model in ("swae-0.5", "vae", "pca")}
    vae = first["mine_2_vae_0.json"]
    for name in ("knn_5", "knn_5_drawn", "reconstruction", "reconstruction_drawn", "denoising",
                 "frechet_pixels", "frechet_classifier_gmm", "trustworthiness"):  # fmt: skip
        assert np.isfinite(vae["measures"][name]), name
    assert (vae["seed"], vae["error"], vae["parameters"]["max_iter"]) == (0, None, 6)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    capsys.readouterr()
    assert start(tmp_path, *few) == 0
    assert capsys.readouterr().out.count("done before") == 3
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    start(tmp_path / "later", *few, "--fit-only")
    assert records(tmp_path / "later") == {}
    start(tmp_path / "later", *few)
    assert records(tmp_path / "later") == first
    # other measures: of the models that are there
    monkeypatch.setattr(_measures, "VERSION", 99)
    monkeypatch.setattr(runner, "fit", None)
    assert start(tmp_path, *few) == 0
    assert {r["measures_version"] for r in records(tmp_path).values()} == {99}


def test_a_failure_is_a_result(few, tmp_path, monkeypatch, capsys):
    def fail(self, X, y=None, **arguments):
        raise ValueError("Training diverged: as it was told to")

    with monkeypatch.context() as m:
        m.setattr(skswae.VAETransformer, "fit", fail)
        assert start(tmp_path, *few) == 1
    found = records(tmp_path)
    assert found["mine_2_vae_0.json"]["error"] == "ValueError: Training diverged: as it was told to"
    assert found["mine_2_vae_0.json"]["fit"].keys() == {"commit", "hardware", "versions"}  # and the date
    assert found["mine_2_pca_0.json"]["error"] is None  # other runs are left alone
    assert start(tmp_path, *few) == 1  # it stands until it is tried again
    assert "failed before" in capsys.readouterr().out
    assert start(tmp_path, *few, "--retry") == 0
    assert records(tmp_path)["mine_2_vae_0.json"]["error"] is None


@pytest.mark.slow
def test_what_another_process_does_and_what_a_killed_one_left(few, tmp_path, capsys):
    folder = runner.Folder(tmp_path / "smoke")
    left = [
        folder.runs / "mine_2_vae_0.json.1.tmp",
        folder.models / "mine_2_vae_0.joblib.1.tmp",
        folder.state / "mine_2_vae_0_12345678.ckpt",
        folder.state / "mine_2_vae_0_1.ckpt.tmp",
    ]
    others = [folder.models / "mine_2_vae_1.joblib.1.tmp", folder.state / "mine_2_vae_1_12345678.ckpt"]
    for path in (*left, *others):
        path.write_bytes(b"")
    with folder.claimed("mine_2_vae_0"):
        start(tmp_path, *few)
    assert "mine_2_vae_0: is being done elsewhere" in capsys.readouterr().out
    assert "mine_2_vae_0.json" not in records(tmp_path)
    assert all(path.exists() for path in left)
    start(tmp_path, *few)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_own_data_and_own_estimator(table, tmp_path, module):
    module(
        "    def transform(self, X):\n        return 2 * super().transform(X)\n"
        "    def inverse_transform(self, X):\n        return super().inverse_transform(X / 2)\n"
    )
    arguments = ("--data", table[0], "--target", "colour", "--dims", 2, 3)
    own = ("--models", "pca", "--estimator", "mine_too:Own", "--parameters", '{"whiten": false}')
    assert start(tmp_path / "r", *arguments, *own) == 0
    found = records(tmp_path / "r")
    assert set(found) == {f"mine_{k}_{model}_0.json" for k in (2, 3) for model in ("pca", "own")}
    own, pca = (found[f"mine_2_{model}_0.json"]["measures"] for model in ("own", "pca"))
    assert own["knn_5"] > 0.9
    assert own["reconstruction"] == pytest.approx(pca["reconstruction"], rel=1e-6)
    # neither takes the place of another's results
    start(tmp_path / "r", *arguments, "--estimator", "sklearn.decomposition:PCA")
    assert "mine_2_own-pca_0.json" in records(tmp_path / "r")
    (tmp_path / "digits.csv").write_bytes(table[0].read_bytes())
    with pytest.raises(SystemExit, match="needs another name: 'digits'"):
        start(tmp_path / "r", "--data", tmp_path / "digits.csv", "--target", "colour", "--dims", 2)


def test_rows_without_labels_have_no_accuracy(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(50, 4)))
    assert start(tmp_path, "--data", tmp_path / "rows.npy", "--dims", 2, "--models", "ae") == 0
    measures = records(tmp_path)["rows_2_ae_0.json"]["measures"]
    assert not any(name.startswith(("knn", "frechet_classifier")) for name in measures)


def test_own_results_are_not_overwritten(table, tmp_path, module, capsys):
    """By another file of the same name, other parameters, or changed code."""
    path, _ = table
    body = (
        "    def sample(self, n, random_state=None):\n"
        "        return self.inverse_transform([[0.0] * self.n_components] * n)\n"
    )
    module(body)
    arguments = ("--target", "colour", "--dims", 2, "--estimator", "mine_too:Own")
    assert start(tmp_path / "r", "--data", path, *arguments) == 0
    first = records(tmp_path / "r")
    # the sampler that is documented has no prior to choose
    assert "frechet_pixels" in first["mine_2_own_0.json"]["measures"]
    assert "frechet_pixels_gmm" not in first["mine_2_own_0.json"]["measures"]
    capsys.readouterr()
    assert start(tmp_path / "r", "--data", path, *arguments, "--parameters", '{"whiten": true}') == 1
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.csv"
    other.write_text(path.read_text().replace("blue", "green"))
    assert start(tmp_path / "r", "--data", other, *arguments) == 1
    module(body.replace("0.0", "1.0"))
    assert start(tmp_path / "r", "--data", path, *arguments) == 1
    assert capsys.readouterr().out.count("failed: results of other rows, parameters or code") == 3
    assert records(tmp_path / "r") == first


BAD_ARGUMENTS = {
    "--data digits --models swea": "--models must be of .* Got 'swea'",
    "--shard 4/3": "must be such as 2/3. Got '4/3'",
    '--parameters {"a":1}': "--parameters are of the class that --estimator names",
    "--estimator a:B --parameters {a:1}": "must be JSON, such as .* Got '{a:1}'",
    "--estimator sklearn.cluster:DBSCAN --data digits": "must have a method 'transform'",
    "--preset cpu --data digits": "--dims must be given for 'digits'",
    "--estimator PCA --data digits": "must be MODULE:CLASS. Got 'PCA'",
    "--estimator no_such_module:A --data digits": "made without arguments. .*no_such_module",
    '--estimator sklearn.decomposition:PCA --parameters {"beta":1}': "must be of .*whiten. Got beta",
}


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_bad_arguments(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path, *arguments.split())
    said = f"{stopped.value.code} {capsys.readouterr().err}"
    assert re.search(BAD_ARGUMENTS[arguments], said), said


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """SIGKILL at random moments: the results are the undisturbed ones', and nothing broken is left."""
    arguments = ["--preset", "smoke", "--data", "digits", "--dims", "2", "--models", "swae-0.5", "wae-gan"]
    arguments += ["--checkpoint-seconds", "0", "--threads", "1"]

    def begin(name):
        command = [sys.executable, runner.__file__, *arguments, "--results", str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    begun, rng = time.perf_counter(), random.Random(0)
    assert begin("whole").wait() == 0
    length = time.perf_counter() - begun
    for _ in range(4):
        process = begin("killed")
        time.sleep(rng.uniform(0.3, 0.8) * length)
        process.kill()
        process.wait()
        records(tmp_path / "killed")  # whole files alone
    assert begin("killed").wait() == 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert list(tmp_path.glob("killed/smoke/state/*.ckpt")) == []


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


@pytest.mark.slow
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


@pytest.mark.parametrize("stopped", ["auto", False, True])
def test_validation_rows_are_watched_where_a_preset_says_so(stopped, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 4))
    split = _treatments.Split(X, X, X[:5], X[5:], None, None, None, None, False, "")
    estimator = skswae.AETransformer(2, early_stopping=stopped, max_iter=1, random_state=0)
    runner.fit(estimator, split, tmp_path / "fit.ckpt", 60)
    assert estimator.early_stopping_ == (stopped is True)
