"""The plain autoencoder, and the priors that any autoencoder can have."""

import numpy as np
import pytest
import torch

from skswae import AETransformer, SWAETransformer
from skswae._inference import sample_gmm

from ..estimators import ESTIMATORS, cheap
from .tools import assert_moments, generator

each = pytest.mark.parametrize("Estimator", ESTIMATORS)


@pytest.mark.parametrize("n_components", [2, 10])
def test_the_model_s_prior_is_the_gaussian_of_the_codes(n_components, digits):
    """Also with fewer rows than components."""
    X = digits[0][:8] if n_components == 10 else digits[0]
    ae = cheap(AETransformer, n_components=n_components).fit(X)
    Z = ae.transform(X.astype(np.float32)).astype(np.float64)
    drawn = ae.module_.sample_prior(200_000, generator()).double().numpy()
    assert_moments(drawn, Z.mean(axis=0), np.cov(Z.T, bias=True))


@each
def test_codes_of_training_rows_are_kept(Estimator, digits):
    X = digits[0].astype(np.float32)
    fitted = cheap(Estimator).fit(X)
    for rows in (X, X[:20]):  # after another call of earlier rows nothing is kept: the encoder has moved on
        codes, Z = fitted.module_.codes.rows.numpy(), fitted.transform(rows)
        assert codes.shape == Z.shape == (len(rows), 2)
        np.testing.assert_allclose(codes[np.lexsort(codes.T)], Z[np.lexsort(Z.T)], atol=1e-5)
        fitted.partial_fit(X[:20])
    assert np.isfinite(fitted.partial_fit(X[:1]).sample(3, prior="gmm", random_state=0)).all()


@pytest.mark.parametrize("Estimator", [AETransformer, SWAETransformer])
def test_arguments_of_the_priors(Estimator, iris):
    """Draws repeat with a seed and differ without, move no stream; an unknown prior is refused."""
    fitted = cheap(Estimator).fit(iris)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    a, b = (fitted.sample(5, prior="gmm", random_state=3) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, fitted.sample(5, prior="gmm", random_state=4))
    assert not np.array_equal(a, fitted.sample(5, prior="model", random_state=3))
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())
    assert not np.array_equal(fitted.sample(5, prior="gmm"), fitted.sample(5, prior="gmm"))
    for prior in ("GMM", None, 3, ["gmm"]):
        with pytest.raises(ValueError, match=r"'prior' argument must be 'model' or 'gmm'\. Got"):
            fitted.sample(3, prior=prior)


@each
def test_gmm_on_few_or_equal_rows(Estimator, iris):
    for X in (iris[:2], iris[:5], np.full((20, 3), 0.5)):
        fitted = cheap(Estimator, n_components=4).fit(X)
        assert np.isfinite(fitted.sample(7, prior="gmm", random_state=0)).all()


def test_gmm_does_not_depend_on_the_codes_origin_and_units(rng):
    codes = rng.normal(size=(600, 2)).astype(np.float32)
    for origin, scale in ((0.0, (1.0, 1.0)), (1e4, (1.0, 1.0)), (0.0, (1e4, 1e-3))):
        Z = sample_gmm(origin + np.float32(scale) * codes, 5000, 0, 0)
        np.testing.assert_allclose(Z.std(axis=0), scale * codes.std(axis=0), rtol=0.05)
        assert np.all(np.abs(Z.mean(axis=0) - origin) < 0.15 * np.array(scale))


def test_gmm_follows_modes_that_one_gaussian_blurs(rng):
    """Why it is the baseline: three far clusters, and nothing between them."""
    centres = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 15.0]])
    X = centres[rng.integers(3, size=600)] @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(600, 5))
    ae = cheap(AETransformer, max_iter=10).fit(X)
    near = {}
    for prior in ("model", "gmm"):
        S = ae.sample(1000, prior=prior, random_state=0)
        distance = np.sqrt(np.square(S[:, None] - X[None, ::5]).sum(axis=2)).min(axis=1)
        near[prior] = np.mean(distance < 2.0)
    assert near["gmm"] > 0.95
    assert near["model"] < 0.5
