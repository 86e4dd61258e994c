"""Mutual Information Machine (Livne, Swersky & Fleet 2019) on the two-level networks of VampPrior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from skswae._constraints import Number, Scale
from skswae._parameters import shared_parameters
from skswae._processes import rows_of_batch, whole_batch
from skswae.models._latent_variable import BaseLatentVariableModel
from skswae.models._mixins import PseudoInputMixin
from skswae.modules._base import Terms
from skswae.modules._builder import NetworkBuilder, evaluation_mode
from skswae.modules._heads import Bernoulli
from skswae.modules._latent_variable import MixtureOfPosteriorsModule

# ---------------------------------------------------------------------------
# The mathematics
# ---------------------------------------------------------------------------


def encoder_half(
    log_px_z: Tensor, log_pz1_z2: Tensor, log_pz2: Tensor, log_qz_x: Tensor, warmth: float
) -> Tensor:
    """Return the cross-entropy at (x, z) ~ q(z | x) with the model's marginal as q(x), of each row: (n,).

    -1/2 [log p(x|z) + log p(z) + b (log q(z|x) + log q(x))], log p(z) = log p(z1|z2) + b log p(z2), and
    log q(x) := log p(x|z) + log p(z) - log q(z|x). log q(z|x) cancels: what is left is
    -(1 + b)/2 [log p(x|z) + log p(z)].

    Parameters
    ----------
    log_px_z, log_pz1_z2, log_pz2, log_qz_x : Tensor of shape (n,)
    warmth : float in [0, 1]
        b.
    """
    log_pz = log_pz1_z2 + warmth * log_pz2
    log_qx = log_px_z + log_pz - log_qz_x
    return -0.5 * (log_px_z + log_pz + warmth * (log_qz_x + log_qx))


def decoder_half(log_px_z: Tensor, log_pz: Tensor, log_qz_x: Tensor) -> Tensor:
    """Return the cross-entropy at z ~ p(z) and x, the decoder's output, of each draw: (n,).

    -1/2 [log p(x|z) + log p(z) + log q(z|x) + log q(x)] with log q(x) := log p(x|z).

    Parameters
    ----------
    log_px_z, log_pz, log_qz_x : Tensor of shape (n,)
    """
    return -0.5 * (2.0 * log_px_z + log_pz + log_qz_x)


def with_score_function(cost: Tensor, log_prob: Tensor) -> Tensor:
    """Return the cost, with the gradient of its expectation over discrete draws of that log-probability.

    REINFORCE: grad E[c] = E[grad c + c grad log p]. Value: the cost's. (n,), (n,) -> (n,).
    """
    return cost + cost.detach() * (log_prob - log_prob.detach())


# ---------------------------------------------------------------------------
# The module
# ---------------------------------------------------------------------------


class MIMModule(MixtureOfPosteriorsModule):
    """The objective on rows and, with symmetric sampling, on draws from the prior.

    Parameters
    ----------
    build : NetworkBuilder
    sampling, prior_draws_per_row
        As the parameters of :class:`MIMTransformer`.
    **parameters
        As :class:`MixtureOfPosteriorsModule`.
    """

    def __init__(
        self, build: NetworkBuilder, *, sampling: str, prior_draws_per_row: float, **parameters: Any
    ):
        super().__init__(build, **parameters)
        self.sampling = sampling
        self.prior_draws_per_row = float(prior_draws_per_row)

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        b = self.warmth()
        z, log_qz_x = self.draw_posterior(x, generator)
        z2, _ = self.levels(z)
        log_px_z = self.log_likelihood(x, z)
        prior = self.mixture_of_a_step(len(x), generator)  # once: it encodes pseudo-inputs
        log_pz1_z2, log_pz2 = self.lower_prior_log_prob(z), self.upper_prior_log_prob(z2, *prior)
        encoder_loss = encoder_half(log_px_z, log_pz1_z2, log_pz2, log_qz_x, b).mean()
        terms = {
            "loss": encoder_loss,
            "encoder_loss": encoder_loss,
            "reconstruction_loss": -log_px_z.mean(),
            "prior_loss": -(log_pz1_z2 + log_pz2).mean(),
        }
        if self.sampling == "symmetric":
            decoder_loss = torch.zeros_like(encoder_loss)
            if b == 1.0:  # only once the prior has its full weight
                share = self.prior_draws_per_row if self.training else 1.0
                n_draws = math.ceil(share * rows_of_batch(len(x)))
                with whole_batch():  # the draws are no rows that processes could divide
                    decoder_loss = self._decoder_loss(n_draws, generator, *prior)
            terms["loss"] = encoder_loss + decoder_loss
            terms["decoder_loss"] = decoder_loss
        yield "autoencoder", terms

    def _decoder_loss(self, n_samples: int, generator: torch.Generator, *prior: Tensor) -> Tensor:
        # zeros and ones have no gradient; grey levels count as continuous, as in the public code
        binary = isinstance(self.head, Bernoulli)
        with evaluation_mode(self):  # the draws are no rows of the batch
            z, log_pz1_z2 = self.draw_prior(n_samples, generator, *prior)
            log_pz = log_pz1_z2 + self.upper_prior_log_prob(self.levels(z)[0], *prior)
            output = self.raw_output(z)
            x = self.head.mean(output)  # the mean, not a draw
            if binary:
                x = x.detach()
            log_px_z = self.head.log_prob(x, output)
            loss = decoder_half(log_px_z, log_pz, self.posterior_log_prob(x, z))
        if binary:
            loss = with_score_function(loss, log_px_z)
        return loss.mean()


class MIMTransformer(PseudoInputMixin, BaseLatentVariableModel):
    r"""Mutual Information Machine: codes of high mutual information with the rows, under a learned prior.

    Minimises the cross-entropy between a sampling distribution and the average of encoder q(z|x) q(x) and
    decoder p(x|z) p(z), in the logarithm's bound [1]_:

    .. math::

        -\tfrac12 \, \mathbb E_{\mathcal S} \big[ \log p(x | z) p(z) + \log q(z | x) q(x) \big]

    on the two-level networks and the mixture-of-posteriors prior of :class:`VampPriorTransformer`, with the
    model's own marginal as q(x), as in the public code. :meth:`transform` returns the means of both levels.

    S is the distribution of rows and their codes by default, "A-MIM" in the paper; the paper's MIM has
    ``sampling="symmetric"``.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code: its first ``n_components // 2`` columns are the upper level z2, the rest is the
        lower level z1. With 1 there is a single level. It may be more than the features, or than the
        directions in which rows differ.
    sampling : {"encoder", "symmetric"}, default="encoder"
        Samples that the expectation is taken over: rows and their posterior (A-MIM); or these and the prior
        and its decodings in equal parts, which takes half as long again and draws worse samples.
    prior_draws_per_row : float in (0, 1], default=0.25
        Draws from the prior in a training step, for each row of the batch: of ``sampling="symmetric"`` alone,
        without effect otherwise. They estimate the same expectation however many they are; 1 is the public
        code's.
    n_pseudo_inputs : int, default=500
        K, the number of pseudo-inputs; never more than the training rows. They start as training rows. On
        small tables take fewer, such as 20: with as many as rows the prior memorises them. A fitted model may
        hold near copies of training rows. With ``partial_fit`` or ``warm_start`` all different rows seen so
        far count.
    n_pseudo_inputs_per_step : int or {"auto", "all"}, default="auto"
        S, the number of pseudo-inputs that a training step encodes: it takes the mixture of S of them, drawn
        anew, in the prior's place. Its density is right on average; its logarithm is a little too small at
        the codes of rows and, with symmetric sampling, too large at draws. "auto" is as many as the batch has
        rows; "all", or at least K, is the exact mixture. Held-out rows and every method of the fitted model
        meet the whole one.
    pseudo_input_init : {"rows", "blends"}, default="rows"
        Where pseudo-inputs start: at training rows, or each at a blend of three rows that differ and are near
        each other, so that none is a copy of one of them, also where none is moved.
    warmup : int, default=0
        Epochs in which the weight b of log p(z2) and of the encoder's terms rises to 1, by equal steps;
        ``early_stopping`` waits for it, and so do the draws of symmetric sampling. The public code has 100 of
        up to 2,000.
    {likelihood parameters}
    posterior_scale_floor : float, default=0.05
        Smallest standard deviation of q(z2 | x), q(z1 | x, z2) and p(z1 | z2), from 1e-15 to 1e15, in units
        of the code; the largest is exp(4) times that. The objective has no entropy of q: posteriors narrow to
        this floor. About 0.05 is the public code's.
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms: "encoder_loss", over rows, with its parts unweighted:
        "reconstruction_loss", minus log p(x | z), and "prior_loss", minus log p(z); with symmetric
        sampling "decoder_loss", over draws from the prior (0 while the warm-up lasts); "validation_loss" with
        ``early_stopping`` (NaN in epochs without). In the units of the networks (``scale_``); but for
        "validation_loss", by the mixtures of the steps.
    module_ : MIMModule
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
    VampPriorTransformer : The evidence lower bound on the same networks and prior.

    Notes
    -----
    A posterior has no entropy to gain: few or binary features may pull all codes to one place. ``fit`` warns
    of it.

    References
    ----------
    .. [1] M. Livne, K. Swersky, D. Fleet. MIM: Mutual Information Machine. 2019. arXiv:1910.03175.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import MIMTransformer
    >>> X = load_digits().data / 16
    >>> mim = MIMTransformer(n_components=8, n_pseudo_inputs=50, max_iter=5, random_state=0).fit(X)
    >>> mim.transform(X).shape, mim.sample(3, random_state=0).shape
    ((1797, 8), (3, 64))
    """

    _parameter_constraints: dict = {
        **BaseLatentVariableModel._parameter_constraints,
        "sampling": [StrOptions({"symmetric", "encoder"})],
        "prior_draws_per_row": [Number(Real, 0, 1, closed="right")],
        "pseudo_input_init": [StrOptions({"rows", "blends"})],
        "n_pseudo_inputs": [Number(Integral, 1, None, closed="left")],
        "n_pseudo_inputs_per_step": [
            Number(Integral, 1, None, closed="left"),
            StrOptions({"auto", "all"}),
        ],
        "posterior_scale_floor": [Scale()],
    }

    _structural_parameters = (
        *BaseLatentVariableModel._structural_parameters,
        "n_pseudo_inputs",
        "pseudo_input_init",
    )

    module_: MIMModule

    def __init__(
        self,
        n_components=8,
        *,
        sampling="encoder",
        prior_draws_per_row=0.25,
        n_pseudo_inputs=500,
        n_pseudo_inputs_per_step="auto",
        pseudo_input_init="rows",
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
        self.sampling = sampling
        self.prior_draws_per_row = prior_draws_per_row
        self.n_pseudo_inputs = n_pseudo_inputs
        self.n_pseudo_inputs_per_step = n_pseudo_inputs_per_step
        self.pseudo_input_init = pseudo_input_init
        self.warmup = warmup
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.n_bins = n_bins
        self.posterior_scale_floor = posterior_scale_floor

    def _build_module(self, build: NetworkBuilder) -> MIMModule:
        return MIMModule(build, **self._own_parameters())
