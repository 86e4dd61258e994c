"""SWAE beside a plain autoencoder, PCA, UMAP, PaCMAP and the raw rows: 5-NN accuracy against seconds.

Each is fitted to all training rows and judged by a 5-nearest-neighbour classifier on the codes of the
training rows, scored on the test rows. A one-cycle schedule has to be aimed at its end, so SWAE is fitted
several times, for different numbers of epochs. What the judging takes is never counted.

Each has its defaults and a process of its own, one at a time, with the same number of threads. The first fit
of a process is also timed in the state of a script that has just started, where what is imported and compiled
counts; the other figures, and all accuracies, are of fits when all of that is in memory. UMAP and PaCMAP have
no seed, so that they may use all threads. PaCMAP keeps its index of the rows (`save_tree=True`), which its
transform would build again. Those that are not installed (`pip install umap-learn pacmap`) are left out, and
the page says so.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from _data import DATA
from _harness import Page, Store, named, parser, save, yes

# data set, components, epochs of SWAE beside its default
TASKS = [
    ("mnist", 8, (2, 4, 8, 12)),
    ("mnist", 32, (2, 4)),
    ("fashion_mnist", 8, (2, 4)),
    ("long_table", 8, (2,)),
]
# accuracy of SWAE's default, and the part of UMAP's seconds within which it is to be reached
BOUNDS = {("mnist", 8): [(0.955, 1.0), (0.957, 1.0)], ("mnist", 32): [(0.977, 0.5)]}
TRANSFORM_RATIO = 50  # UMAP's seconds over SWAE's
NAMES = {"raw": "raw rows", "pca": "PCA", "swae": "SWAE", "ae": "AE", "umap": "UMAP", "pacmap": "PaCMAP"}
SERVER = pathlib.Path(__file__).with_name("_rival.py")


class NotMeasured(Exception):
    """A rival could not be imported or has failed."""


class Rival:
    """A process of ``_rival.py``, started when it is first asked something."""

    def __init__(self, name: str, threads: int):
        self.name, self.threads = name, threads
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.communicate()  # the end of its input ends it

    def start(self) -> subprocess.Popen:
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        return subprocess.Popen(
            [sys.executable, SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(variables, str(self.threads))},
        )

    def ask(self, data: pathlib.Path, k: int, parameters: dict) -> dict:
        """Return what ``_rival.answer`` measures."""
        if self.process is None:
            self.process = self.start()
        task = {"rival": self.name, "data": str(data), "k": k, "threads": self.threads}
        try:
            print(json.dumps({**task, "parameters": parameters}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code, self.process = self.process.wait(), None
            raise NotMeasured(f"its process ended with the code {code}")
        found = json.loads(line)
        if "failed" in found:
            raise NotMeasured(found["failed"])
        return found


class Files:
    """The data sets as files for the processes, each written when it is first asked for."""

    def __init__(self, home: str | None, folder: str, n_rows: int | None, n_test_rows: int | None):
        self.home, self.folder, self.n_rows, self.n_test_rows = home, folder, n_rows, n_test_rows

    def __getitem__(self, name: str) -> pathlib.Path:
        path = pathlib.Path(self.folder, f"{name}.npz")
        if not path.exists():
            split = DATA[name][1](self.home, 0).head(self.n_rows, self.n_test_rows)
            np.savez(path, X=split.X, X_test=split.X_test, y=split.y, y_test=split.y_test)
        return path


def measure(tasks, rivals, files, threads, store) -> tuple[dict, dict]:
    """Return the results of each task by name, SWAE's by their epochs, and why others are missing."""
    results: dict = {(data, k): {} for data, k, _ in tasks}
    missing: dict[str, str] = {}
    size = {"rows": files.n_rows, "test_rows": files.n_test_rows, "threads": threads}
    for rival in rivals:
        with Rival(rival, threads) as process:
            for data, k, epochs in tasks:

                def ask(parameters, rival=rival, process=process, data=data, k=k):
                    settings = {"rival": rival, "data": data, "k": k, "parameters": parameters, **size}
                    return store.get(settings, lambda: process.ask(files[data], k, parameters))

                try:
                    found = {NAMES[rival]: ask({})}
                    if rival == "swae":
                        found = swae_fits(ask, found[NAMES[rival]], epochs)
                    results[data, k] |= found
                except NotMeasured as error:
                    missing[NAMES[rival]] = str(error)
    return results, missing


def swae_fits(ask, default: dict, epochs) -> dict:
    """Return the default's result among those of other epochs, in their order, under names that say them."""
    found = {n: ask({"max_iter": n}) for n in epochs if n != default["epochs"]}
    found[default["epochs"]] = default
    return {
        f"SWAE, {n} epoch{'s' if n > 1 else ''}{' (default)' if found[n] is default else ''}": found[n]
        for n in sorted(found)
    }


def seconds(result: dict) -> float:
    """Return the wall seconds from rows to a fitted model and the codes of the training rows."""
    return result["fit_wall"] + result["codes_wall"]


def fits(parts: dict) -> dict:
    """Return SWAE's results."""
    return {name: result for name, result in parts.items() if name.startswith("SWAE")}


def title(data: str, k: int) -> str:
    return f"{DATA[data][0]}, {k} components"


def add_tables(page, parts) -> None:
    """Add a row a fit; then the same in processes that have just started."""
    page.header(
        " | fit, s | fit, CPU s | codes of the training rows, s | transform of the test rows, s | "
        "the same, CPU s | 5-NN accuracy | reconstruction error"
    )
    for name, result in parts.items():
        cells = [f"{result[key]:.2f}" for key in ("fit_wall", "fit_cpu", "codes_wall")]
        cells += [f"{result[key]:.3f}" for key in ("transform_wall", "transform_cpu")]
        if name == NAMES["raw"]:
            cells = [""] * 5
        error = f"{result['error']:.2f}" if "error" in result and name != NAMES["raw"] else ""
        page.row(name, *cells, f"{result['accuracy']:.4f}", error)
    page.add()
    fresh = {
        name: result["first"] for name, result in parts.items() if "first" in result and name != NAMES["raw"]
    }
    if fresh:
        page.paragraph("In a process that has just started, in seconds:")
        page.header(
            " | import | fit, with what it compiles | codes of the training rows | "
            "transform of the test rows | all together | all together, CPU s"
        )
        for name, first in fresh.items():
            wall, cpu = (
                [first[f"{part}_{kind}"] for part in ("import", "fit", "codes", "transform")]
                for kind in ("wall", "cpu")
            )
            page.row(name, *(f"{s:.2f}" for s in [*wall, sum(wall), sum(cpu)]))
        page.add()


def in_equal_time(what: str, ours: dict, rival: str, its: dict) -> str:
    """Say whether the best of SWAE's fits that take no longer than the rival's is ahead of it."""
    text = f"- {what}: ahead of {rival} on accuracy in at most {rival}'s seconds: "
    name, result = max(
        ((name, result) for name, result in ours.items() if seconds(result) <= its["fit_wall"]),
        key=lambda item: item[1]["accuracy"],
        default=(None, None),
    )
    if result is None:
        return f"{text}{yes(False)}, no fit of SWAE was as short as {its['fit_wall']:.1f} s."
    return (
        f"{text}{yes(result['accuracy'] > its['accuracy'])}, {name} has {result['accuracy']:.4f} after "
        f"{seconds(result):.1f} s; {rival} has {its['accuracy']:.4f} after {its['fit_wall']:.1f} s."
    )


def verdicts(data: str, k: int, parts: dict) -> list[str]:
    """Answer yes or no for each bound."""
    ours, umap = fits(parts), parts.get(NAMES["umap"])
    if umap is None or not ours:
        return [f"- {title(data, k)}: not measured."]
    name = next((name for name in ours if name.endswith("(default)")), None)
    lines = []
    for level, part in BOUNDS.get((data, k), []):
        of = "" if part == 1 else f"{part:g} times "
        within, default = part * umap["fit_wall"], ours[name]
        holds = default["accuracy"] >= level and seconds(default) < within
        lines.append(
            f"- {title(data, k)}: {level:.3f} by default in less than {of}UMAP's fit: {yes(holds)}, {name} "
            f"has {default['accuracy']:.4f} after {seconds(default):.1f} s; UMAP has {umap['accuracy']:.4f} "
            f"after {umap['fit_wall']:.1f} s."
        )
    for rival in (NAMES["umap"], NAMES["pacmap"]):
        if rival in parts:
            lines.append(in_equal_time(title(data, k), ours, rival, parts[rival]))
    median = float(np.median([result["transform_wall"] for result in ours.values()]))
    ratio = umap["transform_wall"] / median
    lines.append(
        f"- {title(data, k)}: transform at least {TRANSFORM_RATIO} times as fast as UMAP's: "
        f"{yes(ratio >= TRANSFORM_RATIO)}, {ratio:.0f} times ({median:.3f} s, SWAE's median)."
    )
    return lines


def draw(path, results) -> None:
    """Draw accuracy against seconds, a plot a data set and number of components."""
    from matplotlib.figure import Figure  # without pyplot no display is asked for

    n_columns = min(2, len(results))
    n_rows = -(-len(results) // n_columns)
    figure = Figure(figsize=(5.5 * n_columns, 3.8 * n_rows + 0.8), layout="constrained")
    looks = {"AE": ("v", "C4"), "PCA": ("^", "C2"), "UMAP": ("s", "C1"), "PaCMAP": ("D", "C3")}
    shown: dict = {}
    for i, ((data, k), parts) in enumerate(results.items()):
        axes = figure.add_subplot(n_rows, n_columns, i + 1)
        ours = fits(parts)
        if ours:
            x, y = zip(*sorted((seconds(r), r["accuracy"]) for r in ours.values()))
            axes.plot(x, y, "o-", color="C0", markersize=4, label="SWAE, a fit a point")
            for name, result in ours.items():
                if name.endswith("(default)"):
                    at = seconds(result), result["accuracy"]
                    axes.plot(*at, "o", color="C0", markersize=9, label="SWAE, default")
        for name, (marker, color) in looks.items():
            if name in parts:
                at = seconds(parts[name]), parts[name]["accuracy"]
                axes.plot(*at, marker, color=color, label=name)
        for name, result in parts.items():
            if "first" in result and name != NAMES["raw"]:
                first = seconds(result["first"]) + result["first"]["import_wall"]
                marker, color = looks.get(name, ("o", "C0"))
                look = {"color": color, "markerfacecolor": "none"}
                axes.plot(first, result["accuracy"], marker, **look, label="hollow: in a new process")
        if NAMES["raw"] in parts:
            accuracy = parts[NAMES["raw"]]["accuracy"]
            axes.axhline(accuracy, color="0.4", linestyle="-.", linewidth=1, label=NAMES["raw"])
        axes.set(xscale="log", xlabel="seconds", ylabel="5-NN accuracy", title=title(data, k))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
        shown |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    # the same for all plots, and below them: there is no corner that is always free
    figure.legend(shown.values(), shown.keys(), fontsize="small", loc="outside lower center", ncols=4)
    save(figure, path)


def rival_versions() -> dict[str, str]:
    """Return the versions of the rivals that are installed."""
    found = {}
    for package in ("umap-learn", "pynndescent", "numba", "pacmap"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main():
    arguments = parser(__doc__, "data", "plot", "resume")
    data_sets = list(dict.fromkeys(data for data, *_ in TASKS))
    arguments.add_argument("--data-sets", nargs="+", choices=data_sets, default=data_sets)
    arguments.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="rivals")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--rows", type=int, help="at most as many training rows")
    arguments.add_argument("--test-rows", type=int, help="at most as many test rows")
    arguments = arguments.parse_args()
    store = Store(arguments.resume)
    torch.set_num_threads(arguments.threads)  # for the line about the hardware
    tasks = [task for task in TASKS if task[0] in arguments.data_sets]

    page = Page("Time to quality", arguments.output)
    page.paragraph(f"{named(rival_versions())}." if rival_versions() else "")
    for text in __doc__.split("\n\n")[1:]:
        page.paragraph(" ".join(text.split()))
    page.paragraph(
        f"MNIST and Fashion-MNIST: 60,000 training rows of 784 pixels, 10,000 test rows. Long table: "
        f"100,000 and 10,000 rows of 500 columns, 20 classes on curved sheets under noise (`_data.py`). "
        f"{arguments.threads} thread(s) each. The seconds are of the wall clock. Transform: the median of 5 "
        "calls, or of as many as take 2 s. The error is the squared error summed over columns, the mean of "
        "the test rows."
    )
    if arguments.rows or arguments.test_rows:
        page.paragraph(f"A trial: of these at most {arguments.rows} and {arguments.test_rows} rows.")
    with tempfile.TemporaryDirectory() as folder:
        files = Files(arguments.data, folder, arguments.rows, arguments.test_rows)
        results, missing = measure(tasks, arguments.only, files, arguments.threads, store)
    for name, why in missing.items():
        page.paragraph(f"{name} is not measured, or not everywhere: {why}.")
    for (data, k), parts in results.items():
        page.section(title(data, k))
        add_tables(page, parts)
    page.section(
        "Bounds",
        "SWAE's seconds are those of the fit and of the codes of the training rows, UMAP's those of the fit, "
        "which gives them; all is compiled. PaCMAP recommends 2 or 3 components and says that others are not "
        "thoroughly tested; its transform places new rows by an optimisation beside the training rows.",
    )
    for (data, k), parts in results.items():
        for line in verdicts(data, k, parts):
            page.add(line)
    page.add()
    if arguments.plot is not None:
        draw(arguments.plot, results)
        page.image(arguments.plot, "Accuracy against seconds")
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
