"""Tensors as rows, of which arrays come back; ``test_array_api.py`` has those of which tensors do."""

import numpy as np
import pytest
import torch

from skswae import VAETransformer

from .estimators import assert_equal_fits, cheap

KINDS = {
    "float64 with a gradient": lambda A: torch.tensor(A, requires_grad=True),
    "strided float32": lambda A: torch.tensor(np.repeat(A, 2, axis=0), dtype=torch.float32)[::2],
    "transposed int": lambda A: torch.tensor(A.T.copy()).int().T,
    "bfloat16": lambda A: torch.tensor(A).bfloat16(),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def model(iris):
    return vae().fit(iris)


def vae(**parameters):
    return cheap(VAETransformer, likelihood="gaussian", **parameters)


def same_array(tensor):
    """The array that the package makes of these rows."""
    rows = tensor.detach()
    return rows.numpy() if rows.dtype == torch.float32 else rows.double().numpy()


METHODS = {
    "transform": lambda model, X: model.transform(X),
    "inverse_transform": lambda model, X: model.inverse_transform(X[:, :2]),
    "reconstruct": lambda model, X: model.reconstruct(X),
    "score_samples": lambda model, X: model.score_samples(X),
    "sample_posterior": lambda model, X: model.sample_posterior(X, random_state=0),
    "log_likelihood": lambda model, X: model.log_likelihood(X, 2, random_state=0),
}


@each_kind
def test_tensors_on_the_host_are_arrays(kind, model, iris):
    tensor = KINDS[kind](iris)
    X, before = same_array(tensor), tensor.detach().clone()
    for name, call in METHODS.items():
        np.testing.assert_array_equal(call(model, tensor), call(model, X), strict=True, err_msg=name)
    assert model.score(tensor) == model.score(X)
    fits = [vae(early_stopping=True, max_iter=1).fit(A, X_val=A[:20]).partial_fit(A) for A in (tensor, X)]
    assert_equal_fits(*fits)
    assert torch.equal(tensor, before)
    assert type(vae(max_iter=1).fit_transform(tensor)) is np.ndarray


REFUSED = {
    "sparse": (lambda A: torch.tensor(A).to_sparse(), r"X must be a dense tensor of real numbers"),
    "complex": (lambda A: torch.tensor(A) + 1j, r"X must be a dense tensor of real numbers"),
    "without numbers": (lambda A: torch.empty(A.shape, device="meta"), "X must be"),
    "NaN": (lambda A: torch.tensor(A) * float("nan"), "Input X contains NaN"),
    "1-d": (lambda A: torch.tensor(A[0]), "Expected 2D array"),
    "no rows": (lambda A: torch.tensor(A[:0]), "0 sample"),
    "5 columns": (lambda A: torch.tensor(A[:, [0, 1, 2, 3, 0]]), "(5 features|Got 5 columns)"),
    "too large": (lambda A: torch.tensor(A) * 1e300, "finite in float64. Got an overflow in row 0"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_tensors_that_cannot_be_used(kind, model, iris):
    make, message = REFUSED[kind]
    for name in {"score_samples"} if kind == "too large" else {"transform", "inverse_transform"}:
        with pytest.raises((TypeError, ValueError), match=message):
            getattr(model, name)(make(iris))


class OnCuda(torch.Tensor):
    """A tensor that says that it is on a card."""

    device = torch.device("cuda:0")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_a_tensor_on_a_card_is_refused_without_dispatch(model, iris):
    X, message = torch.tensor(iris).as_subclass(OnCuda), r"Got a tensor on cuda:0: pass X.cpu\(\), or let"
    for name in ("transform", "inverse_transform", "reconstruct", "score_samples", "score", "log_likelihood"):
        with pytest.raises(TypeError, match=message):
            getattr(model, name)(X)
    for name in ("fit", "partial_fit", "fit_transform"):
        with pytest.raises(TypeError, match=message):
            getattr(vae(), name)(X)
    with pytest.raises(TypeError, match=rf"'X_val' argument .* {message}"):
        vae(early_stopping=True).fit(iris, X_val=X)


def test_classes_in_a_tensor(iris):
    y = (iris[:, 0] > 6).astype(int)
    fits = [
        vae(max_iter=1, neighbor_weight=1.0, target_weight=0.5).fit(iris, classes)
        for classes in (y, torch.tensor(y))
    ]
    assert_equal_fits(*fits)
