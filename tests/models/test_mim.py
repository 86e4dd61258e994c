"""Mutual Information Machine: its loss term by term, its limits, and the collapse of its codes."""

import re
import warnings

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skswae import MIMTransformer
from skswae.models._mim import decoder_half, with_score_function
from skswae.networks import GatedMLP

from ..estimators import cheap
from .tools import generator, latent_module, loss_of


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


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("sampling", ["symmetric", "encoder"])
def test_the_module_s_loss_is_the_formula_on_its_densities(sampling, likelihood, n_components):
    module, x = latent_module(
        MIMTransformer, likelihood, n_components=n_components, sampling=sampling, prior_draws_per_row=0.41
    )
    g = generator()
    z, log_q = module.draw_posterior(x, g)
    torch.testing.assert_close(module.posterior_log_prob(x, z), log_q)
    log_px, log_pz = module.log_likelihood(x, z), module.prior_log_prob(z)
    expected = {
        "encoder_loss": -(log_px + log_pz).mean(),
        "reconstruction_loss": -log_px.mean(),
        "prior_loss": -log_pz.mean(),
    }
    expected["loss"] = expected["encoder_loss"]
    if sampling == "symmetric":
        z, log_pz1_z2 = module.draw_prior(9, g)  # 0.41 of 20, rounded up
        torch.testing.assert_close(log_pz1_z2, module.lower_prior_log_prob(z))
        x_p = module.decode(z)
        log_p = 2 * module.log_likelihood(x_p, z) + module.prior_log_prob(z)
        expected["decoder_loss"] = -0.5 * (log_p + module.posterior_log_prob(x_p, z)).mean()
        expected["loss"] = expected["loss"] + expected["decoder_loss"]
    terms = loss_of(module, x)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_while_the_prior_warms_up_nothing_is_drawn_from_it():
    """And the weight b of log p(z2) and of the encoder's terms rises: -(1 + b)/2 [log p(x|z) + log p(z)]."""
    module, x = latent_module(MIMTransformer, sampling="symmetric", warmup=4)
    z, _ = module.draw_posterior(x, generator())
    log_px, lower = module.log_likelihood(x, z), module.lower_prior_log_prob(z)
    upper = module.upper_prior_log_prob(module.levels(z)[0])
    for epoch, b in enumerate([0.2, 0.4, 0.6, 0.8, 1.0]):
        module.before_epoch(epoch)
        terms = loss_of(module, x)
        expected = -0.5 * (1 + b) * (log_px + lower + b * upper).mean()
        torch.testing.assert_close(terms["encoder_loss"], expected)
        assert (terms["decoder_loss"] != 0) == (b == 1.0)
    module.before_epoch(0)
    assert loss_of(module.eval(), x)["decoder_loss"] != 0  # held-out rows: the objective that it will be


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_gradients_of_discrete_draws(likelihood):
    """Binary draws carry the score's gradient alone: that with x held fixed, plus cost times grad log p(x|z).

    Grey levels count as continuous: x is the decoder's output, with its gradient and without a score.
    """
    binary = likelihood == "bernoulli"
    module, x = latent_module(MIMTransformer, likelihood, sampling="symmetric", prior_draws_per_row=1)
    parameters = list(module.decoder.parameters())
    found = torch.autograd.grad(loss_of(module, x)["decoder_loss"], parameters)
    g = generator()
    with torch.no_grad():
        module.draw_posterior(x, g)
    z, _ = module.draw_prior(20, g)
    x = module.decode(z).detach() if binary else module.decode(z)
    log_px = module.log_likelihood(x, z)
    cost = decoder_half(log_px, module.prior_log_prob(z), module.posterior_log_prob(x, z))
    score = cost.detach() * log_px if binary else torch.zeros_like(cost)
    for a, b in zip(found, torch.autograd.grad((cost + score).mean(), parameters)):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_posteriors_narrow_to_their_floor(digits):
    mim = cheap(MIMTransformer, sampling="encoder", max_iter=30, learning_rate_init=3e-2).fit(digits[0])
    with torch.no_grad():
        _, log_variance = mim.module_.posterior(torch.tensor(digits[0]).float())
    assert 0.05 <= torch.exp(0.5 * log_variance).median() < 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "collapses"),
    [
        ({}, True),
        ({"likelihood": "gaussian"}, False),
        ({"init": "pca"}, False),
        ({"posterior_scale_floor": 0.005, "sampling": "encoder"}, True),  # no cure
    ],
)
def test_a_collapse_is_warned_about_with_the_cure(parameters, collapses):
    """Few binary pixels, in the paper's sampling and start; each cure that the warning names is one."""
    X = load_digits().data[:600] / 16
    mim = MIMTransformer(
        4, sampling="symmetric", likelihood="bernoulli", init="random", n_pseudo_inputs=20,
        network=GatedMLP((64,)), max_iter=20, batch_size=100, learning_rate_init=2e-2,
        random_state=0, device="cpu",
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mim.set_params(**parameters).fit(X)
    assert [w.category for w in caught] == [ConvergenceWarning] * collapses
    if collapses:
        assert re.search("likelihood='gaussian'; init='pca'", str(caught[0].message))
