"""Checks of a source, and of the range of its numbers."""

import numpy as np
import pytest

from skswae.data import ArrayData, _checks


@pytest.mark.parametrize(
    ("low", "high", "starts_and_ends", "inside"),
    [(0, 1, True, True), (0.01, 0.99, True, True), (0, 0.98, False, True), (0.02, 1, False, True),
     (-1e-9, 1, False, False), (0, 1 + 1e-9, False, False), (-4e-16, 1 + 4e-16, True, True)],
)  # fmt: skip
def test_range(low, high, starts_and_ends, inside):
    source = ArrayData(np.array([[high]] + [[low]] * 5000, dtype=float))
    for limits in (None, _checks.value_range(source)):
        assert _checks.in_unit_interval(source, limits) == starts_and_ends
        assert _checks.in_unit_range(source, limits) == inside
        assert _checks.is_bounded(source, limits) == (low >= 0 and high <= 1)
        if inside:
            _checks.check_unit_interval(source, limits, "this", "do that")
        else:
            got = f"with this: do that. Got values from {float(low)!r} to {float(high)!r}"
            with pytest.raises(ValueError, match=got):
                _checks.check_unit_interval(source, limits, "this", "do that")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bins", [2, 17, 256, 65536])
def test_on_a_grid(n_bins, dtype):
    """Grey levels j / (L - 1), or middles of bins (j + 1/2) / L; not a mixture of them."""
    j = np.arange(n_bins)[:, None]
    ends, middles = (j / (n_bins - 1)).astype(dtype), ((j + 0.5) / n_bins).astype(dtype)
    rounded = j.astype(dtype) / dtype(n_bins - 1), (j.astype(dtype) + dtype(0.5)) / dtype(n_bins)
    for values in (ends, middles, *rounded):
        assert _checks.on_a_grid(ArrayData(values), n_bins)
    off = ends.copy()
    off[-1] = 1 - 0.3 / n_bins  # one number in the last chunk
    for values in (off, ends * dtype(0.9), np.vstack([ends, middles])):
        assert not _checks.on_a_grid(ArrayData(values), n_bins)
    assert _checks.on_a_grid(ArrayData(ends), 18) == (n_bins == 2)  # another number of grey levels


def test_is_binary():
    ones = np.repeat([[0, 1], [0, 0]], 4500, axis=0)  # more than one chunk
    for dtype in (np.float32, np.float64, np.uint8):
        assert _checks.is_binary(ArrayData(ones.astype(dtype)))
    for other in (
        ones * 0.0,
        ones * 0 + 1.0,
        *(np.vstack([ones, [[x, 0]]]) for x in (0.5, -1, 2, 1 + 1e-12)),
    ):
        assert not _checks.is_binary(ArrayData(other))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"shape": (3,)}, "ArrayData.shape must be a tuple of two"), ({"shape": (0, 2)}, "positive"),
     ({"shape": (9, 3)}, r"return float64 of shape \(2, 3\)"), ({"dtype": np.dtype(int)}, "Got dtype"),
     ({"dtype": np.dtype(np.float32)}, "return float32"), ({"read": lambda index: None}, "Got None"),
     ({"read": lambda index: np.arange(4.0).reshape(2, 2)}, "in the order of the index")],
)  # fmt: skip
def test_sources_that_do_not_keep_their_promise(wrong, message):
    source = ArrayData(np.zeros((9, 2)))
    vars(source).update(wrong)
    with pytest.raises(ValueError, match=message):
        _checks.check_source(source)


def test_numbers_that_are_not_finite():
    X = np.zeros((9000, 2), dtype=np.float32)
    for value, name in [(-np.inf, "infinity"), (np.nan, "NaN")]:
        X[8500, 1] = value
        with pytest.raises(ValueError, match=f"Got {name} in row 8500"):
            _checks.check_finite_chunks(ArrayData(X))
