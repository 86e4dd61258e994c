"""h5py and zarr themselves: what the stand-ins of the other tests leave out."""

import shutil

import h5py
import numpy as np
import pytest
import zarr

from skswae.data import SlicedRows, transform_parquet
from tests.estimators import assert_equal_fits, swae


def hdf5(folder, X, chunk):
    file = h5py.File(folder / "X.h5", "w")
    made = file.create_dataset("X", X.shape, X.dtype, chunks=chunk and (chunk, *X.shape[1:]))
    made[...] = X
    return made


def zarr_array(folder, X, chunk):
    chunks = (chunk or len(X), *X.shape[1:])
    made = zarr.open(str(folder / "X.zarr"), mode="w", shape=X.shape, dtype=X.dtype, chunks=chunks)
    made[...] = X
    return made


def again(store):
    """The same array in another object, and in one that cannot be written to."""
    if isinstance(store, zarr.Array):
        return [zarr.open(str(store.store.root), mode=mode) for mode in ("r+", "r")]
    name = store.file.filename
    other = store.file["X"]
    store.file.create_dataset("s", data=["a", "b"], dtype=h5py.string_dtype())
    copy = name + ".copy"
    store.file.flush()
    shutil.copy(name, copy)
    return [other, h5py.File(copy, "r")["X"]]


@pytest.mark.parametrize("make", [hdf5, zarr_array])
def test_what_cannot_be_written_to(make, iris, tmp_path):
    store = make(tmp_path, iris, None)
    model = swae(max_iter=1).fit(store)
    other, read_only = again(store)
    assert other is not store
    with pytest.raises(ValueError, match=r"'out' argument must have memory of its own. Got that of X"):
        model.reconstruct(store, out=other)
    with pytest.raises(ValueError, match="'out' argument must be an array that can be written to"):
        model.reconstruct(iris, out=read_only)
    np.testing.assert_array_equal(store[:], iris)
    if make is hdf5:
        with pytest.raises(TypeError, match=r"^X must hold real numbers. Got object"):
            model.transform(store.file["s"])
        with pytest.raises(ValueError, match="'path' argument must not be a file of the source"):
            transform_parquet(model, store, store.file.filename)


@pytest.mark.parametrize("chunk", [None, 64])
@pytest.mark.parametrize("make", [hdf5, zarr_array])
def test_rows_are_those_of_an_array(make, chunk, digits, tmp_path):
    X = digits[0].astype(np.float32)
    store = make(tmp_path, X.reshape(-1, 8, 8), chunk)
    model = swae(max_iter=1).fit(X)
    assert_equal_fits(swae(max_iter=1).fit(store), model)
    (tmp_path / "codes").mkdir()
    out = make(tmp_path / "codes", np.zeros((300, 2), np.float32), chunk)
    assert model.transform(store, out=out) is out
    np.testing.assert_array_equal(out[:], model.transform(X), strict=True)
    source = SlicedRows(store, shuffle_bytes=100 * 64 * 4)  # fewer than there are, if there are chunks
    order = source.order(0)
    np.testing.assert_array_equal(np.concatenate(list(source.shuffled(50, 0))), X[order], strict=True)
