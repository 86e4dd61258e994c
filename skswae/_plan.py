"""The plan of one call of ``fit`` or ``partial_fit``, and the checkpoint that it keeps."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import joblib
import torch

from skswae._random import draw_seed
from skswae._resume import frozen
from skswae.data import ArrayData, DataSource
from skswae.training._auto import holds_rows_out
from skswae.training._callbacks import Callback
from skswae.training._checkpoint import Checkpoint


@dataclass(frozen=True)
class Plan:
    """The settings of one call of ``fit`` or ``partial_fit``."""

    resume: bool  # whether training goes on with the fitted module
    accumulate: bool = False  # whether what the last pass counts is added to what earlier calls counted
    n_epochs: int | None = None  # None is what ``max_iter`` says
    learning_rate: str = "constant"
    early_stopping: bool | str = False
    X_val: Any = None
    checkpoint: str | None = None
    checkpoint_seconds: float = 0.0
    keep_checkpoint: bool = False
    callbacks: Sequence[Callback] = ()


def resolved(plan: Plan, estimator: Any, data: DataSource) -> Plan:
    """Give each "auto" of the plan its value."""
    early_stopping, learning_rate = plan.early_stopping, plan.learning_rate
    if isinstance(early_stopping, str):
        short_of_rows = estimator.max_iter == "auto" and holds_rows_out(*data.shape)
        early_stopping = plan.X_val is not None or short_of_rows
    if learning_rate == "auto":
        learning_rate = "constant" if early_stopping else "one_cycle"
    return replace(plan, early_stopping=bool(early_stopping), learning_rate=learning_rate)


def checked_checkpoint(path: Any, every: Any, resume: bool) -> str | None:
    """Return the path, if the arguments make sense."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"The 'checkpoint' argument must be a path or None. Got {path!r} instead.")
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
    """Return the checkpoint, with the seed that its file holds or a new one."""
    assert plan.checkpoint is not None
    saved = Checkpoint.read(plan.checkpoint)
    if estimator.random_state is None and saved is not None:
        seed = int(saved["seed"])
    else:
        seed = draw_seed(estimator.random_state)
    from skswae import __version__  # here: it is known once the package is

    parts = [
        type(estimator).__module__,
        type(estimator).__qualname__,
        seed,
        __version__,
        str(torch.__version__),
    ]
    for source in (data, held_out):
        parts.append(source.X if isinstance(source, ArrayData) else source)
    parameters = estimator.get_params()
    for name in ("device", "verbose", "random_state"):
        parameters.pop(name, None)  # a class outside the package may lack it
    try:
        # one by one: the hash of a whole sees which of its parts are one object
        values = [(name, joblib.hash(frozen(value))) for name, value in sorted(parameters.items())]
        fingerprint = joblib.hash([*map(joblib.hash, parts), values])
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"The 'checkpoint' argument must be None unless all parameters of {type(estimator).__name__} can "
            f"be pickled, to tell its fit from others. Got {error}"
        ) from error
    return Checkpoint(plan.checkpoint, fingerprint, seed, plan.checkpoint_seconds)
