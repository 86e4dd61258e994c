"""Overfitting of small noisy data: all epochs, rows held out, a larger beta, and early stopping.

Training rows are noisy, and so are the test rows, which are encoded and decoded; the result is compared
with the same rows without the noise (root of the mean squared error, "RMSE"). Digits, wine and breast cancer
have no clean rows: there the test rows themselves are compared. PCA has as many components. Seeds draw the
data, or the split, and the model.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from _harness import Page, Store, mean_and_std, parser
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)
from skswae.metrics import knn_accuracy

MODELS = {
    "AE": AETransformer,
    "VAE": VAETransformer,
    "WAE-MMD": WAETransformer,
    "SWAE": SWAETransformer,
    # with the number of pseudo-inputs that the README advises for few rows
    "VampPrior": partial(VampPriorTransformer, n_pseudo_inputs=20),
    "MIM": partial(MIMTransformer, n_pseudo_inputs=20),
}


def spectra(noise, seed):
    """Return 300 + 300 spectra of 1,000 points: five peaks of random heights and places, and noise."""
    rng = np.random.default_rng(seed)
    x, clean = np.linspace(0, 1, 1000), np.zeros((600, 1000))
    for place in (0.2, 0.35, 0.5, 0.65, 0.8):
        height = rng.uniform(0.2, 1.0, (600, 1))
        moved = place + rng.uniform(-0.02, 0.02, (600, 1))
        clean += height * np.exp(-0.5 * ((x - moved) / 0.03) ** 2)
    X = clean + noise * rng.normal(size=clean.shape)
    return X[:300], X[300:], clean[300:], None


def images(noise, seed):
    """Return 300 + 597 digits with each pixel repeated twice each way, and noise."""
    rng = np.random.default_rng(seed)
    X, y = load_digits(return_X_y=True)
    order = rng.permutation(len(X))
    clean = X[order].reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2).reshape(len(X), -1) / 16
    X, y = clean + noise * rng.normal(size=clean.shape), y[order]
    return X[:300], X[1200:], clean[1200:], (y[:300], y[1200:])


def gaussian(seed):
    """Return 500 + 500 rows of rank 4 and 50 columns, and noise of half their standard deviation."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 50)) / 2
    X = clean + 0.5 * rng.normal(size=clean.shape)
    return X[:500], X[500:], clean[500:], None


def table(load, seed):
    """Return a split of a data set of scikit-learn: digits divided by 16, others standardised."""
    X, y = load(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if load is load_digits:
        X, X_test = X / 16, X_test / 16
    else:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    return X, X_test, X_test, (y, y_test)


DATA = {
    "spectra, noise 0.3": partial(spectra, 0.3),
    "spectra, noise 0.1": partial(spectra, 0.1),
    "spectra, noise 0.03": partial(spectra, 0.03),
    "digits 16x16, noise 0.25": partial(images, 0.25),
    "digits 16x16, clean": partial(images, 0.0),
    "Gaussian, rank 4, noise 0.5": gaussian,
    "digits": partial(table, load_digits),
    "wine": partial(table, load_wine),
    "breast cancer": partial(table, load_breast_cancer),
}
FEW, OTHERS = ("AE", "SWAE"), ("VAE", "WAE-MMD", "VampPrior", "MIM")
EARLY = {"early_stopping": True, "max_iter": 500}
# part -> title, text, (data, components, models), name -> what is set
PARTS = {
    "stopping": (
        "Early stopping with up to 500 epochs",
        "early is `early_stopping=True, max_iter=500`, at the constant rate that goes with it. Digits have "
        "19 rows for each column: their default is all epochs.",
        [
            ("digits", 8, FEW),
            ("spectra, noise 0.1", 8, FEW),
            ("wine", 8, FEW),
            ("breast cancer", 2, FEW),
        ],
        {"default": {}, "early": EARLY},
    ),
    "default": (
        "All epochs against the default",
        "The default holds rows out where there are fewer than 15 for each column, as in all rows below; all "
        "epochs are those of `early_stopping=False`.",
        [
            ("spectra, noise 0.3", 8, FEW),
            ("spectra, noise 0.1", 8, FEW),
            ("spectra, noise 0.03", 8, FEW),
            ("digits 16x16, noise 0.25", 16, FEW),
            ("digits 16x16, clean", 16, FEW),
            ("Gaussian, rank 4, noise 0.5", 4, FEW),
            ("wine", 2, FEW),
            ("wine", 8, FEW),
            ("breast cancer", 2, FEW),
        ],
        {"all epochs": {"early_stopping": False}, "default": {}},
    ),
    "beta": (
        "A larger beta instead",
        "SWAE for all epochs, with `beta=0.9` in place of 0.5.",
        [("spectra, noise 0.3", 8, ("SWAE",)), ("spectra, noise 0.1", 8, ("SWAE",))],
        {"beta 0.9": {"early_stopping": False, "beta": 0.9}},
    ),
    "cycle": (
        "Early stopping with the one-cycle rate",
        'As early in the first table, with `learning_rate="one_cycle"`: patience waits for the peak of the '
        "rate, in epoch 150.",
        [("digits", 8, ("AE",)), ("wine", 8, ("AE",)), ("breast cancer", 2, ("AE",))],
        {"one cycle": {**EARLY, "learning_rate": "one_cycle"}},
    ),
    "models": (
        "The other models, all epochs against the default",
        "VampPrior and MIM have 20 pseudo-inputs.",
        [("spectra, noise 0.3", 8, OTHERS), ("wine", 2, OTHERS)],
        {"all epochs": {"early_stopping": False}, "default": {}},
    ),
}


def errors(model, X, X_test, clean, labels):
    """Return RMSE and accuracy of a fitted transformer."""
    Z, Z_test = model.transform(X), model.transform(X_test)
    rmse = float(np.sqrt(np.mean((model.inverse_transform(Z_test) - clean) ** 2)))
    accuracy = np.nan if labels is None else float(knn_accuracy(Z, labels[0], Z_test, labels[1]))
    return {"rmse": rmse, "accuracy": accuracy}


def measure(data, n_components, make, parameters, seed):
    """Fit a model, and return its errors, epochs and cost."""
    rows = DATA[data](seed)
    if make is None:
        return errors(PCA(n_components, random_state=seed).fit(rows[0]), *rows)
    start = time.process_time()
    model = make(n_components, random_state=seed, **parameters).fit(rows[0])
    seconds = time.process_time() - start
    held_out = {"held out": model.early_stopping_, "epochs": model.n_iter_, "seconds": seconds}
    return {**errors(model, *rows), **held_out}


def compare(page, store, tasks, variants, n_seeds):
    """Add a row for each data set and model: RMSE, accuracy and epochs of each variant."""
    names = list(variants)
    columns = [f"{kind}, {name}" for kind in ("RMSE", "5-NN", "epochs") for name in names]
    page.header(" | ".join(["data", "rows x columns", "components", "model", "RMSE, PCA", *columns]))
    for data, n_components, models in tasks:
        task, seeds = {"data": data, "n_components": n_components}, range(n_seeds)
        shape = " x ".join(f"{n:,}" for n in DATA[data](0)[0].shape)
        pca = [store.get({**task, "seed": s}, measure, data, n_components, None, {}, s) for s in seeds]
        for name in models:
            found = {
                variant: [
                    store.get(
                        {**task, "model": name, "seed": seed, **parameters},
                        measure,
                        *(data, n_components, MODELS[name], parameters, seed),
                    )
                    for seed in seeds
                ]
                for variant, parameters in variants.items()
            }
            rmse = (mean_and_std([r["rmse"] for r in results]) for results in found.values())
            accuracy = (mean_and_std([r["accuracy"] for r in results]) for results in found.values())
            epochs = (f"{np.mean([r['epochs'] for r in results]):.0f}" for results in found.values())
            first = mean_and_std([r["rmse"] for r in pca])
            page.row(data, shape, n_components, name, first, *rmse, *accuracy, *epochs)
    page.add()


def main():
    arguments = parser(__doc__, "resume")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts of the page")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    store = Store(arguments.resume)
    page = Page("Overfitting of small noisy data", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n", 1)[1].split()))
    page.paragraph(f"Means and standard deviations over {arguments.seeds} seeds.")
    for part in arguments.only:
        title, text, tasks, variants = PARTS[part]
        page.section(title, text)
        compare(page, store, tasks, variants, arguments.seeds)
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
