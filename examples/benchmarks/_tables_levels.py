"""Part ``levels`` of ``tables.py``: what a category of many levels costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _tables_data
import numpy as np
import pandas as pd
from _harness import markdown_table
from _tables_bench import Bench, Cell, autoencoder

TABLE = "diamonds"
LEVELS = (2, 10, 100, 1000)
METHODS = ("TableAutoencoder, SWAE",)


def with_levels(n_levels: int, seed: int) -> pd.DataFrame:
    """Return a table with one column more, of that many levels that say nothing of the others."""
    frame = _tables_data.load(TABLE).frame
    drawn = np.random.default_rng([seed, n_levels]).permutation(np.arange(len(frame)) % n_levels)
    return frame.assign(level=pd.Categorical.from_codes(drawn, [f"level {i}" for i in range(n_levels)]))


def measure_cell(cell: Cell) -> dict[str, Any]:
    """Fit a table for 5 epochs, encode it, and draw as many rows."""
    frame = with_levels(int(cell.pattern), cell.seed)
    model = autoencoder(cell.method, cell.seed)
    model.estimator.set_params(max_iter=5)
    found: dict[str, Any] = {}
    steps = {
        "fit": lambda: model.fit(frame),
        "transform": lambda: model.transform(frame),
        "sample": lambda: model.sample(len(frame), random_state=0),
    }
    for name, step in steps.items():
        before = time.process_time()
        step()
        found[name] = time.process_time() - before
    found["weights"] = sum(weight.numel() for weight in model.estimator_.module_.parameters())
    return found


def measure(bench: Bench, methods: Sequence[str]) -> None:
    """Measure every cell that is not known."""
    for seed in bench.seeds:
        for n_levels in LEVELS:
            cell = Cell("levels", TABLE, METHODS[0], seed, str(n_levels))
            bench.kept(cell, lambda cell=cell: measure_cell(cell))


def lines(bench: Bench) -> list[str]:
    """Return the section of the page."""
    rows = []
    for n_levels in LEVELS:
        cells = [Cell("levels", TABLE, METHODS[0], seed, str(n_levels)) for seed in bench.seeds]
        known = [result for result in map(bench.known, cells) if result is not None]
        if known:
            medians = [float(np.median([r[k] for r in known])) for k in ("fit", "transform", "sample")]
            weights = known[0]["weights"]
            rows.append([n_levels, *(f"{m:.2f}" for m in medians), f"{weights / 1e6:.2f}"])
    if not rows:
        return []
    text = (
        f"The table {TABLE} with one column more, whose levels say nothing of the others: CPU seconds "
        "(medians over seeds) of a fit of 5 epochs, and of encoding and drawing as many rows; millions of "
        "weights."
    )
    head = ["levels", "fit", "transform", "sample", "weights"]
    return ["## Many levels", "", text, "", *markdown_table(head, rows)]
