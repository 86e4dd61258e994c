"""Latent-variable models: one level and two, warm-up, and log p(x) by importance sampling."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from skswae._likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from skswae._module import Parts
from skswae._rows import Rows
from skswae._vae import VAEModule
from skswae._vampprior import VampPriorModule
from torch import nn
from torch.distributions import Independent, Normal

from skswae import VAETransformer, VampPriorTransformer
from skswae.networks import GatedMLP

from .estimators import cheap

BOTH = [VAETransformer, VampPriorTransformer]
FEW = {VAETransformer: {}, VampPriorTransformer: {"n_pseudo_inputs": 10}}
LIKELIHOODS = ["bernoulli", "gaussian", "discretized_logistic"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small_rows(n, d, likelihood, n_bins=17, seed=0):
    """Rows that suit the likelihood, float32."""
    rows = torch.rand(n, d, generator=generator(seed))
    if likelihood == "bernoulli":
        return (rows > 0.5).float()
    if likelihood == "discretized_logistic":
        return torch.floor(rows * n_bins) / (n_bins - 1)
    return rows


def make_module(
    Module, n=20, d=5, k=3, K=4, likelihood="gaussian", activation="sigmoid", per_feature=False,
    init="random", floor=0.05, network=None, seed=0, **options,
):  # fmt: skip
    """A small module in float64, with rows to go with it."""
    rows = small_rows(n, d, likelihood, seed=seed)
    parts = Parts(
        GatedMLP((6,)) if network is None else network,
        Rows(rows.numpy()),
        n_components=k,
        out_activation=activation,
        init=init,
        seed=seed,
    )
    made = {
        "bernoulli": lambda: Bernoulli(),
        "gaussian": lambda: Gaussian(d, per_feature, activation),
        "discretized_logistic": lambda: DiscretizedLogistic(d, per_feature, 17),
    }[likelihood]()
    module = Module(parts, made, floor, **({"n_upper": k} if Module is VAEModule else {"n_pseudo_inputs": K}))
    module.double()
    for name, value in options.items():
        setattr(module, name, value)
    return module, rows.double()


def loss_of(module, x, seed=0):
    ((player, terms),) = module.losses(x, generator(seed))
    assert player == "autoencoder"
    return terms


class Loss(nn.Module):
    """The loss as a function of the parameters, for torch.func.functional_call; its noise is fixed."""

    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return loss_of(self.m, x)["loss"]


def check_gradients(module, x):
    """Numerical gradients of the loss to every parameter, and that none of them is zero."""
    with torch.no_grad():  # off the start, where last layers are zero
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator(1))
    names = [name for name, _ in module.named_parameters()]

    def loss(*values):
        return torch.func.functional_call(Loss(module), dict(zip((f"m.{n}" for n in names), values)), (x,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)
    gradients = torch.autograd.grad(loss(*values), values)
    assert all((g != 0).any() for g in gradients), names


# -- GatedMLP in NumPy, from its parameters -----------------------------------


def gated(layer, x):
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    h, g = np.split(x @ weight.T + bias, 2, axis=1)
    return h / (1 + np.exp(-g))


def gated_mlp(network, x):
    *hidden, last = network
    for layer in hidden:
        x = gated(layer, x)
    return x @ last.weight.detach().numpy().T + last.bias.detach().numpy()


def joint_mlp(network, a, b):
    return gated_mlp(network.rest, np.hstack([gated(network.first, a), gated(network.second, b)]))


def gaussian_of(h, floor=0.05):
    """Mean and log-variance in [2 log floor, 2 log floor + 8]."""
    mean, free = np.split(h, 2, axis=1)
    return mean, 2 * np.log(floor) + 8 / (1 + np.exp(-free))


def normal_log_pdf(z, mean, log_variance):
    return stats.norm(mean, np.exp(0.5 * log_variance)).logpdf(z).sum(axis=-1)


def likelihood_of(module, kind, X, logits):
    """log p(x | z) in NumPy: (n,)."""
    p = 1 / (1 + np.exp(-logits))
    if kind == "bernoulli":
        return stats.bernoulli(p).logpmf(X).sum(axis=1)
    scale = np.sqrt(
        np.exp(20 * module.likelihood.log_scale.detach().numpy()) + module.likelihood.smallest.item() ** 2
    )
    if kind == "gaussian":
        return stats.norm(p, scale).logpdf(X).sum(axis=1)
    j, logistic = np.rint(X * 16), stats.logistic(p, scale)
    upper = np.where(j == 16, 1.0, logistic.cdf((j + 1) / 17))
    lower = np.where(j == 0, 0.0, logistic.cdf(j / 17))
    return np.log(upper - lower).sum(axis=1)


# ---------------------------------------------------------------------------
# Warm-up
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Module", [VAEModule, VampPriorModule])
@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_warm_up_of_the_module(Module, kl_weight):
    module, x = make_module(Module, kl_weight=kl_weight, warmup=3)

    def weight():
        terms = loss_of(module, x)
        return ((terms["loss"] - terms["reconstruction_loss"]) / terms["kl_divergence"]).item()

    for epoch, expected in enumerate([0.25, 0.5, 0.75, 1.0, 1.0]):
        module.before_epoch(epoch)
        module.train()
        assert weight() == pytest.approx(expected * kl_weight, rel=1e-10)
        module.eval()
        assert weight() == pytest.approx(kl_weight, rel=1e-10)
        assert module.settled == (epoch >= 3)
    module.warmup = 0
    module.before_epoch(0)
    assert module.train().settled
    assert weight() == pytest.approx(kl_weight, rel=1e-10)


def weights(history):
    return (history["loss"] - history["reconstruction_loss"]) / history["kl_divergence"]


@pytest.mark.parametrize("Estimator", BOTH)
def test_warm_up_in_training(Estimator, iris):
    vae = cheap(Estimator, warmup=3, max_iter=5).fit(iris)
    np.testing.assert_allclose(weights(vae.history_), [0.25, 0.5, 0.75, 1, 1], rtol=1e-4)
    assert vae.module_.settled
    vae = cheap(Estimator, warmup=3, max_iter=2, warm_start=True, learning_rate="constant").fit(iris)
    assert not vae.module_.settled
    vae.fit(iris).partial_fit(iris)
    np.testing.assert_allclose(weights(vae.history_), [0.25, 0.5, 0.75, 1, 1], rtol=1e-4)
    plain = cheap(Estimator, kl_weight=0.1).fit(iris)
    np.testing.assert_allclose(weights(plain.history_), 0.1, rtol=1e-4)


@pytest.mark.parametrize("Estimator", BOTH)
def test_early_stopping_waits_for_the_warm_up(Estimator, iris):
    """No epoch is a gain with this tol: it stops at the first that counts."""
    stopped = {"early_stopping": True, "tol": 1e9, "n_iter_no_change": 1, "max_iter": 20}
    assert cheap(Estimator, **stopped).fit(iris).n_iter_ == 2
    assert cheap(Estimator, warmup=5, **stopped).fit(iris).n_iter_ == 6


@pytest.mark.parametrize("Estimator", BOTH)
def test_held_out_rows_are_judged_by_the_whole_objective(Estimator, iris):
    """In epochs of the warm-up too: a model that stays the same keeps its validation loss."""
    still = {"early_stopping": True, "learning_rate_init": 1e-12, "max_iter": 4}
    warming = cheap(Estimator, warmup=3, **still).fit(iris).history_["validation_loss"]
    whole = cheap(Estimator, **still).fit(iris).history_["validation_loss"]
    np.testing.assert_allclose(warming, whole[0], rtol=1e-5)
    assert abs(whole[0]) > 0.1


# ---------------------------------------------------------------------------
# Two levels
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n_components", "n_upper"), [(2, 1), (4, 2), (5, 2)])
def test_the_code_is_the_upper_level_then_the_lower(n_components, n_upper):
    module, x = make_module(VampPriorModule, k=n_components, activation="identity")
    assert module.two_levels
    X = x.numpy()
    mean2, _ = gaussian_of(gated_mlp(module.encoder, X))
    mean1, _ = gaussian_of(joint_mlp(module.lower_encoder, X, mean2))
    assert (mean2.shape, mean1.shape) == ((20, n_upper), (20, n_components - n_upper))
    with torch.no_grad():
        Z = module.encode(x)
        decoded = module.decode(Z)
    np.testing.assert_allclose(Z, np.hstack([mean2, mean1]), rtol=1e-12)
    np.testing.assert_allclose(decoded, joint_mlp(module.decoder, mean1, mean2), rtol=1e-12)


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize(("n_components", "n_upper"), [(4, 2), (3, 1)])
def test_transform_and_inverse_transform_of_two_levels(n_components, n_upper, init, iris):
    vamp = cheap(VampPriorTransformer, n_components=n_components, n_pseudo_inputs=5, init=init).fit(iris)
    Z = vamp.transform(iris)
    module = copy.deepcopy(vamp.module_).double()
    with torch.no_grad():
        x = module.to_units(torch.tensor(iris))
        mean2, _ = module.posterior(x)
        mean1, _ = module.lower_posterior(x, mean2)
    np.testing.assert_allclose(Z[:, :n_upper], mean2, rtol=1e-9)
    np.testing.assert_allclose(Z[:, n_upper:], mean1, rtol=1e-9)
    back = vamp.inverse_transform(Z)
    np.testing.assert_allclose(back, vamp.reconstruct(iris), rtol=1e-9)
    for column in range(n_components):
        changed = Z.copy()
        changed[:, column] += 1.0
        moved = np.abs(vamp.inverse_transform(changed) - back).max(axis=1)
        assert np.all(moved > 1e-3), column


def test_one_component_is_a_single_level(iris):
    vamp = cheap(VampPriorTransformer, n_components=1, n_pseudo_inputs=5).fit(iris)
    module = vamp.module_
    assert not module.two_levels
    assert not hasattr(module, "lower_encoder")
    assert not hasattr(module, "lower_prior")
    assert vamp.transform(iris).shape == (150, 1)
    assert vamp.inverse_transform(vamp.transform(iris)).shape == iris.shape
    assert vamp.sample(7, random_state=0).shape == (7, 4)
    assert np.isfinite(vamp.log_likelihood(iris, 3, random_state=0)).all()
    vae = cheap(VAETransformer, n_components=3).fit(iris)
    assert not vae.module_.two_levels


@pytest.mark.parametrize(("Module", "k"), [(VAEModule, 3), (VampPriorModule, 1), (VampPriorModule, 3)])
def test_posterior_and_prior_densities_are_torch_s(Module, k):
    module, x = make_module(Module, k=k)

    def log_density(mean, log_variance, z):
        return Independent(Normal(mean, torch.exp(log_variance / 2)), 1).log_prob(z)

    with torch.no_grad():
        z, log_q = module.draw_posterior(x, generator())
        z2, z1 = z[:, : module.n_upper], z[:, module.n_upper :]
        expected_q = log_density(*module.posterior(x), z2)
        if Module is VAEModule:
            expected_p = log_density(torch.zeros_like(z2), torch.zeros_like(z2), z2)
        else:
            each = [
                log_density(*module.posterior(u[None]), z2) for u in module.pseudo_inputs.rows
            ]  # fmt: skip
            expected_p = torch.stack(each).logsumexp(dim=0) - np.log(len(each))
        if module.two_levels:
            expected_q = expected_q + log_density(*module.lower_posterior(x, z2), z1)
            mean, log_variance = gaussian_of(gated_mlp(module.lower_prior, z2.numpy()))
            expected_p = expected_p + log_density(torch.tensor(mean), torch.tensor(log_variance), z1)
        same = {"rtol": 1e-10, "atol": 1e-10}
        torch.testing.assert_close(log_q, expected_q, **same)
        torch.testing.assert_close(module.posterior_log_prob(x, z), expected_q, **same)
        torch.testing.assert_close(module.prior_log_prob(z), expected_p, **same)


@pytest.mark.parametrize("k", [1, 3])
def test_draws_of_the_posterior_have_its_moments(k):
    module, x = make_module(VampPriorModule, k=k)
    n = 40_000
    with torch.no_grad():
        one = x[:1].expand(n, -1)
        z, _ = module.draw_posterior(one, generator())
        z2, z1 = module.levels(z)
        pairs = [(z2, *module.posterior(one))]
        if module.two_levels:
            pairs.append((z1, *module.lower_posterior(one, z2)))
    for values, mean, log_variance in pairs:
        standardised = ((values - mean) * torch.exp(-log_variance / 2)).numpy()
        assert np.all(np.abs(standardised.mean(axis=0)) < 5 / np.sqrt(n))
        np.testing.assert_allclose(np.cov(standardised.T), np.eye(values.shape[1]).squeeze(), atol=0.05)


# ---------------------------------------------------------------------------
# The start of the likelihood
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["shared", "per_feature"])
def test_the_likelihood_starts_at_the_error_of_drawn_codes(scale, iris):
    """PCA's residual, and what the posteriors' noise adds through PCA's decoder, up to the variance."""
    vae = cheap(VAETransformer, likelihood_scale=scale, learning_rate_init=1e-12, max_iter=1).fit(iris)
    pca = PCA(2).fit(iris)
    residual = np.square(iris - pca.inverse_transform(pca.transform(iris))).mean(axis=0)
    s = 0.1 * np.exp(2)  # the middle of the range of log-variances
    noise = s**2 * pca.explained_variance_.mean() * np.square(pca.components_).sum(axis=0)
    expected = np.minimum(residual + noise, iris.var(axis=0))
    if scale == "shared":
        expected = expected.mean(keepdims=True)
    found = np.square(vae.module_.likelihood.scale().detach().numpy() * vae.scale_)
    np.testing.assert_allclose(found, expected, rtol=0.2)  # of 150 draws


def test_the_likelihood_of_random_networks_starts_at_the_variance_or_below(iris):
    """Networks that were not started at PCA explain less than the mean does, at first."""
    still = {"init": "random", "learning_rate_init": 1e-12, "max_iter": 1}
    vae = cheap(VAETransformer, likelihood_scale="per_feature", **still).fit(iris)
    variance = np.square(vae.module_.likelihood.scale().detach().numpy() * vae.scale_)
    assert np.square(iris - vae.reconstruct(iris)).mean() > iris.var(axis=0).mean()
    assert np.all(variance <= iris.var(axis=0) * (1 + 1e-4))
    assert np.any(np.isclose(variance, iris.var(axis=0), rtol=1e-4))


# ---------------------------------------------------------------------------
# log p(x): the module's importance sampling
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Module", [VAEModule, VampPriorModule])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_one_sample_is_the_bound(Module, likelihood):
    """The draw that the same generator gives: log p(x | z) + log p(z) - log q(z | x)."""
    module, x = make_module(Module, likelihood=likelihood)
    module.eval()
    with torch.no_grad():
        z, log_q = module.draw_posterior(x, generator(5))
        expected = module.log_likelihood(x, z) + module.prior_log_prob(z) - log_q
        found = module.importance_log_likelihood(x, 1, generator(5))
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
        if Module is VampPriorModule:  # whose loss has no closed form in it
            assert -found.mean().item() == pytest.approx(loss_of(module, x, seed=5)["loss"].item(), rel=1e-12)


def table_of_draws(module, table):
    """Let the module draw its codes from a table, (n, S, k), in order."""
    used = [0]

    def draw_posterior(x, _, upper):
        n, size = len(table), len(x) // len(table)
        z = table[:, used[0] : used[0] + size].reshape(n * size, -1)
        used[0] += size
        return z, module.posterior_log_prob(x, z)

    module.draw_posterior = draw_posterior
    return used


@pytest.mark.parametrize("Module", [VAEModule, VampPriorModule])
@pytest.mark.parametrize("at_once", [1, 4, 7, 8, 1000])
def test_chunks_of_draws(Module, at_once, monkeypatch):
    """However many are decoded at a time, the same draws give one number: the log-mean of the weights."""
    module, x = make_module(Module, n=5)
    S = 15
    with torch.no_grad():
        draws = [module.draw_posterior(x, generator(s))[0] for s in range(S)]
        log_weights = [
            module.log_likelihood(x, z) + module.prior_log_prob(z) - module.posterior_log_prob(x, z)
            for z in draws
        ]
        weights = np.exp(torch.stack(log_weights).numpy())  # (S, n)
        width = max([x.shape[1], *(p.numel() for p in module.upper_prior_parameters())])
        monkeypatch.setattr("skswae._latent._NUMBERS", 5 * at_once * width)
        used = table_of_draws(module, torch.stack(draws, dim=1))
        found = module.importance_log_likelihood(x, S, generator())
    assert used == [S]
    np.testing.assert_allclose(found, np.log(weights.mean(axis=0)), rtol=1e-11)


def test_more_rows_than_draws_at_once(monkeypatch):
    monkeypatch.setattr("skswae._latent._NUMBERS", 8)
    module, x = make_module(VAEModule, n=20)
    with torch.no_grad():
        found = module.importance_log_likelihood(x, 2, generator())
        shared = generator()
        single = torch.stack([module.importance_log_likelihood(x, 1, shared) for _ in range(2)])
    torch.testing.assert_close(found, single.logsumexp(dim=0) - np.log(2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("Module", [VAEModule, VampPriorModule])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_float32_is_close_to_float64(Module, likelihood):
    """With the same draws."""
    module, x = make_module(Module, likelihood=likelihood)
    with torch.no_grad():
        table = torch.stack([module.draw_posterior(x, generator(s))[0] for s in range(20)], dim=1)
        found = []
        for dtype in (torch.float32, torch.float64):
            same = copy.deepcopy(module).to(dtype)
            table_of_draws(same, table.to(dtype))
            found.append(same.importance_log_likelihood(x.to(dtype), 20, generator()))
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[0].double(), found[1], rtol=1e-5, atol=1e-5)


def linear_vae(d=4, k=2, sigma=0.5, seed=0):
    """A VAE with linear networks, x = W z + b + sigma noise, whose posterior is exact; and W, b, sigma."""
    rng = np.random.default_rng(seed)
    module, x = make_module(
        VAEModule, d=d, k=k, network=GatedMLP(()), floor=0, likelihood="gaussian", activation="identity"
    )
    W = np.linalg.qr(rng.normal(size=(d, k)))[0] * np.linspace(1.5, 0.5, k)  # orthogonal: diagonal posterior
    b = rng.normal(size=d)
    precision = 1 + (W**2).sum(axis=0) / sigma**2
    E = (W / sigma**2 / precision).T  # (k, d)
    set_linear(module.decoder[-1], W, b)
    set_linear(
        module.encoder[-1], np.vstack([E, np.zeros((k, d))]), np.concatenate([-E @ b, -np.log(precision)])
    )
    set_scale(module, sigma)
    return module, x, W, b


def set_linear(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=np.float64)))
        layer.bias.copy_(torch.from_numpy(np.asarray(bias, dtype=np.float64)))


def set_scale(module, sigma):
    with torch.no_grad():
        module.likelihood.log_scale.fill_(0.05 * np.log(sigma**2 - module.likelihood.smallest.item() ** 2))
    torch.testing.assert_close(module.likelihood.scale(), torch.tensor([sigma], dtype=torch.float64))


def test_log_likelihood_of_a_linear_gaussian_model_is_exact():
    """With the exact posterior each draw's weight is p(x): N(x; b, W W^T + sigma^2 I)."""
    module, x, W, b = linear_vae()
    exact = stats.multivariate_normal(b, W @ W.T + 0.25 * np.eye(4)).logpdf(x.numpy())
    with torch.no_grad():
        for S in (1, 3):
            np.testing.assert_allclose(
                module.importance_log_likelihood(x, S, generator()), exact, rtol=1e-11
            )  # fmt: skip
        # a posterior too wide and off by half a standard deviation: below the truth, near it with many draws
        module.encoder[-1].bias[:2] += 0.5 * torch.exp(0.5 * module.encoder[-1].bias[2:])
        module.encoder[-1].bias[2:] += 2 * np.log(1.4)
        one = module.importance_log_likelihood(x.repeat(500, 1), 1, generator()).reshape(500, 20).mean(0)
        many = module.importance_log_likelihood(x, 20_000, generator())
    # the bound is lower by KL(q || p(z | x)) of two Gaussians, in two dimensions
    kl = 2 * 0.5 * (1.4**2 + 0.25 - 1 - 2 * np.log(1.4))
    np.testing.assert_allclose(one, exact - kl, atol=0.3)
    assert abs(np.mean(one.numpy() - exact) + kl) < 0.05
    np.testing.assert_allclose(many, exact, atol=0.03)


def test_log_likelihood_of_a_linear_two_level_mixture():
    """p(x) of linear networks is a mixture of Gaussians, one a pseudo-input."""
    module, x = make_module(
        VampPriorModule, d=3, k=2, K=4, network=GatedMLP(()), floor=0, activation="identity"
    )
    sigma, v2, v1 = 0.5, 0.3, 0.4  # of x, of q(z2 | x), of p(z1 | z2)
    e, c = np.array([1.0, -0.5, 0.8]), 0.2  # q(z2 | x) = N(e x + c, v2)
    a, f = 0.7, -0.3  # p(z1 | z2) = N(a z2 + f, v1)
    W1, W2, b = np.array([0.5, 0.2, -0.4]), np.array([0.6, -0.3, 0.3]), np.array([0.1, 0.4, 0.2])
    set_linear(module.encoder[-1], [e, 0 * e], [c, np.log(v2)])
    set_linear(module.lower_prior[-1], [[a], [0.0]], [f, np.log(v1)])
    # q(z1 | x, z2): not far from the prior, a little wider
    set_linear(module.lower_encoder.rest, [[0.3, 0.1, -0.2, a], [0, 0, 0, 0]], [f, np.log(1.2 * v1)])
    set_linear(module.decoder.rest, np.column_stack([W1, W2]), b)
    set_scale(module, sigma)
    path = a * W1 + W2
    covariance = v2 * np.outer(path, path) + v1 * np.outer(W1, W1) + sigma**2 * np.eye(3)
    means = module.pseudo_inputs.rows.detach().numpy() @ e + c
    p = np.mean(
        [stats.multivariate_normal(m * path + f * W1 + b, covariance).pdf(x.numpy()) for m in means], axis=0
    )
    with torch.no_grad():
        found = module.importance_log_likelihood(x, 20_000, generator()).numpy()
        one = module.importance_log_likelihood(x.repeat(200, 1), 1, generator()).mean().item()
        # the model's own rows have that distribution
        z = module.sample_prior(200_000, generator())
        drawn = module.logits(z) + sigma * torch.randn(len(z), 3, generator=generator(1), dtype=torch.float64)
    np.testing.assert_allclose(found, np.log(p), atol=0.03)
    assert one < np.log(p).mean() - 0.05
    centres = np.outer(means, path) + f * W1 + b
    np.testing.assert_allclose(drawn.mean(dim=0), centres.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(
        np.cov(drawn.numpy().T), covariance + np.cov(centres.T, bias=True), atol=0.02
    )  # fmt: skip


@pytest.mark.parametrize("Estimator", BOTH)
def test_it_grows_with_the_samples(Estimator, digits):
    """From the bound upwards (Burda et al. 2016, theorem 1), for a fitted model, averaged over draws."""
    X = digits[0][:40]
    vae = cheap(Estimator, n_components=4, max_iter=10, **FEW[Estimator]).fit(digits[0])
    means, errors = [], []
    for S, repetitions in [(1, 60), (5, 20), (50, 8)]:
        found = [vae.log_likelihood(X, S, random_state=seed).mean() for seed in range(repetitions)]
        means.append(np.mean(found))
        errors.append(np.std(found, ddof=1) / np.sqrt(repetitions))
    assert means[1] - means[0] > 4 * np.hypot(errors[0], errors[1])
    assert means[2] - means[1] > 4 * np.hypot(errors[1], errors[2])
    # the bound, by the module's own loss
    module = copy.deepcopy(vae.module_).double()
    x = module.to_units(torch.tensor(X))
    with torch.no_grad():
        bound = [-loss_of(module, x, seed)["loss"].item() for seed in range(100)]
    found = means[0] + X.shape[1] * np.log(vae.scale_)
    assert abs(np.mean(bound) - found) < 5 * np.hypot(errors[0], np.std(bound) / 10)


# ---------------------------------------------------------------------------
# log p(x): the estimator's method
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("c", [2.0**-12, 1024.0])
def test_a_density_in_the_units_of_the_data(Estimator, c, iris):
    """Of c X it is lower by d log c, everything else being the same."""
    one = cheap(Estimator).fit(iris).log_likelihood(iris, 10, random_state=0)
    other = cheap(Estimator).fit(c * iris).log_likelihood(c * iris, 10, random_state=0)
    np.testing.assert_allclose(other, one - 4 * np.log(c), rtol=1e-9)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("scaling", ["auto", None])
def test_a_density_integrates_to_one(Estimator, scaling, rng):
    """The estimate of p(x) has no bias; its spread is what the tolerance is for."""
    X = 50 + 20 * rng.choice([-1.0, 1.0], size=(200, 1)) + 5 * rng.normal(size=(200, 1))
    if scaling is None:
        X = 0.1 * X
    vae = cheap(Estimator, n_components=1, scaling=scaling, max_iter=30, **FEW[Estimator]).fit(X)
    assert vae.likelihood_ == "gaussian"
    grid = np.linspace(X.min() - np.ptp(X), X.max() + np.ptp(X), 400)
    p = np.exp(vae.log_likelihood(grid[:, None], 1000, random_state=0))
    assert np.sum(p) * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_probabilities_sum_to_one(Estimator, likelihood, rng):
    """Over all rows that there are."""
    n_values = 2 if likelihood == "bernoulli" else 4
    every = np.indices((n_values, n_values, n_values)).reshape(3, -1).T / (n_values - 1)
    X = every[rng.integers(len(every), size=200) // 2]
    vae = cheap(Estimator, likelihood=likelihood, n_bins=4, max_iter=20, **FEW[Estimator]).fit(X)
    log_p = vae.log_likelihood(every, 2000, random_state=0)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_draws(Estimator, dtype, iris):
    X = iris.astype(dtype)
    vae = cheap(Estimator).fit(X)
    before = torch.random.get_rng_state()
    found = vae.log_likelihood(X, 2, random_state=3)
    assert found.dtype == dtype
    assert found.shape == (150,)
    np.testing.assert_array_equal(found, vae.log_likelihood(X, 2, random_state=3))
    np.testing.assert_array_equal(found, vae.log_likelihood(X, 2, random_state=np.random.RandomState(3)))
    assert np.all(found != vae.log_likelihood(X, 2, random_state=4))
    assert np.all(vae.log_likelihood(X, 2) != vae.log_likelihood(X, 2))  # also of a seeded estimator
    assert torch.equal(before, torch.random.get_rng_state())
    again = vae.log_likelihood(X, np.int64(2), random_state=3)
    np.testing.assert_array_equal(found, again)
    assert vae.module_.scale.dtype == torch.float64
    assert next(vae.module_.parameters()).dtype == torch.float32


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None, True, np.bool_(True), np.nan])
def test_unusable_numbers_of_samples(Estimator, n, iris):
    vae = cheap(Estimator, max_iter=1).fit(iris)
    with pytest.raises(ValueError, match="'n_importance_samples' argument must be an integer of at least 1"):
        vae.log_likelihood(iris, n)


@pytest.mark.parametrize("Estimator", BOTH)
def test_unusable_rows_for_the_log_likelihood(Estimator, iris, digits):
    X = (digits[0][:60] > 0.5).astype(float)
    vae = cheap(Estimator, max_iter=1)
    with pytest.raises(NotFittedError):
        vae.log_likelihood(X)
    vae.fit(X)
    assert vae.likelihood_ == "bernoulli"
    for bad in (2 * X, -X):
        with pytest.raises(ValueError, match=r"'likelihood' parameter .* rows in \[0, 1\]"):
            vae.log_likelihood(bad)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            vae.log_likelihood(np.where(X == 1, bad, X))
    with pytest.raises(ValueError, match="X has 63 features"):
        vae.log_likelihood(X[:, 1:])
    grey = cheap(Estimator, max_iter=1, likelihood="discretized_logistic", n_bins=17).fit(digits[0])
    assert np.isfinite(grey.log_likelihood(digits[0][:3], 2)).all()
    with pytest.raises(ValueError, match=r"'likelihood' parameter .* n_bins = 17"):
        grey.log_likelihood(0.99 * digits[0])
    wide = cheap(Estimator, max_iter=1).fit(iris)
    assert np.isfinite(wide.log_likelihood(100 * iris, 2)).all()


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_drawn_from_the_posterior(Estimator, dtype, digits):
    """Their mean and spread are the posterior's."""
    X = digits[0][:3].astype(dtype)
    model = cheap(Estimator, n_components=2, **FEW[Estimator]).fit(digits[0])
    Z = model.sample_posterior(np.repeat(X, 4000, axis=0), random_state=0)
    assert Z.dtype == dtype
    Z = Z.reshape(3, 4000, 2)
    with torch.no_grad():
        mean, log_variance = model.module_.posterior(model.module_.to_units(torch.from_numpy(X).float()))
    scale = np.exp(log_variance.numpy() / 2)
    upper = mean.shape[1]
    np.testing.assert_allclose(Z[:, :, :upper].std(axis=1), scale, rtol=0.05)
    np.testing.assert_array_less(np.abs(Z[:, :, :upper].mean(axis=1) - mean.numpy()), 5 * scale / 4000**0.5)
    assert (Z.std(axis=1) > 0).all()
    np.testing.assert_array_equal(
        model.sample_posterior(X, random_state=1), model.sample_posterior(X, random_state=1)
    )
    assert (model.sample_posterior(X) != model.sample_posterior(X)).all()
    with pytest.raises(NotFittedError):
        cheap(Estimator).sample_posterior(X)
