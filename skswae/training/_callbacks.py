"""Events at the beginning and end of a fit and of its epochs, and the callbacks that listen to them.

The events have the shape of ``sklearn.callback`` in scikit-learn 1.9: a hook at the beginning and at the end
of the fit and of each task, which is an epoch here, and a hook at the end that returns True to stop.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from skswae._processes import active
from skswae._random import derive_seed, make_generator
from skswae.data._loader import Loader
from skswae.training._step import Preprocess, TrainableModule, TrainingStep, counted


@dataclass
class Run:
    """A training as callbacks see it."""

    module: TrainableModule  # in evaluation mode at the end of an epoch
    step: TrainingStep
    batch_size: int
    seed: int
    callbacks: list[Callback] = field(default_factory=list)  # all of this run, in the order of their calls
    epoch: int = -1  # number of the epoch that runs or ended last; earlier trainings count
    history: list[dict[str, float]] = field(default_factory=list)  # one record for each complete epoch
    stop: bool = False  # whether the run ends after this epoch
    restored: bool = False  # whether the module was put back to an earlier epoch than the optimisers'
    interrupted: bool = False  # whether the user ended the training
    _began: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the epoch began."""
        return time.perf_counter() - self._began


class Callback:
    """Listen to a training. Every method does nothing unless a subclass writes it."""

    def on_fit_begin(self, run: Run) -> None:
        """Before the first epoch; ``run.history`` may be filled, to go on from."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before each epoch."""

    def extra_terms(self, run: Run) -> dict[str, float]:
        """Return terms to add to the record of the epoch that ends; it is complete once all have answered."""
        return {}

    def on_epoch_end(self, run: Run) -> bool | None:
        """After each complete epoch, whose record is ``run.history[-1]``; True ends the training."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch, also of a training that was interrupted or stopped."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that epochs have changed, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""


class EarlyStopping(Callback):
    """Stop when the loss on held-out rows has stopped falling, and put the best epoch back.

    ``patience`` epochs without a relative gain of ``tol`` end the training; those of a rate that still rises
    do not count. Epochs of an objective that is not final are neither counted nor put back: their losses may
    be the lowest, of a model that has not learned all that it should. ``preprocess`` is applied to each batch
    first.
    """

    def __init__(self, loader: Loader, preprocess: Preprocess | None, patience: float, tol: float):
        self.loader = loader
        self.preprocess = preprocess
        self.patience = patience
        self.tol = tol
        self.best = math.inf
        self.reference = math.inf  # the last loss that was a gain of tol
        self.best_state: dict[str, Any] = {}
        self.n_without_gain = 0

    def extra_terms(self, run: Run) -> dict[str, float]:
        return {"validation_loss": self._evaluate(run)}

    def on_epoch_end(self, run: Run) -> bool:
        if not run.module.objective_is_final:
            return False
        loss = run.history[-1]["validation_loss"]
        if math.isinf(self.reference) or self.reference - loss > self.tol * abs(self.reference):
            self.reference, self.n_without_gain = loss, 0
        elif not run.step.rate_rises:
            self.n_without_gain += 1
        if loss < self.best:
            self.best, memory = loss, self.best_state
            self.best_state = {}  # a copy that the user interrupts is of no use; the module is the best one
            self.best_state = snapshot(run.module, memory)
        return self.n_without_gain >= self.patience

    def on_fit_end(self, run: Run) -> None:
        # there is none if the user interrupts right after the first epoch, or in the warm-up
        if self.best_state:
            run.module.load_state_dict(self.best_state)
            run.restored = True

    @torch.no_grad()
    def _evaluate(self, run: Run) -> float:
        """Return the first player's loss on the held-out rows."""
        # the same noise in every epoch: a difference is the model's
        generator = make_generator(derive_seed(run.seed, 2), run.module.device)
        total, n_rows = torch.zeros((), dtype=torch.float64, device=generator.device), 0.0
        for x in self.loader.in_order(run.batch_size):
            if self.preprocess is not None:
                x = self.preprocess(x, generator)
            with run.step.arithmetic():
                _, terms = next(iter(run.module.training_losses(x, generator)))
            total += terms["loss"].double() * counted(x)
            n_rows += counted(x)
        group = active()
        if group is not None:
            n_rows = sum(group.gather(n_rows))
            group.combine(total)
        return float(total) / n_rows

    _state = ("best", "reference", "best_state", "n_without_gain")

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._state:  # no other attribute, whatever a file holds
            setattr(self, name, state[name])


def snapshot(module: TrainableModule, memory: dict[str, Any] | None = None) -> dict[str, Any]:
    """Copy the module's state, on its device, into the tensors of an earlier copy where it fits."""
    copies = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            copies[name] = copy.deepcopy(value)
            continue
        own = (memory or {}).get(name)
        if own is None or (own.shape, own.dtype, own.device) != (value.shape, value.dtype, value.device):
            own = torch.empty_like(value)
        copies[name] = own.copy_(value)
    return copies


def check_finite(record: dict[str, float], epoch: int) -> None:
    """Raise ValueError if a term of an epoch is not finite."""
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        # name the term that caused it rather than the loss that sums it up
        culprit = next((name for name in bad if name != "loss"), bad[0])
        raise ValueError(diverged(f"the term {culprit!r} ({record[culprit]})", epoch))


def diverged(what: str, epoch: int) -> str:
    """Return the text of the error of a training that diverged."""
    return (
        f"Training diverged: {what} is not finite after epoch {epoch + 1}. Lower learning_rate_init, bring "
        "other parameters nearer to their defaults, or scale the data (scaling='auto', or a StandardScaler "
        "before this step)."
    )
