"""One update of all players from one batch: eagerly, or as a CUDA graph."""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from skswae._torch import Tape, arithmetic, derive_seed


class Step(Protocol):
    """One update of all players from one batch, and the means of their terms over an epoch."""

    def begin_epoch(self) -> None: ...

    def __call__(self, x: Tensor, generator: torch.Generator) -> None:
        """Update, without waiting for the device."""
        ...

    def end_epoch(self) -> dict[str, float]:
        """The terms' means over the rows since the epoch began."""
        ...

    def state(self) -> dict:
        """What :meth:`resume` needs beside the module's numbers."""
        ...

    def resume(self, state: dict, n_steps_done: int) -> None:
        """Go on after so many steps."""
        ...


class Preprocess(Protocol):
    """What is done to a batch first; ``is_random`` if it may draw numbers, or look at the batch."""

    is_random: bool

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor: ...


# ---------------------------------------------------------------------------
# Rates
# ---------------------------------------------------------------------------


def one_cycle(n_steps: int, peak: float) -> np.ndarray:
    """The rate of each step: a cosine rise from 1/25 of the peak over 30 % of the steps, then a cosine fall.

    It ends near a 250,000th of the peak. L. Smith, N. Topin, "Super-convergence", 2018.

    Parameters
    ----------
    n_steps : int
    peak : float

    Returns
    -------
    rates : ndarray of shape (n_steps,)
    """
    step = np.arange(n_steps)
    top = 0.3 * (n_steps + 1) - 1.0  # where the peak is
    start, end = peak / 25.0, peak / 25e4

    def cosine(first: float, last: float, share: np.ndarray) -> np.ndarray:
        return last + (first - last) / 2.0 * (1.0 + np.cos(np.pi * share))

    rise = cosine(start, peak, step / top) if top > 0 else step
    return np.where(step <= top, rise, cosine(peak, end, (step - top) / (n_steps - top)))


# ---------------------------------------------------------------------------
# Adam for rows of which a step moves few
# ---------------------------------------------------------------------------


class RowAdam(torch.optim.Optimizer):
    """Adam on each row of a matrix by itself, which pauses while the row has no gradient.

    Kingma & Ba, "Adam", ICLR 2015, with the moments and the number of steps of each row its own. A step
    costs what the rows cost that it moves; Adam on the whole matrix moves all of them, by the momentum of
    earlier gradients.

    Parameters
    ----------
    params : iterable of nn.Parameter
        Matrices whose gradients are sparse.
    lr : float or Tensor
    betas : tuple of two floats
    eps : float
    normalize : bool
        Whether to divide the gradient of each matrix by its norm first; see :func:`normalize_gradients`.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, normalize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "normalize": normalize})

    @torch.no_grad()
    def step(self, closure=None):
        """Move the rows that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, sparse: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            # not "step", which torch leaves on its device when a state is loaded
            state["n_steps"] = parameter.new_zeros(len(parameter))
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        index, values = sparse._indices()[0], sparse._values()
        names = ("n_steps", "exp_avg", "exp_avg_sq")
        if parameter.is_cuda:
            # all rows, whether they move or not: nothing depends on how many do, and no sum on its order
            hits = torch.arange(len(parameter), device=index.device)[:, None] == index  # (K, n)
            moves = hits.any(dim=1)
            with arithmetic(parameter.device):  # not in TF32
                gradient = hits.to(values.dtype) @ values
            if group["normalize"]:
                gradient /= gradient.norm() + _NORM_MARGIN
            new = _adam(gradient, *[state[name] for name in names], betas=group["betas"])
            update = _direction(*new, betas=group["betas"], eps=group["eps"])
            for name, value in zip(names, new):
                mask = moves if value.ndim == 1 else moves[:, None]
                state[name].copy_(torch.where(mask, value, state[name]))
            parameter.sub_(torch.where(moves[:, None], group["lr"] * update, torch.zeros_like(update)))
            return
        rows, place = torch.unique(index, return_inverse=True)
        gradient = values.new_zeros((len(rows), values.shape[1])).index_add_(0, place, values)
        if group["normalize"]:
            gradient /= gradient.norm() + _NORM_MARGIN
        new = _adam(gradient, *[state[name].index_select(0, rows) for name in names], betas=group["betas"])
        for name, value in zip(names, new):
            state[name].index_copy_(0, rows, value)
        update = _direction(*new, betas=group["betas"], eps=group["eps"]).mul_(-group["lr"])
        parameter.index_add_(0, rows, update)


def _adam(
    gradient: Tensor, step: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, *, betas: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The next number of steps (m,) and moments (m, d)."""
    exp_avg = torch.lerp(exp_avg, gradient, 1.0 - betas[0])
    return step + 1.0, exp_avg, (exp_avg_sq * betas[1]).addcmul_(gradient, gradient, value=1.0 - betas[1])


def _direction(
    step: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, *, betas: tuple[float, float], eps: float
) -> Tensor:
    """What the rate multiplies: (m, d)."""
    first, second = (1.0 - beta**step for beta in betas)  # (m,)
    scale = exp_avg_sq.sqrt().mul_(second.rsqrt()[:, None]).add_(eps)
    return torch.div(exp_avg, scale).mul_(first.reciprocal()[:, None])


_NORM_MARGIN = 1e-7


def normalize_gradients(parameters: list[nn.Parameter]) -> None:
    """Divide the gradient of each tensor by its Euclidean norm, plus 1e-7, in place.

    The optimiser of the public code of Tomczak & Welling (AISTATS 2018), and of what was built on it, is this
    and Adam.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(parameter.grad.norm() + _NORM_MARGIN)


# ---------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------


class EagerStep:
    """Forward, backward and Adam for each player in turn.

    Parameters
    ----------
    module : AutoencoderModule
    preprocess : Preprocess or None
        Applied to each batch first.
    learning_rate : float
        The constant rate, or the peak of the cycle, of each player without one in ``module.learning_rates``.
    n_steps : int or None
        Steps of one cycle of the rate; None keeps the rate constant.
    state : dict or None
        What :meth:`state` of an earlier step on the same module returned.
    normalize : bool
        Whether to normalise the gradients before Adam: :func:`normalize_gradients`.
    """

    def __init__(
        self,
        module: Any,
        preprocess: Preprocess | None,
        *,
        learning_rate: float,
        n_steps: int | None = None,
        state: dict | None = None,
        normalize: bool = False,
    ):
        self.module = module
        self.preprocess = preprocess
        self.normalize = normalize
        self.players: dict[str, list[nn.Parameter]] = module.players()
        sparse = {id(p) for p in module.sparse_parameters()}
        self.optimizers: dict[str, list[torch.optim.Optimizer]] = {}
        self.rates: dict[str, np.ndarray | None] = {}
        for name, parameters in self.players.items():
            rate = module.learning_rates.get(name, learning_rate)
            self.rates[name] = None if n_steps is None else one_cycle(n_steps, rate)
            self.optimizers[name] = []
            dense = [p for p in parameters if id(p) not in sparse]
            if dense:
                self.optimizers[name].append(self._adam(dense))
            if len(dense) < len(parameters):
                rest = [p for p in parameters if id(p) in sparse]
                self.optimizers[name].append(RowAdam(rest, normalize=normalize))
            self._set_rate(name, rate)
        if state is not None:
            self._load(state)
        self._n_steps_done = 0
        self._names: list[str] = []
        self._total: Tensor | None = None  # of each term, over rows
        self._n_rows = 0

    def begin_epoch(self) -> None:
        """Set the sums to zero."""
        if self._total is not None:
            self._total.zero_()
        self._n_rows = 0

    def __call__(self, x: Tensor, generator: torch.Generator) -> None:
        for name, rates in self.rates.items():
            if rates is not None:
                self._set_rate(name, float(rates[self._n_steps_done]))
        if self.preprocess is not None:
            x = self.preprocess(x, generator)
        self._update(x, generator)
        self._n_steps_done += 1
        self._n_rows += len(x)

    def end_epoch(self) -> dict[str, float]:
        """Means over rows of all players' terms; the first player's under their own names."""
        assert self._total is not None
        return dict(zip(self._names, (self._total / self._n_rows).tolist()))

    def state(self) -> dict:
        """The optimisers' state, to go on from in another step."""
        return {name: _states(optimizers) for name, optimizers in self.optimizers.items()}

    def resume(self, state: dict, n_steps_done: int) -> None:
        """Go on after so many steps of a step like this one, which left that state."""
        self._load(state)
        self._n_steps_done = n_steps_done

    def _load(self, state: dict) -> None:
        for name, optimizers in self.optimizers.items():
            # of other sizes if parameters were frozen or freed in between: then it starts anew
            if _sizes(state[name]) != _sizes(_states(optimizers)):
                continue
            for optimizer, earlier in zip(optimizers, state[name]):
                own = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
                # a copy: load_state_dict keeps the tensors, and a failed fit must leave them as they were
                optimizer.load_state_dict(copy.deepcopy(earlier))
                for group, options in zip(optimizer.param_groups, own):
                    group.update(options)  # of this device, not of the earlier step's
                _lay_out_as_parameters(optimizer)

    def _adam(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, fused=_can_fuse(parameters))

    def _set_rate(self, player: str, rate: float) -> None:
        for optimizer in self.optimizers[player]:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _update(self, x: Tensor, generator: torch.Generator) -> None:
        values = []
        for player, terms in self.module.losses(x, generator):
            for optimizer in self.optimizers[player]:
                optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward(inputs=self.players[player])
            if self.normalize:
                normalize_gradients(
                    [p for p in self.players[player] if p.grad is None or not p.grad.is_sparse]
                )
            for optimizer in self.optimizers[player]:
                optimizer.step()
            self.module.after_step()
            values.append((player, {name: value.detach() for name, value in terms.items()}))
        total = torch.stack([v for _, terms in values for v in terms.values()]).double() * len(x)
        if self._total is None:
            first = next(iter(self.players))
            self._names = [("" if p == first else f"{p}_") + n for p, terms in values for n in terms]
            self._total = total
        else:
            self._total.add_(total)


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their parameters, which the fused Adam takes for granted."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)


def _states(optimizers: list[torch.optim.Optimizer]) -> list[dict]:
    return [optimizer.state_dict() for optimizer in optimizers]


def _sizes(states: list[dict]) -> list[list[int]]:
    return [[len(group["params"]) for group in state["param_groups"]] for state in states]


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


GRAPH_MIN_STEPS = 200
"""Least number of steps for which a CUDA graph is captured. Not measured: a guess of what a capture costs."""

_EAGER_STEPS = 3  # of each batch size before its graph is captured: what allocates once has done so
_TAPE_STEPS = 256
_TAPE_NUMBERS = 2**25


class DeviceStep(EagerStep):
    """The same for a GPU: nothing makes the host wait, and most steps are one CUDA graph.

    Rates and random numbers are found by counters on the device, so that a step is the same work each time,
    and an eager one gives the same bits as a replayed one. The first steps of each size of batch are eager,
    and are steps of the training; capturing runs nothing. What may draw numbers or look at the batch, as
    ``augment`` does, runs before the graph. A step that cannot be captured stays eager, with a warning.

    Parameters
    ----------
    module, preprocess, learning_rate, n_steps, state, normalize
        As :class:`EagerStep`.
    n_steps_planned : int
        Steps to come; no graph is captured for fewer than :data:`GRAPH_MIN_STEPS`.
    capturable : bool
        False for a module that draws from torch's global streams.
    """

    def __init__(
        self,
        module: Any,
        preprocess: Preprocess | None,
        *,
        learning_rate: float,
        n_steps: int | None = None,
        state: dict | None = None,
        normalize: bool = False,
        n_steps_planned: int,
        capturable: bool = True,
    ):
        self._device = next(module.parameters()).device
        super().__init__(
            module, preprocess, learning_rate=learning_rate, n_steps=n_steps, state=state, normalize=normalize
        )
        self._tables = {
            name: torch.as_tensor(rates, dtype=torch.float32, device=self._device)
            for name, rates in self.rates.items()
            if rates is not None
        }
        self._counter = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._planned = n_steps_planned
        self._capturable = capturable
        self._tapes: dict[tuple[int, bool], Tape] = {}  # by rows, and whether the objective has settled
        self._seen: dict[tuple[int, bool], int] = {}
        self._graphs: dict[int, tuple[Tensor, Callable[[], Any]]] = {}  # inputs and replays, by rows
        self._epoch = True

    def resume(self, state: dict, n_steps_done: int) -> None:
        super().resume(state, n_steps_done)
        self._counter.fill_(n_steps_done)

    def begin_epoch(self) -> None:
        super().begin_epoch()
        self._epoch = True

    def __call__(self, x: Tensor, generator: torch.Generator) -> None:
        n_rows = len(x)
        if self._epoch:
            for (n, _), tape in self._tapes.items():
                tape.rewind(derive_seed(generator.initial_seed(), n))
            self._epoch = False
        inside = self.preprocess
        if inside is not None and inside.is_random:
            x, inside = inside(x, generator), None
        key = n_rows, self.module.settled
        if key not in self._tapes:
            capacity = max(1, min(_TAPE_STEPS, _TAPE_NUMBERS // max(1, x.numel())))
            self._tapes[key] = Tape(capacity, self._device)
            self._tapes[key].rewind(derive_seed(generator.initial_seed(), n_rows))
        tape = self._tapes[key]
        tape.prepare()

        def step(batch: Tensor) -> None:
            tape.start()
            for name, table in self._tables.items():
                rate = table.index_select(0, self._counter)[0]
                for optimizer in self.optimizers[name]:
                    for group in optimizer.param_groups:
                        group["lr"].copy_(rate)
            self._update(batch if inside is None else inside(batch, tape), tape)
            self._counter.add_(1)
            tape.end()

        if n_rows not in self._graphs and self._is_worth_a_graph(key):
            self._capture_step(x, step)
        if n_rows in self._graphs:
            static, replay = self._graphs[n_rows]
            static.copy_(x)
            replay()
        else:
            step(x)
        self._seen[key] = self._seen.get(key, 0) + 1
        self._n_steps_done += 1
        self._n_rows += n_rows

    def _is_worth_a_graph(self, key: tuple[int, bool]) -> bool:
        # a weight that is warming up is a number that a graph would keep
        return (
            self._capturable
            and key[1]
            and self._seen.get(key, 0) >= _EAGER_STEPS
            and self._planned - self._n_steps_done >= GRAPH_MIN_STEPS
        )

    def _capture_step(self, x: Tensor, step: Callable[[Tensor], None]) -> None:
        static = x.clone()
        try:
            self._graphs[len(x)] = static, self._capture(lambda: step(static))
        except Exception as error:
            self._capturable = False
            warnings.warn(
                f"The training step of {type(self.module).__name__} cannot be captured as a CUDA graph, and "
                f"runs without one, more slowly: {error.__context__ or error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _capture(self, function: Callable[[], None]) -> Callable[[], Any]:
        """Record what the function does on the device, without doing it."""
        graph = torch.cuda.CUDAGraph()
        # in the stream that the steps run in, so that gradients meet in it
        with torch.cuda.graph(
            graph,
            stream=torch.cuda.current_stream(self._device),
            capture_error_mode="thread_local",
        ):
            function()
        return graph.replay

    def _adam(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, fused=_can_fuse(parameters), capturable=True)

    def _set_rate(self, player: str, rate: float) -> None:
        for optimizer in self.optimizers[player]:
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(rate, dtype=torch.float32, device=self._device)


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Within the block a CUDA device works in a stream of its own, as capturing asks for."""
    if device.type != "cuda":
        yield
        return
    # one for all fits, for memory is kept by stream
    stream = _side_streams.setdefault(device, torch.cuda.Stream(device))
    outside = torch.cuda.current_stream(device)
    stream.wait_stream(outside)
    try:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            yield
    finally:
        outside.wait_stream(stream)


_side_streams: dict[torch.device, torch.cuda.Stream] = {}


# ---------------------------------------------------------------------------
# Numbers that are none
# ---------------------------------------------------------------------------


def check_finite(record: dict[str, float], epoch: int) -> None:
    """Raise ValueError if a term of an epoch is not finite."""
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        # name the term that caused it rather than the loss that sums it up
        culprit = next((name for name in bad if name != "loss"), bad[0])
        raise ValueError(not_finite(f"the term {culprit!r} ({record[culprit]})", epoch))


def not_finite(what: str, epoch: int) -> str:
    """What to say of a training that diverged."""
    return (
        f"Training diverged: {what} is not finite after epoch {epoch + 1}. Lower learning_rate_init, or "
        "scale the data (scaling='auto', or a StandardScaler before this step)."
    )
