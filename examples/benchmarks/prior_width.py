"""How wide the conditional prior is, and how k is best drawn: samples, judged.

Nothing in equation (10) keeps the scale of p(z | u_k) up, so it ends on its floor. Compared on digits, with
the defaults otherwise (8 components, 30 % test rows, model seed = split seed):

- floors of the scale; k drawn by usage or uniformly; the scale learned or matched to the codes within cells;
- a GaussianMixture (10 full covariances) fitted to the codes of the default model, for comparison;
- the training rows themselves, and a Gaussian in PCA space, for scale.

Then learned against matched on standardised tables.

Columns: Frechet distance between 5,000 samples and the test rows on the raw features; median distance of a
sample to its nearest training row over that of a test row (below 1: samples copy); total variation between
the class histograms of samples and training rows by a 5-NN classifier; 5-NN accuracy and reconstruction
error.
"""

from __future__ import annotations

import numpy as np
import torch
from _harness import Page, mean_and_std, parser
from _samples import judge
from quality_defaults import evaluate, splits
from sklearn.decomposition import PCA

from skswae import SWAETransformer

N_SAMPLES = 5000


class Measured(dict):
    """Name -> (Frechet, ratio, total variation, 5-NN accuracy, reconstruction error)."""

    def __init__(self, X_train, X_test, y_train, y_test, seed):
        super().__init__()
        self.data, self.seed = (X_train, X_test, y_train, y_test), seed

    def add(self, name, model, **sampling):
        """Judge samples of a fitted model."""
        self.add_rows(name, model.sample(N_SAMPLES, random_state=self.seed, **sampling))
        self[name] = (*self[name][:3], *evaluate(model, *self.data))

    def add_rows(self, name, samples):
        """Judge rows of no model of ours."""
        X_train, X_test, y_train, _ = self.data
        columns = judge(samples, X_train, X_test, y_train)
        names = "Frechet distance", "nearest-row ratio", "class total variation"
        self[name] = (*(columns[column] for column in names), np.nan, np.nan)


def all_variants(seed, data):
    """Measure everything, for digits."""
    found = Measured(*data, seed)
    X_train = data[0]
    for floor in (0.02, 0.05, 0.1, 0.2):
        model = SWAETransformer(prior_scale_floor=floor, random_state=seed).fit(X_train)
        for scale, weights in (("learned", "uniform"), ("learned", "usage"), ("matched", "usage")):
            model.set_params(prior_scale=scale, pseudo_input_weights=weights)
            found.add(f"floor {floor}, {scale}, {weights}", model)
        if floor == 0.1:
            found.add("floor 0.1, GaussianMixture on the codes", model, prior="gmm")
    pca = PCA(8).fit(X_train)
    Z = pca.transform(X_train)
    rng = np.random.default_rng(seed)
    gaussian = rng.multivariate_normal(Z.mean(axis=0), np.cov(Z.T), N_SAMPLES)
    found.add_rows("Gaussian in PCA space", pca.inverse_transform(gaussian))
    found.add_rows("training rows", X_train)
    return found


def learned_and_matched(seed, data):
    """Measure the two scales of the default, for tables."""
    found = Measured(*data, seed)
    model = SWAETransformer(4, random_state=seed).fit(data[0])
    for scale in ("learned", "matched"):
        found.add(f"{scale}, usage", model.set_params(prior_scale=scale))
    return found


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3, help="splits of digits")
    arguments.add_argument("--table-seeds", type=int, default=10, help="splits of the tables")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Page("How wide is the prior?", arguments.output)
    page.paragraph("\n".join(__doc__.split("\n")[2:-1]))
    for name, n_components, n_seeds, run in (
        ("digits", 8, arguments.seeds, all_variants),
        ("wine", 4, arguments.table_seeds, learned_and_matched),
        ("breast cancer", 4, arguments.table_seeds, learned_and_matched),
    ):
        results = [run(seed, data) for seed, *data in splits(name, n_seeds)]
        page.section(
            f"{name}, {n_components} components: means and standard deviations over {n_seeds} splits"
        )
        page.header(
            "variant | Frechet distance | nearest-row ratio | class total variation | 5-NN accuracy | "
            "reconstruction error"
        )
        for variant in results[0]:
            page.row(variant, *map(mean_and_std, zip(*(r[variant] for r in results))))
        page.add()


if __name__ == "__main__":
    main()
