"""Errors of reconstructions: by hand, and beside what the estimators say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skswae import SWAETransformer
from skswae.metrics import denoising_error, reconstruction_error

from ..estimators import cheap


class Identity:
    """A model that gives back what it gets, and keeps it."""

    def __init__(self):
        self.seen = []

    def reconstruct(self, X):
        self.seen.append(np.asarray(X))
        return X


def test_reconstruction_error_by_hand():
    assert reconstruction_error([[0, 0], [1, 2]], [[3, 4], [1, 1]]) == (25 + 1) / 2
    X = np.full((2, 3), 255, dtype=np.uint8)
    assert reconstruction_error(X, X + np.uint8(1)) == 3 * 255**2  # bytes do not wrap around
    for other in (X[:1], X[:, :2]):
        with pytest.raises(
            ValueError, match=r"'X_reconstructed' argument must have X's shape, \(2, 3\). Got"
        ):
            reconstruction_error(X, other)


def test_errors_of_an_estimator(digits):
    X = digits[0][:100]
    model = cheap(SWAETransformer).fit(X)
    clean = reconstruction_error(X, model.reconstruct(X))
    assert clean == pytest.approx(-model.score(X), rel=1e-12)
    assert denoising_error(model, X, noise=0) == pytest.approx(clean, rel=1e-12)
    assert denoising_error(model, X, noise=0.3, random_state=0) > 1.02 * clean


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_denoising_error_of_the_identity_is_the_noise(noise, rng):
    X, model = rng.random((400, 50)), Identity()
    error = denoising_error(model, X, noise=noise, n_repeats=2, random_state=0)
    # a mean of 800 chi-squared numbers of 50 degrees, scaled
    assert error == pytest.approx(50 * noise**2, abs=5 * noise**2 * np.sqrt(2 * 50 / 800))
    assert error == pytest.approx(np.mean([reconstruction_error(X, noisy) for noisy in model.seen]))
    assert not np.array_equal(*model.seen)
    assert model.seen[0].min() < 0
    denoising_error(model, X, noise=noise, clip=(0.25, 0.75))
    assert (model.seen[2].min(), model.seen[2].max()) == (0.25, 0.75)


def test_denoising_error_of_a_pipeline_is_repeatable(iris):
    pipe, noisy = make_pipeline(StandardScaler(), PCA(2)).fit(iris), Identity()
    denoising_error(noisy, iris, random_state=0)
    expected = reconstruction_error(iris, pipe.inverse_transform(pipe.transform(noisy.seen[0])))
    errors = [denoising_error(pipe, iris, random_state=seed) for seed in (0, 0, 1, None, None)]
    assert errors[0] == pytest.approx(expected)
    assert errors[0] == errors[1]
    assert len(set(errors)) == 4


def test_denoising_error_keeps_float32_and_column_names(iris):
    model = Identity()
    for X in (iris.astype(np.float32), iris, (10 * iris).astype(np.uint8)):
        denoising_error(model, X)
    assert [X.dtype for X in model.seen] == [np.float32, np.float64, np.float64]
    frame = pd.DataFrame(iris, columns=list("abcd"))
    fitted = PCA(2).fit(frame)  # warns of rows without names, and warnings are errors
    expected = denoising_error(PCA(2).fit(iris), iris, random_state=0)
    assert denoising_error(fitted, frame, random_state=0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("noise", -0.1, r"'noise' parameter .*\[0.0, inf\). Got -0.1"),
        ("noise", np.nan, r"'noise' parameter .* Got nan"),
        ("n_repeats", 0, r"'n_repeats' parameter .* Got 0"),
        ("clip", 1, r"'clip' parameter .* Got 1"),
        (
            "clip",
            (1, 0),
            r"'clip' argument must be None or two numbers \(low, high\), .*. Got \(1, 0\)",
        ),
        ("clip", ("a", "b"), r"'clip' argument must be None or two numbers .* Got \('a', 'b'\)"),
        ("clip", (0, None), r"'clip' argument must be None or two numbers .* Got \(0, None\)"),
        ("clip", (0, np.nan), r"'clip' argument must be None or two numbers .* Got \(0, nan\)"),
        ("noise", np.inf, r"'noise' parameter .* Got inf"),
    ],
)
def test_denoising_error_with_bad_arguments(name, value, message, iris):
    with pytest.raises(ValueError, match=message):
        denoising_error(PCA(2).fit(iris), iris, **{name: value})


def test_denoising_error_of_what_cannot_reconstruct(iris):
    for steps in ((PCA(2), KNeighborsClassifier()), (Normalizer(), PCA(2))):
        pipe = make_pipeline(*steps).fit(iris, np.arange(len(iris)) % 2)
        with pytest.raises(
            ValueError, match=r"'estimator' parameter .* implementing 'reconstruct' or .* Got"
        ):
            denoising_error(pipe, iris)
