"""Distances between the first two moments of samples and of real rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skswae.metrics._checks import check_rows
from skswae.metrics._features import InceptionFeatures

# numbers of rows in Table 2 of the paper, in the authors' evaluation
_PAPER_GENERATED, _PAPER_REAL = 2000, 5000


@validate_params({"features": [callable, None]}, prefer_skip_nested_validation=True)
def frechet_distance(X, Y, *, features=None) -> float:
    """Compute the squared Frechet distance between Gaussians fitted to two sets of rows.

    With means m and covariances C (of denominator n - 1) it is ``|m_X - m_Y|^2 + tr(C_X + C_Y - 2 (C_X
    C_Y)^(1/2))``, the squared 2-Wasserstein distance of the two Gaussians [1]_. It sees means and covariances
    alone. Few rows give a larger value, as their covariances are noisy: compare equal numbers of rows.

    Parameters
    ----------
    X : array-like of shape (n_samples_X, n_features)
        At least 2 rows; they may be fewer than the features.
    Y : array-like of shape (n_samples_Y, n_features)
        At least 2 rows.
    features : callable or None, default=None
        ``f(rows) -> array of shape (n_samples, n_outputs)``; the distance is between the features of X and
        those of Y. With :class:`InceptionFeatures` it is the Frechet inception distance of [2]_. None: the
        rows themselves.

    Returns
    -------
    distance : float
        At least 0, in squared units of the features: d(cX, cY) = c^2 d(X, Y). It is 0 for equal means and
        covariances.

    Raises
    ------
    ValueError
        If a set has fewer than 2 rows, the widths differ, a number is not finite, or ``features`` does not
        give one row for each row.

    Notes
    -----
    With C_X = A^T A and C_Y = B^T B, the second term is the smallest \\|A - O B\\|^2 (Frobenius) over
    orthogonal O [3]_, which the singular vectors of A B^T give. So no difference of large traces is taken,
    covariances without full rank need no care, and the value cannot be negative, all of which a matrix square
    root (:func:`scipy.linalg.sqrtm`) does not give. The time is that of a QR decomposition of each set and of
    one singular value decomposition of the smaller of rows and features.

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
    U, _, Vt = np.linalg.svd(A @ B.T, full_matrices=False)
    return float(difference @ difference + np.sum((A - U @ (Vt @ B)) ** 2))


def apply_features(features: Callable | None, X: Any, name: str) -> np.ndarray:
    """Return the features of at least 2 rows, or the rows themselves."""
    rows = check_rows(X, name, min_samples=2)
    if features is None:
        return rows
    F = check_rows(features(X), f"features({name})")  # X as it came: an estimator may know its column names
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

    It is the :func:`frechet_distance` between :class:`InceptionFeatures`. The FID of [1]_ is of 10,000 images
    a set or more. Fewer give a larger value, by different amounts for different models [2]_: compare only
    values of equal numbers of images. Below 2,049 the covariance of the 2,048 features is singular.

    Parameters
    ----------
    X_generated : array-like of shape (n_samples_generated, channels * height * width)
        Images drawn from a model, rows in [0, 1].
    X_real : array-like of shape (n_samples_real, channels * height * width)
        Images to compare them with.
    image_shape : tuple of (channels, height, width)
        Shape of the image that a row is; 1 or 3 channels, first.
    mode : {"standard", "paper"}, default="standard"
        "standard" compares all rows. "paper" gives what Table 2 of the SWAE paper holds, no standard FID: the
        distance between the first 2,000 generated rows and the first 5,000 real ones, or as many real
        ones as there are (COIL-20 has 200 test images). Such counts raise the value by a lot. Table 2's
        models of MNIST and Fashion-MNIST are trained on binarised images and compared with binarised test
        images: pass those.
    weights_path, batch_size, device : default=None, 64 and "auto"
        Arguments of :class:`InceptionFeatures`.

    Returns
    -------
    distance : float
        At least 0.

    Warns
    -----
    UserWarning
        If ``mode`` is "standard" and a set has too few images.

    Raises
    ------
    ValueError
        If ``mode`` is neither of the two, "paper" has fewer than 2,000 generated rows, or rows cannot be
        used.
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

    Examples
    --------
    >>> from skswae.metrics import frechet_inception_distance
    >>> frechet_inception_distance(samples, X_test, (1, 28, 28))  # doctest: +SKIP
    """
    features = InceptionFeatures(image_shape, weights_path=weights_path, batch_size=batch_size, device=device)
    n_min = _PAPER_GENERATED if mode == "paper" else 2
    X_generated = check_rows(X_generated, "X_generated", min_samples=n_min)
    X_real = check_rows(X_real, "X_real", min_samples=2, n_features=X_generated.shape[1])
    if mode == "paper":
        X_generated, X_real = X_generated[:_PAPER_GENERATED], X_real[:_PAPER_REAL]
    elif min(len(X_generated), len(X_real)) <= features.n_features_out:
        warnings.warn(
            f"A Frechet inception distance of {len(X_generated)} generated and {len(X_real)} real images is "
            "too large, and comparable only with those of equal counts: the covariance of "
            f"{features.n_features_out} features needs more images. The FID is defined with 10,000 or more.",
            UserWarning,
            stacklevel=3,  # above the decorator
        )
    return frechet_distance(X_generated, X_real, features=features)
