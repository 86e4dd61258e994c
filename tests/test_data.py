"""Training rows on their way to the loop."""

import numpy as np
import pytest
import torch

from skswae import _data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_make_the_mean_variance_one(dtype, rng):
    X = (1000 + rng.normal(size=(9000, 3)) * [1.0, 5.0, 0.1]).astype(dtype)  # more than one chunk
    location, scale = _data.find_units(X)
    np.testing.assert_allclose(location, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(scale, np.sqrt(X.astype(np.float64).var(axis=0).mean()), rtol=1e-9)
    rows = _data.in_units(X, location, scale)
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
    rows = torch.arange(50.0)[:, None]
    for fraction, expected in [(0.1, 5), (0.01, 1), (0.55, 28)]:
        train, held_out = _data.split(rows, fraction, seed=3)
        assert len(held_out) == expected
        assert sorted(torch.cat([train, held_out]).ravel().tolist()) == rows.ravel().tolist()
        assert torch.equal(train, _data.split(rows, fraction, seed=3)[0])
    assert not torch.equal(train, _data.split(rows, fraction, seed=4)[0])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, True), (0.01, 0.99, True), (0, 0.98, False), (0.02, 1, False), (-1e-9, 1, False),
     (0, 1 + 1e-9, False), (0, 1 + 4e-16, True), (-4e-16, 1, True)],
)  # fmt: skip
def test_in_unit_interval(low, high, expected):
    assert _data.in_unit_interval(np.array([[low, high]], dtype=float)) == expected
