"""A killed fit goes on from its checkpoint, and ends where an undisturbed one does."""

import errno
import hashlib
import io
import os
import pathlib
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from torch import nn

import skswae
from skswae import MIMTransformer, SWAETransformer, VAETransformer, WAETransformer, _fit
from skswae.networks import GatedMLP
from skswae.training import _checkpoint
from skswae.training._callbacks import Callback

from ..estimators import assert_equal_fits

X = load_digits().data[:200] / 16
SMALL = {"network": GatedMLP((16,)), "n_components": 2, "max_iter": 5, "random_state": 0, "device": "cpu"}


def vae(**parameters):
    return VAETransformer(**{**SMALL, "warmup": 2, **parameters})


MODELS = {
    "swae": lambda **p: SWAETransformer(**SMALL, **p),
    "vae, normalized_adam": lambda **p: vae(solver="normalized_adam", **p),
    "gan": lambda **p: WAETransformer(
        **SMALL, divergence="gan", critic_layer_sizes=(8,), input_components=9, **p
    ),
    "mim": lambda **p: MIMTransformer(
        **SMALL, sampling="symmetric", n_pseudo_inputs=10, n_pseudo_inputs_per_step=4, warmup=1, **p
    ),
}


class WithState(torch.nn.Linear):
    """A layer with a state that is no tensor."""

    def __init__(self, n_in, n_out, extra):
        super().__init__(n_in, n_out)
        self.extra = extra

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


class Stateful(BaseEstimator):
    """A network of such layers."""

    def __init__(self, extra=None):
        self.extra = extra

    def build_encoder(self, n_features, n_outputs):
        return WithState(n_features, n_outputs, self.extra)

    build_decoder = build_encoder


class Killed(BaseException):
    """Ends a fit at a moment, as a signal does."""


class Epochs(Callback):
    """Counts the epochs of this call, and ends the fit where one more than ``most`` begins."""

    def __init__(self, most=None, end=Killed):
        self.most, self.end, self.n_begun = most, end, 0

    def on_epoch_begin(self, run):
        if self.n_begun == self.most:
            raise self.end()
        self.n_begun += 1


def killed(model, path, n_epochs, seconds=0):
    with pytest.raises(Killed):
        _fit.fit(model, X, checkpoint=path, checkpoint_seconds=seconds, callbacks=[Epochs(n_epochs)])


def n_saved(path):
    return len(_checkpoint.read(path)["state"]["history"])


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_resumed_fit_is_the_undisturbed_one(make, early_stopping, tmp_path):
    path = tmp_path / "fit.ckpt"
    options = {"early_stopping": early_stopping, "n_iter_no_change": 2, "tol": 0.0}
    undisturbed = make(**options).fit(X)
    for n in range(1, undisturbed.n_iter_):
        killed(make(**options), path, 1)
        assert n_saved(path) == n
    assert_equal_fits(make(**options).fit(X, checkpoint=path, checkpoint_seconds=0), undisturbed)
    assert list(tmp_path.iterdir()) == []


def in_a_process(code, path):
    """Run code on the names of this file and the path, with one torch thread."""
    head = "from skswae import _fit; from tests.training.test_checkpoint import *\n"
    head += "path = sys.argv[1]; torch.set_num_threads(1)\n"
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", head + code, path]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "n_epochs"),
    [
        ("kill = [Epochs(3, end=lambda: os.kill(os.getpid(), signal.SIGKILL))]", 3),
        # the file of the third writing is whole, and not in its place yet
        (
            "kill, calls, real = [], [], os.replace\n"
            "def replace(*names):\n"
            "    calls.append(names)\n"
            "    os.kill(os.getpid(), signal.SIGKILL) if len(calls) == 3 else real(*names)\n"
            "os.replace = replace",
            1,
        ),
    ],
    ids=["between epochs", "in a writing"],
)
def test_a_process_is_killed(kill, n_epochs, tmp_path):
    path = tmp_path / "fit.ckpt"
    fit = "_fit.fit(vae(), X, checkpoint=path, checkpoint_seconds=0, callbacks=kill)"
    done = in_a_process(f"{kill}\n{fit}", path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert n_saved(path) == n_epochs
    assert len(list(tmp_path.iterdir())) == (1 if n_epochs == 3 else 2)
    assert_equal_fits(vae().fit(X, checkpoint=path), vae().fit(X))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writing_left_is_written_over(tmp_path):
    path, left = tmp_path / "fit.ckpt", tmp_path / "fit.ckpt.tmp"
    left.write_bytes(b"half a file")
    killed(vae(), path, 2)
    assert not left.exists()
    left.write_bytes(b"half a file")
    vae().fit(X, checkpoint=path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("replace"), replace(*names)))
    _checkpoint.write(tmp_path / "a", {"x": torch.zeros(3)})
    assert events == ["file", "replace", "folder"]


def test_without_a_random_state_the_seed_goes_on(tmp_path):
    killed(vae(random_state=None), tmp_path / "a", 2)
    first = _checkpoint.read(tmp_path / "a")["state"]["history"]
    resumed = vae(random_state=None).fit(X, checkpoint=tmp_path / "a")
    assert [record["loss"] for record in first] == list(resumed.loss_curve_[:2])
    assert resumed.n_iter_ == 5


def test_it_is_written_no_more_often_than_asked(tmp_path):
    killed(vae(), tmp_path / "a", 3, seconds=60)
    assert n_saved(tmp_path / "a") == 0  # before the first epoch, and then not yet


CHANGES = [
    (lambda: vae(max_iter=6), "of another fit: the 'max_iter' parameter was 5 and is 6. Delete"),
    (lambda: vae(random_state=1), r"of another fit: the seed of 'random_state' was \d+ and is \d+. Delete"),
    (
        lambda: vae(random_state=None, solver="normalized_adam"),
        "the 'solver' parameter was 'adam' and is 'nor",
    ),
    (
        lambda: vae(network=GatedMLP((17,))),
        r"'network__hidden_layer_sizes' parameter was \(16,\) and is \(17,",
    ),
    (MODELS["swae"], "fit: the class was 'skswae.VAETransformer' and is 'skswae.SWAETransformer'. Del"),
]


@pytest.mark.parametrize(("make", "reason"), CHANGES, ids=[reason.split("'")[1] for _, reason in CHANGES])
def test_another_fit_s_file_is_refused(make, reason, tmp_path):
    path = tmp_path / "fit.ckpt"
    killed(vae(), path, 1)
    before, model = path.read_bytes(), make()
    with pytest.raises(ValueError, match=f"'checkpoint' argument must .* {reason}"):
        model.fit(X, checkpoint=path)
    assert not hasattr(model, "module_")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_other_rows_and_versions_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    killed(vae(early_stopping=True), path, 1)
    for rows, arguments, reason in [
        (X[:-1], {}, r"X was float64 of shape \(200, 64\) and is float64 of shape \(199, 64\)"),
        (X[::-1], {}, "X is another"),
        (X, {"X_val": X[:9]}, r"X_val was None and is float64 of shape \(9, 64\)"),
    ]:
        with pytest.raises(ValueError, match=f"of another fit: {reason}"):
            vae(early_stopping=True).fit(rows, checkpoint=path, **arguments)
    for package in (skswae, torch):
        with monkeypatch.context() as patch:
            patch.setattr(package, "__version__", "0.0.0")
            with pytest.raises(ValueError, match=f"version of {package.__name__} was '.*' and is '0.0.0'"):
                vae(early_stopping=True).fit(X, checkpoint=path)
    assert_equal_fits(vae(early_stopping=True).fit(X, checkpoint=path), vae(early_stopping=True).fit(X))


def _folder(path):
    path.mkdir()


FILES = {
    "pickle": (lambda path: torch.save(os.system, path), "is something else"),  # code is not run
    "text": (lambda path: path.write_bytes(b"something else"), "is something else"),
    "empty": (lambda path: path.write_bytes(b""), "is something else"),
    "folder": (_folder, "is no file"),
    "pipe": (os.mkfifo, "is no file"),  # which would be waited for
    "newer": (
        lambda path: path.write_bytes(b"skswae checkpoint 99\n..."),
        "another version.* its format is 99",
    ),
    "other content": (lambda path: _checkpoint.write(path, {"seed": 3}), "holds something else"),
}


def test_a_path_without_a_name():
    with pytest.raises(ValueError, match="'checkpoint' argument must be the path of a file"):
        vae().fit(X, checkpoint="")


class Late(nn.Module):
    """Its state is plain at first."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.n_calls = nn.Linear(n_in, n_out), 0

    def forward(self, x):
        self.n_calls += self.training
        return self.linear(x)

    def get_extra_state(self):
        return {"mean": {1, 2}} if self.n_calls > 3 else {}

    def set_extra_state(self, state):
        pass


class LateNet:
    def build_encoder(self, n_features, n_outputs):
        return Late(n_features, n_outputs)

    build_decoder = build_encoder


def test_a_state_that_cannot_be_stored_later_costs_no_training(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"could not be written \(.*_extra_state.*The training goes on"):
        model = vae(network=LateNet()).fit(X, checkpoint=tmp_path / "a", checkpoint_seconds=0)
    np.testing.assert_array_equal(model.transform(X), vae(network=LateNet()).fit(X).transform(X))


@pytest.mark.parametrize(("make", "reason"), FILES.values(), ids=FILES)
def test_what_is_no_checkpoint_is_refused(make, reason, tmp_path):
    make(tmp_path / "a")
    with pytest.raises(ValueError, match=f"'checkpoint' argument must .* which {reason}"):
        vae().fit(X, checkpoint=tmp_path / "a")
    assert (tmp_path / "a").exists()


def mutated(content, rng):
    """Change a few bytes, cut, insert, double or exchange a part."""
    content, n = bytearray(content), len(content)
    at, length = rng.randrange(n), rng.randint(1, 40)
    match rng.randrange(5):
        case 0:
            for _ in range(rng.randint(1, 3)):
                content[rng.randrange(n)] ^= 1 << rng.randrange(8)
        case 1:
            del content[at:]
        case 2:
            del content[at : at + length]
        case 3:
            content[at:at] = rng.randbytes(length)
        case 4:
            content[at : at + length] = content[:length]
    return bytes(content)


def test_a_damaged_file_is_refused(tmp_path):
    path, rng = tmp_path / "a", random.Random(0)
    killed(MODELS["gan"](), path, 2)
    whole, n_refused = path.read_bytes(), 0
    for _ in range(100):
        content = mutated(whole, rng)
        path.write_bytes(content)
        if content != whole:
            with pytest.raises(
                ValueError, match="'checkpoint' argument must be the path of a file that a fit"
            ):
                _checkpoint.read(path)
            n_refused += 1
    assert n_refused > 90


@pytest.mark.slow
def test_a_made_up_file_is_refused_or_trained_from(tmp_path):
    """One whose checksum is right: it does nothing but what a state can, which is to be gone on from."""
    path, rng, refusals = tmp_path / "a", random.Random(0), []
    killed(vae(early_stopping=True), path, 4)  # after the warm-up: with the state of the best epoch
    head, _, rest = path.read_bytes().partition(b"\n")
    head, body = head + b"\n", rest[32:]
    start = 8 + int.from_bytes(body[:8], "little")  # of the tensors
    for number in range(200):
        whole = mutated(body, rng)
        # what holds the tensors, which are most of the file, is not hit often
        content = whole if number % 2 else mutated(body[:start], rng) + body[start:]
        path.write_bytes(head + hashlib.sha256(head + content).digest() + content)
        model = vae(early_stopping=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # of weights that somebody made up
                model.fit(X, checkpoint=path)
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all("'checkpoint' argument" in text or "diverged" in text for text in refusals)


# ---------------------------------------------------------------------------
# Places that cannot be written to
# ---------------------------------------------------------------------------


def disk(room, error=errno.ENOSPC):
    """Return an ``open`` of a disk that takes ``room`` bytes more, and then fails half way."""

    class File(io.FileIO):
        def __init__(self, path, mode):
            if room < 0 and mode == "xb":
                raise OSError(error, os.strerror(error), str(path))
            super().__init__(path, mode)

        def write(self, content):
            nonlocal room
            super().write(content[: max(room, 0)])
            room -= len(content)
            if room < 0:
                raise OSError(error, os.strerror(error))

    return File


PLACES = [(3_000, errno.ENOSPC), (0, errno.EFBIG), (-1, errno.EROFS), (-1, errno.EACCES)]


@pytest.mark.parametrize(("room", "error"), PLACES)
def test_a_place_that_cannot_be_written_to_is_known_at_the_start(room, error, tmp_path, monkeypatch):
    path, model, epochs = tmp_path / "fit.ckpt", vae(), Epochs()
    monkeypatch.setattr(_checkpoint, "open", disk(room, error), raising=False)
    needed = rf"'checkpoint' argument must be the path of a file that can be written \({os.strerror(error)}\)"
    with pytest.raises(OSError, match=rf"{needed}; nothing was trained. Got: '{path}'") as raised:
        _fit.fit(model, X, checkpoint=path, callbacks=[epochs])
    assert (raised.value.errno, epochs.n_begun, hasattr(model, "module_")) == (error, 0, False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert_equal_fits(model.fit(X, checkpoint=path), vae().fit(X))


def test_a_full_disk_keeps_no_fit_from_going_on(tmp_path, monkeypatch):
    """What the file holds is trained already: the fit ends as ever, and the file stays until then."""
    path = tmp_path / "fit.ckpt"
    killed(vae(), path, 2)
    before = path.read_bytes()
    monkeypatch.setattr(_checkpoint, "open", disk(0), raising=False)
    with pytest.warns(RuntimeWarning, match=r"could not be written.*The training goes on from it"):
        model = vae().fit(X, checkpoint=path, keep_checkpoint=True)
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert_equal_fits(model, vae().fit(X))


@pytest.mark.parametrize(("room", "error"), PLACES)
def test_a_writing_that_fails_later_is_warned_of_and_tried_again(room, error, tmp_path, monkeypatch):
    """The training goes on, and the earlier file stays whole."""
    path, seen = tmp_path / "fit.ckpt", []

    class Breaks(Callback):
        """Breaks the disk in the third epoch, and mends it in the fifth."""

        def on_epoch_begin(self, run):
            seen.append((n_saved(path), [p.name for p in tmp_path.iterdir()]))
            if len(seen) == 3:
                monkeypatch.setattr(_checkpoint, "open", disk(room, error), raising=False)
            if len(seen) == 5:
                monkeypatch.undo()

    model, arguments = vae(max_iter=6), {"checkpoint": path, "checkpoint_seconds": 0}
    with pytest.warns(
        RuntimeWarning, match=rf"'{path}' could not be written \({os.strerror(error)}\)"
    ) as told:
        _fit.fit(model, X, **arguments, callbacks=[Breaks()])
    assert [n for n, _ in seen] == [0, 1, 2, 2, 2, 5]
    assert all(names == ["fit.ckpt"] for _, names in seen)
    assert len(told) == 2
    assert_equal_fits(model, vae(max_iter=6).fit(X))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_removed_does_not_lose_the_fit(tmp_path, monkeypatch):
    path, model = tmp_path / "fit.ckpt", vae()
    unlink = pathlib.Path.unlink

    def refused(self, missing_ok=False):
        if self == path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(pathlib.Path, "unlink", refused)
    with pytest.warns(RuntimeWarning, match="could not be removed .*The fit is done; delete it") as told:
        model.fit(X, checkpoint=path)
    assert told[0].filename == __file__
    assert_equal_fits(model, vae().fit(X))


@pytest.mark.slow
def test_a_limit_of_the_size_of_files(tmp_path):
    """A real one, of the operating system."""
    path = tmp_path / "fit.ckpt"
    limit = (
        "import resource, warnings\n"
        "def limit(n): resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY))\n"
        "class Limit(Callback):\n"
        "    def on_epoch_begin(self, run): limit(3000 if run.epoch == 2 else resource.RLIM_INFINITY)\n"
    )
    late = (
        "model = vae()\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    _fit.fit(model, X, checkpoint=path, checkpoint_seconds=0, callbacks=[Limit()])\n"
        "assert_equal_fits(model, vae().fit(X))\n"
        "print(*[w.message for w in told])"
    )
    done = in_a_process(limit + late, path)
    assert "could not be written (File too large)" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
    done = in_a_process(limit + "limit(3000); vae().fit(X, checkpoint=path)", path)
    assert "OSError: [Errno 27] The 'checkpoint' argument must be" in done.stderr
    assert list(tmp_path.iterdir()) == []
    killed(vae(), path, 2)
    done = in_a_process(limit + "limit(3000); vae().fit(X, checkpoint=path, keep_checkpoint=True)", path)
    assert "The training goes on from it" in done.stderr
    assert n_saved(path) == 2
    assert_equal_fits(vae().fit(X, checkpoint=path), vae().fit(X))


def test_a_fit_that_fails_in_its_first_epoch_leaves_no_file(tmp_path):
    path = tmp_path / "fit.ckpt"
    for n_epochs, left in [(0, []), (1, ["fit.ckpt"])]:
        fails = [Epochs(n_epochs, ZeroDivisionError)]
        with pytest.raises(ZeroDivisionError):
            _fit.fit(vae(), X, checkpoint=path, checkpoint_seconds=0, callbacks=fails)
        assert [p.name for p in tmp_path.iterdir()] == left


def test_a_state_that_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"'checkpoint' argument must be None.*_extra_state' cannot.*Got set"
    ):
        vae(network=Stateful({1, 2})).fit(X, checkpoint=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    stateful = vae(network=Stateful({"a": [1, torch.ones(2)]}), max_iter=2)
    killed(stateful, tmp_path / "a", 1)
    assert stateful.fit(X, checkpoint=tmp_path / "a").module_.encoder.network.extra["a"][0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": 3}, "'checkpoint' argument must be a path or None. Got 3"),
        ({"checkpoint": "/no/such/folder/x"}, "in a folder that exists"),
        ({"checkpoint": "x", "checkpoint_seconds": -1}, "'checkpoint_seconds' argument .* Got -1"),
        ({"checkpoint": "x", "checkpoint_seconds": "1"}, "'checkpoint_seconds' argument"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        vae().fit(X, **arguments)
    with pytest.raises(ValueError, match="'checkpoint' argument must be None unless all parameters"):
        vae(augment=lambda x, generator: x).fit(X, checkpoint=tmp_path / "a")
    with pytest.raises(ValueError, match="'checkpoint' argument must be None when a fitted"):
        vae(max_iter=1, warm_start=True).fit(X).fit(X, checkpoint=tmp_path / "a")


def test_an_interrupted_fit_keeps_its_file(tmp_path):
    path = tmp_path / "fit.ckpt"
    model, callbacks = vae(), [Epochs(4, end=KeyboardInterrupt)]
    with pytest.warns(UserWarning, match="interrupted"):
        _fit.fit(model, X, checkpoint=path, checkpoint_seconds=0, callbacks=callbacks)
    assert model.n_iter_ == 4
    assert_equal_fits(model.fit(X, checkpoint=path), vae().fit(X))


def test_a_caller_may_keep_the_file(tmp_path):
    """Until the estimator is stored: a fit that is lost before that is made again from it."""
    path = tmp_path / "fit.ckpt"
    first = vae().fit(X, checkpoint=path, checkpoint_seconds=0, keep_checkpoint=True)
    assert n_saved(path) == first.n_iter_ == 5
    again, epochs = vae(), Epochs()
    _fit.fit(again, X, checkpoint=path, callbacks=[epochs])
    assert epochs.n_begun == 0  # all are in the file
    assert_equal_fits(again, first)
    assert not path.exists()
