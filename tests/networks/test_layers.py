"""Layers against torch's, and their first weights."""

import math

import pytest
import torch
from torch import nn

from skswae.networks import _dcgan, _layers

from .parts import drawn


def test_gates():
    (x,) = drawn(3)
    layer = _layers.GatedLinear(3, 2)
    (wh, wg), (bh, bg) = layer.linear.weight.chunk(2), layer.linear.bias.chunk(2)
    torch.testing.assert_close(layer(x), (x @ wh.T + bh) * torch.sigmoid(x @ wg.T + bg))
    image, layer = x.view(1, 3, 4, 1), _layers.GatedConv2d(3, 4, 3)
    h, g = layer.conv(image).chunk(2, dim=1)
    torch.testing.assert_close(layer(image), h * torch.sigmoid(g))
    assert h.shape == (1, 4, 4, 1)


@pytest.mark.parametrize(
    ("make", "std"),
    [
        (lambda: _layers.Linear(400, 500), math.sqrt(2 / 400)),  # He's
        (lambda: _dcgan._SmallLinear(200, 300), 0.01),  # WAE's
        (lambda: _dcgan._SmallConv2d(16, 200, 4), 0.01),
        (lambda: _dcgan._SmallConvTranspose2d(200, 16, 4), 0.01),
    ],
)
def test_normal_weights_and_zero_biases(make, std):
    torch.manual_seed(0)
    a, b = make(), make()
    assert a.weight.std().item() == pytest.approx(std, rel=0.02)
    assert abs(a.weight.mean().item()) < 0.02 * std
    assert not a.bias.any()
    assert not torch.equal(a.weight, b.weight)  # built by hand they draw from torch's stream


def test_convolutions_start_as_torch_s():
    for a, b in zip(_layers.Conv2d(16, 500, 3).parameters(), nn.Conv2d(16, 500, 3).parameters()):
        assert a.abs().max().item() == pytest.approx(b.abs().max().item(), rel=0.02)
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.1)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2), (5, 4)])
def test_halving_and_doubling_pad_as_tensorflow_does(size):
    """With "SAME" padding, one row or column before and, for odd sizes, two after; sizes are rounded up."""
    halves, after = [math.ceil(n / 2) for n in size], [2 if n % 2 else 1 for n in size]
    generator = torch.Generator().manual_seed(0)
    x, h = torch.randn(2, 3, *size, generator=generator), torch.randn(2, 4, *halves, generator=generator)
    padded = nn.functional.pad(x.requires_grad_(), (1, after[1], 1, after[0]))
    halving = _dcgan._Halving(3, 4).eval()
    expected = halving.norm(nn.functional.conv2d(padded, halving.conv.weight, stride=2)).relu()
    assert expected.shape == h.shape
    torch.testing.assert_close(halving(x), expected)
    # the transposed convolution is the gradient of that one
    doubling = _dcgan._Doubling(4, 3, size).eval()
    out = nn.functional.conv2d(padded, doubling.conv.weight, stride=2)
    (gradient,) = torch.autograd.grad(out, x, h)
    torch.testing.assert_close(doubling(h), doubling.norm(gradient).relu())


def test_batch_norm_of_a_single_number():
    """A batch of one row of 1x1 images has no variance: the running statistics take its place."""
    norm, x = _dcgan._BatchNorm2d(4), torch.ones(1, 4, 1, 1)
    torch.testing.assert_close(norm(x), norm.eval()(x))
