"""Batches on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from skswae._device import as_tensor, fits_on
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
        """Return all rows in order, ``batch_size`` at a time; the last batch may be smaller."""
        if self._resident is None:
            yield from map(self._send, self.source.chunks(batch_size))
        else:
            yield from self._resident.split(batch_size)

    def _send(self, rows: np.ndarray) -> Tensor:
        raw = as_tensor(rows)
        if self.device.type != "cuda":
            return raw.to(self.device)
        # torch keeps the pinned memory until the copy is done
        return raw.pin_memory().to(self.device, non_blocking=True)
