"""
Handwritten digits: a classifier's code, a decoder and a sampler in one step
============================================================================

Fits ``SWAETransformer`` in PCA's place before a nearest-neighbour classifier, prints the scores that it
reaches beside PCA's, and draws digits, their reconstructions, samples, and a 2-D map of the codes.
"""

import pathlib
import sys
import time

import matplotlib

matplotlib.use("Agg")  # write a file, on machines without a screen too

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae import SWAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)


def fit(step):
    """A pipeline of the step and 5 nearest neighbours, and its figures on the test rows."""
    start = time.perf_counter()
    pipe = Pipeline([("code", step), ("knn", KNeighborsClassifier(5))]).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    back = step.inverse_transform(step.transform(X_test))
    error = np.square(X_test - back).sum(axis=1).mean()
    return pipe.score(X_test, y_test), error, seconds


print(f"{'':26}  5-NN accuracy  reconstruction error  seconds")
models = {}
for n_components in (8, 2):
    for step in (PCA(n_components), SWAETransformer(n_components, random_state=0)):
        name = f"{type(step).__name__}({n_components})"
        accuracy, error, seconds = fit(step)
        print(f"{name:26}  {accuracy:13.3f}  {error:20.3f}  {seconds:7.1f}", flush=True)
        models[name] = step
swae, flat = models["SWAETransformer(8)"], models["SWAETransformer(2)"]

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
rows = [
    ("test digits", X_test[shown]),
    ("reconstructed\nfrom 8 numbers", swae.reconstruct(X_test[shown])),
    ("drawn from\nthe learned prior", swae.sample(40, random_state=0)),
]
figure, (left, axis) = plt.subplots(1, 2, figsize=(11.5, 5), layout="constrained")
left.set(xticks=[], frame_on=False)
ticks, labels, top = [], [], 0
for label, images in rows:
    n_lines = len(images) // 10
    tiles = np.zeros((n_lines, 10, 10, 10))  # a white margin around each image
    tiles[:, :, 1:-1, 1:-1] = images.reshape(n_lines, 10, 8, 8)
    picture = tiles.transpose(0, 2, 1, 3).reshape(10 * n_lines, 100)
    bottom = top + 10 * n_lines
    left.imshow(picture, cmap="gray_r", vmin=0, vmax=1, extent=(0, 100, bottom, top))
    ticks.append((top + bottom) / 2)
    labels.append(label)
    top = bottom + 3
left.set(xlim=(0, 100), ylim=(bottom, 0))
left.set_yticks(ticks, labels)
left.tick_params(length=0)

Z = flat.transform(X_test)
points = axis.scatter(*Z.T, c=y_test, cmap="tab10", s=14)
axis.legend(*points.legend_elements(), title="digit", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
axis.set(title="test digits, SWAETransformer(2)", xlabel="code 0", ylabel="code 1")

path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "digits.png")
figure.savefig(path, dpi=120)
print(f"The picture is in {path.resolve()}")
