"""Devices, arrays and tensors, and the process-wide settings of arithmetic."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
import torch
from torch import Tensor


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
        raise ValueError(
            f"The 'device' parameter must be 'auto' or a torch device of this machine "
            f"({', '.join(found)}). Got {str(device)!r} instead."
        ) from error
    if resolved.type == "meta":
        raise ValueError("The 'device' parameter must be a device that stores numbers. Got 'meta' instead.")
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


def as_tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Return a tensor of the array's dtype, C-contiguous whatever the array's strides.

    Its memory is its own, so that a network may change it in place. Only an array that owns its memory, as
    one does that was just made, is shared.
    """
    owned = np.require(array, requirements=("C", "ALIGNED", "ENSUREARRAY", "OWNDATA", "WRITEABLE"))
    return torch.from_numpy(owned).to(device)


def as_array(tensor: Tensor) -> np.ndarray:
    """Return the tensor's numbers as an array on the host."""
    return tensor.detach().cpu().numpy()


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """Compute under NumPy's default handling of floating-point errors, and read torch's tensors as arrays.

    The caller's ``np.seterr(all="raise")`` would make an error of every number that underflows to 0, and
    scikit-learn's ``array_api_dispatch`` would leave tensors to functions that know arrays alone.
    """
    errors: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
    with np.errstate(**errors), sklearn.config_context(array_api_dispatch=False):
        yield


# Flags and numbers of threads belong to the process or the thread: they are put back.

_flags_lock = threading.RLock()


def _float32_flags() -> list[tuple[Any, str, Any, Any]]:
    """List torch's flags of float32 arithmetic on CUDA: owner, name, values for TF32 and for float32."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # from torch 2.9 on; the older flags must not be mixed with it
        owners: list[Any] = [matmul, cudnn.conv]
        return [(owner, "fp32_precision", "tf32", "ieee") for owner in owners]
    return [(owner, "allow_tf32", True, False) for owner in (matmul, cudnn)]


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Let products and convolutions on a CUDA device round to TF32 only if ``precision`` is "tf32".

    torch keeps this in flags of the process, and its convolutions round to TF32 unless told otherwise. The
    lock keeps others that need the flags out, so that none computes under another's.
    """
    if device.type != "cuda":
        yield
        return
    with _flags_lock:
        flags = _float32_flags()
        before = [getattr(owner, name) for owner, name, _, _ in flags]
        try:
            for owner, name, reduced, full in flags:
                setattr(owner, name, reduced if precision == "tf32" else full)
            yield
        finally:
            for (owner, name, _, _), value in zip(flags, before):
                setattr(owner, name, value)


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
