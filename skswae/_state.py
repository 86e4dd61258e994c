"""The state of a fitted estimator as plain values, which pickles and model files hold, and the way back."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from types import FunctionType
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import InconsistentVersionWarning as SklearnInconsistentVersionWarning
from torch import Tensor, nn

import skswae
from skswae._constraints import one_module
from skswae._device import as_tensor, float32_by_default, own_settings
from skswae._resume import make_builder
from skswae._warnings import warn
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.networks._protocol import check_network

VERSION_KEY = "_skswae_version"


class InconsistentVersionWarning(SklearnInconsistentVersionWarning):
    """A fitted estimator comes from another version of this package.

    Parameters
    ----------
    estimator_name : str
        Class of the estimator.
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


def warn_of_version(estimator: Any, version: str | None, is_fitted: bool) -> None:
    """Warn if another version of this package has stored the estimator.

    Raises
    ------
    ValueError
        If it was fitted by one that had no version in its pickles.
    """
    if version is None and is_fitted:
        raise ValueError(
            f"This {type(estimator).__name__} was pickled by a version of skswae that was not released, "
            "which this one cannot read: fit it anew."
        )
    if version is not None and version != skswae.__version__:
        warning = InconsistentVersionWarning(
            estimator_name=type(estimator).__name__,
            current_version=skswae.__version__,
            original_version=version,
        )
        warn(warning)


def module_tensors(module: AutoencoderModule) -> dict[str, Any]:
    """Return the module's state on the host, by name, not copied where it is there; ties stay ties."""
    memo: dict[int, Any] = {}
    tensors = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            value = memo.setdefault(id(value), value.detach().cpu().contiguous())
        tensors[name] = value
    return tensors


def layout(module: nn.Module) -> str:
    """Return a digest of what a module consists of: the kinds of its parts, and the shapes of its tensors.

    The parts of this package go by their place alone, so that a later version may name them otherwise.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        of_torch = f"{kind.__module__}.".startswith("torch.")
        known = "" if is_ours(kind) else f"{'torch.' if of_torch else ''}{kind.__qualname__}"
        digest.update(f"{name}:{known};".encode())
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
    return digest.hexdigest()[:32]


def plain_module(estimator: Any) -> Any:
    """Return the fitted module as plain values; the module itself where it cannot be built again from them.

    That is so where a part was replaced, a hook added or an attribute set, and for parts of a user's that
    keep in Python what training has changed. So it is built again and compared.
    """
    module = estimator.module_
    if module.device.type != "cpu":
        module = detached_copy(module).to("cpu")
    tensors = module_tensors(module)
    state: dict[str, Any] = {
        "tensors": {name: value for name, value in tensors.items() if isinstance(value, Tensor)},
        "other": {name: value for name, value in tensors.items() if not isinstance(value, Tensor)},
        "frozen": [name for name, parameter in module.named_parameters() if not parameter.requires_grad],
        "layout": layout(module),
    }
    try:
        again = rebuilt_module(estimator, state)
    except ValueError:
        return module
    if not equal_modules(module, again):
        return module
    arrays = {id(value): _as_array(value) for value in state["tensors"].values()}  # ties stay ties
    state["tensors"] = {name: arrays[id(value)] for name, value in state["tensors"].items()}
    return state


def _as_array(value: Tensor) -> Any:
    try:
        return value.numpy()
    except TypeError:  # a type that NumPy lacks
        return value


_SPARE_WEIGHTS = 2**18


def rebuilt_module(estimator: Any, state: dict[str, Any]) -> AutoencoderModule:
    """Build the module of a fitted estimator from its parameters, and give it the numbers of ``state``.

    The numbers are copied. Nothing is built that is much larger than they are, but by code of the user's.

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
        ours = is_ours(type(like)) and is_ours(type(check_network(like.network)))
        most = {}
        if ours:  # a size that came with a file is no way to gigabytes of memory
            _check_sizes(like, tensors)
            filled = [tensor.numel() for tensor in tensors.values() if tensor.numel()]
            most = {"most_weights": _SPARE_WEIGHTS + 2 * sum(filled), "most_layers": 64 + 2 * len(filled)}
        with own_settings(), one_module(trained_here=False, **most), float32_by_default():
            module = like._build_module(make_builder(like, like.n_features_in_, like._seed))
            if not ours:  # which may hand the module a part that is the user's
                module = detached_copy(module)
            module.load_state_dict({**tensors, **state["other"]})
            for key, value in module.state_dict().items():
                if isinstance(value, Tensor) and value.dtype != tensors[key].dtype:
                    raise ValueError(f"{key} is of {tensors[key].dtype}, not of {value.dtype}")
            for key, parameter in module.named_parameters():
                parameter.requires_grad_(key not in state["frozen"])
        found = layout(module)
        if found != state["layout"]:
            raise ValueError("the parts of its networks are of other kinds or sizes")
    except MemoryError:
        raise
    except Exception as error:  # whatever a network of the user's, or a file of somebody's, raises
        raise ValueError(
            f"This stored {name} cannot be built again: its parameters and its numbers do not belong "
            f"together, or one of its classes has changed since. {type(error).__name__}: {error}"
        ) from error
    return module.eval()


def _check_sizes(estimator: Any, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless the sizes among the attributes are those of tensors that are there."""
    d, m = estimator.n_features_in_, estimator.input_components_
    if not 1 <= m <= d:
        raise ValueError(f"input_components_ must be from 1 to {d}. Got {m}")
    sizes = {"scaler.location": (d,), "codes.rows": (len(tensors["codes.rows"]), estimator.n_components)}
    if m < d:
        sizes["front.weight"] = (m, d)
    if hasattr(estimator, "n_pseudo_inputs_"):
        sizes["pseudo_inputs.rows"] = (estimator.n_pseudo_inputs_, m)
    for name, shape in sizes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} must be of shape {shape}. Got {tuple(tensors[name].shape)}")


def is_ours(kind: type) -> bool:
    """Tell whether a class is this package's."""
    return f"{kind.__module__}.".startswith(f"{__package__}.")


# ---------------------------------------------------------------------------
# Whether two modules are one
# ---------------------------------------------------------------------------

# attributes of this package's modules that come and go with use, and decide nothing of a fitted one
_OF_THE_MOMENT = {"row_block", "epoch", "_counts_in_training", "autocast_dtype"}


def equal_modules(a: nn.Module, b: nn.Module) -> bool:
    """Tell whether two modules are equal in the kinds of their parts, their attributes, ties and all numbers.

    What cannot be compared is not equal.
    """
    try:
        return _ties(a) == _ties(b) and _equal(a, b, set())
    except Exception:  # whatever comparing or pickling an attribute of the user's raises
        return False


def _ties(module: nn.Module) -> list[int]:
    """Return for each part, parameter and buffer the place where it is met first."""
    named = (module.named_modules, module.named_parameters, module.named_buffers)
    places: dict[int, int] = {}
    return [
        places.setdefault(id(value), len(places))
        for names in named
        for _, value in names(remove_duplicate=False)
    ]


def _equal(a: Any, b: Any, seen: set[tuple[int, int]]) -> bool:
    if a is b:
        return True
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        if (id(a), id(b)) in seen:  # a part that leads back to one above it
            return True
        seen.add((id(a), id(b)))
        return _name(type(a)) == _name(type(b)) and _equal(_decisive(a), _decisive(b), seen)
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        kinds = [(x.dtype, x.shape, x.stride(), x.requires_grad) for x in (a, b)]
        return kinds[0] == kinds[1] and bool(torch.equal(a, b) or torch.allclose(a, b, 0, 0, equal_nan=True))
    if type(a) in (dict, OrderedDict):
        return a.keys() == b.keys() and all(_equal(value, b[name], seen) for name, value in a.items())
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(_equal(x, y, seen) for x, y in zip(a, b))
    if isinstance(a, FunctionType):  # of the same lines, on equal values
        given = [
            [f.__defaults__, f.__kwdefaults__, [cell.cell_contents for cell in f.__closure__ or ()]]
            for f in (a, b)
        ]
        return a.__code__ is b.__code__ and _equal(given[0], given[1], seen)
    if type(a) in (bool, int, float, complex, str, bytes, set, frozenset):
        return a == b or (a != a and b != b)
    return pickle.dumps(a) == pickle.dumps(b)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"  # a parametrised layer has a class of its own


def _decisive(part: nn.Module) -> dict[str, Any]:
    """Return the attributes of a part that decide what it computes, with its hooks without their numbers."""
    ours = is_ours(type(part)) or isinstance(part, AutoencoderModule)
    ignored = {"training", *(_OF_THE_MOMENT if ours else ())}
    kept = {name: value for name, value in vars(part).items() if name not in ignored}
    for name, value in kept.items():
        if isinstance(value, dict) and "_hooks" in name:
            kept[name] = [getattr(hook, "hook", hook) for hook in value.values()]  # torch wraps some
    return kept
