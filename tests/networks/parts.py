"""The parts of a network, in small."""

import torch
from torch import nn

from skswae.networks import GatedConvNet

# what each part is called with, and its outputs: of 64 features, a lower level of 3 and an upper one of 2
ROLES = {
    "encoder": ((64,), 5),
    "decoder": ((5,), 64),
    "joint_encoder": ((64, 2), 6),
    "conditional_prior": ((2,), 6),
    "joint_decoder": ((3, 2), 64),
}


def small_conv(shape, encoder_filters=(4, 4, 4, 4, 2), decoder_filters=(4,), hidden_size=8):
    return GatedConvNet(
        shape, encoder_filters=encoder_filters, decoder_filters=decoder_filters, hidden_size=hidden_size
    )


def drawn(*widths, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, width, generator=generator, dtype=dtype) for width in widths]


def linear_shapes(module):
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Linear)]


def convolutions(module):
    """Return filters before and after, kernel and stride of each."""
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    return [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers]
