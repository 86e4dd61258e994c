"""The files of runs: how run.py writes them, how they are read again, and the statistics of their trials."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import joblib
import pandas as pd
from _shared import put, put_text
from configurations import DATA, IN_PAPER, LATENT, MODELS, Preset

PAPER_FILE = pathlib.Path(__file__).with_name("paper_tables.json")
CELL = ["data", "n_components", "model"]
NOTHING, FAILED = "—", "failed"


class Folder:
    """Where a preset's results lie: JSON files of runs, fitted models, checkpoints, locks.

    A run is named by its key; what is written is written whole or not at all.
    """

    def __init__(self, path: pathlib.Path):
        self.runs, self.models, self.state = path / "runs", path / "models", path / "state"
        for folder in (self.runs, self.models, self.state):
            folder.mkdir(parents=True, exist_ok=True)

    def record(self, key: str) -> dict[str, Any] | None:
        """Return what is stored of a run."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # none, or broken
            record = json.loads((self.runs / f"{key}.json").read_text(encoding="utf-8"))
            if isinstance(record, dict) and {"fingerprint", "error"} <= set(record):
                return record
        return None

    def write_record(self, key: str, record: dict[str, Any]) -> None:
        """Store a run."""
        put_text(self.runs / f"{key}.json", json.dumps(record, indent=1, sort_keys=True) + "\n")

    def model(self, key: str, fingerprint: str) -> tuple[Any, dict[str, Any]] | None:
        """Return the fitted model that is kept of a run, with notes; None if there is none of this one."""
        path = self.models / f"{key}.joblib"
        if not path.exists():
            return None
        try:
            model, notes, its_fingerprint = joblib.load(path)
        except Exception as error:  # of classes that have changed since
            print(f"{path} cannot be loaded: {error}", file=sys.stderr)
            return None
        return (model, notes) if its_fingerprint == fingerprint else None

    def write_model(self, key: str, model: Any, notes: dict[str, Any], fingerprint: str) -> None:
        """Keep a fitted model."""
        content = (model, notes, fingerprint)
        put(self.models / f"{key}.joblib", lambda path: joblib.dump(content, path))

    def checkpoints(self, key: str) -> list[pathlib.Path]:
        """List the checkpoints of a run, those with other parameters too."""
        return list(self.state.glob(f"{glob.escape(key)}_*.ckpt"))

    def clean(self, key: str) -> None:
        """Remove what a killed process left of a run, which the caller has claimed."""
        name = glob.escape(key)
        for folder, pattern in ((self.runs, ".json"), (self.models, ".joblib"), (self.state, "_*.ckpt")):
            for left in folder.glob(f"{name}{pattern}.*tmp"):
                left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def claimed(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Tell whether the block has something to itself; a killed process has nothing any more."""
        try:
            import fcntl
        except ImportError:  # no such locks on Windows: start one process there, or use --shard
            yield True
            return
        with open(self.state / f"{name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


# ---------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------


class Cell(NamedTuple):
    """One place in a table."""

    data: str
    n_components: int
    model: str

    def __str__(self) -> str:
        return f"{data_heading(self.data)}, {self.n_components}, {heading(self.model)}"


def data_name(text: str) -> str:
    """Return a data set's name; of a user's own file the last part of its path alone."""
    return text if text in DATA else re.split(r"[\\/]", text)[-1]


def data_heading(name: str) -> str:
    """Return the paper's name of a data set, if it has one."""
    return (DATA[name].paper if name in DATA else None) or name


def heading(model: str) -> str:
    """Return what a model's column is called."""
    return MODELS[model][0] if model in MODELS else model


def beta_of(model: str) -> float | None:
    """Return beta of a SWAE; None for other models."""
    return MODELS[model][2].get("beta") if model in MODELS and model.startswith("swae-") else None


def in_order(found: Iterable[Any], order: Sequence[Any]) -> list[Any]:
    """Sort: first what the order names, then the others by name."""
    unique = set(found)
    return [*(x for x in dict.fromkeys(order) if x in unique), *sorted(unique - set(order))]


# ---------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------


def read_runs(folder: pathlib.Path, preset: str) -> tuple[pd.DataFrame, list[str]]:
    """Read the runs of a preset, a row each, and a line for each file that holds none."""
    rows, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["preset"] != preset:
                problems.append(f"{path.name} is a run of the preset {record['preset']!r}")
            else:
                rows.append({"key": path.stem} | _row(record))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{path.name} holds no run: {type(error).__name__}: {error}")
    runs = pd.DataFrame(rows)
    if rows:
        again = runs.duplicated([*CELL, "trial"])
        problems += [f"{key}.json is a run that another file holds" for key in runs["key"][again]]
        runs = runs[~again].sort_values([*CELL, "trial"], ignore_index=True)
    return runs, problems


def _row(record: dict[str, Any]) -> dict[str, Any]:
    failed = record["error"] is not None
    fit, measures = record["fit"], {} if failed else record["measures"]
    said = ("seconds", "cpu_seconds", "resumed", "n_iter", "date", "hardware")
    return {
        "data": data_name(record["data"]),
        **{name: record[name] for name in ("n_components", "model", "trial", "preset", "seed", "error")},
        **{name: fit.get(name) for name in said},
        "measuring_seconds": record.get("measuring_seconds"),
        "warnings": fit.get("warnings", []),
        "versions": fit.get("versions", {}),
        "measures": {name: float(value) for name, value in measures.items()},
        "parameters": record["parameters"],
        "path": record["data"],
        "fingerprint": record["fingerprint"],
        "measures_version": record.get("measures_version"),
    }


def write_csv(path: pathlib.Path, runs: pd.DataFrame) -> None:
    """Write all runs as a table, failed ones too."""
    plain = runs.drop(columns=["key", "path", "fingerprint", "measures_version"])
    plain["warnings"] = plain["warnings"].str.join("; ")
    parts = [
        plain.drop(columns=["versions", "measures", "parameters"]),
        pd.DataFrame([*runs["versions"]], index=runs.index).sort_index(axis=1).add_prefix("version_"),
        pd.DataFrame([*runs["measures"]], index=runs.index).sort_index(axis=1),
        runs["parameters"].map(lambda parameters: json.dumps(parameters, sort_keys=True)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(parts, axis=1).to_csv(path, index=False)


class Paper:
    """The paper's numbers."""

    def __init__(self, path: pathlib.Path = PAPER_FILE):
        content = json.loads(path.read_text(encoding="utf-8"))
        self.source: str = content["source"]
        self.tables: dict[str, dict[str, Any]] = content["tables"]

    def __call__(self, table: str, cell: Cell) -> tuple[float, float] | None:
        """Return mean and standard deviation, 0 where the paper names none; None without a number."""
        row = self.tables[table]["cells"].get(cell.data, {}).get(str(cell.n_components), {})
        value = row.get(cell.model)
        if value is None:
            return None
        mean, std = value if isinstance(value, list) else (value, self.tables[table].get("std", 0.0))
        return float(mean), float(std)


# ---------------------------------------------------------------------------
# Statistics
# ---------------------------------------------------------------------------


class Stat(NamedTuple):
    """Mean and standard deviation (n - 1) of n trials; the deviation of a single one is NaN."""

    mean: float
    std: float
    n: int


def number(value: float, digits: int) -> str:
    """Return so many digits, or three that count where these would show nothing."""
    if value == 0 or not math.isfinite(value) or 10.0**-digits <= abs(value) < 1e5:
        return f"{value:.{digits}f}"
    return f"{value:.3g}"


def stat_text(stat: Stat | None, digits: int) -> str:
    """Return mean, deviation and number of trials."""
    if stat is None:
        return NOTHING
    mean = number(stat.mean, digits)
    if math.isnan(stat.std):
        return f"{mean} ({stat.n})"
    plain = mean == f"{stat.mean:.{digits}f}"
    return f"{mean} ± {stat.std:{f'.{digits}f' if plain else '.3g'}} ({stat.n})"


class Results:
    """Statistics of runs by cell, with the rows and columns that tables of them have."""

    def __init__(self, runs: pd.DataFrame, preset: Preset, paper: Paper, data: Sequence[str] | None = None):
        self.preset, self.paper = preset, paper
        self.expected = {
            Cell(name, n, model)
            for name, dims in preset.cells.items()
            if data is None or name in data
            for n in dims
            for model in preset.models
        }
        self.runs = runs if data is None else runs[runs["data"].isin(data)]
        self.good = self.runs[self.runs["error"].isna()]
        counts = self.runs.groupby(CELL)["error"].agg(["size", "count"])
        self.n_runs = {Cell(*cell): int(n) for cell, n in counts["size"].items()}
        self.n_failed = {Cell(*cell): int(n) for cell, n in counts["count"].items()}
        values = [
            (run.data, run.n_components, run.model, measure, value)
            for run in self.good.itertuples()
            for measure, value in run.measures.items()
        ]
        grouped = pd.DataFrame(values, columns=[*CELL, "measure", "value"]).groupby([*CELL, "measure"])
        stats = grouped["value"].agg([lambda v: v.mean(skipna=False), "std", "size"])
        self._stats = {cell: Stat(*row) for cell, row in zip(stats.index, stats.itertuples(index=False))}
        cells = self.expected | set(self.n_runs)
        sets = in_order((c.data for c in cells), [*preset.cells, *DATA])
        self.rows = [(name, n) for name in sets for n in sorted({c[1] for c in cells if c.data == name})]
        betas = sorted((m for m in MODELS if beta_of(m) is not None), key=lambda m: -(beta_of(m) or 0.0))
        self.models = in_order((c.model for c in cells), [*betas, *IN_PAPER, *MODELS])

    def cells(self, row: tuple[str, int]) -> list[Cell]:
        """List the cells of a row that the preset names or that have been run, in the order of columns."""
        cells = [Cell(*row, model) for model in self.models]
        return [cell for cell in cells if cell in self.expected or cell in self.n_runs]

    def stat(self, cell: Cell, measure: str) -> Stat | None:
        """Return the statistics of the trials that have the measure."""
        return self._stats.get((*cell, measure))

    def rows_with(self, *measures: str) -> list[tuple[str, int]]:
        """List the rows in which some model has one of the measures."""
        having = {(data, n) for data, n, _, measure in self._stats if measure in measures}
        return [row for row in self.rows if row in having]

    def text(self, cell: Cell, measure: str, digits: int) -> str:
        """Return mean, deviation, number of trials, and failures."""
        stat, n_failed = self.stat(cell, measure), self.n_failed.get(cell, 0)
        if n_failed and n_failed == self.n_runs[cell]:
            return FAILED
        text = stat_text(stat, digits)
        return f"{text[:-1]}; {n_failed} failed)" if n_failed and stat is not None else text

    def short(self, cell: Cell, *measures: str, digits: int) -> str:
        """Return the means alone, or one word where there are none."""
        texts = [
            self.text(cell, measure, digits) if stat is None else number(stat.mean, digits)
            for measure in measures
            for stat in (self.stat(cell, measure),)
        ]
        return texts[0] if len(set(texts)) == 1 and texts[0] in (NOTHING, FAILED) else " / ".join(texts)

    def papers_way(self, cell: Cell, measure: str) -> str:
        """Name the measure as the paper's code takes it: on drawn codes where there is a posterior."""
        drawn = f"{measure}_drawn"
        return drawn if cell.model in LATENT or self.stat(cell, drawn) is not None else measure
