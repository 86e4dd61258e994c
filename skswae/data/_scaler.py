"""The module's units: rows less their mean, divided by one number."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from torch import Tensor, nn

from skswae._device import as_tensor
from skswae.data._array import ArrayData
from skswae.data._checks import spacing
from skswae.data._local import in_memory
from skswae.data._source import CHUNK_NUMBERS, DataSource, Subset, chunk_rows

_KEPT_NUMBERS = 2**22  # of rows that are drawn: at most 32 MB


class Scaler(nn.Module):
    """Rows in the units of the user to x = (row - location) / scale, and back.

    Parameters
    ----------
    n_features : int

    Attributes
    ----------
    location : Tensor of shape (d,), float64
        0 before :meth:`fit`.
    scale : Tensor of shape (), float64
        1 before :meth:`fit`.
    rounding : Tensor of shape (d,), float64
        The spread of features that are constant up to rounding beside others that vary, 0 for all others: so
        small a deviation from the location is no deviation, however small ``scale`` is.
    """

    location: Tensor
    scale: Tensor
    rounding: Tensor

    def __init__(self, n_features: int):
        super().__init__()
        self.register_buffer("location", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("rounding", torch.zeros(n_features, dtype=torch.float64))

    def fit(self, source: DataSource) -> Scaler:
        """Set the mean row, and the one number that makes the mean variance of the features 1.

        The number is 1 for constant data.

        Raises
        ------
        ValueError
            If differences between rows overflow.
        """
        low = high = first = source.read(slice(0, 1))[0].astype(np.float64)
        extremes = source.extremes  # which another thread may forget
        if extremes is not None:
            low, high = extremes
        for chunk in source.chunks() if extremes is None else ():
            low, high = np.minimum(low, chunk.min(axis=0)), np.maximum(high, chunk.max(axis=0))
        with np.errstate(over="ignore"):
            spread = high - low
        if not np.isfinite(spread).all():
            raise ValueError(
                "X must have finite deviations from its mean in float64. Got an overflow: scale the data "
                "first."
            )
        # a feature that is constant up to rounding has no spread, beside others that have
        varies = spread > 4 * spacing(source.dtype) * np.maximum(np.abs(low), np.abs(high))
        if not varies.any():
            varies = spread > 0.0
        location, scale = first.copy(), 1.0
        if varies.any():
            # squares of deviations in this unit neither over- nor underflow; a power of 2 rounds nothing
            unit = np.ldexp(1.0, np.frexp(spread[varies].max())[1] - 1)
            moments = StandardScaler()
            for chunk in source.chunks():
                # sums over rows round by the order in memory
                moving = chunk[:, varies].astype(np.float64, order="C")
                moments.partial_fit((moving - first[varies]) / unit)
            location[varies] += unit * moments.mean_
            variance = moments.var_.sum() / source.n_features
            scale = unit * np.sqrt(variance) or 1.0  # a subnormal may underflow
        self.location.copy_(torch.from_numpy(location))
        self.scale.fill_(scale)
        self.rounding.copy_(torch.from_numpy(np.where(varies, 0.0, spread)))
        return self

    def standardize(self, rows: Tensor) -> Tensor:
        """Map rows to the module's units, in float64 arithmetic and the dtype of the rows: (n, d)."""
        return self.to_units(rows, self._may_round()).to(rows.dtype)

    def _may_round(self) -> bool:
        if self.rounding.is_cuda:  # which would have to wait for the answer
            return True
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # a recording may meet other tensors
            return True
        try:
            return bool(self.rounding.any())
        except RuntimeError:  # a tensor without numbers, or of several models at once
            return True

    def to_units(self, rows: Tensor, may_round: bool) -> Tensor:
        """Map rows of any dtype to the units in float64; ``may_round`` says whether there is rounding."""
        deviations = rows - self.location
        if may_round:
            is_rounding = (deviations.abs() <= self.rounding) & (self.rounding > 0.0)  # which has no gradient
            deviations = deviations.masked_fill(is_rounding, 0.0)
        return deviations.div_(self.scale)

    def unstandardize(self, x: Tensor) -> Tensor:
        """Map rows in the module's units back, in float64 arithmetic and the dtype of x: (n, d)."""
        return (x.double() * self.scale + self.location).to(x.dtype)


class TrainingRows:
    """Rows in the module's units: what a module is initialized from, trained on and judged by.

    Parameters
    ----------
    source : DataSource
    scaler : Scaler
        Fitted before.
    clamp : bool
        Whether numbers below 0 or above 1 are rounding, to be taken back.
    more_to_come : bool, default=False
        Whether they are those of one ``partial_fit``, which others may follow.
    """

    def __init__(self, source: DataSource, scaler: Scaler, clamp: bool, *, more_to_come: bool = False):
        self.source = source
        self.scaler = scaler
        self.clamp = clamp
        self.more_to_come = more_to_come
        self._has_units = bool(scaler.location.any()) or float(scaler.scale) != 1.0
        self._may_round = bool(scaler.rounding.any())
        self._scalers: dict[torch.device, Scaler] = {}  # the module's own may be on another device than rows
        self._drawn: tuple[tuple[int, int], TrainingRows] | None = None
        self.kept: dict[str, Any] = {}  # what was found in a pass over the rows, and is asked for again

    def __len__(self) -> int:
        return len(self.source)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.source.n_features

    def prepare(self, raw: Tensor) -> Tensor:
        """Map rows as the source holds them, on any device, to float32 in the module's units: (n, d)."""
        x = raw
        if self._has_units:
            if raw.device not in self._scalers:
                self._scalers[raw.device] = copy.deepcopy(self.scaler).to(raw.device)
            x = self._scalers[raw.device].to_units(raw, self._may_round)
        x = x.to(torch.float32)
        return x.clamp(0.0, 1.0) if self.clamp else x

    def check_reach(self, name: str) -> None:
        """Raise ValueError, with the name of the rows, if their squares overflow in the module's float32."""
        location, scale = self.scaler.location.numpy(), float(self.scaler.scale)
        rounding = self.scaler.rounding.numpy()
        farthest, low, high = 0.0, np.inf, -np.inf
        found = ((chunk.min(axis=0), chunk.max(axis=0)) for chunk in self.source.chunks())
        extremes = self.source.extremes
        for ends in found if extremes is None else [extremes]:
            lows, highs = (np.asarray(end, np.float64) for end in ends)  # (d,)
            low, high = min(low, float(lows.min())), max(high, float(highs.max()))
            deviations = np.maximum(location - lows, highs - location)
            deviations[deviations <= rounding] = 0.0
            farthest = max(farthest, float(deviations.max()) / scale)
        limit = (float(np.finfo(np.float32).max) / self.n_features) ** 0.5
        if not farthest <= limit:
            raise ValueError(
                f"{name} must hold numbers whose squares are finite in float32 in the units of the networks, "
                f"less location_ and divided by scale_: at most {limit:.3g} in size. Got {farthest:.3g}, for "
                f"values from {low!r} to {high!r}: scale the rows before fitting, or leave such rows out."
            )

    def choose(self, n_rows: int, seed: int) -> Tensor:
        """Return at most ``n_rows`` different rows, chosen at random: (m, d)."""
        return self._read(self._chosen(n_rows, seed))

    def chosen_batches(
        self, n_rows: int, seed: int, n_numbers: int = CHUNK_NUMBERS, every: int = 1
    ) -> Iterator[Tensor]:
        """Return the rows of :meth:`choose`, but in order, and as many at a time as hold ``n_numbers``.

        With ``every`` above 1 it is one batch of so many, and the others are not read.
        """
        drawn = self.subset(n_rows, seed)
        for index in list(gen_batches(len(drawn), chunk_rows(self.n_features, n_numbers)))[::every]:
            yield drawn._read(np.arange(len(drawn))[index])

    def subset(self, n_rows: int, seed: int) -> TrainingRows:
        """Return the rows of :meth:`choose`, in order.

        They are read when they are needed, but for a few of a source that is not in memory: those are read
        once, and kept until others are asked for.
        """
        chosen = np.sort(self._chosen(n_rows, seed))
        if in_memory(self.source) or len(chosen) * self.n_features > _KEPT_NUMBERS:
            return TrainingRows(Subset(self.source, chosen), self.scaler, self.clamp)
        if self._drawn is None or self._drawn[0] != (n_rows, seed):
            drawn = TrainingRows(ArrayData(self.source.read(chosen)), self.scaler, self.clamp)
            self._drawn = (n_rows, seed), drawn
        return self._drawn[1]

    def _chosen(self, n_rows: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).choice(len(self), size=min(n_rows, len(self)), replace=False)

    def _read(self, index: np.ndarray) -> Tensor:
        """Return these rows; what it takes to prepare them is little memory, however many they are."""
        x = torch.empty((len(index), self.n_features), dtype=torch.float32, device="cpu")
        order = np.argsort(index)  # a source that is read block by block is read once
        for part in gen_batches(len(index), chunk_rows(self.n_features)):
            rows = order[part]
            x[torch.from_numpy(rows)] = self.prepare(as_tensor(self.source.read(index[rows])))
        return x

    def batches(self, n_rows: int | None = None) -> Iterator[Tensor]:
        """Return all rows in order, ``n_rows`` at a time, or as :meth:`DataSource.chunks` has them."""
        for chunk in self.source.chunks() if n_rows is None else self.source.chunks(n_rows):
            yield self.prepare(as_tensor(chunk))

    def mean(self) -> Tensor:
        """Return the mean row, in float64: (d,). Where all rows are equal it is that row, to the bit."""
        return mean_row(self.batches())

    def total_variance(self) -> float:
        """Return the sum of the variances of the features."""
        mean = self.mean()
        return float(sum((x.double() - mean).square().sum() for x in self.batches()) / len(self))


def mean_row(batches: Iterable[Tensor]) -> Tensor:
    """Return the mean of all rows of the batches, in float64: (d,). Equal rows have it to the bit."""
    first: Tensor | None = None
    total: Tensor | float = 0.0
    n_rows = 0
    for x in batches:
        first = x[0].double() if first is None else first
        total, n_rows = total + (x.double() - first).sum(dim=0), n_rows + len(x)
    assert first is not None
    return first + total / n_rows
