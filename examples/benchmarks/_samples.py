"""Judges samples of a generative model: arrays in, numbers out, on the raw features.

Everything is measured against held-out rows, which neither the model nor its samples have seen, and the
training rows serve to find copies of them. No number says it all: training rows, copied, have the best
Frechet distance, precision and recall that there are, and only the nearest-row ratio and the duplicate rate
give them away. The measures are those of :mod:`skswae.metrics`.
"""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from skswae.metrics import (
    category_distance,
    duplicate_rate,
    frechet_distance,
    nearest_row_ratio,
    precision_recall,
)


def judge(samples, X_train, X_test, y_train):
    """Everything that this file measures, by column heading.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    X_train : ndarray of shape (n_train, n_features)
    X_test : ndarray of shape (n_test, n_features)
        Held-out rows.
    y_train : ndarray of shape (n_train,)
        Classes of the training rows.

    Returns
    -------
    columns : dict of str to float
        From :mod:`skswae.metrics`; classes by 5 nearest training rows, "smallest class" the share of the
        samples that the rarest has, 0 if one is missing.
    """
    precision, recall = precision_recall(samples, X_test, random_state=0)
    knn = KNeighborsClassifier(5).fit(X_train, y_train)
    y = knn.predict(samples)
    columns = {
        "Frechet distance": frechet_distance(samples, X_test),
        "precision": precision,
        "recall": recall,
        "nearest-row ratio": nearest_row_ratio(samples, X_train, X_test),
        "duplicate rate": duplicate_rate(samples, X_train, X_test),
        "class total variation": category_distance(y, y_train),
        "smallest class": min(np.mean(y == label) for label in knn.classes_),
    }
    return {name: float(value) for name, value in columns.items()}


def collapsed(columns):
    """Tell whether classes got lost: a total variation over 0.25, or a class under 2 % of the samples.

    Parameters
    ----------
    columns : dict of str to float
        From :func:`judge`.

    Returns
    -------
    answer : bool
    """
    return columns["class total variation"] > 0.25 or columns["smallest class"] < 0.02
