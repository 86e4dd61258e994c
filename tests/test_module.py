"""The parts that a module is built from, and the start from PCA."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from skswae._module import Parts
from skswae._rows import Rows
from torch import nn

from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import CosineNet, DropoutMLP


def parts_for(rows, network=None, n_components=3, activation="identity", init="pca", seed=0):
    rows = torch.tensor(rows, dtype=torch.float32)
    return Parts(
        GatedMLP((16,)) if network is None else network,
        Rows(rows.numpy()),
        n_components=n_components,
        out_activation=activation,
        init=init,
        seed=seed,
    )


def test_parts_do_not_depend_on_each_other(rng):
    """A part's weights follow from the seed and its name: more components elsewhere change nothing."""
    rows = rng.normal(size=(30, 5))
    a = parts_for(rows, init="random").decoder()
    parts = parts_for(rows, init="random")
    parts.encoder()
    parts.gaussian_encoder("prior")
    for p, q in zip(a.parameters(), parts.decoder().parameters()):
        assert torch.equal(p, q)
    assert not torch.equal(parts.encoder()[0].linear.weight, parts.encoder("other")[0].linear.weight)


# ---------------------------------------------------------------------------
# The start from PCA
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("network", [GatedMLP((16,)), GatedMLP(()), DropoutMLP(), CosineNet()])
def test_the_start_is_pca(network, rng):
    X = (rng.normal(size=(200, 6)) * [3, 2, 1.5, 1, 0.5, 0.2]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    parts = parts_for(X, network)
    x = torch.as_tensor(X, dtype=torch.float32)
    pca = PCA(3).fit(X)
    encoder, decoder, prior = (
        module.eval() for module in (parts.encoder(), parts.decoder(), parts.gaussian_encoder("prior"))
    )
    with torch.no_grad():
        z = encoder(x)
        expected = pca.transform(X)
        ratio = np.sqrt(np.mean(pca.explained_variance_))
        np.testing.assert_allclose(z * ratio, expected, atol=1e-4)
        np.testing.assert_allclose(decoder(z), pca.inverse_transform(expected), atol=1e-4)
        mean, h = prior(x).chunk(2, dim=1)
        torch.testing.assert_close(mean, z)
        assert torch.all(h == 0)


def test_the_start_under_a_sigmoid_reconstructs(digits):
    X = digits[0]
    parts = parts_for(X, n_components=8, activation="sigmoid")
    x = torch.tensor(X, dtype=torch.float32)
    with torch.no_grad():
        decoded = torch.sigmoid(parts.decoder()(parts.encoder()(x)))
    error = (x - decoded).square().sum(dim=1).mean().item()
    assert error < 0.6 * X.var(axis=0).sum()


def test_the_start_with_more_components_than_rank(rng):
    X = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5))
    parts = parts_for(X, n_components=4)
    with torch.no_grad():
        z = parts.encoder()(torch.as_tensor(X, dtype=torch.float32)).numpy()
    pca = PCA(2).fit(X)
    np.testing.assert_allclose(
        z[:, :2] * np.sqrt(np.mean(pca.explained_variance_)), pca.transform(X), atol=1e-4
    )
    assert np.all(z[:, 2:].std(axis=0) > 0.01)  # these start as the network's own output


@pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP(), CosineNet()])
def test_the_network_learns_from_its_zero_start(network, digits):
    x = torch.tensor(digits[0], dtype=torch.float32)
    parts = parts_for(digits[0], network)
    encoder = parts.encoder()
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-2)
    before = [p.detach().clone() for p in encoder.network.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        encoder(x).square().sum().backward()
        optimizer.step()
    assert all(not torch.equal(p, q) for p, q in zip(encoder.network.parameters(), before))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_random_init_has_no_linear_path(Estimator, digits):
    fitted = cheap(Estimator, init="random").fit(digits[0])
    assert not any("linear_path" in name or ".gate" in name for name in fitted.module_.state_dict())
    assert isinstance(fitted.module_.encoder, nn.Sequential)
