"""The modules of latent-variable models, of which VAE, VampPrior and MIM are kinds.

A model is p(x, z) = p(x | z) p(z) with an approximate posterior q(z | x), on one level z, or on two,

    p(x, z1, z2) = p(x | z1, z2) p(z1 | z2) p(z2),    q(z1, z2 | x) = q(z1 | x, z2) q(z2 | x),

with Gaussian q and p(z1 | z2). The code of a row is (z2, z1), the means of its posterior: first the upper
level, then the lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from skswae._processes import rows_of_batch
from skswae._random import make_generator, named_seed, normal_like
from skswae.data._scaler import TrainingRows
from skswae.data._source import chunk_rows
from skswae.modules import _distributions
from skswae.modules._base import AutoencoderModule, Terms
from skswae.modules._builder import NetworkBuilder, evaluation_mode
from skswae.modules._heads import Likelihood, likelihood_head
from skswae.modules._pseudo_inputs import PseudoInputs

_NUMBERS = 2**22  # a bound on the larger tensors of the importance-sampled likelihood


class LatentVariableModule(AutoencoderModule):
    """Posterior, prior and likelihood; a subclass writes its objective and the prior of the upper level.

    Parameters
    ----------
    build : NetworkBuilder
    n_upper : int
        Components of the upper level; all of them make a model of one level.
    likelihood : {"bernoulli", "gaussian", "discretized_logistic"}
        p(x | z), which is the module's head.
    likelihood_scale, n_bins, warmup
        As the parameters of :class:`VAETransformer`.
    posterior_scale_floor : float
        Smallest standard deviation of q(z | x) and p(z1 | z2); 0 leaves it free.
    """

    head: Likelihood
    # lowest upper end of the log-variances' range: -inf where the prior, and with it the unit, is learned
    least_ceiling = -math.inf

    def __init__(
        self,
        build: NetworkBuilder,
        *,
        n_upper: int,
        likelihood: str,
        likelihood_scale: str,
        n_bins: int,
        posterior_scale_floor: float,
        warmup: int,
    ):
        two_levels = n_upper < build.n_components
        super().__init__(
            build,
            head=likelihood_head(
                likelihood,
                n_features=build.n_features,
                out_activation=build.out_activation,
                likelihood_scale=likelihood_scale,
                n_bins=n_bins,
            ),
            encoder=build.gaussian_encoder("encoder", n_upper),
            decoder=build.joint_decoder("decoder", n_upper) if two_levels else None,
        )
        self.n_upper = n_upper
        self.two_levels = two_levels
        self.posterior_scale_floor = float(posterior_scale_floor)
        self.warmup = warmup
        if two_levels:
            self.lower_encoder = build.joint_encoder("lower_encoder", n_upper)
            self.lower_prior = build.conditional_prior("lower_prior", n_upper)

    @torch.no_grad()
    def initialize(self, data: TrainingRows, seed: int) -> None:
        super().initialize(data, seed)
        own = named_seed(seed, "likelihood")
        drawn, generator = data.subset(1000, own), make_generator(own)
        n_rows, mean = chunk_rows(data.n_features, 2**20), drawn.mean()
        errors, squares = torch.zeros_like(mean), torch.zeros_like(mean)
        self.eval()
        for x in drawn.batches(n_rows):
            # the best scale for drawn codes, not for the means alone, which may leave no error at all
            z, _ = self.draw_posterior(x, generator)
            errors += (x - self.head.compared(x, self.decode_x(z))).square().sum(dim=0)
            squares += (x - mean).square().sum(dim=0)
        self.train()
        self.head.initialize(errors / len(drawn), squares / len(drawn))

    # -- distributions -----------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z2 | x), or of q(z | x) with one level: (n, n_upper) each."""
        return self.posterior_of_inputs(self.front(x))

    def posterior_of_inputs(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`posterior` of what the encoder sees of rows: (n, m) -> (n, n_upper) each."""
        return self._gaussian(self.encoder(h))

    def lower_posterior_of_inputs(self, h: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z1 | x, z2), given ``front(x)``: (n, n_lower) each."""
        return self._gaussian(self.lower_encoder(h, z2))

    def draw_posterior(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw z ~ q(z | x), differentiable; return it and log q(z | x): (n, k), (n,)."""
        h = self.front(x)
        return self._draw_posterior(h, self.posterior_of_inputs(h), generator)

    def _draw_posterior(
        self, h: Tensor, upper: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        mean, log_variance = upper
        z = _distributions.sample_gaussian(mean, log_variance, normal_like(mean, generator))
        log_q = _distributions.gaussian_log_prob(z, mean, log_variance)
        if self.two_levels:
            mean, log_variance = self.lower_posterior_of_inputs(h, z)
            z1 = _distributions.sample_gaussian(mean, log_variance, normal_like(mean, generator))
            log_q = log_q + _distributions.gaussian_log_prob(z1, mean, log_variance)
            z = torch.cat([z, z1], dim=1)
        return z, log_q

    def posterior_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log q(z | x) at given codes: (n, d), (n, k) -> (n,)."""
        h = self.front(x)
        z2, z1 = self.levels(z)
        log_q = _distributions.gaussian_log_prob(z2, *self.posterior_of_inputs(h))
        if self.two_levels:
            log_q = log_q + _distributions.gaussian_log_prob(z1, *self.lower_posterior_of_inputs(h, z2))
        return log_q

    def upper_prior_parameters(self) -> tuple[Tensor, ...]:
        """Return what :meth:`upper_prior_log_prob` can be given, to compute it once for many codes."""
        return ()

    def upper_prior_log_prob(self, z2: Tensor, *parameters: Tensor) -> Tensor:
        """Return log p(z2), given :meth:`upper_prior_parameters` or nothing: (n, n_upper) -> (n,)."""
        return _distributions.standard_normal_log_prob(z2)

    def lower_prior_log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z1 | z2), 0 with one level: (n, k) -> (n,)."""
        z2, z1 = self.levels(z)
        if not self.two_levels:
            return z2.new_zeros(len(z2))
        return _distributions.gaussian_log_prob(z1, *self._gaussian(self.lower_prior(z2)))

    def prior_log_prob(self, z: Tensor, *parameters: Tensor) -> Tensor:
        """Return log p(z), as :meth:`upper_prior_log_prob`: (n, k) -> (n,)."""
        return self.upper_prior_log_prob(self.levels(z)[0], *parameters) + self.lower_prior_log_prob(z)

    def draw_upper_prior(self, n_samples: int, generator: torch.Generator, *parameters: Tensor) -> Tensor:
        """Draw z2 ~ p(z2), differentiable in what the prior has learned: (n_samples, n_upper)."""
        shape = n_samples, self.n_upper
        return torch.randn(shape, dtype=torch.float32, device=self.device, generator=generator)

    def draw_prior(
        self, n_samples: int, generator: torch.Generator, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw z ~ p(z), differentiable; return it and log p(z1 | z2): (n_samples, k), (n_samples,)."""
        return self._with_lower_level(self.draw_upper_prior(n_samples, generator, *parameters), generator)

    def _with_lower_level(self, z2: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if not self.two_levels:
            return z2, self.lower_prior_log_prob(z2)
        mean, log_variance = self._gaussian(self.lower_prior(z2))
        z1 = _distributions.sample_gaussian(mean, log_variance, normal_like(mean, generator))
        return torch.cat([z2, z1], dim=1), _distributions.gaussian_log_prob(z1, mean, log_variance)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z): (n, d), (n, k) -> (n,)."""
        return self.head.log_prob(x, self.raw_output(z))

    # -- what AutoencoderModule asks for -------------------------------------

    def encode_inputs(self, h: Tensor) -> Tensor:
        """Return the posterior's means, of the lower level at the mean of the upper: (n, m) -> (n, k)."""
        z, _ = self.posterior_of_inputs(h)
        if self.two_levels:
            z1, _ = self.lower_posterior_of_inputs(h, z)
            z = torch.cat([z, z1], dim=1)
        return z

    def raw_output(self, z: Tensor) -> Tensor:
        if not self.two_levels:
            return self.decoder(z)
        z2, z1 = self.levels(z)
        return self.decoder(z1, z2)

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        z, _ = self.draw_prior(n_samples, generator)
        return z

    @property
    def capturable(self) -> bool:
        return True

    # -- helpers -------------------------------------------------------------

    def warmth(self) -> float:
        """Return the share of its weight that the prior has: rising to 1 in training, 1 otherwise."""
        return (self.epoch + 1) / (self.warmup + 1) if self.warms_up else 1.0

    def levels(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Divide a code into (z2, z1); z1 has no columns with one level."""
        return z[:, : self.n_upper], z[:, self.n_upper :]

    def _gaussian(self, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, free = h.chunk(2, dim=1)
        return mean, _distributions.bounded_log_variance(free, self.posterior_scale_floor, self.least_ceiling)

    def importance_log_likelihood(self, x: Tensor, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return log 1/S sum_s p(x, z_s) / q(z_s | x) with z_s ~ q(z | x), of each row: (n, d) -> (n,).

        It never falls in expectation as S grows, from the ELBO at S = 1 to log p(x).

        References
        ----------
        Y. Burda, R. Grosse, R. Salakhutdinov. Importance Weighted Autoencoders. ICLR 2016.
        """
        found = x.new_full((len(x),), -torch.inf)
        h, prior = self.front(x), self.upper_prior_parameters()
        upper = self.posterior_of_inputs(h)
        # numbers a draw: of the decoded row, and of the differences from a mixture's means
        width = max([x.shape[1], *(parameter.numel() for parameter in prior)])
        at_once = max(1, _NUMBERS // (width * len(x)))
        for start in range(0, n_samples, at_once):
            size = min(at_once, n_samples - start)
            repeated, mean, log_variance = (
                part.repeat_interleave(size, dim=0) for part in (x, *upper)
            )  # (n size, ...) each
            inputs = repeated if h is x else h.repeat_interleave(size, dim=0)
            z, log_q = self._draw_posterior(inputs, (mean, log_variance), generator)
            log_weight = self.log_likelihood(repeated, z) + self.prior_log_prob(z, *prior) - log_q
            found = torch.logaddexp(found, log_weight.reshape(len(x), size).logsumexp(dim=1))
        return found - math.log(n_samples)


class MixtureOfPosteriorsModule(LatentVariableModule):
    """p(z2) = 1/K sum_k q(z2 | u_k) over learned pseudo-inputs u_k (Tomczak & Welling 2018, equation 9).

    Parameters
    ----------
    build : NetworkBuilder
    n_pseudo_inputs : int
        K; they start as that many training rows.
    n_pseudo_inputs_per_step, pseudo_input_init
        As the parameters of :class:`VampPriorTransformer`.
    **parameters
        As :class:`LatentVariableModule`, without ``n_upper``.

    Attributes
    ----------
    pseudo_inputs : PseudoInputs
    """

    def __init__(
        self,
        build: NetworkBuilder,
        *,
        n_pseudo_inputs: int,
        n_pseudo_inputs_per_step: int | str,
        pseudo_input_init: str = "rows",
        **parameters: Any,
    ):
        super().__init__(build, n_upper=max(1, build.n_components // 2), **parameters)
        self.n_pseudo_inputs_per_step = n_pseudo_inputs_per_step
        self.pseudo_inputs = PseudoInputs(n_pseudo_inputs, build.n_inputs, pseudo_input_init)

    @torch.no_grad()
    def initialize(self, data: TrainingRows, seed: int) -> None:
        super().initialize(data, seed)
        self.pseudo_inputs.start(data, self.front, seed)

    def add_pseudo_inputs(self, rows: Tensor) -> None:
        """Take more pseudo-inputs, which start as these rows: (m, d)."""
        self.pseudo_inputs.add(self.front(rows.to(self.device)))

    def upper_prior_parameters(self) -> tuple[Tensor, ...]:
        return self._mixture_of(self.pseudo_inputs.rows)

    def mixture_of_a_step(self, n_rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the parameters that a step on that many rows gives to :meth:`upper_prior_log_prob`.

        In training these are of 1/S sum_s q(z2 | u_k(s)), over S different pseudo-inputs drawn anew; with
        S = K it is p(z2). Its expectation is p(z2), so that of its logarithm is at most log p(z2).
        """
        K, number = len(self.pseudo_inputs.rows), self.n_pseudo_inputs_per_step
        n_terms = {"auto": rows_of_batch(n_rows), "all": K}[number] if isinstance(number, str) else number
        if not self.training or n_terms >= K:
            return self.upper_prior_parameters()
        order = torch.rand(K, dtype=torch.float32, device=self.device, generator=generator).argsort()
        return self._mixture_of(self.pseudo_inputs.select(order[:n_terms]))

    def _mixture_of(self, u: Tensor) -> tuple[Tensor, ...]:
        with evaluation_mode(self.encoder):
            return self.posterior_of_inputs(u)

    def upper_prior_log_prob(self, z2: Tensor, *parameters: Tensor) -> Tensor:
        return _distributions.mixture_log_prob(z2, *(parameters or self.upper_prior_parameters()))

    def draw_upper_prior(self, n_samples: int, generator: torch.Generator, *parameters: Tensor) -> Tensor:
        mean, log_variance = parameters or self.upper_prior_parameters()
        chosen = torch.randint(len(mean), (n_samples,), device=mean.device, generator=generator)
        # of an index in brackets several threads sum the gradients in any order
        mean, log_variance = (nn.functional.embedding(chosen, a) for a in (mean, log_variance))
        return _distributions.sample_gaussian(mean, log_variance, normal_like(mean, generator))

    def prior_components(self, **sampling: Any) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.upper_prior_parameters()
        return mean, log_variance, mean.new_full((len(mean),), 1.0 / len(mean))

    def sample_components(
        self, chosen: Tensor, generator: torch.Generator, mean: Tensor, log_variance: Tensor
    ) -> Tensor:
        """Draw z2 ~ q(z2 | u_k), and z1 ~ p(z1 | z2), for each k chosen: (n,) -> (n, k)."""
        z2 = super().sample_components(chosen, generator, mean, log_variance)
        return self._with_lower_level(z2, generator)[0]

    def before_training(self, batches: Iterable[Tensor], accumulate: bool) -> None:
        self.pseudo_inputs.widen(map(self.front, batches))

    def after_step(self) -> None:
        self.pseudo_inputs.project()


def negative_elbo(log_likelihood: Tensor, kl: Tensor, kl_weight: float) -> Terms:
    """Return minus the evidence lower bound on a batch: 1/N sum_n -log p(x_n | z_n) + w KL_n.

    Parameters
    ----------
    log_likelihood : Tensor of shape (n,)
        log p(x_n | z_n) with z_n ~ q(z | x_n).
    kl : Tensor of shape (n,)
        KL(q(z | x_n) || p(z)), or its estimate log q(z_n | x_n) - log p(z_n).
    kl_weight : float of at least 0
        1 is the bound; others make a beta-VAE.

    Returns
    -------
    terms : dict of 0-d tensors
        "loss", and its terms unweighted: "reconstruction_loss" and "kl_divergence".
    """
    reconstruction_loss, divergence = -log_likelihood.mean(), kl.mean()
    return {
        "loss": reconstruction_loss + kl_weight * divergence,
        "reconstruction_loss": reconstruction_loss,
        "kl_divergence": divergence,
    }
