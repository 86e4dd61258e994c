"""Downloads: what arrives, what is refused, and what the message says then."""

import functools
import hashlib
import io
import json
import os
import pathlib
import pickle
import runpy
import sys
import tarfile
import time
import zipfile
from urllib.error import HTTPError

import numpy as np
import pooch
import pytest
import requests
from PIL import Image

from skswae.datasets import (
    _archives,
    _fetchers,
    fetch_cifar10_sub,
    fetch_coil20,
    fetch_fashion_mnist,
    fetch_mnist,
)
from skswae.datasets._cache import digest_of

from .conftest import SPLIT, assert_is, split_arrays


def python2_pickle(data, labels):
    """A batch of CIFAR-10 as Python 2 wrote it: byte strings, and arrays by numpy.core.multiarray."""
    n, d = data.shape
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x05batchq\x03U\x06labelsq\x04]q\x05(",
            b"".join(b"K" + bytes([label]) for label in labels),
            b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b",
            b"\x87Rq\x09(K\x01M" + n.to_bytes(2, "little") + b"M" + d.to_bytes(2, "little") + b"\x86",
            b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + data.size.to_bytes(4, "little") + data.tobytes() + b"q\x0ctbu.",
        ]
    )


def tar_of(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def cifar_tar(arrays):
    """Batches in an order of their own, and other files, as in the real archive."""
    n = len(arrays["y_train"]) // 5
    batches = {
        f"data_batch_{i + 1}": (arrays["X_train"][rows], arrays["y_train"][rows])
        for i, rows in enumerate(slice(k * n, k * n + n) for k in range(5))
    }
    batches["test_batch"] = arrays["X_test"], arrays["y_test"]
    order = ["data_batch_4", "test_batch", "data_batch_3", "data_batch_2", "data_batch_5", "data_batch_1"]
    members = {name: python2_pickle(*batches[name]) for name in order}
    return tar_of({"batches.meta": b"no batch", **members, "readme.html": b"<html>"})


def openml(name, arrays):
    """What OpenML answers for one data set, by path."""
    X = np.concatenate([arrays["X_train"], arrays["X_test"]])
    y = np.concatenate([arrays["y_train"], arrays["y_test"]])
    names = [f"pixel{i}" for i in range(1, X.shape[1] + 1)]
    labels = ",".join(map(str, range(10)))
    arff = "".join(
        ["@RELATION images\n"]
        + [f"@ATTRIBUTE {n} real\n" for n in names]
        + [f"@ATTRIBUTE class {{{labels}}}\n@DATA\n"]
        + [",".join(map(str, [*row, label])) + "\n" for row, label in zip(X, y)]
    ).encode()
    flags = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    features = [
        {"index": str(i), "name": n, "data_type": "numeric", "is_target": "false", **flags}
        for i, n in enumerate(names)
    ]
    features.append(
        {"index": str(len(names)), "name": "class", "data_type": "nominal", "is_target": "true",
         "nominal_value": labels.split(","), **flags}
    )  # fmt: skip
    api = "/api/v1/json/data"
    description = {
        "id": "554", "name": name, "version": "1", "format": "ARFF", "status": "active", "file_id": "1",
        "description": "Images", "url": "https://api.openml.org/data/v1/download/1/images.arff",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }  # fmt: skip
    found = {"did": 554, "name": name, "version": 1, "status": "active", "format": "ARFF"}
    qualities = {"quality": [{"name": "NumberOfInstances", "value": f"{len(X)}.0"}]}
    answers = {
        f"{api}/list/data_name/{name.lower()}/limit/2/data_version/1": {"data": {"dataset": [found]}},
        f"{api}/554": {"data_set_description": description},
        f"{api}/features/554": {"data_features": {"feature": features}},
        f"{api}/qualities/554": {"data_qualities": qualities},
    }
    answers = {path: json.dumps(answer).encode() for path, answer in answers.items()}
    return {**answers, "/data/v1/download/1/images.arff": arff}


class Response(io.BytesIO):
    info = dict


class Web(dict):
    """What is at each address, for pooch and for scikit-learn; whatever is asked for is noted."""

    def __init__(self):
        self.asked = []

    def download(self, downloader, url, output_file, registry, check_only=False):
        self.asked.append(url)
        if url not in self:
            raise requests.ConnectionError("no such address")
        pathlib.Path(output_file).write_bytes(self[url])

    def open(self, request):
        self.asked.append(request.full_url)
        path = request.full_url.split("openml.org", 1)[1]
        if self.get(path) is None:
            raise HTTPError(request.full_url, 404, "Not found", {}, io.BytesIO())
        return Response(self[path])


@pytest.fixture
def web(monkeypatch):
    web = Web()
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda *a, **k: web.download(*a, **k))
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", web.open)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pooch.get_logger().setLevel("ERROR")
    return web


URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


@pytest.fixture
def serve(web, replace):
    """Put an archive at CIFAR-10's address, under its own hash or another."""

    def serve(content, known=None):
        web[URL] = content
        digest = hashlib.sha256(content if known is None else known).hexdigest()
        read = functools.partial(_archives.read_cifar10, file_hash=digest)
        replace("CIFAR10", shapes=SPLIT, download=read)

    return serve


def fetch_cifar10(home, **parameters):
    return fetch_cifar10_sub(classes=range(10), data_home=home, **parameters)


def test_a_download_lands_in_the_cache(web, serve, tmp_path):
    arrays = split_arrays()
    serve(cifar_tar(arrays))
    assert_is(fetch_cifar10(tmp_path), arrays)
    assert os.listdir(tmp_path) == ["cifar10.npz"]  # and nothing of the archive
    assert_is(fetch_cifar10(tmp_path), arrays)
    assert web.asked == [URL]


@pytest.mark.parametrize("wanted", [True, False])
def test_no_download(web, replace, tmp_path, wanted):
    """The message says what to put where, and how to name another folder."""
    replace("CIFAR10", shapes=SPLIT)
    with pytest.raises(OSError, match="no such address" if wanted else "if_missing=False") as caught:
        fetch_cifar10(tmp_path / "cache", download_if_missing=wanted)
    for part in (
        "cifar10.npz",
        str(tmp_path / "cache"),
        "SKSWAE_DATA",
        "data_home",
        "X_train (20, 12), y_train (20,), X_test (10, 12), y_test (10,)",
        URL,
    ):
        assert part in str(caught.value)
    assert len(web.asked) == (3 if wanted else 0)  # two more tries
    assert isinstance(caught.value.__cause__, requests.ConnectionError if wanted else type(None))
    assert (tmp_path / "cache").exists() == wanted
    assert not wanted or os.listdir(tmp_path / "cache") == []


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_call_nothing(serve, tmp_path, protocol, known):
    """Not even in an archive with the right hash; one with another hash is not opened."""
    evil = pickle.dumps({"data": Evil(tmp_path / "executed"), "labels": [0]}, protocol)
    serve(tar_of(dict.fromkeys(_archives._CIFAR10_BATCHES, evil)), known=None if known else b"")
    message = "mkdir has no place" if known else r"hash of downloaded file.*does not match"
    with pytest.raises(OSError, match=message):
        fetch_cifar10(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda a: cifar_tar({**a, "X_train": a["X_train"][:, :11]}),
            r"X_train must be uint8 of shape \(20, 12\)",
        ),
        (lambda a: cifar_tar({**a, "y_test": a["y_test"][:9]}), r"y_test must be uint8 of shape \(10,\)"),
        (lambda a: tar_of({"readme.html": b""}), "data_batch_1"),
    ],
)
def test_an_archive_of_something_else(serve, tmp_path, damage, message):
    serve(damage(split_arrays()))
    with pytest.raises(OSError, match=message):
        fetch_cifar10(tmp_path)
    assert os.listdir(tmp_path) == []


def test_packages_are_missing(remote, replace, monkeypatch, tmp_path):
    remote.fetch()
    for name in ("pooch", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    runpy.run_path(_archives.__file__)  # imports none of them
    assert_is(remote.fetch(), remote.arrays)  # what is there needs none
    with pytest.raises(ImportError, match=r'needs PIL.*pip install "skswae\[datasets\]"'):
        fetch_coil20(data_home=tmp_path)
    replace("CIFAR10", download=functools.partial(_archives.read_cifar10, file_hash=""))
    with pytest.raises(ImportError, match=r'needs pooch.*pip install "skswae\[datasets\]"'):
        remote.fetch(data_home=tmp_path)


FETCHERS = {"MNIST": (fetch_mnist, "mnist_784"), "FASHION_MNIST": (fetch_fashion_mnist, "Fashion-MNIST")}


@pytest.fixture
def small_openml(web, replace):
    def small_openml(record, digest=None):
        arrays, name = split_arrays(), FETCHERS[record][1]
        web.update(openml(name, arrays))
        download = getattr(_fetchers, record).download
        assert download.keywords == {"name": name, "n_train": 60000}
        download = functools.partial(_archives.read_openml, name=name, n_train=20)
        replace(record, shapes=SPLIT, digest=digest or digest_of(arrays, SPLIT), download=download)
        return arrays

    return small_openml


@pytest.mark.parametrize(
    ("record", "with_pandas"), [("MNIST", True), ("MNIST", False), ("FASHION_MNIST", True)]
)
def test_openml(web, small_openml, monkeypatch, tmp_path, record, with_pandas):
    arrays = small_openml(record)
    fetch = FETCHERS[record][0]
    if not with_pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    assert_is(fetch(data_home=tmp_path), arrays)
    assert os.listdir(tmp_path) == [getattr(_fetchers, record).filename]
    web.clear()
    bunch = fetch(data_home=tmp_path, download_if_missing=False)
    assert_is(bunch, arrays)
    assert (bunch.n_train, bunch.image_shape, bunch.target_names.shape) == (20, (1, 28, 28), (10,))
    assert "Cite" in bunch.DESCR


@pytest.mark.filterwarnings(
    "ignore:A network error occurred:UserWarning", "ignore:Invalid cache:RuntimeWarning"
)
@pytest.mark.parametrize("answer", [None, b"<html>Sign in to this network</html>", "other numbers"])
def test_openml_fails(web, small_openml, tmp_path, answer):
    if answer == "other numbers":
        small_openml("MNIST", digest="0" * 64)
        message = "hash of its numbers.*should be 0000"
    else:
        small_openml("MNIST")
        web["/data/v1/download/1/images.arff"] = answer
        message = ""
    with pytest.raises(OSError, match=rf"MNIST could not be fetched.*{message}") as caught:
        fetch_mnist(data_home=tmp_path)
    for part in ("mnist.npz", "SKSWAE_DATA", "X_train (20, 12)", "https://www.openml.org/d/554"):
        assert part in str(caught.value)
    assert caught.value.__cause__ is not None
    assert os.listdir(tmp_path) == []


def test_coil20(web, replace, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 72, 8, 8), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(
            f"{i + 1}__{j}" for i in range(20) for j in range(72)
        ):  # not in the order of views
            i, j = map(int, name.split("__"))
            png = io.BytesIO()
            Image.fromarray(images[i - 1, j]).save(png, "PNG", compress_level=1)
            archive.writestr(f"coil-20-proc/obj{name}.png", png.getvalue())
    kept = images[:, :, [2, 6]][:, :, :, [2, 6]]
    arrays = {"X": kept.reshape(1440, 4), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}
    shapes = {"X": (1440, 4), "y": (1440,)}
    urls = replace("COIL20", shapes=shapes, digest=digest_of(arrays, shapes)).urls
    web.update(zip(urls, [b"<html>Moved</html>", file.getvalue()]))
    bunch = fetch_coil20(data_home=tmp_path)
    np.testing.assert_array_equal(bunch.data, arrays["X"])
    np.testing.assert_array_equal(bunch.target, arrays["y"])
    assert bunch.image_shape == (1, 32, 32)
    assert bunch.target_names[bunch.target[-1] - 1] == "object 20"
    assert "n_train" not in bunch
    assert web.asked == list(urls)
    X, y = fetch_coil20(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X, arrays["X"])
    assert y.dtype == np.int64
    assert web.asked == list(urls)
