"""Missing cells filled in: by what is expected of them, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skswae._random import make_generator, named_seed
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
    order = fitted.table.learned
    now, found = cells.copy(), fitted.table.to_codec(found)
    now[:, order] = np.where(np.isnan(cells[:, order]), found[:, order], cells[:, order])
    return now


def drawn_values(fitted: FittedTable, cells: np.ndarray, seed: int) -> np.ndarray:
    """Return values for all cells, one joint draw of the missing ones of each row: (n, C) each.

    The code of the observed cells gives first draws; then the row is encoded with the draws in place, and
    they are drawn anew, a few times (pseudo-Gibbs sampling).
    """
    generator = make_generator(named_seed(seed, "codes"), fitted.estimator._module_on_device().device)
    now = cells
    for sweep in range(1 + N_SWEEPS):
        Z = fitted.codes(now, generator)
        drawn = fitted.decoded(Z, named_seed(seed, f"sweep {sweep}"), hidden=sweep == 0)
        now = _with_missing(fitted, cells, drawn)
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
