"""How well a decoder's output explains a row: costs, and log-densities with what they learn.

All take the decoder's output before its activation, the *logits* under a sigmoid.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn

# ---------------------------------------------------------------------------
# Costs
# ---------------------------------------------------------------------------


def squared_error(x: Tensor, logits: Tensor, out_activation: str = "identity") -> Tensor:
    """||x - D(z)||_2^2 of each row, from the decoder's output before its activation: (n, d) -> (n,)."""
    decoded = torch.sigmoid(logits) if out_activation == "sigmoid" else logits
    return (x - decoded).square().sum(dim=1)


def binary_cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
    """-sum_j [x_j log D_j + (1 - x_j) log(1 - D_j)] of each row, D = sigmoid(logits): (n, d) -> (n,)."""
    # log(1 + e^l) - x l, stable at both ends
    return (nn.functional.softplus(logits) - x * logits).sum(dim=1)


def reconstruction_cost(x: Tensor, logits: Tensor, kind: str, out_activation: str) -> Tensor:
    """The cost c(x, D(z)) that the ``reconstruction`` parameter names: (n, d), (n, d) -> (n,)."""
    if kind == "binary_cross_entropy":
        return binary_cross_entropy(x, logits)
    return squared_error(x, logits, out_activation)


# ---------------------------------------------------------------------------
# Likelihoods: log p(x | z) from the decoder's output
# ---------------------------------------------------------------------------

_RATE = 10.0
_SMALLEST_SCALE = 1e-3  # over the root mean variance of the features


class Likelihood(nn.Module, abc.ABC):
    """log p(x | z) with D(z) as its centre.

    Attributes
    ----------
    is_density : bool
        Whether it is a density, which depends on the unit of x, rather than a probability.
    """

    is_density = False

    @abc.abstractmethod
    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        """log p(x | z) of each row: (n, d), (n, d) -> (n,)."""

    def start(self, squared_errors: Tensor, variances: Tensor) -> None:
        """Set learned scales from the mean squared error and the variance of each feature, (d,) each."""


class Bernoulli(Likelihood):
    """Of zeros and ones, with probabilities sigmoid(logits); of values between, the cross-entropy."""

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        return -binary_cross_entropy(x, logits)


class _Scaled(Likelihood):
    """A likelihood with one learned scale, or one a feature.

    The scale is ``sqrt(exp(2 r t) + smallest ** 2)`` with t the parameter: a rate r = 10 times that of other
    parameters lets it follow the error within few steps, and the bound, a thousandth of the features'
    root mean variance, keeps the likelihood of data without noise finite.
    """

    smallest: Tensor

    def __init__(self, n_features: int, per_feature: bool):
        super().__init__()
        self.log_scale = nn.Parameter(
            torch.zeros(n_features if per_feature else 1, dtype=torch.float32)  # (d,) or (1,)
        )
        self.register_buffer("smallest", torch.tensor(_SMALLEST_SCALE, dtype=torch.float64))

    def scale(self) -> Tensor:
        """Of each feature, or of all: (d,) or (1,)."""
        return torch.sqrt(torch.exp(2.0 * _RATE * self.log_scale) + self.smallest**2)

    @torch.no_grad()
    def start(self, squared_errors: Tensor, variances: Tensor) -> None:
        self.smallest.fill_(_SMALLEST_SCALE * (float(variances.mean().sqrt()) or 1.0))
        if len(self.log_scale) == 1:
            squared_errors = squared_errors.mean(dim=0, keepdim=True)
        variance = self._relative_variance() * squared_errors.clamp(min=float(self.smallest) ** 2)
        self.log_scale.copy_(0.5 * variance.log() / _RATE)

    def _relative_variance(self) -> float:
        """The square of the scale of a distribution of variance 1."""
        return 1.0


class Gaussian(_Scaled):
    """N(x; D(z), scale^2) in each feature."""

    is_density = True

    def __init__(self, n_features: int, per_feature: bool, out_activation: str):
        super().__init__(n_features, per_feature)
        self.out_activation = out_activation

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        decoded = torch.sigmoid(logits) if self.out_activation == "sigmoid" else logits
        scale = self.scale()
        squares = ((x - decoded) / scale).square()
        return -(0.5 * (squares + math.log(2.0 * math.pi)) + scale.log()).sum(dim=1)


class DiscretizedLogistic(_Scaled):
    """The probability that a logistic distribution around sigmoid(logits) gives to the cell of x.

    The cells are [j/L, (j+1)/L) for L bins, j = 0, ..., L-1; the first and the last are open, so that they
    sum to one. Values j / (L-1) and (j + 1/2) / L both fall into cell j.

    References
    ----------
    D. Kingma et al. Improved Variational Inference with Inverse Autoregressive Flow. NeurIPS 2016.
    """

    def __init__(self, n_features: int, per_feature: bool, n_bins: int):
        super().__init__(n_features, per_feature)
        self.n_bins = n_bins

    def _relative_variance(self) -> float:
        return 3.0 / math.pi**2

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        L = self.n_bins
        # j on either grid; x has no gradient through its cell
        cell = torch.round(x * (L - 1)).clamp(0, L - 1)  # (n, d)
        scale, centre = self.scale(), torch.sigmoid(logits)
        lower, upper = (cell / L - centre) / scale, ((cell + 1) / L - centre) / scale
        # log(S(b) - S(a)) = log S(b) + log S(-a) + log(1 - exp(a - b)) with S the sigmoid
        inside = torch.log(-torch.expm1(-1.0 / (L * scale)))  # (d,) or (1,): a - b without cancellation
        log_upper, log_lower = nn.functional.logsigmoid(upper), nn.functional.logsigmoid(-lower)
        first, last = cell == 0, cell == L - 1
        log_prob = torch.where(first, log_upper, torch.where(last, log_lower, log_upper + log_lower + inside))
        return log_prob.sum(dim=1)
