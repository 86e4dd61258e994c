"""The plain autoencoder, and the priors that any autoencoder can have."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skswae import AETransformer, SWAETransformer
from skswae._estimator import _sample_mixture
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, cheap

each = pytest.mark.parametrize("Estimator", ESTIMATORS)


def test_linear_networks_find_the_principal_subspace(rng):
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    X = rng.normal(size=(1000, 3)) @ W.T + 0.8 * rng.normal(size=(1000, 10))
    ae = AETransformer(
        3,
        init="random",
        network=GatedMLP(()),
        max_iter=60,
        batch_size=16,
        learning_rate_init=1e-2,
        random_state=0,
    ).fit(X)
    pca = PCA(3).fit(X)
    best = np.square(X - pca.inverse_transform(pca.transform(X))).sum(axis=1).mean()
    assert best <= -ae.score(X) < 1.01 * best


@pytest.mark.parametrize("reconstruction", ["squared_error", "binary_cross_entropy"])
def test_the_loss_is_the_cost_of_the_reconstruction(reconstruction, digits):
    X = digits[0]
    ae = cheap(AETransformer, reconstruction=reconstruction).fit(X)
    D = ae.reconstruct(X)
    if reconstruction == "squared_error":
        expected = np.square(X - D).sum(axis=1).mean()
    else:
        expected = -(X * np.log(D) + (1 - X) * np.log1p(-D)).sum(axis=1).mean()
    ((player, terms),) = ae.module_.double().losses(torch.tensor(X), torch.Generator())
    assert player == "autoencoder"
    for name in ("loss", "reconstruction_loss"):
        assert terms[name].item() == pytest.approx(expected, rel=1e-9)


def test_numerical_gradients(digits):
    module = cheap(AETransformer, n_components=3).fit(digits[0]).module_.double()
    x = torch.tensor(digits[0][:5])
    names = [name for name, _ in module.named_parameters()]

    def loss(*values):
        out = torch.func.functional_call(Loss(module), dict(zip((f"m.{n}" for n in names), values)), (x,))
        return out

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)


class Loss(torch.nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return next(iter(self.m.losses(x, torch.Generator())))[1]["loss"]


@pytest.mark.parametrize("n_components", [2, 10])
def test_the_model_s_prior_is_the_gaussian_of_the_codes(n_components, digits):
    """Also with fewer rows than components."""
    X = digits[0][:8] if n_components == 10 else digits[0]
    ae = cheap(AETransformer, n_components=n_components).fit(X)
    Z = ae.transform(X.astype(np.float32)).astype(np.float64)
    drawn = ae.module_.sample_prior(200_000, torch.Generator().manual_seed(0)).double().numpy()
    covariance = np.cov(Z.T, bias=True)
    scale = np.sqrt(np.diag(covariance).max())
    np.testing.assert_allclose(drawn.mean(axis=0), Z.mean(axis=0), atol=0.015 * scale)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.015 * scale**2)


# ---------------------------------------------------------------------------
# sample(prior="gmm"), for every model
# ---------------------------------------------------------------------------


@each
def test_codes_of_training_rows_are_kept(Estimator, digits):
    X = digits[0].astype(np.float32)
    fitted = cheap(Estimator).fit(X)
    codes = fitted.module_.codes.numpy()
    assert codes.shape == (300, 2)
    order = np.lexsort(codes.T), np.lexsort(fitted.transform(X).T)
    np.testing.assert_allclose(codes[order[0]], fitted.transform(X)[order[1]], atol=1e-5)
    fitted.partial_fit(X[:20])  # the encoder has moved on: of earlier rows nothing is kept
    codes = np.sort(fitted.module_.codes.numpy(), axis=0)
    np.testing.assert_allclose(codes, np.sort(fitted.transform(X[:20]), axis=0), atol=1e-5)
    assert np.isfinite(fitted.partial_fit(X[:1]).sample(3, prior="gmm", random_state=0)).all()


def test_at_most_5000_codes_are_kept_at_random(rng):
    X = rng.normal(size=(12_000, 3)) + np.linspace(0, 100, 12_000)[:, None]
    fitted = cheap(AETransformer, max_iter=1, batch_size=1000).fit(X)
    kept = fitted.module_.codes.numpy()
    assert kept.shape == (5000, 2)
    Z = fitted.transform(X)
    assert stats.ks_2samp(kept[:, 0], Z[:, 0]).pvalue > 1e-3
    assert len(np.unique(kept, axis=0)) == 5000


@each
def test_gmm_draws_from_the_mixture_of_the_codes(Estimator, digits):
    X = digits[0]
    fitted = cheap(Estimator, max_iter=5).fit(X)
    X_new = fitted.sample(4000, prior="gmm", random_state=0)
    assert X_new.shape == (4000, 64)
    assert X_new.dtype == np.float64
    codes = fitted.module_.codes.double().numpy()
    mixture = GaussianMixture(10, random_state=0).fit(codes)
    reference = fitted.inverse_transform(mixture.sample(4000)[0].astype(np.float32))
    total = reference.var(axis=0).sum()
    assert np.square(X_new.mean(axis=0) - reference.mean(axis=0)).sum() < 0.01 * total
    assert X_new.var(axis=0).sum() == pytest.approx(total, rel=0.1)


@each
def test_gmm_is_repeatable_and_moves_no_stream(Estimator, digits):
    fitted = cheap(Estimator).fit(digits[0])
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    a, b = (fitted.sample(5, prior="gmm", random_state=3) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, fitted.sample(5, prior="gmm", random_state=4))
    assert not np.array_equal(a, fitted.sample(5, prior="model", random_state=3))
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())
    assert not np.array_equal(fitted.sample(5, prior="gmm"), fitted.sample(5, prior="gmm"))


@each
@pytest.mark.parametrize("prior", ["GMM", None, 3, ["gmm"]])
def test_unknown_priors_are_refused(Estimator, prior, digits):
    fitted = cheap(Estimator).fit(digits[0][:60])
    with pytest.raises(ValueError, match=r"'prior' argument must be 'model' or 'gmm'\. Got"):
        fitted.sample(3, prior=prior)


@each
def test_gmm_on_few_or_equal_rows(Estimator, iris):
    for X in (iris[:2], iris[:5], np.full((20, 3), 0.5), iris):
        fitted = cheap(Estimator, n_components=4).fit(X)
        assert np.isfinite(fitted.sample(7, prior="gmm", random_state=0)).all()


def test_gmm_does_not_depend_on_the_codes_origin_and_units(rng):
    codes = rng.normal(size=(600, 2)).astype(np.float32)
    for origin, scale in ((0.0, (1.0, 1.0)), (1e4, (1.0, 1.0)), (0.0, (1e4, 1e-3))):
        Z = _sample_mixture(origin + np.float32(scale) * codes, 5000, 0, 0)
        np.testing.assert_allclose(Z.std(axis=0), scale * codes.std(axis=0), rtol=0.05)
        assert np.all(np.abs(Z.mean(axis=0) - origin) < 0.15 * np.array(scale))


def test_gmm_follows_modes_that_one_gaussian_blurs(rng):
    """Why it is the baseline: three far clusters, and nothing between them."""
    centres = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 15.0]])
    X = centres[rng.integers(3, size=600)] @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(600, 5))
    ae = AETransformer(2, max_iter=10, random_state=0).fit(X)
    near = {}
    for prior in ("model", "gmm"):
        S = ae.sample(1000, prior=prior, random_state=0)
        distance = np.sqrt(np.square(S[:, None] - X[None, ::5]).sum(axis=2)).min(axis=1)
        near[prior] = np.mean(distance < 2.0)
    assert near["gmm"] > 0.95
    assert near["model"] < 0.5


def test_the_baseline_has_no_more_than_a_swae_without_a_prior(digits):
    """With beta = 0 SWAE's encoder and decoder are an autoencoder's but for the z-loss."""
    X = digits[0]
    ae, swae = AETransformer(random_state=0).fit(X), SWAETransformer(beta=0.0, random_state=0).fit(X)
    assert -ae.score(X) < -swae.score(X)
