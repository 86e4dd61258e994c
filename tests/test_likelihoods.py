"""Costs and likelihoods against torch.distributions, SciPy and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from skswae._likelihoods import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    binary_cross_entropy,
    reconstruction_cost,
    squared_error,
)

SMALLEST = 1e-3  # scale, for features of variance 1


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_scales(likelihood, log_scale):
    """The likelihood in float64, its parameter filled with numbers."""
    likelihood.double()
    with torch.no_grad():
        likelihood.log_scale.copy_(torch.as_tensor(log_scale, dtype=torch.float64))
    return likelihood


def expected_scale(likelihood):
    """As documented: sqrt(exp(2 r t) + 1e-6), r = 10."""
    return np.sqrt(np.exp(20.0 * likelihood.log_scale.detach().numpy()) + SMALLEST**2)


# ---------------------------------------------------------------------------
# Costs
# ---------------------------------------------------------------------------


def test_squared_error_is_torch_s():
    x, logits = uniform(6, 4), 3 * random(6, 4)
    for activation, decoded in [("identity", logits), ("sigmoid", torch.sigmoid(logits))]:
        expected = nn.functional.mse_loss(decoded, x, reduction="none").sum(dim=1)
        torch.testing.assert_close(squared_error(x, logits, activation), expected)
        torch.testing.assert_close(reconstruction_cost(x, logits, "squared_error", activation), expected)


def test_binary_cross_entropy_is_torch_s():
    x, logits = uniform(6, 4), 3 * random(6, 4)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
    torch.testing.assert_close(binary_cross_entropy(x, logits), expected)
    torch.testing.assert_close(reconstruction_cost(x, logits, "binary_cross_entropy", "sigmoid"), expected)


# ---------------------------------------------------------------------------
# Bernoulli
# ---------------------------------------------------------------------------


def test_bernoulli_is_torch_s():
    x, logits = (uniform(50, 4) > 0.5).double(), 5 * random(50, 4)
    expected = TorchBernoulli(logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(Bernoulli().log_prob(x, logits), expected)
    assert not Bernoulli().is_density


def test_bernoulli_of_values_between_is_the_cross_entropy():
    x, logits = uniform(50, 4), random(50, 4)
    p = torch.sigmoid(logits)
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum(dim=1)
    torch.testing.assert_close(Bernoulli().log_prob(x, logits), expected)


# ---------------------------------------------------------------------------
# Gaussian
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("log_scale", [[0.1], [-0.3], [-0.2, 0.0, 0.1, 0.05]])
@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_gaussian_is_torch_s(activation, log_scale):
    x, logits = random(50, 4), random(50, 4, seed=1)
    likelihood = with_scales(Gaussian(4, len(log_scale) == 4, activation), log_scale)
    decoded = torch.sigmoid(logits) if activation == "sigmoid" else logits
    scale = torch.from_numpy(expected_scale(likelihood)).expand(4)
    expected = Normal(decoded, scale).log_prob(x).sum(dim=1)
    torch.testing.assert_close(likelihood.log_prob(x, logits), expected, rtol=1e-12, atol=1e-12)
    assert likelihood.is_density


# ---------------------------------------------------------------------------
# Discretised logistic
# ---------------------------------------------------------------------------


def cells(n_bins, centre, scale):
    """Logarithms of the cells' probabilities, from SciPy: (n_bins,)."""
    edges = np.arange(1, n_bins) / n_bins
    logistic = stats.logistic(centre, scale)
    # differences of whichever of the two is small: no cancellation next to 1
    below = np.diff(np.concatenate([[0.0], logistic.cdf(edges), [1.0]]))
    above = -np.diff(np.concatenate([[1.0], logistic.sf(edges), [0.0]]))
    with np.errstate(divide="ignore"):
        return np.log(np.where(np.arange(n_bins) + 0.5 < n_bins * centre, below, above))


LOG_SCALES = [-5.0, -0.6, -0.3, -0.1, 0.0, 0.2]  # scales 1e-3 (the bound), 0.0027, 0.05, 0.37, 1, 7.4


@pytest.mark.parametrize("log_scale", LOG_SCALES)
@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 0.7, 4.0])
@pytest.mark.parametrize("n_bins", [2, 3, 17, 256])
def test_discretized_logistic_is_scipy_s(n_bins, logit, log_scale):
    likelihood = with_scales(DiscretizedLogistic(1, False, n_bins), [log_scale])
    (scale,) = expected_scale(likelihood)
    x = (torch.arange(n_bins, dtype=torch.float64)[:, None] + 0.5) / n_bins
    found = likelihood.log_prob(x, torch.full_like(x, logit)).detach().numpy()
    expected = cells(n_bins, 1 / (1 + np.exp(-logit)), scale)
    seen = expected > -600  # SciPy's numbers underflow beyond
    np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-9, atol=1e-12)
    assert np.all(np.isfinite(found))
    assert np.all(found[~seen] < -599)
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-11)
    assert not likelihood.is_density


def test_scales_and_centres_of_each_feature():
    """A row's log-probability is the sum over its features, each with its own centre and scale."""
    likelihood = with_scales(DiscretizedLogistic(3, True, 17), [-0.3, -0.1, 0.0])
    j, logits = torch.tensor([[0, 5, 16], [9, 0, 3]]), random(2, 3)
    scales = expected_scale(likelihood)
    centres = torch.sigmoid(logits).numpy()
    expected = [
        sum(cells(17, centres[i, f], scales[f])[j[i, f]] for f in range(3)) for i in range(2)
    ]  # fmt: skip
    found = likelihood.log_prob((j + 0.5) / 17, logits)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-6)  # x is float32
    found = likelihood.log_prob((j.double() + 0.5) / 17, logits)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bins", [2, 17, 256])
@pytest.mark.parametrize("logit", [-60.0, 60.0])
def test_both_kinds_of_grid_fall_into_their_cell(logit, n_bins, dtype):
    """j / (L - 1) and (j + 1/2) / L, whether divided in float64 or in the dtype itself."""
    likelihood = with_scales(DiscretizedLogistic(1, False, n_bins), [math.log(3.0 / n_bins) / 10])
    # around a centre of 0 or 1 every cell has a probability of its own
    expected = cells(n_bins, 1 / (1 + np.exp(-logit)), *expected_scale(likelihood))
    apart = np.abs(np.diff(expected)).min()
    assert apart > 0.01
    likelihood.to(torch.from_numpy(np.zeros(0, dtype)).dtype)
    j = np.arange(n_bins)
    for values in (
        j / (n_bins - 1), (j + 0.5) / n_bins,
        j.astype(dtype) / dtype(n_bins - 1), (j.astype(dtype) + dtype(0.5)) / dtype(n_bins),
    ):  # fmt: skip
        x = torch.from_numpy(values.astype(dtype))[:, None]
        found = likelihood.log_prob(x, torch.full_like(x, logit)).detach()
        np.testing.assert_allclose(found, expected, rtol=0, atol=apart / 3)


@pytest.mark.parametrize("log_scale", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("n_bins", [256, 65536])
def test_float32_is_accurate_for_fine_grids(n_bins, log_scale):
    """A cell's width beside its distance from the centre: a difference of its edges would lose it."""
    likelihood = with_scales(DiscretizedLogistic(1, False, n_bins), [log_scale])
    x = (torch.arange(0, n_bins, n_bins // 256, dtype=torch.float64)[:, None] + 0.5) / n_bins
    exact = likelihood.log_prob(x, torch.full_like(x, 0.3)).detach()
    assert n_bins == 256 or exact[1:].max() < -5
    single = likelihood.float().log_prob(x.float(), torch.full_like(x, 0.3).float()).detach()
    torch.testing.assert_close(single.double(), exact, rtol=2e-6, atol=2e-6)


# ---------------------------------------------------------------------------
# All of them
# ---------------------------------------------------------------------------

EVERY = [
    lambda: Bernoulli(),
    lambda: Gaussian(3, False, "identity"),
    lambda: Gaussian(3, True, "identity"),
    lambda: Gaussian(3, False, "sigmoid"),
    lambda: Gaussian(3, True, "sigmoid"),
    lambda: DiscretizedLogistic(3, False, 17),
    lambda: DiscretizedLogistic(3, True, 2),
    lambda: DiscretizedLogistic(3, True, 256),
]


@pytest.mark.parametrize("make", EVERY)
def test_numerical_gradients(make):
    likelihood = make().double()
    x, logits = uniform(7, 3), random(7, 3).requires_grad_()
    names = [name for name, _ in likelihood.named_parameters()]
    assert names == ([] if isinstance(likelihood, Bernoulli) else ["log_scale"])
    # off 0, and not all alike
    values = [(0.05 * random(*p.shape) - 0.1).requires_grad_() for p in likelihood.parameters()]

    def log_prob(logits, *values):
        return torch.func.functional_call(Call(likelihood), dict(zip(["of.log_scale"], values)), (x, logits))

    assert torch.autograd.gradcheck(log_prob, (logits, *values))
    gradients = torch.autograd.grad(log_prob(logits, *values).sum(), (logits, *values))
    assert all((g != 0).all() for g in gradients)


class Call(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x, logits):
        return self.of.log_prob(x, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-1000.0, 0.0, 0.5])
@pytest.mark.parametrize("make", EVERY)
def test_extreme_logits(make, log_scale, dtype):
    """Numbers and gradients stay finite far off, at the smallest scale and at large ones."""
    likelihood = make().to(dtype)
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.fill_(log_scale)
    x = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).repeat_interleave(4)[:, None].expand(-1, 3)
    logits = torch.tensor([-1e4, -100.0, 100.0, 1e4], dtype=dtype).repeat(3)[:, None].repeat(1, 3)
    logits.requires_grad_()
    log_prob = likelihood.log_prob(x, logits)
    gradients = torch.autograd.grad(log_prob.sum(), [logits, *likelihood.parameters()])
    for value in (log_prob, *gradients):
        assert torch.isfinite(value).all()
    if getattr(likelihood, "out_activation", "sigmoid") == "sigmoid":
        # those next to the row are better than those on the other side
        assert torch.all(log_prob[:2] > log_prob[2:4])
        assert torch.all(log_prob[10:] > log_prob[8:10])


@pytest.mark.parametrize("per_feature", [False, True])
def test_a_perfect_reconstruction_stays_finite(per_feature):
    """The scale has a bound: the log-density ends there, however long the training."""
    x = uniform(20, 3)
    likelihood = Gaussian(3, per_feature, "identity").double()
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -likelihood.log_prob(x, x).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(3 * (0.5 * math.log(2 * math.pi) + math.log(SMALLEST)), abs=1e-6)
    discrete = with_scales(DiscretizedLogistic(3, per_feature, 4), [-1000.0] * (3 if per_feature else 1))
    centres = torch.tensor([[0.125, 0.375, 0.875]], dtype=torch.float64)
    assert discrete.log_prob(centres, torch.logit(centres)).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("per_feature", [False, True])
@pytest.mark.parametrize("make", [Gaussian, DiscretizedLogistic])
def test_the_start_has_the_errors_variance(make, per_feature):
    errors = torch.tensor([0.01, 0.25, 4.0, 0.0])
    likelihood = make(4, per_feature, "identity" if make is Gaussian else 256)
    likelihood.start(errors, torch.ones(4))
    kind = stats.norm if make is Gaussian else stats.logistic
    found = np.array([kind(scale=s).var() for s in likelihood.scale().tolist()])
    expected = errors.numpy() if per_feature else errors.mean().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=5e-6)  # up to the bound of the scale
    assert likelihood.log_scale.requires_grad


def test_the_start_is_the_best_scale_of_a_gaussian():
    """Where the gradient of the mean log-density of those errors is zero."""
    x, logits = random(500, 3) * torch.tensor([0.3, 1.0, 2.0]), torch.zeros(500, 3, dtype=torch.float64)
    for per_feature in (False, True):
        likelihood = Gaussian(3, per_feature, "identity").double()
        before = torch.autograd.grad(likelihood.log_prob(x, logits).mean(), likelihood.log_scale)[0]
        likelihood.start((x - logits).square().mean(dim=0), torch.ones(3))
        after = torch.autograd.grad(likelihood.log_prob(x, logits).mean(), likelihood.log_scale)[0]
        assert before.abs().max() > 1
        assert after.abs().max() < 1e-3  # the bound of the scale moves it by as much


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_the_smallest_scale_follows_the_data(unit):
    likelihood = Gaussian(2, False, "identity")
    likelihood.start(torch.zeros(2), unit**2 * torch.tensor([1.0, 7.0]))
    assert likelihood.smallest.item() == pytest.approx(unit * 2e-3, rel=1e-6)
    assert likelihood.scale().item() == pytest.approx(math.sqrt(2) * unit * 2e-3, rel=1e-5)
    likelihood.start(torch.zeros(2), torch.zeros(2))  # constant data
    assert likelihood.smallest.item() == 1e-3


def test_the_bernoulli_has_nothing_to_start():
    likelihood = Bernoulli()
    likelihood.start(torch.ones(3), torch.ones(3))
    assert list(likelihood.parameters()) == []
