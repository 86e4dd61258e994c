"""SWAE on all of MNIST, on the CPU: accuracy, error, CPU seconds and memory after each epoch.

Trains the default network with 8 components and prints, after each epoch, the 5-nearest-neighbour accuracy
on the codes of the 10,000 test images, their reconstruction error, the CPU seconds of training so far and
the peak of the anonymous memory, beside PCA. Then GatedConvNet on a part of the rows.

The data: a folder with mnist.npz (X_train, y_train, X_test, y_test; rows of 784 bytes), given by --data or
by the environment variable SKSWAE_DATA.
"""

from __future__ import annotations

import os
import pathlib
import re
import threading
import time

import numpy as np
import torch
from _report import Report, parser
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer
from skswae.networks import GatedConvNet


def load(folder):
    """Rows in [0, 1] and labels."""
    path = pathlib.Path(folder) / "mnist.npz"
    with np.load(path) as data:
        as_float = [data[name].astype(np.float32) / 255 for name in ("X_train", "X_test")]
        return as_float[0], as_float[1], data["y_train"], data["y_test"]


class PeakMemory(threading.Thread):
    """The peak of this process's anonymous memory (pages mapped from files do not count), in MB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0.0

    def run(self):
        status = pathlib.Path("/proc/self/status")
        while status.exists():
            found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
            self.peak = max(self.peak, int(found.group(1)) / 1024)
            time.sleep(0.2)


class Watched(SWAETransformer):
    """A SWAETransformer that is measured after each epoch; the measuring is not counted."""

    def watch(self, report, data, memory):
        """Report to, on these data."""
        self._watch = report, data, memory
        self._spent = 0.0
        self._since = time.process_time()
        return self

    def _after_epoch(self, module, epoch, record, seconds):
        self._spent += time.process_time() - self._since
        report, (X_train, X_test, y_train, y_test), memory = self._watch
        with torch.no_grad():
            Z_train = np.concatenate([module.encode(x).numpy() for x in torch.from_numpy(X_train).split(512)])
            codes = [module.encode(x) for x in torch.from_numpy(X_test).split(512)]
            decoded = np.concatenate([module.decode(z).numpy() for z in codes])
        accuracy = KNeighborsClassifier(5).fit(Z_train, y_train).score(torch.cat(codes).numpy(), y_test)
        error = np.square(X_test - decoded).sum(axis=1).mean()
        report.row(epoch + 1, f"{accuracy:.4f}", f"{error:.2f}", f"{self._spent:.0f}", f"{memory.peak:.0f}")
        self._since = time.process_time()


def run(report, memory, model, data):
    """Train and print a row an epoch, PCA's first."""
    X_train, X_test, y_train, y_test = data
    report.header("epoch", "5-NN accuracy", "reconstruction error", "CPU s", "peak MB")
    start = time.process_time()
    pca = PCA(model.n_components, random_state=0).fit(X_train)
    seconds = time.process_time() - start
    knn = KNeighborsClassifier(5).fit(pca.transform(X_train), y_train)
    decoded = pca.inverse_transform(pca.transform(X_test))
    report.row(
        "PCA",
        f"{knn.score(pca.transform(X_test), y_test):.4f}",
        f"{np.square(X_test - decoded).sum(axis=1).mean():.2f}",
        f"{seconds:.0f}",
        f"{memory.peak:.0f}",
    )
    model.watch(report, data, memory).fit(X_train)
    report.add()


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--data", default=os.environ.get("SKSWAE_DATA"), help="folder of mnist.npz")
    arguments.add_argument("--epochs", type=int, default=20, help="of the MLP")
    arguments.add_argument("--conv-rows", type=int, default=3000, help="rows for GatedConvNet; 0: none")
    arguments.add_argument("--conv-epochs", type=int, default=5, help="of GatedConvNet")
    arguments = arguments.parse_args()
    if arguments.data is None:
        raise SystemExit("Name the folder of mnist.npz by --data or the environment variable SKSWAE_DATA.")
    torch.set_num_threads(1)
    memory = PeakMemory()
    memory.start()
    data = load(arguments.data)
    report = Report("SWAE on MNIST", arguments.output)
    common = {"n_components": 8, "device": "cpu", "random_state": 0}
    if arguments.epochs:
        report.add(f"## GatedMLP, 60,000 rows, 8 components, max_iter={arguments.epochs}, else the defaults")
        report.add()
        run(report, memory, Watched(**common, max_iter=arguments.epochs), data)
    if arguments.conv_rows:
        n = arguments.conv_rows
        report.add(
            f"## GatedConvNet((1, 28, 28)), the first {n:,} rows, 8 components, "
            f"max_iter={arguments.conv_epochs}, else the defaults"
        )
        report.add()
        network = GatedConvNet((1, 28, 28))
        model = Watched(**common, network=network, max_iter=arguments.conv_epochs)
        run(report, memory, model, (data[0][:n], data[1], data[2][:n], data[3]))


if __name__ == "__main__":
    main()
