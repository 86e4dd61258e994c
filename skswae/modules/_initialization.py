"""The start from PCA: what the linear path beside each network is set to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skswae._device import as_array
from skswae.modules._front import Front
from skswae.modules._heads import SMALLEST_SCALE, Head

NOISE_SHARE = 0.05
"""Part of the variance along the weakest component that noise may take away from samples."""

PCA_ROWS = 10_000
"""Rows that the directions are found from: enough for the leading ones, at little time and memory."""


@dataclass(frozen=True)
class LinearStart:
    """An affine map from rows to codes, and one from codes to the decoder's raw output.

    Attributes
    ----------
    encoder_weight : Tensor of shape (rank, d)
    encoder_bias : Tensor of shape (rank,)
    decoder_weight : Tensor of shape (d, rank)
    decoder_bias : Tensor of shape (d,)
    log_variance : Tensor of shape (rank,) or None
        Output of a Gaussian encoder beside its means; None is 0.
    """

    encoder_weight: Tensor
    encoder_bias: Tensor
    decoder_weight: Tensor
    decoder_bias: Tensor
    log_variance: Tensor | None = None

    def behind(self, front: Front) -> LinearStart:
        """Return the start whose encoder takes ``front(x)`` in place of x."""
        if not front.reduces:
            return self
        # of a row in the span of the front's directions, x = origin + unit^2 h weight
        return replace(
            self,
            encoder_weight=front.unit.square() * self.encoder_weight @ front.weight.T,
            encoder_bias=self.encoder_bias + self.encoder_weight @ front.origin,
        )

    @property
    def rank(self) -> int:
        """Number of directions in which the rows differ, at most the number of components."""
        return len(self.encoder_bias)


def pca_start(rows: Tensor, n_components: int, head: Head, seed: int, kind: str = "scaled") -> LinearStart:
    """Return PCA's code in the unit that suits the prior, and the least-squares map back.

    The map back leads to the raw output whose mean is the row (:meth:`Head.inverse`).

    Parameters
    ----------
    rows : Tensor of shape (n, d)
    n_components : int
    head : Head
    seed : int
        For a randomised PCA.
    kind : {"scaled", "whitened", "probabilistic"}, default="scaled"
        "scaled", for a prior that is learned: PCA's code times the number that makes its mean variance 1.
        One number for all components keeps the distances between codes those of PCA.
        "whitened": each component has the variance 1 of a standard normal prior.
        "probabilistic": together with the noise of a posterior it has, which is the optimum of a linear model
        with a Gaussian likelihood [1]_. The posterior's variance is s_i^2 = sigma^2 / lambda_i, that of its
        means 1 - s_i^2, with lambda_i the variance of the rows along direction i, and sigma^2 the mean
        variance along the directions left out. With none left out any sigma^2 below the smallest lambda_i
        is as likely: that is a twentieth of it, for a tight fit to few rows holds for them alone.

    References
    ----------
    .. [1] M. Tipping, C. Bishop. Probabilistic Principal Component Analysis. JRSS B, 1999.
    """
    from sklearn.decomposition import PCA  # here: importing it takes as long as the rest of the package

    x = as_array(rows).astype(np.float64)  # (n, d)
    mean = x.mean(axis=0)
    components, noise = np.zeros((0, x.shape[1])), np.zeros(0)
    if np.ptp(x, axis=0).max() > 0:
        pca = PCA(min(n_components, *x.shape), random_state=seed % 2**32).fit(x)
        # directions without spread are rounding
        rank = int(np.sum(pca.singular_values_ > 1e-6 * pca.singular_values_[0]))
        variances = pca.explained_variance_[:rank]
        if kind == "probabilistic":
            n_left = x.shape[1] - pca.n_components_
            left = x.var(axis=0, ddof=1).sum() - pca.explained_variance_.sum()
            sigma2 = max(left / max(1, n_left), SMALLEST_SCALE**2 * x.var(axis=0).mean())
            if pca.n_components_ >= min(len(x) - 1, x.shape[1]):  # no direction left out
                sigma2 = NOISE_SHARE * variances[-1]
            sigma2 = max(sigma2, head.least_variance)
            # not all noise: a code without any information would get no gradient
            noise = np.minimum(sigma2 / variances, 0.99)
        else:
            noise = np.zeros(rank)
        units = np.mean(variances) if kind == "scaled" else variances / (1.0 - noise)
        components = pca.components_[:rank] / np.sqrt(np.broadcast_to(units, rank))[:, None]
    z = (x - mean) @ components.T  # (n, rank)
    target = as_array(head.inverse(torch.from_numpy(x)))  # (n, d)
    decoder_bias = target.mean(axis=0)
    # the codes are uncorrelated: one regression a component, on codes with their noise
    decoder = (target - decoder_bias).T @ z / (np.sum(z**2, axis=0) + len(z) * noise)  # (d, rank)
    arrays = [components, -components @ mean, decoder, decoder_bias]
    if kind == "probabilistic":
        arrays.append(np.log(noise))
    return LinearStart(*(torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for a in arrays))
