"""Tables and figures of the runs that run.py has made, beside the paper's numbers.

    python examples/paper/report.py --preset cpu --output docs/results/paper_cpu.md --figures docs/images

Everything on the page is computed from the runs' files; only what --remarks names is written by hand. --csv
writes all runs as one table, a line each.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import _measures
import figures
import pandas as pd
import run as runner
import tables
from _shared import escaped, markdown_table, named
from configurations import MODELS, PRESETS
from results import (
    CELL,
    FAILED,
    NOTHING,
    Cell,
    Paper,
    Results,
    Stat,
    beta_of,
    data_heading,
    data_name,
    heading,
    number,
    read_runs,
    write_csv,
)
from tables import TABLES


def plural(n: int, noun: str) -> str:
    """Return a number of things."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


# ---------------------------------------------------------------------------
# Head
# ---------------------------------------------------------------------------


def distinct(texts: pd.Series) -> str:
    """Return each text once, with how often if there are several."""
    counts = texts.value_counts(sort=False)
    if len(counts) == 1:
        return counts.index[0]
    return "; ".join(f"{text} ({plural(n, 'run')})" for text, n in counts.items())


def head(results: Results, name: str, command: str) -> list[str]:
    """Say what, when and where, and how far."""
    runs, good = results.runs, results.good
    lines = [f"# The paper's tables: preset `{name}`", "", results.preset.purpose, ""]
    if len(good):
        dates = " to ".join(dict.fromkeys([min(good["date"]), max(good["date"])]))
        packages = good["versions"].map(lambda found: named(dict(sorted(found.items()))))
        lines += [f"{dates}. {distinct(good['hardware'])}. {distinct(packages)}.", ""]
    done = {Cell(*cell) for cell in good[CELL].itertuples(index=False)}
    beyond = len(done - results.expected)
    partly = "at least " if good["resumed"].any() else ""
    return [
        *lines,
        f"Made by `{command}` from runs that `examples/paper/run.py` made with this preset.",
        "",
        f"{len(done & results.expected)} of {plural(len(results.expected), 'cell')} of the preset have been "
        + "run"
        + (f", and {plural(beyond, 'cell')} that it does not name" if beyond else "")
        + f". {plural(len(runs), 'run')}, {len(runs) - len(good) or 'none'} of them failed; trials "
        + f"{', '.join(map(str, sorted(set(runs['trial']))))}; "
        + f"{partly}{good['cpu_seconds'].sum() / 3600:.2f} CPU hours of fits, "
        + f"{good['seconds'].sum() / 3600:.2f} hours by the clock.",
        "",
    ]


def reading(results: Results) -> list[str]:
    """Explain the numbers."""
    return [
        "## How to read this page",
        "",
        f'- The paper is {results.paper.source}. "Paper" is its number, "ours" the mean ± standard '
        "deviation over trials (with n - 1), and in brackets the number of trials.",
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


# ---------------------------------------------------------------------------
# Summary
# ---------------------------------------------------------------------------

# what SWAE and the others are ranked by: measures of which a model's best counts, larger is better, digits
CONTESTS: dict[str, tuple[tuple[str, ...], bool, int]] = {
    "5-NN accuracy": (("knn_5", "knn_5_drawn"), True, 4),
    "reconstruction error": (("reconstruction", "reconstruction_drawn"), False, 3),
    "denoising error": (("denoising",), False, 3),
    "Frechet distance, classifier, own prior": (("frechet_classifier",), False, 2),
    "Frechet distance, classifier, gmm prior": (("frechet_classifier_gmm",), False, 2),
    "neighbourhood agreement": (("neighborhood_agreement",), True, 4),
}


def standings(
    results: Results, row: tuple[str, int], measures: Sequence[str], larger: bool
) -> list[tuple[str, Stat]]:
    """Return the models of a row with their best number, the best model first."""
    sign = -1.0 if larger else 1.0
    found: dict[str, Stat] = {}
    for model in results.models:
        stats = [results.stat(Cell(*row, model), measure) for measure in measures]
        usable = [s for s in stats if s is not None and math.isfinite(s.mean)]
        if usable:
            found[model] = min(usable, key=lambda s: sign * s.mean)
    return sorted(found.items(), key=lambda item: sign * item[1].mean)


def mark(a: Stat, b: Stat) -> str:
    """Mark a lead that is of a single trial, or less than two deviations."""
    room = 2 * math.hypot(a.std, b.std)
    return " †" if math.isnan(room) else " ‡" if abs(a.mean - b.mean) <= room else ""


def contests(results: Results) -> list[str]:
    """Return where a model other than SWAE is ahead of every beta."""
    counts, rows = [], []
    for title, (measures, larger, digits) in CONTESTS.items():
        n_held = n_lost = 0
        for row in results.rows:
            order = standings(results, row, measures, larger)
            swae = [item for item in order if beta_of(item[0]) is not None]
            if not swae or len(swae) == len(order):
                continue
            n_held += 1
            model, best = swae[0]
            ahead = [(m, s) for m, s in order[: order.index(swae[0])] if s.mean != best.mean]
            if ahead:
                n_lost += 1
                others = (f"{heading(m)} {number(s.mean, digits)}{mark(s, best)}" for m, s in ahead)
                ours = f"{heading(model)} {number(best.mean, digits)}"
                rows.append([title, data_heading(row[0]), row[1], ours, ", ".join(others)])
        if n_held:
            counts.append(f"{title} {n_lost} of {n_held}")
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


def verdicts(results: Results) -> list[str]:
    """Return how many cells agree with the paper, by table and model, and those that are not near it."""
    rows, far, n_single, n_all = [], [], 0, 0
    for table in TABLES:
        found = pd.DataFrame(tables.comparisons(results, table))
        if found.empty:
            continue
        title = f"{table.number}, {table.title}"
        groups = {heading(model): group for model, group in found.groupby("model", sort=False)}
        groups = {name: groups[name] for name in map(heading, results.models) if name in groups}
        for name, group in (groups | {"all": found}).items():
            n_each = group["verdict"].value_counts().reindex(["better", "within", "worse"], fill_value=0)
            rows.append([title, name, len(group), *n_each, group["bound"].sum()])
        n_single += sum(ours.n == 1 for ours in found["ours"])
        n_all += len(found)
        missed = found[~found["bound"]]
        if len(missed):
            cells = "; ".join(f"{Cell(*cell)} ({text})" for cell, text in zip(missed["cell"], missed["text"]))
            far.append(f"- Table {table.number}, not {table.bound_text}: {cells}.")
    if not rows:
        return ["No cell that has been run has a number in the paper.", ""]
    columns = ["table", "model", "cells compared", "better", "within two deviations", "worse", "near enough"]
    lines = [
        "Cells compared with the paper: within two standard deviations of it, or better or worse by more. "
        f"Near enough: {', '.join(f'Table {t.number} {t.bound_text}' for t in TABLES)}.",
        "",
        *markdown_table(columns, rows),
    ]
    if n_single:
        lines += [
            f"{n_single} of these {n_all} numbers are of a single trial: for them two deviations are "
            "the paper's alone.",
            "",
        ]
    return [*lines, *far, ""] if far else lines


def denoising_line(results: Results) -> list[str]:
    """Return how often SWAE(beta=1) denoises best."""
    orders = [standings(results, row, ["denoising"], False) for row in results.rows]
    winners = [order[0][0] for order in orders if len(order) > 1 and "swae-1" in dict(order)]
    if not winners:
        return []
    return [
        f"SWAE(beta=1) has the lowest denoising error of all models in {winners.count('swae-1')} of "
        f"{plural(len(winners), 'row')}.",
        "",
    ]


# ---------------------------------------------------------------------------
# Notes
# ---------------------------------------------------------------------------


def mismatches(one: Any, results: Results) -> list[str]:
    """Name the parameters of a run that would be others now; none of a user's own estimator."""
    if one.model not in MODELS:
        return []
    again = runner.Run(one.path, one.n_components, one.model, one.trial)
    estimator = runner.make_estimator(again, results.preset, {}, "auto")
    now = {name: runner.plain(value) for name, value in estimator.get_params().items()}
    apart = ("augment", "device", "verbose")
    names = now.keys() | one.parameters.keys()
    return sorted(n for n in names if n not in apart and now.get(n) != one.parameters.get(n))


def inconsistencies(results: Results) -> list[str]:
    """List the runs that should not stand beside the others."""
    stale: dict[str, list[str]] = {}
    for one in results.runs.itertuples():
        different = mismatches(one, results)
        if different:
            stale.setdefault(", ".join(different), []).append(one.key)
    lines = [
        f"made with other parameters ({names}) than the preset has now: {plural(len(keys), 'run')}, "
        f"{', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for names, keys in stale.items()
    ]
    n_old = int((results.good["measures_version"] != _measures.VERSION).sum())
    if n_old:
        lines.append(
            f"measured by another version of the measures than {_measures.VERSION}: {plural(n_old, 'run')}"
        )
    return lines


def run_notes(results: Results, problems: Sequence[str]) -> list[str]:
    """Return failures, warnings, and files that were left out."""
    n_absent = len(results.expected - set(results.n_runs))
    lines = ["## Runs", "", f"Cells of the preset that have not been run: {n_absent}.", ""]
    where = [Cell(*cell) for cell in results.runs[CELL].itertuples(index=False)]
    runs = results.runs.assign(cell=[str(cell) for cell in where])
    failed = runs[runs["error"].notna()]
    if len(failed):
        lines += markdown_table(["failed run", "trial", "error"], failed[["cell", "trial", "error"]].values)
    else:
        lines += ["No run failed.", ""]
    warned = runs.explode("warnings").dropna(subset="warnings")
    if len(warned):
        said = warned["cell"] + ", trial " + warned["trial"].astype(str)
        said = said.groupby(warned["warnings"], sort=False).agg("; ".join)
        lines += markdown_table(["warning of a fit", "runs"], said.items())
    else:
        lines += ["No fit warned.", ""]
    for title, odd in {
        "To be run again, or not to be compared:": inconsistencies(results),
        "Files that are left out:": problems,
    }.items():
        if odd:
            lines += [title, "", *(f"- {escaped(line)}" for line in odd), ""]
    return lines


def settings(results: Results) -> list[str]:
    """Return what the preset says; what it does not name is the class's default."""
    rows = [
        [f"`{data}`", f"`{model}`", ", ".join(f"{n}={runner.plain(v)}" for n, v in parameters.items())]
        for data, model, parameters in results.preset.settings
        if any(fnmatchcase(path, data) for path in results.runs["path"])
    ]
    return [
        "## Settings of the preset",
        "",
        "Patterns of data sets and models, as in a shell, for what is on this page; later lines override "
        "earlier ones, and what no line names is the class's default.",
        "",
        *markdown_table(["data", "model", "parameters"], rows),
    ]


# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------


def command_of(options: argparse.Namespace) -> str:
    """Return the command that makes the page: for paths outside of the current folder the names alone."""
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
    """Assemble all of it."""
    first, third = TABLES
    lines = [*head(results, options.preset, command_of(options)), "## Summary", ""]
    lines += [*verdicts(results), *contests(results), *denoising_line(results), *reading(results)]
    lines += [
        *tables.beside_paper(results, first),
        *tables.posterior_means(results),
        *tables.other_k(results),
    ]
    lines += [*tables.table_2(results), *tables.beside_paper(results, third)]
    lines += [*tables.denoising(results), *tables.ablation(results), *tables.local_structure(results)]
    lines += [*tables.seconds(results), *figures.figure_lines(drawn, options.output)]
    lines += [*run_notes(results, problems), *settings(results)]
    text = "\n".join(lines).rstrip() + "\n"
    return text if remarks is None else f"{text}\n## Remarks\n\n{remarks.rstrip()}\n"


def _row(text: str) -> tuple[str, int]:
    name, _, n = text.rpartition(":")
    if not name or not n.isdigit():
        raise argparse.ArgumentTypeError(f"must be such as mnist:80. Got {text!r}.")
    return data_name(name), int(n)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, path = parser.add_argument, pathlib.Path
    add("--preset", choices=PRESETS, default="cpu", help="default: cpu")
    add("--results", type=path, default=path("paper_results"), help="default: paper_results")
    add("--output", type=path, metavar="FILE.md", help="the page; default: it is printed")
    add("--figures", type=path, metavar="FOLDER", help="draw Figures 1 and 3 to 6 of the kept models there")
    add("--figure-cells", nargs="+", type=_row, metavar="DATA:DIM", help="default: each one's largest dim-z")
    add("--data", nargs="+", metavar="NAME", help="only these data sets; default: all that have runs")
    add("--target", help="column of a .csv file of your own that holds the labels, for the figures")
    add("--data-home", help="folder of the data sets, for the figures; default: as for run.py")
    add("--remarks", type=path, metavar="FILE.md", help="added at the end, as it is")
    add("--csv", type=path, metavar="FILE.csv", help="all runs, a line each")
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
    if runs.empty or (names is not None and not runs["data"].isin(names).any()):
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
        drawn, messages = figures.draw(results, folder / "models", options)
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
