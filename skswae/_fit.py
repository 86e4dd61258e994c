"""A fit as functions: plan, then data, then the module, then training."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import pickle
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data
from torch import Tensor

from skswae._device import arithmetic, limited_threads, resolve_device
from skswae._inference import CHUNK_ROWS, versions
from skswae._random import draw_seed, forked_rng
from skswae.data import ArrayData, DataSource, _checks
from skswae.data._loader import Loader
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import NetworkBuilder, reduced_precision
from skswae.networks._protocol import check_network, draws_from_global_streams
from skswae.training._auto import AutoSettings, n_threads
from skswae.training._callbacks import Callback, EarlyStopping, EpochLines
from skswae.training._checkpoint import Checkpoint
from skswae.training._cuda_graph import MIN_STEPS, GraphedStep, side_stream
from skswae.training._loop import train
from skswae.training._preparation import Preparation
from skswae.training._step import TrainingStep

# parameters of the training alone, which the module does not depend on
_OF_TRAINING = {
    *("augment", "max_iter", "batch_size", "solver", "learning_rate", "learning_rate_init"),
    *("early_stopping", "validation_fraction", "n_iter_no_change", "tol", "warm_start"),
    *("device", "precision", "random_state", "verbose"),
}


# ---------------------------------------------------------------------------
# Plans
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What one call of ``fit`` or ``partial_fit`` is to do.

    Attributes
    ----------
    resume : bool
        Whether training goes on with the fitted module.
    accumulate : bool
        Whether what the last pass counts is added to what earlier calls counted.
    n_epochs : int or None
        None is what ``max_iter`` says.
    one_cycle, early_stopping : bool
    X_val : array-like, DataSource or None
    checkpoint : str or None
    checkpoint_seconds : float
    keep_checkpoint : bool
    callbacks : sequence of Callback
    """

    resume: bool
    accumulate: bool = False
    n_epochs: int | None = None
    one_cycle: bool = False
    early_stopping: bool = False
    X_val: Any = None
    checkpoint: str | None = None
    checkpoint_seconds: float = 0.0
    keep_checkpoint: bool = False
    callbacks: Sequence[Callback] = ()


def fit(
    estimator: Any,
    X: Any,
    *,
    X_val: Any = None,
    checkpoint: Any = None,
    checkpoint_seconds: Any = 60.0,
    keep_checkpoint: bool = False,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Do what :meth:`BaseAutoencoder.fit` says, and tell the callbacks."""
    resume = estimator.warm_start and hasattr(estimator, "module_")
    plan = Plan(
        resume=resume,
        one_cycle=estimator.learning_rate == "one_cycle",
        early_stopping=estimator.early_stopping,
        X_val=X_val,
        checkpoint=_checked_checkpoint(checkpoint, checkpoint_seconds, resume),
        checkpoint_seconds=checkpoint_seconds,
        keep_checkpoint=bool(keep_checkpoint),
        callbacks=callbacks,
    )
    _run(estimator, X, plan)


def partial_fit(estimator: Any, X: Any, *, callbacks: Sequence[Callback] = ()) -> None:
    """Do what :meth:`BaseAutoencoder.partial_fit` says, and tell the callbacks."""
    resume = hasattr(estimator, "module_")
    _run(estimator, X, Plan(resume=resume, accumulate=resume, n_epochs=1, callbacks=callbacks))


def _checked_checkpoint(path: Any, every: Any, resume: bool) -> str | None:
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


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


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


def _validation_rows(estimator: Any, plan: Plan) -> DataSource | None:
    if plan.X_val is None:
        return None
    if not plan.early_stopping:
        raise ValueError("The 'X_val' argument must be None without early_stopping=True. Got rows.")
    return validate_rows(estimator, plan.X_val, reset=False, order="C")


def _resolve_activation(estimator: Any, data: DataSource, limits: tuple[float, float]) -> str:
    if estimator.output_activation != "auto":
        return estimator.output_activation
    if estimator._needs_unit_interval() or _checks.in_unit_interval(data, limits):
        return "sigmoid"
    return "identity"


def _check_and_resolve(estimator: Any, parts: list[DataSource], n_rows: int, resume: bool) -> bool:
    """Check all rows; in a first fit, resolve each "auto". Return whether rounding is to be taken back."""
    limits = [_checks.value_range(part) for part in parts]
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


def _open_checkpoint(estimator: Any, plan: Plan, data: DataSource, held_out: DataSource | None) -> Checkpoint:
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
        del parameters[name]
    try:
        # one by one: the hash of a whole sees which of its parts are one object
        values = [(name, joblib.hash(_frozen(value))) for name, value in sorted(parameters.items())]
        fingerprint = joblib.hash([*map(joblib.hash, parts), values])
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"The 'checkpoint' argument must be None unless all parameters of {type(estimator).__name__} can "
            f"be pickled, to tell its fit from others. Got {error}"
        ) from error
    return Checkpoint(plan.checkpoint, fingerprint, seed, plan.checkpoint_seconds)


# ---------------------------------------------------------------------------
# The module
# ---------------------------------------------------------------------------


class Trainer:
    """A module in training and its step, which a further fit goes on with.

    The estimator's ``module_`` is a copy: who holds it, or a shallow copy of the estimator, does not see it
    trained.
    """

    def __init__(self, step: TrainingStep):
        self.step = step
        self._published: Any = None
        self._backup: dict[torch.optim.Optimizer, dict] = {}

    @property
    def module(self) -> AutoencoderModule:
        """The module in training."""
        return self.step.module  # type: ignore[return-value]

    def publish(self) -> AutoencoderModule:
        """Return a copy of the module as it is now."""
        copied = detached_copy(self.module)
        self._published = versions(copied)
        return copied

    def is_in_step_with(self, module: AutoencoderModule) -> bool:
        """Whether the module is the copy that was published last, and nobody has changed it."""
        return self._published is not None and versions(module) == self._published

    def save(self) -> None:
        """Keep the optimisers' numbers, for :meth:`restore`."""
        for optimizer in self.step.optimizers.values():
            kept = self._backup.setdefault(optimizer, {})
            for parameter, state in optimizer.state.items():
                own = kept.setdefault(parameter, {})
                for name, value in state.items():
                    if name in own:
                        own[name].copy_(value)
                    else:
                        own[name] = value.clone()

    def restore(self, module: AutoencoderModule) -> None:
        """Go back to the numbers of :meth:`save`, and to those of the published module."""
        self.step.end_training()
        self.module.load_state_dict(module.state_dict())
        for optimizer, kept in self._backup.items():
            optimizer.state.clear()
            for parameter, state in kept.items():
                optimizer.state[parameter] = {name: value.clone() for name, value in state.items()}


def make_builder(estimator: Any, n_features: int, seed: int) -> NetworkBuilder:
    """Return what the module of a fitted estimator, or of one about to be fitted, is built by."""
    return NetworkBuilder(
        check_network(estimator.network),
        n_features=n_features,
        n_components=int(estimator.n_components),
        out_activation=estimator.out_activation_,
        init=estimator.init,
        seed=seed,
    )


def _new_step(estimator: Any, module: AutoencoderModule, device: torch.device, foreign: bool) -> TrainingStep:
    if device.type != "cuda":
        return TrainingStep(module, estimator.solver)
    return GraphedStep(module, estimator.solver, capturable=module.capturable and not foreign)


def _going_on(estimator: Any, device: torch.device, foreign: bool) -> Trainer:
    """Return a trainer that stands where the fitted module does: the live one, or one from a copy."""
    trainer = getattr(estimator, "_trainer", None)
    fitted, now = estimator._fitted_parameters, _module_parameters(estimator)
    changed = [name for name in now if fitted[name] is None or fitted[name] != now[name]]
    module = estimator.module_
    if (
        trainer is not None
        and not changed
        and trainer.is_in_step_with(module)
        and trainer.module.device == device
        and trainer.step.solver == estimator.solver
    ):
        trainer.save()
        return trainer
    going_on = detached_copy(module) if not changed else _rebuilt(estimator, changed)
    step = _new_step(estimator, going_on.to(device), device, foreign)
    if trainer is not None:
        step.load_optimizers(trainer.step.state_dict())
    return Trainer(step)


def _rebuilt(estimator: Any, changed: list[str]) -> AutoencoderModule:
    """Build the module by today's parameters, and give it the fitted one's numbers."""
    with torch.device("cpu"):
        module = estimator._build_module(make_builder(estimator, estimator.n_features_in_, estimator._seed))
    try:
        module.load_state_dict(estimator.module_.state_dict())
    except RuntimeError as error:
        name = "network" if "network" in changed else changed[0]
        same = "one of the same weights" if name == "network" else "as it was"
        raise _must_stay(estimator, name, same, getattr(estimator, name)) from error
    for parameter, before in zip(module.parameters(), estimator.module_.parameters()):
        parameter.requires_grad_(before.requires_grad)
    return module


def _check_resumable(estimator: Any) -> None:
    for name in estimator._structural_parameters:
        fitted, value = estimator._fitted_parameters[name], _frozen(getattr(estimator, name))
        if value != fitted:
            raise _must_stay(estimator, name, repr(fitted), value)
    if estimator._needs_unit_interval() and estimator.out_activation_ != "sigmoid":
        raise ValueError(
            f"A {type(estimator).__name__} fitted with an identity output must not go on training with a "
            "cost for data in [0, 1], such as reconstruction='binary_cross_entropy'. Fit a new one."
        )


def _must_stay(estimator: Any, name: str, fitted: str, value: Any) -> ValueError:
    return ValueError(
        f"The '{name}' parameter must stay {fitted} to go on training a fitted {type(estimator).__name__}. "
        f"Got {value!r} instead."
    )


def _module_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that the module depends on, as values that can be compared.

    A network that cannot be hashed is None, which is equal to no other.
    """
    parameters = estimator.get_params(deep=False)
    values = {name: _frozen(value) for name, value in parameters.items() if name not in _OF_TRAINING}
    try:
        values["network"] = joblib.hash(estimator.network)
    except Exception:  # whatever pickling a user's network raises
        values["network"] = None
    return values


def _frozen(value: Any) -> Any:
    """Return a value that may be compared, and does not change with the caller's list."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


# ---------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------


def _run(estimator: Any, X: Any, plan: Plan) -> None:
    """Validate, resolve, build or go on, train, and become fitted."""
    estimator._validate_params()
    network = check_network(estimator.network)
    estimator._check_parameters()
    device = resolve_device(estimator.device)
    data = validate_rows(
        estimator, X, reset=not plan.resume, min_rows=1 if plan.accumulate else 2, order="C"
    )  # C-contiguous: rows are read one by one
    held_out = _validation_rows(estimator, plan)
    parts = [data] if held_out is None else [data, held_out]
    checkpoint = None
    if plan.resume:
        _check_resumable(estimator)
        seed = estimator._seed
    elif plan.checkpoint is None:
        seed = draw_seed(estimator.random_state)
    else:
        checkpoint = _open_checkpoint(estimator, plan, data, held_out)
        seed = checkpoint.seed
    train_data = data
    if plan.early_stopping and held_out is None:
        train_data, held_out = data.split(estimator.validation_fraction, seed)
    clamp = _check_and_resolve(estimator, parts, len(train_data), plan.resume)

    settings = AutoSettings.resolve(
        len(train_data),
        max_iter=estimator.max_iter,
        batch_size=estimator.batch_size,
        learning_rate_init=estimator.learning_rate_init,
    )
    n_epochs = settings.n_epochs if plan.n_epochs is None else plan.n_epochs
    foreign = draws_from_global_streams(network)
    with _clear_about_memory(estimator, device), arithmetic(device, estimator.precision), side_stream(device):
        if plan.resume:
            trainer = _going_on(estimator, device, foreign)
            rows = TrainingRows(train_data, copy.deepcopy(trainer.module.scaler).cpu(), clamp)
        else:
            with torch.device("cpu"):  # whatever torch's default device is
                scaler = Scaler(data.n_features)
                if estimator.scaling == "auto" and estimator.out_activation_ == "identity":
                    scaler.fit(data)
                rows = TrainingRows(train_data, scaler, clamp)
                module = estimator._build_module(make_builder(estimator, data.n_features, seed))
                module.initialize(rows, seed)
            trainer = Trainer(_new_step(estimator, module.to(device), device, foreign))
        module, step = trainer.module, trainer.step
        live = trainer is getattr(estimator, "_trainer", None)
        try:
            loader = Loader(train_data, device)
            preprocess = Preparation(rows, estimator.augment, module)
            callbacks: list[Callback] = []
            if held_out is not None:
                callbacks.append(
                    EarlyStopping(
                        Loader(held_out, device), preprocess, estimator.n_iter_no_change, estimator.tol
                    )
                )
            callbacks += [EpochLines(type(estimator).__name__)] if estimator.verbose else []
            callbacks += [*plan.callbacks, *([] if checkpoint is None else [checkpoint])]
            n_steps = n_epochs * loader.n_batches(settings.batch_size)
            if device.type == "cuda" and foreign and n_steps >= MIN_STEPS:
                warnings.warn(
                    f"A network of your own, {type(network).__name__}, may draw from torch's global streams: "
                    f"{type(estimator).__name__} trains without a CUDA graph, more slowly.",
                    RuntimeWarning,
                    stacklevel=4,
                )
            module.before_training(_prepared(loader, rows), accumulate=plan.accumulate)
            step.prepare_training(
                preprocess, settings.learning_rate, n_steps if plan.one_cycle else None, n_steps
            )
            draws_outside = foreign or estimator.augment is not None
            first = estimator.n_iter_ if plan.resume else 0
            with (
                reduced_precision(module, estimator.precision),
                limited_threads(n_threads(module, settings.batch_size, device)),
            ):
                run = train(
                    step,
                    loader,
                    epochs=range(first, first + n_epochs),
                    batch_size=settings.batch_size,
                    seed=seed,
                    callbacks=callbacks,
                    rng_context=functools.partial(forked_rng, device=device) if draws_outside else None,
                )
            if run.interrupted:
                warnings.warn(
                    f"The fit was interrupted: {type(estimator).__name__} keeps the "
                    f"{len(run.history)} complete epochs of {n_epochs}.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
            module.after_training(_prepared(loader, rows), accumulate=plan.accumulate)
            step.end_training()
            estimator._check_fitted(module)
            published = trainer.publish()
        except BaseException:
            if live:
                trainer.restore(estimator.module_)
            raise

    estimator._seed = seed
    estimator._fitted_parameters = _module_parameters(estimator)
    estimator.module_ = published
    estimator.n_iter_ = first + len(run.history)
    estimator.batch_size_, estimator.learning_rate_init_ = settings.batch_size, settings.learning_rate
    estimator.history_ = _joined(estimator.history_ if plan.resume else {}, run.history, first)
    # the optimisers are ahead of a module that was put back
    estimator._trainer = None if run.restored or run.interrupted else trainer
    if checkpoint is not None and not plan.keep_checkpoint and not run.interrupted:
        checkpoint.remove()


def _prepared(loader: Loader, rows: TrainingRows) -> Iterator[Tensor]:
    """Return all training rows in order, in the module's units."""
    return (rows.prepare(raw) for raw in loader.in_order(CHUNK_ROWS))


@contextlib.contextmanager
def _clear_about_memory(estimator: Any, device: torch.device) -> Iterator[None]:
    """Say what to change if a device's memory does not suffice for a fit."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"Fitting {type(estimator).__name__} needs more memory than {device} has free. Use a smaller "
            f"batch_size (got {estimator.batch_size!r}), a smaller network or fewer pseudo-inputs, or "
            f"device='cpu'. {error}"
        ) from error


def _joined(
    history: dict[str, np.ndarray], records: list[dict[str, float]], first: int
) -> dict[str, np.ndarray]:
    """Return arrays of one number an epoch; NaN where an epoch did not have the term."""
    joined = {}
    names: Iterable[str] = [*history, *(name for record in records for name in record)]
    for name in dict.fromkeys(names):
        before = history.get(name, np.full(first, np.nan))
        joined[name] = np.append(before, [record.get(name, np.nan) for record in records])
    return joined
