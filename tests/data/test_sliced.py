"""Rows of stores that are read by slices, of files, and of torch's data sets."""

import sys
import threading

import _harness
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
    slices = [slice(None), slice(3, 9), slice(9, 3), slice(1, 40, 6), slice(9, 3, -2)]
    for index in (*slices, np.array([49, 0, 7, 7, 6, 13]), np.arange(20, dtype=np.int32), np.array([], int)):
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
    with pytest.raises(ValueError, match=r"must hold 12 rows.* Got 9 rows for those from 0"):
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
    "row and class": lambda x, i: [x, i],
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
    [(Ragged([np.zeros(3), np.zeros(4)]), ValueError, r"items of one size and type: 3.*Got 4 .* in item 1"),
     (Ragged([np.zeros(3), np.zeros(3, "f4")]), ValueError, "become float64.* Got 3 of float32"),
     (Ragged([{"x": 1.0}] * 2), TypeError, "X must hold real numbers. Got object"),
     (Ragged(["abc"] * 2), TypeError, "X must hold real numbers. Got <U3"),
     (Ragged([]), ValueError, "X must have at least 1 row. Got a Ragged without any"),
     (Dataset(), TypeError, "must be a data set with a length"),
     (Stream(), TypeError, r"Got a Stream: for fit and partial_fit take skswae.data.BatchRows\(X"),
     (DataLoader(Ragged([0.0])), TypeError, r"Got a DataLoader: .* take skswae.data.BatchRows\(X"),
     (Items(np.zeros((9, 2)), random_item), ValueError, "^X must return the same .*'augment' parameter"),
     (Store(np.array([["a", "b"]])), TypeError, "^X must hold real numbers. Got <U1"),
     (Store(np.array([[0.0], [np.nan]])), ValueError, "^X must hold finite numbers. Got NaN in row 1"),
     (SlicedRows(Store(np.array([[0.0], [np.inf]]))), ValueError, "^SlicedRows must .* infinity in row 1"),
     (Items(np.full((9, 2), np.nan), lambda x, i: x), ValueError, "^X must hold finite numbers. .* in row 0"),
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
    """So is everything after it; and nothing asks for the whole of a store."""
    X = np.rint(digits[0] * 16)[:90].astype(np.int16)
    fitted = swae(max_iter=1, early_stopping=True).fit(X, X_val=X[:20])
    val = SlicedRows(Other(X[:20]))
    stores = {
        "h5py": Store(X.reshape(-1, 8, 8), chunk=16),
        "another": SlicedRows(Other(X)),
        "data set": TensorDataset(torch.from_numpy(X)),
        "by columns": mapped(X.astype(float), tmp_path, "F.npy", "F"),
        "big-endian": mapped(X.astype(">f8"), tmp_path, "big.npy"),
        "some columns": mapped(np.hstack([X, X]).astype(np.float16), tmp_path, "wide.npy")[:, :64],
    }
    for rows in stores.values():
        assert_equal_fits(swae(max_iter=1, early_stopping=True).fit(rows, X_val=val), fitted)
        for method in ("transform", "reconstruct", "score_samples"):
            expected = getattr(fitted, method)(X)
            np.testing.assert_array_equal(getattr(fitted, method)(rows), expected, strict=True)


def test_a_store_is_read_part_by_part(rng):
    """An epoch reads each block once or, where early stopping divides them, twice; ``transform`` once."""
    X = rng.normal(size=(6000, 4))
    store = Store(X, chunk=100)
    source = SlicedRows(store, shuffle_bytes=2000 * 4 * 8)
    order = source.order(1)
    np.testing.assert_array_equal(np.sort(order), np.arange(6000))
    assert len(set(order[:1500] // 100)) <= 20 < len(set(order // 100)) == 60
    before = store.n_read
    np.testing.assert_array_equal(np.concatenate(list(source.shuffled(64, 1))), X[order])
    assert store.n_read - before <= 6000
    model = swae(max_iter=1, batch_size=500, n_pseudo_inputs=10).fit(source)
    before = store.n_read
    model.transform(source)
    assert store.most_read == 100
    assert store.n_read - before <= 6000 + 100  # one pass, besides the look at two rows


@pytest.mark.parametrize("chunk", [100, 600])
def test_threads_share_a_store(chunk, rng):
    X = rng.normal(size=(2000, 3))
    source = SlicedRows(Store(X, chunk), shuffle_bytes=700 * 3 * 8)
    errors = []

    def reading(seed):
        for index in np.random.default_rng(seed).integers(0, 2000, (50, 20)):
            try:
                np.testing.assert_array_equal(source.read(index), X[index])
                np.testing.assert_array_equal(source.read(slice(index[0], index[0] + 50)), X[index[0] :][:50])
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=reading, args=(seed,)) for seed in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    assert sum(map(len, source._kept.rows.values())) <= 700


def test_a_checkpoint_knows_the_rows_of_a_store(iris, tmp_path):
    """By their numbers: neither an open file nor its name can tell."""
    fit = {"checkpoint": tmp_path / "state", "keep_checkpoint": True}
    swae(max_iter=1).fit(Store(iris), **fit)
    swae(max_iter=1).fit(Store(iris.copy()), **fit)
    with pytest.raises(ValueError, match="of another fit: X"):
        swae(max_iter=1).fit(Store(iris[::-1]), **fit)


@pytest.mark.slow
def test_a_file_is_not_copied(tmp_path):
    """A fit and a transform into a file take less than half of the memory of the rows, stored by columns."""
    n_rows, n_features = 400_000, 80
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (n_rows, n_features), True)
    rng = np.random.default_rng(0)
    for j in range(n_features):
        X[:, j] = rng.normal(size=n_rows)
    Z = np.lib.format.open_memmap(tmp_path / "Z.npy", "w+", np.float64, (n_rows, 2))
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    small = swae(max_iter=1, batch_size=5000).fit(rows[:10_000])  # whatever the first fit allocates
    with _harness.MemoryWatch() as watch:
        model = swae(max_iter=1, batch_size=5000).fit(rows)
        assert model.transform(rows, out=Z) is Z
    assert watch.added < X.nbytes / 1e6 / 2
    np.testing.assert_array_equal(model.transform(X[:1000]), Z[:1000])
    assert small.n_features_in_ == 80
