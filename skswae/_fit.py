"""A fit as functions: plan, then data, then the module, then training."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skswae._constraints import one_module
from skswae._device import (
    arithmetic,
    float32_by_default,
    has_bfloat16,
    limited_threads,
    own_settings,
    resolve_device,
)
from skswae._diagnosis import TRIAL_EPOCHS, warn_if_poor
from skswae._inference import call_rows
from skswae._neighborhood import class_numbers, judged_with_neighbors, labels_of, map_loader, with_neighbors
from skswae._plan import Plan, checked_checkpoint, open_checkpoint, resolved
from skswae._random import draw_seed, forked_rng
from skswae._resume import check_resumable, go_on, make_builder, module_parameters, new_step
from skswae._validation import check_and_resolve, clamps_judged, validate_rows
from skswae._warnings import warn
from skswae.data import DataSource
from skswae.data._loader import Loader
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import reduced_precision
from skswae.modules._front import n_inputs
from skswae.networks._protocol import check_network, draws_from_global_streams
from skswae.training._auto import AutoSettings, n_threads
from skswae.training._callbacks import Callback, EarlyStopping, EpochLines, Run
from skswae.training._checkpoint import Checkpoint
from skswae.training._cuda_graph import MIN_STEPS, side_stream
from skswae.training._loop import train
from skswae.training._preparation import Preparation
from skswae.training._step import TrainingStep, on_host


def fit(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    X_val: Any = None,
    checkpoint: Any = None,
    checkpoint_seconds: Any = 60.0,
    keep_checkpoint: bool = False,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Do what :meth:`BaseAutoencoder.fit` says, and tell the callbacks."""
    estimator._validate_params()
    resume = estimator.warm_start and hasattr(estimator, "module_")
    plan = Plan(
        resume=resume,
        learning_rate=estimator.learning_rate,
        early_stopping=estimator.early_stopping,
        X_val=X_val,
        checkpoint=checked_checkpoint(checkpoint, checkpoint_seconds, resume),
        checkpoint_seconds=checkpoint_seconds,
        keep_checkpoint=bool(keep_checkpoint),
        callbacks=callbacks,
    )
    with _all_or_nothing(estimator):
        _run(estimator, X, y, plan)


def partial_fit(estimator: Any, X: Any, y: Any = None, *, callbacks: Sequence[Callback] = ()) -> None:
    """Do what :meth:`BaseAutoencoder.partial_fit` says, and tell the callbacks."""
    estimator._validate_params()
    resume = hasattr(estimator, "module_")
    with _all_or_nothing(estimator):
        _run(estimator, X, y, Plan(resume=resume, accumulate=resume, n_epochs=1, callbacks=callbacks))


@contextlib.contextmanager
def _all_or_nothing(estimator: Any) -> Iterator[None]:
    """Put every attribute of the estimator back if the block fails."""
    before = dict(vars(estimator))
    try:
        with own_settings():
            yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _run(estimator: Any, X: Any, y: Any, plan: Plan) -> None:
    """Validate, resolve each "auto", build or go on, train, and become fitted."""
    check_network(estimator.network)
    estimator._check_parameters()
    device = resolve_device(estimator.device)
    # C-contiguous, for rows are read one by one
    min_rows = 1 if plan.accumulate else 2
    data = validate_rows(estimator, X, reset=not plan.resume, min_rows=min_rows, order="C")
    plan = replace(plan, labels=class_numbers(estimator, y, len(data)))
    held_out = None
    if plan.X_val is not None:
        if not plan.early_stopping:
            raise ValueError("The 'X_val' argument must be None with early_stopping=False. Got rows.")
        try:
            held_out = validate_rows(estimator, plan.X_val, reset=False, order="C")
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"The 'X_val' argument must hold rows like those of X. {error}") from error
    checkpoint = None
    if plan.resume:
        check_resumable(estimator)
        seed = estimator._seed
    elif plan.checkpoint is None:
        seed = draw_seed(estimator.random_state)
    else:
        checkpoint = open_checkpoint(estimator, plan, data, held_out)
        seed = checkpoint.seed
    plan = resolved(plan, estimator, data)
    train_data = data
    if plan.early_stopping and held_out is None:
        train_data, held_out = data.split(estimator.validation_fraction, seed)
        plan = replace(plan, labels=labels_of(plan.labels, train_data, data))
    known_epochs = plan.known_epochs(estimator, len(train_data))
    clamp = check_and_resolve(estimator, data, len(train_data), known_epochs, plan.resume)
    with _clear_about_memory(estimator, device), side_stream(device):
        memory = None
        fitted = copy.deepcopy(estimator.module_.scaler).cpu() if plan.resume else None
        scaler = fitted or _fitted_scaler(estimator, data)
        rows = TrainingRows(train_data, scaler, clamp, more_to_come=plan.n_epochs is not None)
        if plan.resume or estimator.scaling is None:  # else the scale is these rows' own
            rows.check_reach("X")
        if plan.resume:
            module, step, memory = go_on(estimator, rows, device)
        else:
            estimator.input_components_ = n_inputs(estimator, rows, seed)
            with one_module(trained_here=device.type == "cpu"):
                module = _built_and_initialized(estimator, rows, seed).to(device)
            estimator._see_rows(module, rows, seed, resume=False)
            step = new_step(estimator, module)
        judged = None
        if held_out is not None:
            judged = TrainingRows(held_out, rows.scaler, clamps_judged(estimator, held_out))
            if plan.X_val is not None:
                judged.check_reach("X_val")
        try:
            run, settings = _train(estimator, plan, module, step, rows, judged, seed, checkpoint)
        except Exception:
            if checkpoint is not None:
                checkpoint.remove_if_empty()
            raise
    first = estimator.n_iter_ if plan.resume else 0
    estimator._seed = seed
    estimator._fitted_parameters = module_parameters(estimator)
    estimator.module_ = module
    estimator.n_iter_ = first + len(run.history)
    estimator.batch_size_, estimator.learning_rate_init_ = settings.batch_size, settings.learning_rate
    estimator.early_stopping_, estimator.learning_rate_ = plan.early_stopping, plan.learning_rate
    before = estimator.history_ if plan.resume else {name: np.empty(0) for name in estimator._terms}
    estimator.history_ = _joined(before, run.history, first)
    # the optimisers are ahead of a module that was put back
    ahead = run.restored or run.interrupted
    estimator._moments = (None, None) if ahead else (on_host(step.moments()), memory)
    if checkpoint is not None and not plan.keep_checkpoint and not run.interrupted:
        checkpoint.remove()


def _fitted_scaler(estimator: Any, data: DataSource) -> Scaler:
    with float32_by_default():
        scaler = Scaler(data.n_features)
        if estimator.scaling == "auto" and estimator.out_activation_ == "identity":
            scaler.fit(data)
    return scaler


def _built_and_initialized(estimator: Any, rows: TrainingRows, seed: int) -> AutoencoderModule:
    with float32_by_default():
        # a copy: the class may hand the module a part that is the user's
        module = detached_copy(estimator._build_module(make_builder(estimator, rows.n_features, seed)))
        with arithmetic(torch.device("cpu")):
            module.initialize(rows, seed)
    return module


def _train(
    estimator: Any,
    plan: Plan,
    module: AutoencoderModule,
    step: TrainingStep,
    rows: TrainingRows,
    judged: TrainingRows | None,
    seed: int,
    checkpoint: Checkpoint | None,
) -> tuple[Run, AutoSettings]:
    """Train the module as the plan and the estimator's parameters say."""
    device = module.device
    settings = AutoSettings.resolve(
        len(rows),
        max_iter=estimator.max_iter,
        batch_size=estimator.batch_size,
        learning_rate_init=estimator.learning_rate_init,
        full_rate=plan.n_epochs is not None or estimator.init == "random",
    )
    loader = map_loader(plan, module, rows, device)
    preparation = Preparation(rows, estimator.augment, module)
    callbacks: list[Callback] = [preparation]
    if judged is not None:
        validation = Loader(judged.source, device)
        anywhere = plan.X_val is not None
        prepared = Preparation(judged, estimator.augment, module, anywhere=anywhere)
        with_near = judged_with_neighbors(estimator, module, prepared, validation, len(rows))
        stopping = EarlyStopping(validation, with_near, estimator.n_iter_no_change, estimator.tol)
        callbacks += [stopping, prepared]  # what augment makes of the held-out rows is checked too
    if estimator.verbose:
        callbacks.append(EpochLines(type(estimator).__name__))
    callbacks += plan.callbacks
    if checkpoint is not None:
        callbacks.append(checkpoint)
    first = estimator.n_iter_ if plan.resume else 0
    n_epochs = settings.n_epochs if plan.n_epochs is None else plan.n_epochs
    n_steps = n_epochs * loader.n_batches(settings.batch_size)
    foreign = draws_from_global_streams(check_network(estimator.network))
    if device.type == "cuda" and foreign and n_steps >= MIN_STEPS:
        warn(
            f"A network of your own, {type(estimator.network).__name__}, may draw from torch's global "
            f"streams: {type(estimator).__name__} trains without a CUDA graph, more slowly.",
            RuntimeWarning,
        )
    rng_context = None
    if foreign or estimator.augment is not None:
        rng_context = functools.partial(forked_rng, device=device)
    with torch.no_grad(), step.arithmetic():
        module.before_training(_prepared(loader, rows), accumulate=plan.accumulate)
    preprocess = with_neighbors(estimator, plan, module, rows, preparation, loader, seed)
    one_cycle = plan.learning_rate == "one_cycle"
    step.prepare_training(preprocess, settings.learning_rate, n_steps if one_cycle else None, n_steps)
    precision = _usable_precision(estimator, device, plan.resume)
    with (
        reduced_precision(module, precision),
        limited_threads(n_threads(module, settings.batch_size, device)),
    ):
        try:
            run = train(
                step,
                loader,
                epochs=range(first, first + n_epochs),
                batch_size=settings.batch_size,
                seed=seed,
                callbacks=callbacks,
                rng_context=rng_context,
            )
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "The 'batch_size' parameter must be at least 2, and X hold at least 2 rows, for a network "
                f"with batch normalisation. Got batch_size={settings.batch_size} and {len(rows)} rows. "
                f"{error}"
            ) from error
    step.end_training()
    warming = first + len(run.history) <= module.warmup  # complete epochs, all of them before its end
    module.epoch = math.inf
    with torch.no_grad(), step.arithmetic():
        module.after_training(_prepared(loader, rows), accumulate=plan.accumulate)
    warn_if_poor(
        estimator,
        module,
        rows,
        n_epochs=first + len(run.history),
        in_parts=plan.n_epochs is not None,
        seed=seed,
    )
    to_be_judged = plan.n_epochs is None and n_epochs > TRIAL_EPOCHS
    if warming and to_be_judged and not (run.interrupted or estimator.warm_start):
        warn(
            f"The warm-up of {type(estimator).__name__} did not end: warmup={module.warmup} of {n_epochs} "
            "epochs. Its whole objective was never in force. Lower warmup or raise max_iter.",
            ConvergenceWarning,
        )
    if run.interrupted:
        in_part = " They are all of its warm-up, without a part of its objective." if warming else ""
        warn(
            f"The fit was interrupted: {type(estimator).__name__} keeps the "
            f"{len(run.history)} complete epochs of {n_epochs}.{in_part}",
            ConvergenceWarning,
        )
    return run, settings


def _usable_precision(estimator: Any, device: torch.device, said: bool) -> str:
    """Return the precision of the training: float32 where bfloat16 would be many times slower."""
    if estimator.precision != "bf16" or has_bfloat16(device):
        return estimator.precision
    if said:  # by an earlier training of the same model
        return "float32"
    warn(
        f"The 'precision' parameter is 'bf16', but this processor has no instructions for bfloat16, in which "
        f"{type(estimator).__name__} would train several times more slowly: it trains in float32.",
        RuntimeWarning,
    )
    return "float32"


def _prepared(loader: Loader, rows: TrainingRows) -> Iterator[Tensor]:
    """Return all training rows in order, in the module's units."""
    return (rows.prepare(raw) for raw in loader.in_order(call_rows(rows.n_features)))


@contextlib.contextmanager
def _clear_about_memory(estimator: Any, device: torch.device) -> Iterator[None]:
    """Say what to change if a device's memory does not suffice for a fit."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"Fitting {type(estimator).__name__} needs more memory than {device} has free. Use a smaller "
            f"batch_size (got {estimator.batch_size!r}), a smaller network, fewer pseudo-inputs, no "
            f"neighbor_weight, or device='cpu'. {error}"
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
