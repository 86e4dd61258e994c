"""The parts of a new objective or a new data source: see CONTRIBUTING.md.

:class:`AutoencoderModule` is the mathematics, a torch module with an encoder, a decoder and a loss;
:class:`BaseAutoencoder` makes a scikit-learn transformer of it; :class:`NetworkBuilder` builds networks of
the right sizes; :class:`DataSource` is where training rows come from. Within :func:`evaluation_mode` a
network computes as after its training. :func:`normal_like` draws noise for the rows of a batch, and
:func:`gathered` makes a batch of the parts that several processes have of it.
"""

from skswae._estimator import BaseAutoencoder
from skswae._parameters import shared_parameters
from skswae._processes import gathered
from skswae._random import normal_like
from skswae.data import DataSource
from skswae.modules._base import AutoencoderModule
from skswae.modules._builder import NetworkBuilder, evaluation_mode

__all__ = [
    "AutoencoderModule",
    "BaseAutoencoder",
    "DataSource",
    "NetworkBuilder",
    "evaluation_mode",
    "gathered",
    "normal_like",
    "shared_parameters",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
