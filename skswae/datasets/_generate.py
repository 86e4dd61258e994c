"""The mixture of the paper's Figure 1, and binarisation of pixels."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, validate_params
from torch import Tensor

from skswae._constraints import RANDOM_STATE
from skswae._random import without_generator


@validate_params(
    {
        **{k: [Interval(Integral, 1, None, closed="left")] for k in ("n_samples", "n_modes", "n_features")},
        "variance": [Interval(Real, 0, None, closed="left")],
        "random_state": RANDOM_STATE,
    },
    prefer_skip_nested_validation=True,
)
def make_gmm(n_samples=100, *, n_modes=5, n_features=10, variance=0.2, random_state=None):
    """Draw rows from a mixture of Gaussians on a line, the data of the SWAE paper's Figure 1.

    Mode i, from 0 to ``n_modes - 1``, has the mean (i, ..., i) and the covariance ``variance`` times the
    identity. Each row comes from any mode with the same probability.

    Parameters
    ----------
    n_samples, n_modes, n_features : int, default=100, 5 and 10
        Numbers of rows, modes and features.
    variance : float, default=0.2
        Variance of each feature within a mode.
    random_state : int, RandomState or Generator instance, or None, default=None
        Pass an int for the same rows in each call.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
        Rows.
    y : ndarray of shape (n_samples,)
        The mode that each row comes from.

    Examples
    --------
    >>> from skswae.datasets import make_gmm
    >>> X, y = make_gmm(1000, random_state=0)
    >>> print(f"{X[y == 3].mean():.1f}")
    3.0
    """
    rng = check_random_state(without_generator(random_state))
    y = rng.randint(n_modes, size=n_samples)
    return y[:, None] + np.sqrt(variance) * rng.standard_normal((n_samples, n_features)), y


def binarise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each pixel of a batch as black or white, afresh in each call: ``augment`` for every estimator.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Probabilities of ones in [0, 1], of a floating-point dtype. Others, beyond rounding, raise ValueError
        on a CPU, and become NaN on devices for which a check would wait.
    generator : torch.Generator
        Source of all random numbers, on the device of ``x``.

    Returns
    -------
    drawn : Tensor of shape (n, d)
        Zeros and ones, in the dtype and on the device of ``x``.

    References
    ----------
    R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import VAETransformer
    >>> from skswae.datasets import binarise
    >>> X = load_digits().data / 16
    >>> VAETransformer(augment=binarise, likelihood="bernoulli", max_iter=1).fit(X).n_iter_
    1
    """
    rounding = 16 * torch.finfo(x.dtype).eps  # estimators put rows into units of their own, and back
    inside = (x >= -rounding) & (x <= 1 + rounding)
    if x.device.type == "cpu" and not bool(inside.all()):
        raise ValueError(
            "x must lie in [0, 1] to be binarised: divide pixels by their maximum, such as 255. "
            f"Got values from {float(x.min()):.6g} to {float(x.max()):.6g}."
        )
    drawn = torch.bernoulli(torch.where(inside, x, 0.0).clamp(0.0, 1.0), generator=generator)
    return torch.where(inside, drawn, torch.nan)


def binarised(X, random_state=None):
    """Draw each pixel as black or white once, for rows that are validated or tested with.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Probabilities of ones in [0, 1]; rounded to float32 first.
    random_state : int, RandomState or Generator instance, or None, default=None
        Pass an int for the same rows in each call. A RandomState instance goes on where it is: the SWAE
        paper's authors draw the validation rows of MNIST (the last 10,000 for training), and then the test
        rows, from one that starts at 777.

    Returns
    -------
    drawn : ndarray of shape (n_samples, n_features), float32
        Zeros and ones.

    Examples
    --------
    >>> from skswae.datasets import binarised
    >>> binarised([[0.0, 0.5, 0.5, 1.0]], random_state=0)
    array([[0., 1., 1., 1.]], dtype=float32)
    """
    X = check_array(X, dtype=np.float32, input_name="X")
    low, high = float(X.min()), float(X.max())
    if low < 0 or high > 1:
        raise ValueError(
            "X must lie in [0, 1] to be binarised: divide pixels by their maximum, such as 255. "
            f"Got values from {low:.6g} to {high:.6g}."
        )
    rng = check_random_state(without_generator(random_state))
    drawn = np.empty_like(X)
    for rows in gen_batches(len(X), 4096):  # the same draws as all at once, with less memory
        drawn[rows] = rng.binomial(1, X[rows])
    return drawn
