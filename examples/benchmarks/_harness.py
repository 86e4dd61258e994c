"""What the scripts share: command line, timing, memory, stored partial results, and the Markdown page."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import functools
import gc
import hashlib
import json
import os
import pathlib
import platform
import re
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import sklearn
import torch

import skswae
from skswae.datasets import fetch_mnist

# ---------------------------------------------------------------------------
# Command line and data
# ---------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"metavar": "FOLDER", "help": "folder of the data sets; else that of SKSWAE_DATA"},
    "plot": {"type": pathlib.Path, "metavar": "FILE", "help": "also draw to this file"},
    "resume": {"type": pathlib.Path, "metavar": "FILE", "help": "JSON file of the parts that are done"},
    "output": {"type": pathlib.Path, "metavar": "FILE", "help": "also write the page to this Markdown file"},
}


def parser(description: str, *options: str, gpu: bool = False) -> argparse.ArgumentParser:
    """Return a parser with ``--output`` and those of the other common options that are named.

    Without ``gpu`` the devices are hidden from torch: most benchmarks measure the CPU.
    """
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = argparse.ArgumentParser(
        description=description.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name in (*options, "output"):
        found.add_argument(f"--{name}", **OPTIONS[name])
    return found


def mnist(folder: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load MNIST: training and test rows in [0, 1], float32, then their labels."""
    bunch = fetch_mnist(data_home=folder)
    X, y, n = (bunch.data / np.float32(255)).astype(np.float32), bunch.target.astype(int), bunch.n_train
    return X[:n], X[n:], y[:n], y[n:]


# ---------------------------------------------------------------------------
# Machine and code
# ---------------------------------------------------------------------------


def hardware() -> str:
    """Name the processor, the threads and the GPU."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {torch.get_num_threads()} torch thread(s) of {os.cpu_count()} cores, {gpu}"


def versions() -> dict[str, str]:
    """Return the versions of what decides the numbers."""
    packages = {module.__name__: module.__version__ for module in (skswae, torch, sklearn, np)}
    return {"python": platform.python_version(), **packages}


@functools.cache
def commit() -> str:
    """Return the commit of the checkout, with a plus where files differ from it; empty outside of one."""
    command = ["git", "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    except FileNotFoundError:  # without git
        return ""
    return told.stdout.strip()


def circumstances() -> dict[str, Any]:
    """Return the date, the hardware, the versions and the commit, for a stored result."""
    return {
        "date": str(datetime.date.today()),
        "hardware": hardware(),
        "versions": versions(),
        "commit": commit(),
    }


def named(packages: dict[str, str]) -> str:
    """Return versions as text."""
    return ", ".join(f"{name} {version}" for name, version in packages.items())


@functools.cache
def code_digest() -> str:
    """Return a hash of the code of the package, of the running script and of what scripts share."""
    files = [pathlib.Path(sys.argv[0]), *sorted(pathlib.Path(__file__).parent.glob("_*.py"))]
    files += sorted(pathlib.Path(skswae.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()[:12]


# ---------------------------------------------------------------------------
# Partial results
# ---------------------------------------------------------------------------


def put(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Write a file beside its place and move it there: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def put_text(path: pathlib.Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    put(path, lambda beside: beside.write_text(text, encoding="utf-8"))


class Store:
    """Finished parts of a measurement by their settings, in a JSON file; without a path, in memory.

    Changed code makes other keys, so that no old result is taken for a new one.
    """

    def __init__(self, path: pathlib.Path | None):
        self.path = path
        self.known = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.dates: list[str] = []
        self.n_resumed = 0

    def get(self, settings: dict[str, Any], measure: Callable[..., dict], *arguments: Any) -> dict[str, Any]:
        """Return the stored result of these settings, or ``measure(*arguments)``, which is then stored."""
        key = json.dumps({**settings, "code": code_digest()}, sort_keys=True)
        if key in self.known:
            self.n_resumed += 1
        else:
            self.known[key] = {**circumstances(), **measure(*arguments)}
            if self.path is not None:
                put_text(self.path, json.dumps(self.known, indent=1) + "\n")
        self.dates.append(self.known[key]["date"])
        return self.known[key]

    def note(self) -> str:
        """Say how many parts were measured earlier; nothing if none was."""
        if not self.n_resumed:
            return ""
        dates = " to ".join(sorted({min(self.dates), max(self.dates)}))
        return f"{self.n_resumed} of {len(self.dates)} parts come from earlier runs of this script ({dates})."


# ---------------------------------------------------------------------------
# Time and memory
# ---------------------------------------------------------------------------


def timed(clock: Callable[[], float], function: Callable, *arguments: Any) -> float:
    """Return the seconds of a call."""
    start = clock()
    function(*arguments)
    return clock() - start


def interleaved(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Return what each function returns, called in turns: A, B, C, A, B, C, ..."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return found


def ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(a) / statistics.median(b)


def anonymous_mb() -> float:
    """Return this process's anonymous memory; pages mapped from files do not count."""
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found is None:
        raise SystemExit("This benchmark reads RssAnon from /proc/self/status, which Linux has.")
    return int(found[1]) * 1024 / 1e6


class MemoryWatch:
    """Within the block, the peak of the anonymous memory in MB, looked at every 20 ms."""

    def __enter__(self):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            # what the allocator has kept of earlier calls would hide as much of this one
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.before = self.peak = anonymous_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self):
        while not self._done.wait(0.02):
            self.peak = max(self.peak, anonymous_mb())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_mb())

    @property
    def added(self) -> float:
        """The peak less the value before."""
        return self.peak - self.before


def in_fresh_process(task: dict[str, Any], threads: int | None = 1) -> dict[str, Any]:
    """Return what :func:`run_script`'s ``work`` makes of the task in a process of its own."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if threads is not None:
        environment |= dict.fromkeys(names, str(threads))
    command = [sys.executable, sys.argv[0], "--worker", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def run_script(main: Callable[[], None], work: Callable[[dict], dict]) -> None:
    """Run ``main``, or in a process of :func:`in_fresh_process` ``work``."""
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(work(json.loads(sys.argv[2]))))
    else:
        main()


# ---------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------


def yes(holds: bool) -> str:
    """Answer whether a bound holds."""
    return "yes" if holds else "**no**"


def spread(values: Sequence[float], factor: float = 1.0) -> str:
    """Return median and range."""
    median, low, high = (factor * f(values) for f in (statistics.median, min, max))
    digits = 2 if median < 100 else 0
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratio_cell(a: Sequence[float], b: Sequence[float]) -> str:
    """Return the ratio of the medians, and the range of the ratios within each turn."""
    within = [x / y for x, y in zip(a, b)]
    return f"{ratio(a, b):.2f} ({min(within):.2f} to {max(within):.2f})"


def mean_and_std(values: Any, digits: int = 3) -> str:
    """Return mean and standard deviation; nothing for NaN."""
    mean, std = np.mean(values), np.std(values)
    return "" if np.isnan(mean) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def escaped(text: str) -> str:
    """Return the text on one line, without what ends a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def markdown_row(cells: Iterable[Any]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(escaped(str(cell)) for cell in cells)} |"


def markdown_table(head: Sequence[Any], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Return the lines of a Markdown table, and an empty one."""
    return [markdown_row(head), markdown_row(["---"] * len(head)), *map(markdown_row, rows), ""]


class Page:
    """A Markdown page: its lines are printed as they come, and the file is written after each."""

    heading = "#"

    def __init__(self, title: str, output: pathlib.Path | None):
        self.output = output
        self.lines: list[str] = []
        words = iter([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
        # where partial results lie decides nothing
        kept = [word for word in words if not (word in ("--resume", "--results") and next(words, None))]
        shown = [pathlib.Path(word).name if os.path.isabs(word) else word for word in kept]
        now = circumstances()
        self.add(f"{self.heading} {title}\n")
        self.paragraph(f"{now['date']}, {now['hardware']}. {named(now['versions'])}.")
        self.paragraph(f"Made by `{shlex.join(['python', *shown])}`.")

    def add(self, line: str = "") -> None:
        """Add a line."""
        print(line, flush=True)
        self.lines.append(line)
        if self.output is not None:
            put_text(self.output, self.content("\n".join(self.lines).rstrip() + "\n"))

    def content(self, text: str) -> str:
        """Return what the file consists of with this text."""
        return text

    def paragraph(self, text: str) -> None:
        """Add a paragraph, if there is any text."""
        if text:
            self.add(f"{text}\n")

    def section(self, title: str, text: str = "") -> None:
        """Add a heading and a paragraph below it."""
        self.add(f"{self.heading}# {title}\n")
        self.paragraph(text)

    def header(self, columns: str) -> None:
        """Add the head of a table: columns with ``|`` between them."""
        names = columns.split("|")
        self.row(*map(str.strip, names))
        self.row(*["---"] * len(names))

    def row(self, *cells: Any) -> None:
        """Add a row of a table."""
        self.add(markdown_row(cells))

    def image(self, path: pathlib.Path, text: str) -> None:
        """Add a picture, by its path from the page."""
        folder = pathlib.Path() if self.output is None else self.output.parent
        self.paragraph(f"![{text}]({pathlib.Path(os.path.relpath(path, folder)).as_posix()})")


class Part(Page):
    """One script's part of a page of several, between two marks with the script's name; others stay."""

    heading = "##"

    def content(self, text: str) -> str:
        name = pathlib.Path(sys.argv[0]).stem
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        assert self.output is not None
        before, after = "# Reliability\n\n", ""
        if self.output.exists():
            before = self.output.read_text(encoding="utf-8").rstrip("\n") + "\n\n"
            if begin in before:
                before, _, rest = before.partition(begin)
                after = rest.partition(end)[2].rstrip("\n")
        return (before + begin + text + end + after).rstrip("\n") + "\n"


def save(figure: Any, path: pathlib.Path) -> None:
    """Write a figure of matplotlib to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
