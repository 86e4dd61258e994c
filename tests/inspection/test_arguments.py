"""What Displays refuse, and that they are what scikit-learn's are."""

import inspect
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import skswae.inspection
from skswae import AETransformer
from skswae.inspection import (
    DenoisingDisplay,
    InterpolationDisplay,
    LatentDisplay,
    LossCurveDisplay,
    NeighborhoodDisplay,
    ReconstructionDisplay,
    SampleDisplay,
)
from skswae.networks import GatedConvNet

from ..estimators import cheap

DISPLAYS = [getattr(skswae.inspection, name) for name in skswae.inspection.__all__]


@pytest.fixture(scope="module")
def ae(iris):
    return cheap(AETransformer).fit(iris)


def draw(Display, estimator, X, **arguments):
    return Display.from_estimator(estimator, *(() if Display is LossCurveDisplay else (X,)), **arguments)


@pytest.mark.parametrize("Display", DISPLAYS)
def test_the_convention(Display, ae, iris):
    """Constructors store; what is computed when it is drawn has an underscore; plot returns the object."""
    parameters = inspect.signature(Display.__init__).parameters
    display = draw(Display, ae, iris)
    assert {name for name in vars(display) if not name.endswith("_")} - {"_cmap"} == set(parameters) - {
        "self"
    }
    again = Display(**{name: vars(display)[name] for name in parameters if name != "self"})
    assert "ax_" not in vars(again)
    _, ax = plt.subplots()
    assert again.plot(ax) is again
    assert again.ax_ is ax
    assert again.figure_ is ax.figure
    for method in (Display.plot, Display.from_estimator, getattr(Display, "from_arrays", Display.plot)):
        text = inspect.getdoc(method)
        section = text.split("Parameters\n----------\n")[1].split("\n\nReturns\n")[0]
        named = ", ".join(re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", section, flags=re.M)).split(", ")
        assert sorted(named) == sorted(set(inspect.signature(method).parameters) - {"self"})


@pytest.mark.parametrize("Display", DISPLAYS)
def test_matplotlib_is_needed_to_draw_alone(Display, ae, iris, monkeypatch):
    parameters = inspect.signature(Display.__init__).parameters
    kept = draw(Display, ae, iris)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = Display(**{name: vars(kept)[name] for name in parameters if name != "self"})
    with pytest.raises(ImportError, match=r"plot needs matplotlib: pip install 'skswae\[plot\]' has it"):
        display.plot()
    with pytest.raises(ImportError, match=rf"{Display.__name__}\.from_estimator needs matplotlib"):
        draw(Display, ae, iris)


@pytest.mark.parametrize("Display", DISPLAYS)
def test_estimators_that_cannot_be_drawn(Display, ae, iris):
    with pytest.raises(NotFittedError):
        draw(Display, clone(ae), iris)
    with pytest.raises(ValueError, match=r"'estimator' argument must be .* Got KNeighborsClassifier"):
        draw(Display, KNeighborsClassifier().fit(iris, np.zeros(150)), iris)
    with pytest.raises(ValueError, match=r"'estimator' argument must be .* Got the class AETransformer"):
        draw(Display, AETransformer, iris)
    with pytest.raises(
        ValueError, match=r"'step' argument must be None unless .* Got 'ae' and AETransformer"
    ):
        draw(Display, ae, iris, step="ae")


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_step_is_named(Display, ae, iris):
    pipe = Pipeline([("first", ae), ("second", cheap(AETransformer))]).fit(iris)
    with pytest.raises(ValueError, match=r"'step' argument must name one of .*'first', 'second'.* Got None"):
        draw(Display, pipe, iris)
    with pytest.raises(ValueError, match=r"'step' argument must be one of .*'first', 'second'.* Got 'third'"):
        draw(Display, pipe, iris, step="third")
    draw(Display, pipe, iris, step="second")


def test_the_step_that_is_named_is_drawn(ae, iris):
    pipe = Pipeline([("first", clone(ae)), ("nothing", "passthrough"), ("second", cheap(AETransformer))])
    pipe.fit(iris)
    for step, expected in (("first", pipe[:1]), ("second", pipe)):
        display = LatentDisplay.from_estimator(pipe, iris, step=step)
        np.testing.assert_array_equal(display.Z, expected.transform(iris))
    display = ReconstructionDisplay.from_estimator(pipe, iris, step="second")
    np.testing.assert_array_equal(display.X_reconstructed, pipe.inverse_transform(pipe.transform(iris)))


def test_steps_that_have_no_inverse(ae, iris):
    columns = ColumnTransformer([("all", StandardScaler(), [0, 1, 2, 3])])
    pipe = Pipeline([("columns", columns), ("ae", clone(ae))]).fit(iris)
    assert LatentDisplay.from_estimator(pipe, iris).Z.shape == (150, 2)
    for Display in (ReconstructionDisplay, SampleDisplay, DenoisingDisplay, InterpolationDisplay):
        with pytest.raises(ValueError, match=r"before the model have inverse_transform.* Got 'columns'"):
            Display.from_estimator(pipe, iris)


ROWS = [[0.0, 1.0], [2.0, 3.0], [4.0, 4.0]]
BAD = [
    (ReconstructionDisplay, {"kind": "picture"}, "'kind' argument must be 'auto' or one of .* Got 'picture'"),
    (ReconstructionDisplay, {"kind": "image"}, "'image_shape' argument must be .* with kind='image'"),
    (ReconstructionDisplay, {"image_shape": (2, 3)}, r"multiply to the rows' 4 features. Got \(2, 3\)"),
    (ReconstructionDisplay, {"image_shape": (2, 2, 1)}, "with 1 or 3 channels"),
    (ReconstructionDisplay, {"image_shape": 4}, "'image_shape' argument must be .* Got 4"),
    (LatentDisplay, {"image_shape": (2, 2)}, "'image_shape' argument must be None unless n_grid"),
    (SampleDisplay, {"sample_kwargs": {"random_state": 0}}, "'sample_kwargs' argument must leave"),
    (ReconstructionDisplay, {"n_rows": 0}, "'n_rows' argument must be None or at least 1. Got 0"),
    (ReconstructionDisplay, {"n_rows": True}, "'n_rows' argument must be None or at least 1. Got True"),
    (ReconstructionDisplay, {"ax": "left"}, "'ax' argument must be None or an Axes .* Got 'left'"),
    (SampleDisplay, {"n_samples": 0}, "'n_samples' argument must be an integer of at least 1. Got 0"),
    (DenoisingDisplay, {"noise": -1}, "'noise' argument must be a number of at least 0, or 4 .* Got -1"),
    (DenoisingDisplay, {"noise": [1, 2]}, r"'noise' argument must be .* Got \[1, 2\]"),
    (DenoisingDisplay, {"clip": (1, 0)}, r"'clip' argument must be None or .* Got \(1, 0\)"),
    (InterpolationDisplay, {"ends": (0, 150)}, r"'ends' argument must be two .* to 149. Got \(0, 150\)"),
    (InterpolationDisplay, {"ends": (0, -1)}, r"'ends' argument must be two .* Got \(0, -1\)"),
    (InterpolationDisplay, {"ends": (0, 1, 2)}, r"'ends' argument must be two .* Got \(0, 1, 2\)"),
    (InterpolationDisplay, {"n_steps": 1}, "'n_steps' argument must be an integer of at least 2. Got 1"),
    (InterpolationDisplay, {"kind": None}, "'kind' argument must be .* Got None"),
    (LatentDisplay, {"y": [1, 2]}, r"'y' argument must have the shape \(150,\). Got \(2,\)"),
    (LatentDisplay, {"y": np.full(150, np.nan)}, "'y' argument must hold finite numbers, .* Got NaN"),
    (LatentDisplay, {"projection": "pca"}, "'projection' argument must be None or .* Got 'pca'"),
    (LatentDisplay, {"projection": StandardScaler, "n_grid": 2}, "'projection' argument must be None or"),
    (LatentDisplay, {"n_grid": 1}, "'n_grid' argument must be None or an integer of at least 2. Got 1"),
    (LatentDisplay, {"n_grid": 2, "projection": StandardScaler()}, "'n_grid' argument must be None unless"),
    (
        LatentDisplay,
        {"n_grid": 2, "image_shape": (1, 3)},
        "'image_shape' argument must be None, .* 4 features",
    ),
    (NeighborhoodDisplay, {"target": 150}, "'target' argument must be the index .* to 149. Got 150"),
    (NeighborhoodDisplay, {"target": -1}, "'target' argument must be the index .* Got -1"),
    (NeighborhoodDisplay, {"kind": "all"}, "'kind' argument must be 'both', 'map' or 'order'. Got 'all'"),
    (LossCurveDisplay, {"terms": ["gain"]}, r"'terms' argument must be None or some of .* Got \['gain'\]"),
    (LossCurveDisplay, {"yscale": "square"}, "'yscale' argument must be .* Got 'square'"),
]


@pytest.mark.parametrize(("Display", "arguments", "message"), BAD)
def test_bad_arguments(Display, arguments, message, ae, iris):
    with pytest.raises(ValueError, match=message):
        draw(Display, ae, iris, **arguments)
    assert plt.get_fignums() == []  # no empty figure is left


def test_bad_arrays():
    with pytest.raises(ValueError, match=r"'X_reconstructed' argument must have the shape \(3, 2\)"):
        ReconstructionDisplay.from_arrays(ROWS, ROWS[:2])
    with pytest.raises(ValueError, match=r"'X_noisy' argument must have the shape \(3, 2\)"):
        DenoisingDisplay.from_arrays(ROWS, ROWS[:2], ROWS)
    with pytest.raises(ValueError, match="'X_generated' argument must have 2 features"):
        SampleDisplay.from_arrays([[1.0]], ROWS)
    with pytest.raises(ValueError, match="'X' argument cannot be used"):
        ReconstructionDisplay.from_arrays([[np.nan, 1.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"equally many rows, at least 3\. Got 3 and 2"):
        NeighborhoodDisplay.from_arrays(ROWS, ROWS[:2])


def test_panels_need_a_grid(ae, iris):
    free = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    with pytest.raises(ValueError, match="'ax' argument must be part of a grid"):
        ReconstructionDisplay.from_estimator(ae, iris, ax=free)
    assert ReconstructionDisplay.from_estimator(ae, iris, ax=free, kind="heatmap").ax_ is free


@pytest.mark.parametrize(
    "look", [{"color": "k"}, {"c": "k"}, {"edgecolor": "k"}, {"linewidth": 1}, {"lw": 1}]
)
def test_a_look_of_one_s_own(look, ae, iris):
    """By whichever of matplotlib's names, in the place of colours by value."""
    LossCurveDisplay.from_estimator(ae, line_kwargs=look if "edgecolor" not in look else {"ls": ":"})
    for y in (None, iris[:, 0], np.arange(len(iris)) % 3):
        LatentDisplay.from_estimator(ae, iris, y, scatter_kwargs=look)
    display = NeighborhoodDisplay.from_estimator(ae, iris)
    assert display.plot(scatter_kwargs=look) is display


@pytest.mark.parametrize("kind", ["auto", "heatmap", "curve"])
def test_images_of_two_channels_are_rows_of_numbers(kind, digits):
    X = np.hstack([digits[0][:40], digits[0][40:80]])
    network = GatedConvNet((2, 8, 8), encoder_filters=(4, 4, 4, 4, 2), decoder_filters=(4, 4))
    model = cheap(AETransformer, network=network).fit(X)
    assert ReconstructionDisplay.from_estimator(model, X, kind=kind).kind_ != "image"


def test_a_shape_may_be_an_array(ae, iris):
    shape = np.array([2, 2])
    assert ReconstructionDisplay.from_estimator(ae, iris, image_shape=shape).kind_ == "image"


def test_codes_without_principal_components(iris):
    model = cheap(AETransformer, n_components=3).fit(iris)
    with pytest.raises(ValueError, match="'projection' argument must be a transformer"):
        LatentDisplay.from_estimator(model, iris[:1])
    Z = np.ones((5, 3))
    assert LatentDisplay.from_arrays(Z).points.shape == (5, 2)
