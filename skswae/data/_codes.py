"""Codes of all rows of a source, written to a parquet file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, gen_batches
from sklearn.utils.validation import _num_samples, check_is_fitted

from skswae._files import replacing
from skswae.data._checks import check_chunk, check_numbered
from skswae.data._dataset import as_source, held_by
from skswae.data._local import LocalRows
from skswae.data._parquet import ParquetRows
from skswae.data._parquet_files import pyarrow_parquet
from skswae.data._sliced import SlicedRows, as_numbers
from skswae.data._source import DataSource

_ROWS = 4096  # of an array or frame, to transform at a time


def transform_parquet(
    estimator: Any,
    source: Any,
    path: str | os.PathLike,
    *,
    with_columns: Any = None,
    row_group_size: int = 2**17,
) -> None:
    """Write what an estimator's ``transform`` returns for all rows of a source to a parquet file.

    The rows are read, transformed and written part by part: one row group is in memory at a time. The file
    is there when all of it is written. After an error or a crash there is none, or the one from before.

    Parameters
    ----------
    estimator : object
        A fitted transformer or pipeline with ``get_feature_names_out``, which names the columns.
    source : DataSource, or array-like of shape (n_samples, n_features)
        The rows, in whatever form ``transform`` takes; a frame is handed on as a frame.
    path : path-like
        The file to write, in a folder that exists; none of those that the source is read from.
    with_columns : pyarrow.Table, DataFrame, dict of arrays of shape (n_samples,), or None, default=None
        Columns to put before the codes, such as numbers of the rows elsewhere. They are held in memory.
    row_group_size : int, default=131072
        Number of rows in a row group; the last one may have fewer.

    Raises
    ------
    ImportError
        If pyarrow cannot be imported: it comes with ``pip install "skswae[parquet]"``. If pandas cannot, and
        an estimator of another package, such as a pipeline, has been fitted with names of columns.
    TypeError, ValueError
        If an argument cannot be used, or the estimator refuses a row; the message says among which rows.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import pyarrow.parquet
    >>> from skswae import AETransformer
    >>> from skswae.data import transform_parquet
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> ae = AETransformer(n_components=2, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "codes.parquet"
    ...     transform_parquet(ae, X, path, with_columns={"id": np.arange(300)})
    ...     table = pyarrow.parquet.read_table(path)
    >>> table.column_names, table.num_rows
    (['id', 'aetransformer0', 'aetransformer1'], 300)
    """
    parquet = pyarrow_parquet("transform_parquet")
    import pyarrow

    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"The 'path' argument must be a path. Got {type(path).__name__}.")
    if not isinstance(row_group_size, Integral) or isinstance(row_group_size, bool) or row_group_size < 1:
        raise ValueError(
            f"The 'row_group_size' argument must be an integer of at least 1. Got {row_group_size!r}."
        )
    check_is_fitted(estimator)
    names = list(estimator.get_feature_names_out())
    while isinstance(source, LocalRows):
        source = source.rows
    source = as_source(source)
    if os.path.realpath(os.fsdecode(path)) in map(os.path.realpath, _files_of(source)):
        raise ValueError(f"The 'path' argument must not be a file of the source. Got {os.fsdecode(path)!r}.")
    if isinstance(source, DataSource):
        check_numbered(source)
    n_rows = len(source) if isinstance(source, DataSource) else _num_samples(source)
    if n_rows == 0:
        raise ValueError("The 'source' argument must have at least 1 row. Got none.")
    first = _checked_columns(with_columns, n_rows, names)
    size = min(int(row_group_size), n_rows)
    with replacing(path) as file, contextlib.ExitStack() as stack:
        writer, start = None, 0
        for group in _groups(_codes(estimator, source, n_rows, len(names)), size):
            columns = dict(zip(names, group.T))
            if first is not None:
                part = first.slice(start, len(group))
                columns = {**dict(zip(part.column_names, part.columns)), **columns}
            table = pyarrow.table(columns)
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(file, table.schema))
            writer.write_table(table, row_group_size=size)
            start += len(group)


def _files_of(source: Any) -> list[str]:
    """Return the paths of the files that the rows are read from, as far as they are known."""
    held = held_by(source)
    if isinstance(held, ParquetRows):
        return [file.path for file in held._files]
    while isinstance(held, np.ndarray):
        if isinstance(held, np.memmap) and held.filename is not None:
            return [os.fsdecode(held.filename)]
        held = held.base
    name = getattr(getattr(held, "file", None), "filename", None)  # of h5py's
    return [name] if isinstance(name, str) else []


def _checked_columns(given: Any, n_rows: int, names: list[str]) -> Any:
    """Return columns to put before the codes as a table of pyarrow's, or None."""
    import pyarrow

    if given is None:
        return None
    try:
        # an index of pandas is no column
        arrow = hasattr(given, "schema") or not hasattr(given, "iloc")
        table = pyarrow.table(given) if arrow else pyarrow.Table.from_pandas(given, preserve_index=False)
    except (TypeError, ValueError, AttributeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            "The 'with_columns' argument must be a table, a frame or a dict of arrays. "
            f"Got {type(given).__name__}: {error}"
        ) from error
    if table.num_rows != n_rows:
        raise ValueError(
            f"The 'with_columns' argument must have {n_rows} rows, as the source has. Got {table.num_rows}."
        )
    taken = sorted({*table.column_names} & {*names})
    if taken or len({*table.column_names}) < len(table.column_names):
        raise ValueError(
            "The 'with_columns' argument must have different names, and none of those of the codes. "
            f"Got {taken or table.column_names}."
        )
    return table


def _codes(estimator: Any, source: Any, n_rows: int, n_columns: int) -> Iterator[np.ndarray]:
    """Return the codes of all rows, part by part."""
    start = 0
    for rows in _parts(estimator, source, n_rows):
        stop = start + _num_samples(rows)
        try:
            codes = as_numbers(estimator.transform(rows))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"The 'source' argument, rows {start} to {stop - 1}: {error}") from error
        if codes.shape != (stop - start, n_columns):
            raise ValueError(
                f"The 'estimator' argument must transform rows to dense arrays of {n_columns} columns, as "
                f"get_feature_names_out says. Got {codes.shape} from {stop - start} rows."
            )
        yield codes
        start = stop
    if start != n_rows:
        raise ValueError(f"The 'source' argument must have {n_rows} rows, as its shape says. Got {start}.")


def _parts(estimator: Any, source: Any, n_rows: int) -> Iterator[Any]:
    """Return all rows in order, part by part, with the names of columns that the estimator looks for."""
    if not isinstance(source, DataSource):
        for part in gen_batches(n_rows, _ROWS):
            yield _safe_indexing(source, part)
        return
    names = getattr(source, "feature_names", None)
    if names is None or not hasattr(estimator, "feature_names_in_"):
        yield from source.chunks()
    elif any(base.__module__ in ("skswae._estimator", "skswae.base") for base in type(estimator).__mro__):
        # one of ours, which takes names from a source
        start = 0
        for chunk in source.chunks():
            check_chunk(source, chunk, start)  # which knows the number of a bad row
            yield _Named(chunk, names)
            start += len(chunk)
    else:
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError(
                f"transform_parquet needs pandas for a {type(estimator).__name__} that has been fitted with "
                f"names of columns: pip install pandas. {error}"
            ) from error
        for chunk in source.chunks():
            yield DataFrame(chunk, columns=list(names))


class _Named(SlicedRows):
    """Some rows of a source with the names of its columns, as a frame has them."""

    def __init__(self, rows: np.ndarray, names: Sequence[str]):
        super().__init__(rows)
        self.feature_names = names


def _groups(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Return the rows of the chunks, ``size`` at a time, in memory that is used again."""
    group, filled = np.empty((0, 0)), 0
    for chunk in chunks:
        if not len(group):
            group = np.empty((size, chunk.shape[1]), chunk.dtype)
        while len(chunk):
            n = min(len(chunk), size - filled)
            group[filled : filled + n] = chunk[:n]
            filled, chunk = filled + n, chunk[n:]
            if filled == size:
                yield group
                filled = 0
    if filled:
        yield group[:filled]
