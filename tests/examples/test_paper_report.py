"""examples/paper/report.py: from runs' files to the page, its figures and the table of all runs."""

import json
import math
import pathlib
import re
import shlex
import sys
from itertools import takewhile

import _measures
import _treatments
import figures
import joblib
import numpy as np
import pandas as pd
import pytest
import report
import results
import run as runner
import tables
from configurations import PRESETS
from results import Cell, Stat
from sklearn.decomposition import PCA

import skswae

T1, T3 = tables.TABLES
NAN = math.nan
SAMPLES = {
    "frechet_pixels": 3.0, "precision": 0.9, "recall": 0.8, "nearest_row_ratio": 1.1, "duplicate_rate": 0.0
}  # fmt: skip


def record(data, n, model, trial=0, error=None, fit=None, preset="cpu", **measures):
    """What the runner writes of a run."""
    said = {"data": data, "n_components": n, "model": model, "trial": trial, "preset": preset, "seed": trial}
    said |= {"parameters": {"max_iter": 3, "random_state": trial}, "fingerprint": "f", "error": error}
    notes = {"date": "2026-01-02", "hardware": "a machine", "versions": {"skswae": "1", "torch": "2"}}
    if error is None:
        notes |= {"seconds": 40.0, "cpu_seconds": 36.0, "resumed": False, "n_iter": 3, "warnings": []}
        said |= {"measures": measures, "measures_version": _measures.VERSION, "measuring_seconds": 1.0}
    return said | {"fit": notes | (fit or {})}


def write(tmp_path, *records):
    """As files in a folder of results."""
    folder = tmp_path / "results" / "cpu" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for one in records:
        stem = pathlib.Path(one["data"]).stem
        name = f"{stem}_{one['n_components']}_{one['model']}_{one['trial']}.json"
        (folder / name).write_text(json.dumps(one))
    return tmp_path / "results"


def results_of(tmp_path, *records):
    runs, problems = results.read_runs(write(tmp_path, *records) / "cpu" / "runs", "cpu")
    assert problems == []
    return results.Results(runs, PRESETS["cpu"], results.Paper())


def page_of(tmp_path, *records, arguments=()):
    folder = write(tmp_path, *records)
    output = tmp_path / "docs" / "page.md"
    assert report.main(["--results", str(folder), "--output", str(output), *arguments]) == 0
    return output.read_text(encoding="utf-8")


def section(text, title):
    """From a heading to the next."""
    return text.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def table_after(text, *, starts):
    """The first table whose head starts like that, as dictionaries."""
    lines = takewhile(lambda line: line.startswith("|"), text[text.index(f"| {starts} |") :].splitlines())
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_within_two_deviations():
    for table, ours, paper, std, verdict, bound in (
        (T1, Stat(0.95, NAN, 1), 0.97, 0.01, "within", False),  # two of the paper's deviations, exactly
        (T1, Stat(0.96, NAN, 1), 0.97, 0.01, "within", True),  # 0.01, exactly
        (T1, Stat(0.94, NAN, 1), 0.97, 0.01, "worse", False),
        (T1, Stat(0.99, 0.0, 3), 0.96, 0.01, "better", True),
        (T3, Stat(11.0, NAN, 1), 10.0, 0.1, "worse", True),  # 10 %, exactly
        (T3, Stat(11.0, 1.0, 3), 10.0, 0.1, "within", True),
        (T3, Stat(NAN, NAN, 1), 10.0, 0.1, "worse", False),
    ):
        found = tables.compare(table, Cell("mnist", 8, "vae"), ours, paper, std)
        assert (found.verdict, found.bound) == (verdict, bound), (ours, paper)


def test_statistics_of_trials(tmp_path):
    values = [1.0, 2.0, 6.0]
    found = results_of(
        tmp_path,
        *(record("coil20", 8, "ae", t, knn_5=v) for t, v in enumerate(values)),
        record("mnist", 8, "ae", knn_5=0.5, reconstruction=NAN),
    )
    assert found.stat(Cell("coil20", 8, "ae"), "knn_5") == (3.0, pytest.approx(np.std(values, ddof=1)), 3)
    single = found.stat(Cell("mnist", 8, "ae"), "knn_5")
    assert (single.mean, single.n, math.isnan(single.std)) == (0.5, 1, True)
    assert math.isnan(found.stat(Cell("mnist", 8, "ae"), "reconstruction").mean)
    assert found.stat(Cell("mnist", 40, "ae"), "knn_5") is None
    assert results.stat_text(Stat(1.23e-5, 1e-6, 2), 3) == "1.23e-05 ± 1e-06 (2)"


def test_tables_1_and_3_beside_the_paper(tmp_path):
    text = page_of(
        tmp_path,
        record("mnist", 8, "swae-1", knn_3=0.91, knn_5=0.9612, knn_10=0.92),
        *(record("coil20", 8, "swae-1", t, knn_5=a) for t, a in enumerate((0.93, 0.95, 0.97))),
        record("mnist", 8, "ae", knn_5=0.95, fit={"resumed": True}),
        record(
            "mnist", 80, "vae", knn_5=0.93, knn_5_drawn=0.61, reconstruction=16.0, reconstruction_drawn=18.6
        ),
        record("mnist", 80, "mim", knn_5=0.97),  # no drawn codes: nothing to compare
    )
    table = section(text, "Table 1")
    matrix = table_after(table, starts="data | dim-z | SWAE(beta=1)")
    assert matrix[0] | {"data": "MNIST", "dim-z": "8", "SWAE(beta=1)": "0.961 / 0.96"} == matrix[0]
    assert (matrix[0]["AE"], matrix[0]["PCA"], matrix[0]["VAE"]) == ("0.950", "—", "— / 0.96")
    cells = {
        (r["data"], r["dim-z"], r["model"]): [*r.values()][3:]
        for r in table_after(table, starts="data | dim-z | model")
    }
    assert len(cells) == 5  # those that have been run
    assert cells["MNIST", "8", "SWAE(beta=1)"] == ["0.9612 (1)", "0.96", "+0.0012", "yes †", "yes", "—"]
    assert cells["COIL20", "8", "SWAE(beta=1)"][0::3] == ["0.9500 ± 0.0200 (3)", "yes"]
    # drawn codes are compared, and means shown
    assert cells["MNIST", "80", "VAE"] == ["0.6100 (1)", "0.60", "+0.0100", "yes †", "yes", "0.9300 (1)"]
    assert cells["MNIST", "80", "MIM"][0::5] == ["—", "0.9700 (1)"]
    assert "0.910 / 0.920" in table.split("3-NN / 10-NN")[1]
    assert "0.610 / 0.930" in table.split("drawn codes / posterior means:")[1]
    (vae,) = (
        r for r in table_after(section(text, "Table 3"), starts="data | dim-z | model") if r["model"] == "VAE"
    )
    assert [*vae.values()][3:6] == ["18.60 (1)", "18.50 ± 0.11", "+0.10, +0.5 %"]
    assert "| — / 16.00 |" in section(text, "Denoising")
    times = table_after(section(text, "CPU seconds"), starts="data")
    assert [times[0][m] for m in ("SWAE(beta=1)", "AE", "PCA")] == ["36", "≥ 36", "—"]
    assert "| MNIST | 8 | 1.0 | 0.9612 (1) | — |" in section(text, "SWAE by beta")
    assert "5 of 90 cells of the preset have been run. 7 runs, none of them failed; trials 0, 1, 2;" in text


def test_samples_with_both_priors_and_ranks(tmp_path):
    both = SAMPLES | {f"{name}_gmm": value / 2 for name, value in SAMPLES.items()}
    ours = {"swae-1": (20.0, 7.0), "swae-0": (10.0, 8.0), "ae": (30.0, 5.0), "vae": (12.0, 9.0)}
    records = [
        record("mnist", 8, m, **both, frechet_classifier=a, frechet_classifier_gmm=b)
        for m, (a, b) in ours.items()
    ]
    few = results_of(tmp_path, *records, record("mnist", 8, "pca", knn_5=0.9))
    assert tables.ranks(few, ("mnist", 8)) is None  # of fewer than four models
    text = page_of(tmp_path, record("mnist", 8, "wae-mmd", **both, frechet_classifier=15.0))
    table = section(text, "Table 2")
    assert "None of our numbers is a Frechet Inception Distance" in table
    matrix = table_after(table, starts="data")
    assert (matrix[0]["AE"], matrix[0]["PCA"], matrix[0]["MIM"]) == ("30.0 / 5.0", "—", "—")
    rows = {(r["model"], r["prior"]): [*r.values()][2:] for r in table_after(table, starts="model | prior")}
    assert rows["SWAE(beta=1)", "own"][0] == "50"  # the paper's FID
    assert rows["AE", "gmm"][:4] == ["—", "5.00 (1)", "1.50 (1)", "0.450 (1)"]
    assert not any(model == "PCA" for model, _ in rows)  # cannot sample
    assert rows["SWAE(beta*): SWAE(beta=0)", "own"][0] == "21"
    assert rows["SWAE(beta*): SWAE(beta=1)", "gmm"][1] == "7.00 (1)"
    # the paper's FID: 50, 24, 24, 34
    line = table_after(table.split("Spearman")[1], starts="data")[0]
    correlation = np.corrcoef([4, 1, 2, 3], [4, 1.5, 1.5, 3])[0, 1]
    assert (line["models"], line["VAE"], line["correlation"]) == ("4", "2 / 1.5", f"{correlation:+.2f}")


def test_the_summary_counts(tmp_path):
    text = page_of(
        tmp_path,
        record("mnist", 8, "swae-1", knn_5=0.96, reconstruction=30.0),
        record("mnist", 40, "swae-1", knn_5=0.99, reconstruction=40.0),
        record("mnist", 80, "swae-1", knn_5=0.94, reconstruction=26.1),
        record("mnist", 8, "wae-mmd", knn_5=0.965, reconstruction=24.76),
        record(
            "mnist", 8, "vae", knn_5=0.962, knn_5_drawn=0.5, reconstruction=31.0, reconstruction_drawn=32.0
        ),
        record("mnist", 40, "ae", knn_5=0.9, reconstruction=1.0),
        record("mnist", 80, "pca", knn_5=0.94, reconstruction=99.0),
        *(
            record("coil20", 8, m, t, denoising=a)
            for m, pair in {"swae-0": (8.0, 8.1), "ae": (6.0, 9.0), "pca": (1.0, 1.1)}.items()
            for t, a in enumerate(pair)
        ),
    )
    summary = section(text, "Summary")
    counts = {(r["table"][0], r["model"]): [*r.values()][2:] for r in table_after(summary, starts="table")}
    assert counts["1", "SWAE(beta=1)"] == ["3", "0", "2", "1", "2"]  # 0.99 and 0.97 are two deviations apart
    assert counts["1", "VAE"] == ["1", "0", "0", "1", "0"]
    assert counts["1", "all"] == ["5", "0", "3", "2", "3"]
    assert counts["3", "SWAE(beta=1)"] == ["3", "0", "2", "1", "2"]
    assert ("1", "AE") not in counts
    assert "10 of these 10 numbers are of a single trial" in summary
    assert "MNIST, 80, SWAE(beta=1) (-0.0300)" in summary
    # a tie is no lead, and the VAE counts with its posterior means
    assert "5-NN accuracy 1 of 3; reconstruction error 2 of 3" in summary
    ahead = {(r["measure"], r["dim-z"]): r["ahead of it"] for r in table_after(summary, starts="measure")}
    assert ahead == {
        ("5-NN accuracy", "8"): "WAE-MMD 0.9650 †, VAE 0.9620 †",
        ("reconstruction error", "8"): "WAE-MMD 24.760 †",
        ("reconstruction error", "40"): "AE 1.000 †",
        ("denoising error", "8"): "PCA 1.050, AE 7.500 ‡",
    }


def test_failures_warnings_and_all_runs_as_csv(tmp_path):
    path = tmp_path / "new" / "all.csv"
    text = page_of(
        tmp_path,
        record("coil20", 8, "vae", 0, error="ValueError: a | b\nc"),
        record("coil20", 8, "mim", 0, error="MemoryError: x"),
        record("coil20", 8, "mim", 1, knn_5=0.9, knn_5_drawn=0.8),
        *(record("coil20", 8, "ae", t, knn_5=0.9, fit={"warnings": ["It wobbles.", "Ah"]}) for t in (0, 1)),
        arguments=["--csv", str(path)],
    )
    assert "2 of 90 cells of the preset have been run. 5 runs, 2 of them failed;" in text
    cells = table_after(section(text, "Table 1"), starts="data | dim-z | model")
    assert [r["ours"] for r in cells] == ["failed", "0.8000 (1; 1 failed)", "0.9000 ± 0.0000 (2)"]
    notes = section(text, "Runs")
    assert "| COIL20, 8, VAE | 0 | ValueError: a \\| b c |" in notes
    assert "| It wobbles. | COIL20, 8, AE, trial 0; COIL20, 8, AE, trial 1 |" in notes
    lines = pd.read_csv(path, keep_default_na=False)
    assert [*lines["model"]] == ["ae", "ae", "mim", "mim", "vae"]
    ae, vae = lines.iloc[0], lines.iloc[4]
    assert (ae["warnings"], ae["version_torch"], float(ae["knn_5"])) == ("It wobbles.; Ah", 2, 0.9)
    assert (vae["error"], vae["knn_5"], vae["cpu_seconds"]) == ("ValueError: a | b\nc", "", "")
    assert json.loads(ae["parameters"]) == {"max_iter": 3, "random_state": 0}


def test_own_files_and_the_command(tmp_path):
    own = str(tmp_path / "secret" / "my table.csv")
    records = [
        record(own, 3, "umap", knn_5=0.7),
        record(own, 3, "swae-0.5", knn_5=0.8, reconstruction=1e-4),
        record("mnist", 5, "umap", knn_5=0.6),
    ]
    (tmp_path / "remarks.md").write_text("Looked into it: *the floor*.\n")
    arguments = ["--remarks", str(tmp_path / "remarks.md"), "--data-home", str(tmp_path / "home")]
    text = page_of(tmp_path, *records, arguments=arguments)
    assert str(tmp_path) not in text
    matrix = table_after(section(text, "Table 1"), starts="data | dim-z | SWAE(beta=1)")
    last = {"data": "my table.csv", "dim-z": "3", "umap": "0.700", "SWAE(beta=0.5)": "0.800"}
    assert matrix[-1] | last == matrix[-1]
    assert [r["dim-z"] for r in matrix if r["data"] == "MNIST"] == ["5", "8", "40", "80"]
    assert "0 of 90 cells of the preset have been run, and 3 cells that it does not name." in text
    assert "No cell that has been run has a number in the paper." in text
    assert text.endswith("## Remarks\n\nLooked into it: *the floor*.\n")
    only = page_of(tmp_path, arguments=["--data", own])
    assert "| MNIST |" not in only
    command = re.search(r"Made by `python (.*?)`", only).group(1)
    assert command.startswith("examples/paper/report.py --preset cpu --data 'my table.csv' --output ")
    assert not report.parse(shlex.split(command)[1:]).output.is_absolute()  # it is one that is understood


def test_no_runs_at_all(tmp_path):
    with pytest.raises(SystemExit, match=r"no runs of the preset 'cpu'(.|\n)*run.py --preset cpu --results"):
        report.main(["--results", str(tmp_path)])
    write(tmp_path, record("mnist", 8, "ae", knn_5=0.9))
    with pytest.raises(SystemExit, match="on coil20"):
        report.main(["--results", str(tmp_path / "results"), "--data", "coil20"])


def test_files_that_are_no_runs_are_named(tmp_path, capsys):
    good = record("mnist", 8, "ae", knn_5=0.9)
    other = record("mnist", 8, "pca", knn_5=0.9, fit={"hardware": "b"})
    folder = write(tmp_path, good, other) / "cpu" / "runs"
    (folder / "a_broken.json").write_text('{"data": ')
    (folder / "c_other.json").write_text(json.dumps(record("mnist", 8, "vae", preset="smoke")))
    (folder / "d_copy.json").write_text(json.dumps(good))
    (folder / "e_no_fit.json").write_text(json.dumps(good | {"trial": 3, "fit": None}))
    (folder / "f_text.json").write_text(json.dumps(good | {"trial": 4, "measures": {"knn_5": "high"}}))
    (folder / "h.json.123.tmp").write_text("half")
    text = page_of(tmp_path)
    said = capsys.readouterr().err
    odd = [f"{name}.json holds no run" for name in ("a_broken", "e_no_fit", "f_text")]
    odd += ["c_other.json is a run of the preset", "mnist_8_ae_0.json is a run that another file holds"]
    assert all(line in said and line in section(text, "Runs") for line in odd)
    assert "2 runs, none" in text
    assert "a machine (1 run); b (1 run)." in text


def test_runs_that_do_not_fit_together(tmp_path):
    cell = runner.Run("mnist", 8, "vae", 0)
    parameters = runner.make_estimator(cell, PRESETS["cpu"], {}, "auto").get_params()
    plain = {name: runner.plain(value) for name, value in parameters.items()}
    current = record("mnist", 8, "vae", knn_5=0.9) | {"parameters": plain | {"device": "cpu", "augment": "f"}}
    assert report.inconsistencies(results_of(tmp_path, current)) == []
    old = current | {"trial": 1, "measures_version": 0}
    old["parameters"] = plain | {"random_state": 1, "max_iter": 7}
    first, second = report.inconsistencies(results_of(tmp_path, current, old))
    assert first == "made with other parameters (max_iter) than the preset has now: 1 run, mnist_8_vae_1"
    assert second == f"measured by another version of the measures than {_measures.VERSION}: 1 run"


@pytest.fixture(scope="module")
def digits_split():
    return _treatments.load("digits", 0)


@pytest.fixture(scope="module")
def models(digits_split):
    X = digits_split.X_train[:100]
    swae = skswae.SWAETransformer(
        n_components=2, network=skswae.networks.GatedMLP((4,)), max_iter=1, n_pseudo_inputs=10, random_state=0
    )
    return {"swae-0.5": swae.fit(X), "pca": PCA(2).fit(X)}


@pytest.fixture
def drawings(monkeypatch):
    """What is to be drawn, instead of pictures."""
    found = {}

    def draw(path, title, *what):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"png")
        found[path.name] = what

    for name in ("draw_orders", "draw_maps", "draw_images"):
        monkeypatch.setattr(figures, name, draw)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return found


def keep(tmp_path, key, model, fingerprint="f"):
    folder = tmp_path / "results" / "cpu" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump((model, {}, fingerprint), folder / f"{key}.joblib")


def test_figures_of_kept_models(tmp_path, models, digits_split, drawings, capsys):
    kinds = ("swae-0.5", "pca", "ae", "vae", "mim")
    records = [record("digits", n, m, knn_5=0.5) for n in (2, 9) for m in kinds]
    for model, fitted in models.items():
        keep(tmp_path, f"digits_2_{model}_0", fitted)
    keep(tmp_path, "digits_2_vae_0", models["pca"], "another")
    (tmp_path / "results" / "cpu" / "models" / "digits_2_mim_0.joblib").write_bytes(b"cut off")
    folder = tmp_path / "docs" / "images"
    arguments = ["--figures", str(folder), "--figure-cells", "digits:2", "digits:9"]
    text = page_of(tmp_path, *records, arguments=arguments)
    names = [f"cpu_digits_2_figure{i}.png" for i in (1, 3, 4, 5, 6)]
    assert [*drawings] == sorted(p.name for p in folder.iterdir()) == names
    assert all(f"](images/{name})" in section(text, "Figures") for name in names)
    X, codes = drawings[names[0]]
    np.testing.assert_array_equal(X, digits_split.X_test[:100])
    np.testing.assert_array_equal(codes["pca"], models["pca"].transform(X))
    codes, labels = drawings[names[1]]
    assert [*codes] == ["swae-0.5", "pca"]
    np.testing.assert_array_equal(labels, digits_split.y_test)
    samples, rebuilt, noisy = (drawings[name][0] for name in names[2:])
    assert [*samples] == ["SWAE(beta=0.5)"]  # PCA draws none
    assert [*rebuilt] == ["Test rows", "SWAE(beta=0.5)", "PCA"]
    assert [*noisy] == ["Test rows", "With noise", "SWAE(beta=0.5)", "PCA"]
    np.testing.assert_allclose(rebuilt["Test rows"], figures.mosaic(digits_split.X_test[:24], (1, 8, 8)))
    assert not np.array_equal(noisy["PCA"], rebuilt["PCA"])
    said = capsys.readouterr().err
    assert "Digits_2_ae_0.joblib is not there." in said
    assert "Digits_2_vae_0.joblib is of another run than digits_2_vae_0.json." in said
    assert "Digits_2_mim_0.joblib cannot be loaded: " in said
    assert "No figures of digits, dim-z 9: no model of trial 0 is kept." in said
    for wrong in (["--figure-cells", "digits:2"], [*arguments[:3], "digits"]):
        with pytest.raises(SystemExit):
            report.parse(wrong)


@pytest.mark.slow
def test_drawing(tmp_path, monkeypatch):
    X = np.arange(12.0)[None] / 8 - 0.1
    colour = figures.mosaic(X.repeat(3, axis=0), (3, 2, 2), 2)
    assert colour.shape == (5, 5, 3)
    np.testing.assert_array_equal(colour[0, 1], np.clip(X[0, [1, 5, 9]], 0, 1))  # channel first, in [0, 1]
    assert (colour[2] == 1).all()
    assert (colour[3:, 3:] == 1).all()  # nothing there
    path, P = tmp_path / "new" / "figure.png", np.random.default_rng(0).random((50, 2))
    figures.draw_orders(path, "title", P, {"vae": P, "mim": P[:, :1]})
    figures.draw_maps(path, "title", {"vae": P, "mim": P}, np.arange(50) % 3)
    figures.draw_maps(path, "title", {"vae": np.zeros((12, 2))}, None)
    sizes = []
    for limit in (10**6, 2_000):
        monkeypatch.setattr(figures, "MAX_BYTES", limit)
        figures.draw_images(path, "title", {str(i): P[:24, 0].reshape(4, 6) for i in range(7)})
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match=r"skswae\[plot\]"):
        figures.new_figure(3, "title", 1.0)
