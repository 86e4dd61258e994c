"""What a new objective is made of: see "Adding an objective" in CONTRIBUTING.md.

:class:`AutoencoderModule` is the mathematics, a torch module with an encoder, a decoder and a loss;
:class:`BaseAutoencoder` makes a scikit-learn transformer of it; :class:`Parts` builds networks for the data
at hand.
"""

from skswae._base import BaseAutoencoder
from skswae._module import AutoencoderModule, Parts

__all__ = ["AutoencoderModule", "BaseAutoencoder", "Parts"]
