"""The parts of a fit that a neighbour term adds: classes, the numbers of a batch's rows, their neighbours."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from skswae._device import arithmetic
from skswae._plan import Plan
from skswae._random import named_seed
from skswae.data import DataSource
from skswae.data._loader import Loader, make_loader
from skswae.data._local import in_memory
from skswae.data._scaler import TrainingRows
from skswae.data._source import Subset, chunk_rows
from skswae.modules._base import AutoencoderModule
from skswae.modules._neighbors import NeighborGraph, WithNeighbors, WithNeighborsInBatch
from skswae.training._step import Preprocess


def check_batches(estimator: Any) -> None:
    """Raise ValueError where batches have no two rows that the term could push apart."""
    if estimator.neighbor_weight and estimator.batch_size == 1:
        raise ValueError(
            "The 'batch_size' parameter must be at least 2 with neighbor_weight above 0, for the term pushes "
            "the codes of a batch's rows apart. Got 1."
        )


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
        raise ValueError(
            f"The 'target_weight' parameter must be 0 unless neighbor_weight is above 0. Got {w!r}."
        )
    if y is None:
        raise ValueError(
            f"The 'y' argument must hold the class of each row, or -1 for none, with target_weight={w!r}. "
            "Got None."
        )
    try:
        if isinstance(y, list | tuple):  # of which NumPy would make texts if one is
            y = np.array(y, dtype=object)
        y = column_or_1d(y, warn=True)
        if y.dtype == object:
            if not (all(isinstance(v, str) for v in y) or all(isinstance(v, Real) for v in y)):
                raise TypeError("Got values of several types, or missing ones.")
            y = np.array(y.tolist())
        if y.dtype.kind == "f" and np.isnan(y).any():
            raise ValueError("Got NaN.")
        kind = type_of_target(y, input_name="y")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The 'y' argument must hold numbers or texts, and none missing, with target_weight={w!r}. Where "
            f"rows are without a class, give the classes numbers from 0 on, and these rows -1. {error}"
        ) from error
    check_consistent_length(np.empty(n_rows), y)
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"The 'y' argument must hold classes with target_weight={w!r}. Got values of the type {kind!r}."
        )
    known, numbers = np.unique(y, return_inverse=True)
    if known.dtype.kind in "if" and (known == -1).any():
        unlabelled = int(np.flatnonzero(known == -1)[0])
        numbers = np.where(numbers == unlabelled, -1, numbers)
    return numbers.astype(np.int64)


def labels_of(labels: np.ndarray | None, rows: DataSource, data: DataSource) -> np.ndarray | None:
    """Return the class numbers of the rows that early stopping trains on, given those of all.

    Raises
    ------
    ValueError
        If a source of one's own has divided them, so that nobody knows which they are.
    """
    if labels is None:
        return None
    if not (isinstance(rows, Subset) and rows.source is data):
        raise ValueError(
            "The 'X_val' argument must hold the rows of early stopping with target_weight above 0 and a data "
            f"source that splits itself, for the classes of its parts are not known. Got a "
            f"{type(data).__name__} alone."
        )
    return labels[rows.index]


def _in_batches(plan: Plan, loader: Loader) -> bool:
    """Return whether neighbours are looked for in each batch: in parts of the rows, and in streams."""
    return plan.n_epochs is not None or not in_memory(loader.source)


def map_loader(plan: Plan, module: AutoencoderModule, rows: TrainingRows, device: torch.device) -> Loader:
    """Return a loader, which tells the numbers of a batch's rows where a neighbour term needs them."""
    loader = make_loader(rows.source, device, plan.local)
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
    n_neighbors, w = int(estimator.n_neighbors), float(estimator.target_weight)
    if _in_batches(plan, loader):
        return WithNeighborsInBatch(preprocess, module, loader, len(rows), n_neighbors, labels, w)
    h = torch.empty((len(rows), module.front.n_inputs), dtype=torch.float32, device=module.device)
    n = chunk_rows(rows.n_features)
    with torch.no_grad():
        for part, raw in zip(h.split(n), loader.all_rows(n)):
            with arithmetic(module.device):  # float32, whatever the precision of the training
                part.copy_(module.front(rows.prepare(raw)))
        graph = NeighborGraph(h, n_neighbors, labels, w, seed=named_seed(seed, "neighbors"))
    return WithNeighbors(preprocess, loader, graph)


def judged_with_neighbors(
    estimator: Any, module: AutoencoderModule, preprocess: Preprocess, loader: Loader, n_rows: int
) -> Preprocess:
    """Return the preparation of held-out rows, whose neighbours are those in a batch of them."""
    if module.neighbors is None:
        return preprocess
    return WithNeighborsInBatch(preprocess, module, loader, n_rows, int(estimator.n_neighbors))
