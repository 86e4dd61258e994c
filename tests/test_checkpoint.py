"""A killed fit goes on from its checkpoint, and ends where an undisturbed one does."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skswae import MIMTransformer, SWAETransformer, VAETransformer, WAETransformer
from skswae._checkpoint import Checkpoint
from skswae.networks import GatedMLP

X = load_digits().data[:300] / 16
SMALL = {"network": GatedMLP((16,)), "n_components": 2, "max_iter": 5, "random_state": 0}


def same(a, b):
    """Whether two fitted models are equal to the bit."""
    states = a.module_.state_dict(), b.module_.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert a.history_.keys() == b.history_.keys()
    assert all(np.array_equal(a.history_[n], b.history_[n], equal_nan=True) for n in a.history_)
    return True


class Killed(BaseException):
    """What ends a fit at a moment, as a signal does."""


def kill_after(model, n_epochs):
    """The same estimator, whose fit ends after so many epochs of this call; the checkpoint stays."""
    seen = []

    def after_epoch(module, epoch, record, seconds):
        if len(seen) == n_epochs:
            raise Killed
        seen.append(epoch)

    model._after_epoch = after_epoch
    return model


MODELS = {
    "swae": lambda **k: SWAETransformer(**SMALL, **k),
    "swae sparse": lambda **k: SWAETransformer(**SMALL, n_pseudo_inputs=200, **k),
    "vae": lambda **k: VAETransformer(**SMALL, warmup=2, **k),
    "gan": lambda **k: WAETransformer(**SMALL, divergence="gan", critic_layer_sizes=(8,), **k),
    "mim": lambda **k: MIMTransformer(**SMALL, n_pseudo_inputs=10, warmup=1, **k),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_resumed_fit_is_the_undisturbed_one(name, early_stopping, tmp_path, monkeypatch):
    if name == "swae sparse":
        monkeypatch.setattr("skswae._swae.SPARSE_FROM", 0)
    make = MODELS[name]
    path = tmp_path / "fit.ckpt"
    options = {"early_stopping": early_stopping, "n_iter_no_change": 2, "tol": 0.0}
    undisturbed = make(**options).fit(X)
    for _ in range(4):
        if not same_length(make(**options), undisturbed, path):
            break
    resumed = make(**options).fit(X, checkpoint=path, checkpoint_seconds=0)
    assert same(resumed, undisturbed)
    assert list(tmp_path.iterdir()) == []


def same_length(model, undisturbed, path):
    """Fit for one more epoch and be killed; whether that happened."""
    with pytest.raises(Killed):
        kill_after(model, 1).fit(X, checkpoint=path, checkpoint_seconds=0)
    assert path.exists()
    return len(Checkpoint.read(path)["state"]["history"]) < undisturbed.n_iter_ - 1


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
def test_a_process_is_killed(solver, tmp_path):
    path = tmp_path / "fit.ckpt"
    code = (
        "import sys, os, signal, torch; from tests.test_checkpoint import *; torch.set_num_threads(1)\n"
        "model = SWAETransformer(**SMALL, solver=sys.argv[2])\n"
        "def end(module, epoch, record, seconds):\n"
        "    if epoch == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "model._after_epoch = end\n"
        "model.fit(X, checkpoint=sys.argv[1], checkpoint_seconds=0)\n"
    )
    root = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", code, path, solver]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(Checkpoint.read(path)["state"]["history"]) == 3
    model = SWAETransformer(**SMALL, solver=solver)
    assert same(model.fit(X, checkpoint=path), SWAETransformer(**SMALL, solver=solver).fit(X))
    assert not path.exists()


def test_without_a_random_state_the_seed_goes_on(tmp_path):
    path = tmp_path / "fit.ckpt"
    model = VAETransformer(**{**SMALL, "random_state": None})
    with pytest.raises(Killed):
        kill_after(model, 2).fit(X, checkpoint=path, checkpoint_seconds=0)
    seed = Checkpoint.read(path)["seed"]
    resumed = VAETransformer(**{**SMALL, "random_state": None}).fit(X, checkpoint=path)
    assert resumed._seed == seed
    assert resumed.n_iter_ == 5


def test_it_is_written_no_more_often_than_asked(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("skswae._checkpoint.torch.save", lambda *a: written.append(a) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        VAETransformer(**SMALL).fit(X, checkpoint=tmp_path / "a", checkpoint_seconds=0)
    VAETransformer(**SMALL).fit(X, checkpoint=tmp_path / "a")
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"max_iter": 6}, {"n_components": 3}, {"random_state": 1}, {"solver": "normalized_adam"}]
)
def test_another_fit_s_file_is_refused(change, tmp_path):
    path = tmp_path / "fit.ckpt"
    with pytest.raises(Killed):
        kill_after(VAETransformer(**SMALL), 1).fit(X, checkpoint=path, checkpoint_seconds=0)
    before = path.read_bytes()
    model = VAETransformer(**{**SMALL, **change})
    with pytest.raises(ValueError, match=r"'checkpoint' argument must .* of another fit"):
        model.fit(X, checkpoint=path)
    with pytest.raises(ValueError, match="of another fit"):
        VAETransformer(**SMALL).fit(X[:-1], checkpoint=path)
    assert not hasattr(model, "module_")
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "fit.ckpt"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="cannot be read as one"):
        VAETransformer(**SMALL).fit(X, checkpoint=path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds something else"):
        VAETransformer(**SMALL).fit(X, checkpoint=path)
    torch.save(os.system, path)  # code is not run
    with pytest.raises(ValueError, match="cannot be read as one"):
        VAETransformer(**SMALL).fit(X, checkpoint=path)
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": 3}, "'checkpoint' argument must be a path or None. Got 3"),
        ({"checkpoint": "/no/such/folder/x"}, "in a folder that exists"),
        ({"checkpoint": "x", "checkpoint_seconds": -1}, "'checkpoint_seconds' argument .* Got -1"),
        ({"checkpoint": "x", "checkpoint_seconds": "1"}, "'checkpoint_seconds' argument"),
        ({"X_val": X}, "'X_val' argument must be None without early_stopping=True"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAETransformer(**SMALL).fit(X, **arguments)


def test_no_checkpoint_where_a_fitted_one_goes_on(tmp_path):
    model = VAETransformer(**SMALL, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="'checkpoint' argument must be None when a fitted"):
        model.fit(X, checkpoint=tmp_path / "a")


def test_parameters_that_cannot_be_told_apart(tmp_path):
    model = VAETransformer(**SMALL, augment=lambda x, generator: x)
    with pytest.raises(ValueError, match="'checkpoint' argument must be None unless all parameters"):
        model.fit(X, checkpoint=tmp_path / "a")


def test_an_interrupted_fit_keeps_its_file(tmp_path):
    path = tmp_path / "fit.ckpt"
    model = SWAETransformer(**SMALL)

    def interrupt(module, epoch, record, seconds):
        if epoch == 3:
            raise KeyboardInterrupt

    model._after_epoch = interrupt
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, checkpoint=path, checkpoint_seconds=0)
    assert model.n_iter_ == 4
    del model._after_epoch
    assert same(model.fit(X, checkpoint=path), SWAETransformer(**SMALL).fit(X))


def test_a_caller_may_keep_the_file(tmp_path):
    """Until the estimator is stored: a fit that is lost before that is made again from it."""
    path = tmp_path / "fit.ckpt"
    first = SWAETransformer(**SMALL).fit(X, checkpoint=path, checkpoint_seconds=0, keep_checkpoint=True)
    assert len(Checkpoint.read(path)["state"]["history"]) == first.n_iter_ == 5
    epochs = []
    again = SWAETransformer(**SMALL)
    again._after_epoch = lambda module, epoch, record, seconds: epochs.append(epoch)
    again.fit(X, checkpoint=path)
    assert epochs == []  # all are in the file
    assert same(again, first)
    assert not path.exists()
