"""Symmetric Wasserstein Autoencoders (Sun & Guo, UAI 2021): equations (8) and (10), Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

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
    """Step 2 of Algorithm 1: the index of the closest key for each query, by one matrix product in float64.

    In float32 a product loses distances that are small beside the spread of the rows, as within tight
    clusters.

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
    queries, keys = queries.double(), keys.double()
    if metric == "cosine":
        unit = nn.functional.normalize(keys, dim=1)
        return (queries @ unit.T).argmax(dim=1)
    # ||q - u||^2 = ||q||^2 - 2 (q.u - ||u||^2 / 2), from an origin near the data: large numbers lose digits
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
    prior_scale_floor : float
        Smallest standard deviation of p(z_d | u).

    Attributes
    ----------
    pseudo_inputs : nn.Parameter of shape (K, d)
    usage : Tensor of shape (K,), float64
        Training rows whose closest pseudo-input is u_k, counted by :meth:`after_training`. In
        ``partial_fit`` earlier rows fade by a tenth in each call.
    residual : Tensor of shape (k,), float64
        Sum over those rows of (E(x) - m(u))^2, u the closest pseudo-input.
    beta, alpha, search_space, metric, reconstruction, pseudo_input_weights, prior_scale
        As the parameters of :class:`SWAETransformer`; sampling as in the paper unless told otherwise.
    """

    lowest: Tensor
    highest: Tensor
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
        self.pseudo_inputs = nn.Parameter(parts.choose_rows(n_pseudo_inputs, "pseudo_inputs"))
        self.register_buffer("lowest", self.pseudo_inputs.detach().amin(dim=0))
        self.register_buffer("highest", self.pseudo_inputs.detach().amax(dim=0))
        self.register_buffer("usage", torch.ones(len(self.pseudo_inputs), dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(self.n_components, dtype=torch.float64))

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z_e = self.encode(x)
        mean, log_variance = self.conditional_prior(self.pseudo_inputs[self.assign(x, z_e)])
        noise = torch.randn(z_e.shape, dtype=z_e.dtype, device=z_e.device, generator=generator)
        z_d = _priors.sample_gaussian(mean, log_variance, noise)
        if self._decoder_mixes_rows:
            logits_e, logits_d = self.decoder(z_e), self.decoder(z_d)  # (n, d) each
        else:
            logits_e, logits_d = self.decoder(torch.cat([z_e, z_d])).chunk(2)
        terms = swae_loss(self.cost(x, logits_d), self.cost(x, logits_e), z_e, z_d, self.beta, self.alpha)
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
            origin = self.location / self.scale  # float64, as closest computes
            return closest(x.double() + origin, self.pseudo_inputs.double() + origin, self.metric)
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
        for total in (self.usage, self.residual):
            if keep:  # rows of earlier passes fade: they were assigned by a model that has moved on
                total *= 0.9
            else:
                total.zero_()
        mean, _ = self.conditional_prior(self.pseudo_inputs)
        for x in batches:
            z_e = self.encode(x)
            cell = self.assign(x, z_e)
            self.usage += torch.bincount(cell, minlength=len(self.usage))
            self.residual += (z_e - mean[cell]).double().square().sum(dim=0)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """z from the marginal prior sum_k w_k p(z | u_k): (n_samples, k)."""
        mean, log_variance = self.conditional_prior(self.pseudo_inputs)  # (K, k) each
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


class SWAETransformer(BaseAutoencoder):
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
    network : object or None, default=None
        What encoder, decoder and conditional prior are built from: an instance from
        :mod:`skswae.networks`, or one of your own with its two methods. None is ``GatedMLP()``.
    init : {"pca", "random"}, default="pca"
        "pca" puts a trainable linear map beside each network and starts at PCA's solution, with the
        networks' last layers at zero. "random" is the paper's start, the networks alone.
    output_activation : {"auto", "identity", "sigmoid"}, default="auto"
        Of the decoder. "auto" is a sigmoid for the cross-entropy and for data whose minimum is 0 and
        maximum 1 (to 1 %), else the identity.
    scaling : "auto" or None, default="auto"
        "auto": with an identity output the networks see the data less their mean, divided by one number
        that makes the mean variance 1, so that results do not depend on the unit or the origin. None: the
        data as they are.
    augment : callable or None, default=None
        ``f(x, generator) -> x``, applied to each training batch, a tensor in the units of X on the
        training device, before everything else: input and target alike. It is applied to held-out rows
        with fixed noise, never in :meth:`transform`. It must be picklable if the estimator is to be.
    max_iter : int, default=40
        Epochs: passes over the training rows.
    batch_size : int, default=64
        Rows a step, or somewhat more: an epoch is cut into as many batches of at least this size as it has
        rows for, all nearly equal. Fewer than two batches' worth of rows are one batch.
    learning_rate : {"one_cycle", "constant"}, default="one_cycle"
        Course of Adam's rate. "one_cycle" rises to ``learning_rate_init`` over the first 30 % of the steps
        and falls to nearly 0; "constant" is the paper's.
    learning_rate_init : float, default=1.25e-3
        Adam's rate, or the highest of the cycle; above 0.
    early_stopping : bool, default=False
        Whether to hold out rows, stop when their loss stops falling, and keep the best epoch.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows held out by ``early_stopping``.
    n_iter_no_change : int or inf, default=10
        Epochs without a gain of ``tol`` before ``early_stopping`` stops.
    tol : float, default=1e-4
        Smallest relative gain of the held-out loss that counts as one.
    warm_start : bool, default=False
        Whether a further :meth:`fit` goes on for ``max_iter`` more epochs instead of starting anew. The
        optimiser's state goes on too, unless the estimator was pickled, copied or interrupted, or stopped
        early, in between. What decides the shape of the model must stay as it was.
    device : str or torch.device, default="auto"
        "auto" is "cuda" where there is one, else "cpu". Setting it on a fitted model moves the model.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches and noise. Equal ints give bit-equal fits on one machine with equal numbers
        of torch threads. Torch's and Python's global streams are never moved; None draws a seed from
        NumPy's.
    verbose : int or bool, default=0
        Whether to print the losses of each epoch.

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms unweighted: "x_loss", "reconstruction_loss" and
        "z_loss"; "validation_loss" with ``early_stopping`` (NaN in epochs without). In the units of the
        networks (``scale_``).
    loss_curve_ : ndarray of shape (n_iter_,)
        ``history_["loss"]``.
    n_iter_ : int
        Epochs trained.
    module_ : SWAEModule
        The torch module: ``encode``, ``decode``, ``sample_prior``, ``losses``.
    pseudo_inputs_ : ndarray of shape (n_pseudo_inputs_, n_features)
        In the units of X.
    pseudo_input_weights_ : ndarray of shape (n_pseudo_inputs_,)
        Their weights in the prior, as ``pseudo_input_weights`` says.
    n_pseudo_inputs_ : int
        K.
    out_activation_ : {"identity", "sigmoid"}
        What ``output_activation`` came to.
    location_ : ndarray of shape (n_features,)
        What is subtracted before the networks; zeros without scaling.
    scale_ : float
        What is divided by after that; 1.0 without scaling.
    n_features_in_ : int
        Features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X has names that are all strings.

    See Also
    --------
    sklearn.decomposition.PCA : Linear, exact, fast; what this model starts from.

    Notes
    -----
    Training is in float32. :meth:`transform`, :meth:`inverse_transform` and :meth:`score_samples` compute in
    the dtype of their input.

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
        "beta": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "n_pseudo_inputs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "search_space": [StrOptions({"data", "latent"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "reconstruction": [StrOptions({"squared_error", "binary_cross_entropy"})],
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
        max_iter=40,
        batch_size=64,
        learning_rate="one_cycle",
        learning_rate_init=1.25e-3,
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
        self.prior_scale = prior_scale
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
        return SWAEModule(parts, min(K, n_rows), self.prior_scale_floor)

    def _configure(self, module: Any) -> None:
        for name in (
            "beta",
            "alpha",
            "search_space",
            "metric",
            "reconstruction",
            "pseudo_input_weights",
            "prior_scale",
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
        return as_array(module.from_units(module.pseudo_inputs.detach().double()))

    @property
    def n_pseudo_inputs_(self) -> int:
        """K."""
        return len(self.module_.pseudo_inputs)

    @property
    def pseudo_input_weights_(self) -> np.ndarray:
        """The share w_k of each pseudo-input in the marginal prior: (K,)."""
        module = self.module_
        self._validate_params()  # it may have been set since the fit
        self._configure(module)
        return as_array(module.weights())
