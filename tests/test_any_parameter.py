"""Any value of any parameter fits, or is refused at ``fit`` by its name."""

import datetime
import inspect
import warnings
from numbers import Real

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

import skswae
from skswae._parameters import SHARED_NAMES
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP

from .estimators import ESTIMATORS
from .inputs import CLEAR, GOOD, small

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
@given(st.sampled_from(CASES), st.sampled_from(VALUES))
def test_any_value_fits_or_is_refused(case, value):
    verdict, error = judged(case, value)
    note(f"{case[0].__name__}, {case[1]}={value!r:.50}, {case[3]}: {error!r:.500}")
    assert verdict != "broken"


def judged(case, value):
    """Tell what became of a value, "fitted", "refused", "too large" or "broken", and the error."""
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
    clear = isinstance(error, ValueError) and CLEAR.search(str(error))
    return ("refused" if clear else "broken"), error


HUGE = [
    ("n_components", 10**12, {}),
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
    case = skswae.WAETransformer, name, rows, others
    error = refusal(case, value)
    assert isinstance(error, MemoryError)
    assert f"{name.removeprefix('network__')}" in str(error)
    assert "GB" in str(error)


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
