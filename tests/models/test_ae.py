"""The plain autoencoder, and the priors that any autoencoder can have."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skswae import AETransformer, SWAETransformer
from skswae._inference import sample_gmm
from skswae.networks import GatedMLP

from ..estimators import ESTIMATORS, cheap
from .tools import assert_moments, check_gradients, generator, make_module

each = pytest.mark.parametrize("Estimator", ESTIMATORS)


def test_linear_networks_find_the_principal_subspace(rng):
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    X = rng.normal(size=(1000, 3)) @ W.T + 0.8 * rng.normal(size=(1000, 10))
    options = {"max_iter": 20, "batch_size": 64, "learning_rate_init": 0.1}
    ae = cheap(AETransformer, n_components=3, init="random", network=GatedMLP(()), **options).fit(X)
    pca = PCA(3).fit(X)
    best = np.square(X - pca.inverse_transform(pca.transform(X))).sum(axis=1).mean()
    assert best <= -ae.score(X) < 1.01 * best


@pytest.mark.parametrize("reconstruction", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("init", ["random", "pca"])
def test_numerical_gradients(init, reconstruction):
    check_gradients(*make_module(AETransformer, None, "sigmoid", init=init, reconstruction=reconstruction))


@pytest.mark.parametrize("n_components", [2, 10])
def test_the_model_s_prior_is_the_gaussian_of_the_codes(n_components, digits):
    """Also with fewer rows than components."""
    X = digits[0][:8] if n_components == 10 else digits[0]
    ae = cheap(AETransformer, n_components=n_components).fit(X)
    Z = ae.transform(X.astype(np.float32)).astype(np.float64)
    drawn = ae.module_.sample_prior(200_000, generator()).double().numpy()
    assert_moments(drawn, Z.mean(axis=0), np.cov(Z.T, bias=True))


def test_the_baseline_has_no_more_than_a_swae_without_a_prior(digits):
    """With beta = 0 SWAE's encoder and decoder are an autoencoder's but for the z-loss."""
    X = digits[0]
    options = {"n_components": 8, "network": GatedMLP((64,)), "max_iter": 20}
    ae, swae = cheap(AETransformer, **options).fit(X), cheap(SWAETransformer, beta=0.0, **options).fit(X)
    assert -ae.score(X) < -swae.score(X)


# ---------------------------------------------------------------------------
# sample(prior="gmm"), for every model
# ---------------------------------------------------------------------------


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


def test_at_most_5000_codes_are_kept_at_random(rng):
    X = rng.normal(size=(12_000, 3)) + np.linspace(0, 100, 12_000)[:, None]
    fitted = cheap(AETransformer, max_iter=1, batch_size=1000).fit(X)
    kept = fitted.module_.codes.rows.numpy()
    assert kept.shape == (5000, 2)
    Z = fitted.transform(X)
    assert stats.ks_2samp(kept[:, 0], Z[:, 0]).pvalue > 1e-3
    assert len(np.unique(kept, axis=0)) == 5000


def test_gmm_draws_from_the_mixture_of_the_codes(digits):
    fitted = cheap(AETransformer, max_iter=5).fit(digits[0])
    X_new = fitted.sample(4000, prior="gmm", random_state=0)
    assert X_new.shape == (4000, 64)
    assert X_new.dtype == np.float64
    codes = fitted.module_.codes.rows.double().numpy()
    mixture = GaussianMixture(10, random_state=0).fit(codes)
    reference = fitted.inverse_transform(mixture.sample(4000)[0].astype(np.float32))
    total = reference.var(axis=0).sum()
    assert np.square(X_new.mean(axis=0) - reference.mean(axis=0)).sum() < 0.01 * total
    assert X_new.var(axis=0).sum() == pytest.approx(total, rel=0.1)


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
