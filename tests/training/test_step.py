"""One update of all players, its state, and the precision in which it computes."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)
from skswae.data import ArrayData
from skswae.data._loader import Loader
from skswae.modules._base import detached_copy
from skswae.modules._builder import NetworkPart, reduced_precision
from skswae.networks import GatedMLP
from skswae.training._loop import train
from skswae.training._step import TrainingStep

from ..estimators import cheap
from ..own_networks import CosineNet, DropoutMLP

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------
# Toys: the step knows no objective
# ---------------------------------------------------------------------------


class Toy(nn.Module):
    """What training asks of every module, and no objective."""

    objective_is_final = True
    device = CPU

    def __init__(self):
        super().__init__()
        self.learning_rates = {}

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
        self.n_after_step = 0

    def players(self):
        return {"low": [self.a], "high": [self.b]}

    def losses(self, x, generator):
        yield "low", {"loss": self.a + self.b, "mean": x.mean()}
        self.seen.append(self.a.item())
        yield "high", {"loss": -(self.a + self.b), "gap": self.b - self.a}

    def after_step(self):
        self.n_after_step += 1


def test_players_move_their_own_parameters_in_turn():
    module = Duel()
    step = TrainingStep(module)
    step.prepare_training(None, 0.1, None)
    for x in torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0]]):
        step.begin_epoch()
        step(x, generator())
    assert module.a.item() == pytest.approx(-0.2)
    assert module.b.item() == pytest.approx(0.2)
    assert module.seen == pytest.approx([-0.1, -0.2])  # the second player meets the first one's step
    assert module.n_after_step == 4
    # terms of other players have their name in front
    record = step.end_epoch()
    assert record == pytest.approx({"loss": 0.0, "mean": 5.0, "high_loss": 0.1, "high_gap": 0.3}, abs=1e-6)


def test_terms_are_means_over_rows_of_prepared_batches():
    step = TrainingStep(Duel())
    step.prepare_training(lambda raw, generator: raw.double() / 2, 0.1, None)
    step.begin_epoch()
    for rows in ([2, 4], [9]):
        step(torch.tensor(rows, dtype=torch.uint8)[:, None], generator())
    assert step.end_epoch()["mean"] == (1 + 2 + 4.5) / 3


@pytest.mark.parametrize("n_steps", [None, 10])
def test_each_player_has_its_rates(n_steps):
    module = Duel()
    module.learning_rates = {"high": 0.02}
    step = TrainingStep(module)
    step.prepare_training(None, 0.1, n_steps)
    rates = []
    for _ in range(10):
        rates.append([step.optimizers[name].param_groups[0]["lr"] for name in ("low", "high")])
        step(torch.ones(2, 1), generator())
    low, high = np.transpose(rates)
    np.testing.assert_allclose(high, 0.2 * low, rtol=1e-9)
    if n_steps is None:
        assert set(low) == {0.1}
    else:
        assert low[0] == pytest.approx(0.1 / 25)
        assert 0.09 < max(low) <= 0.1
        assert low[-1] < 0.1 * low[0] * 25


# ---------------------------------------------------------------------------
# Steps of real modules
# ---------------------------------------------------------------------------

X = np.random.default_rng(0).random((60, 5)).astype(np.float32)
N_EPOCHS, N_STEPS = 4, 28  # 7 batches an epoch, of 9 rows and of 8

MODELS = {
    "ae": (AETransformer, {}),
    "swae": (SWAETransformer, {"n_pseudo_inputs": 6}),
    "swae by angles": (SWAETransformer, {"n_pseudo_inputs": 6, "metric": "cosine"}),
    "vae": (VAETransformer, {}),
    "wae-gan": (WAETransformer, {"divergence": "gan", "critic_learning_rate_init": 5e-4}),
    "vampprior": (VampPriorTransformer, {"n_pseudo_inputs": 6, "warmup": 1}),
    "mim": (MIMTransformer, {"n_pseudo_inputs": 6, "warmup": 2}),
}


@functools.cache
def fitted(name, **options):
    Estimator, parameters = MODELS[name]
    parameters = {"network": GatedMLP((6,)), "init": "random", **parameters, **options}
    return cheap(Estimator, max_iter=1, **parameters).fit(X).module_


def fresh(name, **options):
    """A module as it is in the middle of a fit."""
    module = detached_copy(fitted(name, **options))
    module.before_training([torch.from_numpy(X)], False)
    return module


def run(step, epochs=range(N_EPOCHS)):
    loader = Loader(ArrayData(X), CPU)
    return train(step, loader, epochs=epochs, batch_size=8, seed=3, callbacks=[]).history


def new_step(module, solver="adam", n_steps=N_STEPS):
    step = TrainingStep(module, solver)
    step.prepare_training(None, 0.01, n_steps)
    return step


def assert_same(a, b):
    """Bit for bit, through dicts and lists."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
@pytest.mark.parametrize("name", ["ae", "swae", "wae-gan"])
def test_a_step_is_a_loop_written_out(name, solver):
    module, by_hand = fresh(name), fresh(name)
    x = torch.from_numpy(X)
    step = new_step(module, solver, n_steps=None)
    optimizers = {
        player: torch.optim.Adam(parameters, lr=by_hand.learning_rates.get(player, 0.01))
        for player, parameters in by_hand.players().items()
    }
    for i in range(3):
        step(x, generator(i))
        for player, terms in by_hand.losses(x, generator(i)):
            own = by_hand.players()[player]
            optimizers[player].zero_grad()
            terms["loss"].backward(inputs=own)
            for parameter in own:
                if solver == "normalized_adam" and parameter.grad is not None:
                    parameter.grad /= parameter.grad.square().sum().sqrt() + 1e-7
            optimizers[player].step()
            by_hand.after_step()
    start = fresh(name).state_dict()
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, by_hand.state_dict()[key], rtol=1e-4, atol=1e-5, msg=key)
    assert not all(torch.equal(value, start[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("n_steps", [None, N_STEPS])
@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
@pytest.mark.parametrize("name", ["swae", "wae-gan", "mim"])
def test_a_step_resumes_where_another_stood(name, solver, n_steps):
    """Weights, moments, rates and means, bit for bit; the step that it goes on from stays as it was."""
    whole, first = fresh(name), fresh(name)
    step, before = new_step(whole, solver, n_steps), new_step(first, solver, n_steps)
    history = run(step)
    begun = run(before, range(2))
    kept = copy.deepcopy(before.state_dict())
    second = fresh(name)
    second.load_state_dict(first.state_dict())
    after = new_step(second, solver, n_steps)
    after.load_state_dict(before.state_dict())
    rest = run(after, range(2, N_EPOCHS))
    assert_same(history, begun + rest)
    assert_same(whole.state_dict(), second.state_dict())
    assert_same(step.state_dict(), after.state_dict())
    assert_same(before.state_dict(), kept)


def test_moments_of_other_parameters_are_not_taken():
    """Where some have been frozen in between, Adam starts anew; rates are the step's own."""
    module = fresh("ae")
    before = new_step(module, n_steps=None)
    run(before, range(1))
    frozen, reference = detached_copy(module), detached_copy(module)
    for copied in (frozen, reference):
        next(copied.parameters()).requires_grad_(False)
    after = new_step(frozen, n_steps=None)
    after.load_optimizers(before.state_dict())
    assert_same(run(after, range(1)), run(new_step(reference, n_steps=None), range(1)))
    assert_same(frozen.state_dict(), reference.state_dict())


def test_after_training_nothing_is_left_of_it():
    module = fresh("wae-gan")
    step = new_step(module)
    run(step, range(1))
    step.end_training()
    assert all(parameter.grad is None for parameter in module.parameters())
    assert step.preprocess is None


# ---------------------------------------------------------------------------
# Copies of modules
# ---------------------------------------------------------------------------


def test_detached_copies_own_their_numbers():
    module = nn.Linear(4, 3)
    table = torch.zeros(1000)
    module.register_buffer("view", table[:5])
    module.register_buffer("again", module.view)
    module.shared = nn.Module()
    module.shared.weight = module.weight
    module.bias.requires_grad_(False)
    module(torch.ones(1, 4)).sum().backward()
    copied = detached_copy(module)
    assert copied.view.untyped_storage().nbytes() == 5 * 4
    assert copied.shared.weight is copied.weight
    assert copied.again is copied.view
    assert [p.requires_grad for p in copied.parameters()] == [True, False]
    assert copied.weight.grad is None
    assert module.weight.grad is not None
    assert_same(copied.state_dict(), module.state_dict())
    copied.weight.data.zero_()
    assert module.weight.any()


def test_detached_copies_compute_the_same():
    module = fresh("vampprior").eval()
    assert_same(outputs(detached_copy(module), torch.from_numpy(X)), outputs(module, torch.from_numpy(X)))


# ---------------------------------------------------------------------------
# Networks in bfloat16
# ---------------------------------------------------------------------------


def outputs(module, x):
    with torch.no_grad():
        z = module.encode(x)
        return [z, module.decode(z)]


@pytest.mark.parametrize("name", ["swae", "wae-gan", "vampprior"])
@pytest.mark.parametrize("network", [GatedMLP((6,)), DropoutMLP(), CosineNet()], ids=lambda n: type(n).__name__)
def test_bf16_computes_networks_alone(name, network):
    module = fresh(name, network=network).eval()
    x = torch.from_numpy(X)
    before, weights = outputs(module, x), copy.deepcopy(module.state_dict())
    seen = []
    for part in module.modules():
        if isinstance(part, NetworkPart):
            part.register_forward_hook(lambda part, args, out: seen.append([*args, out]))
            part.network.register_forward_hook(lambda part, args, out: seen.append([*args]))
    with reduced_precision(module, "bf16"):
        inside = outputs(module, x)
        assert_same(module.state_dict(), weights)
    assert len(seen) >= 4
    assert all(tensor.dtype == torch.float32 for tensors in seen for tensor in tensors)
    for a, b in zip(inside, before):
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
    if not isinstance(network, CosineNet):  # which takes a cosine in float32 of a layer in bfloat16
        assert torch.equal(inside[0], inside[0].bfloat16().float())
    assert_same(outputs(module, x), before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_a_network_leaves_float32_behind(error, monkeypatch):
    module = fresh("ae").eval()
    x = torch.from_numpy(X)
    before = outputs(module, x)

    def broken(x):
        raise error

    linear = next(m for m in module.encoder.modules() if isinstance(m, nn.Linear))
    with reduced_precision(module, "bf16"):
        expected = outputs(module, x)
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(linear, "forward", broken)
            module.encode(x)
        assert not torch.is_autocast_enabled("cpu")  # what is caught within the block leaves it as it was
        assert_same(outputs(module, x), expected)
    with pytest.raises(error), monkeypatch.context() as patch, reduced_precision(module, "bf16"):
        patch.setattr(linear, "forward", broken)
        module.encode(x)
    assert not torch.is_autocast_enabled("cpu")
    assert_same(outputs(module, x), before)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_other_precisions_change_nothing_on_a_cpu(precision):
    module = fresh("swae").eval()
    before = outputs(module, torch.from_numpy(X))
    with reduced_precision(module, precision):
        assert_same(outputs(module, torch.from_numpy(X)), before)


@pytest.mark.parametrize("name", ["swae", "swae by angles"])
def test_assignments_stay_float32_s(name, rng):
    """Rows whose distances bfloat16 could not tell apart."""
    module = fresh(name).eval()
    with torch.no_grad():
        module.pseudo_inputs.rows.copy_(torch.tensor(1.0 + 1e-3 * rng.normal(size=(6, 5))))
    x = torch.tensor(1.0 + 1e-3 * rng.normal(size=(60, 5)), dtype=torch.float32)
    expected = module.assign(x)
    assert len(expected.unique()) > 3
    with reduced_precision(module, "bf16"):
        assert torch.equal(module.assign(x), expected)


@pytest.mark.parametrize("name", ["ae", "swae", "wae-gan", "mim"])
def test_training_in_bf16_is_near_the_one_in_float32(name):
    found = []
    for precision in ("float32", "bf16"):
        module = fresh(name)
        with reduced_precision(module, precision):
            run(new_step(module), range(3))
        assert all(p.dtype == torch.float32 for p in module.parameters())
        found.append(torch.cat([p.detach().ravel() for p in module.parameters()]))
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, rtol=0.0, atol=0.15)
