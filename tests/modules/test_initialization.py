"""The start from PCA, of whole modules."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skswae import AETransformer, SWAETransformer, VampPriorTransformer
from skswae.networks import GatedMLP

from ..models.tools import make_module
from ..own_networks import CosineNet, DropoutMLP


@pytest.mark.parametrize("Estimator", [SWAETransformer, VampPriorTransformer])
@pytest.mark.parametrize("network", [GatedMLP((16,)), GatedMLP(()), DropoutMLP(), CosineNet()])
def test_the_start_is_pca(network, Estimator, rng):
    """On two levels too, and with the conditional prior's means at the encoder's."""
    X = (rng.normal(size=(200, 6)) * [3, 2, 1.5, 1, 0.5, 0.2]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    module, x = make_module(Estimator, torch.from_numpy(X).float(), network=network, init="pca")
    module.eval()
    pca = PCA(3).fit(X)
    expected = pca.transform(X)
    with torch.no_grad():
        z = module.encode(x)
        np.testing.assert_allclose(z * np.sqrt(np.mean(pca.explained_variance_)), expected, atol=1e-4)
        np.testing.assert_allclose(module.decode(z), pca.inverse_transform(expected), atol=1e-4)
        if Estimator is SWAETransformer:
            mean, h = module.prior(x).chunk(2, dim=1)
            torch.testing.assert_close(mean, z)
            assert torch.all(h == 0)


def test_the_start_under_a_sigmoid_reconstructs(digits):
    X = digits[0]
    module, x = make_module(AETransformer, torch.tensor(X).float(), "sigmoid", n_components=8, init="pca")
    with torch.no_grad():
        error = (x - module.decode(module.encode(x))).square().sum(dim=1).mean().item()
    assert error < 0.6 * X.var(axis=0).sum()


@pytest.mark.parametrize("network", [GatedMLP((16,)), CosineNet()])
def test_the_start_with_more_components_than_rank(network, rng):
    X = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5))
    x = torch.from_numpy(X).float()
    module, x = make_module(AETransformer, x, network=network, n_components=4, init="pca")
    with torch.no_grad():
        z = module.encode(x).numpy()
        np.testing.assert_allclose(module.decode(torch.from_numpy(z)), X, atol=1e-4)
    pca = PCA(2).fit(X)
    scale = np.sqrt(np.mean(pca.explained_variance_))
    np.testing.assert_allclose(z[:, :2] * scale, pca.transform(X), atol=1e-4)
    assert np.all(z[:, 2:].std(axis=0) > 0.01)  # these start as the network's own output
