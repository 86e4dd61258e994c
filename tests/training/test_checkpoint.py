"""A killed fit goes on from its checkpoint, and ends where an undisturbed one does."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from skswae import MIMTransformer, SWAETransformer, VAETransformer, WAETransformer, _fit
from skswae.networks import GatedMLP
from skswae.training._callbacks import Callback
from skswae.training._checkpoint import Checkpoint

from ..estimators import assert_equal_fits

X = load_digits().data[:200] / 16
SMALL = {"network": GatedMLP((16,)), "n_components": 2, "max_iter": 5, "random_state": 0, "device": "cpu"}


def vae(**parameters):
    return VAETransformer(**{**SMALL, "warmup": 2, **parameters})


MODELS = {
    "swae": lambda **p: SWAETransformer(**SMALL, **p),
    "vae, normalized_adam": lambda **p: vae(solver="normalized_adam", **p),
    "gan": lambda **p: WAETransformer(**SMALL, divergence="gan", critic_layer_sizes=(8,), **p),
    "mim": lambda **p: MIMTransformer(**SMALL, n_pseudo_inputs=10, warmup=1, **p),
}


class Killed(BaseException):
    """Ends a fit at a moment, as a signal does."""


class Epochs(Callback):
    """Counts the epochs of this call, and ends the fit where one more than ``most`` begins."""

    def __init__(self, most=None, end=Killed):
        self.most, self.end, self.n_begun = most, end, 0

    def on_epoch_begin(self, run):
        if self.n_begun == self.most:
            raise self.end
        self.n_begun += 1


def killed(model, path, n_epochs, seconds=0):
    with pytest.raises(Killed):
        _fit.fit(model, X, checkpoint=path, checkpoint_seconds=seconds, callbacks=[Epochs(n_epochs)])


def n_saved(path):
    return len(Checkpoint.read(path)["state"]["history"])


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


@pytest.mark.slow
def test_a_process_is_killed(tmp_path):
    path = tmp_path / "fit.ckpt"
    code = (
        "import sys, os, signal, torch; from tests.training.test_checkpoint import *\n"
        "class Kill(Callback):\n"
        "    def on_epoch_begin(self, run):\n"
        "        if run.epoch == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.set_num_threads(1)\n"
        "_fit.fit(vae(), X, checkpoint=sys.argv[1], checkpoint_seconds=0, callbacks=[Kill()])\n"
    )
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert n_saved(path) == 3
    assert_equal_fits(vae().fit(X, checkpoint=path), vae().fit(X))
    assert not path.exists()


def test_without_a_random_state_the_seed_goes_on(tmp_path):
    path = tmp_path / "fit.ckpt"
    killed(vae(random_state=None), path, 2)
    first = Checkpoint.read(path)["state"]["history"]
    resumed = vae(random_state=None).fit(X, checkpoint=path)
    seed = resumed._seed
    killed(vae(random_state=None), path, 2)
    assert Checkpoint.read(path)["seed"] != seed
    assert [record["loss"] for record in first] == list(resumed.loss_curve_[:2])
    assert resumed.n_iter_ == 5


def test_it_is_written_no_more_often_than_asked(tmp_path):
    killed(vae(), tmp_path / "a", 3, seconds=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"max_iter": 6}, {"n_components": 3}, {"random_state": 1}, {"solver": "normalized_adam"}]
)
def test_another_fit_s_file_is_refused(change, tmp_path):
    path = tmp_path / "fit.ckpt"
    killed(vae(), path, 1)
    before = path.read_bytes()
    model = vae(**change)
    with pytest.raises(ValueError, match=r"'checkpoint' argument must .* of another fit"):
        model.fit(X, checkpoint=path)
    with pytest.raises(ValueError, match="of another fit"):
        vae().fit(X[:-1], checkpoint=path)
    assert not hasattr(model, "module_")
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "fit.ckpt"
    contents = [(b"something else", "cannot be read"), ([1, 2], "holds something else"),
                (os.system, "cannot be read")]  # code is not run  # fmt: skip
    for content, message in contents:
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            vae().fit(X, checkpoint=path)
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        ({"checkpoint": 3}, {}, "'checkpoint' argument must be a path or None. Got 3"),
        ({"checkpoint": "/no/such/folder/x"}, {}, "in a folder that exists"),
        ({"checkpoint": "x", "checkpoint_seconds": -1}, {}, "'checkpoint_seconds' argument .* Got -1"),
        ({"checkpoint": "x", "checkpoint_seconds": "1"}, {}, "'checkpoint_seconds' argument"),
        ({"checkpoint": "x"}, {"augment": lambda x, generator: x}, "must be None unless all parameters"),
    ],
)
def test_bad_arguments(arguments, parameters, message):
    with pytest.raises(ValueError, match=message):
        vae(**parameters).fit(X, **arguments)


def test_no_checkpoint_where_a_fitted_one_goes_on(tmp_path):
    model = vae(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="'checkpoint' argument must be None when a fitted"):
        model.fit(X, checkpoint=tmp_path / "a")


def test_an_interrupted_fit_keeps_its_file(tmp_path):
    path = tmp_path / "fit.ckpt"
    model = vae()
    interrupt = Epochs(4, end=KeyboardInterrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        _fit.fit(model, X, checkpoint=path, checkpoint_seconds=0, callbacks=[interrupt])
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
