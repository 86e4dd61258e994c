"""Between NumPy and torch: arrays, devices, random numbers, and states that travel."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

# ---------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn the ``device`` parameter into a device that exists, or say which do.

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
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return resolved


def fits_on(device: torch.device, n_bytes: int) -> bool:
    """Whether ``n_bytes`` of data leave at least half of the device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= free // 2


# ---------------------------------------------------------------------------
# Arrays
# ---------------------------------------------------------------------------


def as_tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """A tensor of the array's dtype; copies only what torch cannot share.

    Read-only and negative-stride arrays are copied, others are shared with the CPU tensor.
    """
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array).to(device)


def as_array(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers as an array on the host."""
    return tensor.detach().cpu().numpy()


# ---------------------------------------------------------------------------
# Random numbers: one generator a call, global streams never move
# ---------------------------------------------------------------------------


def draw_seed(random_state) -> int:
    """A seed from scikit-learn's ``random_state``; None draws it from NumPy's global stream."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def derive_seed(seed: int, *keys: int) -> int:
    """A seed for one part of a run: equal keys give equal seeds, others unrelated ones."""
    sequence = np.random.SeedSequence(seed, spawn_key=keys)
    # manual_seed takes 63 bits on every device
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A private generator on ``device``."""
    return torch.Generator(device=device).manual_seed(seed)


_initial_generator: contextvars.ContextVar[torch.Generator | None] = contextvars.ContextVar(
    "skswae_initial_generator", default=None
)


def initial_generator() -> torch.Generator | None:
    """What layers of this package draw their first weights from; None is torch's global stream."""
    return _initial_generator.get()


@contextlib.contextmanager
def initialized_from(generator: torch.Generator) -> Iterator[None]:
    """Within the block, layers of this package draw their first weights from ``generator``."""
    token = _initial_generator.set(generator)
    try:
        yield
    finally:
        _initial_generator.reset(token)


_global_stream_lock = threading.RLock()


@contextlib.contextmanager
def forked_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global streams within the block and put them back after it.

    For foreign code, which draws from the global streams: layers of a user's own network, dropout.
    The lock keeps fits in other threads out, so that each gets its own numbers.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with _global_stream_lock, torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


# ---------------------------------------------------------------------------
# States that travel
# ---------------------------------------------------------------------------


def snapshot(module: nn.Module) -> dict[str, Any]:
    """A copy of the module's parameters, buffers and extra state, on their device."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }


Module = TypeVar("Module", bound=nn.Module)


def portable_copy(module: Module) -> Module:
    """A copy on the CPU whose tensors own exactly their numbers: no gradients, no larger storages."""
    module = copy.deepcopy(module).to("cpu")
    for parameter in module.parameters():
        parameter.grad = None
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    copies: dict[Tensor, Tensor] = {}  # by identity: a buffer that two modules share stays shared
    for submodule in module.modules():
        for name, buffer in submodule.named_buffers(recurse=False, remove_duplicate=False):
            if buffer not in copies:
                copies[buffer] = buffer.clone(memory_format=torch.contiguous_format)
            setattr(submodule, name, copies[buffer])
    return module
