"""Synthetic tables beside real ones: values by formulas, what is exposed, and what is refused."""

from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import ks_2samp, spearmanr
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import pairwise_distances

from skswae.metrics import (
    column_similarity,
    detection_auc,
    exact_copy_rate,
    nearest_record_ratio,
    pair_similarity,
    train_on_synthetic,
)

LINEAR = LogisticRegression(max_iter=1000)
ALL = {
    "column_similarity": column_similarity,
    "pair_similarity": pair_similarity,
    "exact_copy_rate": exact_copy_rate,
    "nearest_record_ratio": lambda a, b, **more: nearest_record_ratio(b, a, b, **more),
    "detection_auc": lambda a, b, **more: detection_auc(a, b, LINEAR, random_state=0, **more),
    "train_on_synthetic": lambda a, b, **more: train_on_synthetic(b, a, "kind", LINEAR, **more),
}
each = pytest.mark.parametrize("measure", ALL.values(), ids=ALL)


def table(n, seed, missing=True):
    """Rows in which everything depends on one number, with columns of most kinds."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(np.where(z > 0.4, "big", np.where(z > -0.6, "mid", "low"))),
            "size": np.exp(z + 0.1 * rng.standard_normal(n)),
            "count": rng.poisson(np.exp(z)),
            "town": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
            "flag": z + rng.standard_normal(n) > 0,
            "day": np.datetime64("2020-01-01") + (100 * z).astype(int).astype("timedelta64[D]"),
        }
    )
    if missing:
        for name in ("size", "town", "day"):
            frame.loc[rng.random(n) < 0.1, name] = None
    return frame


def shuffled(frame, seed=0):
    """Each column by itself: the same shapes, and no trends."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({c: frame[c].to_numpy()[rng.permutation(len(frame))] for c in frame}).astype(
        frame.dtypes
    )


@pytest.fixture(scope="module")
def halves():
    return table(400, 0), table(400, 1)


def with_categories(load):
    data = load(as_frame=True)
    frame = data.data.iloc[:, :6].copy()
    frame["class"] = data.target_names[data.target]
    frame["fifth"] = pd.qcut(frame.iloc[:, 3], 5, labels=list("abcde")).astype(str)
    return frame


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_values_are_those_of_the_formulas(load):
    """By scipy and pandas. On such frames they are those of sdmetrics 0.32, which needs an older pandas."""
    frame = with_categories(load)
    rows = np.random.default_rng(0).permutation(len(frame))
    real, synthetic = frame.iloc[rows[::2]], frame.iloc[rows[1::2]].sort_values("class").iloc[30:]
    numbers = list(frame.columns[:6])
    columns, pairs = column_similarity(real, synthetic), pair_similarity(real, synthetic)
    assert list(columns) == list(frame.columns)
    assert list(pairs) == list(combinations(frame.columns, 2))

    def overlap(a, b):  # of the shares of levels, or of pairs of them
        a, b = a.align(b, fill_value=0)
        return np.minimum(a, b).sum()

    for name in frame:
        a, b = real[name], synthetic[name]
        shares = [v.value_counts(normalize=True) for v in (a, b)]
        expected = 1 - ks_2samp(a, b).statistic if name in numbers else overlap(*shares)
        assert columns[name] == pytest.approx(expected, abs=1e-12)
    for (one, other), value in pairs.items():
        both = (one in numbers) + (other in numbers)
        if both == 2:
            rho = [spearmanr(t[one], t[other]).statistic for t in (real, synthetic)]
            assert value == pytest.approx(1 - abs(rho[0] - rho[1]) / 2, abs=1e-12)
        elif both == 0:
            shares = [t[[one, other]].value_counts(normalize=True) for t in (real, synthetic)]
            assert value == pytest.approx(overlap(*shares), abs=1e-12)


def test_numbers_beside_categories_are_binned_by_real_quantiles():
    real = pd.DataFrame({"x": np.arange(100.0) ** 3, "c": ["a"] * 50 + ["b"] * 50})
    synthetic = pd.DataFrame({"x": [-1e9, 1e9], "c": ["a", "b"]})  # in the first and the last bin
    assert pair_similarity(real, real)["x", "c"] == 1
    assert pair_similarity(real, synthetic)["x", "c"] == pytest.approx(0.2)
    assert pair_similarity(real, synthetic.assign(c=["b", "a"]))["x", "c"] == 0
    # a value that is most of the column has a bin of its own, at either end
    for most, rare in ((0, 1), (1, 0)):
        x = np.array([most] * 95 + [rare] * 5)
        real = pd.DataFrame({"x": x, "c": np.where(x == most, "a", "b")})
        other = real.assign(c=real["c"][::-1].to_numpy())
        assert pair_similarity(real, other)["x", "c"] == pytest.approx(0.9)


def test_missing_cells_count():
    real = pd.DataFrame({"x": [1.0, 2, 3, 4], "c": ["a", "a", "b", "b"], "d": ["a", "a", "b", "b"]})
    holes = pd.DataFrame({"x": [1.0, 2, 3, np.nan], "c": ["a", "a", "b", None], "d": ["a", "a", None, "b"]})
    assert column_similarity(real, holes) == {"x": 0.75, "c": 0.75, "d": 0.75}
    assert column_similarity(holes, holes) == {"x": 1, "c": 1, "d": 1}
    assert pair_similarity(real, holes)["c", "d"] == 0.5
    assert pair_similarity(holes, holes) == {("x", "c"): 1, ("x", "d"): 1, ("c", "d"): 1}
    gone = real.assign(x=np.nan)
    assert column_similarity(real, gone)["x"] == 0
    assert pair_similarity(gone, gone)["x", "c"] == 1
    # of two columns of numbers the rows where both are there
    numbers = pd.DataFrame({"a": [1.0, 2, 3, 0], "b": [1, 2, 3, np.nan]})
    assert pair_similarity(numbers, numbers.iloc[:3])["a", "b"] == 1
    assert pair_similarity(numbers, numbers.assign(a=5.0))["a", "b"] == 0.5  # constant: no correlation


def test_what_each_measure_sees(halves):
    """Shuffled columns have the shapes and lack the trends; models see it."""
    real, new = halves
    mixed = shuffled(new)
    shapes, trends = (
        [np.mean(list(measure(real, t).values())) for t in (new, mixed)]
        for measure in (column_similarity, pair_similarity)
    )
    assert 0.9 < shapes[0] == pytest.approx(shapes[1])
    assert trends[0] > trends[1] + 0.1
    score = [train_on_synthetic(t, real, "kind", LINEAR) for t in (new, mixed)]
    assert score[0] > 0.85 > 0.55 > score[1]
    score = [train_on_synthetic(t, real, "count", random_state=0) for t in (new, mixed)]
    assert score[0] > 0.4 > 0.1 > score[1]
    auc = [detection_auc(real, t, cv=2, random_state=0) for t in (new, mixed)]
    assert 0.4 < auc[0] < 0.6 < 0.8 < auc[1]


def test_few_rows_are_enough_for_what_is_plain():
    """scikit-learn's leaves of 20 rows would be no tree at all."""
    near, far = (pd.DataFrame({"x": np.arange(15.0) + at, "c": ["a", "b", "c"] * 5}) for at in (0, 99))
    assert detection_auc(near, far, random_state=0) == 1
    both = pd.concat([near.assign(y="p"), far.assign(y="q")])
    assert train_on_synthetic(both[::2], both[1::2], "y", random_state=0) == 1


def test_copies_are_exposed(halves):
    train, held_out = halves
    some = pd.concat([held_out.iloc[:100], train.iloc[:100]])
    assert exact_copy_rate(train.sample(frac=1, random_state=0), train) == 1
    assert exact_copy_rate(some, train) == 0.5
    assert nearest_record_ratio(train, train, held_out) == 0
    assert nearest_record_ratio(some, train, held_out.iloc[:100]) == pytest.approx(0.5)
    near = train.assign(size=train["size"] * 1.001)
    assert exact_copy_rate(near, train) == pytest.approx(train["size"].isna().mean())
    assert nearest_record_ratio(near, train, held_out) < 0.05
    assert 0.75 < nearest_record_ratio(table(400, 2), train, held_out) < 1.35  # 1, with a deviation of 0.12
    assert detection_auc(train[:100], train[:100], random_state=0) < 0.4
    with pytest.raises(ValueError, match="'held_out' argument must have rows that are not in 'train'"):
        nearest_record_ratio(held_out, train, train)


def test_the_distance_is_gower_s():
    """Of ranks as shares; here by scikit-learn's distance of one-hot columns, in which missing is a level."""
    rng = np.random.default_rng(0)
    train, a, b = (rng.integers(0, 5, (30, 4)).astype(float) for _ in range(3))
    for t in (train, a, b):
        t[rng.random(t.shape) < 0.2] = np.nan
    ordered = np.sort(train[~np.isnan(train[:, 0]), 0])

    def coded(t):
        below, up_to = (np.searchsorted(ordered, t[:, 0], side) for side in ("left", "right"))
        rank = np.where(np.isnan(t[:, 0]), np.nan, (below + up_to) / 2 / len(ordered))
        codes = np.nan_to_num(t[:, 1:], nan=5).astype(int)
        return rank, np.concatenate([np.eye(6)[c] / 2 for c in codes.T], axis=1)

    def mean_distance(t):
        (x, C), (y, D) = coded(t), coded(train)
        gap = np.abs(x[:, None] - y)
        gap[np.isnan(x)[:, None] ^ np.isnan(y)] = 1
        return (np.nan_to_num(gap) + pairwise_distances(C, D, metric="manhattan")).min(axis=1).mean()

    found = nearest_record_ratio(a, train, b, categorical_features=[1, 2, 3])
    assert found == pytest.approx(mean_distance(a) / mean_distance(b), rel=1e-5)


@each
def test_libraries_orders_and_units_make_no_difference(measure, halves):
    real, synthetic = halves
    expected = measure(real, synthetic)
    other = synthetic[list(synthetic.columns)[::-1]].astype({"day": "datetime64[ms]", "town": "category"})
    assert measure(real, other) == pytest.approx(expected)
    assert measure(pl.from_pandas(real), pl.from_pandas(synthetic)) == expected
    assert measure(real.convert_dtypes(), synthetic.set_index(synthetic.index + 7)) == expected


@pytest.mark.parametrize("choice", [["n"], [1], [False, True], np.array([1]), pd.Index(["n"])])
def test_numbers_that_are_categories(choice):
    real, synthetic = np.array([[0, 1], [1, 2], [2, 3]]), np.array([[0, 3], [1, 2], [2, 1]])
    frames = [pd.DataFrame(t, columns=["m", "n"]) for t in (real, synthetic)]
    assert pair_similarity(*frames) == {("m", "n"): 0}
    assert pair_similarity(*frames, categorical_features=choice)["m", "n"] == pytest.approx(1 / 3)
    if "n" not in list(choice):
        assert pair_similarity(real, synthetic, categorical_features=choice)[0, 1] == pytest.approx(1 / 3)


def test_an_array_beside_a_frame_has_its_columns_in_the_same_order(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    assert list(column_similarity(frame, iris[:50])) == list("abcd")
    assert column_similarity(frame, iris[:50])["b"] == column_similarity(iris, frame[:50])[1] < 0.8
    assert exact_copy_rate(iris, frame) == 1
    with pytest.raises(
        ValueError, match=r"must have the columns of 'real'. Got none of \['a', 'b', 'c', 'd'\]"
    ):
        column_similarity(frame, iris[:, :3])


def test_targets(halves):
    real, synthetic = halves
    two = synthetic[synthetic["kind"] != "low"]  # a class is lost
    assert 0.5 < train_on_synthetic(two, real, "kind", random_state=0) <= (real["kind"] != "low").mean()
    one = synthetic[synthetic["kind"] == "mid"]
    for estimator in (None, LINEAR):
        assert train_on_synthetic(one, real, "kind", estimator) == (real["kind"] == "mid").mean()
    unseen = real.assign(town="elsewhere")
    assert (
        train_on_synthetic(synthetic[["town", "flag", "size"]], unseen[["town", "flag", "size"]], "flag")
        > 0.6
    )
    assert train_on_synthetic(synthetic, unseen, "kind", LINEAR) > 0.8
    holes = synthetic.assign(count=synthetic["count"].where(synthetic.index % 2 == 0))
    found = train_on_synthetic(holes, real, "count", LinearRegression())
    assert 0.2 < found == train_on_synthetic(synthetic[::2], real, "count", LinearRegression())
    with pytest.raises(ValueError, match=r"'count', the target, must have values.* in 'synthetic'"):
        train_on_synthetic(synthetic.assign(count=np.nan), real, "count")
    for target in ("nothing", 0, True, ["kind"]):
        with pytest.raises(ValueError, match=r"'target' argument must be one of .* Got "):
            train_on_synthetic(synthetic, real, target)


@pytest.mark.slow
def test_many_levels():
    """More than histograms can tell apart, of which the frequent ones decide."""
    rng = np.random.default_rng(0)

    def draw(n):
        town = np.r_[np.arange(1000), np.minimum(rng.zipf(1.5, n), 999)]
        return pd.DataFrame({"town": [f"t{t}" for t in town], "even": town % 2 == 0})

    real, synthetic = draw(3000), draw(3000)
    assert train_on_synthetic(synthetic, real, "even", random_state=0) > 0.75
    assert train_on_synthetic(synthetic, real, "even", LINEAR) > 0.75
    assert 0.4 < detection_auc(real, synthetic, cv=2, random_state=0) < 0.6
    assert column_similarity(real, synthetic)["town"] > 0.8


@each
def test_tables_that_do_not_go_together(measure, halves):
    real, synthetic = halves
    for wrong, message in (
        (synthetic.drop(columns="town"), r"must have the columns of '\w+'. Got (none of|also) \['town'\]"),
        (synthetic.assign(more=1), r"must have the columns of '\w+'. Got (none of|also) \['more'\]"),
        (synthetic.assign(count="1"), r"Column 'count' must be of one kind .* Got "),
        (synthetic.assign(town=1), r"Column 'town' must be of one kind .* Got "),
        (synthetic.assign(flag=1), r"Column 'flag' must be of one kind .* Got "),
        (synthetic.assign(day=synthetic["day"].dt.tz_localize("UTC")), r"Column 'day' must be of one kind"),
        (synthetic.assign(size=np.inf), r"Column 'size' .*infin"),
        (synthetic.iloc[:0], r"Found array with 0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(real, wrong)
    for choice in ("town", ["nothing"], [6], [-1], [True], [0.5], None, [[1]]):
        with pytest.raises(
            ValueError, match="'categorical_features' argument must be 'from_dtype', or names"
        ):
            measure(real, synthetic, categorical_features=choice)


def test_arguments_of_the_classifiers(halves):
    real, synthetic = halves
    with pytest.raises(ValueError, match=r"must have at least cv=3 rows. Got 400 and 2"):
        detection_auc(real, synthetic.iloc[:2])
    with pytest.raises(ValueError, match="The 'cv' parameter of detection_auc must be"):
        detection_auc(real, synthetic, cv=1)
    with pytest.raises(ValueError, match="The 'estimator' parameter of train_on_synthetic must be"):
        train_on_synthetic(synthetic, real, "kind", "forest")
    with pytest.raises(ValueError, match=r"Column 'size' must hold numbers of at most 1e\+150"):
        detection_auc(real.assign(size=1e200), synthetic, LINEAR)
