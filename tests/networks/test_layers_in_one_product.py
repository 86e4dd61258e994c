"""The linear path in the product of a network's last layer."""

import copy

import pytest
import torch

from skswae.modules._builder import NetworkBuilder
from skswae.networks import GatedMLP


def doubled(module, arguments, output):
    return 2 * output


def hook_on_last(part):
    part.network[-1].register_forward_hook(doubled)


def hook_on_linear(part):
    part.linear.register_forward_hook(doubled)


def hook_on_network(part):
    part.network.register_forward_hook(doubled)


def other_forward(part):
    forward = part.linear.forward
    part.linear.forward = lambda x: 2 * forward(x)


def other_layer(part):
    part.network[-1] = torch.nn.Sequential(part.network[-1], torch.nn.Tanh())


def unchanged(part):
    pass


CHANGES = [unchanged, hook_on_last, hook_on_linear, hook_on_network, other_forward, other_layer]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("n_rows", [5, 200])
def test_it_is_the_sum(change, n_rows):
    """Values and all gradients, whatever was changed by hand."""
    part = NetworkBuilder(GatedMLP((7, 6)), n_features=5, n_components=3).encoder().double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    change(part)
    x = torch.randn(n_rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    plain = copy.deepcopy(part).eval()
    plain.linear.forward = part.linear.forward
    expected = plain.linear(x) + plain.network(x)
    for found in (part.train()(x), part.eval()(x)):
        torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    common = [x, *part.linear.parameters()]  # whose forward the plain one has
    wanted = torch.autograd.grad((weights * expected).sum(), [*common, *plain.network.parameters()])
    got = torch.autograd.grad((weights * part.train()(x)).sum(), [*common, *part.network.parameters()])
    for a, b in zip(got, wanted):
        torch.testing.assert_close(a, b)
