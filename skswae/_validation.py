"""Checks of the rows, as scikit-learn makes them, and the parameters that are resolved from them."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skswae._device import dispatches, given_tensor, own_settings
from skswae._warnings import warn
from skswae.data import ArrayData, DataSource, _checks
from skswae.data._array import TensorData
from skswae.data._dataset import as_source
from skswae.data._local import LocalRows

FLOATS: list[np.dtype[Any]] = [np.dtype(np.float64), np.dtype(np.float32)]
FLOATS += [dtype.newbyteorder() for dtype in FLOATS]
"""Types of numbers that are computed with as they come, in either byte order; all others become the first."""


def validate_rows(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    min_rows: int = 1,
    order: str | None = None,
    to_learn: bool = True,
) -> DataSource:
    """Check rows as scikit-learn does, and wrap them; a source of one's own is checked chunk by chunk.

    Without ``to_learn`` the numbers of such a source are left to be checked when they are read.
    """
    if isinstance(X, LocalRows):
        how: dict[str, Any] = {"reset": reset, "min_rows": min_rows, "order": order, "to_learn": to_learn}
        return LocalRows(validate_rows(estimator, X.rows, **how))
    X = as_source(X, order)
    if not isinstance(X, DataSource):
        settings = {"dtype": [*FLOATS, np.dtype(np.uint8)], "order": order, "ensure_min_samples": min_rows}
        return _validated(X, settings, lambda X, **how: validate_data(estimator, X, reset=reset, **how))
    _checks.check_source(X)
    if len(X) < min_rows:
        raise ValueError(f"X must have at least {min_rows} rows. Got {len(X)}.")
    if reset:
        estimator.n_features_in_ = X.n_features
    elif X.n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    _check_names(estimator, getattr(X, "feature_names", None), reset)
    known = vars(X)  # attributes of a frozen class cannot be set
    known["extremes"] = None
    if to_learn:
        _check_passes(estimator, X)
        known["extremes"] = _checks.check_finite_chunks(X)  # of the rows as they are now
    else:
        _checks.check_numbered(X)
    return X


def _check_passes(estimator: Any, X: DataSource) -> None:
    """Raise ValueError for rows without numbers of their own if they are to have classes."""
    if X.forward_only and estimator.target_weight:
        raise ValueError(
            f"The 'target_weight' parameter must be 0 with {type(X).__name__}, whose rows may come in "
            f"another order in each pass, for y has only one. Got {estimator.target_weight!r}."
        )


def _check_names(estimator: Any, names: Sequence[str] | None, reset: bool) -> None:
    """Keep the names of a source's columns, or compare them with those kept, as scikit-learn does."""
    known = getattr(estimator, "feature_names_in_", None)
    if reset:
        if names is not None:
            estimator.feature_names_in_ = np.array(list(names), dtype=object)
        elif known is not None:
            del estimator.feature_names_in_
        return
    name = type(estimator).__name__
    if names is None:
        if known is not None:
            warn(f"X does not have valid feature names, but {name} was fitted with feature names")
    elif known is None:
        warn(f"X has feature names, but {name} was fitted without feature names")
    elif list(names) != list(known):
        own, other = next(pair for pair in zip(known, names) if pair[0] != pair[1])
        raise ValueError(
            "The feature names should match those that were passed during fit, in their order. "
            f"Got {other!r} where {own!r} was."
        )


def validate_codes(estimator: Any, X: Any) -> DataSource:
    """Check codes as scikit-learn checks rows, but for their number of columns, and wrap them."""
    X = as_source(X)
    if isinstance(X, DataSource):
        _checks.check_source(X)
        _checks.check_numbered(X)
        return X
    return _validated(X, {"dtype": FLOATS, "input_name": "X", "estimator": estimator}, check_array)


def _validated(X: Any, settings: dict[str, Any], check: Callable[..., Any]) -> DataSource:
    """Check rows by a function of scikit-learn's: those of a tensor as such where its dispatch is on."""
    as_tensors = isinstance(X, torch.Tensor) and dispatches()
    if isinstance(X, torch.Tensor):
        X = given_tensor(X)
    with _checking():
        if as_tensors:
            with config_context(array_api_dispatch=True):
                return TensorData(check(X, **{**settings, "dtype": [torch.float64, torch.float32]}))
        if isinstance(X, torch.Tensor):
            X = X.numpy()  # scikit-learn sees no dtype of NumPy's in a tensor
        _refuse_what_is_no_number(X)
        return ArrayData(check(X, **settings))


# what errors say that need no word more: those that name the rows, and scikit-learn's of shapes and names
_CLEAR = re.compile(r"\bX\b|^(Found array with|Expected 2D array|[Tt]he feature names|Feature names are)")


@contextlib.contextmanager
def _checking() -> Iterator[None]:
    """Let errors of NumPy, pandas and others about rows name them.

    Numbers beyond float64 become infinity, which is refused, without a warning of NumPy's.
    """
    try:
        with own_settings(), np.errstate(over="ignore", invalid="ignore"):
            yield
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, TypeError | ValueError) and _CLEAR.search(str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        reason = str(error).partition("\n")[0]  # without the rows that some show
        raise kind(f"X must be a two-dimensional array or a frame of numbers. {reason}") from error


_TIMES = datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64
# as NumPy, pandas, polars and Arrow begin the names of types
_TIME = re.compile("date|time|duration|period", re.IGNORECASE)
_NUMBER = re.compile("u?int|float|double|bool", re.IGNORECASE)


def _refuse_what_is_no_number(X: Any) -> None:
    """Raise an error for masked cells, under which an array holds other numbers, and for times.

    Both would be converted without a word: times to nanoseconds, days or whatever their unit is.
    """
    if type(X) is np.ndarray and X.dtype.kind in "fiub":
        return
    rows = X if isinstance(X, list | tuple) else ()
    kinds = _kinds(X)
    if np.ma.core.MaskedConstant in kinds or any(map(_checks.is_masked, (X, *rows))):
        raise ValueError(
            "X must have no masked values, just as no NaN: fill or impute them first. Got masked ones."
        )
    for kind in sorted(kinds, key=str):
        of_cells = isinstance(kind, type)
        if issubclass(kind, _TIMES) if of_cells else _TIME.match(str(kind)):
            name = kind.__name__ if of_cells else kind
            raise TypeError(f"X must hold numbers. Got {name}: make numbers of times in a unit of your own.")


def _kinds(X: Any) -> set[Any]:
    """Return the dtypes of arrays, the names of those of columns, and the types of cells that are objects."""
    if isinstance(X, list | tuple):
        kinds: set[Any] = set(map(type, X))
        rows = (kind for kind in kinds if not issubclass(kind, np.generic))
        if any(issubclass(kind, list | tuple) or hasattr(kind, "__array__") for kind in rows):
            for row in X:
                kinds |= _kinds(row)
        return kinds
    if isinstance(X, np.ndarray):
        return set(map(type, X.ravel().tolist())) if X.dtype == object else {X.dtype}
    kinds = set()
    if hasattr(X, "__array__"):
        with contextlib.suppress(Exception):  # of any container; what cannot be read is refused later
            dtypes = X.dtypes if hasattr(X, "dtypes") else X.schema.types  # pandas and polars, or Arrow
            kinds.update(map(str, dtypes))
        if not kinds or not all(map(_NUMBER.match, kinds)):
            with contextlib.suppress(Exception):
                first = np.asarray(X[:1])
                kinds |= _kinds(np.asarray(X) if first.dtype == object else first)
    return kinds


def _resolve_activation(estimator: Any, data: DataSource, limits: tuple[float, float]) -> str:
    if estimator.output_activation != "auto":
        return estimator.output_activation
    if estimator._needs_unit_interval() or _checks.in_unit_interval(data, limits):
        return "sigmoid"
    return "identity"


def check_and_resolve(
    estimator: Any, data: DataSource, n_rows: int, known_epochs: int | None, resume: bool
) -> bool:
    """Check rows to learn from; in a first fit, resolve each "auto". Return whether to clamp them."""
    limits = None
    if not resume:
        limits = _checks.value_range(data)
        estimator._resolve(data, n_rows, known_epochs)
        estimator.out_activation_ = _resolve_activation(estimator, data, limits)
    estimator._check_rows(data)
    if estimator.out_activation_ != "sigmoid":
        return False
    limits = limits or _checks.value_range(data)
    needed_by, other = "a sigmoid output", "output_activation='identity'"
    if estimator._needs_unit_interval():
        needed_by, other = "a cross-entropy", f"a squared error with {other}"
    if resume:
        needed_by += ", which the first fit or partial_fit has fixed"
        cure = (
            f"scale the rows as the first ones were and clip what is left outside, or fit anew with {other}"
        )
    else:
        division = "divide it by its maximum, " if limits[0] >= 0.0 else ""
        cure = f"{division}put a MinMaxScaler before this step, or use {other}"
    _checks.check_unit_interval(data, limits, needed_by, cure)
    return not _checks.is_bounded(data, limits)


def clamps_judged(estimator: Any, held_out: DataSource) -> bool:
    """Return whether numbers of held-out rows below 0 or above 1 are to be judged as 0 and 1.

    Those that are off by rounding are, and all under a cost that is defined in [0, 1] alone.
    """
    if estimator.out_activation_ != "sigmoid":
        return False
    return estimator._needs_unit_interval() or _checks.in_unit_range(held_out)
