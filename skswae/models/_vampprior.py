"""VAE with a VampPrior (Tomczak & Welling, AISTATS 2018): two levels, a mixture of posteriors as prior."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from skswae._constraints import Number
from skswae._parameters import shared_parameters
from skswae.models._latent_variable import BaseELBOModel
from skswae.models._mixins import PseudoInputMixin
from skswae.modules._base import Terms
from skswae.modules._builder import NetworkBuilder
from skswae.modules._latent_variable import MixtureOfPosteriorsModule, negative_elbo


class VampPriorModule(MixtureOfPosteriorsModule):
    """Equations (8) to (12): the bound of the two-level model, with one draw for each row.

    Parameters
    ----------
    build : NetworkBuilder
    kl_weight : float
        As the parameter of :class:`VampPriorTransformer`.
    **parameters
        As :class:`MixtureOfPosteriorsModule`.
    """

    def __init__(self, build: NetworkBuilder, *, kl_weight: float, **parameters: Any):
        super().__init__(build, **parameters)
        self.kl_weight = float(kl_weight)

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z, log_q = self.draw_posterior(x, generator)
        kl = log_q - self.prior_log_prob(z, *self.mixture_of_a_step(len(x), generator))
        yield "autoencoder", negative_elbo(self.log_likelihood(x, z), kl, self.warmth() * self.kl_weight)


class VampPriorTransformer(PseudoInputMixin, BaseELBOModel):
    r"""Two-level variational autoencoder whose prior is a mixture of its own posteriors.

    The model of [1]_ with L = 2:

    .. math::

        & p(x | z_1, z_2) \, p(z_1 | z_2) \, p(z_2), \quad q(z_1 | x, z_2) \, q(z_2 | x), \\
        & p(z_2) = \frac1K \sum_k q(z_2 | u_k),

    all Gaussian but the likelihood, with learned pseudo-inputs :math:`u_k`. Maximises the evidence lower
    bound. :meth:`transform` returns the means of both levels.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code: its first ``n_components // 2`` columns are the upper level z2, the rest is the
        lower level z1. With 1 there is a single level. It may be more than the features, or than the
        directions in which rows differ.
    n_pseudo_inputs : int, default=500
        K, the number of pseudo-inputs; never more than the training rows. They start as training rows. On
        small tables take fewer, such as 20: with as many as rows the prior memorises them. A fitted model may
        hold near copies of training rows. With ``partial_fit`` or ``warm_start`` all different rows seen so
        far count.
    n_pseudo_inputs_per_step : int or {"auto", "all"}, default="auto"
        S, the number of pseudo-inputs that a training step encodes: it takes the mixture of S of them, drawn
        anew, in the prior's place. Its density is p(z2) on average, and so its logarithm at most log p(z2):
        the bound stays one, a little lower. "auto" is as many as the batch has rows; "all", or at least K, is
        the paper's exact mixture. Held-out rows and every method of the fitted model meet the whole one.
    pseudo_input_init : {"rows", "blends"}, default="rows"
        Where pseudo-inputs start: at training rows, or each at a blend of three rows that differ and are near
        each other, so that none is a copy of one of them, also where none is moved.
    kl_weight : float, default=1.0
        Weight of log q(z | x) - log p(z), at least 0 and below 1e30; 1 is the bound.
    warmup : int, default=0
        Epochs in which that weight rises to its full value by equal steps; ``early_stopping`` waits for them.
        The public code has 100 of up to 2,000.
    {likelihood parameters}
    posterior_scale_floor : float, default=0.05
        Smallest standard deviation of q(z2 | x), q(z1 | x, z2) and p(z1 | z2), 0 or from 1e-15 to 1e15, in
        units of the code; the largest is exp(4) times that. About 0.05 is the public code's; 0 leaves it
        free, up to exp(85).
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms unweighted: "reconstruction_loss", minus log p(x | z),
        and "kl_divergence", log q(z | x) - log p(z); "validation_loss" with ``early_stopping`` (NaN in epochs
        without). In the units of the networks (``scale_``); but for "validation_loss", by the mixtures of the
        steps.
    module_ : VampPriorModule
        The torch module: ``encode``, ``decode``, ``sample_prior`` and ``loss``, in the units of X. Its
        ``draw_posterior`` takes ``x = module_.scaler.standardize(rows)``.
    pseudo_inputs_ : ndarray of shape (n_pseudo_inputs_, n_features)
        In the units of X.
    n_pseudo_inputs_ : int
        K.
    likelihood_ : {"bernoulli", "gaussian", "discretized_logistic"}
        Resolved ``likelihood``.
    {shared attributes}

    See Also
    --------
    VAETransformer : With a standard normal prior.
    MIMTransformer : Another objective on the same networks and prior.
    SWAETransformer : A learned prior over the codes of a deterministic encoder.

    Notes
    -----
    With :class:`~skswae.networks.GatedMLP` and :class:`~skswae.networks.GatedConvNet` the networks are the
    paper's two-level ones (HVAE and convHVAE); any other network's parts are composed, see
    :mod:`skswae.networks`.

    References
    ----------
    .. [1] J. Tomczak, M. Welling. VAE with a VampPrior. AISTATS 2018. arXiv:1705.07120.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import VampPriorTransformer
    >>> X = load_digits().data / 16
    >>> vamp = VampPriorTransformer(n_components=8, n_pseudo_inputs=50, max_iter=5, random_state=0).fit(X)
    >>> vamp.transform(X).shape, vamp.pseudo_inputs_.shape, vamp.sample(3, random_state=0).shape
    ((1797, 8), (50, 64), (3, 64))
    """

    _parameter_constraints: dict = {
        **BaseELBOModel._parameter_constraints,
        "pseudo_input_init": [StrOptions({"rows", "blends"})],
        "n_pseudo_inputs": [Number(Integral, 1, None, closed="left")],
        "n_pseudo_inputs_per_step": [
            Number(Integral, 1, None, closed="left"),
            StrOptions({"auto", "all"}),
        ],
    }

    _structural_parameters = (*BaseELBOModel._structural_parameters, "n_pseudo_inputs", "pseudo_input_init")

    module_: VampPriorModule

    def __init__(
        self,
        n_components=8,
        *,
        n_pseudo_inputs=500,
        n_pseudo_inputs_per_step="auto",
        pseudo_input_init="rows",
        kl_weight=1.0,
        warmup=0,
        likelihood="auto",
        likelihood_scale="shared",
        n_bins=256,
        posterior_scale_floor=0.05,
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
        self.n_pseudo_inputs = n_pseudo_inputs
        self.n_pseudo_inputs_per_step = n_pseudo_inputs_per_step
        self.pseudo_input_init = pseudo_input_init
        self.kl_weight = kl_weight
        self.warmup = warmup
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.n_bins = n_bins
        self.posterior_scale_floor = posterior_scale_floor

    def _build_module(self, build: NetworkBuilder) -> VampPriorModule:
        return VampPriorModule(build, **self._own_parameters())
