"""Rows that one of several processes has of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from skswae._processes import Group
from skswae.data._array import ArrayData
from skswae.data._source import DataSource, Subset, chunk_rows

_MOST_ROWS, _MOST_NUMBERS = 20_000, 2**26  # 256 MB in float32, in each process


class LocalRows(DataSource):
    """Rows of this process, one of several that share a fit: the training rows are those of all processes.

    ``fit`` and ``partial_fit`` under ``torchrun`` take an array for the rows that all processes have. In
    ``LocalRows`` each process passes rows that the others need not have: those of its machine's disk, say.

    Each batch then has some rows of every process, as its part of all rows says; a row meets different rows
    of its own process, but not of the others. Units, principal components and pseudo-inputs are found from at
    most 20,000 rows (or as many as pseudo-inputs), drawn at random from those of all processes.
    Neighbours (``neighbor_weight``) are looked for among a process's own rows.

    On one process these are rows as any others.

    Parameters
    ----------
    rows : array-like of shape (n_samples, n_features) or DataSource
        At least as many as there are batches in an epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import SWAETransformer
    >>> from skswae.data import LocalRows
    >>> X = load_digits().data
    >>> swae = SWAETransformer(4, max_iter=1, random_state=0).fit(LocalRows(X))
    >>> swae.transform(X).shape
    (1797, 4)
    """

    def __init__(self, rows: Any):
        self.rows = rows
        if isinstance(rows, DataSource):  # else an estimator will check them first
            for name in ("shape", "dtype", "blocks", "extremes", "forward_only"):
                setattr(self, name, getattr(rows, name))

    def _content(self) -> Any:
        return self.rows._content()

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return some of the rows: (m, d)."""
        return self.rows.read(index)

    def read_parts(self, parts: Iterable[slice | np.ndarray]) -> Iterator[np.ndarray]:
        """Return the rows of each index, one after the other."""
        return self.rows.read_parts(parts)

    def order(self, seed: int) -> np.ndarray:
        """Return the numbers of all rows in the order of one epoch: (n_samples,)."""
        return self.rows.order(seed)

    # what a source may have of its own instead of what follows from its ``read``

    def chunks(self, n_rows: int | None = None) -> Iterator[np.ndarray]:
        """Return all rows in order, ``n_rows`` at a time."""
        return self.rows.chunks(n_rows)

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return self.rows.n_batches(batch_size)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[np.ndarray]:
        """Return an epoch's batches."""
        return self.rows.shuffled(batch_size, seed)

    def split(self, fraction: float, seed: int) -> tuple[DataSource, DataSource]:
        """Return training rows and held-out rows, divided as the source divides them."""
        if type(self.rows).split is DataSource.split:
            return super().split(fraction, seed)
        train, held_out = self.rows.split(fraction, seed)
        return LocalRows(train), LocalRows(held_out)


def drawn_from_all(data: DataSource, group: Group, seed: int, at_least: int = 0) -> DataSource:
    """Return rows drawn at random from those of all processes, in order; the same ones in each.

    Their ``extremes`` are those of all rows.
    """
    sizes = group.gather(len(data))
    total, before = sum(sizes), sum(sizes[: group.rank])
    n = min(total, max(at_least, min(_MOST_ROWS, max(1000, _MOST_NUMBERS // data.n_features))))
    chosen = np.sort(np.random.default_rng(seed).choice(total, n, replace=False))
    own = chosen[(chosen >= before) & (chosen < before + len(data))] - before
    rows = np.empty((len(own), data.n_features), data.dtype)
    step = chunk_rows(data.n_features)
    for start in range(0, len(own), step):
        rows[start : start + step] = data.read(own[start : start + step])
    drawn = ArrayData(np.concatenate(group.gather(rows)))
    lows, highs = zip(*group.gather(_extremes(data)))
    drawn.extremes = np.min(lows, axis=0), np.max(highs, axis=0)
    return drawn


def _extremes(data: DataSource) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest number of each feature: (d,), (d,)."""
    if data.extremes is not None:
        return data.extremes
    lows, highs = zip(*((chunk.min(axis=0), chunk.max(axis=0)) for chunk in data.chunks()))
    return np.min(lows, axis=0), np.max(highs, axis=0)


def has_own_rows(source: DataSource) -> bool:
    """Tell whether these are rows of this process alone, or some of them."""
    while isinstance(source, Subset):
        source = source.source
    return isinstance(source, LocalRows)


def in_memory(source: DataSource) -> bool:
    """Tell whether the rows are those of an array, or some of them, so that any of them is at hand."""
    while isinstance(source, Subset | LocalRows):
        source = source.source if isinstance(source, Subset) else source.rows
    return isinstance(source, ArrayData)
