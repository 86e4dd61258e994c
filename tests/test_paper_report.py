"""examples/paper/report.py: from runs' files to the page, its figures and the table of all runs."""

import csv
import json
import math
import pathlib
import re
import sys
import types
from unittest import mock

import _treatments
import joblib
import numpy as np
import pytest
import report
import run as runner
from configurations import DATA, IN_PAPER, PRESETS, TABLE_1
from report import Cell, Stat
from sklearn.decomposition import PCA

import skswae

T1, T3 = report.TABLES
SAMPLES = {
    "frechet_pixels": 3.0,
    "precision": 0.9,
    "recall": 0.8,
    "nearest_row_ratio": 1.1,
    "duplicate_rate": 0.0,
}


def record(data, n, model, trial=0, error=None, fit=None, preset="cpu", **measures):
    """What the runner writes of a run."""
    said = {"data": data, "n_components": n, "model": model, "trial": trial, "preset": preset, "seed": trial}
    said |= {"parameters": {"max_iter": 3, "random_state": trial}, "fingerprint": "f", "error": error}
    if error is None:
        notes = {"seconds": 40.0, "cpu_seconds": 36.0, "resumed": False, "n_iter": 3, "warnings": []}
        notes |= {"date": "2026-01-02", "hardware": "a machine", "versions": {"skswae": "1", "torch": "2"}}
        said |= {
            "fit": notes | (fit or {}),
            "measures": measures,
            "measures_version": report._measures.VERSION,
        }
        said |= {"measuring_seconds": 1.0}
    return said


def write(tmp_path, *records):
    """As files in a folder of results."""
    for one in records:
        folder = tmp_path / "results" / "cpu" / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        stem = pathlib.Path(one["data"]).stem
        name = f"{stem}_{one['n_components']}_{one['model']}_{one['trial']}.json"
        (folder / name).write_text(json.dumps(one))
    return tmp_path / "results"


def results_of(tmp_path, *records, preset="cpu", data=None):
    runs, problems = report.read_runs(write(tmp_path, *records) / "cpu" / "runs", "cpu")
    assert problems == []
    return report.Results(runs, PRESETS[preset], report.Paper(), data)


def page_of(tmp_path, *records, arguments=()):
    results = write(tmp_path, *records)
    output = tmp_path / "docs" / "page.md"
    assert report.main(["--results", str(results), "--output", str(output), *arguments]) == 0
    return output.read_text(encoding="utf-8")


def section(text, title):
    """From a heading to the next."""
    return text.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def table_after(text, *, starts):
    """The first table whose head starts like that, as dictionaries."""
    lines = text[text.index(f"| {starts} |") :].splitlines()
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [dict(zip(rows[0], row)) for row in rows[2:]]


# ---------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------


def test_the_paper_s_tables_are_whole():
    paper = report.Paper()
    assert "UAI 2021" in paper.source
    for number, data, models in [
        ("1", TABLE_1, IN_PAPER),
        ("2", {"mnist": (8,), "fashion_mnist": (8,), "coil20": (80,), "cifar10_sub": (512,)},
         (*IN_PAPER, "swae-*")),
        ("3", TABLE_1 | {"cifar10_sub": (512,)}, [m for m in IN_PAPER if m != "swae-0"]),
    ]:  # fmt: skip
        cells = paper.tables[number]["cells"]
        assert {name: tuple(map(int, rows)) for name, rows in cells.items()} == data
        for name, rows in cells.items():
            assert name in DATA
            for n, row in rows.items():
                assert set(row) == set(models)
                for model in models:
                    mean, std = paper(number, Cell(name, int(n), model))
                    assert 0 < mean < (1 if number == "1" else 400)
                    assert std == 0.01 if number == "1" else std == 0 if number == "2" else 0 < std < 16
    assert paper("1", Cell("mnist", 8, "ae")) is None
    assert paper("1", Cell("mnist-grey", 8, "vae")) is None
    assert paper("3", Cell("mnist", 9, "vae")) is None


def test_statistics_of_trials():
    assert report.statistics([]) is None
    assert report.statistics([0.5]) == (0.5, None, 1)
    mean, std, n = report.statistics([1.0, 2.0, 6.0])
    assert (mean, n) == (3.0, 3)
    assert std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


@pytest.mark.parametrize(
    ("stat", "text"),
    [(None, "—"), (Stat(0.5, None, 1), "0.500 (1)"), (Stat(0.5, 0.00012, 5), "0.500 ± 0.000 (5)"),
     (Stat(0.0, 0.0, 2), "0.000 ± 0.000 (2)"), (Stat(1.23e-5, 1e-6, 2), "1.23e-05 ± 1e-06 (2)"),
     (Stat(1234567.0, None, 1), "1.23e+06 (1)"), (Stat(math.nan, None, 1), "nan (1)")],
)  # fmt: skip
def test_numbers_as_text(stat, text):
    assert report.stat_text(stat, 3) == text


@pytest.mark.parametrize(
    ("table", "ours", "paper", "std", "verdict", "bound"),
    [
        (T1, Stat(0.95, None, 1), 0.97, 0.01, "within", False),  # two of the paper's deviations, exactly
        (T1, Stat(0.96, None, 1), 0.97, 0.01, "within", True),  # 0.01, exactly
        (T1, Stat(0.94, None, 1), 0.97, 0.01, "worse", False),
        (T1, Stat(0.94, 0.02, 3), 0.97, 0.01, "within", False),
        (T1, Stat(0.99, 0.0, 3), 0.96, 0.01, "better", True),
        (T3, Stat(11.0, None, 1), 10.0, 0.1, "worse", True),  # 10 %, exactly
        (T3, Stat(11.0, 1.0, 3), 10.0, 0.1, "within", True),
        (T3, Stat(12.0, 1.1, 3), 10.0, 0.1, "within", False),
        (T3, Stat(5.0, None, 1), 10.0, 0.1, "better", True),
        (T3, Stat(math.nan, None, 1), 10.0, 0.1, "worse", False),
    ],
)
def test_within_two_deviations(table, ours, paper, std, verdict, bound):
    found = report.compare(table, Cell("mnist", 8, "vae"), ours, paper, std)
    assert (found.verdict, found.bound) == (verdict, bound)
    assert found.difference == pytest.approx(ours.mean - paper, nan_ok=True)


def test_spearman():
    assert report.spearman([1, 2, 3, 4], [10, 20, 30, 900]) == pytest.approx(1)
    assert report.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert report.spearman([1, 1, 2, 3], [5, 6, 7, 8]) == pytest.approx(
        np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3, 4])[0, 1]
    )
    assert report.spearman([1, 1, 1, 1], [5, 6, 7, 8]) is None


# ---------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------


def test_table_1_beside_the_paper(tmp_path):
    text = page_of(
        tmp_path,
        record("mnist", 8, "swae-1", knn_3=0.91, knn_5=0.9612, knn_10=0.92),
        *(record("coil20", 8, "swae-1", t, knn_5=a) for t, a in enumerate((0.93, 0.95, 0.97))),
        record("mnist", 8, "ae", knn_5=0.95),
    )
    table = section(text, "Table 1")
    matrix = table_after(table, starts="data | dim-z | SWAE(beta=1)")
    assert matrix[0] | {"data": "MNIST", "dim-z": "8", "SWAE(beta=1)": "0.961 / 0.96"} == matrix[0]
    assert (matrix[0]["AE"], matrix[0]["PCA"], matrix[0]["VAE"]) == ("0.950", "—", "— / 0.96")
    cells = {
        (r["data"], r["dim-z"], r["model"]): r for r in table_after(table, starts="data | dim-z | model")
    }
    assert len(cells) == 3  # those that have been run
    one = cells["MNIST", "8", "SWAE(beta=1)"]
    assert (one["ours"], one["paper"], one["difference"]) == ("0.9612 (1)", "0.96", "+0.0012")
    assert (one["within two deviations"], one["within 0.01 or better"]) == ("yes †", "yes")
    assert one["ours, on posterior means"] == "—"
    three = cells["COIL20", "8", "SWAE(beta=1)"]
    assert (three["ours"], three["within two deviations"]) == ("0.9500 ± 0.0200 (3)", "yes")
    matrix = table_after(table, starts="data")[1]
    assert (matrix["dim-z"], matrix["VAE"]) == ("40", "— / 0.80")
    neighbours = table_after(table.split("3-NN / 10-NN")[1], starts="data")
    assert neighbours[0]["SWAE(beta=1)"] == "0.910 / 0.920"
    assert "5 of" not in text
    assert "3 of 90 cells of the preset have been run. 5 runs, none of them failed; trials 0, 1, 2;" in text


def test_drawn_codes_are_compared_and_means_shown(tmp_path):
    text = page_of(
        tmp_path,
        record(
            "mnist", 80, "vae", knn_5=0.93, knn_5_drawn=0.61, reconstruction=16.0, reconstruction_drawn=18.6
        ),
        record("mnist", 80, "mim", knn_5=0.97),  # no drawn codes: nothing to compare
    )
    cells = table_after(section(text, "Table 1"), starts="data | dim-z | model")
    vae, mim = (next(r for r in cells if (r["dim-z"], r["model"]) == ("80", m)) for m in ("VAE", "MIM"))
    assert (vae["ours"], vae["difference"], vae["ours, on posterior means"]) == (
        "0.6100 (1)",
        "+0.0100",
        "0.9300 (1)",
    )
    assert (mim["ours"], mim["difference"], mim["ours, on posterior means"]) == ("—", "—", "0.9700 (1)")
    means = table_after(text.split("drawn codes / posterior means:")[1], starts="data")
    assert next(r for r in means if (r["data"], r["dim-z"]) == ("MNIST", "80"))["VAE"] == "0.610 / 0.930"
    cells = table_after(section(text, "Table 3"), starts="data | dim-z | model")
    vae = next(r for r in cells if (r["dim-z"], r["model"]) == ("80", "VAE"))
    assert vae | {"ours": "18.60 (1)", "paper": "18.50 ± 0.11", "difference": "+0.10, +0.5 %"} == vae
    assert vae["ours, on posterior means"] == "16.00 (1)"
    assert "codes *drawn* from it" in text


def test_samples_with_both_priors_and_no_fid_of_ours(tmp_path):
    both = SAMPLES | {f"{name}_gmm": value / 2 for name, value in SAMPLES.items()}
    text = page_of(
        tmp_path,
        record("mnist", 8, "swae-1", **both, frechet_classifier=20.0, frechet_classifier_gmm=7.0),
        record("mnist", 8, "swae-0", **both, frechet_classifier=10.0, frechet_classifier_gmm=8.0),
        record("mnist", 8, "ae", **both, frechet_classifier=30.0, frechet_classifier_gmm=5.0),
        record("mnist", 8, "pca", knn_5=0.9),
    )
    table = section(text, "Table 2")
    assert "None of our numbers is a Frechet Inception Distance" in table
    matrix = table_after(table, starts="data")
    assert (matrix[0]["AE"], matrix[0]["PCA"], matrix[0]["VAE"]) == ("30.0 / 5.0", "—", "—")
    rows = {(r["model"], r["prior"]): r for r in table_after(table, starts="model | prior")}
    assert rows["SWAE(beta=1)", "own"]["paper's FID"] == "50"
    assert rows["SWAE(beta=1)", "gmm"]["paper's FID"] == "—"
    assert rows["AE", "gmm"]["Frechet, classifier"] == "5.00 (1)"
    assert rows["AE", "gmm"]["precision"] == "0.450 (1)"
    assert rows["VAE", "own"]["Frechet, pixels"] == "—"  # not run yet
    assert not any(model == "PCA" for model, _ in rows)  # cannot sample
    assert rows["SWAE(beta*): SWAE(beta=0)", "own"]["paper's FID"] == "21"
    assert rows["SWAE(beta*): SWAE(beta=1)", "gmm"]["Frechet, classifier"] == "7.00 (1)"
    head = next(line for line in table.splitlines() if line.startswith("| model | prior"))
    assert head.count("FID") == 1


def test_ranks_need_four_models(tmp_path):
    # the paper's: 50, 24, 24, 34, 17 of these
    ours = {"swae-1": 5.0, "swae-0": 2.0, "vae": 3.0, "wae-mmd": 4.0, "ae": 1.0, "swae-0.25": 0.5}
    records = [record("mnist", 8, m, **SAMPLES, frechet_classifier=v) for m, v in ours.items()]
    results = results_of(tmp_path, *records[:3], *records[4:])
    assert report.ranks(results, ("mnist", 8)) is None
    assert "nowhere yet" in "\n".join(report.rank_lines(results))
    results = results_of(tmp_path, *records)
    found = report.ranks(results, ("mnist", 8))
    assert found.ours == {"swae-1": 4, "swae-0": 1, "vae": 2, "wae-mmd": 3}
    assert found.paper == {"swae-1": 4, "swae-0": 1.5, "vae": 1.5, "wae-mmd": 3}
    assert found.correlation == pytest.approx(report.spearman([4, 1, 2, 3], [4, 1.5, 1.5, 3]))
    line = table_after("\n".join(report.rank_lines(results)), starts="data")[0]
    assert (line["models"], line["VAE"], line["correlation"]) == ("4", "2 / 1.5", "+0.95")
    assert report.ranks(results, ("mnist", 40)) is None


def test_denoising_beta_local_structure_and_seconds(tmp_path):
    text = page_of(
        tmp_path,
        record("mnist", 8, "swae-1", denoising=5.0, reconstruction=4.0, neighborhood_agreement=0.4),
        record("mnist", 8, "swae-0.25", denoising=7.0, reconstruction=3.0, trustworthiness=0.9),
        record("mnist", 8, "vae", denoising=6.0, reconstruction=2.0, fit={"resumed": True}),
    )
    noisy = table_after(section(text, "Denoising"), starts="data")
    assert len(noisy) == 1
    assert (noisy[0]["SWAE(beta=1)"], noisy[0]["VAE"], noisy[0]["AE"]) == ("5.00 / 4.00", "6.00 / 2.00", "—")
    assert "SWAE(beta=1) has the lowest denoising error of all models in 1 of 1 row." in text
    betas = [r for r in table_after(section(text, "SWAE by beta"), starts="data") if r["data"] == "MNIST"]
    assert [r["beta"] for r in betas if r["dim-z"] == "8"] == ["0.0", "0.25", "0.5", "1.0"]
    assert [r["beta"] for r in betas if r["dim-z"] == "40"] == ["0.0", "0.5", "1.0"]
    assert betas[1]["reconstruction"] == "3.00 (1)"
    local = section(text, "Local structure")
    assert table_after(local.split("Neighbourhood")[1], starts="data")[0]["SWAE(beta=1)"] == "0.400 (1)"
    assert table_after(local.split("Trust")[1], starts="data")[0]["SWAE(beta=0.25)"] == "0.900 (1)"
    times = table_after(section(text, "CPU seconds"), starts="data")[0]
    assert (times["SWAE(beta=1)"], times["VAE"], times["AE"]) == ("36", "≥ 36", "—")
    assert "at least 0.03 CPU hours" in text


# ---------------------------------------------------------------------------
# Summary, notes, command
# ---------------------------------------------------------------------------


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
    )
    summary = section(text, "Summary")
    counts = {(r["table"][0], r["model"]): [*r.values()][2:] for r in table_after(summary, starts="table")}
    assert counts["1", "SWAE(beta=1)"] == ["3", "0", "2", "1", "2"]  # 0.99 and 0.97 are two deviations apart
    assert counts["1", "WAE-MMD"] == ["1", "0", "1", "0", "1"]
    assert counts["1", "VAE"] == ["1", "0", "0", "1", "0"]
    assert counts["1", "all"] == ["5", "0", "3", "2", "3"]
    assert counts["3", "SWAE(beta=1)"] == ["3", "0", "2", "1", "2"]
    assert ("1", "AE") not in counts
    assert "10 of these 10 numbers are of a single trial" in summary
    assert "MNIST, 80, SWAE(beta=1) (-0.0300)" in summary
    assert "MNIST, 40, SWAE(beta=1) (+13.71, +52.1 %)" in summary
    # a tie is no lead, and the VAE counts with its posterior means
    assert "5-NN accuracy 1 of 3; reconstruction error 2 of 3" in summary
    ahead = {(r["measure"], r["dim-z"]): r["ahead of it"] for r in table_after(summary, starts="measure")}
    assert ahead == {
        ("5-NN accuracy", "8"): "WAE-MMD 0.9650 †, VAE 0.9620 †",
        ("reconstruction error", "8"): "WAE-MMD 24.760 †",
        ("reconstruction error", "40"): "AE 1.000 †",
    }


def test_a_lead_within_two_deviations_is_marked(tmp_path):
    values = {"swae-1": (0.90, 0.94), "swae-0": (0.80, 0.81), "ae": (0.92, 0.94), "pca": (0.990, 0.991)}
    text = page_of(
        tmp_path,
        *(record("coil20", 8, m, t, knn_5=a) for m, pair in values.items() for t, a in enumerate(pair)),
    )
    row = table_after(section(text, "Summary"), starts="measure")[0]
    assert (row["best SWAE"], row["ahead of it"]) == ("SWAE(beta=1) 0.9200", "PCA 0.9905, AE 0.9300 ‡")
    assert "‡ by less than two standard deviations" in text


def test_failed_runs_and_warnings(tmp_path):
    text = page_of(
        tmp_path,
        record("coil20", 8, "vae", 0, error="ValueError: a | b\nc"),
        record("coil20", 8, "mim", 0, error="MemoryError: x"),
        record("coil20", 8, "mim", 1, knn_5=0.9, knn_5_drawn=0.8),
        record("coil20", 8, "ae", 0, knn_5=0.9, fit={"warnings": ["It wobbles."]}),
        record("coil20", 8, "ae", 1, knn_5=0.9, fit={"warnings": ["It wobbles."]}),
    )
    assert "2 of 90 cells of the preset have been run. 5 runs, 2 of them failed;" in text
    matrix = table_after(section(text, "Table 1"), starts="data | dim-z | SWAE(beta=1)")
    row = next(r for r in matrix if (r["data"], r["dim-z"]) == ("COIL20", "8"))
    assert (row["VAE"], row["MIM"], row["AE"]) == ("failed / 0.95", "0.800 / 0.89", "0.900")
    cells = table_after(section(text, "Table 1"), starts="data | dim-z | model")
    ours = {r["model"]: r["ours"] for r in cells if (r["data"], r["dim-z"]) == ("COIL20", "8")}
    assert (ours["VAE"], ours["MIM"]) == ("failed", "0.8000 (1; 1 failed)")
    notes = section(text, "Runs")
    assert "| COIL20, 8, VAE | 0 | ValueError: a \\| b c |" in notes
    assert "| It wobbles. | COIL20, 8, AE, trial 0; COIL20, 8, AE, trial 1 |" in notes
    assert notes.count("It wobbles") == 1
    assert "not been run: 87." in notes


def test_files_that_are_no_runs_are_named(tmp_path, capsys):
    good = record("mnist", 8, "ae", knn_5=0.9)
    folder = write(tmp_path, good) / "cpu" / "runs"
    (folder / "a_broken.json").write_text('{"data": ')
    (folder / "b_list.json").write_text("[1]")
    (folder / "c_other.json").write_text(json.dumps(record("mnist", 8, "vae", preset="smoke")))
    (folder / "d_copy.json").write_text(json.dumps(good))
    (folder / "e_no_fit.json").write_text(json.dumps(good | {"trial": 3, "fit": None}))
    (folder / "f_text.json").write_text(json.dumps(good | {"trial": 4, "measures": {"knn_5": "high"}}))
    (folder / "g_binary.json").write_bytes(b"\xff\xfe\x00")
    (folder / "h.json.123.tmp").write_text("half")
    text = page_of(tmp_path)
    said = capsys.readouterr().err
    for line in (
        "a_broken.json is broken", "b_list.json holds no run", "c_other.json is a run of the preset 'smoke'",
        "e_no_fit.json lacks a proper fit", "f_text.json lacks a proper knn_5", "g_binary.json is broken",
        "mnist_8_ae_0.json is the same run as d_copy.json",
    ):  # fmt: skip
        assert line in said
        assert line in section(text, "Runs")
    assert "1 run, none" in text


def test_runs_that_do_not_fit_together(tmp_path):
    cell = runner.Run("mnist", 8, "vae", 0)
    parameters = runner.make_estimator(cell, PRESETS["cpu"], {}, "auto").get_params()
    plain = {name: runner.plain(value) for name, value in parameters.items()}
    current = record("mnist", 8, "vae", knn_5=0.9) | {"parameters": plain | {"device": "cpu", "augment": "f"}}
    results = results_of(tmp_path, current)
    assert report.inconsistencies(results) == []
    old = current | {"trial": 1, "measures_version": 0}
    old["parameters"] = plain | {"random_state": 1, "max_iter": 7}
    first, second, third = report.inconsistencies(results_of(tmp_path, current, old))
    assert first == "made with other parameters (max_iter) than the preset has now: 1 run, mnist_8_vae_1"
    assert second == "the trials of MNIST, 8, VAE differ in their parameters"
    assert third == f"measured by another version of the measures than {report._measures.VERSION}: 1 run"
    assert "To be run again" in page_of(tmp_path)


def test_own_files_and_estimators(tmp_path):
    own = str(tmp_path / "secret" / "my table.csv")
    text = page_of(
        tmp_path,
        record(own, 3, "umap", knn_5=0.7),
        record(own, 3, "swae-0.5", knn_5=0.8, reconstruction=1e-4),
        record("mnist", 5, "umap", knn_5=0.6),
    )
    assert "secret" not in text
    table = section(text, "Table 1")
    matrix = table_after(table, starts="data | dim-z | SWAE(beta=1)")
    assert (
        matrix[-1] | {"data": "my table.csv", "dim-z": "3", "umap": "0.700", "SWAE(beta=0.5)": "0.800"}
        == matrix[-1]
    )
    assert [r["dim-z"] for r in matrix if r["data"] == "MNIST"] == ["5", "8", "40", "80"]
    assert [*matrix[0]][-1] == "umap"
    assert "0 of 90 cells of the preset have been run, and 3 cells that it does not name." in text
    assert "No cell that has been run has a number in the paper." in text
    assert "0.0001 (1)" in section(text, "Table 3")
    only = page_of(tmp_path, arguments=["--data", own])
    assert "| MNIST |" not in only
    assert "`python examples/paper/report.py --preset cpu --data 'my table.csv' --output " in only


def test_the_command_names_no_path(tmp_path):
    remarks = tmp_path / "remarks.md"
    remarks.write_text("Looked into it: *the floor*.\n")
    arguments = ["--csv", str(tmp_path / "all.csv"), "--remarks", str(remarks), "--data", "mnist"]
    arguments += ["--data-home", str(tmp_path / "home")]
    text = page_of(tmp_path, record("mnist", 8, "ae", knn_5=0.9), arguments=arguments)
    assert str(tmp_path) not in text
    command = re.search(r"Made by `python (.*?)`", text).group(1)
    assert command.startswith("examples/paper/report.py --preset cpu --data mnist --output ")
    options = report.parse(command.split()[1:])  # it is one that is understood
    assert not options.output.is_absolute()
    assert str(options.remarks) == "remarks.md"
    assert text.endswith("## Remarks\n\nLooked into it: *the floor*.\n")
    assert "2026-01-02. a machine. skswae 1, torch 2." in text


def test_hardware_and_dates_of_several_machines(tmp_path):
    text = page_of(
        tmp_path,
        record("mnist", 8, "ae", knn_5=0.9),
        record("mnist", 8, "vae", knn_5=0.9, fit={"hardware": "another", "date": "2025-12-31"}),
        record("mnist", 8, "pca", knn_5=0.9),
    )
    assert "2025-12-31 to 2026-01-02. a machine (2 runs); another (1 run)." in text


def test_no_runs_at_all(tmp_path):
    with pytest.raises(SystemExit, match=r"no runs of the preset 'cpu'(.|\n)*run.py --preset cpu --results"):
        report.main(["--results", str(tmp_path)])
    write(tmp_path, record("mnist", 8, "ae", knn_5=0.9))
    with pytest.raises(SystemExit, match="on coil20"):
        report.main(["--results", str(tmp_path / "results"), "--data", "coil20"])
    with pytest.raises(SystemExit, match="--remarks cannot be read"):
        report.main(["--results", str(tmp_path / "results"), "--remarks", str(tmp_path / "none.md")])


def test_without_an_output_it_is_printed(tmp_path, capsys):
    report.main(["--results", str(write(tmp_path, record("mnist", 8, "ae", knn_5=0.9)))])
    assert capsys.readouterr().out.startswith("# The paper's tables: preset `cpu`\n")


def test_all_runs_as_csv(tmp_path):
    path = tmp_path / "new" / "all.csv"
    page_of(
        tmp_path,
        record("/somewhere/my.csv", 8, "ae", knn_5=0.9, fit={"warnings": ["one", "two, and a half"]}),
        record("mnist", 8, "vae", 1, knn_5_drawn=0.25),
        record("mnist", 8, "mim", 0, error='ValueError: "no"'),
        arguments=["--csv", str(path)],
    )
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(r["data"], r["n_components"], r["model"], r["trial"]) for r in lines] == [
        ("mnist", "8", "mim", "0"), ("mnist", "8", "vae", "1"), ("my.csv", "8", "ae", "0"),
    ]  # fmt: skip
    mim, vae, ae = lines
    assert (mim["error"], mim["knn_5"], mim["cpu_seconds"]) == ('ValueError: "no"', "", "")
    assert (vae["knn_5"], vae["knn_5_drawn"], vae["seconds"]) == ("", "0.25", "40.0")
    assert (ae["warnings"], ae["version_torch"]) == ("one; two, and a half", "2")
    assert json.loads(ae["parameters"]) == {"max_iter": 3, "random_state": 0}


# ---------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------


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


def test_images_of_rows():
    X = np.arange(24.0).reshape(2, 12) / 20 - 0.1
    grey = report.as_images(X, (1, 3, 4))
    assert grey.shape == (2, 3, 4)
    assert (grey[0, 0, 0], grey[1, 2, 3]) == (0, 1)  # held between 0 and 1
    colour = report.as_images(X, (3, 2, 2))
    assert colour.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(colour[0, 0, 1], np.clip(X[0, [1, 5, 9]], 0, 1))  # channel first


def test_a_mosaic_of_images():
    images = np.arange(1.0, 6).reshape(5, 1, 1) * np.full((1, 2, 3), 0.1)
    found = report.mosaic(images, 2)
    assert found.shape == (3 * 3 - 1, 2 * 4 - 1)
    np.testing.assert_allclose(found[3:5, 4:], 0.4)
    np.testing.assert_array_equal(found[2], 1)
    np.testing.assert_array_equal(found[6:, 4:], 1)  # nothing there
    assert report.mosaic(np.zeros((7, 2, 2, 3))).shape == (5, 17, 3)


def test_pictures_of_models(models, digits_split):
    samples = report.pictures(4, models, digits_split)
    assert [*samples] == ["SWAE(beta=0.5)"]  # PCA draws none
    rebuilt = report.pictures(5, models, digits_split)
    assert [*rebuilt] == ["Test rows", "SWAE(beta=0.5)", "PCA"]
    X = digits_split.X_test[:24]
    np.testing.assert_allclose(rebuilt["Test rows"], report.mosaic(report.as_images(X, (1, 8, 8))))
    noisy = report.pictures(6, models, digits_split)
    assert [*noisy] == ["Test rows", "With noise", "SWAE(beta=0.5)", "PCA"]
    again = report.pictures(6, models, digits_split)
    assert all(np.array_equal(noisy[name], again[name]) for name in noisy)
    assert not np.array_equal(noisy["With noise"], noisy["Test rows"])
    assert not np.array_equal(noisy["PCA"], rebuilt["PCA"])


@pytest.mark.parametrize("Z", [np.zeros((12, 2)), np.arange(12.0)[:, None], np.eye(12)])
def test_coordinates_of_any_codes(Z):
    P = report.embedded(Z)
    assert P.shape == (12, 2)
    assert np.isfinite(P).all()
    np.testing.assert_array_equal(P, report.embedded(Z))


@pytest.fixture
def drawings(monkeypatch):
    """Instead of matplotlib: what is to be drawn."""
    found = {}

    def draw(path, title, *what):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"png")
        found[path.name] = what

    monkeypatch.setattr(report, "draw_points", draw)
    monkeypatch.setattr(report, "draw_images", draw)
    monkeypatch.setattr(report, "embedded", lambda Z: Z[:, :2])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return found


def keep(tmp_path, key, model, fingerprint="f"):
    folder = tmp_path / "results" / "cpu" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump((model, {}, fingerprint), folder / f"{key}.joblib")


def test_figures_of_kept_models(tmp_path, models, digits_split, drawings, capsys):
    records = [
        record("digits", n, m, knn_5=0.5) for n in (1, 2) for m in ("swae-0.5", "pca", "ae", "vae", "mim")
    ]
    for model, fitted in models.items():
        keep(tmp_path, f"digits_2_{model}_0", fitted)
    keep(tmp_path, "digits_2_vae_0", models["pca"], "another")
    keep(tmp_path, "digits_2_mim_0", "no model")
    (tmp_path / "results" / "cpu" / "models" / "digits_2_mim_0.joblib").write_bytes(b"cut off")
    figures = tmp_path / "docs" / "images"
    text = page_of(tmp_path, *records, arguments=["--figures", str(figures)])
    names = [f"cpu_digits_2_figure{i}.png" for i in (1, 3, 4, 5, 6)]
    assert [*drawings] == sorted(p.name for p in figures.iterdir()) == names
    places, labels = drawings[names[0]]
    assert labels is None
    for P in places.values():  # two orders of 100 rows, the first of which is the target
        np.testing.assert_array_equal(np.sort(P, axis=0), np.arange(100)[:, None].repeat(2, axis=1))
        np.testing.assert_array_equal(P[0], 0)
    coordinates, labels = drawings[names[1]]
    assert [*coordinates] == ["swae-0.5", "pca"]
    np.testing.assert_array_equal(labels, digits_split.y_test)
    assert coordinates["pca"].shape == (400, 2)
    for name in names:
        assert f"](images/{name})" in section(text, "Figures")
    said = capsys.readouterr().err
    assert "Digits_2_ae_0.joblib is not there." in said
    assert "Digits_2_vae_0.joblib is of another run than digits_2_vae_0.json." in said
    assert "Digits_2_mim_0.joblib cannot be loaded: " in said


def test_figure_cells(tmp_path, models, drawings, capsys):
    keep(tmp_path, "digits_2_pca_0", models["pca"])
    records = [record("digits", n, "pca", knn_5=0.5) for n in (2, 9)]
    figures = ["--figures", str(tmp_path / "images"), "--figure-cells", "digits:2", "digits:9"]
    text = page_of(tmp_path, *records, arguments=figures)
    assert "](../images/cpu_digits_2_figure3.png)" in text
    command = re.search(r"Made by `python (.*?)`", text).group(1)
    assert command.endswith("--figures images --figure-cells digits:2 digits:9")
    assert report.parse(command.split()[1:]).figure_cells == [("digits", 2), ("digits", 9)]
    said = capsys.readouterr().err
    assert "No figures of digits, dim-z 9: no model of trial 0 is kept." in said
    assert "No figure 4 of digits, dim-z 2: no model can draw it." in said
    for wrong in (["--figure-cells", "digits:2"], [*figures[:3], "digits"]):
        with pytest.raises(SystemExit):
            report.parse(wrong)


def test_figures_of_an_own_table(tmp_path, drawings, capsys):
    X = np.random.default_rng(0).normal(size=(40, 3))
    path = tmp_path / "my.csv"
    np.savetxt(path, X, delimiter=",", header="a,b,c", comments="")
    keep(tmp_path, "my_2_pca_0", PCA(2).fit(X))
    one = record("elsewhere/my.csv", 2, "pca", knn_5=0.5)
    figures = ["--figures", str(tmp_path / "images")]
    page_of(tmp_path, one, arguments=figures)
    assert "No figures of my.csv, dim-z 2: its rows cannot be read" in capsys.readouterr().err
    page_of(tmp_path, one, arguments=[*figures, "--data", str(path)])
    assert "No figure 5 of my.csv, dim-z 2: its rows are not images." in capsys.readouterr().err
    assert [*drawings] == ["cpu_my_csv_2_figure1.png", "cpu_my_csv_2_figure3.png"]
    assert drawings["cpu_my_csv_2_figure3.png"][1] is None


def test_figures_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match=r"skswae\[plot\]"):
        report.new_figure(3, "title", 2.0, 1.0)


class FakeFigure:
    """As much of matplotlib's as is used; a picture has as many bytes as ``size`` a dot."""

    size = 1000

    def __init__(self, **options):
        self.panels, self.legend, self.suptitle = [], mock.MagicMock(), mock.MagicMock()

    def subplots(self, n_rows, n_columns, squeeze):
        self.panels = [mock.Mock() for _ in range(n_rows * n_columns)]
        return np.array(self.panels, dtype=object).reshape(n_rows, n_columns)

    def savefig(self, file, format, dpi):
        file.write(b"." * (self.size * dpi))


@pytest.fixture
def fake_matplotlib(monkeypatch):
    made = []

    def figure(**options):
        made.append(FakeFigure(**options))
        return made[-1]

    image = mock.MagicMock()
    picture = image.open.return_value.convert.return_value.quantize.return_value
    picture.save.side_effect = lambda file, **options: file.write(image.open.call_args.args[0].getvalue())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", types.SimpleNamespace(Figure=figure))
    monkeypatch.setitem(sys.modules, "matplotlib", mock.MagicMock())
    monkeypatch.setitem(sys.modules, "PIL", types.SimpleNamespace(Image=image))
    return made


def test_drawing(tmp_path, fake_matplotlib, monkeypatch):
    path = tmp_path / "new" / "figure.png"
    P = np.zeros((5, 2))
    report.draw_points(path, "title", dict.fromkeys(("vae", "mim", "ae"), P), np.array(list("abcab")))
    panels = fake_matplotlib[0].panels
    assert [p.set_title.call_args.args[0] for p in panels] == ["VAE", "MIM", "AE"]
    np.testing.assert_array_equal(panels[1].scatter.call_args.kwargs["c"], [0, 1, 2, 0, 1])
    assert len(fake_matplotlib[0].legend.call_args.kwargs["handles"]) == 3
    assert path.stat().st_size == 100_000
    report.draw_points(path, "title", {"vae": P}, None)
    assert not fake_matplotlib[1].legend.called
    monkeypatch.setattr(FakeFigure, "size", 3000)  # too large, but for 60 dots an inch
    report.draw_images(path, "title", {str(i): np.zeros((4, 6)) for i in range(7)})
    assert len(fake_matplotlib[2].panels) == 10
    assert sum(p.imshow.called for p in fake_matplotlib[2].panels) == 7
    assert path.stat().st_size == 180_000
