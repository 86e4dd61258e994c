"""The lines that users write: pipelines, searches, clones, pickles."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae import SWAETransformer
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import DropoutMLP

each = pytest.mark.parametrize("Estimator", ESTIMATORS)


def pipeline(swae):
    return Pipeline([("swae", swae), ("knn", KNeighborsClassifier(5))])


def test_pipeline_with_the_defaults(digits):
    X, y = digits
    pipe = Pipeline([("swae", SWAETransformer()), ("knn", KNeighborsClassifier(5))]).fit(X, y)
    assert pipe.score(X, y) > 0.9
    assert pipe[:-1].inverse_transform(pipe[:-1].transform(X)).shape == X.shape


@each
def test_grid_search(Estimator, digits):
    X, y = digits
    grid = {
        "swae__n_components": [1, 3],
        "swae__network": [None, GatedMLP((100,)), DropoutMLP()],
        **({"swae__beta": [0.0, 1.0]} if Estimator is SWAETransformer else {}),
    }
    swae = Estimator(max_iter=2, random_state=0)
    search = GridSearchCV(pipeline(swae), grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == np.prod([len(v) for v in grid.values()])
    assert search.best_score_ > 0.5
    assert search.best_params_["swae__n_components"] == 3
    serial = GridSearchCV(pipeline(swae), grid, cv=2, error_score="raise").fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"], atol=0.02
    )


@each
def test_grid_search_inside_the_network(Estimator, digits):
    X, y = digits
    grid = {"swae__network__hidden_layer_sizes": [(), (8,), (16, 16)]}
    pipe = pipeline(cheap(Estimator))
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    best = search.best_estimator_.named_steps["swae"]
    assert best.network.hidden_layer_sizes == search.best_params_["swae__network__hidden_layer_sizes"]
    assert pipe.named_steps["swae"].network.hidden_layer_sizes == (16,)


def through_joblib(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda e: pickle.loads(pickle.dumps(e)),
    "pickle, protocol 2": lambda e: pickle.loads(pickle.dumps(e, protocol=2)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@each
@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_copies_of_a_fitted_pipeline(Estimator, make, digits):
    X, y = digits
    pipe = pipeline(cheap(Estimator, early_stopping=True)).fit(X, y)
    again = make(pipe)
    np.testing.assert_array_equal(again.predict(X), pipe.predict(X))
    a, b = (p.named_steps["swae"] for p in (pipe, again))
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(a.transform(X.astype(dtype)), b.transform(X.astype(dtype)))
    np.testing.assert_array_equal(a.sample(5, random_state=0), b.sample(5, random_state=0))
    np.testing.assert_array_equal(a.inverse_transform(a.transform(X)), b.inverse_transform(b.transform(X)))
    assert a.history_.keys() == b.history_.keys()
    b.partial_fit(X)  # it can be trained on


@each
def test_a_memory_mapped_model(Estimator, digits, tmp_path):
    """As joblib's workers get it: its arrays are read-only."""
    X = digits[0]
    estimator = cheap(Estimator).fit(X)
    joblib.dump(estimator, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(X), estimator.transform(X))
    mapped.partial_fit(X)


@each
def test_clone(Estimator, digits):
    estimator = cheap(Estimator, network=GatedMLP((7,)), device=torch.device("cpu")).fit(digits[0])
    twin = clone(estimator)
    assert not hasattr(twin, "module_")
    assert twin.network is not estimator.network
    np.testing.assert_array_equal(twin.fit(digits[0]).transform(digits[0]), estimator.transform(digits[0]))


def tensors(value, seen):
    """Every tensor that a pickle of the value would hold."""
    if isinstance(value, torch.Tensor):
        yield value
    elif id(value) not in seen and hasattr(value, "__dict__") | isinstance(value, dict | list | tuple):
        seen.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        yield from (
            t for v in (inner if isinstance(value, dict | list | tuple) else ()) for t in tensors(v, seen)
        )
        yield from (t for v in getattr(value, "__dict__", {}).values() for t in tensors(v, seen))


@each
@pytest.mark.parametrize("early_stopping", [False, True])
def test_pickles_are_small(Estimator, early_stopping, digits):
    """Parameters, buffers, history and names; no training rows, no optimiser, no larger storages."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 2)) @ rng.normal(size=(2, 64)) + 0.1 * rng.normal(size=(5000, 64))
    estimator = cheap(
        Estimator, network=None, max_iter=2, early_stopping=early_stopping, warm_start=True
    ).fit(X)
    estimator.fit(X)
    state = estimator.module_.state_dict()
    numbers = sum(v.numel() * v.element_size() for v in state.values())
    history = len(pickle.dumps(estimator.history_))
    assert len(pickle.dumps(estimator)) <= numbers + history + 64 * 1024
    found = list(tensors(estimator.__getstate__(), set()))
    assert len(found) >= len(state)
    for tensor in found:
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        assert tensor.device.type == "cpu"
        assert tensor.grad is None
    assert not any("optimizer" in name for name in estimator.__getstate__())


@pytest.mark.gpu
@each
def test_gpu_models_travel(Estimator, digits):
    X = digits[0]
    estimator = cheap(Estimator, device="cuda").fit(X)
    assert estimator.module_.scale.device.type == "cuda"
    again = pickle.loads(pickle.dumps(estimator))
    assert all(v.device.type == "cpu" for v in again.module_.state_dict().values())
    again.set_params(device="cpu")
    np.testing.assert_allclose(again.transform(X), estimator.transform(X), rtol=1e-6, atol=1e-8)
    assert again.set_params(device="cuda").sample(3).shape == (3, 64)
