"""Constraints of parameters that scikit-learn lacks, and a check of sizes against the memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    ):
        super().__init__(type, left, right, closed=closed)
        self.shortest = shortest
        self.longest = longest
        self.meaning = meaning

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether the value is a sequence of such numbers."""
        is_list = isinstance(val, Sequence) and not isinstance(val, str | bytes)
        if not is_list and not (isinstance(val, np.ndarray) and val.ndim == 1):
            return False
        if len(val) < self.shortest or (self.longest is not None and len(val) > self.longest):
            return False
        return all(super(Numbers, self).is_satisfied_by(number) for number in val)

    def __str__(self) -> str:
        if self.longest is not None:
            how_many = f"{self.shortest} numbers{self.meaning and f', {self.meaning}'}"
        else:
            how_many = f"at least {self.shortest} numbers" if self.shortest else "numbers"
        return f"an array-like of {how_many}, each {super().__str__()}"


def check_affordable(n_numbers: float, what: str, cure: str) -> None:
    """Raise MemoryError if that many numbers of 32 bits do not fit into the memory of this machine.

    An allocation may be granted all the same, and the process be killed once it writes.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # another system: its allocator must do
        return
    if 4 * n_numbers > memory:
        needed = 4e-9 * min(n_numbers, 10**300)
        raise MemoryError(
            f"{what} would take {needed:.3g} GB, and this machine has {1e-9 * memory:.3g}: {cure}."
        )


def check_weights(n_weights: int, where: str = "the network, or n_components") -> None:
    """Raise MemoryError if so many weights, their gradients and Adam's two moments do not fit into memory."""
    check_affordable(4 * n_weights, "A layer in training", f"reduce {where}")
