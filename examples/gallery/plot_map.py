"""
A map that can be read backwards
================================

UMAP draws maps of data that are hard to beat. What does an autoencoder add to a map? A decoder: each point of
the plane has a row. This page draws maps of digits by PCA, UMAP and :class:`~skswae.SWAETransformer`, places
held-out rows on them, and goes back from the maps to rows.
"""

# %%
# Three maps
# ----------
#
# With ``neighbor_weight`` the model minimises what UMAP does beside its own objective. A map wants more
# epochs than a code for a classifier, and larger batches. UMAP (the package umap-learn) has its defaults.
# It is called once on a few rows before: its functions are compiled in the first call.

import time
import warnings

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skswae import SWAETransformer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that it imports
    from umap import UMAP

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)

n_threads = torch.get_num_threads()
first = UMAP(n_epochs=5, init="random", n_jobs=1, random_state=0).fit(X_train[:100])
first.inverse_transform(first.transform(X_train[:5]))

maps = {
    "PCA": PCA(2, random_state=0),
    "UMAP": UMAP(n_jobs=1, random_state=0),
    "SWAE": SWAETransformer(2, neighbor_weight=16, max_iter=80, batch_size=256, random_state=0),
}
seconds = {}
for name, model in maps.items():
    torch.set_num_threads(n_threads)  # the first call of UMAP has changed it
    start = time.process_time()
    model.fit(X_train)
    seconds[name] = time.process_time() - start

# %%
# Held-out rows on the maps
# -------------------------
#
# The held-out rows were never part of a fit. A good map puts them among rows of their class (5-NN
# accuracy) and next to rows that they are near to (trustworthiness). The error is the squared distance
# between a row and what the map's inverse makes of its point, over the first rows: UMAP's inverse solves a
# problem of its own for each. Seconds are of the processor.

from skswae.metrics import knn_accuracy, reconstruction_error, trustworthiness

n_back = 30
points, rebuilt, table = {}, {}, {}
print("map   5-NN accuracy  trustworthiness  error  fit, s  transform, ms  inverse, ms a row")
for name, model in maps.items():
    start = time.process_time()
    Z = points[name] = np.asarray(model.transform(X_test))
    middle = time.process_time()
    rebuilt[name] = np.asarray(model.inverse_transform(Z[:n_back]))
    end = time.process_time()
    table[name] = row = {
        "accuracy": knn_accuracy(model.transform(X_train), y_train, Z, y_test),
        "trust": trustworthiness(X_test, Z),
        "error": reconstruction_error(X_test[:n_back], rebuilt[name]),
        "fit": seconds[name],
        "transform": 1000 * (middle - start),
        "inverse": 1000 * (end - middle) / n_back,
    }
    print(
        f"{name:5} {row['accuracy']:13.3f}  {row['trust']:15.3f}  {row['error']:5.2f}  {row['fit']:6.1f}"
        f"  {row['transform']:13.1f}  {row['inverse']:17.2f}"
    )

# %%
# The words below hold if these do.

pca, umap, swae = table.values()
assert umap["accuracy"] > swae["accuracy"] + 0.01
assert swae["accuracy"] > pca["accuracy"] + 0.2
assert umap["trust"] > swae["trust"] > pca["trust"] + 0.05
assert swae["error"] < min(umap["error"], pca["error"]) - 0.1
assert swae["transform"] < 0.2 * umap["transform"]
assert swae["inverse"] < 0.2 * umap["inverse"]

# %%
# The maps themselves, in the same colours:

import matplotlib.pyplot as plt

from skswae.inspection import LatentDisplay

figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
for axis, name in zip(axes, maps):
    LatentDisplay.from_arrays(points[name], y_test, ax=axis)
    axis.set_title(name)
    if axis is not axes[-1]:
        axis.get_legend().remove()
plt.show()

# %%
# Backwards
# ---------
#
# On the left, held-out rows as each map's inverse rebuilds them. On the right, the plane of SWAE's map,
# decoded over a grid, behind the held-out rows: what each part of the map stands for, and what lies
# between the groups.

figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.6), layout="constrained", width_ratios=(1, 1.15))
rows = np.concatenate([X_test[:10], *(found[:10] for found in rebuilt.values())])
tiles = np.pad(rows.reshape(4, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
tiles = tiles.transpose(0, 2, 1, 3).reshape(40, 100)
axes[0].imshow(tiles, cmap="gray_r", vmin=0, vmax=1)
axes[0].set_yticks(4.5 + 10 * np.arange(4), ["held-out row", *maps])
axes[0].set(xticks=[], frame_on=False)
axes[0].tick_params(length=0)
LatentDisplay.from_estimator(maps["SWAE"], X_test, y_test, n_grid=16, image_shape=(8, 8), ax=axes[1])
plt.show()

# %%
# Conclusion
# ----------
#
# For a map to look at, UMAP is the best of the three: its groups are the purest, and nearest rows stay
# nearest. SWAE's map is behind it, and far ahead of PCA's. It takes longer to fit than UMAP. What it has in
# return is a function each way: new rows are placed in a fraction of UMAP's time, and points of the map are
# turned into rows faster and with a smaller error. Take UMAP to look at one data set, SWAE where new rows
# keep coming or where the map is to be read backwards. More epochs (``max_iter=200``) bring SWAE's map
# nearer to UMAP's: :doc:`the guide </guide/maps>` has the figures.
