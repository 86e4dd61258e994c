"""examples/benchmarks: data that are drawn, verdicts, and small runs of scripts that measure long ones."""

import json

import _data
import _harness
import epoch_cost
import front
import growth
import numpy as np
import pytest
import time_to_quality
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py"])
    return _harness.Page("Title", None)


def test_the_long_table_has_classes_for_neighbours_and_for_pca():
    split = _data.long_table(2000, 500, 100)
    assert split.X.shape == (2000, 100)
    assert split.X_test.shape == split.clean.shape == (500, 100)
    assert np.array_equal(split.X, _data.long_table(2000, 500, 100).X)
    assert np.std(split.X_test - split.clean) == pytest.approx(0.7, rel=0.02)
    pca = PCA(8, random_state=0).fit(split.X)
    raw, reduced = (
        KNeighborsClassifier(5).fit(f(split.X), split.y).score(f(split.X_test), split.y_test)
        for f in (np.asarray, pca.transform)
    )
    assert raw > reduced > 0.4  # of 20 classes: chance is 0.05


def test_a_shorter_split_is_the_head_of_the_long_one():
    split = _data.spectra(0, 60, 30, 200)
    head = split.head(20, 10)
    assert [len(rows) for rows in head] == [20, 10, 20, 10, 10]
    assert np.array_equal(head.clean, split.clean[:10])
    assert split.head(None, None).X.shape == split.X.shape == (60, 200)
    assert _data.digits(0).head(5, 5).clean is None


def result(accuracy, fit, transform, first=False):
    times = {"fit_wall": fit, "codes_wall": 1.0, "transform_wall": transform}
    return {**times, "accuracy": accuracy, "epochs": 4} | ({"first": times} if first else {})


def answers(parts, k=8):
    lines = time_to_quality.verdicts("mnist", k, parts)
    return [line.split(": ")[2].partition(",")[0] for line in lines]


def test_verdicts_are_of_the_default_within_umap_s_seconds():
    parts = {"UMAP": result(0.957, 20, 5), "SWAE, 4 epochs (default)": result(0.956, 18, 0.1)}
    assert answers(parts) == ["yes", "**no**", "**no**", "yes"]  # 0.955, 0.957, ahead of UMAP, transform
    parts["SWAE, 5 epochs"] = result(0.958, 18.5, 0.1)  # ahead in time, but not the default
    assert answers(parts) == ["yes", "**no**", "yes", "yes"]
    late = {**parts, "SWAE, 4 epochs (default)": result(0.956, 19.5, 0.2)}  # 20.5 s with the codes
    assert answers(late) == ["**no**", "**no**", "yes", "**no**"]
    parts["PaCMAP"] = result(0.957, 10, 5)  # no fit of SWAE is as short
    assert answers(parts) == ["yes", "**no**", "yes", "**no**", "yes"]
    parts["SWAE, 1 epoch"] = result(0.958, 9, 0.1)
    assert answers(parts) == ["yes", "**no**", "yes", "yes", "yes"]
    half = {"UMAP": result(0.957, 20, 5), "SWAE, 4 epochs (default)": result(0.977, 9.5, 0.1)}
    assert answers(half, 32) == ["**no**", "yes", "yes"]
    assert time_to_quality.verdicts("mnist", 8, {"PCA": parts["UMAP"]}) == [
        "- MNIST, 8 components: not measured."
    ]


def test_what_cannot_be_measured_is_missing_and_not_kept(monkeypatch, tmp_path):
    """A rival that is not installed, and one whose process dies."""
    asked = []

    class Rival(time_to_quality.Rival):
        def ask(self, data, k, parameters):
            asked.append((self.name, k, parameters))
            if self.name == "pacmap":
                raise time_to_quality.NotMeasured("No module named 'pacmap'")
            found = result(0.9, 1, 1)
            return found | {"epochs": parameters.get("max_iter", 4)}

    monkeypatch.setattr(time_to_quality, "Rival", Rival)
    tasks, store = [("mnist", 8, (2, 4)), ("mnist", 32, ())], _harness.Store(tmp_path / "kept.json")
    files = time_to_quality.Files(None, str(tmp_path), 10, 10)
    monkeypatch.setattr(time_to_quality.Files, "__getitem__", lambda self, name: tmp_path)
    for _ in range(2):
        results, missing = time_to_quality.measure(tasks, ["pca", "pacmap", "swae"], files, 1, store)
        assert missing == {"PaCMAP": "No module named 'pacmap'"}
        assert list(results["mnist", 8]) == ["PCA", "SWAE, 2 epochs", "SWAE, 4 epochs (default)"]
        assert list(results["mnist", 32]) == ["PCA", "SWAE, 4 epochs (default)"]
    assert [name for name, *_ in asked] == ["pca"] * 2 + ["pacmap"] * 2 + ["swae"] * 3 + ["pacmap"] * 2


def test_bounds_are_judged_in_each_run(page, capsys):
    fast, slow = {"a": [1.0, 1.2, 1.1], "b": [2.0, 2.2, 2.1]}, {"a": [2.0], "b": [2.0]}
    turns = iter([fast, slow, fast])
    runs = epoch_cost.Runs(3, 10, 1, _harness.Store(None))
    runs.measure({"part": lambda repeats: next(turns)})
    assert runs.pooled("part") == {
        "a": [1.0, 1.2, 1.1, 2.0, 1.0, 1.2, 1.1],
        "b": [2, 2.2, 2.1, 2, 2, 2.2, 2.1],
    }
    bounds = epoch_cost.Bounds()
    bounds.add("a by b", runs.parts["part"], "a", "b", 0.6, True)
    bounds.add("b by a", runs.parts["part"], "b", "a", 0.9, False)
    bounds.write(page, 3)
    written = capsys.readouterr().out
    assert "| ratio | bound | run 1 | run 2 | run 3 | met in all |" in written
    assert "| a by b | at most 0.6 | 0.524 | 1.000 | 0.524 | **no** |" in written
    assert "| b by a | at least 0.9 | 1.909 | 1.000 | 1.909 | yes |" in written


def test_growth_is_judged_between_the_largest_sizes_and_beyond_the_order(page):
    sizes = [10_000, 100_000, 1_000_000]
    growth.judge_rows(page, sizes, [1.0, 1.1, 11.0], [40, 41, 44])
    assert [line.split(": ")[1][:3] for line in page.lines[-3:-1]] == ["yes", "yes"]
    growth.judge_rows(page, sizes, [1.0, 1.1, 15.0], [40, 41, 80])
    assert [line.split(": ")[1][:4] for line in page.lines[-3:-1]] == ["**no", "**no"]


def run(script, monkeypatch, tmp_path, *arguments):
    """Run a script's main, and return its page and how many parts it kept."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # which the scripts set
    output, kept = tmp_path / "page.md", tmp_path / "kept.json"
    names = [f"{script.__name__}.py", *arguments, "--output", str(output), "--resume", str(kept)]
    monkeypatch.setattr("sys.argv", names)
    script.main()
    return output.read_text(), len(json.loads(kept.read_text()))


@pytest.mark.slow
def test_time_to_quality_on_few_rows(monkeypatch, tmp_path):
    """Each rival in a process of its own; the page, the picture, and what is kept."""
    drawn = {"long_table": ("long table", lambda folder, seed: _data.long_table(300, 100, 20))}
    monkeypatch.setattr(time_to_quality, "DATA", drawn)
    monkeypatch.setattr(time_to_quality, "TASKS", [("long_table", 4, (1,))])
    # a name that _rival.py does not know stands for what cannot be imported
    monkeypatch.setattr(time_to_quality, "NAMES", {**time_to_quality.NAMES, "unknown": "Unknown"})
    plot = tmp_path / "plot.png"
    arguments = ("--only", "raw", "pca", "unknown", "swae", "--threads", "1", "--plot", str(plot))
    text, n_kept = run(time_to_quality, monkeypatch, tmp_path, *arguments)
    assert plot.stat().st_size > 1000
    assert n_kept == 4
    assert "Unknown is not measured, or not everywhere: KeyError" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum(row.startswith("| PCA |") for row in rows) == 2  # compiled, and in a new process
    assert sum(row.startswith("| SWAE, ") for row in rows) == 3  # the latter for the default alone
    again, n_kept = run(time_to_quality, monkeypatch, tmp_path, *arguments)
    assert n_kept == 4
    assert "4 of 4 parts come from earlier runs" in again
    assert again.startswith(text)


@pytest.mark.slow
def test_front_on_few_rows(monkeypatch, tmp_path):
    arguments = ("--data-sets", "digits", "--rows", "60", "--seeds", "0", "1", "--values", "none")
    text, n_kept = run(front, monkeypatch, tmp_path, *arguments)
    assert n_kept == 2 * 2  # PCA and SWAE, seeds
    assert "## digits: 60 x 64, 8 components" in text
    assert text.count("| input_components=None |") == 1
    assert front.front("auto") == "auto"
    assert front.front("None") is None
    assert front.front("20") == 20
