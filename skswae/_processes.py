"""Several processes that fit one model: the group that they make, and a process's part of a batch.

The group is that of ``torch.distributed``: one that the script has made, or the one that ``torchrun``
describes in the environment. Within a fit every process holds the same module. A batch is divided among
them; sums over the batch are added up, and what is drawn for its rows is drawn for all of them by each, from
generators in the same state. So a fit is that of one process, but for rounding.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import pathlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")

SWITCH = "SKSWAE_DISTRIBUTED"
"""Environment variable that is 0 where each process is to fit models of its own."""

# Facts that torchrun puts into the environment of a process, and a variable in which this process adds its
# own number: processes that it starts inherit both, and can tell that torchrun did not start them.
_SAID = " ".join(
    os.environ.get(name, "")
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "RANK", "TORCHELASTIC_RESTART_COUNT")
)
_LAUNCHED = "TORCHELASTIC_RUN_ID" in os.environ
_OWNER = "SKSWAE_RANK_PROCESS"

if _LAUNCHED and not os.environ.get(_OWNER, "").startswith(f"{_SAID} of "):
    os.environ[_OWNER] = f"{_SAID} of {os.getpid()}"

_inherited = False  # whether the group is the parent's, and this process a fork


def _after_fork_in_child() -> None:
    global _inherited
    _inherited = _inherited or (dist.is_available() and dist.is_initialized())


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


# ---------------------------------------------------------------------------
# The group
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """The rows of a batch that a process has: those from ``start`` to ``stop`` of ``n_rows``.

    ``share`` is its weight in means over the batch. That of a process which has all rows, as the others have
    too, is one over their number.
    """

    start: int
    stop: int
    n_rows: int
    share: float


class Group:
    """The processes of a fit, and where this one stands.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0 on, and number of all.
    own_generators : dict of int to torch.Generator
        The last generator of this process alone, by the seed that it was made from.
    part : Part or None
        Of the batch that is under way; None between batches, and where each process computes all.
    n_rows_before : int
        Rows that processes of lower rank have, in a pass in which each looks at its own.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # of this fit alone: a script's other exchanges are not disturbed, and all of it can end at once
        self._group: Any = dist.new_group()
        _end_last()  # all processes are done with it
        self.part: Part | None = None
        self.n_rows_before = 0
        self.own_generators: dict[int, torch.Generator] = {}

    def close(self, failed: bool) -> None:
        """End the exchanges; if the fit has failed at once, so that a process that waits gets an error."""
        global _last
        _last, self._group = weakref.ref(self._group), None
        if failed:
            _end_last()

    def _exchange(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function of torch.distributed for the processes of the fit.

        Raises
        ------
        RuntimeError
            If another process has ended or failed, or does not answer.
        """
        reason = None
        try:
            function(*arguments, group=self._group)
        except RuntimeError as error:
            reason = str(error)  # alone: the frames of its traceback would keep the connections open
        if reason is not None:
            raise RuntimeError(
                f"Another process of the fit has failed or ended, or does not answer. {reason}"
            )

    # -- divisions -----------------------------------------------------------

    def divide(self, n_rows: int) -> Part:
        """Return this process's part of so many rows; all of them where they are fewer than processes."""
        if n_rows < self.size:
            return Part(0, n_rows, n_rows, 1.0 / self.size)
        start, stop = (n_rows * r // self.size for r in (self.rank, self.rank + 1))
        return Part(start, stop, n_rows, (stop - start) / n_rows)

    # -- numbers -------------------------------------------------------------

    def combine(self, tensor: Tensor, how: str = "sum") -> Tensor:
        """Replace a tensor by its "sum", "min" or "max" over the processes; return it."""
        operations = {"sum": dist.ReduceOp.SUM, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}
        self._exchange(dist.all_reduce, tensor, operations[how])
        return tensor

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Make gradients of means over a process's rows those of means over the batch, by one exchange."""
        share = 1.0 / self.size if self.part is None else self.part.share
        found = [p.grad is not None for p in parameters]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        used = torch.tensor(found, dtype=parts[0].dtype, device=parts[0].device)
        # a parameter may be used by the rows of one process alone; one that none uses has no gradient
        flat = self.combine(torch.cat([*(part * share for part in parts), used]))
        *sums, used = flat.split([*map(len, parts), len(parts)])
        for parameter, total, is_used in zip(parameters, sums, used.tolist()):
            if not is_used:
                continue
            total = total.view_as(parameter).to(parameter.dtype)
            if parameter.grad is None:
                parameter.grad = total.clone()
            else:
                parameter.grad.copy_(total)

    def broadcast(self, module: nn.Module) -> None:
        """Give each process the numbers that the first one's module has."""
        for value in module.state_dict().values():
            if isinstance(value, Tensor) and value.numel():
                self._exchange(dist.broadcast, value, 0)

    def average_statistics(self, module: Any) -> None:
        """Give each process the means of the running statistics of batch normalisation."""
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase):
                for value in part.buffers(recurse=False):
                    total = self.combine(value.double())
                    value.copy_(total / self.size)

    # -- anything else -------------------------------------------------------

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in the order of their ranks."""
        values: list[Any] = [None] * self.size
        self._exchange(dist.all_gather_object, values, value)
        return values

    def any(self, value: bool) -> bool:
        """Tell whether it is true for any process."""
        return any(self.gather(bool(value)))

    def first(self, function: Callable[[], T]) -> T:
        """Return what the function gives on the first process, or raise its error on all."""
        result: list[Any] = [None, None]
        if self.rank == 0:
            try:
                result[0] = function()
            except Exception as error:
                result[1] = error
        self._exchange(dist.broadcast_object_list, result, 0)
        if result[1] is not None:
            raise result[1]
        return result[0]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Let an error of the block on one process be an error on all, so that none waits for the others."""
        error: Exception | None = None
        try:
            yield
        except Exception as found:
            error = found
        said = self.gather(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        for rank, text in enumerate(said):
            if text is not None:
                raise RuntimeError(f"The fit failed in the process of rank {rank} of {self.size}. {text}")


_last: weakref.ref | None = None  # to the group of the last fit, in which other processes may still read


def _end_last() -> None:
    group = None if _last is None else _last()
    if group is not None:
        with contextlib.suppress(Exception):  # of a group that has failed, or has ended
            dist.destroy_process_group(group)


# ---------------------------------------------------------------------------
# Who is a process of a group
# ---------------------------------------------------------------------------

_active: contextvars.ContextVar[Group | None] = contextvars.ContextVar("skswae_group", default=None)


def active() -> Group | None:
    """Return the group of the fit that is under way in this thread, if several processes share it."""
    return _active.get()


@contextlib.contextmanager
def joined() -> Iterator[Group | None]:
    """Share the fit of the block with the other processes, if this is one of several.

    It fails in all of them or in none, though errors differ.
    """
    group = None
    # not in another thread than the main one: fits side by side would mix up their exchanges
    if threading.current_thread() is threading.main_thread() and _is_rank():
        if not dist.is_initialized():
            _initialize()
        if dist.get_world_size() > 1:
            group = Group()
    token, failed = _active.set(group), True
    try:
        yield group
        if group is not None:
            group.gather(None)
        failed = False
    finally:
        _active.reset(token)
        if group is not None:
            group.close(failed)


def is_first() -> bool:
    """Tell whether this process writes files: any but those of rank above 0."""
    if not _is_rank():
        return True
    return (dist.get_rank() if dist.is_initialized() else int(os.environ["RANK"])) == 0


def _is_rank() -> bool:
    """Tell whether this process is one of several that share fits.

    A worker of joblib's or a process of a pool, which a rank has started, inherits what torchrun says in the
    environment, and by a fork the group itself. It is no rank.
    """
    if os.environ.get(SWITCH) == "0" or not dist.is_available() or _inherited:
        return False
    if dist.is_initialized():
        return True
    launched = _LAUNCHED and int(os.environ.get("WORLD_SIZE", "1")) > 1
    return launched and os.environ.get(_OWNER) == f"{_SAID} of {os.getpid()}" and not _parent_is_the_rank()


def _parent_is_the_rank() -> bool:
    """Tell whether a Python that torchrun started has started this process, before it knew this package."""
    parent = pathlib.Path(f"/proc/{os.getppid()}")  # of Linux
    try:
        said = dict(item.partition("=")[::2] for item in (parent / "environ").read_text().split("\0"))
        names = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "RANK")
        same = all(said.get(name) == os.environ[name] for name in names)
        return same and (parent / "exe").resolve() == pathlib.Path(sys.executable).resolve()
    except (OSError, ValueError, KeyError):
        return False


def _initialize() -> None:
    """Make the group that torchrun describes."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        if dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # the store of a machine's torchrun outlives the processes: those of an earlier start have left their
        # addresses in it (of several machines each counts its own starts)
        store = dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():  # the script may have ended it
        dist.destroy_process_group()


# ---------------------------------------------------------------------------
# Functions for objectives; on one process each returns what it is given
# ---------------------------------------------------------------------------


def current_part() -> Part | None:
    """Return this process's part of the batch under way; None if that is all of it."""
    group = _active.get()
    return None if group is None else group.part


def drawn_for_rows(n_rows: int, draw: Callable[[int], Tensor], dim: int = 0) -> Tensor:
    """Return ``draw(n_rows)``, which has something for each row along ``dim``.

    Of a batch that several processes share it is drawn for all rows, and those of this process are returned.
    """
    part = current_part()
    if part is None:
        return draw(n_rows)
    if n_rows != part.stop - part.start:
        raise ValueError(
            f"What is drawn for rows must be drawn for those of the batch, {part.stop - part.start} in this "
            f"process. Got {n_rows}: within skswae._processes.whole_batch() each process draws all."
        )
    return draw(part.n_rows).narrow(dim, part.start, n_rows)


def row_weight() -> float:
    """Return the weight of each row in sums over the batch: below 1 where several processes have it."""
    part = current_part()
    return 1.0 if part is None else part.share * part.n_rows / (part.stop - part.start)


def rows_of_batch(n_rows: int) -> int:
    """Return how many rows the batch has, of which this process has ``n_rows``."""
    part = current_part()
    return n_rows if part is None else part.n_rows


@contextlib.contextmanager
def whole_batch() -> Iterator[None]:
    """Let each process compute the same within the block, as if it were alone."""
    group = _active.get()
    if group is None or group.part is None:
        yield
        return
    part, group.part = group.part, None
    try:
        yield
    finally:
        group.part = part


def gathered(z: Tensor) -> Tensor:
    """Return the rows that all processes have of a batch, in its order, for a term that is no mean over rows.

    On one process they are z. The result is differentiable: each process is to compute the same from it, and
    gets the gradient of its own rows.

    Parameters
    ----------
    z : Tensor of shape (n, ...)
        Something for each row that this process has of the batch.

    Returns
    -------
    whole : Tensor of shape (n of all processes, ...)

    Examples
    --------
    >>> import torch
    >>> from skswae.base import gathered
    >>> gathered(torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """
    part = current_part()
    if part is None or part.stop - part.start == part.n_rows:
        return z
    return _Gather.apply(z, part)


class _Gather(torch.autograd.Function):
    """All processes' rows. Gradients are weighted by the share later on, of what has the weight 1 here."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, part: Part) -> Tensor:
        ctx.part = part
        whole = z.new_zeros((part.n_rows, *z.shape[1:]))
        whole[part.start : part.stop] = z
        group = active()
        assert group is not None
        return group.combine(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        part = ctx.part
        return gradient[part.start : part.stop] / part.share, None
