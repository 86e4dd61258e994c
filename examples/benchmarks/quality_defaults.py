"""Quality of the defaults on scikit-learn's own data sets, beside PCA and the raw features.

5-nearest-neighbour accuracy on codes, and reconstruction error, on stratified splits with 30 % test rows;
the model's seed is the split's. Tables are standardised, digits divided by 16; nothing is tuned per data set.
Then digits in other units, and the cost of a default fit in steps of Algorithm 1 written plainly.
Then every model on digits, and samples of each, judged against held-out rows.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import time
from functools import partial

import numpy as np
import torch
from _report import Report, parser
from _samples import collapsed, judge
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skswae
from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)
from skswae._schedule import Schedule
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
# name, what makes one of n components, bound on the mean accuracy on digits; PCA serves for comparison
MODELS = (
    ("PCA", PCA, None),
    ("AE", AETransformer, 0.95),
    ("VAE", VAETransformer, 0.95),
    ("WAE-MMD", partial(WAETransformer, divergence="mmd"), 0.95),
    ("WAE-GAN", partial(WAETransformer, divergence="gan"), 0.95),
    ("WAE-sliced", partial(WAETransformer, divergence="sliced"), 0.95),
    ("WAE-Sinkhorn", partial(WAETransformer, divergence="sinkhorn"), 0.95),
    ("VampPrior", VampPriorTransformer, 0.95),
    ("MIM-symmetric", partial(MIMTransformer, sampling="symmetric"), 0.90),
    ("MIM-encoder", partial(MIMTransformer, sampling="encoder"), 0.90),
    ("SWAE", SWAETransformer, 0.965),
)
N_COMPONENTS = 8
N_SPLITS = 5
N_SAMPLES = 5000
ABOUT_SAMPLES = f"""\
The same fits; {N_SAMPLES:,} samples of each, from the model's own prior and from a GaussianMixture fitted to
the codes of the training rows ("gmm"). On the raw features; `_samples.py` has definitions and sources:

- Frechet distance to the held-out rows; smaller is better.
- precision: share of the samples within the manifold of the held-out rows; recall: share of the held-out rows
  within the samples' manifold. Balls to the third nearest neighbour; as many samples as held-out rows.
- nearest-row ratio: median distance of a sample to its nearest training row over that of a held-out row.
  duplicate rate: share of the samples no farther from a training row than the nearest hundredth of the
  held-out rows. Copies have 0 and 1, held-out rows 1 and about 0.01.
- class total variation: between the classes of samples and of training rows, by 5 nearest training rows;
  smallest class: the rarest class's share of the samples. Collapsed: a total variation over 0.25 or a class
  under 2 %, and in how many splits.

Rebuilt: no samples, but half of the held-out rows, encoded and decoded, judged against the other half. A
decoder leaves out noise, which may bring rows nearer to training rows and costs recall: samples copy if they
are nearer than these.

The last rows are controls. Those that are no samples have fewer rows, which raises the Frechet distance; so
do the halves of the held-out rows."""


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
        schedule = Schedule.of(model, len(X))
        plain = PlainAlgorithm1(x, model.n_components, model.n_pseudo_inputs_, schedule.learning_rate)
        batch_size = len(X) // (len(X) // schedule.batch_size)
        plain.step(batch_size)
        start = time.process_time()
        for _ in range(200):
            plain.step(batch_size)
        step = (time.process_time() - start) / 200
        ratios.append(fit / step)
        report.row(repetition, f"{fit:.2f}", f"{1e3 * step:.2f}", f"{fit / step:.0f}")
    report.add()
    report.add(f"Median: {np.median(ratios):.0f}.")
    report.add()


class Finished(dict):
    """Results of finished fits by model and code, kept in a JSON file if there is a path.

    A change to the package or to ``_samples.py`` makes other keys, so that no old result is taken for new.
    """

    def __init__(self, path):
        self.path = path
        super().__init__(json.loads(path.read_text()) if path is not None and path.exists() else {})
        sources = [
            *sorted(pathlib.Path(skswae.__file__).parent.glob("*.py")),
            pathlib.Path(__file__).with_name("_samples.py"),
        ]
        self.code = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]

    def get_or_make(self, model, data):
        """The result of a model on a split: of an earlier run, or made now."""
        key = f"{model!r}, code {self.code}"
        if key not in self:
            self[key] = fit_and_judge(model, *data)
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                new = self.path.with_name(self.path.name + ".new")
                new.write_text(json.dumps(self, indent=1))
                new.replace(self.path)  # whole or not at all
        return self[key]


def fit_and_judge(model, X_train, X_test, y_train, y_test):
    """Fit; accuracy, error, CPU seconds, and judged: samples of each prior (none of PCA), rebuilt rows."""
    start = time.process_time()
    model.fit(X_train)
    seconds = time.process_time() - start
    acc, error = evaluate(model, X_train, X_test, y_train, y_test)
    samples = {}
    if not isinstance(model, PCA):
        for prior in ("model", "gmm"):
            drawn = model.sample(N_SAMPLES, prior=prior, random_state=model.random_state)
            samples[prior] = judge(drawn, X_train, X_test, y_train)
    rebuilt = model.inverse_transform(model.transform(X_test[::2]))
    samples["(rebuilt)"] = judge(rebuilt, X_train, X_test[1::2], y_train)
    return {"accuracy": acc, "error": float(error), "seconds": seconds, "samples": samples}


def controls(seed, X_train, X_test, y_train):
    """Rows whose judgement is known beforehand, or that any model must beat, judged: name -> columns."""
    pca = PCA(N_COMPONENTS, random_state=seed).fit(X_train)
    Z = pca.transform(X_train)
    gaussian = np.random.default_rng(seed).multivariate_normal(Z.mean(axis=0), np.cov(Z.T), N_SAMPLES)
    mixture = GaussianMixture(10, random_state=seed).fit(Z).sample(N_SAMPLES)[0]
    return {
        "Gaussian in PCA space": judge(pca.inverse_transform(gaussian), X_train, X_test, y_train),
        "GaussianMixture in PCA space": judge(pca.inverse_transform(mixture), X_train, X_test, y_train),
        "half of the held-out rows": judge(X_test[::2], X_train, X_test[1::2], y_train),
        "training rows": judge(X_train, X_train, X_test, y_train),
        "training rows without class 0": judge(X_train[y_train != 0], X_train, X_test, y_train),
    }


def sample_row(report, name, prior, results):
    """Means and standard deviations over the splits."""
    values = np.array([list(columns.values()) for columns in results])
    lost = sum(collapsed(columns) for columns in results)
    report.row(
        name,
        prior,
        *(f"{mean:.3f} ± {std:.3f}" for mean, std in zip(values.mean(axis=0), values.std(axis=0))),
        f"yes, in {lost} of {len(results)}" if lost else "no",
    )


def models(report, names, resume):
    """Every model on digits: accuracy, error, cost, and samples."""
    finished = Finished(resume)
    data = {seed: split for seed, *split in splits("digits", N_SPLITS)}

    report.add(f"## Every model, digits, {N_COMPONENTS} components, its own defaults, {N_SPLITS} splits")
    report.add()
    report.add(
        "Splits and seeds are those of the first table. Means (and standard deviations) over the splits."
    )
    report.add()
    report.header("model", "5-NN accuracy", "reconstruction error", "CPU s a fit", "bound")
    results = {}
    for name, make, bound in MODELS:
        if name not in names:
            continue
        of_splits = [finished.get_or_make(make(N_COMPONENTS, random_state=seed), data[seed]) for seed in data]
        report.row(
            name,
            spread([r["accuracy"] for r in of_splits]),
            f"{np.mean([r['error'] for r in of_splits]):.3f}",
            f"{np.mean([r['seconds'] for r in of_splits]):.2f}",
            "none" if bound is None else f"at least {bound}",
        )
        results[name] = of_splits
    report.add()

    report.add("## Samples, judged against held-out rows")
    report.add()
    report.add(ABOUT_SAMPLES)
    report.add()
    known = [controls(seed, X_train, X_test, y_train) for seed, (X_train, X_test, y_train, _) in data.items()]
    report.header("model", "prior", *known[0]["training rows"], "collapsed")
    for name, of_splits in results.items():
        for prior in of_splits[0]["samples"]:
            sample_row(report, name, prior, [r["samples"][prior] for r in of_splits])
    for name in known[0]:
        sample_row(report, name, "", [of_split[name] for of_split in known])
    report.add()


def main():
    parts = ("tables", "units", "cost", "models")
    names = [name for name, *_ in MODELS]
    arguments = parser(__doc__)
    arguments.add_argument("--repetitions", type=int, default=3, help="of the timing")
    arguments.add_argument("--only", choices=parts, nargs="+", default=parts, help="parts of the report")
    arguments.add_argument("--models", choices=names, nargs="+", default=names, help="in the part models")
    arguments.add_argument(
        "--resume", type=pathlib.Path, help="JSON file that keeps finished fits of the part models"
    )
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("Quality of the defaults", arguments.output)
    if "tables" in arguments.only:
        quality(report)
    if "units" in arguments.only:
        units(report)
    if "cost" in arguments.only:
        cost(report, arguments.repetitions)
    if "models" in arguments.only:
        models(report, arguments.models, arguments.resume)


if __name__ == "__main__":
    main()
