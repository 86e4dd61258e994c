"""scikit-learn's callbacks, ``sklearn.callback``: they see a fit, and each of its epochs, begin and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skswae._outcome import Outcome
from skswae.training._callbacks import Callback, Run

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has none, and estimators no set_callbacks
    # mypy sees scikit-learn's class, and this one as a second of its name
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing, in the place of scikit-learn's."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "Hooks", "with_callbacks"]

# attributes that scikit-learn sets for the time of a fit
OF_THE_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx")


class Hooks(Callback):
    """Tell the estimator's callbacks of a fit, a task with one subtask for each epoch.

    They are given X and y as the user gave them. At the end of an epoch ``history_`` and ``n_iter_`` of the
    estimator count it, while its methods still compute with the module of before the fit; one that is fitted
    so far is made for those callbacks that ask for it.
    """

    def __init__(self, outcome: Outcome, X: Any, y: Any, n_epochs: int):
        self.outcome = outcome
        self.given = {"estimator": outcome.estimator, "X": X, "y": y}
        self.fit = outcome.estimator._init_callback_context(max_subtasks=n_epochs)
        self.fit.call_on_fit_task_begin(**self.given)

    def on_epoch_begin(self, run: Run) -> None:
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.given)

    def on_epoch_end(self, run: Run) -> bool:
        vars(self.outcome.estimator).update(self.outcome.curves(run.history))
        return self.epoch.call_on_fit_task_end(
            **self.given, reconstruction_attributes=lambda: self.outcome.as_if_ended(run)
        )

    def end(self) -> None:
        """Tell of the end of the fit, of an estimator that is fitted."""
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes={})


def hooks(outcome: Outcome, X: Any, y: Any, n_epochs: int) -> Hooks | None:
    """Return what tells the estimator's callbacks of the fit that begins; None if it has none."""
    return Hooks(outcome, X, y, n_epochs) if getattr(outcome.estimator, "_skl_callbacks", None) else None
