"""h5py and zarr themselves: what the stand-ins of the other tests leave out."""

import h5py
import numpy as np
import pytest
import zarr

from skswae.data import SlicedRows
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
