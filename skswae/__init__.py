"""Generative autoencoders as scikit-learn transformers."""

from skswae._ae import AETransformer
from skswae._mim import MIMTransformer
from skswae._swae import SWAETransformer
from skswae._vae import VAETransformer
from skswae._vampprior import VampPriorTransformer
from skswae._wae import WAETransformer

__all__ = [
    "AETransformer",
    "MIMTransformer",
    "SWAETransformer",
    "VAETransformer",
    "VampPriorTransformer",
    "WAETransformer",
]
__version__ = "0.1.0"
