"""Gated networks: the blocks of VampPrior, fully connected and convolutional."""

from __future__ import annotations

import math
from numbers import Integral

from torch import nn

from skswae._constraints import Number, Numbers
from skswae.networks._layers import (
    IMAGE_SHAPE,
    SIZES,
    Conv2d,
    GatedConv2d,
    GatedLinear,
    Joined,
    Linear,
    Network,
    check_image_shape,
    gated_layers,
    joined_gated_layers,
)


class GatedMLP(Network):
    """Fully connected gated layers; the default network.

    The decoder mirrors the encoder: its hidden layers have the same sizes in reverse. Each hidden layer
    is ``h * sigmoid(g)`` with two linear maps of its input, the last map is linear. A part with two inputs
    has a first hidden layer for each of them; the second hidden layer takes both together.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int of shape (n_layers,) or int, default=(300, 300)
        Units of each hidden layer of the encoder. ``()`` makes every part linear.

    References
    ----------
    J. Tomczak, M. Welling. VAE with a VampPrior. AISTATS 2018 (two layers of 300 units).

    Examples
    --------
    >>> from skswae.networks import GatedMLP
    >>> encoder = GatedMLP((100,)).build_encoder(n_features=64, n_outputs=2)
    >>> sum(parameter.numel() for parameter in encoder.parameters())
    13202
    """

    takes_components = True

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [Numbers(Integral, 1, None, closed="left", or_one=True)]
    }

    def __init__(self, hidden_layer_sizes=(300, 300)):
        self.hidden_layer_sizes = hidden_layer_sizes

    def _sizes(self) -> list[int]:
        sizes = self._checked("hidden_layer_sizes")
        return [sizes] if isinstance(sizes, int) else sizes

    def build_encoder(self, n_features: int, n_outputs: int) -> nn.Module:
        """Build an encoder: (n, n_features) -> (n, n_outputs)."""
        return gated_layers([n_features, *self._sizes(), n_outputs])

    def build_decoder(self, n_components: int, n_features: int) -> nn.Module:
        """Build a decoder, before the output activation: (n, n_components) -> (n, n_features)."""
        return gated_layers([n_components, *self._sizes()[::-1], n_features])

    def build_joint_encoder(self, n_features: int, n_upper: int, n_outputs: int) -> nn.Module:
        """Build an encoder of the lower level: (n, n_features), (n, n_upper) -> (n, n_outputs)."""
        return joined_gated_layers(n_features, n_upper, self._sizes(), n_outputs)

    def build_conditional_prior(self, n_upper: int, n_outputs: int) -> nn.Module:
        """Build a prior of the lower level: (n, n_upper) -> (n, n_outputs)."""
        return gated_layers([n_upper, *self._sizes(), n_outputs])

    def build_joint_decoder(self, n_lower: int, n_upper: int, n_features: int) -> nn.Module:
        """Build a decoder of both levels: (n, n_lower), (n, n_upper) -> (n, n_features)."""
        return joined_gated_layers(n_lower, n_upper, self._sizes()[::-1], n_features)


class GatedConvNet(Network):
    """Gated convolutions for images: the blocks of VampPrior, with one or two levels of codes.

    Encoder: gated convolutions with kernels 7, 3, 5, 3, 3 and strides 1, 2, 1, 2, 1, then a linear map.
    Decoder: a gated layer of ``hidden_size`` units, a gated layer onto the image, gated 3x3 convolutions
    and a 1x1 convolution. Any number of channels, any height and width from 8 up, odd ones too.

    With two levels, the joint encoder has the same convolutions, all with kernels 3, on the image, and a
    gated layer from the upper code to as many numbers; then, on both, a gated layer of ``hidden_size``
    units and a linear map. The conditional prior has two gated layers of ``hidden_size`` units. The joint
    decoder has a first gated layer for each level.

    Parameters
    ----------
    image_shape : tuple of int (channels, height, width)
        A row of the data is such an image, flattened channel first; the product is ``n_features``.
    encoder_filters : array-like of int of shape (5,), default=(32, 32, 64, 64, 6)
        Filters of the encoder's convolutions.
    decoder_filters : array-like of int of shape (n_layers,), default=(64, 64, 64, 64)
        Filters of the decoder's 3x3 convolutions.
    hidden_size : int, default=300
        Units of the fully connected gated layers.

    References
    ----------
    J. Tomczak, M. Welling. VAE with a VampPrior. AISTATS 2018, and its public code.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import SWAETransformer
    >>> from skswae.networks import GatedConvNet
    >>> X = load_digits().data[:100] / 16
    >>> network = GatedConvNet(image_shape=(1, 8, 8), encoder_filters=(8, 8, 8, 8, 6),
    ...                        decoder_filters=(8,), hidden_size=32)
    >>> swae = SWAETransformer(2, network=network, max_iter=2, random_state=0).fit(X)
    >>> swae.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints: dict = {
        "image_shape": [IMAGE_SHAPE],
        "encoder_filters": [Numbers(Integral, 1, None, closed="left", shortest=5, longest=5)],
        "decoder_filters": [SIZES],
        "hidden_size": [Number(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        image_shape,
        *,
        encoder_filters=(32, 32, 64, 64, 6),
        decoder_filters=(64, 64, 64, 64),
        hidden_size=300,
    ):
        self.image_shape = image_shape
        self.encoder_filters = encoder_filters
        self.decoder_filters = decoder_filters
        self.hidden_size = hidden_size

    def build_encoder(self, n_features: int, n_outputs: int) -> nn.Module:
        """Build an encoder: (n, n_features) -> (n, n_outputs)."""
        convolutions, flat = self._convolve(n_features, kernels=(7, 3, 5, 3, 3))
        return nn.Sequential(*convolutions, Linear(flat, n_outputs))

    def build_decoder(self, n_components: int, n_features: int) -> nn.Module:
        """Build a decoder, before the output activation: (n, n_components) -> (n, n_features)."""
        hidden_size = self._checked("hidden_size")
        return nn.Sequential(
            GatedLinear(n_components, hidden_size),
            GatedLinear(hidden_size, n_features),
            *self._paint(n_features),
        )

    def build_joint_encoder(self, n_features: int, n_upper: int, n_outputs: int) -> nn.Module:
        """Build an encoder of the lower level: (n, n_features), (n, n_upper) -> (n, n_outputs)."""
        convolutions, flat = self._convolve(n_features, kernels=(3, 3, 3, 3, 3))
        return Joined(
            nn.Sequential(*convolutions),
            GatedLinear(n_upper, flat),
            gated_layers([2 * flat, self._checked("hidden_size"), n_outputs]),
        )

    def build_conditional_prior(self, n_upper: int, n_outputs: int) -> nn.Module:
        """Build a prior of the lower level: (n, n_upper) -> (n, n_outputs)."""
        return gated_layers([n_upper, self._checked("hidden_size"), self._checked("hidden_size"), n_outputs])

    def build_joint_decoder(self, n_lower: int, n_upper: int, n_features: int) -> nn.Module:
        """Build a decoder of both levels: (n, n_lower), (n, n_upper) -> (n, n_features)."""
        hidden_size = self._checked("hidden_size")
        return Joined(
            GatedLinear(n_lower, hidden_size),
            GatedLinear(n_upper, hidden_size),
            nn.Sequential(GatedLinear(2 * hidden_size, n_features), *self._paint(n_features)),
        )

    def _convolve(self, n_features: int, kernels: tuple[int, ...]) -> tuple[list[nn.Module], int]:
        """The encoder's convolutions: (n, n_features) -> (n, flat), and that number."""
        channels, height, width = check_image_shape(self, n_features)
        filters = self._checked("encoder_filters")
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
        inputs = [channels, *filters[:-1]]
        for n_in, n_out, kernel, stride in zip(inputs, filters, kernels, (1, 2, 1, 2, 1)):
            layers.append(GatedConv2d(n_in, n_out, kernel, stride))
        return [*layers, nn.Flatten()], filters[-1] * math.ceil(height / 4) * math.ceil(width / 4)

    def _paint(self, n_features: int) -> list[nn.Module]:
        """The decoder's convolutions: (n, n_features) -> (n, n_features)."""
        channels, height, width = check_image_shape(self, n_features)
        filters = self._checked("decoder_filters")
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
        for n_in, n_out in zip([channels, *filters], filters):
            layers.append(GatedConv2d(n_in, n_out, 3))
        last = Conv2d(filters[-1] if filters else channels, channels, 1)
        return [*layers, last, nn.Flatten()]
