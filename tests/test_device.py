"""Devices and tensors, and settings of torch's arithmetic that are put back."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch

from skswae._device import arithmetic, as_tensor, available_threads, limited_threads, resolve_device
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


MATMUL, CUDNN = torch.backends.cuda.matmul, torch.backends.cudnn
NEW = hasattr(MATMUL, "fp32_precision")  # from torch 2.9 on: once it is set, the older flags cannot be read


def rounds_to_tf32():
    """Of products and of convolutions."""
    if NEW:
        return MATMUL.fp32_precision == "tf32", CUDNN.conv.fp32_precision == "tf32"
    return MATMUL.allow_tf32, CUDNN.allow_tf32


@pytest.fixture(
    params=[("allow_tf32", CUDNN, True, False), *[("fp32_precision", CUDNN.conv, "tf32", "ieee")] * NEW]
)
def user_flags(request):
    """TF32 for products alone, by either set of torch's flags."""
    name, convolutions, *values = request.param
    before = getattr(MATMUL, name), getattr(convolutions, name)
    for owner, value in zip((MATMUL, convolutions), values):
        setattr(owner, name, value)
    yield
    for owner, value in zip((MATMUL, convolutions), before):
        setattr(owner, name, value)


@pytest.mark.usefixtures("user_flags")
@pytest.mark.parametrize(("precision", "inside"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_arithmetic_sets_the_flags_and_puts_them_back(precision, inside):
    with arithmetic(CUDA, precision):
        assert rounds_to_tf32() == (inside, inside)
        with arithmetic(torch.device("cuda", 1)):
            assert rounds_to_tf32() == (False, False)
        assert rounds_to_tf32() == (inside, inside)
    with arithmetic(CPU, precision):
        assert rounds_to_tf32() == (True, False)
    with pytest.raises(ZeroDivisionError), arithmetic(CUDA, precision):
        raise ZeroDivisionError
    assert rounds_to_tf32() == (True, False)


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
