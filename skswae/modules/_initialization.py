"""The start from PCA: what the linear path beside each network is set to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skswae._device import as_array
from skswae.modules._heads import Head

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
    """

    encoder_weight: Tensor
    encoder_bias: Tensor
    decoder_weight: Tensor
    decoder_bias: Tensor

    @property
    def rank(self) -> int:
        """Number of directions in which the rows differ, at most the number of components."""
        return len(self.encoder_bias)


def pca_start(rows: Tensor, n_components: int, head: Head, seed: int) -> LinearStart:
    """Return PCA's code times the number that makes its mean variance 1, and the least-squares map back.

    One number for all components keeps the distances between codes those of PCA. The map back leads to the
    raw output whose mean is the row (:meth:`Head.inverse`). ``rows`` is of shape (n, d); ``seed`` is for a
    randomised PCA.
    """
    from sklearn.decomposition import PCA  # here: importing it takes as long as the rest of the package

    x = as_array(rows).astype(np.float64)  # (n, d)
    mean = x.mean(axis=0)
    components = np.zeros((0, x.shape[1]))
    if np.ptp(x, axis=0).max() > 0:
        pca = PCA(min(n_components, *x.shape), random_state=seed % 2**32).fit(x)
        # directions without spread are rounding
        rank = int(np.sum(pca.singular_values_ > 1e-6 * pca.singular_values_[0]))
        components = pca.components_[:rank] / np.sqrt(np.mean(pca.explained_variance_[:rank]))
    z = (x - mean) @ components.T  # (n, rank)
    target = as_array(head.inverse(torch.from_numpy(x)))  # (n, d)
    decoder_bias = target.mean(axis=0)
    # the codes are uncorrelated: one regression a component
    decoder = (target - decoder_bias).T @ z / np.sum(z**2, axis=0)  # (d, rank)
    return LinearStart(
        *(
            torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))
            for a in (components, -components @ mean, decoder, decoder_bias)
        )
    )
