"""Wasserstein autoencoders: losses by hand, the critic's game, weights and noise."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skswae._divergences import mmd, random_directions, sinkhorn_divergence, sliced_wasserstein
from skswae._module import Parts
from skswae._rows import Rows
from skswae._wae import WAEModule, adversarial_loss, critic_loss, gradient_penalty, wae_loss
from torch import nn

from skswae import WAETransformer
from skswae.networks import GatedMLP

from .estimators import cheap

DIVERGENCES = ["mmd", "gan", "sliced", "sinkhorn"]
each = pytest.mark.parametrize("divergence", DIVERGENCES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_module(divergence="mmd", init="random", **attributes):
    rows = torch.randn(40, 5, generator=generator(1))
    parts = Parts(
        GatedMLP((7,)),
        Rows(rows.numpy()),
        n_components=3,
        out_activation="identity",
        init=init,
        seed=0,
    )
    module = WAEModule(parts, [6, 6] if divergence == "gan" else None).double()
    for name, value in {"divergence": divergence, **attributes}.items():
        setattr(module, name, value)
    return module, rows[:12].double()


# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


def test_the_loss_by_hand():
    terms = wae_loss(torch.tensor([1.0, 3.0]), torch.tensor(0.5), weight=4.0)
    assert {n: t.item() for n, t in terms.items()} == {
        "loss": 4.0,
        "reconstruction_loss": 2.0,
        "divergence": 0.5,
    }


def test_the_critic_s_losses_are_cross_entropies():
    prior, codes = (torch.randn(9, 1, generator=generator(i), dtype=torch.float64) for i in (0, 1))
    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = entropy(prior, torch.ones_like(prior)) + entropy(codes, torch.zeros_like(codes))
    torch.testing.assert_close(critic_loss(prior, codes), expected)
    torch.testing.assert_close(adversarial_loss(codes), entropy(codes, torch.ones_like(codes)))
    zero = torch.zeros(4, 1)
    assert critic_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert torch.isfinite(critic_loss(torch.tensor([[-1e4]]), torch.tensor([[1e4]])))


def test_the_critic_s_gradients_point_the_right_way():
    """The critic raises its output on the prior and lowers it on codes; codes climb it."""
    prior, codes = (torch.randn(9, 1, generator=generator(i)).requires_grad_() for i in (0, 1))
    g_prior, g_codes = torch.autograd.grad(critic_loss(prior, codes), [prior, codes])
    assert torch.all(g_prior < 0)
    assert torch.all(g_codes > 0)
    (climb,) = torch.autograd.grad(adversarial_loss(codes), codes)
    assert torch.all(climb < 0)


def test_the_penalty_is_the_mean_squared_gradient():
    critic = nn.Linear(3, 1)
    z = torch.randn(8, 3, generator=generator())
    penalty = gradient_penalty(critic, z)
    torch.testing.assert_close(penalty, critic.weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(gradient, 2 * critic.weight)


def code_and_prior(module, x, seed=5):
    """What a call of losses with that seed compares, in the order of its draws."""
    g = generator(seed)
    return module.encode(x), torch.randn((len(x), 3), dtype=torch.float64, generator=g), g


@each
def test_the_module_s_loss(divergence):
    module, x = make_module(divergence, divergence_weight=3.0, sinkhorn_epsilon=0.5, critic_penalty=2.0)
    yielded = dict(module.losses(x, generator(5)))
    z, z_prior, g = code_and_prior(module, x)
    cost = (x - module.decode(z)).square().sum(dim=1).mean()
    if divergence == "mmd":
        expected = mmd(z, z_prior)
    elif divergence == "sliced":
        expected = sliced_wasserstein(z, z_prior, random_directions(50, 3, g, torch.float64, "cpu"))
    elif divergence == "sinkhorn":
        expected = sinkhorn_divergence(
            z, z_prior, 0.5 * 2 * 3
        )  # in units of the prior's mean squared distance
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


class Loss(nn.Module):
    def __init__(self, m, player):
        super().__init__()
        self.m = m
        self.player = player

    def forward(self, x):
        return dict(self.m.losses(x, generator(5)))[self.player]["loss"]


@pytest.mark.parametrize(
    ("divergence", "player"), [*((d, "autoencoder") for d in DIVERGENCES), ("gan", "critic")]
)
def test_numerical_gradients(divergence, player):
    module, x = make_module(divergence, divergence_weight=2.0, sinkhorn_epsilon=2.0, critic_penalty=2.0)
    with torch.no_grad():  # off the start: with biases of 0 a dead unit leaves the next on its kink
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator(1))
    chosen = {id(p) for p in module.players()[player]}
    named = {n: p.detach().clone() for n, p in module.named_parameters() if id(p) in chosen}

    def loss(*values):
        return torch.func.functional_call(
            Loss(module, player), dict(zip((f"m.{n}" for n in named), values)), x
        )

    values = [v.requires_grad_() for v in named.values()]
    # Sinkhorn's potentials are converged to a tolerance, which the envelope theorem's gradient inherits
    atol = 2e-3 if divergence == "sinkhorn" else 1e-5
    assert torch.autograd.gradcheck(loss, values, fast_mode=True, atol=atol)
    assert all((g != 0).any() for g in torch.autograd.grad(loss(*values), values, allow_unused=False)[:2])


def test_players_share_nothing_and_leave_nothing_out():
    module, _ = make_module("gan")
    players = {name: {id(p) for p in parameters} for name, parameters in module.players().items()}
    assert players["critic"] == {id(p) for p in module.critic.parameters()}
    assert not players["critic"] & players["autoencoder"]
    assert players["critic"] | players["autoencoder"] == {id(p) for p in module.parameters()}


def test_the_critic_s_loss_leaves_the_autoencoder_alone():
    module, x = make_module("gan", critic_penalty=1.0)
    terms = dict(module.losses(x, generator()))
    others = module.players()["autoencoder"]
    gradients = torch.autograd.grad(terms["critic"]["loss"], others, allow_unused=True)
    assert all(g is None for g in gradients)


def test_input_noise_is_for_training_alone():
    module, x = make_module(input_noise=0.5)
    module.eval()
    assert module.with_noise(x, generator()) is x
    module.train()
    wide = x.repeat(2000, 1)
    noise = module.with_noise(wide, generator()) - wide
    rms = math.sqrt(module.total_variance.item() / 5)
    assert noise.std().item() == pytest.approx(0.5 * rms, rel=0.02)


# ---------------------------------------------------------------------------
# The estimator
# ---------------------------------------------------------------------------


@each
def test_codes_approach_the_prior(divergence, rng):
    """Two far clusters: with a weight the decoder's map from their codes is filled by them."""
    X = np.where(rng.random((300, 1)) < 0.5, -3.0, 3.0) + 0.3 * rng.normal(size=(300, 4))
    free, bound = (
        WAETransformer(
            2,
            divergence=divergence,
            divergence_weight=weight,
            max_iter=60,
            network=GatedMLP((32,)),
            random_state=0,
        ).fit(X)
        for weight in (0.0, 10.0)
    )
    g = generator(3)
    prior = torch.randn(300, 2, generator=g)
    distance = [mmd(torch.tensor(e.transform(X.astype(np.float32))), prior).item() for e in (free, bound)]
    assert distance[1] < 0.7 * distance[0]


def test_gan_trains_stably(digits):
    """Over 10 seeds: no run diverges, and both players' losses are in history_."""
    for seed in range(10):
        wae = cheap(WAETransformer, divergence="gan", max_iter=12, random_state=seed).fit(digits[0])
        for name in ("loss", "critic_loss", "critic_penalty", "divergence", "reconstruction_loss"):
            assert wae.history_[name].shape == (12,)
            assert np.isfinite(wae.history_[name]).all()
        assert wae.history_["reconstruction_loss"][-1] < wae.history_["reconstruction_loss"][0]
        assert 0.5 < wae.history_["critic_loss"][-1] < 3.0  # 1.39: cannot tell


def test_gan_has_no_other_terms_and_the_others_no_critic(digits):
    for divergence in DIVERGENCES:
        wae = cheap(WAETransformer, divergence=divergence).fit(digits[0])
        assert any("critic" in name for name in wae.history_) == (divergence == "gan")
        assert (wae.module_.critic is not None) == (divergence == "gan")
    assert (
        "critic_penalty"
        not in cheap(WAETransformer, divergence="gan", critic_penalty=0).fit(digits[0]).history_
    )


@each
def test_bit_equal_in_threads(divergence, digits):
    estimators = [cheap(WAETransformer, divergence=divergence, random_state=seed) for seed in range(4)]
    serial = [clone(e).fit(digits[0]) for e in estimators]

    def fit(estimator):
        torch.set_num_threads(1)
        return clone(estimator).fit(digits[0])

    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(serial, pool.map(fit, estimators)):
            np.testing.assert_array_equal(a.transform(digits[0]), b.transform(digits[0]))


def test_training_of_two_players_goes_on(digits):
    X = digits[0]
    options = {"divergence": "gan", "learning_rate": "constant", "warm_start": True}
    parts = cheap(WAETransformer, max_iter=2, **options).fit(X)
    parts.set_params(max_iter=3).fit(X)
    whole = cheap(WAETransformer, max_iter=5, **options).fit(X)
    np.testing.assert_array_equal(parts.transform(X), whole.transform(X))
    parts.set_params(divergence="mmd")
    with pytest.raises(ValueError, match="'divergence' parameter must stay 'gan'"):
        parts.fit(X)


def test_the_critic_has_its_own_rate(digits):
    X = digits[0]
    options = {"divergence": "gan", "learning_rate": "constant", "max_iter": 1}

    def critic(**more):
        module = cheap(WAETransformer, **options, **more).fit(X).module_
        return torch.cat([p.flatten() for p in module.critic.parameters()])

    start = critic(critic_learning_rate_init=1e-12)
    slow, usual = (critic(critic_learning_rate_init=rate) for rate in (1e-4, None))
    assert 0 < (slow - start).abs().max() < 0.3 * (usual - start).abs().max()
    same = critic(critic_learning_rate_init=1.25e-3)
    assert torch.equal(usual, same)


def test_the_automatic_weight_follows_the_data(digits, iris):
    X = digits[0]
    wae = cheap(WAETransformer).fit(X)
    assert wae.divergence_weight_ == pytest.approx(0.2 * X.var(axis=0).sum(), rel=1e-5)
    wae = cheap(WAETransformer, divergence="sinkhorn").fit(iris)  # scaled to a mean variance of 1
    assert wae.divergence_weight_ == pytest.approx(0.2 * 4 / 2, rel=1e-5)
    assert cheap(WAETransformer, divergence_weight=7).fit(X).divergence_weight_ == 7.0


@pytest.mark.parametrize("divergence", ["gan", "mmd"])
@pytest.mark.parametrize("kind", [list, np.array])
def test_lists_and_arrays_of_sizes(divergence, kind, digits):
    sizes = kind([8, 8])
    wae = cheap(WAETransformer, divergence=divergence, critic_layer_sizes=sizes).partial_fit(digits[0])
    wae.partial_fit(digits[0])
    wae.set_params(critic_layer_sizes=(8, 8)).partial_fit(digits[0])
    sizes[0] = 9
    with pytest.raises(ValueError, match=r"'critic_layer_sizes' parameter must stay \(8, 8\)"):
        wae.set_params(critic_layer_sizes=sizes).partial_fit(digits[0])


def test_sampling_leaves_a_fitted_model_as_it_is(digits):
    wae = cheap(WAETransformer, divergence_weight=2.0).fit(digits[0])
    wae.set_params(divergence_weight=5.0, kernel_scales=[1.0]).sample(3)
    assert wae.divergence_weight_ == 2.0
    assert len(wae.module_.kernel_scales) == 7


def test_every_module_is_usable_without_gradients(digits):
    module = cheap(WAETransformer, divergence="gan").fit(digits[0]).module_
    with torch.no_grad():
        terms = dict(module.losses(torch.tensor(digits[0][:9]).float(), generator()))
    assert torch.isfinite(terms["critic"]["loss"])


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_kernels(kernel, digits):
    wae = cheap(WAETransformer, kernel=kernel, kernel_scales=np.array([0.5, 2])).fit(digits[0])
    assert wae.module_.kernel_scales == (0.5, 2.0)
    assert np.isfinite(wae.history_["loss"]).all()
