"""What a fit makes of data and parameters: units, activations, early stopping, augmentation, history."""

import copy
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from .estimators import ESTIMATORS, assert_equal_fits, cheap, gan, swae, two_levels
from .own_networks import Odd, Plain

each = pytest.mark.parametrize("Estimator", ESTIMATORS)

# ---------------------------------------------------------------------------
# Units and activations
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Estimator", "factor"), [(E, 1e3) for E in ESTIMATORS] + [(swae, 1e-150), (swae, 1e150)]
)
def test_results_do_not_depend_on_the_unit(Estimator, factor, iris):
    make = Estimator if Estimator is swae else lambda **p: cheap(Estimator, **p)
    plain, scaled = make().fit(iris), make().fit(iris * factor)
    assert scaled.out_activation_ == "identity"
    np.testing.assert_allclose(scaled.scale_, factor * plain.scale_)
    np.testing.assert_allclose(scaled.transform(iris * factor), plain.transform(iris), atol=1e-3)
    np.testing.assert_allclose(scaled.reconstruct(iris * factor) / factor, plain.reconstruct(iris), rtol=1e-2)
    drawn = (e.sample(5, random_state=0) / f for e, f in ((scaled, factor), (plain, 1)))
    np.testing.assert_allclose(*drawn, rtol=1e-2)


@pytest.mark.parametrize("make", [swae, two_levels])
def test_results_do_not_depend_on_the_origin(make, iris):
    plain, shifted = make().fit(iris), make().fit(iris + 1e6)
    np.testing.assert_allclose(shifted.transform(iris + 1e6), plain.transform(iris), atol=1e-3)
    drawn = (e.sample(5, random_state=0) - shift for e, shift in ((shifted, 1e6), (plain, 0)))
    np.testing.assert_allclose(*drawn, atol=1e-2)


def test_scaling(iris):
    estimator = swae().fit(iris)
    np.testing.assert_allclose(estimator.location_, iris.mean(axis=0))
    np.testing.assert_allclose(estimator.scale_, np.sqrt(iris.var(axis=0).mean()))
    Z = estimator.transform(iris)
    estimator.location_[:] = 0  # a copy
    np.testing.assert_array_equal(estimator.transform(iris), Z)
    alone = swae(scaling=None).fit(iris)
    assert (alone.scale_, *alone.location_) == (1, 0, 0, 0, 0)


def test_output_activation_auto(digits, iris):
    X = digits[0]
    sigmoid = [X, X * 0.995, X > 0.5]
    identity = [X * 0.01, X - 0.5, X * 16, iris]
    for expected, data in [("sigmoid", sigmoid), ("identity", identity)]:
        assert {swae(max_iter=1).fit(d).out_activation_ for d in data} == {expected}
    decoded = swae(max_iter=1).fit(X).inverse_transform([[100.0, 100.0], [-100.0, 9.0]])
    assert 0 <= decoded.min() <= decoded.max() <= 1


# ---------------------------------------------------------------------------
# Early stopping
# ---------------------------------------------------------------------------


def watched(seen):
    """An augmentation that changes nothing and stores the rows."""

    def augment(x, generator):
        seen.extend(map(tuple, x.tolist()))
        return x

    return augment


@pytest.mark.parametrize("make", [swae, gan])
@pytest.mark.parametrize("own", [False, True])
def test_early_stopping_keeps_the_best_epoch(make, own, digits):
    X = digits[0]
    rows = {"X": X[:200], "X_val": X[200:]} if own else {"X": X}
    options = {"early_stopping": True, "learning_rate": "constant", "learning_rate_init": 0.03}
    estimator = make(max_iter=100, n_iter_no_change=3, **options).fit(**rows)
    losses = estimator.history_["validation_loss"]
    assert estimator.n_iter_ == len(losses) < 100
    best = int(losses.argmin())
    assert len(losses) - 1 - best <= 3
    again = make(max_iter=best + 1, n_iter_no_change=1000, **options).fit(**rows)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
    if own:  # the loss is that of X_val, and nothing else depends on it
        other = make(max_iter=1, **options).fit(X[:200], X_val=X[200:250])
        assert other.history_["loss"][0] == estimator.history_["loss"][0]
        assert other.history_["validation_loss"][0] != losses[0]


def test_early_stopping_holds_rows_out(digits):
    X = digits[0] * (1 - 1e-3 * np.arange(300)[:, None] / 300)  # no two are equal
    seen = []
    estimator = swae(early_stopping=True, validation_fraction=0.2, max_iter=1, augment=watched(seen)).fit(X)
    assert list(estimator.history_)[-1] == "validation_loss"
    # a full epoch of training batches comes first, then the held-out rows, which are augmented too
    assert [len(set(seen[:240])), len(set(seen[240:])), len(set(seen))] == [240, 60, 300]
    seen.clear()
    swae(early_stopping=True, max_iter=1, augment=watched(seen)).fit(X[:200], X_val=X[200:])
    assert [len(set(seen[:200])), len(set(seen[200:])), len(set(seen))] == [200, 100, 300]


def test_bad_validation_rows(digits):
    X = digits[0]
    estimator = swae(early_stopping=True)
    for X_val, message in [(X[:, 1:], "features"), (X * np.nan, "NaN"), (2 * X, r"must lie in \[0, 1\]")]:
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, X_val=X_val)
    with pytest.raises(ValueError, match="'X_val' argument must be None without early_stopping=True"):
        swae().fit(X, X_val=X)
    assert not hasattr(estimator, "module_")


def test_held_out_rows_are_augmented(digits):
    """The validation loss is that of the augmented rows."""
    options = {"early_stopping": True, "max_iter": 1, "learning_rate_init": 1e-12}
    plain, blank = (
        swae(augment=augment, **options).fit(digits[0]).history_["validation_loss"][0]
        for augment in (None, lambda x, generator: 0 * x)
    )
    assert abs(plain - blank) > 0.01 * plain


def test_without_early_stopping_tol_does_nothing(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = swae(tol=1e9, n_iter_no_change=1, max_iter=4).fit(digits[0])
    assert estimator.n_iter_ == 4
    assert "validation_loss" not in estimator.history_


# ---------------------------------------------------------------------------
# Augmentation
# ---------------------------------------------------------------------------


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
# Divergence
# ---------------------------------------------------------------------------


def test_divergence_stops_with_a_cure(iris):
    estimator = swae(learning_rate_init=1e20, learning_rate="constant", max_iter=50)
    with pytest.raises(
        ValueError, match=r"diverged: the .* is not finite after epoch \d+\. Lower learning_rate"
    ):
        estimator.fit(iris)
    assert not hasattr(estimator, "module_")


@each
def test_divergence_names_the_term(Estimator, iris):
    with pytest.raises(ValueError, match=r"the term '\w+_loss' \((inf|nan)\) is not finite after epoch 1"):
        cheap(Estimator, scaling=None, init="random").fit(iris * 1e30)


def test_divergence_in_the_last_step(iris):
    """The loss of the last step is finite, what it leaves is not."""
    estimator = swae(learning_rate_init=1e39, learning_rate="constant", max_iter=1)
    with pytest.raises(ValueError, match=r"the tensor '.*' is not finite after epoch 1"):
        estimator.fit(iris[:60])  # one batch


# ---------------------------------------------------------------------------
# Networks and parameters
# ---------------------------------------------------------------------------


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
def test_odd_networks_learn(kind, digits):
    X = digits[0]
    fitted = swae(network=Odd(kind), max_iter=4).fit(X)
    encoder = fitted.module_.encoder
    with torch.no_grad():  # the network, not the linear path from PCA alone
        x = torch.from_numpy(X.astype(np.float32))
        assert (encoder(x) - encoder.linear(x)).abs().max() > 0
    assert copy.deepcopy(fitted).partial_fit(X).n_iter_ == 5
    if kind == "has a frozen bias at its end":
        assert torch.all(encoder.network[-1].bias == 3.0)
    if kind == "has frozen layers":
        frozen = swae(network=Odd(kind), max_iter=1).fit(X).module_.encoder.network[0].weight
        assert torch.equal(frozen, encoder.network[0].weight)


def test_a_module_that_the_network_keeps_is_not_trained(digits):
    class Keeps(Plain):
        def build_decoder(self, n_components, n_features):
            if not hasattr(self, "decoder"):
                self.decoder = super().build_decoder(n_components, n_features)
            return self.decoder

    network = Keeps(8)
    before = network.build_decoder(2, 64)[0].weight.detach().clone()
    fits = [swae(network=network).fit(digits[0]) for _ in range(2)]
    assert torch.equal(network.decoder[0].weight, before)
    assert_equal_fits(*fits)


def test_numpy_scalars_are_numbers(digits):
    for tol, verbose in [(np.float64(0), np.int64(0)), (0, False)]:
        swae(
            n_components=np.int64(2),
            max_iter=np.int32(2),
            batch_size=np.int64(64),
            n_iter_no_change=np.int64(3),
            learning_rate_init=np.float32(1e-3),
            early_stopping=np.bool_(True),
            validation_fraction=np.float32(0.2),
            random_state=np.int64(3),
            tol=tol,
            verbose=verbose,
        ).fit(digits[0])


def test_one_cycle_is_the_default_course(digits):
    cycle, constant = (swae(learning_rate=r).fit(digits[0]).loss_curve_ for r in ("one_cycle", "constant"))
    np.testing.assert_array_equal(cycle, swae().fit(digits[0]).loss_curve_)
    assert cycle[0] > constant[0]  # it starts at 1/25 of the rate


# ---------------------------------------------------------------------------
# Data frames, verbosity, history, score
# ---------------------------------------------------------------------------


def test_feature_names_and_set_output(iris):
    names = ["sl", "sw", "pl", "pw"]
    frame = pd.DataFrame(iris, columns=names, index=range(1000, 1150))
    estimator = swae().fit(frame)
    np.testing.assert_array_equal(estimator.feature_names_in_, names)
    out_names = ["swaetransformer0", "swaetransformer1"]
    np.testing.assert_array_equal(estimator.get_feature_names_out(), out_names)
    Z = estimator.transform(frame)
    as_pandas = estimator.set_output(transform="pandas").transform(frame)
    pd.testing.assert_frame_equal(as_pandas, pd.DataFrame(Z, columns=out_names, index=frame.index))
    assert isinstance(estimator.inverse_transform(as_pandas), np.ndarray)
    as_polars = estimator.set_output(transform="polars").transform(frame)
    assert isinstance(as_polars, pl.DataFrame)
    assert as_polars.columns == out_names
    fitted_on_polars = swae().fit(pl.DataFrame(iris, schema=names))
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
    estimator = gan(max_iter=5).fit(iris)
    assert estimator.n_iter_ == 5
    assert all(v.shape == (5,) and np.isfinite(v).all() for v in estimator.history_.values())
    np.testing.assert_array_equal(estimator.loss_curve_, estimator.history_["loss"])
    assert estimator.score(iris) == pytest.approx(estimator.score_samples(iris).mean())
    assert estimator.score_samples(iris[:1] + 50)[0] < estimator.score_samples(iris).min()
