"""
Repairing missing pixels
========================

A part of each image is lost. What was there? A fitted model can be asked in two ways: rebuild the row with
something in the hole, and repeat; or draw many rows, and take those that agree with what is left. This page
tries both on handwritten digits, beside the imputers of scikit-learn.
"""

# %%
# A hole of 4 by 4 pixels
# -----------------------
#
# The middle of each held-out digit is lost: 16 of 64 pixels, among them most of those that vary most from
# digit to digit. The pixels are marked by NaN, as scikit-learn's imputers expect.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_fit, X_test, y_fit, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)
X_train, X_valid = train_test_split(X_fit, test_size=0.2, stratify=y_fit, random_state=0)

hole = np.zeros((8, 8), dtype=bool)
hole[2:6, 2:6] = True
hole = hole.ravel()
assert hole[np.argsort(X_train.var(axis=0))[-16:]].sum() >= 12


def damage(rows):
    return np.where(hole, np.nan, rows)


def error(rows, repaired):
    """Mean squared error of a row, summed over the lost pixels."""
    return np.square(rows - repaired)[:, hole].sum(axis=1).mean()


# %%
# First way: rebuild, fill, repeat
# --------------------------------
#
# The function needs a fitted model with ``transform`` and ``inverse_transform``, and starts from the mean
# row. It is called with :class:`~skswae.SWAETransformer` and with PCA, for which this is a known method.


def repair(model, rows, n_rounds=20):
    """Fill the hole by what the model rebuilds."""
    filled = np.where(hole, X_train.mean(axis=0), rows)
    for _ in range(n_rounds):
        filled = np.where(hole, model.inverse_transform(model.transform(filled)), filled)
    return filled


# %%
# Second way: draw rows, and match
# --------------------------------
#
# The model draws many rows. For each damaged row, those that are nearest in the pixels that are left fill
# the hole by their mean. This is ``KNNImputer``'s idea, with drawn rows instead of training rows: there can
# be as many as one likes.

from sklearn.neighbors import KNeighborsRegressor


def match(drawn, rows, n_neighbors=20):
    """Fill the hole by the mean of the nearest drawn rows."""
    knn = KNeighborsRegressor(n_neighbors, weights="distance").fit(drawn[:, ~hole], drawn)
    return np.where(hole, knn.predict(rows[:, ~hole]), rows)


# %%
# The rivals at their best
# ------------------------
#
# The number of components of PCA and the number of neighbours of ``KNNImputer`` are chosen on validation
# rows with the same hole. ``IterativeImputer`` predicts a pixel from the others by a regression; its
# training rows must have the hole too, so it gets each of them whole and damaged. It and SWAE are not tuned.

from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (its import enables the next)
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skswae import SWAETransformer

damaged = damage(X_test)
swae = SWAETransformer(10, random_state=0).fit(X_train)
pcas = [PCA(n, random_state=0).fit(X_train) for n in range(2, 21, 2)]
pca = min(pcas, key=lambda model: error(X_valid, repair(model, damage(X_valid))))
knns = [KNNImputer(n_neighbors=k, weights="distance").fit(X_train) for k in (3, 5, 7, 10)]
knn = min(knns, key=lambda model: error(X_valid, model.transform(damage(X_valid))))
iterative = IterativeImputer(max_iter=50, tol=0.05, random_state=0)
iterative.fit(np.concatenate([X_train, damage(X_train)]))

repaired = {
    "mean": SimpleImputer().fit(X_train).transform(damaged),
    f"PCA({pca.n_components_}), repeated": repair(pca, damaged),
    "SWAE, repeated": repair(swae, damaged),
    "IterativeImputer": iterative.transform(damaged),
    f"KNNImputer({knn.n_neighbors})": knn.transform(damaged),
    "SWAE, drawn rows": match(swae.sample(20_000, random_state=0), damaged),
}
errors = {name: error(X_test, rows) for name, rows in repaired.items()}
print(f"{'':20}  error in the hole")
for name, found in errors.items():
    print(f"{name:20}  {found:17.3f}")

# %%
# The words below hold if these do.

mean, linear, looped, iterated, neighbours, drawn = errors.values()
assert drawn < 1.05 * neighbours
assert max(drawn, neighbours) < 0.9 * iterated
assert iterated < 0.8 * looped
assert linear < looped < mean

# %%
# On a picture
# ------------
#
# :class:`~skswae.inspection.DenoisingDisplay` shows rows, damaged rows and repaired ones. The hole is drawn
# black here.

import matplotlib.pyplot as plt

from skswae.inspection import DenoisingDisplay

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
figure, axes = plt.subplots(3, 1, figsize=(7.5, 6.5), layout="constrained")
for axis, name in zip(axes, list(errors)[-3:]):
    black = np.where(hole, 1.0, X_test)
    DenoisingDisplay.from_arrays(
        X_test[shown], black[shown], repaired[name][shown], image_shape=(8, 8), cmap="gray_r", ax=axis
    )
    axis.set_yticks(axis.get_yticks(), ["row", "damaged", "repaired"], fontsize="small")
    axis.set_title(name)
plt.show()

# %%
# Conclusion
# ----------
#
# Rebuilding again and again is the weaker way: the first filling misleads the encoder, which was fitted to
# whole rows, and the rounds do not lead it back. In this loop PCA is ahead of SWAE. Both are better than the
# mean, and behind an imputer that was fitted with the hole. Drawing rows and matching them is the stronger
# way. It is at least about as good as ``KNNImputer`` on the real rows, which is the simplest of all and needs
# no fit worth the name. Take ``KNNImputer`` where all you want is holes filled. Where a model is fitted
# anyway, its draws do the same job without the training rows at hand.
