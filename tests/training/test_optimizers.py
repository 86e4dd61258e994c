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
    return [
        cosine(peak / 25, peak, step / top)
        if step <= top
        else cosine(peak, peak / 25e4, (step - top) / (n_steps - top))
        for step in range(n_steps)
    ]


@pytest.mark.parametrize("n_steps", [1, 2, 3, 9, 40, 1000])
@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_one_cycle(n_steps, kind):
    """A tensor is filled, as a CUDA graph needs, which goes on reading it where it is."""
    lr = torch.tensor(1.0, dtype=torch.float64) if kind == "tensor" else 1.0
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(()))], lr=lr)
    scheduler, rates = one_cycle(optimizer, 0.5, n_steps), []
    for _ in range(n_steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates, course(n_steps, 0.5), rtol=1e-9)
    set_rate(optimizer, 0.25)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert (optimizer.param_groups[0]["lr"] is lr) == (kind == "tensor")


def test_a_cycle_may_follow_a_cycle():
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(()))])
    for n_steps, peak in [(9, 0.5), (20, 0.01)]:
        scheduler, rates = one_cycle(optimizer, peak, n_steps), []
        for _ in range(n_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        np.testing.assert_allclose(rates, course(n_steps, peak), rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
def test_solvers(solver, rng):
    """Adam as its paper has it; the second divides the gradient of each tensor by its norm first."""
    starts = [rng.normal(size=(3, 4)), rng.normal(size=5), rng.normal(size=2)]
    parameters = [nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = make_optimizer(solver, parameters)
    set_rate(optimizer, 0.1)
    m, v, x = ([0.0, 0.0] for _ in range(3))
    x[:] = starts[:2]
    for t in range(1, 6):
        gradients = [1e3 * rng.normal(size=(3, 4)), 1e-7 * rng.normal(size=5)]
        for i, gradient in enumerate(gradients):
            parameters[i].grad = torch.tensor(gradient)
            if solver == "normalized_adam":
                gradient = gradient / (np.sqrt((gradient**2).sum()) + 1e-7)
            m[i] = 0.9 * m[i] + 0.1 * gradient
            v[i] = 0.999 * v[i] + 0.001 * gradient**2
            x[i] = x[i] - 0.1 * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        optimizer.step()
    for parameter, expected in zip(parameters, [*x, starts[2]]):  # the last never had a gradient
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-9)
