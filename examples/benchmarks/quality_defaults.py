"""Quality of the defaults on scikit-learn's own data sets, beside PCA and the raw features.

5-nearest-neighbour accuracy on codes, and reconstruction error, on stratified splits with 30 % test rows;
the model's seed is the split's. Tables are standardised, digits divided by 16; nothing is tuned per data set.
Then digits in other units, and the cost of a default fit in steps of Algorithm 1 written plainly.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _report import Report, parser
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skswae import SWAETransformer
from skswae.networks import GatedMLP

LOADERS = {
    "digits": load_digits,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "iris": load_iris,
}
# data set, components, splits, bound on the mean accuracy and what it is relative to
TASKS = [
    ("digits", 8, 5, "at least 0.965 and above PCA"),
    ("digits", 2, 5, "at least 0.80"),
    ("wine", 2, 30, "at least PCA - 0.01"),
    ("breast cancer", 2, 30, "at least PCA - 0.01"),
    ("iris", 2, 30, "at least PCA - 0.01"),
    ("wine", 8, 30, "none"),
    ("breast cancer", 8, 30, "none"),
]


def splits(name, n_splits):
    """Scaled (X_train, X_test, y_train, y_test) for each seed."""
    X, y = LOADERS[name](return_X_y=True)
    scaler = FunctionTransformer(lambda X: X / 16) if name == "digits" else StandardScaler()
    for seed in range(n_splits):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        yield seed, scaler.fit_transform(X_train), scaler.transform(X_test), y_train, y_test


def accuracy(Z_train, Z_test, y_train, y_test):
    """Of 5 nearest neighbours."""
    return KNeighborsClassifier(5).fit(Z_train, y_train).score(Z_test, y_test)


def evaluate(model, X_train, X_test, y_train, y_test):
    """Accuracy on codes and reconstruction error on test rows of a fitted transformer."""
    Z_train, Z_test = model.transform(X_train), model.transform(X_test)
    error = np.square(X_test - model.inverse_transform(Z_test)).sum(axis=1).mean()
    return accuracy(Z_train, Z_test, y_train, y_test), error


def spread(values):
    """Mean and standard deviation."""
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def quality(report):
    """5-NN accuracy and reconstruction error."""
    report.add("## 5-NN accuracy and reconstruction error on test rows")
    report.add()
    report.header(
        "data",
        "components",
        "splits",
        "SWAE",
        "PCA",
        "raw",
        "SWAE - PCA",
        "bound",
        "SWAE's error",
        "PCA's error",
        "CPU s a fit",
    )
    for name, n_components, n_splits, bound in TASKS:
        ours, pca, raw, seconds = [], [], [], []
        for seed, *data in splits(name, n_splits):
            start = time.process_time()
            model = SWAETransformer(n_components, random_state=seed).fit(data[0])
            seconds.append(time.process_time() - start)
            ours.append(evaluate(model, *data))
            pca.append(evaluate(PCA(n_components, random_state=seed).fit(data[0]), *data))
            raw.append(accuracy(*data))
        (acc, error), (pca_acc, pca_error) = np.transpose(ours), np.transpose(pca)
        report.row(
            name,
            n_components,
            n_splits,
            spread(acc),
            spread(pca_acc),
            spread(raw),
            f"{np.mean(acc - pca_acc):+.4f}",
            bound,
            f"{error.mean():.3f}",
            f"{pca_error.mean():.3f}",
            f"{np.mean(seconds):.2f}",
        )
    report.add()


def units(report):
    """Digits, centred, in three units."""
    report.add("## Digits, centred and times a factor (8 components, split and seed 0)")
    report.add()
    report.header("factor", "5-NN accuracy")
    X, y = load_digits(return_X_y=True)
    X = X / 16
    for factor in (1e-3, 1.0, 1e3):
        data = train_test_split(factor * (X - X.mean(axis=0)), y, test_size=0.3, stratify=y, random_state=0)
        report.row(factor, f"{evaluate(SWAETransformer(random_state=0).fit(data[0]), *data)[0]:.4f}")
    report.add()


class PlainAlgorithm1:
    """Algorithm 1 as a reader of the paper would write it, with the default's networks and sizes."""

    def __init__(self, x, n_components, n_pseudo_inputs, lr):
        d = x.shape[1]
        self.x, self.k = x, n_components
        self.encoder = GatedMLP().build_encoder(d, n_components)
        self.prior = GatedMLP().build_encoder(d, 2 * n_components)
        self.decoder = GatedMLP().build_decoder(n_components, d)
        self.u = torch.nn.Parameter(x[:n_pseudo_inputs].clone())
        nets = [self.encoder, self.prior, self.decoder]
        self.optimizer = torch.optim.Adam([*(p for n in nets for p in n.parameters()), self.u], lr=lr)

    def step(self, batch_size, beta=0.5, alpha=1.0):
        """One update."""
        x = self.x[torch.randint(len(self.x), (batch_size,))]
        closest = torch.cdist(x, self.u).argmin(dim=1)
        mean, log_variance = self.prior(self.u[closest]).chunk(2, dim=1)
        z_d = mean + torch.exp(log_variance.clamp(-6, 2) / 2) * torch.randn_like(mean)
        z_e = self.encoder(x)
        loss = (
            beta * (x - torch.sigmoid(self.decoder(z_d))).square().sum(dim=1)
            + (1 - beta) * (x - torch.sigmoid(self.decoder(z_e))).square().sum(dim=1)
            + alpha * (z_e - z_d).square().sum(dim=1)
        ).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.u.clamp_(0, 1)


def cost(report, repetitions):
    """A default fit on digits in plain steps, alternating, in CPU seconds."""
    report.add("## Cost of one default fit on digits (8 components), in steps of Algorithm 1 written plainly")
    report.add()
    report.header("repetition", "CPU s a fit", "CPU ms a plain step", "fit / step (bound: 1000)")
    _, X, *_ = next(splits("digits", 1))
    x = torch.from_numpy(X.astype(np.float32))
    ratios = []
    for repetition in range(repetitions):
        start = time.process_time()
        model = SWAETransformer(random_state=repetition).fit(X)
        fit = time.process_time() - start
        plain = PlainAlgorithm1(x, model.n_components, model.n_pseudo_inputs_, model.learning_rate_init)
        batch_size = len(X) // (len(X) // model.batch_size)
        plain.step(batch_size)
        start = time.process_time()
        for _ in range(200):
            plain.step(batch_size)
        step = (time.process_time() - start) / 200
        ratios.append(fit / step)
        report.row(repetition, f"{fit:.2f}", f"{1e3 * step:.2f}", f"{fit / step:.0f}")
    report.add()
    report.add(f"Median: {np.median(ratios):.0f}.")


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--repetitions", type=int, default=3, help="of the timing")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("Quality of the defaults", arguments.output)
    quality(report)
    units(report)
    cost(report, arguments.repetitions)


if __name__ == "__main__":
    main()
