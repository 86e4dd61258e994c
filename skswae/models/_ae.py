"""A plain autoencoder: the baseline of every generative one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from skswae._estimator import BaseAutoencoder
from skswae._parameters import shared_parameters
from skswae.models._mixins import ReconstructionMixin
from skswae.modules._base import AutoencoderModule, Terms
from skswae.modules._builder import NetworkBuilder
from skswae.modules._heads import reconstruction_head


class AEModule(AutoencoderModule):
    """Encoder and decoder that minimise the cost of the reconstruction alone.

    Parameters
    ----------
    build : NetworkBuilder
    reconstruction : {"squared_error", "binary_cross_entropy"}
    """

    def __init__(self, build: NetworkBuilder, *, reconstruction: str):
        super().__init__(build, head=reconstruction_head(reconstruction, build.out_activation))

    @property
    def capturable(self) -> bool:
        return True

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        z = self.encode_x(x)
        cost = self.head.cost(x, self.decoder(z)).mean()
        yield "autoencoder", {"loss": cost, "reconstruction_loss": cost, "codes": z}

    @torch.no_grad()
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw z from the normal distribution with mean and covariance of the training codes."""
        codes = self.codes.rows.double()
        mean = codes.mean(dim=0)
        # a square root of the covariance, also of one that is not of full rank
        _, spread, axes = torch.linalg.svd((codes - mean) / len(codes) ** 0.5, full_matrices=False)
        shape = n_samples, len(spread)
        noise = torch.randn(shape, dtype=torch.float64, device=codes.device, generator=generator)
        return (mean + (noise * spread) @ axes).to(self.codes.rows.dtype)


class AETransformer(ReconstructionMixin, BaseAutoencoder):
    """A plain autoencoder: what every generative one must beat.

    A deterministic encoder and decoder minimise the reconstruction error. Nothing shapes the code:
    :meth:`sample` draws it from a Gaussian fitted to the training codes, or with ``prior="gmm"`` from a
    mixture of them. Without this row in a comparison nobody can tell what a learned prior brings.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code. It may be more than the features, or than the directions in which rows differ.
    reconstruction : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        The cost in the data space. The cross-entropy is for data in [0, 1].
    {shared parameters}

    Attributes
    ----------
    history_ : dict of str to ndarray of shape (n_iter_,)
        Means over each epoch of "loss" and "reconstruction_loss", which are the same here; "validation_loss"
        with ``early_stopping`` (NaN in epochs without). In the units of the networks (``scale_``).
    module_ : AEModule
        The torch module: ``encode``, ``decode``, ``sample_prior`` and ``loss``, in the units of X.
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
        self.reconstruction = reconstruction

    def _build_module(self, build: NetworkBuilder) -> AEModule:
        return AEModule(build, **self._own_parameters())
