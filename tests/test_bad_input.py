"""What is refused, with an error that names the argument, the need and what came; and what is accepted."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from skswae import AETransformer, SWAETransformer, WAETransformer
from skswae.networks import GatedConvNet, GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import Odd, Wrong

each = pytest.mark.parametrize("Estimator", ESTIMATORS)


@pytest.fixture
def X(digits):
    return digits[0][:60]


def changed(X, value):
    X = X.copy()
    X[3, 3] = value
    return X


def refused(estimator, X, message, method="fit", error=ValueError):
    with pytest.raises(error, match=message):
        getattr(estimator, method)(X)
    if method in ("fit", "partial_fit"):
        assert not hasattr(estimator, "module_")
        assert not any(name.endswith("_") and not name.startswith("__") for name in vars(estimator))


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: changed(X, np.nan), "X contains NaN"),
        (lambda X: changed(X, np.inf), "X contains infinity"),
        (lambda X: X[0], "Expected 2D array, got 1D array"),
        (lambda X: X[None], "dim 3"),
        (lambda X: X[:0], r"0 sample\(s\)"),
        (lambda X: X[:1], r"1 sample\(s\) .* minimum of 2 is required"),
        (lambda X: X[:, :0], r"0 feature\(s\)"),
        (lambda X: np.full((5, 3), "a"), "could not convert string"),
        (lambda X: pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), "could not convert string"),
        (lambda X: X + 1j, "Complex data not supported"),
    ],
)
def test_unusable_rows(Estimator, method, make, message, X):
    refused(cheap(Estimator), make(X), message, method)


@each
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_sparse_rows(Estimator, kind, X):
    refused(cheap(Estimator), kind(X), "Sparse data was passed", error=TypeError)


@each
@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples", "score", "partial_fit"])
def test_rows_unlike_the_training_rows(Estimator, method, X):
    estimator = cheap(Estimator).fit(X)
    apply = getattr(estimator, method)
    with pytest.raises(ValueError, match=f"X has 63 features, but {Estimator.__name__} is expecting 64"):
        apply(X[:, 1:])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            apply(changed(X, bad))
    with pytest.raises(ValueError, match="Expected 2D array"):
        apply(X[0])


@each
@pytest.mark.parametrize("width", [1, 3])
def test_codes_of_the_wrong_width(Estimator, width, X):
    estimator = cheap(Estimator).fit(X)
    with pytest.raises(ValueError, match=f"n_components=2 columns .* Got {width} columns"):
        estimator.inverse_transform(np.zeros((3, width)))
    with pytest.raises(ValueError, match="NaN"):
        estimator.inverse_transform(np.full((3, 2), np.nan))


@each
@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "3", None, True])
def test_sample_of_nothing(Estimator, n_samples, X):
    estimator = cheap(Estimator).fit(X)
    with pytest.raises(ValueError, match=r"'n_samples' argument must be an integer of at least 1. Got"):
        estimator.sample(n_samples)


@each
def test_use_before_fit(Estimator, X):
    estimator = cheap(Estimator)
    for method in ("transform", "inverse_transform", "reconstruct", "score", "score_samples", "sample"):
        with pytest.raises(NotFittedError, match=f"This {Estimator.__name__} instance is not fitted"):
            getattr(estimator, method)(*([X] if method != "sample" else []))


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_rows_outside_the_unit_interval(Estimator, method, X):
    for factor, got in [(16, r"from 0\.0 to 16\.0"), (-1, r"from -1\.0 to ")]:
        refused(
            cheap(Estimator, output_activation="sigmoid"),
            X * factor,
            rf"X must lie in \[0, 1\].*output_activation='identity'. Got values {got}",
            method,
        )
    estimator = cheap(Estimator).partial_fit(X)
    assert estimator.out_activation_ == "sigmoid"
    with pytest.raises(ValueError, match=r"X must lie in \[0, 1\]"):
        estimator.partial_fit(X * 2)
    assert estimator.n_iter_ == 1


@each
def test_overflow(Estimator):
    X = np.array([[1.7e308], [1.7e308], [-1.7e308]])  # the sum is infinite
    refused(cheap(Estimator), X, "finite deviations from its mean")


@each
def test_too_few_rows_to_hold_out(Estimator, X):
    refused(
        cheap(Estimator, early_stopping=True, validation_fraction=0.6),
        X[:3],
        "validation_fraction=0.6 must leave at least 2 rows to train on. Got 3 rows, of which it leaves 1",
    )


# ---------------------------------------------------------------------------
# Parameters
# ---------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_components", [0, -1, 2.0, "8", None]),
        ("init", ["zeros", None]),
        ("output_activation", ["relu", None]),
        ("scaling", ["standard", True]),
        ("augment", [3]),
        ("max_iter", [0, 1.5, None, "many", np.inf]),
        ("batch_size", [0, 1.5, "most"]),
        ("solver", ["sgd", None]),
        ("learning_rate", ["adaptive", 0.1]),
        ("learning_rate_init", [0, -1.0, "fast"]),
        ("precision", ["float16", 32, None]),
        ("early_stopping", ["yes", 2]),
        ("validation_fraction", [0, 1, -0.1]),
        ("n_iter_no_change", [0, 2.5]),
        ("tol", [-1e-3]),
        ("warm_start", ["no"]),
        ("device", [3]),
        ("random_state", ["a", -1.5]),
        ("verbose", [-1]),
    ],
)
def test_shared_parameters_out_of_range(Estimator, name, values, X):
    for value in values:
        refused(
            cheap(Estimator, **{name: value}), X,
            f"The '{name}' parameter of {Estimator.__name__} must be .* Got {value!r} instead",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("beta", [-0.1, 1.1, "half", None]),
        ("alpha", [0, -1.0]),
        ("n_pseudo_inputs", [0, -3, 2.5, "all"]),
        ("search_space", ["both"]),
        ("metric", ["manhattan"]),
        ("reconstruction", ["l1"]),
        ("prior_scale_floor", [0, -0.1]),
        ("pseudo_input_weights", ["shares"]),
        ("prior_scale", ["wide", 0.1]),
    ],
)
def test_swae_parameters_out_of_range(name, values, X):
    for value in values:
        refused(
            cheap(SWAETransformer, **{name: value}), X,
            f"The '{name}' parameter of SWAETransformer must be .* Got {value!r} instead",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("divergence", ["kl", None, 3]),
        ("divergence_weight", [-1, -0.1, "heavy", None]),
        ("kernel", ["linear"]),
        ("kernel_scales", [0.5, None, "wide"]),
        ("kernel_scales", [(), (1.0, 0.0), (1.0, -2.0), ("a",), (np.nan,), (np.inf,), [[1.0]]]),
        ("n_projections", [0, 1.5]),
        ("sinkhorn_epsilon", [0, -1.0]),
        ("critic_layer_sizes", [None, "64"]),
        ("critic_layer_sizes", [(0,), (8.5,)]),
        ("critic_learning_rate_init", [0, -1e-3]),
        ("critic_penalty", [-1]),
        ("input_noise", [-0.1, "some"]),
        ("reconstruction", ["l1"]),
    ],
)
def test_wae_parameters_out_of_range(name, values, X):
    for value in values:
        refused(cheap(WAETransformer, **{name: value}), X, f"The '{name}' parameter.* must .* Got ")


@pytest.mark.parametrize("Estimator", [AETransformer, SWAETransformer, WAETransformer])
def test_cross_entropy_is_for_the_unit_interval(Estimator, X, iris):
    entropy = {"reconstruction": "binary_cross_entropy"}
    refused(
        cheap(Estimator, output_activation="identity", **entropy), X,
        "'output_activation' parameter must be 'sigmoid' or 'auto'.*Got 'identity' instead",
    )  # fmt: skip
    refused(cheap(Estimator, **entropy), iris, r"X must lie in \[0, 1\]")
    low = cheap(Estimator, **entropy).fit(0.3 * X)  # in [0, 1], though not up to 1
    assert low.out_activation_ == "sigmoid"
    squared = cheap(Estimator, warm_start=True).fit(0.3 * X)
    assert squared.out_activation_ == "identity"
    squared.set_params(**entropy)
    with pytest.raises(ValueError, match="must not go on training"):
        squared.fit(0.3 * X)


@each
@pytest.mark.parametrize("device", ["cuda:99", "tpu!", "meta", torch.device("cuda", 99)])
def test_a_device_that_is_not_there(Estimator, device, X):
    refused(cheap(Estimator, device=device), X, f"The 'device' parameter must be .*Got '{device}' instead")
    estimator = cheap(Estimator).fit(X).set_params(device=device)
    with pytest.raises(ValueError, match="The 'device' parameter must be"):
        estimator.transform(X)
    estimator.set_params(device=torch.device("cpu")).transform(X)


@each
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(64, 2), r"Got an nn.Module \(Linear\) instead, which would be trained in place"),
        (GatedMLP, "Got the class GatedMLP instead of an instance"),
        ((300, 300), r"Got \(300, 300\), which has no build_encoder, instead"),
        (Wrong(decoder=nn.Linear(2, 63)), r"'network' .*to one of \(2, 64\).*Got \(2, 63\) in"),
        (Wrong(decoder=nn.Linear(3, 64)), r"build_decoder\(2, 64\).* It raised: "),
        (Wrong(encoder=nn.Linear(64, 3)), r"build_encoder\(64, \d\) .*of \(2, \d\).*Got \(2, 3\) in"),
        (Wrong(encoder=nn.Identity()), r"Got \(2, 64\) in torch.float32 instead"),
        (Wrong(encoder=nn.LSTM(64, 2)), "Got tuple instead"),
        (Wrong(encoder=lambda x: x[:, :2]), "'network' .*returns an nn.Module. Got function instead"),
        (Odd("changes its input"), "'network' .*It changed its input in place"),
        (Odd("is float32 alone"), "'network' .*in torch.float64 for float64 rows.* It raised: "),
        (GatedMLP(np.array(5)), "'hidden_layer_sizes' parameter"),
        (GatedMLP((0,)), "'hidden_layer_sizes' parameter .*Got (0,) instead"),
        (GatedMLP((3.5,)), "'hidden_layer_sizes' parameter"),
        (GatedMLP("300"), "'hidden_layer_sizes' parameter .*Got '300' instead"),
        (GatedMLP(None), "'hidden_layer_sizes' parameter .*Got None instead"),
        (GatedConvNet((1, 8, 9)), "'image_shape' .*n_features=64. .*multiplies to 72, instead"),
        (GatedConvNet((1, 4, 16)), "'image_shape' .*at least 8. Got"),
        (GatedConvNet((8, 8)), "'image_shape' .*channels, height, width"),
        (GatedConvNet(64), "'image_shape' .*Got 64 instead"),
        (GatedConvNet((1, 8, 8), encoder_filters=(8,)), "'encoder_filters' .*5 numbers"),
        (GatedConvNet((1, 8, 8), hidden_size=0), "'hidden_size'"),
    ],
)
def test_unusable_networks(Estimator, network, message, X):
    message = message.replace("(0,)", r"\(0,\)")
    refused(cheap(Estimator, network=network), X, message, error=(ValueError, TypeError))


# ---------------------------------------------------------------------------
# Accepted
# ---------------------------------------------------------------------------


@each
@pytest.mark.parametrize("init", ["pca", "random"])
def test_constant_features(Estimator, init, iris):
    X = np.hstack([iris, np.full((150, 2), 7.0)])
    estimator = cheap(Estimator, init=init, max_iter=100).fit(X)
    if init == "pca":
        np.testing.assert_allclose(estimator.reconstruct(X)[:, 4:], 7, atol=0.5)
    assert np.isfinite(estimator.reconstruct(X)).all()
    assert np.isfinite(estimator.sample(10, random_state=0)).all()


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_constant_feature_leaves_the_unit_alone(Estimator, dtype, iris):
    alone = cheap(Estimator).fit((iris * 0.01).astype(dtype))
    X = np.hstack([iris * 0.01, np.full((150, 1), 202401.01)]).astype(dtype)
    estimator = cheap(Estimator).fit(X)
    assert estimator.scale_ == pytest.approx(alone.scale_ * np.sqrt(4 / 5), rel=1e-5)
    assert estimator.location_[4] == X[0, 4]


@each
def test_rounding_beyond_the_unit_interval(Estimator):
    """A MinMaxScaler's output may end at 1 + 2e-16."""
    X = MinMaxScaler().fit_transform(np.random.default_rng(0).normal(size=(200, 30)))
    assert X.max() > 1
    X[1, 1] = -2e-16
    for augment in (None, lambda x, generator: torch.bernoulli(x, generator=generator)):
        assert cheap(Estimator, max_iter=1, augment=augment).fit(X).out_activation_ == "sigmoid"
    X[0, 0] = 1 + 1e-9
    with pytest.raises(ValueError, match=r"Got values from 0\.0 to 1\.000000001"):
        cheap(Estimator, output_activation="sigmoid").fit(X)


@each
@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e6])
def test_constant_rows(Estimator, init, value):
    X = np.full((20, 3), value)
    estimator = cheap(Estimator, init=init).fit(X)
    assert np.isfinite(estimator.transform(X)).all()
    assert np.isfinite(estimator.sample(5, random_state=0)).all()
    if init == "pca" and estimator.out_activation_ == "identity":
        np.testing.assert_allclose(estimator.reconstruct(X), value, atol=0.1)


@each
@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("network", [None, Wrong()])
def test_more_components_than_features(Estimator, init, network, iris):
    estimator = Estimator(init=init, max_iter=3, network=network, random_state=0).fit(iris)
    Z = estimator.transform(iris)
    assert Z.shape == (150, 8)
    assert np.all(Z.std(axis=0) > 1e-3)  # none of them is dead
    assert np.isfinite(estimator.reconstruct(iris)).all()


@each
def test_fewer_rows_than_components(Estimator, digits):
    X = digits[0][:3]
    assert cheap(Estimator, n_components=10).fit(X).transform(X).shape == (3, 10)


@each
def test_test_rows_outside_the_training_range(Estimator, X, iris):
    for data in (X, iris):
        estimator = cheap(Estimator).fit(data)
        far = data * 10 - 3
        assert np.isfinite(estimator.transform(far)).all()
        assert np.isfinite(estimator.score_samples(far)).all()


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool, object])
def test_dtypes(Estimator, dtype, X):
    data = (X > 0.5).astype(dtype)
    reference = cheap(Estimator).fit((X > 0.5).astype(np.float64)).transform(X > 0.5)
    estimator = cheap(Estimator).fit(data)
    Z = estimator.transform(data)
    # half precision is computed as float32 or float64, as scikit-learn's check_array converts it
    assert Z.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_allclose(Z, reference, atol=1e-4)


@each
def test_memory_layouts(Estimator, X):
    plain = cheap(Estimator).fit(X)
    Z, back = plain.transform(X), plain.inverse_transform(plain.transform(X))
    readonly = X.copy()
    readonly.flags.writeable = False
    wide = np.zeros((120, 128))
    wide[::2, ::2] = X
    layouts = {
        "read-only": readonly,
        "negative strides": X[::-1, ::-1].copy()[::-1, ::-1],
        "Fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "list": X.tolist(),
        "big-endian": X.astype(">f8"),
    }
    for name, data in layouts.items():
        estimator = cheap(Estimator).fit(data)
        np.testing.assert_allclose(estimator.transform(data), Z, rtol=1e-9, err_msg=name)
    codes = {"Fortran": np.asfortranarray(Z), "negative strides": Z[::-1].copy()[::-1]}
    for name, data in codes.items():
        np.testing.assert_allclose(plain.inverse_transform(data), back, rtol=1e-9, err_msg=name)


@each
def test_one_row(Estimator, X):
    estimator = cheap(Estimator).fit(X)
    assert estimator.transform(X[:1]).shape == (1, 2)
    assert estimator.reconstruct(X[:1]).shape == (1, 64)
    assert estimator.score_samples(X[:1]).shape == (1,)


@each
def test_one_feature_and_two_rows(Estimator):
    X = np.array([[1.0], [3.0]])
    estimator = cheap(Estimator).fit(X)
    assert estimator.inverse_transform(estimator.transform(X)).shape == (2, 1)
