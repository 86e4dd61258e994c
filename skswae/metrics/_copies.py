"""Distances from samples to real rows: whether samples look real, leave nothing out, or are copies."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_argmin, pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.extmath import row_norms

from skswae._constraints import RANDOM_STATE
from skswae._device import own_settings
from skswae.metrics._checks import check_rows, make_rng

# Distances here are compared by products of rows, which scikit-learn takes 12 times faster than differences
# (of 2,000 by 2,000 rows of 784 features). Such a squared distance is off by this share, at most, of the two
# rows' squares, which are small around an origin amid the rows.
_ROUNDING = 1e-12


@validate_params(
    {"n_neighbors": [Interval(Integral, 1, None, closed="left")], "random_state": RANDOM_STATE},
    prefer_skip_nested_validation=True,
)
@own_settings()
def precision_recall(X_generated, X_real, *, n_neighbors=3, random_state=None) -> tuple[float, float]:
    """Compute precision and recall of samples by nearest neighbours [1]_.

    The manifold of a set is the union of balls, one around each row, that reach to its k-th nearest other
    row. Samples without the noise of real rows have high precision and low recall, as their balls are small.

    Parameters
    ----------
    X_generated, X_real : array-like of shape (n_samples, n_features)
        Rows drawn from a model, and held-out rows. As both results depend on the numbers of rows, equally
        many are drawn at random from the larger set.
    n_neighbors : int, default=3
        Number of neighbours k, as in [1]_; less than the number of rows of the smaller set.
    random_state : int, RandomState or Generator instance, or None, default=None
        Seed of the draw. Pass an int for the same rows in each call.

    Returns
    -------
    precision, recall : float
        Share of the generated rows inside the manifold of the real ones (they look real), and share of the
        real rows inside that of the generated ones (nothing real is left out), in [0, 1].

    References
    ----------
    .. [1] T. Kynkaanniemi et al. Improved Precision and Recall Metric for Assessing Generative Models.
       NeurIPS 2019. arXiv:1904.06991. Equations 1 and 2.

    Examples
    --------
    >>> from skswae.metrics import precision_recall
    >>> precision_recall([[0], [1], [2], [3]], [[0], [1], [8], [9]], n_neighbors=1)
    (0.75, 0.5)
    """
    generated = check_rows(X_generated, "X_generated")
    real = check_rows(X_real, "X_real", n_features=generated.shape[1])
    n_samples = min(len(generated), len(real))
    rng = make_rng(random_state)
    # at random, for samples may come sorted
    generated, real = (A[rng.permutation(len(A))[:n_samples]] for A in (generated, real))
    origin = np.median(real, axis=0)  # amid the rows, wherever an outlier is
    generated, real = generated - origin, real - origin
    return _share_inside(generated, real, n_neighbors), _share_inside(real, generated, n_neighbors)


def _share_inside(points: np.ndarray, rows: np.ndarray, k: int) -> float:
    """Return the share of points that are as near to some row as its k-th nearest other row."""
    radii = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0][:, -1]  # a row is not its own neighbour
    squares = [row_norms(A, squared=True) for A in (points, rows)]

    def in_any(D: np.ndarray, start: int) -> np.ndarray:
        # A point at the very edge, such as a copy of a row that is there more than k times, is inside. By
        # pair: an outlier, whose square is large, must not widen the balls of other rows.
        slack = _ROUNDING * (squares[0][start : start + len(D), None] + squares[1])
        return (np.square(D) <= np.square(radii) + slack).any(axis=1)

    # in chunks: all distances at once may not fit in memory
    return float(np.mean(np.concatenate(list(pairwise_distances_chunked(points, rows, reduce_func=in_any)))))


@own_settings()
def nearest_row_ratio(X_generated, X_train, X_held_out) -> float:
    """Compare the distance of samples to the training rows with that of held-out rows, after [1]_.

    The ratio is the median distance of a generated row to its nearest training row over the same of a
    held-out row. A decoder leaves out noise, which alone brings rows nearer to training rows (to 0.83 for
    held-out digits): compare with the value of held-out rows rebuilt by the same model.

    Parameters
    ----------
    X_generated, X_train, X_held_out : array-like of shape (n_samples, n_features)
        Rows drawn from a model, rows that it was fitted to, and rows of the same source that it was not, of
        which less than half may equal training rows.

    Returns
    -------
    ratio : float
        0 for copies of training rows, 1 for further held-out rows. It shows copies when they are most of the
        samples; :func:`duplicate_rate` shows some among others.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri, S. Dasgupta. A Non-Parametric Test to Detect Data-Copying in Generative
       Models. AISTATS 2020. arXiv:2004.05675.

    Examples
    --------
    >>> from skswae.metrics import nearest_row_ratio
    >>> nearest_row_ratio([[0], [5.5]], X_train=[[0], [5]], X_held_out=[[1], [6]])
    0.25
    """
    generated, held_out = map(np.median, _distances_to_train(X_generated, X_train, X_held_out))
    if held_out == 0:
        raise ValueError(
            "The 'X_held_out' argument must be rows that are not in X_train, else no ratio is defined. Got "
            "training rows for at least half of them instead."
        )
    return float(generated / held_out)


@own_settings()
def duplicate_rate(X_generated, X_train, X_held_out) -> float:
    """Compute the share of samples as near to a training row as the nearest hundredth of held-out rows.

    It looks at the tail of the distances whose medians :func:`nearest_row_ratio` compares, and so shows when
    only some samples are copies. Compare, too, with held-out rows rebuilt by the same model.

    Parameters
    ----------
    X_generated, X_train, X_held_out : array-like of shape (n_samples, n_features)
        As in :func:`nearest_row_ratio`, with some hundreds of held-out rows.

    Returns
    -------
    rate : float
        In [0, 1]: 1 for copies of training rows, about 0.01 for further held-out rows.

    Examples
    --------
    >>> from skswae.metrics import duplicate_rate
    >>> duplicate_rate([[0], [7]], X_train=[[0], [5]], X_held_out=[[1], [6]])
    0.5
    """
    generated, held_out = _distances_to_train(X_generated, X_train, X_held_out)
    return float(np.mean(generated <= np.quantile(held_out, 0.01)))


def _distances_to_train(X_generated: Any, X_train: Any, X_held_out: Any) -> Iterator[np.ndarray]:
    """Yield the distances of generated and of held-out rows to their nearest training rows."""
    train = check_rows(X_train, "X_train")
    generated = check_rows(X_generated, "X_generated", n_features=train.shape[1])
    held_out = check_rows(X_held_out, "X_held_out", n_features=train.shape[1])
    origin = np.median(train, axis=0)
    for A in (generated, held_out):
        nearest = pairwise_distances_argmin(A - origin, train - origin)
        # from the difference: products of equal rows do not cancel to 0
        yield np.linalg.norm(A - train[nearest], axis=1)
