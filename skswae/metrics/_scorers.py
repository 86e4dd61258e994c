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

from skswae.metrics._checks import check_rows
from skswae.metrics._frechet import apply_features, frechet_distance

_n_neighbors = {"n_neighbors": [Interval(Integral, 1, None, closed="left")]}
# an int: candidates are compared on equal draws
_of_draws = {"features": [callable, None], "random_state": [Interval(Integral, 0, None, closed="left")]}


@validate_params(_n_neighbors, prefer_skip_nested_validation=True)
def make_knn_scorer(n_neighbors=5) -> Callable[..., float]:
    """Make a scorer by k-nearest-neighbour accuracy of codes, as ``scoring`` of ``GridSearchCV``.

    The score is the share of held-out rows whose class is that of most of the k nearest other held-out codes.
    It needs labels, though the model does not see them. :data:`knn_scorer` is the one with the default.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours k, less than the number of rows of a fold.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y) -> float`` in [0, 1], which can be pickled. The estimator is fitted: a
        transformer, or a Pipeline whose last step is one. The scorer raises ValueError if y is None, the
        estimator cannot transform, or there are too few rows.

    Raises
    ------
    ValueError
        If ``n_neighbors`` is not an integer of at least 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae.metrics import make_knn_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 8]}, scoring=make_knn_scorer(3), cv=3)
    >>> search.fit(X[:600], y[:600]).best_params_
    {'n_components': 8}
    """
    return partial(_knn_score, n_neighbors=n_neighbors)


@validate_params(_of_draws, prefer_skip_nested_validation=True)
def make_frechet_scorer(*, features=None, random_state=0) -> Callable[..., float]:
    """Make a scorer by :func:`frechet_distance` of samples, as ``scoring`` of ``GridSearchCV``.

    The score is minus the distance between the held-out rows and as many drawn rows. Rows are drawn by the
    last step of a Pipeline and taken back through the steps before it, so that the distance is in the units
    of X. :data:`frechet_scorer` is the one with the defaults.

    Parameters
    ----------
    features : callable or None, default=None
        Function of rows, as in :func:`frechet_distance`; the same for all candidates, so fitted beforehand:
        ``StandardScaler().fit(X).transform`` for tables of mixed units, or a :class:`ClassifierFeatures`. It
        must be picklable for ``n_jobs``.
    random_state : int, default=0
        Seed of the draws, equal for all candidates.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float``, at most 0. The estimator is fitted and has
        ``sample(n_samples, random_state=...)``, or is a Pipeline whose last step does and whose steps before
        can be inverted, else ValueError is raised.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae import AETransformer
    >>> from skswae.metrics import make_frechet_scorer
    >>> X = load_digits().data[:600] / 16
    >>> model = AETransformer(max_iter=2, random_state=0)
    >>> search = GridSearchCV(model, {"n_components": [1, 16]}, scoring=make_frechet_scorer(), cv=2)
    >>> search.fit(X).best_params_
    {'n_components': 16}
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
    It needs no labels. It rises with the number of components, until it is nearly 1: look for where it levels
    off. :data:`trustworthiness_scorer` is the one with the defaults.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours, less than half of the number of rows of a fold.
    max_samples : int, default=2000
        Number of rows that are drawn where there are more. The time and the memory grow with its square.
    features : callable or None, default=None
        ``f(rows) -> array of shape (n_samples, n_outputs)``, between which rows are near or far; the same for
        all candidates, so fitted beforehand: ``StandardScaler().fit(X).transform`` for tables of mixed units.
        None: the rows as the search gets them, also if a Pipeline scales them later.
    random_state : int, default=0
        Seed of the draw of rows.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None) -> float`` in [0, 1]. The estimator is fitted: a transformer, or a
        Pipeline whose last step is one, else ValueError is raised, as it is for too few rows.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skswae.metrics import trustworthiness_scorer
    >>> X = load_digits().data[:600]
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 8]}, scoring=trustworthiness_scorer, cv=3)
    >>> search.fit(X).cv_results_["mean_test_score"].round(2)
    array([0.81, 0.99])
    """
    return partial(
        _trustworthiness_score,
        n_neighbors=n_neighbors,
        max_samples=max_samples,
        features=features,
        random_state=random_state,
    )


# Module-level functions, which a partial of them can be pickled by


def _knn_score(estimator: Any, X: Any, y: Any = None, *, n_neighbors: int) -> float:
    Z = _codes(estimator, X, "knn_scorer")
    return float(KNeighborsClassifier(n_neighbors).fit(Z, y).score(None, y))  # None: each row by the others


def _frechet_score(
    estimator: Any, X: Any, y: Any = None, *, features: Callable | None, random_state: int
) -> float:
    drawn = _sample(estimator, len(check_rows(X, "X", min_samples=2)), random_state, "frechet_scorer")
    return -frechet_distance(drawn, X, features=features)


def _trustworthiness_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    n_neighbors: int,
    max_samples: int,
    features: Callable | None,
    random_state: int,
) -> float:
    if np.shape(X)[0] > max_samples:
        X = resample(X, replace=False, n_samples=max_samples, random_state=random_state)
    rows, Z = apply_features(features, X, "X"), _codes(estimator, X, "trustworthiness_scorer")
    return float(trustworthiness(rows, Z, n_neighbors=n_neighbors))


def _codes(estimator: Any, X: Any, scorer: str) -> np.ndarray:
    """Return the codes of rows by a fitted transformer."""
    _check_has(estimator, "transform", scorer)
    return check_rows(estimator.transform(X), "estimator.transform(X)")


def _sample(estimator: Any, n_samples: int, seed: int, scorer: str) -> Any:
    """Draw rows from a fitted estimator, in the units in which it gets its rows."""
    if not isinstance(estimator, Pipeline):
        _check_has(estimator, "sample", scorer)
        return estimator.sample(n_samples, random_state=seed)
    before, last = estimator[:-1], estimator[-1]
    rows = _sample(last, n_samples, seed, scorer)
    if len(before) == 0:
        return rows
    _check_has(before, "inverse_transform", scorer)
    return before.inverse_transform(rows)


def _check_has(estimator: Any, method: str, scorer: str) -> None:
    if not hasattr(estimator, method):
        names = [type(step).__name__ for _, step in getattr(estimator, "steps", [("", estimator)])]
        raise ValueError(
            f"{scorer} needs an estimator, or steps of a Pipeline, with the method {method}. "
            f"Got {', '.join(names)} instead."
        )


knn_scorer = make_knn_scorer()
frechet_scorer = make_frechet_scorer()
trustworthiness_scorer = make_trustworthiness_scorer()
