"""Adam as the two solvers want it, and the course of its rate."""

from __future__ import annotations

import torch
from torch import nn

_NORM_MARGIN = 1e-7
_RISE = 0.3  # share of the steps of a cycle in which its rate rises


class NormalizedAdam(torch.optim.Adam):
    """Adam on gradients each of which is divided by its Euclidean norm, plus 1e-7, first.

    The optimiser of the public code of Tomczak & Welling (AISTATS 2018), and of what was built on it.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Normalise the gradient of each tensor in place, then take Adam's step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.div_(parameter.grad.norm() + _NORM_MARGIN)
        return super().step(closure)


SOLVERS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "normalized_adam": NormalizedAdam}


def make_optimizer(solver: str, parameters: list[nn.Parameter]) -> torch.optim.Adam:
    """Make the optimiser that the ``solver`` parameter names, in one kernel where the device has it.

    On a GPU its rate is a tensor there and its steps are counted there, as a CUDA graph needs.
    """
    devices = {p.device for p in parameters}
    fused = all(d.type in ("cpu", "cuda") for d in devices) and all(p.is_floating_point() for p in parameters)
    if all(d.type == "cuda" for d in devices) and devices:
        lr = torch.tensor(1e-3, dtype=torch.float32, device=devices.pop())
        return SOLVERS[solver](parameters, lr=lr, fused=fused, capturable=True)
    return SOLVERS[solver](parameters, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate; a tensor is filled, since a CUDA graph reads it where it is."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def one_cycle(
    optimizer: torch.optim.Optimizer, peak: float, n_steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Make the course of the rate: a cosine rise from 1/25 of the peak over 30 % of the steps, then a fall.

    It ends near a 250,000th of the peak. L. Smith, N. Topin, "Super-convergence", 2018.
    """
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=n_steps + 1, pct_start=_RISE, cycle_momentum=False
    )


def rises(scheduler: torch.optim.lr_scheduler.OneCycleLR) -> bool:
    """Return whether the rate of the next step lies before the peak of its cycle."""
    return scheduler.last_epoch < _RISE * scheduler.total_steps - 1
