"""``python -m skswae`` prints what a report of a bug should say: versions and devices."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

import skswae

NEEDED = ("numpy", "scipy", "scikit-learn", "joblib", "torch", "safetensors")
EXTRAS = (
    "matplotlib",
    "rich",
    "pandas",
    "polars",
    "pooch",
    "pillow",
    "skops",
    "onnx",
    "onnxruntime",
    "skl2onnx",
)


def versions(names: tuple[str, ...]) -> list[str]:
    """Return a line for each distribution, which need not be installed."""
    lines = []
    for name in names:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        lines.append(f"{name}: {version}")
    return lines


def devices() -> list[str]:
    """Return a line for the processor and one for each GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [f"cpu: {platform.machine()}, {cores} cores, {torch.get_num_threads()} threads of torch"]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        lines.append(
            f"cuda:{index}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        )
    return lines


def main() -> None:
    """Print versions and devices."""
    system = f"python: {platform.python_version()} on {platform.platform()}"
    print(f"skswae: {skswae.__version__}", system, *versions(NEEDED), *devices(), *versions(EXTRAS), sep="\n")


if __name__ == "__main__":
    main()
