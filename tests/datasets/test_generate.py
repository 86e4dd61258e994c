"""The mixture of the paper's Figure 1, and binarisation."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from skswae import AETransformer, VAETransformer
from skswae.datasets import binarise, binarised, make_gmm

from ..estimators import cheap


def test_gmm_moments():
    X, y = make_gmm(40000, n_modes=4, n_features=3, variance=0.5, random_state=0)
    counts = np.bincount(y)
    assert counts.shape == (4,)
    np.testing.assert_allclose(counts / 40000, 0.25, atol=0.01)  # standard error 0.002
    assert len(set(counts)) > 1  # drawn, not dealt out
    for mode in range(4):
        rows = X[y == mode]
        np.testing.assert_allclose(rows.mean(axis=0), mode, atol=0.035)  # standard error 0.007
        np.testing.assert_allclose(np.cov(rows.T), 0.5 * np.eye(3), atol=0.035)
    assert abs(np.corrcoef(y[:-1], y[1:])[0, 1]) < 0.025  # not sorted
    X, y = make_gmm(20, variance=0, random_state=0)
    np.testing.assert_array_equal(X, np.repeat(y[:, None], 10, axis=1))


def test_gmm_is_repeatable():
    before = np.random.get_state()[1].copy()
    a, b = make_gmm(random_state=3), make_gmm(random_state=3)
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert (make_gmm(random_state=4)[0] != a[0]).all()
    rng = np.random.RandomState(3)
    np.testing.assert_array_equal(make_gmm(random_state=rng)[0], a[0])
    assert (make_gmm(random_state=rng)[0] != a[0]).all()
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    X, y = make_gmm()
    assert (X.shape, y.shape, X.dtype) == ((100, 10), (100,), np.float64)
    assert set(make_gmm(1000)[1]) == set(range(5))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_samples", 0), ("n_modes", 2.5), ("n_features", 0), ("variance", -0.1), ("random_state", "one")],
)
def test_gmm_with_bad_arguments(name, value):
    with pytest.raises(ValueError, match=rf"'{name}' parameter.*Got {value!r}"):
        make_gmm(**{name: value})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binarise(dtype):
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=dtype)
    x = binarise(p.expand(20000, 5), generator())
    assert (x.dtype, x.shape) == (dtype, (20000, 5))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(x.mean(dim=0), p, atol=0.015, rtol=0)  # standard error 0.0035
    assert (x[:, 0] == 0).all()
    assert (x[:, 4] == 1).all()
    assert np.abs(np.corrcoef(x[:, 1:4].T.numpy()) - np.eye(3)).max() < 0.03


def test_binarise_draws_from_the_generator_alone():
    x = torch.full((50, 20), 0.5)
    before = torch.get_rng_state()
    a, b, c = binarise(x, generator()), binarise(x, generator()), binarise(x, generator(1))
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert (a != c).any()
    going_on = generator()
    binarise(x, going_on)
    assert (binarise(x, going_on) != a).any()
    assert torch.equal(torch.get_rng_state(), before)
    assert (x == 0.5).all()  # not in place


def test_binarise_takes_rounding_and_no_more(digits):
    eps = torch.finfo(torch.float32).eps
    x = torch.tensor([[-4 * eps, 1 + 4 * eps]])
    assert binarise(x, generator()).tolist() == [[0.0, 1.0]]
    for bad in ([[0.0, 255.0]], [[-0.01, 1.0]]):
        with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*Got values from"):
            binarise(torch.tensor(bad), generator())
    # rows that the estimator has divided by a scale, and multiplied again
    cheap(AETransformer, output_activation="identity", augment=binarise).fit(digits[0][:100])


def test_binarise_as_augmentation(digits):
    X = digits[0][:100]
    seen = []

    def watch(x, generator):
        seen.append(binarise(x, generator))
        return seen[-1]

    estimator = cheap(VAETransformer, likelihood="bernoulli", augment=binarise)
    a, b = (estimator.set_params(augment=augment).fit(X).history_["loss"] for augment in (binarise, watch))
    np.testing.assert_array_equal(a, b)
    assert {value for x in seen for value in x.unique().tolist()} == {0.0, 1.0}
    pairs = [(first, second) for first, second in itertools.pairwise(seen) if first.shape == second.shape]
    assert any((first != second).any() for first, second in pairs)
    restored = pickle.loads(pickle.dumps(estimator.set_params(augment=binarise)))
    assert restored.augment is binarise
    np.testing.assert_array_equal(restored.transform(X), estimator.transform(X))


@pytest.mark.gpu
def test_binarise_on_a_gpu():
    x = torch.rand(1000, 20, device="cuda")
    drawn = binarise(x, torch.Generator("cuda").manual_seed(0))
    assert drawn.device == x.device
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert binarise(2 * x, torch.Generator("cuda")).isnan().any()


def test_binarised():
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    X = np.tile(p, (20000, 1))
    before = np.random.get_state()[1].copy()
    drawn = binarised(X, 0)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(axis=0), p, atol=0.015)
    np.testing.assert_array_equal(binarised(X, 0), drawn)
    assert (binarised(X, 1) != drawn).any()
    np.testing.assert_array_equal(X[0], p)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_binarised_draws_as_the_authors(rng):
    """One binomial draw a number, of float32 probabilities, validation rows first: in parts, or at once."""
    pixels = rng.integers(0, 256, (9000, 3), np.uint8)
    validation, test = (pixels[:5000] / np.float32(255), pixels[5000:] / 255)
    theirs, ours = np.random.RandomState(777), np.random.RandomState(777)
    for X in (validation, test):
        np.testing.assert_array_equal(binarised(X, ours), theirs.binomial(1, X.astype(np.float32)))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 255]], r"X must lie in \[0, 1\].*Got values from 0 to 255"),
        ([[-0.5, 0.5]], r"Got values from -0.5 to 0.5"),
        ([[np.nan, 0.5]], "X contains NaN"),
        ([0.5, 0.5], "Expected 2D array"),
        (np.empty((0, 3)), "0 sample"),
    ],
)
def test_binarised_takes_probabilities(X, message):
    with pytest.raises(ValueError, match=message):
        binarised(X, 0)
