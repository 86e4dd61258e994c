"""A training's state in one file, from which a killed fit goes on."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import torch

from skswae.training._callbacks import Callback, Run

_FORMAT = 3  # to be raised when a training changes, so that none goes on as another


class Checkpoint(Callback):
    """A file that a training writes its state to now and then, and starts from if it is there.

    It is the last of a run's callbacks, for it saves the state of the others. It is written beside itself
    and put in place at once, so that a process killed at any moment leaves a whole file or none. Reading
    it executes no code. ``fingerprint`` tells this fit from others; ``every`` is the least number of
    seconds between two writings, 0 writes after each epoch.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str, seed: int, every: float):
        self.path = pathlib.Path(path)
        self.fingerprint = f"{_FORMAT} {fingerprint}"
        self.seed = seed
        self.every = every
        self._written = time.monotonic()

    @staticmethod
    def read(path: str | os.PathLike) -> dict[str, Any] | None:
        """Read the file, to the CPU; None if there is none.

        Raises
        ------
        ValueError
            If it is something else than a checkpoint.
        """
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a file of something else makes of it
            raise ValueError(
                f"The 'checkpoint' argument must be the path of a file that a fit wrote, or of none yet. "
                f"Got {str(path)!r}, which cannot be read as one ({type(error).__name__})."
            ) from None  # torch's text is about its own arguments
        if not isinstance(saved, dict) or not {"fingerprint", "seed", "state"} <= set(saved):
            raise ValueError(
                f"The 'checkpoint' argument must be the path of a file that a fit wrote, or of none yet. "
                f"Got {str(path)!r}, which holds something else."
            )
        return saved

    def on_fit_begin(self, run: Run) -> None:
        """Go on from the file, if there is one.

        Raises
        ------
        ValueError
            If the file is another fit's, or something else.
        """
        saved = self.read(self.path)
        if saved is None:
            return
        if saved["fingerprint"] != self.fingerprint:
            raise ValueError(
                "The 'checkpoint' argument must be the path of a file that the same fit wrote (the same "
                f"class, parameters, rows and versions), or of none yet. Got {str(self.path)!r}, of another "
                "fit: delete it, or name another."
            )
        state = saved["state"]
        run.history.extend(state["history"])
        run.module.load_state_dict(state["module"])
        run.step.load_state_dict(state["step"])
        for callback in run.callbacks:
            callback.load_state_dict(state["callbacks"].get(type(callback).__name__, {}))

    def on_epoch_end(self, run: Run) -> None:
        """Write the state if it is time to, and the training goes on."""
        if run.stop or time.monotonic() - self._written < self.every:
            return
        state = {
            "history": run.history,
            "module": run.module.state_dict(),
            "step": run.step.state_dict(),
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in run.callbacks},
        }
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            torch.save({"fingerprint": self.fingerprint, "seed": self.seed, "state": state}, beside)
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file, once the fit is done."""
        self.path.unlink(missing_ok=True)
