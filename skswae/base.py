"""The parts of a new objective or a new data source: see CONTRIBUTING.md.

:class:`AutoencoderModule` is the mathematics, a torch module with an encoder, a decoder and a loss;
:class:`BaseAutoencoder` makes a scikit-learn transformer of it; :class:`NetworkBuilder` builds networks of
the right sizes; :class:`DataSource` is where training rows come from.
"""

from skswae._estimator import BaseAutoencoder
from skswae._parameters import shared_parameters
from skswae.data import DataSource
from skswae.modules._base import AutoencoderModule
from skswae.modules._builder import NetworkBuilder

__all__ = ["AutoencoderModule", "BaseAutoencoder", "DataSource", "NetworkBuilder", "shared_parameters"]
