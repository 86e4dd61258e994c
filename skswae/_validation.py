"""Checks of the rows, as scikit-learn makes them, and the parameters that are resolved from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from skswae.data import ArrayData, DataSource, _checks


def validate_rows(
    estimator: Any, X: Any, *, reset: bool, min_rows: int = 1, order: str | None = None
) -> DataSource:
    """Check rows as scikit-learn does, and wrap them; a source of one's own is checked chunk by chunk."""
    if not isinstance(X, DataSource):
        return ArrayData(
            validate_data(
                estimator,
                X,
                reset=reset,
                dtype=[np.float64, np.float32, np.uint8],
                order=order,
                ensure_min_samples=min_rows,
            )
        )
    _checks.check_source(X)
    if len(X) < min_rows:
        raise ValueError(f"X must have at least {min_rows} rows. Got {len(X)}.")
    if reset:
        estimator.n_features_in_ = X.n_features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif X.n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    _checks.check_finite_chunks(X)
    return X


def _resolve_activation(estimator: Any, data: DataSource, limits: tuple[float, float]) -> str:
    if estimator.output_activation != "auto":
        return estimator.output_activation
    if estimator._needs_unit_interval() or _checks.in_unit_interval(data, limits):
        return "sigmoid"
    return "identity"


def check_and_resolve(estimator: Any, parts: list[DataSource], n_rows: int, resume: bool) -> bool:
    """Check all rows; in a first fit, resolve each "auto". Return whether rounding is to be taken back."""
    needs_range = not resume or estimator.out_activation_ == "sigmoid"
    limits = [_checks.value_range(part) for part in parts] if needs_range else []
    if not resume:
        estimator._resolve(parts[0], n_rows)
        estimator.out_activation_ = _resolve_activation(estimator, parts[0], limits[0])
    for part in parts:
        estimator._check_rows(part)
    if estimator.out_activation_ != "sigmoid":
        return False
    for part, its in zip(parts, limits):
        _checks.check_unit_interval(part, its)
    return not all(_checks.is_bounded(part, its) for part, its in zip(parts, limits))
