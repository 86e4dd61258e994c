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
from skswae._latent import negative_elbo
from skswae._priors import kl_to_standard_normal
from skswae._vae import VAEModule

from skswae import VAETransformer
from skswae.networks import GatedMLP

from .estimators import cheap
from .test_bad_input import refused
from .test_latent import (
    LIKELIHOODS,
    check_gradients,
    gated_mlp,
    gaussian_of,
    generator,
    likelihood_of,
    loss_of,
    make_module,
)

# ---------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------


def test_negative_elbo_by_hand():
    terms = negative_elbo(torch.tensor([-3.0, 1.0, -4.0]), torch.tensor([1.0, 2.0, 6.0]), 0.5)
    assert terms.keys() == {"loss", "reconstruction_loss", "kl_divergence"}
    assert terms["reconstruction_loss"] == 2.0
    assert terms["kl_divergence"] == 3.0
    assert terms["loss"] == 3.5


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("per_feature", [False, True])
def test_losses_equal_equation_3_in_numpy(per_feature, likelihood, kl_weight):
    module, x = make_module(
        VAEModule, likelihood=likelihood, per_feature=per_feature, floor=0.1, kl_weight=kl_weight
    )
    terms = loss_of(module, x)

    X = x.numpy()
    noise = torch.randn(20, 3, dtype=torch.float64, generator=generator()).numpy()
    mean, log_variance = gaussian_of(gated_mlp(module.encoder, X), 0.1)
    z = mean + np.exp(0.5 * log_variance) * noise
    log_p = likelihood_of(module, likelihood, X, gated_mlp(module.decoder, z))
    variance = np.exp(log_variance)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    expected = {"reconstruction_loss": -log_p.mean(), "kl_divergence": kl.mean()}
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].item(), value, rtol=1e-10, err_msg=name)


def test_the_divergence_is_the_mean_of_its_estimate():
    """Closed form against log q(z | x) - log p(z), averaged over draws."""
    module, x = make_module(VAEModule, n=3)
    many = x.repeat(20_000, 1)
    with torch.no_grad():
        z, log_q = module.draw_posterior(many, generator())
        estimate = (log_q - module.prior_log_prob(z)).reshape(-1, 3)
        exact = kl_to_standard_normal(*module.posterior(x))
    error = estimate.std(dim=0) / np.sqrt(len(estimate))
    assert torch.all((estimate.mean(dim=0) - exact).abs() < 5 * error)
    assert torch.all(error < 0.1 * exact)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(("init", "per_feature"), [("random", False), ("pca", True)])
def test_numerical_gradients(likelihood, init, per_feature):
    """Of the loss to every parameter, the scale of the likelihood included."""
    module, x = make_module(
        VAEModule, likelihood=likelihood, init=init, per_feature=per_feature, kl_weight=0.7
    )
    check_gradients(module, x)


def test_numerical_gradients_without_a_floor():
    module, x = make_module(VAEModule, activation="identity", floor=0)
    check_gradients(module, x)


def test_samples_come_from_the_standard_normal(iris):
    module = cheap(VAETransformer, n_components=3).fit(iris).module_
    z = module.sample_prior(20_000, generator())
    assert z.shape == (20_000, 3)
    assert not z.requires_grad
    for column in z.T.numpy():
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3
    assert np.all(np.abs(np.corrcoef(z.T)[np.triu_indices(3, 1)]) < 5 / np.sqrt(20_000))


# ---------------------------------------------------------------------------
# A limit with a known answer
# ---------------------------------------------------------------------------


def bound(vae, X, n_draws=100):
    """The ELBO of a row in the units of X, averaged over rows and draws."""
    module = copy.deepcopy(vae.module_).double()
    x = module.to_units(torch.tensor(X))
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
        (linear_gaussian, "pca", 3, "auto", 60, 128, 0.03),
        (linear_gaussian, "random", 3, "auto", 60, 128, 0.1),
        (linear_gaussian, "pca", 2, "auto", 60, 128, 0.03),
        (lambda: 0.01 * linear_gaussian(), "pca", 3, "auto", 60, 128, 0.03),
        (wine, "pca", 3, None, 200, 64, 0.1),
        (wine, "random", 3, None, 400, 64, 0.1),
    ],
)
def test_linear_networks_are_probabilistic_pca(
    make, init, n_components, scaling, max_iter, batch_size, learning_rate_init
):
    """The bound of a linear VAE is tight, and its optimum the likelihood of probabilistic PCA.

    Both starts come there, at rates 24 to 80 times the default's: 60 to 400 epochs of it fall short, since
    the weights and log-variances have a long way to go from PCA's code of variance 1.
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
    sigma = vae.module_.likelihood.scale().item() * vae.scale_
    assert sigma == pytest.approx(np.sqrt(pca.noise_variance_), rel=0.02)
    eye = torch.eye(n_components, dtype=torch.float32)
    directions = (vae.module_.decode(eye) - vae.module_.decode(0 * eye)).detach().numpy().T
    cosines = np.linalg.svd(pca.components_ @ np.linalg.qr(directions)[0], compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) < 5
    # whose posterior is the same for all rows, so that importance sampling has next to nothing to add
    exact = vae.log_likelihood(X[:100], 200, random_state=0)
    assert np.sqrt(np.mean((exact - pca.score_samples(X[:100])) ** 2)) < 0.02 * d
    assert abs(exact.mean() - pca.score(X[:100])) < 0.01 * d


# ---------------------------------------------------------------------------
# Which likelihood, and data that it suits
# ---------------------------------------------------------------------------


def test_the_automatic_likelihood(iris, digits):
    X = digits[0]
    binary = (X > 0.5).astype(float)
    for data, expected, activation in [
        (binary, "bernoulli", "sigmoid"),
        (binary > 0, "bernoulli", "sigmoid"),
        (X, "gaussian", "sigmoid"),
        (iris, "gaussian", "identity"),
        (2 * binary, "gaussian", "identity"),
        (np.ones((5, 2)), "gaussian", "identity"),
    ]:
        vae = cheap(VAETransformer, max_iter=1).fit(data)
        assert (vae.likelihood_, vae.out_activation_) == (expected, activation)
        assert vae.likelihood == "auto"
    vae = cheap(VAETransformer, max_iter=1, output_activation="identity").fit(binary)
    assert (vae.likelihood_, vae.out_activation_) == ("gaussian", "identity")
    vae = cheap(VAETransformer, max_iter=1, output_activation="sigmoid").fit(binary)
    assert (vae.likelihood_, vae.out_activation_) == ("bernoulli", "sigmoid")


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("likelihood_scale", ["shared", "per_feature"])
def test_every_likelihood_learns(likelihood, likelihood_scale, digits):
    X = digits[0]
    vae = cheap(
        VAETransformer, likelihood=likelihood, likelihood_scale=likelihood_scale, n_bins=17, max_iter=10
    ).fit(X)
    assert vae.likelihood_ == likelihood
    assert vae.out_activation_ == "sigmoid"
    assert vae.history_["loss"][-1] < vae.history_["loss"][0]
    sizes = {name: len(p) for name, p in vae.module_.likelihood.named_parameters()}
    n_scales = 64 if likelihood_scale == "per_feature" else 1
    assert sizes == ({} if likelihood == "bernoulli" else {"log_scale": n_scales})
    if sizes:
        start = cheap(
            VAETransformer, likelihood=likelihood, likelihood_scale=likelihood_scale, n_bins=17,
            learning_rate_init=1e-12, max_iter=1,
        ).fit(X)  # fmt: skip
        moved = vae.module_.likelihood.scale() - start.module_.likelihood.scale()
        assert (moved.abs() > 1e-4).any()


def test_middles_of_bins_are_grey_levels(digits):
    """(j + 1/2) / L as the flow and VampPrior codes have them, in both precisions."""
    j = np.rint(16 * digits[0])
    for dtype in (np.float32, np.float64):
        for X in (j / 16, (j + 0.5) / 17):
            grey = cheap(VAETransformer, max_iter=1, likelihood="discretized_logistic", n_bins=17)
            assert np.isfinite(grey.fit(X.astype(dtype)).log_likelihood(X.astype(dtype), 2)).all()


def test_data_that_contradict_the_likelihood(iris, digits):
    X = digits[0][:60]
    for likelihood in ("bernoulli", "discretized_logistic"):
        for method in ("fit", "partial_fit"):
            refused(
                cheap(VAETransformer, likelihood=likelihood), iris,
                rf"'likelihood' parameter must suit the data: '{likelihood}' is for rows in \[0, 1\]. "
                r"Got values from 0\.1 to 7\.9",
                method,
            )  # fmt: skip
            refused(
                cheap(VAETransformer, likelihood=likelihood, output_activation="identity"), X,
                rf"'output_activation' parameter must be 'sigmoid' or 'auto' with likelihood='{likelihood}'. "
                "Got 'identity' instead",
                method,
            )  # fmt: skip
    grey = {"likelihood": "discretized_logistic"}
    refused(cheap(VAETransformer, **grey), X, "'likelihood' parameter must suit the data: .* n_bins = 256")
    refused(cheap(VAETransformer, n_bins=16, **grey), X, "'likelihood' parameter .* n_bins = 16.*set n_bins")
    refused(cheap(VAETransformer, n_bins=17, **grey), 0.99 * X, "'likelihood' parameter must suit the data")
    low = cheap(VAETransformer, likelihood="bernoulli").fit(0.3 * X)  # in [0, 1], though not up to 1
    assert low.out_activation_ == "sigmoid"


def test_later_rows_that_contradict_the_likelihood(iris, digits):
    binary = (digits[0] > 0.5).astype(float)
    vae = cheap(VAETransformer).partial_fit(binary)
    with pytest.raises(ValueError, match="'likelihood' parameter"):
        vae.partial_fit(-binary)
    assert vae.n_iter_ == 1
    assert vae.partial_fit(digits[0]).likelihood_ == "bernoulli"  # values between are probabilities
    grey = cheap(VAETransformer, likelihood="discretized_logistic", n_bins=17).partial_fit(digits[0])
    with pytest.raises(ValueError, match="'likelihood' parameter"):
        grey.partial_fit(0.99 * digits[0])
    assert grey.partial_fit(digits[0]).n_iter_ == 2
    for change in ({"likelihood": "gaussian"}, {"n_bins": 9}, {"likelihood_scale": "per_feature"}):
        changed = copy.deepcopy(grey).set_params(**change)
        (name,) = change
        with pytest.raises(ValueError, match=f"'{name}' parameter must stay"):
            changed.partial_fit(digits[0])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("kl_weight", [-0.1, "one", None]),
        ("warmup", [-1, 1.5, "long", None]),
        ("likelihood", ["normal", None]),
        ("likelihood_scale", ["both", None, 1.0]),
        ("n_bins", [1, 0, 256.0, None]),
        ("posterior_scale_floor", [-0.1, None, "small"]),
    ],
)
def test_parameters_out_of_range(name, values, digits):
    for value in values:
        refused(
            cheap(VAETransformer, **{name: value}), digits[0][:60],
            f"The '{name}' parameter of VAETransformer must be .* Got {value!r} instead",
        )  # fmt: skip


def test_the_floor_bounds_the_posterior_s_scale():
    for factor, expected in [(-1e4, 0.2), (1e4, 0.2 * np.exp(4))]:
        module, x = make_module(VAEModule, floor=0.2)
        with torch.no_grad():
            module.encoder[-1].bias.fill_(factor)
            mean, log_variance = module.posterior(x)
        torch.testing.assert_close(torch.exp(0.5 * log_variance), torch.full_like(mean, expected))
    module, x = make_module(VAEModule, floor=0)
    with torch.no_grad():
        module.encoder[-1].bias.fill_(-100.0)
        assert module.posterior(x)[1].max() < -50


def test_the_weight_of_the_divergence(digits):
    """Its extremes: without it the codes keep most about the rows, with much they keep next to nothing."""
    error, divergence = [], []
    for kl_weight in (0, 1, 1000):
        vae = cheap(VAETransformer, kl_weight=kl_weight, max_iter=30, learning_rate_init=5e-3).fit(digits[0])
        error.append(-vae.score(digits[0]))
        divergence.append(vae.history_["kl_divergence"][-1])
    assert divergence[0] > divergence[1] > 1
    assert divergence[2] < 0.1
    assert error[0] < error[2]
    assert error[2] > 0.9 * digits[0].var(axis=0).sum()


def test_rows_without_noise_stay_finite(rng):
    """On a line exactly: the scale of the likelihood falls to its bound, not to 0."""
    X = rng.normal(size=(200, 1)) @ rng.normal(size=(1, 4))
    vae = cheap(
        VAETransformer, n_components=1, network=GatedMLP(()), max_iter=100, learning_rate_init=1e-2
    ).fit(X)
    assert 1e-3 <= vae.module_.likelihood.scale().item() < 0.3
    assert np.isfinite(vae.log_likelihood(X, 10, random_state=0)).all()
    assert vae.history_["loss"][-1] < vae.history_["loss"][0]


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("standardised", [False, True])
def test_as_many_components_as_features(init, standardised, iris):
    """PCA then leaves no error: the likelihood's scale must start at that of drawn codes, not near zero."""
    X = StandardScaler().fit_transform(iris) if standardised else iris
    train, test = X[::2], X[1::2]
    vae = VAETransformer(init=init, random_state=0).fit(train)
    gaussian = GaussianMixture(1).fit(train).score(test)
    assert vae.log_likelihood(test, 200, random_state=0).mean() > gaussian - 6.0
    assert vae.history_["loss"][-1] < vae.history_["loss"][0]
    if init == "pca":
        assert vae.log_likelihood(test, 200, random_state=0).mean() > gaussian - 2.0
