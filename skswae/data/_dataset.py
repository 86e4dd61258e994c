"""Rows of a map-style data set of torch's, and what is recognized as a source."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from skswae.data._array import ArrayData
from skswae.data._local import LocalRows
from skswae.data._sliced import NumberedRows, SlicedRows, as_numbers, row_dtype
from skswae.data._source import DataSource


class StoreRows(SlicedRows):
    """Rows of a store that the caller has passed as X."""

    _made_of = "X"


class DatasetRows(NumberedRows):
    """Rows of a map-style data set, read item by item.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Its items are rows, as tensors, arrays or what NumPy makes one of, or tuples whose first part is one,
        or lists whose first part is a tensor or array of one axis or more. Items of more than one axis are
        flattened.
    """

    _made_of = "X"

    def __init__(self, dataset: Any):
        try:
            n_rows = len(dataset)
        except TypeError as error:
            raise TypeError(
                f"X must be a data set with a length, an array or a frame. Got {type(dataset).__name__} "
                f"without: {error}"
            ) from error
        if n_rows == 0:
            raise ValueError(f"X must have at least 1 row. Got a {type(dataset).__name__} without any.")
        self.dataset = dataset
        self.shape, self.dtype = (n_rows, 0), np.dtype(np.float64)
        first = self._items(np.zeros(1, np.int64))[0]
        self.shape, self.dtype = (n_rows, first.size), row_dtype(first.dtype, None, "X")

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return a copy of the rows: (m, d)."""
        numbers = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index
        rows = np.empty((len(numbers), self.n_features), self.dtype)
        for row, number, item in zip(rows, numbers, self._items(numbers), strict=True):
            if item.size != self.n_features or row_dtype(item.dtype, None, "X") != self.dtype:
                raise ValueError(
                    f"X must have items of one size and type: {self.n_features} numbers that become "
                    f"{self.dtype}, as item 0 has. Got {item.size} of {item.dtype} in item {number}."
                )
            row[:] = item.ravel()
        return rows

    def _items(self, numbers: np.ndarray) -> list[np.ndarray]:
        if hasattr(self.dataset, "__getitems__"):  # torch's name for many at once
            items = self.dataset.__getitems__(numbers.tolist())
        else:
            items = [self.dataset[number] for number in numbers.tolist()]
        return [as_numbers(item[0] if _has_row(item) else item) for item in items]


def _has_row(item: Any) -> bool:
    """Tell whether the first part of an item is the row: lists may be rows themselves."""
    if isinstance(item, list) and item:
        return isinstance(item[0], Tensor | np.ndarray) and item[0].ndim > 0
    return isinstance(item, tuple) and bool(item)


def held_by(source: Any) -> Any:
    """Return the array, store or data set that the rows of a source are kept in; all else as it is."""
    if isinstance(source, LocalRows):
        return held_by(source.rows)
    for kind, name in ((ArrayData, "X"), (SlicedRows, "array"), (DatasetRows, "dataset")):
        if isinstance(source, kind):
            return getattr(source, name)
    return source


def as_source(X: Any, order: str | None = None) -> Any:
    """Return a source of rows that would else be read into memory as a whole; all others as they are.

    ``order`` is "C" where single rows of an array will be read.
    """
    if isinstance(X, np.ndarray):
        if isinstance(X, np.memmap) or isinstance(X.base, np.memmap):
            return _mapped(X, order)
        return X
    if isinstance(X, DataLoader | IterableDataset):
        raise TypeError(
            f"X must be rows that can be read by their numbers. Got a {type(X).__name__}: for fit and "
            "partial_fit take skswae.data.BatchRows(X, n_samples), for other methods its batches one by one."
        )
    if isinstance(X, Dataset):
        return DatasetRows(X)
    package = type(X).__module__.partition(".")[0]
    if package in ("h5py", "zarr") and hasattr(X, "dtype"):
        row_dtype(np.dtype(X.dtype), None, "X")  # texts cannot even be read in one axis
        if len(X.shape) > 1:
            return StoreRows(X)
    return X


def _mapped(X: np.ndarray, order: str | None) -> np.ndarray | DataSource:
    """Return an array in a file, as a source where scikit-learn's check would copy all of it."""
    if isinstance(X, np.ma.MaskedArray) or X.ndim != 2 or X.dtype.kind not in "fiub" or not X.size:
        return X
    kept = X.dtype.newbyteorder("=") in (np.float64, np.float32, np.uint8)
    return X if kept and (order is None or X.flags.c_contiguous) else StoreRows(np.asarray(X))
