"""Rows of an iterable of batches, for training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np

from skswae.data._sliced import NumberedRows, as_numbers, ordered, row_dtype
from skswae.data._source import DataSource


class BatchRows(NumberedRows):
    """Rows that come in batches, from the first to the last, as often as they are asked for.

    ``fit`` and ``partial_fit`` take them, also as ``X_val``. The methods of a fitted estimator do not, for
    the order of the rows may change from one pass to the next: they take the batches one by one.

    An epoch takes the rows in the order in which the batches come: it is the iterable that shuffles. A fit
    passes over them several more times, for their range, mean, principal components and pseudo-inputs.
    One batch at a time is in memory, besides what these keep.

    Each pass must have the same rows, in whatever order. Only their number is checked. Rows that change, as
    those of a ``DataLoader`` with random augmentation do, are learned in units that were found from others,
    and may leave the range that was found. Use ``augment`` instead.

    Parameters
    ----------
    batches : iterable, or callable without arguments that returns one
        Batches of any sizes: tensors, arrays or frames of shape (m, n_features) or (m, ...), or tuples or
        lists whose first part is one, as a ``DataLoader`` gives them. Rows of more than one axis are
        flattened. An iterable that can be used only once, such as a generator, is made anew for each pass by
        a function: pass the function.
    n_samples : int
        Number of rows in a pass.
    dtype : {"float32", "float64"} or None, default=None
        The type of the rows. None keeps these two and bytes, and makes float64 of all others, as ``fit`` does
        with arrays.

    Raises
    ------
    ValueError
        If there is no first batch, an argument cannot be used, or the iterable can be used only once. Later,
        while rows are read, if a pass does not have as many rows as stated, a row has another width, or a
        number is NaN or infinite.

    Notes
    -----
    The first batch is read at once, for the number of columns and their type. Early stopping needs
    ``X_val``, and ``target_weight`` has to be 0. With an iterable that shuffles, a fit is repeated by
    ``random_state`` only if the iterable repeats its order too: give a ``DataLoader`` a ``generator``. With a
    ``checkpoint`` the order has to be the same in each pass.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae import AETransformer
    >>> from skswae.data import BatchRows
    >>> def batches():
    ...     for number in range(10):
    ...         yield np.random.default_rng(number).normal(size=(50, 6))
    >>> rows = BatchRows(batches, n_samples=500)
    >>> rows.shape
    (500, 6)
    >>> AETransformer(n_components=2, max_iter=1, random_state=0).fit(rows).n_features_in_
    6
    """

    forward_only = True
    _iterator: Iterator | None  # of the pass under way
    _batch: np.ndarray  # its last batch
    _start: int  # the number of the first row of that
    _reader: object = None  # who has read last, if it was no single read

    def __init__(self, batches: Iterable | Callable[[], Iterable], n_samples: int, dtype: Any = None):
        if isinstance(batches, Iterator):
            raise ValueError(
                "The 'batches' argument must be an iterable that can be begun anew, or a function that "
                f"returns one. Got a {type(batches).__name__}, which gives its batches once: pass a function "
                "that makes it."
            )
        if not (hasattr(batches, "__iter__") or callable(batches)):
            raise ValueError(
                "The 'batches' argument must be an iterable of batches, or a function that returns one. "
                f"Got {type(batches).__name__}."
            )
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
            raise ValueError(f"The 'n_samples' argument must be an integer of at least 1. Got {n_samples!r}.")
        self.batches: Any = batches
        self.shape = int(n_samples), 0
        self._asked: Any = dtype
        self._columns: list[Any] | None = None
        self._end()
        first = next((rows for rows in map(self._rows, self._iterate()) if len(rows)), None)
        if first is None or not first.shape[1]:
            raise ValueError("The 'batches' argument must give batches with rows and columns. Got none.")
        self.shape = int(n_samples), first.shape[1]
        self.dtype = self._type(first)

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return a copy of the rows: (m, d).

        Passes go on from the batch of the last row read, and begin anew for rows before it.
        """
        self._reader = None
        numbers, back = ordered(index, len(self))
        rows = np.empty((len(numbers), self.n_features), self.dtype)
        try:
            if len(numbers) and (self._iterator is None or numbers[0] < self._start):
                self._end()
                self._iterator = self._iterate()
            done = 0
            while done < len(numbers):
                while self._start + len(self._batch) <= numbers[done]:
                    self._advance()
                stop = int(np.searchsorted(numbers, self._start + len(self._batch)))
                rows[done:stop] = self._batch[numbers[done:stop] - self._start]
                done = stop
            if len(numbers) and numbers[-1] == len(self) - 1:
                self._advance(last=True)
                self._end()
        except BaseException:
            self._end()
            raise
        return rows[back]

    def read_parts(self, parts: Iterable[slice | np.ndarray]) -> Iterator[np.ndarray]:
        """Read the rows of each index; a pass that is left before its end is ended, with its workers."""
        own = object()
        try:
            for part in parts:
                rows = self.read(part)
                self._reader = own
                yield rows
        finally:
            if self._reader is own:  # else the pass under way is another's
                self._end()

    def order(self, seed: int) -> np.ndarray:
        """Return the numbers of all rows as they come: (n_samples,)."""
        return np.arange(len(self), dtype=np.int32 if len(self) < 2**31 else np.int64)

    def split(self, fraction: float, seed: int) -> tuple[DataSource, DataSource]:
        """Raise ValueError: rows that come in another order each time cannot be held out."""
        raise ValueError(
            "The 'X_val' argument must hold the rows that early stopping watches where X is BatchRows, none "
            "of whose rows can be held out. Got None: pass X_val, or early_stopping=False."
        )

    def __getstate__(self):
        return {**vars(self), "_iterator": None, "_batch": np.empty((0, self.n_features)), "_start": 0}

    def _iterate(self) -> Iterator:
        return iter(self.batches if hasattr(self.batches, "__iter__") else self.batches())

    def _end(self) -> None:
        """Forget the pass that is under way."""
        self._iterator, self._batch, self._start = None, np.empty((0, self.n_features)), 0

    def _advance(self, last: bool = False) -> None:
        """Take the next batch; or, after the last one, see that there is none."""
        assert self._iterator is not None
        start = self._start + len(self._batch)
        rows = next((rows for rows in map(self._rows, self._iterator) if len(rows)), None)
        n_rows = start + (0 if rows is None else len(rows))
        if n_rows > len(self) or (rows is None and not last):
            raise ValueError(
                f"The 'batches' argument must give n_samples={len(self)} rows in each pass. Got "
                f"{'at least ' * (rows is not None)}{n_rows}: the number is another, or the iterable cannot "
                "be begun anew."
            )
        if rows is not None:
            where = f"rows {start} to {n_rows - 1}"
            if rows.shape[1] != self.n_features or self._type(rows) != self.dtype:
                raise ValueError(
                    "The 'batches' argument must give batches of one width and type: "
                    f"{self.n_features} columns that become {self.dtype}, as the first has. "
                    f"Got {rows.shape[1]} of {rows.dtype} in {where}."
                )
            if not np.isfinite(rows).all():
                what = "NaN" if np.isnan(rows).any() else "infinity"
                raise ValueError(f"The 'batches' argument must give finite numbers. Got {what} in {where}.")
            self._batch, self._start = rows.astype(self.dtype, copy=False), start

    def _type(self, rows: np.ndarray) -> np.dtype:
        return row_dtype(rows.dtype, self._asked, "The 'batches' argument")

    def _rows(self, batch: Any) -> np.ndarray:
        """Return the rows of a batch as they come, flattened: (m, d)."""
        if isinstance(batch, tuple | list) and len(batch):
            batch = batch[0]
        if hasattr(batch, "columns"):
            names = list(batch.columns)
            if self._columns is None:
                self._columns = names
            elif names != self._columns:
                raise ValueError(
                    f"The 'batches' argument must give frames with the same columns. Got {names}, after "
                    f"{self._columns}."
                )
        rows = as_numbers(batch)
        if rows.ndim < 2:
            raise ValueError(
                "The 'batches' argument must give arrays of rows, or tuples whose first part is one. "
                f"Got {type(batch).__name__} of shape {rows.shape}."
            )
        return rows.reshape(len(rows), math.prod(rows.shape[1:]))
