import dataclasses
import os

import numpy as np
import pytest

from skswae.datasets import _fetchers, fetch_cifar10_sub

SPLIT = {"X_train": (20, 12), "y_train": (20,), "X_test": (10, 12), "y_test": (10,)}


def split_arrays(shapes=SPLIT, classes=10, seed=0):
    rng = np.random.default_rng(seed)
    X = {key: rng.integers(0, 256, shape, np.uint8) for key, shape in shapes.items()}
    for key in ("y_train", "y_test"):
        X[key] = rng.permutation(np.arange(shapes[key][0]) % classes).astype(np.uint8)  # in no order
    return X


def assert_is(bunch, arrays):
    np.testing.assert_array_equal(bunch.data, np.concatenate([arrays["X_train"], arrays["X_test"]]))
    np.testing.assert_array_equal(bunch.target, np.concatenate([arrays["y_train"], arrays["y_test"]]))
    assert bunch.data.dtype == np.uint8
    assert bunch.target.dtype == np.int64


def rewrite(path, **changes):
    """Change some arrays of a file, or drop them."""
    with np.load(path) as npz:
        arrays = dict(npz)
    for key, change in changes.items():
        value = arrays.pop(key)
        arrays.update({} if change is None else {key: change(value)})
    np.savez_compressed(path, **arrays)


@pytest.fixture(autouse=True)
def no_folder_of_the_user_s(monkeypatch, tmp_path):
    monkeypatch.delenv("SKSWAE_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn"))


@pytest.fixture
def replace(monkeypatch):
    """Change the record of a data set."""

    def replace(name, **changes):
        source = dataclasses.replace(getattr(_fetchers, name), **changes)
        monkeypatch.setattr(_fetchers, name, source)
        return source

    return replace


class Remote:
    """A CIFAR-10 of 30 rows whose download is counted, and an empty cache folder."""

    def __init__(self, replace, home):
        self.replace, self.home = replace, home
        self.arrays, self.n_downloads = split_arrays(), 0
        replace("CIFAR10", shapes=SPLIT, download=self.download)

    def download(self, url, folder):
        self.n_downloads += 1
        (folder / "archive").write_bytes(b"to be removed")
        return self.arrays

    def fetch(self, **parameters):
        return fetch_cifar10_sub(**{"classes": range(10), "data_home": self.home, **parameters})

    @property
    def files(self):
        return sorted(os.listdir(self.home))


@pytest.fixture
def remote(replace, tmp_path):
    return Remote(replace, tmp_path / "cache")
