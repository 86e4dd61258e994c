"""Devices and tensors, and settings of torch's arithmetic that are put back."""

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from skswae import AETransformer
from skswae._device import (
    arithmetic,
    as_tensor,
    available_threads,
    has_bfloat16,
    limited_threads,
    resolve_device,
)
from skswae._random import forked_rng

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_resolve_device():
    assert resolve_device("cpu") == resolve_device(CPU) == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("gpu", "meta", "cuda:1000"):
        with pytest.raises(ValueError, match=f"'device' parameter must be .* Got '{device}' instead"):
            resolve_device(device)


def test_tensors_have_memory_of_their_own():
    """Contiguous whatever the strides were; an array that was just made gives them its own."""
    X = np.arange(6.0).reshape(2, 3).copy()
    readonly = X.copy()
    readonly.flags.writeable = False
    assert as_tensor(X).data_ptr() == X.ctypes.data
    for array in (readonly, X[:], X[::-1], np.asfortranarray(X), X[:, ::2], np.broadcast_to(X[0], (2, 3))):
        tensor = as_tensor(array)
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor, array)
        tensor[0, 0] = 5.0
        assert array[0, 0] != 5.0


MATMUL, CUDNN, MKLDNN = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
# what has a flag of torch's newer family; before torch 2.9 nothing has
PARTS = (
    [MATMUL, CUDNN.conv, CUDNN.rnn, MKLDNN.matmul, MKLDNN.conv, MKLDNN.rnn] if hasattr(CUDNN, "conv") else []
)


def older_flags():
    """Those of torch's older family, which raise RuntimeError where the families disagree."""
    return torch.get_float32_matmul_precision(), MATMUL.allow_tf32, CUDNN.allow_tf32


def newer_flags():
    return [part.fp32_precision for part in PARTS]


def set_older(precision, convolutions):
    torch.set_float32_matmul_precision(precision)
    CUDNN.allow_tf32 = convolutions


def set_newer(*values):
    for part, value in zip(PARTS, values, strict=True):
        part.fp32_precision = value


AT_FIRST = newer_flags()


@pytest.fixture(
    params=[
        lambda: None,
        lambda: set_older("high", False),
        lambda: set_older("medium", True),
        lambda: set_newer(*["tf32", "ieee", "tf32", "bf16", "tf32", "bf16"][: len(PARTS)]),
    ]
)
def user_flags(request):
    """Flags as a user may have set them, in either family."""
    request.param()
    yield
    set_older("highest", True)
    set_newer(*AT_FIRST)


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(("precision", "inside"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_arithmetic_sets_the_flags_and_puts_them_back(precision, inside):
    before = newer_flags()
    with contextlib.suppress(RuntimeError):
        before += older_flags()

    def after():
        return newer_flags() + list(older_flags()) if len(before) > len(PARTS) else newer_flags()

    def rounds():
        precisions = {"highest": False, "high": True}
        products, *others = older_flags()  # both families can be read
        assert others == [precisions[products]] * 2
        assert not PARTS or ("tf32" in newer_flags()[:3]) == precisions[products]
        assert set(newer_flags()[3:]) <= {"none", "ieee"}
        return precisions[products]

    with arithmetic(CUDA, precision):
        assert rounds() == inside
        with arithmetic(torch.device("cuda", 1)):
            assert not rounds()
        assert rounds() == inside
    assert after() == before
    with arithmetic(CPU, precision):
        assert set(newer_flags()[3:]) <= {"none", "ieee"}
    assert after() == before
    with pytest.raises(ZeroDivisionError), arithmetic(CUDA, precision):
        raise ZeroDivisionError
    assert after() == before


@pytest.mark.usefixtures("user_flags")
def test_inherited_flags_still_follow_what_they_come_from():
    owners = [owner for owner in (torch.backends, CUDNN, MKLDNN) if hasattr(owner, "fp32_precision")]
    assert len(owners) == (3 if PARTS else 0)  # before torch 2.9 no flag inherits, and users' own stay
    if not PARTS:
        before = older_flags()
        with arithmetic(CUDA):
            assert older_flags() == ("highest", False, False)
        assert older_flags() == before
    for owner in owners:
        set_newer(*["none"] * len(PARTS))
        owner.fp32_precision = "tf32"
        try:
            before = newer_flags()
            with arithmetic(CUDA):
                pass
            assert newer_flags() == before
            owner.fp32_precision = "ieee"
            assert "tf32" in before
            assert "tf32" not in newer_flags()
        finally:
            owner.fp32_precision = "none"


@pytest.mark.parametrize("block", [lambda: arithmetic(CUDA, "tf32"), lambda: forked_rng(0)])
def test_other_threads_wait(block):
    def other():
        with block():
            return True

    with ThreadPoolExecutor(1) as pool:
        with block():
            found = pool.submit(other)
            assert wait([found], timeout=0.1).not_done
        assert found.result(timeout=10)


def test_threads_are_limited_and_put_back():
    before = torch.get_num_threads()
    with limited_threads(3):
        with limited_threads(None):
            assert torch.get_num_threads() == 3
        with limited_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), limited_threads(2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_limits_of_several_threads_do_not_leak():
    """Whoever leaves first, and also into threads that come later."""
    before = torch.get_num_threads()
    entered, left = threading.Event(), threading.Event()

    def other():
        with limited_threads(1):
            entered.set()
            assert left.wait(10)
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    try:
        torch.set_num_threads(2)
        with ThreadPoolExecutor(1) as pool:
            with limited_threads(1):
                found = pool.submit(other)
                assert entered.wait(10)
                assert available_threads() == 2
            left.set()
        assert found.result() == (1, 2)
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == available_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_cpu_blocks_of_several_threads_run_at_once_under_the_usual_flags():
    with arithmetic(CPU), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: arithmetic(CPU).__enter__()).result(timeout=10) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [({}, True), ({"avx2": True, "avx512_bf16": False}, False), ({"avx512_bf16": True}, True), (None, True)],
)
def test_has_bfloat16(found, expected, monkeypatch):
    if found is None:  # torch before it could tell
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_bfloat16(CPU) is expected
    assert has_bfloat16(CUDA)


_IN_A_CHILD = """
import multiprocessing, sys
import numpy as np, torch
from sklearn.datasets import load_digits
from skswae import SWAETransformer

X = np.tile(load_digits().data / 16, (2, 1))

def make():
    return SWAETransformer(max_iter=1, batch_size=512, random_state=0, device="cpu")

torch.set_num_threads(2)
model = make().fit(X)
codes = model.transform(X)

def child(what, results):
    found = (model if what == "transform" else make().fit(X)).transform(X)
    results.put(bool(np.allclose(found, codes, atol=1e-2)))  # a thread more or less rounds otherwise

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for what in ("transform", "fit"):
        results = context.Queue()
        process = context.Process(target=child, args=(what, results), daemon=True)
        process.start()
        print(what, results.get(timeout=100), torch.get_num_threads())
"""


@pytest.mark.slow
def test_a_forked_child_computes():
    """With torch's threads of the parent it would wait for ever."""
    done = subprocess.run([sys.executable, "-c", _IN_A_CHILD], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["transform", "True", "2", "fit", "True", "2"], done.stderr


class Own(BaseEstimator):
    """A network of the user's own: its fits need torch's global streams to themselves."""

    def build_encoder(self, n_features, n_outputs):
        return torch.nn.Linear(n_features, n_outputs)

    build_decoder = build_encoder


_FITS_IN_THREADS = """
import faulthandler, sys, threading
import numpy as np, torch
from skswae import AETransformer
from tests.test_device import Own

faulthandler.dump_traceback_later(60, exit=True)  # where it hangs, if it does
exec(sys.argv[1])
X = np.random.default_rng(0).normal(size=(200, 4))

def fits():
    for _ in range(3):
        AETransformer(2, network=Own(), max_iter=20, random_state=0, device="cpu").fit(X)

threads = [threading.Thread(target=fits) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["torch.set_default_dtype(torch.float64)", "torch.set_float32_matmul_precision('medium')"]
)
def test_fits_in_threads_do_not_wait_for_each_other_for_ever(setting):
    """They take two locks, for torch's global streams and its flags, in the same order."""
    command = [sys.executable, "-c", _FITS_IN_THREADS, setting]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_a_fit_within_a_fit_of_another_thread_does_not_wait():
    """That fit has torch's global streams to itself, which the other does not need."""
    X, found = np.random.default_rng(0).normal(size=(40, 3)), []

    def fit_in_a_thread(x, generator):
        if not found:
            thread = threading.Thread(
                target=lambda: found.append(AETransformer(2, max_iter=1).fit(X)), daemon=True
            )
            thread.start()
            thread.join(60)
        return x

    AETransformer(2, max_iter=1, augment=fit_in_a_thread).fit(X)
    assert len(found) == 1
