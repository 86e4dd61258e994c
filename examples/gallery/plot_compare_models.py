"""
Six generative autoencoders on digits
=====================================

Rebuilt rows, samples, and a line of numbers for each.

Changing the model is changing a name: all have the same interface, networks and defaults. Takes about two
minutes on a CPU, and writes models.png where it is run, or the file given as an argument.
"""

import sys
import time

import matplotlib

matplotlib.use("Agg")  # write a file, on machines without a screen too

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)

models = {
    "AE": AETransformer(random_state=0),
    "VAE": VAETransformer(random_state=0),
    "WAE (MMD)": WAETransformer(random_state=0),
    "VampPrior": VampPriorTransformer(random_state=0),
    "MIM": MIMTransformer(random_state=0),
    "SWAE": SWAETransformer(random_state=0),
}
n_shown = 12
shown = [np.flatnonzero(y_test == digit)[0] for digit in (*range(10), 3, 8)]
columns = {}

for name, model in models.items():
    start = time.process_time()
    Z = model.fit(X_train).transform(X_train)
    seconds = time.process_time() - start
    knn = KNeighborsClassifier(5).fit(Z, y_train)
    print(
        f"{name:10} 5-NN accuracy {knn.score(model.transform(X_test), y_test):.3f}, "
        f"reconstruction error {-model.score(X_test):.2f}, {seconds:.0f} s"
    )
    columns[name] = [
        model.reconstruct(X_test[shown]),
        model.sample(n_shown, random_state=0),
        model.sample(n_shown, prior="gmm", random_state=0),
    ]

figure, axes = plt.subplots(len(models), 3, figsize=(12, 2.9), layout="constrained")
for row, name in zip(axes, models):
    for axis, images in zip(row, columns[name]):
        strip = images.reshape(n_shown, 8, 8)
        axis.imshow(np.hstack(np.pad(strip, ((0, 0), (1, 1), (1, 1)))), cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
for axis, title in zip(
    axes[0], ("rebuilt test rows", "samples of the model's prior", "samples, prior='gmm'")
):
    axis.set_title(title, fontsize=10)
output = sys.argv[1] if len(sys.argv) > 1 else "models.png"
figure.savefig(output, dpi=130)
print(f"Wrote {output}")
