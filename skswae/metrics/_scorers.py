"""Scorers for ``GridSearchCV``, by codes and by samples of a fitted estimator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import resample
from sklearn.utils._param_validation import Interval, validate_params

from skswae._device import own_settings
from skswae.metrics._checks import check_rows
from skswae.metrics._frechet import apply_features, frechet_distance

_n_neighbors = {"n_neighbors": [Interval(Integral, 1, None, closed="left")]}
# an int: candidates are compared on equal draws
_of_draws = {"features": [callable, None], "random_state": [Interval(Integral, 0, None, closed="left")]}


@validate_params(_n_neighbors, prefer_skip_nested_validation=True)
def make_knn_scorer(n_neighbors=5) -> Callable[..., float]:
    """Make a scorer by k-nearest-neighbour accuracy of codes, as ``scoring`` of ``GridSearchCV``.

    The score is the share of held-out rows whose class is that of most of the k nearest other held-out codes.
    :data:`knn_scorer` is the one with the default.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours k, less than the number of rows of a fold.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y) -> float`` in [0, 1], which can be pickled. The estimator is a fitted
        transformer, or a Pipeline whose last step is one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae.metrics import make_knn_scorer
    >>> search = GridSearchCV(PCA(), {"n_components": [1, 2]}, scoring=make_knn_scorer(3), cv=3)
    >>> search = search.fit(*load_iris(return_X_y=True))
    """
    return partial(_knn_score, n_neighbors=n_neighbors)  # no closure, so that it can be pickled


@validate_params(_of_draws, prefer_skip_nested_validation=True)
def make_frechet_scorer(*, features=None, random_state=0) -> Callable[..., float]:
    """Make a scorer by :func:`frechet_distance` of samples, as ``scoring`` of ``GridSearchCV``.

    The score is minus the distance between the held-out rows and as many drawn ones, in the units of X: a
    Pipeline's are taken back through its steps. :data:`frechet_scorer` is the one with the defaults.

    Parameters
    ----------
    features : callable or None, default=None
        Function of rows, as in :func:`frechet_distance`, fitted beforehand: a :class:`ClassifierFeatures`, or
        ``StandardScaler().fit(X).transform`` for mixed units. It must be picklable for ``n_jobs``.
    random_state : int, default=0
        Seed of the draws, equal for all candidates.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float``, at most 0. The estimator is fitted and has ``sample``, or
        is a Pipeline whose last step does and whose steps before can be inverted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from skswae.metrics import make_frechet_scorer
    >>> X = load_iris().data
    >>> print(f"{make_frechet_scorer()(KernelDensity(bandwidth=0.1).fit(X[::2]), X[1::2]):.2f}")
    -0.06
    """
    return partial(_frechet_score, features=features, random_state=random_state)


@validate_params(
    {**_n_neighbors, **_of_draws, "max_samples": [Interval(Integral, 3, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def make_trustworthiness_scorer(
    n_neighbors=5, *, max_samples=2000, features=None, random_state=0
) -> Callable[..., float]:
    """Make a scorer by :func:`trustworthiness` of codes, as ``scoring`` of ``GridSearchCV``.

    The score says whether the nearest held-out codes of a held-out row belong to rows that are near it, too.
    It rises with the number of components, until it is nearly 1: look for where it levels off.
    :data:`trustworthiness_scorer` is the one with the defaults.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours, less than half of the number of rows of a fold.
    max_samples : int, default=2000
        Number of rows that are drawn where there are more. The time and the memory grow with its square.
    features : callable or None, default=None
        Function of rows between whose outputs rows are near or far, as in :func:`make_frechet_scorer`. None:
        the rows as the search gets them, also if a Pipeline scales them later.
    random_state : int, default=0
        Seed of the draw of rows.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float`` in [0, 1]. The estimator is a fitted transformer, or a
        Pipeline whose last step is one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skswae.metrics import make_trustworthiness_scorer
    >>> X = load_iris().data
    >>> print(f"{make_trustworthiness_scorer(7)(PCA(2).fit(X), X):.2f}")
    0.98
    """
    settings = {"n_neighbors": n_neighbors, "max_samples": max_samples, "features": features}
    return partial(_trustworthiness_score, **settings, seed=random_state)


def _knn_score(estimator: Any, X: Any, y: Any = None, *, n_neighbors: int) -> float:
    Z = check_rows(_method(estimator, "transform")(X), "codes")
    with own_settings():
        # None: each row by the others
        return float(KNeighborsClassifier(n_neighbors).fit(Z, y).score(None, y))


def _frechet_score(estimator: Any, X: Any, y: Any = None, *, features: Any, random_state: int) -> float:
    drawn = _sample(estimator, len(check_rows(X, "X", min_samples=2)), random_state)
    return -frechet_distance(drawn, X, features=features)


def _trustworthiness_score(
    estimator: Any, X: Any, y: Any = None, *, n_neighbors: int, max_samples: int, features: Any, seed: int
) -> float:
    if np.shape(X)[0] > max_samples:
        X = resample(X, replace=False, n_samples=max_samples, random_state=seed)
    rows = apply_features(features, X, "X")
    Z = check_rows(_method(estimator, "transform")(X), "codes")
    with own_settings():
        return float(trustworthiness(rows, Z, n_neighbors=n_neighbors))


def _sample(estimator: Any, n_samples: int, seed: int) -> Any:
    """Draw rows from a fitted estimator, in the units in which it gets its rows."""
    if not isinstance(estimator, Pipeline):
        return _method(estimator, "sample")(n_samples, random_state=seed)
    rows = _sample(estimator[-1], n_samples, seed)
    return _method(estimator[:-1], "inverse_transform")(rows) if len(estimator) > 1 else rows


def _method(estimator: Any, name: str) -> Callable:
    """Return a method of an estimator, or raise a ValueError that says that it has none."""
    if hasattr(estimator, name):
        return getattr(estimator, name)
    names = ", ".join(type(step).__name__ for _, step in getattr(estimator, "steps", [("", estimator)]))
    raise ValueError(
        f"The scorer needs an estimator, or steps of a Pipeline, with the method {name}. Got {names} instead."
    )


knn_scorer = make_knn_scorer()
frechet_scorer = make_frechet_scorer()
trustworthiness_scorer = make_trustworthiness_scorer()
