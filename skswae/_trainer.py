"""The module in training and its optimisers, which a further fit goes on with."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import torch

from skswae._inference import versions
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import NetworkBuilder
from skswae.networks._protocol import check_network, draws_from_global_streams
from skswae.training._cuda_graph import GraphedStep
from skswae.training._step import TrainingStep

# parameters of the training alone, which the module does not depend on
_OF_TRAINING = {
    *("augment", "max_iter", "batch_size", "solver", "learning_rate", "learning_rate_init"),
    *("early_stopping", "validation_fraction", "n_iter_no_change", "tol", "warm_start"),
    *("device", "precision", "random_state", "verbose"),
}


class Trainer:
    """A module in training and its step, which a further fit goes on with.

    The estimator's ``module_`` is a copy: who holds it, or a shallow copy of the estimator, does not see it
    trained.
    """

    def __init__(self, step: TrainingStep):
        self.step = step
        self._published: AutoencoderModule | None = None
        self._versions: Any = None
        self._backup: list[tuple[torch.optim.Optimizer, dict]] = []

    @property
    def module(self) -> AutoencoderModule:
        """The module in training."""
        return self.step.module  # type: ignore[return-value]

    def publish(self) -> AutoencoderModule:
        """Return a copy of the module as it is now."""
        self._published = detached_copy(self.module)
        self._versions = versions(self._published)
        return self._published

    def is_in_step_with(self, module: AutoencoderModule) -> bool:
        """Return whether the module is the copy that was published last, and nobody has changed it."""
        return module is self._published and versions(module) == self._versions is not None

    def save(self) -> None:
        """Keep the optimisers' numbers for :meth:`restore`, in memory that is used again."""
        if not self._backup:
            self._backup = [(optimizer, {}) for optimizer in self.step.optimizers.values()]
        for optimizer, kept in self._backup:
            for parameter, state in optimizer.state.items():
                own = kept.setdefault(parameter, {})
                for name, value in state.items():
                    if name in own:
                        own[name].copy_(value)
                    else:
                        own[name] = value.clone()

    def restore(self) -> None:
        """Go back to where the module was published last, with the optimisers' numbers of :meth:`save`."""
        if self._published is None:  # nothing to go back to: the trainer was of the failed fit alone
            return
        self.step.end_training()
        self.module.load_state_dict(self._published.state_dict())
        for optimizer, kept in self._backup:
            optimizer.state.clear()
            for parameter, state in kept.items():
                optimizer.state[parameter] = {name: value.clone() for name, value in state.items()}


def make_builder(estimator: Any, n_features: int, seed: int) -> NetworkBuilder:
    """Return the builder of the module of an estimator that is fitted, or about to be fitted."""
    return NetworkBuilder(
        check_network(estimator.network),
        n_features=n_features,
        n_components=int(estimator.n_components),
        out_activation=estimator.out_activation_,
        init=estimator.init,
        seed=seed,
    )


def new_step(estimator: Any, module: AutoencoderModule) -> TrainingStep:
    """Make the training step of the estimator's solver, for the device that the module is on."""
    if module.device.type != "cuda":
        return TrainingStep(module, estimator.solver)
    foreign = draws_from_global_streams(check_network(estimator.network))
    return GraphedStep(module, estimator.solver, capturable=module.capturable and not foreign)


def go_on(estimator: Any, device: torch.device) -> Trainer:
    """Return a trainer that stands where the fitted module does: the live one, or one of a copy."""
    trainer: Trainer | None = getattr(estimator, "_trainer", None)
    fitted, now = estimator._fitted_parameters, module_parameters(estimator)
    changed = [name for name in now if fitted[name] is None or fitted[name] != now[name]]
    if (
        trainer is not None
        and not changed
        and trainer.is_in_step_with(estimator.module_)
        and trainer.module.device == device
        and trainer.step.solver == estimator.solver
    ):
        trainer.save()
        return trainer
    module = _rebuilt(estimator, changed) if changed else detached_copy(estimator.module_)
    step = new_step(estimator, module.to(device))
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


def check_resumable(estimator: Any) -> None:
    for name in estimator._structural_parameters:
        fitted, value = estimator._fitted_parameters[name], frozen(getattr(estimator, name))
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


def module_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that the module depends on, as values that can be compared.

    A network that cannot be hashed is None, which is equal to no other.
    """
    parameters = estimator.get_params(deep=False)
    values = {name: frozen(value) for name, value in parameters.items() if name not in _OF_TRAINING}
    try:
        values["network"] = joblib.hash(estimator.network)
    except Exception:  # whatever pickling a user's network raises
        values["network"] = None
    return values


def frozen(value: Any) -> Any:
    """Return a value that may be compared, and does not change with the caller's list."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value
