"""Rows of a table: what they consist of, what the encoder sees of them, and what they cost by column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skswae._random import normal_like
from skswae.modules._heads import _RATE, SMALLEST_SCALE, Likelihood

MISSING, HIDDEN, SHOWN = 0.0, 0.5, 1.0
"""States of a cell: it has no value; it has one that the encoder does not see; it has one."""
_STATE_WEIGHT = 0.1  # of the cost of telling which cells are missing, over that of a column
_LOGIT_TILT = 3.0  # of the logits of a level, at the start, from a row without to one with it


@dataclass(frozen=True)
class Columns:
    """Description of a row of a table: numbers, booleans, categories, and the state of each cell.

    A row is x of shape (d,), d = d_v + C: the values of C columns, first those of numbers, then booleans,
    then categories of L levels, L numbers each, by ascending L; and the state of each column's cell. A value
    is ``(raw - location) / unit``, where raw is a number, 0 or 1, or L of them; 0 where the cell is missing.

    Attributes
    ----------
    n_numbers, n_booleans : int
    widths : tuple of int
        L of each category.
    location : ndarray of shape (d_v,)
        Means of the observed cells: for a boolean the share of True, for a category those of its levels.
    unit : ndarray of shape (d_v,)
        What makes the variance of a column 1, summed over the levels of a category.
    observed : ndarray of shape (C,)
        Share of the training rows that have a value.
    weights : ndarray of shape (C,)
        Weight of each column's cost.
    targets : tuple of int
        Columns that the encoder never sees.
    hidden_share : float
        Mean share of the cells that are hidden from the encoder in training.
    """

    n_numbers: int
    n_booleans: int
    widths: tuple[int, ...]
    location: np.ndarray
    unit: np.ndarray
    observed: np.ndarray
    weights: np.ndarray
    targets: tuple[int, ...] = ()
    hidden_share: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Columns:
        """Make it of plain values, as :meth:`plain` gives them."""
        made = cls(**{**values, "widths": tuple(values["widths"]), "targets": tuple(values["targets"])})
        made._check()
        return made

    def _check(self) -> None:
        """Raise ValueError unless rows can be like this, for a file may say anything."""
        counts = (self.n_numbers, self.n_booleans, *self.widths, *self.targets)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"Columns must be counted in integers of at least 0. Got {counts}.")
        widths = [2, *self.widths]
        if widths != sorted(widths) or not all(target < self.n_columns for target in self.targets):
            raise ValueError(
                "Widths of categories must be at least 2 and ascend, and targets be columns. "
                f"Got {self.widths} and {self.targets}."
            )
        n, large, small = self.n_numbers, np.finfo(np.float64).max, np.finfo(np.float32).tiny
        for name, values, size, least, most in (
            ("location", self.location, self.n_values, -large, large),
            ("location", self.location[n:], self.n_values - n, 0.0, 1.0),  # shares
            ("unit", self.unit, self.n_values, small, large),
            ("observed", self.observed, self.n_columns, 0.0, 1.0),
            ("weights", self.weights, self.n_columns, 0.0, large),
            ("hidden_share", np.array([self.hidden_share]), 1, 0.0, 0.25),
        ):
            if values.shape != (size,) or not ((values >= least) & (values <= most)).all():
                raise ValueError(f"The {name} of columns must be {size} numbers in [{least:g}, {most:g}].")

    def plain(self) -> dict[str, Any]:
        """Return the attributes by name, as values that a model file holds."""
        return dict(vars(self))

    @property
    def n_columns(self) -> int:
        """C."""
        return self.n_numbers + self.n_booleans + len(self.widths)

    @property
    def n_values(self) -> int:
        """d_v, the number of values of a row."""
        return self.n_numbers + self.n_booleans + sum(self.widths)

    @property
    def n_features(self) -> int:
        """d = d_v + C."""
        return self.n_values + self.n_columns

    def owner(self) -> np.ndarray:
        """Return the column that each value belongs to: (d_v,)."""
        width = [1] * (self.n_numbers + self.n_booleans) + list(self.widths)
        return np.repeat(np.arange(self.n_columns), width)

    def starts(self) -> np.ndarray:
        """Return the first value of each column: (C,)."""
        return np.searchsorted(self.owner(), np.arange(self.n_columns))

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """Yield where the values of categories of one L begin and end, and L."""
        start = self.n_numbers + self.n_booleans
        for width in sorted(set(self.widths)):
            stop = start + width * self.widths.count(width)
            yield start, stop, width
            start = stop

    def rows(self, cells: np.ndarray) -> np.ndarray:
        """Return the row of each table row's cells: (n, C) -> (n, d).

        A cell is a number, 0 or 1, or the index of a level, -1 for one that is unknown; NaN if it is missing.
        """
        n, first = len(cells), self.n_numbers + self.n_booleans
        observed = ~np.isnan(cells)
        raw = np.zeros((n, self.n_values))
        raw[:, :first] = cells[:, :first]
        start = first
        for column, width in enumerate(self.widths, start=first):
            level = np.where(observed[:, column], cells[:, column], -1.0).astype(np.int64)
            row = np.flatnonzero(level >= 0)
            raw[row, start + level[row]] = 1.0
            start += width
        values = (raw - self.location) / self.unit
        values[~observed[:, self.owner()]] = 0.0
        state = np.where(observed, SHOWN, MISSING)
        state[:, list(self.targets)] *= HIDDEN
        return np.concatenate([values, state], axis=1)

    def cells(self, x: np.ndarray) -> np.ndarray:
        """Return the cells of rows, of categories and booleans the likelier: (n, d) -> (n, C), no NaN."""
        raw = x[:, : self.n_values].astype(np.float64) * self.unit + self.location
        first = self.n_numbers + self.n_booleans
        found = np.empty((len(x), self.n_columns))
        found[:, : self.n_numbers] = raw[:, : self.n_numbers]
        found[:, self.n_numbers : first] = raw[:, self.n_numbers : first] > 0.5
        start = first
        for column, width in enumerate(self.widths, start=first):
            found[:, column] = raw[:, start : start + width].argmax(axis=1)
            start += width
        return found


class ColumnsFront(nn.Module):
    """Map rows of a table to the encoder's input: the values that are shown, and which they are.

    Takes the place of :class:`~skswae.modules._front.Front`: h = (v s, s), s = 1 for a cell that is shown.

    Parameters
    ----------
    columns : Columns
    """

    reduces = False
    owner: Tensor

    def __init__(self, columns: Columns):
        super().__init__()
        self.n_inputs = columns.n_features
        self.n_values = columns.n_values
        self.hidden_share = columns.hidden_share
        self.register_buffer("owner", torch.from_numpy(columns.owner()), persistent=False)

    def initialize(self, found: Any) -> None:
        """Do nothing: there is nothing to set."""

    def behind(self, start: Any) -> Any:
        """Return the start as it is."""
        return start

    def inverse(self, h: Tensor) -> Tensor:
        """Return the row of what an encoder sees: (n, d) -> (n, d)."""
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Return what the encoders see of each row: (n, d) -> (n, d)."""
        shown = (x[:, self.n_values :] == SHOWN).to(x.dtype)
        return torch.cat([x[:, : self.n_values] * shown[:, self.owner], shown], dim=1)

    def seen(self, h: Tensor) -> Tensor:
        """Return 1 for each value that is shown, 0 for others and for states: (n, d) -> (n, d)."""
        shown = h[:, self.n_values :]
        return torch.cat([shown[:, self.owner], torch.zeros_like(shown)], dim=1)

    def with_hidden_cells(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Hide cells at random: none in half of the rows, in others a share from 0 to 4 times the mean one.

        Only what is shown is hidden: (n, d) -> (n, d).
        """
        if not self.hidden_share:
            return x
        state = x[:, self.n_values :]
        uniform = torch.special.ndtr(normal_like(x[:, self.n_values - 1 :], generator))  # (n, 1 + C)
        share = 4.0 * self.hidden_share * (2.0 * uniform[:, :1] - 1.0)  # below 0 in half of the rows
        hides = (uniform[:, 1:] < share) & (state == SHOWN)
        return torch.cat([x[:, : self.n_values], state.masked_fill(hides, HIDDEN)], dim=1)


class ColumnsHead(Likelihood):
    """Cost of a row of a table: a sum over the columns whose cells have a value.

    A number costs the squared error, or minus a Gaussian log-density with a learned scale; a boolean and a
    category the cross-entropy. As a cost all are divided by what decoding every row to the column's mean (to
    its shares) costs, so that columns are comparable: 1 each. As a likelihood they are nats. Which cells are
    missing is predicted, too, in columns where some are.

    Parameters
    ----------
    columns : Columns
    is_likelihood : bool
        Whether the cost is minus log p(x | z).

    Attributes
    ----------
    scale : Tensor of shape (n_numbers,)
        Of the noise of numbers, in the units of the networks: learned with a likelihood, else 1 until
        :meth:`set_noise` is called.
    hidden_noise : Tensor of shape (n_numbers,)
        The same given a code that has not seen the number.
    """

    location: Tensor
    unit: Tensor
    owner: Tensor
    log_odds: Tensor
    log_shares: Tensor
    state_odds: Tensor
    price: Tensor
    state_price: Tensor
    present: Tensor
    noise: Tensor
    hidden_noise: Tensor

    def __init__(self, columns: Columns, is_likelihood: bool):
        super().__init__("identity")
        self.is_likelihood = is_likelihood
        self.n_numbers = n = columns.n_numbers
        self.first = n + columns.n_booleans  # value of a category
        self.n_values = columns.n_values
        self.buckets = list(columns.buckets())

        def keep(name: str, values: Any) -> None:
            numbers = torch.tensor(np.asarray(values).tolist(), dtype=torch.float32)
            self.register_buffer(name, numbers, persistent=False)

        self.register_buffer("owner", torch.from_numpy(columns.owner()), persistent=False)
        keep("location", columns.location)
        keep("unit", columns.unit)
        p = np.clip(columns.location[n:], 1e-6, 1.0 - 1e-6)
        q = np.clip(columns.observed, 1e-3, 1.0 - 1e-3)
        b = p[: columns.n_booleans]
        keep("log_odds", np.log(b / (1 - b)))
        keep("log_shares", np.log(p[columns.n_booleans :]))
        keep("state_odds", np.log(q / (1 - q)))
        entropy = [1.0] * n + list(_binary_entropy(b))
        for start, stop, width in self.buckets:
            f = p[start - n : stop - n].reshape(-1, width)
            entropy += list(-(f * np.log(f)).sum(axis=1))
        price = np.ones(columns.n_columns) if is_likelihood else 1.0 / np.array(entropy)
        keep("price", columns.weights * price)  # (C,)
        holes = (columns.observed < 1.0) & ~np.isin(np.arange(columns.n_columns), columns.targets)
        state_price = np.ones(columns.n_columns) if is_likelihood else _STATE_WEIGHT / _binary_entropy(q)
        keep("state_price", np.where(holes, state_price, 0.0))
        is_target = np.isin(np.arange(columns.n_columns), columns.targets)
        keep("present", np.where(is_target, HIDDEN, SHOWN))
        self.has_holes = bool(holes.any())
        self.register_buffer("hidden_noise", torch.ones(n, dtype=torch.float32))
        if is_likelihood:
            self.log_scale = nn.Parameter(torch.zeros(n, dtype=torch.float32))
        else:
            self.register_buffer("noise", torch.ones(n, dtype=torch.float32))

    # -- what a row is -------------------------------------------------------

    @property
    def scale(self) -> Tensor:
        """Standard deviation of numbers given the code: (n_numbers,)."""
        if not self.is_likelihood:
            return self.noise
        return torch.sqrt(torch.exp(2.0 * _RATE * self.log_scale) + SMALLEST_SCALE**2)

    @torch.no_grad()
    def set_noise(self, variances: Tensor, hidden: Tensor) -> None:
        """Set the variances of numbers given the code, and given one that has not seen them: (n_numbers,)."""
        if not self.is_likelihood:  # which has learned its own
            self.noise.copy_(variances.clamp(min=SMALLEST_SCALE**2).sqrt())
        self.hidden_noise.copy_(hidden.clamp(min=SMALLEST_SCALE**2).sqrt())

    def initialize(self, squared_errors: Tensor, variances: Tensor) -> None:
        if self.is_likelihood:
            n = self.n_numbers
            with torch.no_grad():
                self.log_scale.copy_(0.5 * squared_errors[:n].clamp(min=SMALLEST_SCALE**2).log() / _RATE)

    def _state(self, x: Tensor) -> Tensor:
        return x[:, self.n_values :]

    def observed(self, x: Tensor) -> Tensor:
        """Return whether each cell has a value: (n, d) -> (n, C)."""
        return self._state(x) > MISSING

    def compared(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return the means of the cells that have a value, and what x has elsewhere: (n, d), (n, d)."""
        observed = self.observed(x)
        counts = torch.cat([observed[:, self.owner], torch.zeros_like(observed)], dim=1)
        return torch.where(counts, mean, x)

    def levels(self, a: Tensor) -> Iterator[Tensor]:
        """Yield what belongs to the categories of one number of levels L: (n, columns, L)."""
        for start, stop, width in self.buckets:
            yield a[:, start:stop].unflatten(1, (-1, width))

    def raw(self, x: Tensor) -> Tensor:
        """Return numbers, and 0 or 1 (or a probability) of booleans and levels: (n, d) -> (n, d_v)."""
        return x[:, : self.n_values] * self.unit + self.location

    def with_states(self, raw: Tensor, state: Tensor) -> Tensor:
        """Return rows of raw values and states: (n, d_v), (n, C) -> (n, d)."""
        return torch.cat([(raw - self.location) / self.unit, state], dim=1)

    def probabilities(self, output: Tensor) -> Tensor:
        """Return numbers as they are, in raw units, and probabilities of levels: (n, d) -> (n, d_v)."""
        n, first = self.n_numbers, self.first
        parts = [
            output[:, :n] * self.unit[:n] + self.location[:n],
            torch.sigmoid(output[:, n:first]),
            *(logits.softmax(dim=2).flatten(1) for logits in self.levels(output)),
        ]
        return torch.cat(parts, dim=1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the mean row, all of whose cells have a value: (n, d) -> (n, d)."""
        return self.with_states(self.probabilities(output), self.present.to(output).expand(len(output), -1))

    def inverse(self, x: Tensor, spread: Tensor) -> Tensor:
        """Return an output whose mean is about x, linear in x; the mean row's is its mean."""
        n, first = self.n_numbers, self.first
        raw = self.raw(x)
        deviation = raw - self.location
        booleans = self.log_odds + 2.0 * _LOGIT_TILT * deviation[:, n:first]
        levels = self.log_shares + _LOGIT_TILT * deviation[:, first:]
        state = self.state_odds + 2.0 * _LOGIT_TILT * (self._state(x) - torch.sigmoid(self.state_odds))
        return torch.cat([x[:, :n], booleans, levels, state], dim=1).to(x.dtype)

    # -- what a row costs ------------------------------------------------------

    def column_costs(self, x: Tensor, output: Tensor) -> Tensor:
        """Return what each cell costs, 0 where it has no value, without weights: (n, d), (n, d) -> (n, C).

        Squared errors of numbers, with a likelihood minus their log-densities, and nats of the others.
        """
        n = self.n_numbers
        numbers = (x[:, :n] - output[:, :n]).square()
        if self.is_likelihood:
            scale = self.scale
            numbers = 0.5 * (numbers / scale.square() + math.log(2.0 * math.pi)) + scale.log()
        return torch.cat([numbers, self.level_costs(x, output)], dim=1) * self.observed(x)

    def level_costs(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the cross-entropies of booleans and categories, in nats: (n, d) each -> (n, C - n)."""
        n, first, raw = self.n_numbers, self.first, self.raw(x)
        booleans = nn.functional.binary_cross_entropy_with_logits(
            output[:, n:first], raw[:, n:first], reduction="none"
        )
        parts = [booleans]
        for logits, p in zip(self.levels(output), self.levels(raw)):
            parts.append(-(p * logits.log_softmax(dim=2)).sum(dim=2))
        return torch.cat(parts, dim=1)

    def cost(self, x: Tensor, output: Tensor) -> Tensor:
        costs = self.column_costs(x, output) @ self.price
        if not self.has_holes:
            return costs
        observed = self.observed(x).to(output.dtype)
        states = nn.functional.binary_cross_entropy_with_logits(
            self._state(output), observed, reduction="none"
        )
        return costs + states @ self.state_price

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        return -self.cost(x, output)

    def draw(self, output: Tensor, generator: torch.Generator, hidden: bool = False) -> Tensor:
        """Draw a row, and which of its cells are missing, for each output: (n, d) -> (n, d).

        ``hidden`` is whether the code has not seen what is drawn.
        """
        n, first = self.n_numbers, self.first
        raw, scale = self.probabilities(output), self.hidden_noise if hidden else self.scale
        numbers = raw[:, :n] + self.unit[:n] * scale * normal_like(raw[:, :n], generator)
        parts = [numbers, torch.bernoulli(raw[:, n:first], generator=generator)]
        for p in self.levels(raw):
            drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator)
            parts.append(torch.zeros_like(p).flatten(0, 1).scatter_(1, drawn, 1.0).reshape(len(p), -1))
        state = torch.bernoulli(torch.sigmoid(self._state(output)), generator=generator)
        state = torch.where(self.state_price > 0.0, state, 1.0) * self.present
        return self.with_states(torch.cat(parts, dim=1), state).to(output.dtype)


def _binary_entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p) + (1.0 - p) * np.log1p(-p))
