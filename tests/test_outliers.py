"""Outliers in scikit-learn's convention, by the scores of another estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skswae import AETransformer, SWAETransformer
from skswae.outliers import OutlierDetector

from .estimators import cheap


@pytest.mark.slow
@parametrize_with_checks([OutlierDetector(cheap(AETransformer, max_iter=2))])
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.5])
def test_the_share_of_outliers_among_training_rows(iris, contamination):
    X = np.random.default_rng(0).standard_normal((100, 3))
    detector = OutlierDetector(KernelDensity(), contamination=contamination)
    labels = detector.fit_predict(X)
    assert labels.dtype.kind == "i"
    assert (labels == -1).sum() == round(100 * contamination)
    scores = KernelDensity().fit(X).score_samples(X)
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    assert detector.offset_ == np.percentile(scores, 100 * contamination)
    np.testing.assert_array_equal(detector.decision_function(X), scores - detector.offset_)
    np.testing.assert_array_equal(labels == -1, scores < detector.offset_)


class FirstColumn(BaseEstimator):
    """Scores rows by their first number, or gives what it is told to."""

    def __init__(self, gives=None):
        self.gives = gives

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def score_samples(self, X):
        return np.asarray(X)[:, 0] if self.gives is None else self.gives


def test_the_rule_without_a_contamination():
    """By the shares that the docstring states: 0.35 % of normal scores, 1 in 32 of exponential ones."""
    rng = np.random.default_rng(0)
    for scores, share in (
        (rng.standard_normal(200_000), 0.0035),
        (-rng.exponential(size=200_000), 1 / 32),
        (1e6 - 1e3 * rng.exponential(size=200_000), 1 / 32),
    ):
        labels = OutlierDetector(FirstColumn(), contamination="auto").fit_predict(scores[:, None])
        assert abs((labels == -1).mean() - share) < 0.1 * share


def test_outliers_of_a_table_are_found():
    """Rows of two columns whose relation is broken: neither column alone shows them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(300)
    X = np.c_[x, x + 0.1 * rng.standard_normal(300), -x]
    X[:15, 1] *= -1
    is_outlier = np.arange(300) < 15
    detector = OutlierDetector(
        make_pipeline(StandardScaler(), cheap(SWAETransformer, n_components=1)), contamination=0.05
    )
    detector.fit(X)
    assert roc_auc_score(is_outlier, -detector.decision_function(X)) > 0.9


def test_it_is_an_estimator(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    detector = OutlierDetector(make_pipeline(StandardScaler(), cheap(AETransformer)))
    with pytest.raises(NotFittedError):
        detector.predict(frame)
    assert not hasattr(detector, "feature_names_in_")
    detector.fit(frame)
    assert list(detector.feature_names_in_) == list("abcd")
    assert detector.n_features_in_ == 4
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.decision_function(frame), detector.decision_function(frame))
    other = clone(detector).set_params(estimator__aetransformer__n_components=1, contamination=0.2)
    assert other.fit(frame).estimator_[-1].n_components == 1
    assert not hasattr(detector.estimator, "n_features_in_")  # the clone is fitted alone
    y = np.where(np.arange(150) % 10, 1, -1)
    search = GridSearchCV(
        OutlierDetector(PCA()),
        {"estimator__n_components": [1, 3]},
        cv=2,
        scoring=make_scorer(roc_auc_score, response_method="decision_function"),
    )
    assert search.fit(iris, y).predict(iris).shape == (150,)


def test_arguments_of_the_inner_fit(iris):
    swae = cheap(AETransformer, early_stopping=True)
    detector = OutlierDetector(swae).fit(iris[:100], X_val=iris[100:])
    assert np.isfinite(detector.estimator_.history_["validation_loss"]).any()
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="X_val"):
            OutlierDetector(swae).fit(iris[:100], X_val=iris[100:])
        asked = clone(swae).set_fit_request(X_val=True)
        routed = OutlierDetector(asked).fit(iris[:100], X_val=iris[100:])
    np.testing.assert_array_equal(routed.score_samples(iris), detector.score_samples(iris))


@pytest.mark.parametrize("contamination", [0, 0.6, -0.1, "some", None, True])
def test_contaminations_that_are_none(iris, contamination):
    with pytest.raises(ValueError, match="The 'contamination' parameter of OutlierDetector must be"):
        OutlierDetector(PCA(), contamination=contamination).fit(iris)


def test_estimators_that_score_nothing(iris):
    with pytest.raises(ValueError, match="The 'estimator' parameter of OutlierDetector must be"):
        OutlierDetector(StandardScaler()).fit(iris)
    for gives in (1.0, np.ones((150, 2)), np.full(150, np.nan), np.full(150, "a")):
        with pytest.raises(ValueError, match=r"The 'estimator' parameter .* Got FirstColumn, which gives"):
            OutlierDetector(FirstColumn(gives)).fit(iris)
    endless = FirstColumn(np.full(150, -np.inf))
    with pytest.raises(ValueError, match=r"scores of the training rows must be finite .* Got (-inf|nan)"):
        OutlierDetector(endless).fit(iris)
    detector = OutlierDetector(PCA()).fit(iris)
    before = detector.decision_function(iris)
    with pytest.raises(ValueError, match="must be finite"):
        detector.set_params(estimator=endless).fit(iris)
    np.testing.assert_array_equal(detector.decision_function(iris), before)
