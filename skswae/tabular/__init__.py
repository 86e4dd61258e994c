"""Tables of mixed types with missing cells, in and out."""

from skswae.tabular._autoencoder import TableAutoencoder

__all__ = ["TableAutoencoder"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
