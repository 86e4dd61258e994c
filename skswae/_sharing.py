"""What several processes that share a fit must agree on before they begin."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from skswae._processes import Group, active
from skswae._resume import content_hash, frozen
from skswae.data import DataSource

_ROWS_COMPARED = 1000
# parameters that may differ: they change nothing of what is learned
_OWN = ("device", "verbose", "random_state")


def together() -> contextlib.AbstractContextManager[None]:
    """Return a block whose error on one process is an error on all."""
    group = active()
    return contextlib.nullcontext() if group is None else group.together()


def check_alike(group: Group, estimator: Any, data: DataSource, local: bool, n_epochs: int | None) -> None:
    """Check that all processes fit the same model to the same rows, or each to rows of its own.

    Raises
    ------
    ValueError
        On all processes, with what differs.
    """
    facts: dict[str, Any] = {
        "the class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "the method": "fit" if n_epochs is None else "partial_fit",
        "whether X is LocalRows": local,
        "the number of features": data.n_features,
        "the dtype of X": str(data.dtype),
        "whether the fit goes on with a fitted model": hasattr(estimator, "module_"),
    }
    for name, value in sorted(estimator.get_params().items()):
        if name not in _OWN:
            facts[f"the {name!r} parameter"] = _comparable(value)
    if not local:
        facts["the number of rows"] = len(data)
        every = max(1, len(data) // _ROWS_COMPARED)
        facts["the rows"] = content_hash(
            np.concatenate([data.read(slice(i, i + 1)) for i in range(0, len(data), every)])
        )
    found = group.gather(facts)
    for name, value in found[0].items():
        for rank, other in enumerate(found):
            if other.get(name) != value:
                cure = ": wrap rows that a process has of its own in skswae.data.LocalRows"
                raise ValueError(
                    f"Processes that share a fit must agree on {name}. Got {_shown(value)} in the process of "
                    f"rank 0 and {_shown(other.get(name))} in that of rank {rank}{cure * ('rows' in name)}."
                )


def _comparable(value: Any) -> Any:
    value = frozen(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    try:
        return content_hash(value)
    except Exception:  # whatever pickling a user's object raises
        return type(value).__name__


def _shown(value: Any) -> str:
    return "others" if isinstance(value, str) and len(value) == 32 else repr(value)
