"""The monotone map between a column's numbers and scores that are about standard normal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

MAX_SCORE = 1e6
"""Bound of scores, so that a number however far out has a finite one whose square is finite too."""

N_KNOTS = 1000
"""Distinct numbers up to which all are knots of a map."""


@dataclass(frozen=True, eq=False)
class MonotoneMap:
    """A piecewise linear map of numbers to scores, with steps where numbers are tied.

    Between knots both ways are linear. Each knot has an interval of scores: one score for a number that
    occurs once, and as much as its share of the rows for one that occurs often. Such a number becomes the
    middle of the interval, and each score in the interval becomes the number. Beyond the knots, scores grow
    by 1 for each ``spread``, up to 1e6; scores beyond those of the knots become the first and the last knot.

    Parameters
    ----------
    knots : ndarray of shape (k,), float64
        Ascending numbers, over 2**exponent.
    left, middle, right : ndarray of shape (k,), float64
        Of the intervals of scores.
    spread : float
        Standard deviation of the numbers, over 2**exponent.
    exponent : int
        Power of 2 near the largest number, so that no difference of numbers overflows or underflows.
    low, high : float
        The first and the last knot.
    """

    knots: np.ndarray
    left: np.ndarray
    middle: np.ndarray
    right: np.ndarray
    spread: float
    exponent: int
    low: float
    high: float

    @classmethod
    def fit(cls, values: np.ndarray, kind: str) -> MonotoneMap:
        """Return the map of a column.

        Parameters
        ----------
        values : ndarray of shape (n,), float64
            Finite, with two distinct numbers or more.
        kind : {"quantile", "standard"}
            "quantile" takes a number to the standard normal score of its mid-rank (the share of smaller
            numbers and half of the share of equal ones). Of more than 1,000 distinct numbers, about 1,000 are
            knots, besides those that more than 0.1 % of the rows have: the others lie linearly between them.
            "standard" subtracts the mean and divides by the standard deviation.
        """
        exponent = int(np.frexp(np.abs(values).max())[1])
        scaled = np.ldexp(values, -exponent)
        mean, spread = scaled.mean(), float(scaled.std())
        knots, counts = np.unique(scaled, return_counts=True)
        spread = spread if spread > 0 else float(knots[-1] - knots[0])  # neighbours of float64
        if kind == "standard":
            knots = knots[[0, -1]]
            left = middle = right = (knots - mean) / spread
        else:
            above = np.cumsum(counts) / len(values)
            below = above - counts / len(values)
            middle = ndtri((above + below) / 2)
            tied = counts > max(1, len(values) // N_KNOTS)
            left = np.where(tied, ndtri(np.maximum(below, 0)), middle)
            right = np.where(tied, ndtri(np.minimum(above, 1)), middle)
            right[:-1] = np.where(tied[:-1] & tied[1:], left[1:], right[:-1])  # the same but for rounding
            left[0], right[-1] = middle[0], middle[-1]  # whose intervals have no end
            kept = _kept(middle, tied)
            knots, left, middle, right = knots[kept], left[kept], middle[kept], right[kept]
        low, high = float(values.min()), float(values.max())
        return cls(knots, left, middle, right, spread, exponent, low, high)

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return the scores of numbers, NaN where they are."""
        return self._scores(values, self.middle)

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Return the scores between which numbers of [low, high] lie; infinite at the ends of the knots."""
        lowest = -np.inf if low <= self.low else float(self._scores(np.array([low]), self.left)[0])
        highest = np.inf
        if high < self.high:
            highest = float(self._scores(np.array([high]), self.right)[0])
            if self.values(np.array([highest]))[0] > high:  # where the interval of the next knot begins
                highest = float(np.nextafter(highest, -np.inf))
        return lowest, max(lowest, highest)

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Return the numbers of scores, in [low, high], NaN where they are."""
        at = np.stack([self.left, self.right], axis=1).ravel()
        found = np.interp(scores, at, np.repeat(self.knots, 2))
        return np.clip(np.ldexp(found, self.exponent), self.low, self.high)

    def state(self) -> dict[str, Any]:
        """Return the arguments of the class by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MonotoneMap:
        """Return the map that :meth:`state` has described."""
        made = cls(**state)
        scores = np.stack([made.left, made.middle, made.right], axis=-1)
        ends = np.ldexp([made.low, made.high], -made.exponent)
        if not (
            scores.shape == (len(made.knots), 3)
            and (np.diff(made.knots) > 0).all()
            and (np.diff(scores.ravel()) >= 0).all()
            and np.isfinite(scores).all()
            and np.array_equal([*made.knots[:1], *made.knots[-1:]], ends)
            and -np.inf < made.low < made.high < np.inf
            and 0 < made.spread < np.inf
        ):
            raise ValueError("A map of numbers must have ascending knots, from low to high, and scores.")
        return made

    def _scores(self, values: np.ndarray, of_knots: np.ndarray) -> np.ndarray:
        last = len(self.knots) - 1
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            x = np.ldexp(values, -self.exponent)
            above = np.searchsorted(self.knots, x)
            lower, upper = np.clip(above - 1, 0, last), np.clip(above, 0, last)
            share = (x - self.knots[lower]) / (self.knots[upper] - self.knots[lower])
            found = self.right[lower] + share * (self.left[upper] - self.right[lower])
            found = np.where(x == self.knots[upper], of_knots[upper], found)
            found = np.where(x < self.knots[0], self.left[0] - (self.knots[0] - x) / self.spread, found)
            found = np.where(x > self.knots[-1], self.right[-1] + (x - self.knots[-1]) / self.spread, found)
        return np.clip(found, -MAX_SCORE, MAX_SCORE)


def _kept(scores: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Return which distinct numbers are knots: the tied, the ends, and others evenly by rank and by score."""
    if len(scores) <= N_KNOTS:
        return np.ones(len(scores), dtype=bool)
    kept = tied.copy()
    by_rank = ndtri(np.linspace(ndtr(scores[0]), ndtr(scores[-1]), N_KNOTS // 2))
    by_score = np.linspace(scores[0], scores[-1], N_KNOTS // 2)
    for wanted in (by_rank, by_score):
        kept[np.minimum(np.searchsorted(scores, wanted), len(scores) - 1)] = True
    kept[[0, -1]] = True
    return kept
