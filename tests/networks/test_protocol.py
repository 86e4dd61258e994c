"""What building does with a network of ours or of a user's, and networks in estimators."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import nn

from skswae import SWAETransformer
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP
from skswae.networks._protocol import (
    build,
    build_critic,
    check_network,
    draws_from_global_streams,
    output_layer,
)

from ..estimators import ESTIMATORS, cheap
from ..own_networks import CosineNet, DropoutMLP, NormNet, Odd, Plain, Wrong
from .parts import ROLES, drawn, linear_shapes, small_conv

OURS = [
    GatedMLP((5,)), GatedMLP(()), GatedMLP((7, 5, 3)), small_conv((1, 8, 8)), small_conv((1, 8, 8), decoder_filters=()),
    DCGANNet((1, 8, 8), filters=(4, 6)),
]  # fmt: skip
NETWORKS = [*OURS, DropoutMLP(), CosineNet(), Plain(6), NormNet()]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
every_role = pytest.mark.parametrize("role", ROLES)


@every_network
@every_role
def test_building_moves_no_global_stream_and_repeats(network, role):
    before = torch.get_rng_state()
    a, b, c = (build(network, role, *ROLES[role], seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for p, q, other in zip(a.parameters(), b.parameters(), c.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.ndim == 1 or not torch.equal(p, other)  # some biases start at zero
    assert all(m.training for m in a.modules())


@every_network
@every_role
def test_parts_have_the_shapes_of_their_roles(network, role):
    inputs, n_outputs = ROLES[role]
    part = build(network, role, inputs, n_outputs, 0)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)
    single = part.eval()(*drawn(*inputs))
    x = [a.double().requires_grad_() for a in drawn(*inputs)]
    double = part.double()(*x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-5)
    # a joint part listens to both inputs
    for gradient in torch.autograd.grad(double.square().sum(), x):
        assert gradient.any(dim=0).all()


def test_critic():
    critic = build_critic(3, [7, 5], 0)
    assert critic(*drawn(3)).shape == (4, 1)
    assert linear_shapes(critic) == [(7, 3), (5, 7), (1, 5)]
    assert torch.equal(critic[0].weight, build_critic(3, [7, 5], 0)[0].weight)


def test_which_networks_may_draw_from_global_streams():
    class Longer(GatedMLP):
        pass

    assert not any(draws_from_global_streams(network) for network in OURS)
    assert all(draws_from_global_streams(network) for network in (DropoutMLP(), Plain(3), Longer()))


# ---------------------------------------------------------------------------
# The output layer
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network", [*OURS, DropoutMLP(), NormNet(), Plain(6)], ids=lambda n: type(n).__name__
)
@every_role
def test_the_output_layer_computes_the_output(network, role):
    """Without its weights the output is zero, and gradients bring them back."""
    inputs, n_outputs = ROLES[role]
    part = build(network, role, inputs, n_outputs, 0).eval()
    layer = output_layer(part)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
    out = part(*drawn(*inputs))
    assert not out.any()
    out.sum().backward()
    assert layer.weight.grad.flatten(1).any(dim=1).all()


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1.0


def used_twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    "part",
    [
        Odd("ends in a ReLU").build_encoder(4, 4),
        Odd("registers its layers in another order").build_encoder(4, 4),
        Odd("has a frozen bias at its end").build_encoder(4, 4),
        CosineNet().build_encoder(4, 4),
        nn.Sequential(nn.Linear(4, 4), Scaled(4, 4)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))),
        nn.Sequential(nn.Flatten(), nn.Identity()),
        nn.Sequential(),
        nn.LSTM(4, 4),
        used_twice(),
    ],
)
def test_an_output_layer_that_is_not_known(part):
    assert output_layer(part) is None


def test_the_output_layer_in_a_sequence_of_sequences():
    last = nn.Linear(4, 4)
    part = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), last, nn.Identity()), nn.Flatten())
    assert output_layer(part) is last
    assert output_layer(last) is last


# ---------------------------------------------------------------------------
# A user's networks
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("network", [DropoutMLP(), Plain(7), DCGANNet((1, 8, 8), filters=(4, 6))])
def test_parts_are_composed_from_a_network_s_own(network):
    encoder = build(network, "joint_encoder", (64, 2), 6, 0)
    features = build(network, "encoder", (64,), 300, 0)
    assert type(encoder.first) is type(features)
    for p, q in zip(encoder.first.parameters(), features.parameters(), strict=True):
        assert torch.equal(p, q)
    assert linear_shapes(encoder)[-3:] == [(600, 2), (600, 600), (6, 300)]
    assert linear_shapes(build(network, "conditional_prior", (2,), 6, 0)) == [(600, 2), (600, 300), (6, 300)]
    decoder = build(network, "joint_decoder", (3, 2), 64, 0).eval()
    whole = build(network, "decoder", (5,), 64, 0).eval()
    z1, z2 = drawn(3, 2)
    torch.testing.assert_close(decoder(z1, z2), whole(torch.cat((z1, z2), dim=1)))


def test_a_module_that_the_network_keeps_is_copied():
    kept = nn.Linear(64, 300)
    for part in (
        build(Wrong(encoder=kept), "encoder", (64,), 300, 0),
        build(Wrong(encoder=kept), "joint_encoder", (64, 2), 6, 0).first,
    ):
        assert torch.equal(part.weight, kept.weight)
        assert part.weight.data_ptr() != kept.weight.data_ptr()


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
    part = build(TwoLevels(), role, inputs, n_outputs, 0)
    assert isinstance(part, Summed if role.startswith("joint") else nn.Linear)
    assert part(*drawn(*inputs)).shape == (4, n_outputs)


@pytest.mark.parametrize(
    ("network", "role", "message"),
    [
        (Wrong(encoder=nn.Linear(64, 3)), "joint_encoder", r"build_encoder\(64, 300\) .*Got \(2, 3\) in"),
        (Wrong(encoder=nn.LSTM(64, 300)), "joint_encoder", r"build_encoder\(64, 300\) .*Got tuple instead"),
        (Odd("changes its input"), "joint_encoder", r"build_encoder\(64, 300\) .*changed its input in place"),
        (Odd("is float32 alone"), "joint_encoder", r"build_encoder\(64, 300\) .*in torch.float64 .*raised: "),
        (Wrong(decoder=nn.Linear(4, 64)), "joint_decoder", r"build_decoder\(5, 64\) .* It raised: "),
        (Wrong(decoder=3), "joint_decoder", r"build_decoder\(5, 64\) returns an nn.Module. Got int instead"),
        (
            TwoLevels("one more"),
            "joint_encoder",
            r"TwoLevels.build_joint_encoder\(64, 2, 6\) returns a module that maps tensors of shapes "
            r"\(2, 64\) and \(2, 2\) to one of \(2, 6\), .*leaves its inputs as they are. Got \(2, 7\) in",
        ),
        (
            TwoLevels("one more"),
            "conditional_prior",
            r"TwoLevels.build_conditional_prior\(2, 6\) returns a module that maps a tensor of shape "
            r"\(2, 2\) to one of \(2, 6\), .* leaves its input as it is. Got \(2, 7\) in",
        ),
        (
            TwoLevels("changes its second input"),
            "joint_encoder",
            r"\(64, 2, 6\) .*changed its input in place",
        ),
        (
            TwoLevels("is float32 alone"),
            "joint_decoder",
            r"\(3, 2, 64\) .*float64 for float64 rows.*raised: ",
        ),
        (GatedMLP(), "critic", "No network has a part of the role 'critic'"),
    ],
)
def test_what_a_network_builds_is_checked(network, role, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(network, role, *ROLES.get(role, ((3,), 1)), 0)


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (nn.Linear(2, 2), r"an nn.Module \(Linear\)"),
        (GatedMLP, "the class GatedMLP"),
        (3, "3, which has no build_enc"),
    ],
)
def test_check_network(network, got):
    assert isinstance(check_network(None), GatedMLP)
    with pytest.raises(ValueError, match=rf"'network' parameter must be None or an instance .* Got {got}"):
        check_network(network)


# ---------------------------------------------------------------------------
# In estimators
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("network", [DropoutMLP(), CosineNet()])
def test_a_user_s_own_network_is_trained(Estimator, network, digits):
    X = digits[0]
    fitted = cheap(Estimator, network=network, max_iter=10).fit(X)
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    assert fitted.sample(3).shape == (3, 64)


@pytest.mark.parametrize(
    ("network", "max_iter"),
    [
        (
            GatedConvNet(
                (1, 8, 8), encoder_filters=(8, 8, 8, 8, 6), decoder_filters=(16, 16), hidden_size=100
            ),
            30,
        ),
        (DCGANNet((1, 8, 8), filters=(8, 16, 32)), 20),
    ],
)
def test_image_networks_fit_images(network, max_iter, digits):
    swae = SWAETransformer(
        4,
        network=network,
        init="random",
        max_iter=max_iter,
        batch_size=16,
        learning_rate_init=5e-3,
        random_state=0,
    ).fit(digits[0])
    assert -swae.score(digits[0]) < 0.75 * digits[0].var(axis=0).sum()


def test_dcgan_starts_from_pca(digits):
    network = DCGANNet((1, 8, 8), filters=(8, 16, 16))
    swae = cheap(SWAETransformer, network=network, init="pca", max_iter=2).fit(digits[0])
    assert np.isfinite(swae.history_["loss"]).all()
    assert np.isfinite(swae.sample(3, random_state=0)).all()


def test_a_subclass_of_ours_may_use_torch_s_layers(digits):
    class Longer(GatedMLP):
        def build_encoder(self, n_features, n_outputs):
            return nn.Sequential(nn.Linear(n_features, 9), super().build_encoder(9, n_outputs))

    before = torch.get_rng_state()
    fits = [cheap(SWAETransformer, network=Longer((4,))).fit(digits[0]) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*(f.transform(digits[0]) for f in fits))
