"""Tables and figures of the runs that run.py has made, beside the paper's numbers.

    python examples/paper/report.py --preset cpu --output docs/results/paper_cpu.md --figures docs/images

Everything on the page is computed from the runs' files; only what --remarks names is written by hand. --csv
writes all runs as one table, a line each.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import math
import os
import pathlib
import pickle
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import _measures
import _treatments
import joblib
import numpy as np
import run as runner
from configurations import DATA, IN_PAPER, LATENT, MODELS, PRESETS, Preset
from scipy.stats import rankdata
from sklearn.manifold import TSNE

PAPER_FILE = pathlib.Path(__file__).with_name("paper_tables.json")
NOTHING, FAILED = "—", "failed"
TINY = 1e-9  # 0.97 - 0.96 is not quite 0.01

# ---------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------


class Cell(NamedTuple):
    """One place in a table."""

    data: str
    n_components: int
    model: str

    def __str__(self) -> str:
        return f"{data_heading(self.data)}, {self.n_components}, {heading(self.model)}"


@dataclasses.dataclass(frozen=True)
class Run:
    """One file of a run."""

    key: str
    cell: Cell
    trial: int
    record: dict[str, Any]

    @property
    def error(self) -> str | None:
        """Why it failed."""
        return self.record["error"]

    @property
    def measures(self) -> dict[str, float]:
        """Empty for a run that failed."""
        return {} if self.error is not None else self.record["measures"]


def data_name(text: str) -> str:
    """A data set's name; of a file of your own the last part of its path alone."""
    return text if text in DATA else re.split(r"[\\/]", text)[-1]


def data_heading(name: str) -> str:
    """As the paper calls it, if it does."""
    return (DATA[name].paper if name in DATA else None) or name


def heading(model: str) -> str:
    """Of a column."""
    return MODELS[model][0] if model in MODELS else model


def beta_of(model: str) -> float | None:
    """Of SWAE; None for others."""
    return MODELS[model][2].get("beta") if model in MODELS and model.startswith("swae-") else None


def flaw(record: Any, preset: str) -> str | None:
    """What keeps the content of a file from being a run of the preset."""
    if not isinstance(record, dict):
        return "holds no run"
    kinds = {"data": str, "n_components": int, "model": str, "trial": int, "preset": str, "parameters": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    if not wrong and record["preset"] != preset:
        return f"is a run of the preset {record['preset']!r}"
    if record.get("error") is None:
        wrong += [name for name in ("fit", "measures") if not isinstance(record.get(name), dict)]
        if not wrong:
            wrong += [
                name
                for name, value in record["measures"].items()
                if not isinstance(value, int | float) or isinstance(value, bool)
            ]
    elif not isinstance(record["error"], str):
        wrong.append("error")
    return f"lacks a proper {', '.join(wrong)}" if wrong else None


def read_runs(folder: pathlib.Path, preset: str) -> tuple[list[Run], list[str]]:
    """All runs of a folder, and a line for each file that is none of the preset's."""
    runs: dict[tuple[Cell, int], Run] = {}
    problems = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            problems.append(f"{path.name} cannot be read: {error.strerror}")
            continue
        except ValueError as error:
            problems.append(f"{path.name} is broken: {error}")
            continue
        why = flaw(record, preset)
        if why is not None:
            problems.append(f"{path.name} {why}")
            continue
        cell = Cell(data_name(record["data"]), record["n_components"], record["model"])
        found = Run(path.stem, cell, record["trial"], {"error": None} | record)
        before = runs.setdefault((cell, found.trial), found)
        if before is not found:
            problems.append(f"{path.name} is the same run as {before.key}.json, which is taken")
    return list(runs.values()), problems


# ---------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------


class Stat(NamedTuple):
    """Of some trials; the deviation of a single one is None."""

    mean: float
    std: float | None
    n: int


def statistics(values: Sequence[float]) -> Stat | None:
    """Mean and standard deviation (n - 1) of trials; None of none."""
    if not values:
        return None
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Stat(float(np.mean(values)), std, len(values))


def number(value: float, digits: int) -> str:
    """So many digits, or three that count where these would show nothing."""
    if value == 0 or not math.isfinite(value) or 0.1 <= abs(value) < 1e5:
        return f"{value:.{digits}f}"
    return f"{value:.3g}" if abs(value) >= 1e5 or abs(value) < 10.0**-digits else f"{value:.{digits}f}"


def stat_text(stat: Stat | None, digits: int) -> str:
    """Mean, deviation and number of trials."""
    if stat is None:
        return NOTHING
    mean = number(stat.mean, digits)
    if stat.std is None:
        return f"{mean} ({stat.n})"
    plain = mean == f"{stat.mean:.{digits}f}"
    return f"{mean} ± {stat.std:.{digits}f} ({stat.n})" if plain else f"{mean} ± {stat.std:.3g} ({stat.n})"


class Comparison(NamedTuple):
    """Our number with the paper's."""

    cell: Cell
    ours: Stat
    paper: float
    difference: float
    verdict: str  # "better", "within" or "worse": of two standard deviations
    bound: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper that is repeated."""

    number: str
    title: str
    measure: str
    larger_is_better: bool
    digits: int
    paper_digits: int
    bound_text: str
    bound: Callable[[float, float], bool]  # ours, paper's


TABLES = (
    Table(
        "1", "5-NN accuracy", "knn_5", True, 4, 2,
        "within 0.01 or better", lambda ours, paper: ours - paper >= -0.01 - TINY,
    ),
    Table(
        "3", "reconstruction error", "reconstruction", False, 2, 2,
        "within 10 % or better", lambda ours, paper: ours <= 1.1 * paper * (1 + TINY),
    ),
)  # fmt: skip


def compare(table: Table, cell: Cell, ours: Stat, paper: float, paper_std: float) -> Comparison:
    """Two deviations are those of a difference; our own is taken as 0 where it is not known."""
    difference = ours.mean - paper
    room = 2 * math.hypot(ours.std or 0.0, paper_std)
    if abs(difference) <= room + TINY:
        verdict = "within"
    else:
        gain = difference if table.larger_is_better else -difference
        verdict = "better" if gain > 0 else "worse"  # NaN is worse
    return Comparison(cell, ours, paper, difference, verdict, table.bound(ours.mean, paper))


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Correlation of ranks; None where all of one are equal."""
    ranks = [rankdata(values) for values in (a, b)]
    if any(np.ptp(r) == 0 for r in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


class Paper:
    """The paper's numbers."""

    def __init__(self, path: pathlib.Path = PAPER_FILE):
        content = json.loads(path.read_text(encoding="utf-8"))
        self.source: str = content["source"]
        self.tables: dict[str, dict[str, Any]] = content["tables"]

    def __call__(self, table: str, cell: Cell) -> tuple[float, float] | None:
        """Mean and standard deviation, 0 where the paper names none; None where it has no number."""
        row = self.tables[table]["cells"].get(cell.data, {}).get(str(cell.n_components), {})
        value = row.get(cell.model)
        if value is None:
            return None
        mean, std = value if isinstance(value, list) else (value, self.tables[table].get("std", 0.0))
        return float(mean), float(std)


# ---------------------------------------------------------------------------
# All runs together
# ---------------------------------------------------------------------------


def in_order(found: Iterable[Any], order: Sequence[Any]) -> list[Any]:
    """Those that the order names first, then the others by name."""
    unique = set(found)
    return [*(x for x in dict.fromkeys(order) if x in unique), *sorted(unique - set(order))]


class Results:
    """Runs by cell, with the rows and columns that tables of them have."""

    def __init__(self, runs: Sequence[Run], preset: Preset, paper: Paper, data: Sequence[str] | None = None):
        self.preset, self.paper = preset, paper
        self.expected = {
            Cell(name, n, model)
            for name, dims in preset.cells.items()
            if data is None or name in data
            for n in dims
            for model in preset.models
        }
        self.runs = sorted(
            (r for r in runs if data is None or r.cell.data in data), key=lambda r: (r.cell, r.trial)
        )
        self.by_cell: dict[Cell, list[Run]] = {}
        for one in self.runs:
            self.by_cell.setdefault(one.cell, []).append(one)
        cells = self.expected | set(self.by_cell)
        sets = in_order((c.data for c in cells), [*preset.cells, *DATA])
        self.rows = [(name, n) for name in sets for n in sorted({c[1] for c in cells if c.data == name})]
        betas = sorted((m for m in MODELS if beta_of(m) is not None), key=lambda m: -(beta_of(m) or 0.0))
        self.models = in_order((c.model for c in cells), [*betas, *IN_PAPER, *MODELS])

    def cells(self, row: tuple[str, int]) -> list[Cell]:
        """Of a row, in the order of the columns: of the preset, or run."""
        cells = [Cell(*row, model) for model in self.models]
        return [cell for cell in cells if cell in self.expected or cell in self.by_cell]

    def stat(self, cell: Cell, measure: str) -> Stat | None:
        """Of the trials that have the measure."""
        return statistics([r.measures[measure] for r in self.by_cell.get(cell, ()) if measure in r.measures])

    def n_failed(self, cell: Cell) -> int:
        """Trials that ended with an error."""
        return sum(r.error is not None for r in self.by_cell.get(cell, ()))

    def has(self, row: tuple[str, int], measure: str) -> bool:
        """Whether any model of a row has the measure."""
        return any(self.stat(Cell(*row, model), measure) is not None for model in self.models)

    def text(self, cell: Cell, measure: str, digits: int) -> str:
        """With deviation, number of trials and failures."""
        stat, n_failed = self.stat(cell, measure), self.n_failed(cell)
        if n_failed and n_failed == len(self.by_cell[cell]):
            return FAILED
        text = stat_text(stat, digits)
        return f"{text[:-1]}; {n_failed} failed)" if n_failed and stat is not None else text

    def short(self, cell: Cell, measure: str, digits: int) -> str:
        """The mean alone."""
        stat = self.stat(cell, measure)
        return self.text(cell, measure, digits) if stat is None else number(stat.mean, digits)

    def papers_way(self, cell: Cell, measure: str) -> str:
        """The measure as the paper's code takes it: on drawn codes where there is a posterior."""
        drawn = f"{measure}_drawn"
        return drawn if cell.model in LATENT or self.stat(cell, drawn) is not None else measure

    def comparisons(self, table: Table) -> list[Comparison]:
        """Of every cell that has been run and that the paper has."""
        found = []
        for row in self.rows:
            for model in self.models:
                cell = Cell(*row, model)
                ours, theirs = (
                    self.stat(cell, self.papers_way(cell, table.measure)),
                    self.paper(table.number, cell),
                )
                if ours is not None and theirs is not None:
                    found.append(compare(table, cell, ours, *theirs))
        return found


# ---------------------------------------------------------------------------
# Markdown
# ---------------------------------------------------------------------------


def escaped(text: str) -> str:
    """On one line, without what ends a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table, and an empty one."""
    lines = [[escaped(str(cell)) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def matrix(
    results: Results, text: Callable[[Cell], str], models: Sequence[str] | None = None, rows: Any = None
) -> list[str]:
    """The paper's layout: data set and dim-z down, models across."""
    models = results.models if models is None else models
    return markdown_table(
        ["data", "dim-z", *map(heading, models)],
        (
            [data_heading(row[0]), row[1], *(text(Cell(*row, model)) for model in models)]
            for row in (results.rows if rows is None else rows)
        ),
    )


def both(results: Results, cell: Cell, measures: Sequence[str], digits: int) -> str:
    """Two means, or one word where there are none."""
    texts = [results.short(cell, measure, digits) for measure in measures]
    return texts[0] if len(set(texts)) == 1 and texts[0] in (NOTHING, FAILED) else " / ".join(texts)


def rows_with(results: Results, *measures: str) -> list[tuple[str, int]]:
    """Rows in which some model has one of the measures."""
    return [row for row in results.rows if any(results.has(row, measure) for measure in measures)]


def yes_no(value: bool) -> str:
    """In a word."""
    return "yes" if value else "no"


def plural(n: int, noun: str) -> str:
    """A number of things."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


# ---------------------------------------------------------------------------
# Head, summary, notes
# ---------------------------------------------------------------------------


def distinct(texts: Iterable[str]) -> str:
    """Each once, with how often if there are several."""
    texts = list(texts)
    counts = {text: texts.count(text) for text in dict.fromkeys(texts)}
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{text} ({plural(n, 'run')})" for text, n in counts.items())


def head(results: Results, name: str, command: str) -> list[str]:
    """Title, when and where, and how far."""
    good = [r.record["fit"] for r in results.runs if r.error is None]
    dates = sorted({fit.get("date", "?") for fit in good})
    versions = [
        ", ".join(f"{package} {version}" for package, version in sorted(fit.get("versions", {}).items()))
        for fit in good
    ]
    n_failed = len(results.runs) - len(good)
    done = {r.cell for r in results.runs if r.error is None}
    beyond = len(done - results.expected)
    cpu, clock = (sum(fit.get(name, 0.0) for fit in good) for name in ("cpu_seconds", "seconds"))
    partly = "at least " if any(fit.get("resumed") for fit in good) else ""
    trials = sorted({r.trial for r in results.runs})
    lines = [f"# The paper's tables: preset `{name}`", "", results.preset.purpose, ""]
    if good:
        span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        lines += [f"{span}. {distinct(fit.get('hardware', '?') for fit in good)}. {distinct(versions)}.", ""]
    lines += [f"Made by `{command}` from runs that `examples/paper/run.py` made with this preset.", ""]
    lines += [
        f"{len(done & results.expected)} of {plural(len(results.expected), 'cell')} of the preset have been "
        + "run"
        + (f", and {plural(beyond, 'cell')} that it does not name" if beyond else "")
        + f". {plural(len(results.runs), 'run')}, {n_failed or 'none'} of them failed; trials "
        + f"{', '.join(map(str, trials))}; {partly}{cpu / 3600:.2f} CPU hours of fits, "
        + f"{clock / 3600:.2f} hours by the clock.",
        "",
    ]
    return lines


def reading(results: Results) -> list[str]:
    """What the numbers are."""
    source = results.paper.source
    return [
        "## How to read this page",
        "",
        f'- The paper is {source}. "Paper" is its number, "ours" the mean ± standard deviation over '
        "trials (with n - 1), and in brackets the number of trials.",
        f"- {NOTHING}: not run, not measured for this model, or no number in the paper. "
        f'"{FAILED}": every trial ended with an error; see [Runs](#runs).',
        "- Within two deviations: the difference is at most twice the root of the sum of both squared "
        "standard deviations. Table 1 names none and says that they are generally less than 0.01: 0.01 is "
        "taken. † marks a single trial: our deviation is not known and is taken as 0.",
        "- VAE, VampPrior and MIM code a row by a distribution. The paper's numbers, as its code shows, are "
        'of codes *drawn* from it; that is "ours" for these three and what is compared with the paper. '
        '"On posterior means" is the same with the mean of that distribution, which is what `transform` '
        "returns; nobody who uses these codes has to draw them. The other models have one code a row.",
        "- The errors of binary data (MNIST, Fashion-MNIST) are against drawn zeros and ones: even the true "
        "probabilities leave 14.55 an image on MNIST and 62.99 on Fashion-MNIST. Less than that is copied "
        "noise, not a better image.",
        "- Where the paper, its authors' code and this package differ is in `docs/paper_code_ours.md`.",
        "",
    ]


# what SWAE and the others are ranked by: measures of which a model's best counts, larger is better, digits
CONTESTS: dict[str, tuple[tuple[str, ...], bool, int]] = {
    "5-NN accuracy": (("knn_5", "knn_5_drawn"), True, 4),
    "reconstruction error": (("reconstruction", "reconstruction_drawn"), False, 3),
    "denoising error": (("denoising",), False, 3),
    "Frechet distance, classifier, own prior": (("frechet_classifier",), False, 2),
    "Frechet distance, classifier, gmm prior": (("frechet_classifier_gmm",), False, 2),
    "neighbourhood agreement": (("neighborhood_agreement",), True, 4),
}


class Contest(NamedTuple):
    """One measure in one row."""

    best: tuple[str, Stat]  # of SWAE
    ahead: list[tuple[str, Stat]]  # models with a better number than that, the best first


def contest(results: Results, row: tuple[str, int], measures: Sequence[str], larger: bool) -> Contest | None:
    """The best SWAE, and who is ahead of it; None where one side is missing."""
    sign = -1.0 if larger else 1.0
    found: dict[str, Stat] = {}
    for model in results.models:
        stats = [results.stat(Cell(*row, model), measure) for measure in measures]
        usable = [s for s in stats if s is not None and math.isfinite(s.mean)]
        if usable:
            found[model] = min(usable, key=lambda s: sign * s.mean)
    ordered = sorted(found.items(), key=lambda item: sign * item[1].mean)
    swae = [item for item in ordered if beta_of(item[0]) is not None]
    if not swae or len(swae) == len(ordered):
        return None
    limit = sign * swae[0][1].mean
    return Contest(swae[0], [(m, s) for m, s in ordered if sign * s.mean < limit])


def close(a: Stat, b: Stat) -> bool:
    """Whether two of our numbers differ by less than two deviations, as far as these are known."""
    if a.std is None or b.std is None:
        return False
    return abs(a.mean - b.mean) <= 2 * math.hypot(a.std, b.std)


def mark_of(a: Stat, b: Stat) -> str:
    """What a lead is to be taken with."""
    if a.std is None or b.std is None:
        return " †"
    return " ‡" if close(a, b) else ""


def contests(results: Results) -> list[str]:
    """Where a model other than SWAE is ahead of every beta."""
    counts, rows = [], []
    for title, (measures, larger, digits) in CONTESTS.items():
        found = {row: contest(results, row, measures, larger) for row in results.rows}
        held = {row: c for row, c in found.items() if c is not None}
        if not held:
            continue
        lost = {row: c for row, c in held.items() if c.ahead}
        counts.append(f"{title} {len(lost)} of {len(held)}")
        for (name, n), c in lost.items():
            model, stat = c.best
            others = (f"{heading(m)} {number(s.mean, digits)}{mark_of(s, stat)}" for m, s in c.ahead)
            best = f"{heading(model)} {number(stat.mean, digits)}"
            rows.append([title, data_heading(name), n, best, ", ".join(others)])
    if not counts:
        return []
    lines = [
        "In so many rows (a data set with a dim-z) at least one other model is ahead of every SWAE that "
        f"was run: {'; '.join(counts)}. VAE, VampPrior and MIM count with the better of drawn codes and "
        "posterior means, SWAE with the best of its betas; all is judged on the test rows.",
        "",
    ]
    if rows:
        lines += markdown_table(["measure", "data", "dim-z", "best SWAE", "ahead of it"], rows)
        if any("‡" in row[4] for row in rows):
            lines += ["‡ by less than two standard deviations.", ""]
        if any("†" in row[4] for row in rows):
            lines += [
                "† of a single trial, whose deviation is not known. (An accuracy of 0.95 on 10,000 test rows "
                "has a standard error of 0.002, on 200 of 0.015.)",
                "",
            ]
    return lines


def verdict_counts(results: Results) -> list[str]:
    """How many cells agree with the paper, by model and table."""
    rows = []
    for table in TABLES:
        found = results.comparisons(table)
        groups = {heading(m): [c for c in found if c.cell.model == m] for m in results.models} | {
            "all": found
        }
        for title, group in groups.items():
            if group:
                n_each = [sum(c.verdict == v for c in group) for v in ("better", "within", "worse")]
                held = sum(c.bound for c in group)
                rows.append([f"{table.number}, {table.title}", title, len(group), *n_each, held])
    if not rows:
        return ["No cell that has been run has a number in the paper.", ""]
    columns = ["table", "model", "cells compared", "better", "within two deviations", "worse", "near enough"]
    lines = [
        "Cells compared with the paper: within two standard deviations of it, or better or worse by more. "
        f"Near enough: {', '.join(f'Table {t.number} {t.bound_text}' for t in TABLES)}.",
        "",
        *markdown_table(columns, rows),
    ]
    compared = [c for table in TABLES for c in results.comparisons(table)]
    single = sum(c.ours.n == 1 for c in compared)
    if single:
        lines += [
            f"{single} of these {len(compared)} numbers are of a single trial: for them two deviations are "
            "the paper's alone.",
            "",
        ]
    return lines


def difference_text(table: Table, c: Comparison) -> str:
    """Absolute, and for errors in per cent."""
    text = f"{c.difference:+.{table.digits}f}"
    return text if table.larger_is_better else f"{text}, {100 * c.difference / c.paper:+.1f} %"


def missed(results: Results) -> list[str]:
    """The cells that are not near the paper's numbers."""
    lines = []
    for table in TABLES:
        cells = [c for c in results.comparisons(table) if not c.bound]
        if cells:
            named = (f"{c.cell} ({difference_text(table, c)})" for c in cells)
            lines.append(f"- Table {table.number}, not {table.bound_text}: {'; '.join(named)}.")
    return [*lines, ""] if lines else []


def denoising_line(results: Results) -> list[str]:
    """How often SWAE(beta=1) denoises best."""
    winners = []
    for row in rows_with(results, "denoising"):
        stats = {m: results.stat(Cell(*row, m), "denoising") for m in results.models}
        found = {m: s.mean for m, s in stats.items() if s is not None and math.isfinite(s.mean)}
        if "swae-1" in found and len(found) > 1:
            winners.append(min(found, key=lambda m: found[m]))
    if not winners:
        return []
    return [
        f"SWAE(beta=1) has the lowest denoising error of all models in {winners.count('swae-1')} of "
        f"{plural(len(winners), 'row')}.",
        "",
    ]


def summary(results: Results) -> list[str]:
    """What came out, in numbers."""
    return [
        "## Summary",
        "",
        *verdict_counts(results),
        *missed(results),
        *contests(results),
        *denoising_line(results),
    ]


def settings(results: Results) -> list[str]:
    """What the preset says; what it does not name is the class's default."""
    rows = [
        [f"`{data}`", f"`{model}`", ", ".join(f"{n}={runner.plain(v)}" for n, v in parameters.items())]
        for data, model, parameters in results.preset.settings
        if any(fnmatchcase(one.record["data"], data) for one in results.runs)
    ]
    return [
        "## Settings of the preset",
        "",
        "Patterns of data sets and models, as in a shell, for what is on this page; later lines override "
        "earlier ones, and what no line names is the class's default.",
        "",
        *markdown_table(["data", "model", "parameters"], rows),
    ]


def mismatches(one: Run, preset: Preset) -> list[str]:
    """Parameters of a run that are not what they would be now; none of an estimator of your own."""
    if one.cell.model not in MODELS:
        return []
    again = runner.Run(one.record["data"], one.cell.n_components, one.cell.model, one.trial)
    estimator = runner.make_estimator(again, preset, {}, "auto")
    now = {name: runner.plain(value) for name, value in estimator.get_params().items()}
    had = one.record["parameters"]
    apart = ("augment", "device", "verbose")
    return sorted(n for n in now.keys() | had.keys() if n not in apart and now.get(n) != had.get(n))


def inconsistencies(results: Results) -> list[str]:
    """Runs that should not stand beside the others."""
    stale: dict[str, list[str]] = {}
    for one in results.runs:
        different = mismatches(one, results.preset)
        if different:
            stale.setdefault(", ".join(different), []).append(one.key)
    lines = [
        f"made with other parameters ({names}) than the preset has now: {plural(len(keys), 'run')}, "
        f"{', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for names, keys in stale.items()
    ]
    for cell, runs in results.by_cell.items():
        apart = ("random_state", "device", "verbose")
        kinds = {
            json.dumps({n: v for n, v in r.record["parameters"].items() if n not in apart}, sort_keys=True)
            for r in runs
        }
        if len(kinds) > 1:
            lines.append(f"the trials of {cell} differ in their parameters")
    good = [r for r in results.runs if r.error is None]
    n_old = sum(r.record.get("measures_version") != _measures.VERSION for r in good)
    if n_old:
        lines.append(
            f"measured by another version of the measures than {_measures.VERSION}: {plural(n_old, 'run')}"
        )
    return lines


def run_notes(results: Results, problems: Sequence[str]) -> list[str]:
    """Failures, warnings, and files that were left out."""
    lines = ["## Runs", ""]
    absent = [cell for cell in results.expected if cell not in results.by_cell]
    lines += [f"Cells of the preset that have not been run: {len(absent)}.", ""]
    failed = [r for r in results.runs if r.error is not None]
    if failed:
        lines += markdown_table(
            ["failed run", "trial", "error"], ([r.cell, r.trial, r.error] for r in failed)
        )
    else:
        lines += ["No run failed.", ""]
    said: dict[str, list[str]] = {}
    for one in results.runs:
        for message in one.record.get("fit", {}).get("warnings", ()):
            said.setdefault(message, []).append(f"{one.cell}, trial {one.trial}")
    if said:
        lines += markdown_table(
            ["warning of a fit", "runs"], ([message, "; ".join(where)] for message, where in said.items())
        )
    else:
        lines += ["No fit warned.", ""]
    odd = inconsistencies(results)
    if odd:
        lines += ["To be run again, or not to be compared:", "", *(f"- {escaped(line)}" for line in odd), ""]
    if problems:
        lines += ["Files that are left out:", "", *(f"- {escaped(line)}" for line in problems), ""]
    return lines


# ---------------------------------------------------------------------------
# Tables 1 and 3
# ---------------------------------------------------------------------------


def beside_paper(results: Results, table: Table) -> list[str]:
    """Matrix and list of cells of a table that the paper has."""
    digits = table.digits - (table.measure == "knn_5")

    def short(cell: Cell) -> str:
        ours = results.short(cell, results.papers_way(cell, table.measure), digits)
        paper = results.paper(table.number, cell)
        return f"{ours} / {paper[0]:.{table.paper_digits}f}" if paper else ours

    compared = {c.cell: c for c in results.comparisons(table)}

    def line(cell: Cell) -> list[str]:
        way = results.papers_way(cell, table.measure)
        paper, c = results.paper(table.number, cell), compared.get(cell)
        theirs = NOTHING
        if paper is not None:
            theirs = f"{paper[0]:.{table.paper_digits}f}"
            theirs += f" ± {paper[1]:.{table.paper_digits}f}" if table.number == "3" else ""
        verdict = [NOTHING] * 3
        if c is not None:
            mark = " †" if c.ours.n == 1 else ""
            within = {"within": "yes", "better": "no, better", "worse": "no, worse"}[c.verdict]
            verdict = [difference_text(table, c), within + mark, yes_no(c.bound)]
        means = results.text(cell, table.measure, table.digits) if way != table.measure else NOTHING
        return [
            data_heading(cell.data), str(cell.n_components), heading(cell.model),
            results.text(cell, way, table.digits), theirs, *verdict, means,
        ]  # fmt: skip

    columns = ["data", "dim-z", "model", "ours", "paper", "difference", "within two deviations"]
    return [
        f"## Table {table.number}: {table.title}",
        "",
        "Ours / paper, or ours alone where the paper has no number. VAE, VampPrior and MIM: drawn codes, as "
        "in the paper.",
        "",
        *matrix(results, short),
        "Every cell that has been run:",
        "",
        *markdown_table(
            [*columns, table.bound_text, "ours, on posterior means"],
            (line(cell) for row in results.rows for cell in results.cells(row) if cell in results.by_cell),
        ),
    ]


def other_k(results: Results) -> list[str]:
    """3-NN and 10-NN, in short."""

    def text(cell: Cell) -> str:
        return both(results, cell, [results.papers_way(cell, f"knn_{k}") for k in (3, 10)], 3)

    return [
        "3-NN / 10-NN accuracy; VAE, VampPrior and MIM on drawn codes. The paper says that they are similar.",
        "",
        *matrix(results, text),
    ]


def posterior_means(results: Results) -> list[str]:
    """5-NN both ways, for the models that have both."""
    models = [
        m for m in results.models if any(results.stat(Cell(*r, m), "knn_5_drawn") for r in results.rows)
    ]
    if not models:
        return []

    def text(cell: Cell) -> str:
        return both(results, cell, ("knn_5_drawn", "knn_5"), 3)

    return ["5-NN accuracy, drawn codes / posterior means:", "", *matrix(results, text, models)]


# ---------------------------------------------------------------------------
# Table 2
# ---------------------------------------------------------------------------

SAMPLE_MEASURES = {
    "frechet_classifier": 2,
    "frechet_pixels": 2,
    "precision": 3,
    "recall": 3,
    "nearest_row_ratio": 3,
    "duplicate_rate": 3,
}
PRIORS = {"own": "", "gmm": "_gmm"}


def best_beta(results: Results, row: tuple[str, int], suffix: str) -> str | None:
    """The SWAE of the smallest Frechet distance."""
    for measure in ("frechet_classifier", "frechet_pixels"):
        found = {
            model: stat.mean
            for model in results.models
            if beta_of(model) is not None
            and (stat := results.stat(Cell(*row, model), measure + suffix)) is not None
        }
        if found:
            return min(found, key=lambda model: found[model])
    return None


def sample_rows(results: Results, row: tuple[str, int]) -> list[list[str]]:
    """Models by priors: the paper's FID, then ours."""
    lines = []
    for cell in results.cells(row):
        for prior, suffix in PRIORS.items():
            values = [results.text(cell, f"{m}{suffix}", d) for m, d in SAMPLE_MEASURES.items()]
            if (prior == "own" and cell not in results.by_cell) or any(value != NOTHING for value in values):
                lines.append([heading(cell.model), prior, paper_fid(results, cell, prior), *values])
    for prior, suffix in PRIORS.items():
        best = best_beta(results, row, suffix)
        if best is not None:
            cell = Cell(*row, best)
            values = [results.text(cell, f"{m}{suffix}", d) for m, d in SAMPLE_MEASURES.items()]
            title = f"SWAE(beta*): {heading(best)}"
            lines.append([title, prior, paper_fid(results, Cell(*row, "swae-*"), prior), *values])
    return lines


def paper_fid(results: Results, cell: Cell, prior: str) -> str:
    """The paper's models have their own prior."""
    value = results.paper("2", cell)
    return f"{value[0]:.0f}" if value is not None and prior == "own" else NOTHING


class Ranks(NamedTuple):
    """Order of models in a row: ours and the paper's."""

    ours: dict[str, float]
    paper: dict[str, float]
    correlation: float | None


def ranks(results: Results, row: tuple[str, int]) -> Ranks | None:
    """By our distance and by the paper's FID, of the models that have both; None of fewer than four."""
    pairs = {}
    for model in results.models:
        stat = results.stat(Cell(*row, model), "frechet_classifier")
        paper = results.paper("2", Cell(*row, model))
        if stat is not None and paper is not None and math.isfinite(stat.mean):
            pairs[model] = stat.mean, paper[0]
    if len(pairs) < 4:
        return None
    ours, paper_values = zip(*pairs.values())
    ranked = [dict(zip(pairs, rankdata(values).tolist())) for values in (ours, paper_values)]
    return Ranks(*ranked, spearman(ours, paper_values))


def rank_lines(results: Results) -> list[str]:
    """The table of ranks."""
    found = {row: r for row in results.rows if (r := ranks(results, row)) is not None}
    if not found:
        return ["Ranks are compared where four models have a number here and in the paper: nowhere yet.", ""]
    models = [m for m in results.models if any(m in r.ours for r in found.values())]
    rows = []
    for (name, n), r in found.items():
        texts = (f"{r.ours[m]:g} / {r.paper[m]:g}" if m in r.ours else NOTHING for m in models)
        correlation = NOTHING if r.correlation is None else f"{r.correlation:+.2f}"
        rows.append([data_heading(name), n, correlation, len(r.ours), *texts])
    return [
        "Rank within a row by our distance (classifier, own prior) / by the paper's FID, and Spearman's "
        "correlation of the two:",
        "",
        *markdown_table(["data", "dim-z", "correlation", "models", *map(heading, models)], rows),
    ]


def table_2(results: Results) -> list[str]:
    """Samples."""
    rows = rows_with(results, "frechet_pixels", "frechet_pixels_gmm")
    lines = [
        "## Table 2: samples",
        "",
        "None of our numbers is a Frechet Inception Distance (FID). That is a distance between features of "
        "one network, Inception, with its published weights, which are not used here; the paper's column is "
        'shown for orientation only. "Classifier" is the Frechet distance between features of a small '
        'classifier that was trained on the data set\'s own training rows, "pixels" that between the rows as '
        "they are. Their size means nothing beside the paper's, nor beside another data set's: only the "
        "order of models within a row can be compared, and with care.",
        "",
        f"{results.preset.n_samples:,} samples against the first {_measures.N_TEST_ROWS:,} test rows at "
        'most. Prior "own": the model\'s (of AE, which has none: a Gaussian fitted to the codes); "gmm": a '
        "mixture of Gaussians fitted to the codes after training. Nearest-row ratio: below 1, samples are "
        "nearer to training rows than test rows are. Duplicate rate: about 0.01 where "
        "nothing is copied, if there are some hundreds of test rows; what a decoder smooths comes nearer. "
        "Precision near 1 with recall near 0 means as much: samples without the rows' noise. "
        "SWAE(beta*) is the beta of the smallest distance, chosen on the test rows. Of binary data the "
        "Frechet distances compare the decoder's probabilities with zeros and ones, as the paper does; the "
        "other measures compare zeros and ones drawn from them. Each trial has a classifier of its own: a "
        "deviation of the first distance contains the classifier's.",
        "",
    ]
    if not rows:
        return [*lines, "No samples have been measured.", ""]

    def text(cell: Cell) -> str:
        return both(results, cell, [f"frechet_classifier{suffix}" for suffix in PRIORS.values()], 1)

    lines += ["Frechet distance, classifier: own prior / gmm prior.", "", *matrix(results, text, rows=rows)]
    lines += rank_lines(results)
    columns = [
        "model", "prior", "paper's FID", "Frechet, classifier", "Frechet, pixels", "precision", "recall",
        "nearest-row ratio", "duplicate rate",
    ]  # fmt: skip
    for row in rows:
        lines += [f"{data_heading(row[0])}, dim-z {row[1]}:", ""]
        lines += markdown_table(columns, sample_rows(results, row))
    return lines


# ---------------------------------------------------------------------------
# What is not in the paper's tables
# ---------------------------------------------------------------------------


def denoising(results: Results) -> list[str]:
    """Section 3.4, in numbers."""

    def text(cell: Cell) -> str:
        return both(results, cell, ("denoising", "reconstruction"), 2)

    return [
        "## Denoising (section 3.4, Figure 6)",
        "",
        f"Gaussian noise of deviation {_measures.NOISE} is added to test rows; by itself it is a squared "
        f"error of {_measures.NOISE**2:.2f} a feature. Reconstruction error of noisy rows against the clean "
        "ones / of clean rows. VAE, VampPrior and MIM: posterior means. The paper shows pictures, and says "
        "that only SWAE(beta=1) recovers clean images.",
        "",
        *matrix(results, text, rows=rows_with(results, "denoising", "reconstruction")),
    ]


ABLATION = {
    "5-NN accuracy": ("knn_5", 4),
    "reconstruction": ("reconstruction", 2),
    "denoising": ("denoising", 2),
    "Frechet, classifier": ("frechet_classifier", 2),
    "neighbourhood agreement": ("neighborhood_agreement", 4),
}


def ablation(results: Results) -> list[str]:
    """SWAE by beta."""
    found = {m: beta for m in results.models if (beta := beta_of(m)) is not None}
    models = sorted(found, key=lambda m: found[m])
    rows = [
        [data_heading(name), n, found[m], *(results.text(Cell(name, n, m), *of) for of in ABLATION.values())]
        for name, n in results.rows
        for m in models
        if Cell(name, n, m) in results.cells((name, n))
    ]
    if not rows:
        return []
    return [
        "## SWAE by beta",
        "",
        "beta = 1: no reconstruction loss; beta = 0: no x-loss.",
        "",
        *markdown_table(["data", "dim-z", "beta", *ABLATION], rows),
    ]


def local_structure(results: Results) -> list[str]:
    """Whether neighbours in the data are neighbours among the codes."""
    measures = {"neighborhood_agreement": "Neighbourhood agreement", "trustworthiness": "Trustworthiness"}
    explained = (
        "the share of the 10 nearest test rows that are also among the 10 nearest codes",
        "whether the 5 nearest codes belong to rows that are near; 1 is best",
    )
    lines = [
        "## Local structure",
        "",
        f"Of the first {_measures.N_LOCAL:,} test rows at most. VAE, VampPrior and MIM: posterior means.",
        "",
    ]
    for (measure, title), text in zip(measures.items(), explained):
        lines += [f"{title}: {text}.", ""]
        lines += matrix(
            results, lambda cell, m=measure: results.text(cell, m, 3), rows=rows_with(results, measure)
        )
    return lines


def seconds(results: Results) -> list[str]:
    """Of a fit."""

    def text(cell: Cell) -> str:
        good = [r.record["fit"] for r in results.by_cell.get(cell, ()) if r.error is None]
        times = [fit["cpu_seconds"] for fit in good if "cpu_seconds" in fit]
        if not times:
            return results.text(cell, "", 0)
        mean = float(np.mean(times))
        text = "< 0.1" if mean < 0.1 else f"{mean:.{0 if mean >= 10 else 1}f}"
        return f"≥ {text}" if any(fit.get("resumed") for fit in good) and mean >= 0.1 else text

    return [
        "## CPU seconds a fit",
        "",
        "Mean over trials. ≥: a fit was interrupted, and only the time of its last part is known.",
        "",
        *matrix(results, text),
    ]


# ---------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------

N_LOCAL = 100  # of Figure 1
N_POINTS = 2_000  # of t-SNE
N_IMAGES, N_COLUMNS = 24, 6
MAX_BYTES = 200_000
TITLES = {
    1: f"order of {N_LOCAL} test rows by distance to the first, in the codes (up) and in the rows (right)",
    3: "t-SNE of test rows' codes",
    4: "samples",
    5: "reconstructions of test rows",
    6: "reconstructions of noisy test rows",
}


def embedded(Z: np.ndarray) -> np.ndarray:
    """Two coordinates a code, for points that are near if the codes are."""
    spread = min(Z.shape) >= 2 and bool(np.ptp(Z, axis=0).any())
    perplexity = min(30.0, max(1.0, (len(Z) - 1) / 3))
    return TSNE(random_state=0, perplexity=perplexity, init="pca" if spread else "random").fit_transform(Z)


def points(models: dict[str, Any], split: _treatments.Split) -> dict[str, np.ndarray]:
    """Figure 3: the coordinates of the first test rows, by model."""
    X = split.X_test[:N_POINTS]
    return {model: embedded(np.asarray(m.transform(X), dtype=np.float64)) for model, m in models.items()}


def orders(models: dict[str, Any], split: _treatments.Split) -> dict[str, np.ndarray]:
    """Figure 1: places of test rows by distance to the first of them, in the rows and in the codes."""
    X = np.asarray(split.X_test[:N_LOCAL], dtype=np.float64)

    def places(A: np.ndarray) -> np.ndarray:
        distances = np.square(A - A[0]).sum(axis=1)
        return np.argsort(np.argsort(distances, kind="stable"), kind="stable")

    codes = {model: np.asarray(m.transform(X), dtype=np.float64) for model, m in models.items()}
    return {model: np.stack([places(X), places(Z)], axis=1) for model, Z in codes.items()}


def as_images(X: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Rows, channel first, as images of shape (h, w) or (h, w, 3), between 0 and 1."""
    images = np.clip(np.asarray(X, dtype=np.float64), 0, 1).reshape(len(X), *shape)
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)


def mosaic(images: np.ndarray, n_columns: int = N_COLUMNS) -> np.ndarray:
    """Images beside and below each other, with white lines between them."""
    n, h, w, *channels = images.shape
    n_rows = -(-n // n_columns)
    canvas = np.ones((n_rows * (h + 1) - 1, n_columns * (w + 1) - 1, *channels))
    for i, image in enumerate(images):
        top, left = (i // n_columns) * (h + 1), (i % n_columns) * (w + 1)
        canvas[top : top + h, left : left + w] = image
    return canvas


def pictures(number: int, models: dict[str, Any], split: _treatments.Split) -> dict[str, np.ndarray]:
    """Figures 4, 5 and 6: a mosaic by heading, for the models that can."""
    assert split.image_shape is not None
    clean = split.X_test[:N_IMAGES]
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(clean.dtype)
    rows = {4: {}, 5: {"Test rows": clean}}
    rows[6] = {"Test rows": clean, "With noise": clean + clean.dtype.type(_measures.NOISE) * noise}
    found = dict(rows[number])
    for model, m in models.items():
        if number == 4:
            if hasattr(m, "sample"):
                found[heading(model)] = m.sample(N_IMAGES, random_state=0)
        elif hasattr(m, "inverse_transform"):
            X = found["With noise" if number == 6 else "Test rows"]
            found[heading(model)] = m.inverse_transform(m.transform(X))
    return {title: mosaic(as_images(X, split.image_shape)) for title, X in found.items()}


def new_figure(n_panels: int, title: str, size: float, aspect: float) -> tuple[Any, list[Any]]:
    """A figure of matplotlib and its panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit(
            f"--figures needs matplotlib: pip install 'skswae[plot]' has it. ({error})"
        ) from error
    n_columns = min(5, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(
        figsize=(n_columns * size, n_rows * (size * aspect + 0.25) + 0.35), layout="constrained", dpi=100
    )
    figure.suptitle(title, fontsize=10)
    panels = list(np.ravel(figure.subplots(n_rows, n_columns, squeeze=False)))
    for panel in panels:
        panel.axis("off")
    return figure, panels


def save(figure: Any, path: pathlib.Path) -> None:
    """As a PNG of at most 256 colours, with fewer dots where it would be large."""
    from PIL import Image

    for dpi in (100, 80, 60, 40):
        drawn, stored = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
        Image.open(drawn).convert("RGB").quantize(256).save(stored, format="png", optimize=True)
        if stored.tell() <= MAX_BYTES:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stored.getvalue())


def draw_points(
    path: pathlib.Path, title: str, found: dict[str, np.ndarray], labels: np.ndarray | None
) -> None:
    """Figures 1 and 3."""
    figure, panels = new_figure(len(found), title, 2.2, 1.0)
    classes, index = np.unique(np.zeros(0) if labels is None else labels, return_inverse=True)
    for panel, (model, P) in zip(panels, found.items()):
        panel.set_title(heading(model), fontsize=8)
        how = {"s": 2, "linewidths": 0}
        if len(classes) == 0:
            panel.scatter(*P.T, **how)
        else:
            span = {"vmin": 0, "vmax": max(1, len(classes) - 1)}
            cmap = "tab10" if len(classes) <= 10 else "tab20" if len(classes) <= 20 else "viridis"
            span["vmax"] = {"tab10": 9, "tab20": 19}.get(cmap, span["vmax"])
            shown = panel.scatter(*P.T, c=index, cmap=cmap, **span, **how)
    if 0 < len(classes) <= 20:
        handles = [
            panels[0].scatter([], [], color=shown.to_rgba(i), s=12, label=str(c))
            for i, c in enumerate(classes)
        ]
        figure.legend(handles=handles, loc="outside right center", fontsize=7, frameon=False)
    save(figure, path)


def draw_images(path: pathlib.Path, title: str, found: dict[str, np.ndarray]) -> None:
    """Figures 4, 5 and 6."""
    h, w = next(iter(found.values())).shape[:2]
    figure, panels = new_figure(len(found), title, 2.2, h / w)
    for panel, (name, image) in zip(panels, found.items()):
        panel.set_title(name, fontsize=8)
        panel.imshow(image, cmap="gray", vmin=0, vmax=1)
    save(figure, path)


def load_models(
    folder: pathlib.Path, results: Results, row: tuple[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """The kept models of trial 0 in a row, and why others are not among them."""
    models, messages = {}, []
    for model in results.models:
        for one in results.by_cell.get(Cell(*row, model), ()):
            if one.trial != 0 or one.error is not None:
                continue
            path = folder / f"{one.key}.joblib"
            try:
                fitted, _, fingerprint = joblib.load(path)
            except FileNotFoundError:
                messages.append(f"{path.name} is not there")
                continue
            except (
                OSError, ImportError, AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError,
                RuntimeError, pickle.UnpicklingError,
            ) as error:  # fmt: skip
                messages.append(f"{path.name} cannot be loaded: {type(error).__name__}: {error}")
                continue
            if fingerprint != one.record.get("fingerprint"):
                messages.append(f"{path.name} is of another run than {one.key}.json")
                continue
            models[model] = fitted
    return models, messages


def figure_rows(results: Results, asked: Sequence[tuple[str, int]] | None) -> list[tuple[str, int]]:
    """Those that were asked for, or each data set's largest dim-z that has runs."""
    if asked:
        return list(asked)
    run_rows = {(r.cell.data, r.cell.n_components) for r in results.runs if r.error is None}
    sets = dict.fromkeys(name for name, _ in results.rows)
    return [
        (s, max(n for name, n in run_rows if name == s)) for s in sets if any(r[0] == s for r in run_rows)
    ]


def load_split(name: str, results: Results, options: argparse.Namespace) -> _treatments.Split:
    """The test rows of trial 0; of a file of your own from where it was, or from where --data says it is."""
    path = name
    if name not in DATA:
        given = [text for text in options.data or () if data_name(text) == name]
        path = (given or [r.record["data"] for r in results.runs if r.cell.data == name])[0]
        _treatments.own_files[path] = _treatments.read_file(path, options.target)
    return _treatments.load(path, 0, options.data_home)


def draw(
    results: Results, models_folder: pathlib.Path, options: argparse.Namespace
) -> tuple[list[tuple[str, pathlib.Path]], list[str]]:
    """Draw all figures; their titles and files, and a line for each that could not be."""
    drawn, messages = [], []
    for name, n in figure_rows(results, options.figure_cells):
        where = f"{data_heading(name)}, dim-z {n}"
        models, troubles = load_models(models_folder, results, (name, n))
        messages += troubles
        if not models:
            messages.append(f"no figures of {where}: no model of trial 0 is kept")
            continue
        try:
            split = load_split(name, results, options)
        except (OSError, ValueError, ImportError) as error:
            messages.append(f"no figures of {where}: its rows cannot be read: {error}")
            continue
        stem = f"{options.preset}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}_{n}_figure"
        for figure, title in TITLES.items():
            full = f"Figure {figure}, {where}: {title}"
            path = options.figures / f"{stem}{figure}.png"
            if figure == 1:
                draw_points(path, full, orders(models, split), None)
            elif figure == 3:
                labels = None if split.y_test is None else split.y_test[:N_POINTS]
                draw_points(path, full, points(models, split), labels)
            elif split.image_shape is None:
                messages.append(f"no figure {figure} of {where}: its rows are not images")
                continue
            else:
                found = pictures(figure, models, split)
                if not found:
                    messages.append(f"no figure {figure} of {where}: no model can draw it")
                    continue
                draw_images(path, full, found)
            drawn.append((full, path))
    return drawn, messages


def figure_lines(drawn: Sequence[tuple[str, pathlib.Path]], page: pathlib.Path | None) -> list[str]:
    """Links from the page to the pictures."""
    if not drawn or page is None:
        return []
    lines = [
        "## Figures",
        "",
        "Of trial 0. VAE, VampPrior and MIM: posterior means. Samples: the model's own prior. Grey levels "
        "from 0 (black) to 1 (white).",
        "",
    ]
    for title, path in drawn:
        link = pathlib.Path(os.path.relpath(path, page.parent)).as_posix()
        lines += [f"{title}.", "", f"![{title}]({link})", ""]
    return lines


# ---------------------------------------------------------------------------
# All runs as a table
# ---------------------------------------------------------------------------


def tidy(runs: Sequence[Run]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and lines, one a run."""
    said = ("seconds", "cpu_seconds", "resumed", "n_iter", "date", "hardware")
    packages = sorted({p for r in runs for p in r.record.get("fit", {}).get("versions", {})})
    measures = sorted({name for r in runs for name in r.measures})
    lines = []
    for one in runs:
        fit = one.record.get("fit", {})
        line = {**one.cell._asdict(), "trial": one.trial, "preset": one.record["preset"]}
        line |= {"seed": one.record.get("seed"), "error": one.error}
        line |= {name: fit.get(name) for name in said}
        line |= {"measuring_seconds": one.record.get("measuring_seconds")}
        line |= {"warnings": "; ".join(fit.get("warnings", ()))}
        line |= {f"version_{package}": fit.get("versions", {}).get(package) for package in packages}
        line |= {name: one.measures.get(name) for name in measures}
        line |= {"parameters": json.dumps(one.record["parameters"], sort_keys=True)}
        lines.append(line)
    return list(lines[0]) if lines else [], lines


def write_csv(path: pathlib.Path, runs: Sequence[Run]) -> None:
    """All runs, failed ones too."""
    columns, lines = tidy(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)


# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------


def command_of(options: argparse.Namespace) -> str:
    """The command that makes the page: of paths outside of the folder it is started in, the names alone."""
    words = ["python", "examples/paper/report.py", "--preset", options.preset]
    if options.data:
        words += ["--data", *map(data_name, options.data)]
    if options.target is not None:
        words += ["--target", options.target]
    for name in ("output", "figures", "remarks"):
        path = getattr(options, name)
        if path is not None:
            words += [f"--{name}", path.name if path.is_absolute() or ".." in path.parts else path.as_posix()]
    if options.figure_cells:
        words += ["--figure-cells", *(f"{name}:{n}" for name, n in options.figure_cells)]
    return shlex.join(words)


def page(
    results: Results,
    options: argparse.Namespace,
    problems: Sequence[str] = (),
    drawn: Sequence[tuple[str, pathlib.Path]] = (),
    remarks: str | None = None,
) -> str:
    """All of it."""
    lines = [*head(results, options.preset, command_of(options)), *summary(results), *reading(results)]
    lines += [*beside_paper(results, TABLES[0]), *posterior_means(results), *other_k(results)]
    lines += [*table_2(results), *beside_paper(results, TABLES[1])]
    lines += [*denoising(results), *ablation(results), *local_structure(results), *seconds(results)]
    lines += [*figure_lines(drawn, options.output), *run_notes(results, problems), *settings(results)]
    text = "\n".join(lines).rstrip() + "\n"
    return text if remarks is None else f"{text}\n## Remarks\n\n{remarks.rstrip()}\n"


def _row(text: str) -> tuple[str, int]:
    name, _, n = text.rpartition(":")
    if not name or not n.isdigit():
        raise argparse.ArgumentTypeError(f"must be such as mnist:80. Got {text!r}.")
    return data_name(name), int(n)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="cpu", help="default: cpu")
    add("--results", type=pathlib.Path, default=pathlib.Path("paper_results"), help="default: paper_results")
    add("--output", type=pathlib.Path, metavar="FILE.md", help="the page; default: it is printed")
    add(
        "--figures",
        type=pathlib.Path,
        metavar="FOLDER",
        help="draw Figures 1 and 3 to 6 of the kept models there",
    )
    add("--figure-cells", nargs="+", type=_row, metavar="DATA:DIM", help="default: each one's largest dim-z")
    add("--data", nargs="+", metavar="NAME", help="only these data sets; default: all that have runs")
    add("--target", help="column of a .csv file of your own that holds the labels, for the figures")
    add("--data-home", help="folder of the data sets, for the figures; default: as for run.py")
    add("--remarks", type=pathlib.Path, metavar="FILE.md", help="added at the end, as it is")
    add("--csv", type=pathlib.Path, metavar="FILE.csv", help="all runs, a line each")
    options = parser.parse_args(arguments)
    if options.figure_cells and options.figures is None:
        parser.error("--figure-cells needs --figures.")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Read the runs, write what was asked for."""
    options = parse(arguments)
    folder = options.results / options.preset
    runs, problems = read_runs(folder / "runs", options.preset)
    for problem in problems:
        print(f"Left out: {problem}.", file=sys.stderr)
    names = None if options.data is None else [data_name(text) for text in options.data]
    if not any(names is None or r.cell.data in names for r in runs):
        what = f"preset {options.preset!r}" + (f" on {', '.join(names)}" if names else "")
        raise SystemExit(
            f"There are no runs of the {what} in {folder / 'runs'}. This makes them:\n"
            f"    python examples/paper/run.py --preset {options.preset} --results {options.results}"
        )
    remarks = None
    if options.remarks is not None:
        try:
            remarks = options.remarks.read_text(encoding="utf-8")
        except OSError as error:
            raise SystemExit(f"--remarks cannot be read: {error}") from error
    results = Results(runs, PRESETS[options.preset], Paper(), names)
    drawn: list[tuple[str, pathlib.Path]] = []
    if options.figures is not None:
        sys.path.append(os.getcwd())  # where run.py looks for an estimator of your own
        drawn, messages = draw(results, folder / "models", options)
        for message in messages:
            print(f"{message[0].upper()}{message[1:]}.", file=sys.stderr)
    if options.csv is not None:
        write_csv(options.csv, results.runs)
    text = page(results, options, problems, drawn, remarks)
    if options.output is None:
        print(text, end="")
    else:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")
        print(f"{options.output}: {plural(len(results.runs), 'run')}, {plural(len(drawn), 'figure')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
