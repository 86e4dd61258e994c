"""Symmetric Wasserstein Autoencoders (Sun & Guo, UAI 2021): equations (8) and (10), Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from skswae import _likelihoods, _priors
from skswae._base import BaseAutoencoder
from skswae._mixins import PseudoInputMixin, ReconstructionMixin
from skswae._module import AutoencoderModule, Parts, Terms
from skswae._search import closest
from skswae._torch import as_array, standard_normal

# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


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


# ---------------------------------------------------------------------------
# The module
# ---------------------------------------------------------------------------


SPARSE_FROM = 2**19
"""Numbers in all pseudo-inputs, K d, above which those without a gradient rest in a step."""


class SWAEModule(AutoencoderModule):
    """Encoder, decoder, conditional prior p(z_d | u) and pseudo-inputs u_1, ..., u_K.

    Parameters
    ----------
    parts : Parts
    n_pseudo_inputs : int
        K; the pseudo-inputs start as that many training rows.
    prior_scale_floor : float
        Smallest standard deviation of p(z_d | u).

    Attributes
    ----------
    pseudo_inputs : PseudoInputs
    usage : Tensor of shape (K,), float64
        Training rows whose closest pseudo-input is u_k, counted by :meth:`after_training`. In
        ``partial_fit`` earlier rows fade by a tenth in each call.
    residual : Tensor of shape (k,), float64
        Sum over those rows of (E(x) - m(u))^2, u the closest pseudo-input.
    beta, alpha, search_space, metric, reconstruction, pseudo_input_weights, prior_scale
        As the parameters of :class:`SWAETransformer`; sampling as in the paper unless told otherwise.
    """

    usage: Tensor
    residual: Tensor

    beta = 0.5
    alpha = 1.0
    search_space = "data"
    metric = "euclidean"
    reconstruction = "squared_error"
    pseudo_input_weights = "uniform"
    prior_scale = "learned"

    def __init__(self, parts: Parts, n_pseudo_inputs: int, prior_scale_floor: float):
        super().__init__(parts)
        self.prior_scale_floor = prior_scale_floor
        self.prior = parts.gaussian_encoder("prior")
        # batch statistics of both decodings together would let the prior into the reconstruction
        self._decoder_mixes_rows = any(
            isinstance(m, nn.modules.batchnorm._NormBase) for m in self.decoder.modules()
        )
        rows = parts.choose_rows(n_pseudo_inputs, "pseudo_inputs")
        self.pseudo_inputs = _priors.PseudoInputs(rows)
        self.register_buffer("usage", torch.ones(len(rows), dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(self.n_components, dtype=torch.float64))

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z_e = self.encode(x)
        u = self.pseudo_inputs.select(self.assign(x, z_e))  # (n, d)
        mean, log_variance = self.conditional_prior(u)
        z_d = _priors.sample_gaussian(mean, log_variance, standard_normal(z_e.shape, z_e, generator))
        if self._decoder_mixes_rows:
            logits_e, logits_d = self.decoder(z_e), self.decoder(z_d)  # (n, d) each
        else:
            logits_e, logits_d = self.decoder(torch.cat([z_e, z_d])).chunk(2)
        terms = swae_loss(self.cost(x, logits_d), self.cost(x, logits_e), z_e, z_d, self.beta, self.alpha)
        yield "autoencoder", terms

    def cost(self, x: Tensor, logits: Tensor) -> Tensor:
        """c(x, D(z)) of each row: (n, d) -> (n,)."""
        return _likelihoods.reconstruction_cost(x, logits, self.reconstruction, self.out_activation)

    def conditional_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z_d | u): (n, d) -> (n, k), (n, k)."""
        mean, h = self.prior(u).chunk(2, dim=1)
        return mean, _priors.bounded_log_variance(h, self.prior_scale_floor)

    @torch.no_grad()
    def assign(self, x: Tensor, z_e: Tensor | None = None) -> Tensor:
        """Step 2: the index of each row's closest pseudo-input: (n, d) -> (n,)."""
        if self.search_space == "latent":
            queries = self.encode(x) if z_e is None else z_e
            return closest(queries, self.encode(self.pseudo_inputs.rows), self.metric)
        if self.metric == "cosine" and (x.is_cuda or bool(self.location.any())):
            # an angle needs the user's origin; to look whether it is ours would make a GPU's host wait
            origin = self.location / self.scale  # float64, as closest computes
            return closest(x.double() + origin, self.pseudo_inputs.rows.double() + origin, self.metric)
        return closest(x, self.pseudo_inputs.rows, self.metric, self.pseudo_inputs.square_norms())

    def before_training(self, batches: Iterable[Tensor]) -> None:
        self.pseudo_inputs.widen(batches)
        # Adam on all of them costs more than their part of the step if there are many
        self.pseudo_inputs.train_sparsely(self.pseudo_inputs.rows.numel() > SPARSE_FROM)

    @property
    def capturable(self) -> bool:
        return True

    def sparse_parameters(self) -> list[nn.Parameter]:
        return [self.pseudo_inputs.rows] if self.pseudo_inputs.sparse else []

    def after_step(self) -> None:
        self.pseudo_inputs.project()

    def start_gathering(self, keep: bool) -> None:
        self.pseudo_inputs.train_sparsely(False)
        for total in (self.usage, self.residual):
            if keep:  # rows of earlier passes fade: they were assigned by a model that has moved on
                total *= 0.9
            else:
                total.zero_()

    def gather(self, x: Tensor, z: Tensor) -> None:
        cell = self.assign(x, z)
        mean, _ = self.conditional_prior(self.pseudo_inputs.rows[cell])
        self.usage += torch.bincount(cell, minlength=len(self.usage))
        self.residual += (z - mean).double().square().sum(dim=0)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """z from the marginal prior sum_k w_k p(z | u_k): (n_samples, k)."""
        mean, log_variance = self.conditional_prior(self.pseudo_inputs.rows)  # (K, k) each
        if self.prior_scale == "matched":
            within = self.residual / self.usage.sum()  # (k,)
            log_variance = torch.maximum(log_variance, within.log().to(log_variance.dtype))
        return _priors.sample_mixture(mean, log_variance, self.weights(), n_samples, generator)

    def weights(self) -> Tensor:
        """w_k of the marginal prior; they sum to one: (K,)."""
        if self.pseudo_input_weights == "uniform":
            return torch.full_like(self.usage, 1.0 / len(self.usage))
        return self.usage / self.usage.sum()


# ---------------------------------------------------------------------------
# The estimator
# ---------------------------------------------------------------------------


class SWAETransformer(ReconstructionMixin, PseudoInputMixin, BaseAutoencoder):
    r"""Symmetric Wasserstein Autoencoder: a learned, non-linear, invertible, generative code.

    A deterministic encoder E, a decoder D, and a learned prior, a mixture of Gaussians p(z | u_k) over K
    learned pseudo-inputs u_k, minimise equation (10) of [1]_ by Algorithm 1:

    .. math::

        \frac1N \sum_n \beta \|x_n - D(z_n)\|^2 + (1 - \beta) \|x_n - D(E(x_n))\|^2
        + \alpha \|E(x_n) - z_n\|^2, \quad z_n \sim p(z | u^{(n)})

    where :math:`u^{(n)}` is the pseudo-input closest to :math:`x_n`. The first and the last term match the
    joint distributions of data and code from both sides, the middle one is a reconstruction error.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code.
    beta : float in [0, 1], default=0.5
        Weight of the x-loss against the reconstruction loss. 0 trains an autoencoder whose prior follows
        its codes, 1 (with ``alpha=1``) is equation (8). Small values reconstruct better, large ones denoise.
    alpha : float, default=1.0
        Weight of the z-loss, above 0. Only ``alpha * prior_scale_floor ** 2`` matters for what is learned:
        tune one of the two.
    n_pseudo_inputs : int or "auto", default="auto"
        K, the number of pseudo-inputs; never more than the training rows. "auto" is a sixth of the rows, at
        least 1 and at most 500. They start as training rows, and those that no row is closest to stay so:
        a fitted model may hold copies of training rows.
    search_space : {"data", "latent"}, default="data"
        Where the closest pseudo-input is looked for: among the u_k, or among their codes E(u_k), which
        costs an encoding of all of them in each step.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What closest means.
    reconstruction : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        The cost in the data space, in both its terms. The cross-entropy is for data in [0, 1].
    prior_scale_floor : float, default=0.1
        Smallest standard deviation of p(z | u_k), above 0, in units of the code. Both losses fall as the
        prior narrows, so that its scale ends on this floor: it is the width of the noise against which the
        decoder learns to be smooth, and with alpha it sets the scale of the code. A larger floor
        makes a smoother decoder and a larger error; the authors' code has exp(-3), about 0.05.
        The largest standard deviation is exp(4), about 55, times the floor.
    pseudo_input_weights : {"usage", "uniform"}, default="usage"
        How :meth:`sample` draws k of the marginal prior: by the share of training rows whose closest
        pseudo-input is u_k, so that an unused one is never drawn, or uniformly as in the paper. It can be
        set on a fitted model.
    prior_scale : {"matched", "learned"}, default="matched"
        Standard deviation of p(z | u_k) in :meth:`sample`: "learned" is the conditional prior's own, which
        ends on its floor; "matched" is at least the root mean squared distance of the training codes from
        the mean of their closest pseudo-input's prior, in each component, over all rows. It can be set on
        a fitted model.
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms unweighted: "x_loss", "reconstruction_loss" and
        "z_loss"; "validation_loss" with ``early_stopping`` (NaN in epochs without). In the units of the
        networks (``scale_``).
    module_ : SWAEModule
        The torch module: ``encode``, ``decode``, ``sample_prior``, ``losses``.
    pseudo_inputs_ : ndarray of shape (n_pseudo_inputs_, n_features)
        In the units of X.
    pseudo_input_weights_ : ndarray of shape (n_pseudo_inputs_,)
        Their weights in the prior, as ``pseudo_input_weights`` says.
    n_pseudo_inputs_ : int
        K.
    {shared attributes}

    See Also
    --------
    sklearn.decomposition.PCA : Linear, exact, fast; what this model starts from.

    Notes
    -----
    Training is in float32. :meth:`transform`, :meth:`inverse_transform` and :meth:`score_samples` compute in
    float32 for float32 and in float64 for everything else.

    References
    ----------
    .. [1] S. Sun, H. Guo. Symmetric Wasserstein Autoencoders. UAI 2021. arXiv:2106.13024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from skswae import SWAETransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
    >>> swae = SWAETransformer(n_components=8, max_iter=5, random_state=0)
    >>> pipe = make_pipeline(swae, KNeighborsClassifier(5)).fit(X_train, y_train)
    >>> pipe.score(X_test, y_test) > 0.9
    True
    >>> Z = swae.transform(X_test)
    >>> Z.shape, swae.inverse_transform(Z).shape, swae.sample(3, random_state=0).shape
    ((450, 8), (450, 64), (3, 64))
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        **ReconstructionMixin._parameter_constraints,
        "beta": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "n_pseudo_inputs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "search_space": [StrOptions({"data", "latent"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "prior_scale_floor": [Interval(Real, 0, None, closed="neither")],
        "pseudo_input_weights": [StrOptions({"usage", "uniform"})],
        "prior_scale": [StrOptions({"matched", "learned"})],
    }

    _structural_parameters = (
        *BaseAutoencoder._structural_parameters,
        "n_pseudo_inputs",
        "prior_scale_floor",
    )

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
        prior_scale_floor=0.1,
        pseudo_input_weights="usage",
        prior_scale="matched",
        network=None,
        init="pca",
        output_activation="auto",
        scaling="auto",
        augment=None,
        max_iter="auto",
        batch_size="auto",
        solver="adam",
        learning_rate="one_cycle",
        learning_rate_init="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            n_components,
            network=network,
            init=init,
            output_activation=output_activation,
            scaling=scaling,
            augment=augment,
            max_iter=max_iter,
            batch_size=batch_size,
            solver=solver,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )
        self.beta = beta
        self.alpha = alpha
        self.n_pseudo_inputs = n_pseudo_inputs
        self.search_space = search_space
        self.metric = metric
        self.reconstruction = reconstruction
        self.prior_scale_floor = prior_scale_floor
        self.pseudo_input_weights = pseudo_input_weights
        self.prior_scale = prior_scale

    def _build_module(self, parts: Parts) -> SWAEModule:
        n_rows = len(parts.rows)
        K = self.n_pseudo_inputs
        if K == "auto":
            K = min(500, max(1, n_rows // 6))
        return SWAEModule(parts, min(K, n_rows), self.prior_scale_floor)

    def _configure(self, module: Any) -> None:
        for name in ("beta", "alpha", "search_space", "metric", "reconstruction"):
            setattr(module, name, getattr(self, name))

    def _configure_sampling(self, module: Any) -> None:
        for name in ("pseudo_input_weights", "prior_scale"):
            setattr(module, name, getattr(self, name))

    @property
    def pseudo_input_weights_(self) -> np.ndarray:
        """The share w_k of each pseudo-input in the marginal prior: (K,)."""
        module = self.module_
        self._validate_params()  # it may have been set since the fit
        self._configure_sampling(module)
        return as_array(module.weights())
