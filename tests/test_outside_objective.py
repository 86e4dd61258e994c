"""A new objective takes one file and no edit of the package."""

import copy
import inspect
import pathlib
import pickle
import re

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

import skswae
from skswae.networks import GatedMLP

from . import outside_objective
from .outside_objective import DenoisingTransformer

ROOT = pathlib.Path(__file__).parent.parent


def test_the_page_is_this_file():
    """CONTRIBUTING's example is what is tested here and run through scikit-learn's checks in test_common."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
    code = inspect.getsource(outside_objective).split('"""\n\n', 1)[1]
    assert code in blocks
    statements = [
        line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(statements) <= 12


def test_it_is_an_estimator_like_any_other(digits):
    X, y = digits
    pipe = Pipeline(
        [("ae", DenoisingTransformer(max_iter=3, random_state=0)), ("knn", KNeighborsClassifier(5))]
    )
    grid = {"ae__n_components": [1, 4], "ae__network": [GatedMLP((8,)), GatedMLP((16,))]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_params_["ae__n_components"] == 4
    fitted = search.best_estimator_.named_steps["ae"]
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), clone(fitted).fit(X)):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        for prior in ("model", "gmm"):
            np.testing.assert_array_equal(
                again.sample(5, prior=prior, random_state=0), fitted.sample(5, prior=prior, random_state=0)
            )
    drawn = fitted.module_.sample_prior(10, torch.Generator().manual_seed(0))
    assert torch.isin(drawn, fitted.module_.codes).all()
    assert "validation_loss" in clone(fitted).set_params(early_stopping=True).fit(X).history_


def test_it_is_not_the_package_s():
    assert not hasattr(skswae, "DenoisingTransformer")
