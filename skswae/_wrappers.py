"""Estimators around one of this package's, in model files: a table's, and a detector of outliers."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skswae._warnings import warn
from skswae.outliers import OutlierDetector
from skswae.tabular import TableAutoencoder

WRAPPERS: dict[str, type] = {
    "skswae.tabular.TableAutoencoder": TableAutoencoder,
    "skswae.outliers.OutlierDetector": OutlierDetector,
}
"""The classes by the names that a file speaks of them by."""
_FITTED = {
    TableAutoencoder: {"codec_", "table_", "targets_", "offset_"},
    OutlierDetector: {"offset_"},
}
_OPTIONAL = {"_sklearn_output_config"}
_DROPPED = {"_metadata_request": "metadata request", "_skl_callbacks": "callbacks"}


def unwrapped(estimator: Any) -> tuple[dict[str, Any] | None, Any]:
    """Return what a wrapper adds, as plain values, and the fitted estimator in it; of others None.

    ``estimator``, the unfitted one, is left out: of the fitted one's parameters it is made again.
    """
    name = next((name for name, kind in WRAPPERS.items() if type(estimator) is kind), None)
    if name is None:
        return None, estimator
    check_is_fitted(estimator)
    estimator._validate_params()
    state = dict(estimator.__getstate__())
    inner, given = state.pop("estimator_"), state.pop("estimator")
    for internal in [key for key in state if key.startswith("_sklearn") and "output" not in key]:
        del state[internal]
    dropped = [what for key, what in _DROPPED.items() if state.pop(key, None) is not None]
    own, seed = state.get("random_state"), getattr(given, "random_state", None)
    if "random_state" in state:
        state["random_state"] = _plain_seed(own)
        dropped += ["random_state"] * (own is not None and state["random_state"] is None)
    if isinstance(state.get("column_weights"), dict):  # whose names may be numbers
        state["column_weights"] = [[_plain(key), float(w)] for key, w in state["column_weights"].items()]
    if "categorical_features" in state:
        state["categorical_features"] = np.asarray(state["categorical_features"]).tolist()
    if dropped:
        warn(
            f"A model file holds no {' and no '.join(dropped)} of this kind: the loaded "
            f"{type(estimator).__name__} has none. Only further training needs it."
        )
    return {"class": name, "state": state, "seed": _plain_seed(seed), "default": given is None}, inner


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plain_seed(seed: Any) -> Any:
    return int(seed) if isinstance(seed, Integral) else None


def wrapped(described: dict[str, Any], inner: Any) -> Any:
    """Return the wrapper that :func:`unwrapped` has described, with the estimator in it."""
    if described["class"] not in WRAPPERS:
        raise ValueError(f"it holds a {described['class']!r}, which is none of this package's")
    kind: Any = WRAPPERS[described["class"]]
    state = dict(described["state"])
    given = None if described["default"] else clone(inner).set_params(random_state=described["seed"])
    names = kind._get_param_names()
    if state.get("column_weights") is not None:
        state["column_weights"] = dict(state["column_weights"])
    made = kind(estimator=given, **{name: state.pop(name) for name in names if name in state})
    made._validate_params()
    offset = state.get("offset_")
    if set(state) - _OPTIONAL != _FITTED[kind] or type(offset) is not float or not math.isfinite(offset):
        raise ValueError(f"its attributes are none of a {kind.__name__}'s")
    made.__setstate__({**vars(made), **state, "estimator_": inner})
    return made
