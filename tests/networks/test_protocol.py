"""What building does with a network of ours or of a user's."""

import numpy as np
import pytest
import torch
from torch import nn

from skswae import SWAETransformer
from skswae.networks import DCGANNet, GatedMLP
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
    GatedMLP((5,)), GatedMLP(()), GatedMLP((7, 5, 3)), small_conv((1, 8, 8)),
    small_conv((1, 8, 8), decoder_filters=()), DCGANNet((1, 8, 8), filters=(4, 6)),
]  # fmt: skip
NETWORKS = [*OURS, DropoutMLP(), CosineNet(), Plain(6), NormNet()]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
every_role = pytest.mark.parametrize("role", ROLES)


class Longer(GatedMLP):
    """A subclass of ours that uses torch's own layers."""

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 9), super().build_encoder(9, n_outputs))


class Raising(Wrong):
    """A network with a mistake in it."""

    def __init__(self, error):
        self.error = error

    def build_encoder(self, n_features, n_outputs):
        raise self.error

    def build_decoder(self, n_components, n_features):
        class Module(nn.Linear):
            def forward(module, x):
                raise self.error

        return Module(n_components, n_features)


@pytest.mark.parametrize("kind", [KeyError, TypeError, ValueError, RuntimeError, NotImplementedError])
@pytest.mark.parametrize(("role", "call"), [("encoder", r"encoder\(3, 2\)"), ("decoder", r"decoder\(3, 2\)")])
def test_whatever_a_user_s_network_raises_is_a_value_error_with_its_name(kind, role, call):
    message = f"'network' .*Raising.build_{call} .* It raised: {kind.__name__}: '?width"
    with pytest.raises(ValueError, match=message) as found:
        build(Raising(kind("width")), role, (3,), 2, 0)
    assert isinstance(found.value.__cause__, kind)


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
    for gradient in torch.autograd.grad(double.square().sum(), x):  # it listens to all inputs
        assert gradient.any(dim=0).all()


def test_critic():
    critic = build_critic(3, [7, 5], 0)
    assert critic(*drawn(3)).shape == (4, 1)
    assert linear_shapes(critic) == [(7, 3), (5, 7), (1, 5)]
    assert torch.equal(critic[0].weight, build_critic(3, [7, 5], 0)[0].weight)


def test_which_networks_may_draw_from_global_streams(digits):
    assert not any(map(draws_from_global_streams, OURS))
    assert all(map(draws_from_global_streams, (DropoutMLP(), Plain(3), Longer())))
    before = torch.get_rng_state()
    fits = [cheap(SWAETransformer, network=Longer((4,))).fit(digits[0]) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*(f.transform(digits[0]) for f in fits))


@pytest.mark.parametrize(
    "network", [*OURS, Longer(), DropoutMLP(), NormNet()], ids=lambda n: type(n).__name__
)
@every_role
def test_the_output_layer_computes_the_output(network, role):
    """Without its weights the output is zero, and gradients bring them back."""
    inputs, n_outputs = ROLES[role]
    part = build(network, role, inputs, n_outputs, 0).eval()
    layer = output_layer(part)
    for p in layer.parameters():
        nn.init.zeros_(p)
    out = part(*drawn(*inputs))
    assert not out.any()
    out.sum().backward()
    assert layer.weight.grad.flatten(1).any(dim=1).all()


class Shifted(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1.0


TWICE = nn.Linear(4, 4)
ODD = ["ends in a ReLU", "registers its layers in another order", "has a frozen bias at its end"]


@pytest.mark.parametrize(
    "part",
    [
        *(Odd(kind).build_encoder(4, 4) for kind in ODD), CosineNet().build_encoder(4, 4),
        nn.Sequential(nn.Linear(4, 4), Shifted(4, 4)), nn.Sequential(nn.Flatten(), nn.Identity()),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))), nn.Sequential(),
        nn.LSTM(4, 4), nn.Sequential(TWICE, nn.ReLU(), TWICE),
    ],
)  # fmt: skip
def test_an_output_layer_that_is_not_known(part):
    assert output_layer(part) is None


@pytest.mark.parametrize("network", [DropoutMLP(), Plain(7), DCGANNet((1, 8, 8), filters=(4, 6))])
def test_parts_are_composed_from_a_network_s_own(network):
    encoder = build(network, "joint_encoder", (64, 2), 6, 0)
    features = build(network, "encoder", (64,), 300, 0)
    for p, q in zip(encoder.first.parameters(), features.parameters(), strict=True):
        assert torch.equal(p, q)
    assert linear_shapes(encoder)[-3:] == [(600, 2), (600, 600), (6, 300)]
    assert linear_shapes(build(network, "conditional_prior", (2,), 6, 0)) == [(600, 2), (600, 300), (6, 300)]
    decoder, whole = build(network, "joint_decoder", (3, 2), 64, 0), build(network, "decoder", (5,), 64, 0)
    z1, z2 = drawn(3, 2)
    torch.testing.assert_close(decoder.eval()(z1, z2), whole.eval()(torch.cat((z1, z2), dim=1)))


def test_a_module_that_the_network_keeps_is_copied():
    network = Wrong(encoder=nn.Linear(64, 300))
    alone, first = (
        build(network, "encoder", (64,), 300, 0),
        build(network, "joint_encoder", (64, 2), 6, 0).first,
    )
    for part in (alone, first):
        assert torch.equal(part.weight, network.encoder.weight)
        assert part.weight.data_ptr() != network.encoder.weight.data_ptr()


class TwoLevels(Plain):
    """A user's own network with every method, and maybe something odd."""

    def __init__(self, kind=None):
        super().__init__(6)
        self.kind = kind

    def build_joint_encoder(self, *sizes):
        return Summed(*sizes, self.kind)

    build_conditional_prior = build_joint_decoder = build_joint_encoder


class Summed(nn.Module):
    """The sum of a linear map of each input."""

    def __init__(self, *sizes_and_kind):
        super().__init__()
        *inputs, n_outputs, self.kind = sizes_and_kind
        n_outputs += self.kind == "one more"
        self.maps = nn.ModuleList(nn.Linear(n, n_outputs) for n in inputs)

    def forward(self, *x):
        if self.kind == "changes its last input":
            x[-1].zero_()
        if self.kind == "is float32 alone":
            x = [a.float() for a in x]
        return sum(f(a) for f, a in zip(self.maps, x))


@pytest.mark.parametrize("role", list(ROLES)[2:])
def test_a_user_s_own_two_level_network_is_used(role):
    part = build(TwoLevels(), role, *ROLES[role], 0)
    assert isinstance(part, Summed)
    assert part(*drawn(*ROLES[role][0])).shape == (4, ROLES[role][1])


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
            TwoLevels("one more"), "joint_encoder",
            r"TwoLevels.build_joint_encoder\(64, 2, 6\) returns a module that maps tensors of shapes "
            r"\(2, 64\) and \(2, 2\) to one of \(2, 6\), .*leaves its inputs as they are. Got \(2, 7\) in",
        ),
        (
            TwoLevels("one more"), "conditional_prior",
            r"TwoLevels.build_conditional_prior\(2, 6\) returns a module that maps a tensor of shape "
            r"\(2, 2\) to one of \(2, 6\), .* leaves its input as it is. Got \(2, 7\) in",
        ),
        (TwoLevels("changes its last input"), "joint_encoder", r"\(64, 2, 6\) .*changed its input in place"),
        (TwoLevels("is float32 alone"), "joint_decoder", r"\(3, 2, 64\) .*float64 for float64.*raised: "),
        (GatedMLP(), "critic", "No network has a part of the role 'critic'"),
    ],
)  # fmt: skip
def test_what_a_network_builds_is_checked(network, role, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(network, role, *ROLES.get(role, ((3,), 1)), 0)


WRONG = {
    "an nn.Module .Linear.": nn.Linear(2, 2),
    "the class GatedMLP": GatedMLP,
    "3, which has no build_enc": 3,
}


@pytest.mark.parametrize("got", WRONG)
def test_check_network(got):
    assert isinstance(check_network(None), GatedMLP)
    with pytest.raises(ValueError, match=f"'network' parameter must be None or an instance .* Got {got}"):
        check_network(WRONG[got])


TRAINED = [(Estimator, network) for Estimator in ESTIMATORS for network in (DropoutMLP(), CosineNet())]
TRAINED += [(SWAETransformer, DCGANNet((1, 8, 8), filters=(4, 8, 8)))]


@pytest.mark.parametrize(("Estimator", "network"), TRAINED)
def test_networks_are_trained(Estimator, network, digits):
    X = digits[0]
    fitted = cheap(Estimator, network=network, max_iter=4).fit(X)
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    assert np.isfinite(fitted.sample(3, random_state=0)).all()
