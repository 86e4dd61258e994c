"""Columns of synthetic tables over those of real ones: what is drawn, and what is refused."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skswae import AETransformer
from skswae.inspection import TableDisplay
from skswae.metrics import column_similarity

from ..estimators import cheap


def frames():
    rng = np.random.default_rng(0)
    for n in (200, 100):
        day = np.datetime64("2020-01-01") + rng.integers(0, 300, n).astype("timedelta64[D]")
        frame = pd.DataFrame(
            {
                "size": np.exp(rng.standard_normal(n)),
                "town": rng.choice(list("abcdefghij"), n, p=[0.55] + 9 * [0.05]),
                "flag": rng.random(n) < 0.3,
                "day": day,
                "wait": rng.integers(1, 50, n).astype("timedelta64[h]"),
            }
        )
        frame.loc[:9, ["size", "town", "day"]] = None
        yield frame


def test_shares_are_drawn():
    """Of all rows: those outside the range and missing ones too."""
    real, synthetic = frames()
    synthetic.loc[50, "size"] = 1e6
    display = TableDisplay.from_frames(real, synthetic)
    assert display.similarity == column_similarity(real, synthetic)
    assert list(display.axes_) == list(real)
    for name, missing in (("size", [0.05, 0.1]), ("day", [0.05, 0.1]), ("wait", [0, 0])):
        ax = display.axes_[name]
        assert [p.get_data().values.sum() for p in ax.patches] == pytest.approx([1 - m for m in missing])
        assert display.real[name].dtype.kind == {"size": "f", "day": "M", "wait": "m"}[name]
    assert display.axes_["size"].get_xlabel() == "missing 5%, 10%"
    assert display.axes_["size"].get_title(loc="left") == f"size  {display.similarity['size']:.2f}"
    heights = np.reshape([bar.get_height() for bar in display.axes_["town"].patches], (2, -1))
    np.testing.assert_allclose(heights.sum(axis=1), 1)
    names = [label.get_text() for label in display.axes_["town"].get_xticklabels()]
    assert (names[0], names[-2:], len(names)) == ("a", ["4 others", "missing"], 8)
    assert heights[0, 0] == (real["town"] == "a").mean()
    assert heights[:, -1].tolist() == [0.05, 0.1]
    np.testing.assert_array_equal(display.real["day"], real["day"].to_numpy("M8[ns]"))


def test_samples_of_a_pipeline_of_a_frame():
    X = load_wine(as_frame=True).data
    pipe = make_pipeline(StandardScaler(), cheap(AETransformer)).fit(X)
    display = TableDisplay.from_estimator(
        pipe,
        X,
        n_samples=50,
        random_state=0,
        sample_kwargs={"prior": "gmm"},
        columns=["hue", "ash"],
        n_bins=5,
    )
    assert list(display.real) == list(X.columns)
    assert list(display.axes_) == ["hue", "ash"]
    drawn = pipe[:1].inverse_transform(pipe[-1].sample(50, prior="gmm", random_state=0))
    np.testing.assert_array_equal(display.synthetic["hue"], drawn[:, list(X.columns).index("hue")])
    _, ax = plt.subplots()
    display.similarity = None
    assert list(display.plot(ax).axes_) == list(X.columns)
    assert display.axes_["ash"].get_title(loc="left") == "ash"


def test_tables_with_little_in_them():
    real = pd.DataFrame({"same": [1.0, 1.0], "gone": [np.nan, 1.0], "none": [None, "a"], "code": [1, 2]})
    new = real.assign(gone=np.nan, none="b")
    display = TableDisplay.from_frames(new, real, categorical_features=["code"])
    assert [t.get_text() for t in display.axes_["none"].get_xticklabels()] == ["b", "a", "missing"]
    assert len(display.axes_["code"].patches) == 4
    display.figure_.canvas.draw()
    TableDisplay.from_frames(real, new).figure_.canvas.draw()


def test_times_that_nanoseconds_do_not_reach():
    days = {
        "far": ["3000-01-01", "1500-06-01", "NaT"],
        "farther": ["-5000-01-01", "20000-01-01", "2000-01-01"],
    }
    real = pd.DataFrame({name: np.array(found, "M8[s]") for name, found in days.items()})
    near = pd.DataFrame(dict.fromkeys(days, np.array(["2000-01-01", "2020-01-01", "NaT"], "M8[ns]")))
    for synthetic in (real, near):
        display = TableDisplay.from_frames(real, synthetic)
        for name in days:
            np.testing.assert_array_equal(display.real[name], real[name].to_numpy())
            np.testing.assert_array_equal(display.synthetic[name], synthetic[name].to_numpy())
        display.figure_.canvas.draw()
    assert [display.axes_[name].get_xlabel() for name in days] == ["missing 33%, 33%", "missing 0%, 33%"]


@pytest.mark.parametrize(
    "n_days", [5, 900, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 40, 300, 4000, 40000))]
)
def test_labels_of_dates_and_large_numbers_have_room(n_days):
    days = np.datetime64("2001-01-15") + np.linspace(0, n_days, 50).astype("timedelta64[D]")
    X = pd.DataFrame({f"{k}": days if k % 2 else np.linspace(20_000.0, 60_000.0, 50) for k in range(4)})
    display = TableDisplay.from_frames(X, X)  # warnings are errors
    display.figure_.canvas.draw()
    for ax in display.axes_.values():
        low, high = ax.get_xlim()
        shown = [t for t in ax.get_xticklabels() if t.get_text() and low <= t.get_position()[0] <= high]
        boxes = sorted(t.get_window_extent().extents[[0, 2]].tolist() for t in shown)
        assert all(left[1] < right[0] for left, right in itertools.pairwise(boxes))
        assert boxes


def test_names_that_look_alike():
    X = pd.DataFrame({0: [1.0, 2.0], "0": [3.0, 5.0]})
    display = TableDisplay.from_frames(X, X)
    assert (list(display.axes_), display.real["0"].tolist()) == ([0, "0"], [3.0, 5.0])
    assert list(TableDisplay.from_frames(X, X, columns=0).axes_) == [0]


@pytest.mark.slow
def test_more_columns_than_panels():
    X = np.random.default_rng(0).standard_normal((20, 18))
    assert list(TableDisplay.from_frames(X, X).axes_) == list(range(16))


def test_arguments():
    real, synthetic = frames()
    for columns in ([], ["size", "size"], ["other"], "other"):
        with pytest.raises(ValueError, match=r"'columns' argument must be None or some of .*'size'"):
            TableDisplay.from_frames(real, synthetic, columns=columns)
    for n_bins in (1, 2.5, True, "auto"):
        with pytest.raises(ValueError, match=r"'n_bins' argument must be an int of at least 2. Got "):
            TableDisplay.from_frames(real, synthetic, n_bins=n_bins)
    with pytest.raises(ValueError, match=r"'synthetic' argument must have the columns of 'real'"):
        TableDisplay.from_frames(real, synthetic[["size"]])
