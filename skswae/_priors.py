"""Distributions over codes: Gaussians given by mean and log-variance, mixtures of them, pseudo-inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LOG_VARIANCE_RANGE = 8.0
"""Width of the interval of log-variances: [-6, 2] in the code of VampPrior, MIM and SWAE."""


def bounded_log_variance(h: Tensor, scale_floor: float, least_ceiling: float = -math.inf) -> Tensor:
    """Map a network's free output to log-variances from ``2 log(scale_floor)`` upwards.

    ``l + 8 sigmoid(h)`` with ``l = 2 log(scale_floor)``: the interval [-6, 2] of the public codes for
    a floor of exp(-3), about 0.05. Those clamp, and a clamped unit gets no gradient; this map's never
    vanishes entirely. The interval moves with the floor, so that codes in other units (all codes, the
    floor and the decoder's input times c) are the same model.

    Parameters
    ----------
    h : Tensor of any shape
    scale_floor : float
        The smallest standard deviation, in units of the code; 0 leaves h as it is.
    least_ceiling : float, default=-inf
        The upper end of the interval is not below this log-variance: for codes whose unit a prior fixes.

    Returns
    -------
    log_variance : Tensor of h's shape
    """
    if scale_floor == 0:
        return h
    lowest = 2.0 * math.log(scale_floor)
    return lowest + max(LOG_VARIANCE_RANGE, least_ceiling - lowest) * torch.sigmoid(h)


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


def gaussian_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; m, diag s^2) of each row.

    Parameters
    ----------
    z, mean, log_variance : Tensor of shape (..., k), which broadcast

    Returns
    -------
    log_prob : Tensor of shape (...)
    """
    squares = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (math.log(2.0 * math.pi) + log_variance + squares).sum(dim=-1)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) of each row: (n, k) -> (n,)."""
    return -0.5 * (math.log(2.0 * math.pi) + z.square()).sum(dim=-1)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(m, diag s^2) || N(0, I)) of each row, in closed form: (n, k), (n, k) -> (n,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)


def mixture_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log of 1/K sum_k N(z; m_k, diag s_k^2) of each row.

    Parameters
    ----------
    z : Tensor of shape (n, k)
    mean, log_variance : Tensor of shape (n_mixture, k)

    Returns
    -------
    log_prob : Tensor of shape (n,)
    """
    components = gaussian_log_prob(z[:, None, :], mean, log_variance)  # (n, n_mixture)
    return torch.logsumexp(components, dim=1) - math.log(len(mean))


class PseudoInputs(nn.Module):
    """Learned rows u_1, ..., u_K, kept within the range of the training rows.

    Parameters
    ----------
    rows : Tensor of shape (K, d)
        Where they start.

    Attributes
    ----------
    rows : nn.Parameter of shape (K, d)
    lowest, highest : Tensor of shape (d,)
        The range.
    sparse : bool
        Whether the gradient of :meth:`select` is a sparse tensor, and :meth:`project` looks at the selected
        rows alone: in a loop that moves no others.
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows = nn.Parameter(rows)
        self.register_buffer("lowest", rows.amin(dim=0))
        self.register_buffer("highest", rows.amax(dim=0))
        self.sparse = False
        self._selected: Tensor | None = None
        self._norms: tuple[int, Tensor] | None = None  # square norms, and of which version of the rows

    def train_sparsely(self, sparse: bool) -> None:
        """Set :attr:`sparse`."""
        self.sparse = sparse
        self._selected = self._norms = None

    def select(self, index: Tensor) -> Tensor:
        """u_k of each index, differentiable: (n,) -> (n, d)."""
        if self.sparse:
            self._selected = index
            if self._norms is not None and self._norms[0] != self.rows._version:
                self._norms = None
        return nn.functional.embedding(index, self.rows, sparse=self.sparse)

    @torch.no_grad()
    def square_norms(self) -> Tensor:
        """||u_k||^2 of each: (K,).

        While :attr:`sparse` is on they are kept, and :meth:`project` brings those up to date that moved.
        """
        if not self.sparse or self.rows.is_cuda:  # a captured graph could not tell that they are old
            return self.rows.square().sum(dim=1)
        version = self.rows._version
        if self._norms is None or self._norms[0] != version:
            self._norms = version, self.rows.square().sum(dim=1)
        return self._norms[1]

    @torch.no_grad()
    def widen(self, batches: Iterable[Tensor]) -> None:
        """Take rows into the range."""
        for x in batches:
            self.lowest.copy_(torch.minimum(self.lowest, x.amin(dim=0)))
            self.highest.copy_(torch.maximum(self.highest, x.amax(dim=0)))

    @torch.no_grad()
    def project(self) -> None:
        """Move the pseudo-inputs into the range, after a step of the optimiser.

        A projection, not a hard tanh inside the model: that has no gradient at the ends of the range, where
        most pixels of an image lie.
        """
        if self._selected is None:
            self.rows.clamp_(self.lowest, self.highest)
            return
        index, self._selected = self._selected, None
        moved = self.rows.index_select(0, index).clamp_(self.lowest, self.highest)  # (n, d)
        self.rows.index_copy_(0, index, moved)  # twice the same where an index comes twice
        if self._norms is not None:
            norms = self._norms[1].index_copy_(0, index, moved.square().sum(dim=1))
            self._norms = self.rows._version, norms
