"""Arrays that are read by slices, as those of h5py and zarr are, and tell how much was read at once."""

import numpy as np


class Store:
    """Reads slices of rows, and ascending lists of different ones, as h5py does; zarr has other rules."""

    __module__ = "h5py._hl.dataset"  # by which it is recognized

    def __init__(self, X, chunk=None):
        self._X = X
        self.shape, self.dtype = X.shape, X.dtype
        self.chunks = None if chunk is None else (chunk, *X.shape[1:])
        self.most_read = self.n_read = 0

    def __len__(self):
        return len(self._X)

    def __getitem__(self, rows):
        if not isinstance(rows, slice) and not (np.diff(rows) > 0).all():
            raise TypeError("Indexing elements must be in increasing order")
        found = self._X[rows].copy()
        self.most_read, self.n_read = max(self.most_read, len(found)), self.n_read + len(found)
        return found

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("all of it was asked for")


class Other(Store):
    """A class that nobody knows, which takes slices alone."""

    __module__ = "netcdf"

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return super().__getitem__(rows)
