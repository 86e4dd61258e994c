"""The tables of the report, as lines of Markdown: the paper's, with its numbers beside ours, and others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import _measures
from _shared import markdown_table
from results import NOTHING, Cell, Results, Stat, beta_of, data_heading, heading
from scipy.stats import rankdata, spearmanr

TINY = 1e-9  # 0.97 - 0.96 is not quite 0.01


def matrix(
    results: Results,
    text: Callable[[Cell], str],
    models: Sequence[str] | None = None,
    rows: Sequence[tuple[str, int]] | None = None,
) -> list[str]:
    """Lay out a table as the paper does: data set and dim-z down, models across."""
    models = results.models if models is None else models
    rows = results.rows if rows is None else rows
    return markdown_table(
        ["data", "dim-z", *map(heading, models)],
        ([data_heading(row[0]), row[1], *(text(Cell(*row, model)) for model in models)] for row in rows),
    )


# ---------------------------------------------------------------------------
# Tables 1 and 3
# ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper that is repeated."""

    number: str
    title: str
    measure: str
    larger_is_better: bool
    digits: int
    bound_text: str
    bound: Callable[[float, float], bool]  # ours, paper's


TABLES = (
    Table(
        "1", "5-NN accuracy", "knn_5", True, 4,
        "within 0.01 or better", lambda ours, paper: ours - paper >= -0.01 - TINY,
    ),
    Table(
        "3", "reconstruction error", "reconstruction", False, 2,
        "within 10 % or better", lambda ours, paper: ours <= 1.1 * paper * (1 + TINY),
    ),
)  # fmt: skip


class Comparison(NamedTuple):
    """Our number with the paper's."""

    cell: Cell
    model: str
    ours: Stat
    difference: float
    verdict: str  # "better", "within" or "worse": two standard deviations count
    bound: bool
    text: str  # of the difference


def compare(table: Table, cell: Cell, ours: Stat, paper: float, paper_std: float) -> Comparison:
    """Compare by two deviations of the difference; our own is taken as 0 where it is not known."""
    difference = ours.mean - paper
    room = 2 * math.hypot(0.0 if math.isnan(ours.std) else ours.std, paper_std)
    if abs(difference) <= room + TINY:
        verdict = "within"
    else:
        gain = difference if table.larger_is_better else -difference
        verdict = "better" if gain > 0 else "worse"  # NaN is worse
    text = f"{difference:+.{table.digits}f}"
    if not table.larger_is_better:
        text += f", {100 * difference / paper:+.1f} %"
    bound = table.bound(ours.mean, paper)
    return Comparison(cell, cell.model, ours, difference, verdict, bound, text)


def comparisons(results: Results, table: Table) -> list[Comparison]:
    """Compare every cell that has been run and that the paper has."""
    found = []
    for cell in (Cell(*row, model) for row in results.rows for model in results.models):
        ours = results.stat(cell, results.papers_way(cell, table.measure))
        theirs = results.paper(table.number, cell)
        if ours is not None and theirs is not None:
            found.append(compare(table, cell, ours, *theirs))
    return found


def beside_paper(results: Results, table: Table) -> list[str]:
    """Return the matrix and the list of cells of a table that the paper has."""
    compared = {c.cell: c for c in comparisons(results, table)}

    def short(cell: Cell) -> str:
        way = results.papers_way(cell, table.measure)
        ours = results.short(cell, way, digits=3 if table.measure == "knn_5" else 2)
        paper = results.paper(table.number, cell)
        return f"{ours} / {paper[0]:.2f}" if paper else ours

    def line(cell: Cell) -> list[str]:
        way = results.papers_way(cell, table.measure)
        paper, c = results.paper(table.number, cell), compared.get(cell)
        theirs = NOTHING
        if paper is not None:
            theirs = f"{paper[0]:.2f} ± {paper[1]:.2f}" if table.number == "3" else f"{paper[0]:.2f}"
        verdict = [NOTHING] * 3
        if c is not None:
            within = {"within": "yes", "better": "no, better", "worse": "no, worse"}[c.verdict]
            verdict = [c.text, within + (" †" if c.ours.n == 1 else ""), "yes" if c.bound else "no"]
        means = results.text(cell, table.measure, table.digits) if way != table.measure else NOTHING
        ours = results.text(cell, way, table.digits)
        return [
            data_heading(cell.data),
            str(cell.n_components),
            heading(cell.model),
            ours,
            theirs,
            *verdict,
            means,
        ]

    columns = ["data", "dim-z", "model", "ours", "paper", "difference", "within two deviations"]
    cells = (cell for row in results.rows for cell in results.cells(row) if cell in results.n_runs)
    return [
        f"## Table {table.number}: {table.title}",
        "",
        "Ours / paper, or ours alone where the paper has no number. VAE, VampPrior and MIM: drawn codes, as "
        "in the paper.",
        "",
        *matrix(results, short),
        "Every cell that has been run:",
        "",
        *markdown_table([*columns, table.bound_text, "ours, on posterior means"], map(line, cells)),
    ]


def posterior_means(results: Results) -> list[str]:
    """Return 5-NN accuracies both ways, for the models that have both."""
    models = [
        m for m in results.models if any(results.stat(Cell(*row, m), "knn_5_drawn") for row in results.rows)
    ]
    if not models:
        return []
    lines = matrix(results, lambda cell: results.short(cell, "knn_5_drawn", "knn_5", digits=3), models)
    return ["5-NN accuracy, drawn codes / posterior means:", "", *lines]


def other_k(results: Results) -> list[str]:
    """Return 3-NN and 10-NN accuracies, in short."""
    return [
        "3-NN / 10-NN accuracy; VAE, VampPrior and MIM on drawn codes. The paper says that they are similar.",
        "",
        *matrix(
            results,
            lambda cell: results.short(
                cell, *(results.papers_way(cell, f"knn_{k}") for k in (3, 10)), digits=3
            ),
        ),
    ]


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
    """Return the SWAE of the smallest Frechet distance."""
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
    """Return models by priors: the paper's FID, then our measures."""

    def line(title: str, cell: Cell, paper_cell: Cell, prior: str) -> list[str]:
        paper = results.paper("2", paper_cell) if prior == "own" else None  # the paper's models have theirs
        values = (results.text(cell, name + PRIORS[prior], n) for name, n in SAMPLE_MEASURES.items())
        return [title, prior, f"{paper[0]:.0f}" if paper else NOTHING, *values]

    lines = [line(heading(cell.model), cell, cell, prior) for cell in results.cells(row) for prior in PRIORS]
    waiting = {heading(cell.model) for cell in results.cells(row) if cell not in results.n_runs}
    lines = [one for one in lines if set(one[3:]) != {NOTHING} or (one[1] == "own" and one[0] in waiting)]
    for prior, suffix in PRIORS.items():
        best = best_beta(results, row, suffix)
        if best is not None:
            title = f"SWAE(beta*): {heading(best)}"
            lines.append(line(title, Cell(*row, best), Cell(*row, "swae-*"), prior))
    return lines


class Ranks(NamedTuple):
    """The order of models in a row, ours and the paper's."""

    ours: dict[str, float]
    paper: dict[str, float]
    correlation: float  # NaN where all of one side are equal


def ranks(results: Results, row: tuple[str, int]) -> Ranks | None:
    """Rank the models that have both our distance and the paper's FID; None for fewer than four."""
    pairs = {}
    for model in results.models:
        stat = results.stat(Cell(*row, model), "frechet_classifier")
        paper = results.paper("2", Cell(*row, model))
        if stat is not None and paper is not None and math.isfinite(stat.mean):
            pairs[model] = stat.mean, paper[0]
    if len(pairs) < 4:
        return None
    sides = list(zip(*pairs.values()))
    ours, theirs = (dict(zip(pairs, rankdata(side).tolist())) for side in sides)
    varied = all(len(set(side)) > 1 for side in sides)
    return Ranks(ours, theirs, float(spearmanr(*sides).statistic) if varied else math.nan)


def rank_lines(results: Results) -> list[str]:
    """Return the table of ranks."""
    found = {row: r for row in results.rows if (r := ranks(results, row)) is not None}
    if not found:
        return ["Ranks are compared where four models have a number here and in the paper: nowhere yet.", ""]
    models = [m for m in results.models if any(m in r.ours for r in found.values())]
    rows = []
    for (name, n), r in found.items():
        texts = (f"{r.ours[m]:g} / {r.paper[m]:g}" if m in r.ours else NOTHING for m in models)
        correlation = NOTHING if math.isnan(r.correlation) else f"{r.correlation:+.2f}"
        rows.append([data_heading(name), n, correlation, len(r.ours), *texts])
    return [
        "Rank within a row by our distance (classifier, own prior) / by the paper's FID, and Spearman's "
        "correlation of the two:",
        "",
        *markdown_table(["data", "dim-z", "correlation", "models", *map(heading, models)], rows),
    ]


def table_2(results: Results) -> list[str]:
    """Return the measures of samples."""
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
    rows = results.rows_with("frechet_pixels", "frechet_pixels_gmm")
    if not rows:
        return [*lines, "No samples have been measured.", ""]
    both = [f"frechet_classifier{suffix}" for suffix in PRIORS.values()]
    lines += ["Frechet distance, classifier: own prior / gmm prior.", ""]
    lines += matrix(results, lambda cell: results.short(cell, *both, digits=1), rows=rows)
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
    """Return section 3.4 of the paper in numbers."""
    rows = results.rows_with("denoising", "reconstruction")
    return [
        "## Denoising (section 3.4, Figure 6)",
        "",
        f"Gaussian noise of deviation {_measures.NOISE} is added to test rows; by itself it is a squared "
        f"error of {_measures.NOISE**2:.2f} a feature. Reconstruction error of noisy rows against the clean "
        "ones / of clean rows. VAE, VampPrior and MIM: posterior means. The paper shows pictures, and says "
        "that only SWAE(beta=1) recovers clean images.",
        "",
        *matrix(results, lambda c: results.short(c, "denoising", "reconstruction", digits=2), rows=rows),
    ]


ABLATION = {
    "5-NN accuracy": ("knn_5", 4),
    "reconstruction": ("reconstruction", 2),
    "denoising": ("denoising", 2),
    "Frechet, classifier": ("frechet_classifier", 2),
    "neighbourhood agreement": ("neighborhood_agreement", 4),
}


def ablation(results: Results) -> list[str]:
    """Return SWAE's numbers by beta."""
    cells = [
        cell
        for row in results.rows
        for cell in sorted(results.cells(row), key=lambda c: beta_of(c.model) or 0.0)
        if beta_of(cell.model) is not None
    ]
    if not cells:
        return []
    rows = (
        [
            data_heading(c.data),
            c.n_components,
            beta_of(c.model),
            *(results.text(c, *m) for m in ABLATION.values()),
        ]
        for c in cells
    )
    return [
        "## SWAE by beta",
        "",
        "beta = 1: no reconstruction loss; beta = 0: no x-loss.",
        "",
        *markdown_table(["data", "dim-z", "beta", *ABLATION], rows),
    ]


def local_structure(results: Results) -> list[str]:
    """Return whether neighbours in the data are neighbours among the codes."""
    lines = [
        "## Local structure",
        "",
        f"Of the first {_measures.N_LOCAL:,} test rows at most. VAE, VampPrior and MIM: posterior means.",
        "",
    ]
    for measure, text in {
        "neighborhood_agreement": "Neighbourhood agreement: the share of the 10 nearest test rows that are "
        "also among the 10 nearest codes.",
        "trustworthiness": "Trustworthiness: whether the 5 nearest codes belong to rows that are near; 1 is "
        "best.",
    }.items():
        cells = matrix(
            results, lambda cell, m=measure: results.text(cell, m, 3), rows=results.rows_with(measure)
        )
        lines += [text, "", *cells]
    return lines


def seconds(results: Results) -> list[str]:
    """Return the CPU seconds of a fit."""
    fits = results.good.groupby(["data", "n_components", "model"])[["cpu_seconds", "resumed"]].mean()
    known = {Cell(*cell): (cpu, resumed > 0) for cell, cpu, resumed in fits.itertuples()}

    def text(cell: Cell) -> str:
        if cell not in known:
            return results.text(cell, "", 0)
        mean, resumed = known[cell]
        if mean < 0.1:
            return "< 0.1"
        return f"{'≥ ' if resumed else ''}{mean:.{0 if mean >= 10 else 1}f}"

    return [
        "## CPU seconds a fit",
        "",
        "Mean over trials. ≥: a fit was interrupted, and only the time of its last part is known.",
        "",
        *matrix(results, text),
    ]
