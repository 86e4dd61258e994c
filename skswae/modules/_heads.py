"""Heads: how a decoder's raw output becomes a mean, and what a row costs under it."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn

from skswae._random import normal_like

_LOGIT_MARGINS = 1e-6, 0.05
_RATE = 10.0
SMALLEST_SCALE = 1e-3
"""Lower bound of a likelihood's scale, over the root mean variance of the features."""


class Head(nn.Module, abc.ABC):
    """Turn a decoder's raw output into a mean, and say what a row costs under it.

    Parameters
    ----------
    out_activation : {"identity", "sigmoid"}
        What makes the mean of the output; under a sigmoid the output is *logits*.

    Attributes
    ----------
    is_density : bool
        Whether the cost is minus a log-density, which depends on the unit of x.
    """

    is_density = False
    least_variance = 0.0  # of a feature given its mean, where training starts

    def __init__(self, out_activation: str = "identity"):
        super().__init__()
        self.out_activation = out_activation

    def mean(self, output: Tensor) -> Tensor:
        """Return the mean row that the output stands for: (n, d) -> (n, d)."""
        return torch.sigmoid(output) if self.out_activation == "sigmoid" else output

    def inverse(self, x: Tensor, spread: Tensor) -> Tensor:
        """Return an output whose mean is about x: x, or its logits: (n, d), (d,) -> (n, d).

        Under a sigmoid x is first moved away from 0 and 1 by ``spread``, the standard deviation of each
        feature, but by 0.05 at most: a feature that hardly varies is met all the same.
        """
        if self.out_activation != "sigmoid":
            return x
        margin = spread.clamp(*_LOGIT_MARGINS)  # (d,)
        return torch.logit(x.clamp(margin, 1.0 - margin))

    @abc.abstractmethod
    def cost(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the cost of each row, a sum over its features: (n, d), (n, d) -> (n,)."""

    def compared(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return the mean row as x is compared with it: where x has no value, x itself: (n, d) each."""
        return mean

    def initialize(self, squared_errors: Tensor, variances: Tensor) -> None:
        """Set learned scales to each feature's mean squared error, in view of its variance: (d,) each."""


# ---------------------------------------------------------------------------
# Costs
# ---------------------------------------------------------------------------


class SquaredError(Head):
    """||x - D(z)||_2^2."""

    def cost(self, x: Tensor, output: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.mean(output), x, reduction="none").sum(dim=1)


class BinaryCrossEntropy(Head):
    """-sum_j [x_j log D_j + (1 - x_j) log(1 - D_j)] with D = sigmoid(output)."""

    def __init__(self):
        super().__init__("sigmoid")

    def cost(self, x: Tensor, output: Tensor) -> Tensor:
        return _cross_entropy(x, output)


def reconstruction_head(reconstruction: str, out_activation: str) -> Head:
    """Make the head that the ``reconstruction`` parameter names."""
    if reconstruction == "binary_cross_entropy":
        return BinaryCrossEntropy()
    return SquaredError(out_activation)


def _cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
    """Return the binary cross-entropy of each row: (n, d), (n, d) -> (n,)."""
    return nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


# ---------------------------------------------------------------------------
# Likelihoods
# ---------------------------------------------------------------------------


class Likelihood(Head):
    """log p(x | z) with D(z) as its centre; its negative is the cost."""

    @abc.abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x | z) of each row: (n, d), (n, d) -> (n,)."""

    @abc.abstractmethod
    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a row x ~ p(x | z) for each output: (n, d) -> (n, d)."""

    def cost(self, x: Tensor, output: Tensor) -> Tensor:
        return -self.log_prob(x, output)


class Bernoulli(Likelihood):
    """Zeros and ones with probabilities sigmoid(output); for values between, minus the cross-entropy."""

    least_variance = _LOGIT_MARGINS[1] * (1.0 - _LOGIT_MARGINS[1])

    def __init__(self):
        super().__init__("sigmoid")

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        return -_cross_entropy(x, output)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(self.mean(output), generator=generator)


class _ScaledLikelihood(Likelihood):
    """A likelihood with one learned scale, or one for each feature.

    The scale is ``sqrt(exp(2 r t) + smallest ** 2)`` with t the parameter: a rate r = 10 times that of other
    parameters lets it follow the error within few steps, and the bound, a thousandth of the features'
    root mean variance, keeps the likelihood of data without noise finite.
    """

    smallest: Tensor

    def __init__(self, n_features: int, per_feature: bool, out_activation: str):
        super().__init__(out_activation)
        n_scales = n_features if per_feature else 1
        self.log_scale = nn.Parameter(torch.zeros(n_scales, dtype=torch.float32))  # (d,) or (1,)
        self.register_buffer("smallest", torch.tensor(SMALLEST_SCALE, dtype=torch.float64))

    def scale(self) -> Tensor:
        """Return the scale of each feature, or the one of all: (d,) or (1,)."""
        return torch.sqrt(torch.exp(2.0 * _RATE * self.log_scale) + self.smallest**2)

    @torch.no_grad()
    def initialize(self, squared_errors: Tensor, variances: Tensor) -> None:
        self.smallest.fill_(SMALLEST_SCALE * (float(variances.mean().sqrt()) or 1.0))
        if len(self.log_scale) == 1:
            squared_errors = squared_errors.mean(dim=0, keepdim=True)
        variance = self._relative_variance() * squared_errors.clamp(min=float(self.smallest) ** 2)
        self.log_scale.copy_(0.5 * variance.log() / _RATE)

    def _relative_variance(self) -> float:
        """Return the square of the scale of a distribution of variance 1."""
        return 1.0


class Gaussian(_ScaledLikelihood):
    """N(x; D(z), scale^2) in each feature."""

    is_density = True

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        scale = self.scale()
        squares = ((x - self.mean(output)) / scale).square()
        return -(0.5 * (squares + math.log(2.0 * math.pi)) + scale.log()).sum(dim=1)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        return self.mean(output) + self.scale() * normal_like(output, generator)


class DiscretizedLogistic(_ScaledLikelihood):
    """The probability that a logistic distribution around sigmoid(output) gives to the cell of x.

    The cells are [j/L, (j+1)/L) for L bins, j = 0, ..., L-1; the first and the last are open, so that they
    sum to one. Values j / (L-1) and (j + 1/2) / L both fall into cell j; draws are j / (L-1).

    References
    ----------
    D. Kingma et al. Improved Variational Inference with Inverse Autoregressive Flow. NeurIPS 2016.
    """

    def __init__(self, n_features: int, per_feature: bool, n_bins: int):
        super().__init__(n_features, per_feature, "sigmoid")
        self.n_bins = n_bins

    def _relative_variance(self) -> float:
        return 3.0 / math.pi**2

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        L = self.n_bins
        # j on either grid; x has no gradient through its cell
        cell = torch.round(x * (L - 1)).clamp(0, L - 1)  # (n, d)
        scale, centre = self.scale(), self.mean(output)
        lower, upper = (cell / L - centre) / scale, ((cell + 1) / L - centre) / scale
        # log(S(b) - S(a)) = log S(b) + log S(-a) + log(1 - exp(a - b)) with S the sigmoid
        inside = torch.log(-torch.expm1(-1.0 / (L * scale)))  # (d,) or (1,): a - b without cancellation
        log_upper, log_lower = nn.functional.logsigmoid(upper), nn.functional.logsigmoid(-lower)
        first, last = cell == 0, cell == L - 1
        log_prob = torch.where(first, log_upper, torch.where(last, log_lower, log_upper + log_lower + inside))
        return log_prob.sum(dim=1)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        L = self.n_bins
        uniform = torch.rand(output.shape, dtype=output.dtype, device=output.device, generator=generator)
        value = self.mean(output) + self.scale() * torch.logit(uniform)  # -inf where it is 0
        return torch.floor(L * value).clamp(0, L - 1) / (L - 1)


def likelihood_head(
    likelihood: str, *, n_features: int, out_activation: str, likelihood_scale: str, n_bins: int
) -> Likelihood:
    """Make the likelihood that the parameter of this name means, once "auto" is resolved."""
    per_feature = likelihood_scale == "per_feature"
    if likelihood == "bernoulli":
        return Bernoulli()
    if likelihood == "discretized_logistic":
        return DiscretizedLogistic(n_features, per_feature, int(n_bins))
    return Gaussian(n_features, per_feature, out_activation)
