"""Any array, frame or list either fits and keeps every contract, or is refused by a clear error."""

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from .inputs import (
    GOOD,
    HOPELESS,
    MODELS,
    NUMBERS,
    SETTINGS,
    SINGLE,
    arrays,
    assert_fit,
    assert_use,
    kinds,
    make,
)

models = st.integers(0, len(MODELS) - 1)
settings = st.integers(0, len(SETTINGS) - 1)


def dtype_of(container):
    return np.float32 if container in SINGLE else np.float64


@pytest.mark.slow
@given(models, settings, arrays(1, 2, 3, 4, 5), kinds())
def test_any_rows_fit_or_are_refused(model, setting, A, kind):
    note(f"{MODELS[model]}, {SETTINGS[setting]}, {kind}")
    found = assert_fit(model, setting, make(A, *kind), dtype_of(kind[1]))
    assert found == "refused" or kind[1] not in HOPELESS


@pytest.mark.slow
@given(models, settings, arrays(GOOD.shape[1], 2), kinds())
def test_any_rows_can_be_used_or_are_refused(model, setting, A, kind):
    note(f"{MODELS[model]}, {SETTINGS[setting]}, {kind}")
    rows = NUMBERS[kind[0]](A)
    found = assert_use(model, setting, make(A, *kind), *rows.shape, dtype_of(kind[1]))
    assert found == "refused" or kind[1] not in HOPELESS
