"""The training loop: epochs, batches, early stopping, history. It knows no objective."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from skswae._checkpoint import Checkpoint
from skswae._steps import Preprocess, Step, check_finite, not_finite
from skswae._torch import derive_seed, make_generator, snapshot

# ---------------------------------------------------------------------------
# Where batches come from
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

    def state(self) -> dict[str, Any]:
        """All that an epoch changes."""
        names = ("best", "reference", "best_state", "n_without_gain")
        return {name: getattr(self, name) for name in names}

    def resume(self, state: dict[str, Any]) -> None:
        """Be as that state says."""
        for name, value in state.items():
            setattr(self, name, value)


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
    checkpoint: Checkpoint | None = None,
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
    checkpoint : Checkpoint or None
        Written after epochs, and gone on from if it is there: the end is the same.

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

    def state() -> dict[str, Any]:
        return {
            "history": result.history,
            "module": module.state_dict(),
            "step": step.state(),
            "stopping": early_stopping.state() if early_stopping is not None else {},
        }

    saved = checkpoint.load() if checkpoint is not None else None
    if saved is not None:
        result.history.extend(saved["history"])
        module.load_state_dict(saved["module"])
        step.resume(saved["step"], len(result.history) * source.n_batches(batch_size))
        if early_stopping is not None:
            early_stopping.resume(saved["stopping"])
        complete = (len(result.history), snapshot(module))
    try:
        for epoch in epochs[len(result.history) :]:
            start = time.perf_counter()
            epoch_seed = derive_seed(seed, 0, epoch)
            generator.manual_seed(epoch_seed)
            with foreign(epoch_seed) if foreign is not None else contextlib.nullcontext():
                module.before_epoch(epoch)
                module.train()
                step.begin_epoch()
                for x in source.shuffled(batch_size, derive_seed(seed, 1, epoch)):
                    step(x, generator)
                record = step.end_epoch()
                check_finite(record, epoch)
                module.eval()
                if early_stopping is not None:
                    # the same noise in every epoch: a difference is the model's
                    noise = make_generator(derive_seed(seed, 2), device)
                    record["validation_loss"] = _evaluate(
                        module, early_stopping.source, batch_size, noise, preprocess
                    )
                    check_finite(record, epoch)
            result.history.append(record)
            complete = (len(result.history), snapshot(module))
            stop = early_stopping is not None and early_stopping.update(
                record["validation_loss"], complete[1], module.settled
            )
            if on_epoch is not None:
                on_epoch(module, epoch, record, time.perf_counter() - start)
            if stop:
                break
            if checkpoint is not None:
                checkpoint.offer(state)
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
            raise ValueError(not_finite(f"the tensor {name!r}", epochs[len(result.history) - 1]))
    return result


def _numbers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of real numbers."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            yield name, value


@torch.no_grad()
def _evaluate(
    module: Any,
    source: Source,
    batch_size: int,
    generator: torch.Generator,
    preprocess: Preprocess | None,
) -> float:
    """The first player's loss on held-out rows."""

    total, n_rows = torch.zeros((), dtype=torch.float64, device=generator.device), 0
    for x in source.in_order(batch_size):
        if preprocess is not None:
            x = preprocess(x, generator)
        _, terms = next(iter(module.losses(x, generator)))
        total += terms["loss"].double() * len(x)
        n_rows += len(x)
    return float(total) / n_rows
