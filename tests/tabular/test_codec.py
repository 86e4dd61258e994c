"""Tables as cells and back: whatever the dtypes, and clear errors."""

import datetime
import pickle

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from skswae.tabular._codec import TableCodec

from .tables import PANDAS, POLARS, assert_equal, pandas_frame, polars_frame, random_table
from .test_frames import assert_plain


def index(X):
    return X.index if isinstance(X, pd.DataFrame) else None


# ---------------------------------------------------------------------------
# Round trips
# ---------------------------------------------------------------------------


@st.composite
def tables(draw):
    library = draw(st.sampled_from(["pandas", "pandas", "polars", "array"]))
    kinds = draw(st.lists(st.sampled_from(sorted(POLARS if library == "polars" else PANDAS)), max_size=3))
    n = draw(st.integers(2, 40))
    return random_table(library, kinds, n, draw(st.integers(0, 2**32 - 1)))


def check_round_trip(X, number_map, seed):
    codec = TableCodec(number_map=number_map).fit(X)
    cells = codec.encode(X)
    values = codec.values(cells)
    assert_equal(codec.frame(values, index(X)), X, rtol=1e-6, atol=1e-12)  # float32, and zero among others
    np.testing.assert_allclose(codec.cells(values), cells, atol=1e-9)
    again = TableCodec.from_state(codec.state())
    # whatever a model makes of the cells is a table of the same dtypes, in the seen ranges
    rng = np.random.default_rng(seed)
    made = np.empty((7, cells.shape[1]))
    for j, column in enumerate(codec.columns):
        levels = max(1, len(column.levels))
        made[:, j] = rng.integers(levels, size=7) if column.map is None else 3 * rng.standard_normal(7)
    frame = again.frame(again.values(made))
    if not isinstance(X, np.ndarray):
        assert list(frame.columns) == list(X.columns)
        assert list(frame.dtypes) == list(X.dtypes)
    seen = again.encode(frame)  # no level is new
    assert not np.isnan(seen).any()
    for column, found in zip(codec.columns, codec.values(seen).T):
        if column.map is not None:
            assert found.min() >= column.low - 1e-6 * abs(column.low)
            assert found.max() <= column.high + 1e-6 * abs(column.high)
            assert not column.is_integer or np.allclose(found, np.rint(found), rtol=0, atol=1e-6)
    # holes alone are filled
    full = codec.fill(X, codec.values(np.resize(made, cells.shape)))
    assert type(full) is type(X)
    seen = again.encode(full)
    assert not np.isnan(seen).any()
    np.testing.assert_array_equal(seen[~np.isnan(cells)], cells[~np.isnan(cells)])
    if isinstance(X, pd.DataFrame):
        assert full.dtypes.tolist() == X.dtypes.tolist()
        assert full.index.equals(X.index)


NIGHTLY = hypothesis.settings.default.max_examples >= 1000  # the profile of conftest.py


@hypothesis.settings(max_examples=2000 if NIGHTLY else 50)
@hypothesis.given(X=tables(), number_map=st.sampled_from(["quantile", "standard"]), seed=st.integers(0, 99))
def test_any_table_comes_back(X, number_map, seed):
    check_round_trip(X, number_map, seed)


@pytest.mark.parametrize("make", [pandas_frame, polars_frame])
def test_a_table_of_all_dtypes_comes_back(make):
    X = make()
    codec = TableCodec().fit(X)
    values = codec.values(codec.encode(X))
    assert_equal(codec.frame(values, index(X)), X)
    assert_equal(codec.fill(X, values), X)
    state = codec.state()
    assert_plain(state)
    assert_equal(TableCodec.from_state(state).frame(values, index(X)), X)
    assert_equal(pickle.loads(pickle.dumps(codec)).frame(values, index(X)), X)


# ---------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------


def people():
    return pd.DataFrame(
        {
            "age": [22, 38, 26, 35, 54, 2],
            "fare": [7.25, 71.3, np.nan, 53.1, 51.9, 21.0],
            "sex": ["male", "female", "female", None, "male", "male"],
            "class": pd.Categorical([3, 1, 3, 1, 1, 3], categories=[1, 2, 3], ordered=True),
            "alone": [False, False, True, False, True, False],
            "born": pd.date_range("2000-01-01", periods=6, freq="D"),
            "planet": "earth",
        }
    )


def test_cells_and_columns():
    X = people()
    codec = TableCodec().fit(X)
    kinds = ["number", "number", "category", "category", "boolean", "number", "constant"]
    assert [column.kind for column in codec.columns] == kinds
    assert [column.name for column in codec.columns] == X.columns.tolist()
    age, fare, sex, rank, alone, born, planet = codec.columns
    assert (age.is_integer, age.low, age.high) == (True, 2.0, 54.0)
    assert not fare.is_integer
    assert (sex.levels, sex.frequencies.tolist()) == (("female", "male"), [0.4, 0.6])
    assert rank.levels == (1, 3)  # and not the one that no row has
    assert alone.levels == (False, True)
    assert (born.low, born.high, born.step) == (0.0, 5.0, codec.schema.fields[5].unit and born.step)
    assert planet.levels == ("earth",)
    cells = codec.encode(X)
    np.testing.assert_array_equal(cells[:, 2], [1, 0, 0, np.nan, 1, 1])
    np.testing.assert_array_equal(cells[:, 3:5].T, [[1, 0, 1, 0, 0, 1], [0, 0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(cells[:, 6], 0)
    values = codec.values(cells)
    np.testing.assert_allclose(values[:, 0], X["age"])
    np.testing.assert_allclose(values[:, 1], X["fare"])
    np.testing.assert_allclose(values[:, 5], np.arange(6), atol=1e-12)


def test_whole_numbers_and_days_come_back_as_such_and_numbers_stay_in_their_range():
    X = people()
    codec = TableCodec().fit(X)
    values = np.tile(codec.values(codec.encode(X))[:1], (3, 1))
    values[:, 0], values[:, 1], values[:, 5] = [30.4, -7, 99], [-1, 10.123, 1e9], [2.4, 2.6, 77]
    found = codec.frame(values)
    assert found["age"].tolist() == [30, 2, 54]
    assert found["fare"].tolist() == [7.25, 10.123, 71.3]
    assert found["born"].dt.strftime("%Y-%m-%d %H:%M").tolist() == [f"2000-01-0{d} 00:00" for d in (3, 4, 6)]


def test_floats_that_are_all_whole_come_back_whole():
    X = np.array([[1, 0.5], [4, 1.5], [np.nan, 2.5]])
    codec = TableCodec().fit(X)
    assert codec.frame(np.array([[2.6, 2.2]])).tolist() == [[3.0, 2.2]]


@pytest.mark.parametrize("given", [["age", "fare"], [0, 1], [-7, 1], [True, True] + 5 * [False]])
def test_numbers_may_be_categories(given):
    X = people()
    codec = TableCodec(categorical_features=given).fit(X)
    assert [column.kind for column in codec.columns[:3]] == ["category", "category", "category"]
    assert codec.columns[0].levels == (2, 22, 26, 35, 38, 54)
    assert_equal(codec.frame(codec.values(codec.encode(X))), X)


@pytest.mark.parametrize("given", [np.array([1]), np.array([False, True]), [np.int64(1)]])
def test_columns_of_an_array_may_be_categories(given):
    X = np.array([[0.5, 3], [1.5, np.nan], [2.5, 4]])
    codec = TableCodec(categorical_features=given).fit(X)
    assert codec.columns[1].levels == (3.0, 4.0)
    np.testing.assert_array_equal(codec.frame(codec.values(codec.encode(X))), X)


@pytest.mark.parametrize("largest", [2**63 - 1, 2**63, 2**64 - 1])
def test_labels_that_are_large_whole_numbers_come_back(largest):
    """NumPy makes floats of integers that no int64 holds beside others."""
    labels = np.array([3, largest, 3, largest], dtype="u8")
    tables = (
        pd.DataFrame({"k": labels}),
        pd.DataFrame({"k": pd.array(labels, dtype="UInt64")}),
        pl.DataFrame({"k": labels}),
        labels[:, None],
    )
    for X in tables:
        codec = TableCodec(categorical_features=[0]).fit(X)
        codec = TableCodec.from_state(codec.state())
        back = codec.frame(codec.values(codec.encode(X)))
        assert np.asarray(back)[:, 0].tolist() == labels.tolist()


@pytest.mark.parametrize(
    "given", ["all", ["sex", "x"], [7], [True], [1.5], [["sex"]], ["sex", 1], ["born"], None]
)
def test_features_that_are_none_are_refused(given):
    with pytest.raises((ValueError, TypeError), match="'categorical_features' parameter must"):
        TableCodec(categorical_features=given).fit(people())


@pytest.mark.parametrize(
    ("name", "value"),
    [("number_map", "log"), ("handle_unknown", "ignore"), ("min_frequency", 0), ("min_frequency", 1.5),
     ("min_frequency", True), ("min_frequency", "1")],
)  # fmt: skip
def test_parameters_are_checked(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter must .* Got {value!r}"):
        TableCodec(**{name: value}).fit(people())


@pytest.mark.parametrize("given", [3, 0.25])
def test_rare_levels_are_one_that_comes_back_as_the_most_frequent(given):
    X = pl.DataFrame({"a": list("xxxxyyzwvv"), "b": range(10)})
    codec = TableCodec(min_frequency=given).fit(X)
    assert codec.columns[0].levels == ("v", "x")
    assert codec.columns[0].frequencies.tolist() == pytest.approx([0.6, 0.4])
    cells = codec.encode(X)
    assert cells[:, 0].tolist() == [1] * 4 + [0] * 6
    assert codec.frame(codec.values(cells))["a"].to_list() == ["x"] * 4 + ["v"] * 6
    with pytest.raises(ValueError, match=r"'a' must be of no rare level.*'min_frequency'.*Got 'z'"):
        codec.condition("a", "z")


def test_new_levels():
    X, new = people(), people()
    new.loc[1, "sex"] = "other"
    with pytest.raises(
        ValueError, match=r"Column 'sex' of X must have no levels .*'handle_unknown'.*'other'"
    ):
        TableCodec().fit(X).encode(new)
    codec = TableCodec(handle_unknown="other").fit(X)
    cells = codec.encode(new)
    assert cells[1, 2] == -1
    assert codec.frame(codec.values(cells))["sex"].isna().tolist() == [False, True, False, True, False, False]
    assert codec.fill(new, codec.values(codec.encode(X[:1].take([0] * 6))))["sex"].tolist()[1] == "other"


# ---------------------------------------------------------------------------
# Other tables
# ---------------------------------------------------------------------------


def test_columns_may_come_in_any_order_and_from_another_library():
    X = people().drop(columns="class")
    codec = TableCodec().fit(X)
    cells = codec.encode(X)
    np.testing.assert_array_equal(codec.encode(X[X.columns[::-1]]), cells)
    np.testing.assert_array_equal(codec.encode(pl.from_pandas(X)), cells)
    np.testing.assert_array_equal(codec.encode(X.convert_dtypes()), cells)
    filled = codec.fill(pl.from_pandas(X)[:, ::-1], codec.values(np.nan_to_num(cells)))
    assert filled.columns == X.columns[::-1].tolist()
    assert filled["fare"].null_count() == 0
    assert filled["sex"].to_list() == ["male", "female", "female", "female", "male", "male"]


def test_whole_numbers_with_new_holes_are_floats_of_pandas():
    X = people()
    codec = TableCodec().fit(X)
    holes = X.copy()
    holes["age"] = X["age"].where(X["age"] > 2)
    holes["alone"] = X["alone"].astype(object).where(X["age"] > 2)
    cells = codec.encode(holes)
    assert np.isnan(cells[5, [0, 4]]).all()
    filled = codec.fill(holes, codec.values(np.nan_to_num(codec.encode(X))))
    assert filled["age"].tolist() == X["age"].tolist()
    assert filled["age"].dtype == holes["age"].dtype
    assert filled["alone"].tolist() == X["alone"].tolist()


def test_a_column_of_holes_alone_is_filled_in_the_dtype_that_was_fitted():
    X = people()
    codec = TableCodec().fit(X)
    values = codec.values(np.nan_to_num(codec.encode(X)))
    filled = codec.fill(X.assign(sex=np.nan), values)
    assert filled["sex"].dtype == X["sex"].dtype
    assert filled["sex"].tolist() == ["male", "female", "female", "female", "male", "male"]


def all_missing(X, library):
    if library == "polars":
        return pl.DataFrame({name: pl.Series([None] * len(X), dtype=pl.Null) for name in X.columns})
    return pd.DataFrame({name: pd.Series([None] * len(X), dtype=object) for name in X.columns})


def test_columns_of_holes_alone_of_another_library_are_filled_in_a_dtype_of_its_own():
    X = pandas_frame().drop(columns=["bands", "category of times"]).dropna(axis=1).reset_index(drop=True)
    X = X.assign(text=list("abcab"), kind=pd.Categorical(list("abcab")), truth=[True, False] * 2 + [True])
    X["day"] = pd.array(
        [datetime.date(2020, 1, day) for day in (1, 2, 3, 4, 9)], dtype=pd.ArrowDtype(pa.date32())
    )
    codec = TableCodec().fit(X)
    filled = codec.fill(all_missing(X, "polars"), codec.values(codec.encode(X)))
    for name in X:
        zoned = getattr(X[name].dtype, "tz", None) is not None
        expected = X[name].dt.tz_convert("UTC") if zoned else X[name]
        assert filled[name].to_list() == expected.tolist(), name
    back = TableCodec().fit(filled)
    again = back.fill(all_missing(X, "pandas"), back.values(back.encode(filled)))
    assert object not in again.dtypes.tolist()
    as_times = filled.with_columns(pl.col("day").cast(pl.Datetime("ms")))  # pandas has no dates
    assert pl.from_pandas(again).rows() == as_times.rows()


def test_values_that_another_library_has_no_dtype_for():
    X = polars_frame().select("Time", "String", "Float64", "Datetime").drop_nulls()
    codec = TableCodec().fit(X)
    values = codec.values(codec.encode(X))
    with pytest.raises(ValueError, match=r"Column 'Time' of X must have a dtype that .* time, .* Got object"):
        codec.fill(all_missing(X, "pandas"), values)
    for name in ("String", "Datetime"):
        codec = TableCodec().fit(X.select("Float64", name))
        with pytest.raises(ValueError, match=r"Column 1 of X must have a dtype .* Got float64"):
            codec.fill(np.full((4, 2), np.nan), codec.values(codec.encode(X.select("Float64", name))))
    bands = pd.DataFrame({"a": pd.cut(np.arange(4), 2), "b": np.arange(4)})
    codec = TableCodec().fit(bands)
    with pytest.raises(ValueError, match=r"Column 'a' of X must have a dtype .* category.* Got Null"):
        codec.fill(all_missing(bands, "polars"), codec.values(codec.encode(bands)))


def test_times_of_another_unit_and_zone_are_converted():
    zoned = pd.date_range("2020-03-28", periods=9, freq="7h", tz="Europe/Berlin").as_unit("us")
    X = pd.DataFrame({"a": zoned})
    codec = TableCodec().fit(X)
    cells = codec.encode(X)
    for unit in ("s", "ms", "ns"):
        other = pd.DataFrame({"a": zoned.tz_convert("Asia/Tokyo").as_unit(unit)})
        np.testing.assert_allclose(codec.encode(other), cells, atol=1e-12)
        holes = other.copy()
        holes.loc[3, "a"] = pd.NaT
        assert_equal(codec.fill(holes, codec.values(cells)), other)
    later = codec.encode(X + pd.Timedelta(3.5, "h"))
    assert ((later[:-1] > cells[:-1]) & (later[:-1] < cells[1:])).all()


def refused(**columns):
    return people().assign(**columns)


OTHERS = {
    "new": (refused(more=1), ValueError, "unseen at fit time:\n- more"),
    "gone": (people().drop(columns="age"), ValueError, "now missing:\n- age"),
    "text for numbers": (refused(age=list("abcdef")), TypeError, "'age' of X must hold whole numbers"),
    "numbers for text": (refused(sex=1.5), TypeError, "'sex' of X must hold categories"),
    "numbers for times": (refused(born=range(6)), TypeError, "'born' of X must hold values of type datetime"),
    "spans for times": (refused(born=pd.Timedelta(1, "D")), TypeError, "'born' of X must hold.*datetime"),
    "a time zone": (refused(born=pd.Timestamp("2020", tz="UTC")), TypeError, "'born' of X .* no time zone"),
    "numbers for booleans": (refused(alone=range(6)), TypeError, "'alone' of X must hold booleans"),
    "mixed": (refused(sex=pd.Series([1, *"abcde"], dtype=object)), TypeError, "'sex' of X must .* int, str"),
    "an array": (np.zeros((2, 3)), ValueError, "X has 3 features, but TableCodec is expecting 7"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_tables_are_refused(case):
    X, kind, text = OTHERS[case]
    with pytest.raises(kind, match=text):
        TableCodec().fit(people()).encode(X)


def test_no_time_zone_where_one_was():
    X = pd.DataFrame({"a": pd.date_range("2020", periods=3, tz="UTC")})
    with pytest.raises(TypeError, match="'a' of X must have a time zone"):
        TableCodec().fit(X).encode(X.assign(a=X["a"].dt.tz_localize(None)))


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [None, None]}), "'b' of X must have a value that is not missing"),
        (pl.DataFrame({"a": [1, 2], "b": [None, None]}), "'b' of X must have a value that is not missing"),
        (np.array([[1, np.nan], [2, np.nan]]), "Column 1 of X must have a value"),
        (pd.DataFrame({"a": [1, 1], "b": "x"}), r"two values or more.*n_samples=2, n_features=2"),
    ],
)
def test_what_cannot_be_learned_is_refused(X, text):
    with pytest.raises(ValueError, match=text):
        TableCodec().fit(X)


def test_values_of_other_shapes_and_levels_are_refused():
    codec = TableCodec().fit(people())
    with pytest.raises(ValueError, match=r"shape \(n, 7\).* Got \(2, 3\)"):
        codec.values(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="'sex' must be indices of its 2 levels"):
        codec.frame(np.full((1, 7), 2.0))
    with pytest.raises(ValueError, match="'age' of the table must have no missing values"):
        codec.frame(np.full((1, 7), np.nan))


# ---------------------------------------------------------------------------
# Conditions
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("number_map", ["quantile", "standard"])
@pytest.mark.parametrize(
    "value", [(0, 12), (None, 30), (25.5, None), 26, (22, 22), (3, 11), (-5, 99)], ids=repr
)
def test_scores_of_a_condition_are_rows_that_hold_it(number_map, value):
    X = people()
    codec = TableCodec(number_map=number_map).fit(X)
    asked = codec.condition("age", value)
    assert asked.kind == "number"
    low, high = value if isinstance(value, tuple) else (value, value)
    low, high = low or 2, high or 54
    cells = np.repeat(codec.encode(X)[:1], 99, axis=0)
    cells[:, 0] = np.linspace(max(asked.low_score, -5), min(asked.high_score, 5), 99)
    ages = codec.frame(codec.values(cells))["age"]
    assert ages.between(low, high).all()
    inside = X["age"].between(low, high).to_numpy()
    assert asked.holds(codec.values(codec.encode(X))[:, 0]).tolist() == inside.tolist()


def test_conditions_on_levels():
    codec = TableCodec().fit(people())
    for name, value, levels in [
        ("sex", "male", [1]),
        ("sex", ["male", "female"], [0, 1]),
        ("class", 3, [1]),
        ("alone", True, [1]),
        ("planet", "earth", [0]),
    ]:
        asked = codec.condition(name, value)
        assert asked.levels.tolist() == levels
        assert asked.name == name
        assert codec.columns[asked.index].name == name


def test_conditions_on_times():
    X = people()
    codec = TableCodec().fit(X)
    day = datetime.datetime(2000, 1, 3)
    for value in (day, day.date(), pd.Timestamp(day), np.datetime64(day), "2000-01-03"):
        assert (codec.condition("born", value).low, codec.condition("born", value).high) == (2, 2)
    asked = codec.condition("born", ("2000-01-02 12:00", np.datetime64("2003", "Y")))
    assert (asked.low, asked.high) == (2, 5)
    spans = pl.DataFrame({"a": [datetime.timedelta(hours=h) for h in (1, 3, 4)]})
    asked = TableCodec().fit(spans).condition("a", (datetime.timedelta(hours=2), None))
    assert (asked.low, asked.high) == (1, 3)
    clock = pl.DataFrame({"a": [datetime.time(hour) for hour in (1, 3, 9)]})
    asked = TableCodec().fit(clock).condition("a", (datetime.time(2, 30), datetime.time(9)))
    assert (asked.low, asked.high) == (2, 8)
    zoned = pd.DataFrame({"a": pd.date_range("2020", periods=3, tz="Europe/Berlin")})
    aware = datetime.datetime(2020, 1, 1, 23, tzinfo=datetime.timezone.utc)
    for value in (aware, pd.Timestamp(aware)):
        assert TableCodec().fit(zoned).condition("a", value).low == 1


@pytest.mark.parametrize("of", [int, pd.Timestamp])
def test_conditions_on_whole_numbers_are_exact_or_refused(of):
    """Float64 has not all of those of a column that spans more than 2**53."""
    first, odd, even, last = numbers = [2**60, 2**60 + 2**57 + 997, 2**60 + 2**57 + 1024, 2**60 + 2**58]
    codec = TableCodec().fit(pd.DataFrame({"a": list(map(of, numbers))}))

    def ends(low, high):
        asked = codec.condition("a", (None if low is None else of(low), None if high is None else of(high)))
        return codec.frame(np.array([[asked.low], [asked.high]]))["a"].tolist()

    assert ends(even, even) == [of(even)] * 2
    assert ends(None, odd) == [of(first), of(odd - 5)]
    assert ends(odd, None) == [of(odd + 27), of(last)]
    for value in (of(odd), (of(odd), of(odd + 26))):
        with pytest.raises(ValueError, match=r"column 'a' must be a wider range: .* more than 2\*\*53"):
            codec.condition("a", value)


def test_a_condition_reaches_as_far_as_its_numbers():
    codec = TableCodec().fit(people())
    asked = codec.condition("age", (-(10**400), 10**400))
    assert (asked.low, asked.high) == (2, 54)


IMPOSSIBLE = {
    "no column": ("ages", 3, "one of the columns.*'ages'"),
    "no level": ("sex", "other", r"'sex' must be of its levels, 'female', 'male'. Got 'other'"),
    "one level of none": ("sex", ["male", "x"], "'sex' must be of its levels.* Got 'x'"),
    "no labels": ("sex", [], "'sex' must be a label"),
    "a missing label": ("sex", None, "'sex' must be of its levels"),
    "a list of lists": ("sex", [["male"]], "'sex' must be of its levels"),
    "not declared": ("class", 2, "'class' must be of its levels, 1, 3"),
    "beyond": ("age", (60, 70), "'age' must be one that meets the seen range, 2 to 54"),
    "beyond, and open": ("age", (60, None), "'age' must be one that meets the seen range, 2 to 54"),
    "before, and open": ("age", (None, 1), "'age' must be one that meets the seen range, 2 to 54"),
    "another one": ("age", 99, "'age' must be one that meets the seen range"),
    "upside down": ("age", (12, 3), "'age' must be a range whose low end"),
    "nothing whole": ("age", (12.2, 12.8), "'age' must be a range with a whole number"),
    "NaN": ("fare", np.nan, "'fare' must be no missing value"),
    "None": ("fare", None, "'fare' must be a number or a tuple"),
    "three": ("fare", (1, 2, 3), "'fare' must be a number or a tuple"),
    "text": ("fare", "1", "'fare' must be a number or a tuple"),
    "truth": ("fare", True, "'fare' must be a number or a tuple"),
    "a list": ("fare", [1, 2], "'fare' must be a number or a tuple"),
    "no time": ("born", "x", "'born' must be a datetime"),
    "a number for a time": ("born", 5, "'born' must be a datetime"),
    "NaT": ("born", pd.NaT, "'born' must be a datetime"),
    "a zone": ("born", pd.Timestamp("2000-01-03", tz="UTC"), "'born' must be no time with a time zone"),
    "another day": ("born", "2001-01-01", "the seen range, 2000-01-01T00.* to 2000-01-06T00"),
    "another planet": ("planet", "mars", "'planet' must be of its levels, 'earth'"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_conditions_are_refused(case):
    name, value, text = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match=text):
        TableCodec().fit(people()).condition(name, value)


def test_an_array_is_of_numbers_by_position():
    X = load_iris().data
    codec = TableCodec().fit(X)
    assert [column.name for column in codec.columns] == [0, 1, 2, 3]
    assert (codec.condition(2, (1, 2)).low, codec.condition(2, (1, 2)).high) == (1, 2)
    found = codec.frame(codec.values(codec.encode(X.tolist())))
    np.testing.assert_allclose(found, X)
