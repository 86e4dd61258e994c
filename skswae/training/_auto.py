"""Settings that follow the data: epochs, batches, rates, early stopping and threads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from skswae._device import available_threads

_ROWS_PER_FEATURE = 15  # with fewer, the default epochs may learn the noise of the rows
_MIN_ROWS = 20  # fewer are too few to hold some out

_FULL_RATE_ROWS = 600

_FLOPS_A_THREAD = 4e8  # work of a step that is worth one more thread: some 5 ms of one core


@dataclass(frozen=True)
class AutoSettings:
    """Resolved ``max_iter``, ``batch_size`` and ``learning_rate_init``.

    Measured on MNIST and on tables: a few thousand steps are enough from PCA's start, and larger batches cost
    less a row, at a rate that grows with them.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float

    @classmethod
    def resolve(
        cls,
        n_rows: int,
        *,
        max_iter: int | str,
        batch_size: int | str,
        learning_rate_init: float | str,
        full_rate: bool = False,
    ) -> AutoSettings:
        """Give each "auto" its value for this number of training rows.

        ``full_rate`` is whether few rows are learned at the rate of many: those of one call of several, which
        do not mean few in all, and from random weights, which have a longer way to go than PCA's.
        """
        if batch_size == "auto":
            batch_size = min(512, max(64, n_rows // 100))
        if learning_rate_init == "auto":
            learning_rate_init = 1.25e-3 * min(8.0, max(1.0, int(batch_size) / 64))
            if not full_rate:  # what few rows say is learned in few and small steps, and then their noise
                learning_rate_init *= min(1.0, n_rows / _FULL_RATE_ROWS)
        return cls(epochs_for(n_rows, max_iter), int(batch_size), float(learning_rate_init))


def epochs_for(n_rows: int, max_iter: int | str) -> int:
    """Return the epochs that ``max_iter`` is for this number of training rows."""
    return min(40, max(4, round(360_000 / n_rows))) if max_iter == "auto" else int(max_iter)


def holds_rows_out(n_rows: int, n_features: int) -> bool:
    """Return whether a fit of the default length needs held-out rows to end before it overfits."""
    return _MIN_ROWS <= n_rows < _ROWS_PER_FEATURE * n_features


def n_threads(module: nn.Module, batch_size: int, device: torch.device) -> int | None:
    """Return as many of torch's threads as a training step has work for; None leaves it to torch.

    A thread too many gains little on an idle machine, and waits for its turn in each of a step's hundred
    operations on a busy one.
    """
    if device.type != "cpu":
        return None
    n_weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
    flops = 6 * n_weights * batch_size
    return min(available_threads(), max(1, int(flops // _FLOPS_A_THREAD)))
