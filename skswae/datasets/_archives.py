"""Downloads: from the address of a data set to its arrays."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml

Arrays = dict[str, np.ndarray]

_RETRIES = 2  # of each request
_CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def read_openml(url: str, folder: Path, *, name: str, n_train: int) -> Arrays:
    """Download version 1 of a data set of OpenML, in which the training rows come first."""
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
    with np.errstate(invalid="ignore"):  # the hash finds what is not a byte
        X = np.asarray(bunch.data).astype(np.uint8)
        y = np.array([float(str(label).strip("'")) for label in bunch.target]).astype(np.uint8)
    return {"X_train": X[:n_train], "y_train": y[:n_train], "X_test": X[n_train:], "y_test": y[n_train:]}


def read_cifar10(url: str, folder: Path, *, file_hash: str) -> Arrays:
    """Download and unpack the archive of CIFAR-10, which is opened only if its hash is the known one."""
    unpack = _import_optional("pooch").Untar(members=[f"cifar-10-batches-py/{b}" for b in _CIFAR10_BATCHES])
    paths = {Path(path).name: path for path in _retrieve(url, folder, f"sha256:{file_hash}", unpack)}
    batches = []
    for name in _CIFAR10_BATCHES:
        with open(paths[name], "rb") as file:
            batches.append(_ArrayUnpickler(file, encoding="bytes").load())
    *train, test = batches
    return {
        "X_train": np.concatenate([batch[b"data"] for batch in train]),
        "y_train": np.concatenate([np.array(batch[b"labels"], np.uint8) for batch in train]),
        "X_test": test[b"data"],
        "y_test": np.array(test[b"labels"], np.uint8),
    }


def read_coil20(url: str, folder: Path) -> Arrays:
    """Download the images of COIL-20, and keep every fourth pixel of every fourth row."""
    images = _import_optional("PIL.Image")
    rows = []
    with zipfile.ZipFile(_retrieve(url, folder)) as archive:  # 1,440 files, which need not be unpacked
        for label in range(1, 21):
            for view in range(72):
                with (
                    archive.open(f"coil-20-proc/obj{label}__{view}.png") as file,
                    images.open(file, formats=["PNG"]) as image,
                ):
                    rows.append(np.asarray(image)[2::4, 2::4].reshape(-1))
    return {"X": np.stack(rows), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}


def _retrieve(url: str, folder: Path, known_hash: str | None = None, processor: Any = None) -> Any:
    """Download a file by pooch, and return its path or what the processor makes of it."""
    name = url.rsplit("/", 1)[-1]
    # not pooch.retrieve, which does not try again
    registry = _import_optional("pooch").create(
        path=folder, base_url="", registry={name: known_hash}, urls={name: url}, retry_if_failed=_RETRIES
    )
    return registry.fetch(name, processor=processor)


def _import_optional(name: str) -> Any:
    """Import a module that only the downloads need."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"Fetching this data set needs {name.split('.')[0]}, which is not installed: "
            'pip install "skswae[datasets]".'
        ) from error


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
