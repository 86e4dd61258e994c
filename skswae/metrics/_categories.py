"""Shares of classes and categories among samples: which of them a model has lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import unique_labels

from skswae.metrics._checks import check_rows


def category_distance(y_generated, y_real) -> float:
    """Compute the total variation between the categories of samples and of rows, after [1]_.

    Half the sum, over all categories, of the difference between their shares: the share of the samples that
    would have to be of another category for the shares to agree. A category that the samples have lost
    counts with all of its share among the rows.

    Parameters
    ----------
    y_generated, y_real : array-like of shape (n_samples,) or (n_samples, n_categories)
        Of rows drawn from a model, and of real rows: their categories, or the columns of a one-hot group
        (or of probabilities), whose largest is the category. The classes of samples are a classifier's
        guess: ``KNeighborsClassifier(5).fit(X_train, y_train).predict(X_generated)``, say.

    Returns
    -------
    distance : float
        In [0, 1]; 0 for equal shares, 1 if no category is in both sets. Chance alone raises it, the more the
        fewer the rows and the more the categories: compare with the distance between two halves of
        the real rows.

    Raises
    ------
    ValueError
        If an argument holds no categories (but fractions, NaN or nothing at all, say), or the two do not
        hold the same kind: labels with labels, or equally many columns.

    References
    ----------
    .. [1] S. Santurkar, L. Schmidt, A. Madry. A Classification-Based Study of Covariate Shift in GAN
       Distributions. ICML 2018. arXiv:1711.00970.

    Examples
    --------
    >>> from skswae.metrics import category_distance
    >>> category_distance(["a", "a", "a", "b"], ["a", "b", "b", "c"])
    0.5
    >>> category_distance([[0.9, 0.2], [0.7, 0.4]], [[1, 0], [0, 1]])
    0.5
    """
    if np.ndim(y_generated) == 2 and np.ndim(y_real) == 2:
        columns = check_rows(y_generated, "y_generated")
        real = check_rows(y_real, "y_real", n_features=columns.shape[1])
        generated, real = columns.argmax(axis=1), real.argmax(axis=1)
    else:
        generated, real = (_labels(y, name) for y, name in ((y_generated, "y_generated"), (y_real, "y_real")))
    try:
        categories = unique_labels(generated, real)
    except ValueError as error:
        raise ValueError(f"The 'y_generated' and 'y_real' arguments must hold categories. {error}") from error
    shares = [(y[:, None] == categories).mean(axis=0) for y in (generated, real)]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _labels(y: Any, name: str) -> np.ndarray:
    """Return a column of labels, or raise a ValueError that names the argument."""
    try:
        labels = column_or_1d(y)
        assert_all_finite(labels)
    except ValueError as error:
        raise ValueError(f"The {name!r} argument cannot be used as labels. {error}") from error
    if len(labels) == 0:
        raise ValueError(f"The {name!r} argument must hold at least one row. Got none.")
    return labels
