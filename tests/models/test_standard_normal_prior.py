"""A standard normal prior is filled by the codes: samples of models that have it are as wide as the data."""

import numpy as np
import pytest

from skswae import VAETransformer, WAETransformer

from ..estimators import cheap

MODELS = {"vae": (VAETransformer, {})}
MODELS |= {
    f"wae-{name}": (WAETransformer, {"divergence": name}) for name in ("mmd", "gan", "sliced", "sinkhorn")
}
# standard deviations, number of features, number of components
RANKS = {
    "full": ([1, 1, 1, 1], 4, 4),
    "anisotropic": ([3, 1.5, 1, 0.5], 4, 4),
    "as many components": ([3, 2, 1], 10, 3),
    "more components": ([3, 2, 1], 10, 5),
}


def gaussian(scales, n_features, n_rows=1000):
    """Return rows of rank len(scales) in general position."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    return 5 + (rng.normal(size=(n_rows, len(scales))) * scales) @ rotation[: len(scales)]


def shares(covariance, X):
    """Return the variance along each direction in which the rows differ, over that of the rows."""
    variances, directions = np.linalg.eigh(np.cov(X.T))
    found = variances > 1e-6 * variances.max()
    return np.diag(directions.T @ covariance @ directions)[found] / variances[found]


@pytest.mark.slow
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("model", MODELS)
def test_samples_have_the_covariance_of_the_data(model, rank):
    scales, n_features, n_components = RANKS[rank]
    X = gaussian(scales, n_features)
    Estimator, options = MODELS[model]
    fitted = cheap(Estimator, n_components=n_components, max_iter=15, **options).fit(X)
    covariance, found = np.cov(X.T), np.cov(fitted.sample(20_000, random_state=0).T)
    assert np.linalg.norm(found - covariance, 2) < 0.1 * np.linalg.norm(covariance, 2)
    np.testing.assert_allclose(shares(found, X), 1, atol=0.1)


@pytest.mark.slow
def test_more_features_than_components():
    """What the components leave out is the likelihood's noise: means and noise have the covariance."""
    X = gaussian([3, 2.5, 2, 1.5, *[0.7] * 6], 10)
    vae = cheap(VAETransformer, n_components=4, max_iter=15, likelihood="gaussian").fit(X)
    means = np.cov(vae.sample(20_000, random_state=0).T)
    noise = np.square(vae.module_.head.scale().item() * vae.scale_) * np.eye(10)
    np.testing.assert_allclose(shares(means + noise, X)[-4:], 1, atol=0.1)
    assert np.trace(means + noise) == pytest.approx(X.var(axis=0).sum(), rel=0.1)
    # as probabilistic PCA has it
    assert noise[0, 0] == pytest.approx(0.49, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ["mmd", "gan", "sliced", "sinkhorn"])
def test_a_wasserstein_autoencoder_samples_the_leading_components(divergence):
    """Where there are more features than components its samples are as wide along these."""
    X = gaussian([3, 2.5, 2, 1.5, *[0.3] * 6], 10)
    wae = cheap(WAETransformer, n_components=4, max_iter=15, divergence=divergence).fit(X)
    np.testing.assert_allclose(shares(np.cov(wae.sample(20_000, random_state=0).T), X)[-4:], 1, atol=0.1)
