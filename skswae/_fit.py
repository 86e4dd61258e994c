"""A fit as functions: plan, then data, then the module, then training."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from skswae._callbacks import Hooks, hooks, with_callbacks
from skswae._constraints import one_module
from skswae._device import (
    arithmetic,
    copied_to_host,
    float32_by_default,
    has_bfloat16,
    limited_threads,
    own_settings,
    resolve_device,
)
from skswae._diagnosis import warn_if_poor
from skswae._neighborhood import (
    check_batches,
    class_numbers,
    judged_with_neighbors,
    labels_of,
    map_loader,
    with_neighbors,
)
from skswae._outcome import Outcome
from skswae._plan import Plan, checked_checkpoint, judged_rows, open_checkpoint, resolved
from skswae._processes import active, joined
from skswae._random import derive_seed, draw_seed, forked_rng
from skswae._resume import check_resumable, go_on, make_builder, new_step
from skswae._sharing import check_alike, together
from skswae._validation import check_and_resolve, clamps_judged, validate_rows
from skswae._warnings import warn
from skswae.data import DataSource
from skswae.data._loader import make_loader
from skswae.data._local import drawn_from_all, has_own_rows
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import reduced_precision
from skswae.modules._front import n_inputs
from skswae.networks._protocol import check_network, draws_from_global_streams
from skswae.training._auto import n_threads
from skswae.training._callbacks import Callback, EarlyStopping, Run
from skswae.training._checkpoint import Checkpoint
from skswae.training._cuda_graph import MIN_STEPS, side_stream
from skswae.training._loop import train
from skswae.training._preparation import Preparation
from skswae.training._progress import progress
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
    X, y, X_val = map(copied_to_host, (X, y, X_val))
    with _all_or_nothing(estimator), joined():
        with together():
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
        done = _run(estimator, X, y, plan)
        if done is not None:
            done.remove()


def partial_fit(estimator: Any, X: Any, y: Any = None, *, callbacks: Sequence[Callback] = ()) -> None:
    """Do what :meth:`BaseAutoencoder.partial_fit` says, and tell the callbacks."""
    X, y = copied_to_host(X), copied_to_host(y)
    with _all_or_nothing(estimator), joined():
        with together():
            estimator._validate_params()
            resume = hasattr(estimator, "module_")
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


@with_callbacks
def _run(estimator: Any, X: Any, y: Any, plan: Plan) -> Checkpoint | None:
    """Validate, resolve each "auto", build or go on, train, and become fitted; return what is to be removed.

    Callbacks may still fail when this has ended: the checkpoint goes after them.
    """
    group = active()
    with together():
        check_network(estimator.network)
        estimator._check_parameters()
        check_batches(estimator)
        device = resolve_device(estimator.device)
        # C-contiguous, for rows are read one by one
        min_rows = 1 if plan.accumulate else 2
        data = validate_rows(estimator, X, reset=not plan.resume, min_rows=min_rows, order="C")
        plan = replace(plan, labels=class_numbers(estimator, y, len(data)))
        held_out = judged_rows(estimator, plan)
    if group is not None:
        plan = replace(plan, local=has_own_rows(data))
        check_alike(group, estimator, plan, data, held_out)
    checkpoint = None
    if plan.resume:
        check_resumable(estimator)
        seed = estimator._seed
    elif plan.checkpoint is None:
        seed = draw_seed(estimator.random_state)
        if group is not None:
            seed = group.gather(seed)[0]
    else:
        checkpoint = open_checkpoint(estimator, plan, data, held_out)
        seed = checkpoint.seed
    plan = resolved(plan, estimator, plan.total(len(data)), data.n_features)
    train_data = data
    with together():
        if plan.early_stopping and held_out is None:
            train_data, held_out = data.split(estimator.validation_fraction, seed)
            plan = replace(plan, labels=labels_of(plan.labels, train_data, data))
    n_rows = plan.total(len(train_data))
    if group is not None and n_rows < group.size:
        raise ValueError(
            f"X must have at least a row for each of {group.size} processes. Got {n_rows} in all."
        )
    known_epochs = plan.known_epochs(estimator, n_rows)
    # what a model starts from: all rows, or some of those that the processes have
    whole = data
    if group is not None and plan.local:
        K = getattr(estimator, "n_pseudo_inputs", 0)
        whole = drawn_from_all(data, group, seed, at_least=0 if isinstance(K, str) else int(K))
    with together():
        clamp = check_and_resolve(estimator, whole, n_rows, known_epochs, plan.resume)
        if whole is not data:
            clamp = check_and_resolve(estimator, data, n_rows, known_epochs, resume=True)
    with _clear_about_memory(estimator, device), side_stream(device):
        memory = None
        fitted = copy.deepcopy(estimator.module_.scaler).cpu() if plan.resume else None
        scaler = fitted or _fitted_scaler(estimator, whole)
        more_to_come = plan.n_epochs is not None
        rows = TrainingRows(train_data, scaler, clamp, more_to_come=more_to_come)
        start = rows if whole is data else TrainingRows(whole, scaler, clamp, more_to_come=more_to_come)
        with together():
            if plan.resume or estimator.scaling is None or plan.local:  # else the scale is these rows' own
                rows.check_reach("X")
        if plan.resume:
            module, step, memory = go_on(estimator, start, device)
        else:
            estimator.input_components_ = n_inputs(estimator, start, seed)
            with one_module(trained_here=device.type == "cpu"):
                module = _built_and_initialized(estimator, start, seed).to(device)
            estimator._see_rows(module, start, seed, resume=False)
            step = new_step(estimator, module)
        if group is not None:
            group.broadcast(module)
        judged = None
        if held_out is not None:
            judged = TrainingRows(held_out, rows.scaler, clamps_judged(estimator, held_out))
            if plan.X_val is not None:
                with together():
                    judged.check_reach("X_val")
        outcome = Outcome(estimator, plan, seed, rows, map_loader(plan, module, rows, device))
        watching = hooks(outcome, X, y, outcome.n_epochs)
        try:
            run = _train(outcome, module, step, judged, seed, checkpoint, watching)
        except Exception:
            if checkpoint is not None:
                checkpoint.remove_if_empty()
            raise
    vars(estimator).update(outcome.attributes(module, run.history))
    # the optimisers are ahead of a module that was put back
    ahead = run.restored or run.interrupted
    estimator._moments = (None, None) if ahead else (on_host(step.moments()), memory)
    if watching is not None:
        watching.end()
    return None if plan.keep_checkpoint or run.interrupted else checkpoint


def _fitted_scaler(estimator: Any, data: DataSource) -> Scaler:
    with float32_by_default():
        scaler = Scaler(data.n_features)
        columns = getattr(estimator, "_columns", None)  # whose values have units of their own
        if estimator.scaling == "auto" and estimator.out_activation_ == "identity" and columns is None:
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
    outcome: Outcome,
    module: AutoencoderModule,
    step: TrainingStep,
    judged: TrainingRows | None,
    seed: int,
    checkpoint: Checkpoint | None,
    watching: Hooks | None,
) -> Run:
    """Train the module as the plan and the estimator's parameters say."""
    estimator, plan, settings = outcome.estimator, outcome.plan, outcome.settings
    rows, loader, device = outcome.rows, outcome.loader, module.device
    preparation = Preparation(rows, estimator.augment, module)
    callbacks: list[Callback] = [preparation]
    if judged is not None:
        validation = make_loader(judged.source, device, has_own_rows(judged.source))
        anywhere = plan.X_val is not None
        prepared = Preparation(judged, estimator.augment, module, anywhere=anywhere)
        with_near = judged_with_neighbors(estimator, module, prepared, validation, len(outcome.loader))
        stopping = EarlyStopping(validation, with_near, estimator.n_iter_no_change, estimator.tol)
        callbacks += [stopping, prepared]  # what augment makes of the held-out rows is checked too
    n_steps = outcome.n_epochs * loader.n_batches(settings.batch_size)
    foreign = draws_from_global_streams(check_network(estimator.network))
    if device.type == "cuda" and foreign and n_steps >= MIN_STEPS:
        warn(
            f"A network of your own, {type(estimator.network).__name__}, may draw from torch's global "
            f"streams: {type(estimator).__name__} trains without a CUDA graph, more slowly.",
            RuntimeWarning,
        )
    rng_context = None
    if foreign or estimator.augment is not None:
        rng_context = functools.partial(_own_forked_rng, device=device)
    with torch.no_grad(), step.arithmetic():
        module.before_training(outcome.in_order(), accumulate=plan.accumulate)
    preprocess = with_neighbors(estimator, plan, module, rows, preparation, loader, seed)
    one_cycle = plan.learning_rate == "one_cycle"
    step.prepare_training(preprocess, settings.learning_rate, n_steps if one_cycle else None, n_steps)
    precision = _usable_precision(estimator, device, plan.resume)
    group = active()
    own_rows = settings.batch_size // (1 if group is None else group.size)
    with (
        reduced_precision(module, precision),
        limited_threads(n_threads(module, own_rows, device)),
        progress(estimator, outcome.n_epochs) as shown,
    ):
        others = (shown, *plan.callbacks, watching, checkpoint)
        try:
            run = train(
                step,
                loader,
                epochs=range(outcome.first, outcome.first + outcome.n_epochs),
                batch_size=settings.batch_size,
                seed=seed,
                callbacks=[*callbacks, *(callback for callback in others if callback is not None)],
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
    outcome.finish(module, step)
    warn_if_poor(
        estimator,
        module,
        rows,
        n_epochs=outcome.first + len(run.history),
        in_parts=plan.n_epochs is not None,
        seed=seed,
    )
    outcome.warn_of_end(run, module.warmup)
    return run


def _own_forked_rng(seed: int, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a block in which the global streams are this process's own."""
    group = active()
    return forked_rng(seed if group is None else derive_seed(seed, group.rank), device)


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
