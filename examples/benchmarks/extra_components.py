"""More components than the rows have directions: what the codes, the reconstructions and the samples become.

PCA refuses more components than features; a generative code may be wider. Every model with its defaults (20
pseudo-inputs for VampPrior and MIM, which is symmetric), on two thirds of the rows; judged on the others and
on 3,000 samples:

- a plane: 900 Gaussian rows of 6 features and rank 2, with standard deviations 2 and 1;
- iris, standardised: 150 rows of 4 features.

Columns: squared reconstruction error over the variance of the held-out rows; standard deviations of the
codes in the first components, as many as the rank, which start at PCA's code, and smallest to largest in
the rest, which start at random; variance of the samples over that of the training rows; the share of that
variance that lies off the plane of the training rows.
"""

from __future__ import annotations

import numpy as np
import torch
from _harness import Page, parser
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

import skswae

NAMES = "AE", "SWAE", "VAE", "WAE", "VampPrior", "MIM"
N_SAMPLES = 3000


def plane(rng):
    """Return rows that lie on a plane."""
    directions = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    return 5 + (rng.standard_normal((900, 2)) * [2.0, 1.0]) @ directions


def iris(rng):
    """Return the rows of iris in random order, each feature with variance 1."""
    return rng.permutation(StandardScaler().fit_transform(load_iris().data))


def judged(name, n_components, X_train, X_test, rank):
    """Fit a model and return the columns."""
    options = {"n_pseudo_inputs": 20} if name in ("VampPrior", "MIM") else {}
    if name == "MIM":
        options["sampling"] = "symmetric"
    model = getattr(skswae, f"{name}Transformer")(n_components, random_state=0, device="cpu", **options)
    model.fit(X_train)
    mean = X_train.mean(axis=0)
    error = -model.score(X_test) / np.square(X_test - mean).sum(axis=1).mean()
    spread = np.sort(model.transform(X_test).std(axis=0)[rank:])
    first = model.transform(X_test).std(axis=0)[:rank]
    samples = model.sample(N_SAMPLES, random_state=0) - mean
    _, _, directions = np.linalg.svd(X_train - mean)
    variances = (samples @ directions.T).var(axis=0)
    return (
        f"{error:.4f}",
        ", ".join(f"{number:.2f}" for number in first),
        f"{spread[0]:.2f} to {spread[-1]:.2f}" if len(spread) else "",
        f"{variances.sum() / X_train.var(axis=0).sum():.2f}",
        f"{variances[rank:].sum() / variances.sum():.4f}",
    )


def main():
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    page = Page("More components than directions", arguments.output)
    page.paragraph("\n".join(__doc__.split("\n")[2:-1]))
    for title, make, rank, sizes in (
        ("A plane in 6 features", plane, 2, (2, 4, 8)),
        ("iris, 4 features", iris, 4, (4, 8)),
    ):
        X = make(np.random.default_rng(0))
        n_train = 2 * len(X) // 3
        page.section(title)
        page.header(
            "model | components | error over variance | sd of the first codes | sd of the rest | variance of "
            "samples over the rows' | share off the plane"
        )
        for name in NAMES:
            for n_components in sizes:
                columns = judged(name, n_components, X[:n_train], X[n_train:], rank)
                page.row(name, str(n_components), *columns)
        page.add()


if __name__ == "__main__":
    main()
