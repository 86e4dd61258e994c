"""Pseudo-inputs that rest while they have no gradient: what that costs and saves.

In a step at most as many pseudo-inputs have a gradient as the batch has rows. Adam moves the others too, by
the momentum of earlier gradients; from SPARSE_FROM numbers in all of them on, SWAETransformer lets them rest
(RowAdam). Both ways on digits, and on MNIST with K = 4000, by accuracy, error and CPU seconds.

MNIST is a folder with mnist.npz, given by --data or by the environment variable SKSWAE_DATA; without it
digits alone are run.
"""

from __future__ import annotations

import math
import os
import time

import numpy as np
import torch
from _report import Report, parser
from quality_mnist import load
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer, _swae


def measure(data, seed, sparse_from, **parameters):
    """5-NN accuracy, reconstruction error, share of pseudo-inputs in use, CPU seconds."""
    X_train, X_test, y_train, y_test = data
    before, _swae.SPARSE_FROM = _swae.SPARSE_FROM, sparse_from
    try:
        start = time.process_time()
        swae = SWAETransformer(8, device="cpu", random_state=seed, **parameters).fit(X_train)
        seconds = time.process_time() - start
    finally:
        _swae.SPARSE_FROM = before
    knn = KNeighborsClassifier(5).fit(swae.transform(X_train), y_train)
    used = float((swae.pseudo_input_weights_ > 0).mean())
    return knn.score(swae.transform(X_test), y_test), -swae.score(X_test), used, seconds


def compare(report, data_of, seeds, **parameters):
    """A row for each way: means over the seeds, and the standard deviation of the differences."""
    sides = {"all move (Adam)": math.inf, "those without a gradient rest (RowAdam)": 0}
    found = {
        name: np.array([measure(data_of(seed), seed, sparse_from, **parameters) for seed in seeds])
        for name, sparse_from in sides.items()
    }
    report.header("pseudo-inputs", "5-NN accuracy", "reconstruction error", "used", "CPU s a fit")
    for name, values in found.items():
        accuracy, error, used, seconds = values.mean(axis=0)
        report.row(name, f"{accuracy:.4f}", f"{error:.3f}", f"{used:.3f}", f"{seconds:.1f}")
    moving, resting = found.values()
    difference = resting - moving
    spread = ""
    if len(seeds) > 1:
        accuracy, error = difference.std(axis=0, ddof=1)[:2]
        spread = f", standard deviations {accuracy:.4f} and {error:.3f}"
    report.add()
    report.add(
        f"Resting less moving, {len(seeds)} seed(s): accuracy {difference[:, 0].mean():+.4f}, error "
        f"{difference[:, 1].mean():+.3f}{spread}."
    )
    report.add()


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--data", default=os.environ.get("SKSWAE_DATA"), help="folder of mnist.npz")
    arguments.add_argument("--rows", type=int, default=20_000, help="of MNIST")
    arguments.add_argument("--seeds", type=int, default=5, help="for digits")
    arguments.add_argument("--mnist-seeds", type=int, default=2)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("Pseudo-inputs that rest", arguments.output)
    X, y = load_digits(return_X_y=True)
    report.add("## Digits, the defaults (K = 224), each seed with its own split")
    report.add()
    compare(
        report,
        lambda seed: train_test_split(X / 16, y, stratify=y, random_state=seed),
        range(arguments.seeds),
    )
    if arguments.data is not None:
        X_train, X_test, y_train, y_test = load(arguments.data)
        n = arguments.rows
        report.add(f"## MNIST, {n:,} rows, K = 4000, batches of 100, 8 epochs, else the defaults")
        report.add()
        data = X_train[:n], X_test, y_train[:n], y_test
        parameters = {"n_pseudo_inputs": 4000, "batch_size": 100, "max_iter": 8}
        compare(report, lambda seed: data, range(arguments.mnist_seeds), **parameters)


if __name__ == "__main__":
    main()
