"""How long, in which batches, at which rate, and with how many threads a fit trains, unless it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from skswae._torch import available_threads


@dataclass(frozen=True)
class Schedule:
    """What ``max_iter``, ``batch_size`` and ``learning_rate_init`` come to for a number of rows.

    Measured on MNIST and on tables: a few thousand steps are enough from PCA's start, and larger batches cost
    less a row, at a rate that grows with them.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float

    @classmethod
    def of(cls, estimator: Any, n_rows: int) -> Schedule:
        """Of the estimator's parameters."""
        max_iter, batch_size = estimator.max_iter, estimator.batch_size
        rate = estimator.learning_rate_init
        if max_iter == "auto":
            max_iter = min(40, max(4, round(480_000 / n_rows)))
        if batch_size == "auto":
            batch_size = min(256, max(64, n_rows // 200))
        if rate == "auto":
            rate = 1.25e-3 * min(4.0, max(1.0, batch_size / 64))
        return cls(int(max_iter), int(batch_size), float(rate))


def n_threads(module: nn.Module, batch_size: int, device: torch.device) -> int | None:
    """As many of torch's threads as a training step has work for; None, as torch has it, on other devices.

    A thread too many gains little on an idle machine, and waits for its turn in each of a step's hundred
    operations on a busy one.
    """
    if device.type != "cpu":
        return None
    n_weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
    flops = 6 * n_weights * batch_size
    return min(available_threads(), max(1, int(flops // _FLOPS_A_THREAD)))


_FLOPS_A_THREAD = 4e8  # of a step: some 5 ms of one core
