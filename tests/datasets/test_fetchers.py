"""Subsets, classes, arguments and documentation of the fetchers."""

import re

import numpy as np
import pytest

from skswae.datasets import _fetchers, fetch_cifar10_sub, fetch_coil20, fetch_fashion_mnist, fetch_mnist
from skswae.datasets._cache import digest_of

from .conftest import SPLIT, assert_is, rewrite, split_arrays


@pytest.mark.parametrize(
    ("record", "fetch"), [("MNIST", fetch_mnist), ("FASHION_MNIST", fetch_fashion_mnist)]
)
def test_subsets(replace, tmp_path, record, fetch):
    arrays = split_arrays()
    source = replace(record, shapes=SPLIT, digest=digest_of(arrays))
    np.savez_compressed(tmp_path / source.filename, **arrays)
    for subset in ("train", "test"):
        bunch = fetch(subset=subset, data_home=tmp_path)
        assert "n_train" not in bunch
        pair = fetch(subset=subset, data_home=tmp_path, return_X_y=True)
        for X, y in ((bunch.data, bunch.target), pair):
            np.testing.assert_array_equal(X, arrays[f"X_{subset}"])
            np.testing.assert_array_equal(y, arrays[f"y_{subset}"])
    assert fetch(data_home=tmp_path).n_train == 20
    (tmp_path / source.filename).write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged") as seen, pytest.raises(OSError, match="if_missing=Fa"):
        fetch(data_home=tmp_path, download_if_missing=False)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("classes", [[8, 2], np.array([2, 8]), ["ship", 2], {"bird", "ship"}])
@pytest.mark.parametrize("subset", ["train", "all"])
def test_classes(remote, classes, subset):
    bunch = remote.fetch(classes=classes, subset=subset)
    parts = ["train", "test"] if subset == "all" else [subset]
    X, y = (np.concatenate([remote.arrays[f"{name}_{part}"] for part in parts]) for name in "Xy")
    chosen = np.isin(y, [2, 8])
    assert 0 < chosen.sum() < len(y)
    np.testing.assert_array_equal(bunch.data, X[chosen])
    np.testing.assert_array_equal(bunch.target, y[chosen])
    assert set(bunch.target_names[bunch.target]) == {"bird", "ship"}
    assert bunch.image_shape == (3, 32, 32)
    assert bunch.n_missing == 0
    assert set(fetch_cifar10_sub(data_home=remote.home).target) == {2, 3, 8}  # the paper's are the default
    n_train = np.isin(remote.arrays["y_train"], [2, 8]).sum()
    assert bunch.get("n_train") == (n_train if subset == "all" else None)


SUB = {"X_train": (12, 12), "y_train": (12,), "X_test": (6, 12), "y_test": (6,)}


@pytest.fixture
def sub(remote):
    """cifar10_sub.npz in the cache folder, and no cifar10.npz."""
    arrays = split_arrays(SUB, classes=3, seed=1)
    for key in ("y_train", "y_test"):
        arrays[key] = np.array([2, 3, 8], np.uint8)[arrays[key]]
    source = remote.replace("CIFAR10_SUB", shapes=SUB, digest=digest_of(arrays))
    remote.home.mkdir()
    np.savez_compressed(remote.home / source.filename, **arrays, train_index=np.arange(12))
    return arrays


def test_the_file_of_three_classes(remote, sub):
    with pytest.warns(UserWarning, match="19 of CIFAR-10's 1,000 test images of ships are not in") as seen:
        bunch = fetch_cifar10_sub(data_home=remote.home)
    assert [warning.filename for warning in seen] == [__file__]
    assert_is(bunch, sub)
    assert (bunch.n_missing, "19 of CIFAR-10's" in bunch.DESCR) == (19, True)
    assert bunch.filename.endswith("cifar10_sub.npz")
    with pytest.warns(UserWarning, match="19 of"):
        X, _ = fetch_cifar10_sub(data_home=remote.home, subset="test", return_X_y=True)
    np.testing.assert_array_equal(X, sub["X_test"])
    # nothing is missing of these, and nothing said
    for parameters in ({"subset": "train"}, {"classes": ["cat", "bird"]}):
        bunch = fetch_cifar10_sub(data_home=remote.home, **parameters)
        assert (bunch.n_missing, "19 of" in bunch.DESCR) == (0, False)
    assert remote.n_downloads == 0


def test_other_classes_are_not_in_it(remote, sub):
    bunch = fetch_cifar10_sub(classes=["bird", "dog"], data_home=remote.home)
    assert set(bunch.target) == {2, 5}
    assert remote.files == ["cifar10.npz", "cifar10_sub.npz"]
    assert remote.n_downloads == 1
    # and now that there is the whole, it is what is read
    bunch = fetch_cifar10_sub(data_home=remote.home)
    assert (bunch.n_missing, bunch.filename.endswith("cifar10.npz")) == (0, True)


def test_the_file_of_three_classes_is_checked(remote, sub):
    rewrite(remote.home / "cifar10_sub.npz", X_train=lambda X: X ^ 1)
    with pytest.warns(UserWarning, match="cifar10_sub.npz' is damaged") as seen:
        bunch = fetch_cifar10_sub(data_home=remote.home)
    assert (seen[0].filename, bunch.n_missing, remote.n_downloads) == (__file__, 0, 1)


@pytest.mark.parametrize(
    ("fetch", "name", "value"),
    [
        (fetch_mnist, "subset", "validation"),
        (fetch_coil20, "data_home", 3),
        (fetch_coil20, "download_if_missing", "no"),
        (fetch_mnist, "return_X_y", 2),
        *((fetch_cifar10_sub, "classes", c) for c in ("cat", ["lion"], [10], [True], [2.0], [], ["bird", 2])),
    ],
)
def test_bad_arguments(fetch, name, value):
    listed = name == "classes" and value != "cat"
    message = r".*each once, of the names \(airplane.*numbers from 0 to 9.*" if listed else ".*"
    with pytest.raises(ValueError, match=rf"'{name}' parameter{message}Got {re.escape(repr(value))}"):
        fetch(**{name: value})


def test_the_real_records():
    """What the files of the cache folder are called and hold does not change unnoticed."""
    names = {
        "MNIST": "mnist",
        "FASHION_MNIST": "fashion_mnist",
        "CIFAR10": "cifar10",
        "CIFAR10_SUB": "cifar10_sub",
    }
    for record, name in {**names, "COIL20": "coil20"}.items():
        source = getattr(_fetchers, record)
        parts = [""] if name == "coil20" else ["_train", "_test"]
        assert source.filename == f"{name}.npz"
        assert list(source.shapes) == [key + part for part in parts for key in "Xy"]
        assert all(source.shapes["X" + part][1] == np.prod(source.image_shape) for part in parts)
        assert all(url.startswith("https://") for url in source.urls)
        assert len(source.digest or 64 * "0") == 64
    assert _fetchers.CIFAR10.download.keywords["sha256"].startswith("c4a38c50")
