"""Distributions over codes: Gaussians given by mean and log-variance, and mixtures of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_VARIANCE_RANGE = 8.0
"""Width of the interval of log-variances: [-6, 2] in the code of VampPrior, MIM and SWAE."""


def bounded_log_variance(h: Tensor, scale_floor: float) -> Tensor:
    """Map a network's free output to log-variances from ``2 log(scale_floor)`` upwards.

    ``l + 8 sigmoid(h)`` with ``l = 2 log(scale_floor)``: the interval [-6, 2] of the public codes for
    a floor of exp(-3), about 0.05. Those clamp, and a clamped unit gets no gradient; this map's never
    vanishes entirely. The interval moves with the floor, so that codes in other units (all codes, the
    floor and the decoder's input times c) are the same model.

    Parameters
    ----------
    h : Tensor of any shape
    scale_floor : float
        The smallest standard deviation, above 0, in units of the code.

    Returns
    -------
    log_variance : Tensor of h's shape
    """
    return 2.0 * math.log(scale_floor) + LOG_VARIANCE_RANGE * torch.sigmoid(h)


def sample_gaussian(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = m + s * noise, with s = exp(log_variance / 2): differentiable in m and s.

    Parameters
    ----------
    mean, log_variance, noise : Tensor of shape (n, k)
        ``noise`` is drawn from the standard normal distribution.

    Returns
    -------
    z : Tensor of shape (n, k)
    """
    return mean + torch.exp(0.5 * log_variance) * noise


def sample_mixture(
    mean: Tensor,
    log_variance: Tensor,
    weights: Tensor,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw from sum_k w_k N(m_k, diag s_k^2).

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n_mixture, k)
    weights : Tensor of shape (n_mixture,)
        Not negative, with a positive sum; they need not sum to one. A weight of 0 is never drawn.
    n_samples : int
    generator : torch.Generator

    Returns
    -------
    z : Tensor of shape (n_samples, k)
    """
    # searchsorted rather than torch.multinomial, which takes at most 2**24 categories and float32 sums
    cumulative = torch.cumsum(weights.double(), dim=0)
    total = cumulative[-1]
    position = total * torch.rand(n_samples, dtype=torch.float64, device=mean.device, generator=generator)
    position = torch.minimum(position, torch.nextafter(total, torch.zeros_like(total)))
    chosen = torch.searchsorted(cumulative, position, right=True)  # (n_samples,)
    noise = torch.randn((n_samples, mean.shape[1]), dtype=mean.dtype, device=mean.device, generator=generator)
    return sample_gaussian(mean[chosen], log_variance[chosen], noise)
