"""Networks: shapes, initialisation, the protocol, and parts of two-level models."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from skswae import SWAETransformer, networks
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import CosineNet, DropoutMLP, NormNet, Odd, Plain, Wrong

# what each part is called with, and its outputs: of 64 features, a lower level of 3 and an upper one of 2
ROLES = {
    "encoder": ((64,), 5),
    "decoder": ((5,), 64),
    "joint_encoder": ((64, 2), 6),
    "conditional_prior": ((2,), 6),
    "joint_decoder": ((3, 2), 64),
}


def small_conv(shape, **parameters):
    parameters = {
        "encoder_filters": (4, 4, 4, 4, 2), "decoder_filters": (4,), "hidden_size": 8, **parameters
    }  # fmt: skip
    return GatedConvNet(shape, **parameters)


def roles(n_features):
    """ROLES for that many features."""
    return {
        role: (tuple(n_features if n == 64 else n for n in inputs), n_features if n == 64 else n)
        for role, (inputs, n) in ROLES.items()
    }


def drawn(*widths, n=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, width, generator=generator, dtype=dtype) for width in widths]


NETWORKS = [
    GatedMLP((5,)), GatedMLP(()), GatedMLP((7, 5, 3)), small_conv((1, 8, 8)),
    DCGANNet((1, 8, 8), filters=(4, 6)), DropoutMLP(), CosineNet(), Plain(6), NormNet(),
]  # fmt: skip
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
every_role = pytest.mark.parametrize("role", ROLES)

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


@pytest.mark.parametrize(
    "layer",
    [
        lambda: networks._SmallLinear(200, 300),
        lambda: networks._SmallConv2d(16, 200, 4),
        lambda: networks._SmallConvTranspose2d(200, 16, 4),
    ],
)
def test_wae_s_initialisation(layer):
    layer = layer()
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not layer.bias.any()


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2), (5, 4)])
def test_halving_and_doubling_pad_as_tensorflow_does(size):
    """With "SAME" padding, one row or column before and, for odd sizes, two after; sizes are rounded up."""
    (height, width), halves = size, (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    halving = networks._Halving(3, 4).eval()
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    after = [2 if n % 2 else 1 for n in size]
    padded = nn.functional.pad(x, (1, after[1], 1, after[0]))
    expected = halving.norm(nn.functional.conv2d(padded, halving.conv.weight, stride=2)).relu()
    assert expected.shape == (2, 4, *halves)
    torch.testing.assert_close(halving(x), expected)
    # the transposed convolution is the gradient of that one
    doubling = networks._Doubling(4, 3, size).eval()
    h = torch.randn(2, 4, *halves, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    padded = nn.functional.pad(x, (1, after[1], 1, after[0]))
    out = nn.functional.conv2d(padded, doubling.conv.weight, stride=2)
    (gradient,) = torch.autograd.grad(out, x, h)
    torch.testing.assert_close(doubling(h), doubling.norm(gradient).relu())


# ---------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------


@every_role
@pytest.mark.parametrize("sizes", [(), (5,), [5, 7], np.array([4, 4]), 6, np.int64(3), (5, 4, 3)])
def test_mlp_sizes(sizes, role):
    network = clone(GatedMLP(sizes))
    inputs, n_outputs = ROLES[role]
    part = getattr(network, f"build_{role}")(*inputs, n_outputs)
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


def linear_shapes(module):
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Linear)]


def test_two_level_mlp_is_vampprior_s():
    """HVAE: one gated layer for each input, one for both, and a linear map; gates are in the same matrix."""
    network = GatedMLP()
    assert linear_shapes(network.build_joint_encoder(784, 40, 80)) == [
        (600, 784), (600, 40), (600, 600), (80, 300)
    ]  # fmt: skip
    assert linear_shapes(network.build_conditional_prior(40, 80)) == [(600, 40), (600, 300), (80, 300)]
    assert linear_shapes(network.build_joint_decoder(40, 30, 784)) == [
        (600, 40), (600, 30), (600, 600), (784, 300)
    ]  # fmt: skip
    network = GatedMLP((9, 5, 3))
    assert linear_shapes(network.build_joint_encoder(20, 2, 6)) == [
        (18, 20), (18, 2), (10, 18), (6, 5), (6, 3)
    ]  # fmt: skip
    assert linear_shapes(network.build_joint_decoder(4, 2, 20)) == [
        (6, 4), (6, 2), (10, 6), (18, 5), (20, 9)
    ]  # fmt: skip


@every_role
@pytest.mark.parametrize("Network", [small_conv, DCGANNet])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (2, 28, 28), (1, 15, 8), (4, 10, 33), (5, 8, 13)])
def test_image_networks_take_any_image(Network, shape, role):
    network = Network(shape) if Network is small_conv else DCGANNet(shape, filters=(4, 3, 5))
    inputs, n_outputs = roles(math.prod(shape))[role]
    part = networks.build(network, role, inputs, n_outputs, 0)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)


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


def test_two_level_convolutional_network_is_vampprior_s():
    """convHVAE: 3 x 3 kernels beside a gated layer of the upper code to 294 numbers, then 300 units."""
    convs = [(32, 3, 1, 1), (32, 3, 2, 1), (64, 3, 1, 1), (64, 3, 2, 1), (6, 3, 1, 1)]
    for size, flat in [(28, 294), (32, 384)]:
        encoder = GatedConvNet((1, size, size)).build_joint_encoder(size * size, 40, 80)
        assert [
            (c.out_channels // 2, c.kernel_size[0], c.stride[0], c.padding[0])
            for c in encoder.modules() if isinstance(c, nn.Conv2d)
        ] == convs  # fmt: skip
        assert linear_shapes(encoder) == [(2 * flat, 40), (600, 2 * flat), (80, 300)]
    network = GatedConvNet((1, 28, 28))
    assert linear_shapes(network.build_conditional_prior(40, 80)) == [(600, 40), (600, 300), (80, 300)]
    joint, decoder = network.build_joint_decoder(40, 30, 784), network.build_decoder(40, 784)
    assert linear_shapes(joint) == [(600, 40), (600, 30), (1568, 600)]
    one, two = (
        [tuple(p.shape) for c in m.modules() if isinstance(c, nn.Conv2d) for p in c.parameters()]
        for m in (decoder, joint)
    )
    assert one == two
    n_gated = sum((c_in * 9 + 1) * 2 * c_out for c_in, c_out in [(1, 64), (64, 64), (64, 64), (64, 64)])
    n_dense = 600 * 41 + 600 * 31 + 1568 * 601
    assert sum(p.numel() for p in joint.parameters()) == n_dense + n_gated + 65


def test_dcgan_is_wae_s():
    """The network for MNIST, as the paper's appendix and its public code say."""
    network = DCGANNet((1, 28, 28))
    encoder = network.build_encoder(784, 8)
    convs = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs] == [
        (1, 128, 4, 2), (128, 256, 4, 2), (256, 512, 4, 2), (512, 1024, 4, 2),
    ]  # fmt: skip
    assert linear_shapes(encoder) == [(8, 2 * 2 * 1024)]
    decoder = network.build_decoder(8, 784)
    assert linear_shapes(decoder) == [(7 * 7 * 1024, 8)]
    convs = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d | nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs] == [
        (1024, 512, 4, 2), (512, 256, 4, 2), (256, 1, 4, 1),
    ]  # fmt: skip
    for part, filters in [(encoder, [128, 256, 512, 1024]), (decoder, [512, 256])]:
        norms = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [(n.num_features, n.momentum, n.eps) for n in norms] == [(n, 0.1, 1e-5) for n in filters]


def test_dcgan_s_last_layer_is_a_transposed_convolution():
    """Of stride 1 with "SAME" padding: the gradient of a convolution with 1 before and 2 after."""
    *_, pad, last, _ = DCGANNet((2, 8, 9), filters=(3, 4)).build_decoder(5, 144)
    h = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    mirrored = last.weight.flip(2, 3).transpose(0, 1)  # (3, 2, 4, 4)
    expected = nn.functional.conv_transpose2d(h, mirrored)[:, :, 1:-2, 1:-2]
    torch.testing.assert_close(last(pad(h)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("filters", [(2, 3), [2, 3, 4], np.array([2, 3, 4, 5]), (2, 2, 2, 2, 2, 3)])
def test_dcgan_filters(filters):
    network = clone(DCGANNet((1, 9, 20), filters=filters))
    scale = Fraction(1, 2 if len(filters) == 2 else 4)
    decoder = network.build_decoder(4, 180)
    start = filters[-1] * math.ceil(9 * scale) * math.ceil(20 * scale)
    assert linear_shapes(decoder) == [(start, 4)]
    assert [m.out_channels for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)] == list(
        filters[-2:-4:-1]
    )
    assert decoder(torch.zeros(2, 4)).shape == (2, 180)
    assert network.build_encoder(180, 4)(torch.zeros(2, 180)).shape == (2, 4)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            DCGANNet((1, 8, 8), filters=(4,)),
            r"'filters' parameter of DCGANNet .*at least 2.*Got \(4,\) instead",
        ),
        (DCGANNet((1, 8, 8), filters=()), r"'filters' parameter of DCGANNet .*Got \(\) instead"),
        (DCGANNet((1, 8, 8), filters=(4, 0)), r"'filters' parameter .*at least 1. Got \(4, 0\) instead"),
        (DCGANNet((1, 8, 8), filters=8), "'filters' parameter .*Got 8 instead"),
        (DCGANNet((1, 8, 8), filters="48"), "'filters' parameter .*Got '48' instead"),
        (DCGANNet((1, 4, 16), filters=(4, 4)), "'image_shape' parameter of DCGANNet .*at least 8. Got"),
        (DCGANNet((8, 8), filters=(4, 4)), "'image_shape' parameter of DCGANNet .*channels, height, width"),
        (DCGANNet((1, 8, 9), filters=(4, 4)), "'image_shape' parameter of DCGANNet .*multiplies to 72"),
        (GatedConvNet((1, 8, 9)), "'image_shape' parameter of GatedConvNet .*multiplies to 72"),
        (GatedConvNet((1, 8, 4)), "'image_shape' parameter of GatedConvNet .*at least 8. Got"),
        (small_conv((1, 8, 8), hidden_size=0), r"'hidden_size' parameter .*Got \(0,\) instead"),
        (
            small_conv((1, 8, 8), encoder_filters=(8,), decoder_filters=(0,)),
            "'(en|de)coder_filters' parameter",
        ),
        (GatedMLP((0,)), "'hidden_layer_sizes' parameter"),
    ],
)
@pytest.mark.parametrize("role", ["joint_encoder", "joint_decoder"])
def test_parameters_out_of_range(network, message, role):
    with pytest.raises(ValueError, match=message):
        networks.build(network, role, *ROLES[role], 0)


@pytest.mark.parametrize(
    "network", [GatedMLP(5), GatedConvNet((1, 8, 8)), DCGANNet((1, 8, 8), filters=[4, 5])]
)
def test_networks_are_cloned_and_pickled(network):
    for copy in (clone(network), pickle.loads(pickle.dumps(network))):
        assert copy.get_params() == network.get_params()
        assert repr(copy) == repr(network)


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
        (1, 8, 8), encoder_filters=(8, 8, 8, 8, 6), decoder_filters=(16, 16), hidden_size=100
    )
    swae = SWAETransformer(
        4, network=network, init="random", batch_size=16, learning_rate_init=5e-3, random_state=0
    ).fit(digits[0])
    assert -swae.score(digits[0]) < 0.75 * digits[0].var(axis=0).sum()


@pytest.mark.parametrize("init", ["pca", "random"])
def test_dcgan_is_trained(init, digits):
    network = DCGANNet((1, 8, 8), filters=(8, 16, 16))
    swae = cheap(SWAETransformer, network=network, init=init, max_iter=2).fit(digits[0])
    assert np.isfinite(swae.history_["loss"]).all()
    assert np.isfinite(swae.transform(digits[0])).all()
    samples = swae.sample(3, random_state=0)
    assert samples.shape == (3, 64)
    assert np.isfinite(samples).all()


def test_dcgan_fits_images(digits):
    network = DCGANNet((1, 8, 8), filters=(8, 16, 32))
    swae = SWAETransformer(
        4, network=network, init="random", max_iter=20, batch_size=16, learning_rate_init=5e-3, random_state=0
    ).fit(digits[0])
    assert -swae.score(digits[0]) < 0.75 * digits[0].var(axis=0).sum()


# ---------------------------------------------------------------------------
# Building
# ---------------------------------------------------------------------------


@every_network
@every_role
def test_building_moves_no_global_stream_and_repeats(network, role):
    inputs, n_outputs = ROLES[role]
    before = torch.get_rng_state()
    a, b, c = (networks.build(network, role, inputs, n_outputs, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for p, q in zip(a.parameters(), b.parameters()):
        assert torch.equal(p, q)
    for p, q in zip(a.parameters(), c.parameters()):
        if p.ndim > 1:  # some biases start at zero
            assert not torch.equal(p, q)
    assert all(m.training for m in a.modules())


@every_network
@every_role
def test_parts_have_the_shapes_of_their_roles(network, role):
    inputs, n_outputs = ROLES[role]
    part = networks.build(network, role, inputs, n_outputs, 0)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)
    single = part.eval()(*drawn(*inputs))
    double = part.double()(*(a.double() for a in drawn(*inputs)))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-5)


@every_network
@pytest.mark.parametrize("role", ["joint_encoder", "joint_decoder"])
def test_a_joint_part_listens_to_both_inputs(network, role):
    inputs, n_outputs = ROLES[role]
    part = networks.build(network, role, inputs, n_outputs, 0).double().eval()
    x = [a.requires_grad_() for a in drawn(*inputs, dtype=torch.float64)]
    gradients = torch.autograd.grad(part(*x).square().sum(), x)
    for gradient in gradients:
        assert gradient.any(dim=0).all()


def test_the_last_layer_is_registered_last():
    """The start from PCA finds it there."""
    for network in NETWORKS[:5]:
        for role, (inputs, n_outputs) in ROLES.items():
            part = networks.build(network, role, inputs, n_outputs, 0).eval()
            layers = [m for m in part.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
            with torch.no_grad():
                for p in layers[-1].parameters():
                    p.zero_()
            assert not part(*drawn(*inputs)).any()


@pytest.mark.parametrize("network", [DropoutMLP(), Plain(7), DCGANNet((1, 8, 8), filters=(4, 6))])
def test_parts_are_composed_from_a_network_s_own(network):
    encoder = networks.build(network, "joint_encoder", (64, 2), 6, 0)
    features = networks.build(network, "encoder", (64,), 300, 0)
    assert type(encoder.first) is type(features)
    for p, q in zip(encoder.first.parameters(), features.parameters(), strict=True):
        assert torch.equal(p, q)
    assert linear_shapes(encoder)[-3:] == [(600, 2), (600, 600), (6, 300)]
    prior = networks.build(network, "conditional_prior", (2,), 6, 0)
    assert linear_shapes(prior) == [(600, 2), (600, 300), (6, 300)]
    decoder = networks.build(network, "joint_decoder", (3, 2), 64, 0).eval()
    whole = networks.build(network, "decoder", (5,), 64, 0).eval()
    z1, z2 = drawn(3, 2)
    torch.testing.assert_close(decoder(z1, z2), whole(torch.cat((z1, z2), dim=1)))


def test_a_module_that_the_network_keeps_is_copied_into_a_composed_part():
    kept = nn.Linear(64, 300)
    encoder = networks.build(Wrong(encoder=kept), "joint_encoder", (64, 2), 6, 0)
    assert encoder.first is not kept
    assert encoder.first.weight.data_ptr() != kept.weight.data_ptr()


@pytest.mark.parametrize(
    ("network", "role", "message"),
    [
        (Wrong(encoder=nn.Linear(64, 3)), "joint_encoder", r"build_encoder\(64, 300\) .*Got \(2, 3\) in"),
        (Wrong(encoder=nn.LSTM(64, 300)), "joint_encoder", r"build_encoder\(64, 300\) .*Got tuple instead"),
        (Odd("changes its input"), "joint_encoder", r"build_encoder\(64, 300\) .*changed its input in place"),
        (Odd("is float32 alone"), "joint_encoder", r"build_encoder\(64, 300\) .*in torch.float64 .*raised: "),
        (Wrong(decoder=nn.Linear(4, 64)), "joint_decoder", r"build_decoder\(5, 64\) .* It raised: "),
        (Wrong(decoder=3), "joint_decoder", r"build_decoder\(5, 64\) returns an nn.Module. Got int instead"),
    ],
)
def test_composed_parts_are_checked(network, role, message):
    with pytest.raises((ValueError, TypeError), match=message):
        networks.build(network, role, *ROLES[role], 0)


class TwoLevels(BaseEstimator):
    """A user's own network with every method."""

    def __init__(self, kind=None):
        self.kind = kind

    def build_encoder(self, n_features, n_outputs):
        return nn.Linear(n_features, n_outputs)

    def build_decoder(self, n_components, n_features):
        return nn.Linear(n_components, n_features)

    def build_joint_encoder(self, n_features, n_upper, n_outputs):
        return Summed(n_features, n_upper, n_outputs, self.kind)

    def build_conditional_prior(self, n_upper, n_outputs):
        return nn.Linear(n_upper, n_outputs + (self.kind == "one more"))

    def build_joint_decoder(self, n_lower, n_upper, n_features):
        return Summed(n_lower, n_upper, n_features, self.kind)


class Summed(nn.Module):
    """A x + B y, or something odd."""

    def __init__(self, n_first, n_second, n_outputs, kind):
        super().__init__()
        self.kind = kind
        n_outputs += kind == "one more"
        self.first = nn.Linear(n_first, n_outputs)
        self.second = nn.Linear(n_second, n_outputs, bias=False)

    def forward(self, x, y):
        if self.kind == "changes its second input":
            y.zero_()
        if self.kind == "is float32 alone":
            x = x.float()
        return self.first(x) + self.second(y)


@every_role
def test_a_user_s_own_two_level_network_is_used(role):
    inputs, n_outputs = ROLES[role]
    part = networks.build(TwoLevels(), role, inputs, n_outputs, 0)
    assert isinstance(part, Summed if role.startswith("joint") else nn.Linear)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)


@pytest.mark.parametrize(
    ("kind", "role", "message"),
    [
        (
            "one more",
            "joint_encoder",
            r"TwoLevels.build_joint_encoder\(64, 2, 6\) returns a module that maps tensors of shapes "
            r"\(2, 64\) and \(2, 2\) to one of \(2, 6\), .*leaves its inputs as they are. Got \(2, 7\) in",
        ),
        ("one more", "joint_decoder", r"build_joint_decoder\(3, 2, 64\) .*Got \(2, 65\) in"),
        (
            "one more",
            "conditional_prior",
            r"TwoLevels.build_conditional_prior\(2, 6\) returns a module that maps a tensor of shape "
            r"\(2, 2\) to one of \(2, 6\), .* leaves its input as it is. Got \(2, 7\) in",
        ),
        ("changes its second input", "joint_encoder", r"\(64, 2, 6\) .*changed its input in place"),
        ("is float32 alone", "joint_decoder", r"\(3, 2, 64\) .*in torch.float64 for float64 rows.*raised: "),
    ],
)
def test_a_user_s_own_two_level_network_is_checked(kind, role, message):
    with pytest.raises(ValueError, match=message):
        networks.build(TwoLevels(kind), role, *ROLES[role], 0)


def test_an_unknown_role():
    with pytest.raises(ValueError, match="'critic'"):
        networks.build(GatedMLP(), "critic", (3,), 1, 0)


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
    fitted = cheap(Estimator, network=network, max_iter=10).fit(X)
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    assert fitted.sample(3).shape == (3, 64)
