"""Latent-variable models: one level and two, warm-up, likelihoods, and log p(x) by importance sampling."""

import copy
import functools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import minmax_scale

from skswae import MIMTransformer, VAETransformer, VampPriorTransformer
from skswae.networks import GatedMLP

from ..estimators import ESTIMATORS, cheap
from .tools import assert_moments, gated_mlp, gaussian_of, generator, latent_module, loss_of, normal, refused

BOTH = [VAETransformer, VampPriorTransformer]
ALL = [*BOTH, MIMTransformer]
LIKELIHOODS = ["bernoulli", "gaussian", "discretized_logistic"]
both = pytest.mark.parametrize("Estimator", BOTH)
every = pytest.mark.parametrize("Estimator", ALL)


def weights(history):
    return (history["loss"] - history["reconstruction_loss"]) / history["kl_divergence"]


@both
def test_warm_up_in_training(Estimator, iris):
    vae = cheap(Estimator, warmup=3, max_iter=5).fit(iris)
    np.testing.assert_allclose(weights(vae.history_), [0.25, 0.5, 0.75, 1, 1], rtol=1e-4)
    vae = cheap(Estimator, warmup=3, max_iter=2, warm_start=True, learning_rate="constant").fit(iris)
    vae.fit(iris).partial_fit(iris)  # later trainings count on
    np.testing.assert_allclose(weights(vae.history_), [0.25, 0.5, 0.75, 1, 1], rtol=1e-4)
    plain = cheap(Estimator, kl_weight=0.1).fit(iris)
    np.testing.assert_allclose(weights(plain.history_), 0.1, rtol=1e-4)


@both
def test_early_stopping_and_the_warm_up(Estimator, iris):
    """It waits for the warm-up's end, and judges held-out rows by the whole objective all along."""
    # no epoch is a gain with this tol: it stops at the first that counts
    stopped = {"early_stopping": True, "tol": 1e9, "n_iter_no_change": 1, "max_iter": 20}
    assert cheap(Estimator, **stopped).fit(iris).n_iter_ == 2
    assert cheap(Estimator, warmup=5, **stopped).fit(iris).n_iter_ == 7
    # a model that stays the same keeps its validation loss
    still = {"early_stopping": True, "learning_rate_init": 1e-12, "max_iter": 4}
    warming = cheap(Estimator, warmup=3, **still).fit(iris).history_["validation_loss"]
    whole = cheap(Estimator, **still).fit(iris).history_["validation_loss"]
    np.testing.assert_allclose(warming, whole[0], rtol=1e-5)
    assert abs(whole[0]) > 0.1


@pytest.mark.parametrize(("n_components", "n_upper"), [(2, 1), (4, 2), (5, 2)])
def test_the_code_is_the_upper_level_then_the_lower(n_components, n_upper):
    module, x = latent_module(VampPriorTransformer, activation="identity", n_components=n_components)
    mean2, _ = gaussian_of(gated_mlp(module.encoder, x.numpy()))
    mean1, _ = gaussian_of(gated_mlp(module.lower_encoder, x.numpy(), mean2))
    assert (mean2.shape, mean1.shape) == ((20, n_upper), (20, n_components - n_upper))
    with torch.no_grad():
        Z = module.encode(x)
        decoded = module.decode(Z)
    np.testing.assert_allclose(Z, np.hstack([mean2, mean1]), rtol=1e-12)
    np.testing.assert_allclose(decoded, gated_mlp(module.decoder, mean1, mean2), rtol=1e-12)


@both
def test_the_floor_bounds_the_posterior_s_scale(Estimator):
    """The VAE's ceiling is at least e, since its code's unit is the prior's."""
    for free, floor, expected in [(-1e4, 0.2, 0.2), (1e4, 0.2, 0.2 * np.exp(4)), (1e4, 0.01, None)]:
        module, x = latent_module(Estimator, posterior_scale_floor=floor)
        if expected is None:
            expected = np.e if Estimator is VAETransformer else 0.01 * np.exp(4)
        with torch.no_grad():
            module.encoder.network[-1].bias.fill_(free)
            _, log_variance = module.posterior(x)
        torch.testing.assert_close(torch.exp(0.5 * log_variance), torch.full_like(log_variance, expected))


def test_the_automatic_likelihood(iris, digits):
    X = digits[0]
    binary = (X > 0.5).astype(float)
    cases = [(data, "auto", "bernoulli", "sigmoid") for data in (binary, binary > 0)]
    cases += [(data, "auto", "gaussian", "identity") for data in (iris, 2 * binary, np.ones((5, 2)))]
    cases += [(X, "auto", "gaussian", "sigmoid"), (binary, "identity", "gaussian", "identity")]
    for data, activation, *expected in [*cases, (binary, "sigmoid", "bernoulli", "sigmoid")]:
        vae = cheap(VAETransformer, max_iter=1, output_activation=activation).fit(data)
        assert [vae.likelihood_, vae.out_activation_] == expected


@pytest.mark.parametrize("scale", ["shared", "per_feature"])
def test_the_likelihood_starts_at_the_error_of_drawn_codes(scale, iris):
    """PCA's residual, and in its directions as much as in those left out: the optimum for a linear model."""
    vae = cheap(VAETransformer, likelihood_scale=scale, learning_rate_init=1e-12, max_iter=1).fit(iris)
    pca = PCA(2).fit(iris)
    residual = np.square(iris - pca.inverse_transform(pca.transform(iris))).mean(axis=0)
    expected = residual + pca.noise_variance_ * np.square(pca.components_).sum(axis=0)
    if scale == "shared":
        expected = expected.mean(keepdims=True)
    found = np.square(vae.module_.head.scale().detach().numpy() * vae.scale_)
    np.testing.assert_allclose(found, expected, rtol=0.2)  # of 150 draws


@every
def test_each_feature_s_scale_starts_at_its_own_error(Estimator, iris):
    """Of random networks too, which explain less than the mean does, and of a feature without variance."""
    X = np.tile(np.column_stack([iris, np.full(150, 2.5)]), (6, 1))
    still = {"init": "random", "learning_rate_init": 1e-12, "max_iter": 1}
    model = cheap(Estimator, likelihood_scale="per_feature", **still).fit(X)
    found = np.square(model.module_.head.scale().detach().numpy() * model.scale_)
    drawn = np.tile(X, (5, 1))
    errors = np.square(drawn - model.inverse_transform(model.sample_posterior(drawn, random_state=0)))
    assert np.square(X - model.reconstruct(X)).mean() > X.var(axis=0).mean()
    np.testing.assert_allclose(found, errors.mean(axis=0), rtol=0.25)  # of 900 draws


@pytest.mark.slow
@every
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_feature_costs_no_accuracy(Estimator, value):
    """With a scale of its own it must not keep the others from being learned."""
    X = np.column_stack([minmax_scale(load_wine().data), np.full(178, value)])
    options = {"n_pseudo_inputs": 20} if Estimator is not VAETransformer else {}
    options |= {"max_iter": 20, "learning_rate_init": 5e-3}
    errors = {
        scale: -cheap(Estimator, likelihood_scale=scale, **options).fit(X).score(X)
        for scale in ("shared", "per_feature")
    }
    assert errors["per_feature"] < 1.05 * errors["shared"]
    assert errors["shared"] < 0.5 * X.var(axis=0).sum()


@every
def test_data_that_contradict_the_likelihood(Estimator, iris, digits):
    X = digits[0][:60]
    for likelihood in ("bernoulli", "discretized_logistic"):
        suit = (
            rf"X must suit likelihood='{likelihood}', which is for rows in \[0, 1\]: put .*'gaussian' .* Got"
        )
        activation = f"'output_activation' parameter must .* 'auto' with likelihood='{likelihood}'. Got 'iden"
        for method in ("fit", "partial_fit"):
            model = cheap(Estimator, likelihood=likelihood)
            refused(model, iris, rf"{suit} values from 0\.1 to 7\.9", method)
            refused(model.set_params(output_activation="identity"), X, activation, method)
    grey = {"likelihood": "discretized_logistic"}
    refused(cheap(Estimator, **grey), X, "X must suit likelihood='discretized_logistic', .* n_bins = 256")
    refused(cheap(Estimator, n_bins=16, **grey), X, "X must suit likelihood.* n_bins = 16.*set n_bins")
    refused(cheap(Estimator, n_bins=17, **grey), 0.99 * X, "X must suit likelihood")
    low = cheap(Estimator, likelihood="bernoulli").fit(0.3 * X)  # in [0, 1], though not up to 1
    assert low.out_activation_ == "sigmoid"


@every
def test_later_rows_that_contradict_the_likelihood(Estimator, digits):
    X = digits[0][:60]
    binary = (X > 0.5).astype(float)
    grey = cheap(Estimator, likelihood="discretized_logistic", n_bins=17)
    for model, rows, bad in ((cheap(Estimator), binary, -binary), (grey, X, 0.99 * X)):
        model.partial_fit(rows)
        with pytest.raises(ValueError, match=r"X must suit likelihood.*in a first fit or partial_fit"):
            model.partial_fit(bad)
        assert model.partial_fit(X).n_iter_ == 2  # values between 0 and 1 are probabilities too
    for name, value in (("likelihood", "gaussian"), ("n_bins", 9), ("likelihood_scale", "per_feature")):
        changed = copy.deepcopy(grey).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"'{name}' parameter must stay"):
            changed.partial_fit(X)


def parts_of(module, x, seed=0):
    """Return the loss, its terms and the gradient to every parameter."""
    terms = loss_of(module, x, seed)
    gradients = torch.autograd.grad(terms["loss"], list(module.parameters()), materialize_grads=True)
    return [*terms.values(), *gradients]


@pytest.mark.parametrize("Estimator", ALL[1:])
def test_as_many_pseudo_inputs_a_step_as_there_are_make_the_exact_objective(Estimator):
    """4 of them, and 20 rows; held-out rows meet all of them however few a step takes."""
    make = functools.partial(latent_module, Estimator)
    if Estimator is MIMTransformer:
        make = functools.partial(make, sampling="symmetric")
    exact, x = make(n_pseudo_inputs_per_step="all")
    expected, few = parts_of(exact, x), make(n_pseudo_inputs_per_step=3)[0]
    for number in (4, 5, "auto"):
        module, _ = make(n_pseudo_inputs_per_step=number)
        assert all(map(torch.equal, parts_of(module, x), expected))
        assert module.mixture_of_a_step(3, generator())[0].shape == (3 if number == "auto" else 4, 1)
    assert not torch.equal(parts_of(few, x)[0], expected[0])
    if Estimator is MIMTransformer:  # nor does it matter for them how few draws a step has
        few.prior_draws_per_row = 0.1
    assert all(map(torch.equal, parts_of(few.eval(), x), parts_of(exact.eval(), x)))


@pytest.mark.parametrize("Estimator", ALL[1:])
def test_a_step_s_mixture_is_of_some_pseudo_inputs(Estimator):
    """Any two of the four as often, whose densities have p(z2) as their mean; others get no gradient."""
    module, x = latent_module(Estimator, n_components=4, n_pseudo_inputs_per_step=2)
    g, z2 = generator(), normal(7, 2)
    means = module.posterior(module.pseudo_inputs.rows)[0]
    found = {}
    for _ in range(600):
        mixture = module.mixture_of_a_step(20, g)
        pair = tuple(sorted(torch.cdist(mixture[0], means).argmin(dim=1).tolist()))
        found.setdefault(pair, []).append(module.upper_prior_log_prob(z2, *mixture).detach())
    assert sorted(found) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert stats.chisquare([len(each) for each in found.values()]).pvalue > 1e-3
    log_p = torch.stack([each[0] for each in found.values()])
    expected = module.upper_prior_log_prob(z2)
    torch.testing.assert_close(log_p.exp().mean(dim=0), expected.exp())
    assert (log_p.mean(dim=0) < expected).all()
    (gradient,) = torch.autograd.grad(loss_of(module, x)["loss"], [module.pseudo_inputs.rows])
    assert sum(row.any().item() for row in gradient) == 2


VALUES = {
    "warmup": [-1, 1.5, "long", None],
    "likelihood": ["normal", None],
    "likelihood_scale": ["both", None, 1.0],
    "n_bins": [1, 0, 256.0, None],
    "posterior_scale_floor": [-0.1, None, "small"],
}
OWN = [
    *((E, "kl_weight", [-0.1, "one", None]) for E in BOTH),
    *((E, "n_pseudo_inputs", [0, -3, 2.5, "auto", None]) for E in ALL[1:]),
    *((E, "n_pseudo_inputs_per_step", [0, -3, 2.5, "some", None]) for E in ALL[1:]),
    (MIMTransformer, "sampling", ["both", None]),
    (MIMTransformer, "prior_draws_per_row", [0, 1.5, -0.1, "all", None]),
    (MIMTransformer, "posterior_scale_floor", [0]),
]


@pytest.mark.parametrize(
    ("Estimator", "name", "values"), [*((E, *item) for E in ALL for item in VALUES.items()), *OWN]
)
def test_parameters_out_of_range(Estimator, name, values, iris):
    for value in values:
        message = f"The '{name}' parameter of {Estimator.__name__} must be .* Got {value!r} instead"
        refused(cheap(Estimator, **{name: value}), iris, message)


def set_linear(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=np.float64)))
        layer.bias.copy_(torch.from_numpy(np.asarray(bias, dtype=np.float64)))


def set_scale(module, sigma):
    with torch.no_grad():
        module.head.log_scale.fill_(0.05 * np.log(sigma**2 - module.head.smallest.item() ** 2))
    torch.testing.assert_close(module.head.scale(), torch.tensor([sigma], dtype=torch.float64))


def test_log_likelihood_of_a_linear_gaussian_model_is_exact(monkeypatch):
    """With the exact posterior each draw's weight is p(x): N(x; b, W W^T + sigma^2 I)."""
    # x = W z + b + sigma noise
    d, k, sigma = 4, 2, 0.5
    rng = np.random.default_rng(0)
    module, x = latent_module(
        VAETransformer, "gaussian", "identity", d=d, n_components=k, network=GatedMLP(()),
        posterior_scale_floor=0,
    )  # fmt: skip
    W = np.linalg.qr(rng.normal(size=(d, k)))[0] * np.linspace(1.5, 0.5, k)  # orthogonal: diagonal posterior
    b = rng.normal(size=d)
    precision = 1 + (W**2).sum(axis=0) / sigma**2
    E = (W / sigma**2 / precision).T  # (k, d)
    set_linear(module.decoder.network[-1], W, b)
    weight, bias = np.vstack([E, np.zeros((k, d))]), np.concatenate([-E @ b, -np.log(precision)])
    set_linear(module.encoder.network[-1], weight, bias)
    set_scale(module, sigma)
    exact = stats.multivariate_normal(b, W @ W.T + 0.25 * np.eye(4)).logpdf(x.numpy())
    with torch.no_grad():
        for S, at_once in ((1, 1), (3, 1000), (15, 0), (15, 1), (15, 4), (15, 7), (15, 15)):
            with monkeypatch.context() as patch:  # however many draws are decoded at a time
                patch.setattr("skswae.modules._latent_variable._NUMBERS", 20 * at_once * 4)
                found = module.importance_log_likelihood(x, S, generator())
                single = copy.deepcopy(module).float().importance_log_likelihood(x.float(), S, generator())
            np.testing.assert_allclose(found, exact, rtol=1e-11)
            np.testing.assert_allclose(single, exact, rtol=1e-5)
        # a posterior too wide and off by half a standard deviation: below the truth, near it with many draws
        bias = module.encoder.network[-1].bias
        bias[:2] += 0.5 * torch.exp(0.5 * bias[2:])
        bias[2:] += 2 * np.log(1.4)
        one = module.importance_log_likelihood(x.repeat(500, 1), 1, generator()).reshape(500, 20).mean(0)
        many = module.importance_log_likelihood(x, 20_000, generator())
    # the bound is lower by KL(q || p(z | x)) of two Gaussians, in two dimensions
    kl = 2 * 0.5 * (1.4**2 + 0.25 - 1 - 2 * np.log(1.4))
    np.testing.assert_allclose(one, exact - kl, atol=0.3)
    assert abs(np.mean(one.numpy() - exact) + kl) < 0.05
    np.testing.assert_allclose(many, exact, atol=0.03)


def test_log_likelihood_of_a_linear_two_level_mixture():
    """p(x) of linear networks is a mixture of Gaussians, one a pseudo-input."""
    module, x = latent_module(
        VampPriorTransformer, "gaussian", "identity", d=3, n_components=2, network=GatedMLP(()),
        posterior_scale_floor=0,
    )  # fmt: skip
    sigma, v2, v1 = 0.5, 0.3, 0.4  # of x, of q(z2 | x), of p(z1 | z2)
    e, c = np.array([1.0, -0.5, 0.8]), 0.2  # q(z2 | x) = N(e x + c, v2)
    a, f = 0.7, -0.3  # p(z1 | z2) = N(a z2 + f, v1)
    W1, W2, b = np.array([0.5, 0.2, -0.4]), np.array([0.6, -0.3, 0.3]), np.array([0.1, 0.4, 0.2])
    set_linear(module.encoder.network[-1], [e, 0 * e], [c, np.log(v2)])
    set_linear(module.lower_prior.network[-1], [[a], [0.0]], [f, np.log(v1)])
    # q(z1 | x, z2): not far from the prior, a little wider
    weight = [[0.3, 0.1, -0.2, a], [0, 0, 0, 0]]
    set_linear(module.lower_encoder.network.rest, weight, [f, np.log(1.2 * v1)])
    set_linear(module.decoder.network.rest, np.column_stack([W1, W2]), b)
    set_scale(module, sigma)
    path = a * W1 + W2
    covariance = v2 * np.outer(path, path) + v1 * np.outer(W1, W1) + sigma**2 * np.eye(3)
    centres = np.outer(module.pseudo_inputs.rows.detach().numpy() @ e + c, path) + f * W1 + b
    p = np.mean([stats.multivariate_normal(centre, covariance).pdf(x.numpy()) for centre in centres], axis=0)
    with torch.no_grad():
        found = module.importance_log_likelihood(x, 20_000, generator()).numpy()
        one = module.importance_log_likelihood(x.repeat(200, 1), 1, generator()).mean().item()
        # the model's own rows have that distribution
        drawn = module.decode(module.sample_prior(200_000, generator()).double())
        drawn = drawn + sigma * normal(*drawn.shape, seed=1)
    np.testing.assert_allclose(found, np.log(p), atol=0.03)
    assert one < np.log(p).mean() - 0.05
    assert_moments(drawn.numpy(), centres.mean(axis=0), covariance + np.cov(centres.T, bias=True))


@pytest.mark.slow
@both
def test_it_grows_with_the_samples(Estimator, digits):
    """Burda et al. 2016, theorem 1: for a fitted model, averaged over draws."""
    X = digits[0][:40]
    vae = cheap(Estimator, n_components=4, max_iter=10).fit(digits[0])
    means, errors = [], []
    for S, repetitions in [(1, 60), (5, 20), (50, 8)]:
        found = [vae.log_likelihood(X, S, random_state=seed).mean() for seed in range(repetitions)]
        means.append(np.mean(found))
        errors.append(np.std(found, ddof=1) / np.sqrt(repetitions))
    assert means[1] - means[0] > 4 * np.hypot(errors[0], errors[1])
    assert means[2] - means[1] > 4 * np.hypot(errors[1], errors[2])


@pytest.mark.slow
@both
@pytest.mark.parametrize("c", [2.0**-12, 1024.0])
def test_a_density_in_the_units_of_the_data(Estimator, c, iris):
    """Of c X it is lower by d log c, everything else being the same."""
    one = cheap(Estimator).fit(iris).log_likelihood(iris, 10, random_state=0)
    other = cheap(Estimator).fit(c * iris).log_likelihood(c * iris, 10, random_state=0)
    np.testing.assert_allclose(other, one - 4 * np.log(c), rtol=1e-9)


@both
@pytest.mark.parametrize("scaling", ["auto", None])
def test_a_density_integrates_to_one(Estimator, scaling, rng):
    """The estimate of p(x) has no bias; its spread is what the tolerance is for."""
    X = 50 + 20 * rng.choice([-1.0, 1.0], size=(200, 1)) + 5 * rng.normal(size=(200, 1))
    if scaling is None:
        X = 0.1 * X
    vae = cheap(Estimator, n_components=1, scaling=scaling, max_iter=30).fit(X)
    assert vae.likelihood_ == "gaussian"
    grid = np.linspace(X.min() - np.ptp(X), X.max() + np.ptp(X), 200)
    p = np.exp(vae.log_likelihood(grid[:, None], 500, random_state=0))
    assert np.sum(p) * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.2)


@both
@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_probabilities_sum_to_one(Estimator, likelihood, rng):
    """Over all rows that there are."""
    n_values = 2 if likelihood == "bernoulli" else 4
    rows = np.indices((n_values, n_values, n_values)).reshape(3, -1).T / (n_values - 1)
    X = rows[rng.integers(len(rows), size=200) // 2]
    vae = cheap(Estimator, likelihood=likelihood, n_bins=4, max_iter=20).fit(X)
    log_p = vae.log_likelihood(rows, 500, random_state=0)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=0.15)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_draws(Estimator, dtype, iris):
    X = iris.astype(dtype)
    vae = cheap(Estimator).fit(X)
    before = torch.random.get_rng_state()
    found = vae.log_likelihood(X, 2, random_state=3)
    assert found.dtype == dtype
    assert found.shape == (150,)
    for n, state in ((2, 3), (np.int64(2), 3), (2, np.random.RandomState(3))):
        np.testing.assert_array_equal(found, vae.log_likelihood(X, n, random_state=state))
    assert np.all(found != vae.log_likelihood(X, 2, random_state=4))
    assert np.all(vae.log_likelihood(X, 2) != vae.log_likelihood(X, 2))  # also of a seeded estimator
    assert torch.equal(before, torch.random.get_rng_state())


@both
def test_unusable_arguments_of_the_log_likelihood(Estimator, digits):
    X = (digits[0][:60] > 0.5).astype(float)
    vae = cheap(Estimator, max_iter=1)
    with pytest.raises(NotFittedError):
        vae.log_likelihood(X)
    vae.fit(X)
    assert vae.likelihood_ == "bernoulli"
    for n in (0, -1, 1.5, "3", None, True, np.bool_(True), np.nan):
        with pytest.raises(ValueError, match="'n_importance_samples' argument must be an integer of at leas"):
            vae.log_likelihood(X, n)
    grey = cheap(Estimator, max_iter=1, likelihood="discretized_logistic", n_bins=17).fit(digits[0])
    for model, bad, message in [
        (vae, 2 * X, r"X must suit likelihood='bernoulli', .* rows in \[0, 1\]: numpy.clip"),
        (vae, -X, r"X must suit likelihood='bernoulli', .* rows in \[0, 1\]: numpy.clip"),
        (vae, np.where(X == 1, np.nan, X), "NaN"),
        (vae, X[:, 1:], "X has 63 features"),
        (grey, 0.99 * X, r"X must suit likelihood.* n_bins = 17: numpy.rint\(X \* 16\) / 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.log_likelihood(bad)
    assert np.isfinite(grey.log_likelihood(digits[0][:3], 2)).all()


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_drawn_from_the_posterior(Estimator, dtype, digits):
    """Their mean and spread are the posterior's."""
    X = digits[0][:3].astype(dtype)
    model = cheap(Estimator, n_components=2).fit(digits[0])
    Z = model.sample_posterior(np.repeat(X, 4000, axis=0), random_state=0)
    assert Z.dtype == dtype
    Z = Z.reshape(3, 4000, 2)
    with torch.no_grad():
        mean, log_variance = model.module_.posterior(torch.tensor(X).float())
    scale = np.exp(log_variance.numpy() / 2)
    upper = mean.shape[1]
    np.testing.assert_allclose(Z[:, :, :upper].std(axis=1), scale, rtol=0.05)
    np.testing.assert_array_less(np.abs(Z[:, :, :upper].mean(axis=1) - mean.numpy()), 5 * scale / 4000**0.5)
    again = [model.sample_posterior(X, random_state=1) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert (model.sample_posterior(X) != model.sample_posterior(X)).all()


@pytest.mark.slow
@every
@pytest.mark.parametrize("likelihood_scale", ["shared", "per_feature"])
def test_samples_with_the_noise_that_was_learned(Estimator, likelihood_scale, iris):
    """In the units of the rows, around the same codes' means, which are the default."""
    model = cheap(Estimator, likelihood_scale=likelihood_scale).fit(1e3 * iris + 1e6)
    learned = model.scale_ * model.module_.head.scale().detach().numpy()
    for prior in ("model", "gmm"):
        draw = functools.partial(model.sample, 4000, prior=prior, random_state=0)
        means, draws = draw(), draw(observation_noise=np.True_)
        noise = draws - means
        np.testing.assert_allclose(noise.std(axis=0), np.broadcast_to(learned, 4), rtol=0.05)
        assert np.abs(np.corrcoef(noise.T) - np.eye(4)).max() < 0.1
        np.testing.assert_array_equal(draws, draw(observation_noise=True))
        np.testing.assert_array_equal(means, draw(observation_noise=False))
    assert not np.array_equal(*(model.sample(3, observation_noise=True) for _ in range(2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Estimator", "likelihood", "likelihood_scale"),
    [
        (VAETransformer, "bernoulli", "shared"),
        (VAETransformer, "gaussian", "shared"),
        (VAETransformer, "gaussian", "per_feature"),
        (VAETransformer, "discretized_logistic", "shared"),
        (VAETransformer, "discretized_logistic", "per_feature"),
        (VampPriorTransformer, "gaussian", "shared"),
    ],
)
def test_draws_of_a_model_that_fits_are_like_its_rows(Estimator, likelihood, likelihood_scale, rng):
    """By their variance and by log p(x), where rows are of rank 2 but for noise of standard deviation 2."""
    rows = rng.normal(size=(1200, 2)) @ np.random.default_rng(1).normal(size=(2, 8))
    spread = np.linspace(0.5, 1.5, 8) if likelihood_scale == "per_feature" else 1.0
    noise = 2 * spread * rng.normal(size=rows.shape)
    X = {
        "bernoulli": (2 * rows + rng.logistic(size=rows.shape) > 0).astype(float),
        "gaussian": rows + noise,
        "discretized_logistic": np.clip(np.round(8 + rows + noise), 0, 16) / 16,
    }[likelihood]
    model = cheap(
        Estimator, likelihood=likelihood, likelihood_scale=likelihood_scale, n_bins=17, max_iter=15
    ).fit(X[:600])
    draws, means = (model.sample(600, observation_noise=noisy, random_state=0) for noisy in (True, False))
    held_out = X[600:]
    assert draws.var(axis=0).sum() == pytest.approx(held_out.var(axis=0).sum(), rel=0.1)
    assert means.var(axis=0).sum() < 0.6 * held_out.var(axis=0).sum()
    log_p, of_draws = (model.log_likelihood(A, random_state=0) for A in (held_out, draws))
    assert of_draws.mean() == pytest.approx(log_p.mean(), abs=0.3 * log_p.std())
    assert likelihood != "bernoulli" or np.isin(draws, (0, 1)).all()


@pytest.mark.parametrize("Estimator", [E for E in ESTIMATORS if E not in ALL])
def test_no_likelihood_no_observation_noise(Estimator, digits):
    """Also where the cost is a cross-entropy."""
    for reconstruction in ("squared_error", "binary_cross_entropy"):
        model = cheap(Estimator, reconstruction=reconstruction, max_iter=1).fit(digits[0])
        with pytest.raises(ValueError, match=f"'observation_noise' .* be False for {Estimator.__name__}, "):
            model.sample(3, observation_noise=True)
        assert model.sample(3, observation_noise=False).shape == (3, 64)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "seed"), [("a million from the origin", 0), ("of 1e18", 1)])
def test_posteriors_of_training_rows_can_be_drawn(rows, seed, dtype, iris):
    """Without units a log-variance, linear in the rows, may be in the millions after an epoch."""
    X = 1e6 + iris[:2]
    X[:, 0] = 1, 2
    if rows == "of 1e18":
        X = np.rint(2.0**60 * iris[:4])
    vae = cheap(VAETransformer, scaling=None, max_iter=1, n_components=4, random_state=seed)
    vae.fit(X.astype(dtype))
    drawn = vae.sample_posterior(X.astype(dtype), random_state=0)
    assert np.isfinite(drawn).all()
