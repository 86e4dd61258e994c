"""The paper's Figure 1 in numbers: what is measured, that runs resume, and what the page says."""

import importlib
import json
import pathlib

import numpy as np
import pytest

from skswae.datasets import make_gmm
from skswae.networks import GatedMLP


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("local_structure")


@pytest.fixture
def tiny(script, monkeypatch):
    """The script with models of a moment, and the fits that it has done."""
    from configurations import Preset

    settings = [("*", "*", {"network": GatedMLP((4,)), "max_iter": 1})]
    presets = {
        name: Preset("Tiny.", script.CELLS, 2, [*preset.settings, *settings], models=script.COMPARED)
        for name, preset in script.CONFIGURATIONS.items()
    }
    monkeypatch.setattr(script, "CONFIGURATIONS", presets)
    monkeypatch.setattr(script, "N_TARGETS", 3)
    fits = []

    def hardware():  # asked once a fit
        fits.append(1)
        return "a machine"

    monkeypatch.setattr(script, "hardware", hardware)
    return fits


# ---------------------------------------------------------------------------
# Measures and statistics
# ---------------------------------------------------------------------------


def test_isometric_codes_agree_fully(script):
    X, y = make_gmm(100, n_features=2, random_state=0)
    turned = 3 * X @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 7
    found = script.agreements(X, y, turned, range(20))
    assert found.keys() == script.MEASURES.keys()
    assert all(value == pytest.approx(1) for value in found.values())


def test_shuffled_codes_are_near_chance(script, rng):
    X, y = make_gmm(100, random_state=0)
    targets = range(20)
    found = [script.agreements(X, y, rng.permutation(X), targets) for _ in range(5)]
    expected = script.chance(y, targets)
    assert expected["nearest"] == pytest.approx(10 / 99)
    for name in script.MEASURES:
        assert np.mean([one[name] for one in found]) == pytest.approx(expected[name], abs=0.08), name


def test_modes_alone_keep_the_ranks_of_all_rows_but_none_in_the_mode(script, rng):
    X, y = make_gmm(100, random_state=0)
    Z = np.c_[y + 1e-3 * rng.normal(size=100), 1e-3 * rng.normal(size=100)]
    found = script.agreements(X, y, Z, range(20))
    assert found["rank"] > 0.9
    assert abs(found["rank_in_mode"]) < 0.15
    assert found["nearest_in_mode"] == pytest.approx(script.chance(y, range(20))["nearest_in_mode"], abs=0.1)


def test_in_the_mode_by_hand(script):
    # the mode of row 1 is rows 1, 3, 4, 5; of row 0 rows 0 and 2, too few to rank
    X = np.array([0.0, 10.0, 1.0, 11.0, 13.0, 16.0, 90.0, 91.0, 93.0, 96.0, 99.0, 80.0])[:, None]
    y = np.array([0, 1, 0, 1, 1, 1, *[2] * 6])
    Z = X.copy()
    Z[[3, 4]] = Z[[4, 3]]  # from row 1: the second, the first, the third
    assert [(list(own), target) for own, target in script.modes(y, [0, 1])] == [([1, 3, 4, 5], 0)]
    found = script.agreements(X, y, Z, [0, 1])
    assert found["rank_in_mode"] == pytest.approx(0.5)
    assert found["nearest_in_mode"] == 1  # of three others, the three nearest
    assert script.chance(y, [0, 1])["nearest_in_mode"] == 1


def test_paired_statistics(script):
    a, b = [0.5, 0.7, 0.9], [0.4, 0.8, 0.5]  # differences 0.1, -0.1, 0.4
    mean, error, n_ahead = script.paired(a, b)
    assert mean == pytest.approx(0.4 / 3)
    assert error == pytest.approx(np.std([0.1, -0.1, 0.4], ddof=1) / np.sqrt(3))
    assert n_ahead == 2
    mean, error, n_ahead = script.paired([0.5], [0.4])
    assert mean == pytest.approx(0.1)
    assert np.isnan(error)
    assert n_ahead == 1


@pytest.mark.parametrize(
    ("mean", "error", "expected"),
    [
        (0.3, 0.1, "better"),
        (-0.3, 0.1, "worse"),
        (0.1, 0.1, "not clearly different"),
        (0.0, 0.0, "not clearly different"),
        (0.3, np.nan, "not clearly different"),
    ],
)
def test_verdict(script, mean, error, expected):
    assert script.verdict(mean, error) == expected


def test_statements_follow_the_numbers(script):
    noise = np.array([0.0, 0.001, 0.002])
    found = {line: dict.fromkeys(script.MEASURES, 0.5 + noise[::-1]) for line in script.LINES}
    found["SWAE(beta=1)"] = dict.fromkeys(script.MEASURES, 0.5 + noise)
    found["VAE (drawn)"] = dict.fromkeys(script.MEASURES, 0.1 + noise[::-1])
    found["PCA"] = dict.fromkeys(script.MEASURES, 0.9 + noise[::-1])
    drawn, means, _, pca, costs, best = script.statements(found)
    everything = "10 nearest of all rows, ranks of all rows, 10 nearest in the mode and ranks in the mode."
    assert drawn == f"Against VAE (drawn), SWAE(beta=1) is better in {everything}"
    assert means == f"Against VAE (means), SWAE(beta=1) is not clearly different in {everything}"
    assert pca == f"Against PCA, SWAE(beta=1) is worse in {everything}"
    assert costs.count("0.400 in ") == 4
    assert best.count("PCA, 0.901") == 4
    assert script.claim(found) == "; ".join(
        f"against VAE ({codes}) better in {n} of 4 measures, worse in 0"
        for codes, n in {"drawn": 4, "means": 0}.items()
    )


def test_spread(script, rng):
    Z = rng.normal(size=(10_000, 2)) * [4.0, 1.0]
    assert script.flatness(Z) == pytest.approx(0.25, abs=0.01)
    assert script.flatness(Z @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 5) == pytest.approx(script.flatness(Z))


def test_indices(script):
    A = np.array([[0.0], [5.0], [1.0], [-2.0]])
    assert list(script.indices(A, 0)) == [0, 3, 1, 2]
    assert list(script.indices(A[[1, 1, 0]], 1)) == [1, 0, 2]  # equal rows: the target is first


# ---------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------


def test_the_settings_are_the_paper_s(script):
    estimators = {
        model: script.make_estimator(
            script.Run("gmm", 2, model, 3), script.CONFIGURATIONS["paper"], {}, "cpu"
        )
        for model in script.COMPARED
    }
    shared = {"init": "random", "scaling": None, "solver": "normalized_adam", "learning_rate_init": 5e-4}
    for model, estimator in estimators.items():
        parameters = estimator.get_params()
        assert parameters["n_components"] == 2
        assert parameters["random_state"] == 3
        assert model == "pca" or parameters.items() >= shared.items()
    assert 2 * np.log(estimators["swae-1"].prior_scale_floor) == pytest.approx(-9)
    assert estimators["vae"].likelihood == "gaussian"


def test_resumes(script, tiny, tmp_path, capsys):
    results, output = tmp_path / "results", tmp_path / "page.md"
    arguments = ["--seeds", "1", "--rows", "40", "--results", str(results), "--output", str(output)]
    script.main(arguments)
    n_fits = 2 * len(script.COMPARED)  # configurations, models
    assert len(tiny) == len(list(results.iterdir())) == n_fits
    assert {path.suffix for path in results.iterdir()} == {".json"}
    first = output.read_text()

    script.main(arguments)
    assert len(tiny) == n_fits
    assert output.read_text() == first

    (results / "paper_vae_0.json").unlink()
    path = results / "ours_pca_0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "another fit's"}))
    script.main(arguments)
    assert len(tiny) == n_fits + 2
    assert output.read_text().count("| VAE (drawn) |") == 4  # two tables, two configurations

    script.do("ours", "pca", 0, 41, results)  # other data
    assert len(tiny) == n_fits + 3
    capsys.readouterr()


def test_the_page(script, tiny, tmp_path, capsys):
    output = tmp_path / "page.md"
    script.main(["--seeds", "1", "--rows", "40", "--results", str(tmp_path / "r"), "--output", str(output)])
    page = output.read_text()
    assert page.strip() in capsys.readouterr().out
    assert str(tmp_path) not in page
    assert str(pathlib.Path.home()) not in page
    assert (
        "Made by `python examples/paper/local_structure.py --seeds 1 --rows 40 --output page.md`.\n" in page
    )
    assert "a machine" in page
    assert "torch" in page
    assert "nan" not in page
    assert page.count("\n## Configuration") == 2
    assert "![" not in page  # no picture was asked for
    assert max(map(len, (line for line in page.splitlines() if line.startswith("|")))) < 200


def test_data_change_with_the_seed(script):
    X_train, X_test, y_test = script.data(0, 30)
    assert X_train.shape == (30, 10)
    assert X_test.shape == (100, 10)
    assert len(y_test) == 100
    assert not np.array_equal(X_test, script.data(1, 30)[1])
    assert np.array_equal(X_test, script.data(0, 30)[1])


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--rows", "1"]])
def test_bad_options(script, arguments, capsys):
    with pytest.raises(SystemExit):
        script.parse(arguments)
    assert "must be at least" in capsys.readouterr().err
