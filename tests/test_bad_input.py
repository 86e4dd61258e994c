"""What is refused, with an error that names the argument, the need and what came; and what is accepted."""

import datetime
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

from skswae import AETransformer, SWAETransformer, WAETransformer
from skswae.networks import GatedConvNet, GatedMLP

from .estimators import ESTIMATORS, assert_equal_fits, cheap, gan, swae
from .own_networks import Odd, Wrong

HOUR = datetime.timedelta(hours=1)
each = pytest.mark.parametrize("Estimator", ESTIMATORS)
training = pytest.mark.parametrize("method", ["fit", "partial_fit"])


@pytest.fixture
def X(digits):
    return digits[0][:60]


@pytest.fixture(scope="module")
def fitted(digits):
    return swae(max_iter=1).fit(digits[0][:60])


def changed(X, value):
    X = X.copy()
    X[3, 3] = value
    return X


def refused(estimator, X, message, method="fit", error=(ValueError, TypeError)):
    with pytest.raises(error, match=message):
        getattr(estimator, method)(X)
    assert not any(name.endswith("_") and not name.startswith("__") for name in vars(estimator))


@training
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: changed(X, np.nan), "X contains NaN"),
        (lambda X: X[:1], r"^Found array with 1 sample\(s\) .* minimum of 2 is required"),
        (lambda X: pd.DataFrame(X).rename(columns={0: "a"}), "^Feature names are only supported if all"),
        (lambda X: np.ma.masked_equal(X, X[0, 0]), "X must have no masked values"),
        (lambda X: [[1.0, np.ma.masked], [2.0, 3.0]], "X must have no masked values"),
        (lambda X: X.astype("datetime64[D]"), r"X must hold numbers. Got datetime64\[D\]: make numbers"),
        (lambda X: changed(X.astype(object), np.timedelta64(3, "s")), "Got timedelta64: make numbers"),
        (lambda X: [[1.0, np.timedelta64(3, "s")], [2.0, 3.0]], "Got timedelta64: make numbers"),
        (lambda X: pl.DataFrame({"a": X[:, 0], "b": [HOUR] * len(X)}), "Got Duration.*: make numbers"),
        (lambda X: pa.table({"a": X[:, 0], "b": [HOUR] * len(X)}), "Got duration.*: make numbers"),
        (lambda X: np.array([[1.7e308], [1.7e308], [-1.7e308]]), "finite deviations from its mean"),
        (sp.csr_array, "Sparse data was passed"),
    ],
)
def test_unusable_rows(method, make, message, X):
    """More of them are in scikit-learn's checks and in test_any_input.py."""
    refused(swae(), make(X), message, method)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples", "score", "partial_fit"])
def test_rows_unlike_the_training_rows(method, fitted, X):
    for bad, message in [
        (X[:, 1:], "X has 63 features, but SWAETransformer is expecting 64"),
        (changed(X, np.nan), "NaN"),
        (changed(X, np.inf), "infinity"),
        (X[0], "Expected 2D array"),
    ]:
        with pytest.raises(ValueError, match=message):
            getattr(fitted, method)(bad)


def test_names_unlike_those_of_the_training_rows(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    fitted = swae(max_iter=1).fit(frame)
    with pytest.raises(ValueError, match=r"^The feature names should match"):
        fitted.transform(frame[["b", "a", "c", "d"]])


def test_a_column_may_have_any_name(iris):
    """``_mask`` is an attribute of masked arrays."""
    frame = pd.DataFrame(iris, columns=["_mask", "dtypes", "shape", "schema"])
    assert_equal_fits(swae(max_iter=1).fit(frame), swae(max_iter=1).fit(iris))


def test_unusable_arguments(fitted):
    for n_samples in (0, -1, 1.5, "3", None, True):
        with pytest.raises(ValueError, match=r"'n_samples' argument must be an integer of at least 1. Got"):
            fitted.sample(n_samples)
    for name in ("observation_noise", "as_frame"):
        for value in (1, "yes", None):
            with pytest.raises(ValueError, match=f"'{name}' argument must be True or False. Got {value!r}"):
                fitted.sample(**{name: value})
    for seed in ("a", -1, 1.5, True, [1.5], 2**32, np.random.MT19937(0)):
        with pytest.raises(ValueError, match=r"The 'random_state' argument must be an int in .* Got"):
            fitted.sample(random_state=seed)
    with pytest.raises(MemoryError, match=r"'n_samples' argument asks for, 1000000000000, would take"):
        fitted.sample(10**12)
    for width in (1, 3):
        with pytest.raises(ValueError, match=f"n_components=2 columns .* Got {width} columns"):
            fitted.inverse_transform(np.zeros((3, width)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.inverse_transform(np.full((3, 2), np.nan))


def test_use_before_fit(X):
    for method in ("transform", "inverse_transform", "reconstruct", "score", "score_samples", "sample"):
        with pytest.raises(NotFittedError, match="This SWAETransformer instance is not fitted"):
            getattr(swae(), method)(*([X] if method != "sample" else []))


@training
def test_training_rows_outside_the_unit_interval(method, X):
    for factor, got in [(16, r"from 0\.0 to 16\.0"), (-1, r"from -1\.0 to ")]:
        division = "divide it by its maximum, " if factor > 0 else ""  # which is no cure for numbers below 0
        cure = f"{division}put a MinMaxScaler before this step, or use output_activation='identity'"
        message = rf"X must lie in \[0, 1\] .*: {cure}. Got values {got}"
        refused(swae(output_activation="sigmoid"), X * factor, message, method)
    estimator = swae(warm_start=True, max_iter=1).fit(X)
    fixed = "the first fit or partial_fit has fixed: scale the rows as the first ones were and clip"
    with pytest.raises(ValueError, match=rf"X must lie in \[0, 1\].*{fixed}"):
        getattr(estimator, method)(X * 2)
    assert estimator.n_iter_ == 1


def test_too_few_rows_to_hold_out(X):
    message = (
        "'validation_fraction' parameter must leave at least 2 rows .* Got 0.6, which leaves 1 of 3 rows"
    )
    refused(swae(early_stopping=True, validation_fraction=0.6), X[:3], message)


OUT_OF_RANGE = {
    swae: {
        "n_components": [0, -1, 2.0, "8", None], "init": ["zeros", None], "scaling": ["standard", True],
        "output_activation": ["relu", None], "augment": [3], "max_iter": [0, 1.5, None, "many", np.inf],
        "batch_size": [0, 1.5, "most"], "solver": ["sgd", None], "learning_rate": ["adaptive", 0.1],
        "learning_rate_init": [0, -1.0, "fast"], "precision": ["float16", 32, None], "tol": [-1e-3],
        "early_stopping": ["yes", 2, None], "validation_fraction": [0, 1, -0.1], "n_iter_no_change": [0, 2.5],
        "warm_start": ["no"], "device": [3], "random_state": ["a", -1.5], "verbose": [-1],
        "beta": [-0.1, 1.1, "half", None], "alpha": [0, -1.0], "n_pseudo_inputs": [0, -3, 2.5, "all"],
        "assignment_space": ["both"], "metric": ["manhattan"], "reconstruction": ["l1"],
        "prior_scale_floor": [0, -0.1], "pseudo_input_weights": ["shares"], "prior_scale": ["wide", 0.1],
    },
    gan: {
        "divergence": ["kl", None, 3], "divergence_weight": [-1, -0.1, "heavy", None], "kernel": ["linear"],
        "kernel_scales": [0.5, None, "wide", (), (1.0, 0.0), (-2.0,), ("a",), (np.nan,), (np.inf,), [[1.0]]],
        "n_projections": [0, 1.5], "sinkhorn_epsilon": [0, -1.0], "critic_learning_rate_init": [0, -1e-3],
        "critic_layer_sizes": [None, "64", (0,), (8.5,)], "critic_penalty": [-1], "input_noise": [-0.1],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [(make, *item) for make, table in OUT_OF_RANGE.items() for item in table.items()],
)
def test_parameters_out_of_range(make, name, values, X):
    for value in values:
        got = "" if isinstance(value, tuple | list) else f"Got {value!r} instead"
        refused(
            make(**{name: value}), X, f"The '{name}' parameter.* must .*{got}", error=InvalidParameterError
        )


@pytest.mark.parametrize("Estimator", [AETransformer, SWAETransformer, WAETransformer])
def test_cross_entropy_is_for_the_unit_interval(Estimator, X, iris):
    entropy = {"reconstruction": "binary_cross_entropy"}
    message = "'output_activation' parameter must be 'sigmoid' or 'auto'.*Got 'identity' instead"
    refused(cheap(Estimator, output_activation="identity", **entropy), X, message)
    refused(cheap(Estimator, **entropy), iris, r"X must lie in \[0, 1\]")
    low = cheap(Estimator, **entropy).fit(0.3 * X)  # in [0, 1], though not up to 1
    squared = cheap(Estimator, warm_start=True).fit(0.3 * X)
    assert (low.out_activation_, squared.out_activation_) == ("sigmoid", "identity")
    with pytest.raises(ValueError, match="must not go on training"):
        squared.set_params(**entropy).fit(0.3 * X)


@pytest.mark.parametrize("device", ["cuda:99", "tpu!", "meta", torch.device("cuda", 99)])
def test_a_device_that_is_not_there(device, X):
    refused(swae(device=device), X, f"The 'device' parameter must be .*Got '{device}' instead")
    estimator = swae(max_iter=1).fit(X).set_params(device=device)
    with pytest.raises(ValueError, match="The 'device' parameter must be"):
        estimator.transform(X)
    estimator.set_params(device=torch.device("cpu")).transform(X)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(64, 2), r"Got an nn.Module \(Linear\) instead, which would be trained in place"),
        ((300, 300), r"Got \(300, 300\), which has no build_encoder, instead"),
        (Wrong(decoder=nn.Linear(2, 63)), r"'network' .*to one of \(2, 64\).*Got \(2, 63\) in"),
        (Wrong(decoder=nn.Linear(3, 64)), r"build_decoder\(2, 64\).* It raised: "),
        (Wrong(encoder=lambda x: x[:, :2]), "'network' .*returns an nn.Module. Got function instead"),
        (Odd("is float32 alone"), "'network' .*in torch.float64 for float64 rows.* It raised: "),
        (GatedMLP((0,)), r"'hidden_layer_sizes' parameter .*Got \(0,\) instead"),
        (GatedConvNet((1, 8, 9)), "'image_shape' .*n_features=64. .*multiplies to 72, instead"),
    ],
)
def test_unusable_networks(network, message, X):
    refused(swae(network=network), X, message)


class BatchNormed(BaseEstimator):
    """A layer, a batch normalisation, a layer."""

    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.Linear(8, n_outputs))

    def build_decoder(self, n_components, n_features):
        return self.build_encoder(n_components, n_features)


def test_a_batch_of_one_row_with_batch_normalisation(X):
    message = r"'batch_size' parameter must be at least 2, .* Got batch_size={} and {} rows"
    refused(swae(network=BatchNormed(), batch_size=1), X, message.format(1, 60))
    estimator = swae(network=BatchNormed(), batch_size=59).fit(X)  # no batch is a remainder of one row
    with pytest.raises(ValueError, match=message.format(59, 1)):
        estimator.partial_fit(X[:1])
    assert estimator.n_iter_ == 3


@each
@pytest.mark.parametrize(("dtype", "values"), [(np.float32, (1e37, 2e38)), (np.float64, (1e160, 1e300))])
def test_numbers_that_overflow(Estimator, dtype, values, iris):
    """Finite results, or an error that says in which row; never infinity or NaN."""
    X = iris.astype(dtype)
    estimator = cheap(Estimator).fit(X)
    errors = []
    for value in values:
        far, codes = X.copy(), estimator.transform(X)
        far[3, 2] = codes[3, 1] = value
        names = ("transform", "reconstruct", "score_samples", "score", "sample_posterior", "log_likelihood")
        for name in (name for name in (*names, "inverse_transform") if hasattr(estimator, name)):
            rows = codes if name == "inverse_transform" else far
            try:
                found = getattr(estimator, name)(rows)
            except ValueError as error:
                found = 0.0
                errors.append(str(error))
            assert np.isfinite(found).all(), name
            assert np.isfinite(getattr(estimator, name)(np.delete(rows, 3, axis=0))).all()
    assert len(errors) >= 2 * len(values)  # both scores
    cure = "pass float64" if dtype == np.float32 else "scale the rows"
    message = rf"X must hold numbers .* finite in {X.dtype}. .* row 3: .*{cure}"
    assert all(re.match(message, error) for error in errors)
    before, message = estimator.n_iter_, "X must hold numbers whose squares are finite in float32"
    far[3, 2] = values[-1]
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(far)
    assert estimator.n_iter_ == before


@each
def test_validation_rows_that_overflow(Estimator, iris):
    far = iris.copy()
    far[3, 2] = 1e160
    message = "X_val must hold numbers whose squares are finite in float32"
    with pytest.raises(ValueError, match=message):
        cheap(Estimator, early_stopping=True).fit(iris, X_val=far)
    cheap(Estimator, early_stopping=True, max_iter=1).fit(iris, X_val=far.clip(max=1e12))


def test_the_mean_of_scores_does_not_overflow(iris):
    estimator = swae().fit(iris)
    scores = estimator.score_samples(iris * 2e153)
    assert np.isfinite(scores).all()
    with np.errstate(over="ignore"):
        assert np.isinf(np.sum(scores))
    assert estimator.score(iris * 2e153) == pytest.approx(float(np.mean(scores * 1e-300)) * 1e300)


# ---------------------------------------------------------------------------
# Accepted
# ---------------------------------------------------------------------------


@each
@pytest.mark.parametrize("init", ["pca", "random"])
def test_constant_rows_and_features(Estimator, init, iris):
    constant = [np.full((20, 3), value) for value in (0.0, 0.1, 1e6)]
    for X in (*constant, np.hstack([iris, np.full((150, 2), 7.0)])):
        estimator = cheap(Estimator, init=init, max_iter=2).fit(X)
        assert np.isfinite(estimator.transform(X)).all()
        assert np.isfinite(estimator.sample(5, random_state=0)).all()
        same = np.ptp(X, axis=0) == 0
        if init == "pca" and estimator.out_activation_ == "identity":
            np.testing.assert_allclose(estimator.reconstruct(X)[:, same], X[:, same], atol=0.5)


def test_rounding_beyond_the_unit_interval():
    """A MinMaxScaler's output may end at 1 + 2e-16."""
    X = MinMaxScaler().fit_transform(np.random.default_rng(0).normal(size=(200, 30)))
    assert X.max() > 1
    X[1, 1] = -2e-16
    for augment in (None, lambda x, generator: torch.bernoulli(x, generator=generator)):
        assert swae(max_iter=1, augment=augment).fit(X).out_activation_ == "sigmoid"
    X[0, 0] = 1 + 1e-9
    refused(swae(output_activation="sigmoid"), X, r"Got values from 0\.0 to 1\.000000001")


@each
@pytest.mark.parametrize("network", [GatedMLP((16,)), Wrong()])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_more_components_than_features(Estimator, network, init, iris):
    estimator = cheap(Estimator, n_components=8, init=init, network=network).fit(iris)
    Z = estimator.transform(iris)
    assert Z.shape == (150, 8)
    # WAE leaves components beyond the rank of the rows empty
    used = 4 if Estimator is WAETransformer else 8
    assert np.all(Z[:, :used].std(axis=0) > 1e-3)  # none of these is dead
    assert not Z[:, used:].any()
    assert np.isfinite(estimator.reconstruct(iris)).all()


def test_rows_far_from_the_origin_in_one_feature_are_taken_again(iris):
    """What counts is how far they are from the location that is taken off, feature by feature."""
    X = iris.copy()
    X[:, 0] += 1e25
    model = swae(max_iter=1).partial_fit(X).partial_fit(X)
    assert model.n_iter_ == 2
    assert swae(max_iter=1, early_stopping=True).fit(X, X_val=X).n_iter_ == 1


@each
def test_few_rows(Estimator, X):
    """Fewer than components; and two of one feature."""
    assert cheap(Estimator, n_components=10).fit(X[:3]).transform(X).shape == (60, 10)
    rows = np.array([[1.0], [3.0]])
    estimator = cheap(Estimator).fit(rows)
    assert estimator.inverse_transform(estimator.transform(rows)).shape == (2, 1)


def test_test_rows_outside_the_training_range(fitted, X, iris):
    for estimator, data in ((fitted, X), (swae().fit(iris), iris)):
        assert np.isfinite(estimator.transform(data * 10 - 3)).all()
        assert np.isfinite(estimator.score_samples(data * 10 - 3)).all()


def test_dtypes(X):
    reference = swae().fit((X > 0.5).astype(np.float64)).transform(X > 0.5)
    for dtype in (np.float32, np.float16, np.int64, np.uint8, bool, object):
        data = (X > 0.5).astype(dtype)
        Z = swae().fit(data).transform(data)
        assert Z.dtype == (np.float32 if dtype == np.float32 else np.float64)
        np.testing.assert_allclose(Z, reference, atol=1e-4)
