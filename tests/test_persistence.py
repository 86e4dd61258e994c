"""Models in files and pickles: equal after loading, or refused."""

import collections
import copy
import functools
import json
import pathlib
import pickle
import subprocess
import sys
import textwrap
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skswae
from skswae import AETransformer, SWAETransformer, VAETransformer, WAETransformer, load_model, save_model
from skswae.datasets import binarise
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP
from skswae.outliers import OutlierDetector
from skswae.persistence import FORMAT_VERSION, TRUSTED_TYPES, InconsistentVersionWarning
from skswae.tabular import TableAutoencoder

from .estimators import ESTIMATORS, VARIANTS, assert_equal_fits, cheap, gan, swae, two_levels
from .outside_objective import DenoisingTransformer
from .outside_parameter import SparseTransformer
from .own_networks import CosineNet, DropoutMLP, NormNet, Plain

GOLDEN = pathlib.Path(__file__).parent / "golden"
CONVOLUTIONS = {"encoder_filters": (2, 2, 2, 2, 2), "decoder_filters": (2,), "hidden_size": 8}


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:150] / 16


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file of a fitted model."""
    path = tmp_path_factory.mktemp("models") / "swae.safetensors"
    save_model(swae(max_iter=1).fit(load_digits().data[:60] / 16), path)
    return path


def assert_same(a, b, X):
    """Equal to the bit in everything that a user can ask for."""
    assert_equal_fits(a, b)
    for rows in (X, X.astype(np.float32)):
        Z = a.transform(rows)
        np.testing.assert_array_equal(b.transform(rows), Z, strict=True)
        np.testing.assert_array_equal(b.inverse_transform(Z), a.inverse_transform(Z), strict=True)
        np.testing.assert_array_equal(b.score_samples(rows), a.score_samples(rows), strict=True)
    priors = ["gmm"] if isinstance(a, SparseTransformer) else ["gmm", "model"]
    for prior in priors:
        drawn = [e.sample(5, prior=prior, random_state=0) for e in (a, b)]
        np.testing.assert_array_equal(*drawn)
    fitted = [{n: v for n, v in vars(e).items() if n.endswith("_") and n != "module_"} for e in (a, b)]
    assert repr(fitted[0]) == repr(fitted[1])
    parameters = [{n: repr(plain(v)) for n, v in e.get_params(deep=False).items()} for e in (a, b)]
    assert {**parameters[0], "device": "'cpu'"} == {**parameters[1], "device": "'cpu'"}


def plain(value):
    """A number as Python's, and a network that has no representation as what it consists of."""
    if isinstance(value, np.generic):
        return value.item()
    return vars(value) if type(value).__repr__ is object.__repr__ else value


def through_a_file(estimator, path, *networks):
    save_model(estimator, path)
    return load_model(path, device="cpu", networks=networks)


def going_on(estimator, X):
    """The estimator, trained on in both ways."""
    estimator.partial_fit(X[:70])
    return estimator.set_params(warm_start=True, max_iter=2).fit(X)


# ---------------------------------------------------------------------------
# Any estimator, any network, any parameter
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Estimator", "parameters"),
    [
        (SWAETransformer, {}),
        *(pytest.param(E, {}, marks=pytest.mark.slow) for E in ESTIMATORS if E is not SWAETransformer),
        *(pytest.param(E, parameters, marks=pytest.mark.slow) for E, parameters in VARIANTS),
    ],
)
def test_every_estimator_in_a_file(Estimator, parameters, X, tmp_path):
    estimator = cheap(Estimator, **parameters).fit(X)
    again = through_a_file(estimator, tmp_path / "model")
    assert_same(estimator, again, X)


@pytest.mark.slow
@pytest.mark.parametrize("make", [swae, gan, two_levels])
def test_training_goes_on_as_after_a_pickle(make, X, tmp_path):
    estimator = make(max_iter=2, n_components=2).partial_fit(X[:40])
    unpickled = pickle.loads(pickle.dumps(estimator))
    loaded = through_a_file(estimator, tmp_path / "model")
    assert_equal_fits(going_on(unpickled, X), going_on(loaded, X))
    assert loaded.n_iter_ == 4


NETWORKS = [
    GatedConvNet((1, 8, 8), **CONVOLUTIONS),
    GatedMLP([7, 5]),
    GatedMLP(np.array([7, 5])),
    GatedMLP(9),
    GatedMLP(()),
    DCGANNet([1, 8, 8], filters=(2, 3)),
]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_of_the_package(network, X, tmp_path):
    estimator = cheap(skswae.VampPriorTransformer, network=network, max_iter=1).fit(X)
    assert_same(estimator, through_a_file(estimator, tmp_path / "model"), X)


class Parametrized:
    """A layer whose weight is computed, which torch cannot pickle."""

    def build_encoder(self, n_features, n_outputs):
        first = nn.utils.parametrizations.weight_norm(nn.Linear(n_features, 5))
        return nn.Sequential(first, nn.ReLU(), nn.Linear(5, n_outputs))

    build_decoder = build_encoder


@pytest.mark.parametrize(
    "network",
    [
        Plain(3),
        *(pytest.param(n, marks=pytest.mark.slow) for n in (DropoutMLP(5), CosineNet(), NormNet())),
        pytest.param(Parametrized(), marks=pytest.mark.slow),
    ],
)
def test_networks_of_the_user_s(network, X, tmp_path):
    """They are found in ``networks`` alone, whether or not they are scikit-learn's estimators."""
    estimator = swae(network=network).fit(X)
    path = tmp_path / "model"
    assert_same(estimator, through_a_file(estimator, path, type(network), Plain), X)
    assert_same(estimator, pickle.loads(pickle.dumps(estimator)), X)
    for given in (None, [], [Wrong]):
        with pytest.raises(ValueError, match=rf"'{type(network).__name__}'.*pass the class in 'networks'"):
            load_model(path, networks=given)


class Wrong:
    """No network."""


@pytest.mark.parametrize("Estimator", [DenoisingTransformer, SparseTransformer])
def test_estimators_of_the_user_s(Estimator, X, tmp_path):
    estimator = Estimator(3, max_iter=2, random_state=0).fit(X)
    assert_same(estimator, through_a_file(estimator, tmp_path / "model", Estimator), X)
    with pytest.raises(ValueError, match=f"'{Estimator.__name__}'.*pass the class in 'networks'"):
        load_model(tmp_path / "model")


PARAMETERS = [
    {"n_components": np.int64(2), "beta": np.float32(0.25), "early_stopping": np.bool_(True)},
    {"n_iter_no_change": np.inf, "early_stopping": True, "tol": 0, "verbose": True, "alpha": 2},
    {"device": torch.device("cpu"), "random_state": None, "scaling": None, "init": "random"},
    {"network": None, "n_pseudo_inputs": 3, "warm_start": True, "learning_rate": "constant"},
    {"augment": binarise, "reconstruction": "binary_cross_entropy", "output_activation": "sigmoid"},
]


@pytest.mark.slow
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_parameters_of_every_kind(parameters, X, tmp_path):
    estimator = swae(**parameters).fit(X)
    assert_same(estimator, through_a_file(estimator, tmp_path / "model"), X)


@pytest.mark.parametrize("scales", [(1.0, 2), [0.5], np.array([1.0, 3.0], ">f4")])
def test_parameters_that_are_sequences(scales, X, tmp_path):
    estimator = cheap(WAETransformer, kernel_scales=scales).fit(X)
    again = through_a_file(estimator, tmp_path / "model")
    assert type(again.kernel_scales) is type(scales)
    np.testing.assert_array_equal(again.kernel_scales, scales)
    assert_equal_fits(estimator, again)


def test_names_and_output_settings_are_kept(tmp_path):
    frame = load_digits(as_frame=True).data[:40].add_prefix("ä ")
    estimator = swae().set_output(transform="pandas").fit(frame)
    again = through_a_file(estimator, tmp_path / "model")
    assert again.transform(frame).equals(estimator.transform(frame))
    assert again.sample(as_frame=True).columns.tolist() == frame.columns.tolist()


@pytest.mark.parametrize("stream", [np.random.RandomState, np.random.default_rng])
def test_what_only_training_needs_is_left_out(stream, X, tmp_path):
    estimator = swae(augment=lambda x, generator: x, random_state=stream(0)).fit(X)
    with pytest.warns(UserWarning, match="no augment and no random_state of this kind: the loaded"):
        again = through_a_file(estimator, tmp_path / "model")
    assert again.augment is None
    assert again.random_state is None
    assert again.partial_fit(X).n_iter_ == 4


def test_parameters_are_those_of_now_and_the_module_that_of_the_fit(X, tmp_path):
    """Parameters set after a fit wait for the next one, also in files."""
    estimator = swae().fit(X).set_params(n_components=5, network=GatedMLP((3,)), beta=0.1)
    again = through_a_file(estimator, tmp_path / "model")
    assert (again.n_components, again.network.hidden_layer_sizes) == (5, (3,))
    for other in (again, pickle.loads(pickle.dumps(estimator))):
        np.testing.assert_array_equal(other.transform(X), estimator.transform(X))
        with pytest.raises(ValueError, match="'n_components' parameter must stay 2"):
            other.partial_fit(X)


class Tied(CosineNet):
    """Two names of one parameter, one that is frozen, an integer buffer, and a state that is no tensor."""

    def build_encoder(self, n_features, n_outputs):
        return TiedLayers(n_features, n_outputs)


class TiedLayers(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.first, self.second, self.last = (
            nn.Linear(n_in, n_in),
            nn.Linear(n_in, n_in),
            nn.Linear(n_in, n_out),
        )
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)
        self.register_buffer("count", torch.tensor(7))
        self.note = "fresh"

    def forward(self, x):
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))

    def get_extra_state(self):
        return {"note": self.note}

    def set_extra_state(self, state):
        self.note = state["note"]


def test_ties_frozen_parameters_and_other_state_survive(X, tmp_path):
    estimator = swae(network=Tied()).fit(X)
    estimator.module_.encoder.network.note = "fitted"
    estimator.module_.encoder.network.last.bias.requires_grad_(False)
    copies = [pickle.loads(pickle.dumps(estimator)), through_a_file(estimator, tmp_path / "model", Tied)]
    for again in copies:
        np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
        network = again.module_.encoder.network
        assert network.first.weight is network.second.weight
        assert network.note == "fitted"
        trained = [p.requires_grad for p in network.parameters()]
        assert trained == [p.requires_grad for p in estimator.module_.encoder.network.parameters()]
        assert trained.count(False) == 2


# ---------------------------------------------------------------------------
# What cannot be stored
# ---------------------------------------------------------------------------


class Callable:
    """A parameter that no file without code can hold."""

    def __init__(self, function=None):
        self.function = function

    build_encoder, build_decoder = Plain.build_encoder, Plain.build_decoder
    width = 3


IS_CHANGED = "module_ of SWAETransformer must be one that its parameters build again"
REFUSED = {
    "a pipeline": (lambda X: make_pipeline(swae()).fit(X), TypeError, "of a pipeline, save the step"),
    "a table in a detector": (
        lambda X: OutlierDetector(TableAutoencoder(swae())).fit(X),
        TypeError,
        "without an OutlierDetector around it. Got OutlierDetector",
    ),
    "unfitted": (lambda X: swae(), NotFittedError, "not fitted"),
    "a function": (
        lambda X: swae(network=Callable(print)).fit(X),
        ValueError,
        r"\'network\.function\' cannot",
    ),
    "a bad parameter": (lambda X: swae().fit(X).set_params(beta=3), ValueError, "'beta' parameter"),
    "an attribute": (
        lambda X: with_attribute(swae().fit(X), "note_", print),
        ValueError,
        "the attribute 'note_'",
    ),
    "a method": (lambda X: with_attribute(swae().fit(X), "fit", 3), ValueError, "the attribute 'fit'"),
    "a hook": (lambda X: hooked(swae().fit(X)), ValueError, IS_CHANGED),
    "a part": (lambda X: replaced(swae().fit(X)), ValueError, IS_CHANGED),
    "half precision": (lambda X: halved(swae().fit(X)), ValueError, IS_CHANGED),
}


def with_attribute(estimator, name, value):
    setattr(estimator, name, value)
    return estimator


def add_one(module, arguments, result):
    return result + 1


def hooked(estimator):
    estimator.module_.encoder.register_forward_hook(add_one)
    return estimator


def replaced(estimator):
    estimator.module_.encoder = nn.Sequential(estimator.module_.encoder, nn.Tanh())
    return estimator


def halved(estimator):
    estimator.module_.encoder.half()
    return estimator


@pytest.mark.parametrize(("make", "error", "match"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_stored(make, error, match, X, tmp_path):
    """It is said before anything is written."""
    with pytest.raises(error, match=match):
        save_model(make(X), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def exchanged(estimator):
    """Another slope of a layer, which no tensor tells."""
    estimator.module_.encoder.network[1] = nn.LeakyReLU(0.9)
    return estimator


def patched(estimator):
    estimator.module_.scaler.note = "mine"
    return estimator


class Growing(CosineNet):
    """Keeps in Python, and in a buffer that is not saved, what training changes."""

    def build_encoder(self, n_features, n_outputs):
        return GrowingLayer(n_features, n_outputs)


class GrowingLayer(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.epoch = nn.Linear(n_in, n_out), 1.0
        self.register_buffer("shift", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.epoch += 0.01
            self.shift += 0.01
        return self.linear(x) * self.epoch + self.shift


class Leaky(CosineNet):
    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 5), nn.LeakyReLU(0.1), nn.Linear(5, n_outputs))


class Wasteful(CosineNet):
    """Builds much more than it keeps."""

    def build_encoder(self, n_features, n_outputs):
        many = [nn.Linear(512, 512) for _ in range(3)]
        return nn.Sequential(nn.Linear(n_features, n_outputs), nn.Identity(), *many[3:])


def test_a_network_may_build_more_than_it_keeps(X, tmp_path):
    model = swae(network=Wasteful()).fit(X)
    assert_same(model, pickle.loads(pickle.dumps(model)), X)
    assert_same(model, through_a_file(model, tmp_path / "model", Wasteful), X)


class Slope(nn.Module):
    """A part whose slope is changed by what it is made of."""

    def __init__(self):
        super().__init__()
        self.f = functools.partial(nn.functional.leaky_relu, negative_slope=0.1)
        self.g = with_slope(0.1)

    def forward(self, x):
        return self.g(self.f(x))


def with_slope(slope):
    def function(x, slope=slope):
        return nn.functional.leaky_relu(x, slope)

    return function


class Tanh(nn.Module):
    """Another one than torch's of this name."""

    def forward(self, x):
        return torch.sin(x)


class Sloped(CosineNet):
    def build_encoder(self, n_features, n_outputs):
        layers = [nn.Linear(n_features, 5), Slope(), nn.Linear(5, 5), nn.Linear(5, 5), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(5, n_outputs))


def edited(**attributes):
    def change(estimator):
        for name, value in attributes.items():
            setattr(estimator.module_.encoder.network[1], name, value)
        return estimator

    return change


def renamed(estimator):
    estimator.module_.encoder.network[4] = Tanh()
    return estimator


def tied(estimator):
    network = estimator.module_.encoder.network
    network[3].weight = network[2].weight
    return estimator


def frame():
    return pd.DataFrame({"a": [1]})


def cyclic(estimator):
    node = {}
    node["itself"] = node
    return edited(node=node)(estimator)


CHANGES = {
    "a partial": (Sloped(), edited(f=functools.partial(nn.functional.leaky_relu, negative_slope=5.0))),
    "a default": (Sloped(), edited(g=with_slope(5.0))),
    "a class of the same name": (Sloped(), renamed),
    "a tie": (Sloped(), tied),
    "a cycle": (Sloped(), cyclic),
    "what hardly compares": (Sloped(), lambda e: edited(a=frame(), b=collections.deque([torch.ones(2)]))(e)),
    "a layer": (Leaky(), exchanged),
    "an attribute": (GatedMLP((3,)), patched),
    "by training": (Growing(), lambda estimator: estimator),
}


def test_a_network_that_is_not_changed_is_plain(X, tmp_path):
    for network in (Sloped(), Leaky()):
        model = swae(network=network).fit(X)
        assert_same(model, through_a_file(model, tmp_path / "model", type(network)), X)


@pytest.mark.parametrize(("network", "change"), CHANGES.values(), ids=CHANGES)
def test_nothing_of_a_module_is_lost_without_a_word(network, change, X, tmp_path):
    """What no second build has is kept by pickles and refused by files."""
    model = change(swae(network=network).fit(X))
    again = copy.deepcopy(model)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    n_parameters = [len([*e.module_.encoder.parameters()]) for e in (model, again)]
    assert n_parameters[0] == n_parameters[1]  # ties stay ties
    with pytest.raises(ValueError, match=IS_CHANGED):
        save_model(model, tmp_path / "model")


class Weighted(DenoisingTransformer):
    """Its module is built from an array."""

    def __init__(self, n_components=2, *, weights=None, **parameters):
        super().__init__(n_components, **parameters)
        self.weights = weights

    @classmethod
    def _get_param_names(cls):
        return sorted([*DenoisingTransformer._get_param_names(), "weights"])

    def _build_module(self, build):
        module = super()._build_module(build)
        module.register_buffer("sums", torch.from_numpy(np.cumsum(self.weights * 2)))
        return module


@pytest.mark.parametrize("weights", [np.ones(4), np.arange(6.0)[::2]])
def test_parameters_that_are_arrays_stay_arrays(weights, X, tmp_path):
    model = Weighted(weights=weights, network=GatedMLP((3,)), max_iter=1).fit(X)
    weights *= 3  # the caller's
    copies = [pickle.loads(pickle.dumps(model)), through_a_file(model, tmp_path / "model", Weighted)]
    for again in copies:
        assert_equal_fits(model, again)


@pytest.mark.slow
def test_models_are_read_in_threads_while_others_are_built(path):
    """torch's own tables are left alone, and so are modules that others build."""
    interval, threads, failed = sys.getswitchinterval(), [], []

    def work(make):
        try:
            for _ in range(15):
                make()
        except Exception as error:
            failed.append(error)

    sys.setswitchinterval(1e-5)
    try:
        for make in (
            lambda: load_model(path),
            lambda: nn.Sequential(*(nn.Linear(50, 50) for _ in range(40))),
        ):
            threads += [threading.Thread(target=work, args=[make]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failed == []


@pytest.mark.parametrize("change", [hooked, replaced])
def test_a_pickle_holds_a_module_that_was_changed(change, X):
    estimator = change(swae().fit(X))
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(again.transform(X), estimator.transform(X))


# ---------------------------------------------------------------------------
# Versions, processes, machines
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.safetensors")), ids=lambda file: file.stem)
def test_golden_files_stay_readable(file):
    name, _, version = file.stem.rpartition("_")
    expected = json.loads((GOLDEN / f"expected_{version}.json").read_text())[name]
    model = load_model(file, device="cpu")
    rows = np.array(expected["rows"])
    np.testing.assert_allclose(model.transform(rows), expected["codes"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.reconstruct(rows), expected["reconstructions"], rtol=1e-7, atol=1e-9)
    if "samples" in expected:
        samples = model.sample(3, random_state=0)
        np.testing.assert_allclose(samples, expected["samples"], rtol=1e-4, atol=1e-5)
    assert model.partial_fit(np.tile(rows, (10, 1))).n_iter_ == 3


def test_there_is_a_golden_file_of_each_estimator_and_network():
    models = [load_model(file) for file in GOLDEN.glob(f"*_{FORMAT_VERSION}.safetensors")]
    assert {type(model) for model in models} == {*ESTIMATORS}
    assert {type(model.network) for model in models} == {GatedMLP, GatedConvNet, DCGANNet}


def test_another_version_warns(path, tmp_path, monkeypatch):
    model = load_model(path)
    pickled = pickle.dumps(model)
    monkeypatch.setattr(skswae, "__version__", "99.0")
    for read in (lambda: load_model(path), lambda: pickle.loads(pickled)):
        with pytest.warns(InconsistentVersionWarning, match=r"stored by skswae 0\.1.*read by skswae 99\.0"):
            again = read()
        assert_equal_fits(model, again)


PROCESS = """
    import sys
    import numpy as np
    import torch
    import skswae
    from sklearn.datasets import load_digits

    torch.set_num_threads(2)
    model = skswae.load_model(sys.argv[1])
    assert not {"sklearn.mixture", "skops", "onnx"} & set(sys.modules)
    torch.set_num_threads(1)
    X = load_digits().data[:150] / 16
    results = [model.transform(X), model.reconstruct(X.astype(np.float32)), model.score_samples(X)]
    np.savez(sys.argv[2], *results, model.sample(4, random_state=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("make", [swae, gan, two_levels])
def test_a_fresh_process_computes_the_same(make, X, tmp_path):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    model = make().fit(X)
    save_model(model, tmp_path / "model")
    torch.set_num_threads(n_threads)
    program, results = textwrap.dedent(PROCESS), tmp_path / "results.npz"
    subprocess.run([sys.executable, "-c", program, tmp_path / "model", results], check=True, timeout=120)
    expected = [model.transform(X), model.reconstruct(X.astype(np.float32)), model.score_samples(X)]
    with np.load(results) as found:
        for name, value in zip(found, [*expected, model.sample(4, random_state=0)]):
            np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.mark.parametrize("make", [swae, gan])
def test_a_model_of_a_gpu_is_stored_on_the_host(make, X, tmp_path, monkeypatch):
    """As far as a machine without one can tell: the module says that it is elsewhere, and is brought here."""
    model = make().fit(X)
    asked = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: asked.append(tensor.shape) or cpu(tensor))
    model.set_params(device="cuda")
    state = model.__getstate__()
    n_tensors = len({id(value) for value in model.module_.state_dict(keep_vars=True).values()})
    assert len(asked) >= n_tensors
    assert {type(value) for value in state["module_"]["tensors"].values()} == {np.ndarray}
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model", device="cpu").transform(X).shape == (150, 2)
    again = pickle.loads(pickle.dumps(model))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"'device' parameter.*Got 'cuda'"):
            again.transform(X)
    again.set_params(device="auto")
    np.testing.assert_allclose(again.transform(X), model.set_params(device="auto").transform(X))


# ---------------------------------------------------------------------------
# Whole pipelines, and pickles
# ---------------------------------------------------------------------------

OF_NEIGHBORS = ["sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "Estimator",
    ESTIMATORS,
)
def test_pipelines_in_skops_files(Estimator, tmp_path):
    import skops.io

    X, y = (part[:150] for part in load_digits(return_X_y=True))
    pipe = make_pipeline(StandardScaler(), cheap(Estimator), KNeighborsClassifier(5)).fit(X, y)
    path = tmp_path / "pipe.skops"
    skops.io.dump(pipe, path)
    untrusted = skops.io.get_untrusted_types(file=path)
    assert {*untrusted} - {*OF_NEIGHBORS} <= {*TRUSTED_TYPES}
    assert f"skswae.{Estimator.__name__}" in untrusted
    again = skops.io.load(path, trusted=[*TRUSTED_TYPES, *OF_NEIGHBORS])
    np.testing.assert_array_equal(again.predict_proba(X), pipe.predict_proba(X))
    assert_same(pipe[1], again[1], pipe[0].transform(X))


def test_a_state_that_does_not_belong_together_is_refused(X):
    state = swae().fit(X).__getstate__()
    del state["module_"]["tensors"]["encoder.linear.bias"]
    estimator = SWAETransformer()
    with pytest.raises(ValueError, match="SWAETransformer cannot be built again"):
        estimator.__setstate__(state)
    with pytest.raises(NotFittedError):
        estimator.transform(X)


class Changing(CosineNet):
    """Its code may change between a fit and the day when the model is read."""

    layer = nn.ReLU

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 5), self.layer(), nn.Linear(5, n_outputs))


def test_code_that_has_changed_is_noticed(X, tmp_path, monkeypatch):
    model = swae(network=Changing()).fit(X)
    save_model(model, tmp_path / "model")
    pickled = pickle.dumps(model)
    monkeypatch.setattr(Changing, "layer", nn.Tanh)
    for read in (lambda: load_model(tmp_path / "model", networks=[Changing]), lambda: pickle.loads(pickled)):
        with pytest.raises(ValueError, match="parts of its networks are of other kinds"):
            read()


def test_arrays_that_are_mapped_are_copied(X, tmp_path):
    """A model from joblib's memory maps can be trained on, and the file stays as it is."""
    path = tmp_path / "model.joblib"
    joblib.dump(VAETransformer(2, network=GatedMLP((8,)), max_iter=1).fit(X), path)
    before = path.read_bytes()
    joblib.load(path, mmap_mode="r").partial_fit(X)
    joblib.load(path, mmap_mode="r+").partial_fit(X)
    assert path.read_bytes() == before


def test_unfitted_estimators_are_pickled_as_they_are():
    estimator = pickle.loads(pickle.dumps(AETransformer(3, network=GatedMLP((4,)))))
    assert not hasattr(estimator, "module_")
    assert (estimator.n_components, estimator.network.hidden_layer_sizes) == (3, (4,))
    assert not any("version" in name for name in vars(estimator))
