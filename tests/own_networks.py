"""Networks as users write them."""

import torch
from sklearn.base import BaseEstimator
from torch import nn


class DropoutMLP(BaseEstimator):
    """Draws from torch's global streams: nn.Linear when it is built, nn.Dropout when it is trained."""

    def __init__(self, width=12, p=0.1):
        self.width = width
        self.p = p

    def build_encoder(self, n_features, n_outputs):
        return self._layers(n_features, n_outputs)

    def build_decoder(self, n_components, n_features):
        return self._layers(n_components, n_features)

    def _layers(self, n_in, n_out):
        return nn.Sequential(
            nn.Linear(n_in, self.width), nn.ReLU(), nn.Dropout(self.p), nn.Linear(self.width, n_out)
        )


class TanhNet:
    """Not a BaseEstimator, and its last layer cannot be zeroed to a zero output."""

    def build_encoder(self, n_features, n_outputs):
        return Shifted(n_features, n_outputs)

    def build_decoder(self, n_components, n_features):
        return Shifted(n_components, n_features)


class Shifted(nn.Module):
    """cos(W x)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, x):
        return torch.cos(self.linear(x))


class Wrong(BaseEstimator):
    """Builds what it is told."""

    def __init__(self, encoder=None, decoder=None):
        self.encoder = encoder
        self.decoder = decoder

    def build_encoder(self, n_features, n_outputs):
        return nn.Linear(n_features, n_outputs) if self.encoder is None else self.encoder

    def build_decoder(self, n_components, n_features):
        return nn.Linear(n_components, n_features) if self.decoder is None else self.decoder
