"""The closest of many rows: Step 2 of SWAE's Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skswae._torch import arithmetic


def closest(queries: Tensor, keys: Tensor, metric: str, square_norms: Tensor | None = None) -> Tensor:
    """Step 2 of Algorithm 1: the index of the closest key for each query, at the cost of one matrix product.

    A product in float32 loses distances that are small beside the rows' norms. On the CPU those that its
    rounding leaves undecided, few unless the rows are clusters far tighter than their norms, are computed
    again in float64, so that the result is exact. A GPU's is float32's: looking would make the host wait.

    Parameters
    ----------
    queries : Tensor of shape (n, d)
    keys : Tensor of shape (K, d)
    metric : {"euclidean", "cosine"}
        "cosine" is the largest cosine similarity; a zero vector is equally similar to everything.
    square_norms : Tensor of shape (K,), optional
        ||u_k||^2, if they are known.

    Returns
    -------
    index : Tensor of shape (n,), int64
        One of the closest keys, if several are equally close.
    """
    queries, keys = queries.detach(), keys.detach()
    if queries.dtype == torch.float64 or (
        not queries.is_cuda and len(queries) * keys.numel() < _FEW_PRODUCTS
    ):
        return _closest_in_float64(queries, keys, metric)
    if square_norms is None:
        square_norms = keys.square().sum(dim=1)
    block = max(256, _NUMBERS // max(1, len(queries)))  # of keys: larger ones leave the caches
    best = second = queries.new_full((len(queries),), -torch.inf)
    index = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    with torch.autocast(queries.device.type, enabled=False):
        for start in range(0, len(keys), block):
            part = slice(start, start + block)
            similarity = _similarities(queries, keys[part], metric, square_norms[part])  # (n, block)
            found = _argmax(similarity)
            value = similarity.gather(1, found[:, None]).squeeze(1)
            runner_up = similarity.scatter_(1, found[:, None], -torch.inf).amax(dim=1)
            second = torch.maximum(torch.maximum(second, runner_up), torch.minimum(best, value))
            index = torch.where(value > best, found + start, index)
            best = torch.maximum(best, value)
    if queries.is_cuda:
        return index
    # each of the two has at most d roundings of products that sum to |q| |u|, and a few more
    reach = queries.norm(dim=1)  # (n,)
    if metric == "euclidean":
        longest = square_norms.max().sqrt()
        reach = (reach + longest) * longest
    else:
        reach = 2.0 * reach  # the norms of the keys are rounded too
    slack = (queries.shape[1] + 4) * torch.finfo(best.dtype).eps * reach
    undecided = torch.nonzero(~(best - second > slack)).squeeze(1)
    at_once = max(1, _NUMBERS // len(keys))
    for start in range(0, len(undecided), at_once):
        rows = undecided[start : start + at_once]
        if len(keys) <= block:
            near = similarity[rows]
        else:
            near = _similarities(queries[rows], keys, metric, square_norms)
        near = near >= (best - slack)[rows, None]
        near.scatter_(1, index[rows, None], True)
        index[rows] = _closest_of(queries[rows], keys, metric, near)
    return index


_NUMBERS = 2**21  # a bound on the similarities held at a time
_FEW_PRODUCTS = 2**22  # up to which a product in float64 takes less time than to look at float32's


def _argmax(similarity: Tensor) -> Tensor:
    """The index of the largest number of each row: (n, K) -> (n,)."""
    if similarity.is_cuda:
        return similarity.argmax(dim=1)
    return torch.from_numpy(similarity.numpy().argmax(axis=1))  # 10 times as fast as torch's


def _similarities(queries: Tensor, keys: Tensor, metric: str, square_norms: Tensor) -> Tensor:
    """What is largest for the closest key, in the dtype of the queries: (n, K)."""
    if metric == "cosine":
        inverse = square_norms.sqrt().clamp_min(1e-12).reciprocal()
        with arithmetic(queries.device):
            return (queries @ keys.T).mul_(inverse.to(queries.dtype))
    # ||q - u||^2 = ||q||^2 - 2 (q.u - ||u||^2 / 2)
    with arithmetic(queries.device):  # not in TF32
        return torch.addmm((-0.5 * square_norms).to(queries.dtype), queries, keys.T)


def _closest_in_float64(queries: Tensor, keys: Tensor, metric: str) -> Tensor:
    """:func:`closest` by a product in float64: (n,)."""
    queries, keys = queries.double(), keys.double()
    if metric == "euclidean":  # from an origin near the data: large numbers lose digits
        origin = keys.mean(dim=0)
        queries, keys = queries - origin, keys - origin
    return _argmax(_similarities(queries, keys, metric, keys.square().sum(dim=1)))


def _closest_of(queries: Tensor, keys: Tensor, metric: str, near: Tensor) -> Tensor:
    """:func:`closest` in float64 among the keys that ``near``, of shape (n, K), allows: (n,)."""
    row, column = torch.nonzero(near, as_tuple=True)
    if len(row) > 32 * len(queries) or len(row) * keys.shape[1] > 8 * _NUMBERS:  # the product is cheaper
        return _closest_in_float64(queries, keys, metric)
    q, u = queries[row].double(), keys[column].double()
    if metric == "euclidean":
        distance = (q - u).square().sum(dim=1)
    else:
        distance = -(q * nn.functional.normalize(u, dim=1)).sum(dim=1)
    smallest = distance.new_full((len(queries),), torch.inf).scatter_reduce_(0, row, distance, "amin")
    equal = distance == smallest[row]
    first = torch.full_like(smallest, len(keys), dtype=torch.int64)
    # not a number is closest to the last one
    return first.scatter_reduce_(0, row[equal], column[equal], "amin").clamp_(max=len(keys) - 1)
