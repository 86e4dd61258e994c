"""Callbacks see a fit and its epochs begin and end, and can stop it."""

import numpy as np
import pytest

from skswae import _fit
from skswae.training._callbacks import Callback

from ..estimators import assert_equal_fits, swae


class Log(Callback):
    """Notes the events, the number of the epoch and of records; asks for an end after an epoch."""

    def __init__(self, last=None):
        self.last, self.events = last, []

    def on_fit_begin(self, run):
        self.events.append(("fit begins", run.epoch, len(run.history)))

    def on_epoch_begin(self, run):
        self.events.append(("epoch begins", run.epoch, len(run.history)))

    def on_epoch_end(self, run):
        assert run.seconds >= 0
        self.loss = run.history[-1]["loss"]
        self.events.append(("epoch ends", run.epoch, len(run.history)))
        return run.epoch == self.last

    def on_fit_end(self, run):
        self.events.append(("fit ends", run.epoch, len(run.history)))


def of_epochs(first, last):
    pairs = ((("epoch begins", e, e - first), ("epoch ends", e, e - first + 1)) for e in range(first, last))
    return [event for pair in pairs for event in pair]


def test_events_come_in_order(iris):
    log, again, estimator = Log(), Log(), swae()
    _fit.fit(estimator, iris, callbacks=[log])
    assert log.events == [("fit begins", -1, 0), *of_epochs(0, 3), ("fit ends", 2, 3)]
    assert log.loss == estimator.loss_curve_[-1]
    assert_equal_fits(estimator, swae().fit(iris))  # watching changes nothing
    _fit.partial_fit(estimator, iris, callbacks=[again])
    assert again.events[1:] == [*of_epochs(3, 4), ("fit ends", 3, 1)]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_callback_stops_the_training(early_stopping, iris):
    options = {"early_stopping": early_stopping, "learning_rate": "constant", "n_iter_no_change": np.inf}
    logs, estimator = [Log(last=1), Log()], swae(max_iter=9, **options)
    _fit.fit(estimator, iris, callbacks=logs)
    for log in logs:  # all of them are asked, and told
        assert log.events == [("fit begins", -1, 0), *of_epochs(0, 2), ("fit ends", 1, 2)]
    assert_equal_fits(estimator, swae(max_iter=2, **options).fit(iris))
