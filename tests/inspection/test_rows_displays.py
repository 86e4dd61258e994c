"""Displays of rows: the numbers are the estimator's, in the units of a pipeline's input, and are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skswae import AETransformer, metrics
from skswae.inspection import (
    DenoisingDisplay,
    InterpolationDisplay,
    ReconstructionDisplay,
    SampleDisplay,
)
from skswae.networks import GatedConvNet

from ..estimators import cheap


def numbers(drawn):
    return np.ma.filled(np.ma.asarray(drawn, dtype=float), np.nan)


def rebuilt(case, X):
    """In the units of the input, without a Display."""
    if case.kind != "bar":
        return case.model.reconstruct(X)
    scaler = case.estimator["scale"]
    return scaler.inverse_transform(case.model.inverse_transform(case.model.transform(scaler.transform(X))))


def test_reconstructions(case):
    display = ReconstructionDisplay.from_estimator(case.estimator, case.X, image_shape=case.image_shape)
    expected = rebuilt(case, case.X)
    np.testing.assert_array_equal(display.X, case.X)
    np.testing.assert_allclose(display.X_reconstructed, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(display.residuals, display.X - display.X_reconstructed)
    assert display.errors.mean() == pytest.approx(metrics.reconstruction_error(case.X, expected))
    assert display.kind_ == case.kind
    assert display.figure_ is display.ax_.figure
    display.figure_.canvas.draw()


def test_what_is_drawn_are_the_numbers(cases):
    case = cases["digits"]
    display = ReconstructionDisplay.from_estimator(case.estimator, case.X, image_shape=(8, 8), n_rows=3)
    row, back, residual = (numbers(image.get_array()) for image in display.ax_.images)
    for strip, rows in ((row, display.X), (back, display.X_reconstructed), (residual, display.residuals)):
        np.testing.assert_array_equal(strip[:8, 9:17], rows[1].reshape(8, 8))
    assert np.isnan(row[:, 8]).all()  # between two images
    assert len(display.ax_.images) == 3
    assert row.shape[1] == 3 * 9
    display.plot(n_rows=13)
    assert len(display.ax_.images) == 6  # two lines of images
    assert [t.get_text() for t in display.ax_.get_yticklabels()][3:5] == ["row", "rebuilt"]

    case = cases["curves"]
    display = ReconstructionDisplay.from_estimator(case.estimator, case.X, n_rows=2)
    assert display.axes_.shape == (2, 2)
    lines = display.axes_[1, 0].lines
    np.testing.assert_allclose(lines[0].get_xdata(), case.X.columns.astype(float))
    np.testing.assert_array_equal(lines[0].get_ydata(), case.X.iloc[1])
    np.testing.assert_array_equal(lines[1].get_ydata(), display.X_reconstructed[1])
    np.testing.assert_array_equal(display.axes_[1, 1].lines[-1].get_ydata(), display.residuals[1])

    case = cases["table"]
    display = ReconstructionDisplay.from_estimator(case.estimator, case.X)
    heights = [bar.get_height() for bar in display.axes_[2, 0].patches]
    standard = (case.X - case.X.mean()) / case.X.std(ddof=0)
    np.testing.assert_allclose(heights[:12], standard.iloc[2])
    heights = [bar.get_height() for bar in display.axes_[2, 1].patches]
    np.testing.assert_allclose(heights, display.residuals[2] / case.X.std(ddof=0))
    names = [label.get_text() for label in display.axes_[-1, 0].get_xticklabels()]
    assert set(names) <= {n if len(n) <= 18 else n[:17] + "…" for n in case.X.columns}
    display.plot(kind="heatmap", n_rows=5)
    np.testing.assert_allclose(display.ax_.images[0].get_array(), standard.iloc[:5])
    assert display.kind_ == "heatmap"


@pytest.mark.parametrize(
    ("n_features", "kind"), [(16, "bar"), (17, "heatmap"), (64, "heatmap"), (65, "curve")]
)
def test_how_rows_are_drawn(rng, n_features, kind):
    X = rng.normal(size=(5, n_features))
    display = ReconstructionDisplay.from_arrays(X, X)
    assert display.kind_ == kind


def test_rows_without_spread_are_drawn():
    for n_features, shape in ((3, None), (20, None), (70, None), (4, (2, 2))):
        X = np.ones((1, n_features))
        display = ReconstructionDisplay.from_arrays(X, X, image_shape=shape)
        display.figure_.draw_without_rendering()


def test_colours_of_images(rng):
    X = rng.uniform(size=(3, 3 * 4 * 5))
    display = ReconstructionDisplay.from_arrays(X, X - 0.25, image_shape=(3, 4, 5))
    row, _, residual = (numbers(image.get_array()) for image in display.ax_.images)
    expected = (X[1].reshape(3, 4, 5).transpose(1, 2, 0) - X.min()) / np.ptp(X)
    np.testing.assert_allclose(row[:4, 6:11, :3], expected)
    assert (row[:4, 5, 3] == 0).all()  # transparent between images
    np.testing.assert_allclose(residual[:4, :5, :3], 1.0)  # all of the largest size


def test_the_network_s_image_shape(digits):
    X = digits[0][:64]
    network = GatedConvNet((1, 8, 8), encoder_filters=(4, 4, 4, 4, 2), decoder_filters=(4, 4, 4, 4, 4))
    ae = cheap(AETransformer, network=network, max_iter=1).fit(X)
    assert ReconstructionDisplay.from_estimator(ae, X[:3]).image_shape == (1, 8, 8)
    pipe = make_pipeline(PCA(64), ae.set_params(input_components=None)).fit(X)
    assert ReconstructionDisplay.from_estimator(pipe, X[:3]).kind_ == "image"  # of as many pixels
    assert InterpolationDisplay.from_estimator(ae, X[:3]).kind_ == "image"
    assert ReconstructionDisplay.from_estimator(ae, X[:3], kind="heatmap").kind_ == "heatmap"


def test_samples(case):
    display = SampleDisplay.from_estimator(
        case.estimator, case.X, n_samples=3, random_state=0, image_shape=case.image_shape
    )
    drawn = case.model.sample(3, random_state=0)
    inside = case.X
    if case.kind == "bar":
        inside = case.estimator["scale"].transform(case.X)
        np.testing.assert_allclose(display.X_generated, case.estimator["scale"].inverse_transform(drawn))
    else:
        np.testing.assert_array_equal(display.X_generated, drawn)
    distances = pairwise_distances(drawn, np.asarray(inside))
    np.testing.assert_array_equal(display.nearest, distances.argmin(axis=1))
    np.testing.assert_allclose(display.distances, distances.min(axis=1))
    np.testing.assert_array_equal(display.X_nearest, np.asarray(case.X)[display.nearest])
    assert display.kind_ == case.kind
    display.figure_.canvas.draw()
    mixture = SampleDisplay.from_estimator(
        case.estimator, case.X, n_samples=2, random_state=0, sample_kwargs={"prior": "gmm"}
    )
    assert not np.array_equal(mixture.X_generated, display.X_generated[:2])
    arrays = SampleDisplay.from_arrays(display.X_nearest, case.X)
    np.testing.assert_array_equal(arrays.distances, 0.0)


def test_denoising(case):
    noise = 0.3 if case.kind == "image" else 0.3 * np.asarray(case.X.std())
    display = DenoisingDisplay.from_estimator(
        case.estimator, case.X, noise=noise, random_state=0, image_shape=case.image_shape
    )
    expected = np.asarray(case.X) + noise * np.random.default_rng(0).standard_normal(case.X.shape)
    np.testing.assert_allclose(display.X_noisy, expected)
    as_given = expected if case.kind == "image" else pd.DataFrame(expected, columns=case.X.columns)
    np.testing.assert_allclose(display.X_reconstructed, rebuilt(case, as_given), rtol=1e-9)
    assert display.kind_ == case.kind
    display.figure_.canvas.draw()


def test_denoising_is_the_measure(cases):
    case = cases["digits"]
    arguments = {"noise": 0.2, "clip": (0, 1), "random_state": 3}
    display = DenoisingDisplay.from_estimator(case.estimator, case.X, image_shape=(8, 8), **arguments)
    assert display.error == pytest.approx(metrics.denoising_error(case.estimator, case.X, **arguments))
    assert display.X_noisy.min() == 0
    again = DenoisingDisplay.from_arrays(display.X, display.X_noisy, display.X_reconstructed)
    assert again.noise_error == display.noise_error > 0


def test_interpolation(case):
    display = InterpolationDisplay.from_estimator(
        case.estimator, case.X, ends=(3, 7), n_steps=5, image_shape=case.image_shape
    )
    rows = np.asarray(case.X)
    back = rebuilt(case, case.X)
    np.testing.assert_allclose(display.X_mixed[[0, 2, 4]], [rows[3], (rows[3] + rows[7]) / 2, rows[7]])
    np.testing.assert_allclose(display.X_interpolated[[0, 4]], back[[3, 7]], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(display.Z[2], (display.Z[0] + display.Z[4]) / 2)
    assert display.kind_ == {"image": "image", "bar": "heatmap", "curve": "curve"}[case.kind]
    if case.kind == "curve":
        assert display.axes_.shape == (1, 2)
        np.testing.assert_array_equal(display.axes_[0, 1].lines[3].get_ydata(), display.X_interpolated[3])
    display.figure_.canvas.draw()


def test_steps_as_bars(cases):
    case = cases["table"]
    display = InterpolationDisplay.from_estimator(case.estimator, case.X, kind="bar", n_steps=2)
    assert display.axes_.shape == (2, 1)


def test_given_axes_are_used(cases):
    case = cases["table"]
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    display = ReconstructionDisplay.from_estimator(case.estimator, case.X, ax=left)
    assert display.ax_ is left
    assert all(panel.figure is figure for panel in display.axes_.ravel())
    assert display.plot(right, kind="heatmap") is display
    assert display.ax_ is right
    assert plt.get_fignums() == [figure.number]


def test_nothing_else_changes(cases):
    """Neither rows nor the model, nor rcParams."""
    case, before = cases["table"], dict(plt.rcParams)
    X = case.X.copy()
    Z = case.model.transform(case.estimator["scale"].transform(X))
    ReconstructionDisplay.from_estimator(case.estimator, X)
    DenoisingDisplay.from_estimator(case.estimator, X, random_state=0)
    pd.testing.assert_frame_equal(X, case.X)
    np.testing.assert_array_equal(case.model.transform(case.estimator["scale"].transform(X)), Z)
    assert dict(plt.rcParams) == before


def test_other_models(rng):
    X = rng.normal(size=(30, 6))
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipe, X)
    np.testing.assert_allclose(display.X_reconstructed, pipe.inverse_transform(pipe.transform(X)))
