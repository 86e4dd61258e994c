"""Pseudo-inputs: learned rows in the space of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from skswae._processes import active
from skswae._random import named_seed
from skswae.data._scaler import TrainingRows
from skswae.networks._layers import GatedLayers, GatedLinear, Linear

_BLENDED = 3  # rows of which a blend is the mean
_BLOCK = 256  # of rows whose neighbours are looked for at a time


@torch.no_grad()
def blends(rows: Tensor, pool: Tensor) -> Tensor:
    """Return the mean of each row and the two nearest in the pool that differ from it: (K, d), (N, d).

    Of fewer where the pool has no more; so a row of a pool without any other stays.
    """
    found = []
    for part in rows.split(_BLOCK):
        distances = torch.cdist(part.double(), pool.double())  # (b, N)
        equal = torch.isclose(distances, torch.zeros_like(distances), atol=1e-6)
        near, index = distances.masked_fill(equal, torch.inf).topk(
            min(_BLENDED - 1, len(pool)), largest=False
        )
        weights = near.isfinite().to(rows.dtype)  # (b, 2)
        total = part + (weights[:, :, None] * pool[index]).sum(dim=1)
        found.append(total / (1.0 + weights.sum(dim=1, keepdim=True)))
    return torch.cat(found)


class PseudoInputs(nn.Module):
    """Learned rows u_1, ..., u_K, kept within the range of the training rows.

    ``rows`` is a parameter of shape (K, d); ``lowest`` and ``highest``, of shape (d,), are the range. They
    start as rows, or with ``init="blends"`` as means of three.
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, n_pseudo_inputs: int, n_features: int, init: str = "rows"):
        super().__init__()
        self.init = init
        self.rows = nn.Parameter(torch.zeros((n_pseudo_inputs, n_features), dtype=torch.float32))
        self.register_buffer("lowest", torch.zeros(n_features, dtype=torch.float32))
        self.register_buffer("highest", torch.zeros(n_features, dtype=torch.float32))

    @torch.no_grad()
    def start(self, data: TrainingRows, front: Callable[[Tensor], Tensor], seed: int) -> None:
        """Start at training rows drawn at random, as the encoder sees them, or at blends of these."""
        K, others = len(self.rows), None
        if self.init == "blends":
            others = front(data.choose(4 * K + _BLENDED, named_seed(seed, "pseudo_input_blends")))
        self.initialize(front(data.choose(K, named_seed(seed, "pseudo_inputs"))), others)

    @torch.no_grad()
    def initialize(self, rows: Tensor, others: Tensor | None = None) -> None:
        """Start at these rows, (K, d), with their range, or at their blends with these and others, (N, d)."""
        if self.init == "blends":
            rows = blends(rows, rows if others is None else torch.cat([rows, others]))
        self.rows.copy_(rows)
        self.lowest.copy_(rows.amin(dim=0))
        self.highest.copy_(rows.amax(dim=0))

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Begin with more of them, at these rows, (m, d), which are taken into the range."""
        rows = rows.to(self.rows)
        if self.init == "blends":
            rows = blends(rows, torch.cat([rows, self.rows]))
        self.rows = nn.Parameter(torch.cat([self.rows, rows]), self.rows.requires_grad)
        self.widen([rows])

    @torch.no_grad()
    def widen(self, batches: Iterable[Tensor]) -> None:
        """Take the rows of the batches, of all processes, into the range."""
        for x in batches:
            self.lowest.copy_(torch.minimum(self.lowest, x.amin(dim=0)))
            self.highest.copy_(torch.maximum(self.highest, x.amax(dim=0)))
        group = active()
        if group is not None:
            group.combine(self.lowest, "min")
            group.combine(self.highest, "max")

    def select(self, index: Tensor) -> Tensor:
        """Return u_k of each index, differentiable: (n,) -> (n, d)."""
        return nn.functional.embedding(index, self.rows)

    def mapped(
        self, index: Tensor, function: Callable[[Tensor], tuple[Tensor, Tensor]], network: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Return what ``function``, which asks ``network``, gives for u_k of each index k: (n, ...) each.

        A network of gated layers alone is asked once for each k in use; with other layers, such as batch
        norm, it may matter how often. Not on a GPU, which would have to wait for their number.
        """
        kinds = {type(part) for part in network.modules()}
        if index.is_cuda or not kinds <= {GatedLayers, GatedLinear, Linear}:
            return function(self.select(index))
        used, position = torch.unique(index, return_inverse=True)
        first, second = function(self.select(used))
        # of an index in brackets several threads sum the gradients in any order
        return nn.functional.embedding(position, first), nn.functional.embedding(position, second)

    @torch.no_grad()
    def project(self) -> None:
        """Move the pseudo-inputs into the range, after a step of the optimiser.

        A projection, not a hard tanh inside the model: that has no gradient at the ends of the range, where
        most pixels of an image lie.
        """
        self.rows.clamp_(self.lowest, self.highest)
