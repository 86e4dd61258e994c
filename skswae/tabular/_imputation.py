"""Missing cells filled in: by what is expected of them, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skswae._random import named_seed
from skswae.tabular._table import FittedTable

N_SWEEPS, N_REFINEMENTS = 5, 2
"""Times that missing cells are drawn anew, or expected anew, each time given the others."""


def filled_values(fitted: FittedTable, cells: np.ndarray) -> np.ndarray:
    """Return values for all cells: means of numbers, the likeliest level of others: (n, C) each.

    The code of the observed cells gives first ones; then the row is encoded with these in place, twice.
    """
    now = cells
    for _ in range(N_REFINEMENTS):
        now = _with_missing(fitted, cells, fitted.decoded(fitted.codes(now)))
    return fitted.expected_values(fitted.codes(now))


def _with_missing(fitted: FittedTable, cells: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return cells, with missing ones from others in the networks' order: (n, C_codec), (n, C)."""
    return np.where(np.isnan(cells), fitted.table.to_codec(found)[:, : cells.shape[1]], cells)


def drawn_values(fitted: FittedTable, cells: np.ndarray, seed: int) -> np.ndarray:
    """Return values for all cells, one joint draw of the missing ones of each row: (n, C) each.

    First they are drawn given the observed cells. Then, a few times, a random half of them is drawn anew
    given the observed cells and the other half (Gibbs sampling by blocks). Each draw is given a code that has
    not seen what is drawn, with the noise of such.
    """
    rng = np.random.default_rng(named_seed(seed, "halves"))
    missing = np.isnan(cells)
    alone = missing.sum(axis=1, keepdims=True) == 1  # nothing else to be given
    now, drawn_anew = cells, missing
    for sweep in range(1 + N_SWEEPS):
        if sweep:
            drawn_anew = missing & ((rng.random(cells.shape) < 0.5) | alone)
        given = np.where(drawn_anew, np.nan, now)
        found = fitted.decoded(fitted.codes(given), named_seed(seed, f"sweep {sweep}"), hidden=True)
        now = _with_missing(fitted, given, found)
    return fitted.codec.values(now)


def filled_frame(fitted: FittedTable, X: Any) -> Any:
    """Return X with its missing cells filled by :func:`filled_values`."""
    return _frame(fitted, X, fitted.codec.encode(X), lambda cells: filled_values(fitted, cells))


def drawn_frames(fitted: FittedTable, X: Any, n_draws: int, seed: int) -> list[Any]:
    """Return X that many times with its missing cells filled by :func:`drawn_values`."""
    cells, seeds = fitted.codec.encode(X), [named_seed(seed, f"draw {i}") for i in range(n_draws)]
    return [_frame(fitted, X, cells, lambda cells, s=s: drawn_values(fitted, cells, s)) for s in seeds]


def _frame(fitted: FittedTable, X: Any, cells: np.ndarray, values_of: Callable) -> Any:
    """Return X with the values that a function gives for the rows with missing cells."""
    values, holes = np.zeros_like(cells), np.isnan(cells).any(axis=1)
    if holes.any():
        values[holes] = values_of(cells[holes])
    return fitted.codec.fill(X, values)
