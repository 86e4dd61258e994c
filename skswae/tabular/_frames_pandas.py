"""Columns of pandas' frames, of NumPy's dtypes, nullable ones, Arrow's and categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skswae.tabular._frames import (
    NUMBERS,
    ZONE,
    ColumnValues,
    Field,
    Frame,
    Schema,
    is_unit,
    is_whole,
    is_zone,
    label_of,
    named_dtype,
    plain,
    refuse,
    to_numbers,
    unknown_dtype,
)

_NUMPY_KINDS = {
    "f": "float",
    "i": "integer",
    "u": "integer",
    "b": "boolean",
    "M": "datetime",
    "m": "timedelta",
}
_OBJECT_KINDS = {
    "string": "category",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "float",
    "mixed-integer-float": "float",
    "integer-na": "float",
    "empty": "empty",
}
"""Kinds by what ``pandas.api.types.infer_dtype`` says of Python objects."""
_TIMES = rf"(datetime|timedelta)64\[(s|ms|us|ns)\]|datetime64\[(s|ms|us|ns), ({ZONE})\]"
_NAMES = rf"{NUMBERS}|{_TIMES}|object|U?Int(8|16|32|64)|Float(32|64)|boolean"
_INTERVALS = rf"interval\[({NUMBERS}|{_TIMES}), (left|right|both|neither)\]"
"""Names of dtypes, as regular expressions; pandas would look others up, among those of any package."""
_ARROW_NAMES = {"bool": "bool_", "halffloat": "float16", "float": "float32", "double": "float64"}
_ARROW_PLAIN = (
    "null",
    "bool_",
    "float16",
    "float32",
    "float64",
    "string",
    "large_string",
    "string_view",
    "date32",
)
_ARROW_WHOLE = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
_ARROW_DTYPES: dict[str, dict[str, Any]] = {
    **{name: {} for name in (*_ARROW_PLAIN, *_ARROW_WHOLE)},
    "timestamp": {"unit": is_unit, "tz": is_zone},
    "duration": {"unit": is_unit},
    **{f"decimal{bits}": {"precision": is_whole, "scale": is_whole} for bits in (32, 64, 128, 256)},
}
"""Types of Arrow by the names that pyarrow has them by, with what tells whether a value can be a setting."""


def read(X: Any, name: str) -> Frame:
    """Read a frame of pandas whose names have been checked."""
    columns = tuple(_read_column(column, X.iloc[:, j], name) for j, column in enumerate(X.columns.tolist()))
    schema = Schema("pandas", tuple(c.field for c in columns), X.columns.dtype, X.columns.name)
    return Frame(schema, columns, X.index)


def _read_column(column: Any, series: Any, name: str) -> ColumnValues:
    import pandas as pd

    dtype = series.dtype
    missing = series.isna().to_numpy(dtype=bool)
    if isinstance(dtype, pd.CategoricalDtype):
        levels = tuple(dtype.categories.tolist())
        return ColumnValues(
            Field(column, "category", dtype, levels), series.cat.codes.to_numpy(np.int64), missing
        )
    if isinstance(dtype, pd.StringDtype):
        return _read_labels(column, series, missing)
    if isinstance(dtype, pd.ArrowDtype):
        return _read_arrow(column, series, missing, name)
    if isinstance(dtype, pd.DatetimeTZDtype):
        index = pd.DatetimeIndex(series)
        field = Field(column, "datetime", dtype, unit=index.unit, zoned=True)
        return ColumnValues(field, index.asi8, missing)
    if not isinstance(dtype, np.dtype):
        kind = _NUMPY_KINDS.get(getattr(dtype, "kind", "O"))
        if kind not in ("float", "integer", "boolean") or not hasattr(dtype, "numpy_dtype"):
            raise refuse(name, column, dtype)
        values = to_numbers(series.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0)))
        return ColumnValues(Field(column, kind, dtype), values, missing | np.isnan(values))
    if dtype.kind == "O":
        return _read_objects(column, series, missing, name)
    kind = _NUMPY_KINDS.get(dtype.kind)
    if kind is None:
        raise refuse(name, column, dtype)
    values = series.to_numpy()
    if kind in ("datetime", "timedelta"):
        field = Field(column, kind, dtype, unit=np.datetime_data(dtype)[0])
        return ColumnValues(field, values.view(np.int64), missing)
    with np.errstate(over="ignore"):
        return ColumnValues(Field(column, kind, dtype), to_numbers(values), missing)


def _read_labels(column: Any, series: Any, missing: np.ndarray) -> ColumnValues:
    import pandas as pd

    codes, levels = pd.factorize(series, sort=True)
    as_nan = series.dtype == object and missing.any() and isinstance(series[missing].iloc[0], float)
    field = Field(column, "category", series.dtype, tuple(map(str, levels.tolist())), as_nan=bool(as_nan))
    return ColumnValues(field, codes.astype(np.int64), missing)


def _read_objects(column: Any, series: Any, missing: np.ndarray, name: str) -> ColumnValues:
    import pandas as pd

    found = pd.api.types.infer_dtype(series, skipna=True)
    kind = _OBJECT_KINDS.get(found)
    if kind is None:
        types = sorted({type(value).__name__ for value in series[~missing]})
        raise refuse(name, column, f"objects of {', '.join(types[:5])}")
    if kind == "category":
        return _read_labels(column, series, missing)
    dtypes: dict[str, Any] = {"boolean": bool, "integer": np.int64, "float": np.float64, "empty": np.float64}
    values = np.zeros(len(series), dtypes[kind])
    try:
        values[~missing] = series[~missing].to_numpy(dtype=values.dtype)
    except (OverflowError, ValueError) as error:
        raise refuse(name, column, f"whole numbers beyond 64 bits ({error})") from error
    as_nan = missing.any() and isinstance(series[missing].iloc[0], float)
    return ColumnValues(Field(column, kind, series.dtype, as_nan=bool(as_nan)), values, missing)


def _read_arrow(column: Any, series: Any, missing: np.ndarray, name: str) -> ColumnValues:
    import pyarrow as pa
    from pyarrow import types

    kind = series.dtype.pyarrow_dtype
    strings = (types.is_string, types.is_large_string, getattr(types, "is_string_view", types.is_string))
    if types.is_dictionary(kind) and any(test(kind.value_type) for test in strings):
        found = _read_labels(column, series.astype(object), missing)
        return ColumnValues(
            Field(column, "category", series.dtype, found.field.levels), found.values, missing
        )
    if any(test(kind) for test in strings):
        return _read_labels(column, series, missing)
    if types.is_boolean(kind):
        values = series.to_numpy(dtype=bool, na_value=False)
        return ColumnValues(Field(column, "boolean", series.dtype), values, missing)
    if types.is_integer(kind):
        values = to_numbers(series.to_numpy(dtype=kind.to_pandas_dtype(), na_value=0))
        return ColumnValues(Field(column, "integer", series.dtype), values, missing)
    cells = series.array.__arrow_array__().combine_chunks()
    if types.is_floating(kind) or types.is_decimal(kind):
        values = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return ColumnValues(Field(column, "float", series.dtype), values, missing | np.isnan(values))
    if types.is_null(kind):
        return ColumnValues(Field(column, "empty", series.dtype), np.zeros(len(series)), missing)
    if types.is_timestamp(kind) or types.is_date32(kind) or types.is_duration(kind):
        storage = pa.int32() if types.is_date32(kind) else pa.int64()
        values = cells.view(storage).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        unit = "D" if types.is_date32(kind) else kind.unit
        zoned = types.is_timestamp(kind) and kind.tz is not None
        what = "timedelta" if types.is_duration(kind) else "datetime"
        return ColumnValues(Field(column, what, series.dtype, unit=unit, zoned=zoned), values, missing)
    raise refuse(name, column, series.dtype)


def write(schema: Schema, columns: Sequence[ColumnValues], index: Any) -> Any:
    """Return a frame of pandas of columns whose fields are the schema's, but for levels."""
    import pandas as pd

    index = pd.RangeIndex(len(columns[0].values)) if index is None else index
    found = {
        j: pd.Series(_array(column), index=index, dtype=column.field.dtype)
        for j, column in enumerate(columns)
    }
    X = pd.DataFrame(found, index=index)
    X.columns = pd.Index(schema.names, dtype=schema.dtype, name=schema.title)
    return X


def fill(X: Any, columns: Mapping[int, ColumnValues], holes: Sequence[np.ndarray]) -> Any:
    """Return a copy of a frame with cells of columns, by their positions, replaced where there are holes."""
    import pandas as pd

    X = X.copy()
    for j, column in columns.items():
        cells = _array(column)
        if not holes[j].all():
            new, cells = cells, X.iloc[:, j].array.copy()
            cells[holes[j]] = new[holes[j]]
        X.isetitem(j, pd.Series(cells, index=X.index, dtype=column.field.dtype))
    return X


def _array(column: ColumnValues) -> Any:
    """Return a column's rows as an array of its dtype."""
    import pandas as pd

    field, dtype, missing = column.field, column.field.dtype, column.missing
    if isinstance(dtype, pd.CategoricalDtype):
        known = {label: code for code, label in enumerate(dtype.categories.tolist())}
        used = np.unique(column.values[~missing]).tolist()
        codes = np.full(len(field.levels) + 1, -1)
        for level in used:
            if field.levels[level] not in known:
                raise ValueError(
                    f"Column {field.name!r} of the table must have the category {field.levels[level]!r} for "
                    f"this value. Got {list(known)[:10]}."
                )
            codes[level] = known[field.levels[level]]
        return pd.Categorical.from_codes(codes[np.where(missing, -1, column.values)], dtype=dtype)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        cells = column.labels()
        if field.as_nan:
            cells[missing] = np.nan
        return cells
    if field.kind == "category":
        return pd.array(column.labels(), dtype=dtype)
    if field.unit is not None:
        return _times(column)
    values = column.values
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        plain = pa.array(values, mask=missing)
        return pd.arrays.ArrowExtensionArray(pa.chunked_array([plain.cast(dtype.pyarrow_dtype)]))
    if isinstance(dtype, np.dtype):
        if missing.any():
            values = np.where(missing, np.nan, values)
        return pd.array(values.astype(dtype), dtype=dtype)
    cells = pd.array(np.where(missing, 0, values).astype(dtype.numpy_dtype), dtype=dtype)
    cells[missing] = pd.NA
    return cells


def _times(column: ColumnValues) -> Any:
    import pandas as pd

    dtype = column.field.dtype
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        kind = dtype.pyarrow_dtype
        storage = np.int32 if kind.bit_width == 32 else np.int64
        plain = pa.array(column.values.astype(storage), mask=column.missing)
        return pd.arrays.ArrowExtensionArray(pa.chunked_array([plain.view(kind)]))
    ticks = np.where(column.missing, np.iinfo(np.int64).min, column.values)
    if column.field.kind == "timedelta":
        return pd.array(ticks.view(dtype), dtype=dtype)
    cells = pd.DatetimeIndex(ticks.view(f"datetime64[{column.field.unit}]"))
    return cells.tz_localize("UTC").tz_convert(dtype.tz).array if column.field.zoned else cells.array


def describe(dtype: Any) -> dict[str, Any]:
    """Return a dtype as plain values, of which :func:`dtype_of` makes it again."""
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        found: dict[str, Any] = {"ordered": bool(dtype.ordered), "of": describe(dtype.categories.dtype)}
        found["categories"] = [plain(label) for label in dtype.categories.tolist()]
    elif isinstance(dtype, pd.StringDtype):
        found = {"storage": dtype.storage, "as_nan": getattr(dtype, "na_value", pd.NA) is not pd.NA}
    elif isinstance(dtype, pd.ArrowDtype):
        found = {"arrow": _describe_arrow(dtype.pyarrow_dtype)}
    else:
        found = {"name": str(dtype)}
    try:
        same = dtype_of(found) == dtype
    except (TypeError, ValueError):
        same = False
    if not same:
        raise TypeError(f"A dtype of a column must be one that can be written to a file. Got {dtype!r}.")
    return found


def dtype_of(found: Mapping[str, Any]) -> Any:
    """Return the dtype that :func:`describe` has described."""
    import pandas as pd

    if not isinstance(found, dict):
        raise unknown_dtype(found)
    if "categories" in found:
        if not isinstance(found["ordered"], bool):
            raise unknown_dtype(found)
        labels = [label_of(label) for label in found["categories"]]
        return pd.CategoricalDtype(pd.Index(labels, dtype=dtype_of(found["of"])), ordered=found["ordered"])
    if "storage" in found:
        if found["storage"] not in ("python", "pyarrow", "pyarrow_numpy"):
            raise unknown_dtype(found)
        return pd.StringDtype(found["storage"], **({"na_value": np.nan} if found["as_nan"] else {}))
    if "arrow" in found:
        return pd.ArrowDtype(_arrow_type(found["arrow"]))
    name = found.get("name")
    if not isinstance(name, str) or not re.fullmatch(f"{_NAMES}|{_INTERVALS}", name):
        raise unknown_dtype(found)
    return pd.api.types.pandas_dtype(name)


def _describe_arrow(kind: Any) -> dict[str, Any]:
    from pyarrow import types

    if types.is_dictionary(kind):
        parts = {"index": _describe_arrow(kind.index_type), "value": _describe_arrow(kind.value_type)}
        return {**parts, "ordered": kind.ordered}
    name = re.split(r"\W", str(kind))[0]
    name = _ARROW_NAMES.get(name, name)
    return {"name": name, **{key: getattr(kind, key) for key in _ARROW_DTYPES.get(name, ())}}


def _arrow_type(found: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    if not isinstance(found, dict) or "index" not in found:
        return named_dtype(pa, _ARROW_DTYPES, found)
    if not isinstance(found["ordered"], bool) or "index" in {*found["index"], *found["value"]}:
        raise unknown_dtype(found)
    return pa.dictionary(_arrow_type(found["index"]), _arrow_type(found["value"]), found["ordered"])


def dtype_for(kind: str, unit: str | None, zoned: bool) -> tuple[Any, str | None] | None:
    """Return a dtype for values of a kind, and its unit of time; None if there is none."""
    import pandas as pd

    if kind == "category":
        return pd.Series(["a"]).dtype, None
    if kind in ("datetime", "timedelta"):
        unit = "s" if unit == "D" else unit
        return pd.api.types.pandas_dtype(f"{kind}64[{unit}{', UTC' if zoned else ''}]"), unit
    names = {"float": "float64", "integer": "int64", "uint64": "uint64", "boolean": "bool"}
    return (np.dtype(names[kind]), None) if kind in names else None


def plain_label(label: Any) -> dict[str, Any]:
    """Return a label that is no text and no number as plain values."""
    import pandas as pd

    if isinstance(label, pd.Interval):
        return {"left": plain(label.left), "right": plain(label.right), "closed": label.closed}
    if isinstance(label, pd.Timestamp):
        return {"timestamp": label.isoformat(), "unit": label.unit}
    raise TypeError(f"A label must be text, a number, a time or an interval to be written. Got {label!r}.")


def label_again(found: Mapping[str, Any]) -> Any:
    """Return the label that :func:`plain_label` has made plain."""
    import pandas as pd

    if "timestamp" in found:
        return pd.Timestamp(found["timestamp"]).as_unit(found["unit"])
    return pd.Interval(label_of(found["left"]), label_of(found["right"]), found["closed"])
