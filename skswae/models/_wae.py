"""Wasserstein autoencoders (Tolstikhin et al., ICLR 2018) with four divergences between codes and prior."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn

from skswae._constraints import Number, Numbers, check_affordable
from skswae._estimator import BaseAutoencoder
from skswae._parameters import shared_parameters
from skswae._processes import gathered
from skswae._random import normal_like
from skswae.data._scaler import TrainingRows
from skswae.models._mixins import ReconstructionMixin
from skswae.modules import _divergences, _initialization
from skswae.modules._base import AutoencoderModule, Terms
from skswae.modules._builder import NetworkBuilder
from skswae.modules._heads import reconstruction_head
from skswae.training._auto import AutoSettings

_NOISE = 0.3  # over the features' root mean variance

# ---------------------------------------------------------------------------
# The mathematics; the other divergences are in skswae/modules/_divergences.py
# ---------------------------------------------------------------------------


def wae_loss(cost: Tensor, divergence: Tensor, weight: Tensor | float) -> Terms:
    """Return equation (4) on a batch: 1/N sum_n c(x_n, D(E(x_n))) + lambda D_Z(q_Z, p_Z).

    Parameters
    ----------
    cost : Tensor of shape (n,)
        c(x_n, D(E(x_n))) of each row.
    divergence : Tensor of shape ()
        Between the codes and draws from the prior.
    weight : float of at least 0
        lambda.

    Returns
    -------
    terms : dict of 0-d tensors
        "loss", and its terms unweighted: "reconstruction_loss" and "divergence".
    """
    reconstruction_loss = cost.mean()
    return {
        "loss": reconstruction_loss + weight * divergence,
        "reconstruction_loss": reconstruction_loss,
        "divergence": divergence,
    }


def critic_loss(prior_logits: Tensor, code_logits: Tensor) -> Tensor:
    """-1/n sum log s(f(z_p)) - 1/n sum log (1 - s(f(z_e))), s the sigmoid: Algorithm 1's, to be minimised.

    f(z_p) and f(z_e) are the critic's output for draws from the prior and for codes: (n, 1), (n, 1) -> (). A
    critic that cannot tell them apart has 2 log 2.
    """
    return nn.functional.softplus(-prior_logits).mean() + nn.functional.softplus(code_logits).mean()


def adversarial_loss(code_logits: Tensor) -> Tensor:
    """-1/n sum log s(f(z_e)), the non-saturating form of what codes minimise: (n, 1) -> ()."""
    return nn.functional.softplus(-code_logits).mean()


def gradient_penalty(critic: nn.Module, z_prior: Tensor) -> Tensor:
    """Return 1/n sum ||grad f(z_p)||_2^2 of a critic f at draws from the prior: (n, k) -> ().

    Half of it, times a weight, keeps two-player training from oscillating: R1 of Mescheder, Geiger & Nowozin,
    "Which Training Methods for GANs do actually Converge?", ICML 2018, equation (9).
    """
    with torch.enable_grad():
        z_prior = z_prior.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(z_prior).sum(), z_prior, create_graph=True)
    return gradient.square().sum(dim=1).mean()


class WAEModule(AutoencoderModule):
    """A deterministic autoencoder whose codes are drawn towards N(0, I) as a set.

    Parameters
    ----------
    build : NetworkBuilder
    **parameters
        The others are those of :class:`WAETransformer`.

    Attributes
    ----------
    critic : nn.Module or None
        With ``divergence="gan"``.
    total_variance : Tensor of shape (), float64
        Sum of the features' variances: the mean cost of a constant decoder.
    auto_noise_scale : Tensor of shape (), float64
        Standard deviation of the noise on the encoder's input in training, with ``input_noise="auto"``.
    is_empty : Tensor of shape (k,), bool
        Components beyond the rank of the rows, which cannot be like draws from the prior: in training they
        are such draws, so that the decoder does not depend on them, and 0 otherwise.
    """

    map_scale = 5.0
    total_variance: Tensor
    auto_noise_scale: Tensor
    is_empty: Tensor

    def __init__(
        self,
        build: NetworkBuilder,
        *,
        divergence: str,
        divergence_weight: float | str,
        kernel: str,
        kernel_scales: Sequence[float],
        n_projections: int,
        sinkhorn_epsilon: float,
        critic_layer_sizes: Sequence[int],
        critic_learning_rate_init: float | None,
        critic_penalty: float,
        input_noise: float | str,
        reconstruction: str,
    ):
        super().__init__(build, head=reconstruction_head(reconstruction, build.out_activation))
        self.divergence = divergence
        self.divergence_weight = divergence_weight
        self.kernel = kernel
        self.kernel_scales = tuple(float(scale) for scale in kernel_scales)
        self.n_projections = int(n_projections)
        self.sinkhorn_epsilon = float(sinkhorn_epsilon)
        self.critic_penalty = float(critic_penalty)
        self.input_noise = input_noise if isinstance(input_noise, str) else float(input_noise)
        self.register_buffer("total_variance", torch.ones((), dtype=torch.float64))
        self.register_buffer("auto_noise_scale", torch.zeros((), dtype=torch.float64))
        self.register_buffer("is_empty", torch.zeros(build.n_components, dtype=torch.bool))
        self.critic: nn.Module | None = None
        if divergence == "gan":
            self.critic = build.critic("critic", critic_layer_sizes)
            if critic_learning_rate_init is not None:
                self.learning_rates = {"critic": float(critic_learning_rate_init)}

    def initialize(self, data: TrainingRows, seed: int) -> None:
        super().initialize(data, seed)
        self.total_variance.fill_(data.total_variance())
        variances = self._variances(data, seed)
        rank, smallest = len(variances), min(variances, default=0.0)
        most = _NOISE**2 * float(self.total_variance) / self.n_features
        self.auto_noise_scale.fill_(math.sqrt(min(most, _initialization.NOISE_SHARE * smallest)))
        if rank < len(data) - 1:  # the rank of the data, not of a few rows
            self.is_empty[rank:] = True

    def linear_start(
        self, data: TrainingRows, found: _initialization.PrincipalComponents
    ) -> _initialization.LinearStart:
        return _initialization.pca_start(data, found, self.n_components, self.head, "whitened")

    def fill(self, data: TrainingRows, seed: int) -> None:
        """Use as many components as these rows, of a later training, have directions."""
        if self.is_empty.any():
            self.is_empty[: len(self._variances(data, seed))] = False

    def _variances(self, data: TrainingRows, seed: int) -> list[float]:
        """Return the variances along the directions of the code that have spread."""
        found = _initialization.principal_components(data, self.n_components, seed)
        return found.variances[: self.n_components].tolist()

    def encode_inputs(self, h: Tensor) -> Tensor:
        """Return the code of each row, with 0 in empty components: (n, m) -> (n, k)."""
        return super().encode_inputs(h).masked_fill(self.is_empty, 0.0)

    @property
    def capturable(self) -> bool:
        """True but for Sinkhorn's iteration, which looks whether it has converged."""
        return self.divergence != "sinkhorn"

    def weight(self) -> Tensor | float:
        """Return lambda: the parameter, or for "auto" its share of the data's total variance."""
        value = self.divergence_weight
        return self.auto_divergence_weight() if isinstance(value, str) else float(value)

    def auto_divergence_weight(self) -> Tensor:
        """Return what ``divergence_weight="auto"`` means for the rows of the first training."""
        share = 0.2 / self.n_components if self.divergence == "sinkhorn" else 0.2
        # constant rows have no variance: any weight will do
        return share * torch.where(self.total_variance > 0, self.total_variance, 1.0)

    def players(self) -> dict[str, list[nn.Parameter]]:
        if self.critic is None:
            return super().players()
        critic = set(self.critic.parameters())
        others = [p for p in self.parameters() if p.requires_grad and p not in critic]
        return {"autoencoder": others, "critic": list(self.critic.parameters())}

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z = self.encode_x(self.with_noise(x, generator))
        z = torch.where(self.is_empty, normal_like(z, generator), z)
        cost = self.head.cost(x, self.decoder(z))
        z_prior = normal_like(z, generator)
        if self.critic is None:
            divergence = self.divergence_between(gathered(z), gathered(z_prior), generator)
        else:
            divergence = adversarial_loss(self.critic(z))
        weight = self.weight()
        if isinstance(weight, Tensor):
            weight = weight.to(cost.dtype)
        yield "autoencoder", wae_loss(cost, divergence, weight)
        if self.critic is not None:
            loss = critic_loss(self.critic(z_prior), self.critic(z.detach()))
            terms = {"loss": loss}
            if self.critic_penalty > 0.0:
                terms["penalty"] = gradient_penalty(self.critic, z_prior)
                terms["loss"] = loss + 0.5 * self.critic_penalty * terms["penalty"]
            yield "critic", terms

    def with_noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a batch as the encoder sees it in training: (n, d) -> (n, d)."""
        if not self.training or self.input_noise == 0.0:
            return x
        own, unit = self.input_noise, (self.total_variance / x.shape[1]).sqrt()
        scale = self.auto_noise_scale if isinstance(own, str) else own * unit
        return x + scale.to(x.dtype) * normal_like(x, generator)

    def auto_input_noise(self) -> float:
        """Return what ``input_noise="auto"`` means, in its unit, for the rows of the first training."""
        return float(self.auto_noise_scale / (self.total_variance / self.n_features).sqrt())

    def divergence_between(self, z: Tensor, z_prior: Tensor, generator: torch.Generator) -> Tensor:
        """Return D_Z between codes and draws from the prior: (n, k), (n, k) -> ()."""
        if self.divergence == "mmd":
            return _divergences.mmd(z, z_prior, self.kernel, self.kernel_scales)
        distance: Callable
        if self.divergence == "sliced":
            directions = _divergences.random_directions(
                self.n_projections, self.n_components, generator, z.dtype, z.device
            )
            distance = functools.partial(_divergences.sliced_wasserstein, directions=directions)
        else:
            epsilon = self.sinkhorn_epsilon * 2 * self.n_components
            distance = functools.partial(_divergences.sinkhorn_divergence, epsilon=epsilon)
        return _divergences.debiased(distance, z, z_prior)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        shape = n_samples, self.n_components
        return torch.randn(shape, dtype=torch.float32, device=self.device, generator=generator)


# ---------------------------------------------------------------------------
# The estimator
# ---------------------------------------------------------------------------


class WAETransformer(ReconstructionMixin, BaseAutoencoder):
    r"""Wasserstein autoencoder: codes that are, taken together, like draws from a standard normal.

    A deterministic encoder E and decoder D minimise equation (4) of [1]_:

    .. math::

        \frac1N \sum_n \|x_n - D(E(x_n))\|^2 + \lambda \, \mathcal D_Z(q_Z, p_Z),
        \quad p_Z = \mathcal N(0, I),

    where :math:`q_Z` is the distribution of the codes of a batch, compared with as many draws from the prior.
    The four divergences are the maximum mean discrepancy and a critic [1]_, the sliced Wasserstein
    distance [2]_ and the Sinkhorn divergence [3]_. Transport between two small samples costs least if the
    codes are narrower than the prior; from the last two is therefore taken what it costs between two halves
    of the codes, and of the draws [5]_. Components beyond the rank of the training rows (of any one call,
    with ``partial_fit`` and ``warm_start``) are draws from the prior in training, and 0 in
    :meth:`transform`.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code. It may be more than the features, or than the directions in which rows differ.
    divergence : {"mmd", "gan", "sliced", "sinkhorn"}, default="mmd"
        Divergence between codes and prior. With "gan" early stopping watches a loss under a critic that
        changes.
    divergence_weight : float or "auto", default="auto"
        lambda, at least 0 and below 1e30, against squared errors summed over features, in the units of the
        networks. The 10 of [1]_ is 200 here: its code weights summed squared errors of images by 0.05. "auto"
        is a fifth of the data's total variance; for "sinkhorn", which sums over components, divided by
        ``n_components``.
    kernel : {"imq", "rbf"}, default="imq"
        Kernel of "mmd": inverse multiquadratic or Gaussian, summed over ``kernel_scales``.
    kernel_scales : array-like of float, default=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        Widths of the kernels of "mmd", above 1e-30 and below 1e30: 1 is the mean squared distance of two
        draws from the prior.
    n_projections : int, default=50
        Number of random directions of "sliced", which are drawn anew in each step.
    sinkhorn_epsilon : float, default=0.1
        Entropic regularisation of "sinkhorn", above 1e-30 and below 1e30; 1 is the mean squared distance of
        two draws from the prior. Small values are closer to optimal transport, and slower.
    critic_layer_sizes : array-like of int, default=(256, 256)
        Units of the hidden layers of the critic of "gan", with ReLU; the paper's is (512, 512, 512, 512).
    critic_learning_rate_init : float or None, default=None
        Rate of the critic of "gan", above 0, which takes the course of ``learning_rate``; None is
        ``learning_rate_init``. The paper's code has half the autoencoder's.
    critic_penalty : float, default=3.0
        Weight of the squared gradient of the critic of "gan" (R1 [4]_), at least 0 and below 1e30, which
        keeps the two players from oscillating. The paper has none.
    input_noise : float or "auto", default="auto"
        Standard deviation of normal noise added to the encoder's input in training, from 0 to 1e15; 1 is the
        root mean variance of the features. Where noise of variance v meets rows of variance l, samples have a
        share l / (l + v) of their variance. "auto" is 0.3, or less: a twentieth of the variance along the
        last of the ``n_components`` principal components. The code of [1]_ has 0.01 on pixels in [0, 1],
        about 0.04 here.
    reconstruction : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        The cost in the data space. The cross-entropy is for data in [0, 1].
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms unweighted: "reconstruction_loss" and "divergence", with
        "gan" minus the mean log-probability that the critic takes codes for draws from the prior; with
        "gan" "critic_loss", 2 log 2 for a critic that cannot tell, and its "critic_penalty", part of that
        loss; "validation_loss" with ``early_stopping`` (NaN in epochs without). In the units of the
        networks (``scale_``).
    module_ : WAEModule
        The torch module: ``encode``, ``decode``, ``sample_prior`` and ``loss``, in the units of X.
    divergence_weight_ : float
        Resolved ``divergence_weight``, in the units of the networks.
    {shared attributes}

    See Also
    --------
    SWAETransformer : Joint distributions of rows and codes matched, with a learned prior.
    AETransformer : Without the divergence.

    References
    ----------
    .. [1] I. Tolstikhin et al. Wasserstein Auto-Encoders. ICLR 2018. arXiv:1711.01558.
    .. [2] S. Kolouri et al. Sliced-Wasserstein Auto-Encoders. ICLR 2019. arXiv:1804.01947.
    .. [3] G. Patrini et al. Sinkhorn AutoEncoders. UAI 2019. arXiv:1810.01118.
    .. [4] L. Mescheder et al. Which Training Methods for GANs do actually Converge? ICML 2018.
    .. [5] K. Fatras et al. Minibatch optimal transport distances. 2021. arXiv:2101.01792.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import WAETransformer
    >>> X = load_digits().data / 16
    >>> wae = WAETransformer(n_components=8, divergence="sliced", max_iter=5, random_state=0).fit(X)
    >>> wae.transform(X).shape, wae.sample(3, random_state=0).shape
    ((1797, 8), (3, 64))
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        **ReconstructionMixin._parameter_constraints,
        "divergence": [StrOptions({"mmd", "gan", "sliced", "sinkhorn"})],
        "divergence_weight": [Number(Real, 0, 1e30, closed="left"), StrOptions({"auto"})],
        "kernel": [StrOptions({"imq", "rbf"})],
        "kernel_scales": [Numbers(Real, 1e-30, 1e30, closed="neither", shortest=1)],
        "n_projections": [Number(Integral, 1, None, closed="left")],
        "sinkhorn_epsilon": [Number(Real, 1e-30, 1e30, closed="neither")],
        "critic_layer_sizes": [Numbers(Integral, 1, None, closed="left")],
        "critic_learning_rate_init": [Number(Real, 0, None, closed="neither"), None],
        "critic_penalty": [Number(Real, 0, 1e30, closed="left")],
        "input_noise": [Number(Real, 0, 1e15, closed="both"), StrOptions({"auto"})],
    }

    _structural_parameters = (*BaseAutoencoder._structural_parameters, "divergence", "critic_layer_sizes")

    module_: WAEModule

    def __init__(
        self,
        n_components=8,
        *,
        divergence="mmd",
        divergence_weight="auto",
        kernel="imq",
        kernel_scales=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        n_projections=50,
        sinkhorn_epsilon=0.1,
        critic_layer_sizes=(256, 256),
        critic_learning_rate_init=None,
        critic_penalty=3.0,
        input_noise="auto",
        reconstruction="squared_error",
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
        self.divergence = divergence
        self.divergence_weight = divergence_weight
        self.kernel = kernel
        self.kernel_scales = kernel_scales
        self.n_projections = n_projections
        self.sinkhorn_epsilon = sinkhorn_epsilon
        self.critic_layer_sizes = critic_layer_sizes
        self.critic_learning_rate_init = critic_learning_rate_init
        self.critic_penalty = critic_penalty
        self.input_noise = input_noise
        self.reconstruction = reconstruction

    def _see_rows(self, module: Any, rows: TrainingRows, seed: int, resume: bool) -> None:
        super()._see_rows(module, rows, seed, resume)
        if self.divergence == "sliced" and module.device.type == "cpu":
            settings = AutoSettings.resolve(
                len(rows), max_iter=1, batch_size=self.batch_size, learning_rate_init=1.0
            )
            n = math.ceil(len(rows) / rows.source.n_batches(settings.batch_size))
            check_affordable(
                # directions twice; of each row and direction what the gradients need of ranks, measured
                int(self.n_projections) * (2 * module.n_components + 12 * n),
                f"The projections that the 'n_projections' parameter asks for, {self.n_projections!r}, of a "
                f"batch of {n} rows",
                "take fewer, or a smaller batch_size",
            )
        if resume:
            module.fill(rows, seed)

    def _build_module(self, build: NetworkBuilder) -> WAEModule:
        return WAEModule(build, **self._own_parameters())

    @property
    def divergence_weight_(self) -> float:
        """The weight lambda of the divergence, in the units of the networks."""
        return float(self.module_.weight())
