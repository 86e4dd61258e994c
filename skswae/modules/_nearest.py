"""The closest of many rows: Step 2 of SWAE's Algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skswae._device import arithmetic

_BLOCK = 512  # keys at a time: bounds memory, and stays in the caches


def closest(queries: Tensor, keys: Tensor, metric: str, seen: Tensor | None = None) -> Tensor:
    """Return the index of the closest key for each query, at the cost of one matrix product.

    The product is computed in the dtype of the queries, about the mean of the keys where distances count, so
    that float32 tells keys apart that differ by more than its rounding of their distance from that mean.

    Parameters
    ----------
    queries : Tensor of shape (n, d)
    keys : Tensor of shape (K, d)
    metric : {"euclidean", "cosine"}
        "cosine" is the largest cosine similarity; a zero vector is equally similar to everything.
    seen : Tensor of shape (n, d) or None, default=None
        1 for each number of a query that the Euclidean distance is over, 0 for others; None is all.

    Returns
    -------
    index : Tensor of shape (n,), int64
        One of the closest keys, if several are equally close.
    """
    queries, keys = queries.detach(), keys.detach().to(queries.dtype)
    if metric == "euclidean" and seen is not None:
        origin = torch.zeros_like(keys[0])  # which would be another one for each query
        queries = queries * seen
    elif metric == "euclidean":
        # about a distant origin a product loses digits
        origin = keys.mean(dim=0)
        queries = queries - origin
    best = queries.new_full((len(queries),), -torch.inf)
    index = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    with arithmetic(queries.device), torch.autocast(queries.device.type, enabled=False):
        for start in range(0, len(keys), _BLOCK):
            part = keys[start : start + _BLOCK]
            if metric == "euclidean":
                # ||q - u||^2 = ||q||^2 - 2 (q.u - ||u||^2 / 2)
                part = part - origin
                if seen is None:
                    offset = torch.linalg.vector_norm(part, dim=1).square().mul_(-0.5)
                else:
                    offset = torch.mm(seen, part.square().T).mul_(-0.5)
                similarity = torch.addmm(offset, queries, part.T)  # (n, block)
            else:
                similarity = queries @ nn.functional.normalize(part, dim=1).T
            found = _argmax(similarity)
            value = similarity.gather(1, found[:, None]).squeeze(1)
            index = torch.where(value > best, found + start, index)
            best = torch.maximum(best, value)
    return index


def _argmax(similarity: Tensor) -> Tensor:
    """Return the index of the largest number of each row: (n, K) -> (n,)."""
    if similarity.is_cuda:
        return similarity.argmax(dim=1)
    return torch.from_numpy(similarity.numpy().argmax(axis=1))  # 10 times as fast as torch's
