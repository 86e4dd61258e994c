"""What a new objective is made of: see "Adding an objective" in CONTRIBUTING.md.

:class:`AutoencoderModule` is the mathematics, a torch module with an encoder, a decoder and a loss;
:class:`BaseAutoencoder` makes a scikit-learn transformer of it; :class:`Parts` builds networks for the data
at hand. :func:`standard_normal` and :func:`random_integers` draw numbers that a CUDA graph can hold.
"""

from skswae._base import BaseAutoencoder
from skswae._module import AutoencoderModule, Parts
from skswae._torch import random_integers, standard_normal

__all__ = ["AutoencoderModule", "BaseAutoencoder", "Parts", "random_integers", "standard_normal"]
