"""Errors of reconstructions, of rows as they are and of noisy ones."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from skswae._constraints import RANDOM_STATE
from skswae._device import own_settings
from skswae._validation import FLOATS
from skswae.metrics._checks import check_rows, make_rng


@own_settings()
def reconstruction_error(X, X_reconstructed) -> float:
    """Compute the mean over rows of the squared L2 distance between a row and its reconstruction.

    This is the "reconstruction loss" of Table 3 of the SWAE paper, and minus the ``score`` of the package's
    estimators, for any model.

    Parameters
    ----------
    X, X_reconstructed : array-like of shape (n_samples, n_features)
        Rows, and their reconstructions in the same order.

    Returns
    -------
    error : float
        At least 0, in squared units of X.

    Examples
    --------
    >>> from skswae.metrics import reconstruction_error
    >>> reconstruction_error([[0, 0], [1, 2]], [[3, 4], [1, 1]])
    13.0
    """
    X, rebuilt = check_rows(X, "X"), check_rows(X_reconstructed, "X_reconstructed")
    if X.shape != rebuilt.shape:
        raise ValueError(
            f"The 'X_reconstructed' argument must have X's shape, {X.shape}. Got {rebuilt.shape} instead."
        )
    return float(np.mean(np.sum((X - rebuilt) ** 2, axis=1)))


@validate_params(
    {
        "estimator": [HasMethods("reconstruct"), HasMethods(["transform", "inverse_transform"])],
        "noise": [Interval(Real, 0, np.inf, closed="left")],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "clip": ["array-like", None],
        "random_state": RANDOM_STATE,
    },
    prefer_skip_nested_validation=True,
)
def denoising_error(estimator, X, *, noise=0.3, n_repeats=1, clip=None, random_state=None) -> float:
    """Compute the squared L2 distance between clean rows and the reconstructions of noisy ones.

    Gaussian noise is added to the rows before the model reconstructs them, as in section 3.4 and Figure 6 of
    the SWAE paper. The error of the noise itself is ``noise**2 * n_features``.

    Parameters
    ----------
    estimator : object
        Fitted. Its ``reconstruct(X)`` is used if it has one, else ``inverse_transform(transform(X))``: an
        autoencoder, PCA, or a Pipeline whose steps can all be inverted.
    X : array-like of shape (n_samples, n_features)
        Clean rows, held out.
    noise : float, default=0.3
        Standard deviation of the noise, in the units of X. 0.3 is the paper's, for pixels in [0, 1].
    n_repeats : int, default=1
        Number of times that noise is drawn for all rows.
    clip : tuple of (low, high) or None, default=None
        Range to which the noisy rows are clipped, such as (0, 1). The paper does not say that it clips.
    random_state : int, RandomState or Generator instance, or None, default=None
        Seed of the noise. Pass an int to compare models on equal noise.

    Returns
    -------
    error : float
        Mean over rows and repetitions, at least 0.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import denoising_error
    >>> X = load_digits().data / 16
    >>> print(f"{denoising_error(PCA(8).fit(X), X, random_state=0):.2f}")
    2.25
    """
    rows = check_rows(X, "X")
    check_clip(clip)
    rng = make_rng(random_state)
    errors = []
    for _ in range(n_repeats):
        noisy = add_noise(X, noise, clip, rng)
        if hasattr(estimator, "reconstruct"):
            rebuilt = estimator.reconstruct(noisy)
        else:
            rebuilt = estimator.inverse_transform(estimator.transform(noisy))
        errors.append(reconstruction_error(rows, rebuilt))
    return float(np.mean(errors))


def check_clip(clip: Any) -> None:
    """Raise ValueError unless the argument is None or a range."""
    if clip is not None and not (
        np.shape(clip) == (2,) and all(isinstance(end, Real) for end in clip) and clip[0] < clip[1]
    ):
        raise ValueError(
            f"The 'clip' argument must be None or two numbers (low, high), low < high. Got {clip!r} instead."
        )


def add_noise(X: Any, noise: Any, clip: Any, rng: np.random.Generator) -> Any:
    """Return rows with Gaussian noise, of the dtype and kind of X: an estimator may know names of columns."""
    rows = check_rows(X, "X")
    with own_settings():
        dtype = check_array(X, dtype=FLOATS).dtype.newbyteorder("=")  # models keep it
    noisy = rows + noise * rng.standard_normal(rows.shape)
    if clip is not None:
        noisy = np.clip(noisy, *clip)
    noisy = noisy.astype(dtype, copy=False)
    if hasattr(X, "iloc"):
        return type(X)(noisy, index=X.index, columns=X.columns)
    return type(X)(noisy, schema=X.columns) if hasattr(X, "columns") else noisy
