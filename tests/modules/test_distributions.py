"""Gaussians and mixtures of them, against torch.distributions and closed forms."""

import math

import numpy as np
import torch
from scipy import stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from skswae.modules._distributions import (
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


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def as_torch(mean, log_variance):
    """Return torch's Gaussian with diagonal covariance."""
    return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_bounded_log_variance():
    h = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=torch.float64)
    out = bounded_log_variance(h, math.exp(-3))
    torch.testing.assert_close(out[[0, 2, 4]], torch.tensor([-6.0, -2.0, 2.0], dtype=torch.float64))
    assert torch.all(out.diff() > 0)
    torch.testing.assert_close(bounded_log_variance(h, 2 * math.exp(-3)), out + 2 * math.log(2))
    assert bounded_log_variance(h, math.exp(-10), least_ceiling=0.0)[-1] == 0.0
    free = bounded_log_variance(h, 0)
    assert torch.equal(free[:-1], h[:-1])
    assert torch.isfinite((free / 2).float().exp()).all()  # a draw's noise is finite


def test_samples_have_their_distribution():
    mean = torch.tensor([[-4.0], [0.0], [5.0]])
    log_variance = 2 * torch.log(torch.tensor([[1.0], [0.1], [2.0]]))
    z = sample_mixture(mean, log_variance, torch.tensor([1.0, 3.0, 4.0]), 100_000, generator()).numpy()[:, 0]

    def cdf(x):
        return sum(w / 8 * stats.norm(m, s).cdf(x) for w, m, s in [(1, -4, 1), (3, 0, 0.1), (4, 5, 2)])

    assert stats.kstest(z, cdf).pvalue > 1e-3
    noise, parameters = random(9, 3), (random(9, 3, seed=1), random(9, 3, seed=2))
    expected = as_torch(*parameters).base_dist
    assert_equal(sample_gaussian(*parameters, noise), expected.mean + expected.stddev * noise)


def test_a_weight_of_zero_is_never_drawn():
    mean, log_variance = torch.arange(5.0)[:, None], torch.full((5, 1), -60.0)
    weights = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    z = sample_mixture(mean, log_variance, weights, 10_000, generator())
    np.testing.assert_array_equal(np.unique(z.round()), [1.0, 3.0])
    assert all(
        sample_mixture(mean, log_variance, weights, 1, generator(i)).round() in (1, 3) for i in range(20)
    )


def test_gaussian_log_prob_is_torch_s():
    z, mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1), 3 * random(50, 3, seed=2)
    assert_equal(gaussian_log_prob(z, mean, log_variance), as_torch(mean, log_variance).log_prob(z))
    # each row under each Gaussian
    found = gaussian_log_prob(z[:, None, :], mean[:4], log_variance[:4])
    assert_equal(found, as_torch(mean[:4], log_variance[:4]).log_prob(z[:, None, :]))


def test_standard_normal_is_torch_s():
    mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1)
    zero = torch.zeros_like(mean)
    standard = as_torch(zero, zero)
    assert_equal(standard_normal_log_prob(mean), standard.log_prob(mean))
    expected = kl_divergence(as_torch(mean, log_variance), standard)
    assert_equal(kl_to_standard_normal(mean, log_variance), expected)
    assert torch.all(kl_to_standard_normal(zero, zero) == 0)


def test_mixture_log_prob_is_torch_s_near_and_far_away():
    """Far from all components every density is 0; its logarithm is finite."""
    mean, log_variance = 2 * random(7, 3, seed=1), random(7, 3, seed=2)
    z = torch.cat([2 * random(50, 3), 1e3 * random(5, 3), torch.full((1, 3), 1e8, dtype=torch.float64)])
    equal = Categorical(probs=torch.ones(7, dtype=torch.float64))
    expected = MixtureSameFamily(equal, as_torch(mean, log_variance)).log_prob(z)
    assert -math.inf < expected.min() < -1e14
    assert_equal(mixture_log_prob(z, mean, log_variance), expected)
    found = mixture_log_prob(z.float(), mean.float(), log_variance.float())
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=0)
    # narrow components, far from the origin
    narrow, origin = log_variance - 2 * math.log(1e5), torch.tensor([0.0, 10.0, -1e3], dtype=torch.float32)
    centres = mean.float() + origin
    near = centres + 1e-5 * random(7, 3, seed=3).float()
    expected = MixtureSameFamily(equal, as_torch(centres.double(), narrow)).log_prob(near.double())
    found = mixture_log_prob(near, centres, narrow.float())
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-3)
    # a mixture of equal ones is a Gaussian
    found = mixture_log_prob(z, mean[:1].expand(5, 3), log_variance[:1].expand(5, 3))
    assert_equal(found, as_torch(mean[0], log_variance[0]).log_prob(z))
