"""Encoders and decoders: the networks of the papers, and the protocol for a user's own.

A *network* describes an encoder and a decoder without holding weights: a scikit-learn ``BaseEstimator``
with two methods, each of which returns a fresh :class:`torch.nn.Module`:

``build_encoder(n_features, n_outputs)``
    A module that maps rows of shape (n, n_features) to (n, n_outputs). An encoder of codes has
    ``n_components`` outputs, one of Gaussians (the conditional prior of SWAE) twice as many.
``build_decoder(n_components, n_features)``
    A module that maps codes of shape (n, n_components) to (n, n_features), *before* the output
    activation: under a sigmoid it returns logits.

As a ``BaseEstimator`` it can be cloned and searched over:
``{"network__hidden_layer_sizes": [(100,), (300, 300)]}``.

Models with two levels of codes (VampPrior, MIM) have a lower level z1 and an upper one z2. They ask for
more parts, each of which a network may build in a method of its own:

``build_joint_encoder(n_features, n_upper, n_outputs)``
    q(z1 | x, z2): ``forward(x, z2)`` maps (n, n_features) and (n, n_upper) to (n, n_outputs).
``build_conditional_prior(n_upper, n_outputs)``
    p(z1 | z2): ``forward(z2)`` maps (n, n_upper) to (n, n_outputs).
``build_joint_decoder(n_lower, n_upper, n_features)``
    p(x | z1, z2): ``forward(z1, z2)`` maps (n, n_lower) and (n, n_upper) to (n, n_features), before the
    output activation.

The first two describe Gaussians: ``n_outputs`` is twice the components of z1. A network without such a
method gets the part composed, with gated layers of 300 units:

- joint encoder: 300 outputs of its ``build_encoder`` for x, beside a gated layer of z2; on both together
  a gated layer and a linear map;
- conditional prior: two gated layers and a linear map;
- joint decoder: its ``build_decoder``, on z1 and z2 side by side.

Which network the tables of SWAE's paper (Sun & Guo, UAI 2021) rest on:

================  ====================================================================================
VAE, SWAE         :class:`GatedConvNet`, one level
VampPrior, MIM    :class:`GatedConvNet`, two levels: VampPrior's convHVAE (L = 2)
WAE-GAN, WAE-MMD  :class:`DCGANNet`, the network of the WAE paper
Figure 1          :class:`GatedMLP`
================  ====================================================================================

The gated blocks are those of VampPrior (Tomczak & Welling, AISTATS 2018), which the paper of SWAE uses too.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from skswae._torch import forked_rng, initial_generator, initialized_from

__all__ = ["DCGANNet", "GatedConvNet", "GatedMLP"]

# ---------------------------------------------------------------------------
# Layers. Their first weights come from the generator in force (see _torch.initialized_from), or from
# torch's global stream like every other torch layer's if they are built by hand.
# ---------------------------------------------------------------------------


class _Linear(nn.Linear):
    """A linear map with He's initialisation (normal, standard deviation sqrt(2 / inputs)) and zero bias."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / self.in_features), generator=initial_generator())
        nn.init.zeros_(self.bias)


class _GatedLinear(nn.Module):
    """h * sigmoid(g), both linear in the input and computed as one product."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.linear = _Linear(n_inputs, 2 * n_outputs)

    def forward(self, x: Tensor) -> Tensor:  # (n, n_inputs) -> (n, n_outputs)
        return nn.functional.glu(self.linear(x), dim=1)


class _Conv2d(nn.Conv2d):
    """A convolution with torch's initialisation, from the generator in force."""

    def reset_parameters(self) -> None:
        generator = initial_generator()
        bound = 1.0 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)


class _GatedConv2d(nn.Module):
    """h * sigmoid(g) for images; padding keeps the size, up to the stride."""

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self.conv = _Conv2d(n_inputs, 2 * n_outputs, kernel_size, stride, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w)
        return nn.functional.glu(self.conv(x), dim=1)


class _Joined(nn.Module):
    """rest(first(a) beside second(b))."""

    def __init__(self, first: nn.Module, second: nn.Module, rest: nn.Module):
        super().__init__()
        self.first = first
        self.second = second
        self.rest = rest  # registered last: it holds the last layer

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.rest(torch.cat((self.first(a), self.second(b)), dim=1))


def _small_normal(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.normal_(layer.weight, std=0.01, generator=initial_generator())
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class _SmallLinear(nn.Linear):
    """A linear map with WAE's initialisation: normal, standard deviation 0.01, and zero bias."""

    def reset_parameters(self) -> None:
        _small_normal(self)


class _SmallConv2d(nn.Conv2d):
    """A convolution with WAE's initialisation."""

    def reset_parameters(self) -> None:
        _small_normal(self)


class _SmallConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with WAE's initialisation."""

    def reset_parameters(self) -> None:
        _small_normal(self)


class _BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that takes the running statistics where a batch has no variance: one row of 1x1 images."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class _Halving(nn.Module):
    """Convolution 4x4 of stride 2, batch norm, ReLU: (n, n_inputs, h, w) -> (n, n_outputs, h/2, w/2).

    Halves of odd sizes are rounded up: the padding is TensorFlow's "SAME".
    """

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        # batch norm subtracts what a bias would add
        self.conv = _SmallConv2d(n_inputs, n_outputs, 4, stride=2, padding=1, bias=False)
        self.norm = _BatchNorm2d(n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = nn.functional.pad(x, (0, width % 2, 0, height % 2))
        return torch.relu(self.norm(self.conv(x)))


class _Doubling(nn.Module):
    """Transposed convolution 4x4 of stride 2, cropped to ``size``, batch norm, ReLU."""

    def __init__(self, n_inputs: int, n_outputs: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.conv = _SmallConvTranspose2d(n_inputs, n_outputs, 4, stride=2, padding=1, bias=False)
        self.norm = _BatchNorm2d(n_outputs)

    def forward(self, x: Tensor) -> Tensor:  # (n, n_inputs, h/2, w/2) -> (n, n_outputs, h, w)
        height, width = self.size
        return torch.relu(self.norm(self.conv(x)[:, :, :height, :width]))


# ---------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------


class GatedMLP(BaseEstimator):
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

    def __init__(self, hidden_layer_sizes=(300, 300)):
        self.hidden_layer_sizes = hidden_layer_sizes

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        return check_sizes("hidden_layer_sizes", (sizes,) if isinstance(sizes, Integral) else sizes)

    def build_encoder(self, n_features: int, n_outputs: int) -> nn.Module:
        """A fresh encoder.

        Parameters
        ----------
        n_features, n_outputs : int

        Returns
        -------
        encoder : nn.Module mapping (n, n_features) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``hidden_layer_sizes`` holds anything but positive integers.
        """
        return _gated_layers([n_features, *self._sizes(), n_outputs])

    def build_decoder(self, n_components: int, n_features: int) -> nn.Module:
        """A fresh decoder, before the output activation.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        decoder : nn.Module mapping (n, n_components) to (n, n_features)

        Raises
        ------
        ValueError
            If ``hidden_layer_sizes`` holds anything but positive integers.
        """
        return _gated_layers([n_components, *self._sizes()[::-1], n_features])

    def build_joint_encoder(self, n_features: int, n_upper: int, n_outputs: int) -> nn.Module:
        """A fresh encoder of the lower level, given the upper one.

        Parameters
        ----------
        n_features, n_upper, n_outputs : int

        Returns
        -------
        encoder : nn.Module mapping (n, n_features) and (n, n_upper) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``hidden_layer_sizes`` holds anything but positive integers.
        """
        return _joined_gated_layers(n_features, n_upper, self._sizes(), n_outputs)

    def build_conditional_prior(self, n_upper: int, n_outputs: int) -> nn.Module:
        """A fresh prior of the lower level, given the upper one.

        Parameters
        ----------
        n_upper, n_outputs : int

        Returns
        -------
        prior : nn.Module mapping (n, n_upper) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``hidden_layer_sizes`` holds anything but positive integers.
        """
        return _gated_layers([n_upper, *self._sizes(), n_outputs])

    def build_joint_decoder(self, n_lower: int, n_upper: int, n_features: int) -> nn.Module:
        """A fresh decoder of both levels, before the output activation.

        Parameters
        ----------
        n_lower, n_upper, n_features : int

        Returns
        -------
        decoder : nn.Module mapping (n, n_lower) and (n, n_upper) to (n, n_features)

        Raises
        ------
        ValueError
            If ``hidden_layer_sizes`` holds anything but positive integers.
        """
        return _joined_gated_layers(n_lower, n_upper, self._sizes()[::-1], n_features)


class GatedConvNet(BaseEstimator):
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
        """A fresh encoder.

        Parameters
        ----------
        n_features, n_outputs : int

        Returns
        -------
        encoder : nn.Module mapping (n, n_features) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        convolutions, flat = self._convolve(n_features, kernels=(7, 3, 5, 3, 3))
        return nn.Sequential(*convolutions, _Linear(flat, n_outputs))

    def build_decoder(self, n_components: int, n_features: int) -> nn.Module:
        """A fresh decoder, before the output activation.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        decoder : nn.Module mapping (n, n_components) to (n, n_features)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        hidden_size = self._hidden_size()
        return nn.Sequential(
            _GatedLinear(n_components, hidden_size),
            _GatedLinear(hidden_size, n_features),
            *self._paint(n_features),
        )

    def build_joint_encoder(self, n_features: int, n_upper: int, n_outputs: int) -> nn.Module:
        """A fresh encoder of the lower level, given the upper one.

        Parameters
        ----------
        n_features, n_upper, n_outputs : int

        Returns
        -------
        encoder : nn.Module mapping (n, n_features) and (n, n_upper) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        convolutions, flat = self._convolve(n_features, kernels=(3, 3, 3, 3, 3))
        return _Joined(
            nn.Sequential(*convolutions),
            _GatedLinear(n_upper, flat),
            _gated_layers([2 * flat, self._hidden_size(), n_outputs]),
        )

    def build_conditional_prior(self, n_upper: int, n_outputs: int) -> nn.Module:
        """A fresh prior of the lower level, given the upper one.

        Parameters
        ----------
        n_upper, n_outputs : int

        Returns
        -------
        prior : nn.Module mapping (n, n_upper) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``hidden_size`` is out of its range.
        """
        return _gated_layers([n_upper, self._hidden_size(), self._hidden_size(), n_outputs])

    def build_joint_decoder(self, n_lower: int, n_upper: int, n_features: int) -> nn.Module:
        """A fresh decoder of both levels, before the output activation.

        Parameters
        ----------
        n_lower, n_upper, n_features : int

        Returns
        -------
        decoder : nn.Module mapping (n, n_lower) and (n, n_upper) to (n, n_features)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        hidden_size = self._hidden_size()
        return _Joined(
            _GatedLinear(n_lower, hidden_size),
            _GatedLinear(n_upper, hidden_size),
            nn.Sequential(_GatedLinear(2 * hidden_size, n_features), *self._paint(n_features)),
        )

    def _hidden_size(self) -> int:
        (hidden_size,) = check_sizes("hidden_size", (self.hidden_size,))
        return hidden_size

    def _convolve(self, n_features: int, kernels: tuple[int, ...]) -> tuple[list[nn.Module], int]:
        """The encoder's convolutions: (n, n_features) -> (n, flat), and that number."""
        channels, height, width = _check_image_shape(self, n_features)
        filters = check_sizes("encoder_filters", self.encoder_filters)
        if len(filters) != 5:
            raise ValueError(
                "The 'encoder_filters' parameter of GatedConvNet must hold 5 numbers. "
                f"Got {self.encoder_filters!r} instead."
            )
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
        inputs = [channels, *filters[:-1]]
        for n_in, n_out, kernel, stride in zip(inputs, filters, kernels, (1, 2, 1, 2, 1)):
            layers.append(_GatedConv2d(n_in, n_out, kernel, stride))
        return [*layers, nn.Flatten()], filters[-1] * math.ceil(height / 4) * math.ceil(width / 4)

    def _paint(self, n_features: int) -> list[nn.Module]:
        """The decoder's convolutions: (n, n_features) -> (n, n_features)."""
        channels, height, width = _check_image_shape(self, n_features)
        filters = check_sizes("decoder_filters", self.decoder_filters)
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
        for n_in, n_out in zip([channels, *filters], filters):
            layers.append(_GatedConv2d(n_in, n_out, kernel_size=3))
        last = _Conv2d(filters[-1] if filters else channels, channels, kernel_size=1)
        return [*layers, last, nn.Flatten()]


class DCGANNet(BaseEstimator):
    """Convolutions with batch norm for images: the network of the WAE paper, similar to DCGAN.

    Encoder: a 4x4 convolution of stride 2, batch norm and ReLU for each of ``filters``, then a linear map.
    Decoder: a linear map to a quarter of the height and width with the last of the filters, ReLU; up to
    the image's size a 4x4 transposed convolution of stride 2, batch norm and ReLU for each of the two
    filters before the last, in reverse; then a 4x4 convolution of stride 1 to the channels. Any number of
    channels, any height and width from 8 up; halves of odd sizes are rounded up, and cropped on the way
    back.

    As in the paper's public code, weights start normal with standard deviation 0.01, biases at 0, batch
    norm at scale 1 and offset 0. Batch norm makes a row's output in training depend on its batch; in
    ``transform`` it does not.

    Parameters
    ----------
    image_shape : tuple of int (channels, height, width)
        A row of the data is such an image, flattened channel first; the product is ``n_features``.
    filters : array-like of int of shape (n_layers,), default=(128, 256, 512, 1024)
        Filters of the encoder's convolutions, at least 2 of them. The decoder uses the last three; of two
        it uses both, and starts at half the height and width.

    References
    ----------
    I. Tolstikhin, O. Bousquet, S. Gelly, B. Schoelkopf. Wasserstein Auto-Encoders. ICLR 2018 (the network
    for MNIST), and its public code.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import SWAETransformer
    >>> from skswae.networks import DCGANNet
    >>> X = load_digits().data[:100] / 16
    >>> network = DCGANNet(image_shape=(1, 8, 8), filters=(8, 16, 32))
    >>> swae = SWAETransformer(2, network=network, max_iter=2, random_state=0).fit(X)
    >>> swae.sample(3, random_state=0).shape
    (3, 64)
    """

    def __init__(self, image_shape, *, filters=(128, 256, 512, 1024)):
        self.image_shape = image_shape
        self.filters = filters

    def _filters(self) -> list[int]:
        filters = check_sizes("filters", self.filters)
        if len(filters) < 2:
            raise ValueError(
                "The 'filters' parameter of DCGANNet must hold at least 2 numbers. "
                f"Got {self.filters!r} instead."
            )
        return filters

    def build_encoder(self, n_features: int, n_outputs: int) -> nn.Module:
        """A fresh encoder.

        Parameters
        ----------
        n_features, n_outputs : int

        Returns
        -------
        encoder : nn.Module mapping (n, n_features) to (n, n_outputs)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        channels, height, width = _check_image_shape(self, n_features)
        filters = self._filters()
        halvings = [_Halving(n_in, n_out) for n_in, n_out in itertools.pairwise([channels, *filters])]
        scale = 2 ** len(filters)
        flat = filters[-1] * math.ceil(height / scale) * math.ceil(width / scale)
        return nn.Sequential(
            nn.Unflatten(1, (channels, height, width)),
            *halvings,
            nn.Flatten(),
            _SmallLinear(flat, n_outputs),
        )

    def build_decoder(self, n_components: int, n_features: int) -> nn.Module:
        """A fresh decoder, before the output activation.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        decoder : nn.Module mapping (n, n_components) to (n, n_features)

        Raises
        ------
        ValueError
            If ``image_shape`` does not multiply to ``n_features``, or a parameter is out of its range.
        """
        channels, height, width = _check_image_shape(self, n_features)
        filters = self._filters()[:-4:-1]
        scales = [2**i for i in reversed(range(len(filters)))]  # 4, 2, 1
        sizes = [(math.ceil(height / scale), math.ceil(width / scale)) for scale in scales]
        start = (filters[0], *sizes[0])
        doublings = [
            _Doubling(n_in, n_out, size)
            for (n_in, n_out), size in zip(itertools.pairwise(filters), sizes[1:])
        ]
        return nn.Sequential(
            _SmallLinear(n_components, math.prod(start)),
            nn.ReLU(),
            nn.Unflatten(1, start),
            *doublings,
            # what the public code does by a transposed convolution of stride 1, whose kernel is mirrored
            nn.ZeroPad2d((2, 1, 2, 1)),
            _SmallConv2d(filters[-1], channels, 4),
            nn.Flatten(),
        )


def _gated_layers(sizes: list[int]) -> nn.Sequential:
    hidden = [_GatedLinear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes[:-1])]
    return nn.Sequential(*hidden, _Linear(sizes[-2], sizes[-1]))


def _joined_gated_layers(n_first: int, n_second: int, sizes: list[int], n_outputs: int) -> _Joined:
    if not sizes:
        return _Joined(nn.Identity(), nn.Identity(), _Linear(n_first + n_second, n_outputs))
    return _Joined(
        _GatedLinear(n_first, sizes[0]),
        _GatedLinear(n_second, sizes[0]),
        _gated_layers([2 * sizes[0], *sizes[1:], n_outputs]),
    )


def _check_image_shape(network: Any, n_features: int) -> tuple[int, int, int]:
    name = type(network).__name__
    shape = check_sizes("image_shape", network.image_shape)
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(
            f"The 'image_shape' parameter of {name} must be (channels, height, width), such as "
            f"(1, 28, 28) for grey images, with height and width at least 8. Got {network.image_shape!r} "
            "instead."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"The 'image_shape' parameter of {name} must multiply to the data's n_features={n_features}. "
            f"Got {network.image_shape!r}, which multiplies to {math.prod(shape)}, instead."
        )
    return shape[0], shape[1], shape[2]


def check_sizes(name: str, sizes: Any) -> list[int]:
    """A list of at least no positive integers, or an error that names the parameter."""
    is_list = not isinstance(sizes, str | bytes) and (isinstance(sizes, Sequence) or np.ndim(sizes) == 1)
    numbers: list[Any] = list(sizes) if is_list else []
    if not is_list or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in numbers
    ):
        raise ValueError(f"The '{name}' parameter must hold integers of at least 1. Got {sizes!r} instead.")
    return [int(n) for n in numbers]


# ---------------------------------------------------------------------------
# Building, for the modules
# ---------------------------------------------------------------------------


def check_network(network: Any) -> Any:
    """The network that the ``network`` parameter means, or an error that says what is needed."""
    if network is None:
        return GatedMLP()
    needed = (
        "The 'network' parameter must be None or an instance with the methods "
        "build_encoder(n_features, n_outputs) and build_decoder(n_components, n_features), "
        "such as GatedMLP((300, 300))."
    )
    if isinstance(network, nn.Module):
        raise ValueError(
            f"{needed} Got an nn.Module ({type(network).__name__}) instead, which would be trained in place."
        )
    if isinstance(network, type):
        raise ValueError(f"{needed} Got the class {network.__name__} instead of an instance.")
    for method in ("build_encoder", "build_decoder"):
        if not callable(getattr(network, method, None)):
            raise ValueError(f"{needed} Got {network!r}, which has no {method}, instead.")
    return network


def draws_from_global_streams(network: Any) -> bool:
    """Whether the network's code is foreign, so that it may draw from torch's global streams."""
    return type(network).__module__ != __name__


def build(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int, seed: int) -> nn.Module:
    """Build one part of a network and try it on two rows, without moving a global stream.

    Parameters
    ----------
    network : object with build_encoder and build_decoder
    role : {"encoder", "decoder", "joint_encoder", "joint_decoder", "conditional_prior"}
        The last three are composed where the network has no method for them.
    inputs : tuple of int
        The widths of what the part is called with: one, or two for a joint part.
    n_outputs : int
    seed : int

    Returns
    -------
    module : nn.Module on the CPU, in training mode

    Raises
    ------
    TypeError, ValueError
        If the method returns no ``nn.Module``, or one whose output has the wrong shape or type.
    """
    with torch.device("cpu"):
        if draws_from_global_streams(network):
            with forked_rng(seed), initialized_from(torch.default_generator):
                return _build(network, role, inputs, n_outputs)
        with initialized_from(torch.Generator().manual_seed(seed)):
            return _build(network, role, inputs, n_outputs)


def _build(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    method = getattr(network, f"build_{role}", None)
    if not callable(method):
        return _compose(network, role, inputs, n_outputs).float().train()
    call = f"{type(network).__name__}.build_{role}({', '.join(map(str, (*inputs, n_outputs)))})"
    return _copy_and_try(method(*inputs, n_outputs), call, inputs, n_outputs)


def build_critic(n_inputs: int, layer_sizes: list[int], seed: int) -> nn.Module:
    """A network with ReLU from codes to one number: (n, n_inputs) -> (n, 1)."""
    sizes = [n_inputs, *layer_sizes]
    layers: list[nn.Module] = []
    with torch.device("cpu"), initialized_from(torch.Generator().manual_seed(seed)):
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [_Linear(n_in, n_out), nn.ReLU()]
        return nn.Sequential(*layers, _Linear(sizes[-1], 1)).float()


_COMPOSED_SIZE = 300  # VampPrior's


def _compose(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    """A part of a two-level model from the parts that every network has; see the module's docstring."""
    size = _COMPOSED_SIZE
    if role == "joint_encoder":
        n_features, n_upper = inputs
        features = _build(network, "encoder", (n_features,), size)
        return _Joined(features, _GatedLinear(n_upper, size), _gated_layers([2 * size, size, n_outputs]))
    if role == "conditional_prior":
        return _gated_layers([*inputs, size, size, n_outputs])
    if role == "joint_decoder":
        return _Joined(nn.Identity(), nn.Identity(), _build(network, "decoder", (sum(inputs),), n_outputs))
    raise ValueError(f"No network has a part of the role {role!r}.")


def _copy_and_try(module: Any, call: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"The 'network' parameter must be such that {call} returns an nn.Module. "
            f"Got {type(module).__name__} instead."
        )
    try:  # a module that the network keeps would be trained in place
        module = copy.deepcopy(module)
    except Exception as error:
        raise ValueError(
            f"The 'network' parameter must be such that {call} returns a module that copy.deepcopy can "
            f"copy (torch.nn.utils.parametrizations instead of the older hooks). It raised: {error}"
        ) from error
    module = module.float().eval()  # float32 whatever torch's default is
    shapes = " and ".join(str((2, n)) for n in inputs)
    what, its = ("a tensor of shape", "input as it is")
    if len(inputs) > 1:
        what, its = ("tensors of shapes", "inputs as they are")
    for dtype, when in ((torch.float32, "for training"), (torch.float64, "for float64 rows")):
        needed = (
            f"The 'network' parameter must be such that {call} returns a module that maps {what} "
            f"{shapes} to one of {(2, n_outputs)}, in {dtype} {when}, and leaves its {its}."
        )
        trial = [torch.linspace(-1.0, 1.0, 2 * n, dtype=dtype).reshape(2, n) for n in inputs]
        before = [x.clone() for x in trial]
        used = module if dtype == torch.float32 else copy.deepcopy(module).double()
        with torch.no_grad():
            try:
                output = used(*trial)
            except Exception as error:
                raise ValueError(f"{needed} It raised: {error}") from error
        if not isinstance(output, Tensor):
            raise ValueError(f"{needed} Got {type(output).__name__} instead.")
        if output.shape != (2, n_outputs) or output.dtype != dtype:
            raise ValueError(f"{needed} Got {tuple(output.shape)} in {output.dtype} instead.")
        if not all(map(torch.equal, trial, before)):
            raise ValueError(f"{needed} It changed its input in place.")
    return module.train()
