"""Gaussians and mixtures of them, against closed forms."""

import math

import numpy as np
import torch
from scipy import stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from skswae._priors import (
    PseudoInputs,
    bounded_log_variance,
    gaussian_log_prob,
    kl_to_standard_normal,
    mixture_log_prob,
    sample_gaussian,
    sample_mixture,
    standard_normal_log_prob,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_bounded_log_variance():
    h = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=torch.float64)
    out = bounded_log_variance(h, math.exp(-3))
    torch.testing.assert_close(out[[0, 2, 4]], torch.tensor([-6.0, -2.0, 2.0], dtype=torch.float64))
    assert torch.all(out.diff() > 0)
    torch.testing.assert_close(bounded_log_variance(h, 2 * math.exp(-3)), out + 2 * math.log(2))


def test_sample_gaussian():
    mean = torch.tensor([[1.0, -2.0]]).expand(100_000, 2)
    log_variance = torch.tensor([[0.0, 2 * math.log(3.0)]]).expand(100_000, 2)
    z = sample_gaussian(mean, log_variance, torch.randn(mean.shape, generator=generator())).numpy()
    for j, (m, s) in enumerate([(1, 1), (-2, 3)]):
        assert stats.kstest(z[:, j], stats.norm(m, s).cdf).pvalue > 1e-3


def test_sample_mixture_is_the_mixture():
    mean = torch.tensor([[-4.0], [0.0], [5.0]])
    log_variance = 2 * torch.log(torch.tensor([[1.0], [0.1], [2.0]]))
    weights = torch.tensor([1.0, 3.0, 4.0])
    z = sample_mixture(mean, log_variance, weights, 100_000, generator()).numpy()[:, 0]

    def cdf(x):
        return sum(w / 8 * stats.norm(m, s).cdf(x) for w, m, s in [(1, -4, 1), (3, 0, 0.1), (4, 5, 2)])

    assert stats.kstest(z, cdf).pvalue > 1e-3


def test_a_weight_of_zero_is_never_drawn():
    mean = torch.arange(5.0)[:, None]
    log_variance = torch.full((5, 1), -60.0)
    weights = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    z = sample_mixture(mean, log_variance, weights, 10_000, generator())
    np.testing.assert_array_equal(np.unique(z.round()), [1.0, 3.0])


# ---------------------------------------------------------------------------
# Log-densities
# ---------------------------------------------------------------------------


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def as_torch(mean, log_variance):
    """The Gaussian with diagonal covariance, torch's."""
    return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)


def test_gaussian_log_prob_is_torch_s():
    z, mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1), 3 * random(50, 3, seed=2)
    expected = as_torch(mean, log_variance).log_prob(z)
    torch.testing.assert_close(gaussian_log_prob(z, mean, log_variance), expected, rtol=1e-12, atol=1e-12)
    # of each row under each Gaussian
    found = gaussian_log_prob(z[:, None, :], mean[:4], log_variance[:4])
    expected = as_torch(mean[:4], log_variance[:4]).log_prob(z[:, None, :])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_standard_normal_log_prob_is_torch_s():
    z = 3 * random(50, 3)
    zero = torch.zeros_like(z)
    torch.testing.assert_close(
        standard_normal_log_prob(z), as_torch(zero, zero).log_prob(z), rtol=1e-12, atol=1e-12
    )


def test_kl_to_standard_normal_is_torch_s():
    mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1)
    zero = torch.zeros_like(mean)
    expected = kl_divergence(as_torch(mean, log_variance), as_torch(zero, zero))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected, rtol=1e-12, atol=1e-12)
    assert torch.all(kl_to_standard_normal(zero, zero) == 0)


def test_mixture_log_prob_is_torch_s():
    z, mean, log_variance = 2 * random(50, 3), 2 * random(7, 3, seed=1), random(7, 3, seed=2)
    mixture = MixtureSameFamily(
        Categorical(probs=torch.ones(7, dtype=torch.float64)), as_torch(mean, log_variance)
    )
    found = mixture_log_prob(z, mean, log_variance)
    torch.testing.assert_close(found, mixture.log_prob(z), rtol=1e-12, atol=1e-12)
    # a mixture of one, and of equal ones, is a Gaussian
    torch.testing.assert_close(
        mixture_log_prob(z, mean[:1].expand(5, 3), log_variance[:1].expand(5, 3)),
        as_torch(mean[0], log_variance[0]).log_prob(z), rtol=1e-12, atol=1e-12,
    )  # fmt: skip


def test_mixture_log_prob_near_and_far_away():
    """Against a loop in NumPy; far from all components every density is 0, its logarithm is not."""
    mean, log_variance = random(7, 3, seed=1), random(7, 3, seed=2)
    z = torch.cat([random(5, 3), 1e3 * random(5, 3), torch.full((1, 3), 1e8, dtype=torch.float64)])
    expected = []
    for row in z.numpy():
        logs = [
            sum(-0.5 * (math.log(2 * math.pi) + v + (x - m) ** 2 / math.exp(v)) for x, m, v in zip(row, *k))
            for k in zip(mean.tolist(), log_variance.tolist())
        ]
        highest = max(logs)
        expected.append(highest + math.log(sum(math.exp(a - highest) for a in logs) / 7))
    assert min(expected) < -1e14
    found = mixture_log_prob(z, mean, log_variance)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(
        mixture_log_prob(z.float(), mean.float(), log_variance.float()), expected, rtol=1e-5
    )


# ---------------------------------------------------------------------------
# Pseudo-inputs
# ---------------------------------------------------------------------------


def test_pseudo_inputs_range():
    """The range of the rows they start as, widened by others, never narrowed; a projection onto it."""
    rows = torch.tensor([[0.0, 5.0], [2.0, 3.0], [1.0, 4.0]])
    inputs = PseudoInputs(rows.clone())
    assert inputs.rows.requires_grad
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([0.0, 3.0], [2.0, 5.0])
    with torch.no_grad():
        inputs.rows[0] += torch.tensor([10.0, -10.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]
    inputs.widen([torch.tensor([[-1.0, 4.0], [0.5, 3.5]]), torch.tensor([[1.0, 7.0]])])
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([-1.0, 3.0], [2.0, 7.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]  # inside stays
    assert [name for name, _ in inputs.named_parameters()] == ["rows"]
    assert sorted(inputs.state_dict()) == ["highest", "lowest", "rows"]


def test_the_range_is_no_view_of_the_rows():
    """Of one pseudo-input the range is itself: it must not move along."""
    inputs = PseudoInputs(torch.tensor([[1.0, 2.0]]))
    with torch.no_grad():
        inputs.rows += 3.0
    assert inputs.lowest.tolist() == inputs.highest.tolist() == [1.0, 2.0]
    inputs.project()
    assert inputs.rows.tolist() == [[1.0, 2.0]]
