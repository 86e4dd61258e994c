"""The monotone map of a column's numbers to scores."""

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from skswae.tabular._marginals import MAX_SCORE, MonotoneMap

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.standard_normal(500),
    "heavy tails": RNG.lognormal(0, 2, 5000),
    "whole": RNG.integers(0, 5, 300).astype(float),
    "mostly zero": np.where(RNG.random(4000) < 0.9, 0, RNG.pareto(1, 4000)),
    "two": np.array([1, 1, 2.0]),
    "denormal": np.array([5e-324, 0, 1e-323]),
    "far apart": np.array([-1.7e308, 1.7e308, 0]),
    "far from the origin": 1e15 + RNG.standard_normal(100),
    "neighbours": np.array([1, np.nextafter(1, 2)]),
}
KINDS = ("quantile", "standard")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_come_back(name, kind):
    values = COLUMNS[name]
    known = MonotoneMap.fit(values, kind)
    scores = known.scores(values)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(known.values(scores), values, rtol=1e-12, atol=1e-15 * np.abs(values).max())
    assert known.values(np.array([-1e9, 1e9])).tolist() == [values.min(), values.max()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_scores_rise_with_numbers_seen_or_not(name, kind):
    values = COLUMNS[name]
    wide = np.concatenate([values, np.interp(RNG.random(300), [0, 1], [values.min() / 2, values.max() / 2])])
    wide = np.sort(np.concatenate([wide, 3 * np.clip(wide, -1e307, 1e307), [-1e308, 1e308]]))
    scores = MonotoneMap.fit(values, kind).scores(wide)
    assert (np.diff(scores) >= 0).all()
    assert np.abs(scores).max() <= MAX_SCORE


@pytest.mark.parametrize("name", ["normal", "whole", "two"])
def test_a_quantile_score_is_that_of_the_mid_rank(name):
    values = COLUMNS[name]
    expected = norm.ppf((rankdata(values) - 0.5) / len(values))
    np.testing.assert_allclose(MonotoneMap.fit(values, "quantile").scores(values), expected, atol=1e-12)


def test_a_standard_score_is_linear():
    values = COLUMNS["normal"]
    wide = np.linspace(-9, 9, 50)
    known = MonotoneMap.fit(values, "standard")
    np.testing.assert_allclose(known.scores(wide), (wide - values.mean()) / values.std(), atol=1e-12)


@pytest.mark.parametrize("name", ["normal", "heavy tails", "whole", "mostly zero"])
def test_standard_normal_scores_become_the_column_again(name):
    """Its distribution is within 1 % of the rows, and shares of tied values within 1 %."""
    values = np.sort(COLUMNS[name])
    known = MonotoneMap.fit(values, "quantile")
    drawn = known.values(norm.ppf((np.arange(20000) + 0.5) / 20000))
    for at in np.quantile(values, np.linspace(0, 1, 21)):
        assert abs((drawn <= at).mean() - (values <= at).mean()) < 0.01
        assert abs((drawn < at).mean() - (values < at).mean()) < 0.01


def test_beyond_the_seen_range_scores_grow_by_one_for_each_standard_deviation():
    values = COLUMNS["normal"]
    known = MonotoneMap.fit(values, "quantile")
    ends = known.scores(np.array([values.min(), values.max()]))
    spread = 2 * values.std()
    beyond = known.scores(np.array([values.min() - spread, values.max() + spread]))
    np.testing.assert_allclose(beyond - ends, [-2, 2])


def test_knots_are_few_and_heavy_ties_are_among_them():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(10**5) < 0.3, rng.integers(0, 5, 10**5), rng.lognormal(0, 2, 10**5))
    known = MonotoneMap.fit(values, "quantile")
    assert len(known.knots) <= 1005
    ties = np.arange(5.0)
    assert known.values(known.scores(ties)).tolist() == ties.tolist()
    drawn = known.values(norm.ppf((np.arange(10**4) + 0.5) / 10**4))
    for tie in ties:
        assert abs((drawn == tie).mean() - (values == tie).mean()) < 0.002


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_scores_between_the_bounds_are_numbers_between(name, kind):
    values = COLUMNS[name]
    known = MonotoneMap.fit(values, kind)
    for low, high in np.sort(RNG.choice(values, (20, 2)), axis=1):
        first, last = known.bounds(low, high)
        drawn = known.values(np.linspace(max(first, -9), min(last, 9), 50))
        slack = 1e-14 * np.abs(values).max()
        assert low - slack <= drawn.min()
        assert drawn.max() <= high + slack
        inside = values[(low <= values) & (values <= high)]
        scores = known.scores(inside)
        assert (first - 1e-12 <= scores).all()
        assert (scores <= last + 1e-12).all()


def test_missing_numbers_stay_missing():
    known = MonotoneMap.fit(COLUMNS["normal"], "quantile")
    given = np.array([np.nan, 0.5])
    assert np.isnan(known.scores(given)).tolist() == [True, False]
    assert np.isnan(known.values(given)).tolist() == [True, False]
