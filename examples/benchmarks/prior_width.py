"""What keeps the conditional prior from narrowing, and how k is best drawn: samples, judged.

Nothing in equation (10) keeps the scale of p(z | u_k) up, so it ends on its floor. Compared on digits, with
the defaults otherwise (8 components, 30 % test rows, model seed = split seed):

- floors of the scale; k drawn by usage or uniformly; the scale learned or matched to the codes within cells;
- "entropy": a bonus of -gamma/2 sum log s^2 in the objective;
- "balanced": Step 2 by argmin |x - u_k|^2 - psi_k with psi_k raised where a u_k gets less than its share,
  which makes the uniform prior the coupling's marginal;
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
from _report import Report, parser
from _samples import judge
from quality_defaults import accuracy, splits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skswae import SWAETransformer
from skswae._swae import SWAEModule

N_SAMPLES = 5000


class EntropyModule(SWAEModule):
    """Equation (10) less gamma/2 sum_j log s_j^2 of the conditional prior."""

    gamma = 0.05

    def losses(self, x, generator):
        ((player, terms),) = super().losses(x, generator)
        _, log_variance = self.conditional_prior(self.pseudo_inputs.rows[self.assign(x)])
        bonus = 0.5 * self.gamma * log_variance.sum(dim=1).mean()
        yield player, {**terms, "loss": terms["loss"] - bonus}


class BalancedModule(SWAEModule):
    """Semi-discrete optimal transport in Step 2: every pseudo-input ends with an equal share of rows."""

    eta = 1.0
    psi = None

    @torch.no_grad()
    def assign(self, x, z_e=None):
        if self.psi is None:
            self.psi = torch.zeros(len(self.pseudo_inputs.rows))
        chosen = (torch.cdist(x, self.pseudo_inputs.rows).square() - self.psi).argmin(dim=1)
        if self.training:
            share = torch.bincount(chosen, minlength=len(self.psi)) / len(x)
            self.psi += self.eta * (1 / len(self.psi) - share)
        return chosen


def variant(Module, **attributes):
    """SWAETransformer with another module."""

    class Variant(SWAETransformer):
        def _build_module(self, parts):
            reference = super()._build_module(parts)
            module = Module(parts, len(reference.pseudo_inputs.rows), self.prior_scale_floor)
            for name, value in attributes.items():
                setattr(module, name, value)
            return module

    return Variant


def measures(samples, X_train, X_test, y_train):
    """Frechet distance, nearest-row ratio, total variation of classes."""
    columns = judge(samples, X_train, X_test, y_train)
    return columns["Frechet distance"], columns["nearest-row ratio"], columns["class total variation"]


class Measured(dict):
    """Name -> (Frechet, ratio, total variation, 5-NN accuracy, reconstruction error)."""

    def __init__(self, X_train, X_test, y_train, y_test, seed):
        super().__init__()
        self.data, self.seed = (X_train, X_test, y_train, y_test), seed

    def add(self, name, model, samples=None):
        """Judge samples of a fitted model."""
        X_train, X_test, y_train, y_test = self.data
        if samples is None:
            samples = model.sample(N_SAMPLES, random_state=self.seed)
        acc = accuracy(model.transform(X_train), model.transform(X_test), y_train, y_test)
        self[name] = (*measures(samples, X_train, X_test, y_train), acc, -model.score(X_test))

    def add_rows(self, name, samples):
        """Judge rows of no model of ours."""
        X_train, X_test, y_train, _ = self.data
        self[name] = (*measures(samples, X_train, X_test, y_train), np.nan, np.nan)


def all_variants(seed, data):
    """Everything, for digits."""
    found = Measured(*data, seed)
    X_train = data[0]
    for floor in (0.02, 0.05, 0.1, 0.2):
        model = SWAETransformer(prior_scale_floor=floor, random_state=seed).fit(X_train)
        for scale, weights in (("learned", "uniform"), ("learned", "usage"), ("matched", "usage")):
            model.set_params(prior_scale=scale, pseudo_input_weights=weights)
            found.add(f"floor {floor}, {scale}, {weights}", model)
        if floor == 0.1:
            mixture = GaussianMixture(10, random_state=seed).fit(model.transform(X_train))
            samples = model.inverse_transform(mixture.sample(N_SAMPLES)[0])
            found.add("floor 0.1, GaussianMixture on the codes", model, samples)
    for gamma in (0.02, 0.1, 0.2):
        Entropy = variant(EntropyModule, gamma=gamma)
        model = Entropy(prior_scale_floor=0.01, prior_scale="learned", random_state=seed).fit(X_train)
        found.add(f"entropy, gamma {gamma}, learned, usage", model)
    for floor in (0.05, 0.1):
        model = variant(BalancedModule)(
            prior_scale_floor=floor, prior_scale="learned", pseudo_input_weights="uniform", random_state=seed
        ).fit(X_train)
        found.add(f"balanced, floor {floor}, learned, uniform", model)

    pca = PCA(8).fit(X_train)
    Z = pca.transform(X_train)
    rng = np.random.default_rng(seed)
    gaussian = rng.multivariate_normal(Z.mean(axis=0), np.cov(Z.T), N_SAMPLES)
    found.add_rows("Gaussian in PCA space", pca.inverse_transform(gaussian))
    found.add_rows("training rows", X_train)
    return found


def learned_and_matched(seed, data):
    """The two scales of the default, for tables."""
    found = Measured(*data, seed)
    model = SWAETransformer(4, random_state=seed).fit(data[0])
    for scale in ("learned", "matched"):
        found.add(f"{scale}, usage", model.set_params(prior_scale=scale))
    return found


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--seeds", type=int, default=3, help="splits of digits")
    arguments.add_argument("--table-seeds", type=int, default=10, help="splits of the tables")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("How wide is the prior?", arguments.output)
    for line in __doc__.split("\n")[2:-1]:
        report.add(line)
    tasks = [
        ("digits", 8, arguments.seeds, all_variants),
        ("wine", 4, arguments.table_seeds, learned_and_matched),
        ("breast cancer", 4, arguments.table_seeds, learned_and_matched),
    ]
    for name, n_components, n_seeds, run in tasks:
        results = [run(seed, data) for seed, *data in splits(name, n_seeds)]
        report.add()
        report.add(
            f"## {name}, {n_components} components: means and standard deviations over {n_seeds} splits"
        )
        report.add()
        report.header(
            "variant", "Frechet distance", "nearest-row ratio", "class total variation", "5-NN accuracy",
            "reconstruction error",
        )  # fmt: skip
        for variant_name in results[0]:
            values = np.array([r[variant_name] for r in results])
            report.row(
                variant_name,
                *(
                    "" if np.isnan(mean) else f"{mean:.3f} ± {std:.3f}"
                    for mean, std in zip(values.mean(axis=0), values.std(axis=0))
                ),
            )


if __name__ == "__main__":
    main()
