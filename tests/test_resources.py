"""Memory, threads, precision and automatic settings: what a fit and a call take, and leave as it was."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skswae import _fit
from skswae.training._auto import AutoSettings, n_threads
from skswae.training._callbacks import Callback

from .estimators import assert_equal_fits, gan, swae, two_levels

# ---------------------------------------------------------------------------
# Automatic settings
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "n_epochs", "batch_size", "rate"),
    [(50, 40, 64, 1.25e-3), (12_000, 40, 64, 1.25e-3), (24_000, 20, 120, 1.25e-3 * 120 / 64),
     (60_000, 8, 256, 5e-3), (10_000_000, 4, 256, 5e-3)],
)  # fmt: skip
def test_settings_follow_the_rows(n_rows, n_epochs, batch_size, rate):
    auto = {"max_iter": "auto", "batch_size": "auto", "learning_rate_init": "auto"}
    assert AutoSettings.resolve(n_rows, **auto) == AutoSettings(n_epochs, batch_size, pytest.approx(rate))
    given = {"max_iter": 3, "batch_size": 512, "learning_rate_init": 0.1}
    assert AutoSettings.resolve(n_rows, **given) == AutoSettings(3, 512, 0.1)
    for size, peak in [(512, 5e-3), (8, 1.25e-3)]:
        assert AutoSettings.resolve(n_rows, **{**auto, "batch_size": size}).learning_rate == peak


def test_settings_are_what_is_trained(iris):
    """The numbers that "auto" comes to, given, make the same fit."""
    auto = swae(max_iter="auto").fit(iris)
    assert (auto.n_iter_, auto.batch_size_, auto.learning_rate_init_) == (40, 64, 1.25e-3)
    assert_equal_fits(auto, swae(max_iter=40, batch_size=64, learning_rate_init=1.25e-3).fit(iris))


# ---------------------------------------------------------------------------
# Bytes and files
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [swae, two_levels])
def test_bytes_are_as_good_as_floats(make, digits):
    """A fit on bytes is the fit on the same numbers, and so is everything after it."""
    X = (digits[0][:200] * 16).astype(np.uint8)
    bytewise, floating = make().fit(X), make().fit(X.astype(float))
    for method in ("transform", "reconstruct", "score_samples"):
        found, expected = getattr(bytewise, method)(X), getattr(floating, method)(X.astype(float))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    bytewise, floating = bytewise.partial_fit(X[:50]), floating.partial_fit(X[:50].astype(float))
    assert_equal_fits(bytewise, floating)


def test_rows_in_a_file_are_as_good(digits, tmp_path):
    """A read-only memmap is not written to."""
    X = digits[0].astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    estimator, other = swae().fit(mapped), swae().fit(X)
    np.testing.assert_array_equal(estimator.transform(mapped), other.transform(X))
    np.testing.assert_array_equal(mapped, X)


# ---------------------------------------------------------------------------
# Memory that does not suffice
# ---------------------------------------------------------------------------


def test_a_fit_out_of_memory_says_what_helps(iris):
    def full(x, generator):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    fitted = swae().fit(iris)
    before = fitted.transform(iris)
    with pytest.raises(MemoryError, match=r"smaller batch_size.*out of memory"):
        fitted.set_params(augment=full).fit(iris)
    np.testing.assert_array_equal(fitted.transform(iris), before)


def test_a_call_out_of_memory_takes_smaller_chunks(digits):
    X = np.tile(digits[0], (3, 1)).astype(np.float32)
    estimator = swae().fit(X)
    expected = estimator.transform(X)
    encode, sizes = estimator.module_.encode, []

    def limited(most):
        def encode_few(x):
            sizes.append(len(x))
            if len(x) > most:
                raise torch.OutOfMemoryError("too many")
            return encode(x)

        return encode_few

    estimator.module_.encode = limited(100)
    np.testing.assert_array_equal(estimator.transform(X), expected)
    assert max(sizes) > 100 >= sizes[-1]
    estimator.module_.encode = limited(0)
    with pytest.raises(torch.OutOfMemoryError, match="too many"):
        estimator.transform(X)


# ---------------------------------------------------------------------------
# The copy of a module in float64
# ---------------------------------------------------------------------------


def test_the_float64_copy_is_never_old(iris):
    estimator = swae().fit(iris)
    first = estimator.transform(iris)
    np.testing.assert_array_equal(estimator.transform(iris), first)
    with torch.no_grad():
        for parameter in estimator.module_.parameters():
            parameter.mul_(1.5)
    changed = estimator.transform(iris)
    assert not np.allclose(changed, first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).transform(iris), changed)
    estimator.partial_fit(iris)
    np.testing.assert_array_equal(estimator.transform(iris), copy.deepcopy(estimator).transform(iris))
    assert not np.allclose(estimator.transform(iris), changed)


# ---------------------------------------------------------------------------
# Precision and threads
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [gan, two_levels])
def test_precision_is_of_the_training_alone(make, digits):
    X = digits[0]
    fits = {p: make(precision=p).fit(X) for p in ("float32", "tf32", "bf16")}
    codes = {p: fit.transform(X) for p, fit in fits.items()}
    np.testing.assert_array_equal(codes["tf32"], codes["float32"])  # there is none on a CPU
    assert not np.array_equal(codes["bf16"], codes["float32"])
    np.testing.assert_allclose(codes["bf16"], codes["float32"], atol=0.2 * codes["float32"].std())
    module = fits["bf16"].module_
    assert all(p.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        row = module.scaler.standardize(torch.tensor(X[:4], dtype=torch.float32))
        assert not torch.equal(module.encode(row), module.encode(row).bfloat16().float())


class Threads(Callback):
    """Notes torch's number of threads at the end of each epoch, and may fail then."""

    def __init__(self, error=None):
        self.error, self.seen = error, set()

    def on_epoch_end(self, run):
        self.seen.add(torch.get_num_threads())
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_fit_leaves_the_number_of_threads(n_before, iris):
    """A small one runs on one; they are put back, also after a failure."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_before)
        watch = Threads()
        _fit.fit(swae(), iris, callbacks=[watch])
        assert (watch.seen, torch.get_num_threads()) == ({1}, n_before)
        with pytest.raises(RuntimeError, match="broken"):
            _fit.fit(swae(), iris, callbacks=[Threads(RuntimeError("broken"))])
        assert torch.get_num_threads() == n_before
        assert n_threads(torch.nn.Linear(2000, 2000), 256, torch.device("cpu")) == n_before
    finally:
        torch.set_num_threads(before)
