"""Checks that several processes fit the same model to the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from skswae._plan import Plan
from skswae._processes import Group, active
from skswae._resume import content_hash, frozen
from skswae.data import DataSource
from skswae.data._local import has_own_rows

_ROWS_COMPARED, _PLACES = 50, 8
# parameters that may differ: they change nothing of what is learned
_OWN = ("device", "verbose", "random_state")


def together() -> contextlib.AbstractContextManager[None]:
    """Return a block whose error on one process is an error on all."""
    group = active()
    return contextlib.nullcontext() if group is None else group.together()


def check_alike(
    group: Group, estimator: Any, plan: Plan, data: DataSource, held_out: DataSource | None
) -> None:
    """Check that all processes fit the same model to the same rows, or each to rows of its own.

    Raises
    ------
    ValueError
        On all processes, with what differs.
    """
    fitted = vars(estimator) if plan.resume else {}
    facts: dict[str, Any] = {
        "the class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "the method": "fit" if plan.n_epochs is None else "partial_fit",
        "whether X is LocalRows": plan.local,
        "the number of features": data.n_features,
        "the dtype of X": str(data.dtype),
        "whether the fit goes on with a fitted model": plan.resume,
        "the fitted model": _hashed([fitted.get(name) for name in ("_seed", "_moments", "n_iter_")]),
        "the weights of the fitted model": _hashed(fitted["module_"].state_dict()) if fitted else None,
        "whether there is a checkpoint": plan.checkpoint is not None,
        "whether there is X_val": held_out is not None,
    }
    for name, value in sorted(estimator.get_params().items()):
        if name not in _OWN:
            facts[f"the {name!r} parameter"] = _comparable(value)
    facts["whether X_val is LocalRows"] = held_out is not None and has_own_rows(held_out)
    for name, rows in (("X", data), ("X_val", held_out)):
        if rows is not None and not has_own_rows(rows):
            facts[f"the number of rows of {name}"] = len(rows)
            facts[f"the rows of {name}"] = _hashed([rows.read(some) for some in _some(len(rows))])
    if not plan.local:
        facts["the classes of y"] = _comparable(plan.labels)
    found = group.gather(facts)
    for name in dict.fromkeys(name for facts in found for name in facts):
        value = found[0].get(name)
        for rank, other in enumerate(found):
            if other.get(name) != value:
                cure = ": wrap rows that a process has of its own in skswae.data.LocalRows"
                raise ValueError(
                    f"Processes that share a fit must agree on {name}. Got {_shown(value)} in the process of "
                    f"rank 0 and {_shown(other.get(name))} in that of rank {rank}{cure * ('rows' in name)}."
                )


def _some(n_rows: int) -> Iterator[slice]:
    """Return a few places where rows are compared: in order, so that a file is read once at the most."""
    for start in sorted({(n_rows - _ROWS_COMPARED) * i // (_PLACES - 1) for i in range(_PLACES)}):
        yield slice(max(0, start), min(n_rows, max(0, start) + _ROWS_COMPARED))


def _comparable(value: Any) -> Any:
    value = frozen(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    try:
        return _hashed(value)
    except Exception:  # whatever pickling a user's object raises
        return type(value).__name__


def _hashed(value: Any) -> tuple[str, str]:
    return "hash", content_hash(value)


def _shown(value: Any) -> str:
    return "another" if isinstance(value, tuple) else repr(value)
