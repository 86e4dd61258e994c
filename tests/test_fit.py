"""What a fit makes of data and parameters: units, activations, early stopping, augmentation, history."""

import functools
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from skswae import AETransformer, SWAETransformer

from .estimators import ESTIMATORS, assert_equal_fits, cheap, gan, swae, two_levels
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
    options = {"early_stopping": True, "learning_rate": "constant", "learning_rate_init": 0.01}
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


@pytest.fixture(scope="module")
def wide():
    """Rows of rank 2 and 80 columns with much noise: to learn from, to judge, and these without the noise."""
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 80))
    X = clean + 2 * rng.normal(size=clean.shape)
    return X[:60], X[60:], clean[60:]


@pytest.mark.parametrize(
    "Estimator", [pytest.param(E, marks=[pytest.mark.slow] * (E is not AETransformer)) for E in ESTIMATORS]
)
def test_the_default_does_not_learn_the_noise_of_few_wide_rows(Estimator, wide):
    X, X_test, clean = wide
    errors = {}
    for early_stopping in ("auto", False):
        options = {"max_iter": "auto", "batch_size": 8, "learning_rate_init": 0.005}
        estimator = cheap(Estimator, early_stopping=early_stopping, **options).fit(X)
        errors[early_stopping] = np.sqrt(np.mean((estimator.reconstruct(X_test) - clean) ** 2))
        assert estimator.early_stopping_ == ("validation_loss" in estimator.history_) == bool(early_stopping)
    assert errors["auto"] < 1.05 * errors[False]
    if Estimator in (AETransformer, SWAETransformer):  # the noise in the other codes holds overfitting back
        assert errors["auto"] < 0.9 * errors[False]


@pytest.mark.slow
def test_when_rows_are_held_out(wide, iris):
    """Under "auto": rows that are few for their columns, an open number of epochs, or rows of one's own."""
    X, X_val, _ = wide
    auto = swae(max_iter="auto").fit(X)
    assert (auto.early_stopping_, auto.learning_rate_) == (True, "constant")
    assert_equal_fits(auto, swae(max_iter=40, early_stopping=True, learning_rate="constant").fit(X))
    for rows, options in [(X, {}), (iris, {"max_iter": "auto"}), (X[:15], {"max_iter": "auto"})]:
        auto, plain = (swae(**options, **more).fit(rows) for more in ({}, {"early_stopping": False}))
        assert (auto.early_stopping_, auto.learning_rate_) == (False, "one_cycle")
        assert_equal_fits(auto, plain)
    auto, own = (swae(**more).fit(X, X_val=X_val) for more in ({}, {"early_stopping": True}))
    assert auto.early_stopping_
    assert_equal_fits(auto, own)
    assert not auto.partial_fit(X).early_stopping_


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_early_stopping_and_the_course_of_the_rate(Estimator, iris):
    """No epoch is a gain with this tol. With warm_start each fit has a cycle of its own."""
    options = {"early_stopping": True, "tol": 1e9, "n_iter_no_change": 1, "warm_start": True}
    n_epochs = {"auto": 2, "constant": 2, "one_cycle": 6}  # the peak lies 30 % into 20 epochs
    for learning_rate, n in n_epochs.items():
        estimator = cheap(Estimator, learning_rate=learning_rate, max_iter=20, **options)
        assert [estimator.fit(iris).n_iter_ for _ in range(2)] == [n, 2 * n]


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
    with pytest.raises(ValueError, match="'X_val' argument must be None with early_stopping=False"):
        swae(early_stopping=False).fit(X, X_val=X)


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


class Spoilt:
    """An augmentation whose results are spoilt from its n-th call on."""

    def __init__(self, spoil, at):
        self.spoil, self.at, self.calls = spoil, at, 0

    def __call__(self, x, generator):
        self.calls += 1
        return self.spoil(x) if self.calls >= self.at else x


SPOILT = {
    "type": (lambda x: x.numpy(), "Got ndarray"),
    "shape": (lambda x: x[:-1], r"Got the shape \("),
    "device": (lambda x: x.to("meta"), "on its device, cpu. Got one on meta"),
    "NaN": (lambda x: torch.where(x == x[0, 2], torch.nan, x), "of finite numbers. Got NaN or infinity"),
    "infinity": (lambda x: torch.where(x == x[0, 2], torch.inf, x), "of finite numbers. Got NaN or infinity"),
    "range": (lambda x: 1.5 * x - 0.25, r"values in \[0, 1\].*Got values from -0.25 to 1.25"),
}


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("make", [swae, gan, two_levels])
def test_augment_is_checked_in_every_call(make, what, digits):
    """Also in the last of a fit, in partial_fit, and on rows that are held out; the fit then fails."""
    X, (spoil, message) = digits[0], SPOILT[what]  # four batches an epoch; one of held-out rows
    for at, parameters in [(2, {}), (8, {}), (10, {"early_stopping": True})]:
        estimator = make(augment=Spoilt(spoil, at), max_iter=2, **parameters)
        with pytest.raises(ValueError, match=f"'augment' parameter.*{message}"):
            estimator.fit(X)
        assert estimator.augment.calls >= at
        assert not hasattr(estimator, "module_")
    estimator = make(augment=Spoilt(spoil, 6)).partial_fit(X)
    before = estimator.transform(X)
    with pytest.raises(ValueError, match=f"'augment' parameter.*{message}"):
        estimator.partial_fit(X)
    np.testing.assert_array_equal(estimator.transform(X), before)


def test_the_numbers_of_augment_are_waited_for_once_an_epoch(digits, monkeypatch):
    """And in the first call, so that what fails always fails at once."""
    n_calls, augment = [], Spoilt(None, np.inf)
    tolist = torch.Tensor.tolist

    def watched_tolist(tensor):
        if tensor.shape == (2,):
            n_calls.append(augment.calls)
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", watched_tolist)
    swae(augment=augment).fit(digits[0])  # whose terms are four numbers
    assert n_calls == [1, 4, 8, 12]


@pytest.mark.parametrize("identity", [True, False])
def test_what_augment_may_return(identity, digits):
    """Without a sigmoid any finite numbers; with one the ends, and numbers that float32 rounds to them."""
    X = digits[0]

    def ends(x, generator):
        return 5 * x - 9 if identity else (x > 0.5).double() * (1 + 1e-12)

    estimator = swae(augment=ends, output_activation="identity" if identity else "sigmoid").fit(X)
    assert estimator.n_iter_ == 3


# ---------------------------------------------------------------------------
# Divergence, networks, parameters
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_divergence_stops_with_the_term_and_a_cure(Estimator, iris):
    name = r"diverged: the term '\w+_loss' \((inf|nan)\) is not finite after epoch 1. Lower learning_rate"
    with pytest.raises(ValueError, match=name):
        cheap(Estimator, learning_rate_init=1e20, init="random").fit(iris)
    with pytest.raises(ValueError, match="X must hold numbers whose squares are finite in float32"):
        cheap(Estimator, scaling=None).fit(iris * 1e30)
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


def test_arrays_and_frames_of_rows(iris, monkeypatch):
    """Rows come back as arrays, whatever the output of transform is; samples with names if asked."""
    names = ["sl", "sw", "pl", "pw"]
    frame = pd.DataFrame(iris, columns=names)
    named = swae(max_iter=1).fit(frame).set_output(transform="pandas")
    for rows in (named.inverse_transform(named.transform(frame)), named.reconstruct(frame), named.sample(3)):
        assert type(rows) is np.ndarray
    drawn = named.sample(3, random_state=0)
    expected = pd.DataFrame(drawn, columns=names)
    pd.testing.assert_frame_equal(named.sample(3, as_frame=True, random_state=0), expected)
    assert named.transform(named.sample(3, as_frame=True)).shape == (3, 2)  # the names are those of fit
    for unnamed in (iris, pd.DataFrame(iris)):
        drawn = swae(max_iter=1).fit(unnamed).sample(3, as_frame=True, random_state=0)
        assert list(drawn.columns) == [0, 1, 2, 3]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="'as_frame' argument must be False without pandas"):
        named.sample(3, as_frame=True)
    assert named.sample(3).shape == (3, 4)


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
