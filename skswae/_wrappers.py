"""Estimators around one of this package's, in model files: a table's, and a detector of outliers."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skswae.outliers import OutlierDetector
from skswae.tabular import TableAutoencoder

WRAPPERS: dict[str, type] = {
    "skswae.tabular.TableAutoencoder": TableAutoencoder,
    "skswae.outliers.OutlierDetector": OutlierDetector,
}
"""The classes by the names that a file speaks of them by."""


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
    seed = getattr(given, "random_state", None)
    if "random_state" in state:
        state["random_state"] = _plain_seed(state["random_state"])
    return {"class": name, "state": state, "seed": _plain_seed(seed), "default": given is None}, inner


def _plain_seed(seed: Any) -> Any:
    return seed if isinstance(seed, int) else None


def wrapped(described: dict[str, Any], inner: Any) -> Any:
    """Return the wrapper that :func:`unwrapped` has described, with the estimator in it."""
    if described["class"] not in WRAPPERS:
        raise ValueError(f"it holds a {described['class']!r}, which is none of this package's")
    kind: Any = WRAPPERS[described["class"]]
    state = dict(described["state"])
    given = None if described["default"] else clone(inner).set_params(random_state=described["seed"])
    names = kind._get_param_names()
    made = kind(estimator=given, **{name: state.pop(name) for name in names if name in state})
    made._validate_params()
    fitted = {name for name in state if name.endswith("_") or name.startswith("_")}
    if fitted != set(state) or any(hasattr(kind, name) for name in state):
        raise ValueError(f"its attributes are none of a {kind.__name__}'s")
    made.__setstate__({**vars(made), **state, "estimator_": inner})
    return made
