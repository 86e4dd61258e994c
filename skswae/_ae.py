"""A plain autoencoder: the baseline of every generative one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skswae import _likelihoods
from skswae._base import BaseAutoencoder
from skswae._mixins import ReconstructionMixin
from skswae._module import AutoencoderModule, Parts, Terms


class AEModule(AutoencoderModule):
    """Encoder and decoder that minimise the cost of the reconstruction alone.

    Parameters
    ----------
    parts : Parts

    Attributes
    ----------
    reconstruction : {"squared_error", "binary_cross_entropy"}
    """

    reconstruction = "squared_error"

    @property
    def capturable(self) -> bool:
        return True

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        logits = self.decoder(self.encode(x))
        cost = _likelihoods.reconstruction_cost(x, logits, self.reconstruction, self.out_activation)
        yield "autoencoder", {"loss": cost.mean(), "reconstruction_loss": cost.mean()}

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """z from the normal distribution with the mean and the covariance of the training codes."""
        codes = self.codes.double()
        mean = codes.mean(dim=0)
        # a square root of the covariance, also of one that is not of full rank
        _, spread, axes = torch.linalg.svd((codes - mean) / len(codes) ** 0.5, full_matrices=False)
        noise = torch.randn(
            (n_samples, len(spread)), dtype=torch.float64, device=codes.device, generator=generator
        )
        return (mean + (noise * spread) @ axes).to(self.codes.dtype)


class AETransformer(ReconstructionMixin, BaseAutoencoder):
    """A plain autoencoder: what every generative one must beat.

    A deterministic encoder and decoder minimise the reconstruction error. Nothing shapes the code:
    :meth:`sample` draws it from a Gaussian fitted to the training codes, or with ``prior="gmm"`` from a
    mixture of them. Without this row in a comparison nobody can tell what a learned prior brings.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code.
    reconstruction : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        The cost in the data space. The cross-entropy is for data in [0, 1].
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and "reconstruction_loss", which are the same here; "validation_loss"
        with ``early_stopping`` (NaN in epochs without). In the units of the networks (``scale_``).
    module_ : AEModule
        The torch module: ``encode``, ``decode``, ``sample_prior``, ``losses``.
    {shared attributes}

    See Also
    --------
    SWAETransformer : The same with a learned prior.
    sklearn.decomposition.PCA : The best linear autoencoder; what this model starts from.

    References
    ----------
    .. [1] G. Hinton, R. Salakhutdinov. Reducing the Dimensionality of Data with Neural Networks.
       Science 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> X = load_digits().data / 16
    >>> ae = AETransformer(n_components=8, max_iter=5, random_state=0).fit(X)
    >>> Z = ae.transform(X)
    >>> Z.shape, ae.sample(3, prior="gmm", random_state=0).shape
    ((1797, 8), (3, 64))
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        **ReconstructionMixin._parameter_constraints,
    }

    module_: AEModule

    def __init__(
        self,
        n_components=8,
        *,
        reconstruction="squared_error",
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
        self.reconstruction = reconstruction

    def _build_module(self, parts: Parts) -> AEModule:
        return AEModule(parts)

    def _configure(self, module: Any) -> None:
        module.reconstruction = self.reconstruction
