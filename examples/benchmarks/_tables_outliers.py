"""Part ``outliers`` of ``tables.py``: rare or disturbed rows among the others, found without labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _tables_data
import numpy as np
import pandas as pd
from _harness import markdown_table
from _tables_bench import OURS, Bench, Cell, autoencoder, fewer, mean_over_tables, table_of_means
from _tables_code import HandCoder
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

SHARE = 0.05
METHODS = ("IsolationForest", "LocalOutlierFactor", "nearest neighbours", "PCA", *OURS)


def rare_class(table: _tables_data.Table, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table without its target, with so few rows of the rare class that they are SHARE of all."""
    rare = (table.frame[table.target] == table.rare).to_numpy(dtype=bool)
    others = np.flatnonzero(~rare)
    n_rare = round(len(others) * SHARE / (1 - SHARE))
    chosen = np.random.default_rng(seed).choice(np.flatnonzero(rare), n_rare, replace=False)
    rows = np.sort(np.r_[others, chosen])
    return table.frame.iloc[rows].drop(columns=table.target).reset_index(drop=True), rare[rows]


def disturbed(table: _tables_data.Table, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table in which SHARE of the rows have half of their cells from other rows, and which."""
    generator = np.random.default_rng(seed)
    frame = table.frame.copy()
    n, n_columns = frame.shape
    rows = np.sort(generator.choice(n, round(n * SHARE), replace=False))
    chosen = np.argsort(generator.random((len(rows), n_columns)), axis=1) < n_columns // 2
    for j, name in enumerate(frame):
        donors = generator.integers(n, size=chosen[:, j].sum())
        frame.loc[rows[chosen[:, j]], name] = table.frame[name].iloc[donors].array
    return frame, np.isin(np.arange(n), rows)


def outlyingness(cell: Cell, frame: pd.DataFrame) -> np.ndarray:
    """Return a number per row, larger for outliers, of a method fitted to the same rows."""
    if cell.method in OURS:
        return -autoencoder(cell.method, cell.seed).fit(frame).score_samples(frame)
    X = SimpleImputer().fit_transform(HandCoder(frame).encode(frame))
    if cell.method == "IsolationForest":
        return -IsolationForest(random_state=cell.seed).fit(X).score_samples(X)
    if cell.method == "LocalOutlierFactor":
        return -LocalOutlierFactor().fit(X).negative_outlier_factor_
    if cell.method == "nearest neighbours":
        distances, _ = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(X)
        return distances[:, 1:].mean(axis=1)
    pca = PCA(0.9, random_state=cell.seed).fit(X)
    return np.square(X - pca.inverse_transform(pca.transform(X))).sum(axis=1)


def measure_cell(cell: Cell) -> dict[str, Any]:
    """Fit a method to all rows and rank them."""
    table = _tables_data.load(cell.table)
    frame, outlier = (disturbed if table.rare is None else rare_class)(table, cell.seed)
    start = time.process_time()
    found = outlyingness(cell, frame)
    seconds = time.process_time() - start
    precision = average_precision_score(outlier, found)
    return {"auc": float(roc_auc_score(outlier, found)), "precision": float(precision), "cpu": seconds}


def cells(bench: Bench, methods: Sequence[str]) -> list[Cell]:
    """Return what is to be measured, the first seed of all tables first."""
    chosen = [method for method in METHODS if method in methods]
    return [Cell("outliers", t, m, s) for m in chosen for s in bench.seeds for t in bench.tables]


def measure(bench: Bench, methods: Sequence[str]) -> None:
    """Measure what is not there yet."""
    for cell in cells(bench, methods):
        bench.kept(cell, lambda cell=cell: measure_cell(cell))


def values(bench: Bench, name: str) -> dict[str, dict[str, list[float]]]:
    """Return a number by method and table."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells(bench, METHODS):
        result = bench.known(cell)
        if result is not None:
            found.setdefault(cell.method, {}).setdefault(cell.table, []).append(result[name])
    return found


def lines(bench: Bench) -> list[str]:
    """Return the part's section of the page."""
    tables = list(bench.tables)
    kinds = {name: _tables_data.load(name) for name in tables}
    rare = ", ".join(f"{name} ({t.target} {t.rare})" for name, t in kinds.items() if t.rare is not None)
    made = ", ".join(name for name, t in kinds.items() if t.rare is None)
    means = {
        name: mean_over_tables(values(bench, name), METHODS, tables) for name in ("auc", "precision", "cpu")
    }
    rows = [[m, *("" if np.isnan(v[m]) else f"{v[m]:.3f}" for v in means.values())] for m in METHODS]
    return [
        "## Outliers",
        "",
        f"{SHARE:.0%} of the rows are outliers. A class of which few rows are left: {rare}; the "
        "column that names "
        f"it is taken away. In {made}, half of an outlier's cells come from other rows of the table, "
        "each from a row "
        "of its own: each column keeps its distribution, and what is wrong is how they go together. "
        "Methods are "
        "fitted to all rows without labels and rank the same rows. scikit-learn's see numbers standardised, "
        "categories one-hot, and means in the place of missing cells; 5 nearest neighbours, mean "
        "distance; PCA's "
        "squared error with the components that hold 90 % of the variance.",
        "",
        "### Means over tables",
        "",
        *markdown_table(
            ["method", "ROC AUC", "average precision", "CPU seconds"], [r for r in rows if any(r[1:])]
        ),
        *fewer(values(bench, "auc"), METHODS, tables),
        "### ROC AUC",
        "",
        *table_of_means(values(bench, "auc"), METHODS, tables, lower=False),
    ]
