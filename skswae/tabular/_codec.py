"""Tables of mixed types as cells, a matrix of scores and indices of levels, and back."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skswae.tabular._columns import Column, as_kind, check_field, decode, encode, fit_column
from skswae.tabular._conditions import Condition, condition
from skswae.tabular._frames import TICKS, ColumnValues, Frame, Schema, read


class TableCodec:
    """Coder of tables as cells, float64 numbers of one for each value, and back.

    A cell of a number is its score, which is about standard normal; of a category or a boolean, the index of
    its level; and NaN where the value is missing. Columns that have one value are constant: their cells are
    0, whatever is given in their place. Whole numbers, times among them, come back as such, also from a
    column of floats that are all whole; numbers come back within the range that was seen.

    Parameters
    ----------
    categorical_features : "from_dtype" or array-like of shape (n_features,) or (n_categorical,), \
default="from_dtype"
        Columns of categories, besides those of strings, of categorical dtypes, and of Python objects that are
        strings: a boolean mask, positions, or names. Columns of numbers may be named, whose values are labels
        then.
    number_map : {"quantile", "standard"}, default="quantile"
        How numbers become scores. "quantile": the standard normal score of the mid-rank, so that heavy tails
        are tamed and a value that occurs often comes back as often. "standard": less the mean, over the
        standard deviation.
    handle_unknown : {"error", "other"}, default="error"
        What is done with levels that were not seen in :meth:`fit`: an error, or the cell -1, which comes back
        as missing.
    min_frequency : int or float, default=1
        Rows, or share of the rows, that a level has at least. Rarer ones of a column become one level, which
        comes back as the most frequent of them.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the table's.
    schema : Schema
        Names, dtypes and library of the table.

    Notes
    -----
    Of times the smallest is subtracted, and they are counted in whole days, hours, minutes or seconds, if all
    are a whole number of them apart; so they are exact as long as that number is at most 2**53. Times in a
    zone are those of UTC: with daylight saving time, midnights come back as whole hours.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae.tabular._codec import TableCodec
    >>> X = np.array([[1.5, 2.0], [0.5, np.nan], [2.5, 3.0]])
    >>> codec = TableCodec().fit(X)
    >>> cells = codec.encode(X)
    >>> cells.round(2).tolist()
    [[0.0, -0.67], [-0.97, nan], [0.97, 0.67]]
    >>> codec.frame(codec.values(cells)).tolist()
    [[1.5, 2.0], [0.5, nan], [2.5, 3.0]]
    """

    columns: tuple[Column, ...]
    schema: Schema

    def __init__(
        self,
        *,
        categorical_features: Any = "from_dtype",
        number_map: str = "quantile",
        handle_unknown: str = "error",
        min_frequency: float = 1,
    ):
        self.categorical_features = categorical_features
        self.number_map = number_map
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency

    def fit(self, X: Any) -> TableCodec:
        """Learn the columns of a table.

        Parameters
        ----------
        X : pandas.DataFrame, polars.DataFrame or array-like of shape (n, d)

        Returns
        -------
        self : TableCodec

        Raises
        ------
        ValueError, TypeError
            If a parameter is none of its values; if X cannot be read; if a column holds missing values alone,
            which the error names; or if all columns are constant.
        """
        self._check_choices()
        frame = read(X)
        if frame.n_rows < 2:
            raise ValueError("X must have at least 2 rows to be learned. Got n_samples=1.")
        frame.schema.state()  # refuses columns of types that no file can hold
        chosen = self._chosen(frame)
        min_count = self._min_count(frame.n_rows)
        columns = []
        for found, as_category in zip(frame.columns, chosen):
            if found.missing.all():
                raise ValueError(
                    f"Column {found.field.name!r} of X must have a value that is not missing. "
                    f"Got {frame.n_rows} missing values."
                )
            if as_category and found.field.kind in TICKS:
                raise TypeError(
                    "The 'categorical_features' parameter must name no column of times: make strings of them "
                    f"first. Got {found.field.name!r}, of {found.field.dtype}."
                )
            columns.append(fit_column(found, as_category, self.number_map, min_count))
        if all(column.kind == "constant" for column in columns):
            raise ValueError(
                "X must have a column of two values or more to be learned. Got constant columns alone "
                f"(n_samples={frame.n_rows}, n_features={len(columns)})."
            )
        self.columns, self.schema = tuple(columns), frame.schema
        return self

    def encode(self, X: Any) -> np.ndarray:
        """Return the cells of a table.

        Parameters
        ----------
        X : pandas.DataFrame, polars.DataFrame or array-like of shape (n, C)
            With the columns that were fitted, in any order if they have names.

        Returns
        -------
        cells : ndarray of shape (n, C), float64

        Raises
        ------
        ValueError, TypeError
            If X cannot be read, or has other columns or columns of other kinds (numbers and booleans are of
            one kind where their values fit); or if a level is new and ``handle_unknown`` is "error". The
            error names the column.
        """
        found = [frame_column for frame_column, _ in self._matched(read(X))]
        cells = [
            encode(column, field, values, self.handle_unknown)
            for column, field, values in zip(self.columns, self.schema.fields, found)
        ]
        return np.stack(cells, axis=1)

    def values(self, cells: np.ndarray) -> np.ndarray:
        """Return cells in which numbers are in their own units, not rounded, within the seen range.

        Times, and whole numbers beyond 2**53, are less the ``origin`` of their column, over its ``step``.
        """
        return self._mapped(cells, "values")

    def cells(self, values: np.ndarray) -> np.ndarray:
        """Return the cells of values as :meth:`values` returns them."""
        return self._mapped(values, "scores")

    def frame(self, values: np.ndarray, index: Any = None) -> Any:
        """Return the table of values, of the library, columns, dtypes and categories that were fitted.

        Parameters
        ----------
        values : ndarray of shape (n, C)
            As :meth:`values` returns them. NaN, and levels below 0, are missing.
        index : pandas.Index or None, default=None
            None is 0, 1, and so on.

        Returns
        -------
        X : pandas.DataFrame, polars.DataFrame or ndarray of shape (n, C)

        Raises
        ------
        ValueError
            If a value is missing in a column whose dtype has no missing values.
        """
        return self.schema.write(self._decoded(values), index)

    def fill(self, X: Any, values: np.ndarray) -> Any:
        """Return a table with its missing values replaced, and all else, its dtypes and index too, as it is.

        Parameters
        ----------
        X : pandas.DataFrame, polars.DataFrame or array-like of shape (n, C)
        values : ndarray of shape (n, C)
            As :meth:`values` returns them, for all rows, in the order of the fitted columns.

        Returns
        -------
        filled : of the kind of X
            A column of missing values alone has the dtype that was fitted, or one like it of another library;
            times with a zone are then those of UTC.

        Raises
        ------
        ValueError
            If a column of missing values alone is to hold values that the kind of X has no dtype for.
        """
        frame = read(X)
        decoded = self._decoded(values)
        columns: list[Any] = [None] * len(decoded)
        fields = list(frame.schema.fields)
        same = frame.schema.library == self.schema.library
        for new, own, (old, position) in zip(decoded, self.schema.fields, self._matched(frame)):
            if old.missing.all() and old.field.kind != own.kind:  # which is of no dtype in particular
                fields[position] = own if same else frame.schema.field_for(position, new)
            columns[position] = as_kind(new, fields[position])
        return replace(frame.schema, fields=tuple(fields)).fill(X, frame, columns)

    def condition(self, name: Any, value: Any) -> Condition:
        """Return what a value asks of a column.

        Parameters
        ----------
        name : str or int
            Of the column; of an array, its position.
        value : object
            Of a category or boolean, a label or a list of labels; of numbers and times, one, or a tuple
            (low, high) of both ends, which are in the range, with None for an end that is open.

        Returns
        -------
        condition : Condition

        Raises
        ------
        ValueError
            If there is no such column or level, the range has no whole number of a column of such or is not
            part of what was seen, or a value is missing; or if none of the range's whole numbers can be kept
            exactly: of a column that spans more than 2**53 of them.
        """
        names = [column.name for column in self.columns]
        if name not in names:
            raise ValueError(f"A condition must be on one of the columns, {names[:10]}. Got {name!r}.")
        index = names.index(name)
        return condition(index, self.columns[index], self.schema.fields[index], value)

    def state(self) -> dict[str, Any]:
        """Return the fitted codec as plain values and arrays, of which :meth:`from_state` makes it again."""
        return {
            "number_map": self.number_map,
            "handle_unknown": self.handle_unknown,
            "min_frequency": self.min_frequency,
            "categorical_features": np.asarray(self.categorical_features).tolist(),
            "columns": [column.state() for column in self.columns],
            "schema": self.schema.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableCodec:
        """Return the codec that :meth:`state` has described."""
        parameters = ("number_map", "handle_unknown", "min_frequency", "categorical_features")
        codec = cls(**{name: state[name] for name in parameters})
        codec.columns = tuple(Column.from_state(column) for column in state["columns"])
        codec.schema = Schema.from_state(state["schema"])
        codec._check_choices()
        for column, field in zip(codec.columns, codec.schema.fields, strict=True):
            check_field(column, field)
        ends = [
            (c.low, c.high) if c.kind == "number" else (0, max(len(c.levels) - 1, 0)) for c in codec.columns
        ]
        X = codec.frame(np.transpose(ends))
        codec.encode(X)
        wrong = [
            new.name
            for new, own in zip(read(X).schema.fields, codec.schema.fields, strict=True)
            if (new.name, new.kind, new.unit, new.zoned) != (own.name, own.kind, own.unit, own.zoned)
        ]
        if wrong:
            raise ValueError(f"The columns {wrong[:5]} must be of the types of their dtypes.")
        return codec

    def _check_choices(self) -> None:
        for name, choices in (
            ("number_map", ("quantile", "standard")),
            ("handle_unknown", ("error", "other")),
        ):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in choices:
                raise ValueError(
                    f"The {name!r} parameter must be {choices[0]!r} or {choices[1]!r}. "
                    f"Got {getattr(self, name)!r}."
                )

    def _decoded(self, values: np.ndarray) -> list[ColumnValues]:
        parts = zip(self.columns, self.schema.fields, self._checked(values).T)
        return [decode(column, field, part) for column, field, part in parts]

    def _mapped(self, numbers: np.ndarray, how: str) -> np.ndarray:
        found = self._checked(numbers).copy()
        for j, column in enumerate(self.columns):
            if column.map is not None:
                found[:, j] = getattr(column.map, how)(found[:, j])
        return found

    def _checked(self, numbers: Any) -> np.ndarray:
        found = np.asarray(numbers, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != len(self.columns):
            raise ValueError(
                f"Cells and values must have shape (n, {len(self.columns)}), a column for each of the "
                f"table's. Got {found.shape}."
            )
        return found

    def _matched(self, frame: Frame) -> list[tuple[ColumnValues, int]]:
        """Return a table's columns with their positions, in the order of those that were fitted."""
        own, other = self.schema.names, frame.names
        if own is None or other is None:
            if len(frame.columns) != len(self.columns):
                raise ValueError(
                    f"X has {len(frame.columns)} features, but {type(self).__name__} is expecting "
                    f"{len(self.columns)} features as input."
                )
            return [(column, j) for j, column in enumerate(frame.columns)]
        at = {name: j for j, name in enumerate(other)}
        new, gone = [name for name in other if name not in own], [name for name in own if name not in at]
        if new or gone:  # in the words of scikit-learn
            text = "The feature names should match those that were passed during fit.\n"
            for what, names in (("unseen at fit time", new), ("seen at fit time, yet now missing", gone)):
                lines = [f"- {name}\n" for name in names[:5]] + ["- ...\n"] * (len(names) > 5)
                text += f"Feature names {what}:\n{''.join(lines)}" if names else ""
            raise ValueError(text)
        return [(frame.columns[at[name]], at[name]) for name in own]

    def _min_count(self, n_rows: int) -> float:
        given = self.min_frequency
        whole = isinstance(given, numbers.Integral) and given >= 1
        share = isinstance(given, numbers.Real) and not isinstance(given, numbers.Integral) and 0 < given < 1
        if isinstance(given, bool) or not (whole or share):
            raise ValueError(
                "The 'min_frequency' parameter must be a number of rows, at least 1, or a share of them in "
                f"(0, 1). Got {given!r}."
            )
        return given if whole else given * n_rows

    def _chosen(self, frame: Frame) -> list[bool]:
        """Tell of each column whether ``categorical_features`` makes it one of categories."""
        given, n = self.categorical_features, len(frame.columns)
        if isinstance(given, str):
            if given == "from_dtype":
                return [False] * n
            raise self._wrong_features("'from_dtype', or an array of names, positions or booleans", given)
        array = np.asarray(given, dtype=object)
        kinds = {type(value) for value in array.ravel().tolist()}
        if array.ndim != 1 or len(kinds) > 1 or not kinds <= {str, int, bool}:
            array = np.asarray(given)  # numbers of NumPy's
            if array.ndim != 1 or array.dtype.kind not in "iubU":
                raise self._wrong_features("'from_dtype', or an array of names, positions or booleans", given)
            kinds = {type(value) for value in array.tolist()}
        if kinds == {bool}:
            if len(array) != n:
                raise self._wrong_features(f"a mask of {n} columns", given)
            return [bool(value) for value in array]
        known: Sequence[Any] = range(n) if kinds <= {int} else frame.names or ()
        chosen = [False] * n
        for value in array.tolist():
            if value not in known and not (kinds == {int} and -n <= value < 0):
                what = f"positions of the {n} columns" if kinds == {int} else "names of columns"
                raise self._wrong_features(what, value)
            chosen[value if kinds == {int} else known.index(value)] = True
        return chosen

    def _wrong_features(self, wanted: str, got: Any) -> ValueError:
        return ValueError(f"The 'categorical_features' parameter must be {wanted}. Got {got!r}.")
