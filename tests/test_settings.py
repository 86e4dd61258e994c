"""Settings of NumPy and scikit-learn that a caller may have changed."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from skswae import metrics

from .estimators import ESTIMATORS, assert_equal_fits, cheap


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("scales", [(1, 1, 1e-160, 1e-310), (1e-200,) * 4, (1, 1, 1, 1)])
def test_floating_point_errors_are_handled_as_by_default(Estimator, scales, iris):
    """Numbers that underflow to 0 are no error, whatever ``numpy.seterr`` says."""
    X = iris * scales
    fits, results = [], []
    for handling in ("raise", "ignore"):
        with np.errstate(all=handling):
            fits.append(cheap(Estimator, max_iter=2).fit(X).partial_fit(X))
            calls = [getattr(fits[-1], name)(X) for name in ("transform", "reconstruct", "score_samples")]
            calls += [fits[-1].sample(5, prior=prior, random_state=0) for prior in ("model", "gmm")]
            results.append([*calls, fits[-1].score(X)])
    assert_equal_fits(*fits)
    for first, second in zip(*results):
        np.testing.assert_array_equal(first, second)


def test_measures_handle_floating_point_errors_as_by_default(iris):
    X = iris * [1, 1, 1e-160, 1e-310]
    samples, train, held_out, y = X[::3], X[1::3], X[2::3], np.arange(50) % 2
    model = cheap(ESTIMATORS[0], max_iter=1).fit(train)
    results = []
    for handling in ("raise", "ignore"):
        with np.errstate(all=handling):
            results.append([
                metrics.reconstruction_error(samples, train),
                metrics.denoising_error(model, train, random_state=0),
                metrics.precision_recall(samples, train, random_state=0),
                metrics.nearest_row_ratio(samples, train, held_out),
                metrics.duplicate_rate(samples, train, held_out),
                metrics.frechet_distance(samples, train),
                metrics.knn_accuracy(train, y, samples, y),
                metrics.neighborhood_agreement(train, samples),
                metrics.rank_agreement(train, samples),
                metrics.ClassifierFeatures(3, max_iter=1).fit(train, y).score(train, y),
                metrics.knn_scorer(model, train, y),
                metrics.frechet_scorer(model, train),
                metrics.trustworthiness_scorer(model, train),
            ])  # fmt: skip
    assert results[0] == results[1]


def test_tensors_are_read_as_arrays_under_array_api_dispatch():
    """In a process of its own: SciPy reads the variable when it is imported."""
    code = """
        import numpy as np
        import sklearn
        import torch

        from skswae import metrics
        from tests.estimators import ESTIMATORS, assert_equal_fits, cheap

        tensor = torch.rand(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        y = torch.arange(40) % 2
        results = []
        for dispatch, X in ((False, tensor.numpy()), (True, tensor)):
            sklearn.set_config(array_api_dispatch=dispatch)
            fits = [cheap(E, max_iter=1).fit(X).partial_fit(X) for E in ESTIMATORS]
            found = [f(X) for m in fits for f in (m.transform, m.reconstruct, m.score_samples, m.score)]
            found += [m.inverse_transform(X[:, :2]) for m in fits]
            found += [m.sample(3, prior="gmm", random_state=0) for m in fits]
            labels = y if dispatch else y.numpy()
            features = metrics.ClassifierFeatures(3, max_iter=1).fit(X, labels)
            found += [
                features(X),
                features.score(X, labels),
                metrics.reconstruction_error(X, X + 1),
                metrics.precision_recall(X, X + 0.1, random_state=0),
                metrics.nearest_row_ratio(X, X + 0.2, X + 0.1),
                metrics.knn_accuracy(X, labels, X, labels),
                metrics.neighborhood_agreement(X, X[:, :2]),
                metrics.rank_agreement(X, X[:, :2]),
                metrics.frechet_distance(X, 2 * X, features=features),
                metrics.denoising_error(fits[0], X, random_state=0),
                metrics.knn_scorer(fits[0], X, labels),
                metrics.frechet_scorer(fits[0], X),
                metrics.trustworthiness_scorer(fits[0], X),
            ]
            results.append(found)
        for first, second in zip(*results):
            assert type(first) is type(second)
            np.testing.assert_array_equal(first, second)
    """
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
