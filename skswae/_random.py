"""Random numbers: one private generator a call; torch's global streams never move."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from skswae._processes import active, drawn_for_rows


def without_generator(random_state):
    """Return what scikit-learn takes: a seed drawn from a Generator, and anything else as it is."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return random_state


def draw_seed(random_state) -> int:
    """Draw one number, a seed, from a ``random_state``; None draws it from NumPy's global stream."""
    try:
        if isinstance(random_state, bool):
            raise TypeError("True and False are no seeds.")
        stream = check_random_state(without_generator(random_state))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "The 'random_state' argument must be an int in [0, 2**32 - 1], a RandomState, a Generator or "
            f"None. Got {random_state!r} instead. {error}"
        ) from error
    return int(stream.randint(np.iinfo(np.int32).max))


def derive_seed(seed: int, *keys: int) -> int:
    """Derive a seed for one part of a run: equal keys give equal seeds, different keys unrelated ones."""
    sequence = np.random.SeedSequence(seed, spawn_key=keys)
    # manual_seed takes 63 bits on every device
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def named_seed(seed: int, name: str) -> int:
    """Derive the seed of the part of a run that has this name."""
    return derive_seed(seed, *name.encode())


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a private generator on ``device``, seeded with ``seed``."""
    return torch.Generator(device=device).manual_seed(seed)


def own_generator(generator: torch.Generator) -> torch.Generator:
    """Return the generator, or where several processes share a fit one that this process alone has.

    For code that is not ours, which draws for the rows that it is given.
    """
    group = active()
    if group is None:
        return generator
    seed = generator.initial_seed()
    if seed not in group.own_generators:
        group.own_generators = {seed: make_generator(derive_seed(seed, group.rank), generator.device)}
    return group.own_generators[seed]


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of the shape, dtype and device of x, which has something for each row.

    Several processes that share a fit have parts of a batch: each draws for the whole batch, and gets the
    numbers of its rows.

    Parameters
    ----------
    x : Tensor of shape (n, ...)
        Rows of the batch, or what is computed from them.
    generator : torch.Generator
        The one that ``losses`` got, on the device of x.

    Returns
    -------
    noise : Tensor of shape (n, ...)

    Examples
    --------
    >>> import torch
    >>> from skswae.base import normal_like
    >>> normal_like(torch.zeros(5, 3), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3])
    """

    def draw(n_rows: int) -> Tensor:
        return torch.randn((n_rows, *x.shape[1:]), dtype=x.dtype, device=x.device, generator=generator)

    return drawn_for_rows(len(x), draw)


_initial_generator: contextvars.ContextVar[torch.Generator | None] = contextvars.ContextVar(
    "skswae_initial_generator", default=None
)


def initial_generator() -> torch.Generator | None:
    """Return what this package's layers draw their first weights from; None is torch's global stream."""
    return _initial_generator.get()


@contextlib.contextmanager
def initialized_from(generator: torch.Generator) -> Iterator[None]:
    """Let this package's layers draw their first weights from ``generator`` within the block."""
    token = _initial_generator.set(generator)
    try:
        yield
    finally:
        _initial_generator.reset(token)


_global_stream_lock = threading.RLock()


def _after_fork_in_child() -> None:
    global _global_stream_lock
    _global_stream_lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


def global_stream_lock() -> threading.RLock:
    """Return the lock of those who need torch's global streams to themselves."""
    return _global_stream_lock


@contextlib.contextmanager
def forked_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global streams within the block and put them back after it.

    Code that is not ours draws from the global streams: layers of a user's own network, dropout. The lock
    keeps fits in other threads out, so that each gets its own numbers.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with _global_stream_lock, torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
