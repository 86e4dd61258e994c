"""Encoders and decoders: gated networks, and the protocol for a user's own.

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

__all__ = ["GatedConvNet", "GatedMLP"]

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


# ---------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------


class GatedMLP(BaseEstimator):
    """Fully connected gated layers; the default network.

    The decoder mirrors the encoder: its hidden layers have the same sizes in reverse. Each hidden layer
    is ``h * sigmoid(g)`` with two linear maps of its input, the last map is linear.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int of shape (n_layers,) or int, default=(300, 300)
        Units of each hidden layer of the encoder. ``()`` makes encoder and decoder linear.

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
        return _check_sizes("hidden_layer_sizes", (sizes,) if isinstance(sizes, Integral) else sizes)

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


class GatedConvNet(BaseEstimator):
    """Gated convolutions for images: the blocks of VampPrior with one latent level.

    Encoder: gated convolutions with kernels 7, 3, 5, 3, 3 and strides 1, 2, 1, 2, 1, then a linear map.
    Decoder: a gated layer of ``hidden_size`` units, a gated layer onto the image, gated 3x3 convolutions
    and a 1x1 convolution. Any number of channels, any height and width from 8 up, odd ones too.

    Parameters
    ----------
    image_shape : tuple of int (channels, height, width)
        A row of the data is such an image, flattened channel first; the product is ``n_features``.
    encoder_filters : array-like of int of shape (5,), default=(32, 32, 64, 64, 6)
        Filters of the encoder's convolutions.
    decoder_filters : array-like of int of shape (n_layers,), default=(64, 64, 64, 64)
        Filters of the decoder's 3x3 convolutions.
    hidden_size : int, default=300
        Units of the decoder's first layer.

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

    def _check_image_shape(self, n_features: int) -> tuple[int, int, int]:
        shape = _check_sizes("image_shape", self.image_shape)
        if len(shape) != 3 or min(shape[1:]) < 8:
            raise ValueError(
                "The 'image_shape' parameter of GatedConvNet must be (channels, height, width), such as "
                f"(1, 28, 28) for grey images, with height and width at least 8. Got {self.image_shape!r} "
                "instead."
            )
        if math.prod(shape) != n_features:
            raise ValueError(
                f"The 'image_shape' parameter of GatedConvNet must multiply to the data's n_features="
                f"{n_features}. Got {self.image_shape!r}, which multiplies to {math.prod(shape)}, instead."
            )
        return shape[0], shape[1], shape[2]

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
        channels, height, width = self._check_image_shape(n_features)
        filters = _check_sizes("encoder_filters", self.encoder_filters)
        if len(filters) != 5:
            raise ValueError(
                "The 'encoder_filters' parameter of GatedConvNet must hold 5 numbers. "
                f"Got {self.encoder_filters!r} instead."
            )
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
        inputs = [channels, *filters[:-1]]
        for n_in, n_out, kernel, stride in zip(inputs, filters, (7, 3, 5, 3, 3), (1, 2, 1, 2, 1)):
            layers.append(_GatedConv2d(n_in, n_out, kernel, stride))
        flat = filters[-1] * math.ceil(math.ceil(height / 2) / 2) * math.ceil(math.ceil(width / 2) / 2)
        return nn.Sequential(*layers, nn.Flatten(), _Linear(flat, n_outputs))

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
        channels, height, width = self._check_image_shape(n_features)
        filters = _check_sizes("decoder_filters", self.decoder_filters)
        (hidden_size,) = _check_sizes("hidden_size", (self.hidden_size,))
        layers: list[nn.Module] = [
            _GatedLinear(n_components, hidden_size),
            _GatedLinear(hidden_size, n_features),
            nn.Unflatten(1, (channels, height, width)),
        ]
        for n_in, n_out in zip([channels, *filters], filters):
            layers.append(_GatedConv2d(n_in, n_out, kernel_size=3))
        last = _Conv2d(filters[-1] if filters else channels, channels, kernel_size=1)
        return nn.Sequential(*layers, last, nn.Flatten())


def _gated_layers(sizes: list[int]) -> nn.Sequential:
    hidden = [_GatedLinear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes[:-1])]
    return nn.Sequential(*hidden, _Linear(sizes[-2], sizes[-1]))


def _check_sizes(name: str, sizes: Any) -> list[int]:
    is_list = not isinstance(sizes, str | bytes) and (isinstance(sizes, Sequence) or np.ndim(sizes) == 1)
    numbers: list[Any] = list(sizes) if is_list else []
    if not is_list or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in numbers
    ):
        raise ValueError(
            f"The '{name}' parameter of the network must hold integers of at least 1. Got {sizes!r} instead."
        )
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


def build(network: Any, role: str, n_inputs: int, n_outputs: int, seed: int) -> nn.Module:
    """Build one part of a network and try it on two rows, without moving a global stream.

    Parameters
    ----------
    network : object with build_encoder and build_decoder
    role : {"encoder", "decoder"}
    n_inputs, n_outputs : int
    seed : int

    Returns
    -------
    module : nn.Module on the CPU, in training mode

    Raises
    ------
    TypeError, ValueError
        If the method returns no ``nn.Module``, or one whose output has the wrong shape or type.
    """
    method = f"{type(network).__name__}.build_{role}({n_inputs}, {n_outputs})"
    with torch.device("cpu"):
        if draws_from_global_streams(network):
            with forked_rng(seed), initialized_from(torch.default_generator):
                return _build_and_try(network, role, n_inputs, n_outputs, method)
        with initialized_from(torch.Generator().manual_seed(seed)):
            return _build_and_try(network, role, n_inputs, n_outputs, method)


def _build_and_try(network, role: str, n_inputs: int, n_outputs: int, method: str) -> nn.Module:
    module = getattr(network, f"build_{role}")(n_inputs, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"The 'network' parameter must be such that {method} returns an nn.Module. "
            f"Got {type(module).__name__} instead."
        )
    try:  # a module that the network keeps would be trained in place
        module = copy.deepcopy(module)
    except Exception as error:
        raise ValueError(
            f"The 'network' parameter must be such that {method} returns a module that copy.deepcopy can "
            f"copy (torch.nn.utils.parametrizations instead of the older hooks). It raised: {error}"
        ) from error
    module = module.float().eval()  # float32 whatever torch's default is
    for dtype, when in ((torch.float32, "for training"), (torch.float64, "for float64 rows")):
        needed = (
            f"The 'network' parameter must be such that {method} returns a module that maps a tensor of "
            f"shape (2, {n_inputs}) to one of (2, {n_outputs}), in {dtype} {when}, and leaves its input "
            "as it is."
        )
        trial = torch.linspace(-1.0, 1.0, 2 * n_inputs, dtype=dtype).reshape(2, n_inputs)
        before = trial.clone()
        used = module if dtype == torch.float32 else copy.deepcopy(module).double()
        with torch.no_grad():
            try:
                output = used(trial)
            except Exception as error:
                raise ValueError(f"{needed} It raised: {error}") from error
        if not isinstance(output, Tensor):
            raise ValueError(f"{needed} Got {type(output).__name__} instead.")
        if output.shape != (2, n_outputs) or output.dtype != dtype:
            raise ValueError(f"{needed} Got {tuple(output.shape)} in {output.dtype} instead.")
        if not torch.equal(trial, before):
            raise ValueError(f"{needed} It changed its input in place.")
    return module.train()
