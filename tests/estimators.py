"""The package's estimators, discovered: the next one is tested because it exists."""

import functools
import inspect

import numpy as np
import torch

import skswae
from skswae._estimator import BaseAutoencoder
from skswae.networks import GatedMLP

ESTIMATORS = sorted(
    (
        value
        for value in vars(skswae).values()
        if inspect.isclass(value) and issubclass(value, BaseAutoencoder) and not inspect.isabstract(value)
    ),
    key=lambda c: c.__name__,
)

# settings that take another path through a class
VARIANTS = [
    (skswae.WAETransformer, {"divergence": "gan"}),
    (skswae.WAETransformer, {"divergence": "sliced"}),
    (skswae.WAETransformer, {"divergence": "sinkhorn"}),
    (skswae.MIMTransformer, {"sampling": "symmetric"}),
    (skswae.SWAETransformer, {"warmup": 2}),
    (skswae.VampPriorTransformer, {"n_components": 3, "warmup": 2, "n_pseudo_inputs_per_step": 4}),
    (skswae.VampPriorTransformer, {"n_components": 1}),
    (skswae.VAETransformer, {"likelihood_scale": "per_feature"}),
]


def cheap(Estimator, **parameters):
    """An estimator that fits in a fraction of a second."""
    slow = issubclass(Estimator, skswae.MIMTransformer | skswae.VampPriorTransformer)
    few = {"n_pseudo_inputs": 10} if slow else {}
    return Estimator(
        **{
            "n_components": 2,
            "network": GatedMLP((16,)),
            "max_iter": 3,
            "random_state": 0,
            "device": "cpu",
            **few,
            **parameters,
        }
    )


# three that between them take every path through the shared code
swae = functools.partial(cheap, skswae.SWAETransformer)
gan = functools.partial(cheap, skswae.WAETransformer, divergence="gan", critic_layer_sizes=(8,))  # 2 players
two_levels = functools.partial(cheap, skswae.VampPriorTransformer, warmup=2, n_pseudo_inputs_per_step=4)


def states(estimator):
    return {name: value.clone() for name, value in estimator.module_.state_dict().items()}


def assert_equal_fits(a, b):
    """Two fitted models are equal to the bit: weights, buffers, history."""
    first, second = states(a), states(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert (a.n_iter_, a.history_.keys()) == (b.n_iter_, b.history_.keys())
    for name, values in a.history_.items():
        np.testing.assert_array_equal(values, b.history_[name])
