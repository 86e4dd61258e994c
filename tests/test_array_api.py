"""Tensors as rows where scikit-learn's ``array_api_dispatch`` is on: tensors come back, on their device."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input

from .estimators import assert_equal_fits
from .test_tensors import KINDS, METHODS, REFUSED, OnCuda, each_kind, model, same_array, vae

__all__ = ["model"]  # a fixture


@pytest.fixture(autouse=True)
def dispatch(monkeypatch):
    """scikit-learn wants SciPy's variable to be set, too."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=True):
        yield


@each_kind
def test_with_dispatch_tensors_come_back(kind, model, iris):
    tensor = KINDS[kind](iris)
    X, before = same_array(tensor), tensor.detach().clone()
    for name, call in METHODS.items():
        found = call(model, tensor)
        assert isinstance(found, torch.Tensor), name
        assert not found.requires_grad
        np.testing.assert_array_equal(found.numpy(), call(model, X), strict=True, err_msg=name)
    assert model.score(tensor) == model.score(X)
    fits = [vae(early_stopping=True, max_iter=1).fit(A, X_val=A[:20]).partial_fit(A) for A in (tensor, X)]
    assert_equal_fits(*fits)
    assert torch.equal(tensor, before)
    assert isinstance(clone(fits[0]).fit_transform(tensor), torch.Tensor)


def test_dispatch_changes_nothing_for_arrays(model, iris):
    found = {name: call(model, iris) for name, call in METHODS.items()}
    fitted = vae().fit(iris)
    with sklearn.config_context(array_api_dispatch=False):
        for name, call in METHODS.items():
            np.testing.assert_array_equal(found[name], call(model, iris), strict=True)
        assert_equal_fits(fitted, vae().fit(iris))


def test_tensors_pass_through_a_pipeline(iris):
    X = torch.tensor(iris)
    pipe = make_pipeline(StandardScaler(), PCA(3), vae()).fit(X)
    assert isinstance(pipe.transform(X), torch.Tensor)
    assert isinstance(pipe.inverse_transform(pipe.transform(X)), torch.Tensor)


def test_a_fit_copies_rows_from_a_card_to_the_host(iris):
    X, y = torch.tensor(iris), torch.tensor(iris[:, 0] > 6).int()
    settings = {"early_stopping": True, "neighbor_weight": 1.0, "target_weight": 0.5, "max_iter": 1}
    fits = [
        vae(**settings).fit(A, b, X_val=A).partial_fit(A, b)
        for A, b in ((X, y), (X.as_subclass(OnCuda), y.as_subclass(OnCuda)))
    ]
    assert_equal_fits(*fits)


def test_sklearn_s_check_of_tensors():
    for dtype in ("float32", "float64"):
        check_array_api_input("VAETransformer", vae(), "torch", "cpu", dtype, check_values=True)


@pytest.mark.parametrize("kind", REFUSED)
def test_tensors_that_cannot_be_used(kind, model, iris):
    make, message = REFUSED[kind]
    for name in {"score_samples"} if kind == "too large" else {"transform", "inverse_transform"}:
        with pytest.raises((TypeError, ValueError), match=message):
            getattr(model, name)(make(iris))


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gpu_tensors_stay_where_they_are(device, iris):
    """Whatever device the model computes on."""
    X = torch.tensor(iris, device="cuda")
    y = torch.tensor(iris[:, 0] > 6, device="cuda")
    model = vae(device=device, neighbor_weight=1.0, early_stopping=True, target_weight=0.5).fit(
        X, y, X_val=X[:20]
    )
    for name, call in METHODS.items():
        found, expected = call(model, X), call(model, iris)
        assert found.device == X.device, name
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-9, err_msg=name)
    assert model.score(X) == pytest.approx(model.score(iris))
    with sklearn.config_context(array_api_dispatch=False), pytest.raises(TypeError, match=r"pass X\.cpu"):
        model.transform(X)
    assert clone(model).fit_transform(X, y).device == X.device
