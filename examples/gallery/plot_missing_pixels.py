"""
Repairing missing pixels
========================

A part of each image is lost. What was there? An autoencoder can be asked again and again: fill the hole
with something, rebuild the row, take the rebuilt pixels for the hole, and repeat. This page does so for
handwritten digits, beside the imputers of scikit-learn.
"""

# %%
# A hole of 4 by 4 pixels
# -----------------------
#
# The middle of each held-out digit is lost: 16 of 64 pixels, those that differ most between digits. The
# pixels are marked by NaN, as scikit-learn's imputers expect.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_fit, X_test, y_fit, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)
X_train, X_valid = train_test_split(X_fit, test_size=0.2, stratify=y_fit, random_state=0)

hole = np.zeros((8, 8), dtype=bool)
hole[2:6, 2:6] = True
hole = hole.ravel()


def damage(rows):
    return np.where(hole, np.nan, rows)


# %%
# Rebuild, fill, repeat
# ---------------------
#
# The function needs a fitted model with ``transform`` and ``inverse_transform``, and the mean row to start
# from. It is called with :class:`~skswae.SWAETransformer` and with PCA, for which the same loop is a known
# method of imputation.


def repair(model, rows, n_rounds=50):
    """Fill the NaN in rows by what the model rebuilds."""
    lost = np.isnan(rows)
    filled = np.where(lost, X_train.mean(axis=0), rows)
    for _ in range(n_rounds):
        filled = np.where(lost, model.inverse_transform(model.transform(filled)), filled)
    return filled


def error(rows, repaired):
    """Mean squared error of a row, summed over the lost pixels."""
    return np.square(rows - repaired)[:, hole].sum(axis=1).mean()


# %%
# The rivals at their best
# ------------------------
#
# The number of components of PCA and the number of neighbours of ``KNNImputer`` are chosen on validation
# rows with the same hole. ``IterativeImputer`` predicts a pixel from the others by a regression. Its
# training rows must have the hole too: it is given each training row whole and damaged.

from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skswae import SWAETransformer
import time
for k,b in ((8,.5),(12,.5),(20,.5)):
    swae = SWAETransformer(k, beta=b,random_state=0).fit(X_train)
    for n in (20,50,100): print("swae", k,b, n, error(X_valid, repair(swae, damage(X_valid),n)), error(X_test, repair(swae, damage(X_test),n)), flush=True)
pcas = [PCA(n, random_state=0).fit(X_train) for n in range(2, 40, 2)]
pca = min(pcas, key=lambda model: error(X_valid, repair(model, damage(X_valid))))
knns = [KNNImputer(n_neighbors=k, weights="distance").fit(X_train) for k in (1, 3, 5, 10)]
knn = min(knns, key=lambda model: error(X_valid, model.transform(damage(X_valid))))
t=time.process_time()
both = np.concatenate([X_train, damage(X_train)])
iterative = IterativeImputer(random_state=0, max_iter=10).fit(both)
print(time.process_time()-t)
print(pca, error(X_test, repair(pca, damage(X_test))))
print(knn, error(X_test, knn.transform(damage(X_test))))
print(error(X_test, iterative.transform(damage(X_test))))
print(error(X_test, SimpleImputer().fit(X_train).transform(damage(X_test))))
