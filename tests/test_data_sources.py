"""Rows that are kept in a user's own way: one class, and every method takes it as it takes an array."""

import dataclasses

import numpy as np
import pytest

from skswae.base import DataSource
from skswae.data import LocalRows
from skswae.data._local import has_own_rows

from .estimators import assert_equal_fits, swae, two_levels


class Waves(DataSource):
    """Computes its rows when they are read."""

    def __init__(self, n_rows, n_features=5, nan_at=None):
        self.shape, self.dtype = (n_rows, n_features), np.dtype(np.float32)
        self.nan_at, self.most_read = nan_at, 0

    def read(self, index):
        number = np.arange(self.shape[0])[index]
        self.most_read = max(self.most_read, len(number))
        rows = np.sin(number[:, None] * np.arange(1, self.shape[1] + 1)) + number[:, None] % 7
        rows[number == self.nan_at] = np.nan
        return rows.astype(self.dtype)


@pytest.mark.parametrize("make", [swae, pytest.param(two_levels, marks=pytest.mark.slow)])
def test_a_source_is_as_good_as_an_array(make):
    source, other = Waves(600), Waves(100)
    X, Y = source.read(slice(None)), other.read(slice(None))
    assert_equal_fits(make(early_stopping=True).fit(source), make(early_stopping=True).fit(X))
    a, b = make(early_stopping=True).fit(source, X_val=other), make(early_stopping=True).fit(X, X_val=Y)
    assert_equal_fits(a, b)
    assert_equal_fits(a.partial_fit(other), b.partial_fit(Y))
    for method in ("transform", "reconstruct", "score_samples", "score"):
        np.testing.assert_array_equal(getattr(a, method)(source), getattr(b, method)(X))
    assert_equal_fits(make().partial_fit(source), make().partial_fit(X))


class Halves(Waves):
    """Has its own parts, batches and held-out rows."""

    def order(self, seed):
        return np.arange(len(self))

    def n_batches(self, batch_size):
        return 4

    def shuffled(self, batch_size, seed):
        yield from self.read_parts(np.array_split(np.arange(len(self))[::-1], 4))

    def chunks(self, n_rows=None):
        yield from self.read_parts([slice(0, 300), slice(300, 600)])

    def split(self, fraction, seed):
        return Waves(400), Waves(200)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_of_one_process_are_those_of_their_source(early_stopping):
    parameters = {"early_stopping": early_stopping, "max_iter": 2}
    rows = LocalRows(Halves(600))
    assert_equal_fits(swae(**parameters).fit(rows), swae(**parameters).fit(Halves(600)))
    assert [len(chunk) for chunk in rows.chunks()] == [300, 300]
    train, held_out = rows.split(0.1, 0)
    assert (len(train), len(held_out)) == (400, 200)
    assert has_own_rows(train)
    assert has_own_rows(held_out)


def test_a_source_is_read_part_by_part():
    source = Waves(11_000)
    swae(max_iter=1, batch_size=500, n_pseudo_inputs=10).fit(source).transform(source)
    assert source.most_read <= 10_000  # what PCA looks at


class Masked(Waves):
    """Hides its last feature in one row."""

    def __init__(self, n_rows, row):
        super().__init__(n_rows)
        self.row = row

    def read(self, index):
        rows = np.ma.masked_array(super().read(index), mask=False)
        rows[np.arange(self.shape[0])[index] == self.row, -1] = np.ma.masked
        return rows


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_bad_sources(method):
    estimator = swae(max_iter=1, warm_start=True).fit(Waves(60))
    for source, message in [
        (Waves(9000, nan_at=8200), "must hold finite numbers. Got NaN in row 8200"),
        (Waves(9, n_features=0), "Waves.shape must be a tuple of two positive integers"),
        (Masked(60, row=0), "Masked.read must return arrays without masked values"),
        (Masked(9000, row=8200), "Masked.read must return arrays without masked values"),
        (Waves(60, n_features=4), "X has 4 features, but SWAETransformer is expecting 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            getattr(estimator, method)(source)
    with pytest.raises(ValueError, match=r"at least 2 rows. Got 1"):
        swae().fit(Waves(1))


@pytest.mark.parametrize("part", [np.zeros((0, 5)), np.zeros((9, 4)), np.zeros(5)])
def test_chunks_without_rows_or_of_another_width(part):
    class Parts(Waves):
        def chunks(self, n_rows=None):
            yield from (self.read(slice(0, 60)), part)

    with pytest.raises(ValueError, match=r"'chunks' method of a Parts must .* Got one of .* after 60 rows"):
        swae().fit(Parts(60))


@dataclasses.dataclass(frozen=True)
class Frozen(DataSource):
    X: np.ndarray

    @property
    def shape(self):
        return self.X.shape

    @property
    def dtype(self):
        return self.X.dtype

    def read(self, index):
        return self.X[index]


def test_attributes_of_a_source_need_not_be_set(iris):
    model = swae(max_iter=1).fit(Frozen(iris))
    assert_equal_fits(model, swae(max_iter=1).fit(iris))
    np.testing.assert_array_equal(model.transform(Frozen(iris)), model.transform(iris))
