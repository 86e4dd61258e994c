"""From a fitted estimator to plain torch: ``module_`` works in the user's units."""

import numpy as np
import pytest
import torch

from skswae._random import draw_seed

from .estimators import ESTIMATORS, cheap, gan
from .own_networks import NormNet

each = pytest.mark.parametrize("make", [*ESTIMATORS, gan], ids=lambda e: getattr(e, "__name__", "gan"))


@pytest.fixture
def X(iris):
    """Rows far from the origin in a large unit, so that both are in force."""
    return (500 + 30 * iris[:148]).astype(np.float32)


def fitted(make, X, **parameters):
    model = gan(**parameters) if make is gan else cheap(make, **parameters)
    model.fit(X)
    assert model.scale_ > 10
    assert model.location_.min() > 400
    return model


@each
def test_encode_decode_and_sample_are_the_estimator_s(make, X):
    model = fitted(make, X)
    module = model.module_
    sampling = {name: getattr(model, name) for name in model._sampling_parameters}
    with torch.no_grad():
        z = module.encode(torch.from_numpy(X))
        rows = module.decode(z)
        drawn = module.sample_prior(5, torch.Generator().manual_seed(draw_seed(3)), **sampling)
        new = module.decode(drawn)
    np.testing.assert_array_equal(z, model.transform(X))
    np.testing.assert_array_equal(rows, model.inverse_transform(z.numpy()))
    np.testing.assert_array_equal(rows, model.reconstruct(X))
    np.testing.assert_allclose(new, model.sample(5, random_state=3), rtol=1e-6)


@pytest.mark.slow
@each
def test_the_loss_is_what_training_minimises(make, X):
    """An optimiser of one's own lowers it, and the estimator computes with what it has learned."""
    model = fitted(make, X, network=NormNet())
    module, rows = model.module_, torch.from_numpy(X)
    x = torch.from_numpy(((X - model.location_) / model.scale_).astype(np.float32))
    with torch.no_grad():
        loss = module.loss(rows, torch.Generator().manual_seed(0))
        _, terms = next(module.losses(x, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(loss, terms["loss"])
    before = model.transform(X), model.transform(X.astype(float))
    optimizer = torch.optim.Adam(module.players()["autoencoder"], lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        module.loss(rows, torch.Generator().manual_seed(0)).backward()
        optimizer.step()
    assert module.loss(rows, torch.Generator().manual_seed(0)) < loss
    for old, new in zip(before, (model.transform(X), model.transform(X.astype(float)))):
        assert np.abs(new - old).max() > 1e-3
    np.testing.assert_allclose(model.transform(X), model.transform(X.astype(float)), atol=1e-4)
