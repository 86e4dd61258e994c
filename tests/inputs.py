"""Whatever may be given as rows, and what must hold: a fit that keeps every contract, or a clear error.

``NUMBERS`` and ``CONTAINERS`` are functions of a plain array, so that each kind can also be tried by itself.
"""

import dataclasses
import datetime
import functools
import re
import tempfile
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, VARIANTS, assert_equal_fits, cheap, states

GOOD = load_iris().data[::8]  # 19 rows of 4 columns
CODES = 2


# ---------------------------------------------------------------------------
# Numbers: functions of an array of float64, about 1 in size
# ---------------------------------------------------------------------------


def with_cell(A, value):
    A = A.copy()
    A[len(A) // 2, -1] = value
    return A


def with_column(A, value):
    A = A.copy()
    A[:, 0] = value
    return A


def by_column(A, *factors):
    return A * np.resize(factors, A.shape[1])


NUMBERS = {
    "as they are": lambda A: A,
    "in [0, 1]": lambda A: (A - A.min()) / (np.ptp(A) or 1.0),
    "zeros and ones": lambda A: np.float64(np.median(A) < A),
    "of 1e-300": lambda A: A * 1e-300,
    "of 1e-200": lambda A: A * 1e-200,
    "of 1e-30": lambda A: A * 1e-30,
    "denormal": lambda A: A * 1e-310,
    "a few denormals": lambda A: np.round(A) * 5e-324,
    "of 1e30": lambda A: A * 1e30,
    "of 1e150": lambda A: A * 1e150,
    "of 1e300": lambda A: A * 1e300,
    "one outlier of 1e9": lambda A: with_cell(A, 1e9),
    "one outlier of 1e300": lambda A: with_cell(A, 1e300),
    "columns of 1e-300 and 1e300": lambda A: by_column(A, 1e-300, 1e300),
    "columns of 1e-20 and 1": lambda A: by_column(A, 1.0, 1e-20),
    "below their rounding": lambda A: 0.1 + 1e-17 * A,
    "a column below its rounding beside small ones": lambda A: with_column(1e-20 * A, 1e6 + 1e-10 * A[:, 0]),
    "near their rounding": lambda A: 0.1 + 1e-16 * A,
    "far from the origin": lambda A: 1e6 + A,
    "very far from the origin": lambda A: 1e15 + A,
    "a constant column": lambda A: with_column(A, 7.0),
    "a constant column of 1e300": lambda A: with_column(A, 1e300),
    "duplicated columns": lambda A: np.hstack([A, A]),
    "duplicated rows": lambda A: np.vstack([A, A]),
    "equal rows": lambda A: np.repeat(A[:1], len(A), axis=0),
    "zeros": lambda A: np.zeros_like(A),
    "negative zeros": lambda A: np.full_like(A, -0.0),
    "one feature": lambda A: A[:, :1],
    "two rows": lambda A: A[:2],
    "one row": lambda A: A[:1],
    "whole numbers beyond 2**53": lambda A: np.rint(2.0**60 * A),
    "as different as float64 can": lambda A: np.sign(A) * 1.7e308,
}


# ---------------------------------------------------------------------------
# Containers
# ---------------------------------------------------------------------------


@dataclasses.dataclass
class Row:
    a: float


class Rows(np.ndarray):
    pass


def names(A):
    return [f"c{i}" for i in range(A.shape[1])]


def frame(A, dtype=None):
    found = pd.DataFrame(A, columns=names(A))
    return found if dtype is None else found.astype(dtype)


def nulled(found):
    found = found.copy()
    found.iloc[0, 0] = pd.NA
    return found


def ints(A):
    return np.rint(np.clip(A, -1e9, 1e9)).astype(np.int64)


def cell(A, value):
    rows = A.astype(object)
    rows[0, 0] = value
    return rows


def masked(A):
    rows = np.ma.masked_array(A, mask=np.zeros(A.shape, bool))
    rows[0, 0] = np.ma.masked
    return rows


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def strided(A):
    wide = np.zeros((2 * A.shape[0], 2 * A.shape[1]))
    wide[::2, ::2] = A
    return wide[::2, ::2]


def single(A):
    with np.errstate(over="ignore", under="ignore"):
        return A.astype(np.float32)


def on_disk(A):
    with tempfile.TemporaryFile() as file:
        rows = np.memmap(file, A.dtype, "w+", shape=A.shape)
    rows[:] = A
    return rows


def half(A):
    with np.errstate(over="ignore", under="ignore"):
        return A.astype(np.float16)


def times(A):
    return np.rint(np.clip(A, -1e9, 1e9)).astype("datetime64[s]")


def in_levels(A):
    levels = [("a", name) for name in names(A)]
    return pd.DataFrame(A, columns=pd.MultiIndex.from_tuples(levels))


def of_categories(A, values):
    found = frame(A)
    found["c0"] = pd.Categorical([values[i % 2] for i in range(len(A))])
    return found


def beside(A, value):
    """Columns by name, the first of which holds other things than numbers."""
    return {"a": [value] * len(A), **dict(zip(names(A), A.T.tolist()))}


def of_times(A, column):
    found = frame(A)
    found["c0"] = column(len(A))
    return found


DAY, HOUR = datetime.datetime(2026, 1, 1), datetime.timedelta(hours=1)
TIMES = {
    "datetime": DAY,
    "date": DAY.date(),
    "time": DAY.time(),
    "timedelta": HOUR,
    "datetime64": np.datetime64(DAY),
    "timedelta64": np.timedelta64(HOUR),
    "Timestamp": pd.Timestamp(DAY),
    "Timedelta": pd.Timedelta(HOUR),
    "NaT": pd.NaT,
}

CONTAINERS = {
    "array": lambda A: A,
    "float32": single,
    "float16": half,
    "longdouble": lambda A: A.astype(np.longdouble),
    "longdouble beyond float64": lambda A: (1 + np.abs(A.astype(np.longdouble))) * np.longdouble("1e350"),
    "big-endian": lambda A: A.astype(">f8"),
    "big-endian float32": lambda A: single(A).astype(">f4"),
    "int64": ints,
    "big-endian int32": lambda A: ints(A).astype(">i4"),
    "uint64": lambda A: np.uint64(2**63) + ints(np.abs(A)).astype(np.uint64),
    "uint8": lambda A: (ints(A) % 256).astype(np.uint8),
    "bool": lambda A: np.median(A) < A,
    "objects": lambda A: A.astype(object),
    "Fortran order": np.asfortranarray,
    "negative strides": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "strided": strided,
    "read-only": read_only,
    "subclass": lambda A: A.view(Rows),
    "mapped file": on_disk,
    "masked array without masked values": np.ma.masked_array,
    "strings of numbers": lambda A: A.astype(str),
    "bytes of numbers": lambda A: A.astype("S"),
    "objects of strings": lambda A: A.astype(str).astype(object),
    "lists": lambda A: A.tolist(),
    "tuples": lambda A: tuple(map(tuple, A)),
    "list of arrays": list,
    "tensor": torch.tensor,
    "float32 tensor": lambda A: torch.tensor(single(A)),
    "tensor with a gradient": lambda A: torch.tensor(A, requires_grad=True),
    "bfloat16 tensor": lambda A: torch.tensor(A).bfloat16(),
    "list of tensors": lambda A: list(torch.tensor(A)),
    "pandas": frame,
    "pandas float32": lambda A: frame(single(A)),
    "pandas numbered": pd.DataFrame,
    "pandas Float64": lambda A: frame(A, "Float64"),
    "pandas Int64": lambda A: frame(ints(A), "Int64"),
    "pandas boolean": lambda A: frame(np.median(A) < A, "boolean"),
    "pandas arrow": lambda A: frame(A, pd.ArrowDtype(pa.float64())),
    "pandas arrow ints": lambda A: frame(ints(A), pd.ArrowDtype(pa.int64())),
    "pandas objects": lambda A: frame(A, object),
    "pandas strings": lambda A: frame(A.astype(str), "string"),
    "pandas columns in levels": in_levels,
    "pandas columns of one name": lambda A: pd.DataFrame(A, columns=["a"] * A.shape[1]),
    "pandas names of two types": lambda A: pd.DataFrame(A, columns=[0, *names(A)[1:]]),
    "pandas sparse": lambda A: frame(A, pd.SparseDtype(float)),
    "pandas categories of numbers": lambda A: of_categories(A, [1, 2]),
    "pandas with a column _mask": lambda A: frame(A).assign(_mask=1.0),
    "polars": lambda A: pl.DataFrame(A, schema=names(A)),
    "polars float32": lambda A: pl.DataFrame(single(A), schema=names(A)),
    "polars ints": lambda A: pl.DataFrame(ints(A), schema=names(A)),
    "arrow table": lambda A: pa.table(dict(zip(names(A), A.T))),
    # what follows can never be learned from
    "NaN": lambda A: with_cell(A, np.nan),
    "infinity": lambda A: with_cell(A, np.inf),
    "float16 infinity": lambda A: with_cell(half(A), -np.inf),
    "complex": lambda A: A + 1j,
    "times": times,
    "differences of times": lambda A: ints(A).astype("timedelta64[s]"),
    **{f"objects, one a {name}": lambda A, value=value: cell(A, value) for name, value in TIMES.items()},
    **{
        f"lists, one a {name}": lambda A, value=value: cell(A, value).tolist()
        for name, value in TIMES.items()
    },
    "list of rows of objects, one a timedelta64": lambda A: list(cell(A, TIMES["timedelta64"])),
    "list of arrays of times": lambda A: list(ints(A).astype("timedelta64[s]")),
    "None": lambda A: cell(A, None),
    "pandas.NA": lambda A: cell(A, pd.NA),
    "a word": lambda A: cell(A, "word"),
    "an integer beyond float64": lambda A: cell(A, 10**400),
    "words": lambda A: np.full(A.shape, "a"),
    "lists of words": lambda A: [["a", "b"]] * len(A),
    "masked values": masked,
    "all masked": lambda A: np.ma.masked_all(A.shape),
    "list of masked rows": lambda A: list(masked(A)),
    "lists, one cell masked": lambda A: cell(A, np.ma.masked).tolist(),
    "objects, one masked": lambda A: cell(A, np.ma.masked),
    "structured": lambda A: np.zeros(len(A), [("a", float), ("b", float)]),
    "matrix": lambda A: sp.csr_matrix(A).todense(),
    "sparse matrix": sp.csr_matrix,
    "sparse array": sp.coo_array,
    "0-d": lambda A: np.array(A[0, 0]),
    "1-d": lambda A: A[:, 0],
    "3-d": lambda A: A[None],
    "no rows": lambda A: A[:0],
    "no columns": lambda A: A[:, :0],
    "empty list": lambda A: [],
    "ragged lists": lambda A: [*A.tolist(), [1.0] * (A.shape[1] + 1)],
    "objects of lists": lambda A: cell(A, [1.0, 2.0]),
    "dataclasses": lambda A: [Row(x) for x in A[:, 0]],
    "a dictionary": lambda A: {"a": A[:, 0].tolist()},
    "a generator": iter,
    "nothing": lambda A: None,
    "a text": lambda A: "rows",
    "Series": lambda A: pd.Series(A[:, 0]),
    "pandas Int64 with NA": lambda A: nulled(frame(ints(A), "Int64")),
    "pandas Float64 with NA": lambda A: nulled(frame(A, "Float64")),
    "pandas boolean with NA": lambda A: nulled(frame(np.median(A) < A, "boolean")),
    "pandas arrow with NA": lambda A: nulled(frame(A, pd.ArrowDtype(pa.float64()))),
    "pandas categories of words": lambda A: of_categories(A, ["a", "b"]),
    "pandas times": lambda A: of_times(A, lambda n: pd.date_range("2026", periods=n)),
    "pandas times with a zone": lambda A: of_times(A, lambda n: pd.date_range("2026", periods=n, tz="UTC")),
    "pandas times alone": lambda A: frame(times(A)),
    "pandas periods": lambda A: of_times(A, lambda n: pd.period_range("2026", periods=n)),
    "polars with null": lambda A: pl.DataFrame({"a": [None, *A[1:, 0].tolist()]}, schema={"a": pl.Float64}),
    "pandas objects, one a timedelta64": lambda A: pd.DataFrame(cell(A, TIMES["timedelta64"])),
    "pandas arrow durations": lambda A: of_times(
        A, lambda n: pd.array([HOUR] * n, pd.ArrowDtype(pa.duration("s")))
    ),
    "pandas categories of times": lambda A: of_categories(A, [DAY, DAY + HOUR]),
    "polars dates": lambda A: pl.DataFrame({"a": [DAY.date()] * len(A)}),
    **{
        f"{library}, a column of {name}": lambda A, make=make, value=TIMES[name]: make(beside(A, value))
        for library, make in {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}.items()
        for name in ("datetime", "date", "time", "timedelta")
    },
    "polars words": lambda A: pl.DataFrame({"a": ["b"] * len(A)}),
    "polars lazy": lambda A: pl.DataFrame(A, schema=names(A)).lazy(),
    "sparse tensor": lambda A: torch.tensor(A).to_sparse(),
    "tensor without numbers": lambda A: torch.empty(A.shape, device="meta"),
}
_kinds = list(CONTAINERS)
HOPELESS = _kinds[_kinds.index("NaN") :]
# those of numbers that are refused all the same, and why
REFUSED = {
    "longdouble beyond float64": "infinite in float64",
    "pandas columns of one name": "scikit-learn cannot tell the columns apart",
    "pandas names of two types": "scikit-learn wants names that are all strings",
    "pandas sparse": "sparse; scikit-learn densifies only what has a fill value of 0",
}
# those of a single dtype, and the dtype of the results
SINGLE = {"float32", "big-endian float32", "float32 tensor", "pandas float32"}

SETTINGS = [
    {},
    {},
    {"init": "random"},
    {"scaling": None},
    {"early_stopping": True},
    {"batch_size": 2, "max_iter": 2},
    {"n_components": 1},
    {"n_components": 4},
    {"output_activation": "identity"},
]
MODELS = [*((E, {}) for E in ESTIMATORS), *VARIANTS]


def small(Estimator, **parameters):
    """An estimator that fits in milliseconds."""
    if parameters.get("divergence") == "gan":
        parameters = {"critic_layer_sizes": (4,), **parameters}
    return cheap(Estimator, **{"max_iter": 1, "network": GatedMLP((8,)), **parameters})


# ---------------------------------------------------------------------------
# Strategies
# ---------------------------------------------------------------------------

_elements = st.one_of(
    st.floats(-10.0, 10.0),
    st.integers(-5, 5).map(float),
    st.sampled_from([0.0, 1.0, -1.0, 0.1, 1e-5, 1e5]),
)


@st.composite
def arrays(draw, *widths):
    """Arrays of float64: hypothesis' own numbers, or normal ones, of which all rows differ."""
    shape = draw(st.integers(1, 12)), draw(st.sampled_from(widths))
    if draw(st.booleans()):
        return draw(hnp.arrays(np.float64, shape, elements=_elements))
    return np.random.default_rng(draw(st.integers(0, 1000))).normal(size=shape)


def kinds():
    """A kind of numbers and a kind of container; one of the two is plain more often than not."""
    plain = st.just("as they are"), st.just("array")
    anything = st.sampled_from(list(NUMBERS)), st.sampled_from(list(CONTAINERS))
    return st.one_of(st.tuples(anything[0], plain[1]), st.tuples(plain[0], anything[1]), st.tuples(*anything))


def make(A, numbers, container):
    with np.errstate(all="ignore"):
        return CONTAINERS[container](NUMBERS[numbers](A))


# ---------------------------------------------------------------------------
# What must hold
# ---------------------------------------------------------------------------

# what names the rows, a parameter or an argument, or is scikit-learn's of shapes and names, which say enough
# as they are: that X must be two-dimensional is no answer to them
OF_SHAPES = r"(Found array with|Expected 2D array|The feature names|Feature names are)"
CLEAR = re.compile(
    rf"^(?!X must be a two-dimensional array or a frame of numbers\. {OF_SHAPES})"
    rf"({OF_SHAPES}|(Input )?X(_val)? (must|contains|has) |Sparse data was passed for X|Training diverged: "
    r"|.*The '\w+' (parameter|argument)\b)",
    re.DOTALL,
)
# scikit-learn's own, about names of columns
EXPECTED = re.compile("does not have valid feature names, but|has feature names, but")


def assert_clear(error):
    assert isinstance(error, ValueError | TypeError), repr(error)
    assert CLEAR.search(str(error)), repr(error)


def attempt(call, *arguments, **keywords):
    """Return what the call returns, and its error if that is a clear one; no warning may leak."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        try:
            found, error = call(*arguments, **keywords), None
        except Exception as raised:
            assert_clear(raised)
            found, error = None, raised
    for warning in leaked:
        known = issubclass(warning.category, ConvergenceWarning) or EXPECTED.search(str(warning.message))
        assert known, warning
    return found, error


def snapshot(X):
    """The rows as they are now, to be compared later."""
    if isinstance(X, torch.Tensor):
        return None if X.device.type == "meta" else X.detach().clone().to_dense().double().numpy()
    if isinstance(X, np.ndarray):
        rows = np.array(np.ma.getdata(X))
        return np.array(list(map(repr, rows.flat))) if X.dtype == object else rows
    if isinstance(X, pd.DataFrame | pd.Series):
        return X.copy()
    return None


def assert_unchanged(before, X):
    if before is None:
        return
    if isinstance(before, pd.DataFrame):
        pd.testing.assert_frame_equal(before, X)
    elif isinstance(before, pd.Series):
        pd.testing.assert_series_equal(before, X)
    else:
        np.testing.assert_array_equal(before, snapshot(X))


@functools.cache
def good(model, setting):
    """A fit of sound rows by each model and setting, by their numbers."""
    return estimator(model, setting).fit(GOOD)


def estimator(model, setting):
    Estimator, parameters = MODELS[model]
    return small(Estimator, **{**parameters, **SETTINGS[setting]})


def methods(fitted):
    """The methods of rows but for those that learn."""
    found = {name: getattr(fitted, name) for name in ("transform", "reconstruct", "score_samples", "score")}
    if hasattr(fitted, "sample_posterior"):
        found["sample_posterior"] = functools.partial(fitted.sample_posterior, random_state=0)
    if hasattr(fitted, "log_likelihood"):
        found["log_likelihood"] = functools.partial(
            fitted.log_likelihood, n_importance_samples=2, random_state=0
        )
    return found


def shape_of(name, n, d, k):
    if name in ("transform", "sample_posterior"):
        return n, k
    return {"score": (), "score_samples": (n,), "log_likelihood": (n,)}.get(name, (n, d))


# squares and densities of the training rows themselves may overflow
MAY_OVERFLOW = ("score_samples", "score", "log_likelihood")


def assert_results(fitted, X, dtype, own):
    """Every method of rows keeps its contract, or says what overflows; ``own`` are the training rows."""
    d, k = fitted.n_features_in_, fitted._n_features_out
    results = {}
    for name, call in methods(fitted).items():
        found, error = attempt(call, X)
        if error is not None:
            assert not own or name in MAY_OVERFLOW, f"{name}: {error}"
            continue
        assert np.shape(found) == shape_of(name, len(X), d, k), name
        assert np.isfinite(found).all(), name
        if name != "score":
            assert found.dtype == dtype, name
        np.testing.assert_array_equal(found, attempt(call, X)[0], err_msg=f"{name}, called again")
        results[name] = found
    return results


def assert_rows_are_independent(fitted, A, codes):
    """The code of a row alone, and in another order, is that among the others."""
    spread = codes.std(axis=0, dtype=np.float64)
    order = np.random.default_rng(0).permutation(len(A))
    for rows in (order, order[: len(A) // 2 + 1], order[:1]):
        found, _ = attempt(fitted.transform, A[rows])
        if codes.dtype == np.float32:
            tolerance = 1e-5 * spread + np.finfo(np.float32).tiny
        else:
            tolerance = 1e-9 * (np.abs(codes[rows]) + spread)
        assert (np.abs(found.astype(np.float64) - codes[rows]) <= tolerance).all(), "rows depend on others"


def assert_fit(model, setting, X, dtype):
    """Fit, and see that every contract holds: "kept", or "refused" if there was a clear error."""
    first, before = estimator(model, setting), snapshot(X)
    parameters = dict(vars(first))
    _, error = attempt(first.fit, X)
    assert_unchanged(before, X)
    if error is not None:
        assert vars(first) == parameters, "a failed fit has changed the estimator"
        attempt(first.fit, GOOD)
        assert_equal_fits(first, good(model, setting))
        return "refused"
    A = check_array(array_of(X), dtype=[np.float64, np.float32])
    A = np.ascontiguousarray(A, dtype)
    second = clone(first)
    attempt(second.fit, X)
    assert_equal_fits(first, second)
    results = assert_results(first, X, dtype, own=True)
    codes = results["transform"]
    np.testing.assert_array_equal(codes, attempt(second.transform, A)[0])
    assert_rows_are_independent(first, A, codes)
    decoded, _ = attempt(first.inverse_transform, codes)
    assert decoded.shape == A.shape
    assert decoded.dtype == dtype
    assert np.isfinite(decoded).all()
    for prior in ("model", "gmm"):
        drawn = [attempt(e.sample, 3, prior=prior, random_state=0)[0] for e in (first, second)]
        assert drawn[0].shape == (3, A.shape[1])
        assert np.isfinite(drawn[0]).all()
        np.testing.assert_array_equal(*drawn)
    epochs = first.n_iter_
    _, error = attempt(first.partial_fit, X)
    if error is not None:
        assert first.n_iter_ == epochs
        assert_equal_fits(first, second)
    assert_unchanged(before, X)
    return "kept"


def array_of(X):
    """A tensor's numbers as an array, which scikit-learn makes of few tensors; others as they are."""
    return X.detach().double().numpy() if isinstance(X, torch.Tensor) else X


def rows_of(X):
    """The rows as scikit-learn reads them; None if it refuses them."""
    try:
        with np.errstate(all="ignore"):
            return check_array(array_of(X), dtype=[np.float64, np.float32])
    except ValueError:
        return None


def assert_fit_as_it_should(found, model, setting, A, kind):
    """Only what there is a reason to refuse is refused, and all that there is no hope for."""
    if kind[1] in HOPELESS:
        assert found == "refused"
        return
    if found == "kept" or kind[1] in REFUSED:
        return
    rows, fresh = rows_of(make(A, *kind)), estimator(model, setting)
    with np.errstate(all="ignore"):
        assert (
            rows is None  # infinite in a type of fewer bits
            or len(rows) < (3 if fresh.early_stopping is True else 2)
            or not np.isfinite(np.ptp(rows.astype(np.float64), axis=0)).all()  # differences overflow
            or (fresh._needs_unit_interval() and (rows.min() < 0 or rows.max() > 1))
            # squares may overflow, and training may diverge
            or (fresh.scaling is None and np.abs(rows).max() > 1e6)
        ), "refused for no reason"


def assert_use_as_it_should(found, model, setting, A, kind):
    """As above, of rows that are given to a fitted model."""
    if kind[1] in HOPELESS:
        assert found == "refused"
        return
    if found == "kept" or kind[1] in REFUSED:
        return
    rows, fitted = rows_of(make(A, *kind)), good(model, setting)
    assert (
        rows is None
        or rows.shape[1] not in (fitted.n_features_in_, fitted._n_features_out)
        or np.abs(rows).max() > 1e6  # codes of so far a row may overflow
    ), "refused for no reason"


def assert_use(model, setting, X, n_rows, n_features, dtype):
    """Give the rows to every method of a sound fit: "kept" if one took them, else "refused"."""
    fitted = good(model, setting)
    before, own, taken = states(fitted), dict(vars(fitted)), False
    calls = methods(fitted)
    calls["inverse_transform"] = fitted.inverse_transform
    for name, call in calls.items():
        found, error = attempt(call, X)
        if error is None:
            taken = True
            d = n_features if name != "inverse_transform" else fitted.n_features_in_
            assert np.shape(found) == shape_of(name, n_rows, d, fitted._n_features_out), name
            assert np.isfinite(found).all(), name
            assert name == "score" or found.dtype == dtype, name
    assert vars(fitted) == own
    assert all(torch.equal(value, before[name]) for name, value in states(fitted).items())
    learner = clone(fitted).set_params(early_stopping=True, warm_start=True)
    parameters = dict(vars(learner))
    _, error = attempt(learner.fit, GOOD, X_val=X)
    if error is not None:
        assert vars(learner) == parameters
        attempt(learner.fit, GOOD)
    epochs, weights = learner.n_iter_, states(learner)
    _, error = attempt(learner.partial_fit, X)
    if error is not None:
        assert learner.n_iter_ == epochs
        assert all(torch.equal(value, weights[name]) for name, value in states(learner).items())
    return "kept" if taken else "refused"
