"""Sources of training rows, which are read part by part."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches

from skswae._random import derive_seed, make_generator
from skswae.data._blocks import Blocks

CHUNK_NUMBERS = 2**17
"""Numbers to look at at a time: 1 MB in float64, so that several copies of them are little memory."""


def chunk_rows(n_features: int, n_numbers: int = CHUNK_NUMBERS) -> int:
    """Return how many rows of a width hold at most ``n_numbers``: from 1 to 4,096."""
    return min(max(1, n_numbers // n_features), 4096)


class DataSource(abc.ABC):
    """Training rows that are read part by part.

    A subclass has the two attributes and :meth:`read`; the other methods follow from them, and may be
    overridden by faster ones. Rows that ``early_stopping`` has divided are read through :meth:`read` alone.

    Attributes
    ----------
    shape : tuple of (int, int)
        (n_samples, n_features).
    dtype : numpy.dtype
        A floating-point type of at most 64 bits, or uint8.
    blocks : Blocks or None
        For rows that are slow to read one by one: the parts that are read whole. The rows are then shuffled
        within a few blocks at a time. None, the default, shuffles all rows.
    feature_names : sequence of str
        Names of the columns, if they have any: ``fit`` sets ``feature_names_in_`` by them.

    Examples
    --------
    Voltages that a device has stored as 16-bit counts of millivolts:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from skswae.data import DataSource
    >>> class Voltages(DataSource):
    ...     def __init__(self, path, n_features):
    ...         self.counts = np.memmap(path, dtype=np.int16, mode="r").reshape(-1, n_features)
    ...         self.shape = self.counts.shape
    ...         self.dtype = np.dtype(np.float32)
    ...
    ...     def read(self, index):
    ...         return self.counts[index] * np.float32(0.001)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "counts.bin"
    ...     np.arange(12, dtype=np.int16).tofile(path)
    ...     source = Voltages(path, n_features=3)
    ...     print(source.read(np.array([3, 0])))
    ...     print([len(batch) for batch in source.shuffled(2, seed=0)])
    ...     del source
    [[0.009 0.01  0.011]
     [0.    0.001 0.002]]
    [2, 2]
    """

    shape: tuple[int, int]
    dtype: np.dtype
    blocks: Blocks | None = None
    extremes: tuple[np.ndarray, np.ndarray] | None = None  # of each feature, once the rows have been checked
    # whether rows are read in ascending order alone, and may come in another order in another pass
    forward_only = False
    # what the caller has passed, as errors say, where the source was made of it
    _made_of: str | None = None

    @abc.abstractmethod
    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Read some rows.

        Parameters
        ----------
        index : slice or ndarray of int
            Numbers of rows, from 0 on; an array may be in any order, and the rows come in that order.

        Returns
        -------
        rows : ndarray of shape (m, n_features)
            In the dtype of the source; not to be changed in place.
        """

    def _content(self) -> Any:
        """Return what tells these rows from others, for a checkpoint, as something that can be pickled."""
        return self

    def _check_unchanged(self) -> None:
        """Raise an error if the rows are no longer those that the source was made of."""
        return

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory that all rows take."""
        return len(self) * self.n_features * self.dtype.itemsize

    def read_parts(self, parts: Iterable[slice | np.ndarray]) -> Iterator[np.ndarray]:
        """Read the rows of each index, one after the other; a source may read ahead."""
        return map(self.read, parts)

    def chunks(self, n_rows: int | None = None) -> Iterator[np.ndarray]:
        """Read all rows in order, ``n_rows`` at a time; None is at most 4,096, and 2**17 numbers."""
        yield from self.read_parts(gen_batches(len(self), n_rows or chunk_rows(self.n_features)))

    def order(self, seed: int) -> np.ndarray:
        """Return the numbers of all rows in the order of one epoch: (n_samples,)."""
        if self.blocks is not None:
            return self.blocks.order(seed)
        dtype = torch.int32 if len(self) < 2**31 else torch.int64  # 4 bytes a row where they suffice
        generator = make_generator(seed)
        return torch.randperm(len(self), dtype=dtype, device="cpu", generator=generator).numpy()

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in an epoch; see :meth:`shuffled`."""
        return max(1, len(self) // batch_size)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[np.ndarray]:
        """Read every row once, in batches of at least ``batch_size`` rows whose sizes differ by at most one.

        So no batch is a small remainder. Override :meth:`order` to change the order: rows that fit in the
        memory of a GPU are put there once, and taken in that order.
        """
        yield from self.read_parts(np.array_split(self.order(seed), self.n_batches(batch_size)))

    def split(self, fraction: float, seed: int) -> tuple[DataSource, DataSource]:
        """Return training rows and held-out rows, chosen at random; at least one is held out.

        Raises
        ------
        ValueError
            If fewer than 2 rows were left to train on.
        """
        n_held_out = int(np.ceil(fraction * len(self)))
        if len(self) - n_held_out < 2:
            raise ValueError(
                "The 'validation_fraction' parameter must leave at least 2 rows to train on with early "
                f"stopping. Got {fraction}, which leaves {len(self) - n_held_out} of {len(self)} rows."
            )
        order = np.random.default_rng(derive_seed(seed, 3)).permutation(len(self))
        if self.blocks is None:
            return Subset(self, order[n_held_out:]), Subset(self, order[:n_held_out])
        held_out = np.zeros(len(self), bool)
        held_out[order[:n_held_out]] = True
        dtype = order.dtype if len(self) >= 2**31 else np.int32
        del order
        # in the order of the source: block by block
        train, rest = (Subset(self, np.flatnonzero(part).astype(dtype)) for part in (~held_out, held_out))
        return train, rest


class Subset(DataSource):
    """Some rows of another source.

    Parameters
    ----------
    source : DataSource
    index : ndarray of int
        Numbers of its rows.
    """

    def __init__(self, source: DataSource, index: np.ndarray):
        self.source = source
        self.index = index
        self.shape = len(index), source.n_features
        self.dtype = source.dtype
        if source.blocks is not None and not (index[1:] < index[:-1]).any():
            self.blocks = source.blocks.of(index)

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Read some of the subset's rows: (m, d)."""
        return self.source.read(self.index[index])

    def read_parts(self, parts: Iterable[slice | np.ndarray]) -> Iterator[np.ndarray]:
        """Read the subset's rows of each index, one after the other."""
        return self.source.read_parts(self.index[part] for part in parts)
