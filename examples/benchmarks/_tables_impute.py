"""Part ``impute`` of ``tables.py``: held-out cells that were taken away, filled by several methods."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _tables_data
import numpy as np
import pandas as pd
from _harness import markdown_table
from _tables_bench import OURS, Bench, Cell, autoencoder, mean_over_tables, table_of_means
from _tables_code import ByKind, HandCoder, IndexCoder
from _tables_rivals import is_category
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (its import enables the next)
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge, LogisticRegression

MAX_ROWS = 2000  # the forests and HyperImpute take minutes a table with more
SHARE = 0.2
PATTERNS = {
    "at random": "each cell is as likely to be missing (completely at random)",
    "by a column": "a cell is missing by the rank of another column, which has no holes (at random)",
    "high values": "a cell is missing by the rank of its own value; levels are ranked in a drawn order "
    "(not at random)",
}
ELSEWHERE = {"HyperImpute": "hyperimpute"}
HERE = ("mean, mode", "KNNImputer", "IterativeImputer", "IterativeImputer, forest")
METHODS = (*HERE, *ELSEWHERE, *OURS)
SHOWN = (*HERE, *OURS)  # in tables of means


def ranks(column: pd.Series, generator: np.random.Generator) -> np.ndarray:
    """Return a column's mid-ranks in [0, 1], of levels in a drawn order; missing cells have 0.5."""
    if is_category(column):
        levels = column.dropna().unique()
        column = column.astype(object).map(dict(zip(levels, generator.permutation(len(levels)))))
    share = (column.astype(float).rank() - 0.5) / column.notna().sum()
    return share.fillna(0.5).to_numpy()


def holes(frame: pd.DataFrame, pattern: str, seed: int) -> np.ndarray:
    """Return which cells are taken away: SHARE of each column's on the mean, none of those missing before."""
    generator = np.random.default_rng([seed, 18])
    chances = np.full(frame.shape, SHARE)
    if pattern == "by a column":
        whole = [
            j for j, name in enumerate(frame) if not is_category(frame[name]) and frame[name].notna().all()
        ]
        driver = int(generator.choice(whole))
        place = ranks(frame.iloc[:, driver], generator)
        for j in range(frame.shape[1]):
            chances[:, j] *= 2 * (place if generator.random() < 0.5 else 1 - place)
        chances[:, driver] = 0
    elif pattern == "high values":
        for j in range(frame.shape[1]):
            chances[:, j] *= 2 * ranks(frame.iloc[:, j], generator)
    return (generator.random(frame.shape) < chances) & frame.notna().to_numpy()


def prepared(cell: Cell) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, np.ndarray, list[str]]:
    """Return training and held-out rows with holes, the latter without, gone cells, whole-number columns."""
    table = _tables_data.load(cell.table)
    if len(table.frame) > MAX_ROWS:
        table = table._replace(frame=table.frame.sample(MAX_ROWS, random_state=cell.seed))
    whole = [name for name in table.frame if pd.api.types.is_integer_dtype(table.frame[name])]
    booleans = [name for name in table.frame if table.frame[name].dtype == bool]
    dtypes = dict.fromkeys(whole, float) | dict.fromkeys(booleans, "boolean")
    frame = table.frame.astype(dtypes).reset_index(drop=True)
    gone = holes(frame, cell.pattern, cell.seed)
    index_train, index_test = (
        part.index.to_numpy()
        for part in _tables_data.parts(frame, table.frame[table.target].to_numpy(), cell.seed)
    )
    with_holes = frame.mask(gone)
    train = with_holes.iloc[index_train].reset_index(drop=True)
    test = with_holes.iloc[index_test].reset_index(drop=True)
    true = frame.iloc[index_test].reset_index(drop=True)
    return train, test, true, gone[index_test], whole


def fill(cell: Cell, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return the held-out rows without holes."""
    if cell.method in OURS:
        return autoencoder(cell.method, cell.seed).fit(train).impute(test)
    if cell.method.startswith("IterativeImputer"):
        # tol is a share of the largest value, which is a level's index here
        more = {"initial_strategy": "median", "tol": 0.0, "random_state": cell.seed}
        if cell.method == "IterativeImputer":
            imputer = IterativeImputer(ByKind(BayesianRidge(), LogisticRegression()), **more)
        else:
            forest = {"n_estimators": 50, "max_features": 1 / 3, "random_state": cell.seed}
            by_kind = ByKind(
                RandomForestRegressor(min_samples_leaf=3, **forest), RandomForestClassifier(**forest)
            )
            imputer = IterativeImputer(by_kind, max_iter=5, **more)
        coder = IndexCoder(train)
    else:
        imputer = SimpleImputer() if cell.method == "mean, mode" else KNNImputer()
        coder = HandCoder(train)
    imputer.fit(coder.encode(train))
    return coder.decode(imputer.transform(coder.encode(test)))


def errors(
    filled: pd.DataFrame, true: pd.DataFrame, gone: np.ndarray, scales: pd.Series, whole: Sequence[str]
) -> dict[str, Any]:
    """Return the error of each column's taken cells, and their means.

    That of numbers is the root of the mean squared error over the column's standard deviation, in whole
    numbers where the column has such; that of categories the share of wrong cells.
    """
    by_kind: dict[str, dict[str, float]] = {"numbers": {}, "categories": {}}
    for j, name in enumerate(true):
        rows = np.flatnonzero(gone[:, j])
        if not len(rows):
            continue
        a, b = filled[name].iloc[rows], true[name].iloc[rows]
        if is_category(true[name]):
            by_kind["categories"][name] = float(np.mean(a.astype(str).to_numpy() != b.astype(str).to_numpy()))
        else:
            a = a.astype(float).to_numpy()
            a = np.rint(a) if name in whole else a
            by_kind["numbers"][name] = float(np.sqrt(np.mean((a - b.to_numpy()) ** 2)) / scales[name])
    means = {kind: float(np.mean(list(found.values()))) for kind, found in by_kind.items()}
    together = [error for found in by_kind.values() for error in found.values()]
    return {
        **means,
        "all": float(np.mean(together)),
        "by_column": {**by_kind["numbers"], **by_kind["categories"]},
    }


def measure_cell(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Fill a cell's held-out rows and judge them."""
    train, test, true, gone, whole = prepared(cell)
    scales = pd.concat([train, true]).select_dtypes("float").std(ddof=0)
    if cell.method in ELSEWHERE:
        output = bench.path(cell, ".parquet")
        asked = cell._replace(method=ELSEWHERE[cell.method])
        more = bench.rows_elsewhere(asked, output, train=train, test=test)
        if "failed" in more:
            return more
        filled = pd.read_parquet(output)
        output.unlink()
    else:
        start = time.process_time()
        filled = fill(cell, train, test)
        more = {"cpu": time.process_time() - start}
    return {**errors(filled, true, gone, scales, whole), **more}


def cells(bench: Bench, methods: Sequence[str]) -> list[Cell]:
    """Return what is to be measured, the first seed of all tables and patterns first."""
    chosen = [method for method in METHODS if method in methods]
    return [
        Cell("impute", table, method, seed, pattern)
        for method in chosen
        for seed in bench.seeds
        for pattern in PATTERNS
        for table in bench.tables
    ]


def measure(bench: Bench, methods: Sequence[str]) -> None:
    """Measure what is not there yet."""
    for cell in cells(bench, methods):
        if bench.pythons["impute"] is not None or cell.method not in ELSEWHERE:
            bench.kept(cell, lambda cell=cell: measure_cell(bench, cell))


def values(bench: Bench, name: str, pattern: str | None = None) -> dict[str, dict[str, list[float]]]:
    """Return an error by method and table, of one pattern or of all."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells(bench, METHODS):
        result = bench.known(cell) if pattern in (None, cell.pattern) else None
        if result is not None and name in result:
            found.setdefault(cell.method, {}).setdefault(cell.table, []).append(result[name])
    return found


def common_splits(bench: Bench) -> Bench:
    """Return the results of those splits that every method has, of the methods that have a whole one."""

    def whole(method: str, seed: int) -> bool:
        places = ((table, pattern) for table in bench.tables for pattern in PATTERNS)
        return all(bench.known(Cell("impute", t, method, seed, p)) is not None for t, p in places)

    having = [{seed for seed in bench.seeds if whole(method, seed)} for method in SHOWN]
    seeds = set.intersection(*filter(None, having)) if any(having) else ()
    return Bench(bench.results, {}, bench.tables, sorted(seeds))


def lines(bench: Bench) -> list[str]:
    """Return the part's section of the page."""
    every, bench, tables = bench, common_splits(bench), list(bench.tables)
    found = [
        "## Missing cells",
        "",
        f"{SHARE:.0%} of the cells are taken away, in training and in held-out rows, and every method "
        "sees both "
        f"with holes; at most {MAX_ROWS} rows of a table. Error of the held-out cells: of numbers the "
        "root of the "
        "mean squared error over the column's standard deviation (whole numbers where the column has "
        "such), of "
        "categories the share that is wrong; mean over columns. Less is better. "
        f"Of {len(bench.seeds)} splits, which every method has. Patterns:",
        "",
        *(f"- {name}: {meaning}." for name, meaning in PATTERNS.items()),
        "",
        "scikit-learn's methods see numbers standardised. KNNImputer sees categories one-hot. "
        "IterativeImputer has "
        "an estimator by the kind of column: BayesianRidge and LogisticRegression in 10 rounds, or "
        "random forests "
        "of 50 trees in 5 rounds.",
        "",
        "### Means over tables",
        "",
    ]
    columns = {
        pattern: mean_over_tables(values(bench, "all", pattern), SHOWN, tables) for pattern in PATTERNS
    }
    for name in ("all", "numbers", "categories", "cpu"):
        columns[name] = mean_over_tables(values(bench, name), SHOWN, tables)
    best = np.nanmin([*columns["all"].values(), np.inf])
    rows = []
    for method in SHOWN:
        row = [column[method] for column in columns.values()]
        if not np.isnan(row).all():
            over = columns["all"][method] / best - 1
            texts = ["" if np.isnan(v) else f"{v:.3f}" for v in row]
            rows.append([method, *texts, "" if np.isnan(over) else f"{over:+.1%}"])
    head = ["method", *PATTERNS, "all patterns", "numbers", "categories", "CPU seconds", "over the best"]
    found += markdown_table(head, rows)
    for pattern in PATTERNS:
        found += [f"### Holes: {pattern}", ""]
        found += table_of_means(values(bench, "all", pattern), SHOWN, tables, lower=True)
    return found + elsewhere(every, HERE[1:] + OURS[:1])


def elsewhere(bench: Bench, others: Sequence[str]) -> list[str]:
    """Return the results of other packages' methods, of those cells that they have, beside others'."""
    rows = []
    for cell in cells(bench, list(ELSEWHERE)):
        results = [bench.known(cell._replace(method=m)) or {} for m in (cell.method, *others)]
        if "all" in results[0]:
            errors = [f"{r['all']:.3f}" if "all" in r else "" for r in results]
            rows.append([cell.table, cell.pattern, cell.seed, *errors, f"{results[0]['cpu']:.0f}"])
    if not rows:
        return []
    names = ", ".join(ELSEWHERE)
    text = f"{names} has its defaults, and is told of categories. Each takes minutes: there are few."
    head = ["table", "holes", "split", *ELSEWHERE, *others, f"CPU seconds of {names}"]
    return [f"### Beside {names}", "", text, "", *markdown_table(head, rows)]
