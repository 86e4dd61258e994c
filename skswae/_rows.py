"""Training rows: in memory, in a file or on a device, as they came, and read batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from skswae._torch import derive_seed, make_generator


def in_units(rows: Tensor, location: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows - location) / scale in float64 arithmetic, in a dtype: (n, d) -> (n, d)."""
    return ((rows.double() - location) / scale).to(dtype)


class Rows:
    """Training rows as they came, in host memory or in a file, read part by part in the module's units.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Floating-point numbers, or bytes.
    location, scale : Tensor of shape (d,) and (), float64, optional
        The units; see :class:`AutoencoderModule`. 0 and 1 unless they are given.
    bounded : bool
        Whether numbers below 0 or above 1 are rounding, to be taken back.
    index : ndarray of int, optional
        Which rows of X; all of them without.
    """

    def __init__(
        self,
        X: np.ndarray,
        location: Tensor | None = None,
        scale: Tensor | None = None,
        *,
        bounded: bool = False,
        index: np.ndarray | None = None,
    ):
        self.X = X
        self.location = torch.zeros(X.shape[1], dtype=torch.float64) if location is None else location
        self.scale = torch.ones((), dtype=torch.float64) if scale is None else scale
        self.bounded = bounded
        self.index = index
        self._has_units = bool(self.location.any()) or float(self.scale) != 1.0
        self._units = {self.location.device: (self.location, self.scale)}

    def __len__(self) -> int:
        return len(self.X) if self.index is None else len(self.index)

    @property
    def n_features(self) -> int:
        """d."""
        return self.X.shape[1]

    @property
    def nbytes(self) -> int:
        """Of the rows as they came."""
        return len(self) * self.n_features * self.X.itemsize

    def raw(self, rows: np.ndarray | slice) -> Tensor:
        """Some rows as they came: (n, d)."""
        if self.index is not None:
            rows = self.index[rows]
        # take copies rows at a time; a slice may be of read-only memory, which torch cannot share
        return torch.from_numpy(
            np.array(self.X[rows]) if isinstance(rows, slice) else self.X.take(rows, axis=0)
        )

    def on(self, device: torch.device) -> Tensor:
        """All rows as they came, on a device: (n, d)."""
        parts = gen_batches(len(self), 4096)
        first = self.raw(next(parts))
        rows = torch.empty((len(self), self.n_features), dtype=first.dtype, device=device)
        rows[: len(first)] = first.to(device)
        for part in parts:
            rows[part] = self.raw(part).to(device)
        return rows

    def prepare(self, raw: Tensor) -> Tensor:
        """Rows as they came, on any device, to float32 in the module's units: (n, d)."""
        if self._has_units:
            if raw.device not in self._units:
                self._units[raw.device] = self.location.to(raw.device), self.scale.to(raw.device)
            x = in_units(raw, *self._units[raw.device], torch.float32)
        else:
            x = raw.to(torch.float32)
        return x.clamp(0.0, 1.0) if self.bounded else x

    def take(self, rows: np.ndarray | slice) -> Tensor:
        """Some rows in the module's units: (n, d), float32."""
        return self.prepare(self.raw(rows))

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """All rows in order, in the module's units."""
        for rows in gen_batches(len(self), batch_size):
            yield self.take(rows)

    def split(self, fraction: float, seed: int) -> tuple[Rows, Rows]:
        """Training rows and held-out rows, at random; at least one is held out.

        Raises
        ------
        ValueError
            If fewer than 2 rows were left to train on.
        """
        n_held_out = int(np.ceil(fraction * len(self)))
        if len(self) - n_held_out < 2:
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} must leave at least 2 rows to "
                f"train on. Got {len(self)} rows, of which it leaves {len(self) - n_held_out}."
            )
        order = np.random.default_rng(derive_seed(seed, 3)).permutation(len(self))
        if self.index is not None:
            order = self.index[order]
        return self._part(order[n_held_out:]), self._part(order[:n_held_out])

    def _part(self, index: np.ndarray) -> Rows:
        return Rows(self.X, self.location, self.scale, bounded=self.bounded, index=index)

    def variance(self) -> float:
        """Sum of the features' variances in the module's units."""
        size = 4096
        mean = sum(x.double().sum(dim=0) for x in self.batches(size)) / len(self)
        return float(sum((x.double() - mean).square().sum() for x in self.batches(size)) / len(self))


# ---------------------------------------------------------------------------
# Where batches come from
# ---------------------------------------------------------------------------


class _Source:
    """An epoch is cut into batches of at least ``batch_size`` rows whose sizes differ by at most one.

    So none is a small remainder.
    """

    rows: Rows | Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def n_batches(self, batch_size: int) -> int:
        return max(1, len(self) // batch_size)


class TensorSource(_Source):
    """Rows in one tensor, which batches are taken from where it is.

    Parameters
    ----------
    rows : Tensor of shape (n_samples, d)
    """

    rows: Tensor

    def __init__(self, rows: Tensor):
        self.rows = rows

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        order = _order(len(self), seed).to(self.rows.device)
        for index in order.tensor_split(self.n_batches(batch_size)):
            yield self.rows.index_select(0, index)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        yield from self.rows.split(batch_size)


class HostSource(_Source):
    """Rows in host memory or in a file, read batch by batch, and sent to the device.

    To a GPU they go through two pinned buffers: one is filled while the other is on its way, and while the
    GPU computes.

    Parameters
    ----------
    rows : Rows
    device : torch.device
    """

    rows: Rows

    def __init__(self, rows: Rows, device: torch.device):
        self.rows = rows
        self.device = device

    def shuffled(self, batch_size: int, seed: int) -> Iterator[Tensor]:
        order = _order(len(self), seed).numpy()
        yield from self._sent(np.array_split(order, self.n_batches(batch_size)))

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        yield from self._sent(gen_batches(len(self), batch_size))

    def _sent(self, parts: Iterable[np.ndarray | slice]) -> Iterator[Tensor]:
        if self.device.type != "cuda":
            for part in parts:
                yield self.rows.raw(part).to(self.device)
            return
        copying = _copying_streams.setdefault(self.device, torch.cuda.Stream(self.device))
        pinned: list[Tensor | None] = [None, None]
        arrived = [torch.cuda.Event(), torch.cuda.Event()]
        for turn, part in enumerate(parts):
            raw, i = self.rows.raw(part), turn % 2
            arrived[i].synchronize()  # the buffer may still be on its way
            buffer = pinned[i]
            if buffer is None or len(buffer) < len(raw):
                buffer = pinned[i] = torch.empty(raw.shape, dtype=raw.dtype, device="cpu", pin_memory=True)
            buffer[: len(raw)].copy_(raw)
            current = torch.cuda.current_stream(self.device)
            with torch.cuda.stream(copying):
                batch = buffer[: len(raw)].to(self.device, non_blocking=True)
                arrived[i].record(copying)
            current.wait_event(arrived[i])
            batch.record_stream(current)
            yield batch


_copying_streams: dict[torch.device, torch.cuda.Stream] = {}  # kept: memory is kept by stream


def _order(n_rows: int, seed: int) -> Tensor:
    """The rows' numbers, shuffled, the same wherever the rows are: 4 bytes a row where they suffice."""
    dtype = torch.int32 if n_rows < 2**31 else torch.int64
    return torch.randperm(n_rows, dtype=dtype, device="cpu", generator=make_generator(seed))
