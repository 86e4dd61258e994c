"""What ``fit`` accepts every method accepts, with the results of the same numbers in a fresh array."""

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_iris

from skswae import SWAETransformer, metrics
from skswae.base import DataSource

from .estimators import ESTIMATORS, assert_equal_fits, cheap

DTYPES = ["float64", "float32", "float16", "longdouble", "uint8", "int64", "bool", "object", ">f8", ">f4"]
KEPT = ["float64", "uint8", ">f4"]  # one for each way that rows are kept

ROWS = np.floor(load_iris().data[::3, ::-1])  # 0 to 7, some columns of few values


def fresh(A):
    """The same numbers in a new array, C-contiguous and in the machine's byte order."""
    return np.array(A, dtype=np.asarray(A).dtype.newbyteorder("="), order="C")


def misaligned(A):
    buffer = np.zeros(A.nbytes + 1, np.uint8)
    view = np.frombuffer(buffer.data, A.dtype, A.size, 1) if A.dtype != object else A.ravel()
    view = view.reshape(A.shape)
    view[:] = A
    return view


def field_of_records(A):
    """Rows whose stride is no multiple of an item's size."""
    records = np.zeros(len(A), [("flag", "i1"), ("row", A.dtype, A.shape[1:])])
    records["row"] = A
    return records["row"]


def every_other(A):
    wide = np.zeros((2 * A.shape[0], 2 * A.shape[1]), A.dtype)
    wide[::2, ::2] = A
    return wide[::2, ::2]


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def on_disk(A, folder, order):
    if A.dtype == object:
        return A
    path = folder / str(len(list(folder.iterdir())))
    mapped = np.memmap(path, A.dtype, "w+", shape=A.shape, order=order)
    mapped[:] = A
    mapped.flush()
    return np.memmap(path, A.dtype, "r", shape=A.shape, order=order)


LAYOUTS = {
    "fortran": lambda A, _: np.asfortranarray(A),
    "reversed": lambda A, _: A[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda A, _: every_other(A),
    "one row over and over": lambda A, _: np.broadcast_to(A[1], A.shape),
    "one column over and over": lambda A, _: np.broadcast_to(A[:, :1], A.shape),
    "one column of records": lambda A, _: field_of_records(A)[:, :1],
    "records": lambda A, _: field_of_records(A),
    "misaligned": lambda A, _: misaligned(A),
    "read-only": lambda A, _: read_only(A),
    "subclass": lambda A, _: A.view(type("Rows", (np.ndarray,), {})),
    "mapped": lambda A, folder: on_disk(A, folder, "C"),
    "mapped columns": lambda A, folder: on_disk(A, folder, "F"),
}


# ---------------------------------------------------------------------------
# Estimators
# ---------------------------------------------------------------------------


def calls(estimator, Z):
    """The methods of rows or codes but for those that learn, by name: functions of rows."""
    seeded = {
        "sample_posterior": {"random_state": 0},
        "log_likelihood": {"n_importance_samples": 2, "random_state": 0},
    }
    found = {}
    for name, method in inspect.getmembers(estimator, inspect.ismethod):
        if name.startswith("_") or next(iter(inspect.signature(method).parameters), "") != "X":
            continue
        if name not in ("fit", "partial_fit", "fit_transform"):
            found[name] = lambda X, method=method, name=name: method(X, **seeded.get(name, {}))
    assert {"transform", "inverse_transform", "reconstruct", "score", "score_samples"} <= set(found)
    return found


# what reads rows is one code for all of them: the fast tests try it on one
FAST_OR_SLOW = [
    pytest.param(E, marks=[pytest.mark.slow] * (E is not SWAETransformer), id=E.__name__) for E in ESTIMATORS
]


@pytest.fixture(scope="module", params=FAST_OR_SLOW)
def fitted(request):
    """Models of rows of 4 columns and of 1."""
    return {n: cheap(request.param, max_iter=1).fit(ROWS[:, :n]) for n in (1, 4)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_methods_take_every_layout_and_type(layout, fitted, tmp_path):
    for dtype in DTYPES:
        X = LAYOUTS[layout](ROWS.astype(dtype), tmp_path)
        codes = LAYOUTS[layout](ROWS[:, :2].astype(dtype), tmp_path)
        if codes.shape[1] == 1:
            codes = np.hstack([codes, codes])
        for name, call in calls(fitted[X.shape[1]], codes).items():
            rows = codes if name == "inverse_transform" else X
            found, expected = call(rows), call(fresh(rows))
            np.testing.assert_array_equal(found, expected, strict=True, err_msg=f"{name} of {dtype}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("Estimator", FAST_OR_SLOW)
def test_fits_take_every_layout(Estimator, layout, tmp_path):
    X = LAYOUTS[layout](ROWS.astype(">f4"), tmp_path)
    stopped = {"early_stopping": True, "max_iter": 1}
    first, other = (cheap(Estimator, **stopped).fit(A, X_val=A) for A in (X, fresh(X)))
    assert_equal_fits(first, other)
    assert_equal_fits(first.partial_fit(X), other.partial_fit(fresh(X)))


class Given(DataSource):
    """Rows in whatever layout they are read."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def read(self, index):
        return np.asfortranarray(self.X[index])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_source_may_read_any_layout(dtype, fitted):
    X = ROWS.astype(dtype)
    for estimator in fitted.values():
        rows = X[:, : estimator.n_features_in_]
        for name, call in calls(estimator, rows).items():
            if name != "inverse_transform":
                np.testing.assert_array_equal(call(Given(rows)), call(fresh(rows)), strict=True)
        Estimator = type(estimator)
        fits = [cheap(Estimator, max_iter=1).fit(A) for A in (Given(rows), fresh(rows))]
        assert_equal_fits(*fits)


NAMES = list("abcd")
# with the type that scikit-learn makes of them: float64 where a frame has no dtypes of NumPy's
FRAMES = {
    "pandas float64": (lambda: pd.DataFrame(ROWS, columns=NAMES), "float64"),
    "pandas float32": (lambda: pd.DataFrame(ROWS, columns=NAMES, dtype="float32"), "float32"),
    "pandas Float32": (lambda: pd.DataFrame(ROWS, columns=NAMES).astype("Float32"), "float64"),
    "pandas Int64": (lambda: pd.DataFrame(ROWS, columns=NAMES).astype("Int64"), "float64"),
    "pandas mixed": (
        lambda: pd.DataFrame(ROWS, columns=NAMES).astype({"a": "float32", "b": "int8", "c": "Int16"}),
        "float64",
    ),
    "polars float64": (lambda: pl.DataFrame(ROWS, schema=NAMES), "float64"),
    "polars float32": (lambda: pl.DataFrame(ROWS.astype("float32"), schema=NAMES), "float64"),
    "polars mixed": (
        lambda: pl.DataFrame(ROWS, schema={"a": pl.Float32, "b": pl.Int8, "c": pl.Float64, "d": pl.UInt16}),
        "float64",
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("Estimator", FAST_OR_SLOW)
def test_frames(Estimator, kind):
    make, dtype = FRAMES[kind]
    frame = make()
    X = np.array(frame).astype(dtype, order="C")
    named, plain = (
        cheap(Estimator, early_stopping=True, max_iter=1).fit(A, X_val=A[:20]) for A in (frame, X)
    )
    assert_equal_fits(named, plain)
    assert list(named.feature_names_in_) == NAMES
    of_frame = calls(named, X)
    for name, call in calls(plain, X).items():
        wide = name == "inverse_transform"
        rows, same = (frame[["a", "d"]], X[:, [0, 3]]) if wide else (frame, X)
        np.testing.assert_array_equal(of_frame[name](rows), call(same), strict=True, err_msg=name)
    assert_equal_fits(named.partial_fit(frame), plain.partial_fit(X))


# ---------------------------------------------------------------------------
# Measures
# ---------------------------------------------------------------------------

Y = (np.arange(len(ROWS)) % 3).astype("int64")


def measures(model, features):
    """Every function of arrays, as a function of rows and classes."""
    seeded = {"random_state": 0}
    return {
        "category_distance": lambda A, y: metrics.category_distance(y[::2], y[1::2]),
        "category_distance of columns": lambda A, y: metrics.category_distance(A[::2], A[1::2]),
        "denoising_error": lambda A, y: metrics.denoising_error(model, A, **seeded),
        "duplicate_rate": lambda A, y: metrics.duplicate_rate(A[::3], A[1::2], A[::2]),
        "frechet_distance": lambda A, y: metrics.frechet_distance(A[::2], A[1::2]),
        "frechet_distance of features": lambda A, y: metrics.frechet_distance(
            A[::2], A[1::2], features=features
        ),
        "knn_accuracy": lambda A, y: metrics.knn_accuracy(A[::2], y[::2], A[1::2], y[1::2]),
        "nearest_row_ratio": lambda A, y: metrics.nearest_row_ratio(A[::3], A[:12], A[12:]),
        "neighborhood_agreement": lambda A, y: metrics.neighborhood_agreement(A, A[::-1]),
        "column_similarity": lambda A, y: list(metrics.column_similarity(A[::2], A[1::2]).values()),
        "pair_similarity": lambda A, y: list(metrics.pair_similarity(A[::2], A[1::2]).values()),
        "nearest_record_ratio": lambda A, y: metrics.nearest_record_ratio(A[::3], A[:12], A[12:]),
        "exact_copy_rate": lambda A, y: metrics.exact_copy_rate(A[::3], A[1::2]),
        "precision_recall": lambda A, y: metrics.precision_recall(A[::2], A[1::2], **seeded),
        "rank_agreement": lambda A, y: metrics.rank_agreement(A, A[::-1]),
        "reconstruction_error": lambda A, y: metrics.reconstruction_error(A, A[::-1]),
        "knn_scorer": lambda A, y: metrics.knn_scorer(model, A, y),
        "frechet_scorer": lambda A, y: metrics.frechet_scorer(model, A, y),
        "trustworthiness_scorer": lambda A, y: metrics.trustworthiness_scorer(model, A, y),
        "ClassifierFeatures.transform": lambda A, y: features.transform(A),
        "ClassifierFeatures.fit": lambda A, y: (
            metrics.ClassifierFeatures(3, max_iter=1).fit(A, y).transform(A)
        ),
    }


def result(call, *arguments):
    """What comes back, or the text of the error."""
    try:
        return np.asarray(call(*arguments))
    except ValueError as error:
        return str(error)


@pytest.fixture(scope="module")
def judged():
    """A model and features of rows of 4 columns, and of 1."""
    few = {n: ROWS[::2, :n] for n in (1, 4)}
    return {
        n: (cheap(ESTIMATORS[0], max_iter=1).fit(X), metrics.ClassifierFeatures(3, max_iter=1).fit(X, Y[::2]))
        for n, X in few.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_measures_take_every_layout_and_type(layout, judged, tmp_path):
    for dtype in (*KEPT, "longdouble", "object"):
        A = LAYOUTS[layout](ROWS[::2].astype(dtype), tmp_path)
        y = LAYOUTS[layout](Y[::2, None].repeat(4, axis=1), tmp_path)[:, 0]
        for name, call in measures(*judged[A.shape[1]]).items():
            found, expected = result(call, A, y), result(call, fresh(A), fresh(y))
            np.testing.assert_array_equal(found, expected, strict=True, err_msg=f"{name} of {dtype}")


@pytest.mark.parametrize(
    "kind", ["pandas float32", "pandas Int64", "pandas mixed", "polars float32", "polars mixed"]
)
def test_measures_take_frames(kind):
    make, dtype = FRAMES[kind]
    frame = make()
    X = np.array(frame).astype(dtype, order="C")
    judges = []
    for A in (frame, X):
        judge = cheap(ESTIMATORS[0], max_iter=1).fit(A), metrics.ClassifierFeatures(3, max_iter=1).fit(A, Y)
        judges.append(measures(*judge))
    for name, call in judges[0].items():
        found, expected = result(call, frame, Y), result(judges[1][name], X, Y)
        np.testing.assert_array_equal(found, expected, strict=True, err_msg=name)


def test_no_measure_is_left_out():
    covered = {name.split(" ")[0].split(".")[0] for name in measures(None, None)}
    others = {
        "InceptionFeatures",
        "frechet_inception_distance",
        "trustworthiness",
        "detection_auc",
        "train_on_synthetic",
    }  # of pixels; scikit-learn's; of tables, with a classifier, see metrics/test_tables.py
    makers = {name for name in metrics.__all__ if name.startswith("make_")}
    assert covered == set(metrics.__all__) - others - makers
