"""Rows that meet a condition: codes drawn by importance sampling, and cells drawn within the condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import torch
from torch import Tensor

from skswae._device import arithmetic, as_array, own_settings
from skswae._random import make_generator, named_seed
from skswae.modules._columns import SHOWN, ColumnsHead

MAX_DRAWS = 200_000
"""Codes that are drawn for a condition before it is given up."""
_DRAWS = 4000  # at a time
_PER_COMPONENT = 8  # codes of each component of a mixture, which tell how well it fits
_EXPLORING = 0.1  # share of the draws that are of the prior itself
_TOO_FEW = 5.0  # effective codes
_IMPOSSIBLE = -1e6  # log-weight of a code that cannot fit


@dataclass(frozen=True)
class Condition:
    """Condition on one column, in the order and the units of the networks.

    Attributes
    ----------
    column : int
    start : int
        The column's first value.
    levels : tuple of int or None
        Allowed levels of a category, or of a boolean, 0 and 1; None for a number.
    low, high : float
        Range of a number; equal for one value.
    is_single : bool
        Whether it asks for one value of a number that few rows have, whose probability may be very small.
    """

    column: int
    start: int
    levels: tuple[int, ...] | None = None
    low: float = -math.inf
    high: float = math.inf
    is_single: bool = False

    @property
    def is_point(self) -> bool:
        """Whether it is one value of a number."""
        return self.levels is None and self.low == self.high


def log_probability(head: ColumnsHead, output: Tensor, conditions: Sequence[Condition]) -> Tensor:
    """Return log p(conditions | z) of each decoded code; of single numbers a log-density: (n, d) -> (n,)."""
    p = head.probabilities(output)
    total = output.new_zeros(len(output))
    for c in conditions:
        if c.levels is None:
            mean, scale = output[:, c.start], head.scale[c.start]
            if c.is_point:
                total = total - 0.5 * ((c.low - mean) / scale).square() - scale.log()
            else:
                total = total + _log_mass((c.low - mean) / scale, (c.high - mean) / scale)
        else:
            total = total + _allowed(head, p, c).sum(dim=1).log()
    return total


def _allowed(head: ColumnsHead, p: Tensor, c: Condition) -> Tensor:
    """Return the probabilities of the allowed levels: (n, d_v) -> (n, number of them)."""
    assert c.levels is not None
    if c.start < head.first:  # a boolean
        share = p[:, c.start : c.start + 1]
        return torch.cat([1.0 - share, share], dim=1)[:, list(c.levels)]
    return p[:, [c.start + level for level in c.levels]]


def _log_mass(low: Tensor, high: Tensor) -> Tensor:
    """Return the log-probability of a standard normal between two numbers, also far from 0."""
    above = low > 0.0  # there the mirrored one is exact
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    upper = torch.special.log_ndtr(high)
    return upper + torch.log1p(-torch.exp(torch.special.log_ndtr(low) - upper))


def draw_codes(
    fitted: Any, n_samples: int, conditions: Sequence[Condition], prior: str, seed: int, n_rows: int
) -> np.ndarray:
    """Draw codes z ~ p(z | conditions), by self-normalised importance sampling: (n_samples, k).

    Codes are drawn from the prior, of a mixture more often of components that fit; their weights are
    p(conditions | z) p(z) / q(z). Enough are drawn for ``n_samples`` effective ones, 1 / sum_i w_i^2, but
    at most 200,000. Of these the result is drawn with their weights.

    Raises
    ------
    ValueError
        If fewer than 5 of these are effective, or the conditions' probability means less than one of the
        ``n_rows`` training rows.
    """
    proposal = _Proposal(fitted, conditions, prior, seed)
    rng = np.random.default_rng(named_seed(seed, "conditions"))
    enough = max(4 * _TOO_FEW, n_samples)
    codes: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    singles: list[np.ndarray] = []
    drawn, effective, log_w = 0, 0.0, np.zeros(0)
    while effective < enough and drawn < MAX_DRAWS:
        Z, own, single = proposal.draw(_DRAWS)
        codes.append(Z)
        weights.append(own)
        singles.append(single)
        drawn += len(Z)
        log_w = np.concatenate(weights)
        effective = _effective(log_w)
    # one value of many has hardly a probability: what counts is that of the others, given it
    found = math.inf
    if not all(c.is_single for c in conditions):
        found = math.exp(min(0.0, scipy.special.logsumexp(log_w) - scipy.special.logsumexp(singles)))
        if not any(c.is_single for c in conditions):
            found = float(np.exp(log_w).mean())
    if effective < _TOO_FEW or found * n_rows < 1.0:
        if found * n_rows < 1.0:
            why = f"It gives them a probability of about {found:.1g}"
        else:
            why = f"It drew {drawn:,} codes, of which hardly any fits"
        raise ValueError(
            f"The 'conditions' argument must describe rows that the model can draw. {why}: they are rarer "
            f"than {n_rows} training rows can tell. Give fewer conditions, or wider ones."
        )
    w = np.exp(log_w - log_w.max())
    return np.concatenate(codes)[rng.choice(len(w), n_samples, p=w / w.sum())]


def _effective(log_w: np.ndarray) -> float:
    if log_w.max() <= 0.5 * _IMPOSSIBLE:
        return 0.0
    w = np.exp(log_w - log_w.max())
    return float(w.sum() ** 2 / np.square(w).sum())


class _Proposal:
    """Codes of the prior, with the components of a mixture reweighted by how well they fit."""

    def __init__(self, fitted: Any, conditions: Sequence[Condition], prior: str, seed: int):
        self.fitted, self.conditions, self.prior = fitted, conditions, prior
        self.singles = [c for c in conditions if c.is_single]
        self.calls, self.seed = 0, named_seed(seed, "codes")
        self.mixture: tuple[Tensor, Tensor] | None = None
        estimator = fitted.estimator
        self.module = estimator._module_on_device()
        sampling = {name: getattr(estimator, name) for name in estimator._sampling_parameters}
        with own_settings(), torch.no_grad():
            found = self.module.prior_components(**sampling) if prior == "model" else None
        if found is None:
            return
        self.mixture = found[:2]
        self.w = as_array(found[2]).astype(np.float64)
        self.w /= self.w.sum()
        K = len(self.w)
        Z = self._of_components(np.repeat(np.arange(K), _PER_COMPONENT))
        fits = np.exp(self._log_probability(Z, conditions))
        fit = self.w * fits.reshape(K, -1).mean(axis=1)
        self.q = self.w
        if fit.sum() > 0.0:
            self.q = (1.0 - _EXPLORING) * fit / fit.sum() + _EXPLORING * self.w

    def draw(self, n_samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return codes, their log-weights, and those by single values alone: (n_samples, k), (n_samples,)."""
        if self.mixture is None:
            self.calls += 1
            seed = named_seed(self.seed, str(self.calls)) % 2**31
            Z = self.fitted.estimator._sample_codes(n_samples, self.prior, seed)
            return Z, self._log_probability(Z, self.conditions), self._log_probability(Z, self.singles)
        rng = np.random.default_rng(named_seed(self.seed, f"components {self.calls}"))
        chosen = rng.choice(len(self.q), n_samples, p=self.q)
        Z = self._of_components(chosen)
        # p(k) / q(k) of the component drawn: over all k its mean is p(z) / q(z)
        ratio = np.log(self.w[chosen] / self.q[chosen])
        found = [self._log_probability(Z, conditions) for conditions in (self.conditions, self.singles)]
        return Z, found[0] + ratio, found[1] + ratio

    def _of_components(self, chosen: np.ndarray) -> np.ndarray:
        assert self.mixture is not None
        self.calls += 1
        module = self.module
        with own_settings(), torch.no_grad(), arithmetic(module.device):
            generator = make_generator(named_seed(self.seed, str(self.calls)), module.device)
            index = torch.from_numpy(chosen).to(module.device)
            return as_array(module.sample_components(index, generator, *self.mixture))

    def _log_probability(self, Z: np.ndarray, conditions: Sequence[Condition]) -> np.ndarray:
        def clamped(head: ColumnsHead, output: Tensor) -> Tensor:  # what cannot be is no overflow
            return log_probability(head, output, conditions).clamp(min=_IMPOSSIBLE)

        return self.fitted.of_codes(Z.astype(np.float64), clamped)  # in float64, for narrow ranges


def draw_rows(
    head: ColumnsHead,
    output: Tensor,
    conditions: Sequence[Condition],
    generator: torch.Generator | None,
) -> Tensor:
    """Draw rows that meet the conditions; without a generator means and modes that do: (n, d) -> (n, d)."""
    x = head.mean(output) if generator is None else head.draw(output, generator)
    raw, state, p = head.raw(x), x[:, head.n_values :].clone(), head.probabilities(output)
    for c in conditions:
        state[:, c.column] = SHOWN
        if c.levels is None:
            mean, scale = output[:, c.start], head.scale[c.start]
            if c.is_point:
                values = torch.full_like(mean, c.low)
            elif generator is None:
                values = mean.clamp(c.low, c.high)
            else:
                values = _truncated(mean, scale, c.low, c.high, generator)
            raw[:, c.start] = values * head.unit[c.start] + head.location[c.start]
            continue
        allowed = _allowed(head, p, c)
        if generator is None:
            level = allowed.argmax(dim=1)
        else:
            level = torch.multinomial(allowed.clamp(min=1e-30), 1, generator=generator)[:, 0]
        level = torch.tensor(c.levels, device=level.device)[level]
        if c.start < head.first:
            raw[:, c.start] = level.to(raw.dtype)
        else:
            width = int((head.owner == c.column).sum())
            raw[:, c.start : c.start + width] = torch.nn.functional.one_hot(level, width).to(raw.dtype)
    return head.with_states(raw, state)


def _truncated(mean: Tensor, scale: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw from a normal distribution within a range, in float64: (n,), () -> (n,)."""
    mean, scale = mean.double(), scale.double()
    a, b = (low - mean) / scale, (high - mean) / scale
    mirrored = a > 0.0
    a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    uniform = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    lower, upper = torch.special.ndtr(a), torch.special.ndtr(b)
    drawn = torch.special.ndtri(lower + uniform * (upper - lower))
    drawn = torch.where(drawn.isfinite(), drawn, b)  # so far out there is nothing but the nearer end
    drawn = torch.where(mirrored, -drawn, drawn)
    return (mean + scale * drawn).clamp(low, high)
