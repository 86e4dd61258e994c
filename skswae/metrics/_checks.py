"""Checks of arrays, and the random generator, that the metrics share."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_array

from skswae._device import own_settings
from skswae._random import draw_seed

LARGEST = 1e150
"""Sums of squares of larger numbers may overflow."""


def check_rows(X: Any, name: str, *, min_samples: int = 1, n_features: int | None = None) -> np.ndarray:
    """Return X as float64 rows, C-contiguous, or raise a ValueError that names the argument."""
    try:
        with own_settings():
            rows = check_array(X, dtype=np.float64, order="C", ensure_min_samples=min_samples)
    except ValueError as error:  # which names the argument only where a number is not finite
        raise ValueError(f"The {name!r} argument cannot be used. {error}") from error
    size = max(rows.max(), -rows.min())
    if size > LARGEST:
        raise ValueError(
            f"The {name!r} argument must hold numbers of at most {LARGEST:g} in size, whose squares "
            f"are finite: divide all rows by one number. Got {size:g} instead."
        )
    if n_features not in (None, rows.shape[1]):
        found = rows.shape[1]
        raise ValueError(f"The {name!r} argument must have {n_features} features. Got {found} instead.")
    return rows


def make_rng(random_state: Any) -> np.random.Generator:
    """Return a private generator for scikit-learn's ``random_state``."""
    is_seed = isinstance(random_state, Integral)
    return np.random.default_rng(int(random_state) if is_seed else draw_seed(random_state))
