"""Fetchers against servers on loopback, with small data of the real formats; the mixture; binarisation."""

import dataclasses
import errno
import gzip
import hashlib
import http.server
import io
import itertools
import json
import os
import pathlib
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import zipfile

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from skswae import AETransformer, VAETransformer, datasets
from skswae.datasets import (
    binarise,
    binarised,
    fetch_cifar10_sub,
    fetch_coil20,
    fetch_fashion_mnist,
    fetch_mnist,
    make_gmm,
)
from tests.estimators import cheap

SPLIT = {"X_train": (20, 12), "y_train": (20,), "X_test": (10, 12), "y_test": (10,)}


# ---------------------------------------------------------------------------
# A server, and data of the real formats
# ---------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Answers are bytes, or functions of the handler, by path; whatever is asked for is noted."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.asked = {}, []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path)
        if callable(answer):
            answer = answer(self)
        elif answer is None:
            self.send_error(404)
        if isinstance(answer, bytes):
            self.send(answer, len(answer))

    def send(self, body, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def cut_in_the_middle(body):
    return lambda handler: handler.send(body[: len(body) // 2], len(body))


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch, tmp_path):
    """No proxy, no folder of the user's, no waiting between tries, no progress on the terminal."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SKSWAE_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn"))
    monkeypatch.setattr(datasets, "_RETRIES", 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pooch.get_logger().setLevel("ERROR")


def replace(monkeypatch, name, **changes):
    source = dataclasses.replace(getattr(datasets, name), **changes)
    monkeypatch.setattr(datasets, name, source)
    return source


def split_arrays(shapes=SPLIT, classes=10, seed=0):
    rng = np.random.default_rng(seed)
    return {
        key: rng.integers(0, 256, shape, np.uint8) if len(shape) == 2
        # every class, in no order
        else rng.permutation(np.arange(shape[0]) % classes).astype(np.uint8)
        for key, shape in shapes.items()
    }  # fmt: skip


def save(folder, source, arrays, **more):
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / source.filename, **arrays, **more)


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


@dataclasses.dataclass
class Remote:
    """A CIFAR-10 of 30 rows on the server, and an empty cache folder."""

    server: Server
    source: object
    arrays: dict
    tar: bytes
    home: pathlib.Path
    monkeypatch: pytest.MonkeyPatch

    def serve(self, content, known=None):
        """Serve an archive under the hash of another."""
        digest = hashlib.sha256(content if known is None else known).hexdigest()
        self.server.answers["/cifar-10-python.tar.gz"] = content
        self.source = replace(self.monkeypatch, "_CIFAR10", file_hash=digest)

    def fetch(self, **parameters):
        return fetch_cifar10_sub(**{"classes": range(10), "data_home": self.home, **parameters})

    @property
    def files(self):
        return sorted(os.listdir(self.home)) if self.home.exists() else None


@pytest.fixture
def remote(server, monkeypatch, tmp_path):
    arrays = split_arrays()
    tar = cifar_tar(arrays)
    replace(monkeypatch, "_CIFAR10", shapes=SPLIT, urls=(server.url("/cifar-10-python.tar.gz"),))
    remote = Remote(server, None, arrays, tar, tmp_path / "cache", monkeypatch)
    remote.serve(tar)
    return remote


def assert_is(bunch, arrays):
    np.testing.assert_array_equal(bunch.data, np.concatenate([arrays["X_train"], arrays["X_test"]]))
    np.testing.assert_array_equal(bunch.target, np.concatenate([arrays["y_train"], arrays["y_test"]]))
    assert bunch.data.dtype == np.uint8
    assert bunch.target.dtype == np.int64


# ---------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------


def test_a_download_lands_in_the_cache(remote):
    assert_is(remote.fetch(), remote.arrays)
    assert remote.files == ["cifar10.npz"]  # and nothing of the archive
    again = remote.fetch()
    assert_is(again, remote.arrays)
    assert again.filename == str(remote.home / "cifar10.npz")
    assert len(remote.server.asked) == 1


def assert_helps(error, remote):
    """The message says what to put where, and how to name another folder."""
    message = str(error)
    for part in (
        "cifar10.npz",
        str(remote.home),
        "SKSWAE_DATA",
        "data_home",
        "X_train (20, 12), y_train (20,), X_test (10, 12), y_test (10,)",
        remote.source.urls[0],
    ):
        assert part in message
    assert not remote.files


def test_not_found(remote):
    del remote.server.answers["/cifar-10-python.tar.gz"]
    with pytest.raises(OSError, match=r"could not be fetched.*404") as caught:
        remote.fetch()
    assert_helps(caught.value, remote)
    assert type(caught.value.__cause__).__module__.startswith("requests")
    assert len(remote.server.asked) == 2  # one try, one more


def test_a_connection_is_cut(remote):
    remote.server.answers["/cifar-10-python.tar.gz"] = cut_in_the_middle(remote.tar)
    with pytest.raises(OSError, match="could not be fetched") as caught:
        remote.fetch()
    assert_helps(caught.value, remote)


def test_a_second_try_succeeds(remote):
    tries = [cut_in_the_middle(remote.tar), lambda handler: remote.tar]
    remote.server.answers["/cifar-10-python.tar.gz"] = lambda handler: tries.pop(0)(handler)
    assert_is(remote.fetch(), remote.arrays)
    assert not tries


def test_a_second_address(remote):
    urls = remote.server.url("/nothing.tar.gz"), *remote.source.urls
    replace(remote.monkeypatch, "_CIFAR10", urls=urls)
    assert_is(remote.fetch(), remote.arrays)
    assert remote.server.asked[0] == "/nothing.tar.gz"


def test_offline(remote):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/cifar-10-python.tar.gz"
    remote.source = replace(remote.monkeypatch, "_CIFAR10", urls=(url,))
    with pytest.raises(OSError, match=r"could not be fetched.*ConnectionError") as caught:
        remote.fetch()
    assert_helps(caught.value, remote)


def test_a_silent_server(remote):
    """A server that accepts and says nothing is given up."""
    done = threading.Event()
    remote.server.answers["/cifar-10-python.tar.gz"] = lambda handler: done.wait(3)
    remote.monkeypatch.setattr(datasets, "_TIMEOUT", 0.1)
    try:
        with pytest.raises(OSError, match="timed out"):
            remote.fetch()
    finally:
        done.set()


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_hash_is_looked_at_before_the_pickles(remote, tmp_path):
    flag = tmp_path / "executed"
    # one that the unpickler would read, in which a list is for a label: anything but an archive of batches
    evil = tar_of({f"{n}": pickle.dumps(Evil(flag)) for n in datasets._CIFAR10_BATCHES})
    remote.serve(evil, known=remote.tar)
    unpickled = []
    remote.monkeypatch.setattr(datasets, "_ArrayUnpickler", lambda *args, **kw: unpickled.append(args))
    with pytest.raises(OSError, match=r"hash of downloaded file.*does not match") as caught:
        remote.fetch()
    assert_helps(caught.value, remote)
    assert not flag.exists()
    assert not unpickled


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_call_nothing(remote, tmp_path, protocol):
    """Not even in an archive with the right hash."""
    flag = tmp_path / "executed"
    evil = pickle.dumps({"data": Evil(flag), "labels": [0]}, protocol)
    remote.serve(tar_of(dict.fromkeys(datasets._CIFAR10_BATCHES, evil)))
    with pytest.raises(OSError, match="mkdir has no place") as caught:
        remote.fetch()
    assert isinstance(caught.value.__cause__, pickle.UnpicklingError)
    assert not flag.exists()
    assert not remote.files


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: {**a, "X_train": a["X_train"][:, :11]}, r"X_train must be uint8 of shape \(20, 12\)"),
        (lambda a: {**a, "y_test": a["y_test"][:9]}, r"y_test must be uint8 of shape \(10,\)"),
    ],
)
def test_an_archive_of_something_else(remote, damage, message):
    remote.serve(cifar_tar(damage(remote.arrays)))
    with pytest.raises(OSError, match=message):
        remote.fetch()
    assert not remote.files


def test_an_archive_without_a_batch(remote):
    remote.serve(tar_of({"data_batch_1": python2_pickle(remote.arrays["X_test"], remote.arrays["y_test"])}))
    with pytest.raises(OSError, match="KeyError: 'data_batch_2'"):
        remote.fetch()


def test_pooch_is_missing(remote, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'needs pooch.*pip install "skswae\[datasets\]"'):
        remote.fetch()
    assert not remote.files
    save(remote.home, remote.source, remote.arrays, digest=datasets._digest(remote.arrays, SPLIT))
    assert_is(remote.fetch(), remote.arrays)  # what is there needs no pooch


# ---------------------------------------------------------------------------
# The cache folder
# ---------------------------------------------------------------------------


def test_no_download_if_not_wanted(remote):
    with pytest.raises(OSError, match="download_if_missing=False") as caught:
        remote.fetch(download_if_missing=False)
    assert_helps(caught.value, remote)
    assert remote.files is None
    assert not remote.server.asked


def other_numbers(path):
    with np.load(path) as npz:
        arrays = dict(npz)
    arrays["X_train"][3, 4] ^= 1
    np.savez_compressed(path, **arrays)


def other_dtype(path):
    with np.load(path) as npz:
        arrays = dict(npz)
    np.savez_compressed(path, **{**arrays, "y_train": arrays["y_train"].astype(np.int64)})


def without_a_key(path):
    with np.load(path) as npz:
        arrays = dict(npz)
    del arrays["y_test"]
    np.savez_compressed(path, **arrays)


def pickled_objects(path):
    np.savez_compressed(path, **dict.fromkeys([*SPLIT, "digest"], np.array([Evil(path.parent / "executed")])))


def flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


DAMAGES = [
    other_numbers,
    other_dtype,
    without_a_key,
    pickled_objects,
    flipped_bit,
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"<html>Sign in to this network</html>"),
    lambda path: path.write_bytes(pickle.dumps(Evil(path.parent / "executed"))),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_fetched_again(remote, damage):
    remote.fetch()
    damage(remote.home / "cifar10.npz")
    with (
        pytest.warns(
            UserWarning, match="cifar10.npz' is damaged, or is not CIFAR-10, and is not used"
        ) as seen,
        pytest.raises(OSError, match="download_if_missing=False"),
    ):
        fetch_cifar10_sub(classes=range(10), data_home=remote.home, download_if_missing=False)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="is damaged"):
        assert_is(remote.fetch(), remote.arrays)
    assert len(remote.server.asked) == 2
    assert_is(remote.fetch(), remote.arrays)  # without a warning
    assert remote.files == ["cifar10.npz"]


def test_a_damaged_file_stays_if_there_is_no_other(remote):
    remote.fetch()
    flipped_bit(remote.home / "cifar10.npz")
    before = (remote.home / "cifar10.npz").read_bytes()
    remote.server.answers.clear()
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(OSError, match="404"):
        remote.fetch()
    assert (remote.home / "cifar10.npz").read_bytes() == before
    assert remote.files == ["cifar10.npz"]


def test_a_cache_that_can_only_be_read(remote, monkeypatch):
    remote.fetch()

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "read-only")

    for owner, name in [(os, "mkdir"), (os, "replace"), (os, "unlink"), (datasets.np, "savez_compressed")]:
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(datasets.tempfile, "TemporaryDirectory", refuse)
    assert_is(remote.fetch(), remote.arrays)


def assert_cannot_be_written(remote, home):
    with pytest.raises(OSError, match="cannot be written") as caught:
        remote.fetch(data_home=home)
    for part in (str(home), "data_home", "SKSWAE_DATA"):
        assert part in str(caught.value)
    assert not remote.server.asked  # before anything is downloaded


def test_a_folder_that_cannot_be_made(remote, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert_cannot_be_written(remote, tmp_path / "file")
    assert_cannot_be_written(remote, tmp_path / "file" / "below")


if hasattr(os, "geteuid"):  # elsewhere a folder's mode binds nobody

    @pytest.fixture
    def unprivileged():
        """The user of most systems that owns nothing, where root runs the tests: root may write anywhere."""
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        yield
        if before == 0:
            os.seteuid(before)

    @pytest.fixture
    def read_only():
        """A folder that anybody can look into, which pytest's own are not."""
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o755)
            folder = pathlib.Path(parent) / "home"
            folder.mkdir()
            os.chmod(folder, 0o555)
            yield folder
            os.chmod(folder, 0o755)

    def test_a_folder_that_cannot_be_written(remote, read_only, unprivileged):
        assert list(read_only.iterdir()) == []  # it can be read
        assert_cannot_be_written(remote, read_only)


def test_a_file_that_cannot_be_read(remote):
    (remote.home / "cifar10.npz").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cifar10\.npz' cannot be read"):
        remote.fetch()
    assert not remote.server.asked


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_writing_stops_halfway(remote, monkeypatch, error):
    def stop(path, **arrays):
        pathlib.Path(path).write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(datasets.np, "savez_compressed", stop)
        with pytest.raises(type(error)) as caught:
            remote.fetch()
    assert remote.files == []
    if isinstance(error, OSError):
        assert "cifar10.npz' cannot be written" in str(caught.value)
    assert_is(remote.fetch(), remote.arrays)


FETCH_IN_A_PROCESS = f"""
import dataclasses, sys
from skswae import datasets
assert not {{"pooch", "PIL", "matplotlib"}} & set(sys.modules)
url, file_hash, home = sys.argv[1:]
datasets._CIFAR10 = dataclasses.replace(
    datasets._CIFAR10, shapes={SPLIT}, urls=(url,), file_hash=file_hash
)
X, y = datasets.fetch_cifar10_sub(classes=range(10), data_home=home, return_X_y=True)
print(int(X.sum()) + int(y.sum()))
"""


def test_two_processes_at_once(remote):
    both = threading.Barrier(2)

    def answer(handler):
        both.wait(60)  # neither is answered before both have asked
        return remote.tar

    remote.server.answers["/cifar-10-python.tar.gz"] = answer
    root = pathlib.Path(datasets.__file__).parent.parent
    other = subprocess.Popen(
        [sys.executable, "-c", FETCH_IN_A_PROCESS, *remote.source.urls, remote.source.file_hash, remote.home],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    remote.monkeypatch.setattr(datasets, "_TIMEOUT", 60)
    try:
        assert_is(remote.fetch(), remote.arrays)
    finally:
        out, err = other.communicate(timeout=100)
    assert out == f"{sum(int(array.sum(dtype=np.int64)) for array in remote.arrays.values())}\n", err
    assert remote.files == ["cifar10.npz"]
    assert_is(remote.fetch(), remote.arrays)
    assert len(remote.server.asked) == 2


def test_which_folder(remote, monkeypatch, tmp_path):
    def home(**parameters):
        return fetch_cifar10_sub(classes=[0], **parameters).filename

    assert home() == str(tmp_path / "scikit_learn" / "skswae" / "cifar10.npz")
    monkeypatch.setenv("SKSWAE_DATA", str(tmp_path / "variable"))
    assert home() == str(tmp_path / "variable" / "cifar10.npz")
    assert home(data_home=str(tmp_path / "argument")) == str(tmp_path / "argument" / "cifar10.npz")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("SKSWAE_DATA", os.path.join("~", "tilde"))
    assert home() == str(tmp_path / "tilde" / "cifar10.npz")
    monkeypatch.setenv("SKSWAE_DATA", "")
    assert home() == str(tmp_path / "scikit_learn" / "skswae" / "cifar10.npz")
    assert len(remote.server.asked) == 4


def test_scikit_learn_s_folder_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="data_home argument or the environment variable SKSWAE_DATA"):
        fetch_coil20()


# ---------------------------------------------------------------------------
# MNIST and Fashion-MNIST, from OpenML
# ---------------------------------------------------------------------------

FETCHERS = {"_MNIST": (fetch_mnist, "mnist_784"), "_FASHION_MNIST": (fetch_fashion_mnist, "fashion-mnist")}


def openml(server, name, arrays, monkeypatch):
    """Answer as OpenML does for one data set, and lead scikit-learn's requests to the server."""
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
    answers = {
        f"{api}/list/data_name/{name}/limit/2/data_version/1": {"data": {"dataset": [found]}},
        f"{api}/554": {"data_set_description": description},
        f"{api}/features/554": {"data_features": {"feature": features}},
        f"{api}/qualities/554": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": f"{len(X)}.0"}]}
        },
    }
    server.answers.update({path: json.dumps(answer).encode() for path, answer in answers.items()})

    def compressed(handler):
        body = gzip.compress(arff)
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.answers["/data/v1/download/1/images.arff"] = compressed
    timeouts = []

    def urlopen(request, *args, **kwargs):
        timeouts.append(socket.getdefaulttimeout())
        path = request.full_url.split("openml.org", 1)[1]
        led = urllib.request.Request(server.url(path), headers=dict(request.header_items()))
        try:
            return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(led, *args, **kwargs)
        except urllib.request.HTTPError as error:
            error.close()  # scikit-learn leaves it open
            raise

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    return timeouts


def small_openml(server, monkeypatch, record, seed=0):
    arrays = split_arrays(seed=seed)
    timeouts = openml(server, FETCHERS[record][1], arrays, monkeypatch)
    replace(monkeypatch, record, shapes=SPLIT, digest=datasets._digest(arrays, SPLIT))
    return arrays, timeouts


@pytest.mark.parametrize("with_pandas", [True, False])
@pytest.mark.parametrize("record", FETCHERS)
def test_openml(server, monkeypatch, tmp_path, record, with_pandas):
    arrays, timeouts = small_openml(server, monkeypatch, record)
    fetch = FETCHERS[record][0]
    if not with_pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    assert_is(fetch(data_home=tmp_path / "cache"), arrays)
    assert os.listdir(tmp_path / "cache") == [getattr(datasets, record).filename]
    assert set(timeouts) == {60.0}  # scikit-learn sets none, and would wait for ever
    assert socket.getdefaulttimeout() is None
    asked = len(server.asked)
    bunch = fetch(data_home=tmp_path / "cache", download_if_missing=False)
    assert_is(bunch, arrays)
    assert len(server.asked) == asked
    assert bunch.n_train == 20
    assert bunch.image_shape == (1, 28, 28)
    assert bunch.target_names.shape == (10,)
    assert "Cite" in bunch.DESCR


def test_openml_has_something_else(server, monkeypatch, tmp_path):
    arrays, _ = small_openml(server, monkeypatch, "_MNIST")
    arrays["X_train"][7, 7] ^= 1
    digest = datasets._digest(arrays, SPLIT)
    replace(monkeypatch, "_MNIST", digest=digest)
    with pytest.raises(OSError, match=f"MNIST could not be fetched.*hash of its numbers.*should be {digest}"):
        fetch_mnist(data_home=tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.filterwarnings(
    "ignore:A network error occurred:UserWarning", "ignore:Invalid cache:RuntimeWarning"
)
@pytest.mark.parametrize(
    "path",
    ["/api/v1/json/data/list/data_name/mnist_784/limit/2/data_version/1", "/data/v1/download/1/images.arff"],
)
def test_openml_fails(server, monkeypatch, tmp_path, path):
    small_openml(server, monkeypatch, "_MNIST")
    before = socket.getdefaulttimeout()
    for answer in (None, cut_in_the_middle(b"{}" * 1000), b"<html>Sign in to this network</html>"):
        server.answers[path] = answer
        with pytest.raises(OSError, match="MNIST could not be fetched") as caught:
            fetch_mnist(data_home=tmp_path / "cache")
        for part in ("mnist.npz", "SKSWAE_DATA", "X_train (20, 12)", "https://www.openml.org/d/554"):
            assert part in str(caught.value)
        assert caught.value.__cause__ is not None
    assert os.listdir(tmp_path / "cache") == []
    assert socket.getdefaulttimeout() is before


def test_a_timeout_of_the_user_s_is_kept(server, monkeypatch, tmp_path):
    _, timeouts = small_openml(server, monkeypatch, "_MNIST")
    socket.setdefaulttimeout(33.0)
    try:
        fetch_mnist(data_home=tmp_path / "cache")
        assert socket.getdefaulttimeout() == 33.0
    finally:
        socket.setdefaulttimeout(None)
    assert set(timeouts) == {33.0}


# ---------------------------------------------------------------------------
# COIL-20
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coil():
    """An archive of 20 x 72 images of 8 x 8 pixels, in the order of their names, and the arrays of it."""
    images = np.random.default_rng(0).integers(0, 256, (20, 72, 8, 8), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(f"{i + 1}__{j}" for i in range(20) for j in range(72)):
            i, j = map(int, name.split("__"))
            png = io.BytesIO()
            Image.fromarray(images[i - 1, j]).save(png, "PNG", compress_level=1)
            archive.writestr(f"coil-20-proc/obj{name}.png", png.getvalue())
    kept = images[:, :, [2, 6]][:, :, :, [2, 6]]
    return file.getvalue(), {"X": kept.reshape(1440, 4), "y": np.repeat(np.arange(1, 21, dtype=np.uint8), 72)}


def test_coil20(server, monkeypatch, tmp_path, coil):
    archive, arrays = coil
    server.answers["/coil-20-proc.zip"] = archive
    server.answers["/gone/coil-20-proc.zip"] = b"<html>Moved</html>"
    shapes = {"X": (1440, 4), "y": (1440,)}
    urls = server.url("/gone/coil-20-proc.zip"), server.url("/coil-20-proc.zip")
    digest = datasets._digest(arrays, shapes)
    replace(monkeypatch, "_COIL20", shapes=shapes, digest=digest, urls=urls)
    bunch = fetch_coil20(data_home=tmp_path / "cache")
    np.testing.assert_array_equal(bunch.data, arrays["X"])
    np.testing.assert_array_equal(bunch.target, arrays["y"])
    assert bunch.image_shape == (1, 32, 32)
    assert bunch.target_names[bunch.target[-1] - 1] == "object 20"
    assert "n_train" not in bunch
    n_asked = len(server.asked)
    X, y = fetch_coil20(data_home=tmp_path / "cache", return_X_y=True)
    np.testing.assert_array_equal(X, arrays["X"])
    assert y.dtype == np.int64
    assert len(server.asked) == n_asked

    replace(monkeypatch, "_COIL20", digest="0" * 64)
    with (
        pytest.warns(UserWarning, match="coil20.npz' is damaged") as seen,
        pytest.raises(OSError, match=r"hash of its numbers.*X \(1440, 4\), y \(1440,\)"),
    ):
        fetch_coil20(data_home=tmp_path / "cache")
    assert seen[0].filename == __file__


def test_pillow_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'needs PIL.*pip install "skswae\[datasets\]"'):
        fetch_coil20(data_home=tmp_path)


# ---------------------------------------------------------------------------
# Subsets and classes
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("record", FETCHERS)
def test_subsets(monkeypatch, tmp_path, record):
    arrays = split_arrays()
    source = replace(monkeypatch, record, shapes=SPLIT, digest=datasets._digest(arrays, SPLIT))
    save(tmp_path, source, arrays)
    fetch = FETCHERS[record][0]
    for subset in ("train", "test"):
        bunch = fetch(subset=subset, data_home=tmp_path)
        np.testing.assert_array_equal(bunch.data, arrays[f"X_{subset}"])
        np.testing.assert_array_equal(bunch.target, arrays[f"y_{subset}"])
        assert "n_train" not in bunch
        X, y = fetch(subset=subset, data_home=tmp_path, return_X_y=True)
        np.testing.assert_array_equal(X, arrays[f"X_{subset}"])
        np.testing.assert_array_equal(y, arrays[f"y_{subset}"])
    assert fetch(data_home=tmp_path).n_train == 20


@pytest.mark.parametrize(
    "classes", [("bird", "ship"), [8, 2], np.array([2, 8]), ["ship", 2], {"bird", "ship"}]
)
@pytest.mark.parametrize("subset", ["train", "test", "all"])
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
    if subset == "all":
        assert bunch.n_train == np.isin(remote.arrays["y_train"], [2, 8]).sum()
    else:
        assert "n_train" not in bunch


def test_the_paper_s_classes_are_the_default(remote):
    assert set(fetch_cifar10_sub(data_home=remote.home).target) == {2, 3, 8}


SUB = {"X_train": (12, 12), "y_train": (12,), "X_test": (6, 12), "y_test": (6,)}


@pytest.fixture
def sub(remote):
    """cifar10_sub.npz in the cache folder, and no cifar10.npz."""
    arrays = split_arrays(SUB, classes=3, seed=1)
    for key in ("y_train", "y_test"):
        arrays[key] = np.array([2, 3, 8], np.uint8)[arrays[key]]
    source = replace(
        remote.monkeypatch, "_CIFAR10_SUB", shapes=SUB, digest=datasets._digest(arrays, SUB)
    )  # fmt: skip
    save(remote.home, source, arrays, train_index=np.arange(12))
    return arrays


def test_the_file_of_three_classes(remote, sub):
    with pytest.warns(UserWarning, match="19 of CIFAR-10's 1,000 test images of ships are missing") as seen:
        bunch = fetch_cifar10_sub(data_home=remote.home)
    assert [warning.filename for warning in seen] == [__file__]
    assert_is(bunch, sub)
    assert bunch.n_missing == 19
    assert "19 of CIFAR-10's" in bunch.DESCR
    assert bunch.filename.endswith("cifar10_sub.npz")
    with pytest.warns(UserWarning, match="19 of"):
        X, _ = fetch_cifar10_sub(data_home=remote.home, subset="test", return_X_y=True)
    np.testing.assert_array_equal(X, sub["X_test"])
    # nothing is missing of these, and nothing said
    for parameters in ({"subset": "train"}, {"classes": ["cat", "bird"]}):
        bunch = fetch_cifar10_sub(data_home=remote.home, **parameters)
        assert bunch.n_missing == 0
        assert "missing" not in bunch.DESCR
    assert not remote.server.asked


def test_other_classes_are_not_in_it(remote, sub):
    bunch = fetch_cifar10_sub(classes=["bird", "dog"], data_home=remote.home)
    assert set(bunch.target) == {2, 5}
    assert remote.files == ["cifar10.npz", "cifar10_sub.npz"]
    assert len(remote.server.asked) == 1
    # and now that there is the whole, it is what is read
    bunch = fetch_cifar10_sub(data_home=remote.home)
    assert bunch.n_missing == 0
    assert bunch.filename.endswith("cifar10.npz")


def test_the_file_of_three_classes_is_checked(remote, sub):
    other_numbers(remote.home / "cifar10_sub.npz")
    with pytest.warns(UserWarning, match="cifar10_sub.npz' is damaged") as seen:
        bunch = fetch_cifar10_sub(data_home=remote.home)
    assert seen[0].filename == __file__
    assert bunch.n_missing == 0
    assert len(remote.server.asked) == 1


@pytest.mark.parametrize(
    ("fetch", "parameters", "message"),
    [
        (
            fetch_mnist,
            {"subset": "validation"},
            "'subset' parameter.*'all', 'train'|'subset'.*Got 'validation'",
        ),
        (fetch_fashion_mnist, {"subset": None}, "'subset' parameter.*Got None"),
        (fetch_cifar10_sub, {"subset": 1}, "'subset' parameter.*Got 1"),
        (fetch_coil20, {"data_home": 3}, "'data_home' parameter.*Got 3"),
        (fetch_coil20, {"download_if_missing": "no"}, "'download_if_missing' parameter.*Got 'no'"),
        (fetch_mnist, {"return_X_y": 2}, "'return_X_y' parameter.*Got 2"),
        (fetch_cifar10_sub, {"classes": "cat"}, "'classes' parameter.*Got 'cat'"),
        (fetch_cifar10_sub, {"classes": 3}, "'classes' parameter.*Got 3"),
        (fetch_cifar10_sub, {"classes": ["cat", "lion"]}, "'classes'.*names \\(airplane.*Got 'lion'"),
        (fetch_cifar10_sub, {"classes": [10]}, "'classes'.*numbers from 0 to 9.*Got 10"),
        (fetch_cifar10_sub, {"classes": [-1]}, "'classes'.*Got -1"),
        (fetch_cifar10_sub, {"classes": [True]}, "'classes'.*Got True"),
        (fetch_cifar10_sub, {"classes": [2.0]}, "'classes'.*Got 2.0"),
        (fetch_cifar10_sub, {"classes": []}, "'classes'.*at least one.*Got \\[\\]"),
        (fetch_cifar10_sub, {"classes": ["bird", 2]}, "'classes'.*each once.*Got \\['bird', 2\\]"),
        (make_gmm, {"n_samples": 0}, "'n_samples' parameter.*Got 0"),
        (make_gmm, {"n_modes": 2.5}, "'n_modes' parameter.*Got 2.5"),
        (make_gmm, {"n_features": 0}, "'n_features' parameter.*Got 0"),
        (make_gmm, {"variance": -0.1}, "'variance' parameter.*Got -0.1"),
        (make_gmm, {"random_state": "one"}, "'random_state' parameter.*Got 'one'"),
    ],
)
def test_bad_arguments(fetch, parameters, message):
    with pytest.raises(ValueError, match=message):
        fetch(**parameters)


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist, fetch_cifar10_sub, fetch_coil20])
def test_arguments_are_named(fetch):
    with pytest.raises(TypeError):
        fetch("train")


def test_the_real_records():
    """What the files of the cache folder are called and hold does not change unnoticed."""
    split = ["X_train", "y_train", "X_test", "y_test"]
    expected = {
        "_MNIST": ("mnist.npz", split, (70000, 784)),
        "_FASHION_MNIST": ("fashion_mnist.npz", split, (70000, 784)),
        "_CIFAR10": ("cifar10.npz", split, (60000, 3072)),
        "_CIFAR10_SUB": ("cifar10_sub.npz", split, (17981, 3072)),
        "_COIL20": ("coil20.npz", ["X", "y"], (1440, 1024)),
    }
    for record, (filename, keys, (n, d)) in expected.items():
        source = getattr(datasets, record)
        assert source.filename == filename
        assert list(source.shapes) == keys
        assert sum(shape[0] for key, shape in source.shapes.items() if key.startswith("X")) == n
        assert {shape[1] for key, shape in source.shapes.items() if key.startswith("X")} == {d}
        assert np.prod(source.image_shape) == d
        assert all(url.startswith("https://") for url in source.urls)
        assert source.digest is None or len(source.digest) == 64
    assert datasets._CIFAR10.file_hash.startswith("6d958be0")


def test_the_hash_sees_names_dtypes_shapes_and_bytes():
    a, b = np.arange(6, dtype=np.uint8), np.arange(6, dtype=np.uint8)[::-1]
    variants = [
        {"a": a},
        {"b": a},
        {"a": b},
        {"a": a.reshape(2, 3)},
        {"a": a.reshape(3, 2)},
        {"a": a.view(np.int8)},
        {"a": a, "b": b},
        {"b": b, "a": a},
    ]
    digests = [datasets._digest(arrays, list(arrays)) for arrays in variants]
    assert len(set(digests)) == len(variants)
    assert datasets._digest({"a": np.ascontiguousarray(b)}, ["a"]) == digests[2]
    expected = hashlib.sha256(b"a |u1 (6,)\n" + bytes(range(6))).hexdigest()
    assert digests[0] == expected  # as the constants in the source were made


# ---------------------------------------------------------------------------
# The mixture
# ---------------------------------------------------------------------------


def test_gmm_defaults():
    X, y = make_gmm()
    assert X.shape == (100, 10)
    assert y.shape == (100,)
    assert X.dtype == np.float64
    assert set(make_gmm(1000, random_state=0)[1]) == set(range(5))


def test_gmm_moments():
    X, y = make_gmm(40000, n_modes=4, n_features=3, variance=0.5, random_state=0)
    counts = np.bincount(y)
    assert counts.shape == (4,)
    np.testing.assert_allclose(counts / 40000, 0.25, atol=0.01)  # standard error 0.002
    assert len(set(counts)) > 1  # drawn, not dealt out
    for mode in range(4):
        rows = X[y == mode]
        np.testing.assert_allclose(rows.mean(axis=0), mode, atol=0.035)  # standard error 0.007
        np.testing.assert_allclose(np.cov(rows.T), 0.5 * np.eye(3), atol=0.035)
    assert abs(np.corrcoef(y[:-1], y[1:])[0, 1]) < 0.025  # not sorted


def test_gmm_is_repeatable():
    a, b = make_gmm(random_state=3), make_gmm(random_state=3)
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert (make_gmm(random_state=4)[0] != a[0]).all()
    rng = np.random.RandomState(3)
    np.testing.assert_array_equal(make_gmm(random_state=rng)[0], a[0])
    assert (make_gmm(random_state=rng)[0] != a[0]).all()
    before = np.random.get_state()[1].copy()
    make_gmm(random_state=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_gmm_without_variance():
    X, y = make_gmm(20, variance=0, random_state=0)
    np.testing.assert_array_equal(X, np.repeat(y[:, None], 10, axis=1))


# ---------------------------------------------------------------------------
# Binarisation
# ---------------------------------------------------------------------------


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binarise(dtype):
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=dtype)
    x = binarise(p.expand(20000, 5), generator())
    assert x.dtype == dtype
    assert x.shape == (20000, 5)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(x.mean(dim=0), p, atol=0.015, rtol=0)  # standard error 0.0035
    assert (x[:, 0] == 0).all()
    assert (x[:, 4] == 1).all()
    assert np.abs(np.corrcoef(x[:, 1:4].T.numpy()) - np.eye(3)).max() < 0.03


def test_binarise_draws_from_the_generator_alone():
    x = torch.full((50, 20), 0.5)
    before = torch.get_rng_state()
    a, b, c = binarise(x, generator()), binarise(x, generator()), binarise(x, generator(1))
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert (a != c).any()
    going_on = generator()
    binarise(x, going_on)
    assert (binarise(x, going_on) != a).any()
    assert torch.equal(torch.get_rng_state(), before)
    assert (x == 0.5).all()  # not in place


def test_binarise_takes_rounding_and_no_more():
    eps = torch.finfo(torch.float32).eps
    x = torch.tensor([[-4 * eps, 1 + 4 * eps]])
    assert binarise(x, generator()).tolist() == [[0.0, 1.0]]
    for bad in ([[0.0, 255.0]], [[-0.01, 1.0]]):
        with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*Got values from"):
            binarise(torch.tensor(bad), generator())


def test_binarise_as_augmentation(digits):
    X = digits[0][:100]
    seen = []

    def watch(x, generator):
        seen.append(binarise(x, generator))
        return seen[-1]

    before = torch.get_rng_state()
    estimator = cheap(VAETransformer, likelihood="bernoulli", augment=binarise)
    a, b = (estimator.set_params(augment=augment).fit(X).history_["loss"] for augment in (binarise, watch))
    np.testing.assert_array_equal(a, b)
    assert {value for x in seen for value in x.unique().tolist()} == {0.0, 1.0}
    assert any(
        (first != second).any() for first, second in itertools.pairwise(seen) if first.shape == second.shape
    )
    assert torch.equal(torch.get_rng_state(), before)
    restored = pickle.loads(pickle.dumps(estimator.set_params(augment=binarise)))
    assert restored.augment is binarise
    np.testing.assert_array_equal(restored.transform(X), estimator.transform(X))


def test_binarise_in_other_units(digits):
    """Rows that the estimator has divided by a scale, and multiplied again, still count as in [0, 1]."""
    X = digits[0][:100]
    cheap(AETransformer, output_activation="identity", augment=binarise).fit(X)


@pytest.mark.gpu
def test_binarise_on_a_gpu():
    x = torch.rand(1000, 20, device="cuda")
    drawn = binarise(x, torch.Generator("cuda").manual_seed(0))
    assert drawn.device == x.device
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert binarise(2 * x, torch.Generator("cuda")).isnan().any()


def test_binarised():
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    X = np.tile(p, (20000, 1))
    drawn = binarised(X, 0)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(axis=0), p, atol=0.015)
    np.testing.assert_array_equal(binarised(X, 0), drawn)
    assert (binarised(X, 1) != drawn).any()
    np.testing.assert_array_equal(X[0], p)


def test_binarised_draws_as_the_authors(rng):
    """One binomial draw a number, of float32 probabilities, validation rows first: in parts, or at once."""
    pixels = rng.integers(0, 256, (9000, 3), np.uint8)
    validation, test = (pixels[:5000] / np.float32(255), pixels[5000:] / 255)
    theirs, ours = np.random.RandomState(777), np.random.RandomState(777)
    for X in (validation, test):
        np.testing.assert_array_equal(binarised(X, ours), theirs.binomial(1, X.astype(np.float32)))


def test_binarised_leaves_the_global_stream_alone():
    before = np.random.get_state()[1].copy()
    binarised([[0.5, 0.5]], 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 255]], r"X must lie in \[0, 1\].*Got values from 0 to 255"),
        ([[-0.5, 0.5]], r"Got values from -0.5 to 0.5"),
        ([[np.nan, 0.5]], "X contains NaN"),
        ([0.5, 0.5], "Expected 2D array"),
        (np.empty((0, 3)), "0 sample"),
    ],
)
def test_binarised_takes_probabilities(X, message):
    with pytest.raises(ValueError, match=message):
        binarised(X, 0)
