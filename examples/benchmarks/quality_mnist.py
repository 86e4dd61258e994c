"""SWAE on all of MNIST, on the CPU: accuracy, error, CPU seconds and memory after each epoch.

Trains the default network with 8 components and prints, after each epoch, the 5-nearest-neighbour accuracy
on the codes of the 10,000 test images, their reconstruction error, the CPU seconds of training so far and
the peak of the anonymous memory, beside PCA. Then GatedConvNet on a part of the rows.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _harness import MemoryWatch, Page, mnist, parser
from _watch import Watch, codes
from sklearn.decomposition import PCA

from skswae import SWAETransformer
from skswae.metrics import knn_accuracy, reconstruction_error
from skswae.networks import GatedConvNet


@torch.no_grad()
def decoded(module, Z):
    """Return the rows that a module has for codes at present."""
    batches = torch.from_numpy(Z).split(2048)
    return np.concatenate([module.decode(z).numpy() for z in batches])


def run(page, memory, model, data):
    """Train, and add a row an epoch, PCA's first; the measuring is not counted."""
    X_train, X_test, y_train, y_test = data

    def add(name, Z_train, Z_test, rows, seconds):
        accuracy = knn_accuracy(Z_train, y_train, Z_test, y_test)
        error = reconstruction_error(X_test, rows)
        page.row(name, f"{accuracy:.4f}", f"{error:.2f}", f"{seconds:.0f}", f"{memory.peak:.0f}")

    page.header("epoch | 5-NN accuracy | reconstruction error | CPU s | peak MB")
    start = time.process_time()
    pca = PCA(model.n_components, random_state=0).fit(X_train)
    seconds, Z_test = time.process_time() - start, pca.transform(X_test)
    add("PCA", pca.transform(X_train), Z_test, pca.inverse_transform(Z_test), seconds)

    def look(module, seconds):
        Z_test = codes(module, X_test)
        add(len(watch.ends), codes(module, X_train), Z_test, decoded(module, Z_test), seconds)

    watch = Watch(look=look)
    watch.fit(model, X_train)
    page.add()


def main():
    arguments = parser(__doc__, "data")
    arguments.add_argument("--epochs", type=int, default=20, help="of the MLP")
    arguments.add_argument("--conv-rows", type=int, default=3000, help="rows for GatedConvNet; 0: none")
    arguments.add_argument("--conv-epochs", type=int, default=5, help="of GatedConvNet")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    X_train, X_test, y_train, y_test = mnist(arguments.data)
    page = Page("SWAE on MNIST", arguments.output)
    common = {"n_components": 8, "device": "cpu", "random_state": 0}
    with MemoryWatch() as memory:
        if arguments.epochs:
            how = f"8 components, max_iter={arguments.epochs}, else the defaults"
            page.section(f"GatedMLP, 60,000 rows, {how}")
            model = SWAETransformer(**common, max_iter=arguments.epochs)
            run(page, memory, model, (X_train, X_test, y_train, y_test))
        if arguments.conv_rows:
            n = arguments.conv_rows
            how = f"8 components, max_iter={arguments.conv_epochs}, else the defaults"
            page.section(f"GatedConvNet((1, 28, 28)), the first {n:,} rows, {how}")
            network = GatedConvNet((1, 28, 28))
            model = SWAETransformer(**common, network=network, max_iter=arguments.conv_epochs)
            run(page, memory, model, (X_train[:n], X_test, y_train[:n], y_test))


if __name__ == "__main__":
    main()
