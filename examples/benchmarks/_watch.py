"""Look at a fit while it trains: the seconds of its epochs, and codes after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skswae._fit import fit
from skswae.training._callbacks import Callback


class Watch(Callback):
    """Read a clock at both ends of each epoch of a fit; what ``look`` takes is not counted.

    Parameters
    ----------
    clock : callable
        Seconds, as a number or an array of numbers.
    look : callable or None
        Called after each epoch with the module and the clock's seconds since the call of :meth:`fit`.

    Attributes
    ----------
    begins, ends : list
        The clock at both ends of each epoch.
    """

    def __init__(
        self, clock: Callable[[], Any] = time.process_time, look: Callable[[Any, Any], None] | None = None
    ):
        self.clock, self.look = clock, look
        self.begins: list[Any] = []
        self.ends: list[Any] = []
        self._looking: Any = 0.0

    def now(self) -> Any:
        """Return the clock's reading less what was spent on looking."""
        return self.clock() - self._looking

    def on_epoch_begin(self, run):
        self.begins.append(self.now())

    def on_epoch_end(self, run):
        self.ends.append(self.now())
        if self.look is not None:
            start = self.clock()
            self.look(run.module, self.ends[-1] - self._start)
            self._looking = self._looking + self.clock() - start

    def fit(self, estimator: Any, X: np.ndarray) -> Watch:
        """Fit the estimator under this watch."""
        self._start = self.now()
        fit(estimator, X, callbacks=[self])
        return self

    @property
    def epoch_seconds(self) -> list[Any]:
        """The seconds of each epoch."""
        return [end - begin for begin, end in zip(self.begins, self.ends)]


def epoch_seconds(estimator: Any, X: np.ndarray, clock: Callable[[], float], n_epochs: int = 1) -> float:
    """Return the mean seconds of an epoch of a fresh fit, after two that are a warm-up.

    In them the memory is taken that later epochs use again. Counted is all between the ends of epochs.
    """
    ends = Watch(clock).fit(estimator.set_params(max_iter=2 + n_epochs), X).ends
    return (ends[-1] - ends[1]) / n_epochs


@torch.no_grad()
def codes(module: Any, X: np.ndarray, n_rows: int = 2048) -> np.ndarray:
    """Return the codes that a module has for float32 rows at present."""
    device = next(module.parameters()).device
    batches = torch.from_numpy(X).to(device).split(n_rows)
    return np.concatenate([module.encode(x).cpu().numpy() for x in batches])
