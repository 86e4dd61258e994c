"""What the parts of ``tables.py`` share: kept results, other environments, means over tables."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import _harness
import _tables_data
import numpy as np
import pandas as pd

INNER = ("SWAE", "VAE", "WAE", "VampPrior", "MIM", "AE")
OURS = tuple(f"TableAutoencoder, {name}" for name in INNER)


def autoencoder(method: str, seed: int, **parameters: Any) -> Any:
    """Return an unfitted TableAutoencoder by a method's name, with settings of its default estimator."""
    import skswae
    from skswae.tabular import TableAutoencoder

    inner = getattr(skswae, f"{method.split(', ')[1]}Transformer")
    return TableAutoencoder(inner(16, early_stopping=False, device="cpu"), random_state=seed, **parameters)


class Cell(NamedTuple):
    """What is measured: a part's table, method and seed, and in part ``impute`` a pattern of holes."""

    part: str
    table: str
    method: str
    seed: int
    pattern: str = ""

    @property
    def stem(self) -> str:
        """The files' name."""
        words = [self.table, self.pattern, self.method, str(self.seed)]
        return "-".join("".join(c if c.isalnum() else "_" for c in word) for word in words if word)


class Bench:
    """The folder of results, and for the parts that have one the interpreter of another environment.

    Every result has a JSON file of its own, and one whose file is there is not measured again: delete it for
    that. Rows that methods made are kept beside it as parquet.
    """

    def __init__(
        self,
        results: pathlib.Path,
        rivals: Mapping[str, str | None],
        tables: Sequence[str],
        seeds: Sequence[int],
    ):
        self.results, self.pythons = results, rivals
        self.tables, self.seeds = tables, seeds
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def path(self, cell: Cell, suffix: str = ".json", folder: str | None = None) -> pathlib.Path:
        """Return the file of a cell."""
        return self.results / (folder or cell.part) / f"{cell.stem}{suffix}"

    def known(self, cell: Cell, folder: str | None = None) -> dict[str, Any] | None:
        """Return a kept result, None without one."""
        path = self.path(cell, folder=folder)
        return json.loads(path.read_text()) if path.exists() else None

    def kept(
        self, cell: Cell, measure: Callable[[], dict[str, Any]], folder: str | None = None
    ) -> dict[str, Any]:
        """Return a kept result, or measure it and keep it."""
        found = self.known(cell, folder)
        if found is None:
            found = {**cell._asdict(), **_harness.circumstances(), **measure()}
            _harness.put_text(self.path(cell, folder=folder), json.dumps(found, indent=1) + "\n")
            print(
                time.strftime("%H:%M:%S"), *cell, {k: v for k, v in found.items() if k == "cpu"}, flush=True
            )
        return found

    def commits(self) -> str:
        """Return at which commits of this package its kept results were measured."""
        paths = sorted(self.results.glob("*/*TableAutoencoder*.json"))
        return ", ".join(sorted({json.loads(path.read_text()).get("commit", "unknown") for path in paths}))

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return another environment's answer to a task."""
        process = self._processes.get(task["part"])
        if process is None:
            script = str(pathlib.Path(__file__).with_name("_tables_rivals.py"))
            # what the libraries there print (progress, warnings) goes nowhere
            process = self._processes[task["part"]] = subprocess.Popen(
                [str(self.pythons[task["part"]]), script],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # no further processes, whose seconds nobody would count
                env={**os.environ, "LOKY_MAX_CPU_COUNT": "1", "N_JOBS": "1"},
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def rows_elsewhere(self, cell: Cell, output: pathlib.Path, **frames: pd.DataFrame) -> dict[str, Any]:
        """Have the other environment make rows of frames, in a file."""
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            names = {}
            for name, frame in frames.items():
                names[name] = str(pathlib.Path(folder) / f"{name}.parquet")
                frame.to_parquet(names[name])
            task = {"part": cell.part, "method": cell.method.lower(), "seed": cell.seed, **names}
            return self.ask({**task, "output": str(output)})


def split(cell: Cell) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a cell's training and held-out rows."""
    return _tables_data.split(_tables_data.load(cell.table), cell.seed)


# ---------------------------------------------------------------------------
# Means over tables
# ---------------------------------------------------------------------------

Values = Mapping[str, Mapping[str, Sequence[float]]]  # method -> table -> a number per seed


def mean_over_tables(values: Values, methods: Iterable[str], tables: Sequence[str]) -> dict[str, float]:
    """Return for each method the mean over tables of its means over seeds; NaN where a table is missing."""
    return {
        method: float(np.mean([np.mean(values.get(method, {}).get(table, [np.nan])) for table in tables]))
        for method in methods
    }


def table_of_means(
    values: Values,
    methods: Sequence[str],
    tables: Sequence[str],
    *,
    lower: bool | None,
    beside: Sequence[str] = (),
    digits: int = 3,
) -> list[str]:
    """Return a Markdown table: a row per method, a column per table, and the mean over tables; the best bold.

    Parameters
    ----------
    values : dict of dict of list of float
        By method and table, a number per seed.
    methods, tables : sequence of str
    lower : bool or None
        Whether less is better; None marks no best.
    beside : sequence of str, default=()
        Methods that are shown and not marked as best.
    digits : int, default=3

    Returns
    -------
    lines : list of str
    """
    overall = mean_over_tables(values, methods, tables)
    columns = {table: {m: values.get(m, {}).get(table, []) for m in methods} for table in tables}
    means = {
        t: {m: float(np.mean(v)) if len(v) else np.nan for m, v in c.items()} for t, c in columns.items()
    }

    def cell(found: Mapping[str, float], method: str, spread: Sequence[float] = ()) -> str:
        if np.isnan(found[method]):
            return ""
        text = f"{found[method]:.{digits}f}" + (f" ± {np.std(spread):.{digits}f}" if len(spread) > 1 else "")
        if lower is None or method in beside:
            return text
        first = (np.nanmin if lower else np.nanmax)([v for m, v in found.items() if m not in beside])
        return f"**{text}**" if found[method] == first else text

    rows = [
        [m, cell(overall, m), *(cell(means[table], m, columns[table][m]) for table in tables)]
        for m in methods
        if any(len(columns[table][m]) for table in tables)
    ]
    return [*_harness.markdown_table(["method", "mean", *tables], rows), *fewer(values, methods, tables)]


def fewer(values: Values, methods: Sequence[str], tables: Sequence[str]) -> list[str]:
    """Return a paragraph on the methods that have fewer results of a table than others have."""
    most = {table: max(len(values.get(m, {}).get(table, [])) for m in methods) for table in tables}
    words = []
    for method in filter(values.get, methods):
        counts = {t: len(values[method].get(t, [])) for t in tables}
        lacking = [f"{t} {counts[t]} of {most[t]}" for t in tables if counts[t] < most[t]]
        if lacking:
            words.append(f"{method}: {', '.join(lacking)}")
    return [f"Fewer results: {'; '.join(words)}.", ""] if words else []
