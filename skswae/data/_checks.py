"""Checks of a source, and of the range of its numbers."""

from __future__ import annotations

import numpy as np

from skswae.data._source import DataSource

Range = tuple[float, float]
Extremes = tuple[np.ndarray, np.ndarray]


def spacing(dtype: np.dtype) -> float:
    """Return the relative spacing of floating-point numbers; 0 for bytes."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def is_masked(rows: object) -> bool:
    """Return whether these are an array with masked cells, under which it holds other numbers."""
    return isinstance(rows, np.ma.MaskedArray) and bool(np.ma.is_masked(rows))


# ---------------------------------------------------------------------------
# The source itself
# ---------------------------------------------------------------------------


def _name(source: DataSource) -> str:
    """Return what the caller knows the source by: X, where one was made of it here."""
    return source._made_of or type(source).__name__


def _reader(source: DataSource) -> str:
    return source._made_of or f"{type(source).__name__}.read"


def check_source(source: DataSource) -> None:
    """Check the attributes of a source, and that it reads what they promise.

    Raises
    ------
    ValueError
        If they cannot be used.
    """
    name = _name(source)
    shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
    if (
        not isinstance(shape, tuple)
        or len(shape) != 2
        or not all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    ):
        raise ValueError(f"{name}.shape must be a tuple of two positive integers. Got {shape!r}.")
    if not isinstance(dtype, np.dtype) or dtype not in (np.float16, np.float32, np.float64, np.uint8):
        raise ValueError(f"{name}.dtype must be a NumPy float16, float32, float64 or uint8. Got {dtype!r}.")
    source._check_unchanged()
    n = min(2, shape[0])
    backwards = np.arange(n)[::-1].copy()
    by_slice, by_index = source.read(slice(0, n)), source.read(backwards)
    for index, rows in ((slice(0, n), by_slice), (backwards, by_index)):
        if not isinstance(rows, np.ndarray) or rows.shape != (n, shape[1]) or rows.dtype != dtype:
            got = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else repr(rows)
            raise ValueError(
                f"{_reader(source)} must return {dtype} of shape {(n, shape[1])} for the "
                f"index {index!r}. Got {got}."
            )
        _refuse_masked(source, rows)
    if not source.forward_only and not np.array_equal(by_slice, by_index[::-1], equal_nan=True):
        raise ValueError(
            f"{_reader(source)} must return the same rows each time, in the order of the index. "
            f"Got others for {backwards!r} than for {slice(0, n)!r}. "
            "Rows that are to change at random are what the 'augment' parameter is for."
        )


def _refuse_masked(source: DataSource, rows: np.ndarray) -> None:
    if is_masked(rows):
        raise ValueError(
            f"{_reader(source)} must return arrays without masked values, just as without NaN: "
            "fill or impute them first. Got masked ones."
        )


def check_numbered(source: DataSource) -> None:
    """Raise TypeError for rows whose order may change, where each result belongs to one of them."""
    if source.forward_only:
        raise TypeError(
            f"X must be rows in an order of their own. Got {type(source).__name__}, whose rows may come in "
            "another order in each pass: take its batches one by one."
        )


def check_finite_chunks(source: DataSource) -> Extremes:
    """Return the lowest and the highest number of each feature: (d,), (d,), float64.

    Raises
    ------
    ValueError
        For rows that are not there, are masked, or have NaN or infinity, which it locates.
    """
    start = 0
    low, high = np.full(source.n_features, np.inf), np.full(source.n_features, -np.inf)
    for chunk in source.chunks():
        _refuse_masked(source, chunk)
        if chunk.ndim != 2 or not len(chunk) or chunk.shape[1] != source.n_features:
            raise ValueError(
                f"The 'chunks' method of a {type(source).__name__} must return parts with rows, of "
                f"{source.n_features} columns. Got one of shape {chunk.shape} after {start} rows."
            )
        with np.errstate(invalid="ignore"):
            low, high = np.minimum(low, chunk.min(axis=0)), np.maximum(high, chunk.max(axis=0))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            check_chunk(source, chunk, start)
        start += len(chunk)
    if start != len(source):
        raise ValueError(
            f"The 'read' method of a {type(source).__name__} must return all rows of its shape. "
            f"Got {start} rows of {len(source)}."
        )
    return low, high


def check_chunk(source: DataSource, chunk: np.ndarray, start: int) -> None:
    """Raise ValueError for masked rows and NaN or infinity; the first row has the number ``start``."""
    _refuse_masked(source, chunk)
    finite = np.isfinite(chunk)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        what = "NaN" if np.isnan(chunk[row]).any() else "infinity"
        raise ValueError(f"{_name(source)} must hold finite numbers. Got {what} in row {start + row}.")


# ---------------------------------------------------------------------------
# The range of the numbers. ``limits`` is value_range(source), for a caller who needs it more than once
# ---------------------------------------------------------------------------


def value_range(source: DataSource) -> Range:
    """Return the lowest and the highest number."""
    extremes = source.extremes  # which another thread may forget
    if extremes is not None:
        return float(extremes[0].min()), float(extremes[1].max())
    limits = [(chunk.min(), chunk.max()) for chunk in source.chunks()]
    return float(min(low for low, _ in limits)), float(max(high for _, high in limits))


def _rounded_range(source: DataSource, limits: Range | None) -> Range:
    """Return the range, with an end that leaves [0, 1] by rounding alone put at 0 or 1."""
    low, high = limits or value_range(source)
    rounding = 4 * spacing(source.dtype)
    if -rounding <= low < 0.0:
        low = 0.0
    if 1.0 < high <= 1.0 + rounding:
        high = 1.0
    return low, high


def in_unit_interval(source: DataSource, limits: Range | None = None) -> bool:
    """Return whether the data start at 0 and end at 1, to 1 %: what a sigmoid output is meant for."""
    low, high = _rounded_range(source, limits)
    return 0.0 <= low <= 0.01 and 0.99 <= high <= 1.0


def is_bounded(source: DataSource, limits: Range | None = None) -> bool:
    """Return whether all numbers lie in [0, 1] exactly."""
    low, high = limits or value_range(source)
    return low >= 0.0 and high <= 1.0


def in_unit_range(source: DataSource, limits: Range | None = None) -> bool:
    """Return whether all numbers lie in [0, 1], up to rounding."""
    low, high = _rounded_range(source, limits)
    return low >= 0.0 and high <= 1.0


def is_binary(source: DataSource, limits: Range | None = None) -> bool:
    """Return whether there are zeros and ones, and nothing else."""
    if (limits or value_range(source)) != (0.0, 1.0):
        return False
    return all(np.isin(chunk, (0, 1)).all() for chunk in source.chunks())


def on_a_grid(source: DataSource, n_bins: int) -> bool:
    """Return whether all numbers are j / (L - 1), or all are (j + 1/2) / L, for L bins and whole j."""
    tolerance = min(0.2, 1e-3 + 2 * n_bins * spacing(source.dtype))
    grids = [(n_bins - 1, 0.0), (n_bins, 0.5)]  # scale and offset that make whole numbers of the data
    for chunk in source.chunks():
        numbers = [chunk.astype(np.float64) * scale - offset for scale, offset in grids]
        grids = [g for g, j in zip(grids, numbers) if np.abs(j - np.rint(j)).max() < tolerance]
        if not grids:
            return False
    return True


def check_unit_interval(source: DataSource, limits: Range | None, needed_by: str, cure: str) -> None:
    """Raise ValueError, with what would help, for rows that leave [0, 1]."""
    low, high = _rounded_range(source, limits)
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"X must lie in [0, 1] to be learned with {needed_by}: {cure}. "
            f"Got values from {low!r} to {high!r}."
        )
