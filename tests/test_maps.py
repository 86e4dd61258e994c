"""Fits with a neighbour term: every model, every way to train, classes, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from skswae import AETransformer, SWAETransformer, VAETransformer, _fit, load_model, save_model
from skswae.data import ArrayData, DataSource
from skswae.metrics import knn_accuracy
from skswae.models._ae import AEModule
from skswae.modules import _neighbors
from skswae.networks import GatedMLP
from skswae.training._callbacks import Callback

from .estimators import ESTIMATORS, VARIANTS, assert_equal_fits, cheap

X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]
MAP = {"neighbor_weight": 4.0, "n_neighbors": 5, "max_iter": 4}
FAST = (AETransformer, SWAETransformer)
SLOW = [(E, {}) for E in ESTIMATORS if E not in FAST] + VARIANTS
SLOW = [pytest.param(*model, marks=pytest.mark.slow) for model in SLOW]
LONG = {
    **{"neighbor_weight": 4.0, "max_iter": 60, "batch_size": 100, "learning_rate_init": 0.01},
    "network": GatedMLP((64,)),
}


@pytest.mark.parametrize(("Estimator", "setting"), [*((E, {}) for E in FAST), *SLOW])
def test_every_model_has_the_term(Estimator, setting):
    setting = {**setting, **MAP, "max_iter": 12}
    model, again = (cheap(Estimator, **setting).fit(X, Y) for _ in range(2))
    assert_equal_fits(model, again)
    term, without = model.history_["neighbor_loss"], cheap(Estimator, **{**setting, "neighbor_weight": 0.0})
    assert np.isfinite(term).all()
    assert term[-1] < term[0]
    assert "neighbor_loss" not in without.fit(X).history_
    assert all(not name.startswith("neighbors") for name in without.module_.state_dict())
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.sample(5, random_state=0)).all()


@pytest.mark.slow
def test_the_term_makes_a_better_map():
    """Of rows that it has not seen, after as many epochs as it needs."""
    rows, classes = load_digits(return_X_y=True)
    rows = rows / 16
    settings, scores = {**LONG, "max_iter": 200, "batch_size": 250}, []
    for w in (0.0, 4.0):
        model = cheap(AETransformer, **{**settings, "neighbor_weight": w}).fit(rows[:1000])
        Z = model.transform(rows)
        scores.append(knn_accuracy(Z[:1000], classes[:1000], Z[1000:], classes[1000:]))
    before, after = scores
    assert after > before + 0.03


@pytest.mark.parametrize("Estimator", [AETransformer, SWAETransformer, VAETransformer])
def test_a_step_encodes_each_row_once(Estimator):
    """And each neighbour once: codes are most of what the term costs."""
    model = cheap(Estimator, **MAP).fit(X)
    module, rows, near = model.module_, torch.from_numpy(X[:20]).float(), torch.from_numpy(X[20:40]).float()
    seen = []
    module.encoder.register_forward_hook(lambda part, inputs, output: seen.append(len(inputs[0])))
    generator = torch.Generator().manual_seed(0)
    ((_, terms),) = module.training_losses(torch.cat([rows, near], dim=1), generator)
    assert seen == [20, 20]
    term = module.neighbors.added({"loss": torch.zeros(())}, module.encode_x(rows), module.encode_x(near))
    torch.testing.assert_close(terms["neighbor_loss"], term["neighbor_loss"])
    assert "codes" not in terms


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_term_of_that_name_is_recorded_like_others(weight, monkeypatch):
    losses = AEModule.losses

    def with_a_number(module, x, generator):
        for player, terms in losses(module, x, generator):
            yield player, {**terms, "codes": terms["codes"].square().mean()}

    monkeypatch.setattr(AEModule, "losses", with_a_number)
    model = cheap(AETransformer, **{**MAP, "neighbor_weight": weight}).fit(X)
    assert model.history_["codes"].shape == (4,)
    assert ("neighbor_loss" in model.history_) == (weight > 0)


def test_the_loss_is_the_model_s_and_the_weighted_term():
    model = cheap(AETransformer, **MAP, batch_size=300, scaling=None, output_activation="identity").fit(X)
    history, unit = model.history_, float(model.module_.neighbors.unit)
    assert unit == pytest.approx(X.var(axis=0).sum(), rel=1e-4)
    own = history["loss"] - history["reconstruction_loss"]
    np.testing.assert_allclose(own, 4.0 * unit * history["neighbor_loss"], rtol=1e-4)


def test_files_clones_and_pickles_keep_it(tmp_path):
    model = cheap(AETransformer, **MAP).fit(X)
    save_model(model, tmp_path / "map.safetensors")
    loaded = load_model(tmp_path / "map.safetensors")
    assert_equal_fits(model, loaded)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    assert_equal_fits(clone(model).fit(X), model)
    before = loaded.history_["neighbor_loss"]
    loaded.set_params(warm_start=True).fit(X)
    np.testing.assert_array_equal(loaded.history_["neighbor_loss"][:4], before)
    assert loaded.history_["neighbor_loss"][-1] < before[-1]


class Stop(Exception):
    pass


class Stopped(Callback):
    def on_epoch_begin(self, run):
        if run.epoch == 2:
            raise Stop


@pytest.mark.parametrize("exact", [True, False])
def test_a_checkpoint_goes_on(exact, tmp_path, monkeypatch):
    if not exact:  # as of more than 10,000 rows
        monkeypatch.setattr(_neighbors, "_EXACT_ROWS", 50)
        monkeypatch.setattr(_neighbors, "_CELL_ROWS", 16)
    path, settings = tmp_path / "c", {**MAP, "target_weight": 0.5}
    checkpoint = {"checkpoint": path, "checkpoint_seconds": 0}
    with pytest.raises(Stop):
        _fit.fit(cheap(AETransformer, **settings), X, Y, **checkpoint, callbacks=[Stopped()])
    assert path.exists()
    with pytest.raises(ValueError, match="of another fit: y"):
        cheap(AETransformer, **settings).fit(X, Y[::-1], checkpoint=path)
    with pytest.raises(ValueError, match=r"y was int64 of shape \(300,\) and is None"):
        cheap(AETransformer, **MAP).fit(X, checkpoint=path)
    resumed = cheap(AETransformer, **settings).fit(X, Y, checkpoint=path)
    assert_equal_fits(resumed, cheap(AETransformer, **settings).fit(X, Y))


class Rows(DataSource):
    def __init__(self):
        self.shape, self.dtype = X.shape, X.dtype

    def read(self, index):
        return X[index]


def test_parts_and_sources_have_neighbors_in_the_batch(monkeypatch):
    sizes, graph = [], _neighbors.NeighborGraph

    class Watched(graph):
        def __init__(self, h, *arguments, **options):
            sizes.append(len(h))
            assert torch.get_float32_matmul_precision() == "highest"
            super().__init__(h, *arguments, **options)

    monkeypatch.setattr(_neighbors, "NeighborGraph", Watched)
    torch.set_float32_matmul_precision("medium")
    try:
        _parts_and_sources(sizes)
    finally:
        torch.set_float32_matmul_precision("highest")


def _parts_and_sources(sizes):
    model = cheap(AETransformer, **MAP, target_weight=0.5)
    for _ in range(2):
        model.partial_fit(X, Y)
    assert (len(sizes), sum(sizes)) == (8, 600)
    model.partial_fit(X[:1], Y[:1])  # has no neighbours
    assert np.isfinite(model.history_["neighbor_loss"]).all()
    source = cheap(AETransformer, **MAP).fit(Rows())
    assert sum(sizes) == 601 + 4 * 300
    assert source.history_["neighbor_loss"][-1] < source.history_["neighbor_loss"][0]


@pytest.mark.slow
def test_classes_move_the_map():
    """Classes that cut across the neighbourhoods are told apart better where they count."""
    halves = (X[:, 36] > np.median(X[:, 36])).astype(int)
    plain, classes = (
        cheap(AETransformer, **LONG, target_weight=w).fit(X, halves).transform(X) for w in (0.0, 0.9)
    )
    before, after = (
        np.mean(halves[NearestNeighbors(n_neighbors=6).fit(Z).kneighbors(Z)[1][:, 1:]] == halves[:, None])
        for Z in (plain, classes)
    )
    assert after > before + 0.03


def test_classes_are_ignored_without_weight():
    plain = cheap(AETransformer, **MAP).fit(X)
    assert_equal_fits(plain, cheap(AETransformer, **MAP).fit(X, Y))
    assert_equal_fits(plain, cheap(AETransformer, **MAP).fit(X, np.full(len(X), np.nan)))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_names_of_classes_do_not_matter(early_stopping):
    settings = {**MAP, "target_weight": 0.5, "early_stopping": early_stopping, "learning_rate": "constant"}
    numbers = cheap(AETransformer, **settings).fit(X, Y)
    names = cheap(AETransformer, **settings).fit(X, np.array([f"class {c}" for c in Y]))
    assert_equal_fits(numbers, names)
    some = np.where(Y == 3, -1, Y)
    unlabelled = cheap(AETransformer, **settings).fit(X, some)
    assert not np.array_equal(unlabelled.loss_curve_, numbers.loss_curve_)
    shuffled = np.random.default_rng(0).permutation(Y)
    assert not np.array_equal(
        cheap(AETransformer, **settings).fit(X, shuffled).loss_curve_, numbers.loss_curve_
    )


def test_early_stopping_judges_the_term_too():
    settings = {
        **MAP,
        "max_iter": 9,
        "early_stopping": True,
        "scaling": None,
        "output_activation": "identity",
    }
    model = cheap(AETransformer, **settings).fit(X)
    rebuilt = cheap(AETransformer, **{**settings, "neighbor_weight": 0.0}).fit(X).history_["validation_loss"]
    assert (model.history_["validation_loss"] > 2 * rebuilt).all()
    few = load_digits().data[:100] / 16
    assert cheap(AETransformer, max_iter="auto").fit(few).early_stopping_
    assert not cheap(AETransformer, max_iter="auto", neighbor_weight=4.0).fit(few).early_stopping_


class Halves(Rows):
    def split(self, fraction, seed):
        return ArrayData(X[50:]), ArrayData(X[:50])


def test_classes_of_a_source_that_splits_itself_are_refused():
    model = cheap(AETransformer, **MAP, target_weight=0.5, early_stopping=True)
    with pytest.raises(ValueError, match="'X_val' argument must hold the rows of early stopping"):
        model.fit(Halves(), Y)
    assert model.fit(Halves(), Y, X_val=X[:50]).early_stopping_


@pytest.mark.parametrize(
    "y",
    [np.array(["a", None] * 150, dtype=object), ["a", np.nan] * 150, ["a", -1] * 150, [0.0, np.nan] * 150],
)
def test_rows_without_a_class_among_texts_are_refused(y):
    with pytest.raises(ValueError, match="'y' argument must hold numbers or texts"):
        cheap(AETransformer, **MAP, target_weight=0.5).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "y", "words"),
    [
        ({"neighbor_weight": -1.0}, None, "'neighbor_weight' parameter"),
        ({"n_neighbors": 0}, None, "'n_neighbors' parameter"),
        ({"target_weight": 1.0}, Y, "'target_weight' parameter"),
        ({"target_weight": 0.5, "neighbor_weight": 0.0}, Y, "'target_weight' parameter must be 0 unless"),
        ({"target_weight": 0.5}, None, "'y' argument must hold the class of each row"),
        ({"target_weight": 0.5}, X[:, 30] + 0.1, "'y' argument must hold classes .* 'continuous'"),
        ({"target_weight": 0.5}, Y[:-1], "inconsistent numbers of samples"),
        ({"batch_size": 1}, None, "'batch_size' parameter must be at least 2 with neighbor_weight above 0"),
    ],
)
def test_what_is_refused(parameters, y, words):
    model = cheap(AETransformer, **{**MAP, **parameters})
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=words):
            fit(X, y)
        assert not hasattr(model, "module_")


def test_a_training_goes_on_with_another_weight_but_not_with_or_without():
    model = cheap(AETransformer, **MAP, warm_start=True).fit(X)
    model.set_params(neighbor_weight=1.0, n_neighbors=7).fit(X)
    assert model.module_.neighbors.weight == 1.0
    with pytest.raises(ValueError, match="'neighbor_weight' parameter must stay above 0"):
        model.set_params(neighbor_weight=0.0).fit(X)
    plain = cheap(AETransformer, max_iter=2, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="'neighbor_weight' parameter must stay 0"):
        plain.set_params(neighbor_weight=1.0).fit(X)


def test_a_module_with_codes_of_its_own_is_refused():
    class Module(AETransformer):
        def _build_module(self, build):
            module = super()._build_module(build)
            kind = type("Own", (type(module),), {"encode_x": lambda self, x: x})
            return kind(build, reconstruction="squared_error")

    with pytest.raises(TypeError, match="encode_inputs"):
        cheap(Module, **MAP).fit(X)


class Viewed(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.view(-1).view(len(x), -1))


class ViewedNetwork:
    build_encoder = build_decoder = staticmethod(Viewed)


def test_a_network_may_take_views_of_the_rows():
    model = AETransformer(2, network=ViewedNetwork(), max_iter=2, random_state=0)
    assert "neighbor_loss" in model.set_params(neighbor_weight=4.0).fit(X).history_


def test_few_rows_and_equal_rows():
    for rows in (X[:2], X[:4], np.repeat(X[:3], 20, axis=0)):
        model = cheap(AETransformer, **MAP).fit(rows)
        assert np.isfinite(model.transform(rows)).all()
    assert torch.isfinite(model.module_.neighbors.log_scale)


@pytest.mark.gpu
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_maps_on_a_gpu(Estimator):
    """They are steps of a graph (no warning), the same for a seed, and go on in parts of the rows."""
    settings = {**MAP, "device": "cuda", "max_iter": 40, "target_weight": 0.5}
    model, again = (cheap(Estimator, **settings).fit(X, Y) for _ in range(2))
    assert_equal_fits(model, again)
    term = model.history_["neighbor_loss"]
    assert term[-1] < term[0]
    here = model.partial_fit(X[:100], Y[:100]).transform(X)
    there = model.set_params(device="cpu").transform(X)
    np.testing.assert_allclose(here, there, atol=1e-3 * there.std())
