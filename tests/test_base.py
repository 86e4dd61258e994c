"""What every estimator promises: random state, row independence, resuming, early stopping, interrupts."""

import copy
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skswae.networks import GatedConvNet, GatedMLP

from .estimators import ESTIMATORS, cheap
from .own_networks import DropoutMLP, Odd, Plain

pytestmark = pytest.mark.parametrize("Estimator", ESTIMATORS)


def states(estimator):
    return {k: v.clone() for k, v in estimator.module_.state_dict().items()}


def assert_equal_fits(a, b):
    assert a.n_iter_ == b.n_iter_
    for name, value in states(a).items():
        assert torch.equal(value, states(b)[name]), name
    for name, value in a.history_.items():
        np.testing.assert_array_equal(value, b.history_[name])


# ---------------------------------------------------------------------------
# Random state
# ---------------------------------------------------------------------------


def streams():
    return torch.get_rng_state(), random.getstate(), np.random.get_state()[1:]


def assert_equal_streams(a, b, numpy=True):
    assert torch.equal(a[0], b[0])
    assert a[1] == b[1]
    equal = all(np.array_equal(x, y) for x, y in zip(a[2], b[2]))
    assert equal == numpy


@pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP()])
def test_a_seed_moves_no_global_stream(Estimator, network, digits):
    before = streams()
    estimator = cheap(Estimator, network=network, early_stopping=True).fit(digits[0])
    estimator.partial_fit(digits[0]).sample(3, random_state=np.random.RandomState(0))
    estimator.transform(digits[0])
    assert_equal_streams(before, streams())


def test_no_seed_moves_numpy_s_stream_alone(Estimator, digits):
    np.random.seed(4)
    before = streams()
    np.random.seed(3)  # what a user of the module-level seed does
    a = cheap(Estimator, random_state=None).fit(digits[0])
    drawn = a.sample(2)
    assert_equal_streams(before, streams(), numpy=False)
    b = cheap(Estimator, random_state=None).fit(digits[0])
    np.random.seed(3)
    c = cheap(Estimator, random_state=None).fit(digits[0])
    np.testing.assert_array_equal(drawn, c.sample(2))
    assert_equal_fits(a, c)
    assert not np.array_equal(a.transform(digits[0]), b.transform(digits[0]))


@pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP()])
def test_equal_seeds_give_bit_equal_fits(Estimator, network, digits):
    X = digits[0]
    estimator = cheap(Estimator, network=network)
    assert_equal_fits(clone(estimator).fit(X), clone(estimator).fit(X))
    assert_equal_fits(
        clone(estimator).set_params(random_state=np.random.RandomState(7)).fit(X),
        clone(estimator).set_params(random_state=np.random.RandomState(7)).fit(X),
    )
    other = clone(estimator).set_params(random_state=1).fit(X)
    assert not np.array_equal(other.transform(X), clone(estimator).fit(X).transform(X))


@pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP()])
def test_fits_in_threads_equal_serial_ones(Estimator, network, digits):
    X = digits[0]
    estimators = [cheap(Estimator, network=network, random_state=seed) for seed in range(12)]
    serial = [clone(e).fit(X) for e in estimators]
    barrier = threading.Barrier(12)

    def fit(estimator):
        torch.set_num_threads(1)
        barrier.wait()
        return estimator.fit(X)

    with ThreadPoolExecutor(12) as pool:
        threaded = list(pool.map(fit, estimators))
    for a, b in zip(serial, threaded):
        assert_equal_fits(a, b)


def test_sample_draws_afresh_unless_seeded(Estimator, digits):
    estimator = cheap(Estimator).fit(digits[0])
    assert not np.array_equal(estimator.sample(5), estimator.sample(5))
    np.testing.assert_array_equal(estimator.sample(5, random_state=1), estimator.sample(5, random_state=1))
    rng = np.random.RandomState(1)
    first = estimator.sample(5, random_state=rng)
    assert not np.array_equal(first, estimator.sample(5, random_state=rng))
    assert estimator.sample().shape == (1, 64)
    assert estimator.sample(1000, random_state=0).dtype == np.float64


# ---------------------------------------------------------------------------
# Codes are a function of the row
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("network", [GatedMLP((16,)), GatedConvNet((1, 8, 8), decoder_filters=(4,))])
def test_codes_do_not_depend_on_batch_order_or_calls(Estimator, network, digits):
    X = np.tile(digits[0], (3, 1))  # more than one chunk
    estimator = cheap(Estimator, network=network, max_iter=2).fit(digits[0])
    for dtype in (np.float64, np.float32):
        Xd = X.astype(dtype)
        Z = estimator.transform(Xd)
        assert Z.dtype == dtype
        order = np.random.default_rng(0).permutation(len(X))
        others = {
            "order": estimator.transform(Xd[order])[np.argsort(order)],
            "single": np.vstack([estimator.transform(Xd[i : i + 1]) for i in range(40)]),
            "call": estimator.transform(Xd),
            "offset": np.vstack([estimator.transform(Xd[:7]), estimator.transform(Xd[7:])]),
        }
        for name, other in others.items():
            reference = Z[: len(other)]
            if dtype == np.float64:
                np.testing.assert_allclose(other, reference, rtol=1e-9, err_msg=name)
            else:
                assert np.all(np.abs(other - reference) <= 1e-5 * Z.std(axis=0)), name
    np.testing.assert_array_equal(estimator.transform(X), estimator.transform(X))


@pytest.mark.parametrize("seed", range(4))
def test_codes_of_a_table_do_not_depend_on_the_batch(Estimator, seed, iris):
    """With more components than features, some of which are small."""
    X = iris.astype(np.float32)
    estimator = Estimator(random_state=seed, max_iter=20).fit(X)
    Z = estimator.transform(X)
    single = np.vstack([estimator.transform(x[None]) for x in X])
    assert np.all(np.abs(Z - single) <= 1e-5 * Z.std(axis=0))


def test_float64_is_computed_in_float64(Estimator, digits):
    X = digits[0]
    estimator = cheap(Estimator).fit(X)
    module = copy.deepcopy(estimator.module_).double()
    with torch.no_grad():
        expected = module.encode(module.to_units(torch.tensor(X)))
        decoded = module.from_units(module.decode(expected))
    Z = estimator.transform(X)
    np.testing.assert_allclose(Z, expected, rtol=1e-12)
    np.testing.assert_allclose(estimator.inverse_transform(Z), decoded, rtol=1e-12)
    error = -np.square(X - decoded.numpy()).sum(axis=1)
    np.testing.assert_allclose(estimator.score_samples(X), error, rtol=1e-10)
    assert np.abs(Z - estimator.transform(X.astype(np.float32))).max() > 0
    assert estimator.module_.encoder is not module.encoder


def test_dtypes_are_kept(Estimator, digits):
    estimator = cheap(Estimator).fit(digits[0])
    for dtype in (np.float32, np.float64):
        X = digits[0].astype(dtype)
        Z = estimator.transform(X)
        for out in (Z, estimator.inverse_transform(Z), estimator.reconstruct(X), estimator.score_samples(X)):
            assert out.dtype == dtype
            assert type(out) is np.ndarray
    assert isinstance(estimator.score(digits[0]), float)
    np.testing.assert_allclose(
        estimator.reconstruct(digits[0]), estimator.inverse_transform(estimator.transform(digits[0]))
    )


# ---------------------------------------------------------------------------
# Units and activations
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-150, 1e-3, 1e3, 1e150])
def test_results_do_not_depend_on_the_unit(Estimator, factor, iris):
    plain = cheap(Estimator, max_iter=10).fit(iris)
    scaled = cheap(Estimator, max_iter=10).fit(iris * factor)
    assert scaled.out_activation_ == "identity"
    np.testing.assert_allclose(scaled.scale_, factor * plain.scale_)
    np.testing.assert_allclose(scaled.transform(iris * factor), plain.transform(iris), atol=1e-3)
    np.testing.assert_allclose(scaled.reconstruct(iris * factor) / factor, plain.reconstruct(iris), rtol=1e-2)
    np.testing.assert_allclose(
        scaled.sample(5, random_state=0) / factor, plain.sample(5, random_state=0), rtol=1e-2
    )


def test_results_do_not_depend_on_the_origin(Estimator, iris):
    plain = cheap(Estimator, max_iter=10).fit(iris)
    shifted = cheap(Estimator, max_iter=10).fit(iris + 1e6)
    np.testing.assert_allclose(shifted.transform(iris + 1e6), plain.transform(iris), atol=1e-3)
    np.testing.assert_allclose(
        shifted.sample(5, random_state=0) - 1e6, plain.sample(5, random_state=0), atol=1e-2
    )


def test_scaling_none_leaves_the_data_alone(Estimator, iris):
    estimator = cheap(Estimator, scaling=None).fit(iris)
    assert estimator.scale_ == 1.0
    np.testing.assert_array_equal(estimator.location_, np.zeros(4))


def test_scaling_makes_the_mean_variance_one(Estimator, iris):
    estimator = cheap(Estimator).fit(iris)
    np.testing.assert_allclose(estimator.location_, iris.mean(axis=0))
    np.testing.assert_allclose(estimator.scale_, np.sqrt(iris.var(axis=0).mean()))
    Z = estimator.transform(iris)
    estimator.location_[:] = 0  # a copy
    np.testing.assert_array_equal(estimator.transform(iris), Z)


def test_output_activation_auto(Estimator, digits, iris):
    X = digits[0]
    for data, expected in [
        (X, "sigmoid"),
        (X * 0.995, "sigmoid"),
        (X * 0.01, "identity"),
        (X - 0.5, "identity"),
        (X * 16, "identity"),
        (iris, "identity"),
        (X > 0.5, "sigmoid"),
    ]:
        assert cheap(Estimator, max_iter=1).fit(data).out_activation_ == expected
    estimator = cheap(Estimator, max_iter=1).fit(X)
    decoded = estimator.inverse_transform(100 * np.ones((1, 2)))
    assert decoded.min() >= 0
    assert decoded.max() <= 1


# ---------------------------------------------------------------------------
# Resuming: warm_start and partial_fit
# ---------------------------------------------------------------------------


def test_warm_start_goes_on(Estimator, digits):
    X = digits[0]
    parts = cheap(Estimator, warm_start=True, max_iter=2, learning_rate="constant")
    parts.fit(X)
    first = {k: v.copy() for k, v in parts.history_.items()}
    parts.set_params(max_iter=3).fit(X)
    whole = cheap(Estimator, max_iter=5, learning_rate="constant").fit(X)
    assert_equal_fits(parts, whole)
    for name, value in first.items():
        np.testing.assert_array_equal(parts.history_[name][:2], value)
    cold = cheap(Estimator, max_iter=5, learning_rate="constant")
    assert_equal_fits(cold.fit(X), whole)
    assert_equal_fits(cold.fit(X), whole)  # without warm_start a second fit starts anew


def test_partial_fit_is_an_epoch(Estimator, digits):
    X = digits[0]
    parts = cheap(Estimator)
    for _ in range(3):
        assert parts.partial_fit(X) is parts
    whole = cheap(Estimator, max_iter=3, learning_rate="constant").fit(X)
    assert parts.n_iter_ == 3
    for (name, a), b in zip(states(parts).items(), states(whole).values()):
        if name not in ("usage", "residual", "codes"):  # sums and draws over the rows of all calls
            assert torch.equal(a, b), name


def test_partial_fit_fixes_the_units(Estimator, iris):
    estimator = cheap(Estimator).partial_fit(iris[:75])
    location, scale = estimator.location_.copy(), estimator.scale_
    estimator.partial_fit(iris[75:]).partial_fit(iris[:1])
    np.testing.assert_array_equal(estimator.location_, location)
    assert estimator.scale_ == scale
    assert estimator.n_iter_ == 3


def test_the_optimiser_goes_on_in_memory_only(Estimator, digits):
    X = digits[0]
    a = cheap(Estimator).partial_fit(X)
    b = copy.deepcopy(a)
    assert_equal_fits(a, b)
    a.partial_fit(X)
    b.partial_fit(X)
    assert not np.array_equal(a.transform(X), b.transform(X))


def test_training_goes_on_on_a_copy(Estimator, digits):
    """A shallow copy of a fitted model is not trained with it."""
    X = digits[0]
    a = cheap(Estimator).fit(X)
    b = copy.copy(a)
    before = a.transform(X)
    b.partial_fit(X)
    np.testing.assert_array_equal(a.transform(X), before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 3),
        ("network", GatedMLP((17,))),
        ("network", Plain(17)),
        ("output_activation", "identity"),
        ("scaling", None),
    ],
)
def test_structure_cannot_change_while_training_goes_on(Estimator, name, value, digits):
    X = digits[0]
    estimator = cheap(Estimator, warm_start=True).fit(X)
    before = estimator.transform(X)
    estimator.set_params(**{name: value})
    for method in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=f"'{name}' parameter must stay"):
            method(X)
    np.testing.assert_array_equal(estimator.transform(X), before)
    estimator.set_params(warm_start=False).fit(X)


def test_an_equal_network_is_the_same(Estimator, digits):
    X = digits[0]
    for network, again in [(GatedMLP((16,)), GatedMLP([16])), (Plain(8), Plain(8))]:
        estimator = cheap(Estimator, network=network).fit(X)
        copy.deepcopy(estimator).set_params(network=again).partial_fit(X)


def test_a_changed_rate_acts(Estimator, digits):
    X = digits[0]
    estimator = cheap(Estimator).partial_fit(X)
    before = states(estimator)
    estimator.set_params(learning_rate_init=1e-12).partial_fit(X)
    for name, value in estimator.module_.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-8)


def test_one_cycle_is_the_default_course(Estimator, digits):
    X = digits[0]
    cycle, constant = (
        cheap(Estimator, learning_rate=course).fit(X).history_["loss"] for course in ("one_cycle", "constant")
    )
    assert cycle[0] > constant[0]  # it starts at 1/25 of the rate


# ---------------------------------------------------------------------------
# Early stopping
# ---------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_epoch(Estimator, digits):
    X = digits[0]
    options = {"early_stopping": True, "learning_rate": "constant", "learning_rate_init": 0.03}
    estimator = cheap(Estimator, max_iter=200, n_iter_no_change=5, **options).fit(X)
    losses = estimator.history_["validation_loss"]
    assert estimator.n_iter_ == len(losses) < 200
    best = int(losses.argmin())
    assert len(losses) - 1 - best <= 5
    again = cheap(Estimator, max_iter=best + 1, n_iter_no_change=1000, **options).fit(X)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))


def test_early_stopping_holds_rows_out(Estimator, digits):
    X = digits[0]
    X = X + 1e-3 * np.arange(300)[:, None] / 300  # a number for each row, in all its pixels
    X = X / X.max()
    seen = {True: [], False: []}

    def watch(x, generator):
        # a full epoch of training batches comes first, then the held-out rows, in order
        seen[len(seen[True]) < 240].extend(tuple(row) for row in x.tolist())
        return x

    estimator = cheap(Estimator, early_stopping=True, validation_fraction=0.2, max_iter=1, augment=watch).fit(
        X
    )
    assert list(estimator.history_)[-1] == "validation_loss"
    assert len(seen[True]) == len(set(seen[True])) == 240
    assert len(seen[False]) == len(set(seen[False])) == 60  # the augmentation sees held-out rows too
    assert not set(seen[True]) & set(seen[False])
    plain = cheap(Estimator, n_iter_no_change=1, tol=1e9).fit(X)
    assert "validation_loss" not in plain.history_


def test_validation_rows_of_one_s_own(Estimator, digits):
    """All of X is trained on, the loss is that of X_val, and the best epoch by it is kept."""
    X, X_val = digits[0][:200], digits[0][200:]
    seen = []

    def watch(x, generator):
        seen.append(len(x))
        return x

    options = {"early_stopping": True, "learning_rate": "constant", "learning_rate_init": 0.03}
    cheap(Estimator, early_stopping=True, max_iter=1, augment=watch).fit(X, X_val=X_val)
    assert sum(seen) == 300
    estimator = cheap(Estimator, max_iter=200, n_iter_no_change=5, **options).fit(X, X_val=X_val)
    best = int(estimator.history_["validation_loss"].argmin())
    again = cheap(Estimator, max_iter=best + 1, n_iter_no_change=1000, **options).fit(X, X_val=X_val)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
    other = cheap(Estimator, max_iter=1, **options).fit(X, X_val=X_val[:50])
    assert other.history_["loss"][0] == estimator.history_["loss"][0]
    assert other.history_["validation_loss"][0] != estimator.history_["validation_loss"][0]


def test_bad_validation_rows(Estimator, digits):
    X = digits[0]
    estimator = cheap(Estimator, early_stopping=True)
    with pytest.raises(ValueError, match="features"):
        estimator.fit(X, X_val=X[:, :-1])
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(X, X_val=np.full_like(X, np.nan))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        estimator.fit(X, X_val=2 * X)
    assert not hasattr(estimator, "module_")


def test_held_out_rows_are_augmented(Estimator, digits):
    """The validation loss is that of the augmented rows."""
    options = {"early_stopping": True, "max_iter": 1, "learning_rate_init": 1e-12}
    plain = cheap(Estimator, **options).fit(digits[0])
    blank = cheap(Estimator, augment=lambda x, g: 0 * x, **options).fit(digits[0])
    plain, blank = (e.history_["validation_loss"][0] for e in (plain, blank))
    assert abs(plain - blank) > 0.01 * plain


def test_without_early_stopping_tol_does_nothing(Estimator, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = cheap(Estimator, tol=1e9, n_iter_no_change=1, max_iter=4).fit(digits[0])
    assert estimator.n_iter_ == 4


# ---------------------------------------------------------------------------
# Interrupts and failures
# ---------------------------------------------------------------------------


class Interrupt:
    """An augmentation that raises at its n-th call."""

    def __init__(self, at, error=KeyboardInterrupt):
        self.at, self.error, self.calls = at, error, 0

    def __call__(self, x, generator):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return x


def test_interrupt_keeps_the_last_complete_epoch(Estimator, digits):
    X = digits[0]  # four batches an epoch
    common = {"max_iter": 5, "learning_rate": "constant"}
    with pytest.warns(ConvergenceWarning, match="2 complete epochs of 5"):
        stopped = cheap(Estimator, augment=Interrupt(at=11), **common).fit(X)
    common["max_iter"] = 2
    assert_equal_fits(stopped, cheap(Estimator, augment=Interrupt(at=0), **common).fit(X))


def test_interrupt_before_the_first_epoch_ends_propagates(Estimator, digits):
    estimator = cheap(Estimator, augment=Interrupt(at=3))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits[0])
    assert not hasattr(estimator, "module_")
    with pytest.raises(NotFittedError):
        estimator.transform(digits[0])


def test_a_second_interrupt_propagates(Estimator, digits, monkeypatch):
    estimator = cheap(Estimator, augment=Interrupt(at=6))

    def after_training(*_, **__):
        raise KeyboardInterrupt

    build = estimator._build_module

    def build_module(parts):
        module = build(parts)
        module.after_training = after_training
        return module

    monkeypatch.setattr(estimator, "_build_module", build_module)
    with pytest.warns(ConvergenceWarning), pytest.raises(KeyboardInterrupt):
        estimator.fit(digits[0])
    assert not hasattr(estimator, "module_")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failed_fit_changes_nothing(Estimator, method, digits):
    X = digits[0]
    estimator = cheap(Estimator, warm_start=True).fit(pd.DataFrame(X).add_prefix("p"))
    before, attributes = states(estimator), dict(vars(estimator))
    bad = X.copy()
    bad[3, 3] = np.nan
    for error, data, augment in [
        (ValueError, bad, None),
        (ValueError, X[:, :5], None),
        (ValueError, X * 7, None),
        (RuntimeError, X, Interrupt(2, RuntimeError)),
        (KeyboardInterrupt, X, Interrupt(2)),
    ]:
        estimator.set_params(augment=augment)
        with pytest.raises(error):
            getattr(estimator, method)(pd.DataFrame(data).add_prefix("p"))
        estimator.set_params(augment=None)
        assert {k: id(v) for k, v in vars(estimator).items()} == {k: id(v) for k, v in attributes.items()}
        assert all(torch.equal(v, before[k]) for k, v in states(estimator).items())


def test_a_failed_partial_fit_leaves_the_optimiser_alone(Estimator, digits):
    X = digits[0]
    a, b = cheap(Estimator).partial_fit(X), cheap(Estimator).partial_fit(X)
    a.set_params(augment=Interrupt(3, RuntimeError))
    with pytest.raises(RuntimeError):
        a.partial_fit(X)
    assert_equal_fits(a.set_params(augment=None).partial_fit(X), b.partial_fit(X))


@pytest.mark.parametrize(
    "kind",
    [
        "ends in a ReLU",
        "registers its layers in another order",
        "has frozen layers",
        "has a frozen bias at its end",
        "has an infinite buffer",
        "is lazy",
    ],
)
def test_odd_networks_learn(Estimator, kind, digits):
    X = digits[0]
    fitted = cheap(Estimator, network=Odd(kind), max_iter=4).fit(X)
    encoder = fitted.module_.encoder
    with torch.no_grad():  # the network, not the linear path from PCA alone
        x = torch.from_numpy(X.astype(np.float32))
        assert (encoder(x) - encoder.linear(x)).abs().max() > 0
    again = copy.deepcopy(fitted).partial_fit(X)
    assert again.n_iter_ == 5
    if kind == "has a frozen bias at its end":
        assert torch.all(encoder.network[-1].bias == 3.0)
    if kind == "has frozen layers":
        frozen = cheap(Estimator, network=Odd(kind), max_iter=1).fit(X).module_.encoder.network[0].weight
        assert torch.equal(frozen, encoder.network[0].weight)


def test_a_module_that_the_network_keeps_is_not_trained(Estimator, digits):
    class Keeps(Plain):
        def build_decoder(self, n_components, n_features):
            if not hasattr(self, "decoder"):
                self.decoder = super().build_decoder(n_components, n_features)
            return self.decoder

    network = Keeps(8)
    network.build_decoder(2, 64)
    before = network.decoder[0].weight.detach().clone()
    fits = [cheap(Estimator, network=network).fit(digits[0]) for _ in range(2)]
    assert torch.equal(network.decoder[0].weight, before)
    assert_equal_fits(*fits)


def test_torch_s_global_settings_do_not_matter(Estimator, digits):
    X = digits[0]
    plain = cheap(Estimator).fit(X)
    torch.set_default_dtype(torch.float64)
    try:
        for network in (GatedMLP((16,)), Plain(8)):
            fitted = cheap(Estimator, network=network).fit(X)
            assert {p.dtype for p in fitted.module_.parameters()} == {torch.float32}
            assert np.isfinite(fitted.transform(X)).all()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        assert_equal_fits(cheap(Estimator).fit(X), plain)
    with torch.inference_mode():
        assert_equal_fits(cheap(Estimator).fit(X), plain)
    Z = plain.transform(X)
    with torch.device("meta"):
        assert_equal_fits(cheap(Estimator).fit(X), plain)
        np.testing.assert_array_equal(plain.transform(X), Z)
        assert plain.sample(3).shape == (3, 64)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_components", [np.int64(2)]),
        ("max_iter", [np.int64(2), np.int32(1)]),
        ("batch_size", [np.int64(64)]),
        ("n_iter_no_change", [np.int64(3)]),
        ("learning_rate_init", [np.float32(1e-3), 1]),
        ("tol", [np.float64(0), 0]),
        ("validation_fraction", [np.float32(0.2)]),
        ("random_state", [np.int64(3)]),
        ("verbose", [np.int64(0), False]),
    ],
)
def test_numpy_scalars_are_numbers(Estimator, name, values, digits):
    for value in values:
        cheap(Estimator, early_stopping=True, **{name: value}).fit(digits[0])


def test_divergence_stops_with_a_cure(Estimator, iris):
    estimator = cheap(Estimator, learning_rate_init=1e20, learning_rate="constant", max_iter=50)
    with pytest.raises(
        ValueError, match=r"diverged: the .* is not finite after epoch \d+\. Lower learning_rate"
    ):
        estimator.fit(iris)
    assert not hasattr(estimator, "module_")


def test_divergence_names_the_term(Estimator, iris):
    with pytest.raises(ValueError, match=r"the term '\w+_loss' \((inf|nan)\) is not finite after epoch 1"):
        cheap(Estimator, scaling=None, init="random").fit(iris * 1e30)


def test_divergence_in_the_last_step(Estimator, iris):
    """The loss of the last step is finite, what it leaves is not."""
    estimator = cheap(Estimator, learning_rate_init=1e39, learning_rate="constant", max_iter=1)
    with pytest.raises(ValueError, match=r"the tensor '.*' is not finite after epoch 1"):
        estimator.fit(iris[:60])  # one batch


# ---------------------------------------------------------------------------
# Augmentation
# ---------------------------------------------------------------------------


def binarize(x, generator):
    return torch.bernoulli(x, generator=generator)


def test_augment_sees_the_user_s_units(Estimator, iris):
    seen = []

    def watch(x, generator):
        seen.append(x)
        return x

    cheap(Estimator, augment=watch, max_iter=1).fit(iris + 100)
    np.testing.assert_allclose(
        np.sort(torch.cat(seen).numpy(), axis=0), np.sort(iris + 100, axis=0), rtol=1e-5
    )


def test_augment_may_draw_from_the_global_stream(Estimator, digits):
    """It is put back, and equal seeds give equal fits."""
    X = digits[0]
    before = streams()
    estimator = cheap(Estimator, augment=lambda x, generator: torch.bernoulli(x), early_stopping=True)
    assert_equal_fits(clone(estimator).fit(X), clone(estimator).fit(X))
    assert_equal_streams(before, streams())


def test_augment_draws_from_the_private_generator(Estimator, digits):
    X = digits[0]
    a, b = (cheap(Estimator, augment=binarize, early_stopping=True).fit(X) for _ in range(2))
    assert_equal_fits(a, b)
    assert a.history_["loss"][0] != cheap(Estimator, early_stopping=True).fit(X).history_["loss"][0]
    np.testing.assert_array_equal(a.transform(X), a.transform(X))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda x, g: x.numpy(), "Got ndarray instead"),
        (lambda x, g: x[:, :5], r"Got the shape \(75, 5\) instead"),
        (lambda x, g: 3 * x, r"values in \[0, 1\].*Got values from 0 to 3"),
        (lambda x, g: x / 0, "of finite numbers. Got NaN or infinity"),
    ],
)
def test_augment_is_checked(Estimator, augment, message, digits):
    with pytest.raises(ValueError, match=f"'augment' parameter.*{message}"):
        cheap(Estimator, augment=augment).fit(digits[0])


# ---------------------------------------------------------------------------
# Data frames, verbosity, history
# ---------------------------------------------------------------------------


def test_feature_names_and_set_output(Estimator, iris):
    names = ["sl", "sw", "pl", "pw"]
    frame = pd.DataFrame(iris, columns=names, index=range(1000, 1150))
    estimator = cheap(Estimator).fit(frame)
    np.testing.assert_array_equal(estimator.feature_names_in_, names)
    out_names = [f"{Estimator.__name__.lower()}{i}" for i in range(2)]
    np.testing.assert_array_equal(estimator.get_feature_names_out(), out_names)
    Z = estimator.transform(frame)
    as_pandas = estimator.set_output(transform="pandas").transform(frame)
    assert list(as_pandas.columns) == out_names
    pd.testing.assert_index_equal(as_pandas.index, frame.index)
    np.testing.assert_array_equal(as_pandas, Z)
    assert isinstance(estimator.inverse_transform(as_pandas), np.ndarray)
    as_polars = estimator.set_output(transform="polars").transform(frame)
    assert isinstance(as_polars, pl.DataFrame)
    assert as_polars.columns == out_names
    fitted_on_polars = cheap(Estimator).fit(pl.DataFrame(iris, schema=names))
    np.testing.assert_array_equal(fitted_on_polars.feature_names_in_, names)
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[names[::-1]])


def test_verbose_prints_the_epochs(Estimator, iris, capsys):
    cheap(Estimator).fit(iris)
    assert capsys.readouterr().out == ""
    cheap(Estimator, verbose=1, early_stopping=True).fit(iris)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"[{Estimator.__name__}] Epoch {i}" for i in (1, 2, 3)]
    assert all("loss = " in line and "validation_loss = " in line for line in lines)


def test_history(Estimator, iris):
    estimator = cheap(Estimator, max_iter=7).fit(iris)
    assert estimator.n_iter_ == 7
    assert all(value.shape == (7,) for value in estimator.history_.values())
    assert all(np.isfinite(value).all() for value in estimator.history_.values())
    np.testing.assert_array_equal(estimator.loss_curve_, estimator.history_["loss"])


def test_score(Estimator, iris):
    estimator = cheap(Estimator).fit(iris)
    assert estimator.score(iris) == pytest.approx(estimator.score_samples(iris).mean())
    outlier = iris[:1] + 50
    assert estimator.score_samples(outlier)[0] < estimator.score_samples(iris).min()
