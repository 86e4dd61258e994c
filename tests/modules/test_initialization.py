"""The start from PCA, of whole modules."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skswae import AETransformer, SWAETransformer, VAETransformer, VampPriorTransformer, WAETransformer
from skswae.data import ArrayData
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules._heads import Bernoulli, SquaredError
from skswae.modules._initialization import pca_start, principal_components
from skswae.networks import GatedMLP

from ..estimators import ESTIMATORS
from ..models.tools import loss_of, make_module
from ..own_networks import CosineNet, DropoutMLP


@pytest.mark.parametrize("Estimator", [SWAETransformer, VampPriorTransformer])
@pytest.mark.parametrize("network", [GatedMLP((16,)), GatedMLP(()), DropoutMLP(), CosineNet()])
def test_the_start_is_pca(network, Estimator, rng):
    """On two levels too, and with the conditional prior's means at the encoder's, its scale on the floor."""
    X = (rng.normal(size=(200, 6)) * [3, 2, 1.5, 1, 0.5, 0.2]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    module, x = make_module(Estimator, torch.from_numpy(X).float(), network=network, init="pca")
    module.eval()
    pca = PCA(3).fit(X)
    expected = pca.transform(X)
    with torch.no_grad():
        z = module.encode(x)
        unit = np.sqrt(np.mean(pca.explained_variance_))
        if Estimator is SWAETransformer:
            unit = expected[:, 0].std() / z[:, 0].numpy().std()  # one number for all components
        np.testing.assert_allclose(z * unit, expected, atol=1e-4)
        np.testing.assert_allclose(module.decode(z), pca.inverse_transform(expected), atol=1e-4)
        if Estimator is SWAETransformer:
            mean, log_variance = module.conditional_prior(x)
            torch.testing.assert_close(mean, z)
            assert torch.all((0.5 * log_variance).exp() < 1.05 * module.prior_scale_floor)


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


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_constant_features_start_decoded_at_their_value(Estimator, digits):
    """Under a sigmoid too, whose logits of 0 and 1 are infinite."""
    X = digits[0][:100].copy()
    X[:, :3] = [0.0, 1.0, 0.3]
    module, x = make_module(Estimator, torch.from_numpy(X).float(), "sigmoid", init="pca")
    with torch.no_grad():
        decoded = module.decode(module.encode(x)).numpy()
    np.testing.assert_allclose(decoded[:, :3], X[:, :3], atol=1e-5)


def anisotropic(rng):
    return (rng.normal(size=(500, 6)) * [3, 2, 1.5, 1, 0.5, 0.2]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]


def test_codes_without_noise_start_with_the_prior_s_variance(rng):
    X = anisotropic(rng)
    module, x = make_module(WAETransformer, torch.from_numpy(X).float(), init="pca")
    with torch.no_grad():
        z = module.encode(x)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(
        module.decode(z).detach(), PCA(3).fit(X).inverse_transform(PCA(3).fit_transform(X)), atol=1e-4
    )


@pytest.mark.parametrize("floor", [0.0, 0.01])
@pytest.mark.parametrize("network", [GatedMLP((16,)), CosineNet()])
def test_the_vae_starts_at_probabilistic_pca(network, floor, rng):
    """Means, noise, and scale of the likelihood: its bound is the log-likelihood of that model."""
    X = anisotropic(rng)
    x = torch.from_numpy(X).float()
    module, x = make_module(VAETransformer, x, network=network, init="pca", posterior_scale_floor=floor)
    module.eval()
    pca = PCA(3).fit(X)
    sigma2, variances = pca.noise_variance_, pca.explained_variance_
    with torch.no_grad():
        mean, log_variance = module.posterior(x)
        expected = pca.transform(X) * np.sqrt((1 - sigma2 / variances) / variances)
        np.testing.assert_allclose(mean, expected, atol=1e-4)
        np.testing.assert_allclose(log_variance.exp(), np.tile(sigma2 / variances, (500, 1)), rtol=1e-4)
        # of 500 draws
        np.testing.assert_allclose(module.head.scale().item() ** 2, sigma2, rtol=0.1)
        bound = -np.mean([sum_of(module, x, seed) for seed in range(20)])
    np.testing.assert_allclose(bound, pca.score(X), atol=0.05)


def sum_of(module, x, seed):
    return loss_of(module, x, seed)["loss"].item()


@pytest.mark.parametrize("k", [3, 8, 9, 10])
def test_the_noise_of_the_start_is_the_mean_variance_left_out_of_few_rows(k, rng):
    """Per direction of the features, not of the rows; the rows' last direction is no noise."""
    X = rng.normal(size=(10, 50))
    rows = as_given(X)
    start = pca_start(
        rows, principal_components(rows, k, 0), k, SquaredError("identity"), kind="probabilistic"
    )
    variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:9] ** 2 / 9
    used = variances[:k]
    sigma2 = variances[k:].sum() / (50 - k) if k < 9 else 0.05 * used[-1]
    np.testing.assert_allclose(start.log_variance.exp(), sigma2 / used, rtol=1e-3)


def as_given(X):
    """Training rows in the units of X."""
    X = np.asarray(X, dtype=np.float32)
    return TrainingRows(ArrayData(X), Scaler(X.shape[1]), clamp=False)


def spectrum(rng, n, d, rank=30):
    """Rows with variances that fall by a fifth from one direction to the next, beside noise."""
    scales = 0.8 ** np.arange(min(n, d, rank))
    X = (rng.normal(size=(n, len(scales))) * scales) @ np.linalg.qr(rng.normal(size=(d, len(scales))))[0].T
    return X + 1e-3 * rng.normal(size=(n, d)) + rng.normal(size=d)


@pytest.mark.parametrize("shape", [(300, 20), (30, 200), (20, 1200), (450, 1200), (3, 2), (4, 1)])
@pytest.mark.parametrize("unit", [1.0, 1e-15, 1e15])
def test_principal_components_are_those_of_scikit_learn(shape, unit, rng):
    """By the covariance, by inner products, and by power iteration; in blocks and in one piece."""
    X = np.float32(spectrum(rng, *shape) * unit)
    k = min(6, *shape)
    found, pca = principal_components(as_given(X), k, 0), PCA(k, svd_solver="full").fit(X.astype(np.float64))
    rank = np.sum(pca.singular_values_ > 1e-6 * pca.singular_values_[0])
    np.testing.assert_allclose(found.mean, pca.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.variances, pca.explained_variance_[:rank], rtol=1e-6)
    np.testing.assert_allclose(found.directions, pca.components_[:rank], atol=1e-4)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(found.total_variance, X.astype(np.float64).var(axis=0, ddof=1).sum())
    assert found.n_rows == len(X)


def test_components_of_many_rows_are_those_of_the_rows_chosen(rng):
    X = spectrum(rng, 12_000, 5)
    rows = as_given(X)
    found = principal_components(rows, 5, 3)
    pca = PCA(5).fit(rows.choose(10_000, found.seed).double())
    np.testing.assert_allclose(found.variances, pca.explained_variance_)
    np.testing.assert_allclose(found.directions, pca.components_, atol=1e-6)
    assert found.n_rows == 10_000
    again = principal_components(rows, 5, 3)
    assert torch.equal(again.directions, found.directions)
    assert not torch.equal(principal_components(rows, 5, 4).mean, found.mean)


@pytest.mark.parametrize("X", [np.full((5, 3), 0.1), np.full((5, 2000), 1e10), np.ones((1, 4))])
def test_rows_that_are_alike_have_no_components(X):
    found = principal_components(as_given(X), 2, 0)
    assert found.directions.shape == (0, X.shape[1])
    assert found.total_variance == 0.0
    for kind in ("scaled", "whitened", "probabilistic"):
        start = pca_start(as_given(X), found, 2, SquaredError("identity"), kind=kind)
        assert start.rank == 0
        np.testing.assert_array_equal(start.decoder_bias, np.float32(X[0]))


@pytest.mark.parametrize("head", [SquaredError("identity"), Bernoulli()])
@pytest.mark.parametrize("kind", ["scaled", "whitened", "probabilistic"])
def test_the_start_is_the_regression_of_rows_on_codes(head, kind, rng):
    """Block by block, and from more components than are used."""
    X = np.float32(rng.uniform(size=(1000, 600)) * np.linspace(0, 1, 600))
    k, n = 4, len(X)
    rows, x = as_given(X), torch.from_numpy(X).double()
    start = pca_start(rows, principal_components(rows, k + 3, 0), k, head, kind=kind)
    pca = PCA(k, svd_solver="full").fit(x)
    variances = pca.explained_variance_
    noise = np.zeros(k)
    if kind == "probabilistic":
        noise = np.minimum(np.maximum(pca.noise_variance_, head.least_variance) / variances, 0.99)
        np.testing.assert_allclose(start.log_variance, np.log(noise), rtol=1e-5)
    unit = variances.mean() if kind == "scaled" else variances / (1 - noise)
    z = pca.transform(x) / np.sqrt(unit)
    np.testing.assert_allclose(x.float() @ start.encoder_weight.T + start.encoder_bias, z, atol=1e-4)
    target = head.inverse(x, x.std(dim=0, correction=0)).numpy()
    # least squares with the noise of the codes: a ridge
    weight = np.linalg.solve(z.T @ z + n * np.diag(noise), z.T @ (target - target.mean(axis=0))).T
    np.testing.assert_allclose(start.decoder_weight, weight, atol=1e-5)
    np.testing.assert_allclose(start.decoder_bias, target.mean(axis=0), atol=1e-5)
