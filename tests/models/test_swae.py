"""The mathematics of SWAE: equations (8) and (10), Algorithm 1, against something independent."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin

from skswae import SWAETransformer, VAETransformer, _fit, load_model, save_model
from skswae.modules._heads import reconstruction_head
from skswae.networks import GatedMLP
from skswae.training._callbacks import Callback

from ..estimators import cheap
from ..own_networks import NormNet
from .tools import (
    assert_moments,
    assert_terms,
    gated_mlp,
    gaussian_of,
    generator,
    loss_of,
    make_module,
    normal,
)


def small(activation="identity", floor=0.05, K=4, **parameters):
    own = {"n_pseudo_inputs": K, "prior_scale_floor": floor}
    return make_module(SWAETransformer, None, activation, **{**own, **parameters})


@pytest.mark.parametrize("cost", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("space", ["data", "latent"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_losses_equal_equation_10_in_numpy(cost, space, metric, beta):
    module, x = small(
        "sigmoid", 0.1, reconstruction=cost, assignment_space=space, metric=metric, beta=beta, alpha=0.7
    )
    X, U = x.numpy(), module.pseudo_inputs.rows.detach().numpy()

    def encode(rows):
        return gated_mlp(module.encoder, rows)

    def decode(z):
        return 1 / (1 + np.exp(-gated_mlp(module.decoder, z)))

    def c(a, b):
        if cost == "squared_error":
            return ((a - b) ** 2).sum(axis=1)
        return -(a * np.log(b) + (1 - a) * np.log(1 - b)).sum(axis=1)

    queries, keys = (X, U) if space == "data" else (encode(X), encode(U))
    u = U[pairwise_distances(queries, keys, metric=metric).argmin(axis=1)]
    mean, log_variance = gaussian_of(gated_mlp(module.prior, u), 0.1)
    z_d, z_e = mean + np.exp(0.5 * log_variance) * normal(20, 3).numpy(), encode(X)

    def entropy(p):
        return -(p * np.log(p) + (1 - p) * np.log(1 - p))

    # alpha is a multiple of what the mean row costs more than perfect rows, per feature
    unit = X.var(axis=0) if cost == "squared_error" else entropy(X.mean(axis=0)) - entropy(X).mean(axis=0)
    alpha = 0.7 * unit.mean()
    expected = {
        "x_loss": c(X, decode(z_d)).mean(),
        "reconstruction_loss": c(X, decode(z_e)).mean(),
        "z_loss": ((z_e - z_d) ** 2).sum(axis=1).mean(),
    }
    expected["loss"] = (
        beta * expected["x_loss"] + (1 - beta) * expected["reconstruction_loss"] + alpha * expected["z_loss"]
    )
    assert_terms(loss_of(module, x), expected)


def gradient(module, x, parameters):
    return torch.autograd.grad(loss_of(module, x)["loss"], parameters, allow_unused=True)


@pytest.mark.parametrize("network", [GatedMLP((6,)), NormNet()])
def test_the_warm_up_is_beta_0_for_a_decoding_less(network):
    """In training alone, and only in the first epochs."""
    module, x = small(beta=0.7, warmup=2, network=network)
    plain, _ = small(beta=0.0, network=network)
    rows, free = [], {}
    module.decoder.register_forward_pre_hook(lambda part, args: rows.append(len(args[0])))
    for epoch in (0, 1):
        module.before_epoch(epoch)
        assert not module.objective_is_final
        terms, free = loss_of(module, x), loss_of(plain, x)
        assert rows == [len(x)]
        rows.clear()
        assert {*free} - {*terms} == {"x_loss"}
        assert_terms(terms, {name: free[name].item() for name in terms})
    parameters = [*module.encoder.parameters(), *module.decoder.parameters(), *module.prior.parameters()]
    same = [*plain.encoder.parameters(), *plain.decoder.parameters(), *plain.prior.parameters()]
    torch.testing.assert_close(gradient(module, x, parameters), gradient(plain, x, same))
    held_out = loss_of(module.eval(), x)
    module.train().before_epoch(2)
    assert module.objective_is_final
    assert "x_loss" in held_out
    if isinstance(network, GatedMLP):  # others may have statistics of the batch
        assert_terms(loss_of(module, x), {name: value.item() for name, value in held_out.items()})


@pytest.mark.parametrize(
    ("n_rows", "parameters", "expected"),
    [
        (1000, {"max_iter": 8}, 6),
        (1000, {"max_iter": 3}, 2),
        (1000, {"max_iter": 1}, 0),
        (1000, {"max_iter": 3, "beta": 0.0}, 2),
        (1000, {"max_iter": 3, "beta": 1.0}, 0),
        (1000, {"max_iter": 3, "warmup": 0}, 0),
        (1000, {"max_iter": 3, "learning_rate": "constant"}, 0),
        (1000, {"max_iter": 3, "early_stopping": True}, 0),
        (1200, {"max_iter": 3, "early_stopping": True, "learning_rate": "one_cycle"}, 0),
        (999, {"max_iter": 3}, 0),
        (99, {"max_iter": 3, "warmup": 1}, 1),
        (99, {"max_iter": 3, "warmup": 5}, 5),
        (99, {"max_iter": 3, "early_stopping": True, "warmup": 2}, 2),
    ],
)
def test_the_warm_up_by_default(n_rows, parameters, expected, rng):
    swae = cheap(SWAETransformer, **parameters).fit(rng.random((n_rows, 5)))
    assert swae.warmup_ == swae.module_.warmup == expected
    np.testing.assert_array_equal(np.isnan(swae.history_["x_loss"]), np.arange(swae.n_iter_) < expected)
    assert np.isfinite(swae.loss_curve_).all()
    assert ("validation_loss" in swae.history_) == bool(parameters.get("early_stopping"))


@pytest.mark.slow
def test_a_fitted_module_has_the_final_objective(rng):
    """In training mode too, whether it was fitted, interrupted in its warm-up, or pickled."""

    class Interrupts(Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_epoch_begin(self, run):
            if run.epoch == self.epoch:
                raise KeyboardInterrupt

    X = rng.random((1000, 5))
    swae = cheap(SWAETransformer, max_iter=8).fit(X)
    interrupted = cheap(SWAETransformer, max_iter=8)
    for n_complete, is_said in ((7, False), (6, True), (2, True)):  # of 8, 6 of them in the warm-up
        with pytest.warns(ConvergenceWarning, match=f"{n_complete} complete epochs of 8") as caught:
            _fit.fit(interrupted, X, callbacks=[Interrupts(n_complete)])
        assert any("all of its warm-up" in str(w.message) for w in caught) == is_said
    rows = torch.from_numpy(X[:20]).float()
    for model in (swae, interrupted):
        losses = [
            module.train(mode).loss(rows, generator()).item()
            for module in (model.module_, pickle.loads(pickle.dumps(model)).module_)
            for mode in (False, True)
        ]
        assert losses == [losses[0]] * 4
    interrupted.partial_fit(X).partial_fit(X)  # the warm-up is not made up for
    assert interrupted.warmup_ == interrupted.module_.warmup == 2
    np.testing.assert_array_equal(np.isnan(interrupted.history_["x_loss"]), [True, True, False, False])


@pytest.mark.parametrize("Estimator", [SWAETransformer, VAETransformer])
def test_a_warm_up_that_did_not_end_is_said(Estimator, iris):
    for parameters in ({"warmup": 3}, {"warm_start": True}, {"max_iter": 3}):
        cheap(Estimator, **{"max_iter": 4, "warmup": 4, **parameters}).fit(iris)
    with pytest.warns(
        ConvergenceWarning, match=f"warm-up of {Estimator.__name__} did not end: warmup=4 of 4"
    ):
        fitted = cheap(Estimator, max_iter=4, warmup=4).fit(iris)
    if Estimator is SWAETransformer:
        assert list(fitted.history_) == ["loss", "x_loss", "reconstruction_loss", "z_loss"]
        assert np.isnan(fitted.history_["x_loss"]).all()


def test_a_warm_up_of_a_numpy_integer_is_saved(iris, tmp_path):
    swae = cheap(SWAETransformer, warmup=np.int64(1)).fit(iris)
    save_model(swae, tmp_path / "model")
    assert load_model(tmp_path / "model").warmup_ == 1


def test_no_warm_up_in_parts(rng):
    """In partial_fit there is none, and in further trainings none again."""
    X = rng.random((1000, 5))
    assert cheap(SWAETransformer, max_iter=6).partial_fit(X).partial_fit(X).warmup_ == 0
    swae = cheap(SWAETransformer, max_iter=3, warm_start=True).fit(X)
    again = swae.fit(X).history_["x_loss"]
    np.testing.assert_array_equal(np.isnan(again), [True, True, False, False, False, False])
    with pytest.raises(ValueError, match="'warmup' parameter must stay"):
        swae.set_params(warmup=5).fit(X)


@pytest.mark.parametrize("network", [GatedMLP((6,)), NormNet()])
def test_beta_0_leaves_the_decoder_free_of_the_prior(network):
    """Also where a layer of the decoder mixes the rows of a batch."""
    module, x = small(beta=0.0, network=network)
    parameters = list(module.decoder.parameters())
    before = gradient(module, x, parameters)
    with torch.no_grad():
        for parameter in module.prior.parameters():
            parameter.mul_(-3.0)
        module.pseudo_inputs.rows.mul_(0.3)
    for a, b in zip(before, gradient(module, x, parameters)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert (before[-1] != 0).any()


def test_beta_1_leaves_the_reconstruction_out():
    """Equation (8): the encoder is moved by the z-loss alone."""
    module, x = small(beta=1.0, alpha=1.0)
    parameters = list(module.encoder.parameters())
    z_loss = loss_of(module, x)["z_loss"]
    for a, b in zip(gradient(module, x, parameters), torch.autograd.grad(z_loss, parameters)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_only_alpha_times_the_floor_squared_is_identifiable():
    """(E, D, m, s) -> (c E, D(. / c), c m, c s) with alpha -> alpha / c^2 leaves equation (10) unchanged."""
    c = 3.0
    module, x = small(alpha=0.8, floor=0.05)
    scaled, _ = small(alpha=0.8 / c**2, floor=0.05 * c)
    with torch.no_grad():
        for layer, outputs in ((scaled.encoder.network[-1], slice(3)), (scaled.prior.network[-1], slice(3))):
            layer.weight[outputs] *= c
            layer.bias[outputs] *= c
        scaled.decoder.network[0].linear.weight.div_(c)
    before, after = loss_of(module, x), loss_of(scaled, x)
    for name in ("loss", "x_loss", "reconstruction_loss"):
        torch.testing.assert_close(before[name], after[name], rtol=1e-12, atol=0)
    torch.testing.assert_close(c**2 * before["z_loss"], after["z_loss"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.5), (0.2, 0.9)])
def test_the_start_is_in_the_unit_of_least_loss(activation, alpha, beta, digits):
    rows = torch.tensor(digits[0][:100]).float()
    own = {"init": "pca", "n_pseudo_inputs": 10, "alpha": alpha, "beta": beta}
    module, x = make_module(SWAETransformer, rows, activation, **own)
    k = module.n_components

    def loss(factor):
        """The loss in another unit of the code, over many draws."""
        other = copy.deepcopy(module)
        with torch.no_grad():
            for layer in (other.encoder.linear, other.prior.linear):
                layer.weight[:k] *= factor
                layer.bias[:k] *= factor
            other.decoder.linear.weight /= factor
            return float(np.mean([loss_of(other, x, seed)["loss"] for seed in range(100)]))

    assert loss(1.0) < min(loss(0.8), loss(1.25))


def test_the_unit_at_the_start_follows_the_floor(digits):
    """As alpha times the floor squared says; where nothing opposes one of the losses it has an end."""
    rows = torch.tensor(digits[0][:100]).float()

    def spread(**parameters):
        module, x = make_module(SWAETransformer, rows, init="pca", **{"n_pseudo_inputs": 10, **parameters})
        return module.encode(x).var(dim=0).mean().sqrt().item()

    half = spread(alpha=4.0, prior_scale_floor=0.05)
    assert half == pytest.approx(0.5 * spread(alpha=1.0, prior_scale_floor=0.1), rel=1e-4)
    assert spread(n_pseudo_inputs=100) == pytest.approx(1.0, rel=0.01)  # every code is its prior's mean
    assert spread(beta=0.0) == pytest.approx(1.0, rel=0.01)  # no decoder sees the noise


@pytest.mark.filterwarnings(
    "ignore:SWAETransformer reconstructs"
)  # an epoch under a sigmoid far from the rows
@pytest.mark.parametrize("cost", ["squared_error", "binary_cross_entropy"])
def test_alpha_has_the_unit_of_the_cost(cost, digits, iris):
    """Under a sigmoid as with the scaling of an identity output; without scaling it is the weight itself."""
    X = digits[0]

    def weight(X, **parameters):
        swae = cheap(SWAETransformer, alpha=2.0, max_iter=1, **parameters).fit(X)
        loss, x, r, z = (swae.history_[name] for name in ("loss", "x_loss", "reconstruction_loss", "z_loss"))
        np.testing.assert_allclose((loss - 0.5 * (x + r)) / z, swae.alpha_, rtol=1e-3)
        return swae.alpha_

    sigmoid = {"output_activation": "sigmoid", "reconstruction": cost}
    head = reconstruction_head(cost, "sigmoid")
    for rows in (X, 0.01 * X, (X > 0.5).astype(float)):
        x = torch.tensor(rows)
        decoded = x.mean(dim=0).expand_as(x), x
        constant, perfect = (head.cost(x, torch.logit(D, eps=1e-12)).mean().item() for D in decoded)
        assert weight(rows, **sigmoid) == pytest.approx(2.0 * (constant - perfect) / 64, rel=1e-4)
    for constant in (0.0, 0.3, 1.0):
        assert weight(np.full((11, 3), constant), **sigmoid) == 2.0  # the mean row costs nothing
    assert weight(X, scaling=None, **sigmoid) == 2.0
    for factor in (1.0, 1e-3):
        assert weight(factor * iris) == 2.0  # of the scaled rows, whose variance is 1
    again = cheap(SWAETransformer, warm_start=True, max_iter=1, **sigmoid).fit(X)
    before = again.alpha_
    assert again.set_params(alpha=3.0).fit(0.5 * X).alpha_ == pytest.approx(3 * before)  # its unit stays


@pytest.mark.parametrize("offset", [1.0, 1e4])
def test_cosine_uses_the_user_s_origin(offset, rng):
    """Scaling subtracts the mean inside; angles are those of the rows as given."""
    X = rng.normal(size=(60, 4)) + np.array([5.0, 1.0, 0.0, 1.0]) * offset
    swae = cheap(SWAETransformer, metric="cosine").fit(X)
    assert swae.scale_ != 1.0
    chosen = swae.module_.double().assign(swae.module_.scaler.standardize(torch.from_numpy(X)))
    expected = pairwise_distances_argmin(X, swae.pseudo_inputs_, metric="cosine")
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize("space", ["data", "latent"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("beta", [0, 1])
def test_every_search_and_both_ends_of_beta_train(space, metric, beta, digits):
    swae = cheap(SWAETransformer, assignment_space=space, metric=metric, beta=beta, max_iter=5)
    loss = swae.fit(digits[0]).history_["loss"]
    assert loss[-1] < loss[0]


def test_gradient_reaches_the_closest_pseudo_inputs_only():
    module, x = small(K=6)
    (g,) = gradient(module, x[:5], [module.pseudo_inputs.rows])
    used = torch.zeros(6, dtype=torch.bool)
    used[module.assign(x[:5])] = True
    assert torch.equal((g != 0).any(dim=1), used)
    assert not used.all()


@pytest.mark.slow
def test_the_floor_bounds_the_prior_s_scale(digits):
    module, x = small(floor=0.2)
    with torch.no_grad():
        module.prior.network[-1].weight.mul_(100)
        scale = torch.exp(0.5 * module.conditional_prior(x)[1])
    assert scale.min() >= 0.2 * (1 - 1e-12)
    assert 1 < scale.max() <= 0.2 * np.exp(4) * (1 + 1e-12)
    # training narrows the prior to its floor: nothing in the objective keeps it up
    swae = cheap(SWAETransformer, prior_scale_floor=0.1, max_iter=60, learning_rate_init=1e-2)
    module = swae.fit(digits[0]).module_
    with torch.no_grad():
        _, log_variance = module.conditional_prior(module.pseudo_inputs.rows)
    assert 0.1 <= torch.exp(0.5 * log_variance).median() < 0.15


def test_partial_fit_counts_while_earlier_rows_fade(digits):
    """Rows are counted once a call, as they are trained on; those of earlier calls count nine tenths."""
    swae = cheap(SWAETransformer, n_pseudo_inputs=20, learning_rate_init=1e-12, batch_size=32)
    expected, residual = np.zeros(20), np.zeros(2)
    for X in (digits[0][:90], digits[0][90:200], digits[0][200:]):
        module = swae.partial_fit(X).module_
        cell = pairwise_distances_argmin(X, swae.pseudo_inputs_)
        expected = 0.9 * expected + np.bincount(cell, minlength=20)
        with torch.no_grad():
            mean, _ = module.conditional_prior(module.pseudo_inputs.rows)
        residual = 0.9 * residual + np.square(swae.transform(X) - mean.numpy()[cell]).sum(axis=0)
        np.testing.assert_allclose(swae.pseudo_input_weights_, expected / expected.sum(), rtol=1e-12)
        np.testing.assert_allclose(module.residual, residual, rtol=1e-4)


def test_samples_have_the_mixture_s_moments(digits):
    """With each choice of weights and widths, set on the fitted model, of which "matched" is the wider."""
    X = digits[0]
    swae = cheap(SWAETransformer, prior_scale_floor=0.02, max_iter=30, n_pseudo_inputs=20).fit(X)
    module = swae.module_
    with torch.no_grad():
        learned = module.conditional_prior(module.pseudo_inputs.rows)
    mean, log_variance = (t.double().numpy() for t in learned)
    within = np.square(swae.transform(X) - mean[pairwise_distances_argmin(X, swae.pseudo_inputs_)]).mean(0)
    matched = np.maximum(np.exp(log_variance), within)
    assert (matched == within).any()
    for weights in ("usage", "uniform"):
        spread = []
        for scale, variance in (("learned", np.exp(log_variance)), ("matched", matched)):
            z = module.sample_prior(200_000, generator(), pseudo_input_weights=weights, prior_scale=scale)
            swae.set_params(pseudo_input_weights=weights, prior_scale=scale)
            w = swae.pseudo_input_weights_
            assert weights == "usage" or np.allclose(w, 1 / 20)
            centred = mean - w @ mean
            covariance = (w[:, None] * centred).T @ centred + np.diag(w @ variance)
            assert_moments(z.double().numpy(), w @ mean, covariance)
            spread.append(swae.sample(2000, random_state=0).var(axis=0).sum())
        assert spread[0] < spread[1]
    for name, last in (("prior_scale", "matched"), ("pseudo_input_weights", "usage")):
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            swae.set_params(**{name: last.title()}).sample()
        swae.set_params(**{name: last})


def test_gradients_of_the_prior_are_the_same_again_in_several_threads():
    """Sums over the rows of a cell, in one order, where they are long enough for several threads."""
    module, _ = small(n_components=64, K=2)
    module = module.float()
    cell = torch.randint(2, (2048,), generator=generator())
    weights = torch.randn(2048, 64, generator=generator())

    def gradient():
        mean, log_variance = module.pseudo_inputs.mapped(cell, module.conditional_prior, module.prior.network)
        loss = (weights * (mean + log_variance)).sum()
        return torch.autograd.grad(loss, module.pseudo_inputs.rows)[0]

    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(20))
    finally:
        torch.set_num_threads(n_threads)
