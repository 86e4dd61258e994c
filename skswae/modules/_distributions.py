"""Distributions over codes: Gaussians given by mean and log-variance, and mixtures of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_VARIANCE_RANGE = 8.0
"""Width of the interval of log-variances: [-6, 2] in the code of VampPrior, MIM and SWAE."""

_LARGEST = 170.0  # exp(85) fits in float32, with room for noise; the variance does not, and a loss diverges


def bounded_log_variance(h: Tensor, scale_floor: float, least_ceiling: float = -math.inf) -> Tensor:
    """Map a network's free output to log-variances from ``2 log(scale_floor)`` upwards, of any shape.

    ``l + 8 sigmoid(h)`` with ``l = 2 log(scale_floor)``: the interval [-6, 2] of the public codes for
    a floor of exp(-3), about 0.05. Those clamp, and a clamped unit gets no gradient; this map's never
    vanishes entirely. The interval moves with the floor, so that codes in other units (all codes, the
    floor and the decoder's input times c) are the same model. A floor of 0 leaves h as it is, up to
    170: far from the training rows it may be anything, and a draw has to be finite. The upper end
    of the interval is not below ``least_ceiling``: for codes whose unit a prior fixes.
    """
    if scale_floor == 0:
        return h.clamp(max=_LARGEST)
    lowest = 2.0 * math.log(scale_floor)
    return lowest + max(LOG_VARIANCE_RANGE, least_ceiling - lowest) * torch.sigmoid(h)


def free_log_variance(log_variance: Tensor, scale_floor: float, least_ceiling: float = -math.inf) -> Tensor:
    """Return the output that :func:`bounded_log_variance` maps to a log-variance, or near it at a bound."""
    if scale_floor == 0:
        return log_variance
    lowest = 2.0 * math.log(scale_floor)
    width = max(LOG_VARIANCE_RANGE, least_ceiling - lowest)
    return torch.logit((log_variance - lowest) / width, eps=0.01)


def sample_gaussian(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return z = m + s * noise with s = exp(log_variance / 2), differentiable: (n, k) each -> (n, k)."""
    return mean + torch.exp(0.5 * log_variance) * noise


def sample_mixture(
    mean: Tensor,
    log_variance: Tensor,
    weights: Tensor,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw from sum_k w_k N(m_k, diag s_k^2): (K, k), (K, k), (K,) -> (n_samples, k).

    The weights need not sum to one; a component of weight 0 is never drawn.
    """
    chosen = torch.multinomial(weights.double(), n_samples, replacement=True, generator=generator)
    noise = torch.randn((n_samples, mean.shape[1]), dtype=mean.dtype, device=mean.device, generator=generator)
    return sample_gaussian(mean[chosen], log_variance[chosen], noise)


def gaussian_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; m, diag s^2) of each row: (..., k), which broadcast -> (...)."""
    squares = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (math.log(2.0 * math.pi) + log_variance + squares).sum(dim=-1)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) of each row: (n, k) -> (n,)."""
    return -0.5 * (math.log(2.0 * math.pi) + z.square()).sum(dim=-1)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, diag s^2) || N(0, I)) of each row, in closed form: (n, k), (n, k) -> (n,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)


def mixture_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log of 1/K sum_k N(z; m_k, diag s_k^2) of each row: (n, k), (K, k), (K, k) -> (n,)."""
    # (k, n, K), whose last axis is long: two thirds of the time of (n, K, k) for 512 x 500 and k = 4
    m, inverse = (a.T.contiguous()[:, None] for a in (mean, torch.exp(-0.5 * log_variance)))
    u = (z.T[:, :, None] - m) * inverse  # the difference first: it is exact where it is small
    log_norms = (math.log(2.0 * math.pi) + log_variance).sum(dim=1)
    return torch.logsumexp(-0.5 * (u.square().sum(dim=0) + log_norms), dim=1) - math.log(len(mean))
