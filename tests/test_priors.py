"""Gaussians and mixtures of them, against closed forms."""

import math

import numpy as np
import torch
from scipy import stats

from skswae._priors import bounded_log_variance, sample_gaussian, sample_mixture


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
