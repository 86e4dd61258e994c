"""Rows that meet conditions: all of them, with the distribution that the model has among such rows."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from skswae import AETransformer, SWAETransformer, VAETransformer, VampPriorTransformer
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from ..estimators import cheap
from .people import LIBRARIES, assert_like, people, to_pandas


def fitted(Estimator, X, y=None, **parameters):
    estimator = cheap(Estimator, network=GatedMLP((8,)), n_components=3, max_iter=20)
    return TableAutoencoder(estimator, random_state=0, **parameters).fit(X, y)


@pytest.fixture(scope="module")
def X():
    return people(200)


@pytest.fixture(scope="module")
def model(X):
    return fitted(SWAETransformer, X, np.where(X["age"] > 40, "old", "young"))


DAYS = pd.Timestamp("1950-01-01"), pd.Timestamp("1970-01-01")
CONDITIONS = [
    ({"sex": "female"}, lambda s: s["sex"] == "female"),
    ({"class": ["first", "third"]}, lambda s: s["class"].isin(["first", "third"])),
    ({"alone": True}, lambda s: s["alone"]),
    ({"alone": [False]}, lambda s: ~s["alone"]),
    ({"age": (20, 30)}, lambda s: s["age"].between(20, 30) & (s["age"] % 1 == 0)),
    ({"age": (60, None)}, lambda s: s["age"] >= 60),
    ({"age": (19.5, 21.5)}, lambda s: s["age"].isin([20, 21])),
    ({"age": (None, 20), "sex": "female"}, lambda s: (s["age"] <= 20) & (s["sex"] == "female")),
    ({"siblings": 2}, lambda s: s["siblings"] == 2),
    ({"siblings": (-3, 0)}, lambda s: s["siblings"] == 0),
    ({"fare": 2.5}, lambda s: s["fare"] == 2.5),
    ({"fare": (2, 2.2)}, lambda s: s["fare"].between(2, 2.2)),
    ({"fare": (10, 1e9)}, lambda s: s["fare"] >= 10),
    ({"born": DAYS}, lambda s: s["born"].between(*DAYS) & (s["born"] == s["born"].dt.normalize())),
    ({"born": (None, "1950-01-01")}, lambda s: s["born"] <= DAYS[0]),
    ({"born": (datetime.date(1980, 1, 1), np.datetime64("1980-12-31"))}, lambda s: s["born"].dt.year == 1980),
    ({"ship": "T"}, lambda s: s["ship"] == "T"),
    ({}, lambda s: s["siblings"] >= 0),
]


@pytest.mark.parametrize(("conditions", "holds"), CONDITIONS, ids=[str(c) for c, _ in CONDITIONS])
def test_all_rows_meet_them(X, model, conditions, holds):
    check_rows(X, model, conditions, holds)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"noise": False}, {"missing_values": True}, {"prior": "gmm"}], ids=str)
def test_all_rows_meet_them_however_they_are_drawn(X, model, arguments):
    for conditions, holds in CONDITIONS:
        check_rows(X, model, conditions, holds, **arguments)


def check_rows(X, model, conditions, holds, **arguments):
    found = model.sample(25, conditions=conditions, random_state=1, **arguments)
    assert_like(found, X)
    assert len(found) == 25
    assert holds(found).all()
    assert found["fare"].between(X["fare"].min(), X["fare"].max()).all()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["nullable", "arrow", "polars"])
def test_other_libraries(X, library):
    df = LIBRARIES[library](X)
    found = fitted(AETransformer, df).sample(
        25,
        conditions={"sex": "male", "age": (20, 60), "class": ["first", "second"], "born": DAYS},
        random_state=0,
    )
    assert_like(found, df)
    found = to_pandas(found)
    assert (found["sex"] == "male").all()
    assert found["age"].between(20, 60).all()
    assert found["class"].isin(["first", "second"]).all()
    assert found["born"].between(*DAYS).all()


@pytest.mark.slow
def test_other_kinds_of_times():
    day = pd.Timestamp("2020-01-01", tz="Europe/Berlin")
    hours = np.arange(60) % 12
    X = pd.DataFrame({"at": day + pd.to_timedelta(hours, unit="h"), "took": pd.to_timedelta(hours, "min")})
    found = fitted(AETransformer, X).sample(
        9,
        conditions={
            "at": (day + pd.Timedelta(hours=3), None),
            "took": (datetime.timedelta(0), pd.Timedelta(minutes=9)),
        },
        random_state=0,
    )
    assert_like(found, X)
    assert (found["at"] >= day + pd.Timedelta(hours=3)).all()
    assert (found["took"] <= pd.Timedelta(minutes=9)).all()
    times = pl.DataFrame({"time": [datetime.time(hour, 30) for hour in hours], "at": hours})
    later = datetime.time(6), None
    found = fitted(AETransformer, times).sample(9, conditions={"time": later}, random_state=0)
    assert_like(found, times)
    assert all(time >= later[0] for time in found["time"])


# ---------------------------------------------------------------------------
# The distribution
# ---------------------------------------------------------------------------


def pair(n=300):
    """Rows of which one in five is "rare", with numbers and a boolean that say so."""
    rng = np.random.default_rng(0)
    rare = np.arange(n) % 5 == 0
    x = rng.standard_normal(n) + 2.0 * rare
    return pd.DataFrame(
        {
            "kind": pd.Series(np.where(rare, "rare", "usual"), dtype="str"),
            "x": x,
            "y": x + 0.3 * rng.standard_normal(n),
            "flag": rng.random(n) < np.where(rare, 0.9, 0.3),
        }
    )


# the smallest p-value of these and the next is 0.017
@pytest.mark.parametrize(
    "Estimator",
    [
        SWAETransformer,
        pytest.param(VAETransformer, marks=pytest.mark.slow),
        pytest.param(VampPriorTransformer, marks=pytest.mark.slow),
        pytest.param(AETransformer, marks=pytest.mark.slow),
    ],
)
def test_as_by_rejection(Estimator):
    check_distribution(Estimator, {"kind": "rare"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Estimator", "conditions"),
    [
        (SWAETransformer, {"x": (1.5, None)}),
        (AETransformer, {"x": (1.5, None)}),
        (VampPriorTransformer, {"flag": True, "x": (1, 3)}),
        (VAETransformer, {"flag": True, "x": (1, 3)}),
    ],
)
def test_as_by_rejection_with_ranges(Estimator, conditions):
    check_distribution(Estimator, conditions)


def check_distribution(Estimator, conditions):
    model = fitted(Estimator, pair())
    rows = model.sample(10_000, random_state=0)
    for name, value in conditions.items():
        low, high = value if isinstance(value, tuple) else (value, value)
        if low is not None:
            rows = rows[rows[name] >= low]
        if high is not None:
            rows = rows[rows[name] <= high]
    assert 500 < len(rows) < 5000
    found = model.sample(300, conditions=conditions, random_state=1)
    p = {name: ks_2samp(rows[name], found[name]).pvalue for name in ("x", "y")}
    for name in {"kind", "flag"} - set(conditions):
        levels = sorted(set(rows[name]))
        table = [[(frame[name] == level).sum() for level in levels] for frame in (rows, found)]
        p[name] = chi2_contingency(table).pvalue
    assert min(p.values()) > 1e-3, p


@pytest.mark.slow
def test_one_value_of_a_number():
    """What goes with x = 2: about y = 2, as the table has it."""
    model = fitted(SWAETransformer, pair())
    found = model.sample(300, conditions={"x": 2.0}, random_state=0)
    assert (found["x"] == 2.0).all()
    near = model.sample(20_000, random_state=0).query("1.8 <= x <= 2.2")
    assert abs(found["y"].mean() - near["y"].mean()) < 0.1
    assert abs((found["kind"] == "rare").mean() - (near["kind"] == "rare").mean()) < 0.1


def test_classes_of_y(X, model):
    for y, other in (("old", "young"), ("young", "old")):
        found = model.sample(200, y=y, random_state=0)
        assert_like(found, X)
        rest = model.sample(200, y=other, random_state=0)
        assert (found["age"].mean() > rest["age"].mean() + 10) == (y == "old")
    both = model.sample(50, y="young", conditions={"sex": "female"}, random_state=0)
    assert (both["sex"] == "female").all()
    assert model.sample(50, y="young", conditions={}, random_state=0).equals(
        model.sample(50, y="young", random_state=0)
    )


# ---------------------------------------------------------------------------
# What cannot be
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "match"),
    [
        ({"nope": 1}, "A condition must be on one of the columns, .*'nope'"),
        ({"sex": "other"}, "on column 'sex' must be of its levels, 'female', 'male'. Got 'other'"),
        ({"sex": None}, "on column 'sex'"),
        ({"sex": []}, "on column 'sex'"),
        ({"class": ["first", "crew"]}, "on column 'class' .* Got 'crew'"),
        ({"alone": "yes"}, "on column 'alone'"),
        ({"ship": "Q"}, "on column 'ship'"),
        ({"age": (90, None)}, "on column 'age' .* the seen range, 1 to 79"),
        ({"age": 200}, "on column 'age' .* the seen range, 1 to 79"),
        ({"age": (30, 20)}, "on column 'age' must be a range whose low end is at most its high end"),
        ({"age": (20.2, 20.8)}, "on column 'age' must be a range with a whole number"),
        ({"age": (20, 30, 40)}, "on column 'age'"),
        ({"age": [20, 30]}, "on column 'age'"),
        ({"age": "20"}, "on column 'age'"),
        ({"age": True}, "on column 'age'"),
        ({"age": np.nan}, "on column 'age' must be no missing value"),
        ({"age": None}, "on column 'age'"),
        ({"born": "1800-01-01"}, "on column 'born' .* the seen range"),
        ({"born": pd.Timestamp("1980", tz="UTC")}, "on column 'born' must be no time with a time zone"),
        ({"born": 1980}, "on column 'born' must be a datetime"),
        ({"born": pd.NaT}, "on column 'born' must be a datetime"),
        ([("age", 3)], "The 'conditions' argument must be a dictionary"),
        ({"fare": (2.0, 2.0000001)}, "rarer than 200 training rows can tell"),
        ({"age": (70, 79), "sex": "female", "class": "third", "siblings": 0}, "rarer than 200 training rows"),
    ],
    ids=str,
)
def test_impossible_ones(model, conditions, match):
    with pytest.raises(ValueError, match=match):
        model.sample(5, conditions=conditions, random_state=0)


def test_impossible_classes(X, model):
    for y in ("middle", 1, np.nan, pd.NA, ["old"], [0, 1, 2], ("old",), np.array(["old", "young"])):
        with pytest.raises(
            ValueError, match=r"The 'y' argument must be one of the classes \['old', 'young'\]"
        ):
            model.sample(2, y=y)
    with pytest.raises(ValueError, match="The 'y' argument must be None unless fit has had classes"):
        fitted(AETransformer, X[:20]).sample(2, y="old")


@pytest.mark.slow
def test_rare_levels_that_were_merged(X):
    model = fitted(AETransformer, X, min_frequency=90)
    kept = [column.levels for column in model.codec_.columns if column.name == "class"]
    merged = min({"third", "second", "first"} - set(kept[0]))
    with pytest.raises(ValueError, match=f"on column 'class' must be of no rare level.* Got '{merged}'"):
        model.sample(3, conditions={"class": merged})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_samples": 0}, "'n_samples' argument must be an integer of at least 1"),
        ({"n_samples": True}, "'n_samples' argument"),
        ({"n_samples": 2.0}, "'n_samples' argument"),
        ({"prior": "normal"}, "'prior' argument must be 'model' or 'gmm'"),
        ({"noise": 1}, "'noise' argument must be True or False"),
        ({"missing_values": "some"}, "'missing_values' argument must be True or False"),
        ({"missing_values": True, "noise": False}, "'missing_values' argument must be False"),
        ({"random_state": "a"}, "'random_state' argument"),
    ],
    ids=str,
)
def test_other_arguments(model, arguments, match):
    with pytest.raises(ValueError, match=match):
        model.sample(**arguments)
