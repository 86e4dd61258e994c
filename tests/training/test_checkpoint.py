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
            raise self.end()
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
        "import sys; from skswae import _fit; from tests.training.test_checkpoint import *\n"
        "torch.set_num_threads(1)\n"
        "kill = Epochs(3, end=lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "_fit.fit(vae(), X, checkpoint=sys.argv[1], checkpoint_seconds=0, callbacks=[kill])\n"
    )
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert n_saved(path) == 3
    assert_equal_fits(vae().fit(X, checkpoint=path), vae().fit(X))
    assert not path.exists()


def test_without_a_random_state_the_seed_goes_on(tmp_path):
    killed(vae(random_state=None), tmp_path / "a", 2)
    first = Checkpoint.read(tmp_path / "a")["state"]["history"]
    resumed = vae(random_state=None).fit(X, checkpoint=tmp_path / "a")
    assert [record["loss"] for record in first] == list(resumed.loss_curve_[:2])
    assert resumed.n_iter_ == 5


def test_it_is_written_no_more_often_than_asked(tmp_path):
    killed(vae(), tmp_path / "a", 3, seconds=60)
    assert list(tmp_path.iterdir()) == []


def test_another_fit_s_file_is_refused(tmp_path):
    path = tmp_path / "fit.ckpt"
    killed(vae(), path, 1)
    before = path.read_bytes()
    changes = [{"max_iter": 6}, {"n_components": 3}, {"random_state": 1}, {"solver": "normalized_adam"}]
    for model, rows in [(vae(), X[:-1]), *((vae(**change), X) for change in changes)]:
        with pytest.raises(ValueError, match=r"'checkpoint' argument must .* of another fit"):
            model.fit(rows, checkpoint=path)
        assert not hasattr(model, "module_")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [[1, 2], os.system, None])  # code is not run
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a")
    if content is None:
        (tmp_path / "a").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"cannot be read|holds something else"):
        vae().fit(X, checkpoint=tmp_path / "a")
    assert (tmp_path / "a").exists()


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
