"""A training's state in one file, from which a killed fit goes on."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import stat
import time
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from skswae._encoding import Decoder, Encoder
from skswae._files import replacing
from skswae._processes import active
from skswae._warnings import warn
from skswae.training._callbacks import Callback, Run

_FORMAT = 9  # to be raised when a training changes, so that none goes on as another
_NAME = "skswae checkpoint"

Facts = dict[str, list[str]]
"""Facts that tell a fit from others: by name, a text to show and a hash to compare."""


class Checkpoint(Callback):
    """A file that a training writes its state to now and then, and starts from if it is there.

    It is the last of a run's callbacks, for it saves the state of the others. The state is first written
    before the first epoch, so that a place that cannot be written to is known before anything is trained; a
    writing that fails later is warned of and tried again. Of several processes the first one writes.
    ``every`` is the least number of seconds between two writings, 0 writes after each epoch. ``saved`` is
    what :func:`read` found, to go on from.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        facts: Facts,
        seed: int,
        every: float,
        saved: dict[str, Any] | None = None,
    ):
        self.path = pathlib.Path(path)
        self.facts = facts
        self.seed = seed
        self.every = every
        self._saved = saved
        self._written = 0.0
        self._holds_epochs = saved is not None and bool(saved["state"].get("history"))

    def on_fit_begin(self, run: Run) -> None:
        """Go on from what the file holds, and write the state.

        Raises
        ------
        ValueError
            If the file holds something else than a state of this training, or the state cannot be stored.
        OSError
            If the file cannot be written.
        """
        goes_on, group = self._saved is not None, active()
        if self._saved is not None:
            state, self._saved = self._saved["state"], None
            try:
                run.history.extend(state["history"])
                run.module.load_state_dict(state["module"])
                run.step.load_state_dict(state["step"])
                for callback in run.callbacks:
                    callback.load_state_dict(state["callbacks"].get(type(callback).__name__, {}))
            except Exception as error:  # whatever another's state makes of it
                raise _not_one(self.path, f"holds something else ({type(error).__name__})") from error
        try:
            if group is None:
                self._write(run)
            else:
                group.first(lambda: self._write(run))
        except OSError as error:
            if goes_on:  # what the file holds is trained already
                self._written = time.monotonic()
                then = "The training goes on from it, and the next writing is tried in its time"
                self._warn("written", error, then)
                return
            raise OSError(
                error.errno,
                f"The 'checkpoint' argument must be the path of a file that can be written "
                f"({error.strerror or error}); nothing was trained. Got",
                str(self.path),
            ) from error
        except ValueError as error:
            raise ValueError(f"The 'checkpoint' argument must be None for this network: {error}") from error

    def on_epoch_end(self, run: Run) -> None:
        """Write the state if it is time to, and the training goes on."""
        if run.stop or time.monotonic() - self._written < self.every or not _writes():
            return
        try:
            self._write(run)
        except Exception as error:  # also of a state that was plain at first
            self._written = time.monotonic()
            then = "The training goes on, and the next writing is tried in its time"
            self._warn("written", error, then)

    def _write(self, run: Run) -> None:
        state = {
            "history": [{name: float(value) for name, value in record.items()} for record in run.history],
            "module": run.module.state_dict(),
            "step": run.step.state_dict(),
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in run.callbacks},
        }
        write(self.path, {"facts": self.facts, "seed": self.seed, "state": state})
        self._written = time.monotonic()
        self._holds_epochs = bool(run.history)

    def remove(self) -> None:
        """Delete the file, once the fit is done."""
        if not _writes():
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            if self.path.exists():  # no file of a read-only folder can be removed, not even one that is none
                self._warn("removed", error, "The fit is done; delete it")

    def remove_if_empty(self) -> None:
        """Delete the file of a training that failed before it holds an epoch to go on from."""
        if not self._holds_epochs:
            self.remove()

    def _warn(self, done: str, error: Exception, then: str) -> None:
        """Warn that the file could not be written or removed."""
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        warn(
            f"The checkpoint {str(self.path)!r} could not be {done} ({cause}). {then}.",
            RuntimeWarning,
        )


def _writes() -> bool:
    """Tell whether this process writes and removes the file: the first one of several."""
    group = active()
    return group is None or group.rank == 0


def differences(saved: Mapping[str, Any], now: Facts) -> list[str]:
    """Say which facts of a fit differ from those that a file holds."""
    names = [*now, *(name for name in saved if name not in now)]
    none = ["nothing", ""]
    found = [name for name in names if saved.get(name, none)[1] != now.get(name, none)[1]]
    if "the class" in found:  # whose parameters are others
        found = [name for name in found if not name.endswith("parameter")]
    said = []
    for name in found:
        there, here = (facts.get(name, none)[0] for facts in (saved, now))
        said.append(f"{name} was {there} and is {here}" if there != here else f"{name} is another")
    return said


# ---------------------------------------------------------------------------
# The file: a line, a checksum, and tensors with the text of what holds them
# ---------------------------------------------------------------------------


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Write the file, whole or not at all, whenever the process is killed or the power is cut.

    It is written beside itself, to a name that the next writing takes again, and put in place at once.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left beside.
    ValueError
        If the content is more than tensors, numbers, texts, lists and dicts.
    """
    encoder = Encoder()
    text = json.dumps(encoder.mapping(content, "state"))
    tensors = encoder.tensors
    tensors["text"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    head, body = f"{_NAME} {_FORMAT}\n".encode(), safetensors.torch.save(tensors)
    with replacing(path, suffix=".tmp") as beside, open(beside, "wb") as file:
        for part in (head, _checksum(head, body), body):
            file.write(part)


def read(path: str | os.PathLike) -> dict[str, Any] | None:
    """Read the file, to the CPU; None if there is none. No code of the file is executed.

    Raises
    ------
    ValueError
        If it is something else than a checkpoint, or a damaged one.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _not_one(path, "is no file")
        with open(path, "rb") as file:
            head = file.readline(len(_NAME) + 20)
            found = re.fullmatch(rf"{_NAME} (\d+)\n".encode(), head)
            if found is None:
                raise _not_one(path, "is something else")
            if int(found[1]) != _FORMAT:
                raise _not_one(
                    path,
                    f"another version of skswae wrote: its format is {int(found[1])}, "
                    f"that of this version {_FORMAT}; delete it, or name another",
                )
            checksum, body = file.read(len(_checksum())), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_one(path, f"cannot be read ({error.strerror or error})") from error
    if checksum != _checksum(head, body):
        raise _not_one(path, "is damaged: its content does not have its checksum; delete it")
    try:
        tensors = safetensors.torch.load(body)
        saved = Decoder(tensors).mapping(json.loads(bytes(tensors["text"].numpy())))
        for shown, compared in saved["facts"].values():
            if not (isinstance(shown, str) and isinstance(compared, str)):
                raise TypeError
        if type(saved["seed"]) is not int or not isinstance(saved["state"], dict):
            raise TypeError
    except Exception as error:  # whatever a file that was made up makes of it
        raise _not_one(path, f"holds something else ({type(error).__name__})") from error
    return saved


def _not_one(path: str | os.PathLike, what: str) -> ValueError:
    return ValueError(
        f"The 'checkpoint' argument must be the path of a file that a fit wrote, or of none yet. "
        f"Got {os.fspath(path)!r}, which {what}."
    )


def _checksum(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
