"""The loop, on toy modules that are no autoencoders: it knows no objective."""

import numpy as np
import pytest
import torch
from torch import nn

from skswae._rows import TensorSource
from skswae._steps import EagerStep
from skswae._torch import snapshot
from skswae._training import EarlyStopping, train

CPU = torch.device("cpu")


class Line(nn.Module):
    """One player that fits a number to the rows."""

    learning_rates: dict = {}
    settled = True

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.n_after_step = 0

    def players(self):
        return {"line": list(self.parameters())}

    def losses(self, x, generator):
        yield "line", {"loss": (x - self.value).square().mean(), "size": torch.tensor(float(len(x)))}

    def sparse_parameters(self):
        return []

    def before_epoch(self, epoch):
        pass

    def after_step(self):
        self.n_after_step += 1


class Duel(nn.Module):
    """Two players: "low" pulls a + b down, "high" pulls it up, each by its own parameter alone."""

    learning_rates: dict = {}
    settled = True

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))
        self.seen = []

    def players(self):
        return {"low": [self.a], "high": [self.b]}

    def losses(self, x, generator):
        yield "low", {"loss": self.a + self.b}
        self.seen.append(self.a.item())
        yield "high", {"loss": -(self.a + self.b), "gap": self.b - self.a}

    def sparse_parameters(self):
        return []

    def before_epoch(self, epoch):
        pass

    def after_step(self):
        pass


def run(module, source, n_epochs=3, batch_size=10, step=None, **options):
    step = step or EagerStep(module, None, learning_rate=0.1)
    defaults = {"epochs": range(n_epochs), "batch_size": batch_size, "seed": 0, "device": CPU}
    return train(module, source, step, **{**defaults, **options})


def rows(n=25):
    return torch.arange(float(n))[:, None]


def test_an_epoch_has_every_row_once():
    source = TensorSource(rows())
    for seed in range(5):
        batches = list(source.shuffled(10, seed))
        assert [len(b) for b in batches] == [13, 12]
        assert sorted(torch.cat(batches).ravel().tolist()) == list(range(25))
    assert not torch.equal(torch.cat(list(source.shuffled(10, 0))), torch.cat(list(source.shuffled(10, 1))))
    assert torch.equal(torch.cat(list(source.in_order(7))), rows())


@pytest.mark.parametrize(("n", "batch_size", "expected"), [(25, 10, 2), (9, 10, 1), (10, 10, 1), (30, 10, 3)])
def test_number_of_batches(n, batch_size, expected):
    source = TensorSource(rows(n))
    assert source.n_batches(batch_size) == expected == len(list(source.shuffled(batch_size, 0)))


def test_history_is_the_mean_over_rows():
    module = Line()
    record = run(module, TensorSource(rows()), 1).history[0]
    assert record["size"] == (13 * 13 + 12 * 12) / 25


def test_after_step_runs_after_every_step():
    module = Line()
    run(module, TensorSource(rows()), 3)
    assert module.n_after_step == 6


def test_players_move_their_own_parameters_in_turn():
    module = Duel()
    result = run(module, TensorSource(rows(10)), 2)
    assert module.a.item() == pytest.approx(-0.2)
    assert module.b.item() == pytest.approx(0.2)
    assert module.seen == pytest.approx([-0.1, -0.2])  # the second player meets the first one's step
    assert list(result.history[0]) == ["loss", "high_loss", "high_gap"]
    assert result.history[1]["loss"] == pytest.approx(0.0, abs=1e-6)


def test_one_cycle_rises_and_falls():
    module = Line()
    step = EagerStep(module, None, learning_rate=0.5, n_steps=40)
    rates = []
    for x in 40 * [rows(4)]:
        step(x, torch.Generator())
        rates.append(step.optimizers["line"][0].param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.5, rel=1e-2)
    assert 8 <= int(np.argmax(rates)) <= 14
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[-1] < 0.5 / 100


def test_epochs_go_on_where_they_stopped():
    whole, parts = Line(), Line()
    run(whole, TensorSource(rows()), 5)
    step = EagerStep(parts, None, learning_rate=0.1)
    run(parts, TensorSource(rows()), 2, step=step)
    step = EagerStep(parts, None, learning_rate=0.1, state=step.state())
    run(parts, TensorSource(rows()), step=step, epochs=range(2, 5))
    assert torch.equal(whole.value, parts.value)


@pytest.mark.parametrize(("tol", "patience", "stop"), [(0.0, 2, 7), (0.1, 2, 5), (0.0, np.inf, 9)])
def test_early_stopping(tol, patience, stop):
    losses = [10.0, 5.0, 4.0, 3.9, 3.8, 3.9, 3.8, 3.85, 3.7]
    stopping = EarlyStopping(source=None, patience=patience, tol=tol)
    module = Line()
    for epoch, loss in enumerate(losses, start=1):
        with torch.no_grad():
            module.value.fill_(float(epoch))
        if stopping.update(loss, snapshot(module), settled=True):
            break
    assert epoch == stop
    best = int(np.argmin(losses[:stop]))
    assert stopping.best == losses[best]
    assert stopping.best_state["value"] == best + 1


def test_an_interrupt_right_after_an_epoch_keeps_it():
    """Even before early stopping has seen its loss."""

    class Interrupted(EarlyStopping):
        def update(self, loss, state, settled):
            raise KeyboardInterrupt

    module = Line()
    stopping = Interrupted(TensorSource(rows(5)), patience=3, tol=0.0)
    result = run(module, TensorSource(rows()), 3, early_stopping=stopping)
    assert result.interrupted
    assert len(result.history) == 1
    once = Line()
    run(once, TensorSource(rows()), 1)
    assert torch.equal(module.value, once.value)


def test_slow_gains_are_measured_from_the_last_one_that_counted():
    """Many gains below tol that add up to more than tol are progress."""
    stopping = EarlyStopping(source=None, patience=3, tol=0.05)
    assert not any(stopping.update(0.98**epoch, {}, settled=True) for epoch in range(50))


def test_patience_counts_from_where_the_objective_settles():
    stopping = EarlyStopping(source=None, patience=3, tol=0.0)
    assert not any(stopping.update(1.0 + epoch, {}, settled=False) for epoch in range(10))
    assert [stopping.update(20.0, {}, settled=True) for _ in range(3)] == [False, False, True]
    assert stopping.best == 1.0


def test_players_have_their_own_rates():
    slow, fast = Duel(), Duel()
    slow.learning_rates = {"high": 0.01}
    for duel in (slow, fast):
        run(duel, TensorSource(rows()), 1, batch_size=1000)
    assert slow.a == fast.a
    assert slow.b.item() == pytest.approx(0.1 * fast.b.item())
    again = Duel()
    again.learning_rates = {"high": 0.02}
    step = EagerStep(again, None, learning_rate=0.1, n_steps=10)
    assert step.rates["high"] == pytest.approx(0.2 * step.rates["low"])


def test_held_out_noise_is_fixed_and_evaluation_leaves_no_trace():
    class Noisy(Line):
        def losses(self, x, generator):
            noise = torch.randn(x.shape, generator=generator)
            yield "line", {"loss": 0 * self.value + noise.mean()}

    module = Noisy()
    source = TensorSource(rows())
    stopping = EarlyStopping(TensorSource(rows(5)), patience=100, tol=0.0)
    result = run(module, source, 4, early_stopping=stopping)
    assert len({r["validation_loss"] for r in result.history}) == 1
    assert len({r["loss"] for r in result.history}) == 4
    without = run(Noisy(), source, 4)
    assert [r["loss"] for r in without.history] == [r["loss"] for r in result.history]
