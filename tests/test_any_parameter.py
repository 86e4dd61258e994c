"""Any value of any parameter fits, or is refused at ``fit`` by its name."""

import datetime
import inspect
import pickle
import re
import warnings
from numbers import Real

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

import skswae
from skswae import _constraints
from skswae._parameters import SHARED_NAMES
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP

from .estimators import ESTIMATORS
from .inputs import GOOD, small

IMAGES = np.random.default_rng(0).random((12, 64))
NETWORKS = [
    GatedMLP((8,)),
    GatedConvNet((1, 8, 8), encoder_filters=(2, 2, 2, 2, 2), decoder_filters=(2,), hidden_size=4),
    DCGANNet((1, 8, 8), filters=(2, 2)),
]
TWO_LEVELS = skswae.VampPriorTransformer


class Thing:
    """An object of no use."""


# of no parameter's type, whatever the parameter
WRONG = [Thing(), 1j, b"x", [[1.5]], {"a": 1}, {1.5}, np.nan, datetime.date(2026, 1, 1), np.array([[1.5]])]
# of some parameter's type; those of a whole number of epochs are too long to try
VALUES = [
    *(None, True, False, np.bool_(True), 0, 1, 3, -1, np.int64(2), 10**12, 2**63, 10**30, 10**400),
    *(0.0, 0.5, 1.0, 2.5, -1.5, np.inf, -np.inf, 1e-300, 1e-45, 1e30, 1e300, np.float32(0.5)),
    *("auto", "x", "", [], (3,), [2, 3], (0,), (True,), ("a",), [None], (10**12,), (2.5,), np.array([2, 3])),
    *(np.array(3), range(2, 4), len, Thing, lambda x, generator: x),
]


def cases():
    """The estimator of a parameter, its name there, rows, and other parameters that it needs."""
    found = []
    for Estimator in ESTIMATORS:
        for name in inspect.signature(Estimator).parameters:
            found.append((Estimator, name, GOOD, {}))
    wae = [case for case in found if case[0] is skswae.WAETransformer and case[1] not in SHARED_NAMES]
    for divergence in ("gan", "sliced", "sinkhorn"):
        found += [(*case[:3], {"divergence": divergence}) for case in wae if case[1] != "divergence"]
    for network in NETWORKS:
        rows = GOOD if isinstance(network, GatedMLP) else IMAGES
        for name in network.get_params():
            for Estimator in (skswae.SWAETransformer, TWO_LEVELS):
                found.append((Estimator, f"network__{name}", rows, {"network": network}))
    return found


CASES = cases()


def with_value(case, value):
    Estimator, name, _, others = case
    estimator = small(Estimator, **others)
    estimator.set_params(network=clone(estimator.network))
    return estimator.set_params(**{name: value})


def refusal(case, value):
    """Return the error of a fit, which leaves no trace; None if it fits."""
    estimator, rows = with_value(case, value), case[2]
    before = dict(vars(estimator))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.fit(rows)
        except Exception as error:
            assert vars(estimator) == before
            return error
        for found in (estimator.transform(rows), estimator.sample(3, random_state=0)):
            assert np.isfinite(found).all()
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__} {case[1]} {case[3]}")
def test_values_of_the_wrong_type(case):
    """Refused at ``fit``, and not before; a network's by the name that it has there."""
    name = case[1].removeprefix("network__")
    for value in WRONG:
        error = refusal(case, value)
        assert isinstance(error, InvalidParameterError), f"{value!r}: {error!r}"
        assert f"The '{name}' parameter" in str(error)


@pytest.mark.slow
def test_any_value_fits_or_is_refused():
    """All values of all parameters, 40 s of CPU: a sample of them has missed whole kinds."""
    judgements = ((case, value, *judged(case, value)) for case in CASES for value in VALUES)
    broken = [
        f"{case[0].__name__}, {case[1]}={value!r:.50}, {case[3]}: {error!r:.300}"
        for case, value, verdict, error in judgements
        if verdict == "broken"
    ]
    assert broken == []


# a rate cannot be known to be too high before a training diverges; its error blames the rate
RATES = ("learning_rate_init", "critic_learning_rate_init")


def judged(case, value):
    """Tell what became of a value, "fitted", "refused", "too large" or "broken", and the error.

    An error has to name this parameter, whatever else it names.
    """
    name = case[1].removeprefix("network__")
    if name == "max_iter" and isinstance(value, Real) and value > 1000:
        return "too long to try", None
    try:
        error = refusal(case, value)
    except Exception as raised:
        return "broken", raised
    if error is None:  # a flag is no number
        flags = ("early_stopping", "warm_start", "verbose")
        return ("broken" if isinstance(value, bool) and name not in flags else "fitted"), None
    if isinstance(error, MemoryError):
        return ("too large" if name in str(error) else "broken"), error
    clear = f"The '{name}' parameter" in str(error) or (
        name in RATES and re.match("Training diverged: .*learning_rate_init", str(error))
    )
    return ("refused" if isinstance(error, ValueError) and clear else "broken"), error


def test_values_that_float32_cannot_hold_are_refused_by_their_name():
    """A fit would end in NaN, and its error would blame the learning rate."""
    for Estimator, name, value, others in [
        (skswae.SWAETransformer, "alpha", 1e300, {}),
        (skswae.SWAETransformer, "prior_scale_floor", 1e-45, {}),
        (skswae.VAETransformer, "kl_weight", 1e300, {}),
        (skswae.VAETransformer, "posterior_scale_floor", 1e30, {}),
        (skswae.VampPriorTransformer, "posterior_scale_floor", 1e-45, {}),
        (skswae.MIMTransformer, "posterior_scale_floor", 1e30, {}),
        (skswae.WAETransformer, "divergence_weight", 1e300, {}),
        (skswae.WAETransformer, "input_noise", 1e30, {}),
        (skswae.WAETransformer, "critic_penalty", 1e300, {"divergence": "gan"}),
        (skswae.WAETransformer, "sinkhorn_epsilon", 1e-45, {"divergence": "sinkhorn"}),
        (skswae.WAETransformer, "sinkhorn_epsilon", 1e300, {"divergence": "sinkhorn"}),
        (skswae.AETransformer, "augment", len, {}),
    ]:
        error = refusal((Estimator, name, GOOD, others), value)
        assert isinstance(error, InvalidParameterError), f"{name}={value}: {error!r}"
        assert f"The '{name}' parameter" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Estimator", "name", "bounds", "others"),
    [
        (skswae.SWAETransformer, "alpha", (1e-45, 0.99e30), {}),
        (skswae.SWAETransformer, "prior_scale_floor", (1e-15, 1e15), {}),
        (skswae.VAETransformer, "kl_weight", (0, 0.99e30), {}),
        (skswae.VampPriorTransformer, "kl_weight", (0, 0.99e30), {}),
        (skswae.VAETransformer, "posterior_scale_floor", (0, 1e-15, 1e15), {}),
        (skswae.VampPriorTransformer, "posterior_scale_floor", (0, 1e-15, 1e15), {}),
        (skswae.MIMTransformer, "posterior_scale_floor", (1e-15, 1e15), {}),
        (skswae.WAETransformer, "divergence_weight", (0, 0.99e30), {}),
        (skswae.WAETransformer, "divergence_weight", (0.99e30,), {"divergence": "sinkhorn"}),
        (skswae.WAETransformer, "input_noise", (0, 1e-45, 1e15), {}),
        (skswae.WAETransformer, "critic_penalty", (0, 0.99e30), {"divergence": "gan"}),
        (skswae.WAETransformer, "sinkhorn_epsilon", (1.01e-30, 0.99e30), {"divergence": "sinkhorn"}),
    ],
)
def test_values_at_the_bounds_fit(Estimator, name, bounds, others):
    for value in bounds:
        assert refusal((Estimator, name, GOOD, others), value) is None, value


SIZES_OF = [
    (skswae.WAETransformer, "critic_layer_sizes", {"divergence": "gan"}),
    (skswae.WAETransformer, "kernel_scales", {}),
    (skswae.WAETransformer, "network__hidden_layer_sizes", {}),
]


@pytest.mark.parametrize(("Estimator", "name", "others"), SIZES_OF)
def test_arrays_of_any_kind_are_arrays(Estimator, name, others):
    import pandas as pd
    import torch

    fits = []
    for value in (
        (2, 3),
        [2, 3],
        range(2, 4),
        np.array([2, 3]),
        pd.Series([2, 3], [5, 4]),
        torch.tensor([2, 3]),
    ):
        estimator = with_value((Estimator, name, GOOD, others), value)
        fits.append(estimator.fit(GOOD).transform(GOOD))
    assert all((fits[0] == codes).all() for codes in fits)


def test_a_constraint_says_each_thing_once():
    error = refusal((skswae.AETransformer, "network__hidden_layer_sizes", GOOD, {}), 0)
    assert str(error).count("in the range") == 1


HUGE = [
    ("n_components", 10**12, {}),
    ("n_components", 2**63, {}),
    ("n_components", 10**30, {}),
    ("critic_layer_sizes", (10**12,), {"divergence": "gan"}),
    ("n_projections", 10**12, {"divergence": "sliced"}),
    ("network__hidden_layer_sizes", (10**12,), {}),
    ("network__hidden_layer_sizes", (10**6, 10**10), {}),
    ("network__hidden_layer_sizes", (10**200, 10**200), {}),
    ("network__hidden_size", 10**12, {"network": NETWORKS[1]}),
    ("network__decoder_filters", (10**12,), {"network": NETWORKS[1]}),
    ("network__filters", (10**12, 2), {"network": NETWORKS[2]}),
]


@pytest.mark.parametrize(("name", "value", "others"), HUGE)
def test_sizes_beyond_the_memory(name, value, others):
    """A clear error at once: an allocation might be granted, and the process be killed later."""
    rows = IMAGES if "network" in others else GOOD
    for Estimator in ESTIMATORS if name in SHARED_NAMES else [skswae.WAETransformer]:
        error = refusal((Estimator, name, rows, others), value)
        assert isinstance(error, MemoryError), Estimator
        assert f"{name.removeprefix('network__')}" in str(error)
        assert "GB" in str(error)


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """A function that sets the bytes which a control group leaves the process."""

    def limit(n_bytes):
        paths = [tmp_path / name for name in ("memory.max", "not there", "memory.limit_in_bytes")]
        paths[0].write_text("max\n")
        paths[2].write_text(f"{n_bytes}\n")
        monkeypatch.setattr(_constraints, "_LIMITS", paths)

    return limit


def test_the_limit_of_a_control_group_is_the_memory(limited):
    machine = _constraints.memory()
    limited(2**20)
    assert _constraints.memory() == 2**20
    limited(2**63 - 4096)  # none, in version 1
    assert _constraints.memory() <= machine


def test_layers_are_summed_within_a_module_alone(limited):
    """Thirty layers below the bound are together above it, and a failure leaves nothing behind."""
    many = small(skswae.AETransformer, network=GatedMLP([100] * 30))
    weights = sum(p.numel() for p in clone(many).fit(GOOD).module_.parameters() if p.ndim > 1)
    limited(16 * weights - 1)
    with pytest.raises(MemoryError, match=r"(?s)hidden_layer_sizes.* GB"):
        many.fit(GOOD)
    limited(16 * weights)
    many.fit(GOOD)
    many.fit(GOOD)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_weights_are_counted_as_they_are(limited, network):
    """Of all parts and kernels, once each; vectors are not counted."""
    for Estimator in ESTIMATORS:
        estimator = small(Estimator, network=network)
        rows = GOOD if isinstance(network, GatedMLP) else IMAGES
        limited(2**62)
        module = clone(estimator).fit(rows).module_
        weights = sum(p.numel() for name, p in module.named_parameters() if p.ndim > 1 and "rows" not in name)
        limited(16 * weights - 1)
        with pytest.raises(MemoryError, match="GB"):
            clone(estimator).fit(rows)
        limited(16 * weights)
        clone(estimator).fit(rows)


def test_a_model_is_loaded_where_its_weights_fit(limited):
    fitted = small(skswae.AETransformer).fit(GOOD)
    stored = pickle.dumps(fitted)
    weights = sum(p.numel() for p in fitted.module_.parameters() if p.ndim > 1)
    limited(4 * weights)
    np.testing.assert_array_equal(pickle.loads(stored).transform(GOOD), fitted.transform(GOOD))
    with pytest.raises(MemoryError):
        clone(fitted).fit(GOOD)
    with _constraints.one_module(trained_here=False):  # as on a device with a memory of its own
        _constraints.check_weights(weights)
        with pytest.raises(MemoryError):
            _constraints.check_weights(1)


def test_projections_are_counted_with_the_batch(limited):
    """Of each row and direction there are several numbers; directions alone are few."""
    estimator = small(skswae.WAETransformer, divergence="sliced", n_projections=10**5)
    limited(40 * 10**5 * len(GOOD))
    with pytest.raises(MemoryError, match=r"n_projections.* GB"):
        estimator.fit(GOOD)


def test_samples_are_counted_as_they_are_held(limited):
    """Rows in float64 and codes in float32, not twice that."""
    fitted = small(skswae.VAETransformer).fit(IMAGES)
    n, d, k = 1000, IMAGES.shape[1], 2
    limited(n * (8 * d + 4 * k))
    assert fitted.sample(n, random_state=0).shape == (n, d)
    with pytest.raises(MemoryError, match=r"n_samples.* GB"):
        fitted.sample(2 * n, random_state=0)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_networks_are_described_as_before(network):
    """Constraints are no parameters, and hand-built parts are checked as those of a fit."""
    names = set(inspect.signature(type(network)).parameters)
    assert set(network.get_params()) == set(type(network)._parameter_constraints) == names
    assert clone(network).get_params() == network.get_params()
    for name in names:
        other = clone(network).set_params(**{name: 1j})
        with pytest.raises(
            InvalidParameterError, match=f"The '{name}' parameter of {type(network).__name__}"
        ):
            other.build_decoder(2, 64)
