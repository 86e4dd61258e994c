"""Numerical gradients of every loss, and what linear networks converge to."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import skswae
from skswae.networks import GatedMLP

from ..estimators import cheap
from .tools import check_gradients, latent_module, make_module

COSTS = [
    {"reconstruction": r, "init": i}
    for r in ("squared_error", "binary_cross_entropy")
    for i in ("pca", "random")
]
BOUNDS = [
    {"likelihood": "bernoulli"},
    {"init": "pca", "n_components": 1},
    {"likelihood_scale": "per_feature"},
    {"likelihood": "discretized_logistic", "likelihood_scale": "per_feature", "init": "pca"},
    {"likelihood": "discretized_logistic", "posterior_scale_floor": 0},
]
MIM = [
    {"sampling": sampling, **other}
    for sampling in ("encoder", "symmetric")
    for other in ({}, {"init": "pca"}, {"init": "pca", "n_components": 1})
]


@pytest.mark.parametrize("parameters", COSTS)
@pytest.mark.parametrize("Estimator", [skswae.AETransformer, skswae.SWAETransformer])
def test_gradients_of_deterministic_autoencoders(Estimator, parameters):
    """To every parameter: pseudo-inputs, both halves of the conditional prior, linear paths."""
    own = {"n_pseudo_inputs": 4, "beta": 0.3} if Estimator is skswae.SWAETransformer else {}
    module, x = make_module(Estimator, None, "sigmoid", **own, **parameters)
    assigned = torch.arange(20) % 4
    module.assign = lambda *_: assigned  # the argmin has no gradient
    check_gradients(module, x)


@pytest.mark.parametrize(
    ("Estimator", "parameters"),
    [
        *((skswae.VAETransformer, {"kl_weight": 0.7, **bound}) for bound in BOUNDS),
        *((skswae.VampPriorTransformer, {"kl_weight": 0.7, **bound}) for bound in BOUNDS),
        *((skswae.MIMTransformer, parameters) for parameters in MIM),
    ],
)
def test_gradients_of_latent_variable_models(Estimator, parameters):
    """To every parameter: both levels, pseudo-inputs and the scale of the likelihood.

    MIM with the continuous likelihood: the discrete one's estimator is no derivative of its value.
    """
    check_gradients(*latent_module(Estimator, **parameters))


DIVERGENCES = ["mmd", "gan", "sliced", "sinkhorn"]


@pytest.mark.parametrize(
    ("divergence", "player"), [*((d, "autoencoder") for d in DIVERGENCES), ("gan", "critic")]
)
def test_gradients_of_wae(divergence, player):
    options = {"divergence_weight": 2.0, "sinkhorn_epsilon": 2.0, "critic_penalty": 2.0, "input_noise": 0.0}
    module, x = make_module(
        skswae.WAETransformer, None, divergence=divergence, critic_layer_sizes=(6, 6), **options
    )
    # Sinkhorn's potentials are converged to a tolerance, which the envelope theorem's gradient inherits
    check_gradients(module, x, player, atol=2e-3 if divergence == "sinkhorn" else 1e-5)


@pytest.mark.parametrize(
    ("Estimator", "parameters", "noise", "excess"),
    [
        (skswae.AETransformer, {"batch_size": 64, "max_iter": 20}, 0.8, 1.02),
        (skswae.SWAETransformer, {"beta": 0, "alpha": 0.01, "batch_size": 128, "max_iter": 40}, 0.3, 1.2),
    ],
)
def test_linear_networks_find_the_principal_subspace(Estimator, parameters, noise, excess, rng):
    """From random weights, on rows of a linear-Gaussian model; and no error is below that of PCA."""
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    X = rng.normal(size=(1000, 3)) @ W.T + noise * rng.normal(size=(1000, 10))
    linear = {"n_components": 3, "init": "random", "network": GatedMLP(()), "learning_rate_init": 0.1}
    model = cheap(Estimator, **linear, **parameters).fit(X)
    pca, eye = PCA(3).fit(X), np.eye(3)
    ours = np.linalg.qr((model.inverse_transform(eye) - model.inverse_transform(0 * eye)).T)[0]  # (10, 3)
    cosines = np.linalg.svd(pca.components_ @ ours, compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) < (1 if noise < 0.5 else 5)
    best = np.square(X - pca.inverse_transform(pca.transform(X))).sum(axis=1).mean()
    assert best <= -model.score(X) < excess * best
