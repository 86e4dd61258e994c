"""How good a code, a reconstruction or a sample is: functions on arrays, and scorers for a search.

Numbers of codes (:func:`knn_accuracy`, :func:`neighborhood_agreement`, :func:`rank_agreement`,
:func:`trustworthiness`), of reconstructions (:func:`reconstruction_error`, :func:`denoising_error`) and of
samples (:func:`frechet_distance`, :func:`precision_recall`, :func:`nearest_row_ratio`,
:func:`duplicate_rate`). Codes and rows may come from any model. No number says it all of samples: training
rows, copied, have the best Frechet distance, precision and recall that there are, and only the nearest-row
ratio and the duplicate rate give them away.

:data:`knn_scorer`, :data:`frechet_scorer` and :data:`trustworthiness_scorer` go into ``GridSearchCV`` as
``scoring`` and can rank ``beta`` and ``n_components``, which the estimators' own ``score`` cannot: it
measures reconstruction alone and always prefers the most components.
"""

from __future__ import annotations

import numbers
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin, pairwise_distances_chunked
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, column_or_1d, gen_batches, resample
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skswae._torch import arithmetic, as_array, as_tensor, draw_seed, forked_rng, resolve_device

__all__ = [
    "ClassifierFeatures",
    "InceptionFeatures",
    "denoising_error",
    "duplicate_rate",
    "frechet_distance",
    "frechet_inception_distance",
    "frechet_scorer",
    "knn_accuracy",
    "knn_scorer",
    "make_frechet_scorer",
    "make_knn_scorer",
    "make_trustworthiness_scorer",
    "nearest_row_ratio",
    "neighborhood_agreement",
    "precision_recall",
    "rank_agreement",
    "reconstruction_error",
    "trustworthiness",
    "trustworthiness_scorer",
]

# squared distances that come from products of rows are off by this share of the longest row's square, at most
_ROUNDING = 1e-12

# ---------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------


def _as_rows(X: Any, name: str, *, min_rows: int = 1, n_features: int | None = None) -> np.ndarray:
    """X as float64 rows, or an error that names the argument."""
    if np.ndim(X) != 2:
        raise ValueError(
            f"The '{name}' argument must be 2D, of shape (n_rows, n_features). Got {np.ndim(X)} dimensions "
            "instead."
        )
    X = check_array(X, dtype=np.float64, input_name=name, ensure_min_samples=0)
    if len(X) < min_rows:
        raise ValueError(f"The '{name}' argument must have at least {min_rows} rows. Got {len(X)} instead.")
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(
            f"The '{name}' argument must have as many features as the rows that it is compared with, "
            f"{n_features}. Got {X.shape[1]} instead."
        )
    return X


def _as_labels(y: Any, name: str, n_rows: int) -> np.ndarray:
    """y as an array of classes, one a row."""
    if y is None:
        raise ValueError(f"The '{name}' argument must hold the class of each row. Got None instead.")
    y = column_or_1d(y)
    if len(y) != n_rows:
        raise ValueError(
            f"The '{name}' argument must hold one class a row, {n_rows} in all. Got {len(y)} instead."
        )
    check_classification_targets(y)
    return y


def _check_integer(value: Any, name: str, low: int = 1) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise ValueError(
            f"The '{name}' argument must be an integer of at least {low}. Got {value!r} instead."
        )
    return int(value)


def _check_n_neighbors(value: Any, n_others: int) -> int:
    """A number of neighbours, where there are so many rows to choose them from."""
    value = _check_integer(value, "n_neighbors")
    if value > n_others:
        raise ValueError(
            f"The 'n_neighbors' argument must be at most the number of rows to choose from, {n_others}. "
            f"Got {value} instead."
        )
    return value


def _make_rng(random_state: Any) -> np.random.Generator:
    """A private generator from scikit-learn's ``random_state``."""
    if isinstance(random_state, numbers.Integral):
        return np.random.default_rng(int(random_state))
    return np.random.default_rng(draw_seed(random_state))


# ---------------------------------------------------------------------------
# Reconstructions
# ---------------------------------------------------------------------------


def reconstruction_error(X, X_reconstructed) -> float:
    """Squared L2 distance between rows and their reconstructions: summed over features, averaged over rows.

    The "reconstruction loss" of Table 3 of [1]_. It is minus an autoencoder's ``score``, for any model.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
    X_reconstructed : array-like of shape (n_rows, n_features)
        Row i is the reconstruction of row i of X.

    Returns
    -------
    error : float of at least 0
        In squared units of X. 0 for equal rows.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, or a number is not finite.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import reconstruction_error
    >>> X = load_digits().data / 16
    >>> pca = PCA(8).fit(X)
    >>> round(reconstruction_error(X, pca.inverse_transform(pca.transform(X))), 2)
    1.53
    """
    X, R = _as_rows(X, "X"), _as_rows(X_reconstructed, "X_reconstructed")
    if X.shape != R.shape:
        raise ValueError(
            f"The 'X_reconstructed' argument must have the shape of X, {X.shape}. Got {R.shape} instead."
        )
    return float(np.mean(np.sum((X - R) ** 2, axis=1)))


def denoising_error(estimator, X, *, noise=0.3, n_repeats=1, clip=None, random_state=None) -> float:
    """Squared L2 distance between clean rows and the reconstructions of noisy ones.

    Gaussian noise is added to the rows, and what the model makes of them is compared with the rows without
    noise: the experiment of section 3.4 and Figure 6 of [1]_, in a number. Compare with
    :func:`reconstruction_error` of the rows themselves, and with what the noise alone amounts to:
    ``noise**2 * n_features``.

    Parameters
    ----------
    estimator : object
        Fitted. Its ``reconstruct(X)`` is used if it has one, else ``inverse_transform(transform(X))``: an
        autoencoder, PCA, or a Pipeline whose steps can all be inverted.
    X : array-like of shape (n_rows, n_features)
        Clean rows, held out.
    noise : float, default=0.3
        Standard deviation, in the units of X. 0.3 is the paper's, for pixels in [0, 1].
    n_repeats : int, default=1
        How often noise is drawn for all rows.
    clip : tuple of (low, high) or None, default=None
        Range to which the noisy rows are clipped, such as (0, 1); the paper does not say that it clips.
    random_state : int, RandomState instance or None, default=None
        Of the noise; pass an int to compare models on equal noise.

    Returns
    -------
    error : float of at least 0
        Mean over rows and repetitions.

    Raises
    ------
    ValueError
        If the estimator can neither reconstruct nor transform and invert, or an argument cannot be used.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import denoising_error
    >>> X = load_digits().data / 16
    >>> pca = PCA(8).fit(X)
    >>> clean, noisy = (denoising_error(pca, X, noise=s, random_state=0) for s in (0, 0.3))
    >>> print(f"{clean:.2f}, {noisy:.2f}")
    1.53, 2.25
    """
    rows = _as_rows(X, "X")
    if not isinstance(noise, numbers.Real) or isinstance(noise, bool) or not 0 <= float(noise) < np.inf:
        raise ValueError(f"The 'noise' argument must be a number of at least 0. Got {noise!r} instead.")
    n_repeats = _check_integer(n_repeats, "n_repeats")
    if clip is not None and (np.shape(clip) != (2,) or not clip[0] < clip[1]):
        raise ValueError(
            f"The 'clip' argument must be None or (low, high), low < high. Got {clip!r} instead."
        )
    if not hasattr(estimator, "reconstruct") and not (
        hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform")
    ):
        raise ValueError(
            "The 'estimator' argument must have reconstruct, or transform and inverse_transform; a Pipeline "
            f"has them if all its steps do. Got {_name_of(estimator)} instead."
        )
    rng = _make_rng(random_state)
    dtype = np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64  # models keep it
    errors = []
    for _ in range(n_repeats):
        noisy = rows + noise * rng.standard_normal(rows.shape)
        if clip is not None:
            noisy = np.clip(noisy, *clip)
        noisy = noisy.astype(dtype, copy=False)
        if hasattr(
            X, "iloc"
        ):  # an estimator fitted to a data frame of pandas expects the names of its columns
            noisy = type(X)(noisy, index=X.index, columns=X.columns)
        if hasattr(estimator, "reconstruct"):
            rebuilt = estimator.reconstruct(noisy)
        else:
            rebuilt = estimator.inverse_transform(estimator.transform(noisy))
        errors.append(reconstruction_error(rows, rebuilt))
    return float(np.mean(errors))


# ---------------------------------------------------------------------------
# Codes
# ---------------------------------------------------------------------------


def knn_accuracy(Z_train, y_train, Z_test, y_test, *, n_neighbors=5) -> Any:
    """Accuracy of a k-nearest-neighbour classifier on codes: what Table 1 of [1]_ measures them by.

    Equal to ``KNeighborsClassifier(k).fit(Z_train, y_train).score(Z_test, y_test)`` of the codes in float64.
    For several k the neighbours are searched once, and again only for those k where rows are equally far.

    Parameters
    ----------
    Z_train : array-like of shape (n_train, n_components)
        Codes, or any other rows.
    y_train : array-like of shape (n_train,)
        Their classes.
    Z_test : array-like of shape (n_test, n_components)
    y_test : array-like of shape (n_test,)
    n_neighbors : int or sequence of int, default=5
        k; at most ``n_train``. The paper has 3, 5 and 10.

    Returns
    -------
    accuracy : float in [0, 1], or ndarray of shape (len(n_neighbors),)
        A number for a number, an array for a sequence.

    Raises
    ------
    ValueError
        If shapes or numbers of rows disagree, the labels are no classes, a number is not finite, or
        ``n_neighbors`` is not of integers from 1 to ``n_train``.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.

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
    Z_train = _as_rows(Z_train, "Z_train")
    Z_test = _as_rows(Z_test, "Z_test", n_features=Z_train.shape[1])
    y_train = _as_labels(y_train, "y_train", len(Z_train))
    y_test = _as_labels(y_test, "y_test", len(Z_test))
    if np.ndim(n_neighbors) > 1 or np.size(n_neighbors) == 0:
        raise ValueError(
            "The 'n_neighbors' argument must be an integer or a sequence of at least one. "
            f"Got {n_neighbors!r} instead."
        )
    several = np.ndim(n_neighbors) == 1
    ks = [_check_n_neighbors(k, len(Z_train)) for k in (n_neighbors if several else [n_neighbors])]

    def search_for(k: int) -> float:
        return np.mean(KNeighborsClassifier(k).fit(Z_train, y_train).predict(Z_test) == y_test)

    if len(ks) == 1:
        return np.array([search_for(ks[0])]) if several else float(search_for(ks[0]))
    # one neighbour more tells whether the last of k is as far as the one after it: which of the two a search
    # for k returns is its own affair
    n_searched = min(max(ks) + 1, len(Z_train))
    distances, neighbors = NearestNeighbors(n_neighbors=n_searched).fit(Z_train).kneighbors(Z_test)
    slack = _ROUNDING * max(np.square(Z).sum(axis=1).max() for Z in (Z_train, Z_test))
    classes, votes = np.unique(y_train, return_inverse=True)
    accuracies = []
    for k in ks:
        gaps = np.diff(np.square(distances[:, k - 1 : k + 1]), axis=1)  # none for k = n_train
        if np.any(gaps <= slack):
            accuracies.append(search_for(k))
        else:
            predicted = classes[_majority(votes[neighbors[:, :k]], len(classes))]
            accuracies.append(np.mean(predicted == y_test))
    return np.array(accuracies)


def _majority(votes: np.ndarray, n_classes: int) -> np.ndarray:
    """The class, 0 to n_classes - 1, that most columns name in each row; the lowest of several: (n,)."""
    counts = np.zeros((len(votes), n_classes), dtype=np.intp)
    rows = np.arange(len(votes))
    for column in votes.T:
        counts[rows, column] += 1
    return counts.argmax(axis=1)


def neighborhood_agreement(X, Z, *, n_neighbors=10, targets=None) -> float:
    """Share of the nearest rows in X that are also among the nearest in Z.

    Figure 1 of [1]_ in a number: whether rows that are close in the data space are close in the latent space.
    For each target, the k nearest other rows are found in X and in Z; the share that is in both, averaged
    over the targets, is the overlap of [2]_. Random codes have ``n_neighbors / (n_rows - 1)``.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows in the data space.
    Z : array-like of shape (n_rows, n_components)
        Row i is the code of row i of X.
    n_neighbors : int, default=10
        k; less than ``n_rows``.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Rows whose neighbours are compared; None: all.

    Returns
    -------
    agreement : float in [0, 1]
        1 if every target has the same neighbours, in whatever order. Which of several equally distant rows
        is a neighbour is left to the search.

    Raises
    ------
    ValueError
        If the numbers of rows differ, a number is not finite, or the neighbours or targets are no rows.

    See Also
    --------
    rank_agreement : The order of all rows, not of the nearest alone.
    trustworthiness : How far away in X the neighbours in Z are.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.
    .. [2] L. Chen, A. Buja. Local Multidimensional Scaling for Nonlinear Dimension Reduction, Graph Drawing,
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
    X, Z, targets = _check_pairs(X, Z, targets, min_rows=2)
    n_neighbors = _check_n_neighbors(n_neighbors, len(X) - 1)
    in_X, in_Z = (_neighbors(A, n_neighbors, targets) for A in (X, Z))
    # (n_targets, k, k) at most: neighbours differ from each other, so that each is counted once
    shared = [
        np.mean(in_X[batch, :, None] == in_Z[batch, None, :], axis=(1, 2)) * n_neighbors
        for batch in gen_batches(len(targets), max(1, 2**22 // n_neighbors**2))
    ]
    return float(np.mean(np.concatenate(shared)))


def rank_agreement(X, Z, *, targets=None) -> float:
    """Spearman's rank correlation between distances in X and distances in Z, averaged over targets.

    For each target all other rows are ranked by their distance from it, in X and in Z, equal distances
    by the mean of their ranks. It is what Figure 1 of [1]_ shows: codes sorted by the distance of their
    rows. Unlike :func:`neighborhood_agreement` it is about far rows as much as about near ones.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows in the data space, at least 3.
    Z : array-like of shape (n_rows, n_components)
        Row i is the code of row i of X.
    targets : array-like of int of shape (n_targets,) or None, default=None
        Rows from which distances are taken; None: all. The time goes with ``n_targets * n_rows``.

    Returns
    -------
    agreement : float in [-1, 1]
        1 if the order is the same from every target, about 0 for random codes. A target from which all rows
        are equally far, in X or in Z, has no order and counts 0.

    Raises
    ------
    ValueError
        If the numbers of rows differ, a number is not finite, or the targets are no rows.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.

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
    X, Z, targets = _check_pairs(X, Z, targets, min_rows=3)
    correlations = []
    for batch in gen_batches(len(targets), max(1, 2**22 // len(X))):
        chosen = targets[batch]
        others = np.arange(len(X)) != chosen[:, None]
        centred = []
        for A in (X, Z):
            # from differences, not from products: equal distances stay equal
            D = pairwise_distances(A[chosen], A, metric="sqeuclidean")
            ranks = rankdata(D[others].reshape(len(chosen), -1), axis=1)
            centred.append(ranks - ranks.mean(axis=1, keepdims=True))
        product = np.sum(centred[0] * centred[1], axis=1)
        length = np.sqrt(np.sum(centred[0] ** 2, axis=1) * np.sum(centred[1] ** 2, axis=1))
        correlations.append(np.divide(product, length, out=np.zeros_like(product), where=length > 0))
    return float(np.clip(np.mean(np.concatenate(correlations)), -1.0, 1.0))


def _check_pairs(X: Any, Z: Any, targets: Any, *, min_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, their codes, and indices of some of them."""
    X, Z = _as_rows(X, "X", min_rows=min_rows), _as_rows(Z, "Z")
    if len(X) != len(Z):
        raise ValueError(
            f"The 'Z' argument must have a code for each row of X, {len(X)}. Got {len(Z)} instead."
        )
    if targets is None:
        return X, Z, np.arange(len(X))
    chosen = np.asarray(targets)
    if chosen.ndim != 1 or len(chosen) == 0 or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(
            f"The 'targets' argument must be None or at least one index of a row, in a sequence of integers. "
            f"Got {targets!r} instead."
        )
    if chosen.min() < 0 or chosen.max() >= len(X):
        raise ValueError(
            f"The 'targets' argument must hold indices of rows, 0 to {len(X) - 1}. Got {chosen.min()} to "
            f"{chosen.max()} instead."
        )
    return X, Z, chosen


def _neighbors(X: np.ndarray, k: int, targets: np.ndarray) -> np.ndarray:
    """Indices of the k nearest other rows of each target: (n_targets, k)."""
    X = X - np.median(X, axis=0)  # products of rows, by which they are compared, lose digits far from the origin
    found = NearestNeighbors(n_neighbors=k + 1).fit(X).kneighbors(X[targets], return_distance=False)
    # where equal rows crowd a target out of its own neighbourhood, the last one found is left out
    own = found == targets[:, None]
    own[~own.any(axis=1), -1] = True
    return found[~own].reshape(len(targets), k)


# ---------------------------------------------------------------------------
# Samples: moments
# ---------------------------------------------------------------------------


def frechet_distance(X, Y, *, features=None) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of rows.

    ``|m_X - m_Y|^2 + tr(C_X + C_Y - 2 (C_X C_Y)^(1/2))`` with means m and covariances C (of denominator
    n - 1): the squared 2-Wasserstein distance of the two Gaussians [1]_. It sees means and covariances
    alone. Few rows give a larger value, as their covariances are noisy: compare equal numbers of rows.

    Parameters
    ----------
    X : array-like of shape (n_rows_x, n_features)
        At least 2 rows; they may be fewer than the features.
    Y : array-like of shape (n_rows_y, n_features)
        At least 2 rows.
    features : callable or None, default=None
        ``f(rows) -> array of shape (n_rows, n_outputs)``; the distance is between the features of X and those
        of Y. With :class:`InceptionFeatures` it is the Frechet inception distance of [2]_. None: the rows
        themselves.

    Returns
    -------
    distance : float of at least 0
        In squared units of the features: d(cX, cY) = c^2 d(X, Y). 0 for equal means and covariances.

    Raises
    ------
    ValueError
        If a set has fewer than 2 rows, the widths differ, a number is not finite, or the features are not one
        row a row.

    Notes
    -----
    With C_X = A^T A and C_Y = B^T B, the second term is the smallest \\|A - O B\\|^2 (Frobenius) over
    orthogonal O [3]_, which the singular vectors of A B^T give. So no difference of large traces is taken,
    covariances without full rank need no care, and the value cannot be negative. Time: of a QR decomposition
    of each set and one singular value decomposition of the smaller of rows and features.

    References
    ----------
    .. [1] D. C. Dowson, B. V. Landau. The Frechet distance between multivariate normal distributions. Journal
       of Multivariate Analysis 12, 1982.
    .. [2] M. Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash equilibrium.
       NeurIPS 2017. arXiv:1706.08500.
    .. [3] R. Bhatia, T. Jain, Y. Lim. On the Bures-Wasserstein distance between positive definite matrices.
       Expositiones Mathematicae 37, 2019. arXiv:1712.01504.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import frechet_distance
    >>> X = load_digits().data / 16
    >>> print(f"{frechet_distance(X[::2], X[1::2]):.3f}")
    0.071
    >>> print(f"{frechet_distance(X[::2], X[1::2] + 0.1):.3f}")  # 0.1 in each of 64 features
    0.701
    """
    if features is None:
        X = _as_rows(X, "X", min_rows=2)
        Y = _as_rows(Y, "Y", min_rows=2, n_features=X.shape[1])
    else:
        if not callable(features):
            raise ValueError(f"The 'features' argument must be None or callable. Got {features!r} instead.")
        X, Y = (_features_of(features, A, name) for A, name in ((X, "X"), (Y, "Y")))
        if X.shape[1] != Y.shape[1]:
            raise ValueError(
                "The 'features' argument must give as many features for Y as for X. "
                f"Got {Y.shape[1]} and {X.shape[1]} instead."
            )
    # a common origin amid the rows, so that far-off rows lose no digits
    origin = X.mean(axis=0)
    X, Y = X - origin, Y - origin
    difference = X.mean(axis=0) - Y.mean(axis=0)
    A, B = _covariance_factor(X), _covariance_factor(Y)
    if len(A) < len(B):
        A, B = B, A
    U, _, Vt = np.linalg.svd(A @ B.T, full_matrices=False)
    return float(difference @ difference + np.sum((A - U @ (Vt @ B)) ** 2))


def _features_of(features: Callable, X: Any, name: str) -> np.ndarray:
    n_rows = len(_as_rows(X, name, min_rows=2))
    F = _as_rows(features(X), f"features({name})")  # X as it came: an estimator may know its columns' names
    if len(F) != n_rows:
        raise ValueError(
            f"The 'features' argument must give one row for each of the {n_rows} rows of {name}. "
            f"Got {len(F)} instead."
        )
    return F


def _covariance_factor(X: np.ndarray) -> np.ndarray:
    """A with A^T A the covariance of the rows: (min(n, f), f)."""
    A = (X - X.mean(axis=0)) / np.sqrt(len(X) - 1)
    return np.asarray(np.linalg.qr(A, mode="r")) if len(A) > A.shape[1] else A


_INCEPTION_WIDTH = 2048
_INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity looks for it
# rows of a set in Table 2 of the paper, in the authors' evaluation
_PAPER_GENERATED, _PAPER_REAL = 2000, 5000


class InceptionFeatures:
    """The 2,048 features of an image by which the Frechet inception distance is defined.

    A function of rows: the last pooling layer of the 2015 Inception network [1]_ with TensorFlow's weights
    and resizing, as the package torch-fidelity has them (``pip install "skswae[fid]"``). The weights, 91 MB,
    are loaded in the first call: from ``weights_path``, or from where torch-fidelity keeps them,
    downloaded if they are not there.

    Parameters
    ----------
    image_shape : tuple of (channels, height, width)
        Of the image that a row is, flattened channel first; 1 or 3 channels. A grey channel serves as all
        three.
    weights_path : str or None, default=None
        File with the weights, torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``. Loading may run
        code from the file: it must come from where you trust.
    batch_size : int, default=64
        Images at a time. Each is enlarged to 299 x 299.
    device : str or torch.device, default="auto"
        "auto" is "cuda" where there is one, else "cpu", on which 1,000 images take minutes.

    See Also
    --------
    ClassifierFeatures : Where these weights cannot be had.

    References
    ----------
    .. [1] C. Szegedy et al. Rethinking the Inception Architecture for Computer Vision. CVPR 2016.
       arXiv:1512.00567.

    Examples
    --------
    >>> from skswae.metrics import InceptionFeatures
    >>> InceptionFeatures((1, 28, 28))
    InceptionFeatures((1, 28, 28))
    """

    def __init__(self, image_shape, *, weights_path=None, batch_size=64, device="auto"):
        if np.shape(image_shape) != (3,):
            raise ValueError(
                f"The 'image_shape' argument must be (channels, height, width). Got {image_shape!r} instead."
            )
        self.image_shape = tuple(_check_integer(size, "image_shape") for size in image_shape)
        if self.image_shape[0] not in (1, 3):
            raise ValueError(
                f"The 'image_shape' argument must have 1 or 3 channels, first. Got {image_shape!r} instead."
            )
        self.weights_path = weights_path
        self.batch_size = _check_integer(batch_size, "batch_size")
        self.device = device
        self._network: Any = None

    def __repr__(self) -> str:
        return f"InceptionFeatures({self.image_shape})"

    def __call__(self, X) -> np.ndarray:
        """Features of images.

        Parameters
        ----------
        X : array-like of shape (n_rows, channels * height * width)
            In [0, 1]; rounded to bytes.

        Returns
        -------
        F : ndarray of shape (n_rows, 2048), float32

        Raises
        ------
        ValueError
            If the rows have another width than the images, or leave [0, 1].
        ImportError
            If torch-fidelity is not installed.
        OSError
            If the weights cannot be loaded.
        """
        X = _as_rows(X, "X")
        if X.shape[1] != np.prod(self.image_shape):
            raise ValueError(
                f"The 'X' argument must have {np.prod(self.image_shape)} features, for images of shape "
                f"{self.image_shape}. Got {X.shape[1]} instead."
            )
        if X.min() < -1e-6 or X.max() > 1 + 1e-6:
            raise ValueError(
                "The 'X' argument must be pixels in [0, 1]; np.clip(X, 0, 1) brings back samples outside. "
                f"Got {X.min():g} to {X.max():g} instead."
            )
        device = resolve_device(self.device)
        network = self._load().to(device)
        features = []
        with arithmetic(device):  # float32, not TF32: as everyone else's
            for batch in gen_batches(len(X), self.batch_size):
                images = (
                    np.rint(255 * np.clip(X[batch], 0, 1)).astype(np.uint8).reshape(-1, *self.image_shape)
                )
                if self.image_shape[0] == 1:
                    images = np.repeat(images, 3, axis=1)  # (n, 3, height, width)
                features.append(as_array(network(as_tensor(images, device))[0]))
        return np.concatenate(features)

    def _load(self) -> Any:
        if self._network is None:
            try:
                from torch_fidelity import FeatureExtractorInceptionV3
            except ImportError as error:
                raise ImportError(
                    "The Inception network needs the packages torch-fidelity and torchvision: "
                    f'pip install "skswae[fid]". {error}'
                ) from error
            try:
                with forked_rng(0):  # it draws weights, which it then replaces
                    self._network = FeatureExtractorInceptionV3(
                        "inception-v3-compat",
                        [str(_INCEPTION_WIDTH)],
                        feature_extractor_weights_path=self.weights_path,
                    )
            except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
                where = "" if self.weights_path is None else f" from {self.weights_path!r}"
                raise OSError(
                    f"The weights of the Inception network could not be loaded{where}: {error}. Download "
                    f"{_INCEPTION_WEIGHTS} from torch-fidelity's releases on GitHub (v0.2.0) and pass its "
                    "path as weights_path, or put it into the folder 'checkpoints' of torch.hub.get_dir(). "
                    "Where it cannot be had, frechet_distance(X, Y, features=ClassifierFeatures().fit("
                    "X_train, y_train)) compares models on one data set."
                ) from error
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}  # loaded again where it is used next


def frechet_inception_distance(
    X_generated, X_real, image_shape, *, mode="standard", weights_path=None, batch_size=64, device="auto"
) -> float:
    """Frechet inception distance (FID): :func:`frechet_distance` between :class:`InceptionFeatures`.

    The FID of [1]_ is of 10,000 images a set or more. Fewer give a larger value, by different amounts for
    different models [2]_: compare values of equal numbers of images alone. Below 2,049 the covariance of the
    2,048 features is singular.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, channels * height * width)
        Images drawn from a model, rows in [0, 1].
    X_real : array-like of shape (n_real, channels * height * width)
        Images to compare them with.
    image_shape : tuple of (channels, height, width)
        1 or 3 channels, first.
    mode : {"standard", "paper"}, default="standard"
        "standard": of all rows. "paper": what Table 2 of [3]_ holds, which is no standard FID: of the first
        2,000 generated rows and the first 5,000 real ones, or as many real ones as there are, which are the
        200 test images of COIL-20. Such counts raise the value by a lot. Table 2's models of MNIST and
        Fashion-MNIST are trained on binarised images and compared with binarised test images: pass those.
    weights_path : str or None, default=None
    batch_size : int, default=64
    device : str or torch.device, default="auto"
        As in :class:`InceptionFeatures`.

    Returns
    -------
    distance : float of at least 0

    Warns
    -----
    UserWarning
        If ``mode`` is "standard" and a set has too few images.

    Raises
    ------
    ValueError
        If ``mode`` is none of the two, "paper" has fewer than 2,000 generated rows, or rows cannot be used.
    ImportError
        If torch-fidelity is not installed: ``pip install "skswae[fid]"``.
    OSError
        If the weights cannot be loaded.

    References
    ----------
    .. [1] M. Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash equilibrium.
       NeurIPS 2017. arXiv:1706.08500.
    .. [2] M. J. Chong, D. Forsyth. Effectively Unbiased FID and Inception Score and Where to Find Them. CVPR
       2020. arXiv:1911.07023.
    .. [3] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021.

    Examples
    --------
    >>> from skswae.metrics import frechet_inception_distance
    >>> frechet_inception_distance(samples, X_test, (1, 28, 28))  # doctest: +SKIP
    """
    if not isinstance(mode, str) or mode not in ("standard", "paper"):
        raise ValueError(f"The 'mode' argument must be 'standard' or 'paper'. Got {mode!r} instead.")
    features = InceptionFeatures(image_shape, weights_path=weights_path, batch_size=batch_size, device=device)
    n_min = _PAPER_GENERATED if mode == "paper" else 2
    X_generated = _as_rows(X_generated, "X_generated", min_rows=n_min)
    X_real = _as_rows(X_real, "X_real", min_rows=2, n_features=X_generated.shape[1])
    if mode == "paper":
        X_generated, X_real = X_generated[:_PAPER_GENERATED], X_real[:_PAPER_REAL]
    elif min(len(X_generated), len(X_real)) <= _INCEPTION_WIDTH:
        warnings.warn(
            f"A Frechet inception distance of {len(X_generated)} generated and {len(X_real)} real images is "
            f"too large, and comparable with none of other counts: the covariance of {_INCEPTION_WIDTH} "
            "features needs more images than that, and the FID is defined with 10,000 or more.",
            UserWarning,
            stacklevel=2,
        )
    return frechet_distance(X_generated, X_real, features=features)


class ClassifierFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features of a small classifier of the data set's own classes, for :func:`frechet_distance`.

    The stand-in where Inception's weights cannot be had, or the rows are no images: scikit-learn's
    ``MLPClassifier`` is trained on the training rows, and the activations of its last hidden layer are the
    features. A distance between them says whether samples have the content that tells classes apart. It
    compares models on one data set by one fitted classifier; it means nothing across data sets, classifiers
    or seeds, and nothing beside distances on Inception's features. A fitted one is a function of rows, so
    that it is passed as ``features``.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 128)
        Units of each hidden layer; the last number is that of the features.
    max_iter : int or "auto", default="auto"
        Epochs at most; reaching it is no warning. "auto" is 200 up to 3,000 rows, and fewer from there on, so
        that 600,000 rows are seen in all: 10 passes over 60,000 rows, which are the fewest.
    random_state : int, RandomState instance or None, default=0
        Of the classifier. Fixed, as distances compare by one and the same classifier.

    Attributes
    ----------
    classifier_ : MLPClassifier
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Features seen in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X has names that are all strings.

    See Also
    --------
    InceptionFeatures : Features that are the same for everyone.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import ClassifierFeatures, frechet_distance
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test = X[::2] / 16, X[1::2] / 16
    >>> features = ClassifierFeatures((64, 32)).fit(X_train, y[::2])
    >>> features(X_test).shape
    (898, 32)
    >>> whole = frechet_distance(X_train, X_test, features=features)
    >>> no_zeros = frechet_distance(X_train[y[::2] != 0], X_test, features=features)
    >>> whole < no_zeros / 2
    True
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
        "max_iter": [Interval(numbers.Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    def __init__(self, hidden_layer_sizes=(256, 128), max_iter="auto", random_state=0):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X, y):
        """Train the classifier.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Training rows, of like units, as for any network: in [0, 1], or standardised.
        y : array-like of shape (n_rows,)
            Their classes, at least 2.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used.
        """
        self._validate_params()
        if np.size(self.hidden_layer_sizes) == 0:
            raise ValueError(
                "The 'hidden_layer_sizes' parameter must have at least one layer, whose activations are the "
                f"features. Got {self.hidden_layer_sizes!r} instead."
            )
        for size in np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object)):
            _check_integer(size, "hidden_layer_sizes")
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError(
                "The 'y' argument must have at least 2 classes to be told apart. Got 1 class instead."
            )
        max_iter = self.max_iter
        if max_iter == "auto":
            max_iter = min(200, max(10, round(600_000 / len(X))))
        classifier = MLPClassifier(self.hidden_layer_sizes, max_iter=max_iter, random_state=self.random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the features need no optimum
            self.classifier_ = classifier.fit(X, y)
        self.n_iter_ = classifier.n_iter_
        return self

    def transform(self, X):
        """Activations of the last hidden layer.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        F : ndarray of shape (n_rows, hidden_layer_sizes[-1])
            Not below 0. Computed in, and of, float32 if X is of it, else float64.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        layers = list(zip(self.classifier_.coefs_, self.classifier_.intercepts_))
        for weights, bias in layers[:-1]:  # the last one is of the classes
            X = np.maximum(X @ weights.astype(X.dtype, copy=False) + bias.astype(X.dtype, copy=False), 0)
        return X

    def __call__(self, X) -> np.ndarray:
        """As :meth:`transform`, an array whatever ``set_output`` says."""
        return np.asarray(self.transform(X))

    def score(self, X, y) -> float:
        """Accuracy of the classifier: whether its features know the classes.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Held-out rows.
        y : array-like of shape (n_rows,)
            Their classes.

        Returns
        -------
        accuracy : float in [0, 1]
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return float(self.classifier_.score(X, y))

    @property
    def _n_features_out(self) -> int:
        return self.classifier_.coefs_[-1].shape[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


# ---------------------------------------------------------------------------
# Samples: manifolds and copies
# ---------------------------------------------------------------------------


def precision_recall(X_generated, X_real, *, n_neighbors=3, random_state=None) -> tuple[float, float]:
    """Precision and recall of samples by their nearest neighbours [1]_.

    The manifold of a set is the union of balls, one around each row, that reach to its k-th nearest other
    row. Both numbers depend on the numbers of rows, so that equally many are drawn at random from the larger
    set. Samples without the noise of real rows have high precision and low recall, as their balls are small.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
        Rows drawn from a model.
    X_real : array-like of shape (n_real, n_features)
        Held-out rows.
    n_neighbors : int, default=3
        k, as in [1]_; less than the rows of the smaller set.
    random_state : int, RandomState instance or None, default=None
        Of the draw; pass an int to repeat.

    Returns
    -------
    precision : float in [0, 1]
        Share of the generated rows inside the manifold of the real ones: they look real.
    recall : float in [0, 1]
        Share of the real rows inside the manifold of the generated ones: nothing real is left out.

    Raises
    ------
    ValueError
        If the widths differ, a set has no more than k rows, or a number is not finite.

    References
    ----------
    .. [1] T. Kynkaanniemi et al. Improved Precision and Recall Metric for Assessing Generative Models.
       NeurIPS 2019. arXiv:1904.06991. Equations 1 and 2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import precision_recall
    >>> X, y = load_digits(return_X_y=True)
    >>> train, held_out = X[::2], X[1::2]
    >>> upside_down = train.reshape(-1, 8, 8)[:, ::-1].reshape(-1, 64)
    >>> for rows in (train, train[y[::2] != 0], upside_down):
    ...     print("{:.2f} {:.2f}".format(*precision_recall(rows, held_out, random_state=0)))
    0.89 0.89
    0.90 0.80
    0.31 0.22
    """
    generated = _as_rows(X_generated, "X_generated")
    real = _as_rows(X_real, "X_real", n_features=generated.shape[1])
    n_rows = min(len(generated), len(real))
    n_neighbors = _check_n_neighbors(n_neighbors, n_rows - 1)
    rng = _make_rng(random_state)
    # at random, for samples may come sorted
    generated, real = (A[rng.permutation(len(A))[:n_rows]] for A in (generated, real))
    origin = np.median(real, axis=0)  # amid the rows, wherever an outlier is
    generated, real = generated - origin, real - origin
    return _share_inside(generated, real, n_neighbors), _share_inside(real, generated, n_neighbors)


def _share_inside(points: np.ndarray, rows: np.ndarray, k: int) -> float:
    """Share of the points within the distance of some row's k-th nearest other row from that row."""
    radii = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0][:, -1]  # a row is not its own neighbour
    # Products of rows give a squared distance up to a share of the two rows' squares. A point at the very edge,
    # such as a copy of a row that is there more than k times, is inside. By pair: an outlier, whose square is
    # large, must not widen the balls of other rows.
    squares = [np.square(A).sum(axis=1) for A in (points, rows)]

    def in_any(D: np.ndarray, start: int) -> np.ndarray:
        slack = _ROUNDING * (squares[0][start : start + len(D), None] + squares[1])
        return (np.square(D) <= np.square(radii) + slack).any(axis=1)

    # in chunks: all distances at once may not fit in memory
    return float(np.mean(np.concatenate(list(pairwise_distances_chunked(points, rows, reduce_func=in_any)))))


def nearest_row_ratio(X_generated, X_train, X_held_out) -> float:
    """Whether samples are nearer to the training rows than held-out rows are: the idea of [1]_.

    The median distance of a generated row to its nearest training row, over the same of a held-out row. A
    decoder leaves out noise, which alone brings rows nearer to training rows: held-out digits rebuilt by
    SWAETransformer (8 components) have 0.83. So compare with held-out rows rebuilt by the same model.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
        Rows drawn from a model.
    X_train : array-like of shape (n_train, n_features)
        Rows that it was fitted to.
    X_held_out : array-like of shape (n_held_out, n_features)
        Rows of the same source that it was not fitted to.

    Returns
    -------
    ratio : float of at least 0
        0 for copies of training rows, 1 for further held-out rows. It shows copies when they are most of the
        samples; :func:`duplicate_rate` shows some among others.

    Raises
    ------
    ValueError
        If the widths differ, there are no rows, a number is not finite, or half of the held-out rows are
        training rows.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri, S. Dasgupta. A Non-Parametric Test to Detect Data-Copying in Generative
       Models. AISTATS 2020. arXiv:2004.05675.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import nearest_row_ratio
    >>> X = load_digits().data
    >>> train, held_out, more = X[::2], X[1::4], X[3::4]
    >>> print(f"{nearest_row_ratio(more, train, held_out):.2f}")
    1.01
    >>> nearest_row_ratio(train[:100], train, held_out)
    0.0
    """
    generated, held_out = _distances_to_train(X_generated, X_train, X_held_out)
    if np.median(held_out) == 0:
        raise ValueError(
            "The 'X_held_out' argument must be rows that are not in X_train, else no ratio is defined. Got "
            "training rows for at least half of them instead."
        )
    return float(np.median(generated) / np.median(held_out))


def duplicate_rate(X_generated, X_train, X_held_out) -> float:
    """Share of samples that are as near to a training row as the nearest hundredth of the held-out rows.

    The tail of the distances whose medians :func:`nearest_row_ratio` compares, after [1]_: it shows when only
    some samples are copies. Held-out digits rebuilt by SWAETransformer (8 components) have 0.04, as a decoder
    leaves out noise. So compare with held-out rows rebuilt by the same model.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
        Rows drawn from a model.
    X_train : array-like of shape (n_train, n_features)
        Rows that it was fitted to.
    X_held_out : array-like of shape (n_held_out, n_features)
        Rows of the same source that it was not fitted to; some hundreds, for a hundredth to be of some rows.

    Returns
    -------
    rate : float in [0, 1]
        1 for copies of training rows, about 0.01 for further held-out rows.

    Raises
    ------
    ValueError
        If the widths differ, there are no rows, or a number is not finite.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri, S. Dasgupta. A Non-Parametric Test to Detect Data-Copying in Generative
       Models. AISTATS 2020. arXiv:2004.05675.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import duplicate_rate
    >>> X = load_digits().data
    >>> train, held_out, more = X[::2], X[1::4], X[3::4]
    >>> print(f"{duplicate_rate(more, train, held_out):.2f}")
    0.02
    >>> a_tenth_copied = np.concatenate([more[:360], train[:40]])
    >>> print(f"{duplicate_rate(a_tenth_copied, train, held_out):.2f}")
    0.11
    """
    generated, held_out = _distances_to_train(X_generated, X_train, X_held_out)
    return float(np.mean(generated <= np.quantile(held_out, 0.01)))


def _distances_to_train(X_generated: Any, X_train: Any, X_held_out: Any) -> Iterator[np.ndarray]:
    """Distances of generated and of held-out rows to their nearest training rows."""
    train = _as_rows(X_train, "X_train")
    generated = _as_rows(X_generated, "X_generated", n_features=train.shape[1])
    held_out = _as_rows(X_held_out, "X_held_out", n_features=train.shape[1])
    # the search compares distances by products of rows, which lose digits far from the origin: search near it
    origin = np.median(train, axis=0)
    for A in (generated, held_out):
        nearest = pairwise_distances_argmin(A - origin, train - origin)
        # from the difference: products of equal rows do not cancel to 0
        yield np.linalg.norm(A - train[nearest], axis=1)


# ---------------------------------------------------------------------------
# Scorers
# ---------------------------------------------------------------------------


def _name_of(estimator: Any) -> str:
    """For messages: the class, and of a Pipeline also that of its last step."""
    name = type(estimator).__name__
    if isinstance(estimator, Pipeline):
        name += f" that ends with {type(estimator.steps[-1][1]).__name__}"
    return name


def _codes(estimator: Any, X: Any, scorer: str) -> np.ndarray:
    """Codes of rows by a fitted transformer."""
    if not hasattr(estimator, "transform"):
        raise ValueError(
            f"{scorer} needs a transformer, or a Pipeline whose last step is one: it looks at codes. "
            f"Got {_name_of(estimator)} instead."
        )
    return _as_rows(estimator.transform(X), "estimator.transform(X)")


def _sample(estimator: Any, n_rows: int, seed: int, scorer: str) -> np.ndarray:
    """Rows drawn from a fitted estimator, in the units in which it gets its rows."""
    if not isinstance(estimator, Pipeline):
        if not hasattr(estimator, "sample"):
            raise ValueError(
                f"{scorer} needs an estimator with sample(n_samples, random_state=...), or a Pipeline whose "
                f"last step is one. Got {_name_of(estimator)} instead."
            )
        return estimator.sample(n_rows, random_state=seed)
    before, last = estimator[:-1], estimator.steps[-1][1]
    if not isinstance(last, Pipeline) and not hasattr(last, "sample"):
        raise ValueError(
            f"{scorer} needs a Pipeline whose last step has sample(n_samples, random_state=...). "
            f"Got a {_name_of(estimator)} instead."
        )
    rows = _sample(last, n_rows, seed, scorer)
    if len(before) == 0:
        return rows
    if not hasattr(before, "inverse_transform"):
        raise ValueError(
            f"{scorer} needs a Pipeline whose steps before the last can all be inverted, to bring samples "
            f"into the units of X. Got {', '.join(type(step).__name__ for _, step in before.steps)} instead."
        )
    return before.inverse_transform(rows)


@dataclass(frozen=True)
class _KNNScorer:
    """Called as ``(estimator, X, y)``: leave-one-out k-NN accuracy of the codes of X."""

    n_neighbors: int

    def __call__(self, estimator, X, y=None) -> float:
        Z = _codes(estimator, X, "knn_scorer")
        if y is None:
            raise ValueError("knn_scorer needs y, the class of each row: search.fit(X, y). Got None instead.")
        y = _as_labels(y, "y", len(Z))
        k = _check_n_neighbors(self.n_neighbors, len(Z) - 1)
        neighbors = NearestNeighbors(n_neighbors=k).fit(Z).kneighbors(return_distance=False)  # without itself
        classes, votes = np.unique(y, return_inverse=True)
        return float(np.mean(classes[_majority(votes[neighbors], len(classes))] == y))


@dataclass(frozen=True)
class _FrechetScorer:
    """Called as ``(estimator, X)``: minus the Frechet distance between drawn rows and X."""

    features: Callable | None
    random_state: int

    def __call__(self, estimator, X, y=None) -> float:
        drawn = _sample(estimator, len(_as_rows(X, "X", min_rows=2)), self.random_state, "frechet_scorer")
        return -frechet_distance(drawn, X, features=self.features)


@dataclass(frozen=True)
class _TrustworthinessScorer:
    """Called as ``(estimator, X)``: trustworthiness of the codes of X."""

    n_neighbors: int
    max_rows: int
    features: Callable | None
    random_state: int

    def __call__(self, estimator, X, y=None) -> float:
        n_rows = len(_as_rows(X, "X"))
        if n_rows > self.max_rows:
            X = resample(X, replace=False, n_samples=self.max_rows, random_state=self.random_state)
            n_rows = self.max_rows
        Z = _codes(estimator, X, "trustworthiness_scorer")
        if self.n_neighbors >= n_rows / 2:
            raise ValueError(
                "The 'n_neighbors' argument of a trustworthiness scorer must be less than half of the "
                f"held-out rows, {n_rows}. Got {self.n_neighbors} instead."
            )
        rows = _as_rows(X, "X") if self.features is None else _features_of(self.features, X, "X")
        return float(trustworthiness(rows, Z, n_neighbors=self.n_neighbors))


def make_knn_scorer(n_neighbors=5) -> Callable[..., float]:
    """A scorer by k-nearest-neighbour accuracy of codes, as ``scoring`` of ``GridSearchCV``.

    The share of held-out rows whose class is that of most of the k nearest other held-out codes. It needs
    labels, though the model does not see them. :data:`knn_scorer` is the one with the default.

    Parameters
    ----------
    n_neighbors : int, default=5
        k; less than the rows of a fold.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y) -> float`` in [0, 1]. The estimator is fitted: a transformer, or a Pipeline
        whose last step is one. It can be pickled. It raises ValueError if y is None, the estimator cannot
        transform, or there are too few rows.

    Raises
    ------
    ValueError
        If ``n_neighbors`` is not an integer of at least 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae.metrics import make_knn_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 8]}, scoring=make_knn_scorer(3), cv=3)
    >>> search.fit(X[:600], y[:600]).best_params_
    {'n_components': 8}
    """
    return _KNNScorer(_check_integer(n_neighbors, "n_neighbors"))


def make_frechet_scorer(*, features=None, random_state=0) -> Callable[..., float]:
    """A scorer by :func:`frechet_distance` of samples, as ``scoring`` of ``GridSearchCV``.

    Minus the distance between as many drawn rows as there are held-out rows, and those. Rows are drawn by
    the last step of a Pipeline and taken back through the steps before it, so that the distance is in
    the units of X. :data:`frechet_scorer` is the one with the defaults.

    Parameters
    ----------
    features : callable or None, default=None
        As in :func:`frechet_distance`; the same for all candidates, so fitted beforehand:
        ``StandardScaler().fit(X).transform`` for tables of mixed units, or a :class:`ClassifierFeatures`. It
        must be picklable for ``n_jobs``.
    random_state : int, default=0
        Seed of the draws, equal for all candidates.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float``, at most 0. The estimator is fitted and has
        ``sample(n_samples, random_state=...)``, or is a Pipeline whose last step does and whose steps before
        can be inverted, else ValueError is raised.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae import AETransformer
    >>> from skswae.metrics import make_frechet_scorer
    >>> X = load_digits().data[:600] / 16
    >>> model = AETransformer(max_iter=2, random_state=0)
    >>> search = GridSearchCV(model, {"n_components": [1, 16]}, scoring=make_frechet_scorer(), cv=2)
    >>> search.fit(X).best_params_
    {'n_components': 16}
    """
    _check_features(features)
    return _FrechetScorer(features, _check_integer(random_state, "random_state", low=0))


def make_trustworthiness_scorer(
    n_neighbors=5, *, max_rows=2000, features=None, random_state=0
) -> Callable[..., float]:
    """A scorer by :func:`trustworthiness` of codes, as ``scoring`` of ``GridSearchCV``.

    Whether the nearest held-out codes of a held-out row belong to rows that are near it, too. It needs no
    labels. It rises with the number of components, until it is nearly 1: look for where it levels off.
    :data:`trustworthiness_scorer` is the one with the defaults.

    Parameters
    ----------
    n_neighbors : int, default=5
        Less than half of the rows of a fold.
    max_rows : int, default=2000
        Of more rows, so many are drawn. The time and the memory go with the square.
    features : callable or None, default=None
        ``f(rows) -> array of shape (n_rows, n_outputs)``, between which rows are near or far; the same for
        all candidates, so fitted beforehand: ``StandardScaler().fit(X).transform`` for tables of mixed units.
        None: the rows as the search gets them, also if a Pipeline scales them later.
    random_state : int, default=0
        Seed of the draw of rows.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float`` in [0, 1]. The estimator is fitted: a transformer, or a
        Pipeline whose last step is one. It raises ValueError if it is none, or there are too few rows.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae.metrics import trustworthiness_scorer
    >>> X = load_digits().data[:600]
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 8]}, scoring=trustworthiness_scorer, cv=3)
    >>> search.fit(X).cv_results_["mean_test_score"].round(2)
    array([0.81, 0.99])
    """
    _check_features(features)
    return _TrustworthinessScorer(
        _check_integer(n_neighbors, "n_neighbors"),
        _check_integer(max_rows, "max_rows", low=3),
        features,
        _check_integer(random_state, "random_state", low=0),
    )


def _check_features(features: Any) -> None:
    if features is not None and not callable(features):
        raise ValueError(f"The 'features' argument must be None or callable. Got {features!r} instead.")


knn_scorer = make_knn_scorer()
frechet_scorer = make_frechet_scorer()
trustworthiness_scorer = make_trustworthiness_scorer()
