"""What a fit makes of data and parameters: units, activations, early stopping, augmentation, history."""

import functools
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from .estimators import ESTIMATORS, cheap, gan, swae, two_levels
from .own_networks import Odd

UNITS = [(functools.partial(cheap, E), 1e3, 0) for E in ESTIMATORS]
UNITS += [(swae, 1e-150, 0), (swae, 1e150, 0), (swae, 1, 1e6), (two_levels, 1, 1e6)]


@pytest.mark.parametrize(("make", "unit", "origin"), UNITS)
def test_results_do_not_depend_on_unit_and_origin(make, unit, origin, iris):
    X = iris * unit + origin
    plain, moved = make().fit(iris), make().fit(X)
    assert moved.out_activation_ == "identity"
    np.testing.assert_allclose(moved.scale_, unit * plain.scale_)
    np.testing.assert_allclose(moved.transform(X), plain.transform(iris), atol=1e-3)
    back = (moved.reconstruct(X) - origin) / unit, (moved.sample(5, random_state=0) - origin) / unit
    np.testing.assert_allclose(back[0], plain.reconstruct(iris), rtol=1e-2)
    np.testing.assert_allclose(back[1], plain.sample(5, random_state=0), rtol=1e-2)


def test_scaling(iris):
    estimator = swae(max_iter=1).fit(iris)
    np.testing.assert_allclose(estimator.location_, iris.mean(axis=0))
    np.testing.assert_allclose(estimator.scale_, np.sqrt(iris.var(axis=0).mean()))
    Z = estimator.transform(iris)
    estimator.location_[:] = 0  # a copy
    np.testing.assert_array_equal(estimator.transform(iris), Z)
    alone = swae(max_iter=1, scaling=None).fit(iris)
    assert (alone.scale_, *alone.location_) == (1, 0, 0, 0, 0)


def test_output_activation_auto(digits, iris):
    X = digits[0][:50]
    sigmoid = [X, X * 0.995, X > 0.5]
    identity = [X * 0.01, X - 0.5, X * 16, iris]
    for expected, data in [("sigmoid", sigmoid), ("identity", identity)]:
        assert {swae(max_iter=1).fit(d).out_activation_ for d in data} == {expected}
    decoded = swae(max_iter=1).fit(X).inverse_transform([[100.0, 100.0], [-100.0, 9.0]])
    assert 0 <= decoded.min() <= decoded.max() <= 1


# ---------------------------------------------------------------------------
# Early stopping and augmentation
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "own"), [(swae, True), (gan, False)])
def test_early_stopping_keeps_the_best_epoch(make, own, digits):
    X = digits[0][:120]
    rows = {"X": X[:80], "X_val": X[80:]} if own else {"X": X}
    options = {"early_stopping": True, "learning_rate": "constant", "learning_rate_init": 0.05}
    estimator = make(max_iter=200, n_iter_no_change=3, **options).fit(**rows)
    losses = estimator.history_["validation_loss"]
    assert estimator.n_iter_ == len(losses) < 200
    best = int(losses.argmin())
    assert len(losses) - 1 - best <= 3
    again = make(max_iter=best + 1, n_iter_no_change=1000, **options).fit(**rows)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
    if own:  # the loss is that of X_val, and nothing else depends on it
        other = make(max_iter=1, **options).fit(X[:80], X_val=X[90:])
        assert other.history_["loss"][0] == estimator.history_["loss"][0]
        assert other.history_["validation_loss"][0] != losses[0]


def watched(seen):
    """An augmentation that changes nothing and stores the rows."""

    def augment(x, generator):
        seen.extend(map(tuple, x.tolist()))
        return x

    return augment


def test_rows_that_are_held_out(digits):
    """A full epoch of training batches comes first, then the held-out rows, which are augmented too."""
    X = digits[0] * (1 - 1e-3 * np.arange(300)[:, None] / 300)  # no two are equal
    for n, arguments in [(240, {"X": X}), (200, {"X": X[:200], "X_val": X[200:]})]:
        seen = []
        estimator = swae(early_stopping=True, validation_fraction=0.2, max_iter=1, augment=watched(seen))
        assert list(estimator.fit(**arguments).history_)[-1] == "validation_loss"
        assert [len(set(rows)) for rows in (seen[:n], seen[n:], seen)] == [n, 300 - n, 300]
    options = {"early_stopping": True, "max_iter": 1, "learning_rate_init": 1e-12}
    plain, blank = (
        swae(augment=augment, **options).fit(X).history_["validation_loss"][0]
        for augment in (None, lambda x, generator: 0 * x)
    )
    assert abs(plain - blank) > 0.01 * plain


def test_bad_validation_rows(digits):
    X = digits[0]
    for X_val, message in [(X[:, 1:], "features"), (X * np.nan, "NaN")]:
        with pytest.raises(ValueError, match=f"'X_val' argument .*{message}"):
            swae(early_stopping=True).fit(X, X_val=X_val)
    with pytest.raises(ValueError, match="'X_val' argument must be None without early_stopping=True"):
        swae().fit(X, X_val=X)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [(swae, {}), (swae, {"reconstruction": "binary_cross_entropy"}), (gan, {}),
     (two_levels, {"likelihood": "gaussian"}), (two_levels, {"likelihood": "bernoulli"}),
     (two_levels, {"likelihood": "discretized_logistic", "n_bins": 17})],
)  # fmt: skip
def test_validation_rows_may_lie_anywhere(make, parameters, digits):
    """As rows to transform may; a cost for [0, 1] alone takes numbers outside for 0 and 1."""
    X, X_val = digits[0][:100], digits[0][100:150]
    far = 3 * X_val - 1
    stopped = {"early_stopping": True, "max_iter": 2, **parameters}
    outside, clipped = (
        make(**stopped).fit(X, X_val=rows).history_["validation_loss"] for rows in (far, far.clip(0, 1))
    )
    assert np.isfinite(outside).all()
    for_unit_interval = {"binary_cross_entropy", "bernoulli", "discretized_logistic"} & {*parameters.values()}
    assert np.array_equal(outside, clipped) == bool(for_unit_interval)
    rounded = X_val + np.where(X_val > 0.5, 1, -1) * 2e-16  # as a MinMaxScaler's output may be off
    binarise = {"augment": lambda x, generator: torch.bernoulli(x, generator=generator)}
    make(**stopped, **binarise).fit(X, X_val=rounded)


def test_validation_rows_may_be_augmented_to_anywhere(digits):
    X = digits[0][:100]
    estimator = swae(early_stopping=True, max_iter=1, augment=lambda x, generator: x)
    estimator.fit(X, X_val=2 * X)
    with pytest.raises(ValueError, match=r"'augment' parameter.*values in \[0, 1\]"):
        estimator.set_params(augment=lambda x, generator: 2 * x).fit(X, X_val=X)


def test_augment_sees_the_user_s_units(iris):
    seen = []
    swae(augment=watched(seen), max_iter=1).fit(iris + 100)
    np.testing.assert_allclose(np.sort(seen, axis=0), np.sort(iris + 100, axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda x, g: x.numpy(), "Got ndarray instead"),
        (lambda x, g: x[:, :5], r"Got the shape \(75, 5\) instead"),
        (lambda x, g: 3 * x, r"values in \[0, 1\].*Got values from 0 to 3"),
        (lambda x, g: x / 0, "of finite numbers. Got NaN or infinity"),
    ],
)
def test_augment_is_checked(augment, message, digits):
    with pytest.raises(ValueError, match=f"'augment' parameter.*{message}"):
        swae(augment=augment).fit(digits[0])


# ---------------------------------------------------------------------------
# Divergence, networks, parameters
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_divergence_stops_with_the_term_and_a_cure(Estimator, iris):
    name = r"diverged: the term '\w+_loss' \((inf|nan)\) is not finite after epoch 1. Lower learning_rate"
    with pytest.raises(ValueError, match=name):
        cheap(Estimator, scaling=None, init="random").fit(iris * 1e30)
    # the loss of the last step is finite, what it leaves is not
    estimator = cheap(Estimator, learning_rate_init=1e39, learning_rate="constant", max_iter=1)
    with pytest.raises(ValueError, match=r"the tensor '.*' is not finite after epoch 1"):
        estimator.fit(iris[:60])  # one batch
    assert not hasattr(estimator, "module_")


@pytest.mark.parametrize(
    "kind", ["has frozen layers", "has a frozen bias at its end", "has an infinite buffer", "is lazy"]
)
def test_odd_networks_learn(kind, digits):
    X = digits[0]
    fitted, shorter = (swae(network=Odd(kind), max_iter=n).fit(X) for n in (4, 1))
    encoder = fitted.module_.encoder
    with torch.no_grad():  # the network, not the linear path from PCA alone
        x = torch.from_numpy(X.astype(np.float32))
        assert (encoder(x) - encoder.linear(x)).abs().max() > 0
    assert fitted.partial_fit(X).n_iter_ == 5
    if kind == "has a frozen bias at its end":
        assert torch.all(encoder.network[-1].bias == 3.0)
    frozen = torch.equal(shorter.module_.encoder.network[0].weight, encoder.network[0].weight)
    assert frozen == (kind == "has frozen layers")


def test_numpy_scalars_are_numbers(iris):
    counts = {"n_components": 2, "max_iter": 2, "batch_size": 64, "n_iter_no_change": 3, "random_state": 3}
    numbers = {"learning_rate_init": 1e-3, "validation_fraction": 0.2, "tol": 0}
    for integer, real in [(np.int64, np.float32), (np.int32, np.float64)]:
        parameters = {name: integer(value) for name, value in counts.items()}
        parameters |= {name: real(value) for name, value in numbers.items()}
        swae(early_stopping=True, **parameters).fit(iris)


# ---------------------------------------------------------------------------
# Data frames, verbosity, history, score
# ---------------------------------------------------------------------------


def test_feature_names_and_set_output(iris):
    names = ["sl", "sw", "pl", "pw"]
    frame = pd.DataFrame(iris, columns=names, index=range(1000, 1150))
    estimator = swae(max_iter=1).fit(frame)
    np.testing.assert_array_equal(estimator.feature_names_in_, names)
    Z, out_names = estimator.transform(frame), ["swaetransformer0", "swaetransformer1"]
    as_pandas = estimator.set_output(transform="pandas").transform(frame)
    pd.testing.assert_frame_equal(as_pandas, pd.DataFrame(Z, columns=out_names, index=frame.index))
    assert isinstance(estimator.inverse_transform(as_pandas), np.ndarray)
    as_polars = estimator.set_output(transform="polars").transform(frame)
    assert isinstance(as_polars, pl.DataFrame)
    assert as_polars.columns == list(estimator.get_feature_names_out()) == out_names
    fitted_on_polars = swae(max_iter=1).fit(pl.DataFrame(iris, schema=names))
    np.testing.assert_array_equal(fitted_on_polars.feature_names_in_, names)
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[names[::-1]])


def test_verbose_prints_the_epochs(iris, capsys):
    swae().fit(iris)
    assert capsys.readouterr().out == ""
    swae(verbose=1, early_stopping=True).fit(iris)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"[SWAETransformer] Epoch {i}" for i in (1, 2, 3)]
    assert all("loss = " in line and "validation_loss = " in line for line in lines)


def test_history_and_score(iris):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = gan(max_iter=5, tol=1e9, n_iter_no_change=1).fit(iris)  # for early stopping alone
    assert estimator.n_iter_ == 5
    assert "validation_loss" not in estimator.history_
    assert all(v.shape == (5,) and np.isfinite(v).all() for v in estimator.history_.values())
    np.testing.assert_array_equal(estimator.loss_curve_, estimator.history_["loss"])
    assert estimator.score(iris) == pytest.approx(estimator.score_samples(iris).mean())
    assert estimator.score_samples(iris[:1] + 50)[0] < estimator.score_samples(iris).min()
