"""Data sets that several scripts measure on, as training and test rows with labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from _harness import mnist
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skswae.datasets import fetch_coil20, fetch_fashion_mnist


class Split(NamedTuple):
    """Rows and labels; ``clean``, where it is known, is ``X_test`` without its noise."""

    X: np.ndarray
    X_test: np.ndarray
    y: np.ndarray
    y_test: np.ndarray
    clean: np.ndarray | None = None

    def head(self, n_rows: int | None, n_test_rows: int | None) -> Split:
        """Return the first rows alone; None is all."""
        clean = None if self.clean is None else self.clean[:n_test_rows]
        return Split(
            self.X[:n_rows], self.X_test[:n_test_rows], self.y[:n_rows], self.y_test[:n_test_rows], clean
        )


def split_rows(X, y, seed: int) -> Split:
    """Hold 30 % of each class out."""
    return Split(*train_test_split(X.astype(np.float32), y, test_size=0.3, stratify=y, random_state=seed))


def fashion_mnist(folder: str | None) -> Split:
    """Load Fashion-MNIST in [0, 1]."""
    bunch = fetch_fashion_mnist(data_home=folder)
    X, y, n = (bunch.data / np.float32(255)).astype(np.float32), bunch.target, bunch.n_train
    return Split(X[:n], X[n:], y[:n], y[n:])


def coil20(folder: str | None, seed: int) -> Split:
    """Load COIL-20 in [0, 1], 1,008 views for training."""
    X, y = fetch_coil20(data_home=folder, return_X_y=True)
    return split_rows(X / 255, y, seed)


def digits(seed: int) -> Split:
    """Load scikit-learn's digits in [0, 1]."""
    X, y = load_digits(return_X_y=True)
    return split_rows(X / 16, y, seed)


def spectra(seed: int, n_rows: int = 60, n_test_rows: int = 300, n_features: int = 2000) -> Split:
    """Draw spectra of three substances: five peaks each, of random heights and places, and noise of 0.1.

    A substance has a height for each peak, from 0.3 to 0.9; those of a spectrum differ from it by up to 0.2.
    """
    rng = np.random.default_rng(seed)
    heights = rng.uniform(0.3, 0.9, (3, 5))
    n = n_rows + n_test_rows
    y = np.arange(n) % 3
    x, clean = np.linspace(0, 1, n_features), np.zeros((n, n_features))
    for i, place in enumerate((0.2, 0.35, 0.5, 0.65, 0.8)):
        height = heights[y, i : i + 1] + rng.uniform(-0.2, 0.2, (n, 1))
        moved = place + rng.uniform(-0.02, 0.02, (n, 1))
        clean += height * np.exp(-0.5 * ((x - moved) / 0.03) ** 2)
    X = (clean + 0.1 * rng.normal(size=clean.shape)).astype(np.float32)
    return Split(X[:n_rows], X[n_rows:], y[:n_rows], y[n_rows:], clean[n_rows:])


def long_table(n_rows: int = 100_000, n_test_rows: int = 10_000, n_features: int = 500) -> Split:
    """Draw a long table: 20 classes on curved sheets of 4 dimensions, in columns that are half noise.

    A row of class c has h = m_c + sin(W_c t + b_c), 12 numbers, with t uniform in a cube of 4 dimensions. The
    columns are linear in h and in 24 sines of it, and get noise of about their own standard deviation. All
    constants are drawn once. They were chosen by the accuracy of the rows and of PCA alone, so that
    neighbours in the rows are of the same class and 8 leading components keep most, but not all, of it.
    """
    rng = np.random.default_rng(0)
    means, frequencies = 0.5 * rng.standard_normal((20, 12)), 1.5 * rng.standard_normal((20, 4, 12))
    phases = rng.uniform(0, 2 * np.pi, (20, 12))
    mixing = 0.5 * rng.standard_normal((12, 24))
    loadings = rng.standard_normal((36, n_features)) / 6
    n = n_rows + n_test_rows
    y = rng.integers(20, size=n)
    X = np.empty((n, n_features), dtype=np.float32)
    clean = np.empty_like(X)
    for start in range(0, n, 10_000):  # the float64 rows of a part alone
        part = slice(start, start + 10_000)
        of = y[part]
        t = rng.uniform(-1, 1, (len(of), 4))
        h = means[of] + np.sin(np.einsum("np,npq->nq", t, frequencies[of]) + phases[of])
        clean[part] = np.hstack([h, np.sin(h @ mixing)]) @ loadings
        X[part] = clean[part] + 0.7 * rng.standard_normal((len(of), n_features), dtype=np.float32)
    return Split(X[:n_rows], X[n_rows:], y[:n_rows], y[n_rows:], clean[n_rows:])


# of each its name, and what returns it, given the folder of the data sets and a seed
DATA = {
    "mnist": ("MNIST", lambda folder, seed: Split(*mnist(folder))),
    "fashion_mnist": ("Fashion-MNIST", lambda folder, seed: fashion_mnist(folder)),
    "coil20": ("COIL-20", coil20),
    "digits": ("digits", lambda folder, seed: digits(seed)),
    "spectra": ("spectra", lambda folder, seed: spectra(seed)),
    "long_table": ("long table", lambda folder, seed: long_table()),
}
