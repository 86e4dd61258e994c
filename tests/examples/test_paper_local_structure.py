"""The paper's Figure 1 in numbers: what is measured, that fits are kept, and what the page says."""

import json

import local_structure as script
import numpy as np
import pytest
from configurations import Preset

from skswae.datasets import make_gmm
from skswae.networks import GatedMLP


@pytest.fixture
def fits(monkeypatch):
    """The script with models of a moment, and the fits that it has done."""
    settings = [("*", "*", {"network": GatedMLP((4,)), "max_iter": 1})]
    presets = {
        name: Preset(
            "Tiny.", script.CELLS, 2, [*preset.settings, *settings], models=("swae-1", "vae", "ae", "pca")
        )
        for name, preset in script.CONFIGURATIONS.items()
    }
    monkeypatch.setattr(script, "CONFIGURATIONS", presets)
    lines = {line: how for line, how in script.LINES.items() if how[0] in ("swae-1", "vae", "ae", "pca")}
    monkeypatch.setattr(script, "LINES", lines)
    monkeypatch.setattr(script, "N_TARGETS", 3)
    done, fit = [], script.timed_fit
    monkeypatch.setattr(script, "timed_fit", lambda *arguments: (done.append(1), fit(*arguments))[1])
    return done


def test_isometric_codes_agree_fully():
    X, y = make_gmm(100, n_features=2, random_state=0)
    turned = 3 * X @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 7
    found = script.agreements(X, y, turned, range(20))
    assert found.keys() == script.MEASURES.keys()
    assert all(value == pytest.approx(1) for value in found.values())
    assert script.flatness(turned) == pytest.approx(script.flatness(X))
    assert script.chance(y, range(20))["nearest"] == pytest.approx(10 / 99)


def test_in_the_mode_by_hand():
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


def test_paired_statistics():
    mean, error, n_ahead = script.paired([0.5, 0.7, 0.9], [0.4, 0.8, 0.5])  # differences 0.1, -0.1, 0.4
    assert mean == pytest.approx(0.4 / 3)
    assert error == pytest.approx(np.std([0.1, -0.1, 0.4], ddof=1) / np.sqrt(3))
    assert n_ahead == 2
    assert np.isnan(script.paired([0.5], [0.4])[1])
    assert [script.verdict(mean, 0.1) for mean in (0.3, -0.3, 0.1)] == [
        "better",
        "worse",
        "not clearly different",
    ]
    assert script.verdict(0.3, np.nan) == "not clearly different"


@pytest.mark.slow
def test_fits_are_kept(fits, tmp_path, monkeypatch, capsys):
    stored, output = tmp_path / "new" / "fits.json", tmp_path / "page.md"
    arguments = ["--seeds", "1", "--rows", "40", "--results", str(stored), "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["examples/paper/local_structure.py", *arguments])
    script.main(arguments)
    assert len(fits) == 8  # configurations, models
    page = output.read_text()
    assert page.strip() in capsys.readouterr().out
    assert (
        "Made by `python examples/paper/local_structure.py --seeds 1 --rows 40 --output page.md`.\n" in page
    )
    assert str(tmp_path) not in page
    assert page.count("\n## Configuration") == 2
    assert "nan" not in page
    script.main(arguments)
    assert len(fits) == 8
    known = json.loads(stored.read_text())
    del known[next(iter(known))]
    stored.write_text(json.dumps(known))
    script.main(arguments)
    assert len(fits) == 9
    again = output.read_text()
    assert again.startswith(page)
    assert "7 of 8 parts come from earlier runs" in again
    script.main([*arguments[:3], "41", *arguments[4:]])  # other data
    assert len(fits) == 9 + 8
    with pytest.raises(SystemExit):
        script.parse(["--seeds", "0"])
