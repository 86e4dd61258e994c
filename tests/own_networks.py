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


class CosineNet:
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


class NormNet(BaseEstimator):
    """Batch normalisation: a row's output in training depends on the batch."""

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, n_outputs))

    def build_decoder(self, n_components, n_features):
        return self.build_encoder(n_components, n_features)


class Odd(BaseEstimator):
    """The default's shapes with one oddity in the encoder."""

    def __init__(self, kind):
        self.kind = kind

    def build_encoder(self, n_features, n_outputs):
        first, last = nn.Linear(n_features, 8), nn.Linear(8, n_outputs)
        if self.kind == "ends in a ReLU":
            return nn.Sequential(first, nn.ReLU(), last, nn.ReLU())
        if self.kind == "registers its layers in another order":
            return Backwards(n_features, n_outputs)
        if self.kind == "has frozen layers":
            first.requires_grad_(False)
        if self.kind == "has a frozen bias at its end":
            nn.init.constant_(last.bias, 3.0).requires_grad_(False)
        if self.kind == "has an infinite buffer":
            first.register_buffer("mask", torch.full((3,), -torch.inf))
        if self.kind == "is lazy":
            first = nn.LazyLinear(8)
        if self.kind == "changes its input":
            return nn.Sequential(nn.ReLU(inplace=True), first, nn.ReLU(), last)
        if self.kind == "is float32 alone":
            return nn.Sequential(Float32(), first, nn.ReLU(), last)
        return nn.Sequential(first, nn.ReLU(), last)

    def build_decoder(self, n_components, n_features):
        return nn.Linear(n_components, n_features)


class Backwards(nn.Module):
    """The last layer to be registered is the first to be used."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.out = nn.Linear(8, n_out, bias=False)
        self.hidden = nn.Linear(n_in, 8)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


class Float32(nn.Module):
    """Rounds whatever comes."""

    def forward(self, x):
        return x.float()


class Plain:
    """Not a BaseEstimator."""

    def __init__(self, width):
        self.width = width

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, self.width), nn.ReLU(), nn.Linear(self.width, n_outputs))

    def build_decoder(self, n_components, n_features):
        return self.build_encoder(n_components, n_features)
