"""
Few labels: codes from all rows, a classifier from fifty
========================================================

Rows are often cheap and labels dear. A code is learned without labels, so it can be learned from all rows,
and a classifier of the few labelled ones then works on codes. Is it better than the same classifier on the
raw columns, on principal components, or than scikit-learn's own way to use rows without labels?
"""

# %%
# The data
# --------
#
# The training rows are 1,198 images of digits, of which only 50 have a label, five of each digit. A third of
# all rows is held out, and everything below is measured on it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from skswae import SWAETransformer
from skswae.inspection import LatentDisplay

SEED = 0
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=1 / 3, stratify=y, random_state=SEED)

# %%
# Codes
# -----
#
# ``neighbor_weight`` adds a term to the loss that draws the codes of neighbouring rows together and pushes
# others apart. That is what few labels need: a label then speaks for its neighbourhood. The second SWAE is
# without the term.

codes = {
    "pixels": None,
    "PCA(8)": PCA(8, random_state=SEED),
    "PCA(16)": PCA(16, random_state=SEED),
    "PCA(32)": PCA(32, random_state=SEED),
    "SWAE(8)": SWAETransformer(8, batch_size=256, random_state=SEED),
    "SWAE(8), neighbours": SWAETransformer(8, neighbor_weight=16, batch_size=256, random_state=SEED),
}
rows = {}
for name, model in codes.items():
    A, B = (X_train, X_test) if model is None else (model.fit_transform(X_train), model.transform(X_test))
    rows[name] = A / A.std(), B / A.std()  # one number: the unit of the code must not decide

# %%
# Classifiers
# -----------
#
# Three classifiers, each fitted to 50 labels, twenty times with other rows labelled. ``LabelSpreading`` is
# scikit-learn's own method for few labels: it also gets the training rows that have none, and hands labels
# on from neighbour to neighbour. The width of its kernel follows the number of columns, and was not tuned for
# any code; nor were the classifiers. Label spreading takes longer, and gets the first five draws alone.

classifiers = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "SVC": SVC(C=10),
    "nearest neighbour": KNeighborsClassifier(1),
}
spreading, n_few = "label spreading", 5
draws = [
    labelled
    for labelled, _ in StratifiedShuffleSplit(20, train_size=50, random_state=SEED).split(X_train, y_train)
]
accuracy = {}
for name, (A, B) in rows.items():
    for kind, classifier in classifiers.items():
        accuracy[name, kind] = np.array([classifier.fit(A[i], y_train[i]).score(B, y_test) for i in draws])
    method = LabelSpreading(kernel="rbf", gamma=20 / A.shape[1], alpha=0.8, max_iter=200)
    scores = []
    for i in draws[:n_few]:
        partly = np.full(len(A), -1)
        partly[i] = y_train[i]
        scores.append(method.fit(A, partly).score(B, y_test))
    accuracy[name, spreading] = np.array(scores)

kinds = [*classifiers, spreading]
print(f"{'accuracy, mean ± spread':24}" + "".join(f"{kind:>21}" for kind in kinds))
for name in rows:
    cells = (f"{accuracy[name, kind].mean():.3f} ± {accuracy[name, kind].std():.3f}" for kind in kinds)
    print(f"{name:24}" + "".join(f"{cell:>21}" for cell in cells))

# %%
# The spread is the standard deviation over the draws of labels. All rows of a column have the same draws, so
# that differences from draw to draw can be counted too. The rival is the best of the pixels and the principal
# components for the test rows themselves; label spreading is compared on its five draws.

best, rival = "SWAE(8), neighbours", [name for name in rows if not name.startswith("SWAE")]
for kind in classifiers:
    strongest = max(rival, key=lambda name: accuracy[name, kind].mean())
    gain = accuracy[best, kind] - accuracy[strongest, kind]
    print(f"{kind}: {best} beats {strongest} in {np.mean(gain > 0):.0%} of the draws, by {gain.mean():.3f}")
    assert gain.mean() > 0.01

top = max(accuracy[best, kind][:n_few].mean() for kind in classifiers)
more = {name: accuracy[name, spreading].mean() - top for name in ("pixels", best)}
for name, gain in more.items():
    print(f"label spreading on {name}: {gain:+.3f} against the best classifier on {best}")
assert more["pixels"] > 0.01  # better still
assert abs(more[best]) < 0.015

plain = accuracy["SWAE(8)", "SVC"].mean() - accuracy["pixels", "SVC"].mean()
assert plain < 0.02  # without the term, codes are no better than pixels

# %%
# Pictures
# --------
#
# Left: the accuracies of all draws with the SVC. Right: the codes of the held-out rows, drawn by their first
# two principal components.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
axes[0].boxplot([accuracy[name, "SVC"] for name in rows], tick_labels=list(rows), orientation="horizontal")
axes[0].invert_yaxis()
axes[0].set(xlabel="accuracy of an SVC from 50 labels", title="twenty draws of the labels")
LatentDisplay.from_estimator(codes[best], X_test, y_test, ax=axes[1])
plt.show()

# %%
# Conclusion
# ----------
#
# A classifier of 50 labels is better on codes that were learned with the neighbour term than on pixels or on
# principal components, whichever of the three classifiers it is. Label spreading on the pixels themselves is
# better still, without any code: take it where all training rows may be kept at hand, as it needs them for
# each new row, and where no decoder is wanted. On the codes with the neighbour term it adds next to nothing
# to the classifiers.
