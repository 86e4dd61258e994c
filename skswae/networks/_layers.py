"""Layers that the networks share, and checks of their sizes.

First weights come from the generator in force (see ``skswae._random.initialized_from``), or from torch's
global stream, as those of torch's own layers do, if a layer is built by hand.
"""

from __future__ import annotations

import itertools
import math
from numbers import Integral
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor, nn

from skswae._constraints import Numbers, check_weights
from skswae._documentation import Documented
from skswae._random import initial_generator


class Affordable(nn.Module):
    """A layer whose weights are known to fit into memory before it is allocated."""

    def __init__(self, n_inputs: int, n_outputs: int, *arguments: Any, **options: Any):
        kernel_size = arguments[0] if isinstance(self, nn.Conv2d | nn.ConvTranspose2d) else 1
        check_weights(n_inputs * n_outputs * kernel_size**2)
        super().__init__(n_inputs, n_outputs, *arguments, **options)


class Linear(Affordable, nn.Linear):
    """A linear map with He's initialisation (normal, standard deviation sqrt(2 / inputs)) and zero bias."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / self.in_features), generator=initial_generator())
        nn.init.zeros_(self.bias)


class GatedLinear(nn.Module):
    """h * sigmoid(g), both linear in the input and computed as one product."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.linear = Linear(n_inputs, 2 * n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.glu(self.linear(x), dim=1)


class Conv2d(Affordable, nn.Conv2d):
    """A convolution with torch's initialisation, from the generator in force."""

    def reset_parameters(self) -> None:
        generator = initial_generator()
        bound = 1.0 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)


class GatedConv2d(nn.Module):
    """h * sigmoid(g) for images; padding keeps the size, up to the stride."""

    def __init__(self, n_inputs: int, n_outputs: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self.conv = Conv2d(n_inputs, 2 * n_outputs, kernel_size, stride, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w)
        return nn.functional.glu(self.conv(x), dim=1)


class GatedLayers(nn.Sequential):
    """Gated layers and a last linear one."""

    def plus(self, linear: nn.Linear, x: Tensor) -> Tensor | None:
        """Return ``self(x) + linear(x)``, in one product with the last layer's: (n, d) -> (n, n_outputs).

        A product with few columns and a sum of wide outputs by themselves take a tenth of a step. None
        where weights are not all that the three do, and for few rows, which do not pay for a copy of weights.
        """
        *hidden, last = self
        is_plain = _is_plain(self, GatedLayers) and _is_plain(linear, nn.Linear) and _is_plain(last, Linear)
        if not (is_plain and isinstance(last, Linear) and len(x) >= 128):
            return None
        h = x
        for layer in hidden:
            h = layer(h)
        weight = torch.cat([last.weight, linear.weight], dim=1)
        return nn.functional.linear(torch.cat([h, x], dim=1), weight, last.bias + linear.bias)


def _is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether a layer is of this very kind, and nothing was added to it."""
    changed = "forward" in vars(layer) or layer._forward_hooks or layer._forward_pre_hooks
    return type(layer) is kind and not (changed or layer._backward_hooks or layer._backward_pre_hooks)


class Joined(nn.Module):
    """rest(first(a) beside second(b)), for parts with two inputs."""

    def __init__(self, first: nn.Module, second: nn.Module, rest: nn.Module):
        super().__init__()
        self.first = first
        self.second = second
        self.rest = rest

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.rest(torch.cat((self.first(a), self.second(b)), dim=1))


def gated_layers(sizes: list[int]) -> GatedLayers:
    """Build gated layers and a last linear one: (n, sizes[0]) -> (n, sizes[-1])."""
    hidden = [GatedLinear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes[:-1])]
    return GatedLayers(*hidden, Linear(sizes[-2], sizes[-1]))


def joined_gated_layers(n_first: int, n_second: int, sizes: list[int], n_outputs: int) -> Joined:
    """Build gated layers, the first of them one for each of two inputs: (n, n_first), (n, n_second)."""
    if not sizes:
        return Joined(nn.Identity(), nn.Identity(), Linear(n_first + n_second, n_outputs))
    return Joined(
        GatedLinear(n_first, sizes[0]),
        GatedLinear(n_second, sizes[0]),
        gated_layers([2 * sizes[0], *sizes[1:], n_outputs]),
    )


class Network(Documented, BaseEstimator):
    """A description of networks: parameters that are checked as an estimator's are.

    Whatever reads a parameter reads it by :meth:`_checked`, since a part may be built by hand.
    """

    _parameter_constraints: dict[str, list]

    def _checked(self, name: str) -> Any:
        """Return a parameter once all are known to be valid; a sequence as a list of int."""
        self._validate_params()
        value = getattr(self, name)
        return int(value) if isinstance(value, Integral) else [int(n) for n in value]


SIZES = Numbers(Integral, 1, None, closed="left")
IMAGE_SHAPE = Numbers(
    Integral, 1, None, closed="left", shortest=3, longest=3, meaning="(channels, height, width)"
)


def check_image_shape(network: Any, n_features: int) -> tuple[int, int, int]:
    """Return channels, height and width, or raise an error if they are not those of the rows."""
    name = type(network).__name__
    shape = network._checked("image_shape")
    if min(shape[1:]) < 8:
        raise InvalidParameterError(
            f"The 'image_shape' parameter of {name} must be (channels, height, width), such as "
            f"(1, 28, 28) for grey images, with height and width at least 8. Got {network.image_shape!r} "
            "instead."
        )
    if math.prod(shape) != n_features:
        raise InvalidParameterError(
            f"The 'image_shape' parameter of {name} must multiply to the data's n_features={n_features}. "
            f"Got {network.image_shape!r}, which multiplies to {math.prod(shape)}, instead."
        )
    return shape[0], shape[1], shape[2]
