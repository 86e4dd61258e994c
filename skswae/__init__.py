"""Generative autoencoders as scikit-learn transformers."""

from skswae.export import export_onnx
from skswae.models._ae import AETransformer
from skswae.models._mim import MIMTransformer
from skswae.models._swae import SWAETransformer
from skswae.models._vae import VAETransformer
from skswae.models._vampprior import VampPriorTransformer
from skswae.models._wae import WAETransformer
from skswae.persistence import load_model, save_model

__all__ = [
    "AETransformer",
    "MIMTransformer",
    "SWAETransformer",
    "VAETransformer",
    "VampPriorTransformer",
    "WAETransformer",
    "export_onnx",
    "load_model",
    "save_model",
]
__version__ = "0.1.0"

for _name in __all__:
    globals()[_name].__module__ = __name__  # the public path, in a class's repr and in pickles
del _name
