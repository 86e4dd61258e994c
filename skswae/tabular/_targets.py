"""Classes that come beside a table: a column that the encoder never sees."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._missing import is_pandas_na, is_scalar_nan

from skswae._warnings import warn


class Targets:
    """The classes of y, and their shares.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    shares : ndarray of shape (n_classes,)
        Of the rows that have one.
    """

    def __init__(self, classes: np.ndarray, shares: np.ndarray):
        self.classes = classes
        self.shares = shares

    @classmethod
    def of(cls, y: Any, n_rows: int) -> tuple[Targets, np.ndarray] | tuple[None, None]:
        """Return the classes of y, and each row's as a cell: (n,), NaN for -1 and for missing ones.

        Of numbers that are not whole there are none, with a warning: y may be a later regressor's.

        Raises
        ------
        ValueError
            If there is not one for each row, or there are fewer than two classes.
        """
        labels = column_or_1d(_objects(y), dtype=object)
        check_consistent_length(np.empty(n_rows), labels)
        known = np.array([not _is_missing(label) for label in labels], dtype=bool)
        types = {str if isinstance(label, str) else type(label) for label in labels[known]}
        numeric = all(issubclass(kind, bool | np.bool_ | Real) for kind in types)
        if types and types != {str} and not numeric:
            names = ", ".join(sorted(kind.__name__ for kind in types))
            raise ValueError(
                f"The 'y' argument must hold classes of one type: numbers or texts. Got {names}."
            )
        classes, numbers = np.unique(np.array(labels[known].tolist()), return_inverse=True)
        if (
            classes.dtype.kind == "f"
            and not (classes == np.round(classes)).all()
            and np.isfinite(classes).all()
        ):
            warn(
                "TableAutoencoder learns no target of other numbers than classes: it leaves y out. Put it "
                "into the table as a column, if it is to be learned. "
                f"Got {classes[classes != np.round(classes)][0]}."
            )
            return None, None
        if classes.dtype.kind == "f" and not (np.abs(classes) <= 2**53).all():
            raise ValueError(f"The 'y' argument must hold classes. Got {classes[-1]}.")
        if classes.dtype.kind == "f":  # NaN among integers has made floats of them
            classes = classes.astype(np.int64)
        if len(classes) < 2:
            raise ValueError(
                "The 'y' argument must hold at least two classes, of which -1 is none: it marks rows without "
                f"one. Got {len(classes)}."
            )
        cells = np.full(n_rows, np.nan)
        cells[known] = numbers
        return cls(classes, np.bincount(numbers) / len(numbers)), cells

    def state(self) -> dict[str, Any]:
        """Return it as plain values and arrays, of which :meth:`from_state` makes it again."""
        return {"classes": self.classes.tolist(), "shares": self.shares}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Targets:
        """Return the classes that :meth:`state` has described."""
        classes, shares = np.array(state["classes"]), np.asarray(state["shares"])
        if not np.array_equal(np.unique(classes), classes) or shares.shape != classes.shape:
            raise ValueError(f"Classes must ascend, and have a share each. Got {classes.tolist()}.")
        return cls(classes, shares)

    def level(self, label: Any) -> int:
        """Return the number of a class.

        Raises
        ------
        ValueError
            If there is no such class.
        """
        is_label = np.ndim(label) == 0 and not _is_missing(label)
        found = np.flatnonzero(self.classes == label) if is_label else np.zeros(0, dtype=np.intp)
        if len(found) != 1:
            raise ValueError(
                f"The 'y' argument must be one of the classes {self.classes.tolist()}. Got {label!r}."
            )
        return int(found[0])


def _objects(y: Any) -> np.ndarray:
    if isinstance(y, list | tuple):  # of which NumPy would make texts if one is
        found = np.empty(len(y), dtype=object)
        found[:] = y
        return found
    return np.asarray(y, dtype=object)


def _is_missing(label: Any) -> bool:
    if label is None or is_scalar_nan(label) or is_pandas_na(label):
        return True
    return not isinstance(label, str | bool) and label == -1
