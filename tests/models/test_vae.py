"""The variational autoencoder, against NumPy, numerical gradients and probabilistic PCA."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler, scale

from skswae import VAETransformer
from skswae.modules._distributions import kl_to_standard_normal
from skswae.modules._latent_variable import negative_elbo
from skswae.networks import GatedMLP

from ..estimators import cheap
from .test_latent_variable import LIKELIHOODS, small
from .tools import (
    assert_terms,
    check_gradients,
    gated_mlp,
    gaussian_of,
    generator,
    likelihood_of,
    loss_of,
    normal,
)

# ---------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------


def test_negative_elbo_by_hand():
    terms = negative_elbo(torch.tensor([-3.0, 1.0, -4.0]), torch.tensor([1.0, 2.0, 6.0]), 0.5)
    assert_terms(terms, {"loss": 3.5, "reconstruction_loss": 2.0, "kl_divergence": 3.0})


@pytest.mark.parametrize("kl_weight", [0.0, 4.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("likelihood_scale", ["shared", "per_feature"])
def test_losses_equal_equation_3_in_numpy(likelihood_scale, likelihood, kl_weight):
    module, x = small(
        VAETransformer, likelihood, likelihood_scale=likelihood_scale, posterior_scale_floor=0.1,
        kl_weight=kl_weight,
    )  # fmt: skip
    X = x.numpy()
    mean, log_variance = gaussian_of(gated_mlp(module.encoder, X), 0.1)
    z = mean + np.exp(0.5 * log_variance) * normal(20, 3).numpy()
    log_p = likelihood_of(module.head, likelihood, X, gated_mlp(module.decoder, z))
    variance = np.exp(log_variance)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    expected = {"reconstruction_loss": -log_p.mean(), "kl_divergence": kl.mean()}
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert_terms(loss_of(module, x), expected)


def test_the_divergence_is_the_mean_of_its_estimate():
    """Closed form against log q(z | x) - log p(z), averaged over draws."""
    module, x = small(VAETransformer, n=3)
    with torch.no_grad():
        z, log_q = module.draw_posterior(x.repeat(20_000, 1), generator())
        estimate = (log_q - module.prior_log_prob(z)).reshape(-1, 3)
        exact = kl_to_standard_normal(*module.posterior(x))
    error = estimate.std(dim=0) / np.sqrt(len(estimate))
    assert torch.all((estimate.mean(dim=0) - exact).abs() < 5 * error)
    assert torch.all(error < 0.1 * exact)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(
    ("init", "likelihood_scale", "activation", "floor"),
    [("random", "shared", "sigmoid", 0.05), ("pca", "per_feature", "sigmoid", 0)],
)
def test_numerical_gradients(likelihood, init, likelihood_scale, activation, floor):
    """Of the loss to every parameter, the scale of the likelihood included; with a floor and without."""
    module, x = small(
        VAETransformer, likelihood, activation, init=init, likelihood_scale=likelihood_scale, kl_weight=0.7,
        posterior_scale_floor=floor,
    )  # fmt: skip
    check_gradients(module, x)


def test_samples_come_from_the_standard_normal():
    z = small(VAETransformer)[0].sample_prior(20_000, generator())
    assert z.shape == (20_000, 3)
    assert not z.requires_grad
    for column in z.T.numpy():
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3
    assert np.all(np.abs(np.corrcoef(z.T)[np.triu_indices(3, 1)]) < 5 / np.sqrt(20_000))


# ---------------------------------------------------------------------------
# A limit with a known answer
# ---------------------------------------------------------------------------


def bound(vae, X, n_draws=20):
    """Return the ELBO of a row in the units of X, averaged over rows and draws."""
    module = copy.deepcopy(vae.module_).double()
    x = module.scaler.standardize(torch.tensor(X))
    noise = generator()
    with torch.no_grad():
        kl = kl_to_standard_normal(*module.posterior(x)).mean()
        draws = [module.log_likelihood(x, module.draw_posterior(x, noise)[0]).mean() for _ in range(n_draws)]
    return (sum(draws) / n_draws - kl).item() - X.shape[1] * np.log(vae.scale_)


def linear_gaussian():
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    return 5 + rng.normal(size=(2000, 3)) @ W.T + 0.7 * rng.normal(size=(2000, 10))


def wine():
    return scale(load_wine().data)


@pytest.mark.parametrize(
    ("make", "init", "n_components", "scaling", "max_iter", "batch_size", "learning_rate_init"),
    [
        (linear_gaussian, "random", 3, "auto", 45, 128, 0.1),
        (linear_gaussian, "pca", 2, "auto", 30, 128, 0.05),
        (wine, "pca", 3, None, 100, 64, 0.1),
        (wine, "random", 3, None, 200, 64, 0.2),
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
    found, expected = bound(vae, X), pca.score(X)
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


# ---------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------


def test_the_weight_of_the_divergence(digits):
    """Its extremes: without it the codes keep most about the rows, with much they keep next to nothing."""
    error, divergence = [], []
    for kl_weight in (0, 1, 1000):
        vae = cheap(VAETransformer, kl_weight=kl_weight, max_iter=20, learning_rate_init=1e-2).fit(digits[0])
        error.append(-vae.score(digits[0]))
        divergence.append(vae.history_["kl_divergence"][-1])
    assert divergence[0] > divergence[1] > 1
    assert divergence[2] < 0.1
    assert error[0] < error[2]
    assert error[2] > 0.9 * digits[0].var(axis=0).sum()


def test_rows_without_noise_stay_finite(rng):
    """On a line exactly: the scale of the likelihood falls to its bound, not to 0."""
    X = rng.normal(size=(200, 1)) @ rng.normal(size=(1, 4))
    linear = {"n_components": 1, "network": GatedMLP(()), "learning_rate_init": 2e-2}
    vae = cheap(VAETransformer, max_iter=50, **linear).fit(X)
    assert 1e-3 <= vae.module_.head.scale().item() < 0.3
    assert np.isfinite(vae.log_likelihood(X, 10, random_state=0)).all()
    assert vae.history_["loss"][-1] < vae.history_["loss"][0]


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
