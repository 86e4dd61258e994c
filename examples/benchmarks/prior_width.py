"""What keeps the conditional prior from narrowing, and how k is best drawn: samples of digits, judged.

Nothing in equation (10) keeps the scale of p(z | u_k) up, so it ends on its floor. Compared, with the
defaults otherwise (8 components, 30 % test rows, model seed = split seed):

- floors of the scale, with k drawn by usage and uniformly;
- "matched": the codes' covariance within each cell instead of the prior's (after training);
- "entropy": a bonus of -gamma/2 sum log s^2 in the objective;
- "balanced": Step 2 by argmin |x - u_k|^2 - psi_k with psi_k raised where a u_k gets less than its share,
  which makes the uniform prior the coupling's marginal;
- a GaussianMixture (10 full covariances) fitted to the codes of the default model, for comparison;
- the training rows themselves, and a Gaussian in PCA space, for scale.

Columns: Frechet distance between 5,000 samples and the test rows on raw pixels; median distance of a sample
to its nearest training row over that of a test row (below 1: samples copy); total variation between the
class histograms of samples and training rows by a 5-NN classifier; 5-NN accuracy and reconstruction error.
"""

from __future__ import annotations

import numpy as np
import torch
from _report import Report, parser
from quality_defaults import accuracy, splits
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer
from skswae._swae import SWAEModule

N_SAMPLES = 5000


class EntropyModule(SWAEModule):
    """Equation (10) less gamma/2 sum_j log s_j^2 of the conditional prior."""

    gamma = 0.05

    def losses(self, x, generator):
        ((player, terms),) = super().losses(x, generator)
        _, log_variance = self.conditional_prior(self.pseudo_inputs[self.assign(x)])
        bonus = 0.5 * self.gamma * log_variance.sum(dim=1).mean()
        yield player, {**terms, "loss": terms["loss"] - bonus}


class BalancedModule(SWAEModule):
    """Semi-discrete optimal transport in Step 2: every pseudo-input ends with an equal share of rows."""

    eta = 1.0
    psi = None

    @torch.no_grad()
    def assign(self, x, z_e=None):
        if self.psi is None:
            self.psi = torch.zeros(len(self.pseudo_inputs))
        chosen = (torch.cdist(x, self.pseudo_inputs).square() - self.psi).argmin(dim=1)
        if self.training:
            share = torch.bincount(chosen, minlength=len(self.psi)) / len(x)
            self.psi += self.eta * (1 / len(self.psi) - share)
        return chosen


def variant(Module, **attributes):
    """SWAETransformer with another module."""

    class Variant(SWAETransformer):
        def _build_module(self, parts):
            reference = super()._build_module(parts)
            module = Module(parts, len(reference.pseudo_inputs), self.prior_scale_floor)
            for name, value in attributes.items():
                setattr(module, name, value)
            return module

    return Variant


def matched_samples(model, X_train, rng):
    """z = E(x) mean of a cell + noise with the covariance of the codes within cells."""
    Z = model.transform(X_train)
    module = model.module_
    with torch.no_grad():
        cell = module.assign(torch.from_numpy(X_train.astype(np.float32))).numpy()
        mean = module.conditional_prior(module.pseudo_inputs)[0].double().numpy()
    residuals = Z - mean[cell]
    k = cell[rng.integers(len(cell), size=N_SAMPLES)]
    z = mean[k] + rng.multivariate_normal(
        np.zeros(Z.shape[1]), residuals.T @ residuals / len(Z), size=N_SAMPLES
    )
    return model.inverse_transform(z)


def frechet(A, B):
    """Squared Frechet distance between Gaussians fitted to the rows."""
    cov_a, cov_b = np.cov(A.T), np.cov(B.T)
    difference = A.mean(axis=0) - B.mean(axis=0)
    return difference @ difference + np.trace(cov_a + cov_b) - 2 * np.trace(sqrtm(cov_a @ cov_b)).real


def judge(samples, X_train, X_test, y_train):
    """Frechet distance, nearest-row ratio, total variation of classes."""
    nearest = [np.median(pairwise_distances_argmin_min(A, X_train)[1]) for A in (samples, X_test)]
    knn = KNeighborsClassifier(5).fit(X_train, y_train)
    shares = [np.bincount(y, minlength=10) / len(y) for y in (knn.predict(samples), y_train)]
    return frechet(samples, X_test), nearest[0] / nearest[1], 0.5 * np.abs(shares[0] - shares[1]).sum()


def measure(X_train, X_test, y_train, y_test, seed):
    """Name -> (Frechet, ratio, total variation, 5-NN accuracy, reconstruction error, scale of the prior)."""
    rng = np.random.default_rng(seed)
    found = {}

    def add(name, model, samples):
        acc = accuracy(model.transform(X_train), model.transform(X_test), y_train, y_test)
        module = model.module_
        with torch.no_grad():
            log_variance = module.conditional_prior(module.pseudo_inputs)[1]
        scale = torch.exp(0.5 * log_variance).median().item()
        found[name] = (*judge(samples, X_train, X_test, y_train), acc, -model.score(X_test), scale)

    for floor in (0.02, 0.05, 0.1, 0.2, 0.4):
        model = SWAETransformer(prior_scale_floor=floor, random_state=seed).fit(X_train)
        add(f"floor {floor}, usage", model, model.sample(N_SAMPLES, random_state=seed))
        model.set_params(pseudo_input_weights="uniform")
        add(f"floor {floor}, uniform", model, model.sample(N_SAMPLES, random_state=seed))
        if floor == 0.05:
            add("matched", model, matched_samples(model, X_train, rng))
            mixture = GaussianMixture(10, random_state=seed).fit(model.transform(X_train))
            add("GaussianMixture on the codes", model, model.inverse_transform(mixture.sample(N_SAMPLES)[0]))
    for gamma in (0.02, 0.05, 0.2):
        model = variant(EntropyModule, gamma=gamma)(prior_scale_floor=0.01, random_state=seed).fit(X_train)
        add(f"entropy, gamma {gamma}", model, model.sample(N_SAMPLES, random_state=seed))
    for floor in (0.05, 0.1):
        model = variant(BalancedModule)(
            prior_scale_floor=floor, pseudo_input_weights="uniform", random_state=seed
        ).fit(X_train)
        add(f"balanced, floor {floor}, uniform", model, model.sample(N_SAMPLES, random_state=seed))

    pca = PCA(8).fit(X_train)
    Z = pca.transform(X_train)
    gaussian = pca.inverse_transform(rng.multivariate_normal(Z.mean(axis=0), np.cov(Z.T), N_SAMPLES))
    nan = (np.nan,) * 3
    found["Gaussian in PCA space"] = (*judge(gaussian, X_train, X_test, y_train), *nan)
    found["training rows"] = (*judge(X_train, X_train, X_test, y_train), *nan)
    return found


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("How wide is the prior?", arguments.output)
    results = [measure(*data, seed) for seed, *data in splits("digits", arguments.seeds)]
    report.header(
        "variant", "Frechet distance", "nearest-row ratio", "class total variation", "5-NN accuracy",
        "reconstruction error", "median scale of the prior",
    )
    for name in results[0]:
        values = np.array([r[name] for r in results])
        cells = [
            "" if np.isnan(mean) else f"{mean:.3f} ± {std:.3f}"
            for mean, std in zip(values.mean(axis=0), values.std(axis=0))
        ]
        report.row(name, *cells)
    report.add()
    report.add(f"Means and standard deviations over {arguments.seeds} splits.")


if __name__ == "__main__":
    main()
