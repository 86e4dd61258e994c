"""Conditions on the columns of rows that are to be drawn."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from skswae.tabular._columns import Column
from skswae.tabular._frames import TICKS, UNITS, Field

_HALF = 0.499  # within which all is rounded to a whole number


@dataclass(frozen=True, eq=False)
class Condition:
    """The values that a column may have.

    Parameters
    ----------
    index : int
        Position of the column.
    name : str or int
    kind : {"number", "category", "boolean", "constant"}
    levels : ndarray of shape (n_allowed,), int64, or None
        Indices of the levels, None of numbers.
    low, high : float
        The closed range of a number, within the seen one, as ``TableCodec.values`` has it.
    low_score, high_score : float
        The scores in between which a number's cell is in the range, once whole numbers are rounded: infinite
        at the ends of the seen range.
    slack : float
        By how much a number may be beyond the range, for scores are rounded: 1e-9 of the seen range, or
        nearly 0.5 of whole numbers.
    """

    index: int
    name: Any
    kind: str
    levels: np.ndarray | None = None
    low: float = -np.inf
    high: float = np.inf
    low_score: float = -np.inf
    high_score: float = np.inf
    slack: float = 0.0

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Tell of which values of the column, as ``TableCodec.values`` has them, the condition is true.

        Those of numbers may be beyond the range by ``slack``: clip them to [low, high].
        """
        if self.levels is not None:
            return np.isin(values, self.levels)
        return (self.low - self.slack <= values) & (values <= self.high + self.slack)


def condition(index: int, column: Column, field: Field, value: Any) -> Condition:
    """Return the condition of a column that a value stands for; see ``TableCodec.condition``."""
    if column.known:
        return Condition(index, column.name, column.kind, _levels(column, value))
    ends = value if isinstance(value, tuple) else (value, value)
    if len(ends) != 2 or (not isinstance(value, tuple) and value is None):
        raise _error(
            column, "a number or a tuple of two, (low, high), either of which may be None", repr(value)
        )
    low, high = (_number(column, field, end) for end in ends)
    if low is not None and high is not None and low > high:
        raise _error(column, "a range whose low end is at most its high end", repr(value))
    low, high = column.low if low is None else low, column.high if high is None else high
    if high < column.low or low > column.high:
        seen = f"{_shown(column, field, column.low)} to {_shown(column, field, column.high)}"
        raise _error(column, f"one that meets the seen range, {seen}", repr(value))
    low, high = max(low, column.low), min(high, column.high)
    if column.is_integer:
        low, high = _whole(column, low, high, value)
    low, high = float(low), float(high)
    slack = 1e-9 * (column.high / 2 - column.low / 2)  # whose difference may overflow
    reach = 0.0
    if column.is_integer:
        slack = reach = _HALF
    if column.map is None:
        return Condition(index, column.name, column.kind, None, low, high)
    scores = column.map.bounds(low - reach, high + reach)
    return Condition(index, column.name, column.kind, None, low, high, *scores, slack)


def _error(column: Column, wanted: str, got: str) -> ValueError:
    return ValueError(f"The condition on column {column.name!r} must be {wanted}. Got {got}.")


def _whole(column: Column, low: Any, high: Any, value: Any) -> tuple[float, float]:
    """Return the first and the last whole number of a range that float64 has."""
    first, last = math.ceil(low), math.floor(high)
    if first > last:
        raise _error(column, "a range with a whole number (of days, say, of dates) in it", repr(value))
    low, high = float(first), float(last)
    low = low if low >= first else float(np.nextafter(low, np.inf))
    high = high if high <= last else float(np.nextafter(high, -np.inf))
    if low > high:
        raise _error(
            column,
            "a wider range: the column spans more than 2**53 whole numbers, which are kept as float64, and "
            "these have none in it",
            repr(value),
        )
    return low, high


def _levels(column: Column, value: Any) -> np.ndarray:
    """Return indices of the levels of a label or several."""
    several = isinstance(value, list | tuple | set | frozenset | np.ndarray)
    labels: list[Any] = list(value) if several else [value]
    if not labels:
        raise _error(column, "a label or a list of labels", repr(value))
    known = dict(zip(column.known, range(len(column.known))))
    found = set()
    for label in labels:
        code = None
        if label.__hash__ is not None:
            code = known.get(label)
        if code is None:
            more = ", ..." if len(known) > 10 else ""
            raise _error(
                column, f"of its levels, {', '.join(map(repr, column.known[:10]))}{more}", repr(label)
            )
        level = int(column.level_of[code])
        if column.levels[level] != label:
            raise _error(column, "of no rare level: the 'min_frequency' parameter merges them", repr(label))
        found.add(level)
    return np.array(sorted(found), dtype=np.int64)


def _number(column: Column, field: Field, value: Any) -> Fraction | float | None:
    """Return an end of a range as the column's values are, but exact; None if it is open."""
    if value is None:
        return None
    if field.kind in TICKS:
        ticks, unit, zoned = _time(column, field, value)
        if zoned != field.zoned:
            wanted = "a time with a time zone" if field.zoned else "no time with a time zone"
            raise _error(column, f"{wanted}, as in the column", repr(value))
        ticks_of_field = Fraction(ticks * UNITS[unit], UNITS[str(field.unit)])
        return (ticks_of_field - column.origin) / column.step
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise _error(column, "a number or a tuple of two, (low, high)", repr(value))
    exact = int(value) if isinstance(value, int | np.integer) else float(value)
    if exact != exact:
        raise _error(column, "no missing value", repr(value))
    return exact if exact in (np.inf, -np.inf) else Fraction(exact) - column.origin


def _time(column: Column, field: Field, value: Any) -> tuple[int, str, bool]:
    """Return a time as a whole number of a unit, and whether it has a time zone."""
    zoned = False
    if field.kind == "time":
        if not isinstance(value, datetime.time):
            raise _error(column, "a datetime.time or a tuple of two, (low, high)", repr(value))
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return (seconds * 10**6 + value.microsecond) * 1000, "ns", False
    wanted: Any = np.datetime64 if field.kind == "datetime" else np.timedelta64
    try:
        if isinstance(value, str) and field.kind == "datetime":
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime) and value.tzinfo is not None:
            zoned = True
            if hasattr(value, "tz_convert"):  # of pandas, which has nanoseconds
                value = value.tz_convert(None)
            else:
                value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        of_pandas = "to_datetime64" if field.kind == "datetime" else "to_timedelta64"
        exact = getattr(value, of_pandas)() if hasattr(value, of_pandas) else wanted(value)
    except (TypeError, ValueError) as error:
        raise _error(column, f"a {field.kind} or a tuple of two, (low, high)", repr(value)) from error
    if isinstance(value, int | float) or np.isnat(exact):
        raise _error(column, f"a {field.kind} or a tuple of two, (low, high)", repr(value))
    unit = np.datetime_data(exact.dtype)[0]
    if unit not in UNITS:
        unit, exact = "s", exact.astype(f"{exact.dtype.kind}8[s]")
    return int(exact.astype(np.int64)), unit, zoned


def _shown(column: Column, field: Field, value: float) -> str:
    """Return an end of the seen range as text."""
    if field.kind == "float":
        return f"{int(value)}" if column.is_integer else f"{value:g}"
    ticks = min(int(value) * column.step + column.origin, column.top)
    if field.kind == "datetime" or field.kind == "timedelta":
        kind: Any = np.datetime64 if field.kind == "datetime" else np.timedelta64
        return str(kind(ticks, field.unit))
    return f"{ticks / 1e9:g} s after midnight" if field.kind == "time" else f"{ticks}"
