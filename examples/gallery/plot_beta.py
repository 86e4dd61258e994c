"""
Beta from 0 to 1: what the x-loss does
======================================

:class:`~skswae.SWAETransformer` has one number that says what the decoder is trained on. With ``beta=0`` it
learns to decode the code of each row. With ``beta=1`` it learns to decode noisy codes, draws from the prior
that belong to the row. In between it learns both. This page shows what that does to rebuilt rows, to
samples, and to codes.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# The loss
# --------
#
# For a row :math:`x` with the code :math:`E(x)`, and a draw :math:`z` from the part of the prior that
# belongs to the row, the loss is
#
# .. math::
#
#    \beta \, \|x - D(z)\|^2 + (1 - \beta) \, \|x - D(E(x))\|^2 + \alpha \, \|E(x) - z\|^2 .
#
# The first term is the *x-loss*, the second the *reconstruction loss*, the third the *z-loss*, which keeps
# draws and codes close. Draws differ from the code of the row, so the x-loss asks for a decoder that is
# smooth: it must give about the same row for all codes around. Smoothness costs detail.
#
# ``warmup=0`` is set here. By default most epochs leave the x-loss out, to save time, which makes beta count
# for less.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skswae import SWAETransformer
from skswae.metrics import denoising_error, frechet_distance, knn_accuracy

SEED = 0
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=1 / 3, stratify=y, random_state=SEED)
betas = (0.0, 0.25, 0.5, 0.75, 1.0)
models = {
    beta: SWAETransformer(8, beta=beta, warmup=0, max_iter=16, random_state=SEED).fit(X_train)
    for beta in betas
}

# %%
# The numbers
# -----------
#
# All are of held-out rows: the share that five nearest neighbours among the codes classify correctly; the
# squared error of rebuilt rows; the squared error of rows that are rebuilt from a noisy copy, against the
# clean row; the Frechet distance between samples and held-out rows, where smaller is better.

names = ("5-NN accuracy", "error", "error from noisy rows", "Frechet distance")
results = np.array(
    [
        (
            knn_accuracy(model.transform(X_train), y_train, model.transform(X_test), y_test),
            -model.score(X_test),
            denoising_error(model, X_test, noise=0.3, random_state=SEED),
            frechet_distance(model.sample(len(X_test), random_state=SEED), X_test),
        )
        for model in models.values()
    ]
)
print("beta  " + "  ".join(names))
for beta, row in zip(betas, results):
    print(f"{beta:4.2f}  " + "  ".join(f"{value:{len(name)}.3f}" for name, value in zip(names, row)))

figure, axes = plt.subplots(1, 4, figsize=(12, 3), layout="constrained")
for ax, name, values in zip(axes, names, results.T):
    ax.plot(betas, values, marker="o")
    ax.set(xlabel="beta", title=name, xticks=betas)
axes[0].set_ylim(0.9, 1)
plt.show()

# %%
# What the conclusion rests on:

accuracy, error, noisy_error, frechet = results.T
assert error[0] < error[2] < error[-1]  # rebuilt rows get worse
assert error[-1] > 1.1 * error[0]
assert np.ptp(accuracy) < 0.03  # codes of all beta classify about as well
assert noisy_error[2] < noisy_error[0]  # the x-loss helps against noise in new rows
assert frechet[0] < frechet[-1]  # samples of beta=1 are further from the rows

# %%
# The pictures
# ------------
#
# The same held-out rows rebuilt with each beta, and samples. The seed of the samples is the same, but the
# priors differ, so that their digits do too.

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]


def strip(images):
    """Images of one line beside each other."""
    return np.hstack(np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1))))


lines = {"held-out rows": (strip(X_test[shown]), None)}
for beta, model in models.items():
    lines[f"beta {beta:.2f}"] = (
        strip(model.reconstruct(X_test[shown])),
        strip(model.sample(10, random_state=SEED)),
    )
figure, axes = plt.subplots(len(lines), 2, figsize=(11, 3.7), layout="constrained")
for row, (label, pictures) in zip(axes, lines.items()):
    row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for ax, picture in zip(row, pictures):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if picture is not None:
            ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
axes[0, 0].set_title("rebuilt", fontsize=10)
axes[0, 1].set_title("samples", fontsize=10)
plt.show()

# %%
# How smooth is the decoder?
# --------------------------
#
# Move a code by a tenth of the components' spread, in random directions, and see how far the decoded row
# moves.

rng = np.random.default_rng(SEED)
moves = []
for model in models.values():
    Z = model.transform(X_test)
    step = 0.1 * Z.std(axis=0) * rng.normal(size=Z.shape)
    there, here = model.inverse_transform(Z + step), model.inverse_transform(Z)
    moves.append(np.square(there - here).sum(axis=1).mean())
for beta, move in zip(betas, moves):
    print(f"beta {beta:.2f}: a decoded row moves by a squared distance of {move:.4f}")
assert moves[-1] < moves[0]

# %%
# Conclusion
# ----------
#
# A larger beta makes the decoder smoother and rebuilt rows worse. Codes classify about as well with all of
# them. A beta of 0.5 rebuilds rows from noisy copies better than 0, since it smooths; samples of 1 are
# further from held-out rows than those of 0, since they lack detail. So take a small beta for rebuilding,
# and one in the middle where new rows are noisier than the training rows. Where there is a measure of what
# the code is for, search over beta by it. ``score``, which is minus the error of rebuilt rows, cannot choose
# it, for it prefers 0.
