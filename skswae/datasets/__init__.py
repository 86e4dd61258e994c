"""The data of the SWAE paper: fetchers in scikit-learn's manner, its Gaussian mixture, and binarisation."""

from skswae.datasets._fetchers import fetch_cifar10_sub, fetch_coil20, fetch_fashion_mnist, fetch_mnist
from skswae.datasets._generate import binarise, binarised, make_gmm

__all__ = [
    "binarise",
    "binarised",
    "fetch_cifar10_sub",
    "fetch_coil20",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "make_gmm",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
