"""One column between its values and cells: scores of numbers, and indices of levels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skswae._warnings import warn
from skswae.tabular._frames import TICKS, UNITS, ColumnValues, Field, label_of, plain
from skswae.tabular._marginals import MonotoneMap

_EXACT = 2**53  # up to which float64 has all whole numbers
_LABELS, _FEW = 0.9, 50  # share of rows with a level of their own that makes labels of them; rows that tell


@dataclass(frozen=True, eq=False)
class Column:
    """A column as the codec has learned it: its kind, its range or its levels.

    Parameters
    ----------
    name : str or int
        Of an array's column, its position.
    kind : {"number", "category", "boolean", "constant"}
    levels : tuple
        Labels of a category or boolean in the order of their indices, and the one of a constant of either.
    frequencies : ndarray of shape (n_levels,)
        Shares of the levels among the training cells that are not missing.
    is_integer : bool
        Whether all training values are whole numbers, as those that come back then are; times count.
    low, high : float
        The seen range of a number, less ``origin`` and over ``step``.
    origin : int
        What is subtracted of numbers: the smallest of times, and of whole numbers beyond 2**53, else 0.
    step : int
        What numbers are divided by: 1, but for times that are whole days, hours, minutes and so on apart as
        many units of theirs as that is.
    top : int
        The largest of whole numbers, which ``high`` may have rounded.
    map : MonotoneMap or None
        Of a number.
    known : tuple
        All labels that have been seen: more than ``levels`` where rare ones are merged.
    level_of : ndarray of shape (n_known,)
        Indices of their levels.
    """

    name: Any
    kind: str
    levels: tuple = ()
    frequencies: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    is_integer: bool = False
    low: float = 0.0
    high: float = 0.0
    origin: int = 0
    step: int = 1
    top: int = 0
    map: MonotoneMap | None = None
    known: tuple = ()
    level_of: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def state(self) -> dict[str, Any]:
        """Return the arguments of the class by name, as plain values."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["map"] = None if self.map is None else self.map.state()
        found.update(
            levels=[plain(label) for label in self.levels], known=[plain(label) for label in self.known]
        )
        return found

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Column:
        """Return the column that :meth:`state` has described."""
        labels = {name: tuple(map(label_of, state[name])) for name in ("levels", "known")}
        of_map = None if state["map"] is None else MonotoneMap.from_state(state["map"])
        made = cls(**{**state, **labels, "map": of_map})
        index, n = dict(zip(made.known, made.level_of.tolist())), len(made.levels)
        wholes = (made.origin, made.top, made.step)
        if not {"number": n == 0, "boolean": n == 2, "category": n > 1, "constant": n < 2}.get(made.kind):
            raise ValueError(
                f"Column {made.name!r} must be a number without levels, a boolean of two, a category of two "
                f"or more, or constant. Got {made.kind!r} of {n} levels."
            )
        if (
            not len(index) == len(made.known) == len(made.level_of)
            or [index.get(label) for label in made.levels] != list(range(n))
            or set(index.values()) != set(range(n))
        ):
            raise ValueError(
                f"Column {made.name!r} must have distinct levels that are labels, and one for each label."
            )
        if (
            (made.low, made.high) != ((made.low,) * 2 if of_map is None else (of_map.low, of_map.high))
            or (made.kind == "number") != (of_map is not None)
            or not np.isfinite([made.low, made.high]).all()
            or (made.is_integer and (made.low % 1 or made.high % 1))
            or not all(type(whole) is int and -(2**63) <= whole < 2**64 for whole in wholes)
            or made.step < 1
        ):
            raise ValueError(
                f"Column {made.name!r} must have a finite range, whole numbers as origin, step and top, and "
                "a map of that range if it is a number."
            )
        return made


def fit_column(found: ColumnValues, as_category: bool, number_map: str, min_count: float) -> Column:
    """Learn a column, some of whose values are not missing.

    Parameters
    ----------
    found : ColumnValues
    as_category : bool
        Whether numbers are labels.
    number_map : {"quantile", "standard"}
    min_count : float
        Rows that a level must have to be none of the rare, which are merged.
    """
    field, shown = found.field, ~found.missing
    known = Column(field.name, "number")
    if field.kind == "category" or field.kind == "boolean" or as_category:
        return _fit_levels(known, found, min_count)
    values = found.values[shown]
    if field.kind == "float":
        whole = bool((np.abs(values) <= _EXACT).all() and (values == np.rint(values)).all())
        known = replace(known, is_integer=whole)
    else:
        first, top = int(values.min()), int(values.max())
        far = field.kind in TICKS or max(abs(first), abs(top)) > _EXACT
        known = replace(known, is_integer=True, origin=first if far else 0, top=top)
        if field.kind in TICKS:
            known = replace(known, step=_step(values, first, str(field.unit)))
        values = _less(values, known.origin, known.step)
    low, high = float(values.min()), float(values.max())
    known = replace(known, low=low, high=high)
    if low == high:
        return replace(known, kind="constant")
    return replace(known, map=MonotoneMap.fit(values, number_map))


def _fit_levels(known: Column, found: ColumnValues, min_count: float) -> Column:
    labels, codes = _coded(found)
    counts = np.bincount(codes[~found.missing], minlength=len(labels))
    seen = np.flatnonzero(counts)
    shares = counts[seen] / counts.sum()
    rare = counts[seen] < min_count
    keep = ~rare
    if rare.any():
        first = int(np.argmax(np.where(rare, counts[seen], 0)))  # the most frequent, which stands for all
        keep[first] = True
    level_of = np.cumsum(keep) - 1
    level_of = np.where(keep, level_of, level_of[first] if rare.any() else 0)
    levels = tuple(labels[code] for code in seen[keep])
    if (counts == 1).sum() > _LABELS * counts.sum() >= _LABELS * _FEW:
        warn(
            f"Column {known.name!r} of X has a level of their own for {(counts == 1).sum()} of the "
            f"{counts.sum()} rows that have one: nothing can be learned from labels that differ from row to "
            "row, and samples give them away. Leave the column out, or parse it if it holds dates or numbers."
        )
    return replace(
        known,
        kind="constant" if len(levels) == 1 else "boolean" if found.field.kind == "boolean" else "category",
        levels=levels,
        frequencies=np.bincount(level_of, weights=shares),
        known=tuple(labels[code] for code in seen),
        level_of=level_of,
    )


def check_field(column: Column, field: Field) -> None:
    """Raise ValueError unless a column, which may be of a file, can be one of the values of a field."""
    plain_kinds, whole = ("float", "integer"), field.kind not in ("float", "category", "boolean")
    kinds = {
        "number": (*plain_kinds, *TICKS),
        "boolean": ("boolean",),
        "category": (*plain_kinds, "category"),
        "constant": (*plain_kinds, *(("category", "boolean") if column.known else TICKS)),
    }
    known, shift = list(column.known), (column.origin, column.step)
    if (
        column.name != field.name
        or field.kind not in kinds[column.kind]
        or (known and field.kind != "category" and not _are_numbers(known))
        or ((known or not whole) and shift != (0, 1))
        or (not known and whole and not column.is_integer)
        or (not known and whole and column.high != float((column.top - column.origin) // column.step))
        or (column.origin and column.low)
    ):
        raise ValueError(
            f"Column {column.name!r}, a {column.kind}, must have a name, a range and levels that agree with "
            f"its field's. Got {field.name!r} of type {field.kind}."
        )


def encode(column: Column, field: Field, found: ColumnValues, handle_unknown: str) -> np.ndarray:
    """Return the cells of a column's rows, whose field in training was ``field``; see ``TableCodec``."""
    missing = found.missing
    if missing.all():
        return np.full(len(missing), np.nan)
    _check_kind(field, column, found)
    if not column.known:
        values = in_units(found, field, column)
        cells = np.zeros(len(values)) if column.map is None else column.map.scores(values)
    else:
        labels, codes = _coded(found)
        index = dict(zip(column.known, column.level_of.tolist()))
        levels = np.array([index.get(label, -1) for label in labels] or [-1])
        cells = levels[np.where(missing, 0, codes)].astype(np.float64)
        unknown = np.unique(codes[~missing & (cells < 0)]).tolist()
        if unknown and handle_unknown == "error":
            what = ", ".join(repr(labels[code]) for code in unknown[:5])
            raise ValueError(
                f"Column {column.name!r} of X must have no levels but those seen in fit, for the "
                f"'handle_unknown' parameter is 'error'. Got {what}."
            )
        if column.kind == "constant":
            cells[:] = 0.0
    return np.where(missing, np.nan, cells)


def decode(column: Column, field: Field, values: np.ndarray) -> ColumnValues:
    """Return a column's rows of its values: numbers less its origin, and indices of levels.

    NaN, and indices of levels below 0, are missing.
    """
    missing = np.isnan(values)
    if column.known:
        values = np.where(missing, 0, values).astype(np.int64)
        if (values >= len(column.levels)).any():
            raise ValueError(
                f"Values of column {column.name!r} must be indices of its {len(column.levels)} levels. "
                f"Got {values.max()}."
            )
        missing |= values < 0
        if field.kind == "category":
            return ColumnValues(replace(field, levels=column.levels), values, missing)
        return ColumnValues(field, _array_of(column.levels)[values], missing)
    if column.kind == "constant":
        values = np.where(missing, np.nan, column.low)
    if column.is_integer:
        values = np.rint(values)
    values = np.clip(values, column.low, column.high)
    if field.kind != "float":
        values = _plus(column, values, missing)
    return ColumnValues(field, values, missing)


def as_kind(found: ColumnValues, field: Field) -> ColumnValues:
    """Return a column's rows as another frame has them, by the field of that one."""
    old, values = found.field, found.values
    if field.kind == "category" and old.kind != "category":
        labels, codes = _coded(found)
        return ColumnValues(replace(field, levels=labels), codes, found.missing)
    if old.kind == "category":
        if field.kind == "category":
            return replace(found, field=replace(field, levels=old.levels))
        values = _array_of(old.levels)[values]
    elif old.unit != field.unit:
        values = _to_unit(found, field)
    if field.kind == "float":
        values = values.astype(np.float64)
    elif field.kind == "integer" and values.dtype.kind == "f":
        values = np.rint(np.where(found.missing, 0, values)).astype(np.int64)
    elif field.kind == "boolean":
        values = np.where(found.missing, 0, values).astype(bool)
    return ColumnValues(field, values, found.missing)


def _coded(found: ColumnValues) -> tuple[tuple, np.ndarray]:
    """Return labels of a column and the indices of its rows', which mean nothing where they are missing."""
    if found.field.kind == "category":
        return found.field.levels, found.values
    if found.field.kind == "boolean":
        return (False, True), found.values.astype(np.int64)
    shown = ~found.missing
    labels, inverse = np.unique(found.values[shown], return_inverse=True)
    codes = np.zeros(len(shown), dtype=np.int64)
    codes[shown] = inverse
    return tuple(labels.tolist()), codes


def _check_kind(field: Field, column: Column, found: ColumnValues) -> None:
    """Raise TypeError for a column that is another thing than in training."""
    numbers = ("float", "integer", "boolean")
    own, other = field.kind, found.field.kind
    if own == other and field.zoned == found.field.zoned:
        return
    if own == other:
        raise TypeError(
            f"Column {column.name!r} of X must have {'a' if field.zoned else 'no'} time zone, as in fit. "
            f"Got {found.field.dtype}."
        )
    if own in numbers and other in numbers:
        values = found.values[~found.missing]
        if own != "boolean" or np.isin(values, (0, 1)).all():
            return
    labels = [*column.known, *found.field.levels]
    if "category" in (own, other) and {own, other} <= {*numbers, "category"} and _are_numbers(labels):
        return  # labels that are numbers, of a category in one of the frames
    words = {"float": "numbers", "integer": "whole numbers", "boolean": "booleans", "category": "categories"}
    wanted = words.get(own, f"values of type {own}")
    raise TypeError(f"Column {column.name!r} of X must hold {wanted}, as in fit. Got {found.field.dtype}.")


def _are_numbers(labels: list) -> bool:
    return bool(labels) and all(isinstance(label, int | float) for label in labels)


def _less(values: np.ndarray, origin: int, step: int) -> np.ndarray:
    """Return whole numbers less an origin, over a step, as float64: without overflow, rounded once."""
    if not origin and step == 1:
        return values.astype(np.float64)
    above = values >= origin
    distance = values.astype(np.uint64) - np.uint64(origin % 2**64)
    distance = np.where(above, distance, np.uint64(0) - distance)
    whole, part = np.divmod(distance, np.uint64(step))
    found = whole.astype(np.float64) + part.astype(np.float64) / step
    return np.where(above, found, -found)


def _plus(column: Column, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the whole numbers that :func:`_less` has shifted, those of [low, high]."""
    values = np.where(missing, column.low, values)
    if column.low < 0:  # and small
        return values.astype(np.int64)
    counts = np.minimum(values, np.nextafter(2.0**64, 0)).astype(np.uint64)
    counts = np.minimum(counts, np.uint64((column.top - column.origin) // column.step))
    whole = counts * np.uint64(column.step) + np.uint64(column.origin % 2**64)
    return whole if column.top >= 2**63 else whole.view(np.int64)


def _array_of(labels: tuple) -> np.ndarray:
    """Return labels as an array; NumPy makes floats of integers that int64 cannot hold together."""
    is_unsigned = all(type(label) is int for label in labels) and max(labels) >= 2**63
    return np.array(labels, dtype=np.uint64 if is_unsigned else None)


def _step(values: np.ndarray, origin: int, unit: str) -> int:
    """Return the longest of usual spans, in a unit of time, that divides all of some whole numbers of it."""
    divisor = int(np.gcd.reduce(values.astype(np.uint64) - np.uint64(origin % 2**64)))
    spans = (UNITS["D"], 3600 * UNITS["s"], 60 * UNITS["s"], UNITS["s"], UNITS["ms"], UNITS["us"])
    wholes = [span // UNITS[unit] for span in spans if span % UNITS[unit] == 0]
    return next((span for span in wholes if divisor % span == 0), 1)


def in_units(found: ColumnValues, field: Field, column: Column) -> np.ndarray:
    """Return numbers as float64 in the unit of a column's field, less its origin, over its step.

    What is missing has no meaning.
    """
    values, origin, step = found.values, column.origin, column.step
    if values.dtype.kind not in "iu":
        return values.astype(np.float64) - float(origin)
    if found.field.unit == field.unit:
        return _less(values, origin, step)
    own, other = UNITS[str(field.unit)], UNITS[str(found.field.unit)]
    if other < own:  # a finer unit, which may have parts
        whole, part = np.divmod(values, own // other)
        return _less(whole, origin, step) + part / (own // other) / step
    longer, rest = divmod(origin, other // own)
    return (_less(values, longer, 1) * (other // own) - rest) / step


def _to_unit(found: ColumnValues, field: Field) -> np.ndarray:
    """Return times in another unit, rounded down where that is longer."""
    own, other = UNITS[str(found.field.unit)], UNITS[str(field.unit)]
    values = np.where(found.missing, 0, found.values)
    if own < other:
        return values // (other // own)
    if (np.abs(values) > 2**63 // (own // other)).any():
        raise ValueError(
            f"Column {field.name!r} of X must have a unit of time that has the times seen in fit. "
            f"Got {field.dtype}."
        )
    return values * (own // other)
