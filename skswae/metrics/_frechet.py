"""Distances between the first two moments of samples and of real rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skswae._device import own_settings
from skswae._warnings import warn
from skswae.metrics._checks import check_rows
from skswae.metrics._features import InceptionFeatures


@validate_params({"features": [callable, None]}, prefer_skip_nested_validation=True)
@own_settings()
def frechet_distance(X, Y, *, features=None) -> float:
    """Compute the squared Frechet distance between Gaussians fitted to two sets of rows.

    With means m and covariances C (of denominator n - 1) it is ``|m_X - m_Y|^2 + tr(C_X + C_Y - 2 (C_X
    C_Y)^(1/2))``, the squared 2-Wasserstein distance of the two Gaussians [1]_. Few rows give a larger value,
    as their covariances are noisy: compare equal numbers of rows.

    Parameters
    ----------
    X, Y : array-like of shape (n_samples, n_features)
        At least 2 rows each; they may be fewer than the features.
    features : callable or None, default=None
        ``f(rows) -> array of shape (n_samples, n_outputs)``, such as :class:`InceptionFeatures`: the distance
        is between the features of X and those of Y. None: the rows themselves.

    Returns
    -------
    distance : float
        At least 0, in squared units of the features. It is 0 for equal means and covariances.

    References
    ----------
    .. [1] R. Bhatia, T. Jain, Y. Lim. On the Bures-Wasserstein distance between positive definite matrices.
       Expositiones Mathematicae 37, 2019. arXiv:1712.01504.

    Examples
    --------
    >>> from skswae.metrics import frechet_distance
    >>> print(f"{frechet_distance([[0], [2]], [[1], [5]]):.1f}")  # (3 - 1)^2 + (sqrt(8) - sqrt(2))^2
    6.0
    """
    X, Y = apply_features(features, X, "X"), apply_features(features, Y, "Y")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            "The 'X' and 'Y' arguments, or their features, must have equally many columns. "
            f"Got {X.shape[1]} and {Y.shape[1]} instead."
        )
    # a common origin amid the rows, so that rows far from the origin lose no digits
    origin = X.mean(axis=0)
    X, Y = X - origin, Y - origin
    difference = X.mean(axis=0) - Y.mean(axis=0)
    A, B = _covariance_factor(X), _covariance_factor(Y)
    if len(A) < len(B):
        A, B = B, A
    # tr(...) is the smallest |A - O B|^2 over orthogonal O [1], which these singular vectors give: unlike
    # with a matrix square root, no large traces are subtracted, ranks may be low, and no value is negative
    U, _, Vt = np.linalg.svd(A @ B.T, full_matrices=False)
    return float(difference @ difference + np.sum((A - U @ (Vt @ B)) ** 2))


def apply_features(features: Callable | None, X: Any, name: str) -> np.ndarray:
    """Return the features of at least 2 rows, or the rows themselves."""
    rows = check_rows(X, name, min_samples=2)
    if features is None:
        return rows
    try:
        F = features(X)  # X as it came: an estimator may know its column names
    except ValueError as error:
        raise ValueError(f"The 'features' argument cannot be applied to {name}. {error}") from error
    F = check_rows(F, f"features({name})")
    if len(F) != len(rows):
        raise ValueError(
            f"The 'features' argument must give one row for each of the {len(rows)} rows of {name}. "
            f"Got {len(F)} instead."
        )
    return F


def _covariance_factor(X: np.ndarray) -> np.ndarray:
    """Return A with A^T A the covariance of the rows: (min(n, d), d)."""
    A = (X - X.mean(axis=0)) / np.sqrt(len(X) - 1)
    return np.asarray(np.linalg.qr(A, mode="r")) if len(A) > A.shape[1] else A


@validate_params({"mode": [StrOptions({"standard", "paper"})]}, prefer_skip_nested_validation=True)
def frechet_inception_distance(
    X_generated, X_real, image_shape, *, mode="standard", weights_path=None, batch_size=64, device="auto"
) -> float:
    """Compute the Frechet inception distance (FID) between generated and real images.

    It is the :func:`frechet_distance` between :class:`InceptionFeatures`, defined for 10,000 images a set or
    more [1]_. Fewer give a larger value, by different amounts for different models: compare only values of
    equal numbers of images. At most 2,048, whose covariance is singular, give a warning.

    Parameters
    ----------
    X_generated, X_real : array-like of shape (n_samples, channels * height * width)
        Images drawn from a model, rows in [0, 1], and images to compare them with.
    image_shape : tuple of (channels, height, width)
        Shape of the image that a row is; 1 or 3 channels, first.
    mode : {"standard", "paper"}, default="standard"
        "standard" compares all rows. "paper" gives what Table 2 of the SWAE paper holds, no standard FID: the
        distance between the first 2,000 generated rows, which must be there, and the first 5,000 real ones,
        or as many as there are. Such counts raise the value by a lot. Table 2's models of MNIST and
        Fashion-MNIST are trained on binarised images and compared with binarised test images: pass those.
    weights_path, batch_size, device : default=None, 64 and "auto"
        Arguments of :class:`InceptionFeatures`.

    Returns
    -------
    distance : float
        At least 0.

    References
    ----------
    .. [1] M. Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash equilibrium.
       NeurIPS 2017. arXiv:1706.08500.

    Examples
    --------
    >>> from skswae.metrics import frechet_inception_distance
    >>> frechet_inception_distance(samples, X_test, (1, 28, 28))  # doctest: +SKIP
    """
    features = InceptionFeatures(image_shape, weights_path=weights_path, batch_size=batch_size, device=device)
    n_needed = 2000 if mode == "paper" else 2
    X_generated = features.check_pixels(X_generated, "X_generated", min_samples=n_needed)
    X_real = features.check_pixels(X_real, "X_real", min_samples=2)
    if mode == "paper":
        X_generated, X_real = X_generated[:2000], X_real[:5000]  # as in the authors' evaluation
    elif min(len(X_generated), len(X_real)) <= features.n_features_out:
        warn(
            f"A Frechet inception distance of {len(X_generated)} generated and {len(X_real)} real images is "
            "too large, and comparable only with those of equal counts: the covariance of "
            f"{features.n_features_out} features needs more images. The FID is defined with 10,000 or more.",
            UserWarning,
        )
    return frechet_distance(X_generated, X_real, features=features)
