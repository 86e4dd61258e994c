"""What the package offers, and what all measures promise."""

import inspect
import re

import numpy as np
import pytest
import sklearn.manifold
import torch

from skswae import AETransformer, datasets, metrics

from ..estimators import cheap

NAMES = [
    (module, name)
    for module in (datasets, metrics)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) and name != "trustworthiness"
]


def test_public_names():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert metrics.trustworthiness is sklearn.manifold.trustworthiness


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_functions_are_documented(module, name):
    function = getattr(module, name)
    text = inspect.getdoc(function)
    section = text.split("Parameters\n----------\n")[1].split("\n\nReturns\n")[0]
    documented = ", ".join(re.findall(r"^(\w[\w, ]*) : ", section, flags=re.M)).split(", ")
    assert documented == list(inspect.signature(function).parameters)
    assert "\nExamples\n--------\n>>> " in text
    assert "{shared}" not in text


def test_global_streams_and_arguments_stay_as_they_are(digits):
    X, y = digits  # not writable
    kept = X.copy()
    model = cheap(AETransformer, max_iter=1).fit(X)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    metrics.denoising_error(model, X, random_state=0)
    metrics.precision_recall(X[:100], X[100:], random_state=0)
    metrics.ClassifierFeatures(3, max_iter=1).fit(X, y)
    metrics.frechet_distance(X[:100], X[100:])
    metrics.nearest_row_ratio(X[:100], X[100:200], X[200:])
    metrics.category_distance(y[:100], y[100:])
    metrics.knn_accuracy(X[:100], y[:100], X[100:], y[100:], n_neighbors=(1, 3))
    metrics.neighborhood_agreement(X, X)
    metrics.rank_agreement(X, X[:, ::-1], targets=[0, 1])
    metrics.train_on_synthetic(X[:40, :3], X[40:80, :3], 0, random_state=0)
    metrics.detection_auc(X[:40, :3], X[40:80, :3], cv=2, random_state=0)
    metrics.nearest_record_ratio(X[:40], X[40:80], X[80:120])
    trust = metrics.make_trustworthiness_scorer(max_samples=50)
    for scorer in (metrics.knn_scorer, metrics.frechet_scorer, trust):
        scorer(model, X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(X, kept)
