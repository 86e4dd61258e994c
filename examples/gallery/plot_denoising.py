"""
Removing noise
==============

A model that rebuilds rows from few numbers has no room for noise: what it rebuilds is cleaner than what it
got. Does an autoencoder clean better than PCA, and at which level of noise? This page answers for
handwritten digits, and for PCA used in two ways.
"""

# %%
# Data and models
# ---------------
#
# All models are fitted to clean training rows. Noise is added to held-out rows alone. PCA is used in two
# ways, both of which are told the level of the noise. It keeps the number of components that is best for
# validation rows with noise of that level; or it keeps all, and shrinks each by the share of the noise in its
# variance, which is the best that a linear model can do (a Wiener filter).
# :class:`~skswae.SWAETransformer` is fitted twice, for all levels: to the training rows as they are, and
# with noise that ``augment`` adds to each batch. A larger ``beta`` makes a smoother decoder, which is what
# denoising asks for. Rows with noise leave the range from 0 to 1, hence the output without a bound.

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skswae import SWAETransformer
from skswae.metrics import denoising_error

X, y = load_digits(return_X_y=True)
X_fit, X_test, y_fit, y_test = train_test_split(X / 16, y, test_size=0.3, stratify=y, random_state=0)
X_train, X_valid = train_test_split(X_fit, test_size=0.2, stratify=y_fit, random_state=0)


class ShrunkPCA(PCA):
    """PCA whose components are shrunk as noise of a known level asks for."""

    def inverse_transform(self, Z):
        variance = self.explained_variance_
        return super().inverse_transform(Z * variance / (variance + self.noise**2))


def add_noise(x, generator):
    """Return a batch of training rows with fresh noise."""
    return x + 0.5 * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


swae = SWAETransformer(10, beta=0.9, random_state=0)
noisy_swae = clone(swae).set_params(augment=add_noise, output_activation="identity")
swae.fit(X_train)
noisy_swae.fit(X_train)
pcas = [PCA(n, random_state=0).fit(X_train) for n in range(1, 65)]
shrunk = ShrunkPCA(random_state=0).fit(X_train)

# %%
# How many numbers PCA should keep, and what is left
# --------------------------------------------------
#
# :func:`~skswae.metrics.denoising_error` adds noise to rows, rebuilds them, and measures the squared
# distance to the clean rows. Without a model it is the noise itself.

levels = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # standard deviations; pixels are between 0 and 1
errors = {"noise": [], "PCA, cut": [], "PCA, shrunk": [], "SWAE": [], "SWAE, noisy rows": []}
print("level   noise  PCA, cut (components)  PCA, shrunk   SWAE  SWAE, noisy rows")
for noise in levels:
    chosen = min(pcas, key=lambda pca: denoising_error(pca, X_valid, noise=noise, random_state=0))
    shrunk.noise = noise
    errors["noise"].append(X.shape[1] * noise**2)
    for name, model in zip(list(errors)[1:], (chosen, shrunk, swae, noisy_swae)):
        errors[name].append(denoising_error(model, X_test, noise=noise, n_repeats=3, random_state=0))
    before, cut, linear, clean, noisy = (found[-1] for found in errors.values())
    cell = f"{cut:.2f} ({chosen.n_components_})"
    print(f"{noise:5.1f} {before:7.2f} {cell:>22} {linear:12.2f} {clean:6.2f} {noisy:17.2f}")

# %%
# The words below hold if these do.

cut, linear, clean, noisy = (dict(zip(levels, errors[name])) for name in list(errors)[1:])
assert clean[0.2] < 0.97 * cut[0.2]
assert clean[0.3] < 0.95 * cut[0.3]
assert cut[0.1] < 0.8 * min(clean[0.1], noisy[0.1])
assert cut[0.6] < 0.97 * clean[0.6]
assert all(noisy[level] < 0.96 * min(cut[level], clean[level]) for level in (0.3, 0.4, 0.5, 0.6))
assert all(linear[level] < 0.95 * min(cut[level], clean[level], noisy[level]) for level in levels)

# %%
# On a picture
# ------------
#
# :class:`~skswae.inspection.DenoisingDisplay` shows clean rows, noisy ones, and what the model makes of
# them. Beside it, the error against the level of noise.

import matplotlib.pyplot as plt

from skswae.inspection import DenoisingDisplay

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", width_ratios=(1.3, 1))
shown = X_test[[np.flatnonzero(y_test == digit)[0] for digit in range(10)]]
DenoisingDisplay.from_estimator(
    noisy_swae, shown, noise=0.5, random_state=0, image_shape=(8, 8), cmap="gray_r", ax=axes[0]
)
axes[0].set_title("SWAE that has seen noise, level 0.5")
for name in list(errors)[1:]:
    axes[1].plot(levels, errors[name], marker="o", label=name)
axes[1].set(xlabel="level of the noise", ylabel="squared error of a row")
axes[1].legend()
plt.show()

# %%
# Conclusion
# ----------
#
# Where the level of the noise is known, and noise is equal in all columns, take PCA and shrink its
# components: it leaves the smallest error at all levels. PCA that is cut does less well, but with little
# noise it too is ahead of SWAE: it may keep many components, while ten numbers leave out detail that
# this noise would not have hidden. In the middle of the range SWAE leaves a smaller error than the best cut,
# though it has seen clean rows alone and is not told the level. With much noise such a model falls behind,
# for its encoder is led astray by rows that it has never seen the like of. The remedy is one function: fitted
# with noise on its rows, SWAE is ahead of the best cut from the middle of the range on.
