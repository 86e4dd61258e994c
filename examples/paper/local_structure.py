"""Figure 1 of the paper in numbers and as a picture: are rows that are close in the data close in the code?

    python examples/paper/local_structure.py --output docs/results/paper_local_structure.md

Mixture of five Gaussians in ten dimensions, codes of two; distances from 20 target rows to 99 others, in the
data and in the code, for SWAE, VAE, AE and PCA. Codes are kept in a file: what is done already is skipped.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from _shared import Page, Store, parser, save
from configurations import Preset
from run import Run, make_estimator, plain, timed_fit
from scipy.stats import sem

from skswae.datasets import make_gmm
from skswae.inspection import NeighborhoodDisplay
from skswae.metrics import neighborhood_agreement, rank_agreement

N_TEST = 100
N_TARGETS = 20  # the first test rows
K = 10

# ---------------------------------------------------------------------------
# What is run
# ---------------------------------------------------------------------------

CELLS = {"gmm": (2,)}
COMPARED = ("swae-1", "swae-0.5", "swae-0", "vae", "ae", "pca")

CONFIGURATIONS = {
    "ours": Preset(
        "The defaults of the package: GatedMLP((300, 300)) started at PCA's solution, Adam with a one-cycle "
        "rate; the VAE with a Gaussian likelihood of one learned scale.",
        CELLS,
        trials=10,
        models=COMPARED,
        settings=[],
    ),
    "paper": Preset(
        "As the authors' code has it, as far as that is known and parameters allow: the same network from "
        "random weights, no inner scaling, normalised gradients under Adam at the constant rate 5e-4, "
        "batches of 100, 50 epochs; log-variances of SWAE's conditional prior from -9 upwards, and 100 "
        "pseudo-inputs, its option's default; log-variances of the VAE's posterior free. The code's default "
        "is 100 epochs. "
        "SWAE(beta=1) has no reconstruction term, like the code's; beta = 0.5 and 0 are equation (10).",
        CELLS,
        trials=10,
        models=COMPARED,
        settings=[
            ("*", "*", {"init": "random", "scaling": None, "solver": "normalized_adam"}),
            ("*", "*", {"learning_rate": "constant", "learning_rate_init": 5e-4}),
            ("*", "*", {"batch_size": 100, "max_iter": 50}),
            ("*", "swae-*", {"prior_scale_floor": math.exp(-4.5), "n_pseudo_inputs": 100}),
            ("*", "vae", {"posterior_scale_floor": 0.0, "likelihood": "gaussian"}),
        ],
    ),
}

# lines of the tables: heading, key of configurations.MODELS, which of its codes
LINES = {
    "SWAE(beta=1)": ("swae-1", "codes"),
    "SWAE(beta=0.5)": ("swae-0.5", "codes"),
    "SWAE(beta=0)": ("swae-0", "codes"),
    "VAE (means)": ("vae", "codes"),
    "VAE (drawn)": ("vae", "drawn"),  # the paper's way
    "AE": ("ae", "codes"),
    "PCA": ("pca", "codes"),
}
SUBJECT = "SWAE(beta=1)"
RIVALS = ("VAE (drawn)", "VAE (means)", "AE", "PCA")
PICTURED = ("SWAE(beta=1)", "VAE (drawn)", "VAE (means)")

MEASURES = {
    "nearest": f"{K} nearest of all rows",
    "rank": "ranks of all rows",
    "nearest_in_mode": f"{K} nearest in the mode",
    "rank_in_mode": "ranks in the mode",
}

# ---------------------------------------------------------------------------
# Measures and statistics
# ---------------------------------------------------------------------------


def agreements(X: np.ndarray, y: np.ndarray, Z: np.ndarray, targets: Any) -> dict[str, float]:
    """Return the agreement of distances in X and in Z, averaged over targets.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        The mode of each row.
    Z : ndarray of shape (n, k)
    targets : sequence of int

    Returns
    -------
    found : dict of str to float
        The keys are those of ``MEASURES``: over all rows, and among the rows of the target's own mode. There
        the neighbours are at most all others; a target whose mode has fewer than 3 rows is left out.
    """
    found = {
        "nearest": neighborhood_agreement(X, Z, n_neighbors=K, targets=targets),
        "rank": rank_agreement(X, Z, targets=targets),
    }
    nearest, rank = [], []
    for own, target in modes(y, targets):
        k = min(K, len(own) - 1)
        nearest.append(neighborhood_agreement(X[own], Z[own], n_neighbors=k, targets=[target]))
        rank.append(rank_agreement(X[own], Z[own], targets=[target]))
    return found | {"nearest_in_mode": float(np.mean(nearest)), "rank_in_mode": float(np.mean(rank))}


def modes(y: np.ndarray, targets: Any) -> Iterator[tuple[np.ndarray, int]]:
    """Yield for each target the rows of its mode, and which of them it is."""
    for target in targets:
        own = np.flatnonzero(y == y[target])
        if len(own) >= 3:
            yield own, int(np.searchsorted(own, target))


def chance(y: np.ndarray, targets: Any) -> dict[str, float]:
    """Return what :func:`agreements` is on average for codes that know nothing of the rows."""
    in_mode = [min(1.0, K / (len(own) - 1)) for own, _ in modes(y, targets)]
    return {
        "nearest": K / (len(y) - 1),
        "rank": 0.0,
        "nearest_in_mode": float(np.mean(in_mode)),
        "rank_in_mode": 0.0,
    }


def flatness(Z: np.ndarray) -> float:
    """Return the standard deviation along the second principal axis over that along the first."""
    deviations = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False)
    return float(deviations[1] / deviations[0])


def paired(a: Any, b: Any) -> tuple[float, float, int]:
    """Return the mean of a - b over seeds, its standard error (NaN for one seed), and how often a > b."""
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    error = float(sem(differences)) if len(differences) > 1 else math.nan
    return float(differences.mean()), error, int(np.sum(differences > 0))


def verdict(mean: float, error: float) -> str:
    """Return what a paired difference says: two standard errors count."""
    if mean > 2 * error:
        return "better"
    return "worse" if mean < -2 * error else "not clearly different"


# ---------------------------------------------------------------------------
# Fits
# ---------------------------------------------------------------------------


def data(seed: int, n_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training rows, test rows, and the modes of these."""
    X, y = make_gmm(n_rows + N_TEST, random_state=seed)
    return X[:n_rows], X[n_rows:], y[n_rows:]


def fit_and_code(estimator: Any, X_train: np.ndarray, X_test: np.ndarray, seed: int) -> dict[str, Any]:
    """Fit, and return notes of it and the codes of test rows."""
    record = timed_fit(estimator, X_train) | {"codes": estimator.transform(X_test).tolist()}
    if hasattr(estimator, "sample_posterior"):
        record["drawn"] = estimator.sample_posterior(X_test, random_state=seed).tolist()
    print(f"{type(estimator).__name__}, seed {seed}: fitted in {record['seconds']:.0f} s", flush=True)
    return record


Records = dict[str, dict[str, list[dict[str, Any]]]]  # configuration, model, seed


def do_all(n_seeds: int, n_rows: int, store: Store) -> Records:
    """Do all fits that the store lacks: all models, then the next seed."""
    records: Records = {name: {m: [] for m in preset.models} for name, preset in CONFIGURATIONS.items()}
    for name, preset in CONFIGURATIONS.items():
        for seed in range(n_seeds):
            X_train, X_test, _ = data(seed, n_rows)
            for model in preset.models:
                estimator = make_estimator(Run("gmm", 2, model, seed), preset, {}, "cpu")
                settings = {n: plain(value) for n, value in estimator.get_params().items()}
                settings |= {"configuration": name, "model": model, "rows": joblib.hash([X_train, X_test])}
                record = store.get(settings, fit_and_code, estimator, X_train, X_test, seed)
                records[name][model].append(record)
    return records


# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------


def measure(records: dict[str, list[dict[str, Any]]], n_rows: int) -> pd.DataFrame:
    """Return all measures of a configuration's records, and those of chance, by line and seed."""
    targets = range(N_TARGETS)
    found: dict[tuple[str, int], dict[str, float]] = {}
    for seed in range(len(records[COMPARED[0]])):
        _, X, y = data(seed, n_rows)
        for line, (model, codes) in LINES.items():
            Z = np.array(records[model][seed][codes])
            found[line, seed] = agreements(X, y, Z, targets) | {"flatness": flatness(Z)}
        found["chance", seed] = chance(y, targets)
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(["line", "seed"])


def statements(found: pd.DataFrame) -> list[str]:
    """Say in sentences what the paired differences are."""
    lines = []
    for rival in RIVALS:
        said: dict[str, list[str]] = {"better": [], "worse": [], "not clearly different": []}
        for name, heading in MEASURES.items():
            mean, error, _ = paired(found.loc[SUBJECT, name], found.loc[rival, name])
            said[verdict(mean, error)].append(heading)
        parts = [f"{word} in {_listed(names)}" for word, names in said.items() if names]
        lines.append(f"Against {rival}, {SUBJECT} is {'; '.join(parts)}.")
    means = found.loc[[*LINES]].groupby("line").mean()
    best = [
        f"{heading}: {means[name].idxmax()}, {means[name].max():.3f}" for name, heading in MEASURES.items()
    ]
    lost = means.loc["VAE (means)"] - means.loc["VAE (drawn)"]
    costs = [f"{lost[name]:.3f} in {heading}" for name, heading in MEASURES.items()]
    lines.append(f"Drawing its codes, in place of means, costs the VAE {_listed(costs)}.")
    return [*lines, f"The highest mean of each measure: {'; '.join(best)}."]


def claim(found: pd.DataFrame) -> str:
    """Return the paper's claim in a line of counts."""
    counts = []
    for rival in RIVALS[:2]:
        verdicts = [
            verdict(*paired(found.loc[SUBJECT, name], found.loc[rival, name])[:2]) for name in MEASURES
        ]
        n_better, n_worse = verdicts.count("better"), verdicts.count("worse")
        counts.append(f"against {rival} better in {n_better} of {len(verdicts)} measures, worse in {n_worse}")
    return "; ".join(counts)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _number(mean: float, deviation: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" if math.isnan(deviation) else f"{mean:{sign}.3f} ± {deviation:.3f}"


DIFFERENCES = """\
- The VAE of the authors' code has a logistic likelihood in 256 cells, which is made for grey levels from
  0 to 1. These rows are real numbers from about -1.5 to 5.5, so that the likelihood here is Gaussian with
  one learned scale, as the data are within a mode.
- The authors take the VAE's codes as draws from the posterior, SWAE's without noise. The tables have the
  VAE both ways.
- In the authors' code pseudo-inputs are unbounded, and the log-variance of the conditional prior is clamped
  to [-9, -3.2]. Here pseudo-inputs stay within the range of the training rows, and a smooth map leads to
  [-9, -1].
- Rows, pseudo-inputs and epochs behind the paper's figure are not known. There is no early stopping here.
"""


def write(page: Page, found: dict[str, pd.DataFrame], n_rows: int) -> None:
    """Write what was measured, and a configuration's tables after the other."""
    n_seeds = found["paper"].index.get_level_values("seed").nunique()
    spread = math.sqrt(0.2 / (10 * 2 + 0.2))  # of the data: make_gmm's variances along and across the line
    page.add(f"""\
The paper: "With SWAE (top) data samples that are close in the data space are also close in the latent space,
while VAE (bottom) cannot preserve such correspondence" (Figure 1; one target, no number).

Here {SUBJECT} is, by more than two standard errors of the differences over {n_seeds} seeds:
""")
    page.paragraph("\n".join(f'- configuration "{name}": {claim(one)}.' for name, one in found.items()))
    page.section(
        "What is measured",
        f"""\
Rows of five Gaussians with means i (1, ..., 1), i = 0 to 4, and covariance 0.2 I in ten dimensions
(`make_gmm`): {n_rows:,} to train, {N_TEST} new ones to test; codes of two numbers. Data, weights and draws
all change with the seed. The targets are the first {N_TARGETS} test rows. Of each:

- *{MEASURES["nearest"]}*: the share of the {K} nearest test rows in the data that are among the {K}
  nearest in the code (`neighborhood_agreement`);
- *{MEASURES["rank"]}*: Spearman's correlation of the distances in the data and in the code, over the
  {N_TEST - 1} others (`rank_agreement`). This is what the paper's picture shows. The order of the modes
  dominates it;
- *in the mode*: both among the test rows of the target's own mode, about 20. No direction matters more
  than another there, and two numbers cannot keep the distances of ten.

They are averaged over the targets; the tables have means and standard deviations over the seeds. *Chance*
is what codes have that know nothing of the rows. *Spread* is the standard deviation of the codes along
their second principal axis over that along the first; in the data it is {spread:.2f}. Differences are paired,
seed by seed. Better and worse mean by more than two standard errors.""",
    )
    for name, of_name in found.items():
        write_configuration(page, name, of_name, n_seeds)
    page.section("What differs from the paper's figure", DIFFERENCES.strip())


def write_configuration(page: Page, name: str, found: pd.DataFrame, n_seeds: int) -> None:
    """Write a configuration's tables and what they say."""
    page.section(f'Configuration "{name}"', CONFIGURATIONS[name].purpose)
    page.header(" | ".join(["model", *MEASURES.values(), "spread"]))
    by_line = found.groupby("line", sort=False)
    for (line, mean), (_, std) in zip(by_line.mean().iterrows(), by_line.std().iterrows()):
        cells = (_number(mean[m], std[m]) for m in MEASURES)
        page.row(line, *cells, "" if math.isnan(mean["flatness"]) else f"{mean['flatness']:.2f}")
    page.add()
    page.paragraph(
        f"{SUBJECT} less another model: mean, standard error, and seeds in which {SUBJECT} is ahead."
    )
    page.header(" | ".join(["other model", *MEASURES.values()]))
    for rival in RIVALS:
        differences = [paired(found.loc[SUBJECT, m], found.loc[rival, m]) for m in MEASURES]
        page.row(rival, *(f"{_number(m, e, '+')}, {n} of {n_seeds}" for m, e, n in differences))
    page.add()
    page.paragraph("\n".join(f"- {sentence}" for sentence in statements(found)))


def draw(records: dict[str, list[dict[str, Any]]], n_rows: int, path: pathlib.Path) -> None:
    """Draw Figure 1: one target, seed 0."""
    from matplotlib.figure import Figure

    _, X, _ = data(0, n_rows)
    figure = Figure(figsize=(7.5, 9.5), layout="constrained")
    for ax, line in zip(figure.subplots(len(PICTURED)), PICTURED):
        model, codes = LINES[line]
        NeighborhoodDisplay.from_arrays(X, np.array(records[model][0][codes]), name=line, ax=ax)
    save(figure, path)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    found = parser(__doc__, "plot")
    add = found.add_argument
    add("--seeds", type=int, default=10, help="how many")
    add("--rows", type=int, default=3_000, help="training rows")
    file = pathlib.Path("paper_results/local_structure.json")
    add("--results", type=pathlib.Path, default=file, help="the fits that are done")
    options = found.parse_args(arguments)
    for name, least in (("seeds", 1), ("rows", 2)):
        if getattr(options, name) < least:
            found.error(f"--{name} must be at least {least}. Got {getattr(options, name)}.")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, and report."""
    options = parse(arguments)
    store = Store(options.results)
    records = do_all(options.seeds, options.rows, store)
    found = {name: measure(by_model, options.rows) for name, by_model in records.items()}
    page = Page("Local structure: Figure 1 of the paper in numbers", options.output)
    write(page, found, options.rows)
    if options.plot is not None:
        draw(records["paper"], options.rows, options.plot)
        overall = [f"{found['paper'].loc[line, 'rank'].mean():.2f}" for line in PICTURED]
        page.section("The picture")
        page.image(options.plot, f"Codes of {_listed(list(PICTURED))}")
        page.paragraph(f"""\
Configuration "paper", seed 0, the first test row as the target. Left: the codes, coloured by the index of
their rows when sorted by the distance to the target (cross) in the data, from 0 to {N_TEST - 1}. Right: that
index against the index of the distance in the code. Codes that kept the order would lie on the diagonal.
Over all targets and seeds the rank agreement is {_listed(overall)}.""")
    warned = {
        text
        for models in records.values()
        for fits in models.values()
        for fit in fits
        for text in fit["warnings"]
    }
    page.paragraph("\n".join(f"- A fit warned: {text}" for text in sorted(warned)))
    page.paragraph(store.note())


if __name__ == "__main__":
    # a fit takes KeyboardInterrupt for a wish to keep what it has; here it is to be done again
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(128 + number))
    torch.set_num_threads(1)
    main()
