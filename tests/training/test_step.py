"""One update of all players, its state, copies of modules, and the precision of networks."""

import copy
import functools
import types
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

import skswae
from skswae.data import ArrayData
from skswae.data._loader import Loader
from skswae.modules._base import detached_copy
from skswae.modules._builder import NetworkPart, reduced_precision
from skswae.networks import GatedMLP
from skswae.training._cuda_graph import GraphedStep
from skswae.training._loop import train
from skswae.training._step import TrainingStep

from ..estimators import cheap
from ..own_networks import CosineNet, DropoutMLP

CPU = torch.device("cpu")


assert_same = functools.partial(torch.testing.assert_close, rtol=0, atol=0)


def new_step(module, solver="adam", n_steps=None, preprocess=None):
    step = TrainingStep(module, solver)
    step.prepare_training(preprocess, 0.1, n_steps)
    return step


class Toy(nn.Module):
    """What training asks of every module, and no objective."""

    objective_is_final = True
    objective_is_steady = True
    device = CPU

    def __init__(self):
        super().__init__()
        self.learning_rates = {}

    def players(self):
        return {"all": list(self.parameters())}

    def training_losses(self, batch, generator):
        return self.losses(batch, generator)

    def before_epoch(self, epoch):
        pass

    def after_step(self):
        pass


class Duel(Toy):
    """Two players: "low" pulls a + b down, "high" pulls it up, each by its own parameter alone."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))
        self.seen = []

    def players(self):
        return {"low": [self.a], "high": [self.b]}

    def losses(self, x, generator):
        yield "low", {"loss": self.a + self.b, "mean": x.mean()}
        self.seen.append(self.a.item())
        yield "high", {"loss": -(self.a + self.b), "gap": self.b - self.a}

    def after_step(self):
        self.seen.append("after")


def test_players_move_their_own_parameters_in_turn():
    """The second meets the first one's step; terms are means over rows, with the later players' names."""
    module = Duel()
    module.learning_rates = {"high": 0.02}
    step = new_step(module, preprocess=lambda raw, generator: raw.double() / 2)
    step.begin_epoch()
    for rows in ([2, 4], [9]):
        step(torch.tensor(rows, dtype=torch.uint8)[:, None], torch.Generator())
    assert [module.a.item(), module.b.item()] == pytest.approx([-0.2, 0.04])
    assert module.seen == ["after", pytest.approx(-0.1), "after", "after", pytest.approx(-0.2), "after"]
    expected = {"loss": -0.08 / 3, "mean": 7.5 / 3, "high_loss": 0.38 / 3, "high_gap": 0.42 / 3}
    assert step.end_epoch() == pytest.approx(expected, abs=1e-6)
    step.prepare_training(None, 0.1, 10)  # a cycle begins at a 25th of its peak
    rates = [optimizer.param_groups[0]["lr"] for optimizer in step.optimizers.values()]
    assert rates == pytest.approx([0.1 / 25, 0.02 / 25])


X = np.random.default_rng(0).random((60, 5)).astype(np.float32)
N_EPOCHS, N_STEPS = 3, 21  # 7 batches an epoch, of 9 rows and of 8
MODELS = {
    "swae": (skswae.SWAETransformer, {"n_pseudo_inputs": 6}),
    "wae-gan": (skswae.WAETransformer, {"divergence": "gan", "critic_learning_rate_init": 5e-4}),
}


@functools.cache
def fitted(name, network):
    Estimator, parameters = MODELS[name]
    return cheap(Estimator, max_iter=1, network=network, init="random", **parameters).fit(X).module_


def fresh(name, network):
    """A module as it is in the middle of a fit."""
    module = detached_copy(fitted(name, network))
    module.before_training([torch.from_numpy(X)], False)
    return module


def run(step, epochs=range(N_EPOCHS)):
    loader = Loader(ArrayData(X), CPU)
    return train(step, loader, epochs=epochs, batch_size=8, seed=3, callbacks=[]).history


@pytest.mark.parametrize("n_steps", [None, N_STEPS])
@pytest.mark.parametrize("solver", ["adam", pytest.param("normalized_adam", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["swae", "wae-gan"])
def test_a_step_resumes_where_another_stood(name, solver, n_steps):
    """Weights, moments, rates and means, bit for bit; the step that it goes on from stays as it was."""
    whole, first, second = (fresh(name, GatedMLP((6,))) for _ in range(3))
    step, before, after = (new_step(module, solver, n_steps) for module in (whole, first, second))
    history, begun = run(step), run(before, range(2))
    kept = copy.deepcopy(before.state_dict())
    second.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    assert history == begun + run(after, range(2, N_EPOCHS))
    assert_same([whole.state_dict(), step.state_dict()], [second.state_dict(), after.state_dict()])
    assert_same(before.state_dict(), kept)
    step.end_training()
    assert all(parameter.grad is None for parameter in whole.parameters())


def test_moments_get_the_layout_of_their_parameters():
    """A copy is contiguous whatever the module was, and the fused Adam reads memory as it lies."""

    class Image(Toy):
        def losses(self, x, generator):
            yield "all", {"loss": (self.weight.pow(3) * torch.arange(5.0)).sum()}

    module, x = Image(), torch.zeros(1, 1)
    weight = torch.linspace(1, 2, 120).reshape(2, 3, 4, 5)
    module.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
    step = new_step(module)
    step(x, torch.Generator())
    after = new_step(detached_copy(module))
    after.set_moments(step.moments())
    step(x, torch.Generator())
    after(x, torch.Generator())
    torch.testing.assert_close(after.module.weight, module.weight)


def test_detached_copies_own_their_numbers():
    module = nn.Linear(4, 3)
    module.register_buffer("view", torch.zeros(1000)[:5])
    module.register_buffer("again", module.view)
    module.shared = nn.Module()
    module.shared.weight = module.weight
    module.bias.requires_grad_(False)
    module(torch.ones(1, 4)).sum().backward()
    copied = detached_copy(module)
    assert_same(copied.state_dict(), module.state_dict())
    assert copied.view.untyped_storage().nbytes() == 5 * 4
    assert copied.shared.weight is copied.weight
    assert copied.again is copied.view
    assert [p.requires_grad for p in copied.parameters()] == [True, False]
    assert copied.weight.grad is None
    assert module.weight.grad is not None
    copied.weight.data.zero_()
    assert module.weight.any()


def outputs(module):
    with torch.no_grad():
        z = module.encode(torch.from_numpy(X))
        return [z, module.decode(z)]


@pytest.mark.parametrize("name", ["swae", "wae-gan"])
@pytest.mark.parametrize("network", [GatedMLP((6,)), DropoutMLP(), CosineNet()])
def test_bf16_computes_networks_alone(name, network, monkeypatch):
    """Numbers that go in and out are float32; no error in a network leaves bfloat16 behind."""
    module, seen = fresh(name, network).eval(), []
    before, weights = outputs(module), copy.deepcopy(module.state_dict())
    for part in module.modules():
        if isinstance(part, NetworkPart):
            part.register_forward_hook(lambda part, args, out: seen.extend([*args, out]))
            part.network.register_forward_hook(lambda part, args, out: seen.extend(args))
    with reduced_precision(module, "bf16"):
        inside = outputs(module)
    assert len(seen) >= 6
    assert {tensor.dtype for tensor in seen} == {torch.float32}
    for a, b in zip(inside, before):
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
    layer = next(m for m in module.encoder.modules() if isinstance(m, nn.Linear))
    with monkeypatch.context() as patch, reduced_precision(module, "bf16"):
        patch.setattr(layer, "forward", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            outputs(module)
    assert not torch.is_autocast_enabled("cpu")
    assert_same([outputs(module), module.state_dict()], [before, weights])
    with reduced_precision(module, "tf32"):  # which a CPU does not have
        assert_same(outputs(module), before)


class Rehearsed(GraphedStep):
    """Counts, without a card: what would be captured is a step that is replayed eagerly."""

    def _capture(self, kind, x, generator):
        replay = types.SimpleNamespace(replay=lambda: TrainingStep.update(self, static, generator))
        static = x.clone()
        self._graphs[kind] = static, replay


@pytest.mark.parametrize(
    ("Estimator", "parameters", "objectives"),
    [
        (skswae.SWAETransformer, {"warmup": 0}, {True}),
        (skswae.SWAETransformer, {"warmup": 1}, {False, True}),
        (skswae.VAETransformer, {"warmup": 1}, {True}),  # whose weight rises
    ],
)
def test_an_objective_has_graphs_of_its_own(Estimator, parameters, objectives):
    module = cheap(Estimator, max_iter=1, **parameters).fit(X).module_
    step, plain = Rehearsed(detached_copy(module), capturable=True), TrainingStep(detached_copy(module))
    for each in (step, plain):
        each.prepare_training(None, 0.01, None, 1000)
    assert run(step) == run(plain)
    assert {is_final for n_rows, is_final in step._graphs} == objectives
    assert_same(step.module.state_dict(), plain.module.state_dict())


def test_terms_may_change_from_epoch_to_epoch_but_not_within_one():
    class Fickle(Toy):
        def __init__(self, names):
            super().__init__()
            self.weight, self.names = nn.Parameter(torch.zeros(())), iter(names)

        def losses(self, x, generator):
            loss = 1.0 + 0.0 * self.weight
            yield "all", dict.fromkeys(["loss", *next(self.names)], loss)

    x, step = torch.zeros(2, 1), new_step(Fickle(["", "", "a", "a"]))
    for expected in ({"loss": 1.0}, {"loss": 1.0, "a": 1.0}):
        step.begin_epoch()
        for _ in range(2):
            step(x, torch.Generator())
        assert step.end_epoch() == expected
    step = new_step(Fickle(["a", ""]))
    step(x, torch.Generator())
    with pytest.raises(ValueError, match="the same terms in all batches of an epoch"):
        step(x, torch.Generator())
