"""Whatever the caller has set, results are those of a fresh interpreter, and the settings stay."""

import contextlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import nn

import skswae
from skswae import metrics
from skswae.networks import DCGANNet

from .estimators import ESTIMATORS, VARIANTS, assert_equal_fits, cheap


@contextlib.contextmanager
def put_back(set_value, value, usual):
    set_value(value)
    try:
        yield
    finally:
        set_value(usual)


@contextlib.contextmanager
def all_of(*blocks):
    with contextlib.ExitStack() as stack:
        for block in blocks:
            stack.enter_context(block)
        yield


MEDIUM = (torch.set_float32_matmul_precision, "medium", "highest")
BLOCKS = {
    "autocast, no_grad, float64, meta": lambda: all_of(
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.no_grad(),
        put_back(torch.set_default_dtype, torch.float64, torch.float32),
        put_back(torch.set_default_device, "meta", None),
    ),
    "inference_mode, bfloat16, medium, deterministic": lambda: all_of(
        torch.inference_mode(),
        put_back(torch.set_default_dtype, torch.bfloat16, torch.float32),
        put_back(*MEDIUM),
        put_back(torch.use_deterministic_algorithms, True, False),
    ),
}


def settings():
    matmul = torch.backends.cuda.matmul
    return (
        torch.is_autocast_enabled("cpu"),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.get_float32_matmul_precision(),
        matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )


def results(Estimator, parameters, X):
    fitted = cheap(Estimator, max_iter=2, **parameters).fit(X)
    grown = cheap(Estimator, **parameters).partial_fit(X).partial_fit(X)
    X32 = X.astype(np.float32)
    found = [
        *(fitted.transform(rows) for rows in (X, X32)),
        *(fitted.score_samples(rows) for rows in (X, X32)),
        fitted.inverse_transform(fitted.transform(X32)),
        *(fitted.sample(4, prior=prior, random_state=0) for prior in ("model", "gmm")),
        grown.transform(X),
        fitted.loss_curve_,
    ]
    if hasattr(fitted, "sample_posterior"):
        found.append(fitted.sample_posterior(X32, random_state=0))
    if hasattr(fitted, "log_likelihood"):
        found.append(fitted.log_likelihood(X32, n_importance_samples=2, random_state=0))
    return found


class Plain(BaseEstimator):
    """A network of the user's own, which takes torch's default dtype and device."""

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 8), nn.Tanh(), nn.Linear(8, n_outputs))

    build_decoder = build_encoder


CASES = [
    *((E, {}) for E in ESTIMATORS),
    *(pytest.param(*variant, marks=pytest.mark.slow) for variant in VARIANTS),
    (skswae.SWAETransformer, {"network": Plain()}),
    (skswae.SWAETransformer, {"network": DCGANNet((1, 8, 8), filters=(4, 4))}),
]


@pytest.mark.parametrize(("Estimator", "parameters"), CASES)
def test_results_do_not_depend_on_the_callers_settings(Estimator, parameters, digits):
    X = digits[0][:40]
    expected = results(Estimator, parameters, X)
    for name, block in BLOCKS.items():
        with block():
            before = settings()
            found = results(Estimator, parameters, X)
            assert settings() == before, name
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_a_module_that_moves_within_inference_mode_can_be_trained(digits):
    model = cheap(skswae.AETransformer).fit(digits[0])
    with torch.inference_mode():
        model.transform(digits[0])
    model.partial_fit(digits[0])
    assert not any(p.is_inference() for p in model.module_.parameters())


def test_others_see_their_own_flags_while_a_fit_runs(digits):
    """All but the products of a step are computed under the caller's flags."""
    seen = []

    def look(x, generator):
        seen.append(settings()[-4:])
        return x

    with put_back(*MEDIUM):
        expected = settings()[-4:]
        cheap(skswae.SWAETransformer, augment=look).fit(digits[0][:70])
    assert set(seen) == {expected}


@pytest.mark.slow
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


@pytest.mark.slow
def test_tensors_give_what_arrays_give_under_array_api_dispatch():
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
            if isinstance(second, torch.Tensor):  # what has rows for an argument returns its kind
                second = second.numpy()
            assert type(first) is type(second)
            np.testing.assert_array_equal(first, second)
    """
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
