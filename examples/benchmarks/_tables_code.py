"""Tables by hand: numbers standardised, categories one-hot, missing cells NaN; and the way back."""

from __future__ import annotations

import numpy as np
import pandas as pd
from _tables_rivals import is_category
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor


class HandCoder:
    """The code that scikit-learn's methods need, learned from training rows.

    A level's columns are divided by the square root of two: two rows that differ in a category are at a
    distance of one there.
    """

    def __init__(self, train: pd.DataFrame):
        self.columns: list[tuple[str, slice, pd.Index | None, float, float]] = []
        start = 0
        for name in train:
            if is_category(train[name]):
                levels = pd.Categorical(train[name]).categories
                self.columns.append((name, slice(start, start + len(levels)), levels, 0.0, np.sqrt(2)))
                start += len(levels)
            else:
                numbers = train[name].astype(float)
                scale = numbers.std(ddof=0) or 1.0
                self.columns.append((name, slice(start, start + 1), None, numbers.mean(), scale))
                start += 1
        self.width = start

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return rows of numbers, with NaN where a cell is missing."""
        found = np.empty((len(frame), self.width))
        for name, place, levels, mean, scale in self.columns:
            if levels is None:
                found[:, place.start] = (frame[name].astype(float) - mean) / scale
            else:
                codes = pd.Categorical(frame[name], categories=levels).codes
                found[:, place] = np.eye(len(levels))[codes] / scale
                found[codes < 0, place] = np.nan
        return found

    def decode(self, rows: np.ndarray) -> pd.DataFrame:
        """Return a frame: numbers in their units, of the categories the levels with the largest value."""
        found = {}
        for name, place, levels, mean, scale in self.columns:
            if levels is None:
                found[name] = rows[:, place.start] * scale + mean
            else:
                found[name] = levels[rows[:, place].argmax(axis=1)]
        return pd.DataFrame(found)


STEP = 1000.0  # between the codes of two columns of categories; standardised numbers stay far below


class IndexCoder:
    """Numbers standardised; of the ``k``-th column of categories, the level's index plus ``k * STEP``."""

    def __init__(self, train: pd.DataFrame):
        self.train = train
        names = [name for name in train if is_category(train[name])]
        self.levels = {name: pd.Categorical(train[name]).categories for name in names}
        self.offsets = {name: STEP * (k + 1) for k, name in enumerate(names)}
        numbers = train.drop(columns=names).astype(float)
        self.means, self.scales = numbers.mean(), numbers.std(ddof=0).replace(0, 1)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return rows of numbers, with NaN where a cell is missing."""
        found = np.empty(frame.shape)
        for j, name in enumerate(self.train):
            if name in self.levels:
                codes = pd.Categorical(frame[name], categories=self.levels[name]).codes
                found[:, j] = np.where(codes < 0, np.nan, codes + self.offsets[name])
            else:
                found[:, j] = (frame[name].astype(float) - self.means[name]) / self.scales[name]
        return found

    def decode(self, rows: np.ndarray) -> pd.DataFrame:
        """Return a frame."""
        found = {}
        for j, name in enumerate(self.train):
            if name in self.levels:
                codes = np.rint(rows[:, j] - self.offsets[name]).astype(int)
                found[name] = self.levels[name][np.clip(codes, 0, len(self.levels[name]) - 1)]
            else:
                found[name] = rows[:, j] * self.scales[name] + self.means[name]
        return pd.DataFrame(found)


class ByKind(RegressorMixin, BaseEstimator):
    """A classifier for columns of categories and a regressor for numbers, from rows of :class:`IndexCoder`.

    IterativeImputer has one estimator for all columns. It is not given one-hot columns: those of a category
    sum to one, so that each is learned from the others, which are missing where it is.
    """

    def __init__(self, regressor, classifier):
        self.regressor = regressor
        self.classifier = classifier

    def _wide(self, X):
        wide = []
        for j, levels in enumerate(self.levels_):
            column = X[:, [j]]
            wide.append(column if levels is None else (np.rint(column) == levels).astype(float))
        return np.hstack(wide)

    def fit(self, X, y):
        self.levels_ = [np.unique(np.rint(x)) if x.min() > STEP / 2 else None for x in np.asarray(X).T]
        categories = np.min(y) > STEP / 2
        if categories and len(np.unique(y)) == 1:
            self.model_ = DummyRegressor()
        else:
            self.model_ = clone(self.classifier if categories else self.regressor)
        self.model_.fit(self._wide(np.asarray(X)), np.rint(y) if categories else y)
        return self

    def predict(self, X):
        return self.model_.predict(self._wide(np.asarray(X)))
