"""Memory, threads, precision and the schedule: what a fit and a call take, and leave as it was."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skswae import _base, _schedule
from skswae._schedule import Schedule

from .estimators import ESTIMATORS, cheap

pytestmark = pytest.mark.parametrize("Estimator", ESTIMATORS)


# ---------------------------------------------------------------------------
# The schedule
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "n_epochs", "batch_size", "rate"),
    [(50, 40, 64, 1.25e-3), (12_000, 40, 64, 1.25e-3), (24_000, 20, 120, 1.25e-3 * 120 / 64),
     (60_000, 8, 256, 5e-3), (10_000_000, 4, 256, 5e-3)],
)  # fmt: skip
def test_the_schedule_follows_the_rows(Estimator, n_rows, n_epochs, batch_size, rate):
    assert Schedule.of(Estimator(), n_rows) == Schedule(n_epochs, batch_size, pytest.approx(rate))
    given = Estimator(max_iter=3, batch_size=512, learning_rate_init=0.1)
    assert Schedule.of(given, n_rows) == Schedule(3, 512, 0.1)
    assert Schedule.of(Estimator(batch_size=512), n_rows).learning_rate == pytest.approx(5e-3)
    assert Schedule.of(Estimator(batch_size=8), n_rows).learning_rate == pytest.approx(1.25e-3)


def test_the_schedule_is_what_is_trained(Estimator, iris, monkeypatch):
    """The numbers that "auto" comes to, given, make the same fit."""
    monkeypatch.setattr(_schedule.Schedule, "of", classmethod(lambda cls, e, n: cls(2, 30, 0.004)))
    auto = cheap(Estimator, max_iter="auto").fit(iris)
    monkeypatch.undo()
    given = cheap(Estimator, max_iter=2, batch_size=30, learning_rate_init=0.004).fit(iris)
    assert (auto.n_iter_, auto.batch_size_, auto.learning_rate_init_) == (2, 30, 0.004)
    np.testing.assert_array_equal(auto.transform(iris), given.transform(iris))


# ---------------------------------------------------------------------------
# Bytes
# ---------------------------------------------------------------------------


def test_bytes_are_as_good_as_floats(Estimator, digits):
    """A fit on bytes is the fit on the same numbers, and so is everything after it."""
    X = (digits[0][:200] * 16).astype(np.uint8)
    bytewise, floating = cheap(Estimator).fit(X), cheap(Estimator).fit(X.astype(float))
    for method in ("transform", "reconstruct", "score_samples"):
        found, expected = getattr(bytewise, method)(X), getattr(floating, method)(X.astype(float))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    partial = cheap(Estimator).partial_fit(X).partial_fit(X[:50])
    assert np.isfinite(partial.transform(X)).all()


def test_rows_in_a_file_are_as_good(Estimator, digits, tmp_path):
    """A read-only memmap is neither copied as a whole nor written to."""
    X = digits[0][:300].astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    estimator, other = cheap(Estimator).fit(mapped), cheap(Estimator).fit(X)
    np.testing.assert_array_equal(estimator.transform(mapped), other.transform(X))
    np.testing.assert_array_equal(mapped, X)


def test_training_reads_batches(Estimator, digits, monkeypatch):
    """No float copy of the data is made: the rows are asked for part by part."""
    largest = 0
    raw = _base.Rows.raw

    def watched(self, rows):
        nonlocal largest
        found = raw(self, rows)
        largest = max(largest, len(found))
        return found

    monkeypatch.setattr(_base.Rows, "raw", watched)
    monkeypatch.setattr("skswae._module._PCA_ROWS", 100)
    monkeypatch.setattr(_base, "_CHUNK_ROWS", 128)
    X = np.tile(digits[0], (20, 1))  # 4096 rows are read at a time to measure them
    cheap(Estimator, max_iter=1).fit(X)
    assert 0 < largest <= 4096 < len(X)


# ---------------------------------------------------------------------------
# Memory that does not suffice
# ---------------------------------------------------------------------------


def test_a_fit_out_of_memory_says_what_helps(Estimator, iris, monkeypatch):
    fitted = cheap(Estimator).fit(iris)
    before = fitted.transform(iris)

    def full(self, x, generator):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(fitted.module_), "losses", full)
    with pytest.raises(MemoryError, match=r"smaller batch_size.*out of memory"):
        fitted.fit(iris)
    monkeypatch.undo()
    np.testing.assert_array_equal(fitted.transform(iris), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_call_out_of_memory_takes_smaller_chunks(Estimator, dtype, digits, monkeypatch):
    X = digits[0][:700].astype(dtype)
    estimator = cheap(Estimator).fit(X)
    expected = estimator.transform(X)
    encode, sizes = type(estimator.module_).encode, []

    def small(self, x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.OutOfMemoryError
        return encode(self, x)

    monkeypatch.setattr(type(estimator.module_), "encode", small)
    np.testing.assert_array_equal(estimator.transform(X), expected)
    assert max(sizes) > 100 >= sizes[-1]

    def never(self, x):
        raise torch.OutOfMemoryError("not even one")

    monkeypatch.setattr(type(estimator.module_), "encode", never)
    with pytest.raises(torch.OutOfMemoryError, match="not even one"):
        estimator.transform(X)


# ---------------------------------------------------------------------------
# The copy of a module in float64
# ---------------------------------------------------------------------------


def test_the_float64_copy_is_never_old(Estimator, iris):
    estimator = cheap(Estimator).fit(iris)
    first = estimator.transform(iris)
    np.testing.assert_array_equal(estimator.transform(iris), first)
    with torch.no_grad():
        for parameter in estimator.module_.parameters():
            parameter.mul_(1.5)
    changed = estimator.transform(iris)
    assert not np.allclose(changed, first)
    fresh = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(fresh.transform(iris), changed)
    estimator.partial_fit(iris)
    again = copy.deepcopy(estimator)
    np.testing.assert_array_equal(estimator.transform(iris), again.transform(iris))
    assert not np.allclose(estimator.transform(iris), changed)


# ---------------------------------------------------------------------------
# Precision and threads
# ---------------------------------------------------------------------------


def test_precision_is_of_the_training_alone(Estimator, digits):
    X = digits[0][:300]
    fits = {p: cheap(Estimator, precision=p).fit(X) for p in ("float32", "tf32", "bf16")}
    codes = {p: fit.transform(X) for p, fit in fits.items()}
    np.testing.assert_array_equal(codes["tf32"], codes["float32"])  # there is none on a CPU
    assert not np.array_equal(codes["bf16"], codes["float32"])
    np.testing.assert_allclose(codes["bf16"], codes["float32"], atol=0.2 * codes["float32"].std())
    module = fits["bf16"].module_
    assert all(p.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        row = module.to_units(torch.tensor(X[:4], dtype=torch.float32))
        assert not torch.equal(module.encode(row), module.encode(row).bfloat16().float())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_fit_leaves_the_number_of_threads(Estimator, n_threads, iris, monkeypatch):
    """A small one runs on one; they are put back, also after a failure."""
    before = torch.get_num_threads()
    seen = []
    try:
        torch.set_num_threads(n_threads)
        estimator = cheap(Estimator)
        monkeypatch.setattr(estimator, "_after_epoch", lambda *_: seen.append(torch.get_num_threads()))
        estimator.fit(iris)
        assert set(seen) == {1}
        assert torch.get_num_threads() == n_threads
        monkeypatch.setattr(_schedule, "_FLOPS_A_THREAD", 1)
        seen.clear()
        estimator.fit(iris)
        assert set(seen) == {n_threads}

        def broken(*_):
            raise RuntimeError("broken")

        monkeypatch.undo()
        monkeypatch.setattr(estimator, "_after_epoch", broken)
        with pytest.raises(RuntimeError, match="broken"):
            estimator.fit(iris)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
