"""Warnings name the line of the user's call, by whatever way it came to the package."""

import threading
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skswae import AETransformer

X = np.random.default_rng(0).standard_normal((40, 3))


class Derived(AETransformer):
    def fit(self, X, y=None):
        return super().fit(X)


def far_off():
    return AETransformer(2, max_iter=4, learning_rate_init=10.0, random_state=0)


CALLS = {
    "fit": lambda: far_off().fit(X),
    "fit_transform": lambda: far_off().fit_transform(X),
    "pipeline": lambda: make_pipeline(far_off()).fit(X),
    "pipeline's fit_transform": lambda: make_pipeline(far_off()).fit_transform(X),
    "search": lambda: GridSearchCV(far_off(), {"max_iter": [4]}, cv=2).fit(X),
    "derived": lambda: Derived(2, max_iter=4, learning_rate_init=10.0, random_state=0).fit_transform(X),
}


def test_a_warning_in_a_thread_names_no_line_of_the_package():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=far_off().fit, args=(X,))
        thread.start()
        thread.join()
    (told,) = [w for w in caught if w.category is ConvergenceWarning]
    assert told.filename == threading.__file__


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_of_a_fit_names_the_users_line(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name]()
    told = [w for w in caught if w.category is ConvergenceWarning]
    assert {w.filename for w in told} == {__file__}
