"""The network of the WAE paper."""

from __future__ import annotations

import itertools
import math
from numbers import Integral

import torch
from torch import Tensor, nn

from skswae._constraints import Numbers
from skswae._random import initial_generator
from skswae.networks._layers import IMAGE_SHAPE, Affordable, Network, check_image_shape


def _small_normal(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.normal_(layer.weight, std=0.01, generator=initial_generator())
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class _SmallLinear(Affordable, nn.Linear):
    """A linear map with WAE's initialisation: normal, standard deviation 0.01, and zero bias."""

    def reset_parameters(self) -> None:
        _small_normal(self)


class _SmallConv2d(Affordable, nn.Conv2d):
    """A convolution with WAE's initialisation."""

    def reset_parameters(self) -> None:
        _small_normal(self)


class _SmallConvTranspose2d(Affordable, nn.ConvTranspose2d):
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


class DCGANNet(Network):
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

    _parameter_constraints: dict = {
        "image_shape": [IMAGE_SHAPE],
        "filters": [Numbers(Integral, 1, None, closed="left", shortest=2)],
    }

    def __init__(self, image_shape, *, filters=(128, 256, 512, 1024)):
        self.image_shape = image_shape
        self.filters = filters

    def build_encoder(self, n_features: int, n_outputs: int) -> nn.Module:
        """Build an encoder: (n, n_features) -> (n, n_outputs)."""
        channels, height, width = check_image_shape(self, n_features)
        filters = self._checked("filters")
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
        """Build a decoder, before the output activation: (n, n_components) -> (n, n_features)."""
        channels, height, width = check_image_shape(self, n_features)
        filters = self._checked("filters")[:-4:-1]
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
