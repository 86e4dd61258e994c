"""What the models' tests share: small modules in float64, their losses, gradients, and networks in NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from skswae import VAETransformer
from skswae._fit import make_builder
from skswae.data import ArrayData
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules._front import n_inputs
from skswae.networks import GatedMLP
from skswae.networks._layers import Joined

from ..estimators import cheap


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def suitable_rows(n=20, d=5, likelihood="gaussian"):
    """Return float32 rows in [0, 1] that suit the likelihood, with 17 grey levels."""
    rows = torch.rand(n, d, generator=generator())
    if likelihood == "bernoulli":
        return (rows > 0.5).float()
    if likelihood == "discretized_logistic":
        return torch.floor(rows * 17) / 16
    return rows


def make_module(Estimator, rows=None, activation="identity", **parameters):
    """Return a small module of the estimator, initialized from rows, in float64; and the rows in float64."""
    rows = suitable_rows() if rows is None else rows
    small = {"n_components": 3, "network": GatedMLP((6,)), "init": "random"}
    estimator = cheap(Estimator, **{**small, **parameters})
    source = ArrayData(rows.numpy())
    estimator._resolve(source, len(source), None)
    estimator.out_activation_ = activation
    data = TrainingRows(source, Scaler(source.n_features), clamp=False)
    estimator.input_components_ = n_inputs(estimator, data, 0)
    module = estimator._build_module(make_builder(estimator, source.n_features, 0))
    module.initialize(data, 0)
    return module.double(), rows.double()


def latent_module(Estimator, likelihood="gaussian", activation="sigmoid", n=20, d=5, **parameters):
    """Return a small module of 4 pseudo-inputs in float64, and rows that suit it."""
    own = {"n_bins": 17, "posterior_scale_floor": 0.05}
    if Estimator is not VAETransformer:
        own["n_pseudo_inputs"] = 4
    rows = suitable_rows(n, d, likelihood)
    return make_module(Estimator, rows, activation, likelihood=likelihood, **{**own, **parameters})


def loss_of(module, x, seed=0):
    """Return the terms of a module of one player; codes beside them must be the rows'."""
    ((player, terms),) = module.losses(x, generator(seed))
    assert player == "autoencoder"
    if "codes" in terms:
        torch.testing.assert_close(terms.pop("codes"), module.encode_x(x))
    return terms


def assert_terms(terms, expected):
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].item(), value, rtol=1e-10, err_msg=name)


class Loss(nn.Module):
    """The loss of a player as a function of the parameters; its noise is fixed."""

    def __init__(self, m, player):
        super().__init__()
        self.m = m
        self.player = player

    def forward(self, x):
        return dict(self.m.losses(x, generator(5)))[self.player]["loss"]


def check_gradients(module, x, player="autoencoder", spread=0.1, atol=1e-5):
    """Compare the gradient to every parameter with numerical ones, and check that none of them is zero."""
    with torch.no_grad():  # off the start, where last layers are zero
        for parameter in module.parameters():
            parameter += spread * normal(*parameter.shape, seed=1)
    chosen = {id(p) for p in module.players()[player]}
    named = {f"m.{n}": p.detach().clone() for n, p in module.named_parameters() if id(p) in chosen}

    def loss(*values):
        return torch.func.functional_call(Loss(module, player), dict(zip(named, values)), x)

    values = [value.requires_grad_() for value in named.values()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True, atol=atol)
    gradients = torch.autograd.grad(loss(*values), values)
    assert all((g != 0).any() for g in gradients), list(named)


def gated_mlp(part, *inputs):
    """Compute a part of a GatedMLP, of one input or two, from its parameters."""

    def gated(layer, x):
        weight, bias = (p.detach().numpy() for p in layer.parameters())
        h, g = np.split(x @ weight.T + bias, 2, axis=1)
        return h / (1 + np.exp(-g))

    network, (x, *_) = part.network, inputs
    assert part.linear is None
    if isinstance(network, Joined):
        x = np.hstack([gated(network.first, inputs[0]), gated(network.second, inputs[1])])
        network = network.rest
    *hidden, last = network
    for layer in hidden:
        x = gated(layer, x)
    return x @ last.weight.detach().numpy().T + last.bias.detach().numpy()


def gaussian_of(h, floor=0.05):
    """Return the mean and the log-variance in [2 log floor, 2 log floor + 8] of a network's output."""
    mean, free = np.split(h, 2, axis=1)
    return mean, 2 * np.log(floor) + 8 / (1 + np.exp(-free))


def normal_log_pdf(z, mean, log_variance):
    return stats.norm(mean, np.exp(0.5 * log_variance)).logpdf(z).sum(axis=-1)


def refused(estimator, X, message, method="fit"):
    with pytest.raises(ValueError, match=message):
        getattr(estimator, method)(X)
    assert not any(name.endswith("_") and not name.startswith("__") for name in vars(estimator))


def assert_moments(drawn, mean, covariance):
    """Check the mean of many draws to five standard errors, and their covariance to 2%."""
    covariance, largest = np.atleast_2d(covariance), np.max(covariance)
    assert np.all(np.abs(drawn.mean(axis=0) - mean) <= 5 * np.sqrt(np.diag(covariance) / len(drawn)) + 1e-7)
    np.testing.assert_allclose(np.atleast_2d(np.cov(drawn.T)), covariance, atol=0.02 * largest)
