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
    df = correlated(400)
    estimator = request.param(4, max_iter=40, early_stopping=False)
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
    assert found > 0.5 * truth


@pytest.mark.slow
def test_cells_of_which_one_tells_the_other():
    """Where all of them are missing they vary as the data do, and do not contradict each other."""
    rng = np.random.default_rng(0)
    b = rng.normal(size=400)
    df = pd.DataFrame({"b": b, "d": 2 * b + 0.1 * rng.normal(size=400), "c": rng.choice(["x", "y"], 400)})
    df["sign"] = np.where(b > 0, "p", "m")
    estimator = SWAETransformer(8, max_iter=40, early_stopping=False)
    model = TableAutoencoder(estimator, random_state=0).fit(df)
    (drawn,) = model.impute(df.assign(b=np.nan, d=np.nan, sign=None), n_draws=1, random_state=0)
    assert drawn["d"].std() == pytest.approx(2.0, rel=0.25)
    assert np.corrcoef(drawn["b"], drawn["d"])[0, 1] > 0.9
    assert ((drawn["b"] > 0) == (drawn["sign"] == "p")).mean() > 0.85


def test_rows_without_holes_may_lack_a_category():
    """Theirs are no levels that another row's hole could be filled with."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"c": pd.Categorical(rng.choice(list("akz"), 60)), "x": rng.normal(size=60)})
    estimator = SWAETransformer(2, max_iter=2, network=GatedMLP((8,)))
    model = TableAutoencoder(estimator, random_state=0).fit(df)
    few = df[df["c"] != "a"].head(10).reset_index(drop=True)
    few["c"] = few["c"].cat.remove_unused_categories()
    few.loc[3, "x"] = np.nan
    filled = model.impute(few)
    assert filled["c"].equals(few["c"])
    assert filled["x"].notna().all()
