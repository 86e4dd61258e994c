"""Training that goes on: warm_start and partial_fit, copies, changed parameters, failures, interrupts."""

import copy
import functools
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import skswae
from skswae import _fit
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, VARIANTS, assert_equal_fits, cheap, gan, states, swae, two_levels
from .own_networks import Plain


class Flip:
    """An augmentation that makes another data set."""

    def __call__(self, x, generator):
        return x.flip(1)


both = pytest.mark.parametrize("make", [swae, gan])
mim = pytest.param(lambda **p: cheap(skswae.MIMTransformer, sampling="symmetric", **p), id="mim")
a_mim = pytest.param(lambda **p: cheap(skswae.MIMTransformer, sampling="encoder", **p), id="a-mim")

# ---------------------------------------------------------------------------
# Going on is the same as not having stopped
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [swae, gan, two_levels, mim, a_mim])
def test_warm_start_goes_on(make, digits):
    X = digits[0]
    parts = make(warm_start=True, max_iter=2, learning_rate="constant").fit(X)
    first = parts.loss_curve_
    parts.set_params(max_iter=3).fit(X)
    whole = make(max_iter=5, learning_rate="constant").fit(X)
    assert_equal_fits(parts, whole)
    np.testing.assert_array_equal(parts.loss_curve_[:2], first)
    assert_equal_fits(parts.set_params(warm_start=False, max_iter=5).fit(X), whole)  # starts anew


# SWAE's start from PCA is another for few rows that are all there are
@pytest.mark.parametrize("make", [functools.partial(swae, init="random"), gan, two_levels, mim])
def test_partial_fit_is_an_epoch(make, digits):
    X = digits[0]
    rate = {"learning_rate_init": 1e-3}  # "auto" is less for a whole fit of few rows
    parts = make(**rate)
    for _ in range(3):
        assert parts.partial_fit(X) is parts
    whole = make(max_iter=3, learning_rate="constant", **rate).fit(X)
    assert parts.n_iter_ == 3
    np.testing.assert_array_equal(parts.loss_curve_, whole.loss_curve_)
    for name, parameter in parts.module_.named_parameters():
        assert torch.equal(parameter, whole.module_.get_parameter(name)), name


def test_partial_fit_fixes_the_units(iris):
    estimator = swae().partial_fit(iris[:75])
    location, scale = estimator.location_, estimator.scale_
    estimator.partial_fit(iris[75:]).partial_fit(iris[:1])
    np.testing.assert_array_equal(estimator.location_, location)
    assert (estimator.scale_, estimator.n_iter_) == (scale, 3)


# ---------------------------------------------------------------------------
# Copies and changes from outside
# ---------------------------------------------------------------------------


@both
def test_the_optimiser_goes_on_in_memory_only(make, digits):
    X = digits[0]
    a = make().partial_fit(X)
    codes = [e.partial_fit(X).transform(X) for e in (copy.deepcopy(a), a)]
    assert not np.array_equal(*codes)


@both
def test_a_shallow_copy_is_not_trained_with_the_original(make, digits):
    X = digits[0]
    a, alone = make().partial_fit(X), make().partial_fit(X)
    b, untrained = copy.copy(a), copy.deepcopy(a)
    b.partial_fit(X)
    assert_equal_fits(a, untrained)
    trained = copy.deepcopy(b)
    assert_equal_fits(a.partial_fit(X), alone.partial_fit(X))  # neither is the optimiser
    assert_equal_fits(b, trained)


def test_a_change_of_the_module_in_place_is_trained_on(digits):
    X = digits[0]
    estimator = swae(learning_rate_init=1e-12).partial_fit(X)
    with torch.no_grad():
        estimator.module_.decoder.linear.bias.fill_(3.0)
    estimator.partial_fit(X)
    torch.testing.assert_close(estimator.module_.decoder.linear.bias, torch.full((64,), 3.0))


def test_changed_parameters_act(digits):
    """At once, and the optimiser goes on."""
    X = digits[0]
    as_before, other, slow, anew = (swae().partial_fit(X) for _ in range(4))
    weights = states(slow)
    anew = copy.deepcopy(anew).set_params(beta=0.9).partial_fit(X)
    as_before.partial_fit(X)
    other.set_params(beta=0.9).partial_fit(X)
    assert abs(other.loss_curve_[1] - as_before.loss_curve_[1]) > 0.1
    assert other.loss_curve_[1] != anew.loss_curve_[1]
    slow.set_params(learning_rate_init=1e-12).partial_fit(X)
    for name, value in slow.module_.named_parameters():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        (GatedMLP((16,)), {"prior_scale": "learned"}),  # one of sampling
        (GatedMLP((16,)), {"network": GatedMLP([16]), "batch_size": 64}),
        (Plain(8), {"network": Plain(8)}),
    ],
)
def test_a_change_that_changes_nothing(network, changes, digits):
    """The module may be built anew for it; training goes on as if it were not."""
    a, b = (swae(network=network).partial_fit(digits[0]) for _ in range(2))
    assert_equal_fits(a.set_params(**changes).partial_fit(digits[0]), b.partial_fit(digits[0]))


STRUCTURE = {
    "n_components": 3, "init": "random", "output_activation": "identity", "scaling": None, "random_state": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [*STRUCTURE.items(), ("network", GatedMLP((17,))), ("network", Plain(17))]
)
def test_structure_cannot_change_while_training_goes_on(name, value, digits):
    X = digits[0]
    estimator = swae(warm_start=True).fit(X)
    before = estimator.transform(X)
    estimator.set_params(**{name: value})
    for method in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=f"'{name}' parameter must stay"):
            method(X)
    np.testing.assert_array_equal(estimator.transform(X), before)
    estimator.set_params(warm_start=False).fit(X)


@pytest.mark.parametrize(
    ("first", "then", "stays"),
    [(0, None, False), (None, 0, False), (0, np.random.RandomState(0), False), (None, None, True),
     (3, np.int64(3), True), (np.random.RandomState(0), np.random.RandomState(1), True),
     (np.random.default_rng(0), np.random.default_rng(1), True), (np.random.default_rng(0), 0, False)],
)  # fmt: skip
def test_a_seed_cannot_change_while_training_goes_on(first, then, stays, iris):
    """A stream has moved on since the first fit, and a pickled one is another: they are not compared."""
    estimator = swae(random_state=first).partial_fit(iris)
    estimator = pickle.loads(pickle.dumps(estimator)).set_params(random_state=then)
    if stays:
        assert estimator.partial_fit(iris).n_iter_ == 2
    else:
        with pytest.raises(ValueError, match="'random_state' parameter must stay"):
            estimator.partial_fit(iris)


# another value of each parameter, and of the data
CHANGED = {
    "n_components": 3, "network": GatedMLP((17,)), "init": "random", "input_components": 9,
    "output_activation": "identity", "scaling": None, "augment": Flip(), "max_iter": 2, "batch_size": 20,
    "solver": "normalized_adam",
    "learning_rate": "constant", "learning_rate_init": 0.01, "early_stopping": True, "precision": "bf16",
    "random_state": 1, "neighbor_weight": 1.0, "n_neighbors": 3,
    "reconstruction": "binary_cross_entropy", "beta": 0.9, "alpha": 3.0,
    "n_pseudo_inputs": 7, "pseudo_input_init": "blends",
    "assignment_space": "latent", "metric": "cosine", "prior_scale_floor": 0.3,
    "kl_weight": 3.0, "warmup": 5, "likelihood": "bernoulli", "likelihood_scale": "per_feature", "n_bins": 16,
    "posterior_scale_floor": 0.2, "n_pseudo_inputs_per_step": 3, "prior_draws_per_row": 0.5,
    "sampling": "symmetric", "divergence": "gan", "divergence_weight": 9.0, "input_noise": 0.5,
    "kernel": "rbf", "kernel_scales": (0.3,), "n_projections": 7, "sinkhorn_epsilon": 0.7,
    "critic_layer_sizes": (9,), "critic_penalty": 7.0, "critic_learning_rate_init": 0.1,
}  # fmt: skip
# of early stopping alone, of the machine, of what is printed, and of sampling
NO_PART = {
    "validation_fraction", "n_iter_no_change", "tol", "device", "verbose", "warm_start",
    "pseudo_input_weights", "prior_scale",
    "target_weight",  # without y; see test_maps.py
}  # fmt: skip


@pytest.mark.parametrize(
    "Estimator",
    [E if E is skswae.SWAETransformer else pytest.param(E, marks=pytest.mark.slow) for E in ESTIMATORS],
)
def test_no_changed_parameter_is_ignored(Estimator, digits, monkeypatch):
    """Going on with another value is refused, or trains otherwise."""
    monkeypatch.setattr(_fit, "has_bfloat16", lambda device: True)
    X = digits[0][:130]  # two batches: the critic acts on the second
    makes = [functools.partial(cheap, Estimator, max_iter=1, warm_start=True)]
    makes += [
        functools.partial(makes[0], **p)
        for E, p in VARIANTS
        if E is Estimator and {"divergence", "sampling"} & {*p}
    ]
    makes.append(functools.partial(makes[0], neighbor_weight=2.0))
    names = {*makes[0]().get_params(deep=False)} - NO_PART
    acts = set()
    for make in makes:
        fitted = make().fit(X)
        expected = copy.deepcopy(fitted).fit(X).transform(X)
        for name in names - acts:
            assert str(getattr(fitted, name)) != str(CHANGED[name])
            estimator = copy.deepcopy(fitted).set_params(**{name: CHANGED[name]})
            try:
                changed = not np.array_equal(estimator.fit(X).transform(X), expected)
            except ValueError as error:
                changed = f"'{name}' parameter must stay" in str(error)
            acts |= {name} if changed else set()
    assert names - acts == set()


# ---------------------------------------------------------------------------
# Failures and interrupts
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


@both
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failed_call_changes_nothing(make, method, digits):
    """Neither attributes nor weights nor the optimiser."""
    X = digits[0]
    frame = pd.DataFrame(X).add_prefix("p")
    a, b = (make(warm_start=True).fit(frame) for _ in range(2))
    bad = X.copy()
    bad[3, 3] = np.nan
    for error, data, changes in [
        (ValueError, bad, {}),
        (ValueError, X[:, :5], {}),
        (ValueError, X * 7, {}),
        (RuntimeError, X, {"augment": Interrupt(3, RuntimeError)}),
        (KeyboardInterrupt, X, {"augment": Interrupt(3)}),
        (ValueError, X, {"learning_rate_init": 1e39, "learning_rate": "constant"}),  # diverges
    ]:
        before, attributes, parameters = states(a), dict(vars(a)), a.get_params(deep=False)
        a.set_params(**changes)
        with pytest.raises(error):
            getattr(a, method)(pd.DataFrame(data).add_prefix("p"))
        a.set_params(**{name: parameters[name] for name in changes})
        assert {k: id(v) for k, v in vars(a).items()} == {k: id(v) for k, v in attributes.items()}
        assert all(torch.equal(value, before[name]) for name, value in states(a).items())
    assert_equal_fits(*(getattr(e, method)(frame) for e in (a, b)))


def test_an_interrupt_keeps_the_last_complete_epoch(digits):
    X = digits[0]  # four batches an epoch
    stopped, whole = (
        swae(augment=Interrupt(at), max_iter=n, learning_rate="constant") for at, n in ((11, 5), (0, 2))
    )
    with pytest.warns(ConvergenceWarning, match="2 complete epochs of 5"):
        stopped.fit(X)
    assert_equal_fits(stopped, whole.fit(X))


def test_an_interrupt_before_the_first_epoch_ends_and_a_second_one_propagate(digits):
    estimator = swae(augment=Interrupt(at=3))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(digits[0])
    with pytest.raises(NotFittedError):
        estimator.transform(digits[0])

    class InterruptedAgain(skswae.AETransformer):
        def _build_module(self, build):
            module = super()._build_module(build)
            module.after_training = lambda *_, **__: Interrupt(at=1)(None, None)
            return module

    estimator = cheap(InterruptedAgain, augment=Interrupt(at=6))
    with pytest.raises(KeyboardInterrupt):  # and no warning says that something is kept
        estimator.fit(digits[0])
    assert not hasattr(estimator, "module_")


def _in_a_grid(model, X, y):
    GridSearchCV(make_pipeline(model, KNeighborsClassifier(3)), {}, cv=2, refit=False).fit(X, y)


def _in_folds(model, X, y):
    cross_validate(model, X, scoring=lambda e, X, y=None: e.score(X), cv=2)


def _in_joblib(model, X, y):
    joblib.Parallel(n_jobs=1)(joblib.delayed(model.fit)(X) for _ in range(2))


def _in_an_ensemble(model, X, y):
    BaggingClassifier(make_pipeline(model, KNeighborsClassifier(3)), 2).fit(X, y)


@pytest.mark.parametrize("run", [_in_a_grid, _in_folds, _in_joblib, _in_an_ensemble])
def test_an_interrupt_ends_a_search(run, digits):
    """Otherwise what is fitted half would be ranked, and the next fit would begin."""
    interrupt = Interrupt(at=11)

    class Interrupted(skswae.AETransformer):
        def _build_module(self, build):
            module = super()._build_module(build)
            module.after_step = lambda: interrupt(None, None)
            return module

    with pytest.raises(KeyboardInterrupt):
        run(cheap(Interrupted, max_iter=50), *digits)
    assert interrupt.calls == 11


def test_an_interrupt_in_a_pipeline_keeps_the_last_complete_epoch(digits):
    pipeline = make_pipeline(swae(augment=Interrupt(at=11), max_iter=5), KNeighborsClassifier(3))
    with pytest.warns(ConvergenceWarning, match="2 complete epochs of 5"):
        pipeline.fit(*digits)
    assert pipeline[0].n_iter_ == 2


def test_layers_are_frozen_and_freed_between_calls(digits):
    """The optimisers' memory is used again where it fits alone."""
    X = digits[0]
    model = cheap(skswae.SWAETransformer, n_components=1).partial_fit(X).partial_fit(X)
    layer = model.module_.encoder.network[0].requires_grad_(False)
    before = [p.clone() for p in layer.parameters()]
    for _ in range(3):
        model.partial_fit(X)
    frozen = list(model.module_.encoder.network[0].parameters())
    assert all(map(torch.equal, before, frozen))
    model.module_.encoder.network[0].requires_grad_(True)
    for _ in range(3):
        model.partial_fit(X)
    assert not any(map(torch.equal, before, model.module_.encoder.network[0].parameters()))
