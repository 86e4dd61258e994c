"""Displays of codes and of losses: the numbers are the estimator's, and what is drawn are the numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from skswae import AETransformer, metrics
from skswae.inspection import LatentDisplay, LossCurveDisplay, NeighborhoodDisplay

from ..estimators import cheap


def codes(case):
    inside = case.estimator["scale"].transform(case.X) if case.kind == "bar" else case.X
    return case.model.transform(inside)


def decoded(case, Z):
    rows = case.model.inverse_transform(Z)
    return case.estimator["scale"].inverse_transform(rows) if case.kind == "bar" else rows


def test_codes_of_two_components(case):
    display = LatentDisplay.from_estimator(
        case.estimator, case.X, case.y, n_grid=3, image_shape=case.image_shape
    )
    Z = codes(case)
    np.testing.assert_array_equal(display.Z, Z)
    np.testing.assert_array_equal(display.points, Z)
    np.testing.assert_allclose(display.X_grid, decoded(case, display.grid), rtol=1e-9)
    low, high = Z.min(axis=0), Z.max(axis=0)
    np.testing.assert_allclose(display.grid[[0, 4, 8]], low + (high - low) * [[1 / 6], [1 / 2], [5 / 6]])
    np.testing.assert_allclose(display.grid[1], [display.grid[4, 0], display.grid[0, 1]])
    display.figure_.canvas.draw()
    if case.kind == "curve":  # numbers
        np.testing.assert_array_equal(display.points_.get_offsets(), Z)
        np.testing.assert_array_equal(display.points_.get_array(), case.y)
        assert display.ax_.get_legend() is None
    else:
        legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert legend == [str(c) for c in np.unique(case.y)]
        for c, points in zip(legend, display.points_, strict=True):
            np.testing.assert_array_equal(points.get_offsets(), Z[np.asarray(case.y) == int(c)])
    if case.kind == "image":  # a cell's picture lies around its code
        (image,) = display.ax_.images
        left, right, bottom, _ = image.get_extent()
        assert display.grid[0, 0] == pytest.approx(left + (right - left) / 6)
        drawn = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
        low, high = display.X_grid.min(), display.X_grid.max()
        np.testing.assert_allclose(drawn[18:26, :8], (display.X_grid[0].reshape(8, 8) - low) / (high - low))
        assert display.grid[0, 1] > bottom
    else:
        (lines,) = (c for c in display.ax_.collections if hasattr(c, "get_segments"))
        assert len(lines.get_segments()) == 9


def test_codes_of_one_and_of_many_components(rng):
    Z = rng.normal(size=(40, 5)) * [1, 5, 1, 2, 1]
    display = LatentDisplay.from_arrays(Z)
    np.testing.assert_allclose(display.points, PCA(2, svd_solver="full").fit_transform(Z))
    share = PCA(2).fit(Z).explained_variance_ratio_[1]
    assert display.ax_.get_ylabel() == f"PC 1 of codes ({share:.0%})"
    tsne = TSNE(random_state=0, perplexity=5)
    display = LatentDisplay.from_arrays(Z, projection=tsne)
    np.testing.assert_array_equal(display.points, TSNE(random_state=0, perplexity=5).fit_transform(Z))
    assert not hasattr(tsne, "embedding_")  # a clone was fitted
    assert display.ax_.get_xlabel() == "TSNE 0"
    display = LatentDisplay.from_arrays([[3.0], [1.0], [2.0], [0.0]])
    np.testing.assert_array_equal(display.points, [[3, 1], [1, 0.5], [2, 0.75], [0, 0.25]])


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b", "c"], ["a", "b", "c"]),
        ([True, False, True, True], ["False", "True"]),
        (pd.Series(["x", "y", "x", "y"], dtype="category"), ["x", "y"]),
        (np.array(["q", 1, "q", 1], dtype=object), ["1", "q"]),
        ([3.0, 1.0, 3.0, 1.0], ["1.0", "3.0"]),
        ([0.5, 1.0, 3.0, 1.0], None),
        (None, None),
    ],
)
def test_classes_and_numbers(rng, y, classes):
    display = LatentDisplay.from_arrays(rng.normal(size=(4, 2)), y)
    legend = display.ax_.get_legend()
    assert (legend and [text.get_text() for text in legend.get_texts()]) == classes


def test_many_classes_have_colours_of_their_own(rng):
    y = np.arange(30)
    Z = rng.normal(size=(30, 2))
    assert LatentDisplay.from_arrays(Z, y).ax_.get_legend() is None  # a scale
    drawn = LatentDisplay.from_arrays(Z, y.astype(str)).points_
    assert len({to_hex(points.get_facecolor()[0]) for points in drawn}) == 30


def test_losses(cases):
    swae = cases["digits"].estimator
    display = LossCurveDisplay.from_estimator(swae)
    assert list(display.history) == list(swae.history_)
    drawn = {name for name, values in swae.history_.items() if np.isfinite(values).any()}
    assert {"loss", "validation_loss", "reconstruction_loss"} <= set(display.lines_) == drawn
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, swae.n_iter_ + 1))
        np.testing.assert_array_equal(line.get_ydata(), swae.history_[name])
    assert display.best_.get_ydata() == swae.history_["validation_loss"].min()
    display.figure_.canvas.draw()
    assert list(display.plot(terms=["loss"], line_kwargs={"color": "red"}).lines_) == ["loss"]
    assert display.lines_["loss"].get_color() == "red"
    assert display.best_ is None
    pipe = cases["table"].estimator
    np.testing.assert_array_equal(
        LossCurveDisplay.from_estimator(pipe).history["loss"], pipe["ae"].loss_curve_
    )


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 20], "log"), ([1, 2], "linear"), ([-1, 20], "linear"), ([np.nan, 20], "linear")],
)
def test_scales_of_losses(values, scale):
    display = LossCurveDisplay(history={"loss": np.array(values, dtype=float)}).plot()
    assert display.ax_.get_yscale() == scale
    assert display.plot(yscale="log").ax_.get_yscale() == "log"
    display.figure_.canvas.draw()


def test_terms_without_a_number_are_left_out():
    display = LossCurveDisplay(history={"loss": np.ones(2), "x": np.full(2, np.nan)}).plot()
    assert list(display.lines_) == ["loss"]


def test_neighborhoods(case):
    display = NeighborhoodDisplay.from_estimator(case.estimator, case.X, target=4)
    inside = np.asarray(case.estimator["scale"].transform(case.X) if case.kind == "bar" else case.X)
    Z = codes(case)
    of_X, of_Z = (np.linalg.norm(A - A[4], axis=1) for A in (inside, Z))
    for order, distances in ((display.data_order, of_X), (display.code_order, of_Z)):
        assert order[4] == 0
        assert sorted(order) == list(range(len(Z)))
        assert (np.diff(distances[np.argsort(order)]) >= 0).all()
    others = np.arange(len(Z)) != 4
    assert display.rank_agreement == pytest.approx(spearmanr(of_X[others], of_Z[others]).statistic)
    assert display.rank_agreement == metrics.rank_agreement(inside, Z, targets=[4])
    np.testing.assert_array_equal(display.points_.get_offsets(), Z)
    np.testing.assert_array_equal(display.points_.get_array(), display.data_order)
    drawn = np.column_stack([display.data_order, display.code_order])
    np.testing.assert_array_equal(display.order_points_.get_offsets(), drawn)
    display.figure_.canvas.draw()
    assert display.plot(kind="order").points_ is None
    assert display.plot(kind="map").order_points_ is None


def test_neighborhoods_of_many_components(rng):
    X = rng.normal(size=(20, 4))
    display = NeighborhoodDisplay.from_arrays(X, X, name="as they are")
    np.testing.assert_array_equal(display.data_order, display.code_order)
    assert display.rank_agreement == pytest.approx(1.0)
    assert display.points.shape == (20, 2)
    assert display.axes_[0, 0].get_title() == "as they are"


def test_narrow_places_have_panels_below_each_other(rng):
    X = rng.normal(size=(20, 2))
    with plt.rc_context({"figure.figsize": (3.5, 4)}):
        assert NeighborhoodDisplay.from_arrays(X, X).axes_.shape == (2, 1)
    assert NeighborhoodDisplay.from_arrays(X, X).axes_.shape == (1, 2)


def test_one_component_of_a_model(iris):
    ae = cheap(AETransformer, n_components=1).fit(iris)
    display = LatentDisplay.from_estimator(ae, iris)
    np.testing.assert_array_equal(display.points[:, 0], ae.transform(iris)[:, 0])
    assert NeighborhoodDisplay.from_estimator(ae, iris).points.shape == (150, 2)
