"""Multiple imputation: the spread of draws, against regression, and what they have in common."""

import numpy as np
import pandas as pd
import pytest

from skswae import MIMTransformer, SWAETransformer
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder


def correlated(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n_rows)
    b = 0.9 * a + np.sqrt(1 - 0.81) * rng.normal(size=n_rows)
    return pd.DataFrame({"a": a, "b": b, "c": a + b + rng.normal(size=n_rows), "d": rng.normal(size=n_rows)})


@pytest.fixture(scope="module", params=[SWAETransformer, MIMTransformer])
def fitted(request):
    df = correlated(600)
    estimator = request.param(2, max_iter=40, network=GatedMLP((32,)), early_stopping=False)
    return df, TableAutoencoder(estimator, random_state=0).fit(df)


@pytest.mark.slow
def test_draws_of_a_cell_are_as_wide_as_what_is_unknown(fitted):
    df, model = fitted
    others = df[["a", "c", "d"]].to_numpy()
    residual = df["b"] - others @ np.linalg.lstsq(others, df["b"], rcond=None)[0]
    draws = np.stack([f["b"] for f in model.impute(df.assign(b=np.nan), n_draws=10, random_state=0)])
    assert draws.std(axis=0).mean() == pytest.approx(residual.std(), rel=0.2)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    # of exact draws: the truth lies between the quantiles of 10 others in 74 % of the rows
    assert ((low < df["b"]) & (df["b"] < high)).mean() == pytest.approx(0.74, abs=0.06)


@pytest.mark.slow
def test_cells_of_a_row_are_drawn_together(fitted):
    """Two columns that depend on each other do so where both are missing; independent draws would not."""
    df, model = fitted
    holes = df.assign(a=np.nan, b=np.nan)
    expected = model.impute(holes)[["a", "b"]].to_numpy()
    drawn = [f[["a", "b"]].to_numpy() - expected for f in model.impute(holes, n_draws=4, random_state=0)]
    found = np.mean([np.corrcoef(r.T)[0, 1] for r in drawn])
    c = df[["c"]].to_numpy()
    rest = df[["a", "b"]].to_numpy() - c @ np.linalg.lstsq(c, df[["a", "b"]].to_numpy(), rcond=None)[0]
    truth = np.corrcoef(rest.T)[0, 1]
    assert truth > 0.5
    assert found > 0.2  # less than the truth: the limits say so
