"""Downloads: what arrives, what is refused, and what the message says then."""

import functools
import hashlib
import io
import json
import os
import pathlib
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

from skswae.datasets import _fetchers, _sources, fetch_cifar10_sub, fetch_coil20, fetch_mnist
from skswae.datasets._cache import digest_of

from .conftest import SPLIT, assert_is, split_arrays

CIFAR = {"X_train": (20, 3072), "y_train": (20,), "X_test": (10, 3072), "y_test": (10,)}
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def tar_of(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def cifar_tar(arrays):
    """Batches of a label and pixels a row, in an order of their own and with other files."""
    train, test = (np.column_stack([arrays[f"y_{part}"], arrays[f"X_{part}"]]) for part in ("train", "test"))
    n = len(train) // 5
    batches = {f"data_batch_{i + 1}": train[n * i : n * i + n] for i in (3, 2, 1, 4, 0)}
    members = {f"{name}.bin": rows.tobytes() for name, rows in {"test_batch": test, **batches}.items()}
    return tar_of({"batches.meta.txt": b"no batch", **members, "readme.html": b"<html>"})


def openml(name, arrays):
    """What OpenML answers for one data set, by path."""
    X, y = (np.concatenate([arrays[f"{n}_train"], arrays[f"{n}_test"]]) for n in "Xy")
    names, labels = [f"pixel{i}" for i in range(X.shape[1])], [str(i) for i in range(10)]
    header = [f"@ATTRIBUTE {n} real" for n in names] + [f"@ATTRIBUTE class {{{','.join(labels)}}}", "@DATA"]
    rows = [",".join(map(str, [*row, label])) for row, label in zip(X, y)]
    arff = "\n".join(["@RELATION images", *header, *rows, ""]).encode()
    flags = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    features = [{"name": n, "data_type": "numeric", "is_target": "false"} for n in names]
    features += [{"name": "class", "data_type": "nominal", "is_target": "true", "nominal_value": labels}]
    features = [{"index": str(i), **flags, **feature} for i, feature in enumerate(features)]
    api, path = "/api/v1/json/data", "/data/v1/download/1"
    found = {"did": 554, "name": name, "version": 1, "status": "active", "format": "ARFF"}
    description = {
        **found, "id": "554", "version": "1", "file_id": "1", "description": "Images",
        "url": f"https://api.openml.org{path}/images.arff", "md5_checksum": hashlib.md5(arff).hexdigest(),
    }  # fmt: skip
    answers = {
        f"{api}/list/data_name/{name.lower()}/limit/2/data_version/1": {"data": {"dataset": [found]}},
        f"{api}/554": {"data_set_description": description},
        f"{api}/features/554": {"data_features": {"feature": features}},
        f"{api}/qualities/554": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": f"{len(X)}.0"}]}
        },
    }
    return {path: arff, **{path: json.dumps(answer).encode() for path, answer in answers.items()}}


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
        # older versions of scikit-learn ask for a file by its number alone
        path = request.full_url.split("openml.org", 1)[1].removesuffix("/images.arff")
        if self.get(path) is None:
            raise HTTPError(request.full_url, 404, "Not found", {}, io.BytesIO())
        return type("Response", (io.BytesIO,), {"info": dict})(self[path])


@pytest.fixture
def web(monkeypatch):
    web = Web()
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda *a, **k: web.download(*a, **k))
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", web.open)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pooch.get_logger().setLevel("ERROR")
    return web


def put_cifar(web, replace, content, known=None):
    """Put an archive at CIFAR-10's address, under its own hash or another."""
    web[URL] = content
    digest = hashlib.sha256(content if known is None else known).hexdigest()
    replace("CIFAR10", shapes=CIFAR, download=functools.partial(_sources.read_cifar10, sha256=digest))


fetch_cifar10 = functools.partial(fetch_cifar10_sub, classes=range(10))


def test_a_download_lands_in_the_cache(web, replace, tmp_path):
    arrays = split_arrays(CIFAR)
    put_cifar(web, replace, cifar_tar(arrays))
    for _ in range(2):
        assert_is(fetch_cifar10(data_home=tmp_path), arrays)
        assert os.listdir(tmp_path) == ["cifar10.npz"]  # and nothing of the archive
        assert web.asked == [URL]


@pytest.mark.parametrize("wanted", [True, False])
def test_no_download(web, replace, tmp_path, wanted):
    """The message says what to put where, and how to name another folder."""
    replace("CIFAR10", shapes=SPLIT)
    home = tmp_path / "cache"
    with pytest.raises(OSError, match="no such address" if wanted else "if_missing=False") as caught:
        fetch_cifar10(data_home=home, download_if_missing=wanted)
    arrays = "X_train (20, 12), y_train (20,), X_test (10, 12), y_test (10,)"
    for part in ("cifar10.npz", str(home), "SKSWAE_DATA", "data_home", arrays, URL):
        assert part in str(caught.value)
    assert len(web.asked) == (3 if wanted else 0)  # two more tries
    assert isinstance(caught.value.__cause__, requests.ConnectionError if wanted else type(None))
    assert not wanted or os.listdir(home) == []
    assert home.exists() == wanted


@pytest.mark.parametrize(
    ("content", "known", "message"),
    [
        (lambda a: cifar_tar({**a, "X_train": a["X_train"][:, :11]}), None, "cannot reshape"),
        (
            lambda a: cifar_tar({k: v[5:] for k, v in a.items()}),
            None,
            r"X_train must be uint8 of shape \(20, ",
        ),
        (lambda a: tar_of({"readme.html": b""}), None, "data_batch_1"),
        (cifar_tar, b"", r"hash of downloaded file.*does not match"),
    ],
)
def test_an_archive_of_something_else(web, replace, tmp_path, content, known, message):
    put_cifar(web, replace, content(split_arrays(CIFAR)), known)
    with pytest.raises(OSError, match=message):
        fetch_cifar10(data_home=tmp_path)
    assert os.listdir(tmp_path) == []


def test_packages_are_missing(remote, replace, monkeypatch, tmp_path):
    remote.fetch()
    for name in ("pooch", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    runpy.run_path(_sources.__file__)  # imports none of them
    assert_is(remote.fetch(), remote.arrays)  # what is there needs none
    with pytest.raises(ImportError, match=r'COIL-20 needs PIL.*pip install "skswae\[datasets\]"'):
        fetch_coil20(data_home=tmp_path)
    replace("CIFAR10", download=functools.partial(_sources.read_cifar10, sha256=""))
    with pytest.raises(ImportError, match=r'CIFAR-10 needs pooch.*pip install "skswae\[datasets\]"'):
        remote.fetch(data_home=tmp_path)


def put_openml(web, replace, record, name, digest=None):
    """Put a small data set at OpenML's address."""
    arrays = split_arrays()
    web.update(openml(name, arrays))
    assert getattr(_fetchers, record).download.keywords == {"name": name, "n_train": 60000}
    download = functools.partial(_sources.read_openml, name=name, n_train=20)
    replace(record, shapes=SPLIT, digest=digest or digest_of(arrays), download=download)
    return arrays


@pytest.mark.parametrize(("record", "name"), [("MNIST", "mnist_784"), ("FASHION_MNIST", "Fashion-MNIST")])
@pytest.mark.parametrize("with_pandas", [True, False])
def test_openml(web, replace, monkeypatch, tmp_path, record, name, with_pandas):
    arrays = put_openml(web, replace, record, name)
    fetch = getattr(_fetchers, f"fetch_{record.lower()}")
    if not with_pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    assert_is(fetch(data_home=tmp_path), arrays)
    assert os.listdir(tmp_path) == [getattr(_fetchers, record).filename]
    web.clear()
    bunch = fetch(data_home=tmp_path, download_if_missing=False)
    assert_is(bunch, arrays)
    assert (bunch.n_train, bunch.image_shape, bunch.target_names.shape) == (20, (1, 28, 28), (10,))
    assert "Cite" in bunch.DESCR


@pytest.mark.filterwarnings("ignore:A network error:UserWarning", "ignore:Invalid cache:RuntimeWarning")
@pytest.mark.parametrize("answer", [None, b"<html>Sign in to this network</html>", "other numbers"])
def test_openml_fails(web, replace, tmp_path, answer):
    other = answer == "other numbers"
    put_openml(web, replace, "MNIST", "mnist_784", digest="0" * 64 if other else None)
    if not other:
        web["/data/v1/download/1"] = answer
    message = "hash of its numbers.*should be 0000" if other else ""
    with pytest.raises(OSError, match=rf"MNIST could not be fetched.*{message}.*mnist.npz.*openml.org/d/554"):
        fetch_mnist(data_home=tmp_path)
    assert os.listdir(tmp_path) == []


def test_coil20(web, replace, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 72, 8, 8), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, j in sorted(np.ndindex(20, 72), key=str):  # not in the order of views
            png = io.BytesIO()
            Image.fromarray(images[i, j]).save(png, "PNG", compress_level=1)
            archive.writestr(f"coil-20-proc/obj{i + 1}__{j}.png", png.getvalue())
    kept = images[:, :, [2, 6]][:, :, :, [2, 6]]
    arrays = {"X": kept.reshape(1440, 4), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}
    shapes = {"X": (1440, 4), "y": (1440,)}
    urls = replace("COIL20", shapes=shapes, digest=digest_of(arrays)).urls
    web.update(zip(urls, [b"<html>Moved</html>", file.getvalue()]))
    bunch = fetch_coil20(data_home=tmp_path)
    np.testing.assert_array_equal(bunch.data, arrays["X"])
    np.testing.assert_array_equal(bunch.target, arrays["y"])
    assert (bunch.image_shape, bunch.target.dtype, "n_train" in bunch) == ((1, 32, 32), np.int64, False)
    assert bunch.target_names[bunch.target[-1] - 1] == "object 20"
    X, _ = fetch_coil20(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X, arrays["X"])
    assert web.asked == list(urls)
