"""Judges samples of a generative model: arrays in, numbers out, on the raw features.

Everything is measured against held-out rows, which neither the model nor its samples have seen, and the
training rows serve to find copies of them. No number says it all: training rows, copied, have the best
Frechet distance, precision and recall that there are, and only the nearest-row ratio and the duplicate rate
give them away. The measures are those of :mod:`skswae.metrics`; here is what classes the samples are of.
"""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from skswae.metrics import duplicate_rate, frechet_distance, nearest_row_ratio, precision_recall


def class_shares(samples, X_train, y_train):
    """Which classes the samples are of, by 5 nearest training rows: the idea of [1]_.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    X_train : ndarray of shape (n_train, n_features)
    y_train : ndarray of shape (n_train,)

    Returns
    -------
    total_variation : float in [0, 1]
        Between the shares of the classes among samples and among training rows.
    smallest : float in [0, 1]
        Share of the samples that the rarest class among them has; 0 if a class is missing.

    References
    ----------
    .. [1] S. Santurkar, L. Schmidt, A. Madry. A classification-based study of covariate shift in GAN
       distributions. ICML 2018. arXiv:1711.00970.
    """
    knn = KNeighborsClassifier(5).fit(X_train, y_train)
    shares = [(y[:, None] == knn.classes_).mean(axis=0) for y in (knn.predict(samples), y_train)]
    return 0.5 * np.abs(shares[0] - shares[1]).sum(), shares[0].min()


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
        From :mod:`skswae.metrics` and :func:`class_shares`.
    """
    precision, recall = precision_recall(samples, X_test, random_state=0)
    total_variation, smallest = class_shares(samples, X_train, y_train)
    columns = {
        "Frechet distance": frechet_distance(samples, X_test),
        "precision": precision,
        "recall": recall,
        "nearest-row ratio": nearest_row_ratio(samples, X_train, X_test),
        "duplicate rate": duplicate_rate(samples, X_train, X_test),
        "class total variation": total_variation,
        "smallest class": smallest,
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
