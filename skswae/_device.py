"""Devices, arrays and tensors, and the process-wide settings of arithmetic."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor

from skswae._random import global_stream_lock


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn the ``device`` parameter into a device that exists, or raise an error that lists those that do.

    Parameters
    ----------
    device : str or torch.device
        "auto" is "cuda" where there is one and "cpu" everywhere else.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If the name is no torch device, or this machine has no such device.
    """
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
        torch.empty(1, dtype=torch.float64, device=resolved)  # units are kept in float64
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        found = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise InvalidParameterError(
            f"The 'device' parameter must be 'auto' or a torch device of this machine "
            f"({', '.join(found)}). Got {str(device)!r} instead."
        ) from error
    if resolved.type == "meta":
        raise InvalidParameterError(
            "The 'device' parameter must be a device that stores numbers. Got 'meta' instead."
        )
    if resolved.type == "cuda" and resolved.index is None:
        resolved = torch.device("cuda", torch.cuda.current_device())
    # torch takes "cpu:0" for another device than "cpu"
    return torch.device("cpu") if resolved.type == "cpu" else resolved


def fits_on(device: torch.device, n_bytes: int) -> bool:
    """Tell whether ``n_bytes`` of data leave at least half of the device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own reserve
    return n_bytes <= free // 2


def as_tensor(array: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return a tensor of the array's dtype, C-contiguous whatever the array's strides.

    Its memory is its own, so that a network may change it in place. Only an array that owns its memory, as
    one does that was just made, is shared.
    """
    if isinstance(array, Tensor):
        return array.to(device, copy=True, memory_format=torch.contiguous_format)
    owned = np.require(array, requirements=("C", "ALIGNED", "ENSUREARRAY", "OWNDATA", "WRITEABLE"))
    return torch.from_numpy(owned).to(device)


def as_array(tensor: Tensor) -> np.ndarray:
    """Return the tensor's numbers as an array on the host."""
    return tensor.detach().cpu().numpy()


def dispatches() -> bool:
    """Tell whether scikit-learn's ``array_api_dispatch`` is on: the results for a tensor are tensors then."""
    return bool(sklearn.get_config()["array_api_dispatch"])


def given_tensor(X: Tensor) -> Tensor:
    """Return a caller's tensor without its gradient, in a type that NumPy has.

    Raises
    ------
    TypeError
        If it is not on the host, and scikit-learn's ``array_api_dispatch`` is off.
    ValueError
        If it is sparse, or of complex numbers.
    """
    if X.is_complex() or X.layout != torch.strided:
        raise ValueError(f"X must be a dense tensor of real numbers. Got {X.layout} of {X.dtype}.")
    if X.device.type not in ("cpu", "meta") and not dispatches():
        raise TypeError(
            f"X must be in the memory of the host. Got a tensor on {X.device}: pass X.cpu(), or let tensors "
            "stay where they are, by sklearn.set_config(array_api_dispatch=True) in a Python that was "
            "started with the environment variable SCIPY_ARRAY_API=1."
        )
    return X.detach().double() if X.dtype == torch.bfloat16 else X.detach()


def copied_to_host(X: Any) -> Any:
    """Return a tensor on the host if ``array_api_dispatch`` is on; whatever else as it is."""
    return X.cpu() if isinstance(X, Tensor) and X.device.type != "meta" and dispatches() else X


# Settings of the thread or the process that a caller may have changed: what is computed here does not depend
# on them, and they are put back.


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Compute as in a fresh interpreter, whatever block the caller is in and whatever the caller has set.

    No autocast; gradients where asked for; NumPy's default handling of floating-point errors, since
    ``np.seterr(all="raise")`` would make an error of every number that underflows to 0; and torch's tensors
    read as arrays, since scikit-learn's ``array_api_dispatch`` would leave them to functions of arrays.
    """
    if _settings_are_own():  # to set them again would cost a tenth of the coding of a row
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(**_ERRORS))
        stack.enter_context(sklearn.config_context(array_api_dispatch=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


_ERRORS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


def _settings_are_own() -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not any(map(torch.is_autocast_enabled, _AUTOCAST))
        and np.geterr() == _ERRORS
        and not sklearn.get_config()["array_api_dispatch"]
    )


_flags_lock = threading.RLock()


@contextlib.contextmanager
def float32_by_default() -> Iterator[None]:
    """Make layers and tensors of float32 on the CPU unless they are told otherwise."""
    with torch.device("cpu"), contextlib.ExitStack() as stack:
        with _flags_lock:
            before = torch.get_default_dtype()
        if before != torch.float32:
            # both locks, in the order of an epoch whose code draws from the global streams
            stack.enter_context(global_stream_lock())
            stack.enter_context(_flags_lock)
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        yield


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Let float32 products and convolutions round to TF32 if ``precision`` says so, on CUDA devices alone.

    torch keeps this in flags of the process, which other threads see: a block should be short, one step or
    one chunk of rows. The lock keeps others that need the flags out, so that none computes under another's.
    """
    if device.type != "cuda":
        with _flags_lock:
            nothing_to_change = _cpu_is_exact()
        if nothing_to_change:  # so nobody has to wait
            yield
            return
    with _flags_lock, _rounding_to_tf32(device.type == "cuda" and precision == "tf32"):
        yield


def _cpu_is_exact() -> bool:
    parts = [part for part, _ in _parts_with_flags("mkldnn")]
    if not parts:  # before torch 2.9
        return torch.get_float32_matmul_precision() == "highest"
    return all(part.fp32_precision in ("none", "ieee") for part in parts)


@functools.cache
def _parts_with_flags(*names: str) -> list[tuple[Any, list[Any]]]:
    """List what has a flag of the newer family, which came with torch 2.9, and what each takes it from."""
    backends: Any = torch.backends
    found = []
    for name, parts in {
        "cuda": ("matmul",),
        "cudnn": ("conv", "rnn"),
        "mkldnn": ("matmul", "conv", "rnn"),
    }.items():
        backend = getattr(backends, name)
        for part in (getattr(backend, part, None) for part in parts if name in names):
            if hasattr(part, "fp32_precision"):
                # cuDNN's flag is that of all of CUDA
                above = (backends.cudnn if name == "cuda" else backend, backends)
                found.append((part, [b for b in above if hasattr(b, "fp32_precision")]))
    return found


@contextlib.contextmanager
def _rounding_to_tf32(allowed: bool) -> Iterator[None]:
    """Set every flag of float32 arithmetic, in torch's older family, whose setters set the newer one too.

    Both families agree within the block, so that either can be read. Where the user has mixed them, torch
    refuses to read the older one, and it alone is not put back.
    """
    cudnn: Any = torch.backends.cudnn
    before = []
    for part, above in _parts_with_flags("cuda", "cudnn", "mkldnn"):
        value = part.fp32_precision
        # what is read may be inherited, and is then to follow what it comes from; a flag that was set to the
        # same value cannot be told from it
        inherited = next((b.fp32_precision for b in above if b.fp32_precision != "none"), None)
        before.append((part, "none" if value == inherited else value))
    products: Any = None
    convolutions: Any = None
    with contextlib.suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    with contextlib.suppress(RuntimeError):
        convolutions = cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = allowed
        cudnn.allow_tf32 = allowed
        for part, _ in _parts_with_flags("mkldnn")[1:]:  # these the older family does not have
            part.fp32_precision = "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            cudnn.allow_tf32 = convolutions
        for part, value in before:
            part.fp32_precision = value


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device has instructions for bfloat16, or whether torch cannot say."""
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return True
    found = torch.cpu.get_capabilities()
    return not found or any(value for name, value in found.items() if "bf16" in name)


# Numbers of threads.

_threads_lock = threading.Lock()
_n_limits = 0  # blocks of limited_threads that are open, in all threads
_outside = 1  # torch's number before the first of them


def available_threads() -> int:
    """Return torch's number of threads, as it is without the limits of fits in other threads."""
    return max(torch.get_num_threads(), _outside if _n_limits else 1)


@contextlib.contextmanager
def limited_threads(n_threads: int | None) -> Iterator[None]:
    """Limit the calls of this thread to ``n_threads`` of torch's threads; None leaves the number to torch.

    torch keeps the number by thread, and a new thread takes the last one that any has set.
    """
    global _n_limits, _outside
    if n_threads is None:
        yield
        return
    with _threads_lock:
        if _n_limits == 0:
            _outside = torch.get_num_threads()
        _n_limits += 1
        before = max(torch.get_num_threads(), _outside)
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        with _threads_lock:
            _n_limits -= 1
            torch.set_num_threads(before)


# After a fork the child has none of the parent's threads: it would wait for ever for torch's, and for locks
# that another thread held.


def _after_fork_in_child() -> None:
    global _flags_lock, _threads_lock, _n_limits
    _flags_lock, _threads_lock, _n_limits = threading.RLock(), threading.Lock(), 0
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
