"""The units of SWAE at the start: of its cost, and of its code."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skswae._random import normal_like
from skswae.data._scaler import TrainingRows
from skswae.modules._builder import evaluation_mode
from skswae.modules._distributions import free_log_variance

_SMALLEST_UNIT = 0.1


def cost_of_the_mean(data: TrainingRows, reconstruction: str) -> float:
    """Return what decoding every row to the mean row costs more than perfect decoding, per feature.

    1/(N d) sum_n [c(x_n, mean) - c(x_n, x_n)]: the features' mean variance for the squared error; for the
    cross-entropy the mean divergence of Bernoulli distributions with x_n and with the mean.
    """
    if reconstruction == "squared_error":
        return data.total_variance() / data.n_features
    mean = data.mean()

    def excess(p: Tensor, q: Tensor) -> Tensor:
        return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()

    rows = map(torch.Tensor.double, data.batches())
    total = sum(excess(x, mean) + excess(1.0 - x, 1.0 - mean) for x in rows)
    return float(total) / (len(data) * data.n_features)


@torch.no_grad()
def start_in_balance(module: Any, x: Tensor, generator: torch.Generator) -> None:
    """Start the prior on its floor, where both losses lead it, and the code in the unit that they want.

    In c times PCA's unit the z-loss is c^2 times the squared distance of codes from their prior's mean,
    and the prior's noise costs the x-loss c^-2 times what it does in PCA's. Their weighted sum is least
    where the two are equal. Elsewhere the code moves there by training, with a decoder that lags behind.

    Parameters
    ----------
    module : SWAEModule
        Its linear paths are at PCA's solution.
    x : Tensor of shape (n, d)
    generator : torch.Generator
    """
    k, floor = module.n_components, module.prior_scale_floor
    encoder, prior, decoder = (part.linear for part in (module.encoder, module.prior, module.decoder))
    prior.bias[k:] = free_log_variance(torch.tensor(2.0 * math.log(floor)), floor)
    with evaluation_mode(module):
        z = module.encode_x(x)
        cell = module.assign(module.front(x))
        mean, _ = module.conditional_prior(module.pseudo_inputs.rows[cell])  # (n, k)
        noise = floor * normal_like(mean, generator)
        # both signs: what is linear in the noise cancels
        costs = (module.head.cost(x, module.decoder(mean + e)).double().mean() for e in (noise, -noise, 0.0))
        above, below, without = costs
    blur = module.beta * (0.5 * (above + below) - without)
    started = encoder.weight.any(dim=1)  # other components keep a network's output, which has no unit
    pull = module.weight() * (z - mean)[:, started].double().square().sum(dim=1).mean()
    # no further: the rates suit codes of about PCA's unit, and few rows may all be pseudo-inputs
    unit = float((blur / pull).clamp(_SMALLEST_UNIT**4, 1.0)) ** 0.25 if blur > 0.0 else 1.0
    for codes in (encoder.weight, encoder.bias, prior.weight[:k], prior.bias[:k]):
        codes *= unit
    decoder.weight /= unit
