"""Going on with a fitted module: what must stay, what may change, and the optimisers' moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher
from sklearn.base import clone

from skswae._constraints import one_module
from skswae._device import float32_by_default
from skswae._processes import active
from skswae.data._scaler import TrainingRows
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import NetworkBuilder
from skswae.modules._columns import Columns
from skswae.networks._protocol import check_network, draws_from_global_streams
from skswae.training._cuda_graph import GraphedStep
from skswae.training._step import Moments, TrainingStep

# parameters of the training alone, which the module does not depend on
_OF_TRAINING = {
    *("augment", "n_neighbors", "target_weight", "max_iter", "batch_size", "solver"),
    *("learning_rate", "learning_rate_init"),
    *("early_stopping", "validation_fraction", "n_iter_no_change", "tol", "warm_start"),
    *("device", "precision", "verbose"),
}


def make_builder(estimator: Any, n_features: int, seed: int) -> NetworkBuilder:
    """Return the builder of the module of an estimator that is fitted, or about to be fitted."""
    return NetworkBuilder(
        check_network(estimator.network),
        n_features=n_features,
        n_components=int(estimator.n_components),
        n_inputs=estimator.input_components_,
        out_activation=estimator.out_activation_,
        init=estimator.init,
        seed=seed,
        neighbor_weight=float(estimator.neighbor_weight),
        columns=None if (columns := getattr(estimator, "_columns", None)) is None else Columns.of(columns),
    )


def new_step(estimator: Any, module: AutoencoderModule) -> TrainingStep:
    """Make the training step of the estimator's solver, for the device that the module is on."""
    # a recorded step would have to exchange gradients, too
    if module.device.type != "cuda" or active() is not None:
        return TrainingStep(module, estimator.solver, estimator.precision)
    foreign = draws_from_global_streams(check_network(estimator.network))
    capturable = module.capturable and not foreign
    return GraphedStep(module, estimator.solver, estimator.precision, capturable=capturable)


def go_on(
    estimator: Any, rows: TrainingRows, device: torch.device
) -> tuple[AutoencoderModule, TrainingStep, Moments | None]:
    """Return a copy of the fitted module and a step on it, with the optimisers' moments if they are there.

    Nothing of the estimator's is trained: neither ``module_`` nor the moments that it keeps. So a training
    that fails has nothing to put back, and whoever holds ``module_``, or a shallow copy of the estimator,
    does not see it trained. The moments are copied into memory that an earlier call used, for a copy into
    new memory takes four times as long; they are returned as the memory that the next call may use.
    """
    fitted, now = estimator._fitted_parameters, module_parameters(estimator)
    changed = [name for name in now if _comparable(fitted[name]) != _comparable(now[name])]
    with one_module(trained_here=device.type == "cpu"):
        module = _rebuilt(estimator, changed) if changed else detached_copy(estimator.module_)
    module = module.to(device)
    if getattr(estimator, "warmup", None) == "auto":  # it was the first training's, and is not made up for
        estimator.warmup_ = module.warmup = min(estimator.warmup_, estimator.n_iter_)
    estimator._see_rows(module, rows, estimator._seed, resume=True)
    step = new_step(estimator, module)
    kept, spare = getattr(estimator, "_moments", (None, None))
    if kept is not None:
        step.set_moments(kept, spare)
    return module, step, kept


def _rebuilt(estimator: Any, changed: list[str]) -> AutoencoderModule:
    """Build the module by today's parameters, and give it the fitted one's numbers."""
    with float32_by_default():
        build = make_builder(estimator, estimator.n_features_in_, estimator._seed)
        module = detached_copy(estimator._build_module(build))  # not a part that is the user's
    try:
        module.load_state_dict(estimator.module_.state_dict())
    except RuntimeError as error:
        name = "network" if "network" in changed else changed[0]
        same = "one of the same weights" if name == "network" else "as it was"
        raise _must_stay(estimator, name, same, getattr(estimator, name)) from error
    for parameter, before in zip(module.parameters(), estimator.module_.parameters()):
        parameter.requires_grad_(before.requires_grad)
    return module


def check_resumable(estimator: Any) -> None:
    """Raise ValueError if a parameter has changed that decides what the module consists of."""
    # what was resolved in the first fit stays resolved
    resolved = [name for name in estimator.get_params(deep=False) if f"{name}_" in vars(estimator)]
    for name in (*estimator._structural_parameters, *resolved):
        fitted = estimator._fitted_parameters.get(name, ...)
        value = getattr(estimator, name)
        if fitted is not ... and _comparable(_kept(value)) != _comparable(fitted):
            raise _must_stay(estimator, name, repr(frozen(fitted)), frozen(value))
    weight = estimator._fitted_parameters.get("neighbor_weight", 0.0)
    if bool(weight) != bool(estimator.neighbor_weight):
        raise _must_stay(
            estimator, "neighbor_weight", "above 0" if weight else "0", estimator.neighbor_weight
        )
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


def module_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that the module depends on, as values that do not change with the caller's."""
    names = {*estimator.get_params(deep=False), *estimator._structural_parameters} - _OF_TRAINING
    return {name: _kept(getattr(estimator, name)) for name in sorted(names)}


_PLAIN = bool | int | float | str | None


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _kept(value: Any) -> Any:
    """Return a plain value as it is, and of any other a copy, if there is one."""
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return "RandomState"  # which will have moved: any of them equals any other
    if _is_plain(value):
        return value
    try:
        return clone(value, safe=False)
    except Exception:  # whatever copying a user's object raises
        return value


class _ContentHasher(NumpyHasher):
    """joblib's, that sees the numbers of tensors rather than the storages of this process."""

    def save(self, obj):
        if isinstance(obj, torch.Tensor):
            numbers = obj.detach().cpu()
            lacking = numbers.dtype in (torch.bfloat16,)  # in NumPy
            obj = "tensor", str(obj.dtype), (numbers.float() if lacking else numbers).numpy()
        super().save(obj)


def content_hash(value: Any) -> str:
    """Return a hash of a value that is the same in another process.

    Raises
    ------
    pickle.PicklingError, AttributeError, TypeError
        If it cannot be pickled.
    """
    return _ContentHasher(hash_name="md5").hash(value)


def _comparable(value: Any) -> Any:
    """Return a plain value as it is, and of any other its hash, or an object equal to no other."""
    value = frozen(value)
    if _is_plain(value):
        return value
    try:
        return "hash", content_hash(value)
    except Exception:  # whatever pickling a user's object raises
        return object()


def frozen(value: Any) -> Any:
    """Return a flat list or array as a tuple, which does not change with the caller's; others as they are."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value
