"""The data of the SWAE paper: fetchers in scikit-learn's manner, its Gaussian mixture, and binarisation.

Fetched data are kept in a cache folder: the ``data_home`` argument if it is given, else the folder that the
environment variable ``SKSWAE_DATA`` names, else ``skswae`` in scikit-learn's data folder. Each file is
checked by a hash of its arrays whenever it is read.
"""

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
