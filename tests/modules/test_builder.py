"""Networks built from sizes alone, and modules that take the weights of fitted ones."""

import copy

import pytest
import torch

from skswae import AETransformer, MIMTransformer, SWAETransformer, VampPriorTransformer
from skswae._fit import make_builder
from skswae.base import NetworkBuilder
from skswae.networks import GatedMLP

from ..estimators import ESTIMATORS, VARIANTS, cheap
from ..models.tools import generator, make_module
from ..outside_objective import DenoisingTransformer
from ..own_networks import CosineNet, DropoutMLP, NormNet, Odd


def builder(seed=0):
    return NetworkBuilder(GatedMLP((16,)), n_features=5, n_components=3, init="random", seed=seed)


def test_parts_do_not_depend_on_each_other():
    """A part's first weights follow from the seed and its name: parts beside it change nothing."""
    alone = builder().decoder()
    build = builder()
    encoder = build.encoder()
    build.gaussian_encoder("prior")
    for p, q in zip(alone.parameters(), build.decoder().parameters(), strict=True):
        assert torch.equal(p, q)
    first = encoder.network[0].linear.weight
    assert torch.equal(first, builder().encoder().network[0].linear.weight)
    assert not torch.equal(first, build.encoder("other").network[0].linear.weight)
    assert not torch.equal(first, builder(seed=1).encoder().network[0].linear.weight)


EVERY = [
    *((E, {}, "digits") for E in ESTIMATORS),
    *((E, {}, "iris") for E in ESTIMATORS),
    *((*variant, "iris") for variant in VARIANTS),
    (SWAETransformer, {"network": CosineNet()}, "iris"),
    (SWAETransformer, {"init": "random"}, "iris"),
    (VampPriorTransformer, {"network": CosineNet(), "n_components": 3}, "iris"),
    (MIMTransformer, {"network": DropoutMLP(), "n_components": 3}, "iris"),
    (AETransformer, {"network": NormNet(), "n_components": 10}, "iris"),
    (DenoisingTransformer, {}, "iris"),
]


@pytest.mark.parametrize(("Estimator", "parameters", "data"), EVERY)
def test_a_module_built_without_data_takes_a_fitted_one_s_weights(Estimator, parameters, data, iris, digits):
    """Bit-equal codes, samples and rows: with units, learned scales, kept codes and pseudo-inputs."""
    X = iris if data == "iris" else digits[0]
    fitted = cheap(Estimator, **parameters).fit(X)
    build = make_builder(fitted, X.shape[1], seed=1)  # another seed: no first weight stays
    module = fitted._build_module(build).eval()
    x = fitted.module_.scaler.standardize(torch.tensor(X)).float()
    sampling = {name: getattr(fitted, name) for name in fitted._sampling_parameters}
    with torch.no_grad():
        assert not torch.equal(module.encode(x), fitted.module_.encode(x))
        module.load_state_dict(copy.deepcopy(fitted.module_.state_dict()), strict=True)
        assert torch.equal(module.encode(x), fitted.module_.encode(x))
        drawn = fitted.module_.sample_prior(50, generator(3), **sampling)
        assert torch.equal(module.sample_prior(50, generator(3), **sampling), drawn)
        assert torch.equal(module.decode(drawn), fitted.module_.decode(drawn))
        assert torch.equal(module.scaler.unstandardize(x), fitted.module_.scaler.unstandardize(x))
    state = module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in fitted.module_.state_dict().items())


ODD = ("ends in a ReLU", "registers its layers in another order", "has a frozen bias at its end")
GATED = [CosineNet(), *map(Odd, ODD)]


@pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP(), *GATED])
def test_networks_start_at_zero_and_learn(network, digits):
    """By a zero output layer where the structure shows it, else by a gate; from there all of them learn."""
    x = torch.tensor(digits[0][:, 16:32], dtype=torch.float32)
    module, _ = make_module(AETransformer, x, network=network, init="pca")
    encoder = module.float().encoder
    assert (encoder.gate is not None) == (network in GATED)
    torch.testing.assert_close(encoder(x), encoder.linear(x), rtol=0, atol=0)
    learned = [p for p in encoder.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in learned]
    optimizer = torch.optim.Adam(learned, 1e-2)
    target = torch.sin(3 * encoder.linear(x)).detach()
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (encoder(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(not torch.equal(p, q) for p, q in zip(learned, before))
    other = NetworkBuilder(network, n_features=16, n_components=3, seed=1).encoder()
    other.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(other.eval()(x), encoder.eval()(x))
