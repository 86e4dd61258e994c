"""A fit that has come to nothing says so, with a cure; one that has not is silent."""

import functools
import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import minmax_scale, scale

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)
from skswae._diagnosis import diagnose, draw, one_row_is_all
from skswae.data import ArrayData, DataSource
from skswae.data._scaler import Scaler, TrainingRows
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, cheap

long = functools.partial(cheap, max_iter="auto", early_stopping=False)
IRIS, WINE, DIGITS = load_iris().data, load_wine().data, load_digits().data[:300]
TINY = minmax_scale(WINE)[:10]


def binary(X):
    return np.heaviside(X - X.mean(axis=0), 0.0)


def faces(n_rows=60, size=16):
    """Smooth, low-rank images in [0, 1], as Olivetti's faces are."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0, 1, size)
    parts = [np.outer(np.cos(i * grid), np.cos(j * grid)).ravel() for i in range(4) for j in range(4)]
    X = rng.normal(size=(n_rows, 16)) @ parts + 0.1 * rng.normal(size=(n_rows, size**2))
    return (X - X.min()) / np.ptp(X)


wide = {"network": GatedMLP((300, 300)), "max_iter": 10, "scaling": None}
MIM = {"n_components": 4, "likelihood": "bernoulli", "init": "random", "n_pseudo_inputs": 20, "max_iter": 20}
NOTHING = [
    *[
        (cheap(E, **wide), 1000 * IRIS + 1e4, ["worse than their mean", "scaling='auto'"])
        for E in ESTIMATORS
        if E is not VAETransformer  # it diverges, see below
    ],
    *[
        (long(E, learning_rate_init=rate), X, ["worse than", rf"a smaller learning_rate_init \(now {rate}\)"])
        for E, X, rate in (
            (SWAETransformer, DIGITS, 0.5), (VAETransformer, IRIS, 0.8), (VampPriorTransformer, IRIS, 0.5)
        )
    ],
    (
        long(VAETransformer, kl_weight=100, learning_rate_init=5e-3), IRIS,
        ["much worse than", r"deviation of 0\.0\d", r"a smaller kl_weight \(now 100\)"],
    ),
    (
        long(SWAETransformer, n_pseudo_inputs=1, beta=1, learning_rate_init=0.01), IRIS,
        ["hardly better than", r"a smaller beta \(now 1\)", r"more pseudo-inputs \(n_pseudo_inputs, now 1\)"],
    ),
    (long(SWAETransformer, init="random"), TINY, ["worse than", "init='pca'"]),
    (
        long(SWAETransformer, output_activation="sigmoid", init="random"), DIGITS / 1600,
        ["worse than", "output_activation='auto'; init='pca'"],
    ),
    (
        cheap(MIMTransformer, batch_size=100, learning_rate_init=2e-2, **MIM), DIGITS / 16,
        ["much worse than", "likelihood='gaussian'", "init='pca'", r"more epochs \(max_iter, now 20"],
    ),
    (
        cheap(AETransformer, init="random", max_iter=4, augment=lambda x, generator: 0 * x), IRIS,
        ["an augment that"],
    ),
]  # fmt: skip


@pytest.mark.slow
def test_a_fit_that_diverges_fails_with_the_cure():
    with pytest.raises(ValueError, match=r"diverged.*scaling='auto'"):
        cheap(VAETransformer, learning_rate_init=1.25e-3, **wide).fit(1000 * IRIS + 1e4)


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "X", "words"), NOTHING)
def test_a_fit_that_came_to_nothing_says_so_and_what_may_help(estimator, X, words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert caught[0].filename == __file__
    text = str(caught[0].message)
    for word in (f"{type(estimator).__name__} reconstructs {len(X)} of its training rows", *words):
        assert re.search(word, text), text
    error = -estimator.score(X) / X.var(axis=0).sum()
    stated, linear = map(float, re.findall(r"error of (\S+) where .* components? (\d\S*)\. ", text)[0])
    np.testing.assert_allclose(stated, error, rtol=0.01)
    explained = PCA(estimator.n_components).fit(X).explained_variance_ratio_.sum()
    np.testing.assert_allclose(linear, 1 - explained, rtol=0.05)


def test_no_cure_that_is_worse():
    """What is below the value that "auto" means is not said to be too large."""
    model = cheap(
        WAETransformer, input_noise=1e-9, divergence_weight=1e-6, init="random", max_iter=5,
        learning_rate_init=1e-9,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(IRIS)
    assert "smaller" not in str(caught[0].message)
    with pytest.warns(
        ConvergenceWarning, match=r"a smaller divergence_weight \(now 1e\+06\); a smaller input_noise"
    ):
        model.set_params(divergence_weight=1e6, input_noise=5.0).fit(IRIS)


SETS = {
    "iris": IRIS, "wine": scale(WINE), "breast cancer": scale(load_breast_cancer().data)[:150],
    "diabetes": load_diabetes().data[:150], "digits": DIGITS[:150] / 16,
    "binary digits": binary(DIGITS[:150]), "binary wine": binary(WINE), "faces": faces(),
    "30 rows": scale(WINE)[::6], "10 rows": IRIS[::15],
    "3 rows": IRIS[::50], "2 rows": IRIS[::90],
}  # fmt: skip


TWO_LEVELS = (MIMTransformer, VampPriorTransformer)
FAST = (SWAETransformer, VAETransformer)
FAST_OR_SLOW = [pytest.param(E, marks=[pytest.mark.slow] * (E not in FAST)) for E in ESTIMATORS]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_no_false_alarm(Estimator, name):
    """Warnings are errors here. More components than the rows have directions are no fault, nor is one."""
    for n_components in (1, 2, 8):
        cheap(Estimator, n_components=n_components, max_iter=10).fit(SETS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_no_false_alarm_of_the_defaults(Estimator, name):
    few = {"n_pseudo_inputs": 20} if Estimator in TWO_LEVELS else {}
    for n_components in (2, 8):
        Estimator(n_components, random_state=0, **few).fit(SETS[name])


@pytest.mark.parametrize("Estimator", FAST_OR_SLOW)
def test_trials_and_constant_rows_are_not_judged(Estimator):
    for n_epochs in (1, 3):
        cheap(Estimator, init="random", max_iter=n_epochs, learning_rate_init=1e-12).fit(IRIS)
        cheap(Estimator, max_iter=n_epochs, output_activation="sigmoid").fit(0.3 * DIGITS[:60] / 16)
    for value in (0.0, 0.1, 1e6):
        cheap(Estimator, max_iter=4).fit(np.full((20, 3), value))
    cheap(AETransformer, max_iter=4).fit(0.1 + 1e-17 * IRIS)  # which differ by rounding alone
    cheap(AETransformer, max_iter=4, scaling=None).fit(0.1 + 1e-9 * IRIS)
    with pytest.warns(ConvergenceWarning, match="more epochs"):
        cheap(Estimator, init="random", max_iter=4, learning_rate_init=1e-12).fit(IRIS)


@pytest.mark.parametrize(("init", "expected"), [("pca", [10]), ("random", [])])
def test_partial_fit_is_judged_now_and_then(init, expected):
    """A call may be a single step: from random weights ten are none to judge."""
    estimator = cheap(AETransformer, init=init, augment=lambda x, generator: 0 * x, learning_rate_init=0.1)
    warned = []
    for call in range(1, 21):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.partial_fit(IRIS)
        warned += [call] * len(caught)
        assert all("more calls of partial_fit (now 10 in all)" in str(w.message) for w in caught)
    assert warned == expected
    few = cheap(SWAETransformer, init="random", learning_rate_init=1e-12)
    for _ in range(10):
        few.partial_fit(IRIS[:10])


def test_the_warning_as_an_error_changes_nothing():
    estimator = cheap(AETransformer).fit(IRIS)
    Z = estimator.transform(IRIS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="init='pca'"):
            estimator.set_params(init="random", learning_rate_init=1e-12, max_iter=4).fit(IRIS)
    np.testing.assert_array_equal(estimator.transform(IRIS), Z)


def test_a_diagnosis_is_of_2000_rows_in_any_unit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3)) * [3.0, 2.0, 1.0]
    found = []
    for factor, origin in ((1.0, 0.0), (1e4, 1e7)):
        source = ArrayData(factor * X + origin)
        module = cheap(AETransformer, n_components=1, max_iter=1).fit(source.X).module_
        drawn = draw(TrainingRows(source, Scaler(3).fit(source), clamp=False), 0)
        found.append(diagnose(module, *drawn, 0))
    for name, value in vars(found[0]).items():
        np.testing.assert_allclose(value, vars(found[1])[name], rtol=1e-2)
    assert found[0].n_rows == 2000
    np.testing.assert_allclose([found[0].error, found[0].linear_error], 5 / 14, rtol=0.1)
    np.testing.assert_allclose(found[0].narrowest, 1, rtol=0.1)  # that of PCA's start


@pytest.mark.parametrize("value", [1e9, 10.0])
def test_one_row_beside_which_all_others_are_alike(value, iris):
    X = iris.copy()
    X[3, 2] = value
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        codes = cheap(SWAETransformer, max_iter=4).fit_transform(X)
    others = np.delete(codes, 3, axis=0)
    alike = np.ptp(others, axis=0).min() < 1e-3 * np.ptp(codes, axis=0).max()
    assert alike == (value == 1e9)
    assert ["they are all alike" in str(warning.message) for warning in found] == [True] * int(alike)


def rare(n_flags, n_rows=3000):
    X = np.zeros((n_rows, 2))
    X[:n_flags, 0] = 1.0
    return X


def far(*values, n_rows=3000):
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    X[: len(values), 0] = values
    return X


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize(
    ("X", "alone"),
    [
        (rare(0), False), (rare(1), True), (rare(2), False), (rare(5), False), (far(), False),
        (far(1e9), True), (far(1e3), False), (far(1e9, -1e9), False), (far(1e9, 1e3), True),
        (far(1e9, 1e6), False), (0.1 + 1e-9 * far(1.0), False),
    ],
)  # fmt: skip
def test_one_row_alone_is_one_of_all_rows(X, alone, scaled):
    """Whichever rows are drawn: of seven seeds some draw the first row and some do not."""
    source, drawn = ArrayData(X), set()
    rows = TrainingRows(source, Scaler(2).fit(source) if scaled else Scaler(2), clamp=False)
    for seed in range(7):
        some, rounding = draw(rows, seed)
        assert one_row_is_all(rows, some, rounding) == alone
        x = torch.cat(list(some.batches()))
        drawn.add(float(rows.prepare(torch.from_numpy(X[:1]))[0, 0]) in x[:, 0])
    assert not alone or drawn == {True, False}


def test_the_warning_of_one_row_counts_all_rows():
    for X in (far(1e9), rare(1)):
        with pytest.warns(ConvergenceWarning, match="was fitted to 3000 rows, one of which") as found:
            cheap(AETransformer, max_iter=4, batch_size=1500).fit(X)
        assert len(found) == 1


class Failing(DataSource):
    """Rows that can be read a number of times."""

    def __init__(self, X, left):
        self.X, self.shape, self.dtype, self.left = X, X.shape, X.dtype, left

    def read(self, index):
        self.left -= 1
        if self.left < 0:
            raise ValueError("the disk is gone")
        return self.X[index]


def test_a_source_that_fails_is_no_training_that_diverges():
    source = Failing(IRIS[::8], 1000)
    model = cheap(AETransformer, max_iter=4)
    model.fit(source)
    for left in range(1000 - source.left):
        with pytest.raises(ValueError, match=r"^the disk is gone$"):
            model.fit(Failing(source.X, left))
