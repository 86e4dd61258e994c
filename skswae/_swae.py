"""Symmetric Wasserstein Autoencoders (Sun & Guo, UAI 2021): equations (8) and (10), Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from skswae import _priors
from skswae._base import BaseAutoencoder
from skswae._module import AutoencoderModule, Parts, Terms
from skswae._torch import as_array

# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


def squared_error(x: Tensor, logits: Tensor, out_activation: str = "identity") -> Tensor:
    """||x - D(z)||_2^2 of each row, from the decoder's output before its activation: (n, d) -> (n,)."""
    decoded = torch.sigmoid(logits) if out_activation == "sigmoid" else logits
    return (x - decoded).square().sum(dim=1)


def binary_cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
    """-sum_j [x_j log D_j + (1 - x_j) log(1 - D_j)] of each row, D = sigmoid(logits): (n, d) -> (n,)."""
    # log(1 + e^l) - x l, stable at both ends
    return (nn.functional.softplus(logits) - x * logits).sum(dim=1)


def swae_loss(
    x_cost: Tensor, reconstruction_cost: Tensor, z_e: Tensor, z_d: Tensor, beta: float, alpha: float
) -> Terms:
    """Equation (10) on a batch, with p = 2: the cost function of Algorithm 1, step 4.

    1/N sum_n  beta c(x_n, D(z_d,n)) + (1 - beta) c(x_n, D(E(x_n))) + alpha ||E(x_n) - z_d,n||_2^2

    with c(x, y) = ||x - y||_2^2 in the paper. Without the second term (beta = 1) and with alpha = 1 this is
    equation (8), the optimal transport cost between the joint distributions of encoder and decoder.

    Parameters
    ----------
    x_cost, reconstruction_cost : Tensor of shape (n,)
        c(x_n, D(z_d,n)) and c(x_n, D(z_e,n)) of each row.
    z_e, z_d : Tensor of shape (n, k)
        Codes of the rows, and draws from the conditional priors of their closest pseudo-inputs.
    beta : float in [0, 1]
    alpha : float above 0

    Returns
    -------
    terms : dict of 0-d tensors
        "loss", and its terms unweighted: "x_loss", "reconstruction_loss", "z_loss".
    """
    x_loss = x_cost.mean()
    reconstruction_loss = reconstruction_cost.mean()
    z_loss = (z_e - z_d).square().sum(dim=1).mean()
    return {
        "loss": beta * x_loss + (1.0 - beta) * reconstruction_loss + alpha * z_loss,
        "x_loss": x_loss,
        "reconstruction_loss": reconstruction_loss,
        "z_loss": z_loss,
    }


def closest(queries: Tensor, keys: Tensor, metric: str) -> Tensor:
    """Step 2 of Algorithm 1: the index of the closest key for each query, at the cost of one product.

    Parameters
    ----------
    queries : Tensor of shape (n, d)
    keys : Tensor of shape (K, d)
    metric : {"euclidean", "cosine"}
        "cosine" is the largest cosine similarity; a zero vector is equally similar to everything.

    Returns
    -------
    index : Tensor of shape (n,), int64
    """
    if metric == "cosine":
        unit = nn.functional.normalize(keys, dim=1)
        return (queries @ unit.T).argmax(dim=1)
    # ||q - u||^2 = ||q||^2 - 2 (q.u - ||u||^2 / 2), from a common origin near the data, so that float32 does
    # not lose the distances in large coordinates
    origin = keys.mean(dim=0)
    keys = keys - origin
    half_norm = 0.5 * keys.square().sum(dim=1)  # (K,)
    return torch.addmm(half_norm.neg(), queries - origin, keys.T).argmax(dim=1)


# ---------------------------------------------------------------------------
# The module
# ---------------------------------------------------------------------------


class SWAEModule(AutoencoderModule):
    """Encoder, decoder, conditional prior p(z_d | u) and pseudo-inputs u_1, ..., u_K.

    Parameters
    ----------
    parts : Parts
    n_pseudo_inputs : int
        K; the pseudo-inputs start as that many training rows.

    Attributes
    ----------
    pseudo_inputs : nn.Parameter of shape (K, d)
    usage : Tensor of shape (K,), float64
        Training rows whose closest pseudo-input is u_k.
    beta, alpha, search_space, metric, reconstruction, prior_scale_floor, pseudo_input_weights
        As the parameters of :class:`SWAETransformer`.
    """

    lowest: Tensor
    highest: Tensor
    usage: Tensor

    beta = 0.5
    alpha = 1.0
    search_space = "data"
    metric = "euclidean"
    reconstruction = "squared_error"
    prior_scale_floor = 0.05
    pseudo_input_weights = "usage"

    def __init__(self, parts: Parts, n_pseudo_inputs: int):
        super().__init__(parts)
        self.prior = parts.gaussian_encoder("prior")
        self.pseudo_inputs = nn.Parameter(parts.choose_rows(n_pseudo_inputs, "pseudo_inputs"))
        self.register_buffer("lowest", self.pseudo_inputs.detach().amin(dim=0))
        self.register_buffer("highest", self.pseudo_inputs.detach().amax(dim=0))
        self.register_buffer("usage", torch.ones(len(self.pseudo_inputs), dtype=torch.float64))

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z_e = self.encode(x)
        mean, log_variance = self.conditional_prior(self.pseudo_inputs[self.assign(x, z_e)])
        noise = torch.randn(z_e.shape, dtype=z_e.dtype, device=z_e.device, generator=generator)
        z_d = _priors.sample_gaussian(mean, log_variance, noise)
        logits_d, logits_e = self.decoder(torch.cat([z_d, z_e])).chunk(2)  # (n, d) each
        terms = swae_loss(
            self.cost(x, logits_d), self.cost(x, logits_e), z_e, z_d, self.beta, self.alpha
        )
        yield "autoencoder", terms

    def cost(self, x: Tensor, logits: Tensor) -> Tensor:
        """c(x, D(z)) of each row: (n, d) -> (n,)."""
        if self.reconstruction == "binary_cross_entropy":
            return binary_cross_entropy(x, logits)
        return squared_error(x, logits, self.out_activation)

    def conditional_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z_d | u): (n, d) -> (n, k), (n, k)."""
        mean, h = self.prior(u).chunk(2, dim=1)
        return mean, _priors.bounded_log_variance(h, self.prior_scale_floor)

    @torch.no_grad()
    def assign(self, x: Tensor, z_e: Tensor | None = None) -> Tensor:
        """Step 2: the index of each row's closest pseudo-input: (n, d) -> (n,)."""
        if self.search_space == "latent":
            queries = self.encode(x) if z_e is None else z_e
            return closest(queries, self.encode(self.pseudo_inputs), self.metric)
        if self.metric == "cosine":  # an angle needs the user's origin
            origin = (self.location / self.scale).to(x.dtype)
            return closest(x + origin, self.pseudo_inputs + origin, self.metric)
        return closest(x, self.pseudo_inputs, self.metric)

    @torch.no_grad()
    def before_training(self, batches: Iterable[Tensor]) -> None:
        for x in batches:
            self.lowest.copy_(torch.minimum(self.lowest, x.amin(dim=0)))
            self.highest.copy_(torch.maximum(self.highest, x.amax(dim=0)))

    @torch.no_grad()
    def after_step(self) -> None:
        # a projection, not a hard tanh inside the model: that has no gradient at the ends of the range,
        # where most pixels of an image lie
        self.pseudo_inputs.clamp_(self.lowest, self.highest)

    @torch.no_grad()
    def after_training(self, batches: Iterable[Tensor], keep: bool) -> None:
        usage = self.usage.clone() if keep else torch.zeros_like(self.usage)
        for x in batches:
            usage += torch.bincount(self.assign(x), minlength=len(usage))
        self.usage.copy_(usage)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """z from the marginal prior sum_k w_k p(z | u_k): (n_samples, k)."""
        mean, log_variance = self.conditional_prior(self.pseudo_inputs)  # (K, k) each
        return _priors.sample_mixture(mean, log_variance, self.weights(), n_samples, generator)

    def weights(self) -> Tensor:
        """w_k of the marginal prior; they sum to one: (K,)."""
        if self.pseudo_input_weights == "uniform":
            return torch.full_like(self.usage, 1.0 / len(self.usage))
        return self.usage / self.usage.sum()


# ---------------------------------------------------------------------------
# The estimator
# ---------------------------------------------------------------------------


class SWAETransformer(BaseAutoencoder):
    """Symmetric Wasserstein Autoencoder."""

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "beta": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "n_pseudo_inputs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "search_space": [StrOptions({"data", "latent"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "reconstruction": [StrOptions({"squared_error", "binary_cross_entropy"})],
        "prior_scale_floor": [Interval(Real, 0, None, closed="neither")],
        "pseudo_input_weights": [StrOptions({"usage", "uniform"})],
    }

    module_: SWAEModule

    def __init__(
        self,
        n_components=8,
        *,
        beta=0.5,
        alpha=1.0,
        n_pseudo_inputs="auto",
        search_space="data",
        metric="euclidean",
        reconstruction="squared_error",
        prior_scale_floor=0.05,
        pseudo_input_weights="usage",
        network=None,
        init="pca",
        output_activation="auto",
        scaling="auto",
        augment=None,
        max_iter=90,
        batch_size=128,
        learning_rate="one_cycle",
        learning_rate_init=3e-3,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.beta = beta
        self.alpha = alpha
        self.n_pseudo_inputs = n_pseudo_inputs
        self.search_space = search_space
        self.metric = metric
        self.reconstruction = reconstruction
        self.prior_scale_floor = prior_scale_floor
        self.pseudo_input_weights = pseudo_input_weights
        self.network = network
        self.init = init
        self.output_activation = output_activation
        self.scaling = scaling
        self.augment = augment
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _build_module(self, parts: Parts) -> SWAEModule:
        n_rows = len(parts.rows)
        K = self.n_pseudo_inputs
        if K == "auto":
            K = min(500, max(1, n_rows // 6))
        return SWAEModule(parts, min(K, n_rows))

    def _configure(self, module: SWAEModule) -> None:
        for name in (
            "beta",
            "alpha",
            "search_space",
            "metric",
            "reconstruction",
            "prior_scale_floor",
            "pseudo_input_weights",
        ):
            setattr(module, name, getattr(self, name))

    def _needs_unit_interval(self) -> bool:
        return self.reconstruction == "binary_cross_entropy"

    def _check_parameters(self) -> None:
        if self.reconstruction == "binary_cross_entropy" and self.output_activation == "identity":
            raise ValueError(
                "The 'output_activation' parameter must be 'sigmoid' or 'auto' with "
                "reconstruction='binary_cross_entropy'. Got 'identity' instead."
            )

    @property
    def pseudo_inputs_(self) -> np.ndarray:
        """The pseudo-inputs u_1, ..., u_K in the units of the data: (K, n_features)."""
        module = self.module_
        return as_array(module.from_units(module.pseudo_inputs.detach()))

    @property
    def n_pseudo_inputs_(self) -> int:
        """K."""
        return len(self.module_.pseudo_inputs)

    @property
    def pseudo_input_weights_(self) -> np.ndarray:
        """The share w_k of each pseudo-input in the marginal prior: (K,)."""
        return as_array(self.module_.weights())
