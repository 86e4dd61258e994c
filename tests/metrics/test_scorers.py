"""Scorers, beside what they compute, and in searches."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.manifold
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, cross_val_score
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from skswae import AETransformer, SWAETransformer, metrics
from skswae.metrics import frechet_distance, frechet_scorer, knn_scorer, trustworthiness_scorer

from ..estimators import cheap

SCORERS = {"knn": knn_scorer, "frechet": frechet_scorer, "trustworthiness": trustworthiness_scorer}


@pytest.fixture(scope="module")
def fitted(digits):
    return cheap(SWAETransformer, n_components=4).fit(digits[0][:200])


@pytest.fixture(scope="module")
def fitted_pipeline(digits):
    return make_pipeline(VarianceThreshold(1e-6), StandardScaler(), cheap(SWAETransformer)).fit(
        digits[0][:200]
    )


def test_knn_scorer_leaves_one_out(fitted, fitted_pipeline, digits):
    X, y = (A[200:260] for A in digits)
    names = np.array(list("jihgfedcba"))[y]  # tied votes go to the lowest of these, too
    for k, model in ((4, fitted), (5, fitted_pipeline)):
        expected = cross_val_score(
            KNeighborsClassifier(k), model.transform(X), names, cv=LeaveOneOut()
        ).mean()
        assert metrics.make_knn_scorer(k)(model, X, names) == pytest.approx(expected, abs=1e-12)
        assert 0.1 < expected < 1


def test_frechet_scorer_of_a_model(fitted, digits):
    X = digits[0][200:]
    drawn = fitted.sample(100, random_state=0)
    assert frechet_scorer(fitted, X) == frechet_scorer(fitted, X, digits[1][200:]) < 0
    assert frechet_scorer(fitted, X) == -frechet_distance(drawn, X)
    other = -frechet_distance(fitted.sample(100, random_state=1), X)
    assert metrics.make_frechet_scorer(random_state=1)(fitted, X) == other != frechet_scorer(fitted, X)
    pca = PCA(3).fit(X)
    of_features = metrics.make_frechet_scorer(features=pca.transform)(fitted, X)
    assert of_features == -frechet_distance(pca.transform(drawn), pca.transform(X))
    density = KernelDensity(bandwidth=0.01).fit(X)  # has samples, too
    assert frechet_scorer(fitted, X) < frechet_scorer(density, X) < 0


def test_frechet_scorer_brings_samples_into_the_units_of_the_rows(fitted_pipeline, digits):
    X = digits[0][200:]
    scaled = fitted_pipeline[-1].sample(100, random_state=0)
    drawn = fitted_pipeline[:2].inverse_transform(scaled)
    assert drawn.shape == X.shape != scaled.shape
    expected = -frechet_distance(drawn, X)
    nested = Pipeline([("drop", fitted_pipeline[0]), ("rest", fitted_pipeline[1:])])
    for pipe in (fitted_pipeline, nested):
        assert frechet_scorer(pipe, X) == pytest.approx(expected, rel=1e-12)
    rows = fitted_pipeline[:2].transform(X)
    assert frechet_scorer(fitted_pipeline[2:], rows) == -frechet_distance(scaled, rows)  # of a single step


def test_trustworthiness_scorer_is_scikit_learn_s(fitted, fitted_pipeline, digits):
    X = digits[0][200:]
    for model in (fitted, fitted_pipeline):
        expected = sklearn.manifold.trustworthiness(X, model.transform(X), n_neighbors=5)
        assert trustworthiness_scorer(model, X) == expected < 1
    seven = metrics.make_trustworthiness_scorer(7, features=lambda rows: rows[:, :20])(fitted, X)
    assert seven == sklearn.manifold.trustworthiness(X[:, :20], fitted.transform(X), n_neighbors=7)


def test_trustworthiness_scorer_draws_from_many_rows(fitted, digits):
    X, seen = digits[0], []

    class Watched:
        def transform(self, rows):
            seen.append(rows)
            return fitted.transform(rows)

    scores = [
        metrics.make_trustworthiness_scorer(max_samples=50, random_state=seed)(Watched(), X)
        for seed in (0, 0, 1)
    ]
    assert scores[0] == scores[1] != scores[2]
    assert len(np.unique(seen[0], axis=0)) == len(seen[0]) == 50
    assert not np.array_equal(seen[0], X[:50])
    assert scores[0] == sklearn.manifold.trustworthiness(seen[0], fitted.transform(seen[0]))


@pytest.mark.slow
def test_scorers_rank_beta_and_components(digits):
    X, y = (A[:120] for A in digits)
    swae = cheap(SWAETransformer, max_iter=10, learning_rate_init=0.01)
    pipe = Pipeline([("scale", StandardScaler(with_std=False)), ("swae", swae)])
    grid = {"swae__beta": [0.0, 1.0], "swae__n_components": [1, 6]}
    folds = list(KFold(2).split(X))
    search = GridSearchCV(pipe, grid, scoring=SCORERS, cv=folds, refit=False, error_score="raise").fit(X, y)
    train, test = folds[0]
    first = clone(pipe).set_params(**search.cv_results_["params"][0]).fit(X[train])
    for name, scorer in SCORERS.items():
        scores = search.cv_results_[f"mean_test_{name}"]
        assert len(np.unique(scores)) == 4
        assert search.cv_results_["params"][np.argmax(scores)]["swae__n_components"] == 6
        assert search.cv_results_[f"split0_test_{name}"][0] == scorer(first, X[test], y[test])


def test_a_search_without_labels(digits):
    search = GridSearchCV(cheap(AETransformer), {"n_components": [1, 4]}, scoring=frechet_scorer, cv=2)
    assert search.fit(digits[0][:120]).best_params_ == {"n_components": 4}
    with pytest.raises(ValueError, match=r"the target y is None"):
        search.set_params(scoring=knn_scorer, error_score="raise").fit(digits[0])


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scorers_travel_and_take_data_frames(scorer, fitted, digits, iris):
    X, y = (A[200:] for A in digits)
    assert pickle.loads(pickle.dumps(scorer))(fitted, X, y) == scorer(fitted, X, y)  # as with n_jobs
    frame, y = pd.DataFrame(iris, columns=list("abcd")), np.repeat([0, 1, 2], 50)
    pipe = make_pipeline(StandardScaler(), cheap(SWAETransformer)).fit(iris)
    framed = clone(pipe).set_output(transform="pandas").fit(frame)
    # columns that lie otherwise in memory are summed in another order
    assert scorer(framed, frame, y) == pytest.approx(scorer(pipe, iris, y), rel=0.01)


def test_scorers_of_what_lacks_a_method(iris):
    y, classifier = np.repeat([0, 1, 2], 50), KNeighborsClassifier()
    pipe, passed = make_pipeline(PCA(2), classifier), make_pipeline(FunctionTransformer(), "passthrough")
    for name, model, message in (
        ("knn", pipe, r"method transform. Got PCA, KNeighborsClassifier inst"),
        ("frechet", pipe, r"method sample. Got KNeighborsClassifier inst"),
        ("trustworthiness", classifier, r"method transform. Got KNeighborsClassifier inst"),
        ("frechet", make_pipeline(Normalizer(), cheap(AETransformer)), r"inverse_transform. Got Normalizer"),
        ("frechet", passed, r"method sample"),
    ):
        with pytest.raises(ValueError, match=rf"scorer needs .*{message}"):
            SCORERS[name](model.fit(iris, y), iris, y)


def test_bad_arguments():
    for name, argument, value in (
        ("knn", "n_neighbors", 0), ("frechet", "features", 3), ("frechet", "random_state", None),
        ("trustworthiness", "random_state", -1), ("trustworthiness", "max_samples", 2),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"'{argument}' parameter .* Got {value}"):
            getattr(metrics, f"make_{name}_scorer")(**{argument: value})


def test_too_few_rows(fitted, digits):
    few, half = "Expected n_neighbors < n_samples_fit", "should be less than n_samples / 2"
    for scorer, n, message in (
        (knn_scorer, 5, few),
        (trustworthiness_scorer, 10, half),
        (frechet_scorer, 1, "'X'"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer(fitted, *(A[:n] for A in digits))
