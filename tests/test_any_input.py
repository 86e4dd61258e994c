"""Any array, frame or list either fits and keeps every contract, or is refused by a clear error."""

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from skswae import SWAETransformer, VAETransformer

from .inputs import (
    CONTAINERS,
    ESTIMATORS,
    GOOD,
    MODELS,
    NUMBERS,
    SETTINGS,
    SINGLE,
    arrays,
    assert_fit,
    assert_fit_as_it_should,
    assert_use,
    assert_use_as_it_should,
    estimator,
    kinds,
    make,
)

models = st.integers(0, len(MODELS) - 1)
settings = st.integers(0, len(SETTINGS) - 1)


def dtype_of(container):
    return np.float32 if container in SINGLE else np.float64


KINDS = [(numbers, "array") for numbers in NUMBERS] + [("as they are", container) for container in CONTAINERS]


@pytest.mark.slow
@pytest.mark.parametrize("i", range(len(KINDS)), ids=lambda i: KINDS[i][KINDS[i][0] == "as they are"])
def test_each_kind(i):
    """Every kind by itself, on one model or another: the same ones each time."""
    kind = KINDS[i]
    found = assert_fit(i % len(MODELS), 0, make(GOOD, *kind), dtype_of(kind[1]))
    assert_fit_as_it_should(found, i % len(MODELS), 0, GOOD, kind)


@pytest.mark.slow
@pytest.mark.parametrize("model", range(len(ESTIMATORS)), ids=lambda i: ESTIMATORS[i].__name__)
def test_many_features_and_few_rows(model):
    X = np.random.default_rng(0).normal(size=(20, 10_000))
    assert assert_fit(model, 0, X, np.float64) == "kept"


SMALL_SPREAD = ["below their rounding", "a column below its rounding beside small ones"]
FAST = (SWAETransformer, VAETransformer)
FAST_OR_SLOW = [
    pytest.param(i, marks=[pytest.mark.slow] * (E not in FAST), id=E.__name__)
    for i, E in enumerate(ESTIMATORS)
]


@pytest.mark.parametrize("numbers", SMALL_SPREAD)
@pytest.mark.parametrize("model", FAST_OR_SLOW)
def test_what_differs_by_rounding_alone_is_constant_beside_other_features(model, numbers):
    """Where there are no others it is what there is to be learned."""
    X = make(GOOD, numbers, "array")
    fitted = estimator(model, 0).fit(X)
    codes = fitted.transform(X)
    if numbers == "below their rounding":
        assert np.ptp(X) > 0
        np.testing.assert_allclose(fitted.reconstruct(X), X, rtol=1e-12)
    assert (np.ptp(codes, axis=0) > 1e-3).any()
    other = X.copy()
    if numbers.startswith("a column"):  # its rounding tells nothing, and its deviations do
        other[:, 0] = X[::-1, 0]
        np.testing.assert_array_equal(fitted.transform(other), codes)


@pytest.mark.slow
@given(models, settings, arrays(1, 2, 3, 4, 5), kinds())
def test_any_rows_fit_or_are_refused(model, setting, A, kind):
    note(f"{MODELS[model]}, {SETTINGS[setting]}, {kind}")
    found = assert_fit(model, setting, make(A, *kind), dtype_of(kind[1]))
    assert_fit_as_it_should(found, model, setting, A, kind)


@pytest.mark.slow
@given(models, settings, arrays(GOOD.shape[1], 2), kinds())
def test_any_rows_can_be_used_or_are_refused(model, setting, A, kind):
    note(f"{MODELS[model]}, {SETTINGS[setting]}, {kind}")
    rows = NUMBERS[kind[0]](A)
    found = assert_use(model, setting, make(A, *kind), *rows.shape, dtype_of(kind[1]))
    assert_use_as_it_should(found, model, setting, A, kind)
