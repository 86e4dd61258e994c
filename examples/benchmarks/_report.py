"""What every benchmark prints and writes: tables with the date, the hardware and the versions."""

from __future__ import annotations

import argparse
import datetime
import os

# these benchmarks measure the CPU, but for the one that asks for a GPU; before torch is imported
if os.environ.get("SKSWAE_BENCHMARK_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pathlib
import platform
import sys


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that every benchmark has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    result.add_argument("--output", type=pathlib.Path, help="also write the report to this Markdown file")
    return result


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Report:
    """Collects lines, prints them as they come, and writes them as Markdown after each."""

    def __init__(self, title: str, output: pathlib.Path | None):
        import numpy
        import sklearn
        import torch

        import skswae

        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU used"
        self.output = output
        self.lines: list[str] = []
        command = "python " + " ".join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
        self.add(f"# {title}")
        self.add()
        self.add(
            f"{datetime.date.today()}, {_processor()}, {torch.get_num_threads()} torch thread(s) of "
            f"{os.cpu_count()} cores, {gpu}. Python {platform.python_version()}, "
            f"skswae {skswae.__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
            f"numpy {numpy.__version__}."
        )
        self.add()
        self.add(f"Made by `{command}`.")
        self.add()

    def add(self, line: str = "") -> None:
        """One line."""
        print(line, flush=True)
        self.lines.append(line)
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self.output.write_text("\n".join(self.lines).rstrip() + "\n")

    def header(self, *columns: str) -> None:
        """The head of a table."""
        self.row(*columns)
        self.row(*("---" for _ in columns))

    def row(self, *cells) -> None:
        """A row of a table."""
        self.add("| " + " | ".join(str(cell) for cell in cells) + " |")
