"""Results that are written to an array of the caller's."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skswae.data import ArrayData, LocalRows, SlicedRows

from .data.stores import Store
from .estimators import swae
from .test_data_sources import Waves


class Written(Store):
    """One that is written to by slices."""

    def __setitem__(self, rows, values):
        self.most_read = max(self.most_read, *np.shape(values)[:1], 0)
        self._X[rows] = values


@pytest.fixture(scope="module")
def model():
    return swae(max_iter=1).fit(Waves(60))


@pytest.mark.parametrize("method", ["transform", "reconstruct", "inverse_transform"])
@pytest.mark.parametrize("n_rows", [1, 1100])
def test_results_are_written_where_they_are_to_be(method, n_rows, model, tmp_path):
    source = Waves(n_rows)
    X = source.read(slice(None))
    if method == "inverse_transform":
        X = source = model.transform(X)
    expected = getattr(model, method)(X)
    outs = [
        np.empty_like(expected),
        np.empty_like(expected, order="F"),
        np.empty((n_rows, 9), np.float32)[:, : expected.shape[1]],
        np.lib.format.open_memmap(tmp_path / "Z.npy", "w+", np.float32, expected.shape),
        Written(np.zeros_like(expected)),
    ]
    for out in outs:
        for rows in (X, source, torch.tensor(X)):
            out[:] = 0
            assert getattr(model, method)(rows, out=out) is out
            np.testing.assert_array_equal(out[:], expected, strict=True)
    outs[-1].most_read = 0
    getattr(model, method)(X, out=outs[-1])
    assert outs[-1].most_read == min(n_rows, 512)
    wider = getattr(model, method)(X.astype(float), out=np.empty(expected.shape))
    np.testing.assert_allclose(wider, expected, rtol=1e-3, atol=1e-4)


READ_ONLY = np.empty((60, 2), np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [(np.empty((60, 2)), ValueError, r"shape \(60, 2\) and float32.* Got \(60, 2\) and float64"),
     (np.empty((60, 2), ">f4"), ValueError, "Got .* and >f4"),
     (np.empty((59, 2), "f4"), ValueError, r"Got \(59, 2\) and float32"),
     (np.empty(120, "f4"), ValueError, r"Got \(120,\) and float32"),
     (READ_ONLY, ValueError, "'out' argument must be an array that can be written to. Got a read-only one"),
     (torch.empty(60, 2), TypeError, "'out' argument must be an array, a memory-mapped one.* Got Tensor"),
     (pd.DataFrame(np.empty((60, 2), "f4")), TypeError, "Got DataFrame"),
     ([[0.0, 0.0]] * 60, TypeError, "Got list"), ("Z.npy", TypeError, "Got str")],
)  # fmt: skip
def test_what_cannot_be_written_to(out, error, message, model):
    with pytest.raises(error, match=message):
        model.transform(Waves(60), out=out)


def test_a_file_is_not_overwritten_by_another_map_of_it(model, tmp_path):
    X = Waves(60).read(slice(None))
    np.save(tmp_path / "X.npy", X)
    rows, again = (np.load(tmp_path / "X.npy", mmap_mode=mode) for mode in ("r", "r+"))
    for given in (rows, again, LocalRows(rows)):
        with pytest.raises(ValueError, match=r"must have memory of its own. Got that of X"):
            model.transform(given, out=again[:, :2])
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)
    other = np.lib.format.open_memmap(tmp_path / "Z.npy", "w+", X.dtype, (len(X), 2))
    np.testing.assert_array_equal(model.transform(rows, out=other), model.transform(X))


def test_rows_are_not_overwritten(model):
    X = Waves(60).read(slice(None))
    for rows in (X, LocalRows(X), SlicedRows(X), LocalRows(SlicedRows(X)), ArrayData(X)):
        for out in (X[:, 1:3], X[::-1, :2]):
            with pytest.raises(ValueError, match=r"must have memory of its own. Got that of X"):
                model.transform(rows, out=out)
    store = Written(X)
    for rows in (SlicedRows(store), LocalRows(SlicedRows(store))):
        with pytest.raises(ValueError, match=r"must have memory of its own. Got that of X"):
            model.reconstruct(rows, out=store)
    np.testing.assert_array_equal(X, Waves(60).read(slice(None)))


def test_columns_beside_the_rows_are_memory_of_their_own(model):
    both = np.hstack([Waves(60).read(slice(None)), np.empty((60, 2), np.float32)])
    expected = model.transform(both[:, :5].copy())
    np.testing.assert_array_equal(model.transform(both[:, :5], out=both[:, 5:]), expected)


def test_frames_have_memory_of_their_own():
    model, out = swae(max_iter=1).fit(Waves(60)), np.empty((60, 2), np.float32)
    message = (
        r"'out' argument must be None unless transform returns arrays, as set_output\(transform='default'"
    )
    with pytest.raises(ValueError, match=message):
        model.set_output(transform="pandas").transform(Waves(60), out=out)
    model.reconstruct(Waves(60), out=np.empty((60, 5), np.float32))  # which returns arrays
    with sklearn.config_context(transform_output="polars"), pytest.raises(ValueError, match=message):
        swae(max_iter=1).fit(Waves(60)).transform(Waves(60), out=out)


def test_the_last_step_of_a_pipeline_writes(iris):
    with sklearn.config_context(enable_metadata_routing=True):
        step = swae(max_iter=1).set_transform_request(out=True)
        pipe = make_pipeline(StandardScaler(), step).fit(iris)
        out = np.empty((150, 2))
        assert pipe.transform(iris, out=out) is out
        np.testing.assert_array_equal(out, pipe.transform(iris))
