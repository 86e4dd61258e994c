"""Preparation of a batch for the objective: units, rounding, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skswae.data._scaler import TrainingRows


class Preparation:
    """Map a raw batch to the module's units, then apply ``augment``, if there is one.

    ``augment`` is a function of rows in the user's units, applied to batches in the module's.

    Parameters
    ----------
    rows : TrainingRows
    augment : callable of (rows, generator) or None
    module : AutoencoderModule
    anywhere : bool, default=False
        Whether rows may leave [0, 1] though the output is a sigmoid, as those that are only judged may.

    Raises
    ------
    ValueError
        In the first call, if ``augment`` returns anything but rows that can be learned.
    """

    def __init__(
        self,
        rows: TrainingRows,
        augment: Callable[[Tensor, torch.Generator], Any] | None,
        module: Any,
        anywhere: bool = False,
    ):
        self.rows = rows
        self.augment = augment
        self.module = module
        self.bounded = module.bounded_output and not anywhere
        self._checked = False  # once: the check of the range waits for the device

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        x = self.rows.prepare(raw)
        if self.augment is None:
            return x
        rows = self.augment(self.module.scaler.unstandardize(x), generator)
        if not self._checked:
            self._check(rows, x)
            self._checked = True
        return self.module.scaler.standardize(rows.to(x.dtype))

    def _check(self, rows: Any, x: Tensor) -> None:
        needed = f"The 'augment' parameter must map a batch to a tensor of its shape {tuple(x.shape)}"
        if not isinstance(rows, Tensor):
            raise ValueError(f"{needed}. Got {type(rows).__name__} instead.")
        if rows.shape != x.shape:
            raise ValueError(f"{needed}. Got the shape {tuple(rows.shape)} instead.")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"{needed} of finite numbers. Got NaN or infinity.")
        if self.bounded and not bool(((rows >= 0) & (rows <= 1)).all()):
            raise ValueError(
                f"{needed} with values in [0, 1], since the output is a sigmoid. "
                f"Got values from {float(rows.min()):.6g} to {float(rows.max()):.6g}."
            )
