"""How usual a row of a table is: the log-probability of its cells."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from skswae.modules._columns import HIDDEN, MISSING, ColumnsHead
from skswae.tabular._table import FittedTable

N_FOLDS = 5
"""Parts of the columns that are hidden by turns, and scored."""


def cell_log_prob(
    head: ColumnsHead, x: Tensor, output: Tensor, noise: Tensor, unknown: float = 0.0
) -> Tensor:
    """Return log p of cells given codes, with this noise of numbers; 0 of missing ones: -> (n, C).

    ``unknown`` is that of a level that no training row has.
    """
    n = head.n_numbers
    squares = ((x[:, :n] - output[:, :n]) / noise).square()
    numbers = 0.5 * (squares + math.log(2.0 * math.pi)) + noise.log()
    raw = head.raw(x)
    known = [torch.ones_like(raw[:, n : head.first]), *(p.sum(dim=2) for p in head.levels(raw))]
    others = torch.where(torch.cat(known, dim=1) > 0.5, head.level_costs(x, output), -unknown)
    return -torch.cat([numbers, others], dim=1) * head.observed(x)


def folds(fitted: FittedTable, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a mask of columns, and the rows with their cells hidden; each column once: (C,), (n, d)."""
    C = fitted.table.columns.n_columns
    number = min(N_FOLDS, C)
    for fold in range(number):
        hidden = np.arange(C) % number == fold
        turned = x.copy()
        turned[:, -C:][:, hidden] = np.minimum(x[:, -C:][:, hidden], HIDDEN)
        yield hidden, turned


def learn_noise(fitted: FittedTable, cells: np.ndarray) -> None:
    """Let the head know the mean squared errors of numbers that a code has seen, and has not: (n, C)."""
    n = fitted.table.columns.n_numbers
    observed = ~np.isnan(cells[:, list(fitted.table.order[:n])])

    def errors(head: ColumnsHead, x: Tensor, output: Tensor) -> Tensor:
        return (x[:, :n] - output[:, :n]).square() * head.observed(x)[:, :n]

    def block(cells: np.ndarray) -> np.ndarray:
        x = fitted.table.rows(cells)
        seen, unseen = fitted.of_rows(x, errors).sum(axis=0), np.zeros(n)
        for hidden, turned in folds(fitted, x):
            unseen[hidden[:n]] = fitted.of_rows(turned, errors)[:, hidden[:n]].sum(axis=0)
        return np.stack([seen, unseen])[None]  # (1, 2, n)

    if n:
        means = fitted.in_blocks(cells, block).sum(axis=0) / np.maximum(1, observed.sum(axis=0))
        fitted.head.set_noise(*torch.from_numpy(means))


def row_scores(fitted: FittedTable, cells: np.ndarray) -> np.ndarray:
    """Return the log-pseudolikelihood of each row, in nats for a row without holes: (n, C) -> (n,).

    The sum of log p of cells given a code that has not seen them, a fifth of the columns at a time: low for
    cells that do not fit the others. Over the cells that have a value, times the number of columns. A level
    that no training row has is as likely as 1 row in one more than they are.
    """
    unknown = -math.log(fitted.table.n_rows + 1.0)
    columns = fitted.table.columns

    def unseen(head: ColumnsHead, x: Tensor, output: Tensor) -> Tensor:
        return cell_log_prob(head, x, output, head.hidden_noise, unknown)

    def block(cells: np.ndarray) -> np.ndarray:
        x = fitted.table.rows(cells)
        total = np.zeros(len(x))
        for hidden, turned in folds(fitted, x):
            total += fitted.of_rows(turned, unseen)[:, hidden].sum(axis=1)
        n_cells = (x[:, -columns.n_columns :] > MISSING).sum(axis=1)
        return total / np.maximum(n_cells, 1) * (columns.n_columns - len(columns.targets))

    return fitted.in_blocks(cells, block)
