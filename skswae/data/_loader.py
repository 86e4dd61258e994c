"""Batches on the device that trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from sklearn.utils import gen_batches, gen_even_slices
from torch import Tensor

from skswae._device import as_tensor, fits_on
from skswae._processes import Group, Part, active
from skswae.data._source import DataSource


class Loader:
    """Batches of a source as tensors on a device, in the dtype of the source.

    Rows that fit in the memory of a GPU are put there once. Others are read batch by batch.

    Parameters
    ----------
    source : DataSource
    device : torch.device

    Attributes
    ----------
    keeps_index : bool
        Whether to tell the numbers of a batch's rows: they are then read by them, in the order of
        ``source.order``. False unless it is set.
    index : Tensor of shape (n,), int64
        Numbers of the rows of the last batch of :meth:`shuffled`, with ``keeps_index``.
    """

    def __init__(self, source: DataSource, device: torch.device):
        self.source = source
        self.device = device
        self.keeps_index = False
        self.index = torch.empty(0, dtype=torch.int64, device=device)
        self._resident: Tensor | None = None
        if device.type != "cpu" and fits_on(device, source.nbytes) and not source.forward_only:
            dtype = as_tensor(np.empty(0, source.dtype)).dtype
            self._resident = torch.empty(source.shape, dtype=dtype, device=device)
            start = 0
            for chunk in source.chunks():
                self._resident[start : start + len(chunk)] = self._send(chunk)
                start += len(chunk)

    def __len__(self) -> int:
        return len(self.source)

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return self.source.n_batches(batch_size)

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        """Return an epoch's batches; see :meth:`DataSource.shuffled`."""
        if self._resident is None and not self.keeps_index:
            yield from map(self._send, self.source.shuffled(batch_size, seed))
            return
        order = torch.from_numpy(self.source.order(seed))
        if self._resident is not None:
            order = order.to(self.device)
        for index in order.tensor_split(self.n_batches(batch_size)):
            self.index = index.to(self.device, torch.int64)
            if self._resident is None:
                yield self._send(self.source.read(index.numpy()))
            else:
                yield self._resident.index_select(0, index)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Return the batches of the rows in order; the last one may be smaller."""
        return self.all_rows(batch_size)

    def all_rows(self, batch_size: int) -> Iterator[Tensor]:
        """Return all rows of the source in order, ``batch_size`` at a time."""
        if self._resident is None:
            yield from map(self._send, self.source.chunks(batch_size))
        else:
            yield from self._resident.split(batch_size)

    def passed(self, batch_size: int) -> Iterator[Tensor]:
        """Return the rows that this process looks at in a pass over all of them, in order."""
        return self.in_order(batch_size)

    def _read(self, parts: Iterable[slice | np.ndarray]) -> Iterator[Tensor]:
        """Return the rows of each index, on the device."""
        if self._resident is None:
            yield from map(self._send, self.source.read_parts(parts))
            return
        for index in parts:
            if isinstance(index, slice):
                yield self._resident[index]
            else:
                yield self._resident.index_select(0, torch.from_numpy(index).to(self.device))

    def _send(self, rows: np.ndarray) -> Tensor:
        raw = as_tensor(rows)
        if self.device.type != "cuda":
            return raw.to(self.device)
        # torch keeps the pinned memory until the copy is done
        return raw.pin_memory().to(self.device, non_blocking=True)


class SharedLoader(Loader):
    """Batches that several processes share: this process returns its part, and tells the group which it is.

    Parameters
    ----------
    source : DataSource
        The same rows in all processes; or rows of this process alone.
    device : torch.device
    group : Group
    sizes : list of int or None
        Numbers of rows that the processes have of their own, by rank; None if all have the same rows.
    """

    def __init__(self, source: DataSource, device: torch.device, group: Group, sizes: list[int] | None):
        super().__init__(source, device)
        self.group = group
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.source) if self.sizes is None else sum(self.sizes)

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in an epoch.

        Raises
        ------
        ValueError
            If a process has rows of its own, and fewer than batches.
        """
        if self.sizes is None:
            return super().n_batches(batch_size)
        n = max(1, len(self) // batch_size)
        if min(self.sizes) < n:
            raise ValueError(
                f"Each process must have at least as many LocalRows as there are batches, {n} of "
                f"{batch_size} rows, for it has a part of each. Got {self.sizes} rows: divide them evenly."
            )
        return n

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        """Return this process's part of each of an epoch's batches."""
        n = self.n_batches(batch_size)
        own_order = type(self.source).shuffled is not DataSource.shuffled
        if self.sizes is None and own_order and self._resident is None and not self.keeps_index:
            for batch in self.source.shuffled(batch_size, seed):
                part = self.group.divide(len(batch))
                yield from self._told(part, self._send(batch[part.start : part.stop]))
            return
        batches = np.array_split(self.source.order(seed), n)
        parts = [self._part(number, n, len(index)) for number, index in enumerate(batches)]
        if self.sizes is None:
            batches = [index[part.start : part.stop] for part, index in zip(parts, batches)]
        for part, index, rows in zip(parts, batches, self._read(batches)):
            self.index = torch.from_numpy(index).to(self.device, torch.int64)
            yield from self._told(part, rows)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Return this process's part of each batch of the rows in order."""
        if self.sizes is None:
            batches = list(gen_batches(len(self), batch_size))
            parts = [self.group.divide(rows.stop - rows.start) for rows in batches]
            own = [slice(b.start + p.start, b.start + p.stop) for b, p in zip(batches, parts)]
        else:
            n = self.n_batches(batch_size)
            own = list(gen_even_slices(len(self.source), n))
            parts = [self._part(number, n, rows.stop - rows.start) for number, rows in enumerate(own)]
        for part, rows in zip(parts, self._read(own)):
            yield from self._told(part, rows)

    def passed(self, batch_size: int) -> Iterator[Tensor]:
        """Return rows that no other process looks at: its own, or an equal share, in order."""
        rank, size = self.group.rank, self.group.size
        if self.sizes is None:
            start, stop = (len(self) * r // size for r in (rank, rank + 1))
            self.group.n_rows_before = start
        else:
            start, stop = 0, self.sizes[rank]
            self.group.n_rows_before = sum(self.sizes[:rank])
        batches = gen_batches(stop - start, batch_size)
        # not a generator itself: the group is told before the first batch is asked for
        return self._read([slice(start + rows.start, start + rows.stop) for rows in batches])

    def _part(self, number: int, n_batches: int, n_own: int) -> Part:
        """Return the part that the rows of this process are of a batch."""
        if self.sizes is None:
            return self.group.divide(n_own)
        # as numpy.array_split divides the rows of each process
        counts = [size // n_batches + (number < size % n_batches) for size in self.sizes]
        start = sum(counts[: self.group.rank])
        return Part(start, start + n_own, sum(counts), n_own / sum(counts))

    def _told(self, part: Part, rows: Tensor) -> Iterator[Tensor]:
        """Return the rows while the group knows that they are this part of the batch."""
        self.group.part = part
        try:
            yield rows
        finally:
            self.group.part = None


def make_loader(source: DataSource, device: torch.device, local: bool = False) -> Loader:
    """Return a loader of the rows, shared if several processes share the fit.

    ``local`` is whether each process then has rows of its own.
    """
    group = active()
    if group is None:
        return Loader(source, device)
    return SharedLoader(source, device, group, group.gather(len(source)) if local else None)
