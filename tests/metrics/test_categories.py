"""Shares of categories, by counting."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from skswae.metrics import category_distance


def by_counting(a, b):
    a, b = Counter(a), Counter(b)
    return sum(abs(a[c] / a.total() - b[c] / b.total()) for c in a | b) / 2


@pytest.mark.parametrize("kind", [int, float, str, bool])
def test_labels_by_counting(kind, rng):
    a = (rng.integers(5, size=40) * rng.integers(2, size=40)).astype(kind)
    b = rng.integers(7, size=90).astype(kind)
    expected = by_counting(a.tolist(), b.tolist())
    assert 0 < expected < 1
    for wrap in (np.asarray, list, pd.Series, lambda y: pd.Series(y, dtype="category")):
        assert category_distance(wrap(a), wrap(b)) == pytest.approx(expected)
        assert category_distance(wrap(b), wrap(a)) == pytest.approx(expected)


def test_the_ends(digits, rng):
    y = digits[1]
    assert category_distance(y, np.tile(y, 3)) == pytest.approx(0, abs=1e-12)  # the order does not matter
    assert category_distance(y, y + 10) == 1
    assert category_distance(y[y != 3], y) == pytest.approx(np.mean(y == 3))  # a class that got lost
    assert category_distance(np.zeros(9, int), y) == pytest.approx(np.mean(y != 0))


def test_the_largest_of_some_columns(rng):
    a, b = rng.normal(size=(50, 4)) + [1, 0, 0, 0], rng.normal(size=(70, 4))
    expected = by_counting(a.argmax(axis=1).tolist(), b.argmax(axis=1).tolist())
    assert category_distance(a, b) == pytest.approx(expected)
    assert category_distance(pd.DataFrame(a), b.tolist()) == pytest.approx(expected)
    one_hot = np.eye(4)[b.argmax(axis=1)]
    assert category_distance(a, one_hot) == pytest.approx(expected)


def test_classes_of_samples_from_a_classifier(digits):
    """Rows of the same source are near, those without a class are not."""
    X, y = digits
    predict = KNeighborsClassifier(5).fit(X[:150], y[:150]).predict
    rest = X[150:]
    assert category_distance(predict(rest), y[150:]) < 0.1
    assert category_distance(predict(rest[y[150:] > 3]), y[150:]) > 0.3


def test_bad_arguments(digits):
    y = digits[1]
    for a, b, message in (
        (y[:0], y, "'y_generated' argument must hold at least one row"),
        (y, [], "'y_real' argument must hold at least one row"),
        (y, np.eye(3), "'y_real' argument cannot be used as labels"),
        (np.eye(3), np.eye(4), "'y_real' argument must have 3 features. Got 4"),
        (np.eye(3), np.full((2, 3), np.nan), "'y_real' argument cannot be used"),
        (0.1 + y, y, "arguments must hold categories"),
        (np.where(y == 1, np.nan, y), y, "'y_generated' argument cannot be used as labels. .* NaN"),
        (y.astype(str), y, "arguments must hold categories"),
        (y, 3, "'y_real' argument cannot be used as labels"),
    ):
        with pytest.raises(ValueError, match=message):
            category_distance(a, b)
