"""The end of a training: the last pass over the rows, the fitted attributes, and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skswae._diagnosis import TRIAL_EPOCHS
from skswae._inference import call_rows
from skswae._plan import Plan
from skswae._processes import active
from skswae._resume import module_parameters
from skswae._warnings import warn
from skswae.data._loader import Loader
from skswae.data._scaler import TrainingRows
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import reduced_precision
from skswae.training._auto import AutoSettings
from skswae.training._callbacks import Run
from skswae.training._step import TrainingStep


class Outcome:
    """Compute the fitted attributes of an estimator, after its training or after an epoch of it.

    ``first`` is the number of epochs of earlier trainings that this one continues; ``n_epochs`` is the number
    of epochs that it should run itself.
    """

    def __init__(self, estimator: Any, plan: Plan, seed: int, rows: TrainingRows, loader: Loader):
        self.estimator = estimator
        self.plan = plan
        self.rows = rows
        self.loader = loader
        self.settings = AutoSettings.resolve(
            len(loader),
            max_iter=estimator.max_iter,
            batch_size=estimator.batch_size,
            learning_rate_init=estimator.learning_rate_init,
            full_rate=plan.n_epochs is not None or estimator.init == "random",
        )
        self.n_epochs = self.settings.n_epochs if plan.n_epochs is None else plan.n_epochs
        self.first = estimator.n_iter_ if plan.resume else 0
        none = {name: np.empty(0) for name in estimator._terms}
        self._history = estimator.history_ if plan.resume else none
        self._constant = {
            "_seed": seed,
            "_fitted_parameters": module_parameters(estimator),
            "batch_size_": self.settings.batch_size,
            "learning_rate_init_": self.settings.learning_rate,
            "early_stopping_": plan.early_stopping,
            "learning_rate_": plan.learning_rate,
        }

    def in_order(self) -> Iterator[Tensor]:
        """Return the training rows in order, in the module's units; of several processes each has some."""
        rows = self.rows
        return (rows.prepare(raw) for raw in self.loader.passed(call_rows(rows.n_features)))

    def finish(self, module: AutoencoderModule, step: TrainingStep) -> None:
        """Pass over the training rows a last time, with the whole objective in force."""
        module.epoch = math.inf
        with torch.no_grad(), step.arithmetic():
            module.after_training(self.in_order(), accumulate=self.plan.accumulate)
        group = active()
        if group is not None:
            group.broadcast(module)

    def curves(self, records: list[dict[str, float]]) -> dict[str, Any]:
        """Return the attributes that count the epochs."""
        return {
            "n_iter_": self.first + len(records),
            "history_": _joined(self._history, records, self.first),
        }

    def attributes(self, module: Any, records: list[dict[str, float]]) -> dict[str, Any]:
        """Return the fitted attributes of an estimator with this module and these records."""
        return {**self._constant, **self.curves(records), "module_": module}

    def as_if_ended(self, run: Run) -> dict[str, Any]:
        """Return the attributes as if the training had ended with the last epoch; it goes on undisturbed."""
        trained: Any = run.module
        module = detached_copy(trained).eval()
        with reduced_precision(module, "float32"):  # and after the block: that of the training is left
            self.finish(module, run.step)
        return {**self.attributes(module, list(run.history)), "_moments": (None, None)}

    def warn_of_end(self, run: Run, warmup: int) -> None:
        """Warn if the training was interrupted, or ended before its warm-up."""
        estimator, n_complete = self.estimator, len(run.history)
        warming = self.first + n_complete <= warmup  # complete epochs, all of them before its end
        to_be_judged = self.plan.n_epochs is None and self.n_epochs > TRIAL_EPOCHS
        if warming and to_be_judged and not (run.interrupted or estimator.warm_start):
            stopped = n_complete < self.n_epochs
            then = "go on with warm_start=True" if stopped else "raise max_iter"
            warn(
                f"The warm-up of {type(estimator).__name__} did not end: warmup={warmup} of {self.n_epochs} "
                f"epochs{f', stopped after {n_complete}' if stopped else ''}. "
                f"Its whole objective was never in force. Lower warmup or {then}.",
                ConvergenceWarning,
            )
        if run.interrupted:
            in_part = " They are all of its warm-up, without a part of its objective." if warming else ""
            warn(
                f"The fit was interrupted: {type(estimator).__name__} keeps the "
                f"{n_complete} complete epochs of {self.n_epochs}.{in_part}",
                ConvergenceWarning,
            )


def _joined(
    history: dict[str, np.ndarray], records: list[dict[str, float]], first: int
) -> dict[str, np.ndarray]:
    """Return arrays of one number an epoch; NaN where an epoch did not have the term."""
    joined = {}
    names: Iterable[str] = [*history, *(name for record in records for name in record)]
    for name in dict.fromkeys(names):
        before = history.get(name, np.full(first, np.nan))
        joined[name] = np.append(before, [record.get(name, np.nan) for record in records])
    return joined
