"""Missing cells filled in: by what is expected of them, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from skswae._device import as_array
from skswae._random import named_seed
from skswae.modules._columns import MISSING
from skswae.tabular._table import FittedTable

N_REFINEMENTS, N_CODES = 2, 2000
"""Times that missing cells are expected anew, given the others; codes that first draws are chosen of."""


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

    A sweep of Gibbs sampling from :func:`_first_draws`: column by column, each missing cell is drawn anew
    given all others of its row, by a code that has not seen it and with the noise of such.
    """
    missing = np.isnan(cells)
    now = _with_missing(fitted, cells, _first_draws(fitted, cells, seed))
    for j in np.flatnonzero(missing.any(axis=0)):
        if j not in fitted.table.order:  # a constant column
            continue
        rows = np.flatnonzero(missing[:, j])
        given = now[rows]
        given[:, j] = np.nan
        found = fitted.decoded(fitted.codes(given), named_seed(seed, f"column {j}"), hidden=True)
        now[rows, j] = fitted.table.to_codec(found)[:, j]
    return fitted.codec.values(now)


def _first_draws(fitted: FittedTable, cells: np.ndarray, seed: int) -> np.ndarray:
    """Return draws of all cells, those of a row given one code: (n, C_codec) -> (n, C).

    The code is one of 2,000 of the prior, drawn with the likelihood of the row's observed cells. So cells
    that are missing together go together, and vary as much as the observed ones leave open.
    """
    table, columns = fitted.table, fitted.table.columns
    n, first, C = columns.n_numbers, columns.n_numbers + columns.n_booleans, columns.n_columns
    Z = fitted.estimator._sample_codes(N_CODES, "model", named_seed(seed, "codes") % 2**31)
    raw = fitted.of_codes(Z.astype(np.float64), lambda head, output: head.probabilities(output))  # (M, d_v)
    mean = (raw[:, :n] - columns.location[:n]) / columns.unit[:n]
    log_p, log_not = (np.log(np.clip(p, 1e-12, 1.0)) for p in (raw[:, n:], 1.0 - raw[:, n:first]))
    precision = as_array(fitted.head.scale).astype(np.float64) ** -2
    rng = np.random.default_rng(named_seed(seed, "choices"))

    def choose(cells: np.ndarray) -> np.ndarray:
        x = table.rows(cells)
        observed = (x[:, -C:] > MISSING)[:, columns.owner()]
        given = np.where(observed, x[:, : columns.n_values] * columns.unit + columns.location, 0.0)
        o, v = observed[:, :n] * precision, np.where(observed[:, :n], x[:, :n], 0.0)
        log_w = (o * v) @ mean.T - 0.5 * o @ np.square(mean).T + given[:, n:] @ log_p.T
        log_w += (observed[:, n:first] - given[:, n:first]) @ log_not.T
        return (log_w + rng.gumbel(size=log_w.shape)).argmax(axis=1)  # drawn with these weights

    chosen = np.concatenate([choose(cells[part]) for part in gen_batches(len(cells), 512)])
    return fitted.decoded(Z[chosen], named_seed(seed, "first"))


def filled_frame(fitted: FittedTable, X: Any) -> Any:
    """Return X with its missing cells filled by :func:`filled_values`."""
    return _frame(fitted, X, fitted.codec.encode(X), lambda cells: filled_values(fitted, cells))


def drawn_frames(fitted: FittedTable, X: Any, n_draws: int, seed: int) -> list[Any]:
    """Return X that many times with its missing cells filled by :func:`drawn_values`."""
    cells, seeds = fitted.codec.encode(X), [named_seed(seed, f"draw {i}") for i in range(n_draws)]
    return [_frame(fitted, X, cells, lambda cells, s=s: drawn_values(fitted, cells, s)) for s in seeds]


def _frame(fitted: FittedTable, X: Any, cells: np.ndarray, values_of: Callable) -> Any:
    """Return X with the values that a function gives for the rows with missing cells."""
    values, holes = fitted.codec.values(cells), np.isnan(cells).any(axis=1)
    if holes.any():
        values[holes] = values_of(cells[holes])
    return fitted.codec.fill(X, values)
