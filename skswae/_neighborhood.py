"""What a fit with a neighbour term needs besides: numbers of rows with each batch, neighbours, classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from skswae._plan import Plan
from skswae._random import named_seed
from skswae.data import DataSource
from skswae.data._array import in_memory
from skswae.data._loader import Loader
from skswae.data._scaler import TrainingRows
from skswae.data._source import Subset, chunk_rows
from skswae.modules._base import AutoencoderModule
from skswae.modules._neighbors import NeighborGraph, WithNeighbors
from skswae.training._step import Preprocess


def class_numbers(estimator: Any, y: Any, n_rows: int) -> np.ndarray | None:
    """Return the number of each row's class from 0 on, -1 for none: (n,); None if classes do not count.

    Raises
    ------
    ValueError
        If they count and are not there, not one for each row, or no classes.
    """
    w = estimator.target_weight
    if w == 0.0:
        return None
    if estimator.neighbor_weight == 0.0:
        raise ValueError(f"The 'target_weight' parameter must be 0 without neighbor_weight. Got {w!r}.")
    if y is None:
        raise ValueError(
            f"The 'y' argument must hold the class of each row, or -1 for none, with target_weight={w!r}. "
            "Got None."
        )
    y = column_or_1d(y, warn=True)
    check_consistent_length(np.empty(n_rows), y)
    if type_of_target(y, input_name="y") not in ("binary", "multiclass"):
        raise ValueError(
            f"The 'y' argument must hold classes with target_weight={w!r}. Got values of the type "
            f"{type_of_target(y)!r}."
        )
    known, numbers = np.unique(y, return_inverse=True)
    if known.dtype.kind in "if" and (known == -1).any():
        unlabelled = int(np.flatnonzero(known == -1)[0])
        numbers = np.where(numbers == unlabelled, -1, numbers)
    return numbers.astype(np.int64)


def labels_of(labels: np.ndarray | None, rows: DataSource) -> np.ndarray | None:
    """Return the class numbers of some rows of those that they are of."""
    return labels[rows.index] if labels is not None and isinstance(rows, Subset) else labels


def _in_batches(plan: Plan, loader: Loader) -> bool:
    """Return whether neighbours are looked for in each batch: in parts of the rows, and in streams."""
    return plan.n_epochs is not None or not in_memory(loader.source)


def map_loader(plan: Plan, module: AutoencoderModule, rows: TrainingRows, device: torch.device) -> Loader:
    """Return a loader, which tells the numbers of a batch's rows where a neighbour term needs them."""
    loader = Loader(rows.source, device)
    by_number = plan.labels is not None or not _in_batches(plan, loader)
    loader.keeps_index = module.neighbors is not None and by_number
    return loader


def with_neighbors(
    estimator: Any,
    plan: Plan,
    module: AutoencoderModule,
    rows: TrainingRows,
    preprocess: Preprocess,
    loader: Loader,
    seed: int,
) -> Preprocess:
    """Return the preparation of batches; with a neighbour term one that adds rows near those of a batch."""
    if module.neighbors is None:
        return preprocess
    labels = None if plan.labels is None else torch.from_numpy(plan.labels).to(module.device)
    how = int(estimator.n_neighbors), labels, float(estimator.target_weight)
    graph = None
    if not _in_batches(plan, loader):
        raws = loader.in_order(chunk_rows(rows.n_features))
        h = torch.cat([module.front(rows.prepare(raw)) for raw in raws])
        graph = NeighborGraph(h, *how, seed=named_seed(seed, "neighbors"))
    return WithNeighbors(preprocess, module, loader, graph, *how)
