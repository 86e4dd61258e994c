"""Preparation of a batch for the objective: units, rounding, augmentation."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor

from skswae._random import own_generator
from skswae.data._scaler import TrainingRows
from skswae.training._callbacks import Callback, Run


class Preparation(Callback):
    """Map a raw batch to the module's units, then apply ``augment``, if there is one.

    ``augment`` is a function of rows in the user's units, applied to batches in the module's.

    What it returns is checked in every call. The form is known at once; the numbers would have to be waited
    for, so that but for the first call their range is collected on the device, and looked at once an epoch.

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
        If ``augment`` returns anything but rows that can be learned.
    """

    def __init__(
        self,
        rows: TrainingRows,
        augment: Callable[[Tensor, torch.Generator], Any] | None,
        module: Any,
        anywhere: bool = False,
    ):
        _check_takes_two(augment)
        self.rows = rows
        self.augment = augment
        self.module = module
        self.bounded = module.bounded_output and not anywhere
        self._range: Tensor | None = None  # (2,): the lowest and the highest number since the last check
        self._first = True

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        x = self.rows.prepare(raw)
        if self.augment is None:
            return x
        rows = self.augment(self.module.scaler.unstandardize(x), own_generator(generator))
        needed = f"The 'augment' parameter must map a batch to a tensor of its shape {tuple(x.shape)}"
        if not isinstance(rows, Tensor):
            raise ValueError(f"{needed}. Got {type(rows).__name__} instead.")
        if rows.shape != x.shape:
            raise ValueError(f"{needed}. Got the shape {tuple(rows.shape)} instead.")
        if rows.device != x.device:
            raise ValueError(f"{needed} on its device, {x.device}. Got one on {rows.device} instead.")
        rows = rows.to(x.dtype)
        low, high = rows.detach().aminmax()  # NaN if one is
        if self._range is not None:
            low, high = torch.minimum(low, self._range[0]), torch.maximum(high, self._range[1])
        self._range = torch.stack([low, high])
        if self._first:
            self._check_range()
            self._first = False
        return self.module.scaler.standardize(rows)

    def extra_terms(self, run: Run) -> dict[str, float]:
        self._check_range()
        return {}

    def _check_range(self) -> None:
        """Raise ValueError if the numbers since the last check cannot be learned."""
        if self._range is None:
            return
        needed = "The 'augment' parameter must map a batch to a tensor of its shape"
        low, high = self._range.tolist()
        self._range = None
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{needed} of finite numbers. Got NaN or infinity.")
        if self.bounded and not (low >= 0 and high <= 1):
            raise ValueError(
                f"{needed} with values in [0, 1], since the output is a sigmoid. "
                f"Got values from {low:.6g} to {high:.6g}."
            )


def _check_takes_two(augment: Any) -> None:
    """Raise InvalidParameterError if ``augment`` cannot be called with a batch and a generator."""
    if augment is None:
        return
    try:
        signature = inspect.signature(augment)
    except (TypeError, ValueError):  # a function of C
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise InvalidParameterError(
            f"The 'augment' parameter must be a function of (x, generator). Got {augment!r} instead: {error}."
        ) from error
