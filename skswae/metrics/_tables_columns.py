"""Several tables of the same columns, read as numbers and codes of levels that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from skswae.metrics._checks import LARGEST
from skswae.tabular._frames import TICKS, UNITS, ColumnValues, Field, Frame, read

MOST_LEVELS = 255
"""Levels of a column that scikit-learn's histograms can tell apart; rarer ones count as one."""


@dataclass(frozen=True)
class Column:
    """A column of several tables.

    Parameters
    ----------
    name : str or int
    values : tuple of ndarray
        One of each table. Numbers: float64, NaN where missing. Else indices of levels, as int64, and
        ``n_levels`` where missing.
    labels : tuple or None, default=None
        Labels of the levels; None of a column of numbers.
    kind : str, default=""
        "datetime", "timedelta" or "time" of a column of times.
    unit : str, default=""
        What the numbers of a column of times count: "ns", "us", "ms", "s" or "D", the finest of the tables'.
    """

    name: Any
    values: tuple[np.ndarray, ...]
    labels: tuple | None = None
    kind: str = ""
    unit: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers or times."""
        return self.labels is None

    @property
    def n_levels(self) -> int:
        """Number of levels, without that of missing cells."""
        return len(self.labels or ())

    def missing(self) -> tuple[np.ndarray, ...]:
        """Return for each table which cells are missing."""
        return tuple(np.isnan(v) if self.is_number else v == self.n_levels for v in self.values)


def read_tables(categorical_features: Any = "from_dtype", **tables: Any) -> list[Column]:
    """Read tables of the same columns; the first says which, and of which kinds.

    Frames have them in any order, an array in that of the first table.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, lacks a column or has one more, or a column is of another kind than that of
        the first table.
    """
    frames = {name: read(X, f"The {name!r} argument") for name, X in tables.items()}
    (first, frame), *others = frames.items()
    fields = [column.field for column in frame.columns]
    known = [_by_name(f, frame) for f in frames.values()]
    for (name, _), columns in zip(others, known[1:]):
        lacking = [field.name for field in fields if field.name not in columns]
        more = [other for other in columns if other not in known[0]]
        if lacking or more:
            raise ValueError(
                f"The {name!r} argument must have the columns of {first!r}. Got "
                + " and ".join(
                    f"{what} {found[:10]}" for what, found in (("none of", lacking), ("also", more)) if found
                )
                + "."
            )
    marked = _marked(categorical_features, fields)
    return [
        _joint([columns[field.name] for columns in known], list(frames), mark)
        for field, mark in zip(fields, marked)
    ]


def _by_name(frame: Frame, first: Frame) -> dict[Any, ColumnValues]:
    """Return the columns of a table by their names in the first, or by position if either is an array."""
    names = [column.field.name for column in frame.columns]
    if (frame.names is None or first.names is None) and len(names) == len(first.columns):
        names = [column.field.name for column in first.columns]
    return dict(zip(names, frame.columns))


def _marked(categorical_features: Any, fields: Sequence[Field]) -> list[bool]:
    """Return which columns the caller wants as categories, by names, positions or a mask."""
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return [False] * len(fields)
    names = [field.name for field in fields]
    wanted = np.asarray(categorical_features, dtype=object)
    chosen = wanted.tolist() if wanted.ndim == 1 else [categorical_features]
    if wanted.ndim == 1 and len(chosen) == len(names) and all(isinstance(c, bool | np.bool_) for c in chosen):
        return list(map(bool, chosen))
    for c in chosen:
        is_known = c in names if isinstance(c, str) else _is_position(c, len(names))
        if wanted.ndim != 1 or not is_known:
            raise ValueError(
                "The 'categorical_features' argument must be 'from_dtype', or names, positions or a mask of "
                f"columns, of which there are {len(names)}. Got {c!r}."
            )
    return [j in chosen or (isinstance(name, str) and name in chosen) for j, name in enumerate(names)]


def _is_position(value: Any, n: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < n


def _group(field: Field) -> str:
    if field.kind in ("float", "integer"):
        return "numbers"
    if field.kind in TICKS:
        return f"{field.kind}s{' with a time zone' * field.zoned}"
    return {"boolean": "booleans", "empty": "nothing"}.get(field.kind, "categories")


def _joint(columns: list[ColumnValues], tables: list[str], marked: bool) -> Column:
    """Return a column of all tables in one code."""
    name = columns[0].field.name
    groups = [_group(column.field) for column in columns]
    kind = next((group for group in groups if group != "nothing"), "categories")
    as_labels = marked or kind in ("categories", "booleans")
    if not as_labels:
        for table, group in zip(tables, groups):
            if group not in (kind, "nothing"):
                raise _mixed(name, kind, group, table)
        times = [column.field.kind for column in columns if column.field.kind in TICKS]
        units = {column.field.unit for column in columns}
        unit = next((unit for unit in UNITS if unit in units), "")
        return Column(name, tuple(_numbers(c, unit) for c in columns), kind="".join(times[:1]), unit=unit)
    coded = [_coded(column) for column in columns]
    words = [{isinstance(label, str) for label in levels} for levels, _ in coded]
    for table, group, is_text in zip(tables, groups, words):
        if is_text and words[0] and is_text != words[0]:  # "1" and 1 would never be equal
            raise _mixed(name, f"{groups[0]} that are {'' if True in words[0] else 'not '}text", group, table)
        if group != "nothing" and "booleans" in (group, kind) and "numbers" in (group, kind):
            raise _mixed(name, kind, group, table)
    labels = tuple(dict.fromkeys(label for levels, _ in coded for label in levels))
    place = {label: i for i, label in enumerate(labels)}
    values = [np.array([*(place[label] for label in levels), len(labels)])[codes] for levels, codes in coded]
    return Column(name, tuple(values), labels)


def _mixed(name: Any, kind: str, got: str, table: str) -> ValueError:
    return ValueError(
        f"Column {name!r} must be of one kind in all tables, {kind} as in the first. Got {got} in {table!r}."
    )


def _numbers(column: ColumnValues, unit: str) -> np.ndarray:
    """Return a column's numbers; times are those of a unit that is as fine as theirs, or finer."""
    own = column.field.unit
    return column.numbers() * (UNITS[own] // UNITS[unit] if own else 1)


def _coded(column: ColumnValues) -> tuple[Sequence[Any], np.ndarray]:
    """Return labels that occur, or are declared, and the index of each cell among them, -1 if missing."""
    if column.field.kind == "category":
        return column.field.levels, np.where(column.missing, -1, column.values)
    codes = np.full(len(column.values), -1)
    levels, codes[~column.missing] = np.unique(column.values[~column.missing], return_inverse=True)
    return levels.tolist(), codes


def bins_of(column: Column, n_bins: int = 10) -> tuple[tuple[np.ndarray, ...], int]:
    """Return the codes of a column for counting, and how many there are, that of missing cells included.

    Numbers are put into bins between quantiles of the first table. A value that fills more than one of them
    has a bin of its own.
    """
    if not column.is_number:
        return column.values, column.n_levels + 1
    observed = column.values[0][~np.isnan(column.values[0])]
    edges = np.zeros(0)
    if len(observed):
        found = np.quantile(observed, np.arange(1, n_bins) / n_bins, method="inverted_cdf")
        edges, times = np.unique(found, return_counts=True)
        edges = np.union1d(edges, np.nextafter(edges[times > 1], -np.inf))
    codes = [np.where(np.isnan(v), len(edges) + 1, np.searchsorted(edges, v)) for v in column.values]
    return tuple(codes), len(edges) + 2


def histogram_matrices(columns: Sequence[Column]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the tables as scikit-learn's histogram boosting takes them, and which columns are categories."""
    parts = []
    for column in columns:
        if column.is_number:
            parts.append(column.values)
        else:
            codes, _ = _fewer(column)
            parts.append(tuple(np.where(m, np.nan, c) for c, m in zip(codes, column.missing())))
    matrices = [np.stack(table, axis=1) for table in zip(*parts)]
    return matrices, np.array([not column.is_number for column in columns])


def dense_matrices(columns: Sequence[Column], reference: int) -> list[np.ndarray]:
    """Return the tables as numbers that any estimator takes, without NaN.

    Numbers are standardised by the reference table, and 0 where missing, which a column beside them marks;
    categories are one-hot, missing as a level.
    """
    parts: list[Sequence[np.ndarray]] = []
    for column in columns:
        missing = column.missing()
        if column.is_number:
            observed = column.values[reference][~missing[reference]]
            if np.abs(observed).max(initial=0) > LARGEST:
                raise ValueError(
                    f"Column {column.name!r} must hold numbers of at most {LARGEST:g} in size to be "
                    "standardised. Got larger ones."
                )
            mean, scale = (observed.mean(), observed.std()) if len(observed) else (0.0, 0.0)
            scale = scale if scale > 0 else 1.0
            parts.append(
                [np.where(m, 0.0, (v - mean) / scale)[:, None] for v, m in zip(column.values, missing)]
            )
            if any(m.any() for m in missing):
                parts.append([m[:, None].astype(np.float64) for m in missing])
        else:
            codes, n_codes = _fewer(column)
            parts.append([np.eye(n_codes)[c] for c in codes])
    return [np.concatenate(table, axis=1) for table in zip(*parts)]


def _fewer(column: Column) -> tuple[list[np.ndarray], int]:
    """Return codes of categories of which the rarest, beyond the most levels, are one; and their number."""
    counts = sum(np.bincount(v, minlength=column.n_levels + 1) for v in column.values)
    new = np.empty(column.n_levels + 1, dtype=np.int64)
    new[np.argsort(-counts, kind="stable")] = np.arange(column.n_levels + 1)
    n_codes = min(column.n_levels + 1, MOST_LEVELS)
    new = np.minimum(new, n_codes - 1)
    return [new[v] for v in column.values], n_codes
