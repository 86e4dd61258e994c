"""Variational autoencoders (Kingma & Welling, ICLR 2014) with an isotropic Gaussian prior."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skswae._parameters import shared_parameters
from skswae._random import normal_like
from skswae.data._scaler import TrainingRows
from skswae.models._latent_variable import BaseELBOModel
from skswae.modules._base import Terms
from skswae.modules._builder import NetworkBuilder
from skswae.modules._distributions import free_log_variance, kl_to_standard_normal, sample_gaussian
from skswae.modules._initialization import LinearStart, PrincipalComponents, pca_start
from skswae.modules._latent_variable import LatentVariableModule, negative_elbo


class VAEModule(LatentVariableModule):
    """q(z | x), p(x | z) and p(z) = N(0, I), with the divergence between Gaussians in closed form.

    Parameters
    ----------
    build : NetworkBuilder
    kl_weight : float
        As the parameter of :class:`VAETransformer`.
    **parameters
        As :class:`LatentVariableModule`, without ``n_upper``.
    """

    map_scale = 5.0
    least_ceiling = 2.0  # a component without information has the prior's variance, 1

    def __init__(self, build: NetworkBuilder, *, kl_weight: float, **parameters: Any):
        super().__init__(build, n_upper=build.n_components, **parameters)
        self.kl_weight = float(kl_weight)

    def linear_start(self, data: TrainingRows, found: PrincipalComponents) -> LinearStart:
        start = pca_start(data, found, self.n_components, self.head, "probabilistic")
        assert start.log_variance is not None
        free = free_log_variance(start.log_variance, self.posterior_scale_floor, self.least_ceiling)
        return dataclasses.replace(start, log_variance=free)

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        mean, log_variance = self.posterior(x)
        z = sample_gaussian(mean, log_variance, normal_like(mean, generator))
        kl = kl_to_standard_normal(mean, log_variance)
        terms = negative_elbo(self.log_likelihood(x, z), kl, self.warmth() * self.kl_weight)
        yield "autoencoder", {**terms, "codes": mean}


class VAETransformer(BaseELBOModel):
    r"""Variational autoencoder: a Gaussian posterior for each row, and a standard normal prior.

    Maximises the evidence lower bound (equation 3 of [1]_)

    .. math::

        & \frac1N \sum_n \mathbb E_{q(z | x_n)} \log p(x_n | z) - w \, \mathrm{KL}(q(z | x_n) \,\|\, p(z)), \\
        & p(z) = \mathcal N(0, I),

    with one draw for each row and step, and the divergence in closed form. :meth:`transform` returns the
    posterior's means.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code. It may be more than the features, or than the directions in which rows differ.
    kl_weight : float, default=1.0
        w, at least 0 and below 1e30. 1 is the bound; more makes the beta-VAE [2]_.
    warmup : int, default=0
        Epochs in which that weight rises to its full value by equal steps; ``early_stopping`` waits for them.
    {likelihood parameters}
    posterior_scale_floor : float, default=0.0
        Smallest standard deviation of q(z | x), 0 or from 1e-15 to 1e15, in units of the code; the largest is
        exp(4) times that, and at least exp(1). 0 leaves it free, up to exp(85). A floor makes codes wider
        than the prior, and samples narrower than the data, where the rows lie closer to the decoder's range
        than the floor allows. About 0.05 is the public code's of VampPrior and SWAE.
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and its terms unweighted: "reconstruction_loss", minus log p(x | z),
        and "kl_divergence"; "validation_loss" with ``early_stopping`` (NaN in epochs without). In the
        units of the networks (``scale_``).
    module_ : VAEModule
        The torch module: ``encode``, ``decode``, ``sample_prior`` and ``loss``, in the units of X. Its
        ``posterior`` takes ``x = module_.scaler.standardize(rows)``.
    likelihood_ : {"bernoulli", "gaussian", "discretized_logistic"}
        Resolved ``likelihood``.
    {shared attributes}

    See Also
    --------
    VampPriorTransformer : With a learned prior, and two levels.

    Notes
    -----
    With linear networks and a Gaussian likelihood of one scale this is probabilistic PCA [3]_, whose solution
    is where ``init="pca"`` starts: codes and their noise fill the prior together. With as many components as
    features any scale below that of the data is as likely; the start has a small one, so that decoded
    samples, which are means, are about as wide as the data.

    References
    ----------
    .. [1] D. Kingma, M. Welling. Auto-Encoding Variational Bayes. ICLR 2014. arXiv:1312.6114.
    .. [2] I. Higgins et al. beta-VAE. ICLR 2017.
    .. [3] J. Lucas et al. Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse. NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import VAETransformer
    >>> X = load_digits().data / 16
    >>> vae = VAETransformer(n_components=8, max_iter=5, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(3, random_state=0).shape
    ((1797, 8), (3, 64))
    >>> vae.log_likelihood(X[:5], n_importance_samples=50, random_state=0).shape
    (5,)
    """

    module_: VAEModule

    def __init__(
        self,
        n_components=8,
        *,
        kl_weight=1.0,
        warmup=0,
        likelihood="auto",
        likelihood_scale="shared",
        n_bins=256,
        posterior_scale_floor=0.0,
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
        self.kl_weight = kl_weight
        self.warmup = warmup
        self.likelihood = likelihood
        self.likelihood_scale = likelihood_scale
        self.n_bins = n_bins
        self.posterior_scale_floor = posterior_scale_floor

    def _build_module(self, build: NetworkBuilder) -> VAEModule:
        return VAEModule(build, **self._own_parameters())
