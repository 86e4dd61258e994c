"""Frames of all dtypes: a small one of each library, and random ones."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

DAY = datetime.datetime(2020, 2, 28, 12, 30)
TIMES = [DAY + datetime.timedelta(hours=7 * i) for i in range(5)]
SPANS = [datetime.timedelta(minutes=i - 2) for i in range(5)]


def holed(values, hole=None):
    return [*values[:-1], hole]


def arrow(values, kind):
    return pd.array(holed(values), dtype=pd.ArrowDtype(kind))


WORDS = ["b", "a", "b", "ä c", ""]
INTS = [2, -1, 0, 7, 2]
REALS = [0.25, -1.5, 3.0, 1e10, 0.25]
TRUTHS = [True, False, True, True, False]


def pandas_columns():
    """A column of each dtype of pandas', five rows."""
    times, spans = pd.Series(TIMES), pd.Series(SPANS)
    found = {
        "float64": np.array(holed(REALS, np.nan)),
        "float32": np.array(holed(REALS, np.nan), np.float32),
        "int64": np.array(INTS),
        "int8": np.array(INTS, np.int8),
        "uint64": np.array([2**63 + 1, 2**63 + 5, 2**63, 2**63 + 2, 2**63 + 1], np.uint64),
        "bool": np.array(TRUTHS),
        "Int64": pd.array(holed(INTS), dtype="Int64"),
        "UInt8": pd.array([1, 2, 3, None, 255], dtype="UInt8"),
        "Float32": pd.array(holed(REALS), dtype="Float32"),
        "Float64": pd.array(holed(REALS), dtype="Float64"),
        "boolean": pd.array(holed(TRUTHS), dtype="boolean"),
        "str": pd.Series(holed(WORDS), dtype="str").array,
        "string": pd.array(holed(WORDS), dtype="string"),
        "string[python]": pd.array(holed(WORDS), dtype="string[python]"),
        "objects": pd.Series(holed(WORDS), dtype=object),
        "objects with NaN": pd.Series(holed(WORDS, np.nan), dtype=object),
        "bool objects": pd.Series(holed(TRUTHS), dtype=object),
        "int objects": pd.Series(holed(INTS), dtype=object),
        "category": pd.Categorical(holed(WORDS), categories=["z", "b", "a", "ä c", ""]),
        "ordered": pd.Categorical(holed(WORDS), categories=["b", "a", "ä c", "", "z"], ordered=True),
        "category of ints": pd.Categorical(holed(INTS)),
        "category of times": pd.Categorical(TIMES),
        "bands": pd.cut(np.array(INTS), [-2, 0, 3, 9]),
        "datetime64[ns]": pd.array(holed(TIMES), dtype="datetime64[ns]"),
        "datetime64[s]": times.astype("datetime64[s]").array,
        "Europe/Berlin": times.dt.tz_localize("Europe/Berlin").array,
        "UTC": pd.array(holed(TIMES), dtype="datetime64[us, UTC]"),
        "+05:30": times.dt.tz_localize(datetime.timezone(datetime.timedelta(hours=5.5))).array,
        "timedelta64[ns]": pd.array(holed(SPANS), dtype="timedelta64[ns]"),
        "timedelta64[ms]": spans.astype("timedelta64[ms]").array,
        "arrow int16": arrow(INTS, pa.int16()),
        "arrow uint64": arrow([2**64 - 1, 2**64 - 9, 2**64 - 2, 2**64 - 3, 4], pa.uint64()),
        "arrow double": arrow(REALS, pa.float64()),
        "arrow float": arrow(REALS, pa.float32()),
        "arrow bool": arrow(TRUTHS, pa.bool_()),
        "arrow string": arrow(WORDS, pa.string()),
        "arrow large_string": arrow(WORDS, pa.large_string()),
        "arrow dictionary": arrow(WORDS, pa.dictionary(pa.int32(), pa.string())),
        "arrow date": arrow([time.date() for time in TIMES], pa.date32()),
        "arrow time zone": arrow(TIMES, pa.timestamp("ms", "Europe/Berlin")),
        "arrow timestamp": arrow(TIMES, pa.timestamp("us")),
        "arrow duration": arrow(SPANS, pa.duration("us")),
        "arrow decimal": arrow([decimal.Decimal(f"{i}.25") for i in range(5)], pa.decimal128(9, 2)),
    }
    return found


def polars_columns():
    """A column of each dtype of polars', five rows."""
    types = {"time": [time.time() for time in TIMES], "date": [time.date() for time in TIMES]}
    found = {
        **{str(t): holed(INTS) for t in (pl.Int8, pl.Int16, pl.Int32, pl.Int64)},
        **{str(t): [1, 2, 3, None, 255] for t in (pl.UInt8, pl.UInt16, pl.UInt32)},
    }
    series = [pl.Series(name, values, dtype=getattr(pl, name)) for name, values in found.items()]
    return [
        *series,
        pl.Series("UInt64", [2**64 - 1, 2**64 - 9, 2**64 - 2, 2**64 - 3, None], dtype=pl.UInt64),
        pl.Series("Float32", holed(REALS), dtype=pl.Float32),
        pl.Series("Float64", holed(REALS), dtype=pl.Float64),
        pl.Series("Boolean", holed(TRUTHS), dtype=pl.Boolean),
        pl.Series("String", holed(WORDS), dtype=pl.String),
        pl.Series("Categorical", holed(WORDS), dtype=pl.Categorical),
        pl.Series("Enum", holed(WORDS), dtype=pl.Enum(["z", "b", "a", "ä c", ""])),
        pl.Series("Date", holed(types["date"]), dtype=pl.Date),
        pl.Series("Datetime", holed(TIMES), dtype=pl.Datetime("ms")),
        pl.Series("zoned", holed(TIMES)).dt.replace_time_zone("Europe/Berlin"),
        pl.Series("Duration", holed(SPANS), dtype=pl.Duration("ns")),
        pl.Series("Time", holed(types["time"]), dtype=pl.Time),
        pl.Series("Decimal", ["1.25", "2.50", "-0.75", "100.00", None]).cast(pl.Decimal(9, 2)),
    ]


def pandas_frame():
    found = pd.DataFrame(pandas_columns())
    found.index = pd.Index(list("vwxyz"), name="row")
    return found


def polars_frame():
    return pl.DataFrame(polars_columns())


def assert_equal(found, expected):
    """The same table: library, names, order, dtypes, categories, index and missing cells."""
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_column_type=True)
        assert found.dtypes.tolist() == expected.dtypes.tolist()
    elif isinstance(expected, pl.DataFrame):
        pl.testing.assert_frame_equal(found, expected, check_exact=True)
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
