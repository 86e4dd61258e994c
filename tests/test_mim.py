"""Mutual Information Machine: its loss term by term, its limits, and the collapse of its codes."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from skswae._mim import MIMModule, decoder_half, encoder_half, with_score_function
from torch import nn

from skswae import MIMTransformer
from skswae.networks import GatedMLP

from .estimators import cheap


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted_module(X, likelihood="gaussian", n_components=3, **parameters) -> MIMModule:
    estimator = cheap(
        MIMTransformer, n_components=n_components, likelihood=likelihood, n_pseudo_inputs=5, **parameters
    )
    return estimator.fit(X).module_.double().train()


def numbers(n=7):
    return [torch.randn(n, generator=generator(i), dtype=torch.float64) for i in range(4)]


# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("b", [0.0, 0.3, 1.0])
def test_the_encoder_s_half_term_by_term(b):
    px, pz1, pz2, q = numbers()
    log_pz = pz1 + b * pz2
    log_qx = px + log_pz - q  # the model's marginal
    expected = -0.5 * (px + pz1 + b * pz2 + b * (q + log_qx))
    torch.testing.assert_close(encoder_half(px, pz1, pz2, q, b), expected, rtol=1e-14, atol=1e-14)


def test_at_full_weight_the_posterior_cancels():
    px, pz1, pz2, q = (t.requires_grad_() for t in numbers())
    loss = encoder_half(px, pz1, pz2, q, 1.0)
    torch.testing.assert_close(loss, -(px + pz1 + pz2), rtol=1e-13, atol=1e-13)
    gradients = torch.autograd.grad(loss.sum(), [px, pz1, pz2, q])
    for gradient, expected in zip(gradients, (-1.0, -1.0, -1.0, 0.0)):
        torch.testing.assert_close(gradient, torch.full_like(gradient, expected), rtol=0, atol=1e-13)


def test_the_decoder_s_half_term_by_term():
    px, pz, q, _ = numbers()
    log_qx = px
    torch.testing.assert_close(decoder_half(px, pz, q), -0.5 * (px + pz + q + log_qx))


def test_the_score_function_s_gradient():
    """grad E_p[c] over a discrete distribution, against the sum over all its values."""
    logits = torch.tensor([0.3, -0.7, 0.1], dtype=torch.float64, requires_grad=True)
    cost = torch.tensor([1.0, 4.0, -2.0], dtype=torch.float64)
    p = torch.softmax(logits, dim=0)
    (exact,) = torch.autograd.grad((p * cost).sum(), logits)
    surrogate = with_score_function(cost, torch.log_softmax(logits, dim=0))
    torch.testing.assert_close(surrogate, cost)
    (estimate,) = torch.autograd.grad((p.detach() * surrogate).sum(), logits)
    torch.testing.assert_close(estimate, exact)


def terms_of(module, x, seed=5):
    ((player, terms),) = module.losses(x, generator(seed))
    assert player == "autoencoder"
    return terms


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("sampling", ["symmetric", "encoder"])
def test_the_module_s_loss_is_the_formula_on_its_densities(sampling, likelihood, n_components, digits):
    module = fitted_module(digits[0], likelihood, n_components, sampling=sampling)
    module.sampling = sampling
    x = torch.tensor(digits[0][:6])
    g = generator(5)
    z, q = module.draw_posterior(x, g)
    z2, _ = module.levels(z)
    expected = -(module.log_likelihood(x, z) + module.prior_log_prob(z)).mean()
    torch.testing.assert_close(q, module.posterior_log_prob(x, z))
    terms = terms_of(module, x)
    torch.testing.assert_close(terms["encoder_loss"], expected)
    torch.testing.assert_close(
        terms["prior_loss"], -(module.lower_prior_log_prob(z) + module.upper_prior_log_prob(z2)).mean()
    )
    torch.testing.assert_close(terms["reconstruction_loss"], -module.log_likelihood(x, z).mean())
    if sampling == "symmetric":
        z = module.draw_prior(6, g)
        x = module.decode(z)
        log_px = module.log_likelihood(x, z)
        half = -0.5 * (2 * log_px + module.prior_log_prob(z) + module.posterior_log_prob(x, z)).mean()
        torch.testing.assert_close(terms["decoder_loss"], half)
        expected = expected + half
    else:
        assert "decoder_loss" not in terms
    torch.testing.assert_close(terms["loss"], expected)


def test_while_the_prior_warms_up_nothing_is_drawn_from_it(digits):
    module = fitted_module(digits[0])
    module.warmup = 4
    x = torch.tensor(digits[0][:6])
    for epoch, b in enumerate([0.2, 0.4, 0.6, 0.8, 1.0]):
        module.before_epoch(epoch)
        terms = terms_of(module, x)
        z, q = module.draw_posterior(x, generator(5))
        z2, _ = module.levels(z)
        expected = encoder_half(
            module.log_likelihood(x, z), module.lower_prior_log_prob(z), module.upper_prior_log_prob(z2), q, b
        ).mean()
        torch.testing.assert_close(terms["encoder_loss"], expected)
        assert (terms["decoder_loss"] != 0) == (b == 1.0)
    module.before_epoch(0)
    assert terms_of(module.eval(), x)["decoder_loss"] != 0  # held-out rows: the objective that it will be


class Loss(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return terms_of(self.m, x)["loss"]


@pytest.mark.parametrize(("sampling", "n_components"), [("encoder", 3), ("symmetric", 3), ("symmetric", 1)])
def test_numerical_gradients(sampling, n_components, digits):
    """Of the continuous likelihood: the discrete one's estimator is no derivative of its value."""
    module = fitted_module(digits[0], "gaussian", n_components, sampling=sampling)
    module.sampling = sampling
    x = torch.tensor(digits[0][:4])
    with torch.no_grad():  # off the start, where last layers are zero
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator(1))
    names = [name for name, _ in module.named_parameters()]

    def loss(*values):
        return torch.func.functional_call(Loss(module), dict(zip((f"m.{n}" for n in names), values)), (x,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)


def test_binary_draws_carry_no_gradient_but_the_score_s(digits):
    """The gradient equals the one with x held fixed, plus cost times the gradient of log p(x|z)."""
    module = fitted_module(digits[0], "bernoulli")
    module.sampling = "symmetric"
    parameters = list(module.decoder.parameters())
    loss = module._decoder_loss(6, generator(3))
    z = module.draw_prior(6, generator(3))
    logits = module.logits(z)
    x = torch.sigmoid(logits).detach()
    log_px = module.likelihood.log_prob(x, logits)
    cost = decoder_half(log_px, module.prior_log_prob(z), module.posterior_log_prob(x, z))
    expected = torch.autograd.grad((cost + cost.detach() * log_px).mean(), parameters)
    for a, b in zip(torch.autograd.grad(loss, parameters), expected):
        torch.testing.assert_close(a, b)


def test_grey_draws_carry_the_decoder_s_gradient(digits):
    """Grey levels count as continuous: x is the decoder's output, with its gradient and without a score."""
    module = fitted_module(digits[0], "discretized_logistic", n_bins=17)
    parameters = list(module.decoder.parameters())
    loss = module._decoder_loss(6, generator(3))
    z = module.draw_prior(6, generator(3))
    logits = module.logits(z)
    x = torch.sigmoid(logits)
    log_px = module.likelihood.log_prob(x, logits)
    cost = decoder_half(log_px, module.prior_log_prob(z), module.posterior_log_prob(x, z))
    expected = torch.autograd.grad(cost.mean(), parameters)
    for a, b in zip(torch.autograd.grad(loss, parameters), expected):
        torch.testing.assert_close(a, b)


def test_grey_levels_are_learned(digits):
    """With a score's gradient instead the scale stays at the data's, and the error at the mean's."""
    X = digits[0].astype(np.float64)
    X = np.rint(X * 16) / 16
    options = {"likelihood": "discretized_logistic", "n_bins": 17, "n_pseudo_inputs": 20, "max_iter": 15}
    mim = MIMTransformer(8, network=GatedMLP((64,)), random_state=0, **options).fit(X)
    assert -mim.score(X) < 0.5 * X.var(axis=0).sum()


# ---------------------------------------------------------------------------
# The estimator
# ---------------------------------------------------------------------------


def test_posteriors_narrow_to_their_floor(digits):
    mim = cheap(MIMTransformer, sampling="encoder", max_iter=80, learning_rate_init=1e-2).fit(digits[0])
    x = torch.tensor(digits[0].astype(np.float32))
    with torch.no_grad():
        _, log_variance = mim.module_.posterior(x)
    assert 0.05 <= torch.exp(0.5 * log_variance).median() < 0.08


def test_warm_up_in_the_history(digits):
    mim = cheap(MIMTransformer, warmup=2, max_iter=4, early_stopping=True).fit(digits[0])
    np.testing.assert_array_equal(mim.history_["decoder_loss"] != 0, [False, False, True, True])
    assert np.isfinite(mim.history_["validation_loss"]).all()


def test_a_collapse_is_warned_about_with_the_cure():
    """Few binary pixels, in the paper's sampling and start; each cure that the warning names is one."""
    X = load_digits().data[:600] / 16
    mim = MIMTransformer(
        4, likelihood="bernoulli", init="random", n_pseudo_inputs=50, network=GatedMLP((64,)), max_iter=40,
        learning_rate_init=5e-3, random_state=0,
    )  # fmt: skip
    message = r"codes of MIMTransformer have collapsed.*explain 1% .*likelihood='gaussian' or init='pca' or"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        mim.fit(X)
    assert caught[0].filename == __file__
    for cure in ({"likelihood": "gaussian"}, {"init": "pca"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clone(mim).set_params(**cure).fit(X)
    for floor, sampling in ((0.003, "symmetric"), (0.005, "encoder")):  # no cures
        with pytest.warns(ConvergenceWarning, match="have collapsed"):
            clone(mim).set_params(posterior_scale_floor=floor, sampling=sampling).fit(X)


def test_few_new_rows_are_no_collapse(digits):
    mim = cheap(MIMTransformer).fit(digits[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mim.partial_fit(digits[0][:1]).partial_fit(digits[0][:9])


def test_constant_rows_are_no_collapse():
    mim = cheap(MIMTransformer).fit(np.full((20, 3), 0.5))  # warnings are errors
    assert np.isfinite(mim.sample(3)).all()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sampling", ["both", None]),
        ("n_pseudo_inputs", [0, 2.5, "all"]),
        ("warmup", [-1, 0.5]),
        ("posterior_scale_floor", [0, -0.1]),
        ("n_bins", [1, 2.5]),
        ("likelihood", ["poisson"]),
        ("likelihood_scale", ["each"]),
    ],
)
def test_parameters_out_of_range(name, values, iris):
    for value in values:
        mim = cheap(MIMTransformer, **{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of MIMTransformer must be"):
            mim.fit(iris)
        assert not hasattr(mim, "module_")
