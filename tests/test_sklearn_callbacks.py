"""scikit-learn's callbacks on an estimator, in a pipeline, in a search: they watch, score and stop fits."""

import json
import pathlib
import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skswae import _fit, load_model, save_model

from .estimators import assert_equal_fits, gan, states, swae, two_levels
from .own_networks import DropoutMLP

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "guide" / "callbacks.md"


class Watch:
    """Notes the events and what they come with; stops a fit after a given epoch, or breaks it."""

    def __init__(self, stop=None, error=None):
        self.stop, self.error, self.events = stop, error, []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name, context.task_id, estimator.n_iter_))
        assert len(estimator.loss_curve_) == estimator.n_iter_
        if estimator.n_iter_ == self.stop and context.task_name == "epoch":
            if self.error is not None:
                raise self.error
            return True


class Keep(Watch):
    """Keeps the estimators as fitted so far, and disturbs torch's global stream."""

    def setup(self, estimator, context): ...

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        torch.rand(1)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        torch.rand(1)
        self.events.append((context.task_name, X, y, fitted_estimator))


def of_epochs(first, last, n_before=0):
    pairs = ((("begin", "epoch", e, 0), ("end", "epoch", e, n_before + e + 1)) for e in range(first, last))
    return [event for pair in pairs for event in pair]


def test_events(iris):
    watch = Watch()
    model = swae(warm_start=True).set_callbacks(watch).fit(iris)
    whole = ["setup", ("begin", "fit", 0, 3), *of_epochs(0, 3), ("end", "fit", 0, 3), "teardown"]
    assert watch.events == whole
    watch.events.clear()
    model.set_params(max_iter=2).fit(iris)
    assert watch.events[1:-1] == [("begin", "fit", 0, 2), *of_epochs(0, 2, 3), ("end", "fit", 0, 5)]
    watch.events.clear()
    model.partial_fit(iris)
    assert watch.events[1:-1] == [("begin", "fit", 0, 1), *of_epochs(0, 1, 5), ("end", "fit", 0, 6)]
    watch.events.clear()
    model.set_callbacks().fit(iris)
    assert watch.events == []


def own_network(**parameters):
    return swae(network=DropoutMLP(), **parameters)


@pytest.mark.parametrize("make", [swae, gan, two_levels, own_network])
def test_an_estimator_as_fitted_so_far_is_a_fit_of_so_many_epochs(make, iris):
    """And that it was asked for changes nothing, whatever the callback draws."""
    keep, y, constant = Keep(), np.arange(150), {"learning_rate": "constant"}
    if make is two_levels:
        constant["warmup"] = 0
    model = make(**constant).set_callbacks(keep).fit(iris, y)
    assert_equal_fits(model, make(**constant).fit(iris))
    *epochs, (last, *_, fitted) = keep.events
    assert last == "fit"
    assert_equal_fits(fitted, model)
    assert len(epochs) == 3
    for n_epochs, (name, X, y_seen, fitted) in enumerate(epochs, start=1):
        assert name == "epoch"
        assert X is iris
        assert y_seen is y
        expected = make(**constant, max_iter=n_epochs).fit(iris)
        assert_equal_fits(fitted, expected)  # codes for sample(prior="gmm") too
        for attribute in ("_seed", "batch_size_", "learning_rate_init_", "early_stopping_", "learning_rate_"):
            assert getattr(fitted, attribute) == getattr(expected, attribute)


def test_an_estimator_as_fitted_so_far_can_be_kept(iris, tmp_path):
    keep = Keep()
    swae().set_callbacks(keep).fit(iris)
    fitted = keep.events[0][-1].set_callbacks()
    for again in (pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(iris)):
        assert again.n_iter_ in (1, 3)
    save_model(fitted, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        load_model(tmp_path / "model.safetensors").transform(iris), fitted.transform(iris)
    )
    fitted.set_params(warm_start=True).fit(iris)  # on its own: its weights are a copy
    assert fitted.n_iter_ == 4


def test_reduced_precision_is_the_training_s_alone(iris, monkeypatch):
    monkeypatch.setattr(_fit, "has_bfloat16", lambda device: True)
    keep, constant = Keep(), {"precision": "bf16", "learning_rate": "constant"}
    assert_equal_fits(swae(**constant).set_callbacks(keep).fit(iris), swae(**constant).fit(iris))
    assert_equal_fits(keep.events[0][-1], swae(**constant, max_iter=1).fit(iris))
    parts = [part for part in keep.events[0][-1].module_.modules() if hasattr(part, "autocast_dtype")]
    assert parts
    assert all(part.autocast_dtype is None for part in parts)


def test_stopped_from_a_callback(iris):
    """It keeps its complete epochs, like a fit of so many, and goes on as one that was not stopped."""
    constant = {"max_iter": 5, "learning_rate": "constant", "warm_start": True}
    watch = Watch(stop=2)
    model = swae(**constant).set_callbacks(watch).fit(iris)
    assert watch.events[-4:] == [*of_epochs(1, 2), ("end", "fit", 0, 2), "teardown"]
    assert_equal_fits(model, swae(**{**constant, "max_iter": 2}).fit(iris))
    model.set_params(max_iter=3).fit(iris)
    assert_equal_fits(model, swae(**constant).fit(iris))


def test_stopped_in_the_warm_up(iris):
    with pytest.warns(ConvergenceWarning, match=r"warmup=4 of 5 epochs, stopped after 2\..*warm_start=True"):
        swae(max_iter=5, warmup=4).set_callbacks(Watch(stop=2)).fit(iris)


@pytest.mark.filterwarnings("ignore:The fit was interrupted:sklearn.exceptions.ConvergenceWarning")
def test_an_interrupt_in_a_callback_keeps_the_complete_epochs(iris):
    constant = {"learning_rate": "constant"}
    watch = Watch(stop=2, error=KeyboardInterrupt)
    model = swae(max_iter=5, **constant).set_callbacks(watch).fit(iris)
    assert_equal_fits(model, swae(max_iter=2, **constant).fit(iris))
    assert watch.events[-2:] == [("end", "fit", 0, 2), "teardown"]


def test_a_callback_that_fails_leaves_the_estimator_as_it_was(iris, tmp_path):
    watch, path = Watch(stop=2, error=RuntimeError("broken")), tmp_path / "fit.ckpt"
    model = swae().set_callbacks(watch)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(iris, checkpoint=path, checkpoint_seconds=0)
    assert vars(model) == before
    assert watch.events[-1] == "teardown"
    watch.stop = None
    assert_equal_fits(model.fit(iris, checkpoint=path), swae().fit(iris))  # from the file
    with pytest.raises(ValueError, match="NaN"):  # before it begins
        model.fit(np.full((5, 4), np.nan))


@pytest.mark.parametrize("method", ["on_fit_task_end", "teardown"])
def test_a_callback_that_fails_at_the_end_leaves_the_checkpoint(method, iris, tmp_path):
    class Broken(Watch):
        pass

    def fail(self, estimator, context):
        if context.task_name == "fit":
            raise RuntimeError("broken")

    setattr(Broken, method, fail)

    path = tmp_path / "fit.ckpt"
    model = swae().set_callbacks(Broken())
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(iris, checkpoint=path, checkpoint_seconds=0)
    assert not hasattr(model, "n_iter_")
    watch = Watch()
    assert_equal_fits(model.set_callbacks(watch).fit(iris, checkpoint=path), swae().fit(iris))
    assert watch.events[2:-2] == []  # no epoch was left to train
    assert not path.exists()


def test_clones_pickles_and_files(iris, tmp_path):
    """Callbacks are no parameters; clones share them, and a model file has none."""
    watch = Watch()
    model = swae().set_callbacks(watch).fit(iris)
    assert model.get_params().keys() == swae().get_params().keys()
    assert clone(model)._skl_callbacks == [watch]
    assert pickle.loads(pickle.dumps(model))._skl_callbacks[0].events == watch.events
    with pytest.warns(UserWarning, match="holds no callbacks"):
        save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert not hasattr(loaded, "_skl_callbacks")
    assert states(loaded).keys() == states(model).keys()
    with pytest.raises(TypeError, match="FitCallback"):
        swae().set_callbacks("progress")


def score(estimator, X, y):
    return estimator.score(X)


def test_progress_and_scores_of_an_estimator(iris, capsys):
    scores = ScoringMonitor(scoring={"score": score})
    model = swae().set_callbacks(ProgressBar(), scores).fit(iris, np.zeros(150))
    assert "SWAETransformer - fit" in capsys.readouterr().out
    log = scores.get_logs().data
    assert [(row["task_name"], row["task_id"]) for row in log] == [
        ("fit", 0),
        *(("epoch", e) for e in range(3)),
    ]
    assert log[0]["score"] == log[-1]["score"] == model.score(iris)
    assert len({row["score"] for row in log}) == 3


def test_progress_and_scores_in_a_pipeline(digits, capsys):
    X, y = digits
    scores = ScoringMonitor(scoring={"score": score})
    steps = [("swae", swae().set_callbacks(scores)), ("classifier", LogisticRegression())]
    pipe = Pipeline(steps).set_callbacks(ProgressBar()).fit(X, y)
    assert "fit-transform-swae | SWAETransformer - fit" in capsys.readouterr().out
    log = scores.get_logs().data
    assert [row["task_name"] for row in log] == ["fit", *["epoch"] * 3]
    assert log[-1]["score"] == pipe["swae"].score(X)


@pytest.mark.slow
def test_progress_and_scores_in_a_search(digits, capsys):
    X, y = digits
    scores = ScoringMonitor(scoring={"score": score})
    search = GridSearchCV(swae().set_callbacks(scores), {"beta": [0.0, 1.0]}, cv=2, n_jobs=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    out = capsys.readouterr().out
    for i in range(4):
        assert f"candidate-split-evaluation | SWAETransformer - fit #{i}" in out
    log = scores.get_logs().data
    assert [row["task_name"] for row in log].count("epoch") == 5 * 3  # of each fold, and of the best one
    assert max(row["score"] for row in log) >= search.best_estimator_.score(X)


def test_the_guide_s_callback(tmp_path, monkeypatch):
    """It writes a line an epoch; test_project.py runs the rest of its page."""
    monkeypatch.chdir(tmp_path)
    block = re.search(r"^```python\n(.*?)^```$", GUIDE.read_text(), flags=re.M | re.S)[1]
    exec(compile(block, GUIDE, "exec"), {"__name__": "page"})
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(line.keys() >= {"loss", "x_loss"} for line in lines)
