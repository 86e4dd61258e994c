"""SWAE beside UMAP, PCA and raw pixels on MNIST: 5-NN accuracy against seconds.

Each is fitted to all training rows and judged by a 5-nearest-neighbour classifier on the codes of the
training rows, scored on the test rows. A one-cycle schedule has to be aimed at its end, so SWAE is fitted
several times, for different numbers of epochs; the longest fit is also judged after each epoch. What the
judging takes is never counted. UMAP runs with its defaults, without a seed so that it may use all threads,
and has compiled its functions on a part of the rows before it is timed.

Everything is measured one after the other with the same number of threads. UMAP is installed by
`pip install umap-learn`, and is left out by --only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import threadpoolctl
import torch
from _harness import Page, Store, mnist, parser, save, yes
from _watch import Watch, codes
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer

BAR, AIM, TRANSFORM_RATIO = 0.950, 0.957, 50  # accuracies at 8 components; UMAP's seconds over SWAE's
TRANSFORM_REPEATS = 5


def now() -> np.ndarray:
    """Return wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


class Judge:
    """5-NN accuracy from codes, and the seconds that the classifier takes."""

    def __init__(self, y_train, y_test, threads):
        self.labels = y_train, y_test
        self.threads = threads

    def __call__(self, Z_train, Z_test):
        start = now()
        classifier = KNeighborsClassifier(5, n_jobs=self.threads).fit(Z_train, self.labels[0])
        accuracy = classifier.score(Z_test, self.labels[1])
        return {"accuracy": float(accuracy), "knn_wall": (now() - start)[0]}


def use_threads(n: int) -> None:
    """Set the same number everywhere; after the imports of what has a pool of threads."""
    torch.set_num_threads(n)
    threadpoolctl.threadpool_limits(n)


def finish(model, fit_seconds, data, judge, Z_train=None, transform_repeats=TRANSFORM_REPEATS) -> dict:
    """Return the seconds of the fit and of coding both sets of rows, and the accuracy."""
    start = now()
    if Z_train is None:
        Z_train = model.transform(data[0])
    codes_seconds = now() - start
    times = []
    for _ in range(transform_repeats):
        start = now()
        Z_test = model.transform(data[1])
        times.append(now() - start)
    seconds = {"fit": fit_seconds, "codes": codes_seconds, "transform": np.median(times, axis=0)}
    found = {
        f"{name}_{kind}": float(s) for name, pair in seconds.items() for kind, s in zip(("wall", "cpu"), pair)
    }
    return found | judge(Z_train, Z_test)


def measure_swae(k, epochs, watched, data, judge) -> dict:
    """Measure SWAE trained for so many epochs; watched, also its accuracy after each."""
    common = {"device": "cpu", "random_state": 0}
    SWAETransformer(k, max_iter=1, **common).fit(data[0][:1000]).transform(data[1][:1000])  # lazy imports
    model = SWAETransformer(k, max_iter=epochs, **common)
    curve = []

    def look(module, seconds):
        accuracy = judge(*(codes(module, X) for X in data))["accuracy"]
        curve.append((*seconds.tolist(), accuracy))

    watch = Watch(now, look if watched else None)
    start = watch.now()
    watch.fit(model, data[0])
    result = finish(model, watch.now() - start, data, judge)
    return {**result, "curve": curve} if watched else result


def measure_pca(k, data, judge) -> dict:
    """Measure PCA with its defaults."""
    PCA(k).fit(data[0][:1000]).transform(data[1][:1000])
    start = now()
    model = PCA(k, random_state=0).fit(data[0])
    return finish(model, now() - start, data, judge)


def measure_umap(k, threads, data, judge) -> dict:
    """Measure UMAP with its defaults."""
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # the most that set_num_threads allows later
    try:
        import numba
        import umap
    except ImportError as error:
        raise SystemExit(
            "This benchmark needs umap-learn: pip install umap-learn, or --only swae."
        ) from error
    numba.set_num_threads(threads)
    use_threads(threads)  # these imports may have brought further pools
    # above 4,096 rows, where it changes to approximate neighbours, as all of MNIST needs them
    umap.UMAP(n_components=k).fit(data[0][:5000]).transform(data[1][:100])
    start = now()
    model = umap.UMAP(n_components=k).fit(data[0])
    return finish(model, now() - start, data, judge, Z_train=model.embedding_, transform_repeats=1)


def seconds_to_codes(result) -> float:
    """Return the wall seconds from rows to a fitted model and the codes of the training rows."""
    return result["fit_wall"] + result["codes_wall"]


def add_table(page, k, parts) -> None:
    """Add a row a fit, and the curves."""
    page.section(f"{k} components")
    page.header(
        " | fit, s | fit, CPU s | codes of the training rows, s | transform of the test rows, s | "
        "the same, CPU s | 5-NN accuracy | 5-NN itself, s"
    )
    for name, result in parts.items():
        if "fit_wall" in result:
            cells = [f"{result[key]:.2f}" for key in ("fit_wall", "fit_cpu", "codes_wall")]
            cells += [f"{result[key]:.3f}" for key in ("transform_wall", "transform_cpu")]
        else:
            cells = [""] * 5
        page.row(name, *cells, f"{result['accuracy']:.4f}", f"{result['knn_wall']:.1f}")
    page.add()
    for name, result in parts.items():
        if "curve" in result:
            page.paragraph(f"The curve of {name}, whose schedule is aimed at its last epoch:")
            page.header("epoch | s | CPU s | 5-NN accuracy")
            for epoch, (wall, cpu, accuracy) in enumerate(result["curve"]):
                page.row(epoch + 1, f"{wall:.1f}", f"{cpu:.1f}", f"{accuracy:.4f}")
            page.add()


def reached(text, parts, enough: Callable[[float], bool]) -> str:
    """Say whether some SWAE fit is good enough, and whether the first of these beats UMAP's fit."""
    umap = parts.get("UMAP")
    fits = {name: result for name, result in parts.items() if name.startswith("SWAE")}
    if umap is None or not fits:
        return f"- {text}: not measured."
    good = {name: result for name, result in fits.items() if enough(result["accuracy"])}
    if not good:
        best = max(fits, key=lambda name: fits[name]["accuracy"])
        return f"- {text}: **no**, the best is {best} with {fits[best]['accuracy']:.4f}."
    first = min(good, key=lambda name: seconds_to_codes(good[name]))
    seconds = seconds_to_codes(good[first])
    return (
        f"- {text}: {yes(seconds < umap['fit_wall'])}, {first} has {good[first]['accuracy']:.4f} after "
        f"{seconds:.1f} s; UMAP has {umap['accuracy']:.4f} after {umap['fit_wall']:.1f} s."
    )


def add_bounds(page, results, raw) -> None:
    """Answer yes or no for each bound."""
    page.section(
        "Bounds",
        "SWAE's seconds are those of the fit and of the codes of the training rows, UMAP's those of the fit, "
        "which gives them.",
    )
    for k, parts in results.items():
        if k == 8:
            for name, level in (("bar", BAR), ("aim", AIM)):
                text = f"k = 8, {level:.3f} in less than UMAP's fit ({name})"
                page.add(reached(text, parts, lambda accuracy, level=level: accuracy >= level))
        if k == 32 and raw is not None:
            text = f"k = 32, above raw pixels in less than UMAP's fit (raw pixels: {raw['accuracy']:.4f})"
            page.add(reached(text, parts, lambda accuracy: accuracy > raw["accuracy"]))
        fits = [result for name, result in parts.items() if name.startswith("SWAE")]
        if fits and "UMAP" in parts:
            ours = float(np.median([result["transform_wall"] for result in fits]))
            ratio = parts["UMAP"]["transform_wall"] / ours
            page.add(
                f"- k = {k}, transform at least {TRANSFORM_RATIO} times as fast as UMAP's: "
                f"{yes(ratio >= TRANSFORM_RATIO)}, {ratio:.0f} times ({ours:.3f} s, SWAE's median)."
            )
    page.add()


def draw(path, results, raw) -> None:
    """Draw accuracy against seconds, a plot a number of components."""
    from matplotlib.figure import Figure  # without pyplot no display is asked for

    figure = Figure(figsize=(5.5 * len(results), 4.6), layout="constrained")
    for axes, (k, parts) in zip(figure.subplots(1, len(results), squeeze=False)[0], results.items()):
        fits = [result for name, result in parts.items() if name.startswith("SWAE")]
        if fits:
            x, y = [seconds_to_codes(r) for r in fits], [r["accuracy"] for r in fits]
            axes.plot(x, y, "o-", color="C0", label="SWAE, a fit a point")
            for result in fits:
                if "curve" in result:
                    wall, _, accuracy = zip(*result["curve"])
                    axes.plot(wall, accuracy, ":", color="C0", label="SWAE, within the longest fit")
        if "UMAP" in parts:
            umap = parts["UMAP"]
            both = umap["fit_wall"] + umap["transform_wall"]
            y = umap["accuracy"]
            axes.plot(umap["fit_wall"], y, "s", color="C1", label="UMAP, fit")
            axes.plot(both, y, "s", color="C1", markerfacecolor="none", label="UMAP, fit and transform")
        if "PCA" in parts:
            pca = parts["PCA"]
            axes.axhline(pca["accuracy"], color="C2", linestyle="--", linewidth=1)
            axes.plot(seconds_to_codes(pca), pca["accuracy"], "^", color="C2", label="PCA")
        if raw is not None:
            axes.axhline(raw["accuracy"], color="0.4", linestyle="-.", linewidth=1, label="raw pixels")
        axes.set(xscale="log", xlabel="seconds", ylabel="5-NN accuracy", title=f"MNIST, {k} components")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
    # the same for all plots, and below them: there is no corner that is always free
    figure.legend(*axes.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
    save(figure, path)


def main():
    arguments = parser(__doc__, "data", "plot", "resume")
    arguments.add_argument("--components", type=int, nargs="+", default=[8, 32])
    arguments.add_argument("--epochs", type=int, nargs="+", default=[2, 4, 8, 12], help="8: SWAE's default")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--rows", type=int, default=60_000, help="training rows")
    arguments.add_argument("--test-rows", type=int, default=10_000)
    names = ["swae", "pca", "umap", "raw"]
    arguments.add_argument("--only", nargs="+", choices=names, default=names)
    arguments = arguments.parse_args()
    store = Store(arguments.resume)
    threads = arguments.threads
    use_threads(threads)
    X_train, X_test, y_train, y_test = mnist(arguments.data)
    data = X_train[: arguments.rows], X_test[: arguments.test_rows]
    judge = Judge(y_train[: arguments.rows], y_test[: arguments.test_rows], threads)
    size = {"rows": len(data[0]), "test_rows": len(data[1]), "threads": threads}

    page = Page("Time to quality on MNIST", arguments.output)
    page.paragraph(
        f"{len(data[0]):,} training rows, {len(data[1]):,} test rows, {threads} thread(s) each. SWAE and "
        f"UMAP with their defaults unless said. Transform: the median of {TRANSFORM_REPEATS} calls, UMAP's "
        "of one."
    )
    raw = None
    if "raw" in arguments.only:
        raw = store.get({"part": "raw", **size}, judge, *data)
    results: dict[int, dict[str, dict]] = {}
    for k in arguments.components:
        parts = results[k] = {} if raw is None else {"raw pixels": raw}
        if "pca" in arguments.only:
            parts["PCA"] = store.get({"part": "pca", "k": k, **size}, measure_pca, k, data, judge)
        if "swae" in arguments.only:
            for epochs in sorted(arguments.epochs):
                watched = epochs == max(arguments.epochs)
                settings = {"part": "swae", "k": k, "epochs": epochs, "curve": watched, **size}
                parts[f"SWAE, {epochs} epoch{'s' if epochs > 1 else ''}"] = store.get(
                    settings, measure_swae, k, epochs, watched, data, judge
                )
        if "umap" in arguments.only:
            parts["UMAP"] = store.get({"part": "umap", "k": k, **size}, measure_umap, k, threads, data, judge)
        add_table(page, k, parts)
    add_bounds(page, results, raw)
    if arguments.plot is not None:
        draw(arguments.plot, results, raw)
        page.image(arguments.plot, "Accuracy against seconds")
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
