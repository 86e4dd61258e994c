"""Parquet files: their paths, what their footers say, and a row group as an array."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_DECODED_NUMBERS = 2**21  # of Arrow's at a time, beside the rows made of them
_TURNED_ROWS = 2048  # columns become rows so many at a time, which stay in the processor's cache


def pyarrow_parquet(needed_by: str) -> Any:
    """Return ``pyarrow.parquet``, or raise ImportError with what installs it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs pyarrow, which comes with pip install 'skswae[parquet]'. {error}"
        ) from error
    return pyarrow.parquet


@dataclass(frozen=True)
class File:
    """A file as its footer describes it, and what shows that it is changed."""

    path: str
    n_bytes: int
    changed_ns: int
    group_rows: tuple[int, ...]

    def check_unchanged(self) -> None:
        try:
            now = os.stat(self.path)
        except FileNotFoundError as error:
            raise FileNotFoundError("it is no longer there") from error
        if (now.st_size, now.st_mtime_ns) != (self.n_bytes, self.changed_ns):
            raise ValueError("it has changed since the ParquetRows was made: make a new one")


def found_files(path: Any) -> list[str]:
    """Return the absolute paths of the files that the argument means."""
    if isinstance(path, str | os.PathLike):
        text = os.path.abspath(os.fsdecode(path))
        if os.path.isdir(text):
            found = [p for p in pathlib.Path(text).rglob("*.parquet") if p.is_file()]
            # names that begin so are those of other tools' notes
            hidden = [p for p in found if any(part[0] in "._" for part in p.relative_to(text).parts)]
            paths = sorted(set(map(str, found)) - set(map(str, hidden)))
        else:
            paths = [text] if os.path.exists(text) else sorted(filter(os.path.isfile, glob.glob(text)))
        # a file and a link to it are the same rows
        paths = sorted({os.path.realpath(p): p for p in reversed(paths)}.values())
        if not paths:
            raise FileNotFoundError(
                "The 'path' argument must be a parquet file, a folder with files *.parquet, a glob pattern "
                f"of files or a list of these. Got {os.fsdecode(path)!r}, where there is none."
            )
        return paths
    if not isinstance(path, Sequence) or not path or not all(isinstance(p, str | os.PathLike) for p in path):
        raise ValueError(f"The 'path' argument must be a path or a list of at least one. Got {path!r}.")
    paths = [file for one in path for file in found_files(one)]
    named: dict[str, str] = {}
    for file in paths:
        other = named.setdefault(os.path.realpath(file), file)
        if other is not file:
            raise ValueError(f"The 'path' argument must name each file once. Got {other!r} and {file!r}.")
    return paths


def column_names(columns: Any, schema: Any, path: str) -> tuple[str, ...]:
    """Return the names of the columns that are read; None is all of the file but the index of pandas."""
    if columns is None:
        index = (schema.pandas_metadata or {}).get("index_columns", ())
        names = tuple(name for name in schema.names if name not in index)
        if not names:
            raise ValueError(f"{path} must have columns of numbers. Got none.")
    else:
        given = columns.tolist() if isinstance(columns, np.ndarray) else columns
        if not isinstance(given, list | tuple) or not given or not all(isinstance(c, str) for c in given):
            raise ValueError(
                f"The 'columns' argument must be a list of at least one name, or None. Got {columns!r}."
            )
        names = tuple(map(str, given))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The 'columns' argument must name each column once. Got {twice!r} twice.")
    return names


def check_schema(schema: Any, names: tuple[str, ...], path: str, first: str, all_of_first: bool) -> None:
    """Raise an error for a file that lacks a column, has it twice, or as anything but numbers."""
    from pyarrow import types

    own = schema.names
    known = set(own)
    missing = [name for name in names if name not in known]
    if missing:
        beside = "" if path == first else f" as {first} has"
        raise ValueError(
            f"{path} must have the column {missing[0]!r}{beside}. Got the columns {_shown(own)}."
        )
    if all_of_first and path != first:
        index = (schema.pandas_metadata or {}).get("index_columns", ())
        if more := [name for name in own if name not in {*names, *index}]:
            raise ValueError(
                f"{path} must have the columns of {first}, which are all used with columns=None. "
                f"Got {more[0]!r} too: name the columns in the 'columns' argument."
            )
    for name in names:
        if own.count(name) > 1:
            raise ValueError(f"{path} must have the column {name!r} once. Got it {own.count(name)} times.")
        kind = schema.field(name).type
        if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise TypeError(
                f"The column {name!r} of {path} must hold floating-point numbers, integers or booleans. "
                f"Got {kind}: leave it out by the 'columns' argument, or write it as numbers."
            )


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def footer(path: str) -> tuple[File, Any]:
    """Return what the footer of a file says, and its schema."""
    parquet = pyarrow_parquet("ParquetRows")
    before = os.stat(path)
    try:
        with parquet.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a parquet file. {error}") from error
    groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    return File(path, before.st_size, before.st_mtime_ns, groups), schema


def decode(file: Any, group: int, names: tuple[str, ...], rows: np.ndarray) -> None:
    """Decode columns of a row group of an open file into ``rows``: (m, d).

    Raises
    ------
    ValueError
        If there are missing values, NaN or infinity, or more or fewer rows.
    """
    batches = file.iter_batches(
        batch_size=max(1024, _DECODED_NUMBERS // len(names)),
        row_groups=[group],
        columns=list(names),
        use_threads=False,
    )
    start = 0
    for batch in batches:
        if start + len(batch) > len(rows):
            raise ValueError(f"it has more than the {len(rows)} rows that the footer had")
        columns = [batch.column(name) for name in names]
        for name, column in zip(names, columns):
            if column.null_count:
                raise ValueError(f"the column {name!r} has missing values")
        arrays = [column.to_numpy(zero_copy_only=False) for column in columns]
        for first in range(0, len(batch), _TURNED_ROWS):
            part = rows[start + first : start + min(first + _TURNED_ROWS, len(batch))]
            with np.errstate(over="ignore"):  # it becomes infinity
                for j, array in enumerate(arrays):
                    part[:, j] = array[first : first + _TURNED_ROWS]
            if not np.isfinite(part).all():
                j = int(np.argmin(np.isfinite(part).all(axis=0)))
                what = "NaN" if np.isnan(part[:, j]).any() else f"infinity in {rows.dtype}"
                raise ValueError(f"the column {names[j]!r} has {what}")
        start += len(batch)
    if start != len(rows):
        raise ValueError(f"it has {start} rows, where the footer had {len(rows)}")
