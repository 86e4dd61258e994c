"""Columns of polars' frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skswae.tabular._frames import (
    ColumnValues,
    Field,
    Frame,
    Schema,
    is_unit,
    is_whole,
    is_zone,
    named_dtype,
    refuse,
    to_numbers,
)

_PLAIN = ("Null", "Boolean", "String", "Categorical", "Date", "Time", "Float16", "Float32", "Float64")
_WHOLE = [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
_DTYPES: dict[str, dict[str, Any]] = {
    **{name: {} for name in (*_PLAIN, *_WHOLE)},
    "Enum": {"categories": lambda v: isinstance(v, list) and all(isinstance(label, str) for label in v)},
    "Datetime": {"time_unit": is_unit, "time_zone": is_zone},
    "Duration": {"time_unit": is_unit},
    "Decimal": {"precision": lambda v: v is None or is_whole(v), "scale": is_whole},
}
"""Dtypes by name, with what tells whether a value can be a setting of theirs."""


def read(X: Any, name: str) -> Frame:
    """Read a frame of polars whose names have been checked."""
    columns = tuple(_read_column(series, name) for series in X.get_columns())
    return Frame(Schema("polars", tuple(column.field for column in columns)), columns)


def _read_column(series: Any, name: str) -> ColumnValues:
    import polars as pl

    column, dtype = series.name, series.dtype
    missing = series.is_null().to_numpy()
    if dtype == pl.Null:
        return ColumnValues(Field(column, "empty", dtype), np.zeros(len(series)), missing)
    if dtype == pl.Boolean:
        return ColumnValues(Field(column, "boolean", dtype), series.fill_null(False).to_numpy(), missing)
    if dtype.is_float() or dtype.is_decimal():
        values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return ColumnValues(Field(column, "float", dtype), values, np.isnan(values))
    if dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64):
        values = to_numbers(series.fill_null(strategy="zero").to_numpy())
        return ColumnValues(Field(column, "integer", dtype), values, missing)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        text = series.cast(pl.String)
        levels = dtype.categories if dtype == pl.Enum else text.drop_nulls().unique().sort()
        codes = (
            text.cast(pl.Enum(levels)).to_physical().fill_null(strategy="zero").to_numpy().astype(np.int64)
        )
        return ColumnValues(Field(column, "category", dtype, tuple(levels.to_list())), codes, missing)
    times = {pl.Date: "datetime", pl.Datetime: "datetime", pl.Duration: "timedelta", pl.Time: "time"}
    kind = next((kind for known, kind in times.items() if dtype == known), None)
    if kind is None:
        raise refuse(name, column, dtype)
    unit = "D" if dtype == pl.Date else "ns" if dtype == pl.Time else dtype.time_unit
    zoned = dtype == pl.Datetime and dtype.time_zone is not None
    values = series.to_physical().fill_null(strategy="zero").to_numpy().astype(np.int64)
    return ColumnValues(Field(column, kind, dtype, unit=unit, zoned=zoned), values, missing)


def write(schema: Schema, columns: Sequence[ColumnValues], index: Any) -> Any:
    """Return a frame of polars of columns whose fields are the schema's, but for levels."""
    import polars as pl

    return pl.DataFrame([_series(column) for column in columns])


def fill(X: Any, columns: Mapping[int, ColumnValues], holes: Sequence[np.ndarray]) -> Any:
    """Return a frame with cells of columns, by their positions, replaced where there are holes."""
    import polars as pl

    new = {}
    for j, column in columns.items():
        series = _series(column)
        new[j] = series if holes[j].all() else series.zip_with(pl.Series(holes[j]), X.to_series(j))
    return X.with_columns(new.values())


def _series(column: ColumnValues) -> Any:
    """Return a column's rows as a series of its dtype."""
    import polars as pl

    field, missing = column.field, column.missing
    if field.kind == "category":
        labels = column.labels().tolist()
        unknown = {*labels} - {None, *field.dtype.categories} if field.dtype == pl.Enum else None
        if unknown:
            raise ValueError(
                f"Column {field.name!r} of the table must have the category {unknown.pop()!r} for this "
                f"value. Got {field.dtype}."
            )
        return pl.Series(field.name, labels, dtype=pl.String).cast(field.dtype)
    if field.dtype.is_decimal():  # to which old versions make no floats
        text = [None if hole else f"{v:.{field.dtype.scale}f}" for v, hole in zip(column.values, missing)]
        return pl.Series(field.name, text, dtype=pl.String).cast(field.dtype)
    storage = np.int32 if field.unit == "D" else column.values.dtype
    values = pl.Series(field.name, column.values.astype(storage)).cast(field.dtype)
    if not missing.any():
        return values
    return values.zip_with(
        pl.Series(~missing), pl.Series(field.name, [None] * len(missing), dtype=field.dtype)
    )


def describe(dtype: Any) -> dict[str, Any]:
    """Return a dtype as plain values, of which :func:`dtype_of` makes it again."""
    import polars as pl

    found: dict[str, Any] = {"name": str(dtype.base_type().__name__)}
    if dtype == pl.Enum:
        found["categories"] = dtype.categories.to_list()
    elif dtype in (pl.Datetime, pl.Duration):
        found["time_unit"] = dtype.time_unit
        if dtype == pl.Datetime:
            found["time_zone"] = dtype.time_zone
    elif dtype.is_decimal():
        found.update(precision=dtype.precision, scale=dtype.scale)
    try:
        same = dtype_of(found) == dtype  # no Categorical with a name is
    except ValueError:
        same = False
    if not same:
        raise TypeError(f"A dtype of a column must be one that can be written to a file. Got {dtype!r}.")
    return found


def dtype_of(found: Mapping[str, Any]) -> Any:
    """Return the dtype that :func:`describe` has described."""
    import polars as pl

    return named_dtype(pl, _DTYPES, found)


def dtype_for(kind: str, unit: Any, zoned: bool) -> tuple[Any, str | None] | None:
    """Return a dtype for values of a kind, and its unit of time; None if there is none."""
    import polars as pl

    if kind == "datetime" and unit == "D":
        return pl.Date(), unit
    if kind in ("datetime", "timedelta"):
        unit = "ms" if unit == "s" else unit
        return pl.Datetime(unit, "UTC" if zoned else None) if kind == "datetime" else pl.Duration(unit), unit
    names = {
        "float": pl.Float64,
        "integer": pl.Int64,
        "uint64": pl.UInt64,
        "boolean": pl.Boolean,
        "category": pl.String,
    }
    return (names[kind](), None) if kind in names else None
