"""The plan of one call of ``fit`` or ``partial_fit``, and the checkpoint that it keeps."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch

from skswae._processes import active
from skswae._random import draw_seed
from skswae._resume import content_hash, frozen
from skswae._validation import validate_rows
from skswae.data import DataSource
from skswae.training._auto import epochs_for, holds_rows_out
from skswae.training._callbacks import Callback
from skswae.training._checkpoint import Checkpoint, Facts, differences, read


@dataclass(frozen=True)
class Plan:
    """The settings of one call of ``fit`` or ``partial_fit``."""

    resume: bool  # whether training goes on with the fitted module
    accumulate: bool = False  # whether what the last pass counts is added to what earlier calls counted
    n_epochs: int | None = None  # None is what ``max_iter`` says
    learning_rate: str = "constant"
    early_stopping: bool | str = False
    X_val: Any = None
    labels: np.ndarray | None = None  # of the classes of all rows, with ``target_weight``
    checkpoint: str | None = None
    checkpoint_seconds: float = 0.0
    keep_checkpoint: bool = False
    local: bool = False  # whether each of several processes has rows of its own
    callbacks: Sequence[Callback] = ()

    def total(self, n_rows: int) -> int:
        """Return how many rows all processes have, of which this one has ``n_rows``."""
        group = active()
        return sum(group.gather(n_rows)) if group is not None and self.local else n_rows

    def known_epochs(self, estimator: Any, n_rows: int) -> int | None:
        """Return the number of epochs if the training has them all, in one cycle of rates; else None."""
        if self.n_epochs is not None or self.learning_rate != "one_cycle" or self.early_stopping:
            return None
        return epochs_for(n_rows, estimator.max_iter)


def resolved(plan: Plan, estimator: Any, n_rows: int, n_features: int) -> Plan:
    """Give each "auto" of the plan its value."""
    early_stopping, learning_rate = plan.early_stopping, plan.learning_rate
    if isinstance(early_stopping, str):
        # few held-out rows say little about a map
        short_of_rows = (
            estimator.max_iter == "auto"
            and not estimator.neighbor_weight
            and holds_rows_out(n_rows, n_features)
        )
        early_stopping = plan.X_val is not None or short_of_rows
    if learning_rate == "auto":
        learning_rate = "constant" if early_stopping else "one_cycle"
    return replace(plan, early_stopping=bool(early_stopping), learning_rate=learning_rate)


def judged_rows(estimator: Any, plan: Plan) -> DataSource | None:
    """Return the rows of ``X_val``, checked; None if it is."""
    if plan.X_val is None:
        return None
    if not plan.early_stopping:
        raise ValueError("The 'X_val' argument must be None with early_stopping=False. Got rows.")
    try:
        return validate_rows(estimator, plan.X_val, reset=False, order="C")
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"The 'X_val' argument must hold rows like those of X. {error}") from error


def checked_checkpoint(path: Any, every: Any, resume: bool) -> str | None:
    """Return the path, if the arguments make sense."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"The 'checkpoint' argument must be a path or None. Got {path!r} instead.")
    if not os.fspath(path):
        raise ValueError(f"The 'checkpoint' argument must be the path of a file. Got {path!r}.")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"The 'checkpoint' argument must be a path in a folder that exists. Got {path!r}.")
    if not isinstance(every, Real) or isinstance(every, bool) or not float(every) >= 0:
        raise ValueError(
            f"The 'checkpoint_seconds' argument must be a number of at least 0. Got {every!r} instead."
        )
    if resume:
        raise ValueError(
            "The 'checkpoint' argument must be None when a fitted estimator with warm_start=True goes on. "
            f"Got {os.fspath(path)!r}."
        )
    return os.fspath(path)


def open_checkpoint(estimator: Any, plan: Plan, data: DataSource, held_out: DataSource | None) -> Checkpoint:
    """Return the checkpoint, with the seed that its file holds or a new one.

    Raises
    ------
    ValueError
        If the file is another fit's, or something else.
    """
    assert plan.checkpoint is not None
    path, group = plan.checkpoint, active()
    saved = read(path) if group is None else group.first(lambda: read(path))
    if estimator.random_state is None and saved is not None:
        seed = saved["seed"]
    else:
        seed = draw_seed(estimator.random_state)
    if group is not None:
        seed = group.first(lambda: seed)
    facts = _facts(estimator, seed, data, held_out, plan.labels)
    if group is not None and plan.local:
        rows = {name: group.gather(facts[name]) for name in ("X", "X_val", "y")}
        facts.update({name: [f"{all_[0][0]} and others", content_hash(all_)] for name, all_ in rows.items()})
    if saved is not None and (others := differences(saved["facts"], facts)):
        raise ValueError(
            "The 'checkpoint' argument must be the path of a file that the same fit wrote, or of none yet. "
            f"Got {plan.checkpoint!r}, of another fit: {'; '.join(others)}. Delete it, or name another."
        )
    return Checkpoint(plan.checkpoint, facts, seed, plan.checkpoint_seconds, saved)


def _facts(
    estimator: Any, seed: int, data: DataSource, held_out: DataSource | None, labels: np.ndarray | None
) -> Facts:
    """Return what tells this fit from others."""
    from skswae import __version__  # here: it is known once the package is

    values: dict[str, Any] = {
        "the version of skswae": __version__,
        "the version of torch": str(torch.__version__),
        "the class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "the seed of 'random_state'": seed,
        "X": data,
        "X_val": held_out,
        "y": labels,
    }
    for name, value in sorted(estimator.get_params().items()):
        if name not in ("device", "verbose", "random_state"):
            values[f"the {name!r} parameter"] = value
    if (columns := getattr(estimator, "_columns", None)) is not None:  # what the rows are, and their weights
        values["the description of the columns"] = columns
    try:
        # one by one: the hash of a whole sees which of its parts are one object
        return {name: [_shown(value), content_hash(_content(value))] for name, value in values.items()}
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"The 'checkpoint' argument must be None unless all parameters of {type(estimator).__name__}, "
            f"and a data source of your own, can be pickled, to tell its fit from others. Got {error}"
        ) from error


def _content(value: Any) -> Any:
    return value._content() if isinstance(value, DataSource) else frozen(value)


def _shown(value: Any) -> str:
    """Return a short text of a value, that is the same in another process."""
    if isinstance(value, DataSource | np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    value = frozen(value)
    plain = isinstance(value, bool | int | float | str | tuple | None)
    return repr(value) if plain and len(repr(value)) < 80 else type(value).__name__
