"""Generative autoencoders as scikit-learn transformers."""

from skswae._swae import SWAETransformer

__all__ = ["SWAETransformer"]
__version__ = "0.1.0"
