"""The cache folder: damaged, read-only, unwritable, missing, and shared."""

import contextlib
import errno
import os
import pathlib
import pickle
import tempfile
import threading

import numpy as np
import pytest

from skswae.datasets import _cache, fetch_cifar10_sub, fetch_coil20

from .conftest import SPLIT, assert_is, rewrite


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path.parent / "executed"),)


def flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


DAMAGES = [
    lambda path: rewrite(path, X_train=lambda X: X ^ 1),
    lambda path: rewrite(path, y_train=lambda y: y.astype(np.int64)),
    lambda path: rewrite(path, y_test=None),
    lambda path: np.savez_compressed(path, **dict.fromkeys([*SPLIT, "digest"], np.array([Evil(path)]))),
    flipped_bit,
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    lambda path: path.write_bytes(b"<html>Sign in to this network</html>"),
    lambda path: path.write_bytes(pickle.dumps(Evil(path))),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_fetched_again(remote, damage):
    remote.fetch()
    damage(remote.home / "cifar10.npz")
    message = "cifar10.npz' is damaged, or is not CIFAR-10, and is not used"
    with pytest.warns(UserWarning, match=message) as seen, pytest.raises(OSError, match="if_missing=False"):
        fetch_cifar10_sub(classes=range(10), data_home=remote.home, download_if_missing=False)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="is damaged"):
        assert_is(remote.fetch(), remote.arrays)
    assert remote.n_downloads == 2
    assert_is(remote.fetch(), remote.arrays)  # without a warning
    assert remote.files == ["cifar10.npz"]


def test_a_damaged_file_stays_if_there_is_no_other(remote):
    remote.fetch()
    path = remote.home / "cifar10.npz"
    flipped_bit(path)
    before, remote.arrays["X_train"] = path.read_bytes(), remote.arrays["X_train"][1:]
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(OSError, match=r"of shape \(20, 12\)"):
        remote.fetch()
    assert (path.read_bytes(), remote.files) == (before, ["cifar10.npz"])


def assert_cannot_be_written(remote, home):
    before = remote.n_downloads
    with pytest.raises(OSError, match=r"cannot be written.*data_home.*SKSWAE_DATA") as caught:
        remote.fetch(data_home=home)
    assert str(home) in str(caught.value)
    assert remote.n_downloads == before  # nothing is downloaded first


def test_folders_and_files_that_cannot_be_used(remote, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert_cannot_be_written(remote, tmp_path / "file")
    assert_cannot_be_written(remote, tmp_path / "file" / "below")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=r"data_home argument or the environment variable SKSWAE_DATA"):
        fetch_coil20()
    (remote.home / "cifar10.npz").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cifar10\.npz"):
        remote.fetch()
    assert remote.n_downloads == 0


@contextlib.contextmanager
def unprivileged():
    """Be the user of most systems that owns nothing, where root runs the tests: root may write anywhere."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="elsewhere a folder's mode binds nobody")
def test_folders_that_can_only_be_read(remote):
    with tempfile.TemporaryDirectory() as parent:  # which anybody can look into, unlike pytest's own
        empty, full = (pathlib.Path(parent) / name for name in ("empty", "full"))
        empty.mkdir()
        for _ in range(2):  # the second imports what reading needs, which others may not be able to
            remote.fetch(data_home=full)
        for folder, mode in ((parent, 0o755), (empty, 0o555), (full, 0o555)):
            os.chmod(folder, mode)
        with unprivileged():
            assert_is(remote.fetch(data_home=full), remote.arrays)
            assert_cannot_be_written(remote, empty)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_writing_stops_halfway(remote, monkeypatch, error):
    def stop(path, **arrays):
        pathlib.Path(path).write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", stop)
        with pytest.raises(type(error)) as caught:
            remote.fetch()
    assert remote.files == []
    if isinstance(error, OSError):
        assert "cifar10.npz' cannot be written" in str(caught.value)
    assert_is(remote.fetch(), remote.arrays)


def test_two_at_once(remote):
    both, found = threading.Barrier(2), []

    def download(url, folder):
        both.wait(60)  # neither gets anything before both have asked
        return remote.arrays

    remote.replace("CIFAR10", download=download)
    other = threading.Thread(target=lambda: found.append(remote.fetch()))
    other.start()
    found.append(remote.fetch())
    other.join()
    for bunch in (*found, remote.fetch()):
        assert_is(bunch, remote.arrays)
    assert remote.files == ["cifar10.npz"]


def test_which_folder(remote, monkeypatch, tmp_path):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    standard, variable = os.path.join("scikit_learn", "skswae"), str(tmp_path / "variable")
    for value, data_home, expected in (
        (None, None, standard),
        ("", None, standard),
        (variable, None, "variable"),
        (variable, str(tmp_path / "argument"), "argument"),
        (os.path.join("~", "tilde"), None, "tilde"),
    ):
        monkeypatch.delenv("SKSWAE_DATA", raising=False) if value is None else monkeypatch.setenv(
            "SKSWAE_DATA", value
        )
        found = fetch_cifar10_sub(classes=[0], data_home=data_home).filename
        assert found == str(tmp_path / expected / "cifar10.npz")
    assert remote.n_downloads == 4


def test_the_hash_sees_names_dtypes_shapes_and_bytes():
    a, b = np.arange(6, dtype=np.uint8), np.arange(6, dtype=np.uint8)[::-1]
    shapes = {"a": a.reshape(2, 3)}, {"a": a.reshape(3, 2)}, {"a": a.view(np.int8)}
    variants = [{"a": a}, {"b": a}, {"a": b}, *shapes, {"a": a, "b": b}, {"b": b, "a": a}]
    digests = [_cache.digest_of(arrays) for arrays in variants]
    assert len(set(digests)) == len(variants)
    # as the constants in the source were made: sha256(b"a |u1 (6,)\n" + bytes(range(6)))
    assert digests[0] == "2564d074d45b2a87689adbc3ee63b6e435f4864419f77898e41e46728428bb31"
