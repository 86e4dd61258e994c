"""Tables as columns of numbers and codes with a mask, and back: pandas, polars and arrays."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_array

TICKS = ("datetime", "timedelta", "time")
"""Kinds of columns that hold whole numbers of a unit of time."""

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "D": 86_400 * 10**9}
"""Nanoseconds of each unit of time."""

NUMBERS = r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)|[<>][iuf](2|4|8|12|16)"
"""Names of NumPy's dtypes of numbers, as a regular expression."""

ZONE = r"(UTC)?[+-]\d\d:\d\d|tzlocal\(\)|(?!dateutil/)[\w+-]+(/[\w+-]+)*"
"""Names of time zones, as a regular expression: none of them is the path of a file."""


@dataclass(frozen=True)
class Field:
    """Name and type of a column, without its values.

    Parameters
    ----------
    name : str or int
        Of an array's column, its position.
    kind : {"float", "integer", "boolean", "category", "datetime", "timedelta", "time", "empty"}
        By dtype, and by the values of a column of Python objects. "empty" is a column without a dtype of its
        own that holds missing values alone.
    dtype : object
        As the library of the frame has it.
    levels : tuple, default=()
        Labels of a category: those that its dtype declares, in their order, or those that occur, sorted.
    unit : {"ns", "us", "ms", "s", "D"} or None, default=None
        What the whole numbers of a time count.
    zoned : bool, default=False
        Whether a datetime has a time zone; its numbers are those of UTC.
    as_nan : bool, default=False
        Whether missing values of a column of Python objects come back as NaN rather than None.
    """

    name: Any
    kind: str
    dtype: Any
    levels: tuple = ()
    unit: str | None = None
    zoned: bool = False
    as_nan: bool = False


@dataclass(frozen=True)
class ColumnValues:
    """A column's rows.

    Parameters
    ----------
    field : Field
    values : ndarray of shape (n,)
        float64 of a "float"; int64, or uint64 where its dtype is that, of an "integer"; int64 of a time; bool
        of a "boolean"; int64 indices into ``field.levels`` of a "category". Of no meaning where missing.
    missing : ndarray of shape (n,), bool
    """

    field: Field
    values: np.ndarray
    missing: np.ndarray

    def numbers(self) -> np.ndarray:
        """Return the values as float64, NaN where they are missing.

        Whole numbers beyond 2**53 are rounded.
        """
        return np.where(self.missing, np.nan, self.values.astype(np.float64))

    def labels(self) -> np.ndarray:
        """Return the values as Python objects, None where they are missing."""
        found = np.empty(len(self.values), dtype=object)
        if self.field.kind == "category":
            levels = np.empty(len(self.field.levels) + 1, dtype=object)
            levels[:-1] = self.field.levels
            found[:] = levels[np.where(self.missing, -1, self.values)]
        else:
            found[:] = self.values.tolist()
        found[self.missing] = None
        return found


@dataclass(frozen=True)
class Schema:
    """Columns, library and index of a table, without its rows.

    Parameters
    ----------
    library : {"pandas", "polars", "array"}
    fields : tuple of Field
    dtype : object, default=None
        Of an array, or of the names of pandas' columns.
    title : object, default=None
        The name that pandas has for all columns together.
    """

    library: str
    fields: tuple[Field, ...]
    dtype: Any = None
    title: Any = None

    @property
    def names(self) -> list | None:
        """Names of the columns, None of an array's."""
        return None if self.library == "array" else [field.name for field in self.fields]

    def write(self, columns: Sequence[ColumnValues], index: Any = None) -> Any:
        """Return a table of this schema.

        Parameters
        ----------
        columns : sequence of ColumnValues
            In the order of ``fields``, and of their kinds. The levels of a category may be others than those
            of its field, as long as its dtype has them.
        index : pandas.Index or None, default=None
            None is 0, 1, and so on. Of pandas alone.

        Returns
        -------
        X : pandas.DataFrame, polars.DataFrame or ndarray

        Raises
        ------
        ValueError
            If the dtype of a column has no missing values, or not a level, that it is to hold.
        """
        columns = [self._column(j, column) for j, column in enumerate(columns)]
        if self.library == "array":
            cells = [np.where(c.missing, np.nan, c.values) if c.missing.any() else c.values for c in columns]
            return np.stack(cells, axis=1).astype(self.dtype)
        return _library(self.library).write(self, columns, index)

    def fill(self, X: Any, found: Frame, columns: Sequence[ColumnValues]) -> Any:
        """Return a copy of a table in which missing values alone are replaced.

        Parameters
        ----------
        X : pandas.DataFrame, polars.DataFrame or ndarray
        found : Frame
            What ``read`` says of X, whose schema is this.
        columns : sequence of ColumnValues
            As those of :meth:`write`, for all rows.
        """
        holes = [column.missing for column in found.columns]
        filled = [replace(c, missing=c.missing & hole) for c, hole in zip(columns, holes, strict=True)]
        if self.library == "array":
            return np.where(np.stack(holes, axis=1), self.write(filled), np.asarray(X).astype(self.dtype))
        new = {j: self._column(j, filled[j]) for j, hole in enumerate(holes) if hole.any()}
        return _library(self.library).fill(X, new, holes)

    def field_for(self, j: int, column: ColumnValues) -> Field:
        """Return a field for a column that has missing values alone, which is to hold those of another table.

        Raises
        ------
        ValueError
            If the library has no dtype for them.
        """
        given, kind, labels = self.fields[j], column.field.kind, column.field.levels
        if kind == "category" and not all(isinstance(label, str) for label in labels):
            kind = {"i": "integer", "f": "float", "b": "boolean"}.get(np.array(labels).dtype.kind, "label")
        if self.library == "array":
            found = (given.dtype, None) if kind in ("float", "integer", "boolean") else None
            kind = given.kind
        else:
            of_numbers = "uint64" if column.values.dtype == np.uint64 and kind == "integer" else kind
            found = _library(self.library).dtype_for(of_numbers, column.field.unit, column.field.zoned)
        if found is None:
            raise ValueError(
                f"Column {given.name!r} of X must have a dtype that can hold its values of type "
                f"{column.field.kind}, for it has missing values alone, to be filled. Got {given.dtype}."
            )
        dtype, unit = found
        return replace(given, kind=kind, dtype=dtype, unit=unit, zoned=column.field.zoned)

    def _column(self, j: int, column: ColumnValues) -> ColumnValues:
        """Return a column with what is known of the one of this position, but for the levels."""
        field = self.fields[j]
        dtype = self.dtype if self.library == "array" else field.dtype
        if isinstance(dtype, np.dtype) and dtype.kind in "iub" and column.missing.any():
            raise ValueError(
                f"Column {field.name!r} of the table must have no missing values, for its dtype, "
                f"{dtype}, has none. Got {int(column.missing.sum())}."
            )
        return replace(column, field=replace(field, levels=column.field.levels))

    def state(self) -> dict[str, Any]:
        """Return the schema as plain values, of which :meth:`from_state` makes it again."""
        describe: Any = str
        if self.library != "array":
            describe = _library(self.library).describe
        fields = []
        for field in self.fields:
            known = {name: getattr(field, name) for name in ("name", "kind", "unit", "zoned", "as_nan")}
            try:
                levels = [plain(level) for level in field.levels]
                fields.append({**known, "dtype": describe(field.dtype), "levels": levels})
            except TypeError as error:
                raise TypeError(
                    f"Column {field.name!r} of X must be of a type that a model file can hold. {error} Give "
                    "it as texts, or in another time zone."
                ) from error
        dtype = None if self.dtype is None else describe(self.dtype)
        return {"library": self.library, "fields": fields, "dtype": dtype, "title": self.title}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Schema:
        """Return the schema that :meth:`state` has described."""
        dtype_of: Any = _number_dtype
        if state["library"] != "array":
            dtype_of = _library(state["library"]).dtype_of
        fields = []
        for f in state["fields"]:
            if f["unit"] not in (None, *UNITS):
                raise ValueError(f"The unit of a time must be one of {list(UNITS)}. Got {f['unit']!r}.")
            levels = tuple(map(label_of, f["levels"]))
            fields.append(Field(**{**f, "dtype": dtype_of(f["dtype"]), "levels": levels}))
        dtype = None if state["dtype"] is None else dtype_of(state["dtype"])
        return cls(state["library"], tuple(fields), dtype, state["title"])


@dataclass(frozen=True)
class Frame:
    """A table as it was read.

    Parameters
    ----------
    schema : Schema
    columns : tuple of ColumnValues
    index : pandas.Index or None
    """

    schema: Schema
    columns: tuple[ColumnValues, ...]
    index: Any = None

    @property
    def names(self) -> list | None:
        """Names of the columns, None of an array's."""
        return self.schema.names

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values)


def read(X: Any, name: str = "X") -> Frame:
    """Read a table.

    Parameters
    ----------
    X : pandas.DataFrame, polars.DataFrame or array-like of shape (n, d)
        An array is of numbers or booleans.
    name : str, default="X"
        What errors call the table.

    Returns
    -------
    frame : Frame

    Raises
    ------
    ValueError, TypeError
        If there are no rows or no columns, two columns have one name, or a column holds what cannot be read:
        values of several types, infinity, nested or complex ones, periods, intervals or bytes. The error
        names the column. Of an array, what :func:`sklearn.utils.check_array` says.
    """
    if _is_of(X, "polars", "LazyFrame"):
        raise TypeError(f"{name} must be a frame whose rows are there: call its collect(). Got a LazyFrame.")
    library = next((library for library in ("pandas", "polars") if _is_of(X, library, "DataFrame")), None)
    if library is None:
        return _read_array(X, name)
    names = X.columns.tolist() if hasattr(X.columns, "tolist") else list(X.columns)
    _check_names(names, name)
    if not len(X) or not names:  # the words of scikit-learn
        what = "feature(s)" if len(X) else "sample(s)"
        raise ValueError(
            f"Found array with 0 {what} (shape={tuple(X.shape)}): {name} must have at least one."
        )
    found: Frame = _library(library).read(X, name)
    for column in found.columns:
        if column.field.kind == "float" and np.isinf(column.values[~column.missing]).any():
            raise ValueError(
                f"Column {column.field.name!r} of {name} must hold finite or missing values. Got infinity, "
                "or a value too large for float64."
            )
    return found


def plain(label: Any) -> Any:
    """Return a label as plain values, of which :func:`label_of` makes it again."""
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, str | int | float) else _library("pandas").plain_label(label)


def label_of(found: Any) -> Any:
    """Return the label that :func:`plain` has made plain."""
    return _library("pandas").label_again(found) if isinstance(found, dict) else found


def _library(name: str) -> Any:
    """Return the file that knows a library."""
    if name not in ("pandas", "polars"):  # as a file may say
        raise ValueError(f"The library of a table must be 'pandas' or 'polars'. Got {name!r}.")
    return importlib.import_module(f"skswae.tabular._frames_{name}")


def named_dtype(place: Any, known: Mapping[str, Mapping[str, Callable]], found: Any) -> Any:
    """Return the dtype that plain values, of a file perhaps, describe.

    Parameters
    ----------
    place : module
        Whose dtypes these are.
    known : dict of str to dict of str to callable
        The dtypes there are: the names of their settings, and what tells whether a value can be one. Nothing
        else of ``place`` is ever looked up or called.
    found : dict
        The name of a dtype, and its settings.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    settings = dict(found) if isinstance(found, dict) else {}
    name = str(settings.pop("name", None))
    checks = known.get(name)
    if checks is None or set(settings) != set(checks) or not hasattr(place, name):
        raise unknown_dtype(found)
    if not all(check(settings[key]) for key, check in checks.items()):
        raise unknown_dtype(found)
    return getattr(place, name)(**settings)


def unknown_dtype(found: Any) -> ValueError:
    """Return the error for what describes no dtype."""
    return ValueError(f"A dtype must be described by its name and settings. Got {str(found)[:100]}.")


def is_unit(value: Any) -> bool:
    """Tell whether a value is a unit of time of a dtype."""
    return isinstance(value, str) and value in ("ns", "us", "ms", "s")


def is_zone(value: Any) -> bool:
    """Tell whether a value is the name of a time zone, or None."""
    return value is None or (isinstance(value, str) and bool(re.fullmatch(ZONE, value)))


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _number_dtype(name: Any) -> np.dtype:
    if not isinstance(name, str) or not re.fullmatch(NUMBERS, name):
        raise unknown_dtype(name)
    return np.dtype(name)


def refuse(name: str, column: Any, got: Any) -> TypeError:
    """Return the error for a column of a type that cannot be read."""
    return TypeError(
        f"Column {column!r} of {name} must hold numbers, booleans, strings, categories or times, of one "
        f"type. Got {got}."
    )


def _is_of(X: Any, library: str, kind: str) -> bool:
    """Tell whether a table is of a library, without an import of it."""
    return library in sys.modules and isinstance(X, getattr(sys.modules[library], kind, ()))


def _check_names(names: Iterable[Any], name: str) -> None:
    known = set()
    for column in names:
        if isinstance(column, bool) or not isinstance(column, str | int):
            raise TypeError(
                f"Names of columns of {name} must be strings or whole numbers. Got {column!r}, "
                f"of type {type(column).__name__}."
            )
        if column in known:
            raise ValueError(f"Columns of {name} must have names of their own. Got two of {column!r}.")
        known.add(column)


def _read_array(X: Any, name: str) -> Frame:
    if np.ma.isMaskedArray(X):
        raise ValueError(f"{name} must have no masked values: give NaN in their place. Got a masked array.")
    try:
        X = check_array(X, ensure_all_finite="allow-nan", input_name=name)
    except ValueError as error:
        if "convert" not in str(error).lower():
            raise
        raise ValueError(
            f"{name} must be a frame of pandas or polars, or an array of numbers alone: {error}"
        ) from error
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers or a frame. Got an array of {X.dtype}.")
    kinds = {"f": "float", "b": "boolean"}
    kind = kinds.get(X.dtype.kind, "integer")
    columns = []
    with np.errstate(over="ignore"):
        for j, values in enumerate(np.ascontiguousarray(X.T)):
            values = to_numbers(values)
            missing = np.isnan(values) if kind == "float" else np.zeros(len(values), dtype=bool)
            if np.isinf(values).any():  # of a longer float
                raise ValueError(f"Column {j} of {name} must hold values that float64 can. Got larger ones.")
            columns.append(ColumnValues(Field(j, kind, X.dtype), values, missing))
    schema = Schema("array", tuple(column.field for column in columns), X.dtype)
    return Frame(schema, tuple(columns))


def to_numbers(values: np.ndarray) -> np.ndarray:
    """Return numbers in the dtype that columns have: float64, int64, uint64 or bool."""
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    return values.astype(np.uint64 if values.dtype.itemsize == 8 and values.dtype.kind == "u" else np.int64)
