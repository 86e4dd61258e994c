"""Random state: equal seeds give equal fits, and no global stream moves."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone

import skswae
from skswae import datasets, metrics
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, assert_equal_fits, cheap, gan, swae
from .own_networks import DropoutMLP

networks = pytest.mark.parametrize("network", [GatedMLP((16,)), DropoutMLP()])


def features(random_state):
    return metrics.ClassifierFeatures((4,), max_iter=2, random_state=random_state)


def streams():
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state(legacy=False))


def moved(before):
    """Which of torch's, Python's and NumPy's streams have moved."""
    return [a != b for a, b in zip(before, streams())]


@networks
@pytest.mark.parametrize("make", [swae, gan])
def test_a_seed_moves_no_global_stream(make, network, digits):
    before = streams()
    estimator = make(network=network, early_stopping=True).fit(digits[0])
    estimator.partial_fit(digits[0]).sample(3, random_state=np.random.RandomState(0))
    estimator.transform(digits[0])
    assert moved(before) == [False, False, False]


def test_no_seed_moves_numpy_s_stream_alone(digits):
    def fit_and_sample(seed):
        np.random.seed(seed)  # what a user of the module-level seed does
        before = streams()
        fitted = swae(random_state=None).fit(digits[0])
        return fitted, fitted.sample(2), moved(before)

    (a, drawn, which), (b, _, _), (c, again, _) = map(fit_and_sample, (3, 4, 3))
    assert which == [False, False, True]
    assert_equal_fits(a, c)
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(a.transform(digits[0]), b.transform(digits[0]))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_equal_seeds_give_bit_equal_fits(Estimator, digits):
    X = digits[0]
    a, b, other = (cheap(Estimator, random_state=seed).fit(X) for seed in (0, 0, 1))
    assert_equal_fits(a, b)
    np.testing.assert_array_equal(a.sample(3, random_state=0), b.sample(3, random_state=0))
    assert not np.array_equal(a.transform(X), other.transform(X))


@pytest.mark.slow
@networks
def test_fits_in_threads_equal_serial_ones(network, digits):
    X = digits[0]
    estimators = [swae(network=network, random_state=np.random.RandomState(seed)) for seed in range(4)]
    serial = [clone(e).fit(X) for e in estimators]
    barrier = threading.Barrier(len(estimators))

    def fit(estimator):
        torch.set_num_threads(1)
        barrier.wait()
        return estimator.fit(X)

    with ThreadPoolExecutor(len(estimators)) as pool:
        for a, b in zip(serial, pool.map(fit, estimators)):
            assert_equal_fits(a, b)


def test_sample_draws_afresh_unless_seeded(iris):
    estimator = swae().fit(iris)
    rng = np.random.RandomState(1)
    for seeds, equal in [((None, None), False), ((1, 1), True), ((1, 2), False), ((rng, rng), False)]:
        a, b = (estimator.sample(5, random_state=seed) for seed in seeds)
        assert np.array_equal(a, b) == equal
    assert estimator.sample().shape == (1, 4)


@pytest.mark.parametrize(
    "augment",
    [
        lambda x, generator: torch.bernoulli(x, generator=generator),
        lambda x, generator: torch.bernoulli(x),  # from the global stream, which is put back
    ],
)
def test_augmentation_draws_equal_numbers_for_equal_seeds(augment, digits):
    X, before = digits[0], streams()
    a, b = (swae(augment=augment, early_stopping=True).fit(X) for _ in range(2))
    assert_equal_fits(a, b)
    assert moved(before) == [False, False, False]
    assert a.history_["loss"][0] != swae(early_stopping=True).fit(X).history_["loss"][0]


def test_torch_s_global_settings_do_not_matter(digits):
    X = digits[0]
    plain = swae().fit(X)
    Z = plain.transform(X)
    torch.set_default_dtype(torch.float64)
    try:
        for network in (GatedMLP((16,)), DropoutMLP()):
            fitted = swae(network=network).fit(X)
            assert {p.dtype for p in fitted.module_.parameters()} == {torch.float32}
            assert np.isfinite(fitted.transform(X)).all()
    finally:
        torch.set_default_dtype(torch.float32)
    for context in (torch.no_grad(), torch.inference_mode(), torch.device("meta")):
        with context:
            assert_equal_fits(swae().fit(X), plain)
            np.testing.assert_array_equal(plain.transform(X), Z)
            assert plain.sample(3).shape == (3, 64)


def test_a_generator_gives_one_seed_to_each_call(iris):
    """NumPy's Generator, which scikit-learn refuses, wherever a random_state is taken."""
    rng = np.random.default_rng
    estimator = swae(random_state=rng(0))
    twin = clone(estimator)  # with a copy of the stream, as of a RandomState
    assert_equal_fits(estimator.fit(iris), twin.fit(iris))
    after_one = rng(0)
    after_one.integers(2**32)
    assert estimator.random_state.bit_generator.state == after_one.bit_generator.state
    assert not np.array_equal(clone(twin).fit(iris).transform(iris), twin.transform(iris))
    vae, image = cheap(skswae.VAETransformer, random_state=rng(1)).fit(iris), iris / 10
    vae.set_params(warm_start=True).fit(iris)
    calls = {
        "sample": lambda state: vae.sample(3, random_state=state),
        "sample, gmm": lambda state: vae.sample(3, prior="gmm", observation_noise=True, random_state=state),
        "sample_posterior": lambda state: vae.sample_posterior(iris, random_state=state),
        "log_likelihood": lambda state: vae.log_likelihood(iris, 2, random_state=state),
        "denoising_error": lambda state: metrics.denoising_error(vae, iris, random_state=state),
        "precision_recall": lambda state: metrics.precision_recall(iris[:40], iris[40:], random_state=state),
        "ClassifierFeatures": lambda state: features(state).fit(iris, iris[:, 0] > 6).transform(iris),
        "make_gmm": lambda state: datasets.make_gmm(9, random_state=state)[0],
        "binarised": lambda state: datasets.binarised(image, random_state=state),
    }
    before = streams()
    for name, call in calls.items():
        stream = rng(2)
        drawn = [call(state) for state in (stream, rng(2), stream)]
        np.testing.assert_array_equal(drawn[0], drawn[1], err_msg=name)
        assert not np.array_equal(drawn[0], drawn[2]), name
    assert moved(before) == [False, False, False]
