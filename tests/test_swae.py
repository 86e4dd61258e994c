"""The mathematics of SWAE: equations (8) and (10), Algorithm 1, against something independent."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin
from skswae._likelihoods import binary_cross_entropy, squared_error
from skswae._module import Parts
from skswae._rows import Rows
from skswae._swae import SWAEModule, closest, swae_loss
from torch import nn

from skswae import SWAETransformer
from skswae.networks import GatedMLP

from .estimators import cheap
from .own_networks import NormNet


def make_module(n=20, d=5, k=3, K=4, activation="identity", init="random", seed=0, floor=0.05, **options):
    """A small module in float64, with rows to go with it."""
    rows = torch.rand(n, d, generator=torch.Generator().manual_seed(seed))
    parts = Parts(
        GatedMLP((6,)),
        Rows(rows.numpy()),
        n_components=k,
        out_activation=activation,
        init=init,
        seed=seed,
    )
    module = SWAEModule(parts, K, floor).double()
    for name, value in options.items():
        setattr(module, name, value)
    return module, rows.double()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of(module, x, seed=0):
    ((player, terms),) = module.losses(x, generator(seed))
    assert player == "autoencoder"
    return terms


# ---------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------


def test_loss_of_two_samples_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    decoded_d = torch.tensor([[0.0, 0.0], [0.0, 0.0]])  # x-cost: 1 and 4
    decoded_e = torch.tensor([[1.0, 1.0], [0.0, 2.0]])  # reconstruction: 1 and 0
    z_e = torch.tensor([[1.0], [2.0]])
    z_d = torch.tensor([[0.0], [4.0]])  # z-cost: 1 and 4
    terms = swae_loss(
        squared_error(x, decoded_d), squared_error(x, decoded_e), z_e, z_d, beta=0.25, alpha=2.0
    )
    assert terms["x_loss"] == 2.5
    assert terms["reconstruction_loss"] == 0.5
    assert terms["z_loss"] == 2.5
    assert terms["loss"] == 0.25 * 2.5 + 0.75 * 0.5 + 2.0 * 2.5


def gated_mlp(network, x):
    """GatedMLP in NumPy, from its parameters."""
    values = [p.detach().numpy() for p in network.parameters()]
    for weight, bias in zip(values[:-2:2], values[1:-2:2]):
        h, g = np.split(x @ weight.T + bias, 2, axis=1)
        x = h / (1 + np.exp(-g))
    return x @ values[-2].T + values[-1]


@pytest.mark.parametrize("cost", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("space", ["data", "latent"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_losses_equal_equation_10_in_numpy(cost, space, metric, beta):
    module, x = make_module(
        activation="sigmoid", reconstruction=cost, search_space=space, metric=metric,
        beta=beta, alpha=0.7, floor=0.1,
    )  # fmt: skip
    terms = loss_of(module, x)

    noise = torch.randn(20, 3, dtype=torch.float64, generator=generator()).numpy()
    X, U = x.numpy(), module.pseudo_inputs.rows.detach().numpy()

    def encode(rows):
        return gated_mlp(module.encoder, rows)

    def decode(z):
        return 1 / (1 + np.exp(-gated_mlp(module.decoder, z)))

    queries, keys = (X, U) if space == "data" else (encode(X), encode(U))
    u = U[pairwise_distances(queries, keys, metric=metric).argmin(axis=1)]
    mean, h = np.split(gated_mlp(module.prior, u), 2, axis=1)
    log_variance = 2 * np.log(0.1) + 8 / (1 + np.exp(-h))
    z_d, z_e = mean + np.sqrt(np.exp(log_variance)) * noise, encode(X)

    def c(a, b):
        if cost == "squared_error":
            return ((a - b) ** 2).sum(axis=1)
        return -(a * np.log(b) + (1 - a) * np.log(1 - b)).sum(axis=1)

    expected = {
        "x_loss": c(X, decode(z_d)).mean(),
        "reconstruction_loss": c(X, decode(z_e)).mean(),
        "z_loss": ((z_e - z_d) ** 2).sum(axis=1).mean(),
    }
    expected["loss"] = (
        beta * expected["x_loss"] + (1 - beta) * expected["reconstruction_loss"] + 0.7 * expected["z_loss"]
    )
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].item(), value, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("cost", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("init", ["random", "pca"])
def test_numerical_gradients(cost, init):
    """Of the loss to every parameter, the pseudo-inputs and both heads of the conditional prior included."""
    module, x = make_module(activation="sigmoid", init=init, reconstruction=cost, beta=0.3)
    with torch.no_grad():  # off the start, where last layers are zero
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator(1))
    names = [name for name, _ in module.named_parameters()]
    assigned = module.assign(x)
    module.assign = lambda *_: assigned  # the argmin has no gradient

    def loss(*values):
        return torch.func.functional_call(Loss(module), dict(zip((f"m.{n}" for n in names), values)), (x,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)
    gradients = torch.autograd.grad(loss(*values), values)
    assert all((g != 0).any() for g in gradients), names


class Loss(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return loss_of(self.m, x)["loss"]


def gradient(module, x, parameters):
    return torch.autograd.grad(loss_of(module, x)["loss"], parameters, allow_unused=True)


def test_beta_0_leaves_the_decoder_free_of_the_prior():
    module, x = make_module(beta=0.0)
    parameters = list(module.decoder.parameters())
    before = gradient(module, x, parameters)
    with torch.no_grad():
        for parameter in module.prior.parameters():
            parameter.mul_(-3.0)
        module.pseudo_inputs.rows.mul_(0.3)
    for a, b in zip(before, gradient(module, x, parameters)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
        assert (a != 0).any()


def test_beta_1_leaves_the_reconstruction_out():
    """Equation (8): the encoder is moved by the z-loss alone."""
    module, x = make_module(beta=1.0, alpha=1.0)
    parameters = list(module.encoder.parameters())
    z_loss = loss_of(module, x)["z_loss"]
    for a, b in zip(gradient(module, x, parameters), torch.autograd.grad(z_loss, parameters)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_only_alpha_times_the_floor_squared_is_identifiable():
    """(E, D, m, s) -> (c E, D(. / c), c m, c s) with alpha -> alpha / c^2 leaves equation (10) unchanged."""
    c = 3.0
    module, x = make_module(alpha=0.8, floor=0.05)
    before = loss_of(module, x)
    with torch.no_grad():
        last = module.encoder[-1]
        last.weight.mul_(c)
        last.bias.mul_(c)
        mean_rows = slice(0, 3)
        module.prior[-1].weight[mean_rows] *= c
        module.prior[-1].bias[mean_rows] *= c
        module.decoder[0].linear.weight.div_(c)
    module.alpha, module.prior_scale_floor = 0.8 / c**2, 0.05 * c
    after = loss_of(module, x)
    for name in ("loss", "x_loss", "reconstruction_loss"):
        torch.testing.assert_close(before[name], after[name], rtol=1e-12, atol=0)
    torch.testing.assert_close(c**2 * before["z_loss"], after["z_loss"], rtol=1e-12, atol=0)


def test_binary_cross_entropy_is_torch_s_and_stable():
    x = torch.rand(6, 4, generator=generator(), dtype=torch.float64)
    logits = 5 * torch.randn(6, 4, generator=generator(1), dtype=torch.float64)
    expected = nn.functional.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none").sum(1)
    torch.testing.assert_close(binary_cross_entropy(x, logits), expected)
    extreme = torch.tensor([[1000.0, -1000.0]])
    assert binary_cross_entropy(torch.tensor([[1.0, 0.0]]), extreme) == 0
    assert binary_cross_entropy(torch.tensor([[0.0, 0.0]]), extreme) == 1000


# ---------------------------------------------------------------------------
# Step 2
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_step_2_finds_the_closest(offset):
    """Up to ties: the chosen distance is the float64 minimum to 1e-5."""
    X = load_digits().data / 16 + offset
    x = torch.from_numpy(X.astype(np.float32))
    queries, keys = x[:1500], x[1500:]
    chosen = closest(queries, keys, "euclidean").numpy()
    exact = pairwise_distances(X[:1500].astype(np.float32).astype(np.float64), keys.double().numpy())
    assert np.all(exact[np.arange(1500), chosen] <= exact.min(axis=1) * (1 + 1e-5))
    if not offset:
        assert np.mean(chosen == pairwise_distances_argmin(queries.numpy(), keys.numpy())) > 0.99


@pytest.mark.parametrize("width", [1e-2, 1e-3, 1e-4])
def test_step_2_within_tight_clusters(width, rng):
    """Distances that float32 would lose beside the distance between the clusters."""
    X = rng.choice([-1.0, 1.0], size=(1000, 1)) + width * rng.normal(size=(1000, 20))
    x = torch.from_numpy(X.astype(np.float32))
    chosen = closest(x[500:], x[:500], "euclidean").numpy()
    exact = pairwise_distances(x[500:].double().numpy(), x[:500].double().numpy())
    assert np.all(exact[np.arange(500), chosen] <= exact.min(axis=1) * (1 + 1e-5))


def test_step_2_cosine_finds_the_largest_similarity(rng):
    queries, keys = rng.normal(size=(50, 6)), rng.normal(size=(30, 6)) * rng.uniform(0.1, 9, (30, 1))
    chosen = closest(torch.from_numpy(queries), torch.from_numpy(keys), "cosine").numpy()
    np.testing.assert_array_equal(chosen, pairwise_distances_argmin(queries, keys, metric="cosine"))


def test_step_2_on_a_pseudo_input_finds_it():
    x = torch.from_numpy((load_digits().data[:500] / 16).astype(np.float32))
    np.testing.assert_array_equal(closest(x, x, "euclidean"), np.arange(500))


@pytest.mark.parametrize("offset", [1.0, 1e4])
def test_cosine_uses_the_user_s_origin(offset, rng):
    """Scaling subtracts the mean inside; angles are those of the rows as given."""
    X = rng.normal(size=(60, 4)) + np.array([5.0, 1.0, 0.0, 1.0]) * offset
    swae = cheap(SWAETransformer, metric="cosine", n_pseudo_inputs=10).fit(X)
    assert swae.scale_ != 1.0
    x = swae.module_.to_units(torch.from_numpy(X))
    chosen = swae.module_.double().assign(x)
    np.testing.assert_array_equal(
        chosen, pairwise_distances_argmin(X, swae.pseudo_inputs_.astype(np.float64), metric="cosine")
    )


@pytest.mark.parametrize("space", ["data", "latent"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("beta", [0, 1])
def test_every_search_and_both_ends_of_beta_train(space, metric, beta, digits):
    swae = cheap(SWAETransformer, search_space=space, metric=metric, beta=beta, max_iter=10).fit(digits[0])
    assert swae.history_["loss"][-1] < swae.history_["loss"][0]


# ---------------------------------------------------------------------------
# Pseudo-inputs and the conditional prior
# ---------------------------------------------------------------------------


def test_pseudo_inputs_start_as_different_training_rows():
    module, x = make_module(n=50, K=20)
    u = module.pseudo_inputs.rows.detach()
    distance = torch.cdist(u, x)
    assert torch.all(distance.min(dim=1).values < 1e-6)
    assert len(torch.unique(distance.argmin(dim=1))) == 20


def test_pseudo_inputs_at_the_ends_of_the_range_move(digits):
    """They are projected after each step, not squashed within it."""
    X = digits[0]
    swae = cheap(SWAETransformer, max_iter=1, n_pseudo_inputs=20, learning_rate_init=1e-6).fit(X)
    start = swae.pseudo_inputs_
    swae = cheap(SWAETransformer, max_iter=20, n_pseudo_inputs=20, learning_rate_init=1e-2).fit(X)
    end = swae.pseudo_inputs_
    used = swae.module_.usage.numpy() > 0
    inside = X.max(axis=0) > X.min(axis=0)  # pixels with a range
    for value in (0.0, 1.0):
        at_end = (np.abs(start - value) < 1e-4) & inside & used[:, None]
        assert at_end.sum() > 20
        assert np.mean(np.abs(end - value)[at_end] > 1e-2) > 0.3
    assert np.all(end >= X.min(axis=0) - 1e-6)
    assert np.all(end <= X.max(axis=0) + 1e-6)


def test_pseudo_inputs_keep_to_the_range_of_all_rows_seen(rng):
    """partial_fit on wider rows widens the range that they are projected onto."""
    narrow, wide = rng.uniform(-1, 1, (60, 3)), rng.uniform(-4, 4, (60, 3))
    swae = cheap(SWAETransformer, n_pseudo_inputs=10).partial_fit(narrow)
    module = swae.module_
    assert torch.all(module.pseudo_inputs.lowest <= module.to_units(torch.from_numpy(narrow)).amin(0).float())
    swae.partial_fit(wide)
    np.testing.assert_allclose(
        swae.module_.from_units(swae.module_.pseudo_inputs.highest.double()), wide.max(axis=0), rtol=1e-5
    )
    swae.partial_fit(narrow)
    np.testing.assert_allclose(
        swae.module_.from_units(swae.module_.pseudo_inputs.lowest.double()), wide.min(axis=0), rtol=1e-5
    )


def test_pseudo_inputs_are_given_in_the_user_s_units(iris):
    swae = cheap(SWAETransformer, max_iter=1, learning_rate_init=1e-9).fit(iris + 1e7)
    assert swae.pseudo_inputs_.dtype == np.float64
    distance = cdist(swae.pseudo_inputs_, iris + 1e7).min(axis=1)
    assert distance.max() < 1e-4


def test_gradient_reaches_the_closest_pseudo_inputs_only():
    module, x = make_module(K=6)
    (g,) = gradient(module, x[:5], [module.pseudo_inputs.rows])
    used = torch.zeros(6, dtype=torch.bool)
    used[module.assign(x[:5])] = True
    assert torch.equal((g != 0).any(dim=1), used)
    assert not used.all()


def test_the_floor_bounds_the_prior_s_scale():
    module, x = make_module(floor=0.2)
    with torch.no_grad():
        module.prior[-1].weight.mul_(100)
    _, log_variance = module.conditional_prior(x)
    scale = torch.exp(0.5 * log_variance)
    assert scale.min() >= 0.2 * (1 - 1e-12)
    assert scale.max() <= 0.2 * np.exp(4) * (1 + 1e-12)
    assert scale.max() > 1


def test_the_prior_narrows_to_its_floor(digits):
    """Nothing in the objective keeps it up: what the parameter is for."""
    swae = cheap(SWAETransformer, prior_scale_floor=0.1, max_iter=60, learning_rate_init=1e-2)
    module = swae.fit(digits[0]).module_
    with torch.no_grad():
        _, log_variance = module.conditional_prior(module.pseudo_inputs.rows)
    assert 0.1 <= torch.exp(0.5 * log_variance).median() < 0.15


def test_usage_counts_the_rows_of_each_pseudo_input(digits):
    X = digits[0]
    swae = cheap(SWAETransformer).fit(X)
    closest_u = pairwise_distances_argmin(X, swae.pseudo_inputs_.astype(np.float64))
    counts = np.bincount(closest_u, minlength=swae.n_pseudo_inputs_)
    np.testing.assert_allclose(swae.pseudo_input_weights_, counts / 300)
    swae.set_params(pseudo_input_weights="uniform")
    np.testing.assert_allclose(swae.pseudo_input_weights_, 1 / swae.n_pseudo_inputs_)


def test_earlier_rows_fade_in_partial_fit(digits):
    X = digits[0]
    swae = cheap(SWAETransformer)
    for calls in range(1, 4):
        swae.partial_fit(X)
        total = 300 * sum(0.9**i for i in range(calls))
        assert swae.module_.usage.sum().item() == pytest.approx(total)


def test_sampling_parameters_act_on_a_fitted_model(digits):
    swae = cheap(SWAETransformer, prior_scale_floor=0.01, max_iter=30).fit(digits[0])
    spread = {}
    for scale in ("matched", "learned"):
        swae.set_params(prior_scale=scale)
        spread[scale] = swae.sample(2000, random_state=0).var(axis=0).sum()
    assert spread["matched"] > spread["learned"]
    for name in ("prior_scale", "pseudo_input_weights"):
        wrong = clone(swae).set_params(**{name: "Matched"})
        vars(wrong).update({k: v for k, v in vars(swae).items() if k.endswith("_")})
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            wrong.sample()


def test_batch_norm_keeps_the_prior_out_of_the_reconstruction(rng):
    """With beta = 0, also where a layer of the decoder mixes the rows of a batch."""
    rows = torch.from_numpy(rng.normal(size=(20, 5)).astype(np.float32))
    parts = Parts(
        NormNet(), Rows(rows.numpy()), n_components=3, out_activation="identity", init="random", seed=0
    )
    module = SWAEModule(parts, 4, 0.05)
    module.beta = 0.0
    parameters = list(module.decoder.parameters())
    before = gradient(module, rows, parameters)
    with torch.no_grad():
        for parameter in module.prior.parameters():
            parameter.mul_(-3.0)
    for a, b in zip(before, gradient(module, rows, parameters)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scale", ["matched", "learned"])
@pytest.mark.parametrize("weights", ["usage", "uniform"])
def test_samples_have_the_mixture_s_moments(weights, scale, digits):
    X = digits[0]
    swae = cheap(
        SWAETransformer,
        pseudo_input_weights=weights,
        prior_scale=scale,
        prior_scale_floor=0.02,
        max_iter=30,
    ).fit(X)
    module = swae.module_
    with torch.no_grad():
        z = module.sample_prior(200_000, generator()).double().numpy()
        mean, log_variance = (t.double().numpy() for t in module.conditional_prior(module.pseudo_inputs.rows))
    variance = np.exp(log_variance)
    if scale == "matched":
        cell = pairwise_distances_argmin(X, swae.pseudo_inputs_.astype(np.float64))
        within = np.square(swae.transform(X) - mean[cell]).mean(axis=0)
        variance = np.maximum(variance, within)
        assert (variance == within).any()
    w = swae.pseudo_input_weights_
    expected_mean = w @ mean
    centred = mean - expected_mean
    expected_cov = (w[:, None] * centred).T @ centred + np.diag(w @ variance)
    error = 5 * np.sqrt(np.diag(expected_cov) / len(z))
    assert np.all(np.abs(z.mean(axis=0) - expected_mean) < error)
    np.testing.assert_allclose(np.cov(z.T), expected_cov, atol=0.02 * np.diag(expected_cov).max())


def test_number_of_pseudo_inputs(iris, digits):
    assert cheap(SWAETransformer).fit(iris).n_pseudo_inputs_ == 150 // 6
    assert cheap(SWAETransformer, n_pseudo_inputs=7).fit(iris).n_pseudo_inputs_ == 7
    assert cheap(SWAETransformer, n_pseudo_inputs=10**6).fit(iris).n_pseudo_inputs_ == 150
    assert cheap(SWAETransformer).fit(iris[:2]).n_pseudo_inputs_ == 1
    X = np.tile(digits[0], (11, 1))
    assert cheap(SWAETransformer, max_iter=1).fit(X).n_pseudo_inputs_ == 500
    assert cheap(SWAETransformer, n_pseudo_inputs=7).fit(iris).pseudo_inputs_.shape == (7, 4)


# ---------------------------------------------------------------------------
# A limit with a known answer
# ---------------------------------------------------------------------------


def test_linear_networks_find_the_principal_subspace(rng):
    """A linear-Gaussian model, linear networks, the paper's start: the decoder spans PCA's subspace."""
    W = np.linalg.qr(rng.normal(size=(10, 3)))[0] * [3.0, 2.5, 2.0]
    X = rng.normal(size=(2000, 3)) @ W.T + 0.3 * rng.normal(size=(2000, 10))
    swae = SWAETransformer(
        3, beta=0, alpha=0.01, init="random", network=GatedMLP(()), max_iter=100,
        learning_rate_init=3e-2, random_state=0,
    ).fit(X)  # fmt: skip
    decoder = swae.module_.decoder[-1].weight.detach().double().numpy()  # (10, 3)
    ours = np.linalg.qr(decoder)[0]
    cosines = np.linalg.svd(PCA(3).fit(X).components_ @ ours, compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) < 1
