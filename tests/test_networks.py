"""Networks: shapes, initialisation, the protocol, and the start from PCA."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skswae import SWAETransformer, networks
from skswae.networks import GatedConvNet, GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import CosineNet, DropoutMLP

# ---------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------


def test_gates():
    layer = networks._GatedLinear(3, 2)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    (wh, wg), (bh, bg) = layer.linear.weight.chunk(2), layer.linear.bias.chunk(2)
    torch.testing.assert_close(layer(x), (x @ wh.T + bh) * torch.sigmoid(x @ wg.T + bg))


def test_he_initialisation():
    weight = networks._Linear(400, 500).weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert abs(weight.mean().item()) < 1e-3


def test_convolutions_start_as_torch_s():
    ours = networks._Conv2d(16, 500, 3)
    theirs = nn.Conv2d(16, 500, 3)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert a.abs().max().item() == pytest.approx(b.abs().max().item(), rel=0.02)
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.1)


@pytest.mark.parametrize("sizes", [(), (5,), [5, 7], np.array([4, 4]), 6, np.int64(3)])
def test_mlp_sizes(sizes):
    network = clone(GatedMLP(sizes))
    assert network.build_encoder(10, 3)(torch.zeros(2, 10)).shape == (2, 3)
    assert network.build_decoder(3, 10)(torch.zeros(2, 3)).shape == (2, 10)


def test_no_hidden_layers_is_linear():
    encoder = GatedMLP(()).build_encoder(10, 3)
    x, y = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0))
    bias = encoder(torch.zeros(4, 10))
    torch.testing.assert_close(encoder(x + 2 * y) - bias, encoder(x) - bias + 2 * (encoder(y) - bias))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (2, 28, 28), (1, 15, 8), (4, 10, 33), (5, 8, 13)])
def test_convolutional_network_takes_any_image(shape):
    d = math.prod(shape)
    network = GatedConvNet(shape, encoder_filters=(4, 4, 4, 4, 2), decoder_filters=(4,), hidden_size=8)
    assert network.build_encoder(d, 6)(torch.zeros(2, d)).shape == (2, 6)
    assert network.build_decoder(3, d)(torch.zeros(2, 3)).shape == (2, d)


def test_convolutional_network_is_vampprior_s():
    """294 numbers before the linear map at 28 x 28 and 384 at 32 x 32; kernels, strides and filters."""
    for size, flat in [(28, 294), (32, 384)]:
        encoder = GatedConvNet((1, size, size)).build_encoder(size * size, 40)
        assert encoder[-1].weight.shape == (40, flat)
    convs = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels // 2, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convs] == [
        (32, 7, 1, 3), (32, 3, 2, 1), (64, 5, 1, 2), (64, 3, 2, 1), (6, 3, 1, 1),
    ]  # fmt: skip
    decoder = GatedConvNet((3, 32, 32)).build_decoder(40, 3072)
    convs = [m for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convs] == [
        (3, 128, 3), (64, 128, 3), (64, 128, 3), (64, 128, 3), (64, 3, 1),
    ]  # fmt: skip
    assert decoder[0].linear.weight.shape == (600, 40)
    assert decoder[1].linear.weight.shape == (6144, 300)


def test_rows_are_channel_first():
    """A pixel of the second channel moves the features of its own place only."""
    shape = (2, 16, 16)
    encoder = GatedConvNet(shape).build_encoder(512, 4)
    first = encoder[:2]  # the image, and the first convolution: 7 x 7, stride 1
    x = torch.zeros(1, 512)
    x[0, 256 + 16 * 3 + 12] = 1.0  # channel 1, row 3, column 12
    moved = (first(x) - first(torch.zeros(1, 512))).abs().sum(dim=(0, 1)) > 0
    assert moved.nonzero().amin(0).tolist() == [0, 9]
    assert moved.nonzero().amax(0).tolist() == [6, 15]


def test_networks_fit_images(digits):
    network = GatedConvNet(
        (1, 8, 8), encoder_filters=(8, 8, 8, 8, 6), decoder_filters=(16, 16, 16, 16), hidden_size=100
    )
    swae = SWAETransformer(
        4, network=network, init="random", batch_size=16, learning_rate_init=5e-3, random_state=0
    ).fit(digits[0])
    assert -swae.score(digits[0]) < 0.75 * digits[0].var(axis=0).sum()


# ---------------------------------------------------------------------------
# Building
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network", [GatedMLP((5,)), GatedConvNet((1, 8, 8), hidden_size=4), DropoutMLP(), CosineNet()]
)
def test_building_moves_no_global_stream_and_repeats(network):
    before = torch.get_rng_state()
    a, b, c = (networks.build(network, "encoder", 64, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for p, q in zip(a.parameters(), b.parameters()):
        assert torch.equal(p, q)
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters()))
    assert a.training


def test_networks_built_by_hand_draw_from_torch_s_stream():
    torch.manual_seed(0)
    a = GatedMLP((5,)).build_encoder(4, 2)
    b = GatedMLP((5,)).build_encoder(4, 2)
    assert not torch.equal(a[0].linear.weight, b[0].linear.weight)


def test_a_subclass_of_ours_may_use_torch_s_layers(digits):
    class Longer(GatedMLP):
        def build_encoder(self, n_features, n_outputs):
            return nn.Sequential(nn.Linear(n_features, 9), super().build_encoder(9, n_outputs))

    before = torch.get_rng_state()
    fits = [cheap(SWAETransformer, network=Longer((4,))).fit(digits[0]) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*(f.transform(digits[0]) for f in fits))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("network", [DropoutMLP(), CosineNet()])
def test_a_user_s_own_network(Estimator, network, digits):
    X = digits[0]
    fitted = cheap(Estimator, network=network, max_iter=20).fit(X)
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    assert fitted.sample(3).shape == (3, 64)
