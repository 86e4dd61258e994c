"""The data of the SWAE paper: fetchers in scikit-learn's manner, its Gaussian mixture, and binarisation.

What has been fetched once is kept in a cache folder: the ``data_home`` argument if it is given, else the
folder that the environment variable ``SKSWAE_DATA`` names, else ``skswae`` in scikit-learn's data folder.
Each file is checked by a hash of its numbers whenever it is read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import pickle
import socket
import tarfile
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import fetch_openml, get_data_home
from sklearn.utils import Bunch, check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from torch import Tensor

__all__ = [
    "binarise",
    "binarised",
    "fetch_cifar10_sub",
    "fetch_coil20",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "make_gmm",
]

_VARIABLE = "SKSWAE_DATA"
_RETRIES = 2  # of each request
_TIMEOUT = 60.0  # seconds without a byte
_CHUNK_ROWS = 4096


# ---------------------------------------------------------------------------
# What is fetched
# ---------------------------------------------------------------------------

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Source:
    """A data set: its file in the cache folder, and where its numbers come from.

    Parameters
    ----------
    name : str
    filename : str
        In the cache folder.
    shapes : dict of str to tuple
        Of the uint8 arrays in the file, in the order in which they are hashed.
    digest : str or None
        What :func:`_digest` gives; None if the file brings its own, as "digest".
    image_shape : tuple of int
    target_names : tuple of str
    description : str
    urls : tuple of str
        Addresses to try, one after the other.
    download : callable of (source, url, folder) or None
        Makes the arrays from what is at the address; ``folder`` is for its files and removed afterwards.
    file_hash : str or None
        SHA-256 of what is at the address, where it is known.
    hint : str
        The end of the message for those who cannot download.
    """

    name: str
    filename: str
    shapes: Mapping[str, tuple[int, ...]]
    digest: str | None
    image_shape: tuple[int, int, int]
    target_names: tuple[str, ...]
    description: str
    urls: tuple[str, ...] = ()
    download: Callable[[_Source, str, Path], Arrays] | None = None
    file_hash: str | None = None
    hint: str = ""


class _Damaged(Exception):
    """A file, or what came from an address, does not hold what it should."""


def _digest(arrays: Arrays, keys: Iterable[str]) -> str:
    """SHA-256 of the arrays' names, dtypes, shapes and bytes."""
    content = hashlib.sha256()
    for key in keys:
        array = np.ascontiguousarray(arrays[key])
        content.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        content.update(array.data)
    return content.hexdigest()


def _check(arrays: Arrays, source: _Source, digest: str | None) -> None:
    """Raise _Damaged unless these are the source's arrays; a digest of None is not compared."""
    for key, shape in source.shapes.items():
        array = arrays[key]
        if array.shape != tuple(shape) or array.dtype != np.uint8:
            raise _Damaged(f"{key} must be uint8 of shape {shape}, and is {array.dtype} of {array.shape}")
    if digest is not None and (found := _digest(arrays, source.shapes)) != digest:
        raise _Damaged(f"the hash of its numbers is {found}, and should be {digest}")


# ---------------------------------------------------------------------------
# The cache folder
# ---------------------------------------------------------------------------


def _cache_folder(data_home: str | os.PathLike | None) -> Path:
    if data_home is None:
        data_home = os.environ.get(_VARIABLE) or None
    if data_home is not None:
        return Path(data_home).expanduser()
    try:
        return Path(get_data_home()) / "skswae"
    except OSError as error:
        raise OSError(
            f"scikit-learn's data folder cannot be made ({error}). Set the data_home argument or the "
            f"environment variable {_VARIABLE} to a folder for the data."
        ) from error


def _by_hand(source: _Source, folder: Path) -> str:
    """How to do without the download."""
    arrays = ", ".join(f"{key} {shape}" for key, shape in source.shapes.items())
    own = " and digest, the hash of their content" if source.digest is None else ""
    return (
        f"{source.filename} has to lie in {str(folder)!r}, or in the folder that the data_home argument or "
        f"the environment variable {_VARIABLE} names: copy it from a machine with a network where it has "
        f"been fetched, or make it from {' or '.join(source.urls)}. It holds uint8 arrays {arrays}{own}."
        f"{source.hint}"
    )


def _read(path: Path, source: _Source) -> Arrays:
    """The arrays of a file; raises OSError if there is none, _Damaged if it is not the one."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as npz:
                arrays = {key: npz[key] for key in source.shapes}
                digest = str(npz["digest"]) if source.digest is None else source.digest
        except MemoryError:
            raise
        except Exception as error:  # a damaged archive raises nearly anything
            raise _Damaged(f"it cannot be read ({type(error).__name__}: {error})") from error
    _check(arrays, source, digest)
    return arrays


def _cached(source: _Source, folder: Path, stacklevel: int) -> Arrays | None:
    """The arrays in the cache folder; None if there are none, or, with a warning, if they are damaged."""
    path = folder / source.filename
    try:
        return _read(path, source)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _Damaged as error:
        warnings.warn(
            f"{str(path)!r} is damaged, or is not {source.name}, and is not used: {error}.",
            UserWarning,
            stacklevel=stacklevel,
        )
        return None
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be read: {error}.") from error


def _write(arrays: Arrays, source: _Source, scratch: Path, path: Path) -> None:
    """Put the file in its place in one move, so that no other process ever sees a part of it."""
    content = dict(arrays)
    if source.digest is None:
        content["digest"] = np.array(_digest(arrays, source.shapes))
    # numpy's stubs take every keyword for its own allow_pickle
    np.savez_compressed(scratch / source.filename, **content)  # type: ignore[arg-type]
    os.replace(scratch / source.filename, path)


def _fetch(source: _Source, folder: Path, download_if_missing: bool) -> Arrays:
    """The arrays of a source: from the cache folder, else from the network, and then into the folder."""
    arrays = _cached(source, folder, stacklevel=5)
    if arrays is not None:
        return arrays
    if not download_if_missing:
        raise OSError(
            f"{source.name} is not in the cache folder, and download_if_missing=False. "
            + _by_hand(source, folder)
        )
    try:  # before anything is downloaded
        folder.mkdir(parents=True, exist_ok=True)
        # in the same folder, hence on the same disk: moved from there in one step. All but a killed process
        # remove it.
        scratch = tempfile.TemporaryDirectory(
            prefix=f".{source.filename}-", dir=folder, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise OSError(
            f"{source.name} cannot be fetched: its folder {str(folder)!r} cannot be written ({error}). Set "
            f"the data_home argument or the environment variable {_VARIABLE} to a folder that can."
        ) from error
    with scratch as name:
        arrays = _downloaded(source, folder, Path(name))
        try:
            _write(arrays, source, Path(name), folder / source.filename)
        except OSError as error:
            raise OSError(f"{str(folder / source.filename)!r} cannot be written: {error}.") from error
    return arrays


# ---------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------


def _downloaded(source: _Source, folder: Path, scratch: Path) -> Arrays:
    """The arrays from the first address that has them; one OSError if none has."""
    failures = []
    cause: Exception | None = None
    for number, url in enumerate(source.urls):
        assert source.download is not None
        part = scratch / str(number)  # apart from what another address has left
        try:
            part.mkdir()
            arrays = source.download(source, url, part)
            _check(arrays, source, source.digest)
            return arrays
        except (ImportError, MemoryError):  # no fault of the network
            raise
        except Exception as error:  # what a server, or something between, may send is unbounded
            failures.append(f"{url}: {type(error).__name__}: {error}")
            cause = error
    raise OSError(
        f"{source.name} could not be fetched ({'; '.join(failures)}). " + _by_hand(source, folder)
    ) from cause


def _optional(name: str) -> Any:
    """A module that only the fetchers need."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"Fetching this data set needs {name.split('.')[0]}, which is not installed: "
            'pip install "skswae[datasets]".'
        ) from error


def _retrieve(source: _Source, url: str, folder: Path) -> Path:
    """Download a file; one with another hash than the source's is refused before anyone reads it."""
    pooch = _optional("pooch")
    name = url.rsplit("/", 1)[-1]
    known = None if source.file_hash is None else f"sha256:{source.file_hash}"
    registry = pooch.create(
        path=folder, base_url="", registry={name: known}, urls={name: url}, retry_if_failed=_RETRIES
    )
    return Path(registry.fetch(name, downloader=_download))


def _download(url: str, output_file: str | os.PathLike, _pooch: Any) -> None:
    """As pooch's HTTPDownloader, which leaves the connection open when it fails, and writes kilobytes."""
    requests = importlib.import_module("requests")  # pooch needs it
    with requests.get(url, stream=True, timeout=_TIMEOUT) as response, open(output_file, "wb") as file:
        response.raise_for_status()
        for chunk in response.iter_content(chunk_size=2**16):
            file.write(chunk)


_timeout_lock = threading.Lock()


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Within the block, sockets that are opened without a timeout have one.

    fetch_openml gives its sockets none: a server that falls silent would be waited for without end.
    """
    with _timeout_lock:
        before = socket.getdefaulttimeout()
        if before is None:
            socket.setdefaulttimeout(seconds)
        try:
            yield
        finally:
            socket.setdefaulttimeout(before)


def _download_openml(name: str, source: _Source, url: str, folder: Path) -> Arrays:
    """Version 1 of a data set of OpenML, in which the training rows come first."""
    with _socket_timeout(_TIMEOUT):
        bunch = fetch_openml(
            name,
            version=1,
            data_home=str(folder),
            as_frame=False,
            # the other parser takes minutes and gigabytes
            parser="pandas" if importlib.util.find_spec("pandas") else "liac-arff",
            # without categories: with pandas from 3.1 on scikit-learn 1.9 cannot read those that are numbers
            read_csv_kwargs={"dtype": {}},
            n_retries=_RETRIES,
        )
    with np.errstate(invalid="ignore"):  # what is no byte is found by the hash
        X = np.asarray(bunch.data).astype(np.uint8)
        y = np.array([float(str(label).strip("'")) for label in bunch.target]).astype(np.uint8)
    n_train = source.shapes["y_train"][0]
    return {"X_train": X[:n_train], "y_train": y[:n_train], "X_test": X[n_train:], "y_test": y[n_train:]}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, bytes, numbers, lists and dicts, and refuses all else, functions above all."""

    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a batch of images") from None


_CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def _download_cifar10(source: _Source, url: str, folder: Path) -> Arrays:
    """The batches in the archive, which is only opened if it is the known one."""
    archive = _retrieve(source, url, folder)
    batches = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:  # in the archive's order: going back means to decompress again
            name = member.name.rpartition("/")[2]
            if name in _CIFAR10_BATCHES:
                file = tar.extractfile(member)
                if file is None:
                    raise _Damaged(f"{member.name} is not a file")
                batches[name] = _ArrayUnpickler(file, encoding="bytes").load()
    *train, test = (batches[name] for name in _CIFAR10_BATCHES)
    return {
        "X_train": np.concatenate([batch[b"data"] for batch in train]),
        "y_train": np.concatenate([np.array(batch[b"labels"], np.uint8) for batch in train]),
        "X_test": test[b"data"],
        "y_test": np.array(test[b"labels"], np.uint8),
    }


def _download_coil20(source: _Source, url: str, folder: Path) -> Arrays:
    """Every fourth pixel of the images in the archive."""
    images = _optional("PIL.Image")
    rows = []
    with zipfile.ZipFile(_retrieve(source, url, folder)) as archive:
        for label in range(1, 21):
            for view in range(72):
                with (
                    archive.open(f"coil-20-proc/obj{label}__{view}.png") as file,
                    images.open(file, formats=["PNG"]) as image,
                ):
                    rows.append(np.asarray(image)[2::4, 2::4].reshape(-1))
    return {"X": np.stack(rows), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}


# ---------------------------------------------------------------------------
# The sources
# ---------------------------------------------------------------------------

_MNIST = _Source(
    name="MNIST",
    filename="mnist.npz",
    shapes={"X_train": (60000, 784), "y_train": (60000,), "X_test": (10000, 784), "y_test": (10000,)},
    digest="30c1d221017c4324c9e9cd6acd79996345a8d80bb68608ecba07b8f501924af6",
    image_shape=(1, 28, 28),
    target_names=tuple("0123456789"),
    urls=("https://www.openml.org/d/554",),
    download=functools.partial(_download_openml, "mnist_784"),
    description="""MNIST: handwritten digits
=========================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set mnist_784, version 1 (https://www.openml.org/d/554), after
http://yann.lecun.com/exdb/mnist/. The authors' page states no licence; Yann LeCun and Corinna Cortes hold the
copyright, and it is commonly given as CC BY-SA 3.0.

Cite: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998.
""",
)

_FASHION_MNIST = _Source(
    name="Fashion-MNIST",
    filename="fashion_mnist.npz",
    shapes=_MNIST.shapes,
    digest="9ebc38be682e76917eeff92416700b02d4c8ee4d4f090ac9bd6d624082d4675f",
    image_shape=(1, 28, 28),
    target_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    urls=("https://www.openml.org/d/40996",),
    download=functools.partial(_download_openml, "Fashion-MNIST"),
    description="""Fashion-MNIST: articles of clothing
===================================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set Fashion-MNIST, version 1 (https://www.openml.org/d/40996), after
https://github.com/zalandoresearch/fashion-mnist. MIT licence, copyright Zalando SE.

Cite: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv:1708.07747, 2017.
""",
)  # fmt: skip

_CIFAR10 = _Source(
    name="CIFAR-10",
    filename="cifar10.npz",
    shapes={"X_train": (50000, 3072), "y_train": (50000,), "X_test": (10000, 3072), "y_test": (10000,)},
    digest=None,
    image_shape=(3, 32, 32),
    target_names=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    download=_download_cifar10,
    hint=" For birds, cats and ships cifar10_sub.npz does as well.",
    file_hash="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    description="""CIFAR-10: some of its classes
=============================

Colour images of 32 x 32 pixels from 0 to 255, 3,072 features: the red, the green and the blue channel, each
row by row. Of each of the 10 classes 5,000 training and 1,000 test rows, in the original order.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, which states no licence and asks for a citation.

Cite: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
Toronto, 2009.
""",
)  # fmt: skip

_CIFAR10_SUB = _Source(
    name="CIFAR-10's birds, cats and ships",
    filename="cifar10_sub.npz",
    shapes={"X_train": (15000, 3072), "y_train": (15000,), "X_test": (2981, 3072), "y_test": (2981,)},
    digest="9551c42417a7ad56b8fb68003664d0faf24ddafa07cb038c22c7e8e2a518ac73",
    image_shape=_CIFAR10.image_shape,
    target_names=_CIFAR10.target_names,
    description=_CIFAR10.description,
)
_SUB_CLASSES = {2, 3, 8}
_SUB_MISSING = {8: 19}  # test images, by class

_COIL20 = _Source(
    name="COIL-20",
    filename="coil20.npz",
    shapes={"X": (1440, 1024), "y": (1440,)},
    digest="ff879aad447a66724b0f9a7a664d01f1a2a68bdd23923f373c06678251a19299",
    image_shape=(1, 32, 32),
    target_names=tuple(f"object {i}" for i in range(1, 21)),
    urls=(
        "https://cave.cs.columbia.edu/old/databases/SLAM_coil-20_coil-100/coil-20/coil-20-proc.zip",
        "https://www.cs.columbia.edu/CAVE/databases/SLAM_coil-20_coil-100/coil-20/coil-20-proc.zip",
    ),
    download=_download_coil20,
    description="""COIL-20: objects on a turntable
===============================

1,440 grey images of 32 x 32 pixels from 0 to 255, 1,024 features: 20 objects, labelled 1 to 20, in 72 views
each, 5 degrees apart, sorted by object and view. There is no split.

Source: the processed images of the Columbia Object Image Library
(https://cave.cs.columbia.edu/repository/COIL-20), 128 x 128 pixels, of which every fourth pixel of every
fourth row is kept, from the third on. Another 32 x 32 version in use, COIL20.mat of D. Cai, has means of
4 x 4 pixels instead. The report states no licence; the images are made available for research purposes.

Cite: S. A. Nene, S. K. Nayar, H. Murase, "Columbia Object Image Library (COIL-20)", technical report
CUCS-005-96, Columbia University, 1996.
""",
)


# ---------------------------------------------------------------------------
# Fetchers
# ---------------------------------------------------------------------------

_common_constraints: dict[str, Any] = {
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}
_split_constraints: dict[str, Any] = {"subset": [StrOptions({"all", "train", "test"})], **_common_constraints}


def _bunch(
    source: _Source, folder: Path, X: np.ndarray, y: np.ndarray, return_X_y: bool, **more: Any
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """What a fetcher returns."""
    y = y.astype(np.int64)  # differences of unsigned labels would wrap around
    if return_X_y:
        return X, y
    content: dict[str, Any] = {
        "data": X,
        "target": y,
        "target_names": np.array(source.target_names),
        "image_shape": source.image_shape,
        "DESCR": source.description,
        "filename": str(folder / source.filename),
    }
    return Bunch(**{**content, **more})


def _part(arrays: Arrays, subset: str) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows and labels of a subset; for all of them, where the training rows end."""
    if subset != "all":
        return arrays[f"X_{subset}"], arrays[f"y_{subset}"], {}
    X, y = (np.concatenate([arrays[f"{name}_train"], arrays[f"{name}_test"]]) for name in "Xy")
    return X, y, {"n_train": len(arrays["y_train"])}


@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load MNIST: 70,000 handwritten digits of 28 x 28 pixels.

    It is downloaded from OpenML the first time, and then read from the cache folder.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.

    data_home : str or path-like, default=None
        The cache folder. None is the folder that the environment variable ``SKSWAE_DATA`` names, or else
        ``skswae`` in :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (n_samples, 784), uint8
            Pixels from 0 to 255, row by row.
        target : ndarray of shape (n_samples,), int64
            Labels from 0 to 9.
        target_names : ndarray of shape (10,)
            The names of the labels.
        image_shape : tuple
            ``(1, 28, 28)``: channels, height, width.
        n_train : int
            With ``subset="all"``: the number of training rows, which come first.
        DESCR : str
            Source, licence and citation.
        filename : str
            The file in the cache folder.

    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    ValueError
        If an argument is none of those named above.
    OSError
        If the data are not in the cache folder and cannot be downloaded or written; the message says how to
        put them there by hand.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from skswae.datasets import fetch_mnist
    >>> X, y = fetch_mnist(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 784)
    """
    folder = _cache_folder(data_home)
    X, y, more = _part(_fetch(_MNIST, folder, download_if_missing), subset)
    return _bunch(_MNIST, folder, X, y, return_X_y, **more)


@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load Fashion-MNIST: 70,000 articles of clothing of 28 x 28 pixels.

    It is downloaded from OpenML the first time, and then read from the cache folder.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.

    data_home : str or path-like, default=None
        The cache folder. None is the folder that the environment variable ``SKSWAE_DATA`` names, or else
        ``skswae`` in :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (n_samples, 784), uint8
            Pixels from 0 to 255, row by row.
        target : ndarray of shape (n_samples,), int64
            Labels from 0 to 9.
        target_names : ndarray of shape (10,)
            The names of the labels.
        image_shape : tuple
            ``(1, 28, 28)``: channels, height, width.
        n_train : int
            With ``subset="all"``: the number of training rows, which come first.
        DESCR : str
            Source, licence and citation.
        filename : str
            The file in the cache folder.

    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    ValueError
        If an argument is none of those named above.
    OSError
        If the data are not in the cache folder and cannot be downloaded or written; the message says how to
        put them there by hand.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from skswae.datasets import fetch_fashion_mnist
    >>> clothes = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> print(clothes.target_names[clothes.target[0]])  # doctest: +SKIP
    Ankle boot
    """
    folder = _cache_folder(data_home)
    X, y, more = _part(_fetch(_FASHION_MNIST, folder, download_if_missing), subset)
    return _bunch(_FASHION_MNIST, folder, X, y, return_X_y, **more)


def _class_numbers(classes: Any) -> set[int]:
    """The numbers of CIFAR-10's classes that are asked for."""
    names = _CIFAR10.target_names
    numbers = []
    for one in classes:
        if isinstance(one, str) and one in names:
            numbers.append(names.index(one))
        elif isinstance(one, int | np.integer) and not isinstance(one, bool) and 0 <= one < len(names):
            numbers.append(int(one))
        else:
            raise ValueError(
                f"The 'classes' parameter must hold names ({', '.join(names)}) or numbers from 0 to 9 of "
                f"CIFAR-10's classes. Got {one!r} instead."
            )
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"The 'classes' parameter must name at least one class, and each once. Got {classes!r} instead."
        )
    return set(numbers)


@validate_params({"classes": ["array-like"], **_split_constraints}, prefer_skip_nested_validation=True)
def fetch_cifar10_sub(
    *,
    classes=("bird", "cat", "ship"),
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
):
    """Load some classes of CIFAR-10: colour images of 32 x 32 pixels.

    CIFAR-10 is downloaded (170 MB) the first time, and then read from the cache folder. Where the file
    ``cifar10.npz`` is not there but ``cifar10_sub.npz`` is, and only birds, cats and ships are asked for,
    they are read from the latter, in which 19 test images of ships are missing; a warning says so.

    Parameters
    ----------
    classes : array-like of str or int, default=("bird", "cat", "ship")
        Names or numbers of the classes, each once: 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog,
        6 frog, 7 horse, 8 ship, 9 truck. Their order has no effect. The default is the paper's.

    subset : {"all", "train", "test"}, default="all"
        The training rows, 5,000 of each class, the test rows, 1,000 of each, or the one after the other.

    data_home : str or path-like, default=None
        The cache folder. None is the folder that the environment variable ``SKSWAE_DATA`` names, or else
        ``skswae`` in :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (n_samples, 3072), uint8
            Pixels from 0 to 255: the red, the green and the blue channel, each row by row.
        target : ndarray of shape (n_samples,), int64
            CIFAR-10's own labels: 2, 3 and 8 for the default classes.
        target_names : ndarray of shape (10,)
            The names of all ten labels.
        image_shape : tuple
            ``(3, 32, 32)``: channels, height, width.
        n_train : int
            With ``subset="all"``: the number of training rows, which come first.
        n_missing : int
            Test images that are missing among the rows: 0, or 19.
        DESCR : str
            Source, licence and citation.
        filename : str
            The file in the cache folder.

    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    ValueError
        If an argument is none of those named above.
    OSError
        If the data are not in the cache folder and cannot be downloaded or written; the message says how to
        put them there by hand.
    ImportError
        If they have to be downloaded, and pooch is not installed.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
    Toronto, 2009.

    Examples
    --------
    >>> from skswae.datasets import fetch_cifar10_sub
    >>> X, y = fetch_cifar10_sub(classes=["dog"], subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (5000, 3072)
    """
    numbers = _class_numbers(classes)
    folder = _cache_folder(data_home)
    source = _CIFAR10
    more: dict[str, Any] = {"n_missing": 0}
    arrays = None
    if numbers <= _SUB_CLASSES and not os.path.exists(folder / _CIFAR10.filename):
        arrays = _cached(_CIFAR10_SUB, folder, stacklevel=4)
    if arrays is None:
        arrays = _fetch(_CIFAR10, folder, download_if_missing)
    else:
        source = _CIFAR10_SUB
        if subset != "train":
            more["n_missing"] = sum(_SUB_MISSING.get(number, 0) for number in numbers)
    X, y, n_train = _part(arrays, subset)
    chosen = np.isin(y, list(numbers))
    if n_train:
        more["n_train"] = int(chosen[: n_train["n_train"]].sum())
    if more["n_missing"]:
        missing = (
            f"{more['n_missing']} of CIFAR-10's 1,000 test images of ships are missing in "
            f"{_CIFAR10_SUB.filename}"
        )
        more["DESCR"] = f"{source.description}\n{missing}, which these rows come from.\n"
        warnings.warn(
            f"{missing}. For all of them fetch into another folder (data_home or {_VARIABLE}), or put "
            f"{_CIFAR10.filename} beside it.",
            UserWarning,
            stacklevel=3,
        )
    return _bunch(source, folder, X[chosen], y[chosen], return_X_y, **more)


@validate_params(_common_constraints, prefer_skip_nested_validation=True)
def fetch_coil20(*, data_home=None, download_if_missing=True, return_X_y=False):
    """Load COIL-20: 72 views of each of 20 objects, of 32 x 32 pixels.

    It is downloaded (12 MB) the first time, and then read from the cache folder.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The cache folder. None is the folder that the environment variable ``SKSWAE_DATA`` names, or else
        ``skswae`` in :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (1440, 1024), uint8
            Pixels from 0 to 255, row by row.
        target : ndarray of shape (1440,), int64
            Labels from 1 to 20.
        target_names : ndarray of shape (20,)
            The names of labels 1 to 20.
        image_shape : tuple
            ``(1, 32, 32)``: channels, height, width.
        DESCR : str
            Source, licence and citation.
        filename : str
            The file in the cache folder.

    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    ValueError
        If an argument is none of those named above.
    OSError
        If the data are not in the cache folder and cannot be downloaded or written; the message says how to
        put them there by hand.
    ImportError
        If they have to be downloaded, and pooch or Pillow is not installed.

    References
    ----------
    S. A. Nene, S. K. Nayar, H. Murase, "Columbia Object Image Library (COIL-20)", technical report
    CUCS-005-96, Columbia University, 1996.

    Examples
    --------
    >>> from skswae.datasets import fetch_coil20
    >>> fetch_coil20().data.shape  # doctest: +SKIP
    (1440, 1024)
    """
    folder = _cache_folder(data_home)
    arrays = _fetch(_COIL20, folder, download_if_missing)
    return _bunch(_COIL20, folder, arrays["X"], arrays["y"], return_X_y)


# ---------------------------------------------------------------------------
# The mixture of the paper's Figure 1
# ---------------------------------------------------------------------------


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_modes": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "variance": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_gmm(n_samples=100, *, n_modes=5, n_features=10, variance=0.2, random_state=None):
    """Draw from a mixture of Gaussians on a line: the data of the SWAE paper's Figure 1.

    Mode i, from 0 to ``n_modes - 1``, has the mean (i, ..., i) and the covariance ``variance`` times the
    identity. Rows are independent: each comes from any mode with the same probability, so that the numbers of
    rows of the modes vary.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows.

    n_modes : int, default=5
        Number of modes.

    n_features : int, default=10
        Number of features.

    variance : float, default=0.2
        Of each feature within a mode.

    random_state : int, RandomState instance or None, default=None
        Pass an int for the same rows in each call.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
        The rows.
    y : ndarray of shape (n_samples,)
        The mode that each comes from.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    S. Sun, H. Guo, "Symmetric Wasserstein Autoencoders", UAI 2021, Figure 1.

    Examples
    --------
    >>> from skswae.datasets import make_gmm
    >>> X, y = make_gmm(1000, random_state=0)
    >>> X.shape
    (1000, 10)
    >>> print(f"{X[y == 3].mean():.1f}")
    3.0
    """
    rng = check_random_state(random_state)
    y = rng.randint(n_modes, size=n_samples)
    return y[:, None] + np.sqrt(variance) * rng.standard_normal((n_samples, n_features)), y


# ---------------------------------------------------------------------------
# Binarisation
# ---------------------------------------------------------------------------


def binarise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each pixel as black or white: for the ``augment`` parameter of every estimator.

    Each batch of a training is drawn afresh: dynamic binarisation.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Of floating-point numbers, the probabilities of ones, in [0, 1].

    generator : torch.Generator
        On the device of ``x``. Nothing else is drawn from.

    Returns
    -------
    x : Tensor of shape (n, d)
        Zeros and ones, of the dtype and on the device of the argument.

    Raises
    ------
    ValueError
        If ``x`` holds numbers outside [0, 1] by more than rounding. On other devices than a CPU, which a
        check would wait for, they become NaN instead, which the estimators refuse.

    References
    ----------
    R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from skswae import VAETransformer
    >>> from skswae.datasets import binarise
    >>> binarise(torch.tensor([[0.0, 1.0]]), torch.Generator().manual_seed(0))
    tensor([[0., 1.]])
    >>> X = load_digits().data / 16
    >>> VAETransformer(augment=binarise, likelihood="bernoulli", max_iter=1).fit(X).n_iter_
    1
    """
    rounding = 16 * torch.finfo(x.dtype).eps  # estimators put rows into units of their own, and back
    inside = (x >= -rounding) & (x <= 1 + rounding)
    if x.device.type == "cpu" and not bool(inside.all()):
        raise ValueError(
            "x must lie in [0, 1] to be binarised: divide pixels by their maximum, such as 255. "
            f"Got values from {float(x.min()):.6g} to {float(x.max()):.6g}."
        )
    drawn = torch.bernoulli(torch.where(inside, x, 0.0).clamp(0.0, 1.0), generator=generator)
    return torch.where(inside, drawn, torch.nan)


def binarised(X, random_state=None):
    """Draw each pixel as black or white, once: for rows that are validated or tested with.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The probabilities of ones, in [0, 1]; rounded to float32 first.

    random_state : int, RandomState instance or None, default=None
        Pass an int for the same rows in each call. A RandomState instance goes on where it is: the authors
        of the SWAE paper draw the validation rows of MNIST, its last 10,000 training rows, and then the test
        rows, from one that starts at 777.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float32
        Zeros and ones.

    Raises
    ------
    ValueError
        If ``X`` holds numbers outside [0, 1], NaN, or none.

    Examples
    --------
    >>> from skswae.datasets import binarised
    >>> binarised([[0.0, 0.5, 0.5, 1.0]], random_state=0)
    array([[0., 1., 1., 1.]], dtype=float32)
    """
    X = check_array(X, dtype=np.float32, input_name="X")
    low, high = float(X.min()), float(X.max())
    if low < 0 or high > 1:
        raise ValueError(
            "X must lie in [0, 1] to be binarised: divide pixels by their maximum, such as 255. "
            f"Got values from {low:.6g} to {high:.6g}."
        )
    rng = check_random_state(random_state)
    drawn = np.empty_like(X)
    for rows in gen_batches(len(X), _CHUNK_ROWS):  # the same draws as all at once, with less memory
        drawn[rows] = rng.binomial(1, X[rows])
    return drawn
