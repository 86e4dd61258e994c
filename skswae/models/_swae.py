"""Symmetric Wasserstein Autoencoders (Sun & Guo, UAI 2021): equations (8) and (10), Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn

from skswae._constraints import Number, Scale
from skswae._device import as_array
from skswae._estimator import BaseAutoencoder
from skswae._parameters import shared_parameters
from skswae._processes import row_weight
from skswae._random import make_generator, named_seed, normal_like
from skswae.data import DataSource
from skswae.data._scaler import TrainingRows
from skswae.models._mixins import PseudoInputMixin, ReconstructionMixin
from skswae.modules._base import AutoencoderModule, Terms
from skswae.modules._builder import NetworkBuilder, evaluation_mode
from skswae.modules._distributions import bounded_log_variance, sample_gaussian, sample_mixture
from skswae.modules._heads import reconstruction_head
from skswae.modules._nearest import closest
from skswae.modules._pseudo_inputs import PseudoInputs
from skswae.modules._units import cost_of_the_mean, start_in_balance

_FEW_ROWS = 1000
_UNIT_ROWS = 200  # whose losses tell the code's unit at the start: its fourth power is what they estimate
_TOGETHER = 2**17  # numbers of a batch up to which both decodings in one call cost less than two calls

# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


def swae_loss(
    x_cost: Tensor | None,
    reconstruction_cost: Tensor,
    z_e: Tensor,
    z_d: Tensor,
    beta: float,
    alpha: float | Tensor,
) -> Terms:
    """Return equation (10) on a batch, with p = 2: the cost function of Algorithm 1, step 4.

    1/N sum_n  beta c(x_n, D(z_d,n)) + (1 - beta) c(x_n, D(E(x_n))) + alpha ||E(x_n) - z_d,n||_2^2

    with c(x, y) = ||x - y||_2^2 in the paper. Without the second term (beta = 1) and with alpha = 1 this is
    equation (8), the optimal transport cost between the joint distributions of encoder and decoder.

    Parameters
    ----------
    x_cost, reconstruction_cost : Tensor of shape (n,)
        c(x_n, D(z_d,n)) and c(x_n, D(z_e,n)) of each row. Where beta is 0, the first may be None.
    z_e, z_d : Tensor of shape (n, k)
        Codes of the rows, and draws from the conditional priors of their closest pseudo-inputs.
    beta : float in [0, 1]
    alpha : float or 0-d Tensor, above 0

    Returns
    -------
    terms : dict of 0-d tensors
        "loss", and its terms unweighted: "x_loss" if there is one, "reconstruction_loss", "z_loss".
    """
    terms = {} if x_cost is None else {"x_loss": x_cost.mean()}
    terms["reconstruction_loss"] = reconstruction_cost.mean()
    terms["z_loss"] = (z_e - z_d).square().sum(dim=1).mean()
    loss = (1.0 - beta) * terms["reconstruction_loss"] + alpha * terms["z_loss"]
    return {"loss": loss if x_cost is None else beta * terms["x_loss"] + loss, **terms}


class SWAEModule(AutoencoderModule):
    """Encoder, decoder, conditional prior p(z_d | u) and pseudo-inputs u_1, ..., u_K.

    Parameters
    ----------
    build : NetworkBuilder
    n_pseudo_inputs : int
        K; the pseudo-inputs start as that many training rows.
    pseudo_input_init, beta, alpha, warmup, assignment_space, metric, reconstruction, scaling
        As the parameters of :class:`SWAETransformer`; so is ``prior_scale_floor``.

    Attributes
    ----------
    prior : NetworkPart
        Maps u to the mean and the free log-variance of p(z_d | u).
    pseudo_inputs : PseudoInputs
    cost_unit : Tensor of shape (), float64
        What alpha is a multiple of: :func:`cost_of_the_mean` of the training rows, 1 without ``scaling``.
    usage : Tensor of shape (K,), float64
        Training rows whose closest pseudo-input is u_k, counted after training; in ``partial_fit`` while it
        trains, where rows of earlier calls fade by a tenth in each call.
    residual : Tensor of shape (k,), float64
        Sum over those rows of (E(x) - m(u))^2, u the closest pseudo-input.
    """

    capturable = True
    objective_is_steady = True
    summed_buffers = ("usage", "residual")
    cost_unit: Tensor
    usage: Tensor
    residual: Tensor

    def __init__(
        self,
        build: NetworkBuilder,
        *,
        n_pseudo_inputs: int,
        pseudo_input_init: str = "rows",
        beta: float,
        alpha: float,
        warmup: int,
        assignment_space: str,
        metric: str,
        reconstruction: str,
        prior_scale_floor: float,
        scaling: str | None,
    ):
        super().__init__(build, head=reconstruction_head(reconstruction, build.out_activation))
        self.beta = float(beta)
        self.alpha = float(alpha)
        self.warmup = warmup
        self.assignment_space = assignment_space
        self.metric = metric
        self.reconstruction = reconstruction
        self.prior_scale_floor = float(prior_scale_floor)
        self.scaling = scaling
        self.register_buffer("cost_unit", torch.ones((), dtype=torch.float64))
        self.prior = build.gaussian_encoder("prior")
        # batch statistics of both decodings together would let the prior into the reconstruction
        self._decoder_mixes_rows = any(
            isinstance(m, nn.modules.batchnorm._NormBase) for m in self.decoder.modules()
        )
        self.pseudo_inputs = PseudoInputs(n_pseudo_inputs, build.n_inputs, pseudo_input_init)
        self.register_buffer("usage", torch.ones(n_pseudo_inputs, dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(self.n_components, dtype=torch.float64))
        self._counts_in_training = False

    def initialize(self, data: TrainingRows, seed: int) -> None:
        super().initialize(data, seed)
        self.pseudo_inputs.start(data, self.front, seed)
        if self.scaling == "auto" and self.bounded_output:  # else it is 1 already, by the rows' own unit
            self.cost_unit.fill_(cost_of_the_mean(data, self.reconstruction) or 1.0)  # 0 for constant rows
        # all start from PCA, or none; more rows have steps enough to get there, and better codes on the way
        if self.prior.linear is not None and len(data) < _FEW_ROWS and not data.more_to_come:
            own = named_seed(seed, "unit")
            start_in_balance(self, data.choose(_UNIT_ROWS, own), make_generator(own))

    def weight(self) -> Tensor:
        """Return the weight of the z-loss: alpha, in the unit of the cost."""
        return self.alpha * self.cost_unit

    def add_pseudo_inputs(self, rows: Tensor) -> None:
        """Take more pseudo-inputs, which start as these rows: (m, d)."""
        self.pseudo_inputs.add(self.front(rows.to(self.device)))
        self.usage = torch.cat([self.usage, self.usage.new_zeros(len(rows))])

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        h = self.front(x)  # (n, m)
        z_e = self.encoder(h)
        cell = self.assign(h)  # (n,)
        mean, log_variance = self.pseudo_inputs.mapped(cell, self.conditional_prior, self.prior.network)
        if self._counts_in_training and self.training:
            self._count(cell, z_e, mean)
        z_d = sample_gaussian(mean, log_variance, normal_like(z_e, generator))
        beta, weight = self.beta, self.weight().to(z_e.dtype)
        if self.warms_up:
            beta, x_cost, reconstruction_cost = 0.0, None, self.head.cost(x, self.decoder(z_e))
        elif self._decoder_mixes_rows or x.numel() > _TOGETHER:
            x_cost, reconstruction_cost = (self.head.cost(x, self.decoder(z)) for z in (z_d, z_e))
        else:
            outputs = self.decoder(torch.cat([z_d, z_e])).chunk(2)  # (n, d) each
            x_cost, reconstruction_cost = (self.head.cost(x, output) for output in outputs)
        terms = swae_loss(x_cost, reconstruction_cost, z_e, z_d, beta, weight)
        yield "autoencoder", {**terms, "codes": z_e}

    def conditional_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of p(z_d | u): (n, m) -> (n, k), (n, k)."""
        mean, h = self.prior(u).chunk(2, dim=1)
        return mean, bounded_log_variance(h, self.prior_scale_floor)

    @torch.no_grad()
    def assign(self, h: Tensor) -> Tensor:
        """Return the index of each row's closest pseudo-input (Algorithm 1, step 2): (n, m) -> (n,).

        Of rows as the encoder sees them, ``h = front(x)``: among principal components, where it sees these.
        """
        u: Tensor = self.pseudo_inputs.rows
        if self.assignment_space == "latent":
            with evaluation_mode(self.encoder):  # both, or their codes would not be of one kind
                return closest(self.encoder(h), self.encoder(u), self.metric)
        if self.metric == "cosine":  # an angle needs the user's origin
            h, u = (self.scaler.unstandardize(self.front.inverse(a).double()) for a in (h, u))
        return closest(h, u, self.metric, self.front.seen(h))

    def before_training(self, batches: Iterable[Tensor], accumulate: bool) -> None:
        self.pseudo_inputs.widen(map(self.front, batches))
        # partial_fit counts while it trains: in a pass of its own that costs a seventh of its one epoch
        self._counts_in_training = accumulate
        self.fade_sums(0.9 if accumulate else 0.0)  # earlier rows were assigned by a model that has moved on

    def after_step(self) -> None:
        self.pseudo_inputs.project()

    def observe(self, x: Tensor, z: Tensor, accumulate: bool) -> None:
        if not accumulate:
            cell = self.assign(self.front(x))
            self._count(cell, z, self.conditional_prior(self.pseudo_inputs.rows[cell])[0])

    @torch.no_grad()
    def _count(self, cell: Tensor, z: Tensor, mean: Tensor) -> None:
        weight = row_weight()
        self.usage.index_add_(0, cell, torch.full_like(cell, weight, dtype=self.usage.dtype))
        self.residual += weight * (z - mean).double().square().sum(dim=0)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator, **sampling: str) -> Tensor:
        """Draw z from the marginal prior sum_k w_k p(z | u_k): (n_samples, k)."""
        return sample_mixture(*self.prior_components(**sampling), n_samples, generator)

    def prior_components(self, **sampling: str) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.conditional_prior(self.pseudo_inputs.rows)  # (K, k) each
        if sampling["prior_scale"] == "matched":
            within = self.residual / self.usage.sum()  # (k,)
            log_variance = torch.maximum(log_variance, within.log().to(log_variance.dtype))
        return mean, log_variance, self.weights(sampling["pseudo_input_weights"])

    def weights(self, pseudo_input_weights: str) -> Tensor:
        """Return w_k of the marginal prior, which sum to one: (K,)."""
        if pseudo_input_weights == "uniform":
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

        \frac1N \sum_n \big[ & \beta \|x_n - D(z_n)\|^2 + (1 - \beta) \|x_n - D(E(x_n))\|^2 \\
        & + \alpha \|E(x_n) - z_n\|^2 \big]

    where :math:`z_n` is a draw from :math:`p(z | u^{(n)})`, and :math:`u^{(n)}` is the pseudo-input closest
    to :math:`x_n`. The first and the last term match the joint distributions of data and code from both
    sides, the middle one is a reconstruction error.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code. It may be more than the features, or than the directions in which rows differ.
    beta : float in [0, 1], default=0.5
        Weight of the x-loss against the reconstruction loss. 0 trains an autoencoder whose prior follows
        its codes, 1 (with ``alpha=1``) is equation (8). Small values reconstruct better, large ones denoise.
    alpha : float, default=1.0
        Weight of the z-loss, above 0 and below 1e30, in units of what it costs to decode every row to the
        mean row, per feature: of the features' mean variance, for the squared error. So it means the same for
        rows in any unit, with either output activation. With ``scaling=None`` it is the paper's, the weight
        itself. Only ``alpha * prior_scale_floor ** 2`` matters for what is learned: tune one of the two.
    warmup : int or "auto", default="auto"
        Epochs at the start in which the x-loss is left out, as with ``beta=0``, for a decoding less a step.
        "auto" is all but a quarter (rounded down, at least one) where the rate makes one cycle, and 0 with
        early stopping, a constant rate, under 1,000 rows or ``beta=1``. 0 is the paper's Algorithm 1.
    n_pseudo_inputs : int or "auto", default="auto"
        K, the number of pseudo-inputs; never more than the training rows. "auto" is a sixth of the rows, at
        least 1 and at most 500. They start as training rows, and those that no row is closest to stay so:
        a fitted model may hold copies of training rows. With ``partial_fit`` or ``warm_start`` all different
        rows seen so far count.
    pseudo_input_init : {"rows", "blends"}, default="rows"
        Where pseudo-inputs start: at training rows, or each at the mean of three rows that are near each
        other, so that none is a copy of a row, also where none is moved.
    assignment_space : {"data", "latent"}, default="data"
        Space in which the closest pseudo-input is looked for: among the u_k (as the encoder sees rows: by
        their principal components, see ``input_components``), or among their codes E(u_k), which costs an
        encoding of all of them in each step.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance by which the closest pseudo-input is found.
    reconstruction : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        The cost in the data space, in both its terms. The cross-entropy is for data in [0, 1].
    prior_scale_floor : float, default=0.1
        Smallest standard deviation of p(z | u_k), from 1e-15 to 1e15, in units of the code; the largest is
        exp(4), about 55, times that. Both losses fall as the prior narrows, so that its scale ends on the
        floor, the width of the noise against which the decoder learns to be smooth; with alpha it sets the
        scale of the code. A larger one makes a larger error; the authors' code has exp(-3), about 0.05.
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
        Means over each epoch of "loss" and its terms unweighted: "x_loss" (NaN in the warm-up, whose "loss"
        is without it), "reconstruction_loss", "z_loss"; "validation_loss" with ``early_stopping`` (NaN in
        epochs without). In the units of the networks (``scale_``).
    module_ : SWAEModule
        The torch module: ``encode``, ``decode``, ``sample_prior`` and ``loss``, in the units of X.
    pseudo_inputs_ : ndarray of shape (n_pseudo_inputs_, n_features)
        In the units of X.
    pseudo_input_weights_ : ndarray of shape (n_pseudo_inputs_,)
        Their weights in the prior, as ``pseudo_input_weights`` says.
    warmup_ : int
        Resolved ``warmup``.
    n_pseudo_inputs_ : int
        K.
    alpha_ : float
        The weight itself that ``alpha`` comes to, in the units of the networks.
    {shared attributes}

    See Also
    --------
    sklearn.decomposition.PCA : Linear, exact, fast; what this model starts from.

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
        "beta": [Number(Real, 0, 1, closed="both")],
        "alpha": [Number(Real, 0, 1e30, closed="neither")],
        "warmup": [Number(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "pseudo_input_init": [StrOptions({"rows", "blends"})],
        "n_pseudo_inputs": [Number(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "assignment_space": [StrOptions({"data", "latent"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "prior_scale_floor": [Scale()],
        "pseudo_input_weights": [StrOptions({"usage", "uniform"})],
        "prior_scale": [StrOptions({"matched", "learned"})],
    }

    _structural_parameters = (
        *BaseAutoencoder._structural_parameters,
        "warmup",
        "n_pseudo_inputs",
        "pseudo_input_init",
        "prior_scale_floor",
    )
    _sampling_parameters = ("pseudo_input_weights", "prior_scale")
    _terms = ("loss", "x_loss", "reconstruction_loss", "z_loss")

    module_: SWAEModule

    def __init__(
        self,
        n_components=8,
        *,
        beta=0.5,
        alpha=1.0,
        warmup="auto",
        n_pseudo_inputs="auto",
        pseudo_input_init="rows",
        assignment_space="data",
        metric="euclidean",
        reconstruction="squared_error",
        prior_scale_floor=0.1,
        pseudo_input_weights="usage",
        prior_scale="matched",
        network=None,
        init="pca",
        input_components="auto",
        output_activation="auto",
        scaling="auto",
        augment=None,
        neighbor_weight=0.0,
        n_neighbors=15,
        target_weight=0.0,
        max_iter="auto",
        batch_size="auto",
        solver="adam",
        learning_rate="auto",
        learning_rate_init="auto",
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
        super().__init__(**shared_parameters(locals()))
        self.beta = beta
        self.alpha = alpha
        self.warmup = warmup
        self.n_pseudo_inputs = n_pseudo_inputs
        self.pseudo_input_init = pseudo_input_init
        self.assignment_space = assignment_space
        self.metric = metric
        self.reconstruction = reconstruction
        self.prior_scale_floor = prior_scale_floor
        self.pseudo_input_weights = pseudo_input_weights
        self.prior_scale = prior_scale

    def _resolve(self, data: DataSource, n_rows: int, known_epochs: int | None) -> None:
        super()._resolve(data, n_rows, known_epochs)
        n = known_epochs if known_epochs and n_rows >= _FEW_ROWS and self.beta < 1 else 1
        self.warmup_ = n - max(1, n // 4) if self.warmup == "auto" else int(self.warmup)

    def _build_module(self, build: NetworkBuilder) -> SWAEModule:
        return SWAEModule(build, scaling=self.scaling, **self._own_parameters())

    @property
    def alpha_(self) -> float:
        """The weight of the z-loss, in the units of the networks."""
        return float(self.module_.weight())

    @property
    def pseudo_input_weights_(self) -> np.ndarray:
        """The share w_k of each pseudo-input in the marginal prior: (K,)."""
        self._validate_params()  # pseudo_input_weights may have been set since the fit
        return as_array(self.module_.weights(self.pseudo_input_weights))
