"""Between NumPy and torch: arrays, devices, random numbers, and states that travel."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
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
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own reserve
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


class Tape(torch.Generator):
    """A generator whose numbers are drawn ahead for many steps: a step reads its place in what was drawn.

    For CUDA graphs, in which nothing may be drawn. A step asks, by :func:`standard_normal` and
    :func:`random_integers`, for the same shapes in the same order each time; its place is counted on the
    device, so that a replayed graph finds it. Other functions draw from it as from any generator, though
    not inside a graph.

    Parameters
    ----------
    capacity : int
        Steps drawn at a time.
    device : torch.device
    """

    def __new__(cls, capacity: int, device: torch.device):
        # torch's stubs declare no __new__ for Generator, which takes the device there
        return super().__new__(cls, device=device)  # type: ignore[call-arg]

    def __init__(self, capacity: int, device: torch.device):
        self.capacity = capacity
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self._drawn: list[Tensor] = []
        self._refill: list[Callable[[Tensor, torch.Generator], Any]] = []
        self._kinds: list[Any] = []
        self._closed = False  # whether all that a step asks for is known
        self._n_used = capacity
        self._next = 0

    def rewind(self, seed: int) -> None:
        """Draw anew before the next step."""
        self.manual_seed(seed)
        self._n_used = self.capacity

    def prepare(self) -> None:
        """Before each step, outside of any graph: draw again if all is used."""
        if self._n_used == self.capacity:
            for drawn, refill in zip(self._drawn, self._refill):
                refill(drawn, self)
            self.place.zero_()
            self._n_used = 0
        self._n_used += 1

    def start(self) -> None:
        """At the start of each step, inside the graph."""
        self._next = 0

    def end(self) -> None:
        """At the end of each step, inside the graph."""
        self._closed = True
        self.place.add_(1)

    def read(
        self,
        kind: Any,
        shape: Sequence[int],
        dtype: torch.dtype,
        refill: Callable[[Tensor, torch.Generator], Any],
    ) -> Tensor:
        """This step's part of the numbers of a kind that it asks for at this point; ``refill`` draws them."""
        kind = kind, tuple(shape), dtype
        if self._next == len(self._drawn) and not self._closed:
            self._drawn.append(torch.empty((self.capacity, *shape), dtype=dtype, device=self.device))
            self._refill.append(refill)
            self._kinds.append(kind)
            refill(self._drawn[-1], self)
        if self._next == len(self._drawn) or self._kinds[self._next] != kind:
            # another request than in the steps before: from the generator, which a graph refuses
            drawn = torch.empty(tuple(shape), dtype=dtype, device=self.device)
            refill(drawn, self)
            return drawn
        drawn = self._drawn[self._next]
        self._next += 1
        return drawn.index_select(0, self.place).squeeze(0)


def standard_normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, in a form that a training step can draw inside a CUDA graph.

    Parameters
    ----------
    shape : sequence of int
    like : Tensor
        Of the dtype, and on the device, that the numbers are to have.
    generator : torch.Generator
        What ``losses`` or ``sample_prior`` got, on the same device.

    Returns
    -------
    numbers : Tensor of the shape
    """
    if isinstance(generator, Tape):
        return generator.read("normal", shape, like.dtype, lambda x, g: x.normal_(generator=g))
    return torch.randn(tuple(shape), dtype=like.dtype, device=like.device, generator=generator)


def random_integers(high: int, n: int, generator: torch.Generator) -> Tensor:
    """Integers of 0 to ``high - 1``, in a form that a training step can draw inside a CUDA graph.

    Parameters
    ----------
    high, n : int
    generator : torch.Generator
        What ``losses`` or ``sample_prior`` got.

    Returns
    -------
    numbers : Tensor of shape (n,), int64
        On the generator's device.
    """
    if isinstance(generator, Tape):
        return generator.read(high, (n,), torch.int64, lambda x, g: x.random_(high, generator=g))
    return torch.randint(high, (n,), device=generator.device, generator=generator)


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
# Arithmetic: flags and thread numbers are the process's or the thread's, and are put back
# ---------------------------------------------------------------------------

_flags_lock = threading.RLock()


def _float32_flags() -> list[tuple[Any, str, Any, Any]]:
    """Where torch keeps how float32 is computed on CUDA: owner, name, values for TF32 and for float32."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # from torch 2.9 on; the older flags must not be mixed with it
        owners: list[Any] = [matmul, cudnn.conv]
        return [(owner, "fp32_precision", "tf32", "ieee") for owner in owners]
    return [(owner, "allow_tf32", True, False) for owner in (matmul, cudnn)]


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Within the block, products and convolutions on a CUDA device round to TF32 for "tf32" alone.

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
    """torch's number of threads, whatever fits in other threads have limited it to."""
    return max(torch.get_num_threads(), _outside if _n_limits else 1)


@contextlib.contextmanager
def limited_threads(n_threads: int | None) -> Iterator[None]:
    """Within the block, this thread's calls use so many of torch's threads; None leaves it to torch.

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
