"""SWAE beside UMAP, PCA and raw pixels on MNIST: 5-NN accuracy against seconds.

Each is fitted to all training rows and judged by a 5-nearest-neighbour classifier on the codes of the
training rows, scored on the test rows. A one-cycle schedule has to be aimed at its end, so SWAE is fitted
several times, for different numbers of epochs; the longest fit is also judged after each epoch. What the
judging takes is never counted. UMAP runs with its defaults, without a seed so that it may use all threads,
and has compiled its functions on a part of the rows before it is timed.

Everything is measured one after the other with the same number of threads. UMAP is installed by
`pip install umap-learn`, and is left out by --only. The data: a folder with mnist.npz, given by --data or by
the environment variable SKSWAE_DATA.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable

import numpy as np
import threadpoolctl
import torch
from _report import Report, parser
from quality_mnist import load
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer
from skswae._schedule import Schedule

BAR, AIM, TRANSFORM_RATIO = 0.950, 0.957, 50  # accuracies at 8 components; UMAP's seconds over SWAE's
TRANSFORM_REPEATS = 5


class Store:
    """What is measured already, by its settings, in a JSON file; without a path, nowhere."""

    def __init__(self, path: pathlib.Path | None):
        self.path = path
        self.known = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.dates: list[str] = []
        self.n_resumed = 0

    def get(self, settings: dict, measure: Callable[..., dict], *arguments) -> dict:
        """The stored result of these settings, or measure(*arguments), which is then stored."""
        key = json.dumps(settings, sort_keys=True)
        if key in self.known:
            self.n_resumed += 1
        else:
            self.known[key] = {"date": str(datetime.date.today()), **measure(*arguments)}
            if self.path is not None:
                # a file beside it first: an interruption in the middle must not lose what was there
                part = self.path.with_suffix(".part")
                part.write_text(json.dumps(self.known, indent=1))
                part.replace(self.path)
        result = self.known[key]
        self.dates.append(result["date"])
        return result

    def note(self) -> str:
        """Which of the parts were measured earlier; empty if none was."""
        if not self.n_resumed:
            return ""
        dates = " to ".join(sorted({min(self.dates), max(self.dates)}))
        return f"{self.n_resumed} of {len(self.dates)} parts come from earlier runs of this script ({dates})."


def take_resume_option(path: pathlib.Path | None) -> Store:
    """The store at this path; --resume leaves sys.argv, so that the report does not show it."""
    kept, skip = [], False
    for argument in sys.argv:
        if skip:
            skip = False
        elif argument == "--resume":
            skip = True
        elif not argument.startswith("--resume="):
            kept.append(argument)
    sys.argv[:] = kept
    return Store(path)


def image_line(plot: pathlib.Path, output: pathlib.Path | None, text: str) -> str:
    """The plot as Markdown, seen from the report."""
    folder = pathlib.Path() if output is None else output.parent
    return f"![{text}]({pathlib.Path(os.path.relpath(plot, folder)).as_posix()})"


class Clock:
    """Wall and CPU seconds since it was made, less those of :meth:`pause` to :meth:`go_on`."""

    def __init__(self):
        self._start = self._now()

    @staticmethod
    def _now():
        return np.array([time.perf_counter(), time.process_time()])

    def read(self):
        """Seconds so far."""
        return (self._now() - self._start).tolist()

    def pause(self):
        """What follows is not counted."""
        self._paused = self._now()

    def go_on(self):
        """What follows is counted again."""
        self._start += self._now() - self._paused


class Judge:
    """5-NN accuracy from codes, and the seconds that the classifier takes."""

    def __init__(self, y_train, y_test, threads):
        self.labels = y_train, y_test
        self.threads = threads

    def __call__(self, Z_train, Z_test):
        clock = Clock()
        classifier = KNeighborsClassifier(5, n_jobs=self.threads).fit(Z_train, self.labels[0])
        accuracy = classifier.score(Z_test, self.labels[1])
        return {"accuracy": float(accuracy), "knn_wall": clock.read()[0]}


class Watched(SWAETransformer):
    """A SWAETransformer that is judged after each epoch, off the clock."""

    def watch(self, clock, data, judge):
        """Judge on these data."""
        self._watch = clock, data, judge
        self.curve: list[tuple[float, float, float]] = []  # wall seconds, CPU seconds, accuracy
        return self

    def _after_epoch(self, module, epoch, record, seconds):
        clock, data, judge = self._watch
        clock.pause()
        with torch.no_grad():
            codes = [
                np.concatenate(
                    [module.encode(module.to_units(x)).numpy() for x in torch.from_numpy(X).split(512)]
                )
                for X in data
            ]
        accuracy = judge(*codes)["accuracy"]
        clock.go_on()
        self.curve.append((*clock.read(), accuracy))


def use_threads(n: int) -> None:
    """The same number everywhere; after the imports of what has a pool of threads."""
    torch.set_num_threads(n)
    threadpoolctl.threadpool_limits(n)


def finish(model, clock, data, judge, Z_train=None, transform_repeats=TRANSFORM_REPEATS) -> dict:
    """The seconds of a fit that has just ended and of coding both sets of rows, and the accuracy."""
    fit_wall, fit_cpu = clock.read()
    clock = Clock()
    if Z_train is None:
        Z_train = model.transform(data[0])
    codes_wall, codes_cpu = clock.read()
    times = []
    for _ in range(transform_repeats):
        clock = Clock()
        Z_test = model.transform(data[1])
        times.append(clock.read())
    transform_wall, transform_cpu = np.median(times, axis=0).tolist()
    return {
        "fit_wall": fit_wall,
        "fit_cpu": fit_cpu,
        "codes_wall": codes_wall,
        "codes_cpu": codes_cpu,
        "transform_wall": transform_wall,
        "transform_cpu": transform_cpu,
        **judge(Z_train, Z_test),
    }


def measure_swae(k, epochs, watched, data, judge) -> dict:
    """SWAE, in this many epochs."""
    common = {"device": "cpu", "random_state": 0}
    SWAETransformer(k, max_iter=1, **common).fit(data[0][:1000]).transform(data[1][:1000])  # lazy imports
    model = (Watched if watched else SWAETransformer)(k, max_iter=epochs, **common)
    clock = Clock()
    if watched:
        model.watch(clock, data, judge)
    model.fit(data[0])
    result = finish(model, clock, data, judge)
    return {**result, "curve": model.curve} if watched else result


def measure_pca(k, data, judge) -> dict:
    """PCA with its defaults."""
    PCA(k).fit(data[0][:1000]).transform(data[1][:1000])
    clock = Clock()
    model = PCA(k, random_state=0).fit(data[0])
    return finish(model, clock, data, judge)


def measure_umap(k, threads, data, judge) -> dict:
    """UMAP with its defaults."""
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
    clock = Clock()
    model = umap.UMAP(n_components=k).fit(data[0])
    return finish(model, clock, data, judge, Z_train=model.embedding_, transform_repeats=1)


def measure_raw(data, judge) -> dict:
    """The pixels as they are."""
    return judge(*data)


def seconds_to_codes(result) -> float:
    """Wall seconds from rows to a fitted model and the codes of the training rows."""
    return result["fit_wall"] + result["codes_wall"]


def add_table(report, k, parts) -> None:
    """One row a fit."""
    report.add(f"## {k} components")
    report.add()
    report.header(
        "",
        "fit, s",
        "fit, CPU s",
        "codes of the training rows, s",
        "transform of the test rows, s",
        "the same, CPU s",
        "5-NN accuracy",
        "5-NN itself, s",
    )
    for name, result in parts.items():
        if "fit_wall" in result:
            cells = [f"{result[key]:.2f}" for key in ("fit_wall", "fit_cpu", "codes_wall")]
            cells += [f"{result[key]:.3f}" for key in ("transform_wall", "transform_cpu")]
        else:
            cells = [""] * 5
        report.row(name, *cells, f"{result['accuracy']:.4f}", f"{result['knn_wall']:.1f}")
    report.add()
    for name, result in parts.items():
        if "curve" in result:
            report.add(f"The curve of {name}, whose schedule is aimed at its last epoch:")
            report.add()
            report.header("epoch", "s", "CPU s", "5-NN accuracy")
            for epoch, (wall, cpu, accuracy) in enumerate(result["curve"]):
                report.row(epoch + 1, f"{wall:.1f}", f"{cpu:.1f}", f"{accuracy:.4f}")
            report.add()


def reached(text, parts, enough: Callable[[float], bool]) -> str:
    """Whether some SWAE fit is good enough, and the first of these done before UMAP's fit."""
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
    answer = "yes" if seconds < umap["fit_wall"] else "**no**"
    return (
        f"- {text}: {answer}, {first} has {good[first]['accuracy']:.4f} after {seconds:.1f} s; UMAP has "
        f"{umap['accuracy']:.4f} after {umap['fit_wall']:.1f} s."
    )


def add_bounds(report, results, raw) -> None:
    """Yes or no for each bound."""
    report.add("## Bounds")
    report.add()
    report.add(
        "SWAE's seconds are those of the fit and of the codes of the training rows, UMAP's those of the fit, "
        "which gives them."
    )
    report.add()
    for k, parts in results.items():
        if k == 8:
            for name, level in (("bar", BAR), ("aim", AIM)):
                text = f"k = 8, {level:.3f} in less than UMAP's fit ({name})"
                report.add(reached(text, parts, lambda accuracy, level=level: accuracy >= level))
        if k == 32:
            text = "k = 32, above raw pixels in less than UMAP's fit"
            if raw is None:
                report.add(f"- {text}: not measured.")
            else:
                text += f" (raw pixels: {raw['accuracy']:.4f})"
                report.add(reached(text, parts, lambda accuracy: accuracy > raw["accuracy"]))
        fits = [result for name, result in parts.items() if name.startswith("SWAE")]
        text = f"k = {k}, transform at least {TRANSFORM_RATIO} times as fast as UMAP's"
        if fits and "UMAP" in parts:
            ours = float(np.median([result["transform_wall"] for result in fits]))
            ratio = parts["UMAP"]["transform_wall"] / ours
            answer = "yes" if ratio >= TRANSFORM_RATIO else "**no**"
            report.add(f"- {text}: {answer}, {ratio:.0f} times ({ours:.3f} s, the median of SWAE's fits).")
        else:
            report.add(f"- {text}: not measured.")
    report.add()


def draw(path, results, raw) -> None:
    """Accuracy against seconds, a plot a number of components."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--data", default=os.environ.get("SKSWAE_DATA"), help="folder of mnist.npz")
    arguments.add_argument("--components", type=int, nargs="+", default=[8, 32])
    arguments.add_argument(
        "--epochs", nargs="+", default=["2", "4", "default", "12"], help='"default": the estimator\'s'
    )
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--rows", type=int, default=60_000, help="training rows")
    arguments.add_argument("--test-rows", type=int, default=10_000)
    names = ["swae", "pca", "umap", "raw"]
    arguments.add_argument("--only", nargs="+", choices=names, default=names)
    arguments.add_argument("--plot", type=pathlib.Path, help="also draw to this file")
    arguments.add_argument("--resume", type=pathlib.Path, help="JSON file of the parts that are done")
    arguments = arguments.parse_args()
    if arguments.data is None:
        raise SystemExit("Name the folder of mnist.npz by --data or the environment variable SKSWAE_DATA.")
    store = take_resume_option(arguments.resume)
    threads = arguments.threads
    use_threads(threads)
    default = Schedule.of(SWAETransformer(), arguments.rows).n_epochs
    lengths = sorted({default if e == "default" else int(e) for e in arguments.epochs})

    X_train, X_test, y_train, y_test = load(arguments.data)
    data = X_train[: arguments.rows], X_test[: arguments.test_rows]
    judge = Judge(y_train[: arguments.rows], y_test[: arguments.test_rows], threads)
    size = {"rows": len(data[0]), "test_rows": len(data[1]), "threads": threads}

    report = Report("Time to quality on MNIST", arguments.output)
    report.add(
        f"{len(data[0]):,} training rows, {len(data[1]):,} test rows, {threads} thread(s) each. SWAE and "
        f"UMAP with their defaults (SWAE: {default} epochs) unless said. Transform: the median of "
        f"{TRANSFORM_REPEATS} calls, UMAP's of one."
    )
    report.add()
    raw = None
    if "raw" in arguments.only:
        raw = store.get({"part": "raw", **size}, measure_raw, data, judge)
    results: dict[int, dict[str, dict]] = {}
    for k in arguments.components:
        parts = results[k] = {}
        if raw is not None:
            parts["raw pixels"] = raw
        if "pca" in arguments.only:
            parts["PCA"] = store.get({"part": "pca", "k": k, **size}, measure_pca, k, data, judge)
        if "swae" in arguments.only:
            for epochs in lengths:
                watched = epochs == lengths[-1]
                settings = {"part": "swae", "k": k, "epochs": epochs, "curve": watched, **size}
                parts[f"SWAE, {epochs} epoch{'s' if epochs > 1 else ''}"] = store.get(
                    settings, measure_swae, k, epochs, watched, data, judge
                )
        if "umap" in arguments.only:
            settings = {"part": "umap", "k": k, **size}
            parts["UMAP"] = store.get(settings, measure_umap, k, threads, data, judge)
        add_table(report, k, parts)
    add_bounds(report, results, raw)
    if arguments.plot is not None:
        draw(arguments.plot, results, raw)
        report.add(image_line(arguments.plot, arguments.output, "Accuracy against seconds"))
        report.add()
    if store.note():
        report.add(store.note())


if __name__ == "__main__":
    main()
