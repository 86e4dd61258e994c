"""Rows of an array that is read by slices."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skswae._device import as_array
from skswae.data._blocks import BLOCKS_TOGETHER, Blocks, KeptBlocks, rows_together
from skswae.data._checks import is_masked
from skswae.data._source import DataSource

_KEPT = tuple(map(np.dtype, (np.float64, np.float32, np.uint8)))
_BLOCK_NUMBERS = 2**14  # to read at once where two rows are near each other, in a store without chunks


def row_dtype(held: np.dtype, asked: Any, name: str) -> np.dtype:
    """Return the type of the rows of a source: the one asked for, or that which an array's would have.

    Raises
    ------
    TypeError
        If the source, of this name in the error, holds no real numbers.
    ValueError
        If the type asked for is none that a source may have.
    """
    if held.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers. Got {held}.")
    if asked is None:
        held = held.newbyteorder("=")
        return held if held in _KEPT else np.dtype(np.float64)
    try:
        dtype = np.dtype(asked)
    except TypeError:
        dtype = np.dtype(object)
    if dtype not in _KEPT[:2]:  # numbers would be cut off to become bytes
        raise ValueError(f"The 'dtype' argument must be 'float32', 'float64' or None. Got {asked!r}.")
    return dtype


def as_numbers(values: Any) -> np.ndarray:
    """Return what a store or a data set has handed out as an array.

    Raises
    ------
    ValueError
        If cells are masked.
    """
    if isinstance(values, Tensor):
        return as_array(values.double() if values.dtype == torch.bfloat16 else values)
    if is_masked(values):
        raise ValueError("Rows must have no masked values, just as no NaN: fill or impute them first.")
    return np.asarray(values)


def ordered(index: slice | np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray | slice]:
    """Return the different row numbers of an index, ascending, and where each row of the index is in them."""
    if isinstance(index, slice):
        numbers = np.arange(*index.indices(n_rows))
        if len(numbers) < 2 or numbers[0] < numbers[1]:
            return numbers, slice(None)
        index = numbers
    unique, back = np.unique(index, return_inverse=True)
    return unique, back


class NumberedRows(DataSource):
    """Rows of something that has no numbers of its own that could be pickled or compared."""

    def _content(self) -> Any:
        """Return what tells these rows from others: a checksum of each chunk."""
        return [zlib.crc32(np.ascontiguousarray(chunk).data) for chunk in self.chunks()]


class SlicedRows(NumberedRows):
    """Rows of an array-like object that is read by slices, such as one of h5py or zarr.

    ``fit`` and the other methods that take rows make one of arrays of h5py and zarr by themselves. Make one
    of any other object with ``shape``, ``dtype`` and slices of rows.

    Parameters
    ----------
    array : array-like of shape (n_samples, n_features) or (n_samples, ...)
        Real numbers in an object whose ``array[a:b]`` are the rows from a to b - 1. Rows of more than one
        axis, such as images, are flattened. Nothing else is asked of it: it need not take an array of row
        numbers. Where it has ``chunks``, as h5py's and zarr's have, whole chunks are read, small ones several
        at a time.
    dtype : {"float32", "float64"} or None, default=None
        The type of the rows handed out. None keeps these two and bytes, and makes float64 of all others, as
        ``fit`` does with arrays.
    shuffle_bytes : int, default=2**27
        For an object with ``chunks``, the memory in bytes, in ``dtype``, of the chunks that are kept: 134 MB.
        An object of more is shuffled chunk by chunk: an epoch takes the chunks in random order, as many at a
        time as fit, and the rows of those in random order. All others are shuffled as a whole.

    Raises
    ------
    TypeError
        If the object lacks one of these, or holds no real numbers.
    ValueError
        If it has fewer than two axes, or another argument cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae.data import SlicedRows
    >>> class Store:
    ...     shape, dtype = (1000, 4), np.dtype(np.int16)
    ...
    ...     def __getitem__(self, rows):
    ...         return np.arange(4000, dtype=np.int16).reshape(1000, 4)[rows]
    >>> rows = SlicedRows(Store(), dtype="float32")
    >>> rows.read(np.array([7, 2]))
    array([[28., 29., 30., 31.],
           [ 8.,  9., 10., 11.]], dtype=float32)
    """

    array: Any
    _block: int  # rows
    _keeps: bool

    def __init__(self, array: Any, dtype: Any = None, *, shuffle_bytes: int = 2**27):
        name = self._named()
        shape, held = getattr(array, "shape", None), getattr(array, "dtype", None)
        if not isinstance(shape, tuple) or held is None or not hasattr(array, "__getitem__"):
            raise TypeError(
                f"{name} must be an object with shape, dtype and slices of rows. Got {type(array).__name__}."
            )
        if len(shape) < 2:
            raise ValueError(f"{name} must have two axes or more. Got the shape {shape!r}.")
        self.array = np.asarray(array) if isinstance(array, np.memmap) else array
        self.shape = int(shape[0]), math.prod(map(int, shape[1:]))
        self.dtype = row_dtype(np.dtype(held), dtype, name)
        most = rows_together(shuffle_bytes, self.n_features * self.dtype.itemsize)
        self._kept = KeptBlocks(most)
        self._block = max(1, _BLOCK_NUMBERS // max(1, self.n_features))
        chunks: Any = getattr(array, "chunks", None)  # None for a store without
        self._keeps = isinstance(chunks, tuple) and bool(chunks) and isinstance(chunks[0], int)
        if self._keeps:
            chunk = max(1, chunks[0])
            self._block = chunk * max(1, most // BLOCKS_TOGETHER // chunk)
            if len(self) > most:
                self.blocks = Blocks(np.append(np.arange(0, len(self), self._block), len(self)), most)

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return a copy of the rows, or a view of those of a slice: (m, d)."""
        if not self._keeps:
            if isinstance(index, slice) and index.step in (None, 1):
                start, stop, _ = index.indices(len(self))
                return self._slice(start, max(start, stop))
            if isinstance(self.array, np.ndarray):
                return self._converted(self.array[index])
        numbers, back = ordered(index, len(self))
        rows = np.empty((len(numbers), self.n_features), self.dtype)
        block = numbers // self._block
        ends = [*(np.flatnonzero(np.diff(block)) + 1), len(numbers)][: len(numbers)]
        # first those at hand: others may take their place
        for start, stop in sorted(zip([0, *ends], ends), key=lambda part: block[part[0]] not in self._kept):
            part = numbers[start:stop]
            first, found = self._around(int(part[0]), int(part[-1]) + 1)
            rows[start:stop] = found.take(part - first, axis=0)
        return rows[back]

    def _around(self, start: int, stop: int) -> tuple[int, np.ndarray]:
        """Return rows of one block, these among them, and the number of the first: (m, d)."""
        if not self._keeps:
            return start, self._slice(start, stop)
        number = start // self._block
        first = number * self._block
        end = min(first + self._block, len(self))
        return first, self._kept.get(number, end - first, lambda _: self._slice(first, end))

    def _named(self) -> str:
        return self._made_of or "The 'array' argument"

    def _slice(self, start: int, stop: int) -> np.ndarray:
        rows = self._converted(self.array[start:stop])
        if len(rows) != stop - start:
            raise ValueError(
                f"{self._named()} must hold {len(self)} rows, as its shape says. Got {len(rows)} rows "
                f"for those from {start} to {stop - 1}."
            )
        return rows

    def _converted(self, values: Any) -> np.ndarray:
        rows = as_numbers(values)
        # sums over rows round by the order in memory
        return np.ascontiguousarray(rows.reshape(len(rows), math.prod(rows.shape[1:])), self.dtype)
