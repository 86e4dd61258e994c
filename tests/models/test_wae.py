"""Wasserstein autoencoders: losses by hand, the critic's game, weights and noise."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from skswae import WAETransformer
from skswae.models._wae import adversarial_loss, critic_loss, gradient_penalty
from skswae.modules._divergences import (
    debiased,
    mmd,
    random_directions,
    sinkhorn_divergence,
    sliced_wasserstein,
)
from skswae.networks import GatedMLP

from ..estimators import cheap
from .tools import generator, make_module, normal

DIVERGENCES = ["mmd", "gan", "sliced", "sinkhorn"]
each = pytest.mark.parametrize("divergence", DIVERGENCES)


def small(divergence="mmd", **parameters):
    rows = torch.randn(40, 5, generator=generator(1))
    own = {"divergence": divergence, "input_noise": 0.0, "critic_layer_sizes": (6, 6)}
    module, x = make_module(WAETransformer, rows, network=GatedMLP((7,)), **{**own, **parameters})
    return module, x[:12]


def test_the_critic_s_losses_are_cross_entropies():
    prior, codes = (normal(9, 1, seed=i).requires_grad_() for i in (0, 1))
    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = entropy(prior, torch.ones_like(prior)) + entropy(codes, torch.zeros_like(codes))
    torch.testing.assert_close(critic_loss(prior, codes), expected)
    torch.testing.assert_close(adversarial_loss(codes), entropy(codes, torch.ones_like(codes)))
    zero = torch.zeros(4, 1)
    assert critic_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert torch.isfinite(critic_loss(torch.tensor([[-1e4]]), torch.tensor([[1e4]])))
    # the critic raises its output on the prior and lowers it on codes; codes climb it
    g_prior, g_codes = torch.autograd.grad(critic_loss(prior, codes), [prior, codes])
    (climb,) = torch.autograd.grad(adversarial_loss(codes), codes)
    assert torch.all(g_prior < 0)
    assert torch.all(g_codes > 0)
    assert torch.all(climb < 0)


def test_the_penalty_is_the_mean_squared_gradient():
    critic = nn.Linear(3, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.5, -1.0, 2.0]]))
    penalty = gradient_penalty(critic, torch.randn(8, 3, generator=generator()))
    torch.testing.assert_close(penalty, critic.weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(gradient, 2 * critic.weight)


@each
def test_the_module_s_loss(divergence):
    module, x = small(
        divergence, divergence_weight=3.0, sinkhorn_epsilon=0.5, critic_penalty=2.0, kernel="rbf",
        kernel_scales=np.array([0.5, 2]),
    )  # fmt: skip
    yielded = dict(module.losses(x, generator(5)))
    g = generator(5)  # the same draws, in the order of the loss
    z = module.encode(x)
    _ = torch.randn((12, 3), dtype=torch.float64, generator=g)  # for empty components
    z_prior = torch.randn((12, 3), dtype=torch.float64, generator=g)
    cost = (x - module.decode(z)).square().sum(dim=1).mean()
    if divergence == "mmd":
        expected = mmd(z, z_prior, "rbf", (0.5, 2.0))
    elif divergence == "sliced":
        directions = random_directions(50, 3, g, torch.float64, "cpu")
        expected = debiased(lambda x, y: sliced_wasserstein(x, y, directions), z, z_prior)
    elif divergence == "sinkhorn":  # in units of the prior's mean squared distance
        expected = debiased(lambda x, y: sinkhorn_divergence(x, y, 0.5 * 2 * 3), z, z_prior)
    else:
        expected = nn.functional.softplus(-module.critic(z)).mean()
    terms = yielded["autoencoder"]
    torch.testing.assert_close(terms["reconstruction_loss"], cost)
    torch.testing.assert_close(terms["divergence"], expected)
    torch.testing.assert_close(terms["loss"], cost + 3.0 * expected)
    assert list(yielded) == (["autoencoder", "critic"] if divergence == "gan" else ["autoencoder"])
    if divergence == "gan":
        game = critic_loss(module.critic(z_prior), module.critic(z))
        penalty = gradient_penalty(module.critic, z_prior)
        torch.testing.assert_close(yielded["critic"]["penalty"], penalty)
        torch.testing.assert_close(yielded["critic"]["loss"], game + penalty)


def test_players_share_nothing_and_leave_nothing_out():
    """Nor does the critic's loss move the autoencoder."""
    module, x = small("gan", critic_penalty=1.0)
    players = {name: {id(p) for p in parameters} for name, parameters in module.players().items()}
    assert players["critic"] == {id(p) for p in module.critic.parameters()}
    assert not players["critic"] & players["autoencoder"]
    assert players["critic"] | players["autoencoder"] == {id(p) for p in module.parameters()}
    loss = dict(module.losses(x, generator()))["critic"]["loss"]
    gradients = torch.autograd.grad(loss, module.players()["autoencoder"], allow_unused=True)
    assert all(g is None for g in gradients)


def test_input_noise_is_for_training_alone():
    """It is in units of the features' root mean variance, and for the encoder's input alone."""
    module, x = small(input_noise=0.5)
    module.eval()
    assert module.with_noise(x, generator()) is x
    module.train()
    wide = x.repeat(2000, 1)
    noise = module.with_noise(wide, generator()) - wide
    rms = math.sqrt(torch.randn(40, 5, generator=generator(1)).var(dim=0, correction=0).mean())
    assert noise.std().item() == pytest.approx(0.5 * rms, rel=0.02)
    cost = (x - module.decode(module.encode(module.with_noise(x, generator(5))))).square().sum(dim=1).mean()
    terms = dict(module.losses(x, generator(5)))["autoencoder"]
    torch.testing.assert_close(terms["reconstruction_loss"], cost)


@pytest.mark.parametrize("init", ["pca", "random"])
def test_the_automatic_noise_is_small_beside_the_weakest_component(init, rng):
    """Samples have a share l / (l + v) of the variance l that meets noise of variance v."""
    for scales, expected in [([3, 2, 1.5, 0.5], 0.05 * 0.25), ([1, 1, 1, 1], 0.05), ([9, 8, 7, 0], None)]:
        X = rng.normal(size=(4000, 4)) * scales
        module, _ = make_module(WAETransformer, torch.tensor(X).float(), n_components=4, init=init)
        if expected is None:  # a component that is not there does not count
            expected = min(0.05 * 49, 0.09 * X.var(axis=0).mean())
        assert module.auto_noise_scale.item() ** 2 == pytest.approx(expected, rel=0.1)
    # many weak features beside few strong ones: the noise has a share of their mean
    X = np.column_stack([10 * rng.normal(size=(500, 2)), 0.1 * rng.normal(size=(500, 30))])
    module, _ = make_module(WAETransformer, torch.tensor(X).float(), n_components=2, init=init)
    assert module.auto_noise_scale.item() == pytest.approx(0.3 * np.sqrt(X.var(axis=0).mean()), rel=1e-5)
    module, _ = make_module(WAETransformer, torch.ones(30, 4), init=init)
    assert module.auto_noise_scale.item() == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("init", ["pca", "random"])
def test_components_beyond_the_rank_are_noise_in_training(init, rng):
    """The decoder then does not depend on them, and their codes are 0."""
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5))
    wae = cheap(WAETransformer, n_components=4, init=init, max_iter=40, learning_rate_init=2e-2).fit(X)
    Z = wae.transform(X)
    assert np.all(Z[:, 2:] == 0)
    assert np.all(Z[:, :2].std(axis=0) > 0.1)
    Z[:, 2:] = rng.normal(size=(200, 2))
    error = np.square(X - wae.inverse_transform(Z)).sum()
    assert error < 0.2 * np.square(X - X.mean(axis=0)).sum()
    # few rows do not tell the rank of the data
    few = cheap(WAETransformer, n_components=4, init=init).fit(rng.normal(size=(3, 5)))
    assert np.all(few.transform(X).std(axis=0) > 0)


@pytest.mark.parametrize(
    "divergence",
    [pytest.param(d, marks=[pytest.mark.slow] * (d != "mmd")) for d in DIVERGENCES],
)
def test_codes_approach_the_prior(divergence, rng):
    """Two far clusters: with a weight the decoder's map from their codes is filled by them."""
    X = np.where(rng.random((200, 1)) < 0.5, -3.0, 3.0) + 0.3 * rng.normal(size=(200, 4))
    prior = torch.randn(200, 2, generator=generator(3))
    distance = []
    for weight in (0.0, 10.0):
        options = {"divergence": divergence, "divergence_weight": weight, "max_iter": 25, "batch_size": 100}
        wae = cheap(WAETransformer, network=GatedMLP((32,)), learning_rate_init=1e-2, **options).fit(X)
        distance.append(mmd(torch.tensor(wae.transform(X.astype(np.float32))), prior).item())
    assert distance[1] < 0.7 * distance[0]


@pytest.mark.parametrize("seed", range(3))
def test_gan_trains_stably(seed, digits):
    """No run diverges; both players' losses are in history_, and a validation loss, without gradients."""
    options = {"divergence": "gan", "max_iter": 12, "random_state": seed, "n_iter_no_change": 99}
    wae = cheap(WAETransformer, early_stopping=True, **options).fit(digits[0])
    own = {"loss", "critic_loss", "critic_penalty", "divergence", "reconstruction_loss", "validation_loss"}
    assert wae.history_.keys() == own
    assert all(np.isfinite(values).all() and values.shape == (12,) for values in wae.history_.values())
    assert wae.history_["reconstruction_loss"][-1] < wae.history_["reconstruction_loss"][0]
    assert 0.5 < wae.history_["critic_loss"][-1] < 3.0  # 1.39: cannot tell


def test_the_critic_has_its_own_rate(digits):
    options = {"divergence": "gan", "learning_rate": "constant", "max_iter": 1}

    def critic(**more):
        module = cheap(WAETransformer, **options, **more).fit(digits[0]).module_
        return torch.cat([p.flatten() for p in module.critic.parameters()])

    start = critic(critic_learning_rate_init=1e-12)
    slow, usual = (critic(critic_learning_rate_init=rate) for rate in (1e-4, None))
    assert 0 < (slow - start).abs().max() < 0.3 * (usual - start).abs().max()


def test_the_automatic_weight_follows_the_data(digits, iris):
    X = digits[0]
    wae = cheap(WAETransformer).fit(X)
    assert wae.divergence_weight_ == pytest.approx(0.2 * X.var(axis=0).sum(), rel=1e-5)
    wae = cheap(WAETransformer, divergence="sinkhorn").fit(iris)  # scaled to a mean variance of 1
    assert wae.divergence_weight_ == pytest.approx(0.2 * 4 / 2, rel=1e-5)
    wae = cheap(WAETransformer, divergence_weight=2.0).fit(iris)
    wae.set_params(divergence_weight=5.0).sample(3)  # which leaves a fitted model as it is
    assert wae.divergence_weight_ == 2.0


@pytest.mark.parametrize("divergence", ["gan", "mmd"])
@pytest.mark.parametrize("kind", [list, np.array])
def test_lists_and_arrays_of_sizes(divergence, kind, iris):
    sizes = kind([8, 8])
    wae = cheap(WAETransformer, divergence=divergence, critic_layer_sizes=sizes).partial_fit(iris)
    wae.partial_fit(iris)
    wae.set_params(critic_layer_sizes=(8, 8)).partial_fit(iris)
    with pytest.raises(ValueError, match=f"'divergence' parameter must stay '{divergence}'"):
        copy.copy(wae).set_params(divergence="sliced").partial_fit(iris)
    sizes[0] = 9
    with pytest.raises(ValueError, match=r"'critic_layer_sizes' parameter must stay \(8, 8\)"):
        wae.set_params(critic_layer_sizes=sizes).partial_fit(iris)


@pytest.mark.parametrize(("divergence", "promised"), [("mmd", True), ("gan", True), ("sinkhorn", False)])
def test_a_module_that_looks_at_its_numbers_promises_no_graph(divergence, promised, iris):
    wae = cheap(WAETransformer, divergence=divergence, max_iter=1).fit(iris)
    assert wae.module_.capturable is promised


@pytest.mark.parametrize("first", ["few directions", "copies"])
def test_components_that_were_empty_are_filled_by_later_rows(first, rng):
    """A first call of few directions does not fix them for ever."""
    X = rng.normal(size=(200, 6))
    few = X[:20] * [1, 1, 0, 0, 0, 0] if first == "few directions" else np.repeat(X[:3], 20, axis=0)
    model = cheap(WAETransformer, n_components=4).partial_fit(few)
    assert model.module_.is_empty.tolist() == [False, False, True, True]
    assert not model.transform(X)[:, 2:].any()
    model.partial_fit(few)
    assert model.module_.is_empty.any()
    model.partial_fit(X)
    assert not model.module_.is_empty.any()
    assert np.all(model.transform(X).std(axis=0) > 1e-3)
