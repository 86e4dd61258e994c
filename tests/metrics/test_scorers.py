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

from skswae import AETransformer, SWAETransformer
from skswae.metrics import (
    frechet_distance,
    frechet_scorer,
    knn_scorer,
    make_frechet_scorer,
    make_knn_scorer,
    make_trustworthiness_scorer,
    trustworthiness_scorer,
)

from ..estimators import cheap

SCORERS = {"knn": knn_scorer, "frechet": frechet_scorer, "trustworthiness": trustworthiness_scorer}


@pytest.fixture(scope="module")
def fitted(digits):
    return cheap(SWAETransformer, n_components=4).fit(digits[0][:200])


@pytest.fixture(scope="module")
def fitted_pipeline(digits):
    steps = [("drop", VarianceThreshold(1e-6)), ("scale", StandardScaler()), ("swae", cheap(SWAETransformer))]
    return Pipeline(steps).fit(digits[0][:200])


def test_knn_scorer_leaves_one_out(fitted, fitted_pipeline, digits):
    X, y = (A[200:260] for A in digits)
    names = np.array(list("jihgfedcba"))[y]  # tied votes go to the lowest of these, too
    for k, model in ((4, fitted), (5, fitted_pipeline)):
        Z = model.transform(X)
        expected = cross_val_score(KNeighborsClassifier(k), Z, names, cv=LeaveOneOut()).mean()
        assert make_knn_scorer(k)(model, X, names) == pytest.approx(expected, abs=1e-12)
        assert 0.1 < expected < 1


def test_frechet_scorer_of_a_model(fitted, digits):
    X = digits[0][200:]
    drawn = fitted.sample(100, random_state=0)
    assert frechet_scorer(fitted, X) == -frechet_distance(drawn, X)
    assert frechet_scorer(fitted, X) == frechet_scorer(fitted, X, digits[1][200:]) < 0
    other = -frechet_distance(fitted.sample(100, random_state=1), X)
    assert make_frechet_scorer(random_state=1)(fitted, X) == other != frechet_scorer(fitted, X)
    pca = PCA(3).fit(X)
    of_features = make_frechet_scorer(features=pca.transform)(fitted, X)
    assert of_features == -frechet_distance(pca.transform(drawn), pca.transform(X))
    density = KernelDensity(bandwidth=0.01).fit(X)  # has samples, too
    assert frechet_scorer(fitted, X) < frechet_scorer(density, X) < 0


def test_frechet_scorer_brings_samples_into_the_units_of_the_rows(fitted_pipeline, digits):
    X = digits[0][200:]
    scaled = fitted_pipeline["swae"].sample(100, random_state=0)
    drawn = fitted_pipeline[:2].inverse_transform(scaled)
    assert drawn.shape == X.shape != scaled.shape
    expected = -frechet_distance(drawn, X)
    assert frechet_scorer(fitted_pipeline, X) == pytest.approx(expected, rel=1e-12)
    # a Pipeline in a Pipeline, and one of a single step
    nested = Pipeline([("drop", fitted_pipeline["drop"]), ("rest", fitted_pipeline[1:])])
    assert frechet_scorer(nested, X) == pytest.approx(expected, rel=1e-12)
    rows = fitted_pipeline[:2].transform(X)
    assert frechet_scorer(fitted_pipeline[2:], rows) == -frechet_distance(scaled, rows)


def test_trustworthiness_scorer_is_scikit_learn_s(fitted, fitted_pipeline, digits):
    X = digits[0][200:]
    for model in (fitted, fitted_pipeline):
        expected = sklearn.manifold.trustworthiness(X, model.transform(X), n_neighbors=5)
        assert trustworthiness_scorer(model, X) == expected < 1
    seven = make_trustworthiness_scorer(7, features=lambda rows: rows[:, :20])(fitted, X)
    assert seven == sklearn.manifold.trustworthiness(X[:, :20], fitted.transform(X), n_neighbors=7)


def test_trustworthiness_scorer_draws_from_many_rows(fitted, digits):
    X = digits[0]
    seen = []

    class Watched:
        def transform(self, rows):
            seen.append(rows)
            return fitted.transform(rows)

    scorer = make_trustworthiness_scorer(max_samples=50)
    score = scorer(Watched(), X)
    assert scorer(Watched(), X) == score
    assert len(np.unique(seen[0], axis=0)) == len(seen[0]) == 50
    assert not np.array_equal(seen[0], X[:50])
    assert score == sklearn.manifold.trustworthiness(seen[0], fitted.transform(seen[0]))
    assert make_trustworthiness_scorer(max_samples=50, random_state=1)(Watched(), X) != score


def test_scorers_rank_beta_and_components(digits):
    X, y = (A[:120] for A in digits)
    swae = cheap(SWAETransformer, max_iter=10, learning_rate_init=0.01)
    pipe = Pipeline([("scale", StandardScaler(with_std=False)), ("swae", swae)])
    grid = {"swae__beta": [0.0, 1.0], "swae__n_components": [1, 6]}
    folds = list(KFold(2).split(X))
    search = GridSearchCV(pipe, grid, scoring=SCORERS, cv=folds, refit=False, error_score="raise").fit(X, y)
    for name in SCORERS:
        scores = search.cv_results_[f"mean_test_{name}"]
        assert len(np.unique(scores)) == 4
        assert search.cv_results_["params"][np.argmax(scores)]["swae__n_components"] == 6
    # by hand, of the first candidate on the first fold
    train, test = folds[0]
    first = clone(pipe).set_params(**search.cv_results_["params"][0]).fit(X[train])
    for name, scorer in SCORERS.items():
        assert search.cv_results_[f"split0_test_{name}"][0] == scorer(first, X[test], y[test])


def test_a_search_without_labels(digits):
    X = digits[0][:120]
    search = GridSearchCV(cheap(AETransformer), {"n_components": [1, 4]}, scoring=frechet_scorer, cv=2)
    assert search.fit(X).best_params_ == {"n_components": 4}
    search.set_params(scoring=knn_scorer, error_score="raise")
    with pytest.raises(ValueError, match=r"the target y is None"):
        search.fit(X)


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scorers_travel(scorer, fitted, digits):
    """As they do to other processes with ``n_jobs``."""
    X, y = (A[200:] for A in digits)
    assert pickle.loads(pickle.dumps(scorer))(fitted, X, y) == scorer(fitted, X, y)


def test_scorers_of_data_frames(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    y = np.repeat([0, 1, 2], 50)
    pipe = make_pipeline(StandardScaler(), cheap(SWAETransformer)).fit(iris)
    framed = clone(pipe).set_output(transform="pandas").fit(frame)
    for scorer in SCORERS.values():
        # columns that lie otherwise in memory are summed in another order
        assert scorer(framed, frame, y) == pytest.approx(scorer(pipe, iris, y), rel=0.01)


@pytest.mark.parametrize(
    ("name", "method"), [("knn", "transform"), ("frechet", "sample"), ("trustworthiness", "transform")]
)
def test_scorers_of_a_classifier(name, method, digits):
    X, y = (A[:100] for A in digits)
    pipe = make_pipeline(PCA(2), KNeighborsClassifier()).fit(X, y)
    for model in (pipe, pipe[-1]):
        with pytest.raises(
            ValueError, match=rf"{name}_scorer needs .* {method}. Got .*KNeighborsClassifier inst"
        ):
            SCORERS[name](model, X, y)


@pytest.mark.parametrize(
    ("pipe", "message"),
    [
        (PCA(2), r"method sample. Got PCA instead"),
        (
            make_pipeline(StandardScaler(), Normalizer(), cheap(AETransformer)),
            r"Got StandardScaler, Normalizer",
        ),
        (make_pipeline(FunctionTransformer(), "passthrough"), r"method sample"),
    ],
)
def test_frechet_scorer_of_what_cannot_sample_or_go_back(pipe, message, iris):
    with pytest.raises(ValueError, match=rf"frechet_scorer needs .*{message}"):
        frechet_scorer(pipe.fit(iris), iris)


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        (make_knn_scorer, "n_neighbors", 0),
        (make_frechet_scorer, "features", 3),
        (make_frechet_scorer, "random_state", None),
        (make_trustworthiness_scorer, "n_neighbors", 0),
        (make_trustworthiness_scorer, "features", 3),
        (make_trustworthiness_scorer, "random_state", -1),
        (make_trustworthiness_scorer, "max_samples", 2),
    ],
)
def test_bad_arguments(make, argument, value):
    with pytest.raises(ValueError, match=rf"'{argument}' parameter .* Got {value}"):
        make(**{argument: value})


@pytest.mark.parametrize(
    ("scorer", "n_samples", "message"),
    [
        (knn_scorer, 5, "Expected n_neighbors < n_samples_fit, but n_neighbors = 5, n_samples_fit = 5"),
        (trustworthiness_scorer, 10, r"n_neighbors \(5\) should be less than n_samples / 2"),
        (frechet_scorer, 1, "'X' argument cannot be used. .* 1 sample"),
    ],
)
def test_too_few_rows(scorer, n_samples, message, fitted, digits):
    X, y = (A[:n_samples] for A in digits)
    with pytest.raises(ValueError, match=message):
        scorer(fitted, X, y)
