"""Principal components of training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from skswae.data._scaler import TrainingRows


@dataclass(frozen=True)
class PrincipalComponents:
    """placeholder until merged."""

    mean: Tensor
    directions: Tensor
    variances: Tensor
    total_variance: float
    n_rows: int


def principal_components(data: TrainingRows, n_components: int, seed: int) -> PrincipalComponents:
    x = data.choose(10_000, seed).double()
    mean = x.mean(dim=0)
    c = (x - mean).T @ (x - mean) / (len(x) - 1)
    v, u = torch.linalg.eigh(c)
    v, u = v.flip(0), u.flip(1)
    r = min(n_components, int((v > 1e-12 * v[0]).sum()), len(x) - 1)
    return PrincipalComponents(mean, u[:, :r].T.contiguous(), v[:r], float(v.sum()), len(x))
