"""The module's units."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from skswae.data import ArrayData
from skswae.data._scaler import Scaler, TrainingRows


def fitted(X):
    return Scaler(X.shape[1]).fit(ArrayData(X))


@pytest.mark.parametrize(
    ("dtype", "factor"), [("u1", 1), ("f4", 1), ("f8", 1), ("f8", 1e-300), ("f8", 1e300)]
)
def test_units_make_the_mean_variance_one(dtype, factor, rng):
    X = (factor * (100 + rng.normal(size=(9000, 3)) * [1.0, 5.0, 0.1])).astype(dtype)  # several chunks
    scaler = fitted(X)
    np.testing.assert_allclose(scaler.location, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale / factor, np.sqrt((X / factor).var(axis=0, dtype=float).mean()))
    rows = TrainingRows(ArrayData(X), scaler, clamp=False)
    x = torch.cat(list(rows.batches(2000)))
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x, (X - scaler.location.numpy()) / scaler.scale.item(), rtol=1e-6, atol=1e-6)
    assert rows.total_variance() == pytest.approx(3.0)
    np.testing.assert_allclose(scaler.unstandardize(x.double()), X, rtol=1e-5)


def test_a_small_spread_far_from_the_origin(rng):
    near = rng.integers(0, 9, size=(9000, 3)) * 2.0**-20
    scaler = fitted(near + 2.0**30)
    np.testing.assert_allclose(scaler.location - 2.0**30, near.mean(axis=0), atol=2.0**-22)
    np.testing.assert_allclose(scaler.scale, fitted(near).scale, rtol=1e-12)


def test_units_of_constant_features():
    X = np.tile([0.1, 1e10, -3.0], (150, 1))
    np.testing.assert_array_equal(fitted(X).location, X[0])
    rounded = np.where(np.arange(150)[:, None] % 2, 0.3, 0.1 + 0.2) * np.ones(3)
    assert fitted(X).scale == 1.0
    assert not fitted(X).rounding.any()
    # where nothing else varies, rounding is all that there is
    np.testing.assert_allclose(fitted(rounded).scale, np.ptp(rounded) / 2, rtol=1e-6)
    assert not fitted(rounded).rounding.any()
    assert fitted(np.array([[5e-324, 0.0], [0.0, 0.0]])).scale > 0
    X[1::2, 1] *= 1 + 2e-16
    for smallest in (1e-6, 1e-300):
        X[:, 0] = np.linspace(0, smallest, 150)
        np.testing.assert_array_equal(fitted(X).location[1:], X[0, 1:])
        np.testing.assert_allclose(fitted(X).scale / smallest, np.sqrt((X[:, 0] / smallest).var() / 3))


def test_differences_that_are_rounding_beside_small_ones():
    """They are no deviations, in rows of later trainings too; and nothing else loses its gradient."""
    X = np.array([[1e6 + 1.1e-10 * (i % 4), 1e-30 * i] for i in range(8)])
    scaler = fitted(X)
    x = scaler.standardize(torch.from_numpy(X))
    assert torch.equal(x[:, 0], torch.zeros(8, dtype=torch.float64))
    assert x[:, 1].std() > 0.5
    TrainingRows(ArrayData(X), scaler, clamp=False).check_reach("X")
    with pytest.raises(ValueError, match="squares are finite"):
        TrainingRows(ArrayData(X + 1.0), scaler, clamp=False).check_reach("X")
    rows = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)  # where they are the location
    Scaler(3).standardize(rows).sum().backward()
    assert torch.equal(rows.grad, torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.slow
def test_a_recorded_graph_takes_differences_that_are_rounding_back_too():
    class Standardize(torch.nn.Module):
        def __init__(self, scaler):
            super().__init__()
            self.scaler = scaler

        def forward(self, rows):
            return self.scaler.standardize(rows)

    X = np.array([[1e6 + 1.1e-10 * (i % 4), 1e-30 * i] for i in range(8)])
    for scaler in (fitted(X), fitted(X[:, 1:])):  # with such a column and without
        rows = torch.from_numpy(X[:, -len(scaler.location) :].copy())
        recorded = torch.export.export(Standardize(scaler), (rows,)).module()
        assert torch.equal(recorded(rows), scaler.standardize(rows))
        # and so do several scalers at once
        buffers = {name: torch.stack([value, value]) for name, value in Standardize(scaler).named_buffers()}
        ensemble = torch.func.vmap(
            partial(torch.func.functional_call, Standardize(scaler)), in_dims=(0, None)
        )
        assert torch.equal(ensemble(buffers, rows), scaler.standardize(rows).expand(2, -1, -1))
        assert copy.deepcopy(scaler).to("meta").standardize(rows.to("meta")).shape == rows.shape


def test_rounding_is_taken_back():
    X = np.array([[0.0, 1.0 + 2e-16], [-2e-16, 0.5]])
    (x,) = TrainingRows(ArrayData(X), Scaler(2), clamp=True).batches(4)
    assert torch.equal(x, torch.tensor([[0.0, 1.0], [0.0, 0.5]]))


def test_chosen_rows_are_different():
    rows = TrainingRows(ArrayData(np.arange(100.0)[:, None]), Scaler(1), clamp=False)
    assert len(rows.choose(30, 0).unique()) == 30
    assert torch.equal(rows.choose(30, 0), rows.choose(30, 0))
    assert sorted(rows.choose(1000, 0).ravel().tolist()) == list(range(100))
