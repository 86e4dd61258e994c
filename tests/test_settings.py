"""Whatever the caller has set in torch, results are those of a fresh interpreter, and the settings stay."""

import contextlib

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import nn

import skswae
from skswae.networks import DCGANNet

from .estimators import ESTIMATORS, VARIANTS, cheap


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
    *VARIANTS,
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
