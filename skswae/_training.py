"""The training loop: epochs, batches, optimisers, early stopping, history. It knows no objective."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from skswae._torch import derive_seed, make_generator, snapshot

# ---------------------------------------------------------------------------
# What the loop takes: a data source and a step, both replaceable
# ---------------------------------------------------------------------------


class Source(Protocol):
    """Where batches come from."""

    def __len__(self) -> int: ...

    def n_batches(self, batch_size: int) -> int:
        """How many batches :meth:`shuffled` yields."""
        ...

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        """Every row once, in an order that the seed decides."""
        ...

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Every row once, in the order of the data."""
        ...


class Step(Protocol):
    """One update of all players from one batch."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Update, and return the terms of the batch as 0-d tensors, without waiting for the device."""
        ...


class TensorSource:
    """Rows in one tensor: on the training device, or in host memory and sent over batch by batch.

    An epoch is cut into batches of at least ``batch_size`` rows whose sizes differ by at most one: none is a
    small remainder.

    Parameters
    ----------
    rows : Tensor of shape (n_samples, d)
    device : torch.device
        Where batches go.
    """

    def __init__(self, rows: Tensor, device: torch.device):
        self.rows = rows
        self.device = device

    def __len__(self) -> int:
        return len(self.rows)

    def n_batches(self, batch_size: int) -> int:
        return max(1, len(self) // batch_size)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        home = self.rows.device
        order = torch.randperm(len(self), device=home, generator=make_generator(seed, home))
        for index in order.tensor_split(self.n_batches(batch_size)):
            yield self.rows.index_select(0, index).to(self.device)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        for batch in self.rows.split(batch_size):
            yield batch.to(self.device)


Preprocess = Callable[[Tensor, torch.Generator], Tensor]


class EagerStep:
    """Forward, backward and Adam for each player in turn.

    Parameters
    ----------
    module : AutoencoderModule
    preprocess : callable of (x, generator) or None
        Applied to each batch first.
    learning_rate : float
        The constant rate, or the peak of the cycle, of each player without one in ``module.learning_rates``.
    n_steps : int or None
        Steps of one cycle of the rate (Smith & Topin, "Super-convergence", 2018: a cosine rise from 1/25
        of the peak over 30 % of the steps, a cosine fall to nearly nothing); None keeps the rate constant.
    state : dict or None
        What :meth:`state` of an earlier step on the same module returned.
    """

    def __init__(
        self,
        module: Any,
        preprocess: Preprocess | None,
        *,
        learning_rate: float,
        n_steps: int | None = None,
        state: dict | None = None,
    ):
        self.module = module
        self.preprocess = preprocess
        self.players: dict[str, list[nn.Parameter]] = module.players()
        self.optimizers = {
            name: torch.optim.Adam(parameters, lr=learning_rate, fused=_can_fuse(parameters))
            for name, parameters in self.players.items()
        }
        rates = {name: module.learning_rates.get(name, learning_rate) for name in self.players}
        for name, optimizer in self.optimizers.items():
            # of other sizes if parameters were frozen or freed in between: then it starts anew
            if state is not None and _sizes(state[name]) == _sizes(optimizer.state_dict()):
                # a copy: load_state_dict keeps the tensors, and a failed fit must leave them as they were
                optimizer.load_state_dict(copy.deepcopy(state[name]))
            for group in optimizer.param_groups:
                group["lr"] = rates[name]
        self.schedulers = [
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=rates[name],
                total_steps=n_steps + 1,  # the scheduler moves after the last step too
                cycle_momentum=False,
            )
            for name, optimizer in self.optimizers.items()
            if n_steps is not None
        ]

    def __call__(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if self.preprocess is not None:
            x = self.preprocess(x, generator)
        record = {}
        for player, terms in self.module.losses(x, generator):
            optimizer = self.optimizers[player]
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward(inputs=self.players[player])
            optimizer.step()
            self.module.after_step()
            record.update(named_terms(player, terms, self.players))
        for scheduler in self.schedulers:
            scheduler.step()
        return record

    def state(self) -> dict:
        """The optimisers' state, to go on from in another step."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}


def named_terms(player: str, terms: dict[str, Tensor], players) -> dict[str, Tensor]:
    """The first player's terms under their own names, another's with the player's name before them."""
    prefix = "" if player == next(iter(players)) else f"{player}_"
    return {prefix + name: value.detach() for name, value in terms.items()}


def _sizes(state: dict) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


# ---------------------------------------------------------------------------
# The loop
# ---------------------------------------------------------------------------


@dataclass
class EarlyStopping:
    """Held-out rows, and when to stop: after ``patience`` epochs without a relative gain of ``tol``."""

    source: Source
    patience: float
    tol: float
    best: float = math.inf
    reference: float = math.inf  # the last loss that was a gain of tol
    best_state: dict[str, Any] = field(default_factory=dict)
    n_without_gain: int = 0

    def update(self, loss: float, state: dict[str, Any], settled: bool) -> bool:
        """Take an epoch's validation loss and the module's state after it; True when it is time to stop.

        Epochs of an objective that has not settled do not count against it.
        """
        if math.isinf(self.reference) or self.reference - loss > self.tol * abs(self.reference):
            self.reference, self.n_without_gain = loss, 0
        elif settled:
            self.n_without_gain += 1
        if loss < self.best:
            self.best, self.best_state = loss, state
        return self.n_without_gain >= self.patience


@dataclass
class Result:
    """What a training run leaves besides the trained module."""

    history: list[dict[str, float]]  # one record an epoch
    interrupted: bool = False
    restored: bool = False  # the module is not where the optimisers left it


def train(
    module: Any,
    source: Source,
    step: Step,
    *,
    epochs: range,
    batch_size: int,
    seed: int,
    device: torch.device,
    early_stopping: EarlyStopping | None = None,
    preprocess: Preprocess | None = None,
    on_epoch: Callable[[Any, int, dict[str, float], float], None] | None = None,
    foreign: Callable[[int], contextlib.AbstractContextManager] | None = None,
) -> Result:
    """Train for the given epochs, until early stopping, or until the user interrupts.

    The random numbers of an epoch depend on ``seed`` and its number alone, so that epochs 0 to 4 followed
    by 5 to 9 are epochs 0 to 9.

    Parameters
    ----------
    module : AutoencoderModule
        Trained in place.
    source : Source
    step : Step
    epochs : range
        Numbers of the epochs to run.
    batch_size : int
    seed : int
    device : torch.device
    early_stopping : EarlyStopping or None
        The module ends in the state of its best epoch.
    preprocess : callable of (x, generator) or None
        Applied to held-out batches before their loss.
    on_epoch : callable of (module, epoch, record, seconds) or None
        Called after each complete epoch with the module in evaluation mode.
    foreign : callable of a seed that returns a context manager, or None
        Entered around each epoch, for code that draws from the global streams.

    Returns
    -------
    result : Result

    Raises
    ------
    ValueError
        If a term of the loss, or a parameter or buffer after the last epoch, is not finite.
    KeyboardInterrupt
        If it comes before the first epoch ends. After that the module goes back to the last complete epoch.
    """
    result = Result([])
    complete: tuple[int, dict[str, Any]] = (0, {})
    # a mask of infinities, frozen or in a buffer, is none of training's
    watched = {n for n, v in _numbers(module) if v.requires_grad or bool(torch.isfinite(v).all())}
    generator = make_generator(0, device)
    try:
        for epoch in epochs:
            start = time.perf_counter()
            epoch_seed = derive_seed(seed, 0, epoch)
            generator.manual_seed(epoch_seed)
            with foreign(epoch_seed) if foreign is not None else contextlib.nullcontext():
                module.before_epoch(epoch)
                module.train()
                batches = source.shuffled(batch_size, derive_seed(seed, 1, epoch))
                record = _mean_terms((len(x), step(x, generator)) for x in batches)
                _check_finite(record, epoch)
                module.eval()
                if early_stopping is not None:
                    # the same noise in every epoch: a difference is the model's
                    noise = make_generator(derive_seed(seed, 2), device)
                    record["validation_loss"] = _evaluate(
                        module, early_stopping.source, batch_size, noise, preprocess
                    )
                    _check_finite(record, epoch)
            result.history.append(record)
            complete = (len(result.history), snapshot(module))
            stop = early_stopping is not None and early_stopping.update(
                record["validation_loss"], complete[1], module.settled
            )
            if on_epoch is not None:
                on_epoch(module, epoch, record, time.perf_counter() - start)
            if stop:
                break
    except KeyboardInterrupt:
        if complete[0] == 0:
            raise
        del result.history[complete[0] :]
        module.load_state_dict(complete[1])
        result.interrupted = result.restored = True
    module.eval()
    # none if the user interrupts right after the first epoch, which is then the last complete one
    if early_stopping is not None and early_stopping.best_state:
        module.load_state_dict(early_stopping.best_state)
        result.restored = True
    for name, value in _numbers(module):
        if name in watched and not bool(torch.isfinite(value).all()):
            raise ValueError(_not_finite(f"the tensor {name!r}", epochs[len(result.history) - 1]))
    return result


def _numbers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of real numbers."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            yield name, value


def _mean_terms(records: Iterator[tuple[int, dict[str, Tensor]]]) -> dict[str, float]:
    """Means of (size, terms) over batches, weighted by size; one transfer from the device at the end."""
    names: list[str] = []
    total = torch.zeros((), dtype=torch.float64)
    n_rows = 0
    for size, terms in records:
        value = torch.stack(list(terms.values())).double() * size
        total = value if n_rows == 0 else total.add_(value)
        names = list(terms)
        n_rows += size
    return dict(zip(names, (total / n_rows).tolist()))


@torch.no_grad()
def _evaluate(
    module: Any,
    source: Source,
    batch_size: int,
    generator: torch.Generator,
    preprocess: Preprocess | None,
) -> float:
    """The first player's loss on held-out rows."""

    def records() -> Iterator[tuple[int, dict[str, Tensor]]]:
        for x in source.in_order(batch_size):
            if preprocess is not None:
                x = preprocess(x, generator)
            _, terms = next(iter(module.losses(x, generator)))
            yield len(x), {"loss": terms["loss"]}

    return _mean_terms(records())["loss"]


def _check_finite(record: dict[str, float], epoch: int) -> None:
    bad = [name for name, value in record.items() if not np.isfinite(value)]
    if bad:
        # name the term that caused it rather than the loss that sums it up
        culprit = next((name for name in bad if name != "loss"), bad[0])
        raise ValueError(_not_finite(f"the term {culprit!r} ({record[culprit]})", epoch))


def _not_finite(what: str, epoch: int) -> str:
    return (
        f"Training diverged: {what} is not finite after epoch {epoch + 1}. Lower learning_rate_init, or "
        "scale the data (scaling='auto', or a StandardScaler before this step)."
    )
