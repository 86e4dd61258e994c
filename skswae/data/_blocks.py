"""Rows that are read block by block, and shuffled within a few blocks at a time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral

import numpy as np

BLOCKS_TOGETHER = 32
"""Small parts are joined to blocks, up to so many in the shuffle buffer."""


def rows_together(shuffle_bytes: int, row_bytes: int) -> int:
    """Return how many rows the shuffle buffer holds.

    Raises
    ------
    ValueError
        If its size is not an integer of at least 1.
    """
    if not isinstance(shuffle_bytes, Integral) or isinstance(shuffle_bytes, bool) or shuffle_bytes < 1:
        raise ValueError(
            f"The 'shuffle_bytes' argument must be an integer of at least 1. Got {shuffle_bytes!r}."
        )
    return max(1, int(shuffle_bytes) // max(1, row_bytes))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Parts of the rows that are read whole, and how many rows of them are shuffled together.

    An epoch takes the blocks in random order, some at a time, and the rows of those in random order. So a
    source that keeps the last ``n_together`` rows in memory reads each block once an epoch.

    Parameters
    ----------
    starts : ndarray of shape (n_blocks + 1,), int64
        Number of the first row of each block, and the number of all rows.
    n_together : int
        Rows that are shuffled together at most. A block of more is shuffled by itself.
    loads : ndarray of shape (n_blocks,), int64, or None, default=None
        Rows that are read for each block, if they are more than the block has.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae.data import Blocks
    >>> blocks = Blocks(np.array([0, 2, 4, 6, 8]), n_together=4)
    >>> blocks.order(seed=0)
    array([1, 0, 5, 4, 3, 7, 2, 6], dtype=int32)
    """

    starts: np.ndarray
    n_together: int
    loads: np.ndarray | None = None

    def sets(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Return the numbers of the blocks that are shuffled together, set by set, at random."""
        loads = np.diff(self.starts) if self.loads is None else self.loads
        total = int(loads.sum())
        enough = total / max(1, -(-total // self.n_together))  # so that the last set is no small remainder
        numbers = rng.permutation(len(loads))
        first, load = 0, 0
        for i, more in enumerate(loads[numbers].tolist()):
            if i > first and (load >= enough or load + more > self.n_together):
                yield numbers[first:i]
                first, load = i, 0
            load += more
        yield numbers[first:]

    def order(self, seed: int) -> np.ndarray:
        """Return the numbers of all rows in the order of one epoch: (n_samples,)."""
        rng = np.random.default_rng(seed)
        n_rows = int(self.starts[-1])
        order = np.empty(n_rows, np.int32 if n_rows < 2**31 else np.int64)  # as few bytes a row as suffice
        stop = 0
        for numbers in self.sets(rng):
            start = stop
            for number in numbers:
                low, high = self.starts[number : number + 2]
                order[stop : stop + high - low] = np.arange(low, high)
                stop += high - low
            rng.shuffle(order[start:stop])
        return order

    def of(self, index: np.ndarray) -> Blocks:
        """Return the blocks of some of the rows, whose numbers ascend."""
        loads = np.diff(self.starts) if self.loads is None else self.loads
        return Blocks(np.searchsorted(index, self.starts), self.n_together, loads)


class KeptBlocks:
    """The blocks of a source that were used last, in the memory of this process. A pickle has none.

    Threads read blocks one after the other. A forked process begins without blocks: a thread of its parent
    may have been at them.

    Parameters
    ----------
    n_rows : int
        Rows that are kept at most; a block of more is kept alone.

    Attributes
    ----------
    lock : lock
        Held while a block is looked up or read.
    rows : OrderedDict of int to ndarray
        The rows of each block by its number, the last one used last.
    """

    def __init__(self, n_rows: int):
        self.n_rows = n_rows
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self.lock = threading.RLock()
        self.rows: OrderedDict[int, np.ndarray] = OrderedDict()

    def __reduce__(self):
        return KeptBlocks, (self.n_rows,)

    def __contains__(self, number: int) -> bool:
        return number in self.rows

    def get(self, number: int, size: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return the rows of a block of this size, which ``read`` returns if they are not at hand."""
        if self._process != os.getpid():
            self._begin()
        with self.lock:
            if number not in self.rows:
                while self.rows and sum(map(len, self.rows.values())) + size > self.n_rows:
                    self.rows.popitem(last=False)
                self.rows[number] = read(number)
            self.rows.move_to_end(number)
            return self.rows[number]
