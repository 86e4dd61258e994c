"""
Holes in a table: filled, drawn, and unusual cells
==================================================

A fifth of a table's cells is missing, in rows to learn from and in new ones. What was there, how sure can one
be, and which cells that are there look wrong? This page asks
:class:`~skswae.tabular.TableAutoencoder`, beside scikit-learn's imputers and detectors.
"""

# %%
# A table with holes
# ------------------
#
# The breast cancer data of scikit-learn, with the area as an ordered category of three sizes and the concave
# points as a boolean. Holes are made at random, so the truth is known.

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

seed = 0
cancer = load_breast_cancer(as_frame=True)
table = cancer.data.iloc[:, :10].rename(columns=lambda name: name.removeprefix("mean "))
table["size"] = pd.cut(table.pop("area"), [0, 400, 700, 2600], labels=["small", "middle", "large"])
table["hollow"] = (table.pop("concave points") > 0.05).astype("boolean")
table["diagnosis"] = pd.Categorical(cancer.target_names[cancer.target])
numbers = list(table.select_dtypes("float"))
labels = [name for name in table if name not in numbers]

rng = np.random.default_rng(seed)
is_hole = pd.DataFrame(rng.random(table.shape) < 0.2, table.index, table.columns)
damaged = table.mask(is_hole)
fitted, test = train_test_split(damaged, test_size=0.4, random_state=seed)
train, valid = train_test_split(fitted, test_size=0.25, random_state=seed)
print(test.iloc[:4, -5:].to_string())

# %%
# Filling them
# ------------
#
# An error is a root mean squared error in the missing cells, in standard deviations of the column, and a
# mean over the columns of numbers. For the three others it is the share of missing cells that are filled
# wrongly. The imputers of scikit-learn take numbers alone, so categories are numbered for them, and what
# they fill in is rounded to the nearest.

unit = train[numbers].std()
levels = {name: damaged[name].astype("category").cat.categories for name in labels}


def errors(filled):
    """Error of numbers, and of labels, in the holes of a filled table."""
    holes, truth = is_hole.loc[filled.index], table.loc[filled.index]
    squares = np.square((filled[numbers] - truth[numbers]) / unit).where(holes[numbers])
    wrong = [
        (filled[name].astype(object) != truth[name].astype(object))[holes[name]].mean() for name in labels
    ]
    return float(np.sqrt(squares.mean()).mean()), float(np.mean(wrong))


def coded(frame):
    """A frame as numbers."""
    codes = {name: pd.Categorical(frame[name], levels[name]).codes.astype(float) for name in labels}
    return frame.assign(**codes).astype(float).replace(dict.fromkeys(labels, -1.0), np.nan)


class Rounded:
    """An imputer of numbers for tables with labels."""

    def __init__(self, imputer):
        self.imputer, self.scaler = imputer, StandardScaler()

    def fit(self, frame):
        self.imputer.fit(self.scaler.fit_transform(coded(frame)))
        return self

    def impute(self, frame):
        rows = self.scaler.inverse_transform(self.imputer.transform(self.scaler.transform(coded(frame))))
        filled = pd.DataFrame(rows, frame.index, frame.columns)
        for name in labels:
            code = filled[name].round().clip(0, len(levels[name]) - 1).astype(int)
            filled[name] = levels[name][code]
        return filled


# %%
# ``KNNImputer``'s number of neighbours is chosen: fitted to three quarters of the rows with holes, judged by
# the holes of the others, and the best is fitted again to all. ``IterativeImputer`` has its linear
# regression, and 30 rounds. Two of this package's models have their defaults but for the number of
# components.

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (its import enables the next)
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from skswae import SWAETransformer, VAETransformer
from skswae.tabular import TableAutoencoder

warnings.simplefilter("ignore", ConvergenceWarning)  # the last of 30 rounds change little
candidates = {
    "mean": [Rounded(SimpleImputer())],
    "KNNImputer": [Rounded(KNNImputer(n_neighbors=k, weights="distance")) for k in (5, 10, 20)],
    "IterativeImputer": [Rounded(IterativeImputer(max_iter=30, random_state=seed))],
    "table of SWAE": [TableAutoencoder(SWAETransformer(n_components=16), random_state=seed)],
    "table of VAE": [TableAutoencoder(VAETransformer(n_components=8), random_state=seed)],
}
chosen, found = {}, {}
for name, models in candidates.items():
    judged = [sum(errors(model.fit(train).impute(valid))) for model in models] if len(models) > 1 else [0]
    chosen[name] = models[np.argmin(judged)].fit(fitted)
    found[name] = errors(chosen[name].impute(test))
    print(f"{name:17} error of numbers {found[name][0]:.3f}, of labels {found[name][1]:.3f}")

# %%
# How sure can one be?
# --------------------
#
# ``impute`` gives what is expected, which varies less than what is true. ``n_draws`` gives tables whose holes
# are drawn. The interval from the 5th to the 95th percentile of 40 draws should contain the truth in nine of
# ten holes. The spread is the standard deviation of what fills the holes of a column, over that of what was
# there, and a mean over columns.

holes, truth = is_hole.loc[test.index, numbers].to_numpy(), table.loc[test.index, numbers].to_numpy()


def spread(values):
    return np.mean([values[h, j].std() / truth[h, j].std() for j, h in enumerate(holes.T)])


drawn = {}
for name in ("table of SWAE", "table of VAE"):
    point = chosen[name].impute(test)[numbers].to_numpy()
    draws = chosen[name].impute(test, n_draws=40, random_state=seed)
    draws = np.stack([filled[numbers].to_numpy() for filled in draws])
    low, high = np.percentile(draws, [5, 95], axis=0)
    drawn[name] = {
        "inside": ((low <= truth) & (truth <= high))[holes].mean(),
        "spread of means": spread(point),
        "spread of a draw": np.mean([spread(values) for values in draws]),
    }
print(pd.DataFrame(drawn).T.round(2).to_string())

# %%
# Cells that do not fit
# ---------------------
#
# In each of 40 held-out rows, two cells are replaced by those of other rows: each value is usual, the row
# is not. :meth:`~skswae.tabular.TableAutoencoder.score_samples` takes rows with holes as they are. The
# detectors of scikit-learn get numbers, and the holes filled by ``KNNImputer``. They are fitted to rows that
# were filled in the same way.

from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

swapped = test.reset_index(drop=True)
rng = np.random.default_rng(seed + 1)
rows = rng.choice(len(swapped), 40, replace=False)
for row in rows:
    for name in rng.choice(list(swapped), 2, replace=False):
        donors = table[name][table[name].astype(object) != swapped.at[row, name]]
        swapped.at[row, name] = donors.iloc[rng.integers(len(donors))]
is_odd = np.isin(np.arange(len(swapped)), rows)

model, numeric = chosen["table of VAE"], chosen["KNNImputer"]
scaler = StandardScaler().fit(coded(numeric.impute(fitted)))
filled = {
    name: scaler.transform(coded(numeric.impute(t))) for name, t in (("fit", fitted), ("test", swapped))
}
scores = {"table of VAE": model.score_samples(swapped)}
for detector in (IsolationForest(random_state=seed), LocalOutlierFactor(novelty=True)):
    scores[type(detector).__name__] = detector.fit(filled["fit"]).score_samples(filled["test"])
auc = {name: roc_auc_score(is_odd, -score) for name, score in scores.items()}
for name, value in auc.items():
    print(f"{name:18} ROC AUC {value:.3f}")
alarm = model.predict(swapped) == -1
print(f"alarms: {alarm[~is_odd].mean():.3f} of usual rows, {alarm[is_odd].mean():.3f} of odd ones")

# %%
# The words below hold if these do.

mean, neighbours, iterative, swae, vae = (np.array(pair) for pair in found.values())
assert iterative[0] < min(swae[0], vae[0], neighbours[0])
assert max(swae[0], vae[0]) < neighbours[0] < 0.8 * mean[0]
assert max(neighbours[1], iterative[1], swae[1], vae[1]) < 0.5 * mean[1]
assert all(0.8 < row["inside"] < 0.97 for row in drawn.values())
assert all(row["spread of means"] < 0.9 for row in drawn.values())
assert all(0.9 < row["spread of a draw"] < 1.15 for row in drawn.values())
assert auc["table of VAE"] > auc["IsolationForest"] + 0.05
assert auc["table of VAE"] > auc["LocalOutlierFactor"] - 0.04
assert 0.1 < alarm[~is_odd].mean() < 0.17
assert alarm[is_odd].mean() > 0.5

# %%
# On a picture
# ------------
#
# Left: missing concavities, what is expected, and the interval of the draws. Right: the scores of usual and
# of odd rows.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
j = numbers.index("concavity")
order = np.flatnonzero(holes[:, j])[np.argsort(truth[holes[:, j], j])]
at = np.arange(len(order))
axes[0].vlines(at, low[order, j], high[order, j], color="C1", alpha=0.5, label="9 of 10 draws")
axes[0].plot(at, point[order, j], ".", color="C1", label="expected")
axes[0].plot(at, truth[order, j], color="C0", label="true")
axes[0].set(title="concavity where it is missing", xlabel="rows, by the true value", xticks=[])
axes[0].legend()
clipped = np.maximum(scores["table of VAE"], np.quantile(scores["table of VAE"], 0.02))
axes[1].hist(
    [clipped[~is_odd], clipped[is_odd]],
    bins=30,
    density=True,
    histtype="stepfilled",
    alpha=0.6,
    label=["usual rows", "two cells swapped"],
)
axes[1].axvline(model.offset_, color="C3", label="threshold")
axes[1].set(title="scores", xlabel="score", yticks=[])
axes[1].legend(loc="upper left")
plt.show()

# %%
# Conclusion
# ----------
#
# In numbers ``IterativeImputer`` is nearest to the truth: radius and perimeter, say, are nearly lines of
# each other, which a linear regression knows. Both autoencoders are behind it and ahead of ``KNNImputer``.
# All fill in the labels much better than the most frequent one. Where all you want is holes of numbers
# filled, and columns go together in lines, take ``IterativeImputer``.
#
# The expected values vary too little, as they do with every method: do not compute variances from them.
# Draws vary as the truth does, and nearly nine of ten true values lie in the interval that should contain
# nine of ten, with either model: for multiple imputation take draws.
#
# Swapped cells are found better than by ``IsolationForest``, and about as well as by ``LocalOutlierFactor``
# after the holes were filled. The threshold comes from training rows, and new rows score lower: where a
# tenth of alarms was asked for, about 13 % of usual test rows raise one. Set the threshold by held-out rows.
