"""Judges samples of a generative model: arrays in, numbers out, on the raw features.

Everything is measured against held-out rows, which neither the model nor its samples have seen, and the
training rows serve to find copies of them. No number says it all: training rows, copied, have the best
Frechet distance, precision and recall that there are, and only :func:`copying` gives them away.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors


def frechet(A, B):
    """Squared Frechet distance between Gaussians fitted to the rows.

    ``|m_A - m_B|^2 + tr(C_A + C_B - 2 (C_A C_B)^(1/2))``, which [1]_ computes on features of a network.
    It sees means and covariances alone. Fewer rows give a larger value: compare equal numbers.

    Parameters
    ----------
    A : ndarray of shape (n_samples_a, n_features)
    B : ndarray of shape (n_samples_b, n_features)

    Returns
    -------
    distance : float
        0 for equal means and covariances.

    References
    ----------
    .. [1] M. Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
       equilibrium. NeurIPS 2017. arXiv:1706.08500.
    """
    cov_a, cov_b = np.cov(A.T), np.cov(B.T)
    difference = A.mean(axis=0) - B.mean(axis=0)
    # the trace of the square root of A B is the sum of the roots of its eigenvalues, which are not negative
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0))
    return difference @ difference + np.trace(cov_a + cov_b) - 2 * roots.sum()


def share_inside(points, rows, k=3):
    """Share of the points inside the manifold of the rows, estimated by k nearest neighbours.

    The manifold is the union of balls, one around each row, that reach to its k-th nearest other row [1]_.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_features)
    rows : ndarray of shape (n_rows, n_features)
        More than k.
    k : int, default=3
        As in [1]_.

    Returns
    -------
    share : float in [0, 1]

    References
    ----------
    .. [1] T. Kynkaanniemi et al. Improved precision and recall metric for assessing generative models.
       NeurIPS 2019. arXiv:1904.06991.
    """
    radii = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0][:, -1]  # a row is not its own neighbour
    # in chunks of rows: all distances at once may not fit in memory
    inside = pairwise_distances_chunked(points, rows, reduce_func=lambda D, start: (radii >= D).any(axis=1))
    return np.mean(np.concatenate(list(inside)))


def precision_recall(samples, held_out, k=3, seed=0):
    """Precision and recall of samples by :func:`share_inside`.

    Both depend on the numbers of rows, so that equally many are drawn at random from the larger array.
    Samples without the noise of real rows have high precision and low recall, as their balls are small.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    held_out : ndarray of shape (n_rows, n_features)
    k : int, default=3
    seed : int, default=0
        Of the draw.

    Returns
    -------
    precision : float in [0, 1]
        Share of the samples inside the manifold of the held-out rows: they look real.
    recall : float in [0, 1]
        Share of the held-out rows inside the manifold of the samples: nothing real is left out.
    """
    rng = np.random.default_rng(seed)
    n = min(len(samples), len(held_out))
    # at random, for a GaussianMixture's samples come sorted by component
    samples, held_out = (rng.permutation(A)[:n] for A in (samples, held_out))
    return share_inside(samples, held_out, k), share_inside(held_out, samples, k)


def copying(samples, X_train, X_test):
    """Whether samples are nearer to the training rows than held-out rows are, as in [1]_.

    Two numbers on the distance of a row to its nearest training row. A decoder leaves out noise, which alone
    brings rows nearer to training rows: held-out digits rebuilt by SWAETransformer (8 components) have a
    ratio of 0.83 and a duplicate rate of 0.04. So compare with held-out rows rebuilt by the same model.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    X_train : ndarray of shape (n_train, n_features)
    X_test : ndarray of shape (n_test, n_features)
        Held-out rows.

    Returns
    -------
    ratio : float
        Median distance of the samples over that of the held-out rows: 0 for copies, 1 for held-out rows.
    duplicate_rate : float in [0, 1]
        Share of the samples that are no farther from a training row than the nearest hundredth of the
        held-out rows are: 1 for copies, 0.01 for held-out rows. Unlike the ratio it shows when only some of
        the samples are copies.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri, S. Dasgupta. A non-parametric test to detect data-copying in generative
       models. AISTATS 2020. arXiv:2004.05675.
    """
    of_samples, of_test = (pairwise_distances_argmin_min(A, X_train)[1] for A in (samples, X_test))
    return np.median(of_samples) / np.median(of_test), np.mean(of_samples <= np.quantile(of_test, 0.01))


def class_shares(samples, X_train, y_train):
    """Which classes the samples are of, by 5 nearest training rows: the idea of [1]_.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    X_train : ndarray of shape (n_train, n_features)
    y_train : ndarray of shape (n_train,)

    Returns
    -------
    total_variation : float in [0, 1]
        Between the shares of the classes among samples and among training rows.
    smallest : float in [0, 1]
        Share of the samples that the rarest class among them has; 0 if a class is missing.

    References
    ----------
    .. [1] S. Santurkar, L. Schmidt, A. Madry. A classification-based study of covariate shift in GAN
       distributions. ICML 2018. arXiv:1711.00970.
    """
    knn = KNeighborsClassifier(5).fit(X_train, y_train)
    shares = [(y[:, None] == knn.classes_).mean(axis=0) for y in (knn.predict(samples), y_train)]
    return 0.5 * np.abs(shares[0] - shares[1]).sum(), shares[0].min()


def judge(samples, X_train, X_test, y_train):
    """Everything that this file measures, by column heading.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
    X_train : ndarray of shape (n_train, n_features)
    X_test : ndarray of shape (n_test, n_features)
        Held-out rows.
    y_train : ndarray of shape (n_train,)
        Classes of the training rows.

    Returns
    -------
    columns : dict of str to float
        From :func:`frechet`, :func:`precision_recall`, :func:`copying` and :func:`class_shares`.
    """
    precision, recall = precision_recall(samples, X_test)
    ratio, duplicate_rate = copying(samples, X_train, X_test)
    total_variation, smallest = class_shares(samples, X_train, y_train)
    columns = {
        "Frechet distance": frechet(samples, X_test),
        "precision": precision,
        "recall": recall,
        "nearest-row ratio": ratio,
        "duplicate rate": duplicate_rate,
        "class total variation": total_variation,
        "smallest class": smallest,
    }
    return {name: float(value) for name, value in columns.items()}


def collapsed(columns):
    """Whether classes got lost: a total variation over 0.25, or a class under 2 % of the samples.

    Parameters
    ----------
    columns : dict of str to float
        From :func:`judge`.

    Returns
    -------
    answer : bool
    """
    return columns["class total variation"] > 0.25 or columns["smallest class"] < 0.02
