"""Maps of two components (or three): with the neighbour term and without, beside PCA, t-SNE, UMAP and PaCMAP.

Each is fitted to the training rows and judged on the held-out rows, which it is asked to place and, where it
has an inverse, to rebuild. t-SNE places no other rows: its figures are of training rows, and its accuracy
leaves each row out of its own neighbours. UMAP's inverse rebuilds the first 50 held-out rows, in a time that
hardly depends on their number; the error of these 50 stands beside that of all. Rows are placed in a second
call, and what UMAP and PaCMAP compile is compiled before; they have no seed, so that they may use several
threads. Those that are not installed (`pip install umap-learn pacmap`) are left out, and the page says so.

With `--threads 1` seconds are of the CPU, so that several runs of some seeds each may go on side by side.
"""

from __future__ import annotations

import importlib
import os
import time
import warnings

import numpy as np
import torch
from _data import Split, coil20, digits, fashion_mnist, split_rows
from _harness import Page, Store, mnist, parser, save
from _samples import judge
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skswae import AETransformer, SWAETransformer, VAETransformer
from skswae.metrics import rank_agreement
from skswae.training._auto import AutoSettings

WEIGHT, SHORT, LONGER, BATCH_SIZE = 16.0, 2, 5, 256
N_JUDGED, N_INVERTED = 2000, 50  # rows and samples that are judged by pairs, and rows that UMAP rebuilds


def table(load, seed: int) -> Split:
    """Standardise a table of scikit-learn's."""
    split = split_rows(*load(return_X_y=True), seed)
    scaler = StandardScaler().fit(split.X)
    return split._replace(X=scaler.transform(split.X), X_test=scaler.transform(split.X_test))


def swiss_roll(seed: int) -> Split:
    """Draw a swiss roll of 2,000 rows in 3 dimensions; its classes are ten equal parts of its length."""
    X, t = make_swiss_roll(2000, noise=0.5, random_state=seed)
    return split_rows(X / X.std(), np.argsort(np.argsort(t)) // 200, seed)


# name, what loads it, seeds
DATA = {
    "digits": ("Digits", lambda folder, seed: digits(seed), 5),
    "coil20": ("COIL-20", coil20, 5),
    "wine": ("Wine", lambda folder, seed: table(load_wine, seed), 5),
    "breast_cancer": ("Breast cancer", lambda folder, seed: table(load_breast_cancer, seed), 5),
    "iris": ("Iris", lambda folder, seed: table(load_iris, seed), 5),
    "swiss_roll": ("Swiss roll", lambda folder, seed: swiss_roll(seed), 5),
    "mnist": ("MNIST", lambda folder, seed: Split(*mnist(folder)), 1),
    "fashion_mnist": ("Fashion-MNIST", lambda folder, seed: fashion_mnist(folder), 1),
}
LARGE = {"mnist", "fashion_mnist"}  # where t-SNE is left out


def ours(kind, weight: float = 0.0):
    """Return what makes one of this package's models for numbers of components and rows and a seed."""
    return lambda d, n_rows, seed: kind(d, neighbor_weight=weight, random_state=seed)


def longer(weight: float, times: int = LONGER):
    """Return what makes SWAE with more epochs and batches that are not small; with the term, a map."""

    def make(d, n_rows, seed):
        auto = AutoSettings.resolve(n_rows, max_iter="auto", batch_size="auto", learning_rate_init="auto")
        options = {"max_iter": times * auto.n_epochs, "batch_size": max(BATCH_SIZE, auto.batch_size)}
        return SWAETransformer(d, neighbor_weight=weight, random_state=seed, **options)

    return make


def installed(module: str, name: str, **options):
    """Return what makes a map of another package."""
    return lambda d, n_rows, seed: getattr(importlib.import_module(module), name)(n_components=d, **options)


RIVALS = {
    "SWAE": ours(SWAETransformer),
    "SWAE, term": ours(SWAETransformer, WEIGHT),
    "SWAE, longer": longer(0.0),
    "SWAE, short map": longer(WEIGHT, SHORT),
    "SWAE, map": longer(WEIGHT),
    "AE": ours(AETransformer),
    "VAE": ours(VAETransformer),
    "PCA": lambda d, n_rows, seed: PCA(d, random_state=seed),
    "t-SNE": lambda d, n_rows, seed: TSNE(d, random_state=seed),
    "UMAP": installed("umap", "UMAP"),
    "PaCMAP": installed("pacmap", "PaCMAP", save_tree=True),
}
MEASURES = {
    "5-NN accuracy": 4,
    "trustworthiness": 4,
    "continuity": 4,
    "distances": 3,
    "error": 3,
    "error of 50": 3,
    "fit, s": 1,
    "transform, ms": 1,
    "inverse, ms a row": 3,
}
SAMPLES = {
    "precision": 3,
    "recall": 3,
    "Frechet distance": 3,
    "nearest-row ratio": 3,
    "duplicate rate": 4,
    "class total variation": 3,
    "smallest class": 3,
}


def timed(function, *arguments):
    """Return the result of a call and its seconds."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    found = function(*arguments)
    return found, clock() - start


def measure(name: str, split: Split, d: int, seed: int) -> dict[str, float]:
    """Fit one rival with d components and judge it."""
    X, X_test, y, y_test = split[:4]
    model = RIVALS[name](d, len(X), seed)
    found: dict[str, float] = {}
    if hasattr(model, "transform"):
        _, found["fit, s"] = timed(model.fit, X)
        Z = model.embedding_ if name in ("UMAP", "PaCMAP") else model.transform(X)
        model.transform(X_test[:10])  # UMAP prepares its search in the first call
        Z_test, seconds = timed(model.transform, X_test)
        found["transform, ms"] = 1000 * seconds
        found["5-NN accuracy"] = KNeighborsClassifier(5).fit(Z, y).score(Z_test, y_test)
        judged, codes = X_test[:N_JUDGED], Z_test[:N_JUDGED]
    else:
        Z, found["fit, s"] = timed(model.fit_transform, X)
        # without arguments a row is not among its own neighbours
        neighbors = KNeighborsClassifier(5).fit(Z, y).kneighbors(return_distance=False)
        counts = np.stack([(y[neighbors] == c).sum(axis=1) for c in np.unique(y)], axis=1)
        found["5-NN accuracy"] = float(np.mean(np.unique(y)[counts.argmax(axis=1)] == y))
        judged, codes = X[:N_JUDGED], Z[:N_JUDGED]
    found["trustworthiness"] = trustworthiness(judged, codes, n_neighbors=5)
    found["continuity"] = trustworthiness(codes, judged, n_neighbors=5)
    targets = np.arange(min(200, len(judged)))
    found["distances"] = rank_agreement(judged, codes, targets=targets)
    if hasattr(model, "inverse_transform"):
        few = slice(N_INVERTED if name == "UMAP" else None)
        rebuilt, seconds = timed(model.inverse_transform, Z_test[few])
        errors = ((X_test[few] - rebuilt) ** 2).sum(axis=1)
        found["error"], found["error of 50"] = float(errors.mean()), float(errors[:N_INVERTED].mean())
        found["inverse, ms a row"] = 1000 * seconds / len(rebuilt)
    if hasattr(model, "sample"):
        samples = model.sample(min(N_JUDGED, len(X_test)), random_state=seed)
        found |= judge(samples, X, X_test[:N_JUDGED], y)
    return found


def rows_of(page: Page, head: dict[str, int], found: dict[str, list[dict]]) -> None:
    """Add a table: a row for each rival that has any of the measures."""
    page.header(" | ".join(["map", *head]))
    for name, results in found.items():
        if any(measure in results[0] for measure in head):
            page.row(name, *(cell([r.get(m) for r in results], n) for m, n in head.items()))
    page.add()


def load_and_measure(name: str, data: str, folder: str | None, d: int, seed: int) -> dict[str, float]:
    """Measure one rival on a data set by its name."""
    return measure(name, DATA[data][1](folder, seed), d, seed)


def compile_all(names, large: bool) -> dict[str, str]:
    """Let the rivals compile what they do; return why some are missing.

    From 4,096 rows on UMAP searches for neighbours in another way, which takes most of a minute to compile.
    """
    missing = {}
    n_rows = 5000 if large else 300
    rows = np.random.default_rng(0).normal(size=(n_rows, 20)).astype(np.float32)
    for name in [name for name in ("UMAP", "PaCMAP") if name in names]:
        try:
            model = RIVALS[name](2, n_rows, 0).fit(rows)
            model.transform(rows[:20])
            if name == "UMAP":
                model.inverse_transform(model.embedding_[:10])
        except Exception as error:  # whatever a package that is not there or does not fit raises
            missing[name] = f"{type(error).__name__}: {error}"
    return missing


def cell(values, digits: int) -> str:
    """Return the mean, and the standard deviation over seeds."""
    if any(value is None for value in values):
        return ""
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"


def tiled(images, n: int):
    """Put n x n images of 28 x 28, row by row, into one: from white to a light black."""
    return 1 - 0.45 * images.reshape(n, n, 28, 28).transpose(0, 2, 1, 3).reshape(28 * n, 28 * n)


def draw(path, folder) -> None:
    """Draw maps of MNIST's test rows: PCA, UMAP, SWAE with the term over decoded codes; and its samples."""
    from matplotlib.figure import Figure

    split = DATA["mnist"][1](folder, 0)
    figure = Figure(figsize=(15.5, 4.3), layout="constrained")
    for i, name in enumerate(["PCA", "UMAP", "SWAE, map"]):
        axes = figure.add_subplot(1, 4, i + 1, xticks=[], yticks=[], title=name)
        model = RIVALS[name](2, len(split.X), 0).fit(split.X)
        Z = model.transform(split.X_test)
        # a few rows that lie far out would take most of the picture
        low, high = np.quantile(Z, (0.001, 0.999), axis=0)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        if name.startswith("SWAE"):
            n = 24
            x, y = (low[j] + (high - low)[j] * (np.arange(n) + 0.5) / n for j in range(2))
            grid = np.stack(np.meshgrid(x, y[::-1]), axis=2).reshape(-1, 2).astype(np.float32)
            shades, extent = tiled(model.inverse_transform(grid), n), (low[0], high[0], low[1], high[1])
            axes.imshow(shades, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
        points = axes.scatter(*Z.T, c=split.y_test, cmap="tab10", s=2, alpha=0.6, linewidths=0)
    legend = figure.colorbar(points, ax=figure.axes, ticks=range(10), fraction=0.02, pad=0.01)
    legend.solids.set_alpha(1)
    axes = figure.add_subplot(1, 4, 4, xticks=[], yticks=[], title="its samples")
    axes.imshow(tiled(model.sample(256, random_state=0), 16), cmap="gray", vmin=0, vmax=1)
    save(figure, path)


def main():
    arguments = parser(__doc__, "data", "plot", "resume")
    arguments.add_argument("--data-sets", nargs="+", choices=DATA, default=list(DATA))
    arguments.add_argument("--only", nargs="+", choices=RIVALS, default=list(RIVALS), help="rivals")
    arguments.add_argument("--seeds", type=int, nargs="+", help="else 0 to 4, of MNIST and its like 0")
    arguments.add_argument("--n-components", type=int, choices=(2, 3), default=2)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["NUMBA_NUM_THREADS"] = str(arguments.threads)  # before UMAP is imported
    threadpool_limits(arguments.threads)
    warnings.filterwarnings("ignore", module="umap")
    store = Store(arguments.resume)
    d = arguments.n_components
    names = ", ".join(DATA[data][0] for data in arguments.data_sets)
    page = Page(f"Maps of {'two' if d == 2 else 'three'} components: {names}", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    clock = "the CPU" if arguments.threads == 1 else "the wall clock"
    page.paragraph(
        f"Term: neighbor_weight={WEIGHT:g}, all else by default. Longer: {LONGER} times the epochs, batches "
        f"of at least {BATCH_SIZE} rows, without the term. Map: that with it; short map: {SHORT} times. "
        "Tables are standardised. Held-out rows are 30 %, of MNIST and Fashion-MNIST the 10,000 test rows. "
        f"Trustworthiness, continuity: of 5 neighbours, in at most {N_JUDGED:,} rows. Distances: Spearman's "
        "correlation between distances of rows and of codes, from 200 rows. Error: squared, summed over "
        "columns. Means "
        f"and standard deviations over seeds, which are splits too. Seconds are of {clock}, "
        f"{arguments.threads} thread(s); transform of all held-out rows."
    )
    page.paragraph(
        f"Samples, as many as held-out rows and at most {N_JUDGED:,}, are judged against these: precision "
        "and recall are shares of samples among rows and of rows among samples; a nearest-row ratio below 1 "
        "and a duplicate rate above 0 tell of copied training rows; classes are by 5 nearest of them."
    )
    missing = compile_all(arguments.only, large=not LARGE.isdisjoint(arguments.data_sets))
    for name, why in missing.items():
        page.paragraph(f"{name} is not measured: {why}.")
    for data in arguments.data_sets:
        title, _, n_seeds = DATA[data]
        seeds = arguments.seeds or list(range(n_seeds))
        found = {}
        for name in arguments.only:
            if name in missing or (name == "t-SNE" and data in LARGE):
                continue
            found[name] = []
            for seed in seeds:
                settings = {"data": data, "rival": name, "components": d, "seed": seed}
                settings["threads"] = arguments.threads
                result = store.get(settings, load_and_measure, name, data, arguments.data, d, seed)
                found[name].append(result)
        page.section(f"{title}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
        rows_of(page, MEASURES, found)
        rows_of(page, SAMPLES, found)
    if arguments.plot is not None:
        draw(arguments.plot, arguments.data)
        page.image(arguments.plot, "MNIST's test rows, mapped")
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
