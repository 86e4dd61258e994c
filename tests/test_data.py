"""Training rows on their way to the loop."""

import numpy as np
import pytest
import torch

from skswae import _data
from skswae._rows import Rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_make_the_mean_variance_one(dtype, rng):
    X = (1000 + rng.normal(size=(9000, 3)) * [1.0, 5.0, 0.1]).astype(dtype)  # more than one chunk
    location, scale = _data.find_units(X)
    np.testing.assert_allclose(location, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(scale, np.sqrt(X.astype(np.float64).var(axis=0).mean()), rtol=1e-9)
    rows = Rows(X, location, scale).take(slice(None))
    assert rows.dtype == torch.float32
    np.testing.assert_allclose(rows, (X - location.numpy()) / scale.item(), rtol=1e-6, atol=1e-6)
    assert rows.double().var(dim=0, correction=0).mean().item() == pytest.approx(1.0)


def test_units_of_constant_features():
    X = np.tile([0.1, 1e10, -3.0], (150, 1))
    location, scale = _data.find_units(X)
    np.testing.assert_array_equal(location, X[0])
    assert scale == 1.0
    rounded = np.where(np.arange(150)[:, None] % 2, 0.3, 0.1 + 0.2) * np.ones(3)
    assert rounded.min() < rounded.max()
    assert _data.find_units(rounded)[1] == 1.0
    assert _data.find_units(np.array([[5e-324, 0.0], [0.0, 0.0]]))[1] > 0
    X[:, 0] = np.linspace(0, 1e-6, 150)
    location, scale = _data.find_units(X)
    np.testing.assert_array_equal(location[1:], X[0, 1:])
    np.testing.assert_allclose(scale, np.sqrt(X[:, 0].var() / 3))


def test_split_is_a_partition():
    rows = Rows(np.arange(50.0)[:, None])
    everything = slice(None)
    for fraction, expected in [(0.1, 5), (0.01, 1), (0.55, 28)]:
        train, held_out = rows.split(fraction, seed=3)
        assert (len(train), len(held_out)) == (50 - expected, expected)
        both = torch.cat([train.take(everything), held_out.take(everything)])
        assert sorted(both.ravel().tolist()) == rows.X.ravel().tolist()
        assert torch.equal(train.take(everything), rows.split(fraction, seed=3)[0].take(everything))
    assert not torch.equal(train.take(everything), rows.split(fraction, seed=4)[0].take(everything))
    # of a part
    again, rest = train.split(0.1, seed=3)
    both = torch.cat([again.take(everything), rest.take(everything)])
    assert sorted(both.ravel().tolist()) == sorted(train.take(everything).ravel().tolist())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_rows_are_read_as_they_came(dtype, rng, tmp_path):
    """From memory and from a read-only file: bytes stay bytes until they are in the module's units."""
    X = rng.integers(0, 256, size=(30, 4)).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    location, scale = _data.find_units(X)
    np.testing.assert_allclose(scale, np.sqrt(X.astype(float).var(axis=0).mean()))
    expected = (X.astype(float) - X.astype(float).mean(axis=0)) / scale.item()
    for source in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        rows = Rows(source, location, scale)
        assert rows.nbytes == X.nbytes
        for part in (slice(3, 9), np.array([7, 1, 1])):
            assert rows.raw(part).numpy().dtype == dtype
            np.testing.assert_array_equal(rows.raw(part), X[part])
            np.testing.assert_allclose(rows.take(part), expected[part], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(torch.cat(list(rows.batches(7))), expected, rtol=1e-6, atol=1e-6)
        assert rows.variance() == pytest.approx(4.0)
        rows.raw(slice(0, 2)).zero_()  # a copy, not the caller's
        np.testing.assert_array_equal(source, X)
    without = Rows(X)
    np.testing.assert_array_equal(without.take(slice(None)), X.astype(np.float32))
    assert without.take(slice(None)).dtype == torch.float32


def test_rounding_is_taken_back():
    X = np.array([[0.0, 1.0 + 2e-16], [-2e-16, 0.5]])
    assert torch.equal(Rows(X, bounded=True).take(slice(None)), torch.tensor([[0.0, 1.0], [0.0, 0.5]]))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, True), (0.01, 0.99, True), (0, 0.98, False), (0.02, 1, False), (-1e-9, 1, False),
     (0, 1 + 1e-9, False), (0, 1 + 4e-16, True), (-4e-16, 1, True)],
)  # fmt: skip
def test_in_unit_interval(low, high, expected):
    assert _data.in_unit_interval(np.array([[low, high]], dtype=float)) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bins", [2, 17, 256, 65536])
def test_on_a_grid(n_bins, dtype):
    """Grey levels j / (L - 1), or middles of bins (j + 1/2) / L; not a mixture of them."""
    j = np.arange(n_bins)[:, None]
    ends, middles = j / (n_bins - 1), (j + 0.5) / n_bins
    for values in (
        ends.astype(dtype), middles.astype(dtype),
        j.astype(dtype) / dtype(n_bins - 1), (j.astype(dtype) + dtype(0.5)) / dtype(n_bins),
    ):  # fmt: skip
        assert _data.on_a_grid(values, n_bins)
    assert not _data.on_a_grid(np.vstack([ends, middles]).astype(dtype), n_bins)
    assert not _data.on_a_grid((ends * 0.9).astype(dtype), n_bins)
    off = ends.astype(dtype)
    off[-1] = 1 - 0.3 / n_bins  # one number in the last chunk
    assert not _data.on_a_grid(off, n_bins)


def test_other_numbers_of_grey_levels_are_no_grid(digits):
    X = digits[0]  # j / 16
    assert _data.on_a_grid(X, 17)
    assert not _data.on_a_grid(X, 16)
    assert not _data.on_a_grid(X, 256)
    assert _data.on_a_grid((X > 0.5).astype(float), 256)


def test_is_binary():
    ones = np.zeros((9000, 2))  # more than one chunk
    ones[5000, 1] = 1
    assert _data.is_binary(ones)
    assert _data.is_binary(ones.astype(np.float32))
    assert not _data.is_binary(ones * 0)
    assert not _data.is_binary(ones * 0 + 1)
    for other in (0.5, -1.0, 2.0, 1 + 1e-12):
        X = ones.copy()
        X[8999, 0] = other
        assert not _data.is_binary(X)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, True), (0.3, 0.6, True), (0, 0, True), (1, 1, True), (-1e-9, 1, False), (0, 1 + 1e-9, False),
     (-4e-16, 1 + 4e-16, True)],
)  # fmt: skip
def test_in_unit_range(low, high, expected):
    assert _data.in_unit_range(np.array([[low, high]], dtype=float)) == expected
