"""The loop, on toys that are no autoencoders: epochs, early stopping, interrupts."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

from skswae.data import ArrayData
from skswae.data._loader import Loader
from skswae.training import _callbacks, _loop
from skswae.training._callbacks import Callback, EarlyStopping
from skswae.training._loop import train

from .test_step import CPU, Toy, new_step


def loader(n=25):
    return Loader(ArrayData(np.arange(float(n))[:, None]), CPU)


def run(module, epochs, *callbacks, step=None):
    """Two batches an epoch, of 13 and 12 rows."""
    step = step or new_step(module)
    return train(step, loader(), epochs=epochs, batch_size=10, seed=0, callbacks=[*callbacks])


class Line(Toy):
    """Fits a number to the rows; the user presses Ctrl-C after a given step."""

    def __init__(self, interrupted_after=None):
        super().__init__()
        self.value = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.interrupted_after = interrupted_after
        self.n_steps = 0

    def losses(self, x, generator):
        loss = (x - self.value).square().mean()
        yield "all", {"loss": loss, "noise": torch.rand((), generator=generator), "size": 0 * loss + len(x)}

    def after_step(self):
        self.n_steps += 1
        if self.n_steps == self.interrupted_after:
            raise KeyboardInterrupt


def test_epochs_go_on_where_they_stopped():
    """Random numbers and batches follow from the seed and the number of the epoch; terms are means."""
    whole, parts = Line(), Line()
    expected = run(whole, range(5)).history
    step = new_step(parts)
    found = run(parts, range(2), step=step).history + run(parts, range(2, 5), step=step).history
    assert found == expected
    assert torch.equal(whole.value, parts.value)
    assert len({record["noise"] for record in expected}) == 5
    assert {record["size"] for record in expected} == {(13 * 13 + 12 * 12) / 25}
    assert whole.n_steps == 10


class Scripted(Line):
    """Has given losses on held-out rows, and a buffer that tells the epochs apart."""

    objective_is_final = property(lambda self: int(self.epoch) >= self.final_from)

    def __init__(self, script, final_from):
        super().__init__()
        self.register_buffer("epoch", torch.tensor(-1))
        self.script, self.final_from = script, final_from

    def before_epoch(self, epoch):
        self.epoch.fill_(epoch)

    def losses(self, x, generator):
        yield "all", {"loss": 0 * self.value + (0.0 if self.training else self.script[int(self.epoch)])}


LOSSES = [10.0, 5.0, 4.0, 3.9, 3.8, 3.9, 3.8, 3.85, 3.7]


@pytest.mark.parametrize(
    ("losses", "tol", "patience", "final_from", "n_epochs"),
    [
        (LOSSES, 0.0, 2, 0, 7),
        (LOSSES, 0.1, 2, 0, 5),
        (LOSSES, 0.0, np.inf, 0, 9),
        ([0.98**epoch for epoch in range(50)], 0.05, 3, 0, 50),  # small gains add up to one of tol
        ([1.0, 2.0, 3.0, 4.0, 9.0, 9.5, 9.0, 9.0, 9.0], 0.0, 3, 4, 8),  # all waits for the final objective
    ],
)
def test_early_stopping(losses, tol, patience, final_from, n_epochs):
    module = Scripted(losses, final_from)
    result = run(module, range(len(losses)), EarlyStopping(loader(5), None, patience, tol))
    assert [r["validation_loss"] for r in result.history] == pytest.approx(losses[:n_epochs])
    # the best epoch is put back
    assert int(module.epoch) == final_from + int(np.argmin(losses[final_from:n_epochs]))
    assert result.restored


def test_a_training_that_ends_before_the_final_objective_keeps_its_last_epoch():
    module = Scripted([1.0, 2.0, 3.0], final_from=3)
    result = run(module, range(3), EarlyStopping(loader(5), None, 1, 0.0))
    assert int(module.epoch) == 2
    assert not result.restored


def test_the_best_epoch_takes_the_memory_of_the_one_before(monkeypatch):
    """A copy that an interrupt leaves half done is not put back: the module itself is the best one."""
    copy, seen = _callbacks.snapshot, []

    def watched(module, memory):
        if module.epoch == 2:
            memory["value"].fill_(np.nan)
            raise KeyboardInterrupt
        seen.append(copy(module, memory))
        return seen[-1]

    monkeypatch.setattr(_callbacks, "snapshot", watched)
    module = Scripted([3.0, 2.0, 1.0, 9.0], 0)
    result = run(module, range(4), EarlyStopping(loader(5), None, 9, 0.0))
    assert result.interrupted
    assert seen[0]["value"].data_ptr() == seen[1]["value"].data_ptr()
    assert (int(module.epoch), len(result.history)) == (2, 3)
    assert torch.isfinite(module.value)


class Rates(Callback):
    """Notes the rate at the end of each epoch."""

    def on_fit_begin(self, run):
        self.rates = []

    def on_epoch_end(self, run):
        self.rates.append(run.step.optimizers["all"].param_groups[0]["lr"])


def test_patience_waits_for_the_peak_of_the_rate():
    rates, n_epochs = Rates(), {}
    for patience in (1, 3, np.inf):
        module = Scripted([1.0] * 20, 0)  # no epoch but the first is a gain
        step = new_step(module)
        step.prepare_training(None, 0.1, n_steps=40)
        stopping = EarlyStopping(loader(5), None, patience, 0.0)
        n_epochs[patience] = len(run(module, range(20), rates, stopping, step=step).history)
    peak = int(np.argmax(rates.rates))
    assert 1 < peak < 10
    assert n_epochs == {1: peak + 1, 3: peak + 3, np.inf: 20}


def test_held_out_noise_is_fixed_and_evaluation_leaves_no_trace():
    """The loss is a mean over prepared rows, though the last batch is a short one: 12 rows are 10 and 2."""

    class Noisy(Line):
        def losses(self, x, generator):
            noise = torch.randn(x.shape, generator=generator)
            yield (
                "all",
                {"loss": (noise - self.value).square().mean() if self.training else (noise + x).mean()},
            )

    stopping = EarlyStopping(loader(12), lambda raw, generator: 100 * raw, np.inf, 0.0)
    result, expected = run(Noisy(), range(4), stopping), run(Noisy(), range(4))
    assert [r["loss"] for r in result.history] == [r["loss"] for r in expected.history]
    assert len({r["loss"] for r in result.history}) == 4
    (found,) = {r["validation_loss"] for r in result.history}
    assert found == pytest.approx(550, abs=2)
    assert found != pytest.approx(550, abs=1e-6)


class CtrlC(Callback):
    """The user presses Ctrl-C after an epoch."""

    def on_epoch_end(self, run):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("interrupted_after", "n_kept", "callbacks"), [(6, 2, []), (None, 1, [CtrlC()])])
def test_an_interrupt_keeps_the_complete_epochs(interrupted_after, n_kept, callbacks):
    module, whole = Line(interrupted_after), Line()
    result = run(module, range(4), *callbacks)
    assert result.interrupted
    assert result.history == run(whole, range(n_kept)).history
    assert torch.equal(module.value, whole.value)
    assert not module.training


def test_an_interrupt_while_an_epoch_is_copied_keeps_all_of_it(monkeypatch):
    copy, states = _loop.snapshot, []

    def interrupted(module, memory):
        states.append(copy(module, memory))
        if len(states) == 2:
            memory["value"].fill_(np.nan)
            raise KeyboardInterrupt
        return states[-1]

    monkeypatch.setattr(_loop, "snapshot", interrupted)
    module, whole = Line(), Line()
    result = run(module, range(4))
    assert result.interrupted
    assert result.history == run(whole, range(2)).history
    assert torch.equal(module.value, whole.value)


def test_an_interrupt_before_an_epoch_is_complete_is_raised():
    """An epoch is complete once its held-out rows are judged."""
    with pytest.raises(KeyboardInterrupt):
        run(Line(interrupted_after=2), range(4))
    judged = EarlyStopping(loader(5), Mock(side_effect=KeyboardInterrupt), np.inf, 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(Line(), range(4), judged)
