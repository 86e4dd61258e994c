"""Rows of iterables of batches, which are passed over again and again."""

import gc

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from skswae.data import ArrayData, BatchRows, LocalRows
from skswae.data._checks import check_finite_chunks, check_source
from skswae.data._loader import Loader
from tests.estimators import assert_equal_fits, swae


class Batches:
    """An iterable that counts its passes, and the batches that it has made."""

    def __init__(self, X, size, make=np.copy):
        self.X, self.size, self.make = X, size, make
        self.n_passes = self.n_batches = 0

    def __iter__(self):
        self.n_passes += 1
        for start in range(0, len(self.X), self.size):
            self.n_batches += 1
            yield self.make(self.X[start : start + self.size])


class AsTheyCome(ArrayData):
    """Rows in memory, which an epoch takes in their order."""

    def order(self, seed):
        return np.arange(len(self))


MAKE = {
    "arrays": np.copy,
    "images and classes": lambda x: [torch.tensor(x.reshape(len(x), 1, 2, -1)), torch.zeros(len(x))],
    "frames": lambda x: pd.DataFrame(x, columns=list("abcd")),
}


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("size", [7, 150, 1000])
def test_rows_are_those_of_the_batches(make, size, iris):
    source = BatchRows(Batches(iris, size, MAKE[make]), len(iris))
    check_source(source)
    check_finite_chunks(source)
    for index in (slice(None), slice(3, 9), slice(140, 150), slice(9, 3), slice(1, 40, 6),
                  np.array([149, 0, 7, 7, 6]), np.array([], int)):  # fmt: skip
        np.testing.assert_array_equal(source.read(index), iris[index], strict=True)
    batches = list(source.shuffled(16, seed=0))
    assert {len(batch) for batch in batches} == {16, 17}
    np.testing.assert_array_equal(np.concatenate(batches), iris)


@pytest.mark.parametrize(
    ("held", "asked", "dtype"),
    [("f4", None, "f4"), ("i8", None, "f8"), ("u1", None, "u1"), ("f8", "float32", "f4")],
)
def test_type_of_the_rows(held, asked, dtype):
    X = np.arange(6).reshape(3, 2).astype(held)
    rows = BatchRows([torch.tensor(X[:2]), X[2:]], 3, dtype=asked).read(np.array([2, 0]))
    np.testing.assert_array_equal(rows, X[[2, 0]].astype(dtype), strict=True)


def test_a_fit_is_that_of_the_same_rows_in_their_order(iris):
    """One pass for each epoch, and as few for all else as can be; a pass takes one batch at a time."""
    batches = Batches(iris, 40)
    fit = {"max_iter": 5, "early_stopping": True, "n_iter_no_change": 10}
    expected = swae(**fit).fit(AsTheyCome(iris), X_val=iris[:30])
    found = swae(**fit).fit(BatchRows(batches, 150), X_val=BatchRows(lambda: [iris[:30]], 30))
    assert_equal_fits(found, expected)
    assert batches.n_passes <= 5 + 10
    assert_equal_fits(found.partial_fit(BatchRows(batches, 150)), expected.partial_fit(AsTheyCome(iris)))


def test_batches_are_made_when_they_are_needed(iris):
    batches = Batches(iris, 10)
    source = BatchRows(batches, 150)
    epoch = Loader(source, torch.device("cpu")).shuffled(15, 0)
    assert [batches.n_batches, *(batches.n_batches - 1 for _ in zip(range(3), epoch))] == [1, 2, 3, 5]


def test_a_loader_that_shuffles(digits):
    """Its rows come in another order each time, and are learned as well."""
    X = digits[0].astype(np.float32)
    shuffled = torch.Generator().manual_seed(0)
    loader = DataLoader(TensorDataset(torch.tensor(X)), 32, shuffle=True, generator=shuffled)
    scores = [swae(max_iter=20).fit(rows).score(X) for rows in (BatchRows(loader, 300), X)]
    assert scores[0] == pytest.approx(scores[1], rel=0.1)
    model = swae(max_iter=1).fit(X)
    for method in ("transform", "inverse_transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(TypeError, match=r"rows in an order of their own. Got BatchRows"):
            getattr(model, method)(BatchRows(loader, 300))


def once(X):
    batches = iter([X])
    return lambda: batches


NAN = np.full((5, 4), np.nan)


@pytest.mark.parametrize(
    ("batches", "n_samples", "message"),
    [(lambda X: iter([X]), 150, "'batches' argument must be an iterable that can be begun anew"),
     (lambda X: 3, 150, "'batches' argument must be an iterable of batches, or a function .* Got int"),
     (lambda X: [X], 0, "'n_samples' argument must be an integer of at least 1. Got 0"),
     (lambda X: [X], 150.0, "'n_samples' argument must be an integer of at least 1. Got 150.0"),
     (lambda X: [], 150, "'batches' argument must give batches with rows and columns. Got none"),
     (lambda X: [X[0]], 150, r"must give arrays of rows, .* Got ndarray of shape \(4,\)"),
     (lambda X: [{"x": X}], 150, r"must give arrays of rows, .* Got dict of shape \(\)"),
     (lambda X: [X.astype(str)], 150, "'batches' argument must hold real numbers. Got <U32"),
     (lambda X: [X], 151, "must give n_samples=151 rows in each pass. Got 150"),
     (lambda X: [X], 149, "must give n_samples=149 rows in each pass. Got at least 150"),
     (lambda X: [X, X], 150, "must give n_samples=150 rows in each pass. Got at least 300"),
     (once, 150, "Got 0: the number is another, or the iterable cannot be begun anew"),
     (lambda X: [X, X[:, :3]], 300, "4 columns that become float64, .* Got 3 of float64 in rows 150 to 299"),
     (lambda X: [X, X.astype("f4")], 300, "Got 4 of float32 in rows 150 to 299"),
     (lambda X: [X, NAN], 155, "must give finite numbers. Got NaN in rows 150 to 154"),
     (lambda X: [X, -1 / (NAN * 0 == 0)], 155, "must give finite numbers. Got infinity in rows 150 to 154"),
     (lambda X: [pd.DataFrame(X), pd.DataFrame(X)[[1, 0, 2, 3]]], 300, r"same columns. Got \[1, 0, 2, 3\]")],
)  # fmt: skip
def test_bad_batches(batches, n_samples, message, iris):
    with (
        pytest.raises(ValueError if "real" not in message else TypeError, match=message),
        np.errstate(all="ignore"),
    ):
        swae().fit(BatchRows(batches(iris), n_samples))


def test_what_needs_rows_that_stay_where_they_are(iris):
    source = BatchRows([iris], 150)
    for rows in (source, LocalRows(source)):
        with pytest.raises(ValueError, match=r"'X_val' argument must hold the rows .* pass X_val, or early"):
            swae(early_stopping=True).fit(rows)
    with pytest.raises(TypeError, match=r"rows in an order of their own. Got BatchRows"):
        swae(max_iter=10**9).fit_transform(source)  # at once
    with pytest.raises(ValueError, match="'target_weight' parameter must be 0 with BatchRows"):
        swae(neighbor_weight=0.1, target_weight=0.5).fit(source, np.arange(150) % 3)


def test_a_checkpoint_knows_the_rows_and_their_order(iris, tmp_path):
    fit = {"checkpoint": tmp_path / "state", "keep_checkpoint": True}
    first = swae(max_iter=2).fit(BatchRows([iris], 150), **fit)
    assert_equal_fits(swae(max_iter=2).fit(BatchRows(lambda: [iris[:40], iris[40:]], 150), **fit), first)
    with pytest.raises(ValueError, match="of another fit: X"):
        swae(max_iter=2).fit(BatchRows([iris[::-1]], 150), **fit)


def test_an_error_of_the_iterable_begins_the_next_pass_anew(iris):
    fails = [True]

    def batches():
        yield iris[:100]
        if fails:
            raise OSError("the share is gone")
        yield iris[100:]

    source = BatchRows(batches, 150)
    with pytest.raises(OSError, match="the share is gone"):
        swae(max_iter=1).fit(source)
    fails.clear()
    assert_equal_fits(swae(max_iter=1).fit(source), swae(max_iter=1).fit(AsTheyCome(iris)))


def test_an_error_of_the_training_ends_the_pass(iris):
    """The workers of a DataLoader would live on with it; a pass that has begun since is another's."""
    ended = []

    def batches():
        try:
            yield from (iris[:100], iris[100:])
        finally:
            ended.append(True)

    def failing(x, generator):
        ended.clear()  # those of the passes before
        raise ZeroDivisionError

    source = BatchRows(batches, 150)
    with pytest.raises(ZeroDivisionError):
        swae(augment=failing, batch_size=30).fit(source)
    gc.collect()
    assert ended == [True]
    first, second = source.chunks(50), source.chunks(50)
    next(first), next(second)
    ended.clear()
    first.close()
    np.testing.assert_array_equal(np.concatenate(list(second)), iris[50:])
    assert ended == [True]  # as there is one pass


@pytest.mark.gpu
def test_a_gpu_takes_them_as_they_come(iris):
    """It keeps none of them: the next pass may have another order."""
    loader = Loader(BatchRows([iris[:70], iris[70:]], 150), torch.device("cuda", 0))
    assert loader._resident is None
    for _ in range(2):
        np.testing.assert_array_equal(torch.cat(list(loader.shuffled(32, 0))).cpu(), iris)
