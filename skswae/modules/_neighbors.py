"""The neighbour term: codes of neighbouring rows are drawn together, and codes of others pushed apart.

UMAP's cross-entropy [1]_ between how far rows are neighbours and how far their codes are, on codes of an
encoder, as in its parametric form [2]_. Where rows are few, a row is drawn to rows between two of its
neighbours, not to the neighbours themselves: an encoder learns few training rows by heart, and maps others
somewhere.

References
----------
.. [1] L. McInnes, J. Healy, J. Melville. UMAP: Uniform Manifold Approximation and Projection for Dimension
   Reduction. 2018. arXiv:1802.03426.
.. [2] T. Sainburg, L. McInnes, T. Gentner. Parametric UMAP Embeddings for Representation and Semisupervised
   Learning. Neural Computation 2021. arXiv:2009.12981.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from skswae._device import arithmetic
from skswae._processes import current_part, drawn_for_rows, gathered
from skswae._random import make_generator
from skswae.data._loader import Loader

Terms = dict[str, Tensor]

A, B = 1.5769434603, 0.8950608779
"""q(d) = 1 / (1 + A d^(2 B)) is closest to 1 up to d = 0.1 and exp(0.1 - d) beyond: UMAP's defaults."""

_REPULSION = 5.0  # pairs that are pushed apart for each that is drawn together, as in UMAP
_MOST_OTHERS = 256  # rows of a batch that each row is pushed away from: a bound on memory
_EXACT_ROWS = 10_000  # up to which all rows are compared with all
_CELL_ROWS, _CELLS = 256, 16  # of the search among more: rows a cell on average, and cells looked at
_MOST_CELLS = 4096
_FEW_ROWS = 5000  # up to which every draw is between two neighbours
_BLOCK = 2**21  # numbers of a block of distances
_ROUNDS = 40  # of the bisection, each of which halves an error


def neighbor_loss(z: Tensor, z_neighbor: Tensor) -> Tensor:
    """Return UMAP's cross-entropy of codes, per pair that is drawn together.

    mean_n -log q(|z_n - z'_n|)  +  5 mean_{n != m} -log(1 - q(|z_n - z_m|)),   q(d) = 1 / (1 + A d^(2 B))

    Parameters
    ----------
    z : Tensor of shape (n, k)
        Codes, which are pushed apart. Each is compared with the first 256 of the batch.
    z_neighbor : Tensor of shape (n, k)
        Codes of neighbours of the same rows, which they are drawn to.

    Returns
    -------
    loss : Tensor of shape ()
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    z, z_neighbor = z.to(dtype), z_neighbor.to(dtype)
    # both sums are about 0 where a root would have no gradient
    together = (z - z_neighbor).square().sum(dim=1) + 1e-12
    attraction = torch.log1p(A * together**B).mean()
    n, others = len(z), z[:_MOST_OTHERS]
    if n < 2:
        return attraction
    apart = (z[:, None] - others).square().sum(dim=2) + 1e-3  # (n, m)
    repulsion = torch.log1p(1.0 / (A * apart**B))
    own = torch.diagonal(repulsion).sum()
    return attraction + _REPULSION * (repulsion.sum() - own) / ((n - 1) * len(others))


def memberships(distances: Tensor) -> Tensor:
    """Return how far neighbours of each row are neighbours, by their distances: (n, k) -> (n, k), in [0, 1].

    exp(-max(0, d - rho) / sigma), with rho the smallest distance of a row above 0, and sigma such that they
    sum to log2(k) (section 3.1 of UMAP's paper, which then joins both rows' views of a pair; here each row
    draws by its own).
    """
    d = distances.double()
    positive = torch.where(d > 0, d, torch.inf).amin(dim=1, keepdim=True)
    beyond = (d - torch.where(positive.isfinite(), positive, 0.0)).clamp(min=0.0)
    target = math.log2(d.shape[1])
    least = 1e-3 * d.mean(dim=1, keepdim=True) + 1e-100
    low, high = least, 1e4 * least + beyond.amax(dim=1, keepdim=True)
    for _ in range(_ROUNDS):
        middle = (low * high).sqrt()
        too_wide = torch.exp(-beyond / middle).sum(dim=1, keepdim=True) > target
        low, high = torch.where(too_wide, low, middle), torch.where(too_wide, middle, high)
    return torch.exp(-beyond / low).to(distances.dtype)


def nearest_rows(h: Tensor, n_neighbors: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the distances and the numbers of each row's nearest other rows: (n, m) -> (n, k), (n, k).

    Exact up to 10,000 rows. Among more, a row is compared with those of the 16 closest cells of a partition
    (k-means of some rows), of 256 rows on average up to a million rows and of more beyond. Cells of more than
    1,024 are cut into parts. The 16, or more until they hold enough rows, are then parts: those of the own
    cell first, then the first part of each of the closest others.
    """
    n = len(h)
    every = torch.arange(n, device=h.device)
    if n <= _EXACT_ROWS:
        return _nearest_of(h, every, every, n_neighbors)
    h = h - h.mean(dim=0)  # about a distant origin cells would be rounding
    distances = h.new_empty((n, n_neighbors))
    index = torch.empty((n, n_neighbors), dtype=torch.int64, device=h.device)
    with arithmetic(h.device):  # what follows is in double
        centers = _centers(h, min(n // _CELL_ROWS, _MOST_CELLS), seed)
        cell = _cells(h, centers)
    members = torch.argsort(cell, stable=True)
    ends = torch.bincount(cell, minlength=len(centers)).cumsum(0).tolist()
    parts: list[Tensor] = []
    cells: list[int] = []
    firsts: list[bool] = []  # whether a part is the first of its cell
    for number, (begin, end) in enumerate(zip([0, *ends], ends)):
        cut = members[begin:end].split(4 * _CELL_ROWS) if end > begin else ()
        parts += cut
        cells += [number] * len(cut)
        firsts += [place == 0 for place in range(len(cut))]
    cell, first = (torch.tensor(values, device=h.device) for values in (cells, firsts))
    of_parts = centers[cell].double()
    for number, own in enumerate(parts):
        order = _squared(of_parts[number][None], of_parts)[0].argsort(stable=True)
        order = order[order != number]  # those of its own cell come first
        taken = (first | (cell == cell[number]))[order]
        others = torch.cat([order[taken], order[~taken]]).tolist()
        keys = torch.cat([own, *(parts[other] for other in others[: _CELLS - 1])])
        for other in others[_CELLS - 1 :]:  # at least enough of them
            if len(keys) > n_neighbors:
                break
            keys = torch.cat([keys, parts[other]])
        distances[own], index[own] = _nearest_of(h, own, keys, n_neighbors)
    return distances, index


def _nearest_of(h: Tensor, queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return distances and numbers of the k rows nearest to each of some, among others, but itself."""
    # in double, for products would round off the distances within groups that are far from each other
    u, found = h[keys].double(), []
    center = u.mean(dim=0)
    u -= center
    for own in queries.split(max(1, _BLOCK // max(len(u), k * h.shape[1]))):
        squared = _squared(h[own].double() - center, u).masked_fill_(own[:, None] == keys, torch.inf)
        nearest = keys[squared.topk(k, dim=1, largest=False).indices]
        exact = (h[nearest].double() - h[own][:, None]).square().sum(dim=2)  # 0 for equal rows
        value, place = exact.sort(dim=1, stable=True)
        found.append((value.sqrt_().to(h.dtype), nearest.gather(1, place)))
    distances, index = zip(*found)
    return torch.cat(distances), torch.cat(index)


def _squared(q: Tensor, u: Tensor) -> Tensor:
    """Return squared distances, to rounding: (n, m), (K, m) -> (n, K)."""
    return (q.square().sum(dim=1, keepdim=True) + u.square().sum(dim=1)).addmm_(q, u.T, alpha=-2.0)


def _cells(rows: Tensor, centers: Tensor) -> Tensor:
    """Return the number of the center closest to each row: (n, m), (n_cells, m) -> (n,)."""
    parts = rows.split(max(1, _BLOCK // len(centers)))
    return torch.cat([_squared(part, centers).argmin(dim=1) for part in parts])


def _centers(h: Tensor, n_cells: int, seed: int) -> Tensor:
    """Return the centers of a k-means partition of some rows: (n_cells, m)."""
    drawn = torch.randperm(len(h), generator=make_generator(seed))[: 8 * n_cells]
    rows = h[drawn.to(h.device)].cpu()  # sums on a GPU depend on the order of its threads
    centers = rows[:n_cells].clone()
    for _ in range(5):
        cell = _cells(rows, centers)
        count = torch.bincount(cell, minlength=n_cells)
        total = torch.zeros_like(centers).index_add_(0, cell, rows)
        centers = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], centers)
    return centers.to(h.device)


class NeighborGraph:
    """The nearest neighbours of rows, and draws of them.

    Parameters
    ----------
    h : Tensor of shape (n, m)
        The rows, as the encoders see them.
    n_neighbors : int
        Neighbours of a row; never more than there are other rows.
    labels : Tensor of shape (n,), int64, or None, default=None
        Classes of rows from 0 on, and -1 for those without one.
    target_weight : float in [0, 1), default=0.0
        Weight w of the classes: a neighbour of another class counts exp(-5 w / (1 - w)) times as much, and
        one where either has none exp(-w / (1 - w)) times: at w = 1/2 these are the defaults of UMAP.
    seed : int, default=0
        Of the search among many rows.
    n_rows : int or None, default=None
        How many rows there are in all, if these are a part. None: n.
    """

    def __init__(
        self,
        h: Tensor,
        n_neighbors: int,
        labels: Tensor | None = None,
        target_weight: float = 0.0,
        seed: int = 0,
        n_rows: int | None = None,
    ):
        self.h = h
        self.n_rows = len(h) if n_rows is None else n_rows
        k = min(n_neighbors, len(h) - 1)
        if k < 1:
            self.index = torch.zeros((len(h), 1), dtype=torch.int64, device=h.device)
            self.shares = h.new_ones((len(h), 1))
            return
        distances, self.index = nearest_rows(h, k, seed)
        logs = memberships(distances).double().clamp_(min=1e-30).log_()
        if labels is not None and target_weight > 0.0:
            own, other = labels[:, None], labels[self.index]
            unknown = (own < 0) | (other < 0)
            w = target_weight / (1.0 - target_weight)
            logs -= torch.where(unknown, w, torch.where(own == other, 0.0, 5.0 * w))
        # all neighbours may be of other classes
        weights = torch.softmax(logs, dim=1).to(h.dtype)
        self.shares = weights.cumsum(dim=1)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return a row near each of these rows: (n,), int64 -> (n, m).

        It is between two neighbours, which are drawn by their memberships: each of its numbers is that of one
        or the other. Of more than 5,000 rows there are enough, and only 5,000 / n of the draws are such; the
        others are the first neighbour itself.
        """
        shares, h = self.shares[rows], self.h
        uniform = functools.partial(torch.rand, device=h.device, generator=generator)
        u = drawn_for_rows(len(rows), lambda n: uniform((2, n, 1)), dim=1)
        place = (u > shares).sum(dim=2).clamp(max=shares.shape[1] - 1)  # (2, n)
        first, second = (h[self.index[rows, own]] for own in place)
        whole = drawn_for_rows(len(rows), lambda n: uniform((n, 1))) * self.n_rows >= _FEW_ROWS
        coin = drawn_for_rows(len(rows), lambda n: uniform((n, h.shape[1]))) < 0.5
        return torch.where(whole | coin, first, second)


class NeighborTerm(nn.Module):
    """The neighbour term of a module's objective.

    Distances are of codes times a number that is learned, so that a code whose scale the objective fixes, as
    a standard normal prior does, is not torn from it.

    Parameters
    ----------
    weight : float
        Above 0.
    scale : float
        Where that number starts.

    Attributes
    ----------
    log_scale : nn.Parameter of shape ()
        Logarithm of that number.
    unit : Tensor of shape ()
        What the weight is a multiple of: what it costs to decode every row to the mean row.
    """

    unit: Tensor

    def __init__(self, weight: float, scale: float):
        super().__init__()
        self.weight = float(weight)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.register_buffer("unit", torch.ones(()))

    def added(self, terms: Terms, z: Tensor, z_neighbor: Tensor) -> Terms:
        """Return the terms of a loss with this one added to "loss" and beside it, unweighted."""
        scale = self.log_scale.exp()
        loss = neighbor_loss(scale * z, scale * z_neighbor)
        return {**terms, "loss": terms["loss"] + self.weight * self.unit * loss, "neighbor_loss": loss}


class WithNeighbors:
    """Prepare a batch, and put beside each row what the encoders see of one near it.

    Parameters
    ----------
    preprocess : callable of (raw, generator)
        Maps a raw batch to rows in the units of the networks: (n, d).
    loader : Loader
        Tells which rows the batch has.
    graph : NeighborGraph
        Of all rows of the training.
    """

    def __init__(self, preprocess: Any, loader: Loader, graph: NeighborGraph):
        self.preprocess = preprocess
        self.loader = loader
        self.graph = graph

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        x = self.preprocess(raw, generator)
        return torch.cat([x, self.graph.draw(self.loader.index, generator)], dim=1)


class WithNeighborsInBatch:
    """The same with the neighbours that are in the batch.

    Parameters
    ----------
    preprocess, loader
        As those of :class:`WithNeighbors`; the numbers of rows are needed for labels alone.
    module : AutoencoderModule
    n_rows : int
        Rows of the training.
    n_neighbors, labels, target_weight
        As the parameters of :class:`NeighborGraph`; labels are of all rows.
    """

    def __init__(
        self,
        preprocess: Any,
        module: Any,
        loader: Loader,
        n_rows: int,
        n_neighbors: int,
        labels: Tensor | None = None,
        target_weight: float = 0.0,
    ):
        self.preprocess = preprocess
        self.module = module
        self.loader = loader
        self.n_rows = n_rows
        self.n_neighbors = n_neighbors
        self.labels = labels
        self.target_weight = target_weight

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        x = self.preprocess(raw, generator)
        labels = None if self.labels is None else gathered(self.labels[self.loader.index])
        part = current_part()
        with torch.no_grad(), arithmetic(x.device):
            h = gathered(self.module.front(x))
            graph = NeighborGraph(h, self.n_neighbors, labels, self.target_weight, n_rows=self.n_rows)
            first = 0 if part is None else part.start
            near = graph.draw(torch.arange(first, first + len(x), device=x.device), generator)
        return torch.cat([x, near], dim=1)
