"""Rows of an array in memory or in a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.utils import gen_batches
from torch import Tensor

from skswae._device import as_array
from skswae.data._source import DataSource, chunk_rows


class ArrayData(DataSource):
    """Rows of an array in memory, or of a memory-mapped file; they keep their dtype.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Floating-point numbers or bytes. A memory-mapped file, as ``numpy.load(path, mmap_mode="r")`` returns
        it, is read batch by batch. Numbers in the other byte order than the machine's are turned then.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae.data import ArrayData
    >>> source = ArrayData(np.arange(6.0).reshape(3, 2))
    >>> source.read(slice(1, 3))
    array([[2., 3.],
           [4., 5.]])
    """

    def __init__(self, X: np.ndarray):
        self.X = np.asarray(X)  # rows of a memmap are then arrays of their own
        self.shape = self.X.shape[0], self.X.shape[1]
        self.dtype = self.X.dtype.newbyteorder("=")

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return a view of the rows of a slice, or a copy of other rows: (m, d)."""
        # take copies whole rows at a time
        rows = self.X[index] if isinstance(index, slice) else self.X.take(index, axis=0)
        return rows.astype(rows.dtype.newbyteorder("="), copy=False)

    def _content(self) -> np.ndarray:
        return self.X


class TensorData(DataSource):
    """Rows of a tensor on any device, read as tensors on it, for methods of a fitted model.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
    """

    def __init__(self, X: Tensor):
        self.X = X
        self.shape = X.shape[0], X.shape[1]
        self.dtype = np.dtype(str(X.dtype).removeprefix("torch."))

    def read(self, index):
        """Return the rows of a slice: (m, d)."""
        return self.X[index]

    def chunks(self, n_rows: int | None = None) -> Iterator[np.ndarray]:
        """Read all rows in order, as arrays on the host."""
        for rows in gen_batches(len(self), n_rows or chunk_rows(self.n_features)):
            yield as_array(self.X[rows])
