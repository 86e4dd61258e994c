"""A new objective takes one file and no edit of the package, and a module needs no rows to be built."""

import copy
import pathlib
import pickle
import re
import runpy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae.networks import GatedMLP

from .outside_objective import DenoisingTransformer
from .outside_parameter import SparseTransformer

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "most"),
    [("outside_objective.py", 12), ("rebuilt_module.py", 12), ("outside_parameter.py", 25)],
)
def test_the_page_is_what_is_tested(name, most):
    """CONTRIBUTING shows the files that run here and in test_common, and they are short."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE.parent / "CONTRIBUTING.md").read_text(), re.M | re.S)
    code = (HERE / name).read_text()
    assert code in blocks
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= most


def test_a_parameter_of_ones_own(digits, tmp_path):
    X = digits[0][:100]
    sparse = SparseTransformer(2, sparsity=0.0, max_iter=2, random_state=0).fit(X)
    assert clone(sparse).get_params() == sparse.get_params()
    before = sparse.history_["size"][-1]
    assert sparse.set_params(sparsity=100.0).partial_fit(X).history_["loss"][-1] > 50 * before
    SparseTransformer(max_iter=2, random_state=0).fit(X, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="'sparsity' parameter of SparseTransformer must be a float in"):
        sparse.set_params(sparsity=-1.0).fit(X)
    with pytest.raises(ValueError, match="'max_iter' parameter of SparseTransformer must be"):
        SparseTransformer(max_iter=-1).fit(X)


def test_a_module_is_rebuilt_without_rows():
    runpy.run_path(str(HERE / "rebuilt_module.py"))


def test_an_objective_from_outside_is_an_estimator_like_any_other(digits):
    X, y = digits
    ae = DenoisingTransformer(max_iter=3, random_state=0, device="cpu")
    grid = {"ae__n_components": [1, 4], "ae__network": [GatedMLP((8,)), GatedMLP((16,))]}
    search = GridSearchCV(
        Pipeline([("ae", ae), ("knn", KNeighborsClassifier(5))]), grid, cv=2, error_score="raise"
    )
    fitted = search.fit(X, y).best_estimator_.named_steps["ae"]
    assert fitted.n_components == 4
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), clone(fitted).fit(X)):
        np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
        for prior in ("model", "gmm"):
            draws = (e.sample(5, prior=prior, random_state=0) for e in (again, fitted))
            np.testing.assert_array_equal(*draws)
    drawn = fitted.module_.sample_prior(10, torch.Generator().manual_seed(0))
    assert torch.isin(drawn, fitted.module_.codes.rows).all()
    assert "validation_loss" in clone(fitted).set_params(early_stopping=True).fit(X).history_
