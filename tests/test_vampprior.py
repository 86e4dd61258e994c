"""The VampPrior: its mixture, its bound and its pseudo-inputs, against NumPy and numerical gradients."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from skswae._vampprior import VampPriorModule

from skswae import VampPriorTransformer

from .estimators import cheap
from .test_bad_input import refused
from .test_latent import (
    LIKELIHOODS,
    check_gradients,
    gated_mlp,
    gaussian_of,
    generator,
    joint_mlp,
    likelihood_of,
    loss_of,
    make_module,
    normal_log_pdf,
)

# ---------------------------------------------------------------------------
# The prior
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("K", [1, 4, 20])
def test_the_upper_prior_is_the_mixture_of_posteriors(K, k):
    """Equation (9), each posterior computed by itself."""
    module, _ = make_module(VampPriorModule, k=k, K=K)
    z2 = 3 * torch.randn(30, module.n_upper, dtype=torch.float64, generator=generator())
    densities = []
    for u in module.pseudo_inputs.rows.detach().numpy():
        mean, log_variance = gaussian_of(gated_mlp(module.encoder, u[None]))
        densities.append(normal_log_pdf(z2.numpy(), mean, log_variance))
    assert len(densities) == K
    with torch.no_grad():
        found = module.upper_prior_log_prob(z2)
    np.testing.assert_allclose(found, logsumexp(densities, axis=0) - np.log(K), rtol=1e-11)


def test_gradient_of_the_prior_to_the_pseudo_inputs():
    module, _ = make_module(VampPriorModule, k=4)
    z2 = torch.randn(30, 2, dtype=torch.float64, generator=generator())
    rows = module.pseudo_inputs.rows
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
    n = 200_000
    module, _ = make_module(VampPriorModule, k=k, K=6, floor=0.02)
    with torch.no_grad():
        module.pseudo_inputs.rows *= 5  # further apart
        z = module.sample_prior(n, generator())
    assert z.shape == (n, k)
    assert not z.requires_grad
    upper = z[:, : module.n_upper].numpy()
    means, log_variances = gaussian_of(
        gated_mlp(module.encoder, module.pseudo_inputs.rows.detach().numpy()), 0.02
    )
    within, between = np.exp(log_variances).mean(axis=0), np.cov(means.T, bias=True)
    covariance = np.atleast_2d(between) + np.diag(within)
    assert np.all(np.diag(np.atleast_2d(between)) > 0.1 * within)
    error = 5 * np.sqrt(np.diag(covariance) / n)
    assert np.all(np.abs(upper.mean(axis=0) - means.mean(axis=0)) < error)
    np.testing.assert_allclose(
        np.atleast_2d(np.cov(upper.T)), covariance, atol=0.02 * np.diag(covariance).max()
    )
    if k > 1:
        mean, log_variance = gaussian_of(gated_mlp(module.lower_prior, upper), 0.02)
        noise = (z[:, module.n_upper :].numpy() - mean) / np.exp(0.5 * log_variance)
        together = np.hstack([upper, noise])  # nor does the noise depend on the upper level
        correlation = np.corrcoef(together.T)[module.n_upper :]
        expected = np.eye(k)[module.n_upper :]
        np.testing.assert_allclose(correlation, expected, atol=5 / np.sqrt(n))
        assert np.all(np.abs(noise.mean(axis=0)) < 5 / np.sqrt(n))
        np.testing.assert_allclose(noise.std(axis=0), 1, atol=5 / np.sqrt(2 * n))


# ---------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_losses_equal_the_paper_s_bound_in_numpy(k, likelihood, kl_weight):
    floor = 0.1
    module, x = make_module(
        VampPriorModule, k=k, likelihood=likelihood, per_feature=k == 2, floor=floor, kl_weight=kl_weight
    )
    terms = loss_of(module, x)

    X, U = x.numpy(), module.pseudo_inputs.rows.detach().numpy()
    n_upper, noise = max(1, k // 2), generator()

    def draw(mean, log_variance):
        e = torch.randn(mean.shape, dtype=torch.float64, generator=noise).numpy()
        return mean + np.exp(0.5 * log_variance) * e

    q2 = gaussian_of(gated_mlp(module.encoder, X), floor)
    z2 = draw(*q2)
    assert z2.shape == (20, n_upper)
    components = [
        normal_log_pdf(z2, *gaussian_of(gated_mlp(module.encoder, u[None]), floor)) for u in U
    ]  # fmt: skip
    kl = normal_log_pdf(z2, *q2) - (logsumexp(components, axis=0) - np.log(len(U)))
    if k == 1:
        logits = gated_mlp(module.decoder, z2)
    else:
        q1 = gaussian_of(joint_mlp(module.lower_encoder, X, z2), floor)
        z1 = draw(*q1)
        p1 = gaussian_of(gated_mlp(module.lower_prior, z2), floor)
        kl += normal_log_pdf(z1, *q1) - normal_log_pdf(z1, *p1)
        logits = joint_mlp(module.decoder, z1, z2)
    expected = {
        "reconstruction_loss": -likelihood_of(module, likelihood, X, logits).mean(),
        "kl_divergence": kl.mean(),
    }
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].item(), value, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(
    ("k", "init", "per_feature"), [(4, "random", False), (3, "pca", True), (1, "pca", False)]
)
def test_numerical_gradients(k, init, per_feature, likelihood):
    """Of the loss to every parameter: both levels, pseudo-inputs, the scale of the likelihood."""
    module, x = make_module(
        VampPriorModule, k=k, likelihood=likelihood, init=init, per_feature=per_feature, kl_weight=0.7
    )
    names = {name for name, _ in module.named_parameters()}
    assert "pseudo_inputs.rows" in names
    assert any(name.startswith("lower_prior.") for name in names) == (k > 1)
    assert any(name.startswith("lower_encoder.") for name in names) == (k > 1)
    check_gradients(module, x)


@pytest.mark.parametrize("k", [1, 4])
def test_a_mixture_of_all_rows_bounds_the_divergence(k):
    """With a pseudo-input at each row, the upper level's share is at most log n for every row and draw."""
    module, x = make_module(VampPriorModule, k=k, n=20, K=20)
    with torch.no_grad():
        mean, log_variance = module.posterior(x)
        z2 = mean + torch.exp(0.5 * log_variance) * torch.randn(
            mean.shape, dtype=torch.float64, generator=generator()
        )
        own = module.posterior_log_prob(x, z2) if k == 1 else None
        prior = module.upper_prior_log_prob(z2)
        if own is None:
            own = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(z2).sum(dim=1)
    assert torch.all(own - prior <= np.log(20) + 1e-12)
    assert torch.any(own - prior > 0)


# ---------------------------------------------------------------------------
# Pseudo-inputs
# ---------------------------------------------------------------------------


def test_pseudo_inputs_start_as_different_training_rows(digits):
    X = digits[0]
    vamp = cheap(VampPriorTransformer, n_pseudo_inputs=40, learning_rate_init=1e-12, max_iter=1).fit(X)
    distance = cdist(vamp.pseudo_inputs_, X)
    assert distance.min(axis=1).max() < 1e-5
    assert len(np.unique(distance.argmin(axis=1))) == 40
    other = cheap(
        VampPriorTransformer, n_pseudo_inputs=40, learning_rate_init=1e-12, max_iter=1, random_state=1
    ).fit(X)
    assert not np.array_equal(vamp.pseudo_inputs_, other.pseudo_inputs_)


def test_number_of_pseudo_inputs(iris, digits):
    few = cheap(VampPriorTransformer, n_pseudo_inputs=7).fit(iris)
    assert few.n_pseudo_inputs_ == 7
    assert few.pseudo_inputs_.shape == (7, 4)
    assert few.n_pseudo_inputs == 7
    every = cheap(VampPriorTransformer, max_iter=1).fit(iris)
    assert every.n_pseudo_inputs == 500
    assert every.n_pseudo_inputs_ == 150
    distinct = cheap(VampPriorTransformer, max_iter=1, learning_rate_init=1e-12).fit(iris)
    distance = cdist(distinct.pseudo_inputs_, iris)  # all rows, each once
    np.testing.assert_allclose(
        np.sort(distinct.pseudo_inputs_, axis=0), np.sort(iris, axis=0), atol=1e-5 * distance.max()
    )
    held_out = cheap(VampPriorTransformer, max_iter=1, early_stopping=True, validation_fraction=0.2)
    assert held_out.fit(iris).n_pseudo_inputs_ == 120
    assert cheap(VampPriorTransformer, n_pseudo_inputs=1).fit(iris).sample(3, random_state=0).shape == (3, 4)
    X = np.tile(digits[0][:, 20:24], (2, 1))
    assert cheap(VampPriorTransformer, max_iter=1).fit(X).n_pseudo_inputs_ == 500


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_pseudo_inputs_learn_within_the_range_of_the_rows(name, iris, digits, monkeypatch):
    X = iris if name == "iris" else digits[0]
    start = cheap(VampPriorTransformer, n_pseudo_inputs=20, learning_rate_init=1e-12, max_iter=1).fit(X)
    vamp = cheap(VampPriorTransformer, n_pseudo_inputs=20, learning_rate_init=1e-2, max_iter=20).fit(X)
    moved = np.abs(vamp.pseudo_inputs_ - start.pseudo_inputs_)
    low, high = X.min(axis=0), X.max(axis=0)
    varies = high > low
    assert np.all((moved[:, varies] / (high - low)[varies]).max(axis=1) > 1e-3)
    room = 1e-5 * np.abs(X).max()

    def outside():
        return np.any((vamp.pseudo_inputs_ < low - room) | (vamp.pseudo_inputs_ > high + room))

    assert not outside()
    if name == "digits":  # many numbers lie at the ends: without the projection some would leave
        monkeypatch.setattr(VampPriorModule, "after_step", lambda self: None)
        vamp.fit(X)
        assert outside()


def test_pseudo_inputs_keep_to_the_range_of_all_rows_seen(rng):
    """The bounds come from all training rows, not from those that they start as; partial_fit widens them."""
    narrow, wide = rng.uniform(-1, 1, (60, 3)), rng.uniform(-4, 4, (60, 3))
    vamp = cheap(VampPriorTransformer, n_pseudo_inputs=2).partial_fit(narrow)

    def limits():
        module = vamp.module_
        return [
            module.from_units(bound.double()).numpy()
            for bound in (module.pseudo_inputs.lowest, module.pseudo_inputs.highest)
        ]

    np.testing.assert_allclose(limits(), [narrow.min(axis=0), narrow.max(axis=0)], rtol=1e-5)
    for rows in (wide, narrow):
        vamp.partial_fit(rows)
        np.testing.assert_allclose(limits(), [wide.min(axis=0), wide.max(axis=0)], rtol=1e-5)


def test_pseudo_inputs_are_given_in_the_user_s_units(iris):
    vamp = cheap(VampPriorTransformer, max_iter=1, learning_rate_init=1e-12, n_pseudo_inputs=10)
    for X in (iris + 1e7, 1e-6 * iris):
        vamp.fit(X)
        assert vamp.scale_ != 1
        assert vamp.pseudo_inputs_.dtype == np.float64
        assert cdist(vamp.pseudo_inputs_, X).min(axis=1).max() < 1e-5 * np.ptp(X) + 1e-15 * np.abs(X).max()


def test_training_lowers_the_loss(digits):
    for n_components in (1, 4):
        vamp = cheap(VampPriorTransformer, n_components=n_components, n_pseudo_inputs=20, max_iter=10)
        history = vamp.fit(digits[0]).history_
        assert list(history) == ["loss", "reconstruction_loss", "kl_divergence"]
        assert history["loss"][-1] < history["loss"][0]


# ---------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_pseudo_inputs", [0, -3, 2.5, "auto", None]),
        ("kl_weight", [-0.1, "one", None]),
        ("warmup", [-1, 1.5, None]),
        ("likelihood", ["normal", None]),
        ("likelihood_scale", ["both", None]),
        ("n_bins", [1, 256.0, None]),
        ("posterior_scale_floor", [-0.1, None]),
    ],
)
def test_parameters_out_of_range(name, values, digits):
    for value in values:
        refused(
            cheap(VampPriorTransformer, **{name: value}), digits[0][:60],
            f"The '{name}' parameter of VampPriorTransformer must be .* Got {value!r} instead",
        )  # fmt: skip


def test_data_that_contradict_the_likelihood(iris, digits):
    for likelihood in ("bernoulli", "discretized_logistic"):
        refused(cheap(VampPriorTransformer, likelihood=likelihood), iris, "'likelihood' parameter must suit")
        refused(
            cheap(VampPriorTransformer, likelihood=likelihood, output_activation="identity"),
            digits[0][:60], "'output_activation' parameter must be 'sigmoid' or 'auto'",
        )  # fmt: skip
    refused(
        cheap(VampPriorTransformer, likelihood="discretized_logistic", n_bins=16), digits[0][:60],
        "'likelihood' parameter must suit the data: .* n_bins = 16",
    )  # fmt: skip


def test_the_number_of_pseudo_inputs_is_fixed_by_the_first_fit(iris):
    vamp = cheap(VampPriorTransformer, n_pseudo_inputs=10, warm_start=True).fit(iris)
    vamp.set_params(n_pseudo_inputs=11)
    with pytest.raises(ValueError, match="'n_pseudo_inputs' parameter must stay 10"):
        vamp.fit(iris)
    assert vamp.n_iter_ == 3
