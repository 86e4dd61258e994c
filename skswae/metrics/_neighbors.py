"""Agreement of codes with classes, and of distances between codes with distances between rows."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from skswae._device import own_settings
from skswae.metrics._checks import check_rows

_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


@validate_params({"n_neighbors": [_AT_LEAST_1, "array-like"]}, prefer_skip_nested_validation=False)
@own_settings()
def knn_accuracy(Z_train, y_train, Z_test, y_test, *, n_neighbors=5) -> Any:
    """Compute the accuracy of a k-nearest-neighbour classifier on codes, as in Table 1 of the SWAE paper.

    It is ``KNeighborsClassifier(k).fit(Z_train, y_train).score(Z_test, y_test)`` of the codes in float64.

    Parameters
    ----------
    Z_train, y_train : array-like of shape (n_samples_train, n_components) and (n_samples_train,)
        Codes, or any other rows, and their classes.
    Z_test, y_test : array-like of shape (n_samples_test, n_components) and (n_samples_test,)
        Codes to classify, and their classes.
    n_neighbors : int or sequence of int, default=5
        Number of neighbours k, at most ``n_samples_train``; at least one number. The paper has 3, 5 and 10.

    Returns
    -------
    accuracy : float, or ndarray of shape (len(n_neighbors),) for a sequence
        Share of the test codes that are classified correctly, in [0, 1].

    Examples
    --------
    >>> from skswae.metrics import knn_accuracy
    >>> knn_accuracy([[0], [1], [6]], [0, 0, 1], [[2], [5]], [0, 1], n_neighbors=(1, 3))
    array([1. , 0.5])
    """
    if np.ndim(n_neighbors) > 1 or np.size(n_neighbors) == 0:
        raise ValueError(
            "The 'n_neighbors' argument must be an int or a sequence of at least one. "
            f"Got {n_neighbors!r} instead."
        )
    Z_train = check_rows(Z_train, "Z_train")
    Z_test = check_rows(Z_test, "Z_test", n_features=Z_train.shape[1])
    models = (KNeighborsClassifier(k).fit(Z_train, y_train) for k in np.atleast_1d(n_neighbors).tolist())
    accuracies = [model.score(Z_test, y_test) for model in models]
    return np.array(accuracies) if np.ndim(n_neighbors) else accuracies[0]


@validate_params(
    {"n_neighbors": [_AT_LEAST_1], "targets": ["array-like", None]}, prefer_skip_nested_validation=True
)
@own_settings()
def neighborhood_agreement(X, Z, *, n_neighbors=10, targets=None) -> float:
    """Compute the share of the nearest rows in X that are also among the nearest in Z.

    The overlap of [1]_, averaged over targets, puts Figure 1 of the SWAE paper into a number: whether rows
    that are close in the data space are close in the latent space. Random codes have ``n_neighbors /
    (n_samples - 1)``.

    Parameters
    ----------
    X, Z : array-like of shape (n_samples, n_features) and (n_samples, n_components)
        Rows in the data space, and their codes in the same order.
    n_neighbors : int, default=10
        Number of neighbours k, less than ``n_samples``.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Indices of the rows whose neighbours are compared. None: all rows.

    Returns
    -------
    agreement : float
        In [0, 1]; 1 if every target has the same neighbours, in whatever order. Which of several equally
        distant rows is a neighbour is left to the search.

    References
    ----------
    .. [1] L. Chen, A. Buja. Local Multidimensional Scaling for Nonlinear Dimension Reduction, Graph Drawing,
       and Proximity Analysis. Journal of the American Statistical Association 104, 2009.

    Examples
    --------
    >>> from skswae.metrics import neighborhood_agreement
    >>> neighborhood_agreement([[0], [1], [3], [7]], [[0], [1], [9], [3]], n_neighbors=1)
    0.5
    """
    X, Z, targets = _check_pairs(X, Z, targets, min_samples=2)
    if n_neighbors >= len(X):
        limit = f"less than the number of rows, {len(X)}"
        raise ValueError(f"The 'n_neighbors' argument must be {limit}. Got {n_neighbors} instead.")
    pairs = zip(*(_other_neighbors(A, n_neighbors, targets) for A in (X, Z)))
    shared = [len(np.intersect1d(in_X, in_Z, assume_unique=True)) for in_X, in_Z in pairs]
    return float(np.mean(shared) / n_neighbors)


@validate_params({"targets": ["array-like", None]}, prefer_skip_nested_validation=True)
@own_settings()
def rank_agreement(X, Z, *, targets=None) -> float:
    """Compute Spearman's rank correlation between distances in X and in Z, averaged over targets.

    For each target all other rows are ranked by their distance from it, equal distances by the mean of their
    ranks. Unlike :func:`neighborhood_agreement` it counts far rows as much as near ones.

    Parameters
    ----------
    X, Z : array-like of shape (n_samples, n_features) and (n_samples, n_components)
        At least 3 rows in the data space, and their codes in the same order.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Indices of the rows from which distances are taken. None: all rows. The time grows with
        ``n_targets * n_samples``.

    Returns
    -------
    agreement : float
        In [-1, 1]; 1 if the order is the same from every target, about 0 for random codes. A target from
        which all rows are equally far, in X or in Z, has no order and counts 0.

    Examples
    --------
    >>> from skswae.metrics import rank_agreement
    >>> print(f"{rank_agreement([[0], [1], [3], [7]], [[0], [1], [9], [3]], targets=[0]):.1f}")
    0.5
    """
    X, Z, targets = _check_pairs(X, Z, targets, min_samples=3)
    correlations = []
    for t in targets:
        # from differences, not from products of rows: equal distances stay equal
        of_X, of_Z = (np.delete(pairwise_distances(A[[t]], A, metric="sqeuclidean"), t) for A in (X, Z))
        no_order = np.ptp(of_X) == 0 or np.ptp(of_Z) == 0  # for which SciPy has NaN
        correlations.append(0.0 if no_order else spearmanr(of_X, of_Z).statistic)
    return float(np.mean(correlations))


def _check_pairs(X: Any, Z: Any, targets: Any, *, min_samples: int) -> tuple[np.ndarray, ...]:
    """Return rows, their codes, and indices of some of them."""
    X, Z = check_rows(X, "X", min_samples=min_samples), check_rows(Z, "Z")
    check_consistent_length(X, Z)
    chosen = np.arange(len(X)) if targets is None else np.asarray(targets)
    is_index = chosen.ndim == 1 and chosen.size > 0 and chosen.dtype.kind in "iu"
    if not is_index or not 0 <= chosen.min() <= chosen.max() < len(X):
        allowed = f"None or indices of rows, from 0 to {len(X) - 1}"
        raise ValueError(f"The 'targets' argument must be {allowed}. Got {targets!r} instead.")
    return X, Z, chosen


def _other_neighbors(X: np.ndarray, k: int, targets: np.ndarray) -> np.ndarray:
    """Return the indices of the k nearest other rows of each target: (n_targets, k)."""
    X = X - np.median(X, axis=0)  # the search multiplies rows, which loses digits far from the origin
    found = NearestNeighbors(n_neighbors=k + 1).fit(X).kneighbors(X[targets], return_distance=False)
    # kneighbors() leaves a row out of its own neighbours only if all rows are targets. Where equal rows crowd
    # a target out of its own neighbourhood, the last one found is left out.
    own = found == targets[:, None]
    own[~own.any(axis=1), -1] = True
    return found[~own].reshape(len(targets), k)
