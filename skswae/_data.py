"""Training rows on their way to the loop: range, units, held-out part, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from skswae._module import AutoencoderModule
from skswae._rows import Rows

_CHUNK_ROWS = 4096  # a bound on the float64 copies made on the way


def _eps(X: np.ndarray) -> float:
    """The relative spacing of the array's numbers; 0 for bytes."""
    return float(np.finfo(X.dtype).eps) if X.dtype.kind == "f" else 0.0


def _range(X: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number; those that leave [0, 1] by rounding alone count as inside."""
    low, high = float(X.min()), float(X.max())
    rounding = 4 * _eps(X)
    if -rounding <= low < 0.0:
        low = 0.0
    if 1.0 < high <= 1.0 + rounding:
        high = 1.0
    return low, high


def in_unit_interval(X: np.ndarray) -> bool:
    """Whether the data start at 0 and end at 1, to 1 %: what a sigmoid output is meant for."""
    low, high = _range(X)
    return 0.0 <= low <= 0.01 and 0.99 <= high <= 1.0


def is_bounded(X: np.ndarray) -> bool:
    """Whether all numbers lie in [0, 1] exactly."""
    return float(X.min()) >= 0.0 and float(X.max()) <= 1.0


def in_unit_range(X: np.ndarray) -> bool:
    """Whether all numbers lie in [0, 1], up to rounding."""
    low, high = _range(X)
    return low >= 0.0 and high <= 1.0


def is_binary(X: np.ndarray) -> bool:
    """Whether there are zeros and ones, and nothing else."""
    return (
        all(np.isin(X[rows], (0, 1)).all() for rows in gen_batches(len(X), _CHUNK_ROWS)) and X.max() > X.min()
    )


def on_a_grid(X: np.ndarray, n_bins: int) -> bool:
    """Whether all numbers are j / (L - 1), or all are (j + 1/2) / L, for L bins and whole j."""

    tolerance = min(0.2, 1e-3 + 2 * n_bins * _eps(X))

    def all_close(scale: float, offset: float) -> bool:
        return all(
            np.abs((j := X[rows].astype(np.float64) * scale - offset) - np.rint(j)).max() < tolerance
            for rows in gen_batches(len(X), _CHUNK_ROWS)
        )

    return all_close(n_bins - 1, 0.0) or all_close(n_bins, 0.5)


def check_unit_interval(X: np.ndarray) -> None:
    """Raise ValueError for rows that a sigmoid output cannot learn."""
    if not in_unit_range(X):
        low, high = _range(X)
        raise ValueError(
            "X must lie in [0, 1] to be learned with a sigmoid output or a cross-entropy: divide it by its "
            "maximum, put a MinMaxScaler before this step, or use a squared error with "
            "output_activation='identity'. "
            f"Got values from {low!r} to {high!r}."
        )


def find_units(X: np.ndarray) -> tuple[Tensor, Tensor]:
    """The mean row, and the one number that makes the mean variance of the features 1.

    Parameters
    ----------
    X : ndarray of shape (n_samples, d)

    Returns
    -------
    location : Tensor of shape (d,), float64
    scale : Tensor of shape (), float64
        1 for constant data.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        location = X.mean(axis=0, dtype=np.float64)
        low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
        spread = high - low
    if not np.isfinite(location).all() or not np.isfinite(spread).all():
        raise ValueError(
            "X must have finite deviations from its mean in float64. Got an overflow: scale the data first."
        )
    # a feature that is constant up to rounding has no spread
    varies = spread > 4 * _eps(X) * np.abs(location)
    location[~varies] = X[0, ~varies]
    scale = 1.0
    if varies.any():
        largest = spread[varies].max()  # squares relative to it neither over- nor underflow
        squares = sum(
            np.square((X[rows] - location)[:, varies] / largest).sum()
            for rows in gen_batches(len(X), _CHUNK_ROWS)
        )
        scale = largest * np.sqrt(squares / X.size) or 1.0  # a subnormal may underflow
    return torch.from_numpy(location), torch.tensor(scale, dtype=torch.float64)


class Preparation:
    """What is done to a batch before the objective sees it: units, then ``augment``, if there is one.

    ``augment`` is a function of rows in the user's units, applied to batches in the module's.

    Parameters
    ----------
    rows : Rows
        Where batches come from.
    augment : callable of (rows, generator) or None
    module : AutoencoderModule

    Raises
    ------
    ValueError
        In the first call, if ``augment`` returns anything but rows that can be learned.
    """

    def __init__(
        self, rows: Rows, augment: Callable[[Tensor, torch.Generator], Any] | None, module: AutoencoderModule
    ):
        self.rows = rows
        self.augment = augment
        self.module = module
        self.is_random = augment is not None
        self._checked = False  # once: the check of the range waits for the device

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        x = self.rows.prepare(raw)
        if self.augment is None:
            return x
        rows = self.augment(self.module.from_units(x), generator)
        if not self._checked:
            self._check(rows, x)
            self._checked = True
        return self.module.to_units(rows.to(x.dtype))

    def _check(self, rows: Any, x: Tensor) -> None:
        needed = f"The 'augment' parameter must map a batch to a tensor of its shape {tuple(x.shape)}"
        if not isinstance(rows, Tensor):
            raise ValueError(f"{needed}. Got {type(rows).__name__} instead.")
        if rows.shape != x.shape:
            raise ValueError(f"{needed}. Got the shape {tuple(rows.shape)} instead.")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"{needed} of finite numbers. Got NaN or infinity.")
        if self.module.out_activation == "sigmoid" and not bool(((rows >= 0) & (rows <= 1)).all()):
            raise ValueError(
                f"{needed} with values in [0, 1], since the output is a sigmoid. "
                f"Got values from {float(rows.min()):.6g} to {float(rows.max()):.6g}."
            )
