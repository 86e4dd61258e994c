"""Pseudo-inputs and the reconstruction's cost, of every model that has them."""

import pickle

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from skswae import AETransformer, MIMTransformer, SWAETransformer, VampPriorTransformer, WAETransformer

from ..estimators import cheap

each = pytest.mark.parametrize("Estimator", [SWAETransformer, VampPriorTransformer, MIMTransformer])
STILL = {"max_iter": 1, "learning_rate_init": 1e-12}


@each
def test_pseudo_inputs_start_as_different_training_rows(Estimator, digits, iris):
    """They are given in the units of the data; another seed chooses others."""
    X = digits[0]
    model = cheap(Estimator, n_pseudo_inputs=40, **STILL).fit(X)
    distance = cdist(model.pseudo_inputs_, X)
    assert distance.min(axis=1).max() < 1e-5
    assert len(np.unique(distance.argmin(axis=1))) == 40
    other = cheap(Estimator, n_pseudo_inputs=40, random_state=1, **STILL).fit(X)
    assert not np.array_equal(model.pseudo_inputs_, other.pseudo_inputs_)
    for X in (iris + 1e7, 1e-6 * iris):
        model = cheap(Estimator, n_pseudo_inputs=10, **STILL).fit(X)
        assert model.scale_ != 1
        assert model.pseudo_inputs_.dtype == np.float64
        assert cdist(model.pseudo_inputs_, X).min(axis=1).max() < 1e-5 * np.ptp(X) + 1e-15 * np.abs(X).max()


@each
def test_number_of_pseudo_inputs(Estimator, iris):
    few = cheap(Estimator, n_pseudo_inputs=7, warm_start=True).fit(iris)
    assert few.n_pseudo_inputs_ == few.n_pseudo_inputs == 7
    assert few.pseudo_inputs_.shape == (7, 4)
    with pytest.raises(ValueError, match="'n_pseudo_inputs' parameter must stay 7"):
        few.set_params(n_pseudo_inputs=8).fit(iris)
    assert few.n_iter_ == 3
    every = cheap(Estimator, n_pseudo_inputs=10**6, **STILL).fit(iris)  # all rows, each once
    np.testing.assert_allclose(np.sort(every.pseudo_inputs_, axis=0), np.sort(iris, axis=0), atol=1e-5)
    every.set_params(early_stopping=True, validation_fraction=0.2)
    assert every.fit(iris).n_pseudo_inputs_ == 120
    one = cheap(Estimator, n_pseudo_inputs=1).fit(iris)
    assert one.sample(3, random_state=0).shape == (3, 4)


def test_the_automatic_number_of_pseudo_inputs(iris, digits):
    wide = np.tile(digits[0][:, 20:24], (11, 1))
    for X, expected in ((iris, 150 // 6), (iris[:2], 1), (wide, 500)):
        swae = cheap(SWAETransformer, n_pseudo_inputs="auto", max_iter=1).fit(X)
        assert swae.n_pseudo_inputs_ == expected


@each
@pytest.mark.parametrize(
    "sizes",
    [(10, 290), *(pytest.param(s, marks=pytest.mark.slow) for s in ((6, 6, 6, 282), (150, 150), (299, 1)))],
)
def test_the_number_of_pseudo_inputs_grows_with_the_rows_seen(Estimator, sizes, digits):
    """Whatever the first call was, it is that of a fit on all rows; new ones start as later rows."""
    X = digits[0]
    rules = {40: 40, 10**6: 300} | ({"auto": 50} if Estimator is SWAETransformer else {})
    for K, expected in rules.items():
        model = cheap(Estimator, n_pseudo_inputs=K, **STILL)
        for part in np.split(X, np.cumsum(sizes)[:-1]):
            model = pickle.loads(pickle.dumps(model.partial_fit(part)))
        assert model.n_pseudo_inputs_ == len(model.pseudo_inputs_) == expected
        assert expected == cheap(Estimator, n_pseudo_inputs=K, **STILL).fit(X).n_pseudo_inputs_
        distance = cdist(model.pseudo_inputs_, X)
        assert distance.min(axis=1).max() < 1e-5
        assert len(np.unique(distance.argmin(axis=1))) == expected  # no row twice
        assert model.sample(3, random_state=0).shape == (3, 64)


@each
def test_rows_that_come_again_add_no_pseudo_inputs(Estimator, iris):
    """Nor do they in warm_start, where new rows do; a call that fails adds none."""
    model = cheap(Estimator, n_pseudo_inputs=10**6, warm_start=True, **STILL)
    different = len(np.unique(iris[:100], axis=0))
    for _ in range(3):
        model.partial_fit(iris[:60]).fit(iris[:60]).partial_fit(iris[50:100])
        assert different <= model.n_pseudo_inputs_ <= 100
    before = model.n_pseudo_inputs_, model.pseudo_inputs_
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(learning_rate_init=1e39).partial_fit(iris)
    assert model.n_pseudo_inputs_ == before[0]
    np.testing.assert_array_equal(model.pseudo_inputs_, before[1])
    assert model.set_params(**STILL).fit(iris).n_pseudo_inputs_ == before[0] + len(
        {*map(tuple, iris[100:])} - {*map(tuple, iris[:100])}
    )


@each
def test_checksums_of_rows_are_kept_while_more_may_come(Estimator, iris):
    """They are of numbers, whatever their type, and of different ones."""
    rows = (iris[:60] - iris[0]).round()
    model = cheap(Estimator, n_pseudo_inputs=1000, scaling=None, output_activation="identity", **STILL)
    for again in (rows, rows.astype(np.float32), np.where(rows == 0.0, -0.0, rows)):
        model.partial_fit(again)
        assert len(model._rows_seen) == len(np.unique(rows, axis=0))
    model = cheap(Estimator, n_pseudo_inputs=90, **STILL).partial_fit(iris[:60])
    assert len(model._rows_seen) > 0
    model.partial_fit(iris)
    assert model.n_pseudo_inputs_ == 90
    assert len(model._rows_seen) == 0


@pytest.mark.slow
def test_a_small_first_call_is_made_up_for(digits):
    """With one pseudo-input for ever the codes stay close to each other, and the error is larger."""
    X = digits[0]
    errors = {}
    for name, first, K in (("small", 10, "auto"), ("large", 300, "auto"), ("one", 10, 1)):
        model = cheap(SWAETransformer, n_components=8, n_pseudo_inputs=K, output_activation="sigmoid")
        model.partial_fit(X[:first])
        for _ in range(40):
            model.partial_fit(X)
        errors[name] = -model.score(X)
    assert errors["small"] < 0.5 * errors["large"] + 0.5 * errors["one"]


@each
def test_pseudo_inputs_at_the_ends_of_the_range_move(Estimator, digits):
    """They are projected after each step, not squashed within it: many numbers lie at the ends."""
    X = digits[0]
    options = {"n_pseudo_inputs": 20, "learning_rate_init": 2e-2}
    start = cheap(Estimator, **{**options, **STILL}).fit(X).pseudo_inputs_
    model = cheap(Estimator, max_iter=10, **options).fit(X)
    end, low, high = model.pseudo_inputs_, X.min(axis=0), X.max(axis=0)
    used = np.full(20, True)
    if Estimator is SWAETransformer:  # whose others get no gradient
        used = model.pseudo_input_weights_ > 0
    varies = high > low
    for value in (0.0, 1.0):
        at_end = (np.abs(start - value) < 1e-4) & varies & used[:, None]
        assert at_end.sum() > 20
        assert np.mean(np.abs(end - value)[at_end] > 1e-2) > 0.3
    assert np.all(end >= low - 1e-5)
    assert np.all(end <= high + 1e-5)


@each
def test_pseudo_inputs_keep_to_the_range_of_all_rows_seen(Estimator, rng):
    """The range is that of all training rows, not of those that they start as; partial_fit widens it."""
    narrow, wide = rng.uniform(-1, 1, (60, 3)), rng.uniform(-4, 4, (60, 3))
    model = cheap(Estimator, n_pseudo_inputs=2)
    for rows, seen in ((narrow, narrow), (wide, wide), (narrow, wide)):
        module = model.partial_fit(rows).module_
        with torch.no_grad():
            for sign, limit in ((-1e9, seen.min(axis=0)), (1e9, seen.max(axis=0))):
                module.pseudo_inputs.rows.fill_(sign)
                module.after_step()
                np.testing.assert_allclose(model.pseudo_inputs_, [limit, limit], rtol=1e-5)


@pytest.mark.parametrize("Estimator", [AETransformer, SWAETransformer, WAETransformer])
@pytest.mark.parametrize("reconstruction", ["squared_error", "binary_cross_entropy"])
def test_the_reconstruction_loss_is_the_cost_of_a_row_and_its_decoding(Estimator, reconstruction, digits):
    X = digits[0]
    model = cheap(Estimator, reconstruction=reconstruction).fit(X)
    D = model.reconstruct(X)
    if reconstruction == "squared_error":
        expected = np.square(X - D).sum(axis=1).mean()
    else:
        expected = -(X * np.log(D) + (1 - X) * np.log1p(-D)).sum(axis=1).mean()
    ((_, terms),) = model.module_.double().eval().losses(torch.tensor(X), torch.Generator())
    assert terms["reconstruction_loss"].item() == pytest.approx(expected, rel=1e-9)
    if Estimator is AETransformer:
        assert terms["loss"] == terms["reconstruction_loss"]
