"""Several processes that share a fit: what a step exchanges and takes, and where more stop paying."""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from _harness import markdown_table

from skswae import SWAETransformer
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP

SHAPE = (1, 28, 28)
K = 500
# name, columns, network, batch size of the fits that are timed
MODELS: list[tuple[str, int, Any, int]] = [
    ("default, 64 columns", 64, GatedMLP(), 512),
    ("default, 784 columns", 784, GatedMLP(), 512),
    ("the paper's GatedConvNet, 28x28", 784, GatedConvNet(image_shape=SHAPE), 96),
    ("the WAE paper's DCGANNet, 28x28", 784, DCGANNet(image_shape=SHAPE), 96),
]
SIZES = [2, 4, 8, 16, 64, 256, 1000]
# links between machines: bytes a second and seconds of a message, as their makers state them or about
LINKS = {
    "1 Gb/s Ethernet": (0.125e9, 50e-6),
    "25 Gb/s Ethernet": (3.1e9, 20e-6),
    "400 Gb/s fabric": (50e9, 5e-6),
}


# ---------------------------------------------------------------------------
# Measurements
# ---------------------------------------------------------------------------


def model(network: Any, batch_size: int, n_epochs: int) -> SWAETransformer:
    settings = {"network": network, "batch_size": batch_size, "max_iter": n_epochs, "n_pseudo_inputs": K}
    return SWAETransformer(8, random_state=0, **settings)


def steps(n_columns: int, network: Any, batch_size: int, n_steps: int) -> dict[str, Any]:
    """Return what a step exchanges, and its CPU seconds on a batch and on an eighth of it.

    They are those by which ``partial_fit`` takes longer for more rows, the least of three times.
    """
    few = batch_size // 8
    rows = np.random.default_rng(0).random((max(K, n_steps * batch_size), n_columns), dtype=np.float32)
    fitted = model(network, batch_size, 1).fit(rows[:K])
    found: dict[str, Any] = {"batch": batch_size, "few": few}
    found["numbers"] = sum(parameter.numel() for parameter in fitted.module_.parameters())
    for name, size in (("seconds", batch_size), ("seconds_few", few)):
        fitted.set_params(batch_size=size).partial_fit(rows[:size])
        differences = []
        for _ in range(3):
            clocks = [time.process_time()]
            for n in (n_steps, 1):
                fitted.partial_fit(rows[: n * size])
                clocks.append(time.process_time())
            differences.append(clocks[1] - clocks[0] - (clocks[2] - clocks[1]))
        found[name] = max(1e-6, min(differences) / (n_steps - 1))
    return found


def torchrun(n_processes: int, *arguments: str) -> dict[str, Any]:
    """Run this file under torchrun, each process with one thread; return what the first one found."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "found.json")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={n_processes}", __file__, str(path), *arguments]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        return json.loads(path.read_text())


def exchanges(n_numbers: int) -> dict[str, float]:
    """Return the seconds of exchanges of one number and of ``n_numbers`` among the processes."""
    found = {}
    for name, n in {"one": 1, "all": n_numbers}.items():
        values = torch.zeros(n)
        seconds = []
        for _ in range(30):
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(values)
            seconds.append(time.perf_counter() - start)
        found[name] = float(np.median(seconds[5:]))
    return found


def shared_fit(n_rows: int, n_epochs: int) -> dict[str, float]:
    """Return the wall seconds of an epoch of a fit of the default network, 784 columns."""
    rows = np.random.default_rng(0).random((n_rows, 784), dtype=np.float32)
    seconds = []
    for n in (1, 1, 1 + n_epochs):
        start = time.perf_counter()
        fitted = model(GatedMLP(), 512, n).fit(rows)
        seconds.append(time.perf_counter() - start)
    return {"epoch": (seconds[2] - seconds[1]) / n_epochs, "loss": float(fitted.loss_curve_[-1])}


def measure(quick: bool) -> dict[str, Any]:
    """Measure the steps, the exchanges and fits of 1 and 2 processes on this machine."""
    warnings.simplefilter("ignore")
    models, n_steps = (MODELS[:1], 2) if quick else (MODELS, 8)
    found: dict[str, Any] = {"models": {}}
    for name, n_columns, network, batch_size in models:
        found["models"][name] = steps(n_columns, network, batch_size, n_steps if batch_size > 100 else 2)
    largest = max(model["numbers"] for model in found["models"].values())
    found["largest"] = largest
    found["exchange"] = torchrun(2, "exchanges", str(largest))
    size = ("1000", "1") if quick else ("20000", "4")
    found["fits"] = {str(n): torchrun(n, "shared_fit", *size) for n in (1, 2)}
    found["rows"] = int(size[0])
    return found


# ---------------------------------------------------------------------------
# On paper
# ---------------------------------------------------------------------------


def exchange_seconds(n_numbers: int, size: int, link: tuple[float, float]) -> float:
    """Return the seconds in which so many float32 numbers are summed over processes.

    A ring sends 2 (N - 1) / N of the bytes; the messages of a tree are 2 log2 N.
    """
    rate, latency = link
    return 2 * (size - 1) / size * 4 * n_numbers / rate + 2 * math.log2(size) * latency


def step_of(model: dict[str, Any], n_rows: float) -> float:
    """Return the seconds of a step on so many rows, on the line through the two that were measured."""
    slope = max(0.0, (model["seconds"] - model["seconds_few"]) / (model["batch"] - model["few"]))
    return model["seconds_few"] + slope * max(0.0, n_rows - model["few"])


def speedup(model: dict[str, Any], size: int, link: tuple[float, float], *, divided: bool) -> float:
    """Return how many times as many rows a second so many processes learn as one.

    ``divided`` is whether they share the batch of one process; else each has a batch of that size.
    """
    batch = model["batch"]
    own = (
        batch / size if divided and size <= batch else batch
    )  # of fewer rows than processes each computes all
    seconds = step_of(model, own) + exchange_seconds(model["numbers"], size, link)
    return (1 if divided else size) * step_of(model, batch) / seconds


def lines(results: dict[str, Any]) -> list[str]:
    """Return the section of the page."""
    models = results["models"]
    one, two = (results["fits"][n] for n in ("1", "2"))
    single, whole = (1e3 * results["exchange"][name] for name in ("one", "all"))
    found = [
        "## Several processes",
        "",
        f"{results['rows']:,} rows of 784 columns, the default network, batches of 512: an epoch takes "
        f"{one['epoch']:.2f} s in one process with one thread, and {two['epoch']:.2f} s in two such "
        "processes on this machine, whose two processors share one core. The last losses are "
        f"{one['loss']:.6f} and "
        f"{two['loss']:.6f}. Summing one number over both takes {single:.2f} ms, "
        f"{results['largest']:,} numbers {whole:.1f} ms (gloo).",
        "",
        "## Scaling, on paper",
        "",
        "What a step exchanges, and the CPU seconds of a step of one thread, measured here:",
        "",
    ]
    found += markdown_table(
        ["model, K = 500", "numbers", "MB a step", "ms a step of rows", "ms a step of few rows"],
        [
            [
                name,
                f"{m['numbers']:,}",
                f"{4e-6 * m['numbers']:.1f}",
                f"{1e3 * m['seconds']:.1f} ({m['batch']})",
                f"{1e3 * m['seconds_few']:.1f} ({m['few']})",
            ]
            for name, m in models.items()
        ],
    )
    found += [
        "From these, how many times as many rows a second N processes of one such thread learn. It is "
        "computed, not measured: the seconds of a step on the line through the two above (below the few rows "
        "no faster), and those of an exchange that is not hidden behind it, 2 (N - 1) / N of the bytes over "
        'the rate of the link and 2 log2(N) messages. "Divided" keeps the batch, and with it the losses, '
        'of one process. With "each" every process has a batch of that size, so that steps are fewer and '
        "larger, and the rate must be chosen anew.",
        "",
    ]
    for link, numbers in LINKS.items():
        found += [f"{link} ({numbers[0] / 1e9:g} GB/s, {1e6 * numbers[1]:g} µs):", ""]
        found += markdown_table(
            ["model", "batch", *map(str, SIZES)],
            [
                [name, kind, *(f"{speedup(m, n, numbers, divided=kind == 'divided'):.3g}" for n in SIZES)]
                for name, m in models.items()
                for kind in ("divided", "each")
            ],
        )
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    path, task, *sizes = sys.argv[1:]
    if task == "exchanges":
        dist.init_process_group("gloo")
    result = {"exchanges": exchanges, "shared_fit": shared_fit}[task](*map(int, sizes))
    if int(os.environ["RANK"]) == 0:
        pathlib.Path(path).write_text(json.dumps(result))
    if dist.is_initialized():
        dist.destroy_process_group()
