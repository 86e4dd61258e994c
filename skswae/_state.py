"""The state of a fitted estimator as plain values, which pickles and model files hold, and the way back."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.exceptions import InconsistentVersionWarning as SklearnInconsistentVersionWarning
from torch import Tensor, nn
from torch.nn.modules import module as hooks

import skswae
from skswae._constraints import one_module
from skswae._device import as_tensor, float32_by_default, own_settings
from skswae._resume import make_builder
from skswae.modules._base import AutoencoderModule, detached_copy

VERSION_KEY = "_skswae_version"


class InconsistentVersionWarning(SklearnInconsistentVersionWarning):
    """A fitted estimator comes from another version of this package.

    Parameters
    ----------
    estimator_name : str
    current_version, original_version : str
        The version that reads, and the one that wrote.
    """

    def __init__(self, *, estimator_name: str, current_version: str, original_version: str):
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=current_version,
            original_sklearn_version=original_version,
        )

    def __str__(self) -> str:
        return (
            f"This {self.estimator_name} was stored by skswae {self.original_sklearn_version} and is read by "
            f"skswae {self.current_sklearn_version}. Its results may differ; fit it anew to be sure."
        )


def warn_of_version(estimator: Any, version: str) -> None:
    """Warn if another version of this package has stored the estimator."""
    if version != skswae.__version__:
        warning = InconsistentVersionWarning(
            estimator_name=type(estimator).__name__,
            current_version=skswae.__version__,
            original_version=version,
        )
        warnings.warn(warning, stacklevel=3)


def module_tensors(module: AutoencoderModule) -> dict[str, Any]:
    """Return the module's state on the host, by name, not copied where it is there; ties stay ties."""
    memo: dict[int, Any] = {}
    tensors = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            value = memo.setdefault(id(value), value.detach().cpu().contiguous())
        tensors[name] = value
    return tensors


def frozen_names(module: nn.Module) -> list[str]:
    """Return the names of the parameters that are not trained."""
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def layout(module: nn.Module) -> str:
    """Return a digest of what a module consists of: its parts, their hooks, the shapes of its tensors.

    The parts of this package go by their place alone, so that a later version may name them otherwise.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        own = f"{kind.__module__}.".startswith(f"{__package__}.")
        attached = [
            len(value) for key, value in sorted(vars(part).items()) if key.endswith("_hooks") and value
        ]
        digest.update(f"{name}:{'' if own else kind.__qualname__}:{attached};".encode())
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
    return digest.hexdigest()[:32]


def plain_module(estimator: Any) -> Any:
    """Return the fitted module as plain values; the module itself where it is not the one that fit has built.

    A part that was replaced, a hook, or numbers of another type cannot be built again from the parameters.
    """
    module = estimator.module_
    parts = layout(module)
    if parts != estimator._layout:
        return module if module.device.type == "cpu" else detached_copy(module).to("cpu")
    tensors = module_tensors(module)
    arrays = {id(value): _as_array(value) for value in tensors.values()}
    return {
        "tensors": {name: arrays[id(value)] for name, value in tensors.items()},
        "frozen": frozen_names(module),
        "layout": parts,
    }


def _as_array(value: Any) -> Any:
    try:
        return value.numpy() if isinstance(value, Tensor) else value
    except TypeError:  # a type that NumPy lacks
        return value


_SIZES = {
    "n_features_in_": ("scaler.location", 0),
    "n_components": ("codes.rows", 1),
    "n_pseudo_inputs_": ("pseudo_inputs.rows", 0),
}
"""What a size has to agree with before anything of that size is built: a tensor's shape, along an axis."""


def rebuilt_module(estimator: Any, state: dict[str, Any]) -> AutoencoderModule:
    """Build the module of a fitted estimator from its parameters, and give it the numbers of ``state``.

    The numbers are copied. Nothing is built that is much larger than they are.

    Raises
    ------
    ValueError
        If the numbers are not those of the module that the parameters describe.
    """
    name = type(estimator).__name__
    try:
        tensors = {
            key: as_tensor(value) if isinstance(value, np.ndarray) else value
            for key, value in state["tensors"].items()
        }
        like = object.__new__(type(estimator))  # with the parameters of the fit
        vars(like).update({**vars(estimator), **estimator._fitted_parameters})
        for size, (key, axis) in _SIZES.items():
            if hasattr(like, size) and key in tensors and getattr(like, size) != tensors[key].shape[axis]:
                raise ValueError(
                    f"{size}={getattr(like, size)!r} but {key} is of shape {tuple(tensors[key].shape)}"
                )
        with (
            own_settings(),
            one_module(trained_here=False),
            _no_larger_than(tensors),
            float32_by_default(),
        ):
            module = like._build_module(make_builder(like, like.n_features_in_, like._seed))
            if not f"{type(like).__module__}.".startswith(f"{__package__}."):
                module = detached_copy(module)  # the class may hand the module a part that is the user's
            module.load_state_dict(tensors)
            for key, value in module.state_dict().items():
                if isinstance(value, Tensor) and value.dtype != tensors[key].dtype:
                    raise ValueError(f"{key} is of {tensors[key].dtype}, not of {value.dtype}")
            for key, parameter in module.named_parameters():
                parameter.requires_grad_(key not in state["frozen"])
        found = layout(module)
        if found != state["layout"]:
            raise ValueError("the parts of its networks are of other kinds or sizes")
    except Exception as error:  # whatever a network of the user's, or a file of somebody's, raises
        raise ValueError(
            f"This stored {name} cannot be built again: its parameters and its numbers do not belong "
            f"together, or one of its classes has changed since. {type(error).__name__}: {error}"
        ) from error
    return module.eval()


_SPARE_BYTES = 2**20


@contextlib.contextmanager
def _no_larger_than(tensors: dict[str, Any]) -> Iterator[None]:
    """Let modules built in this thread have a few times as many parameters and bytes as ``tensors``.

    A size that came with a file is then no way to gigabytes of memory.
    """
    thread = threading.get_ident()
    left = {
        "n_parameters": 64 + 4 * len(tensors),
        "n_bytes": _SPARE_BYTES + 4 * sum(t.nbytes for t in tensors.values() if isinstance(t, Tensor)),
    }

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        if value is None or threading.get_ident() != thread or nn.parameter.is_lazy(value):
            return
        left["n_parameters"] -= 1
        left["n_bytes"] -= math.prod(value.shape) * value.element_size()
        if min(left.values()) < 0:
            raise ValueError("its networks would be larger than the numbers that are stored")

    with contextlib.ExitStack() as stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
        ):
            stack.callback(register(count).remove)
        yield
