"""Quality of the defaults on scikit-learn's own data sets, beside PCA and the raw features.

5-nearest-neighbour accuracy on codes, and reconstruction error, on stratified splits with 30 % test rows;
the model's seed is the split's. Tables are standardised, digits divided by 16; nothing is tuned per data set.
Then digits in other units, and the cost of a default fit in steps of Algorithm 1 written plainly.
Then every model on digits, and samples of each, judged against held-out rows.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from _harness import Page, Store, mean_and_std, parser
from _literal import Literal, LiteralSWAE
from _samples import collapsed, judge
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)
from skswae.metrics import knn_accuracy, reconstruction_error
from skswae.networks import GatedMLP

LOADERS = {
    "digits": load_digits,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "iris": load_iris,
}
# data set, components, splits, bound on the mean accuracy, or on the error, and what it is relative to
TASKS = [
    ("digits", 8, 5, "at least 0.965 and above PCA"),
    ("digits", 2, 5, "at least 0.80"),
    ("wine", 2, 30, "at least PCA - 0.01"),
    ("breast cancer", 2, 30, "at least PCA - 0.01"),
    ("iris", 2, 30, "at least PCA - 0.01"),
    ("wine", 8, 30, "error at most 1.15 times PCA's"),
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
    """Yield each seed with scaled X_train, X_test, y_train, y_test."""
    X, y = LOADERS[name](return_X_y=True)
    scaler = FunctionTransformer(lambda X: X / 16) if name == "digits" else StandardScaler()
    for seed in range(n_splits):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        yield seed, scaler.fit_transform(X_train), scaler.transform(X_test), y_train, y_test


def evaluate(model, X_train, X_test, y_train, y_test):
    """Return accuracy on codes and reconstruction error on test rows of a fitted transformer."""
    Z_train, Z_test = model.transform(X_train), model.transform(X_test)
    error = reconstruction_error(X_test, model.inverse_transform(Z_test))
    return knn_accuracy(Z_train, y_train, Z_test, y_test), error


def quality(page):
    """Add 5-NN accuracy and reconstruction error."""
    page.section("5-NN accuracy and reconstruction error on test rows")
    page.header(
        "data | components | splits | SWAE | PCA | raw | SWAE - PCA | bound | SWAE's error | PCA's error | "
        "CPU s a fit"
    )
    for name, n_components, n_splits, bound in TASKS:
        ours, pca, raw, seconds = [], [], [], []
        for seed, X_train, X_test, y_train, y_test in splits(name, n_splits):
            data = X_train, X_test, y_train, y_test
            start = time.process_time()
            model = SWAETransformer(n_components, random_state=seed).fit(X_train)
            seconds.append(time.process_time() - start)
            ours.append(evaluate(model, *data))
            pca.append(evaluate(PCA(n_components, random_state=seed).fit(X_train), *data))
            raw.append(knn_accuracy(X_train, y_train, X_test, y_test))
        (acc, error), (pca_acc, pca_error) = np.transpose(ours), np.transpose(pca)
        accuracies = (mean_and_std(values, 4) for values in (acc, pca_acc, raw))
        costs = f"{error.mean():.3f}", f"{pca_error.mean():.3f}", f"{np.mean(seconds):.2f}"
        gain = f"{np.mean(acc - pca_acc):+.4f}"
        page.row(name, n_components, n_splits, *accuracies, gain, bound, *costs)
    page.add()


def units(page):
    """Add digits, centred, in three units."""
    page.section("Digits, centred and times a factor (8 components, split and seed 0)")
    page.header("factor | 5-NN accuracy")
    X, y = load_digits(return_X_y=True)
    X = X / 16
    for factor in (1e-3, 1.0, 1e3):
        data = train_test_split(factor * (X - X.mean(axis=0)), y, test_size=0.3, stratify=y, random_state=0)
        page.row(factor, f"{evaluate(SWAETransformer(random_state=0).fit(data[0]), *data)[0]:.4f}")
    page.add()


def cost(page, repetitions):
    """Add the CPU seconds of a default fit on digits, in plain steps of the same networks and sizes."""
    page.section("Cost of one default fit on digits (8 components), in steps of Algorithm 1 written plainly")
    page.header("repetition | CPU s a fit | CPU ms a plain step | fit / step (bound: 1000)")
    _, X, *_ = next(splits("digits", 1))
    x, d = torch.from_numpy(X.astype(np.float32)), X.shape[1]
    batch_size = len(x) // (len(x) // 64)  # the default's
    ratios = []
    for repetition in range(repetitions):
        start = time.process_time()
        model = SWAETransformer(random_state=repetition).fit(X)
        fit = time.process_time() - start
        encoder, prior = (GatedMLP().build_encoder(d, n) for n in (8, 16))
        decoder = GatedMLP().build_decoder(8, d)
        module = LiteralSWAE(encoder, prior, decoder, x[: model.n_pseudo_inputs_])
        plain = Literal(module, x, batch_size, resident=True)
        start = time.process_time()
        for _ in range(10):
            plain.epoch()
        step = (time.process_time() - start) / (10 * len(x.split(batch_size)))
        ratios.append(fit / step)
        page.row(repetition, f"{fit:.2f}", f"{1e3 * step:.2f}", f"{fit / step:.0f}")
    page.add()
    page.paragraph(f"Median: {np.median(ratios):.0f}.")


def fit_and_judge(model, X_train, X_test, y_train, y_test):
    """Fit, and return accuracy, error, CPU seconds, and judgements of samples and of rebuilt rows."""
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
    """Judge rows whose judgement is known beforehand, or that any model must beat: name -> columns."""
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


def sample_row(page, name, prior, results):
    """Add means and standard deviations over the splits."""
    lost = sum(collapsed(columns) for columns in results)
    cells = map(mean_and_std, zip(*(columns.values() for columns in results)))
    page.row(name, prior, *cells, f"yes, in {lost} of {len(results)}" if lost else "no")


def models(page, names, store):
    """Add every model on digits: accuracy, error, cost, and samples."""
    data = {seed: split for seed, *split in splits("digits", N_SPLITS)}
    page.section(
        f"Every model, digits, {N_COMPONENTS} components, its own defaults, {N_SPLITS} splits",
        "Splits and seeds are those of the first table. Means (and standard deviations) over the splits.",
    )
    page.header("model | 5-NN accuracy | reconstruction error | CPU s a fit | bound")
    results = {}
    for name, make, bound in MODELS:
        if name not in names:
            continue
        results[name] = of_splits = []
        for seed, split in data.items():
            model = make(N_COMPONENTS, random_state=seed)
            of_splits.append(store.get({"model": repr(model)}, fit_and_judge, model, *split))
        page.row(
            name,
            mean_and_std([r["accuracy"] for r in of_splits], 4),
            f"{np.mean([r['error'] for r in of_splits]):.3f}",
            f"{np.mean([r['seconds'] for r in of_splits]):.2f}",
            "none" if bound is None else f"at least {bound}",
        )
    page.add()
    page.section("Samples, judged against held-out rows", ABOUT_SAMPLES)
    known = [controls(seed, X_train, X_test, y_train) for seed, (X_train, X_test, y_train, _) in data.items()]
    page.header(" | ".join(["model", "prior", *known[0]["training rows"], "collapsed"]))
    for name, of_splits in results.items():
        for prior in of_splits[0]["samples"]:
            sample_row(page, name, prior, [r["samples"][prior] for r in of_splits])
    for name in known[0]:
        sample_row(page, name, "", [of_split[name] for of_split in known])
    page.add()


def main():
    parts = ("tables", "units", "cost", "models")
    names = [name for name, *_ in MODELS]
    arguments = parser(__doc__, "resume")
    arguments.add_argument("--repetitions", type=int, default=3, help="of the timing")
    arguments.add_argument("--only", choices=parts, nargs="+", default=parts, help="parts of the page")
    arguments.add_argument("--models", choices=names, nargs="+", default=names, help="in the part models")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Page("Quality of the defaults", arguments.output)
    if "tables" in arguments.only:
        quality(page)
    if "units" in arguments.only:
        units(page)
    if "cost" in arguments.only:
        cost(page, arguments.repetitions)
    if "models" in arguments.only:
        models(page, arguments.models, Store(arguments.resume))


if __name__ == "__main__":
    main()
