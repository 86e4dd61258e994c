"""A small table of mixed types with holes, of people that travel, in each library and kind of dtypes."""

import numpy as np
import pandas as pd
import polars as pl


def people(n=120, seed=0):
    """Numbers with units of their own, a text, an ordered category, a boolean, days, and a constant."""
    rng = np.random.default_rng(seed)
    female = rng.random(n) < 0.4
    age = np.where(female, rng.integers(1, 40, n), rng.integers(20, 80, n)).astype(float)
    fare = np.exp(0.5 * rng.standard_normal(n) + 0.03 * age)
    band = np.digitize(fare, [2.0, 4.0])
    X = pd.DataFrame(
        {
            "age": age,
            "sex": pd.Series(np.where(female, "female", "male"), dtype="str"),
            "fare": fare,
            "class": pd.Categorical.from_codes(band, ["third", "second", "first"], ordered=True),
            "alone": rng.random(n) < 0.5,
            "born": pd.Timestamp("2000-01-01")
            - pd.to_timedelta(365 * age + rng.integers(0, 365, n), unit="D"),
            "siblings": rng.integers(0, 4, n),
            "ship": pd.Series(["T"] * n, dtype="str"),
        }
    )
    for name, share in {"age": 0.2, "sex": 0.1, "class": 0.1, "born": 0.1}.items():
        X.loc[rng.random(n) < share, name] = None
    X.index = pd.Index([f"p{i}" for i in range(n)], name="person")
    return X


LIBRARIES = {
    "numpy": lambda X: X,
    "nullable": lambda X: X.convert_dtypes(),
    "arrow": lambda X: X.convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda X: pl.from_pandas(X.reset_index(drop=True)).with_columns(
        pl.col("class").cast(pl.String).cast(pl.Enum(["third", "second", "first"]))
    ),
}


def to_pandas(X):
    """The table as one of pandas."""
    return X.to_pandas() if isinstance(X, pl.DataFrame) else X


def holes(X):
    """Which cells are missing: (n, C)."""
    return to_pandas(X).isna().to_numpy()


def assert_like(found, X):
    """Found is a table of X's library, columns, order, dtypes and categories."""
    assert type(found) is type(X)
    if isinstance(X, np.ndarray):
        assert (found.dtype, found.shape[1]) == (X.dtype, X.shape[1])
    elif isinstance(X, pl.DataFrame):
        assert found.schema == X.schema
    else:
        assert list(found.columns) == list(X.columns)
        assert found.dtypes.tolist() == X.dtypes.tolist()
