"""Rows of parquet files, decoded block by block."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from reprlib import repr
from typing import Any

import numpy as np

from skswae._warnings import warn
from skswae.data._blocks import BLOCKS_TOGETHER, Blocks, KeptBlocks, rows_together
from skswae.data._parquet_files import (
    check_schema,
    column_names,
    decode,
    footer,
    found_files,
    pyarrow_parquet,
)
from skswae.data._source import DataSource


class ParquetRows(DataSource):
    """Rows of parquet files, which may be larger than the memory.

    Row groups are decoded when they are needed, and the last ones are kept. An epoch takes them in random
    order, as many at a time as fit in ``shuffle_bytes``, and the rows of those in random order. So write the
    rows in random order once where neighbouring rows are alike, as rows sorted by class or time are.

    Parameters
    ----------
    path : path-like or list of path-like
        A file, a folder (all files ``*.parquet`` in it and in its subfolders, sorted by path), a glob pattern
        (sorted by path), or a list of these (in its own order). Names of files and folders that begin with
        "." or "_" are left out of a folder. A file with links to it in a folder or pattern is read once.
    columns : list of str or None, default=None
        Names of the columns, in the order of the features. None is all columns of the first file, which then
        all files must have and no others; an index that pandas has stored as a column is left out.
    dtype : {"float32", "float64"}, default="float32"
        Type of the rows. Columns of numbers of other types and of booleans are converted: float64 and large
        integers are rounded to float32.
    shuffle_bytes : int, default=2**27
        Memory in bytes, in ``dtype``, of the row groups that are kept and shuffled together: 134 MB. A
        quarter as much again is used to read ahead. A row group of more is shuffled by itself, takes the
        memory that it takes, and is warned of.

    Attributes
    ----------
    shape : tuple of (int, int)
        (n_samples, n_features).
    dtype : numpy.dtype
    feature_names : tuple of str
        Names of the columns.
    blocks : Blocks
        Row groups, small ones joined.

    Raises
    ------
    ImportError
        If pyarrow, of the extra ``skswae[parquet]``, is missing.
    FileNotFoundError
        If there is no such file; later, if one is no longer there.
    ValueError, TypeError
        If a column is missing or holds no numbers; later, if a row group has missing values, NaN or infinity,
        or a file has changed. The message names the file and the row group. Files are looked at when a pass
        over them begins, and whenever one is decoded.

    See Also
    --------
    ArrayData : Rows of an array in memory, or of a memory-mapped file.

    Notes
    -----
    Values of Hive partitions, which stand in names of folders (``year=2026/``), are not read. A pickle has
    the paths and the sizes of row groups, and no rows.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> from sklearn.datasets import load_iris
    >>> from skswae import SWAETransformer
    >>> from skswae.data import ParquetRows
    >>> iris = load_iris()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "iris.parquet"
    ...     pq.write_table(pa.table(dict(zip(iris.feature_names, iris.data.T))), path, row_group_size=50)
    ...     rows = ParquetRows(path)
    ...     model = SWAETransformer(n_components=2, max_iter=1, random_state=0).fit(rows)
    ...     print(rows.shape, model.transform(rows).shape, model.feature_names_in_[0])
    (150, 4) (150, 2) sepal length (cm)
    """

    blocks: Blocks
    _opened: tuple[Any, Any] = (None, None)  # the process and the number of the last file, and that

    def __init__(
        self,
        path: Any,
        columns: Any = None,
        *,
        dtype: Any = "float32",
        shuffle_bytes: int = 2**27,
    ):
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"The 'dtype' argument must be 'float32' or 'float64'. Got {dtype!r}.")
        rows_together(shuffle_bytes, 1)  # before files are looked for
        self.shuffle_bytes = int(shuffle_bytes)
        names: tuple[str, ...] | None = None
        files = []
        paths = found_files(path)
        for file in paths:
            found, schema = footer(file)
            if names is None:
                names = column_names(columns, schema, file)
            check_schema(schema, names, file, paths[0], columns is None)
            files.append(found)
        assert names is not None
        self.feature_names = names
        self._files = tuple(files)
        self._index_groups()

    def _index_groups(self) -> None:
        """Number all row groups of all files; join neighbours that are small to blocks."""
        rows = [np.array(file.group_rows, np.int64) for file in self._files]
        self._group_file = np.repeat(np.arange(len(rows)), list(map(len, rows)))
        self._group_number = np.concatenate([np.arange(len(r)) for r in rows])
        self._group_rows = np.concatenate(rows)
        n_rows = int(self._group_rows.sum())
        if not n_rows:
            raise ValueError(
                f"The 'path' argument must have at least one row. Got none, in {len(rows)} file(s)."
            )
        self.shape = n_rows, len(self.feature_names)
        most = rows_together(self.shuffle_bytes, self.n_features * self.dtype.itemsize)
        small = most // BLOCKS_TOGETHER
        firsts, size = [0], 0  # of each block, the first row group
        for number, more in enumerate(self._group_rows.tolist()):
            if size and more and size + more > small:
                firsts.append(number)
                size = 0
            size += more
        self._firsts = np.array([*firsts, len(self._group_rows)])
        starts = np.concatenate([[0], np.cumsum(self._group_rows)])[self._firsts]
        self.blocks = Blocks(starts, most)
        self._kept = KeptBlocks(most)
        largest = int(self._group_rows.argmax())
        if self._group_rows[largest] > most:
            n_bytes = int(self._group_rows[largest]) * self.n_features * self.dtype.itemsize
            warn(
                f"{self._where(largest)} takes {n_bytes:,} bytes as {self.dtype}, more than "
                f"shuffle_bytes={self.shuffle_bytes:,}: it is read whole and shuffled by itself. Write the "
                f"files with row groups of at most {max(1, most // 4):,} rows.",
                RuntimeWarning,
            )

    def __repr__(self) -> str:
        return f"<ParquetRows: {self.dtype} of shape {self.shape} in {len(self._files)} files>"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "extremes")}

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple) and len(index) == 2 and index[1] is ...:  # as cross-validation asks
            index = index[0]
        if isinstance(index, tuple):
            raise IndexError(f"The index of a ParquetRows must be one of rows alone. Got {repr(index)}.")
        self._check_unchanged()
        rows = self.read(index if isinstance(index, slice) else np.atleast_1d(index))
        return rows if isinstance(index, slice) or np.ndim(index) else rows[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all rows in memory, for functions that know arrays alone."""
        if copy is False:
            raise ValueError("The rows of a ParquetRows can be no array without a copy. Got copy=False.")
        self._check_unchanged()
        rows = self.read(slice(None))
        # they may be a block that is kept
        return np.array(rows, dtype=dtype) if copy else np.asarray(rows, dtype=dtype)

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Read some rows, and decode the row groups that they are in, but for those kept: (m, d)."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._range(start, max(start, stop))
            index = np.arange(start, stop, step)
        index = self._checked(index)
        block = np.searchsorted(self.blocks.starts, index, side="right") - 1
        order = np.argsort(block, kind="stable")
        needed, firsts = np.unique(block[order], return_index=True)
        parts = dict(zip(needed.tolist(), np.split(order, firsts[1:])))
        rows = np.empty((len(index), self.n_features), self.dtype)
        # first those at hand: others may take their place; last the one that the next rows may be of
        for number in sorted(parts, key=lambda number: (number not in self._kept, parts[number][-1])):
            part = parts[number]
            rows[part] = self._block(number).take(index[part] - self.blocks.starts[number], axis=0)
        return rows

    def _checked(self, index: Any) -> np.ndarray:
        index = np.asarray(index)
        if index.dtype == bool and index.shape == (len(self),):
            return np.flatnonzero(index)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise IndexError(f"The index of rows must be a slice or integers in one axis. Got {repr(index)}.")
        index = index.astype(np.int64, copy=False)
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(
                f"The index of rows must be below {len(self)}. Got {index.min()} to {index.max()}."
            )
        return np.where(index < 0, index + len(self), index)

    def _range(self, start: int, stop: int) -> np.ndarray:
        starts = self.blocks.starts
        number = int(np.searchsorted(starts, start, side="right")) - 1
        if start < stop <= starts[number + 1]:
            return self._block(number)[start - starts[number] : stop - starts[number]]
        rows = np.empty((stop - start, self.n_features), self.dtype)
        at = start
        while at < stop:
            end = min(stop, int(starts[number + 1]))
            rows[at - start : end - start] = self._block(number)[at - starts[number] : end - starts[number]]
            at, number = end, number + 1
        return rows

    def read_parts(self, parts: Iterable[slice | np.ndarray]) -> Iterator[np.ndarray]:
        """Read the rows of each index; a thread reads the next ones while the caller uses these."""
        self._check_unchanged()
        ahead: _Ahead | None = None
        for some in self._portions(parts):
            found = deque() if ahead is None else ahead.result()
            ahead = _Ahead(self, some)
            while found:
                yield found.popleft()
        yield from [] if ahead is None else ahead.result()

    def _portions(self, parts: Iterable[slice | np.ndarray]) -> Iterator[list[slice | np.ndarray]]:
        """Return the indices, some at a time: of an eighth of the shuffle buffer."""
        some, size = [], 0
        for index in parts:
            some.append(index)
            size += len(range(*index.indices(len(self)))) if isinstance(index, slice) else len(index)
            if 8 * size >= self.blocks.n_together:
                yield some
                some, size = [], 0
        if some:
            yield some

    # -- decoding ----------------------------------------------------------

    def _block(self, number: int) -> np.ndarray:
        """Return the rows of a block, which are kept until others need the memory: (m, d), read-only."""
        return self._kept.get(number, self._size(number), self._decoded)

    def _size(self, number: int) -> int:
        return int(self.blocks.starts[number + 1] - self.blocks.starts[number])

    def _decoded(self, number: int) -> np.ndarray:
        rows = np.empty((self._size(number), self.n_features), self.dtype)
        start = 0
        for group in range(self._firsts[number], self._firsts[number + 1]):
            stop = start + int(self._group_rows[group])
            try:
                file = self._open(int(self._group_file[group]))
                decode(file, int(self._group_number[group]), self.feature_names, rows[start:stop])
                self._files[self._group_file[group]].check_unchanged()
            except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
                raise _unreadable(self._where(group), error) from error
            start = stop
        rows.flags.writeable = False
        return rows

    def _where(self, group: int) -> str:
        return f"Row group {self._group_number[group]} of {self._files[self._group_file[group]].path}"

    def _open(self, number: int) -> Any:
        """Return the file, which stays open until another is opened."""
        file, key = self._files[number], (os.getpid(), number)
        if self._opened[0] != key:
            self._opened = None, None  # which closes the one before
            self._opened = key, pyarrow_parquet("ParquetRows").ParquetFile(file.path)
        file.check_unchanged()
        return self._opened[1]

    def _check_unchanged(self) -> None:
        for file in self._files:
            try:
                file.check_unchanged()
            except (OSError, ValueError) as error:
                raise _unreadable(file.path, error) from error


def _unreadable(what: str, error: Exception) -> Exception:
    kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
    return kind(f"{what} could not be read: {error}.")


class _Ahead(threading.Thread):
    """Read the rows of some indices, and end: no thread waits for a caller that has gone."""

    def __init__(self, source: ParquetRows, parts: list[slice | np.ndarray]):
        super().__init__(name="ParquetRows")
        self._source, self._parts = source, parts
        self._rows: deque[np.ndarray] = deque()
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._rows.extend(map(self._source.read, self._parts))
        except BaseException as error:  # which is the caller's
            self._error = error

    def result(self) -> deque[np.ndarray]:
        """Return the rows, or raise what came instead of them."""
        self.join()
        if self._error is not None:
            raise self._error
        # a process that was forked meanwhile has not the thread, which is at the rest
        self._rows.extend(map(self._source.read, self._parts[len(self._rows) :]))
        return self._rows
