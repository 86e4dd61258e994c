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

from skswae.metrics._checks import check_rows

_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


@validate_params({"n_neighbors": [_AT_LEAST_1, "array-like"]}, prefer_skip_nested_validation=False)
def knn_accuracy(Z_train, y_train, Z_test, y_test, *, n_neighbors=5) -> Any:
    """Compute the accuracy of a k-nearest-neighbour classifier on codes, as in Table 1 of the SWAE paper.

    It is ``KNeighborsClassifier(k).fit(Z_train, y_train).score(Z_test, y_test)`` of the codes in float64.

    Parameters
    ----------
    Z_train : array-like of shape (n_samples_train, n_components)
        Codes, or any other rows.
    y_train : array-like of shape (n_samples_train,)
        Their classes.
    Z_test : array-like of shape (n_samples_test, n_components)
        Codes to classify.
    y_test : array-like of shape (n_samples_test,)
        Their classes.
    n_neighbors : int or sequence of int, default=5
        Number of neighbours k, at most ``n_samples_train``. The paper has 3, 5 and 10.

    Returns
    -------
    accuracy : float or ndarray of shape (len(n_neighbors),)
        Share of the test codes that are classified correctly, in [0, 1]: a float for an int, an array for a
        sequence.

    Raises
    ------
    ValueError
        If shapes or numbers of rows disagree, the labels are not classes, a number is not finite, or
        ``n_neighbors`` is not of integers from 1 to ``n_samples_train``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import knn_accuracy
    >>> X, y = load_digits(return_X_y=True)
    >>> Z = PCA(8).fit(X[::2]).transform(X)
    >>> print(f"{knn_accuracy(Z[::2], y[::2], Z[1::2], y[1::2]):.2f}")
    0.94
    >>> knn_accuracy(Z[::2], y[::2], Z[1::2], y[1::2], n_neighbors=(3, 5, 10)).round(2)
    array([0.94, 0.94, 0.94])
    """
    Z_train = check_rows(Z_train, "Z_train")
    Z_test = check_rows(Z_test, "Z_test", n_features=Z_train.shape[1])
    accuracies = [
        KNeighborsClassifier(k).fit(Z_train, y_train).score(Z_test, y_test)
        for k in np.atleast_1d(n_neighbors).tolist()
    ]
    return np.array(accuracies) if np.ndim(n_neighbors) else accuracies[0]


@validate_params(
    {"n_neighbors": [_AT_LEAST_1], "targets": ["array-like", None]}, prefer_skip_nested_validation=True
)
def neighborhood_agreement(X, Z, *, n_neighbors=10, targets=None) -> float:
    """Compute the share of the nearest rows in X that are also among the nearest in Z.

    It puts Figure 1 of the SWAE paper into a number: whether rows that are close in the data space are close
    in the latent space. For each target the k nearest other rows are found in X and in Z; the share that is
    in both, averaged over the targets, is the overlap of [1]_. Random codes have ``n_neighbors / (n_samples -
    1)``.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows in the data space.
    Z : array-like of shape (n_samples, n_components)
        Their codes, in the same order.
    n_neighbors : int, default=10
        Number of neighbours k, less than ``n_samples``.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Indices of the rows whose neighbours are compared. None: all rows.

    Returns
    -------
    agreement : float
        In [0, 1]; 1 if every target has the same neighbours, in whatever order. Which of several equally
        distant rows is a neighbour is left to the search.

    Raises
    ------
    ValueError
        If the numbers of rows differ, a number is not finite, or there are not so many neighbours or targets.

    See Also
    --------
    rank_agreement : The order of all rows, not of the nearest alone.
    trustworthiness : How far away in X the neighbours in Z are.

    References
    ----------
    .. [1] L. Chen, A. Buja. Local Multidimensional Scaling for Nonlinear Dimension Reduction, Graph Drawing,
       and Proximity Analysis. Journal of the American Statistical Association 104, 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import neighborhood_agreement
    >>> X = load_digits().data
    >>> for n_components in (2, 8, 64):
    ...     print(f"{neighborhood_agreement(X, PCA(n_components).fit_transform(X)):.2f}")
    0.12
    0.58
    1.00
    """
    X, Z, targets = _check_pairs(X, Z, targets, min_samples=2)
    if n_neighbors >= len(X):
        raise ValueError(
            f"The 'n_neighbors' argument must be less than the number of rows, {len(X)}. "
            f"Got {n_neighbors} instead."
        )
    pairs = zip(*(_other_neighbors(A, n_neighbors, targets) for A in (X, Z)))
    shared = [len(np.intersect1d(in_X, in_Z, assume_unique=True)) for in_X, in_Z in pairs]
    return float(np.mean(shared) / n_neighbors)


@validate_params({"targets": ["array-like", None]}, prefer_skip_nested_validation=True)
def rank_agreement(X, Z, *, targets=None) -> float:
    """Compute Spearman's rank correlation between distances in X and in Z, averaged over targets.

    For each target all other rows are ranked by their distance from it, in X and in Z, equal distances by the
    mean of their ranks. This is what Figure 1 of the SWAE paper shows: codes sorted by the distance of their
    rows. Unlike :func:`neighborhood_agreement` it counts far rows as much as near ones.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows in the data space, at least 3.
    Z : array-like of shape (n_samples, n_components)
        Their codes, in the same order.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Indices of the rows from which distances are taken. None: all rows. The time grows with
        ``n_targets * n_samples``.

    Returns
    -------
    agreement : float
        In [-1, 1]; 1 if the order is the same from every target, about 0 for random codes. A target from
        which all rows are equally far, in X or in Z, has no order and counts 0.

    Raises
    ------
    ValueError
        If the numbers of rows differ, a number is not finite, or the targets are not indices of rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import rank_agreement
    >>> X = load_digits().data
    >>> for n_components in (2, 8, 64):
    ...     Z = PCA(n_components).fit_transform(X)
    ...     print(f"{rank_agreement(X, Z, targets=range(100)):.2f}")
    0.59
    0.93
    1.00
    """
    X, Z, targets = _check_pairs(X, Z, targets, min_samples=3)
    return float(np.mean([_rank_correlation(*(_other_distances(A, t) for A in (X, Z))) for t in targets]))


def _other_distances(X: np.ndarray, target: int) -> np.ndarray:
    """Return the squared distances of all other rows from one row: (n - 1,)."""
    # from differences, not from products of rows: equal distances stay equal
    return np.delete(pairwise_distances(X[[target]], X, metric="sqeuclidean"), target)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's correlation, and 0 where one side has no order, for which SciPy has NaN."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return spearmanr(a, b).statistic


def _check_pairs(
    X: Any, Z: Any, targets: Any, *, min_samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, their codes, and indices of some of them."""
    X, Z = check_rows(X, "X", min_samples=min_samples), check_rows(Z, "Z")
    check_consistent_length(X, Z)
    chosen = np.arange(len(X)) if targets is None else np.asarray(targets)
    if (
        chosen.ndim != 1
        or chosen.size == 0
        or chosen.dtype.kind not in "iu"
        or not 0 <= chosen.min() <= chosen.max() < len(X)
    ):
        raise ValueError(
            f"The 'targets' argument must be None or indices of rows, from 0 to {len(X) - 1}. "
            f"Got {targets!r} instead."
        )
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
