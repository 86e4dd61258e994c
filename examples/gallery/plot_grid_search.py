"""
Choosing beta and the number of components
==========================================

How many components should a code have, and which ``beta``? It depends on what the code is for. This page
searches a grid with scikit-learn's ``GridSearchCV``, with a score for each of three aims: a classifier on
the codes, codes that keep neighbours, and samples that are like the rows.
"""

# %%
# One search, three scores
# ------------------------
#
# The pipeline's own score is the accuracy of a classifier of neighbours. The scorers of
# :mod:`skswae.metrics` need no classifier: they judge the step before it, ``pipe[:-1]``. Each fit is short,
# with few rows, few epochs and a small network: the search is for the best settings, not for the best fit.

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skswae import SWAETransformer
from skswae.metrics import frechet_scorer, trustworthiness_scorer
from skswae.networks import GatedMLP

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, train_size=600, stratify=y, random_state=0)


def trust(pipe, X, y):
    return trustworthiness_scorer(pipe[:-1], X)


def samples(pipe, X, y):
    return frechet_scorer(pipe[:-1], X)


scoring = {"accuracy": "accuracy", "trustworthiness": trust, "samples": samples}
folds = StratifiedKFold(2, shuffle=True, random_state=0)
swae = SWAETransformer(max_iter=20, network=GatedMLP((100,)), random_state=0)
pipe = Pipeline([("code", swae), ("knn", KNeighborsClassifier(5))])
grid = {"code__n_components": [2, 4, 8, 16], "code__beta": [0.0, 0.5, 0.9]}
search = GridSearchCV(pipe, grid, scoring=scoring, refit="accuracy", cv=folds).fit(X_train, y_train)

# %%
# The heat maps
# -------------
#
# Samples are scored by minus the Frechet distance to the held-out rows. For all three, more is better.

import matplotlib.pyplot as plt

shape = len(grid["code__beta"]), len(grid["code__n_components"])
means = {name: search.cv_results_[f"mean_test_{name}"].reshape(shape) for name in scoring}
figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for axis, (name, table) in zip(axes, means.items()):
    axis.imshow(table, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        dark = value < (table.min() + table.max()) / 2
        axis.text(j, i, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black")
    axis.set_xticks(range(shape[1]), grid["code__n_components"])
    axis.set_yticks(range(shape[0]), grid["code__beta"])
    axis.set(title=name, xlabel="n_components", ylabel="beta")
plt.show()

# %%
# What each score would choose:

best = {name: np.unravel_index(table.argmax(), shape) for name, table in means.items()}
for name, (i, j) in best.items():
    print(f"{name:16} beta={grid['code__beta'][i]}, n_components={grid['code__n_components'][j]}")

# %%
# Beside PCA, searched as well
# ----------------------------
#
# PCA's number of components is searched with the same folds. Both pipelines, fitted again to all training
# rows, are judged by test rows that no search has seen. The classifier on the pixels is there for scale.

rival = Pipeline([("code", PCA(random_state=0)), ("knn", KNeighborsClassifier(5))])
rival_grid = {"code__n_components": [2, 4, 8, 16, 24, 32]}
rival_search = GridSearchCV(rival, rival_grid, cv=folds).fit(X_train, y_train)
accuracy = {
    "SWAE": search.score(X_test, y_test),
    "PCA": rival_search.score(X_test, y_test),
    "pixels": KNeighborsClassifier(5).fit(X_train, y_train).score(X_test, y_test),
}
chosen = {
    "SWAE": search.best_params_["code__n_components"],
    "PCA": rival_search.best_params_["code__n_components"],
    "pixels": X.shape[1],
}
print("code    columns  test accuracy")
for name, score in accuracy.items():
    print(f"{name:7} {chosen[name]:7}  {score:13.3f}")

by_columns = dict(zip(grid["code__n_components"], means["accuracy"].max(axis=0)))
rival_by_columns = dict(zip(rival_grid["code__n_components"], rival_search.cv_results_["mean_test_score"]))
print("\ncolumns  accuracy in the search: SWAE at its best beta, PCA")
for n, score in by_columns.items():
    print(f"{n:7}  {score:29.3f}  {rival_by_columns[n]:10.3f}")

# %%
# The words below hold if these do.

assert all(abs(score - rival_by_columns[n]) < 0.04 for n, score in by_columns.items())
assert abs(accuracy["SWAE"] - accuracy["PCA"]) < 0.025
assert accuracy["pixels"] > accuracy["SWAE"] - 0.01
for table in means.values():  # the number of components matters more than beta, and more is better
    assert np.ptp(table.mean(axis=0)) > 3 * np.ptp(table.mean(axis=1))
    assert (np.diff(table.mean(axis=0)) > 0).all()
    gains = np.diff(table.mean(axis=0))
    assert gains[0] > 2 * gains[-1]

# %%
# Conclusion
# ----------
#
# The number of components matters most, for all three aims: each score rises with it, and levels off. Choose
# a number where the curve flattens, and make the grid wide enough to see that. ``beta`` matters less here. So
# spend a search on components first. In fits as short as these, SWAE is about as good as PCA with as many
# columns, the two chosen pipelines are about as good on test rows, and the classifier on the pixels is at
# least about as good as both. With all rows and the default epochs, SWAE is ahead of PCA where there are
# few columns: see :ref:`sphx_glr_gallery_plot_digits_pipeline.py`.
