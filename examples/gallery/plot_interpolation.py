"""
From one digit to another
=========================

What lies halfway between two rows? Halfway between two images there are both at once, pale. Halfway
between their codes there can be a row that might have been measured. This page draws both ways, and
measures how far the middle is from real rows.
"""

# %%
# Three ways to mix
# -----------------
#
# Rows can be mixed as they are, or as codes that are then decoded. Codes of PCA are the control: they are
# as short as those of :class:`~skswae.SWAETransformer`, and smooth rows as much, but their decoder is
# linear. A middle of PCA's codes is the smoothed middle of the rows.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skswae import SWAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)

pca = PCA(8, random_state=0).fit(X_train)
swae = SWAETransformer(8, random_state=0).fit(X_train)

# %%
# Two ways on a picture
# ---------------------
#
# :class:`~skswae.inspection.InterpolationDisplay` goes from one held-out row to another. The upper line
# mixes the rows, the lower one the codes.

import matplotlib.pyplot as plt

from skswae.inspection import InterpolationDisplay

figure, axes = plt.subplots(3, 1, figsize=(7, 5.5), layout="constrained")
for axis, classes in zip(axes, [(0, 6), (1, 4), (3, 8)]):
    ends = [int(np.flatnonzero(y_test == digit)[0]) for digit in classes]
    InterpolationDisplay.from_estimator(
        swae, X_test, ends=ends, n_steps=10, image_shape=(8, 8), cmap="gray_r", ax=axis
    )
plt.show()

# %%
# How far from real rows is the middle?
# -------------------------------------
#
# Pairs of held-out rows of different classes are drawn at random. For the middle of each, the distance to
# the nearest training row of either class is measured. Two lines give the scale: how far held-out rows
# themselves are from training rows of their class, and how far they are after the model has rebuilt them,
# for a decoder makes rows smoother, and smooth rows are near to others.

from sklearn.metrics import pairwise_distances

rng = np.random.default_rng(0)
first, last = rng.integers(0, len(X_test), (2, 600))
different = y_test[first] != y_test[last]
first, last = first[different], last[different]


def to_nearest(rows, *classes):
    """Mean distance of the rows to the nearest training row of one of their classes."""
    distances = pairwise_distances(rows, X_train)
    allowed = np.any([y_train[None, :] == c[:, None] for c in classes], axis=0)
    return np.where(allowed, distances, np.inf).min(axis=1).mean()


def middle(model):
    """Rows decoded from the middles of codes."""
    Z = model.transform(X_test)
    return model.inverse_transform((Z[first] + Z[last]) / 2)


ends = np.concatenate([first, last])
straight = (X_test[first] + X_test[last]) / 2
far = {}
for name, rows, middles in (
    ("rows", X_test, straight),
    ("codes of PCA", pca.inverse_transform(pca.transform(X_test)), middle(pca)),
    ("codes of SWAE", swae.reconstruct(X_test), middle(swae)),
):
    far[name] = to_nearest(rows[ends], y_test[ends]), to_nearest(middles, y_test[first], y_test[last])

print(f"{len(first)} pairs       ends  middle")
for name, (at_the_ends, halfway) in far.items():
    print(f"{name:14} {at_the_ends:6.3f} {halfway:7.3f}")

# %%
# The words below hold if these do.

assert far["codes of SWAE"][1] < far["codes of PCA"][1] - 0.02 < far["rows"][1] - 0.04
assert far["codes of SWAE"][1] > far["rows"][0] + 0.1
growth = {name: halfway - at_the_ends for name, (at_the_ends, halfway) in far.items()}
assert growth["codes of PCA"] < growth["codes of SWAE"] - 0.05

# %%
# Conclusion
# ----------
#
# The middle of two codes of SWAE is nearer to real rows than the middle of the rows, and nearer than the
# middle of two codes of PCA: on the way the strokes of one digit bend into those of the other. But the
# middle is farther from real rows than another measured row is: between two classes there is not always a
# digit. And a part of the gain is that decoded rows are smooth, as the column of the ends shows. From its
# own ends to the middle the distance grows less with PCA than with SWAE. Take the way through the codes to
# look at what a model has learned, and :meth:`~skswae.SWAETransformer.sample`, which knows where the codes
# are dense, for new rows.
