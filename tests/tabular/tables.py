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


def assert_equal(found, expected, rtol=0.0, atol=0.0):
    """The same table: library, names, order, dtypes, categories, index and missing cells."""
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=rtol, atol=atol, check_column_type=True)
        assert found.dtypes.tolist() == expected.dtypes.tolist()
    elif isinstance(expected, pl.DataFrame):
        assert found.schema == expected.schema
        for new, old in zip(found, expected):
            if old.dtype.is_float():
                assert new.is_null().equals(old.is_null())
                np.testing.assert_allclose(new.to_numpy(), old.to_numpy(), rtol=rtol, atol=atol)
            else:
                assert new.equals(old)
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


# ---------------------------------------------------------------------------
# Random tables
# ---------------------------------------------------------------------------


def words(rng, n):
    return rng.choice(["a", "b", "", "ä", "Z z", "10", "None"], n).tolist()


def whole(rng, n, low=-5, high=6):
    return rng.integers(low, high, n).tolist()


def reals(rng, n):
    return (rng.standard_normal(n).round(2) * 10.0 ** rng.integers(-3, 4)).tolist()


def truths(rng, n):
    return (rng.random(n) < rng.random()).tolist()


def times(rng, n):
    spacing = rng.choice([1, 10**3, 60 * 10**3, 3600 * 10**3, 24 * 3600 * 10**3])  # milliseconds
    start = rng.integers(-(10**9), 10**9)
    ticks = (start + rng.integers(0, 400, n)) * spacing % (10**12)
    return [datetime.datetime(1990, 1, 1) + datetime.timedelta(milliseconds=int(t)) for t in ticks]


def dates(rng, n):
    return [time.date() for time in times(rng, n)]


def spans(rng, n):
    return [datetime.timedelta(milliseconds=int(t)) for t in rng.integers(-(10**6), 10**6, n)]


def series(values, dtype):
    return pd.Series(values, dtype=dtype)


def zoned(values, dtype):
    return pd.Series(values, dtype="datetime64[ms]").dt.tz_localize("UTC").dt.tz_convert(dtype)


def far(rng, n):
    return (np.uint64(2**64 - 1) - rng.integers(0, 9, n).astype(np.uint64)).tolist()


LETTERS = ["Z z", "unused", "b", "a", "", "ä", "10", "None"]
# kinds of columns: whether they can have missing values, values, and the column of values and None
PANDAS = {
    "float64": (True, reals, lambda v: series(v, "float64")),
    "float32": (True, reals, lambda v: series(v, "float32")),
    "int64": (False, whole, lambda v: series(v, "int64")),
    "uint8": (False, lambda rng, n: whole(rng, n, 0, 256), lambda v: series(v, "uint8")),
    "uint64": (False, far, lambda v: series(v, "uint64")),
    "bool": (False, truths, lambda v: series(v, "bool")),
    "Int16": (True, whole, lambda v: series(v, "Int16")),
    "Float64": (True, reals, lambda v: series(v, "Float64")),
    "boolean": (True, truths, lambda v: series(v, "boolean")),
    "str": (True, words, lambda v: series(v, "str")),
    "string": (True, words, lambda v: series(v, "string")),
    "objects": (True, words, lambda v: series(v, object)),
    "bool objects": (True, truths, lambda v: series(v, object)),
    "category": (True, words, lambda v: series(v, "category")),
    "ordered": (True, words, lambda v: series(v, pd.CategoricalDtype(LETTERS, ordered=True))),
    "category of ints": (True, whole, lambda v: series(v, pd.CategoricalDtype(range(9, -9, -1)))),
    "datetime64[ns]": (True, times, lambda v: series(v, "datetime64[ns]")),
    "datetime64[s]": (True, dates, lambda v: series(v, "datetime64[s]")),
    "zoned": (True, times, lambda v: zoned(v, "America/New_York")),
    "timedelta64": (True, spans, lambda v: series(v, "timedelta64[us]")),
    "arrow int32": (True, whole, lambda v: series(v, pd.ArrowDtype(pa.int32()))),
    "arrow float": (True, reals, lambda v: series(v, pd.ArrowDtype(pa.float32()))),
    "arrow string": (True, words, lambda v: series(v, pd.ArrowDtype(pa.string()))),
    "arrow bool": (True, truths, lambda v: series(v, pd.ArrowDtype(pa.bool_()))),
    "arrow date": (True, dates, lambda v: series(v, pd.ArrowDtype(pa.date32()))),
    "arrow zoned": (True, times, lambda v: series(v, pd.ArrowDtype(pa.timestamp("ms", "Asia/Tokyo")))),
}
POLARS = {
    "Int8": (whole, pl.Int8),
    "UInt64": (far, pl.UInt64),
    "Float32": (reals, pl.Float32),
    "Float64": (reals, pl.Float64),
    "Boolean": (truths, pl.Boolean),
    "String": (words, pl.String),
    "Categorical": (words, pl.Categorical),
    "Enum": (words, pl.Enum(LETTERS)),
    "Date": (dates, pl.Date),
    "Datetime": (times, pl.Datetime("us")),
    "Duration": (spans, pl.Duration("ms")),
    "Time": (lambda rng, n: [time.time() for time in times(rng, n)], pl.Time),
}
ARRAYS = (np.float64, np.float32, np.int64, np.uint8, np.bool_)


def with_holes(rng, values):
    """Values of which some, but not all, are None."""
    holes = rng.random(len(values)) < rng.choice([0.0, 0.2, 0.8])
    holes[rng.integers(len(values))] = False
    return [None if hole else value for value, hole in zip(values, holes)]


def random_table(library, kinds, n, seed):
    """A table of a library, with columns of some kinds, beside one of numbers that differ."""
    rng = np.random.default_rng(seed)
    names = [f"{kind} {j}" for j, kind in enumerate(kinds)]
    if library == "array":
        dtype = ARRAYS[seed % len(ARRAYS)]
        X = rng.integers(0, 2 if dtype == np.bool_ else 9, (n, 1 + len(kinds))).astype(dtype)
        X[:2, 0] = 0, 1
        if np.dtype(dtype).kind == "f":
            X[1:, 1:][rng.random((n - 1, len(kinds))) < 0.2] = np.nan
        return X
    if library == "polars":
        columns = [
            pl.Series(name, with_holes(rng, POLARS[kind][0](rng, n)), dtype=POLARS[kind][1])
            for name, kind in zip(names, kinds)
        ]
        return pl.DataFrame([*columns, pl.Series("varied", np.arange(n))])
    found = {}
    for name, kind in zip(names, kinds):
        can_miss, draw, make = PANDAS[kind]
        values = draw(rng, n)
        found[name] = make(with_holes(rng, values) if can_miss else values)
    X = pd.DataFrame({**found, "varied": np.arange(n)})
    X.index = [pd.RangeIndex(n), pd.Index(rng.permutation(n)), pd.Index(map(str, range(n)))][seed % 3]
    return X[rng.permutation(X.columns).tolist()]
