"""Any table goes through a model and comes back as one: by property.

8 tables each time, 60 with ``-m slow``, and 2,000 in the nightly setting, SKSWAE_NIGHTLY=1.
"""

import os

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import strategies as st

from skswae import AETransformer, VAETransformer
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from ..estimators import cheap
from .people import assert_like
from .tables import PANDAS, POLARS, random_table

NIGHTLY = os.environ.get("SKSWAE_NIGHTLY") == "1"


@st.composite
def tables(draw):
    library = draw(st.sampled_from(["pandas", "pandas", "polars", "array"]))
    kinds = draw(st.lists(st.sampled_from(sorted(POLARS if library == "polars" else PANDAS)), max_size=5))
    return random_table(library, kinds, draw(st.integers(2, 40)), draw(st.integers(0, 2**32 - 1)))


def missing(X):
    """Which cells are missing: (n, C)."""
    if isinstance(X, pl.DataFrame):
        return np.stack([series.is_null().to_numpy() for series in X.get_columns()], axis=1)
    return pd.isna(np.asarray(X) if isinstance(X, np.ndarray) else X.to_numpy(dtype=object))


def cells(X, shown):
    """The values of cells as Python objects: (n, C), None elsewhere."""
    if isinstance(X, pl.DataFrame):
        columns = [series.to_list() for series in X.get_columns()]
    elif isinstance(X, pd.DataFrame):
        columns = [X.iloc[:, j].tolist() for j in range(X.shape[1])]
    else:
        columns = X.T.tolist()
    return [[v if s else None for v, s in zip(*c)] for c in zip(columns, shown.T.tolist(), strict=True)]


def seen(X):
    """The least and the greatest of each column of numbers, or the levels that occur."""
    return [
        set(column) if isinstance(column[0], str | bool | None) else (min(column), max(column))
        for column in ([v for v in c if v is not None] for c in cells(X, ~missing(X)))
    ]


def check(X, Estimator, number_map, seed):
    estimator = cheap(Estimator, network=GatedMLP((8,)), max_iter=1)
    model = TableAutoencoder(estimator, number_map=number_map, random_state=seed).fit(X)
    holes = missing(X)
    back = model.inverse_transform(model.transform(X))
    new = model.sample(7, random_state=seed)
    with_holes = model.sample(7, missing_values=True, random_state=seed)
    for found, n in ((back, len(X)), (new, 7), (with_holes, 7)):
        assert_like(found, X)
        assert len(found) == n
        for old, made in zip(seen(X), cells(found, ~missing(found)), strict=True):
            values = [value for value in made if value is not None]
            assert set(values) <= old if isinstance(old, set) else all(old[0] <= v <= old[1] for v in values)
    assert not missing(back).any()
    assert not missing(new).any()
    assert not missing(with_holes)[:, ~holes.any(axis=0)].any()
    if isinstance(X, pd.DataFrame):
        assert new.index.equals(pd.RangeIndex(7))
    full = [model.impute(X), *model.impute(X, n_draws=2, random_state=seed)]
    assert len(full) == 3
    for found in full:
        assert_like(found, X)
        assert not missing(found).any()
        assert cells(found, ~holes) == cells(X, ~holes)
        if isinstance(X, pd.DataFrame):
            assert found.index.equals(X.index)


any_table = hypothesis.given(
    X=tables(),
    Estimator=st.sampled_from([AETransformer, VAETransformer]),
    number_map=st.sampled_from(["quantile", "standard"]),
    seed=st.integers(0, 99),
)


@hypothesis.settings(max_examples=8)
@any_table
def test_any_table_goes_through(X, Estimator, number_map, seed):
    check(X, Estimator, number_map, seed)


@pytest.mark.slow
@hypothesis.settings(max_examples=2000 if NIGHTLY else 60, derandomize=not NIGHTLY)
@any_table
def test_any_of_many_tables_goes_through(X, Estimator, number_map, seed):
    check(X, Estimator, number_map, seed)
