"""Rows of stores that are read by slices, of files, and of torch's data sets."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from skswae.data import SlicedRows
from skswae.data._checks import check_finite_chunks, check_source
from skswae.data._dataset import as_source
from tests.data.stores import Other, Store
from tests.estimators import assert_equal_fits, swae


@pytest.mark.parametrize("chunk", [None, 7, 1000])
@pytest.mark.parametrize("kind", [Store, Other])
def test_any_rows_in_any_order(kind, chunk, rng):
    X = rng.normal(size=(50, 3))
    source = SlicedRows(kind(X, chunk))
    check_source(source)
    check_finite_chunks(source)
    for index in (slice(None), slice(3, 9), slice(9, 3), slice(1, 40, 6), slice(9, 3, -2),
                  np.array([49, 0, 7, 7, 6, 13]), np.arange(20, dtype=np.int32), np.array([], int)):  # fmt: skip
        np.testing.assert_array_equal(source.read(index), X[index], strict=True)


@pytest.mark.parametrize(
    ("held", "asked", "dtype"),
    [("f4", None, "f4"), (">f8", None, "f8"), ("u1", None, "u1"), ("f2", None, "f8"), ("i8", None, "f8"),
     ("?", None, "f8"), ("i2", "float32", "f4"), ("f8", np.float32, "f4")],
)  # fmt: skip
def test_rows_become_what_an_array_s_become(held, asked, dtype):
    X = np.arange(24).reshape(4, 2, 3).astype(held)  # such as images
    rows = SlicedRows(Store(X), dtype=asked).read(np.array([2, 0]))
    np.testing.assert_array_equal(rows, X.reshape(4, 6)[[2, 0]].astype(dtype), strict=True)


@pytest.mark.parametrize(
    ("array", "dtype", "error", "message"),
    [([[1.0]], None, TypeError, "'array' argument must be an object with shape, dtype and slices.*Got list"),
     (np.zeros(3), None, ValueError, r"'array' argument must have two axes or more. Got the shape \(3,\)"),
     (np.zeros((3, 2), complex), None, TypeError, "'array' argument must hold real numbers. Got complex128"),
     (np.zeros((3, 2), "M8[s]"), None, TypeError, "'array' argument must hold real numbers. Got datetime64"),
     (np.zeros((3, 2)), "uint8", ValueError, "'dtype' argument must be 'float32', 'float64' or None"),
     (np.zeros((3, 2)), "no type", ValueError, "'dtype' argument must be .* Got 'no type'")],
)  # fmt: skip
def test_what_cannot_be_sliced(array, dtype, error, message):
    with pytest.raises(error, match=message):
        SlicedRows(array, dtype)


def test_stores_that_do_not_keep_their_promise():
    short, masked = Store(np.zeros((9, 2))), Store(np.ma.masked_equal([[0.0, 1.0], [2.0, 3.0]], 3.0))
    short.shape = 12, 2
    with pytest.raises(ValueError, match="must hold 12 rows, as its shape says. Got 9 rows for those from 0"):
        SlicedRows(short).read(slice(0, 12))
    with pytest.raises(ValueError, match="must have no masked values"):
        SlicedRows(masked).read(slice(0, 2))


class Items(Dataset):
    """Items of one kind, made of the rows of an array."""

    def __init__(self, X, item):
        self.X, self.item = X, item

    def __len__(self):
        return len(self.X)

    def __getitem__(self, number):
        return self.item(self.X[number], number)


ITEMS = {
    "array": lambda x, i: x,
    "list": lambda x, i: x.tolist(),
    "image and class": lambda x, i: (torch.tensor(x.reshape(1, 2, -1)), i),
}


@pytest.mark.parametrize("item", ITEMS)
def test_a_data_set_is_read_item_by_item(item, iris):
    source = as_source(Items(iris, ITEMS[item]))
    check_source(source)
    np.testing.assert_array_equal(source.read(np.array([9, 2, 9])), iris[[9, 2, 9]], strict=True)
    np.testing.assert_array_equal(source.read(slice(5, 8)), iris[5:8], strict=True)


class Ragged(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([torch.zeros(3)])


def random_item(x, i):
    return x + np.random.default_rng().normal()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [(Ragged([np.zeros(3), np.zeros(4)]), ValueError, "items of one size and type: 3.*Got 4 .* in item 1"),
     (Ragged([np.zeros(3), np.zeros(3, "f4")]), ValueError, "become float64, as item 0 has. Got 3 of float32"),
     (Ragged([{"x": 1.0}] * 2), TypeError, "X must hold real numbers. Got object"),
     (Ragged(["abc"] * 2), TypeError, "X must hold real numbers. Got <U3"),
     (Ragged([]), ValueError, "X must have at least 1 row. Got a Ragged without any"),
     (Dataset(), TypeError, "X must be a data set with a length"),
     (Stream(), TypeError, r"Got a Stream: for fit and partial_fit take skswae.data.BatchRows\(X"),
     (DataLoader(Ragged([0.0])), TypeError, r"Got a DataLoader: .* take skswae.data.BatchRows\(X"),
     (Items(np.zeros((9, 2)), random_item), ValueError, "same rows each time.*'augment' parameter"),
     (Store(np.array([["a", "b"]])), TypeError, "'array' argument must hold real numbers. Got <U1"),
     (Store(np.full((5, 2), np.nan)), ValueError, "SlicedRows must hold finite numbers. Got NaN in rows 0"),
     ],
)  # fmt: skip
def test_bad_stores_and_data_sets(X, error, message):
    with pytest.raises(error, match=message):
        swae().fit(X)


def mapped(X, tmp_path, name, order="C"):
    found = np.lib.format.open_memmap(tmp_path / name, "w+", X.dtype, X.shape, fortran_order=order == "F")
    found[:] = X
    return np.load(tmp_path / name, mmap_mode="r")


def test_a_fit_on_a_store_is_the_fit_on_its_rows(digits, tmp_path):
    """So is everything after it; and nothing reads the whole of a store, or copies a file."""
    X = np.rint(digits[0] * 16)[:120].astype(np.int16)
    fitted = swae(max_iter=2, early_stopping=True).fit(X, X_val=X[:20])
    stores = {
        "h5py": Store(X.reshape(-1, 8, 8), chunk=16),
        "another": SlicedRows(Other(X)),
        "data set": TensorDataset(torch.from_numpy(X)),
        "columns": mapped(X, tmp_path, "F.npy", "F"),
        "columns of floats": mapped(X.astype(float), tmp_path, "F8.npy", "F"),
        "big-endian": mapped(X.astype(">f8"), tmp_path, "big.npy"),
        "half": mapped(X.astype(np.float16), tmp_path, "half.npy"),
        "some columns": mapped(np.hstack([X, X]), tmp_path, "wide.npy")[:, :64],
    }
    for name, rows in stores.items():
        other = swae(max_iter=2, early_stopping=True).fit(rows, X_val=rows)
        if name == "another":
            other.fit(rows, X_val=X[:20])
            assert_equal_fits(other, fitted)
        for method in ("transform", "reconstruct", "score_samples"):
            expected = getattr(fitted, method)(X)
            np.testing.assert_array_equal(getattr(fitted, method)(rows), expected, strict=True)
        assert fitted.score(rows) == fitted.score(X)


def test_a_store_is_read_part_by_part(rng):
    store = Store(rng.normal(size=(6000, 4)), chunk=512)
    model = swae(max_iter=1, batch_size=500, n_pseudo_inputs=10).fit(store)
    assert store.most_read <= 4096
    store.most_read = store.n_read = 0
    model.transform(store)
    assert store.most_read == 512
    assert store.n_read <= 6000 + 3  # one pass, besides the look at two rows
