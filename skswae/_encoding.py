"""Values as JSON and tensors, and back, with classes by name from a list: for files that run no code.

JSON has numbers, texts and lists; whatever else a value is stands as an object of one entry, whose name says
what: {"tuple": [...]}, {"dict": {...}}, {"number": "inf"}, {"device": "cpu"}, {"tensor": its name},
{"array": name of a tensor}, {"strings": name of a tensor}, {"function": name}, and
{"object": name, "parameters": {...}}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor


class Encoder:
    """Turn values into JSON; their tensors and arrays are gathered in ``tensors``, on the CPU.

    Parameters
    ----------
    known : dict of str to object or None, default=None
        The classes and functions that have a name of their own. The instances of others are stored under
        their class's name, which whoever reads the file has to know.
    """

    def __init__(self, known: Mapping[str, Any] | None = None):
        self.known = known or {}
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[int, tuple[str, Tensor]] = {}  # by identity: what is one tensor stays one
        self._storages: set[int] = set()

    def name(self, value: Any) -> str | None:
        """Return the name of a class or function that is known."""
        return next((name for name, known in self.known.items() if known is value), None)

    def encode(self, value: Any, path: str) -> Any:
        """Return the value as JSON; ``path`` says where it is, for errors and as the name of a tensor.

        Raises
        ------
        ValueError
            If it cannot be stored.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"number": repr(value)}
        if isinstance(value, list):
            return self._sequence(value, path)
        if isinstance(value, tuple):
            return {"tuple": self._sequence(value, path)}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": self.mapping(value, path)}
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if self.name(value) is not None:
            return {"function": self.name(value)}
        if hasattr(value, "build_encoder"):
            return self._network(value, path)
        raise ValueError(
            f"{_shown(path)} cannot be stored without code: it must consist of numbers, texts, lists, "
            f"dictionaries, arrays and networks. Got {type(value).__name__}."
        )

    def _sequence(self, values: list | tuple, path: str) -> list[Any]:
        return [self.encode(value, f"{path}.{i}") for i, value in enumerate(values)]

    def mapping(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        """Return each value as JSON, by its name."""
        return {name: self.encode(value, f"{path}.{name}") for name, value in values.items()}

    def _tensor(self, tensor: Tensor, path: str) -> dict[str, str]:
        if id(tensor) not in self._names:
            path = self._free(path)
            self._names[id(tensor)] = path, tensor
            stored = tensor.detach().cpu().contiguous()
            storage = stored.untyped_storage().data_ptr()
            # two that share memory cannot be stored
            self.tensors[path] = stored.clone() if storage in self._storages else stored
            self._storages.add(storage)
        return {"tensor": self._names[id(tensor)][0]}

    def _free(self, path: str) -> str:
        """Return a name that no tensor has: a dot may stand in a name of the user's too."""
        return path if path not in self.tensors else f"{path}#{len(self.tensors)}"

    def _array(self, array: np.ndarray, path: str) -> dict[str, str]:
        path = self._free(path)
        if array.dtype == object and array.ndim == 1 and all(isinstance(text, str) for text in array):
            # there may be as many as columns, more than the header should hold
            texts = [text.encode("utf-8", "surrogatepass") for text in array]
            self.tensors[path] = torch.tensor(list(b"".join(texts)), dtype=torch.uint8)
            self.tensors[f"{path}#lengths"] = torch.tensor(list(map(len, texts)), dtype=torch.int64)
            return {"strings": path}
        try:
            native = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
            self.tensors[path] = torch.from_numpy(native)
        except TypeError as error:
            raise ValueError(
                f"{_shown(path)} cannot be stored without code: it must be an array of numbers, or one of "
                f"texts with one axis. Got one of type {array.dtype} with {array.ndim} axes."
            ) from error
        return {"array": path}

    def _network(self, network: Any, path: str) -> dict[str, Any]:
        kind = type(network)
        is_estimator = isinstance(network, BaseEstimator)
        values = network.get_params(deep=False) if is_estimator else getattr(network, "__dict__", None)
        if values is None:
            raise ValueError(
                f"{_shown(path)} cannot be stored without code: a {kind.__name__} has no attributes."
            )
        return {"object": self.name(kind) or kind.__qualname__, "parameters": self.mapping(values, path)}


class Decoder:
    """Turn what :class:`Encoder` made back into values.

    Parameters
    ----------
    tensors : dict of str to Tensor
        By name.
    known : dict of str to object or None, default=None
        The classes and functions by their names. Nothing else is ever made.
    """

    def __init__(self, tensors: Mapping[str, Tensor], known: Mapping[str, Any] | None = None):
        self.tensors = tensors
        self.known = known or {}
        self.used: set[str] = set()  # names of tensors

    def decode(self, value: Any) -> Any:
        """Return the value of a piece of JSON.

        Raises
        ------
        ValueError
            If it is none of an encoder's, or speaks of a class that is not known.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.decode(part) for part in value]
        kinds: dict[tuple[str, ...], Callable] = {
            ("tuple",): lambda parts: tuple(self.decode(_of(list, parts))),
            ("dict",): lambda parts: self.mapping(parts),
            ("number",): lambda text: _number(text),
            ("device",): lambda text: torch.device(_of(str, text)),
            ("tensor",): lambda name: self._tensor(name),
            ("array",): lambda name: self._tensor(name).numpy().copy(),
            ("strings",): lambda name: self._strings(name),
            ("function",): lambda name: self._find(name, is_class=False),
            ("object", "parameters"): self._network,
        }
        make = kinds.get(tuple(value))
        if make is None:
            raise ValueError(f"it holds a value of an unknown kind, {str(sorted(value))[:100]}")
        return make(*value.values())

    def mapping(self, parts: Any) -> dict[str, Any]:
        """Return the values of pieces of JSON, by their names."""
        return {name: self.decode(part) for name, part in _of(dict, parts).items()}

    def _tensor(self, name: Any) -> Tensor:
        self.used.add(_of(str, name))
        return self.tensors[name]

    def _strings(self, name: Any) -> np.ndarray:
        text, lengths = self._tensor(name).numpy().tobytes(), self._tensor(f"{name}#lengths").numpy()
        if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != len(text):
            raise ValueError(f"the texts {name} are of other lengths")
        ends = np.cumsum(lengths)
        found = [text[end - n : end].decode("utf-8", "surrogatepass") for n, end in zip(lengths, ends)]
        return np.array(found, dtype=object)

    def _find(self, name: Any, is_class: bool) -> Any:
        found = self.known.get(_of(str, name))
        if found is None or isinstance(found, type) != is_class:
            raise ValueError(
                f"it needs {name!r}, which is none of this package's: pass the class in 'networks', if you "
                "trust it"
            )
        return found

    def _network(self, name: Any, parameters: Any) -> Any:
        kind, values = self._find(name, is_class=True), self.mapping(parameters)
        if not hasattr(kind, "build_encoder"):
            raise ValueError(f"it needs a network, and {name!r} is none")
        if issubclass(kind, BaseEstimator):
            return kind(**values)
        network = object.__new__(kind)
        vars(network).update(values)
        return network


def _shown(path: str) -> str:
    """Return the name of a parameter or attribute as its user knows it."""
    return f"{path.removeprefix('state.')!r}"


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it holds {type(value).__name__} where it should hold {kind.__name__}")
    return value


def _number(text: Any) -> float:
    if text not in ("inf", "-inf", "nan"):
        raise ValueError(f"it holds {str(text)[:20]!r} as a number")
    return float(text)
