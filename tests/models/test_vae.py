"""The variational autoencoder, against NumPy and probabilistic PCA."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler, scale

from skswae import VAETransformer
from skswae.networks import GatedMLP

from .test_latent_variable import LIKELIHOODS
from .tools import assert_terms, gated_mlp, gaussian_of, generator, latent_module, loss_of, normal


@pytest.mark.parametrize("kl_weight", [0.0, 4.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("likelihood_scale", ["shared", "per_feature"])
def test_losses_equal_equation_3_in_numpy(likelihood_scale, likelihood, kl_weight):
    module, x = latent_module(
        VAETransformer, likelihood, likelihood_scale=likelihood_scale, posterior_scale_floor=0.1,
        kl_weight=kl_weight,
    )  # fmt: skip
    X = x.numpy()
    mean, log_variance = gaussian_of(gated_mlp(module.encoder, X), 0.1)
    z = mean + np.exp(0.5 * log_variance) * normal(20, 3).numpy()
    logits = torch.from_numpy(gated_mlp(module.decoder, z))
    log_p = module.head.log_prob(x, logits)  # checked in modules/test_heads.py
    variance = np.exp(log_variance)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    expected = {"reconstruction_loss": -log_p.mean().item(), "kl_divergence": kl.mean()}
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert_terms(loss_of(module, x), expected)


def test_samples_come_from_the_standard_normal():
    z = latent_module(VAETransformer)[0].sample_prior(20_000, generator())
    assert z.shape == (20_000, 3)
    assert not z.requires_grad
    assert all(stats.kstest(column, stats.norm.cdf).pvalue > 1e-3 for column in z.T.numpy())
    assert np.all(np.abs(np.corrcoef(z.T)[np.triu_indices(3, 1)]) < 5 / np.sqrt(20_000))


def linear_gaussian():
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    return 5 + rng.normal(size=(2000, 3)) @ W.T + 0.7 * rng.normal(size=(2000, 10))


def wine():
    return scale(load_wine().data)


@pytest.mark.parametrize(
    ("make", "init", "n_components", "scaling", "max_iter", "batch_size", "learning_rate_init"),
    [
        pytest.param(linear_gaussian, "random", 3, "auto", 45, 128, 0.1, marks=pytest.mark.slow),
        pytest.param(linear_gaussian, "pca", 2, "auto", 30, 128, 0.05, marks=pytest.mark.slow),
        (wine, "pca", 3, None, 100, 64, 0.1),
        pytest.param(wine, "random", 3, None, 200, 64, 0.2, marks=pytest.mark.slow),
    ],
)
def test_linear_networks_are_probabilistic_pca(
    make, init, n_components, scaling, max_iter, batch_size, learning_rate_init
):
    """The bound of a linear VAE is tight, and its optimum the likelihood of probabilistic PCA.

    Both starts come there, at rates far above the default's: the weights and log-variances have a long way
    to go from PCA's code of variance 1.
    """
    X = make()
    d = X.shape[1]
    vae = VAETransformer(
        n_components, network=GatedMLP(()), posterior_scale_floor=0, likelihood="gaussian", init=init,
        scaling=scaling, max_iter=max_iter, batch_size=batch_size, learning_rate_init=learning_rate_init,
        random_state=0,
    ).fit(X)  # fmt: skip
    pca = PCA(n_components).fit(X)
    # one draw a row gives the bound
    found = np.mean([vae.log_likelihood(X, 1, random_state=seed).mean() for seed in range(10)])
    expected = pca.score(X)
    assert abs(found - expected) < 0.01 * d
    assert found > PCA(n_components - 1).fit(X).score(X)
    # with the noise and the subspace of probabilistic PCA
    sigma = vae.module_.head.scale().item() * vae.scale_
    assert sigma == pytest.approx(np.sqrt(pca.noise_variance_), rel=0.02)
    eye = np.eye(n_components)
    directions = (vae.inverse_transform(eye) - vae.inverse_transform(0 * eye)).T
    cosines = np.linalg.svd(pca.components_ @ np.linalg.qr(directions)[0], compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) < 5
    # whose posterior is the same for all rows, so that importance sampling has next to nothing to add
    exact = vae.log_likelihood(X[:100], 200, random_state=0)
    assert np.sqrt(np.mean((exact - pca.score_samples(X[:100])) ** 2)) < 0.02 * d
    assert abs(exact.mean() - pca.score(X[:100])) < 0.01 * d


@pytest.mark.filterwarnings("ignore:VAETransformer reconstructs")  # 40 steps from random weights
@pytest.mark.parametrize(("init", "standardised"), [("pca", False), ("random", True)])
def test_as_many_components_as_features(init, standardised, iris):
    """PCA then leaves no error: the likelihood's scale must start at that of drawn codes, not near zero."""
    X = StandardScaler().fit_transform(iris) if standardised else iris
    train, test = X[::2], X[1::2]
    vae = VAETransformer(init=init, random_state=0).fit(train)
    gaussian = GaussianMixture(1).fit(train).score(test)
    found = vae.log_likelihood(test, 200, random_state=0).mean()
    assert found > gaussian - (2.0 if init == "pca" else 6.0)
    assert vae.history_["loss"][-1] < vae.history_["loss"][0]
