"""scikit-learn's callbacks on an estimator, in a pipeline and in a search: they watch, score and stop fits."""

import json
import pathlib
import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skswae import load_model, save_model

from .estimators import assert_equal_fits, cheap, gan, states, swae, two_levels
from .own_networks import DropoutNet

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "user_guide.md"


class Watch:
    """Notes the events and what they come with; stops a fit after a given epoch, or breaks it."""

    def __init__(self, stop=None, error=None):
        self.stop, self.error, self.events = stop, error, []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name, context.task_id, estimator.n_iter_))
        assert len(estimator.loss_curve_) == estimator.n_iter_
        if estimator.n_iter_ == self.stop:
            if self.error is not None:
                raise self.error
            return True


class Keep(Watch):
    """Keeps the estimators as fitted so far, and disturbs torch's global stream."""

    def on_fit_task_begin(self, estimator, context):
        torch.rand(1)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        torch.rand(1)
        self.events.append((context.task_name, X, y, fitted_estimator))


def of_epochs(first, last, n_before=0):
    pairs = (
        (("begin", "epoch", e, 0), ("end", "epoch", e, n_before + e + 1)) for e in range(first, last)
    )
    return [event for pair in pairs for event in pair]


def test_events(iris):
    watch = Watch()
    model = swae(warm_start=True).set_callbacks(watch).fit(iris)
    whole = ["setup", ("begin", "fit", 0, 3), *of_epochs(0, 3), ("end", "fit", 0, 3), "teardown"]
    assert watch.events == whole
    watch.events.clear()
    model.set_params(max_iter=2).fit(iris)
    assert watch.events[1:-1] == [("begin", "fit", 0, 2), *of_epochs(0, 2, 3), ("end", "fit", 0, 5)]
    watch.events.clear()
    model.partial_fit(iris)
    assert watch.events[1:-1] == [("begin", "fit", 0, 1), *of_epochs(0, 1, 5), ("end", "fit", 0, 6)]
    watch.events.clear()
    model.set_callbacks().fit(iris)
    assert watch.events == []


@pytest.mark.parametrize(
    "make", [swae, gan, two_levels, lambda **k: swae(network=DropoutNet(), **k)], ids=lambda m: str(m)[:9]
)
def test_an_estimator_as_fitted_so_far_is_a_fit_of_so_many_epochs(make, iris):
    """And that it was asked for changes nothing."""
    keep, y = Keep(), np.arange(150)
    constant = {"learning_rate": "constant", "warmup": 0} if make is swae else {"learning_rate": "constant"}
    model = make(**constant).set_callbacks(keep).fit(iris, y)
    assert_equal_fits(model, make(**constant).fit(iris))
    epochs = [event for event in keep.events if event[0] == "epoch"]
    for n_epochs, (_, X, y_seen, fitted) in enumerate(epochs, start=1):
        assert X is iris
        assert y_seen is y
        expected = make(**{**constant, "max_iter": n_epochs}).fit(iris)
        if make is not two_levels or n_epochs != 2:
            assert_equal_fits(fitted, expected)
        np.testing.assert_array_equal(fitted.transform(iris), expected.transform(iris))
        drawn, again = (m.sample(4, prior="gmm", random_state=0) for m in (fitted, expected))
        np.testing.assert_array_equal(drawn, again)
    (last,) = (fitted for name, _, _, fitted in keep.events if name == "fit")
    assert_equal_fits(last, model)
