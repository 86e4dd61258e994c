"""The networks of the papers: their shapes, and what they take."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skswae.networks import DCGANNet, GatedConvNet, GatedMLP
from skswae.networks._protocol import build

from .parts import ROLES, convolutions, drawn, linear_shapes, small_conv

every_role = pytest.mark.parametrize("role", ROLES)


@every_role
@pytest.mark.parametrize("sizes", [(5,), [5, 7], np.array([4, 4]), 6, np.int64(3), (5, 4, 3)])
def test_mlp_sizes(sizes, role):
    inputs, n_outputs = ROLES[role]
    part = getattr(clone(GatedMLP(sizes)), f"build_{role}")(*inputs, n_outputs)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)


@every_role
def test_no_hidden_layers_is_linear(role):
    inputs, n_outputs = ROLES[role]
    part = getattr(GatedMLP(()), f"build_{role}")(*inputs, n_outputs).double()
    x = drawn(*inputs, dtype=torch.float64)
    y = [torch.flip(a, (0,)) for a in x]
    bias = part(*(torch.zeros_like(a) for a in x))
    together = part(*(a + 2 * b for a, b in zip(x, y)))
    torch.testing.assert_close(together - bias, part(*x) - bias + 2 * (part(*y) - bias))


def test_two_level_mlp_is_vampprior_s():
    """HVAE: one gated layer for each input, one for both, and a linear map; gates are in the same matrix."""
    network = GatedMLP()
    encoder, decoder = network.build_joint_encoder(784, 40, 80), network.build_joint_decoder(40, 30, 784)
    assert linear_shapes(encoder) == [(600, 784), (600, 40), (600, 600), (80, 300)]
    assert linear_shapes(network.build_conditional_prior(40, 80)) == [(600, 40), (600, 300), (80, 300)]
    assert linear_shapes(decoder) == [(600, 40), (600, 30), (600, 600), (784, 300)]
    network = GatedMLP((9, 5, 3))
    encoder, decoder = network.build_joint_encoder(20, 2, 6), network.build_joint_decoder(4, 2, 20)
    assert linear_shapes(encoder) == [(18, 20), (18, 2), (10, 18), (6, 5), (6, 3)]
    assert linear_shapes(decoder) == [(6, 4), (6, 2), (10, 6), (18, 5), (20, 9)]


@every_role
@pytest.mark.parametrize("Network", [small_conv, lambda shape: DCGANNet(shape, filters=(4, 3, 5))])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (1, 15, 8), (4, 10, 33)])
def test_image_networks_take_any_image(Network, shape, role):
    inputs, n_outputs = ROLES[role]
    *inputs, n_outputs = (math.prod(shape) if n == 64 else n for n in (*inputs, n_outputs))
    part = build(Network(shape), role, tuple(inputs), n_outputs, 0)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)


@pytest.mark.parametrize(("size", "flat"), [(28, 294), (32, 384)])
def test_convolutional_network_is_vampprior_s(size, flat):
    """convHVAE; with two levels, all kernels are 3, beside a gated layer of the upper code."""
    network, d = GatedConvNet((1, size, size)), size * size
    encoder, joint = network.build_encoder(d, 40), network.build_joint_encoder(d, 40, 80)
    widths = [(1, 64), (32, 64), (32, 128), (64, 128), (64, 12)]
    for part, kernels in ((encoder, (7, 3, 5, 3, 3)), (joint, (3, 3, 3, 3, 3))):
        assert convolutions(part) == [(*w, k, s) for w, k, s in zip(widths, kernels, (1, 2, 1, 2, 1))]
    assert linear_shapes(encoder) == [(40, flat)]
    assert linear_shapes(joint) == [(2 * flat, 40), (600, 2 * flat), (80, 300)]
    assert linear_shapes(network.build_conditional_prior(40, 80)) == [(600, 40), (600, 300), (80, 300)]
    decoder, joint = network.build_decoder(40, d), network.build_joint_decoder(40, 30, d)
    for part in (decoder, joint):
        assert convolutions(part) == [(1, 128, 3, 1), *[(64, 128, 3, 1)] * 3, (64, 1, 1, 1)]
    assert linear_shapes(decoder) == [(600, 40), (2 * d, 300)]
    assert linear_shapes(joint) == [(600, 40), (600, 30), (2 * d, 600)]


def test_rows_are_channel_first():
    """A pixel of the second channel moves the features of its own place only."""
    encoder = GatedConvNet((2, 16, 16)).build_encoder(512, 4)
    first = encoder[:2]  # the image, and the first convolution: 7 x 7, stride 1
    x = torch.zeros(1, 512)
    x[0, 256 + 16 * 3 + 12] = 1.0  # channel 1, row 3, column 12
    moved = (first(x) - first(torch.zeros(1, 512))).abs().sum(dim=(0, 1)) > 0
    assert moved.nonzero().amin(0).tolist() == [0, 9]
    assert moved.nonzero().amax(0).tolist() == [6, 15]


def test_dcgan_is_wae_s():
    """The network for MNIST, as the paper's appendix and its public code say."""
    network = DCGANNet((1, 28, 28))
    encoder, decoder = network.build_encoder(784, 8), network.build_decoder(8, 784)
    assert convolutions(encoder) == [(1, 128, 4, 2), (128, 256, 4, 2), (256, 512, 4, 2), (512, 1024, 4, 2)]
    assert linear_shapes(encoder) == [(8, 2 * 2 * 1024)]
    assert linear_shapes(decoder) == [(7 * 7 * 1024, 8)]
    assert convolutions(decoder) == [(1024, 512, 4, 2), (512, 256, 4, 2), (256, 1, 4, 1)]
    for part, filters in [(encoder, [128, 256, 512, 1024]), (decoder, [512, 256])]:
        norms = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [(n.num_features, n.momentum, n.eps) for n in norms] == [(n, 0.1, 1e-5) for n in filters]


def test_dcgan_s_last_layer_is_a_transposed_convolution():
    """Its stride is 1 and its padding "SAME": the gradient of a convolution with 1 before and 2 after."""
    *_, pad, last, _ = DCGANNet((2, 8, 9), filters=(3, 4)).build_decoder(5, 144)
    h = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    mirrored = last.weight.flip(2, 3).transpose(0, 1)  # (3, 2, 4, 4)
    expected = nn.functional.conv_transpose2d(h, mirrored)[:, :, 1:-2, 1:-2]
    torch.testing.assert_close(last(pad(h)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("filters", [(2, 3), [2, 3, 4], np.array([2, 3, 4, 5]), (2, 2, 2, 2, 2, 3)])
def test_dcgan_filters(filters):
    network = clone(DCGANNet((1, 9, 20), filters=filters))
    scale = 2 if len(filters) == 2 else 4
    decoder = network.build_decoder(4, 180)
    assert linear_shapes(decoder) == [(filters[-1] * math.ceil(9 / scale) * math.ceil(20 / scale), 4)]
    assert [n_out for _, n_out, _, _ in convolutions(decoder)] == [*filters[-2:-4:-1], 1]
    assert decoder(torch.zeros(2, 4)).shape == (2, 180)
    assert network.build_encoder(180, 4)(torch.zeros(2, 180)).shape == (2, 4)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (DCGANNet((1, 8, 8), filters=(4,)), r"'filters' .* of DCGANNet .*at least 2.*Got \(4,\) instead"),
        (DCGANNet((1, 8, 8), filters=()), r"'filters' parameter of DCGANNet .*Got \(\) instead"),
        (
            DCGANNet((1, 8, 8), filters=(4, 0)),
            r"'filters' parameter .*int in the range \[1, inf\). Got \(4, 0\) instead",
        ),
        (DCGANNet((1, 8, 8), filters=8), "'filters' parameter .*Got 8 instead"),
        (DCGANNet((1, 8, 8), filters="48"), "'filters' parameter .*Got '48' instead"),
        (DCGANNet((1, 4, 16), filters=(4, 4)), "'image_shape' parameter of DCGANNet .*at least 8. Got"),
        (DCGANNet((8, 8), filters=(4, 4)), "'image_shape' parameter of DCGANNet .*channels, height, width"),
        (GatedConvNet((1, 8, 9)), "'image_shape' parameter of GatedConvNet .*multiplies to 72"),
        (small_conv((1, 8, 8), hidden_size=0), "'hidden_size' parameter .*Got 0 instead"),
        (small_conv((1, 8, 8), encoder_filters=(8,), decoder_filters=(0,)), "'(en|de)coder_filters' param"),
        (GatedMLP((0,)), "'hidden_layer_sizes' parameter"),
    ],
)
@pytest.mark.parametrize("role", ["joint_encoder", "joint_decoder"])
def test_parameters_out_of_range(network, message, role):
    with pytest.raises(ValueError, match=message):
        build(network, role, *ROLES[role], 0)


@pytest.mark.parametrize("network", [GatedMLP(5), small_conv((1, 8, 8)), DCGANNet((1, 8, 8), filters=[4, 5])])
def test_networks_are_cloned_and_pickled(network):
    for copy in (clone(network), pickle.loads(pickle.dumps(network))):
        assert copy.get_params() == network.get_params()
        assert repr(copy) == repr(network)


LEARNING = [small_conv((1, 8, 8), (8, 8, 8, 8, 6), (), 100), DCGANNet((1, 8, 8), filters=(8, 16, 16))]


@pytest.mark.slow
@pytest.mark.parametrize("network", LEARNING)
def test_an_image_network_learns(network, digits):
    X = torch.tensor(digits[0], dtype=torch.float32)
    encoder, decoder = build(network, "encoder", (64,), 4, 0), build(network, "decoder", (4,), 64, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
    for x in [*X.split(25)] * 10:
        optimizer.zero_grad()
        nn.functional.mse_loss(decoder(encoder(x)), x).backward()
        optimizer.step()
    error = (decoder.eval()(encoder.eval()(X)) - X).square().mean()
    assert error < 0.7 * X.var(dim=0).mean()
