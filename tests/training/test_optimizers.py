"""The two solvers, and the course of the rate, against formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skswae.training._optimizers import make_optimizer, one_cycle, set_rate


def cosine(first, last, part):
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2


def course(n_steps, peak):
    """Rates of n steps: up from a 25th over 30 % of them, down to a 250,000th, which is never reached."""
    top = 0.3 * (n_steps + 1) - 1
    rising = [cosine(peak / 25, peak, step / top) for step in range(n_steps) if step <= top]
    falling = range(len(rising), n_steps)
    return rising + [cosine(peak, peak / 25e4, (step - top) / (n_steps - top)) for step in falling]


@pytest.mark.parametrize("n_steps", [1, 2, 3, 40, 1000])
@pytest.mark.parametrize("lr", [1.0, torch.tensor(1.0, dtype=torch.float64)], ids=["number", "tensor"])
def test_one_cycle(lr, n_steps):
    """A tensor is filled, for a CUDA graph reads it where it is; a cycle may follow a cycle."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(()))], lr=lr)
    for peak in (0.5, 0.01):
        scheduler, rates = one_cycle(optimizer, peak, n_steps), []
        for _ in range(n_steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
        np.testing.assert_allclose(rates, course(n_steps, peak), rtol=1e-9)
    set_rate(optimizer, 0.25)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert (optimizer.param_groups[0]["lr"] is lr) == isinstance(lr, torch.Tensor)


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
def test_solvers(solver, rng):
    """Adam as its paper has it; the second divides the gradient of each tensor by its norm first."""
    x = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    parameters = [nn.Parameter(torch.tensor(start)) for start in [*x, np.ones(2)]]
    optimizer = make_optimizer(solver, parameters)
    set_rate(optimizer, 0.1)
    m, v = [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 6):
        for i, gradient in enumerate([1e3 * rng.normal(size=(3, 4)), 1e-7 * rng.normal(size=5)]):
            parameters[i].grad = torch.tensor(gradient)
            if solver == "normalized_adam":
                gradient = gradient / (np.sqrt((gradient**2).sum()) + 1e-7)
            m[i] = 0.9 * m[i] + 0.1 * gradient
            v[i] = 0.999 * v[i] + 0.001 * gradient**2
            x[i] = x[i] - 0.1 * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        optimizer.step()
    for parameter, expected in zip(parameters, [*x, np.ones(2)]):  # the last never has a gradient
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-9)
