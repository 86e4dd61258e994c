"""The VampPrior: its mixture and its bound, against NumPy and numerical gradients."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch.distributions import Normal

from skswae import VampPriorTransformer

from ..estimators import cheap
from .test_latent_variable import LIKELIHOODS, small
from .tools import (
    assert_moments,
    assert_terms,
    check_gradients,
    gated_mlp,
    gaussian_of,
    generator,
    likelihood_of,
    loss_of,
    normal,
    normal_log_pdf,
)

# ---------------------------------------------------------------------------
# The prior
# ---------------------------------------------------------------------------


def mixture_log_pdf(module, z2, floor=0.05):
    """Return equation (9), each posterior computed by itself."""
    densities = [
        normal_log_pdf(z2, *gaussian_of(gated_mlp(module.encoder, u[None]), floor))
        for u in module.pseudo_inputs.rows.detach().numpy()
    ]
    return logsumexp(densities, axis=0) - np.log(len(densities))


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("K", [1, 20])
def test_the_upper_prior_is_the_mixture_of_posteriors(K, k):
    module, _ = small(VampPriorTransformer, n_components=k, n_pseudo_inputs=K)
    z2 = 3 * normal(30, module.n_upper)
    assert len(module.pseudo_inputs.rows) == K
    with torch.no_grad():
        found = module.upper_prior_log_prob(z2)
    np.testing.assert_allclose(found, mixture_log_pdf(module, z2.numpy()), rtol=1e-11)


def test_gradient_of_the_prior_to_the_pseudo_inputs():
    module, _ = small(VampPriorTransformer, n_components=4)
    z2, rows = normal(30, 2), module.pseudo_inputs.rows
    (found,) = torch.autograd.grad(module.upper_prior_log_prob(z2).sum(), rows)
    assert torch.all(found != 0)
    expected = np.zeros(rows.shape)
    with torch.no_grad():
        for index in np.ndindex(*rows.shape):
            kept, step = rows[index].clone(), 1e-5
            values = []
            for sign in (1, -1):
                rows[index] = kept + sign * step
                values.append(module.upper_prior_log_prob(z2).sum().item())
            rows[index] = kept
            expected[index] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("k", [1, 5])
def test_samples_have_the_mixture_s_moments(k):
    """The upper level's over all pseudo-inputs; the lower level's given the upper."""
    module, _ = small(VampPriorTransformer, n_components=k, n_pseudo_inputs=6, posterior_scale_floor=0.02)
    with torch.no_grad():
        module.pseudo_inputs.rows *= 5  # further apart
        z = module.sample_prior(200_000, generator())
    assert z.shape == (200_000, k)
    assert not z.requires_grad
    upper, lower = (level.numpy() for level in module.levels(z))
    rows = module.pseudo_inputs.rows.detach().numpy()
    means, log_variances = gaussian_of(gated_mlp(module.encoder, rows), 0.02)
    within, between = np.exp(log_variances).mean(axis=0), np.atleast_2d(np.cov(means.T, bias=True))
    assert np.all(np.diag(between) > 0.1 * within)
    assert_moments(upper, means.mean(axis=0), between + np.diag(within))
    if k > 1:
        mean, log_variance = gaussian_of(gated_mlp(module.lower_prior, upper), 0.02)
        noise = (lower - mean) / np.exp(0.5 * log_variance)
        # nor does the noise depend on the upper level
        standardised = (upper - upper.mean(axis=0)) / upper.std(axis=0)
        together = np.hstack([standardised, noise])
        expected = np.eye(k)
        expected[: module.n_upper, : module.n_upper] = np.corrcoef(upper.T)
        assert_moments(together, 0.0, expected)


# ---------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("kl_weight", [0.0, 2.5])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_losses_equal_the_paper_s_bound_in_numpy(k, likelihood, kl_weight):
    floor = 0.1
    module, x = small(
        VampPriorTransformer, likelihood, n_components=k, posterior_scale_floor=floor, kl_weight=kl_weight,
        likelihood_scale="per_feature" if k == 2 else "shared",
    )  # fmt: skip
    X, noise = x.numpy(), generator()

    def draw(mean, log_variance):
        e = torch.randn(mean.shape, dtype=torch.float64, generator=noise).numpy()
        return mean + np.exp(0.5 * log_variance) * e

    q2 = gaussian_of(gated_mlp(module.encoder, X), floor)
    z2 = draw(*q2)
    assert z2.shape == (20, max(1, k // 2))
    kl = normal_log_pdf(z2, *q2) - mixture_log_pdf(module, z2, floor)
    if k == 1:
        logits = gated_mlp(module.decoder, z2)
    else:
        q1 = gaussian_of(gated_mlp(module.lower_encoder, X, z2), floor)
        z1 = draw(*q1)
        p1 = gaussian_of(gated_mlp(module.lower_prior, z2), floor)
        kl += normal_log_pdf(z1, *q1) - normal_log_pdf(z1, *p1)
        logits = gated_mlp(module.decoder, z1, z2)
    log_p = likelihood_of(module.head, likelihood, X, logits)
    expected = {"reconstruction_loss": -log_p.mean(), "kl_divergence": kl.mean()}
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert_terms(loss_of(module, x), expected)


@pytest.mark.parametrize(
    ("k", "init", "likelihood_scale", "likelihood"),
    [
        (4, "random", "shared", "gaussian"),
        (3, "pca", "per_feature", "gaussian"),
        (3, "pca", "per_feature", "discretized_logistic"),
        (1, "pca", "shared", "bernoulli"),
    ],
)
def test_numerical_gradients(k, init, likelihood_scale, likelihood):
    """Of the loss to every parameter: both levels, pseudo-inputs, the scale of the likelihood."""
    module, x = small(
        VampPriorTransformer, likelihood, n_components=k, init=init, likelihood_scale=likelihood_scale,
        kl_weight=0.7,
    )  # fmt: skip
    names = {name for name, _ in module.named_parameters()}
    assert "pseudo_inputs.rows" in names
    assert any(name.startswith("lower_prior.") for name in names) == (k > 1)
    assert any(name.startswith("lower_encoder.") for name in names) == (k > 1)
    check_gradients(module, x)


@pytest.mark.parametrize("k", [1, 4])
def test_a_mixture_of_all_rows_bounds_the_divergence(k):
    """With a pseudo-input at each row, the upper level's share is at most log n for every row and draw."""
    module, x = small(VampPriorTransformer, n_components=k, n_pseudo_inputs=20)
    with torch.no_grad():
        mean, log_variance = module.posterior(x)
        posterior = Normal(mean, torch.exp(0.5 * log_variance))
        z2 = mean + posterior.stddev * normal(*mean.shape)
        share = posterior.log_prob(z2).sum(dim=1) - module.upper_prior_log_prob(z2)
    assert torch.all(share <= np.log(20) + 1e-12)
    assert torch.any(share > 0)


def test_training_lowers_the_loss(digits):
    for n_components in (1, 4):
        vamp = cheap(VampPriorTransformer, n_components=n_components, n_pseudo_inputs=20, max_iter=10)
        history = vamp.fit(digits[0]).history_
        assert list(history) == ["loss", "reconstruction_loss", "kl_divergence"]
        assert history["loss"][-1] < history["loss"][0]
