"""Sources of rows, and parts of them."""

import numpy as np
import pytest
import torch

from skswae.data import ArrayData, DataSource
from skswae.data._checks import check_finite_chunks, check_source
from skswae.data._loader import Loader
from skswae.data._scaler import Scaler


def numbered(n=25, dtype=np.float64):
    """Rows that tell their number: the first column."""
    return np.ascontiguousarray(np.arange(n * 3).reshape(3, n).T, dtype=dtype)


class Squares(DataSource):
    """A user's own source: rows that are computed when they are read."""

    def __init__(self, n):
        self.shape = n, 2
        self.dtype = np.dtype(np.float32)

    def read(self, index):
        number = np.arange(self.shape[0], dtype=np.float32)[index]
        return np.column_stack([number, number**2])


def test_a_source_of_one_s_own_does_what_an_array_does():
    own = Squares(50)
    check_finite_chunks(own)
    array = ArrayData(own.read(slice(None)))
    assert (len(own), own.n_features, own.nbytes) == (50, 2, 400)
    for a, b in zip((own, *own.split(0.3, 1)), (array, *array.split(0.3, 1))):
        check_source(a)
        for x, y in zip((*a.chunks(8), *a.shuffled(8, 3)), (*b.chunks(8), *b.shuffled(8, 3)), strict=True):
            np.testing.assert_array_equal(x, y, strict=True)
        assert torch.equal(Scaler(2).fit(a).location, Scaler(2).fit(b).location)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("mode", [None, "r"])
def test_rows_are_read_as_they_came(dtype, mode, tmp_path):
    expected = numbered(dtype=dtype)
    np.save(tmp_path / "X.npy", expected)
    X = np.load(tmp_path / "X.npy", mmap_mode=mode)
    source = ArrayData(X)
    check_source(source)
    for index in (slice(3, 9), np.array([7, 1, 1])):
        np.testing.assert_array_equal(source.read(index), expected[index], strict=True)
    # a network may change a batch in place
    loader = Loader(source, torch.device("cpu"))
    for x in (*loader.shuffled(5, 0), *loader.in_order(5)):
        x.zero_()
    np.testing.assert_array_equal(X, expected)


def test_split_is_a_partition():
    source = ArrayData(np.arange(50.0)[:, None])

    def rows(part):
        return part.read(slice(None)).ravel().tolist()

    for fraction, expected in [(0.1, 5), (0.01, 1), (0.55, 28)]:
        train, held_out = source.split(fraction, seed=3)
        assert (len(train), len(held_out)) == (50 - expected, expected)
        assert sorted(rows(train) + rows(held_out)) == rows(source)
        assert rows(train) == rows(source.split(fraction, 3)[0]) != rows(source.split(fraction, 4)[0])
    again, rest = train.split(0.1, seed=3)  # a part of a part
    assert sorted(rows(again) + rows(rest)) == sorted(rows(train))
