"""The training loop: epochs, batches, events. It knows no objective."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from skswae._processes import active
from skswae._random import derive_seed, make_generator
from skswae.data._loader import Loader
from skswae.training._callbacks import Callback, Run, check_finite, diverged, snapshot
from skswae.training._step import TrainableModule, TrainingStep


def train(
    step: TrainingStep,
    loader: Loader,
    *,
    epochs: range,
    batch_size: int,
    seed: int,
    callbacks: list[Callback],
    rng_context: Callable[[int], contextlib.AbstractContextManager] | None = None,
) -> Run:
    """Train the step's module for the given epochs, until a callback stops, or until the user interrupts.

    The random numbers of an epoch depend on ``seed`` and its number alone, so that epochs 0 to 4 followed
    by 5 to 9 are epochs 0 to 9. ``rng_context(seed)`` is entered around each epoch, for code that draws
    from the global streams.

    Raises
    ------
    ValueError
        If a term of the loss, or a parameter or buffer after the last epoch, is not finite.
    KeyboardInterrupt
        If it comes before the first epoch ends, in one of the fits of a search, or in one that several
        processes share. Otherwise the module goes back to the last complete epoch.
    """
    module, group = step.module, active()
    run = Run(module, step, batch_size, seed, callbacks)
    # a mask of infinities, frozen or in a buffer, is none of training's
    watched = {name for name, value in _numbers(module) if value.requires_grad or _is_finite(value)}
    generator = make_generator(0, module.device)
    before: dict[str, Any] = {}  # the state at the end of an epoch
    complete = None  # it and the number of that epoch, while another is under way
    for callback in callbacks:
        callback.on_fit_begin(run)
    try:
        for epoch in epochs[len(run.history) :]:
            run.epoch, run._began = epoch, time.perf_counter()
            if run.history:
                before = snapshot(module, before)
                complete = len(run.history), before
            epoch_seed = derive_seed(seed, 0, run.epoch)
            generator.manual_seed(epoch_seed)
            for callback in callbacks:  # which may draw from the global streams, or wait for another fit
                callback.on_epoch_begin(run)
            with rng_context(epoch_seed) if rng_context is not None else contextlib.nullcontext():
                module.before_epoch(run.epoch)
                module.train()
                step.begin_epoch()
                for raw in loader.shuffled(batch_size, derive_seed(seed, 1, run.epoch)):
                    step(raw, generator)
                record = step.end_epoch()
                module.eval()
                for callback in callbacks:
                    terms = callback.extra_terms(run)
                    check_finite(record, run.epoch)  # now: the callback may know better what went wrong
                    record.update(terms)
                check_finite(record, run.epoch)
            run.history.append(record)
            complete = None
            for callback in callbacks:
                run.stop = bool(callback.on_epoch_end(run)) or run.stop
            if group is not None:
                run.stop = group.any(run.stop)
            if run.stop:
                break
    except KeyboardInterrupt:
        if not run.history or group is not None or _is_one_of_many():
            raise
        if complete is not None:
            del run.history[complete[0] :]
            module.load_state_dict(complete[1])
            run.restored = True
        run.interrupted = True
    module.eval()
    for callback in callbacks:
        callback.on_fit_end(run)
    for name, value in _numbers(module):
        if name in watched and not _is_finite(value):
            raise ValueError(diverged(f"the tensor {name!r}", epochs[len(run.history) - 1]))
    return run


_CALLED_BY_ONE_FIT = ("sklearn.base", "sklearn.callback", "sklearn.pipeline", "sklearn.utils")


def _is_one_of_many() -> bool:
    """Tell whether a search, a cross-validation or the like called this fit: an interrupt means all its fits.

    The callers are looked at: scikit-learn's own code other than a pipeline's, or joblib's loop.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if name == "joblib.parallel":
            return True
        if name.startswith("sklearn.") and not name.startswith(_CALLED_BY_ONE_FIT):
            return True
        frame = frame.f_back
    return False


def _numbers(module: TrainableModule) -> Iterator[tuple[str, Tensor]]:
    """Return the parameters and buffers of real numbers."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            yield name, value


def _is_finite(value: Tensor) -> bool:
    # a sum is finite if all numbers are, unless it overflows, and costs a tenth of looking at each
    value = value.detach()
    return bool(torch.isfinite(value.sum())) or bool(torch.isfinite(value).all())
