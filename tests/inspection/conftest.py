"""Fitted models of digits, a table of 12 columns and 200 curves of 500 points; figures are closed."""

import matplotlib

matplotlib.use("Agg")

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skswae import AETransformer, SWAETransformer, VAETransformer

from ..estimators import cheap


@dataclass
class Case:
    estimator: Any  # with 2 components
    model: Any  # the estimator, or the step of it
    X: Any
    y: Any
    image_shape: Any
    kind: str


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def cases(digits):
    X, y = digits
    swae = cheap(SWAETransformer, early_stopping=True).fit(X)
    wine = load_wine(as_frame=True)
    table = wine.data.iloc[::2, :12]
    pipe = Pipeline(
        [
            ("scale", StandardScaler()),
            ("ae", cheap(AETransformer)),
            ("knn", KNeighborsClassifier(3)),
        ]
    ).fit(table, wine.target[::2])
    rng = np.random.default_rng(0)
    x, middle = np.linspace(400, 2400, 500), rng.uniform(700, 2100, (200, 1))
    curves = np.exp(-np.square((x - middle) / 200)) + 0.05 * rng.standard_normal((200, 500))
    curves = pd.DataFrame(curves, columns=[f"{at:.1f}" for at in x])
    vae = make_pipeline(cheap(VAETransformer)).fit(curves)
    return {
        "digits": Case(swae, swae, X[:20], y[:20], (8, 8), "image"),
        "table": Case(pipe, pipe["ae"], table, wine.target[::2], None, "bar"),
        "curves": Case(vae, vae[-1], curves, middle[:, 0], None, "curve"),
    }


@pytest.fixture(params=["digits", "table", "curves"])
def case(request, cases):
    return cases[request.param]
