"""The mixture of the paper's Figure 1, and binarisation."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from skswae import AETransformer, VAETransformer
from skswae.datasets import binarise, binarised, make_gmm

from ..estimators import cheap

P = np.array([0.0, 0.1, 0.5, 0.9, 1.0])


def test_gmm_moments():
    X, y = make_gmm(40000, n_modes=4, n_features=3, variance=0.5, random_state=0)
    counts = np.bincount(y)
    np.testing.assert_allclose(counts / 40000, [0.25] * 4, atol=0.01)  # standard error 0.002
    assert len(set(counts)) > 1  # drawn, not dealt out
    for mode in range(4):
        rows = X[y == mode]
        np.testing.assert_allclose(rows.mean(axis=0), mode, atol=0.035)  # standard error 0.007
        np.testing.assert_allclose(np.cov(rows.T), 0.5 * np.eye(3), atol=0.035)
    assert abs(np.corrcoef(y[:-1], y[1:])[0, 1]) < 0.025  # not sorted
    X, y = make_gmm(20, variance=0, random_state=0)
    np.testing.assert_array_equal(X, np.repeat(y[:, None], 10, axis=1))


def test_gmm_is_repeatable():
    before, rng = np.random.get_state()[1].copy(), np.random.RandomState(3)
    a, b, c, d, e = (np.column_stack(make_gmm(random_state=state)) for state in (3, 3, rng, rng, 4))
    np.testing.assert_array_equal([b, c], [a, a])
    assert (a[:, :10] != d[:, :10]).all()
    assert (a[:, :10] != e[:, :10]).all()
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    X, y = make_gmm()
    assert (X.shape, y.shape, X.dtype) == ((100, 10), (100,), np.float64)
    assert set(make_gmm(1000)[1]) == set(range(5))
    for name, value in {"n_samples": 0, "n_modes": 2.5, "variance": -0.1, "random_state": "one"}.items():
        with pytest.raises(ValueError, match=rf"'{name}' parameter.*Got {value!r}"):
            make_gmm(**{name: value})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binarise(dtype):
    x = binarise(torch.tensor(P, dtype=dtype).expand(20000, 5), generator())
    assert (x.dtype, x.shape) == (dtype, (20000, 5))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(x.mean(dim=0), P, atol=0.015)  # standard error 0.0035
    assert [*x[:, 0].unique(), *x[:, 4].unique()] == [0, 1]
    assert np.abs(np.corrcoef(x[:, 1:4].T.numpy()) - np.eye(3)).max() < 0.03


def test_binarise_draws_from_the_generator_alone():
    x, before, going_on = torch.full((50, 20), 0.5), torch.get_rng_state(), generator()
    a, *others = (binarise(x, g) for g in (generator(), going_on, going_on, generator(1)))
    assert [torch.equal(a, other) for other in others] == [True, False, False]
    assert torch.equal(torch.get_rng_state(), before)
    assert (x == 0.5).all()  # not in place


def test_binarise_takes_rounding_and_no_more(digits):
    eps = torch.finfo(torch.float32).eps
    assert binarise(torch.tensor([[-4 * eps, 1 + 4 * eps]]), generator()).tolist() == [[0.0, 1.0]]
    for bad in ([[0.0, 255.0]], [[-0.01, 1.0]]):
        with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*Got values from"):
            binarise(torch.tensor(bad), generator())
    # rows that the estimator has divided by a scale, and multiplied again
    cheap(AETransformer, output_activation="identity", augment=binarise).fit(digits[0][:100])


def test_binarise_as_augmentation(digits):
    X, seen = digits[0][:100], []

    def watch(x, generator):
        seen.append(binarise(x, generator))
        return seen[-1]

    estimator = cheap(VAETransformer, likelihood="bernoulli", augment=binarise)
    a, b = (estimator.set_params(augment=augment).fit(X).history_["loss"] for augment in (binarise, watch))
    np.testing.assert_array_equal(a, b)
    assert {value for x in seen for value in x.unique().tolist()} == {0.0, 1.0}
    assert any(a.shape == b.shape and (a != b).any() for a, b in itertools.pairwise(seen))
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


def test_binarised_draws_as_the_authors(rng):
    """One binomial draw a number, of float32 probabilities, validation rows first: in parts, or at once."""
    pixels, before = rng.integers(0, 256, (9000, 3), np.uint8), np.random.get_state()[1].copy()
    validation, test = (pixels[:5000] / np.float32(255), pixels[5000:] / 255)
    theirs, ours = np.random.RandomState(777), np.random.RandomState(777)
    for X in (validation, test):
        drawn = binarised(X, ours)
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, theirs.binomial(1, X.astype(np.float32)))
    np.testing.assert_array_equal(test, pixels[5000:] / 255)  # not in place
    np.testing.assert_array_equal(binarised(test, 0), binarised(test, 0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 255]], r"X must lie in \[0, 1\].*from 0 to 255"),
        ([[-0.5]], "from -0.5"),
        ([[np.nan]], "X contains NaN"),
    ],
)
def test_binarised_takes_probabilities(X, message):
    with pytest.raises(ValueError, match=message):
        binarised(X, 0)
