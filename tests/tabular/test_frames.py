"""Tables are read as columns with a mask, and written back as they were."""

import datetime
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

from skswae.tabular._frames import Schema, read

from .tables import assert_equal, pandas_frame, polars_frame

FRAMES = {"pandas": pandas_frame(), "polars": polars_frame()}
ARRAYS = {
    "float32": np.array([[0.5, np.nan], [2, 3]], np.float32),
    "int": np.array([[0, 1], [2, 3]]),
    "bool": np.array([[True, False]]),
    "uint64": np.array([[2**64 - 1, 2**63]], np.uint64),
}
TABLES = {**FRAMES, **ARRAYS}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_written_as_it_was_read(name):
    X = TABLES[name]
    frame = read(X)
    assert frame.n_rows == len(X)
    assert frame.names == (None if name in ARRAYS else list(X.columns))
    assert_equal(frame.schema.write(frame.columns, frame.index), X)


@pytest.mark.parametrize("name", TABLES)
def test_a_schema_is_made_of_plain_values_again(name):
    frame = read(TABLES[name])
    again = Schema.from_state(frame.schema.state())
    assert again == frame.schema
    assert_plain(frame.schema.state())


def assert_plain(state):
    if isinstance(state, dict):
        assert all(type(key) is str for key in state)
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    assert isinstance(state, dict | list | str | int | float | np.ndarray | None)
    for value in values:
        assert_plain(value)


CRAFTED = {
    "polars": [
        {"name": "read_csv", "source": "/etc/passwd"},
        {"name": "Object"},
        {"name": "Int8", "more": 1},
        {"name": ["Int8"]},
        {"name": "Enum", "categories": "ab"},
        {"name": "Datetime", "time_unit": "D", "time_zone": None},
        {"name": "Datetime", "time_unit": "ms", "time_zone": "../../etc/passwd"},
        {"name": "Decimal", "precision": True, "scale": "2"},
        {},
    ],
    "pandas": [
        {"name": "of anybody"},
        {"name": "period[D]"},
        {"name": "interval[of anybody, right]"},
        {"name": ["i8"]},
        {"name": "i8,f8"},
        {"name": "datetime64[ns, dateutil//etc/passwd]"},
        {"name": "datetime64[ns, tzfile('/etc/passwd')]"},
        {"storage": "of anybody", "as_nan": False},
        {"categories": [1], "of": {"name": "of anybody"}, "ordered": False},
        {"categories": [1], "of": "int64", "ordered": False},
        {"categories": [1], "of": {"name": "int64"}, "ordered": {"name": "x"}},
        {"arrow": np.zeros(3, np.uint8)},
        {"arrow": {"name": "py_extension"}},
        {"arrow": "int8"},
        {"arrow": {"name": "memory_map", "path": "/etc/passwd"}},
        {"arrow": {"name": "timestamp", "unit": "ms", "tz": "/etc/passwd"}},
        {"arrow": {"index": {"name": "int8"}, "value": {"name": "memory_map"}, "ordered": False}},
        {},
    ],
    "array": ["O", "i8,f8", "M8[ns]", ["i8"], 8],
}


@pytest.mark.parametrize(
    ("library", "dtype"), [(library, dtype) for library, found in CRAFTED.items() for dtype in found]
)
def test_a_state_names_no_code(library, dtype, monkeypatch):
    """Whatever somebody writes into a file as a dtype: nothing of that name is called."""

    class Anybody(pd.api.extensions.ExtensionDtype):
        name = "of anybody"
        type = object

        @classmethod
        def construct_from_string(cls, text):
            return pytest.fail("called") if "of anybody" in text else super().construct_from_string(text)

    registry = pd.core.dtypes.base._registry
    monkeypatch.setattr(registry, "dtypes", [Anybody, *registry.dtypes])
    for place, name in ((pl, "read_csv"), (pa, "memory_map"), (pa.ipc, "read_schema")):
        monkeypatch.setattr(place, name, lambda *_, **__: pytest.fail("called"))
    state = read(np.ones((1, 1)) if library == "array" else FRAMES[library]).schema.state()
    Schema.from_state(state)
    state["fields"][0]["dtype"] = dtype
    with pytest.raises(ValueError, match=r"described by its name and settings. Got "):
        Schema.from_state(state)


@pytest.mark.parametrize("change", [{"library": "of_anybody"}, {"library": ["pandas"]}])
def test_a_state_is_of_a_known_library(change):
    state = {**read(FRAMES["pandas"]).schema.state(), **change}
    with pytest.raises(ValueError, match="must be 'pandas' or 'polars'"):
        Schema.from_state(state)
    state = read(FRAMES["pandas"]).schema.state()
    state["fields"][0]["unit"] = "Y"
    with pytest.raises(ValueError, match=r"must be one of .*'D'.*'Y'"):
        Schema.from_state(state)


@pytest.mark.parametrize("name", [*FRAMES, "float32"])
def test_missing_cells_alone_are_filled(name):
    X = TABLES[name]
    frame = read(X)
    columns = []
    for column in frame.columns:
        values = column.values.copy()
        values[column.missing] = values[~column.missing][-1]
        columns.append(type(column)(column.field, values, np.zeros(len(X), dtype=bool)))
    found = read(frame.schema.fill(X, frame, columns))
    for new, old in zip(found.columns, frame.columns):
        assert (new.field.dtype, new.field.levels) == (old.field.dtype, old.field.levels)
        assert not new.missing.any()
        shown = ~old.missing
        assert new.labels()[shown].tolist() == old.labels()[shown].tolist()
        assert set(new.labels()[old.missing].tolist()) <= {old.labels()[shown][-1]}
    assert_equal(frame.schema.fill(X, frame, frame.columns), X)


def test_filling_leaves_the_given_frame_alone():
    X = pd.DataFrame({"a": [1.0, np.nan]}, index=["x", "y"])
    frame = read(X)
    column = frame.columns[0]
    full = frame.schema.fill(X, frame, [type(column)(column.field, np.array([7.0, 8.0]), np.zeros(2, bool))])
    assert np.isnan(X.loc["y", "a"])
    assert full["a"].to_dict() == {"x": 1.0, "y": 8.0}


def test_numbers_and_labels():
    frame = read(pl.DataFrame({"a": [1, None, 3], "b": ["y", "x", None], "c": [True, None, False]}))
    a, b, c = frame.columns
    np.testing.assert_array_equal(a.numbers(), [1, np.nan, 3])
    assert b.labels().tolist() == ["y", "x", None]
    assert b.field.levels == ("x", "y")
    assert c.labels().tolist() == [True, None, False]


def test_nan_and_null_are_both_missing():
    for X in (
        pl.DataFrame({"a": [1.5, float("nan"), None]}),
        pd.DataFrame({"a": pd.array([1.5, float("nan"), None], dtype="Float64")}),
        pd.DataFrame(
            {"a": pd.Series(pa.array([1.5, float("nan"), None]), dtype=pd.ArrowDtype(pa.float64()))}
        ),
    ):
        assert read(X).columns[0].missing.tolist() == [False, True, True]


def test_names_that_are_no_strings_come_back():
    X = pd.DataFrame([[1.5, 2.5]], columns=pd.Index([7, 3], name="wide"))
    frame = read(X)
    assert_equal(frame.schema.write(frame.columns), X)


REFUSED = {
    "no rows": (lambda: pd.DataFrame({"a": [1.0]})[:0], ValueError, r"0 sample\(s\)"),
    "no columns": (lambda: pl.DataFrame(), ValueError, r"X must have at least one"),
    "two names": (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "two of 'a'"),
    "levels of names": (lambda: pd.DataFrame([[1]], columns=[("a", "b")]), TypeError, "Names of columns"),
    "mixed": (
        lambda: pd.DataFrame({"a": [1, "a"]}, dtype=object),
        TypeError,
        "'a' of X.*objects of int, str",
    ),
    "infinity": (lambda: pd.DataFrame({"a": [1, np.inf]}), ValueError, "'a' of X.*infinity"),
    "infinity of polars": (lambda: pl.DataFrame({"a": [1.0, -np.inf]}), ValueError, "'a' of X.*infinity"),
    "complex": (lambda: pd.DataFrame({"a": [1j]}), TypeError, "'a' of X.*complex128"),
    "periods": (
        lambda: pd.DataFrame({"a": pd.period_range("2020", periods=2)}),
        TypeError,
        "'a' of X.*period",
    ),
    "intervals": (lambda: pd.DataFrame({"a": pd.interval_range(0, 2)}), TypeError, "'a' of X.*interval"),
    "sparse": (lambda: pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), TypeError, "'a' of X.*Sparse"),
    "bytes": (lambda: pd.DataFrame({"a": [b"a"]}), TypeError, "'a' of X.*bytes"),
    "lists": (lambda: pd.DataFrame({"a": [[1]]}), TypeError, "'a' of X.*list"),
    "dates": (lambda: pd.DataFrame({"a": [datetime.date(2020, 1, 1)]}), TypeError, "'a' of X.*date"),
    "large": (lambda: pd.DataFrame({"a": [2**70]}, dtype=object), TypeError, "'a' of X.*64 bits"),
    "polars' lists": (lambda: pl.DataFrame({"a": [[1]]}), TypeError, "'a' of X.*List"),
    "structs": (lambda: pl.DataFrame({"a": [{"b": 1}]}), TypeError, "'a' of X.*Struct"),
    "polars' bytes": (lambda: pl.DataFrame({"a": [b"a"]}), TypeError, "'a' of X.*Binary"),
    "arrow's lists": (
        lambda: pd.DataFrame({"a": pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))}),
        TypeError,
        "'a' of X.*list",
    ),
    "lazy": (lambda: pl.DataFrame({"a": [1]}).lazy(), TypeError, "collect"),
    "array of text": (lambda: np.array([["a"]]), ValueError, "could not convert|numeric"),
    "array of times": (lambda: np.array([["2020"]], "datetime64[s]"), TypeError, "array of datetime64"),
    "array of infinity": (lambda: np.array([[np.inf]]), ValueError, "infinity"),
    "masked array": (lambda: np.ma.masked_array([[1.0]], [[True]]), ValueError, "masked"),
    "sparse array": (lambda: sp.csr_array(np.eye(2)), TypeError, "[Ss]parse"),
    "one dimension": (lambda: np.arange(3.0), ValueError, "2D array"),
    "complex array": (lambda: np.array([[1j]]), ValueError, "Complex"),
    "empty array": (lambda: np.empty((0, 2)), ValueError, r"0 sample\(s\)"),
}
if np.finfo(np.longdouble).max > np.finfo(float).max:
    REFUSED["longdouble"] = (lambda: np.array([[np.longdouble("1e400")]]), ValueError, "float64")


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(case):
    make, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text):
        read(make())


def test_a_dtype_without_missing_values_holds_none():
    frame = read(pd.DataFrame({"a": [1, 2]}))
    column = frame.columns[0]
    with pytest.raises(ValueError, match=r"'a' of the table must have no missing values.*int64"):
        frame.schema.write([type(column)(column.field, column.values, np.array([True, False]))])


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"a": pd.Categorical(["x", None])}),
        pl.DataFrame({"a": ["x", None]}, {"a": pl.Enum(["x"])}),
    ],
    ids=["pandas", "polars"],
)
def test_a_category_that_the_dtype_lacks_is_refused(X):
    frame = read(X)
    other = read(pl.DataFrame({"a": ["y", "y"]})).columns
    with pytest.raises(ValueError, match="'a' of the table must have the categor"):
        frame.schema.fill(X, frame, other)


def test_an_array_needs_no_library_of_frames(monkeypatch):
    for name in ("pandas", "polars"):
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, f"{name}.core", None)
    frame = read(np.eye(2))
    assert frame.schema.library == "array"
    assert {"pandas", "polars"}.isdisjoint(sys.modules)
