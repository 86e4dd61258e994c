"""One update of all players from one batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from skswae._device import arithmetic
from skswae._processes import active, row_weight
from skswae.training._optimizers import make_optimizer, one_cycle, rises, set_rate

Moments = dict[str, dict[str, dict[str, Any]]]
"""The tensors that the optimiser of each player keeps for each of its parameters, by the parameter's name."""


class TrainableModule(Protocol):
    """The methods of a module that the loop and the step call; AutoencoderModule has all of them."""

    learning_rates: dict[str, float]

    @property
    def objective_is_final(self) -> bool: ...

    @property
    def objective_is_steady(self) -> bool: ...

    @property
    def device(self) -> torch.device: ...

    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, dict[str, Tensor]]]: ...

    def training_losses(
        self, batch: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]: ...

    def players(self) -> dict[str, list[nn.Parameter]]: ...

    def after_step(self) -> None: ...

    def before_epoch(self, epoch: int) -> None: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def named_buffers(self) -> Iterable[tuple[str, Tensor]]: ...


class Preprocess(Protocol):
    """A function that is applied to each batch first."""

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor: ...


class TrainingStep:
    """Forward, backward, reduce and update for each player in turn, and the means of their terms.

    Parameters
    ----------
    module : TrainableModule
    solver : {"adam", "normalized_adam"}
        See :mod:`skswae.training._optimizers`.
    precision : {"float32", "tf32", "bf16"}
        What float32 products round to on a CUDA device: "tf32" or nothing.
    """

    def __init__(self, module: TrainableModule, solver: str = "adam", precision: str = "float32"):
        self.module = module
        self.solver = solver
        self.precision = precision
        # a player whose parameters are all frozen has nothing to move
        free = {name: [p for p in own if p.requires_grad] for name, own in module.players().items()}
        self.players = {name: own for name, own in free.items() if own}
        self.optimizers = {name: make_optimizer(solver, own) for name, own in self.players.items()}
        self._names_of = {parameter: name for name, parameter in module.named_parameters()}
        self.schedulers: dict[str, torch.optim.lr_scheduler.OneCycleLR] = {}
        self.preprocess: Preprocess | None = None
        self._terms: list[str] = []  # they may change from epoch to epoch
        self._total: Tensor | None = None  # of each term, over rows
        self._n_rows: float = 0

    def prepare_training(
        self,
        preprocess: Preprocess | None,
        learning_rate: float,
        n_steps: int | None,
        n_steps_to_come: int = 0,
    ) -> None:
        """Begin a course of rates.

        ``preprocess`` is applied to each batch first. ``learning_rate`` is the constant rate, or the peak
        of one cycle of ``n_steps`` if they are given, of each player without a rate of its own in
        ``module.learning_rates``. ``n_steps_to_come`` is what preparations must pay with.
        """
        self.preprocess = preprocess
        self.schedulers = {}
        for name, optimizer in self.optimizers.items():
            rate = float(self.module.learning_rates.get(name, learning_rate))
            if n_steps is None:
                set_rate(optimizer, rate)
            else:
                self.schedulers[name] = one_cycle(optimizer, rate, n_steps)

    def begin_epoch(self) -> None:
        """Set the sums to zero."""
        if self._total is not None:
            self._total.zero_()
        self._n_rows = 0

    def __call__(self, raw: Tensor, generator: torch.Generator) -> None:
        """Update from one batch, without waiting for the device."""
        x = raw if self.preprocess is None else self.preprocess(raw, generator)
        self.update(x, generator)
        for scheduler in self.schedulers.values():
            scheduler.step()
        self._n_rows += counted(x)

    @property
    def rate_rises(self) -> bool:
        """Whether the rate of a player is before the peak of its cycle."""
        return any(map(rises, self.schedulers.values()))

    def end_epoch(self) -> dict[str, float]:
        """Return the means over rows of all players' terms; the first player's under their own names."""
        assert self._total is not None
        group, n_rows = active(), self._n_rows
        if group is not None:
            n_rows = sum(group.gather(n_rows))
            group.combine(self._total)
            group.average_statistics(self.module)
        return dict(zip(self._terms, (self._total / n_rows).tolist()))

    def arithmetic(self) -> contextlib.AbstractContextManager[None]:
        """Return a block in which the module computes in the step's precision; keep it short."""
        return arithmetic(self.module.device, self.precision)

    def update(self, x: Tensor, generator: torch.Generator) -> None:
        """Move every player once: what a CUDA graph records."""
        with self.arithmetic():
            self._update(x, generator)

    def _update(self, x: Tensor, generator: torch.Generator) -> None:
        values = []
        for player, terms in self.module.training_losses(x, generator):
            if player in self.players:
                self.optimizers[player].zero_grad(set_to_none=True)
                terms["loss"].backward(inputs=self.players[player])
                self.reduce(self.players[player])
                self.optimizers[player].step()
                self.module.after_step()
            values.append((player, {name: value.detach() for name, value in terms.items()}))
        total = torch.stack([v for _, terms in values for v in terms.values()]).double() * counted(x)
        first = values[0][0]
        names = [("" if p == first else f"{p}_") + n for p, terms in values for n in terms]
        if self._total is not None and names == self._terms:
            self._total.add_(total)
            return
        if self._n_rows:
            raise ValueError(
                f"The losses of {type(self.module).__name__} must have the same terms in all batches of an "
                f"epoch. Got {', '.join(self._terms)}, then {', '.join(names)}."
            )
        self._terms, self._total = names, total

    def reduce(self, parameters: list[nn.Parameter]) -> None:
        """Make the gradients those of the whole batch, if several processes have parts of it."""
        group = active()
        if group is not None:
            group.sum_gradients(parameters)

    def end_training(self) -> None:
        """Let go of the training rows, the gradients and the course of rates."""
        self.preprocess, self.schedulers = None, {}
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    # -- state ---------------------------------------------------------------

    def moments(self) -> Moments:
        """Return what the optimisers keep; not a copy."""
        return {
            player: {self._names_of[p]: self.optimizers[player].state[p] for p in own}
            for player, own in self.players.items()
        }

    def set_moments(self, moments: Moments, memory: Moments | None = None) -> None:
        """Copy the moments of another step on such a module, into given memory where it fits.

        A parameter that was frozen there, or is of another size, starts anew.
        """
        for player, own in self.players.items():
            kept, spare = moments.get(player, {}), (memory or {}).get(player, {})
            for parameter in own:
                name = self._names_of[parameter]
                if name in kept and _fits(kept[name], parameter):
                    copies = _copied(kept[name], parameter, spare.get(name, {}))
                    self.optimizers[player].state[parameter] = copies

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a step on another copy of the module can go on from."""
        return {
            "moments": self.moments(),
            "steps": {name: scheduler.last_epoch for name, scheduler in self.schedulers.items()},
            "rates": {name: float(o.param_groups[0]["lr"]) for name, o in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another step stood, in the course of rates that :meth:`prepare_training` began."""
        self.set_moments(state["moments"])
        for name, optimizer in self.optimizers.items():
            set_rate(optimizer, state["rates"][name])
        for name, scheduler in self.schedulers.items():
            scheduler.last_epoch = state["steps"][name]


def counted(x: Tensor) -> float:
    """Return how many rows a batch counts for: fewer than it has where several processes have the same."""
    return len(x) * row_weight()


def on_host(moments: Moments) -> Moments:
    """Return the moments with their tensors in the host's memory; those that are there are not copied."""
    return {
        player: {
            name: {key: value.cpu() if isinstance(value, Tensor) else value for key, value in kept.items()}
            for name, kept in own.items()
        }
        for player, own in moments.items()
    }


def _fits(moments: dict[str, Any], parameter: Tensor) -> bool:
    return all(value.ndim == 0 or value.shape == parameter.shape for value in moments.values())


def _layout(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.stride(), tensor.device, tensor.dtype


def _copied(moments: dict[str, Any], parameter: Tensor, memory: dict[str, Any]) -> dict[str, Any]:
    """Copy what an optimiser keeps for a parameter, to the parameter's device and layout."""
    copies = {}
    for name, value in moments.items():
        # the fused Adam takes the parameters' layout for granted
        shaped = value.shape == parameter.shape
        like = parameter if shaped else value.to(parameter.device)
        own = memory.get(name)
        if own is None or _layout(own) != (like.shape, like.stride(), like.device, value.dtype):
            own = torch.empty_like(like, dtype=value.dtype)
        copies[name] = own.copy_(value)
    return copies
