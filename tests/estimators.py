"""The package's estimators, discovered: the next one is tested because it exists."""

import inspect

import skswae
from skswae._estimator import BaseAutoencoder
from skswae.networks import GatedMLP


def discover():
    classes = [value for value in vars(skswae).values() if inspect.isclass(value)]
    return sorted(
        (c for c in classes if issubclass(c, BaseAutoencoder) and not inspect.isabstract(c)),
        key=lambda c: c.__name__,
    )


ESTIMATORS = discover()

# settings that take another path through a class
VARIANTS = [
    (skswae.WAETransformer, {"divergence": "gan"}),
    (skswae.WAETransformer, {"divergence": "sliced"}),
    (skswae.WAETransformer, {"divergence": "sinkhorn"}),
    (skswae.MIMTransformer, {"sampling": "encoder"}),
    (skswae.VampPriorTransformer, {"n_components": 3, "warmup": 2}),
    (skswae.VampPriorTransformer, {"n_components": 1}),
    (skswae.VAETransformer, {"likelihood_scale": "per_feature"}),
]


def cheap(Estimator, **parameters):
    """An estimator that fits in a fraction of a second."""
    return Estimator(
        **{
            "n_components": 2,
            "network": GatedMLP((16,)),
            "max_iter": 3,
            "random_state": 0,
            "device": "cpu",
            **parameters,
        }
    )
