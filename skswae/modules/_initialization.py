"""Principal components of training rows, and the start from them of the linear path beside each network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.linalg.blas import dgemm, dsyrk
from torch import Tensor

from skswae._device import as_array, limited_threads
from skswae._random import named_seed
from skswae.data._scaler import TrainingRows, mean_row
from skswae.modules._heads import SMALLEST_SCALE, Head

NOISE_SHARE = 0.05
"""Part of the variance along the weakest component that noise may take away from samples."""

PCA_ROWS = 10_000
"""Rows that the directions are found from: enough for the leading ones, at little time and memory."""

_BLOCK_NUMBERS = 2**19  # of a block of rows: long enough for products at speed, and 4 MB
_COVARIANCE_FEATURES = 1000  # up to here the covariance matrix takes at most 8 MB
_OVERSAMPLING, _PASSES, _PARTIAL_PASSES = 10, 4, 6


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading principal components of training rows, in the module's units and float64.

    Attributes
    ----------
    mean : Tensor of shape (d,)
        Mean row.
    directions : Tensor of shape (r, d)
        Orthonormal rows, those with the most variance first. The number largest in size of each is positive,
        as in scikit-learn.
    variances : Tensor of shape (r,)
        Variance of the rows along each direction, with n - 1 as divisor.
    feature_variances : Tensor of shape (d,)
        Variance of each feature.
    n_rows : int
        n, the number of rows looked at.
    seed : int
        They are ``data.choose(PCA_ROWS, seed)``.
    n_asked : int
        Number of directions asked for; fewer found are all that there are.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    feature_variances: Tensor
    n_rows: int
    seed: int
    n_asked: int

    @property
    def total_variance(self) -> float:
        """Sum of the variances of all features."""
        return float(self.feature_variances.sum())


def principal_components(data: TrainingRows, n_components: int, seed: int) -> PrincipalComponents:
    """Return the leading principal components of at most 10,000 of the rows, drawn at random.

    The rows are read block by block, several times. Up to 1,000 features the components are exact, by the
    covariance matrix; so are those of few rows of more features, by the matrix of inner products. Those of
    many such rows are approximate, by power iteration of a random block [1]_: first with an eighth of the
    rows, then with all, which comes as near as twice as many passes over all. The last ones found are kept
    with the data, and returned where they suffice: there may be more than asked for.

    Parameters
    ----------
    data : TrainingRows
    n_components : int
        Number of directions asked for. There are fewer if the rows differ in fewer.
    seed : int
        Of the draw of rows, and of the random block.

    References
    ----------
    .. [1] N. Halko, P. Martinsson, J. Tropp. Finding Structure with Randomness. SIAM Review, 2011.
    """
    own = named_seed(seed, "pca")
    kept: PrincipalComponents | None = data.kept.get("principal_components")
    if kept is None or kept.seed != own or kept.n_asked < n_components:
        kept = data.kept["principal_components"] = _principal_components(data, n_components, own)
    return kept


@limited_threads(1)  # of torch, which would wait for cores where BLAS's own threads still look for work
def _principal_components(data: TrainingRows, n_components: int, own: int) -> PrincipalComponents:
    def blocks(every: int = 1) -> Iterator[Tensor]:
        return data.chosen_batches(PCA_ROWS, own, _BLOCK_NUMBERS, every)

    mean = as_array(mean_row(data.chosen_batches(PCA_ROWS, own)))

    def deviations(every: int = 1) -> Iterator[np.ndarray]:
        for x in blocks(every):
            y = as_array(x.double())
            y -= mean
            yield y

    n, d = min(PCA_ROWS, len(data)), data.n_features
    k = min(n_components, n, d)
    squares = np.zeros(d)
    if n < d and n * d <= _BLOCK_NUMBERS:
        (y,) = deviations()
        squares += np.einsum("ij,ij->j", y, y)
        values, vectors = _leading(y @ y.T, k)
        directions = _orthonormal(np.asfortranarray(y.T @ vectors)).T
    elif d <= _COVARIANCE_FEATURES:
        products = np.zeros((d, d), order="F")
        for y in deviations():
            products = dsyrk(1.0, y.T, beta=1.0, c=products, overwrite_c=True)  # the upper triangle
        squares += np.diagonal(products)
        values, vectors = _leading(products, k)
        directions = vectors.T
    else:
        for y in deviations():
            squares += np.einsum("ij,ij->j", y, y)
        width = min(k + _OVERSAMPLING, n, d)
        # a part of the rows that still has many more than there are columns
        every = [max(1, min(8, n // (10 * width)))] * _PARTIAL_PASSES + [1] * _PASSES
        values, directions = _power_iteration(map(deviations, every), d, width, k, own)
    # directions without spread are rounding
    rank = int(np.sum(values > 1e-12 * values[0])) if squares.any() else 0
    directions = directions[:rank].copy()
    for direction in directions:
        direction *= np.sign(direction[np.abs(direction).argmax()])
    return PrincipalComponents(
        mean=torch.from_numpy(mean),
        directions=torch.from_numpy(directions),
        variances=torch.from_numpy(values[:rank] / max(1, n - 1)),
        feature_variances=torch.from_numpy(squares / max(1, n - 1)),
        n_rows=n,
        seed=own,
        n_asked=n_components,
    )


def _leading(symmetric: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues, from the largest on, and eigenvectors as columns: (k,), (d, k).

    Only the upper triangle is read; the matrix is overwritten.
    """
    d = len(symmetric)
    values, vectors = scipy.linalg.eigh(
        symmetric, lower=False, overwrite_a=True, check_finite=False, subset_by_index=[d - k, d - 1]
    )
    return values[::-1], vectors[:, ::-1]


def _orthonormal(block: np.ndarray) -> np.ndarray:
    """Return orthonormal columns that span those of the block, which is overwritten: (d, l)."""
    return scipy.linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0]


def _power_iteration(
    passes: Iterable[Iterable[np.ndarray]], d: int, width: int, k: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues of Y'Y, and eigenvectors: (k,), (k, d).

    Parameters
    ----------
    passes : iterable of iterables of ndarray
        Each time the rows of Y, or in early passes a part of them, block by block.
    d : int
        Number of columns of Y.
    width : int
        Number of columns that are iterated, at least k.
    k, seed : int
    """
    basis = block = np.random.default_rng(seed).standard_normal((width, d)).T
    for deviations in passes:
        basis = _orthonormal(block)
        block = np.zeros((d, width), order="F")
        for y in deviations:
            block = dgemm(1.0, y.T, y @ basis, beta=1.0, c=block, overwrite_c=True)
    values, vectors = _leading(basis.T @ block, k)
    del block
    return values, vectors.T @ basis.T


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

    @property
    def rank(self) -> int:
        """Number of directions in which the rows differ, at most the number of components."""
        return len(self.encoder_bias)


@limited_threads(1)  # as above
def pca_start(
    data: TrainingRows, found: PrincipalComponents, n_components: int, head: Head, kind: str = "scaled"
) -> LinearStart:
    """Return PCA's code in the unit that suits the prior, and the least-squares map back.

    The map back leads to the raw output whose mean is the row (:meth:`Head.inverse`).

    Parameters
    ----------
    data : TrainingRows
        Those that the components are of.
    found : PrincipalComponents
        At least ``n_components`` of them, if the rows differ in as many directions.
    n_components : int
    head : Head
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
    n, d = found.n_rows, data.n_features
    mean, variances = as_array(found.mean), as_array(found.variances)[:n_components]
    rank = len(variances)
    noise = np.zeros(rank)
    if kind == "probabilistic" and rank:
        n_used = min(n_components, n, d)
        sigma2 = (found.total_variance - variances.sum()) / max(1, d - n_used)
        sigma2 = max(sigma2, SMALLEST_SCALE**2 * found.total_variance * (n - 1) / n / d)
        if n_used >= min(n - 1, d):  # no direction left out
            sigma2 = NOISE_SHARE * variances[-1]
        sigma2 = max(sigma2, head.least_variance)
        # not all noise: a code without any information would get no gradient
        noise = np.minimum(sigma2 / variances, 0.99)
    units = np.mean(variances) if kind == "scaled" and rank else variances / (1.0 - noise)
    components = as_array(found.directions)[:rank] / np.sqrt(np.broadcast_to(units, rank))[:, None]
    spread = (found.feature_variances * ((n - 1) / n)).sqrt()
    origin = head.inverse(found.mean[None], spread)  # (1, d)
    # the codes are uncorrelated: one regression a component, on codes with their noise
    total, products, squares = np.zeros(d), np.zeros((d, rank)), n * noise
    for x in data.chosen_batches(PCA_ROWS, found.seed):
        x = x.double()
        z = (as_array(x) - mean) @ components.T  # (b, rank)
        target = as_array(head.inverse(x, spread) - origin)  # (b, d)
        total += target.sum(axis=0)
        products += target.T @ z
        squares += np.sum(z**2, axis=0)
    products /= squares
    arrays = [components, -components @ mean, products, as_array(origin[0]) + total / n]
    if kind == "probabilistic":
        arrays.append(np.log(noise))
    return LinearStart(*(torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for a in arrays))
