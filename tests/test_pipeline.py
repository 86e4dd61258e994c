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

from .estimators import ESTIMATORS, cheap, gan, swae, two_levels
from .own_networks import DropoutMLP


def pipeline(ae):
    return Pipeline([("ae", ae), ("knn", KNeighborsClassifier(5))])


@pytest.mark.slow
def test_pipeline_with_the_defaults(digits):
    X, y = digits
    pipe = pipeline(SWAETransformer()).fit(X, y)
    assert pipe.score(X, y) > 0.9
    assert pipe[:-1].inverse_transform(pipe[:-1].transform(X)).shape == X.shape


@pytest.mark.slow
def test_grid_search_in_two_processes_is_the_serial_one(digits):
    grid = [
        {"ae__n_components": [1, 3], "ae__beta": [0.0, 1.0], "ae__network": [DropoutMLP()]},
        {"ae__n_components": [3], "ae__network__hidden_layer_sizes": [(), (8,)]},
    ]
    pipe = pipeline(swae(max_iter=2))
    two, one = (GridSearchCV(pipe, grid, cv=2, n_jobs=n, error_score="raise").fit(*digits) for n in (2, 1))
    scores = [search.cv_results_["mean_test_score"] for search in (two, one)]
    np.testing.assert_allclose(*scores, atol=0.02)
    assert scores[0].shape == (6,)
    assert two.best_score_ > 0.5
    assert two.best_params_["ae__n_components"] == 3
    assert pipe.named_steps["ae"].network.hidden_layer_sizes == (16,)


def test_a_search_reaches_the_default_network(digits):
    """None stands for GatedMLP(); a network that is given is kept, and so is the searched estimator."""
    grid = {"ae__network__hidden_layer_sizes": [(3,), (4,)]}
    pipe = pipeline(swae(network=None, max_iter=1))
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(*digits)
    assert search.best_estimator_["ae"].network.hidden_layer_sizes in [(3,), (4,)]
    assert search.best_estimator_["ae"].module_.encoder.network[0].linear.in_features == 64
    assert pipe["ae"].network is None
    own = DropoutMLP()
    assert swae(network=None).set_params(network__width=5, network=own).network is own
    assert own.width == 5
    default = swae(network=None)
    with pytest.raises(ValueError, match="Invalid parameter 'width'"):
        default.set_params(network__width=5)
    assert default.network is None


COPIES = {
    "pickle": lambda e, path: pickle.loads(pickle.dumps(e)),
    "pickle, protocol 2": lambda e, path: pickle.loads(pickle.dumps(e, protocol=2)),
    # as joblib's workers get it: its arrays are read-only
    "memory-mapped": lambda e, path: joblib.load(joblib.dump(e, path)[0], mmap_mode="r"),
    "deepcopy": lambda e, path: copy.deepcopy(e),
    "copy": lambda e, path: copy.copy(e),
}


@pytest.mark.parametrize("make", [gan, two_levels])
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_of_a_fitted_pipeline(make, duplicate, digits, tmp_path):
    X, y = digits
    pipe = pipeline(make(early_stopping=True, max_iter=2)).fit(X, y)
    again = duplicate(pipe, tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), pipe.predict(X))
    a, b = (p.named_steps["ae"] for p in (pipe, again))
    for rows in (X, X.astype(np.float32)):
        np.testing.assert_array_equal(a.reconstruct(rows), b.reconstruct(rows))
    np.testing.assert_array_equal(a.sample(5, random_state=0), b.sample(5, random_state=0))
    assert a.history_.keys() == b.history_.keys()
    assert b.partial_fit(X).n_iter_ == 3  # it can be trained on


def test_clone(digits):
    estimator = swae(network=GatedMLP((7,)), device=torch.device("cpu")).fit(digits[0])
    twin = clone(estimator)
    assert not hasattr(twin, "module_")
    assert twin.network is not estimator.network
    np.testing.assert_array_equal(twin.fit(digits[0]).transform(digits[0]), estimator.transform(digits[0]))


class Pickler(pickle.Pickler):
    """Notes the types of what it is given, but for plain ones."""

    def __init__(self):
        self.types, self.file = set(), io.BytesIO()
        super().__init__(self.file)

    def reducer_override(self, value):
        self.types.add(value if isinstance(value, type) else type(value))
        return NotImplemented


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_pickles_are_small(Estimator):
    """Parameters, buffers, history and names, as plain values; no training rows, no optimiser."""
    X = np.random.default_rng(0).normal(size=(2000, 64))
    estimator = cheap(Estimator, max_iter=1, early_stopping=True, warm_start=True).fit(X).fit(X)
    estimator.transform(X[:5])
    state = estimator.module_.state_dict()
    numbers = sum(v.numel() * v.element_size() for v in state.values())
    pickler = Pickler()
    pickler.dump(estimator)
    assert pickler.file.tell() <= numbers + len(pickle.dumps(estimator.history_)) + 64 * 1024
    own = {value for value in pickler.types if value.__module__.startswith(("skswae", "torch"))}
    assert own == {Estimator, GatedMLP}


@pytest.mark.gpu
@pytest.mark.parametrize("make", [gan, two_levels])
def test_gpu_models_travel(make, digits):
    X = digits[0]
    estimator = make(device="cuda").fit(X)
    assert estimator.module_.device.type == "cuda"
    again = pickle.loads(pickle.dumps(estimator)).set_params(device="cpu")
    assert all(v.device.type == "cpu" for v in again.module_.state_dict().values())
    np.testing.assert_allclose(again.transform(X), estimator.transform(X), rtol=1e-6, atol=1e-8)
    assert again.set_params(device="cuda").sample(3).shape == (3, 64)
