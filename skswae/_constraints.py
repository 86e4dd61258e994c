"""Constraints of parameters that scikit-learn lacks, and a check of sizes against the memory."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from contextvars import ContextVar
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval


class Number(Interval):
    """scikit-learn's interval without True and False, and without integers that no float can hold."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether the value is such a number."""
        if isinstance(val, bool) or not super().is_satisfied_by(val):
            return False
        try:
            float(val)
        except OverflowError:  # an integer of more than 308 digits
            return False
        return True


RANDOM_STATE = [
    Number(Integral, 0, 2**32 - 1, closed="both"),
    np.random.RandomState,
    np.random.Generator,
    None,
]
"""Constraints of ``random_state``: an int, RandomState or None, as in scikit-learn, or a NumPy Generator."""


class Scale(Number):
    """A standard deviation; its square and the inverse of that fit in float32, with room for products.

    Parameters
    ----------
    or_zero : bool, default=False
    """

    def __init__(self, *, or_zero: bool = False):
        super().__init__(Real, 1e-15, 1e15, closed="both")
        self.or_zero = or_zero

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether the value is such a number."""
        is_zero = isinstance(val, Real) and not isinstance(val, bool) and val == 0
        return (self.or_zero and is_zero) or super().is_satisfied_by(val)

    def __str__(self) -> str:
        return f"{'0 or ' if self.or_zero else ''}{super().__str__()}"


class Numbers(Number):
    """An array-like of such numbers, of one dimension.

    Parameters
    ----------
    type, left, right, closed
        As of scikit-learn's ``Interval``.
    shortest : int, default=0
    longest : int or None, default=None
        Equal to ``shortest`` where it is given.
    meaning : str, default=""
        Names of the numbers.
    or_one : bool, default=False
        Whether a number alone will do, too.
    """

    def __init__(
        self,
        type: Any,
        left: Any,
        right: Any,
        *,
        closed: str,
        shortest: int = 0,
        longest: int | None = None,
        meaning: str = "",
        or_one: bool = False,
    ):
        super().__init__(type, left, right, closed=closed)
        self.shortest = shortest
        self.longest = longest
        self.meaning = meaning
        self.or_one = or_one

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether the value is an array-like of such numbers."""
        if self.or_one and super().is_satisfied_by(val):
            return True
        try:
            numbers = np.asarray(val, dtype=object)  # True stays True
        except Exception:  # whatever an object of somebody's raises
            return False
        if numbers.ndim != 1 or len(numbers) < self.shortest:
            return False
        if self.longest is not None and len(numbers) > self.longest:
            return False
        return all(super(Numbers, self).is_satisfied_by(number) for number in numbers)

    def __str__(self) -> str:
        if self.longest is not None:
            how_many = f"{self.shortest} numbers{self.meaning and f', {self.meaning}'}"
        else:
            how_many = f"at least {self.shortest} numbers" if self.shortest else "numbers"
        one = ", or one alone" if self.or_one else ""
        return f"an array-like of {how_many}{one}, each {super().__str__()}"


# of control groups, versions 2 and 1, as a container sees its own
_LIMITS = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]


def memory() -> float:
    """Return the bytes that this process may use: the machine's, or its container's limit; inf if unknown."""
    known = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # another system: its allocator must do
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            known.append(int(path.read_text()))
    return min(known, default=math.inf)


def check_affordable(n_numbers: float, what: str, cure: str) -> None:
    """Raise MemoryError if that many numbers of 32 bits do not fit into the memory of this process.

    An allocation may be granted all the same, and the process be killed once it writes.
    """
    available = memory()
    if 4 * n_numbers > available:
        needed = 4e-9 * min(n_numbers, 10**300)
        raise MemoryError(f"{what} would take {needed:.3g} GB, and there are {1e-9 * available:.3g}: {cure}.")


class _Module:
    """Count the weights of a module while it is built."""

    def __init__(self, per_weight: int, most_weights: float = math.inf, most_layers: float = math.inf):
        self.per_weight = per_weight
        self.most_weights = most_weights
        self.most_layers = most_layers
        self.n_weights = 0
        self.n_layers = 0


_IN_TRAINING = 4  # numbers a weight: itself, its gradient, Adam's two moments
_being_built: ContextVar[_Module | None] = ContextVar("_being_built", default=None)


@contextlib.contextmanager
def one_module(
    *, trained_here: bool, most_weights: float = math.inf, most_layers: float = math.inf
) -> Iterator[None]:
    """Within the block, :func:`check_weights` looks at the sum over all layers of one module.

    ``trained_here`` is whether gradients and Adam's moments will lie in this machine's memory, too. More than
    ``most_weights`` in all, or ``most_layers``, are a ValueError before they are built.
    """
    per_weight = _IN_TRAINING if trained_here else 1
    token = _being_built.set(_Module(per_weight, most_weights, most_layers))
    try:
        yield
    finally:
        _being_built.reset(token)


def check_weights(n_weights: int, where: str = "the network, or n_components") -> None:
    """Raise MemoryError if so many weights more do not fit into memory beside those of the module so far.

    Without :func:`one_module`, the weights are a layer's alone, which is to be trained here.
    """
    module = _being_built.get() or _Module(_IN_TRAINING)
    module.n_weights += n_weights
    module.n_layers += 1
    if module.n_weights > module.most_weights or module.n_layers > module.most_layers:
        raise ValueError("the networks would be larger than the numbers that are stored")
    what = "The weights" if module.per_weight == 1 else "The weights, their gradients and Adam's moments"
    check_affordable(module.per_weight * module.n_weights, what, f"reduce {where}")
