"""Everything that is measured of a fitted model: arrays in, a flat dictionary of numbers out."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from _treatments import Split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skswae import metrics
from skswae.datasets import binarised

VERSION = 3
"""To be raised when what is measured changes: then models that are kept are measured again."""

NOISE = 0.3  # of the denoising experiment: section 3.4
N_TEST_ROWS = 5_000  # that samples are compared with: the first, as in the authors' code
N_LOCAL = 1_000  # test rows whose neighbourhoods are compared
K = (3, 5, 10)
SEED_OF_TEST_ROWS = 1_000_003  # noise of their own, not that of the training rows


def judge(model: Any, split: Split, seed: int, n_samples: int, features: Any) -> dict[str, float]:
    """Return all measures of a fitted model.

    Parameters
    ----------
    model : transformer
        With ``transform``; what else it has decides what is measured: ``inverse_transform``, ``sample``,
        ``sample_posterior``.
    split : Split
    seed : int
        Of everything that is drawn.
    n_samples : int
        Rows to draw from the model.
    features : ClassifierFeatures or None
        For the second Frechet distance; see :mod:`skswae.metrics`.

    Returns
    -------
    measures : dict of str to float
    """
    found: dict[str, float] = {}
    Z_train, Z_test = model.transform(split.X_coded), model.transform(split.X_test)
    found |= _of_codes(Z_train, Z_test, split, "")
    if hasattr(model, "inverse_transform"):
        decoded = _held(model.inverse_transform(Z_test), split)
        found["reconstruction"] = metrics.reconstruction_error(split.X_test, decoded)
        found["denoising"] = metrics.denoising_error(
            _decoding(model, split), split.X_test, noise=NOISE, random_state=seed
        )
    if hasattr(model, "sample_posterior"):
        # the way of the authors' code: codes drawn from the posterior
        drawn = [
            model.sample_posterior(split.X_coded, random_state=seed),
            model.sample_posterior(split.X_test, random_state=seed + SEED_OF_TEST_ROWS),
        ]
        found |= _of_codes(*drawn, split, "_drawn")
        decoded = _held(model.inverse_transform(drawn[1]), split)
        found["reconstruction_drawn"] = metrics.reconstruction_error(split.X_test, decoded)
    X, Z = split.X_test[:N_LOCAL], Z_test[:N_LOCAL]
    most = (len(X) - 1) // 2
    found["neighborhood_agreement"] = metrics.neighborhood_agreement(X, Z, n_neighbors=min(10, most))
    found["trustworthiness"] = metrics.trustworthiness(X, Z, n_neighbors=min(5, most))
    if hasattr(model, "sample"):
        own = "prior" not in inspect.signature(model.sample).parameters
        for prior, suffix in {"model": ""}.items() if own else {"model": "", "gmm": "_gmm"}.items():
            arguments = {} if own else {"prior": prior}
            X = _held(model.sample(n_samples, random_state=seed, **arguments), split)
            of_samples = _of_samples(X, split, seed, features)
            found |= {f"{name}{suffix}": value for name, value in of_samples.items()}
    return {name: float(value) for name, value in found.items()}


def _held(X: np.ndarray, split: Split) -> np.ndarray:
    return np.clip(X, 1 / 512, 511 / 512) if split.clamp else X


def _decoding(model: Any, split: Split) -> Any:
    """Return the model with its decoder's output held in the range of the treatment."""

    def held(X):
        return _held(X, split)

    return make_pipeline(FunctionTransformer(inverse_func=held), model)


def _of_codes(Z_train: np.ndarray, Z_test: np.ndarray, split: Split, suffix: str) -> dict[str, float]:
    if split.y_train is None:
        return {}
    accuracies = metrics.knn_accuracy(Z_train, split.y_train, Z_test, split.y_test, n_neighbors=K)
    return {f"knn_{k}{suffix}": accuracy for k, accuracy in zip(K, accuracies)}


def _of_samples(X: np.ndarray, split: Split, seed: int, features: Any) -> dict[str, float]:
    real = split.X_test[:N_TEST_ROWS]
    found = {"frechet_pixels": metrics.frechet_distance(X, real)}
    if features is not None:
        found["frechet_classifier"] = metrics.frechet_distance(X, real, features=features)
    if split.augment is not None:
        # the decoder gives probabilities, which lie between the rows: distances to them need zeros and ones
        X = binarised(np.clip(X, 0.0, 1.0), seed)
    precision, recall = metrics.precision_recall(X, real, random_state=0)
    found |= {"precision": precision, "recall": recall}
    held_out = real[: len(X)]  # as many as samples
    if _mostly_new(held_out, split.X_coded):
        found["nearest_row_ratio"] = metrics.nearest_row_ratio(X, split.X_coded, held_out)
        found["duplicate_rate"] = metrics.duplicate_rate(X, split.X_coded, held_out)
    return found


def _mostly_new(rows: np.ndarray, X_train: np.ndarray) -> bool:
    """Tell whether most rows differ from all training rows; in tables with few different rows they do not."""
    known = {row.tobytes() for row in np.ascontiguousarray(X_train)}
    return sum(row.tobytes() in known for row in np.ascontiguousarray(rows)) < len(rows) / 2
