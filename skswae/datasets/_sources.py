"""The data sets that are fetched: a record of each, and its download, which alone needs pooch or Pillow."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml

from skswae.datasets._cache import Arrays, Source

_RETRIES = 2  # of each request
_CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
_OBJECTS = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"


@contextlib.contextmanager
def _patience(seconds: float = 60.0) -> Iterator[None]:
    """Give up on a server that is silent, which ``fetch_openml`` waits for; a limit of the user's stays."""
    with _limit:  # of the process: two fetches at once would leave it behind
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(seconds if before is None else before)
        try:
            yield
        finally:
            socket.setdefaulttimeout(before)


_limit = threading.Lock()


def read_openml(url: str, folder: Path, *, name: str, n_train: int) -> Arrays:
    """Download version 1 of a data set of OpenML, in which the training rows come first."""
    with _patience():
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


def read_cifar10(url: str, folder: Path, *, sha256: str) -> Arrays:
    """Download the binary version of CIFAR-10: bytes, where the Python version has pickles."""
    parts = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    members = [f"cifar-10-batches-bin/{name}" for names in parts.values() for name in names]
    untar = importlib.import_module("pooch").Untar(members=members)
    paths = {Path(path).name: path for path in _retrieve(url, folder, f"sha256:{sha256}", untar)}
    arrays = {}
    for part, names in parts.items():
        images = np.concatenate([np.fromfile(paths[name], np.uint8) for name in names]).reshape(-1, 3073)
        arrays[f"X_{part}"], arrays[f"y_{part}"] = images[:, 1:], images[:, 0]
    return arrays


def read_coil20(url: str, folder: Path) -> Arrays:
    """Download the images of COIL-20, and keep every fourth pixel of every fourth row."""
    images = importlib.import_module("PIL.Image")
    names = [f"coil-20-proc/obj{label}__{view}.png" for label in range(1, 21) for view in range(72)]
    rows = []
    with zipfile.ZipFile(_retrieve(url, folder)) as archive:  # 1,440 files, which need not be unpacked
        for name in names:
            with archive.open(name) as file, images.open(file, formats=["PNG"]) as image:
                rows.append(np.asarray(image)[2::4, 2::4].reshape(-1))
    return {"X": np.stack(rows), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}


def _retrieve(url: str, folder: Path, known_hash: str | None = None, processor: Any = None) -> Any:
    """Download a file by pooch, and return its path or what the processor makes of it."""
    name = url.rsplit("/", 1)[-1]
    # not pooch.retrieve, which does not try again
    registry = importlib.import_module("pooch").create(
        path=folder, base_url="", registry={name: known_hash}, urls={name: url}, retry_if_failed=_RETRIES
    )
    return registry.fetch(name, processor=processor)


MNIST = Source(
    name="MNIST",
    filename="mnist.npz",
    shapes={"X_train": (60000, 784), "y_train": (60000,), "X_test": (10000, 784), "y_test": (10000,)},
    digest="30c1d221017c4324c9e9cd6acd79996345a8d80bb68608ecba07b8f501924af6",
    image_shape=(1, 28, 28),
    target_names=tuple("0123456789"),
    urls=("https://www.openml.org/d/554",),
    download=partial(read_openml, name="mnist_784", n_train=60000),
    description="""MNIST: handwritten digits
=========================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set mnist_784, version 1 (https://www.openml.org/d/554), after
http://yann.lecun.com/exdb/mnist/. The authors' page states no licence; Yann LeCun and Corinna Cortes hold the
copyright, and it is commonly given as CC BY-SA 3.0.
""",
    citation='Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document '
    'recognition", Proceedings of the IEEE 86(11), 1998.',
)

FASHION_MNIST = dataclasses.replace(
    MNIST,
    name="Fashion-MNIST",
    filename="fashion_mnist.npz",
    digest="9ebc38be682e76917eeff92416700b02d4c8ee4d4f090ac9bd6d624082d4675f",
    target_names=tuple(_CLOTHES.split(", ")),
    urls=("https://www.openml.org/d/40996",),
    download=partial(read_openml, name="Fashion-MNIST", n_train=60000),
    description="""Fashion-MNIST: articles of clothing
===================================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set Fashion-MNIST, version 1 (https://www.openml.org/d/40996), after
https://github.com/zalandoresearch/fashion-mnist. MIT licence, copyright Zalando SE.
""",
    citation='H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine '
    'Learning Algorithms", arXiv:1708.07747, 2017.',
)

CIFAR10 = Source(
    name="CIFAR-10",
    filename="cifar10.npz",
    shapes={"X_train": (50000, 3072), "y_train": (50000,), "X_test": (10000, 3072), "y_test": (10000,)},
    digest=None,
    image_shape=(3, 32, 32),
    target_names=tuple(_OBJECTS.split(", ")),
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    download=partial(read_cifar10, sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    hint=" For birds, cats and ships cifar10_sub.npz does as well.",
    description="""CIFAR-10: some of its classes
=============================

Colour images of 32 x 32 pixels from 0 to 255, 3,072 features: the red, the green and the blue channel, each
row by row. Of each of the 10 classes 5,000 training and 1,000 test rows, in the original order.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, which states no licence and asks for a citation.
""",
    citation='A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, '
    "University of Toronto, 2009.",
)

CIFAR10_SUB = dataclasses.replace(  # without 19 test images of ships
    CIFAR10,
    name="CIFAR-10's birds, cats and ships",
    filename="cifar10_sub.npz",
    shapes={"X_train": (15000, 3072), "y_train": (15000,), "X_test": (2981, 3072), "y_test": (2981,)},
    digest="9551c42417a7ad56b8fb68003664d0faf24ddafa07cb038c22c7e8e2a518ac73",
)

COIL20 = Source(
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
    download=read_coil20,
    description="""COIL-20: objects on a turntable
===============================

1,440 grey images of 32 x 32 pixels from 0 to 255, 1,024 features: 20 objects, labelled 1 to 20, in 72 views
each, 5 degrees apart, sorted by object and view. There is no split.

Source: the processed images of the Columbia Object Image Library
(https://cave.cs.columbia.edu/repository/COIL-20), 128 x 128 pixels, of which every fourth pixel of every
fourth row is kept, from the third on. Another 32 x 32 version in use, COIL20.mat of D. Cai, has means of
4 x 4 pixels instead. The report states no licence; the images are made available for research purposes.
""",
    citation='S. A. Nene, S. K. Nayar, H. Murase, "Columbia Object Image Library (COIL-20)", technical '
    "report CUCS-005-96, Columbia University, 1996.",
)
