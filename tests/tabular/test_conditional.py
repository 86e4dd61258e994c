"""Rows under conditions: probabilities against scipy's, and what the search promises."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from skswae import SWAETransformer
from skswae.modules._columns import Columns, ColumnsHead
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder
from skswae.tabular._conditional import Condition, draw_rows, log_probability


def head_of_two_numbers():
    """Two numbers, a boolean, a category of three levels."""
    shares = np.array([0.2, 0.3, 0.5])
    columns = Columns(
        n_numbers=2,
        n_booleans=1,
        widths=(3,),
        location=np.concatenate([[0.0, 1.0, 0.4], shares]),
        unit=np.concatenate([[1.0, 2.0, 0.5], np.full(3, 0.8)]),
        observed=np.ones(4),
        weights=np.ones(4),
    )
    head = ColumnsHead(columns, False).double()
    head.set_noise(torch.tensor([0.25, 4.0]), torch.ones(2))
    return head


OUTPUT = torch.tensor([[0.3, -1.0, 0.5, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.5), (0.3, 0.30001), (-math.inf, -9.0), (12.0, math.inf)])
def test_probability_of_a_range(low, high):
    """Also far from the mean, and of narrow ranges."""
    found = log_probability(head_of_two_numbers(), OUTPUT, [Condition(0, 0, low=low, high=high)])
    normal = scipy.stats.norm(0.3, 0.5)
    near = low > 0.3  # there the upper tail is exact
    mass = normal.sf(low) - normal.sf(high) if near else normal.cdf(high) - normal.cdf(low)
    assert float(found) == pytest.approx(math.log(mass), rel=1e-6)


def test_probability_of_levels_and_of_several_conditions():
    head = head_of_two_numbers()
    p = scipy.special.softmax([1.0, 0.0, -1.0])
    conditions = [
        Condition(3, 3, levels=(0, 2)),
        Condition(2, 2, levels=(1,)),
        Condition(1, 1, low=-2.0, high=-2.0),
    ]
    expected = math.log(p[0] + p[2]) + math.log(scipy.special.expit(0.5))
    expected += scipy.stats.norm(-1.0, 2.0).logpdf(-2.0) + 0.5 * math.log(2 * math.pi)
    assert float(log_probability(head, OUTPUT, conditions)) == pytest.approx(expected)


def test_cells_are_drawn_within_the_condition():
    head, n = head_of_two_numbers(), 20_000
    conditions = [Condition(0, 0, low=0.5, high=1.5), Condition(3, 3, levels=(0, 2))]
    x = draw_rows(head, OUTPUT.expand(n, -1), conditions, torch.Generator().manual_seed(0))
    raw = head.raw(x)
    truncated = scipy.stats.truncnorm((0.5 - 0.3) / 0.5, (1.5 - 0.3) / 0.5, 0.3, 0.5)
    assert scipy.stats.kstest(raw[:, 0].numpy(), truncated.cdf).pvalue > 0.001
    assert not raw[:, 4].any()
    p = scipy.special.softmax([1.0, 0.0, -1.0])
    assert float(raw[:, 3].mean()) == pytest.approx(p[0] / (p[0] + p[2]), abs=0.01)
    means = draw_rows(head, OUTPUT, conditions, None)
    assert float(head.raw(means)[0, 0]) == pytest.approx(0.5)  # the nearest to its mean


@pytest.mark.parametrize(("low", "high", "near"), [(60.0, 70.0, 60.0), (-70.0, -60.0, -60.0)])
def test_a_range_beyond_all_probability_gives_its_near_end(low, high, near):
    x = draw_rows(
        head_of_two_numbers(), OUTPUT, [Condition(0, 0, low=low, high=high)], torch.Generator().manual_seed(0)
    )
    assert float(x[0, 0]) == pytest.approx(near)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    frame = pd.DataFrame({"x": x, "price": (1000 * np.exp(x)).astype(int), "s": np.where(x > 0, "a", "b")})
    network = GatedMLP((16,))
    return TableAutoencoder(SWAETransformer(2, max_iter=20, network=network), random_state=0).fit(frame)


def test_one_value_of_many_whole_numbers(model):
    """It may be rarer than one row: that is no reason to refuse it."""
    price = int(model.sample(1, random_state=0)["price"].iloc[0])
    found = model.sample(20, conditions={"price": price}, random_state=0)
    assert (found["price"] == price).all()
    assert np.exp(found["x"].mean()) * 1000 == pytest.approx(price, rel=0.5)


def test_a_narrow_range_is_refused_for_what_it_is(model):
    with pytest.raises(ValueError, match="rarer than 400 training rows can tell"):
        model.sample(5, conditions={"x": (0.5, 0.5000001)}, random_state=0)


def test_many_rows_come_from_many_codes(model):
    found = model.sample(1500, conditions={"s": "a"}, noise=False, random_state=0)
    assert found.duplicated().mean() < 0.35
    assert (found["s"] == "a").all()


@pytest.mark.slow
def test_one_value_is_no_pretext_for_what_cannot_be():
    """A single value may be rare; a level that does not go with it may not."""
    x = np.random.default_rng(0).normal(size=400)
    frame = pd.DataFrame({"x": x, "s": np.where(x > 0, "a", "b")})
    estimator = SWAETransformer(4, max_iter=60, early_stopping=False)
    model = TableAutoencoder(estimator, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="rarer than 400 training rows can tell"):
        model.sample(5, conditions={"x": 2.0, "s": "b"}, random_state=0)
    assert (model.sample(5, conditions={"x": 2.0, "s": "a"}, random_state=0)["x"] == 2.0).all()
