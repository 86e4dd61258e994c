"""Heads against torch.distributions, SciPy and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from skswae.modules._heads import (
    Bernoulli,
    BinaryCrossEntropy,
    DiscretizedLogistic,
    Gaussian,
    SquaredError,
    likelihood_head,
    reconstruction_head,
)

SMALLEST = 1e-3  # scale, for features of variance 1
EVERY = [
    lambda: SquaredError(), lambda: SquaredError("sigmoid"), lambda: BinaryCrossEntropy(), Bernoulli,
    lambda: Gaussian(3, False, "identity"), lambda: Gaussian(3, True, "sigmoid"),
    lambda: DiscretizedLogistic(3, False, 17), lambda: DiscretizedLogistic(3, True, 2),
    lambda: DiscretizedLogistic(3, True, 256),
]  # fmt: skip
every = pytest.mark.parametrize("make", EVERY)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def with_scales(head, log_scale):
    """Return the head in float64 with these scale parameters, and its documented scales."""
    head.double()
    with torch.no_grad():
        head.log_scale.copy_(torch.as_tensor(log_scale, dtype=torch.float64))
    return head, np.sqrt(np.exp(20.0 * np.asarray(log_scale)) + SMALLEST**2)


@every
def test_mean_and_its_inverse(make):
    head, output = make(), random(5, 3)
    x = torch.cat([uniform(50, 3), torch.tensor([[0.0, 1.0, 1e-9]], dtype=torch.float64)])
    if head.out_activation == "identity":
        assert torch.equal(head.mean(output), output)
        assert torch.equal(head.inverse(x, x.std(dim=0)), x)
    else:
        assert torch.equal(head.mean(output), torch.sigmoid(output))
        torch.testing.assert_close(head.mean(head.inverse(x, x.std(dim=0))), x.clamp(0.05, 0.95))
    assert head.is_density == isinstance(head, Gaussian)


@every
def test_the_inverse_meets_features_that_hardly_vary(make):
    """The margin from 0 and 1 is no wider than the feature's spread."""
    head, rare = make(), torch.zeros(100, dtype=torch.float64)
    rare[7] = 0.1
    x = torch.stack([torch.zeros_like(rare), torch.ones_like(rare), rare], dim=1)
    output = head.inverse(x, x.std(dim=0, correction=0))
    assert torch.isfinite(output).all()
    difference = (head.mean(output) - x).abs().max(dim=0).values
    assert torch.all(difference <= torch.tensor([1.1e-6, 1.1e-6, 0.0101]))


def test_heads_by_their_names():
    for likelihood, kind in [("gaussian", Gaussian), ("discretized_logistic", DiscretizedLogistic)]:
        for scale, n_scales in [("shared", 1), ("per_feature", 3)]:
            head = likelihood_head(
                likelihood, n_features=3, out_activation="sigmoid", likelihood_scale=scale, n_bins=17
            )
            assert (type(head), len(head.log_scale), getattr(head, "n_bins", 17)) == (kind, n_scales, 17)
    assert type(reconstruction_head("binary_cross_entropy", "sigmoid")) is BinaryCrossEntropy


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_squared_error_is_torch_s(activation):
    x, output = uniform(6, 4), 3 * random(6, 4)
    head = reconstruction_head("squared_error", activation)
    expected = nn.functional.mse_loss(head.mean(output), x, reduction="none").sum(dim=1)
    torch.testing.assert_close(head.cost(x, output), expected)


def test_cross_entropy_is_torch_s_and_minus_the_bernoulli_s_log_probability():
    x, output = (uniform(50, 4) > 0.5).double(), 5 * random(50, 4)
    expected = TorchBernoulli(logits=output).log_prob(x).sum(dim=1)
    torch.testing.assert_close(Bernoulli().log_prob(x, output), expected)
    x, p = uniform(50, 4), torch.sigmoid(output)  # values between
    expected = -(x * p.log() + (1 - x) * (1 - p).log()).sum(dim=1)
    for head in (Bernoulli(), BinaryCrossEntropy()):
        torch.testing.assert_close(head.cost(x, output), expected)
    # values that rounding moved out of the interval: finite, and linear as inside
    x, output = random(9, 4), 100 * random(9, 4, seed=1)
    expected = (nn.functional.softplus(output) - x * output).sum(dim=1)
    torch.testing.assert_close(BinaryCrossEntropy().cost(x, output), expected)


@pytest.mark.parametrize("log_scale", [[0.1], [-0.3], [-0.2, 0.0, 0.1, 0.05]])
@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_gaussian_is_torch_s(activation, log_scale):
    x, output = random(50, 4), random(50, 4, seed=1)
    head, scale = with_scales(Gaussian(4, len(log_scale) == 4, activation), log_scale)
    expected = Normal(head.mean(output), torch.from_numpy(scale).expand(4)).log_prob(x).sum(dim=1)
    torch.testing.assert_close(head.log_prob(x, output), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(head.cost(x, output), -head.log_prob(x, output))


def cells(n_bins, centre, scale):
    """Return the logarithms of the cells' probabilities, from SciPy: (n_bins,)."""
    edges = np.arange(1, n_bins) / n_bins
    logistic = stats.logistic(centre, scale)
    # differences of whichever of the two is small: no cancellation next to 1
    below = np.diff(np.concatenate([[0.0], logistic.cdf(edges), [1.0]]))
    above = -np.diff(np.concatenate([[1.0], logistic.sf(edges), [0.0]]))
    with np.errstate(divide="ignore"):
        return np.log(np.where(np.arange(n_bins) + 0.5 < n_bins * centre, below, above))


# scales 1e-3 (the bound), 0.0027, 0.05, 0.37, 1, 7.4
@pytest.mark.parametrize("log_scale", [-5.0, -0.6, -0.3, -0.1, 0.0, 0.2])
@pytest.mark.parametrize("n_bins", [2, 3, 17, 256])
def test_discretized_logistic_is_scipy_s(n_bins, log_scale):
    head, (scale,) = with_scales(DiscretizedLogistic(1, False, n_bins), [log_scale])
    x = (torch.arange(n_bins, dtype=torch.float64)[:, None] + 0.5) / n_bins
    for logit in (-30.0, -2.0, 0.0, 0.7, 4.0):
        found = head.log_prob(x, torch.full_like(x, logit)).detach().numpy()
        expected = cells(n_bins, 1 / (1 + np.exp(-logit)), scale)
        seen = expected > -600  # SciPy's numbers underflow beyond
        np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-9, atol=1e-12)
        assert np.all(np.isfinite(found))
        assert np.all(found[~seen] < -599)
        assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-11)


def test_scales_and_centres_of_each_feature():
    """A row's log-probability is the sum over its features, each with its own centre and scale."""
    head, scales = with_scales(DiscretizedLogistic(3, True, 17), [-0.3, -0.1, 0.0])
    j, output = torch.tensor([[0, 5, 16], [9, 0, 3]]), random(2, 3)
    centres = torch.sigmoid(output).numpy()
    expected = [sum(cells(17, centres[i, f], scales[f])[j[i, f]] for f in range(3)) for i in range(2)]
    found = head.log_prob((j.double() + 0.5) / 17, output)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bins", [2, 17, 256])
@pytest.mark.parametrize("logit", [-60.0, 60.0])
def test_both_kinds_of_grid_fall_into_their_cell(logit, n_bins, dtype):
    """j / (L - 1) and (j + 1/2) / L, whether divided in float64 or in the dtype itself."""
    head, (scale,) = with_scales(DiscretizedLogistic(1, False, n_bins), [math.log(3.0 / n_bins) / 10])
    # around a centre of 0 or 1 every cell has a probability of its own
    expected = cells(n_bins, 1 / (1 + np.exp(-logit)), scale)
    apart = np.abs(np.diff(expected)).min()
    assert apart > 0.01
    j = np.arange(n_bins)
    for values in (
        j / (n_bins - 1), (j + 0.5) / n_bins,
        j.astype(dtype) / dtype(n_bins - 1), (j.astype(dtype) + dtype(0.5)) / dtype(n_bins),
    ):  # fmt: skip
        x = torch.from_numpy(values.astype(dtype))[:, None]
        found = head.to(x.dtype).log_prob(x, torch.full_like(x, logit)).detach()
        np.testing.assert_allclose(found, expected, rtol=0, atol=apart / 3)


@pytest.mark.parametrize("log_scale", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("n_bins", [256, 65536])
def test_float32_is_accurate_for_fine_grids(n_bins, log_scale):
    """A cell is narrow beside its distance from the centre: a difference of its edges would lose it."""
    head, _ = with_scales(DiscretizedLogistic(1, False, n_bins), [log_scale])
    x = (torch.arange(0, n_bins, n_bins // 256, dtype=torch.float64)[:, None] + 0.5) / n_bins
    exact = head.log_prob(x, torch.full_like(x, 0.3)).detach()
    assert n_bins == 256 or exact[1:].max() < -5
    single = head.float().log_prob(x.float(), torch.full_like(x, 0.3).float()).detach()
    torch.testing.assert_close(single.double(), exact, rtol=2e-6, atol=2e-6)


def drawn(head, logits, n=100_000):
    """Return many draws around each of the logits: (n, d)."""
    output = torch.as_tensor(logits, dtype=torch.float64).expand(n, -1)
    return head.draw(output, torch.Generator().manual_seed(0)).detach().numpy()


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
@pytest.mark.parametrize("log_scale", [[-0.1], [-0.2, 0.0, 0.1]])
def test_a_gaussian_s_draws_have_its_mean_and_its_scales(activation, log_scale):
    head, scale = with_scales(Gaussian(3, len(log_scale) == 3, activation), log_scale)
    output = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64)
    errors = (drawn(head, output) - head.mean(output).numpy()) / scale
    for column in errors.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(errors.T) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("n_bins", [None, 2, 3, 17])
def test_discrete_draws_are_as_frequent_as_they_are_probable(n_bins):
    """Of a Bernoulli (None), and of a discretised logistic with a scale for each feature."""
    logits, log_scales = [-3.0, -0.4, 0.0, 2.0], [-0.3, -0.1, 0.0, -0.5]
    if n_bins is None:
        head, alone = Bernoulli(), [Bernoulli()] * 4
    else:
        head, _ = with_scales(DiscretizedLogistic(4, True, n_bins), log_scales)
        alone = [with_scales(DiscretizedLogistic(1, False, n_bins), [t])[0] for t in log_scales]
    grid = torch.linspace(0, 1, n_bins or 2, dtype=torch.float64)[:, None]
    for column, one, logit in zip(drawn(head, logits).T, alone, logits):
        p = one.log_prob(grid, torch.full_like(grid, logit)).exp().detach().numpy()
        counts = np.array([np.isclose(column, value, atol=1e-12).sum() for value in grid[:, 0].numpy()])
        assert counts.sum() == len(column)  # nothing off the grid
        rare = p * len(column) < 10
        assert counts[rare].sum() < 100
        if (~rare).sum() > 1:
            expected = p[~rare] / p[~rare].sum() * counts[~rare].sum()
            assert stats.chisquare(counts[~rare], expected).pvalue > 1e-3


def test_draws_at_extreme_outputs_are_finite():
    for make in EVERY:
        head = make().double()
        if hasattr(head, "draw"):
            X = drawn(head, [-1e4, 0.0, 1e4], n=1000)
            assert np.isfinite(X).all()
            assert isinstance(head, Gaussian) or np.all((X >= 0) & (X <= 1))


@every
def test_numerical_gradients(make):
    head = make().double()
    x, output = uniform(7, 3), random(7, 3).requires_grad_()
    # off 0, and not all alike
    values = [(0.05 * random(*p.shape) - 0.1).requires_grad_() for p in head.parameters()]

    def cost(output, *values):
        if values:
            del head.log_scale
            head.log_scale = values[0]
        return head.cost(x, output)

    assert torch.autograd.gradcheck(cost, (output, *values))
    gradients = torch.autograd.grad(cost(output, *values).sum(), (output, *values))
    assert all((g != 0).all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-1000.0, 0.0, 0.5])
@every
def test_extreme_outputs(make, log_scale, dtype):
    """Numbers and gradients stay finite far off, at the smallest scale and at large ones."""
    head = make().to(dtype)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(log_scale)
    x = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).repeat_interleave(4)[:, None].expand(-1, 3)
    output = torch.tensor([-1e4, -100.0, 100.0, 1e4], dtype=dtype).repeat(3)[:, None].repeat(1, 3)
    cost = head.cost(x, output.requires_grad_())
    gradients = torch.autograd.grad(cost.sum(), [output, *head.parameters()])
    assert all(torch.isfinite(value).all() for value in (cost, *gradients))
    if head.out_activation == "sigmoid":  # those next to the row are better than those on the other side
        assert torch.all(cost[:2] < cost[2:4])
        assert torch.all(cost[10:] < cost[8:10])


@pytest.mark.parametrize("per_feature", [False, True])
def test_a_perfect_reconstruction_stays_finite(per_feature):
    """The scale has a bound: the log-density ends there, however long the training."""
    x, head = uniform(20, 3), Gaussian(3, per_feature, "identity").double()
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = head.cost(x, x).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(3 * (0.5 * math.log(2 * math.pi) + math.log(SMALLEST)), abs=1e-6)
    discrete, _ = with_scales(DiscretizedLogistic(3, per_feature, 4), [-1000.0] * (3 if per_feature else 1))
    centres = torch.tensor([[0.125, 0.375, 0.875]], dtype=torch.float64)
    assert discrete.log_prob(centres, torch.logit(centres)).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("per_feature", [False, True])
@pytest.mark.parametrize("make", [Gaussian, DiscretizedLogistic])
def test_the_initial_scale_has_the_errors_variance(make, per_feature):
    errors = torch.tensor([0.01, 0.25, 4.0, 0.0])
    head = make(4, per_feature, "identity" if make is Gaussian else 256)
    head.initialize(errors, torch.ones(4))
    kind = stats.norm if make is Gaussian else stats.logistic
    found = np.array([kind(scale=s).var() for s in head.scale().tolist()])
    expected = errors.numpy() if per_feature else errors.mean().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=5e-6)  # up to the bound of the scale
    assert head.log_scale.requires_grad


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_the_smallest_scale_follows_the_data(unit):
    head = Gaussian(2, False, "identity")
    head.initialize(torch.zeros(2), unit**2 * torch.tensor([1.0, 7.0]))
    assert head.smallest.item() == pytest.approx(unit * 2e-3, rel=1e-6)
    assert head.scale().item() == pytest.approx(math.sqrt(2) * unit * 2e-3, rel=1e-5)
    head.initialize(torch.zeros(2), torch.zeros(2))  # constant data
    assert head.smallest.item() == 1e-3
    SquaredError().initialize(torch.ones(2), torch.ones(2))  # nothing to set
