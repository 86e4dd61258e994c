"""Part ``synthetic`` of ``tables.py``: rows of several methods, judged against held-out real rows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import _tables_data
import numpy as np
import pandas as pd
from _harness import markdown_table
from _tables_bench import OURS, Bench, Cell, autoencoder, fewer, mean_over_tables, split, table_of_means
from _tables_rivals import with_holes, without_holes
from scipy.stats import norm

ELSEWHERE = ("TVAE", "CTGAN")
SHARED = ("training rows", "shuffled columns", "Gaussian copula")
METHODS = (*SHARED, *ELSEWHERE, *OURS)
# heading: whether less is better (None: neither), what it says
MEASURES = {
    "columns": (False, "mean similarity of a column's values: 1 is best (`column_similarity`)"),
    "pairs": (False, "mean similarity of a pair of columns: 1 is best (`pair_similarity`)"),
    "use": (
        False,
        "accuracy on held-out real rows of a classifier fitted on the rows (`train_on_synthetic`)",
    ),
    "detection": (True, "ROC AUC of telling the rows from held-out real ones: 0.5 is best (`detection_auc`)"),
    "nearest": (
        None,
        "distance to the nearest training row, over that of held-out rows (`nearest_record_ratio`): about 1 "
        "is what new rows have, less is near to copies, more is far from any row",
    ),
    "copies": (None, "share of rows that are in the training rows (`exact_copy_rate`)"),
}


def gaussian_copula(train: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Return rows of a Gaussian copula with the columns' own distributions.

    Numbers have normal scores by rank. A level has an interval as long as its share, the frequent ones first,
    and a row a random place in it. New rows are normal with the scores' correlations.
    """
    rows, discrete = without_holes(train)
    n = len(rows)
    scores = np.empty(rows.shape)
    for j, name in enumerate(rows):
        if name in discrete:
            shares = rows[name].value_counts(normalize=True)
            ends = shares.cumsum()
            place = (ends - shares)[rows[name]].to_numpy() + generator.random(n) * shares[
                rows[name]
            ].to_numpy()
        else:
            place = (rows[name].rank().to_numpy() - 0.5) / n
        scores[:, j] = norm.ppf(np.clip(place, 1e-6, 1 - 1e-6))
    correlations = np.nan_to_num(np.atleast_2d(np.corrcoef(scores, rowvar=False)))
    np.fill_diagonal(correlations, 1)
    places = norm.cdf(generator.multivariate_normal(np.zeros(rows.shape[1]), correlations, n, method="eigh"))
    found: dict[str, Any] = {}
    for j, name in enumerate(rows):
        if name in discrete:
            shares = rows[name].value_counts(normalize=True)
            index = np.searchsorted(shares.cumsum().to_numpy(), places[:, j])
            found[name] = shares.index.to_numpy()[np.minimum(index, len(shares) - 1)]
        else:
            found[name] = np.quantile(rows[name], places[:, j])
    return with_holes(pd.DataFrame(found), train)


def make(cell: Cell, train: pd.DataFrame) -> pd.DataFrame:
    """Return as many rows as there are to train on."""
    generator = np.random.default_rng(cell.seed)
    if cell.method == "training rows":
        return train
    if cell.method == "shuffled columns":
        return pd.DataFrame(
            {name: train[name].sample(frac=1, random_state=generator).array for name in train}
        )
    if cell.method == "Gaussian copula":
        return gaussian_copula(train, generator)
    has_holes = bool(train.isna().any(axis=None))
    model = autoencoder(cell.method, cell.seed).fit(train)
    return model.sample(len(train), missing_values=has_holes, random_state=cell.seed)


def rows_of(bench: Bench, cell: Cell) -> bool:
    """Have a method's rows and seconds in files; whether they are there."""
    train, _ = split(cell)
    output = bench.path(cell, ".parquet", "rows")

    def here() -> dict[str, Any]:
        start = time.process_time()
        rows = make(cell, train)
        seconds = time.process_time() - start
        output.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(output)
        return {"cpu": seconds}

    def elsewhere() -> dict[str, Any]:
        return bench.rows_elsewhere(cell, output, train=train)

    if cell.method in ELSEWHERE:
        if bench.pythons["synthetic"] is None and bench.known(cell, "rows") is None:
            return False
        return "failed" not in bench.kept(cell, elsewhere, "rows")
    bench.kept(cell, here, "rows")
    return True


def judge(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Return the measures of a method's rows."""
    from skswae.metrics import (
        column_similarity,
        detection_auc,
        exact_copy_rate,
        nearest_record_ratio,
        pair_similarity,
        train_on_synthetic,
    )

    train, test = split(cell)
    rows = pd.read_parquet(bench.path(cell, ".parquet", "rows"))
    return {
        "columns": float(np.mean(list(column_similarity(test, rows).values()))),
        "pairs": float(np.mean(list(pair_similarity(test, rows).values()))),
        "use": float(train_on_synthetic(rows, test, _tables_data.load(cell.table).target)),
        "detection": float(detection_auc(test, rows)),
        "nearest": float(nearest_record_ratio(rows, train, test)),
        "copies": float(exact_copy_rate(rows, train)),
        "cpu": bench.known(cell, "rows")["cpu"],
    }


def cells(bench: Bench, methods: Sequence[str]) -> list[Cell]:
    """Return what is to be measured, the first seed of all tables first."""
    chosen = [method for method in METHODS if method in methods]
    return [Cell("synthetic", t, m, s) for m in chosen for s in bench.seeds for t in bench.tables]


def measure(bench: Bench, methods: Sequence[str], only_rows: bool = False) -> None:
    """Measure what is not there yet."""
    todo = cells(bench, methods)
    there = [cell for cell in todo if rows_of(bench, cell)]
    for cell in [] if only_rows else there:
        bench.kept(cell, lambda cell=cell: judge(bench, cell))


def values(bench: Bench, name: str) -> dict[str, dict[str, list[float]]]:
    """Return a measure by method and table."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells(bench, METHODS):
        result = bench.known(cell)
        if result is not None:
            found.setdefault(cell.method, {}).setdefault(cell.table, []).append(result[name])
    return found


def lines(bench: Bench) -> list[str]:
    """Return the part's section of the page."""
    found = [
        "## Synthetic rows",
        "",
        "As many rows as there are to train on. The measures are those of `skswae.metrics`, against "
        "held-out real "
        "rows; mean ± standard deviation over seeds. Training rows say what the measures can reach "
        "on new rows; "
        "they are no synthetic rows, and the last two measures tell. Shuffled columns have each column's "
        "distribution and no dependence. The Gaussian copula uses each column's own distribution. "
        "TVAE and CTGAN have their defaults. Where a table has missing cells every method draws some: "
        "the copula, TVAE and CTGAN by a column that tells of them.",
        "",
    ]
    tables = list(bench.tables)
    means = {name: mean_over_tables(values(bench, name), METHODS, tables) for name in (*MEASURES, "cpu")}
    head = ["method", *MEASURES, "CPU seconds"]
    rows = [[m, *("" if np.isnan(v[m]) else f"{v[m]:.3f}" for v in means.values())] for m in METHODS]
    found += ["### Means over tables", "", *markdown_table(head, [r for r in rows if any(r[1:])])]
    found += fewer(values(bench, "use"), METHODS, tables)
    for name, (lower, meaning) in MEASURES.items():
        found += [f"### {name.capitalize()}", "", f"{meaning[0].upper()}{meaning[1:]}.", ""]
        found += table_of_means(values(bench, name), METHODS, tables, lower=lower, beside=SHARED[:2])
        if name == "copies":
            found += [f"Of held-out rows: {', '.join(held_out_copies(bench))}.", ""]
    return [*found, *comparison(bench)]


def held_out_copies(bench: Bench) -> list[str]:
    """Return by table the share of held-out rows that are in the training rows."""
    from skswae.metrics import exact_copy_rate

    found = {}
    for table in bench.tables:
        splits = [split(Cell("synthetic", table, "", seed)) for seed in bench.seeds]
        found[table] = np.mean([exact_copy_rate(test, train) for train, test in splits])
    return [f"{table} {share:.3f}" for table, share in found.items()]


def comparison(bench: Bench) -> list[str]:
    """Return where each of ours is behind TVAE, by table, on the splits that both have."""
    found = ["### Beside TVAE", ""]
    for name in ("columns", "pairs", "use"):
        for method in OURS:
            gaps: dict[str, list[float]] = {}
            for table, seed in itertools.product(bench.tables, bench.seeds):
                both = [bench.known(Cell("synthetic", table, m, seed)) for m in (method, "TVAE")]
                if all(both):
                    gaps.setdefault(table, []).append(both[0][name] - both[1][name])
            if not gaps:
                continue
            gap = {table: float(np.mean(of_seeds)) for table, of_seeds in gaps.items()}
            behind = ", ".join(f"{t} ({g:+.3f})" for t, g in gap.items() if g < 0) or "none"
            found.append(
                f"- {name}, {method}: {np.mean(list(gap.values())):+.3f} on the mean. Behind on: {behind}."
            )
    return [*found, ""]
