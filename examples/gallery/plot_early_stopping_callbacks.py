"""
Early stopping, callbacks, and going on
=======================================

On few and noisy rows a long fit learns the noise. This page shows how to see that in the losses, how early
stopping ends such a fit, how a callback of your own watches or ends it, and how to go on with a fit that has
ended.
"""

# %%
# A noisy table
# -------------
#
# 150 training rows of 60 columns follow from 4 hidden numbers, in part by curved relations, and have noise
# on top. Since the table is generated, the rows without noise are known: the error against these says
# whether a fit has learned the rows or their noise. Another 300 rows are held out.

import matplotlib.pyplot as plt
import numpy as np

from skswae import SWAETransformer
from skswae.inspection import LossCurveDisplay

SEED = 0
rng = np.random.default_rng(SEED)
hidden = rng.normal(size=(450, 4))
clean = np.tanh(hidden @ rng.normal(size=(4, 60))) + 0.5 * hidden @ rng.normal(size=(4, 60))
X = clean + rng.normal(size=clean.shape)
X_train, X_test, clean_test = X[:150], X[150:], clean[150:]

# %%
# With early stopping and without
# -------------------------------
#
# ``early_stopping=True`` holds a tenth of the training rows out, ends once their loss has not fallen for
# ``n_iter_no_change`` epochs, and keeps the best epoch. It is the default where there are fewer than 15 rows
# for each column and ``max_iter`` is not set; :class:`~skswae.SWAETransformer` with a ``max_iter`` and no
# word on early stopping trains for all epochs. To see the whole course of a long fit, a third model is
# given rows to watch (``X_val``) and more patience than it has epochs.

models = {
    "early stopping": SWAETransformer(8, early_stopping=True, max_iter=100, random_state=SEED).fit(X_train),
    "all epochs": SWAETransformer(8, early_stopping=False, max_iter=100, random_state=SEED).fit(X_train),
}
watched = SWAETransformer(8, early_stopping=True, n_iter_no_change=100, max_iter=100, random_state=SEED)
watched.fit(X_train, X_val=X_test)

error = {}
print(f"{'':15}  epochs  training rows  held-out rows, without their noise")
for name, model in models.items():
    error[name] = np.square(clean_test - model.reconstruct(X_test)).sum(axis=1).mean()
    print(f"{name:15}  {model.n_iter_:6}  {-model.score(X_train):13.2f}  {error[name]:34.2f}")
assert error["early stopping"] < 0.9 * error["all epochs"]
assert models["all epochs"].score(X_train) > models["early stopping"].score(X_train)

# %%
# The fit of all epochs rebuilds its training rows better and new rows worse.
# :class:`~skswae.inspection.LossCurveDisplay` shows why: the training's loss goes on falling while that of
# the watched rows turns.

figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained", sharey=True)
for ax, (title, model) in zip(axes, (("stopped", models["early stopping"]), ("watched to the end", watched))):
    LossCurveDisplay.from_estimator(model, terms=["loss", "validation_loss"], ax=ax)
    ax.set_title(title, pad=36)
plt.show()

validation = watched.history_["validation_loss"]
print(f"lowest in epoch {np.argmin(validation) + 1} of {len(validation)}")
assert np.argmin(validation) < 0.7 * len(validation)
assert validation[-1] > validation.min()

# %%
# A callback of your own
# ----------------------
#
# From scikit-learn 1.9 on all estimators take callbacks: objects with the four methods below. A fit is a
# task, and each of its epochs is a task below it. At the end of an epoch ``estimator.history_`` has the
# losses so far. A callback that asks for ``fitted_estimator`` gets a copy of the estimator as if the fit had
# ended there. One that returns True ends the fit, which keeps its complete epochs. This one measures the
# true error after each epoch, and ends the fit once it has not fallen below its lowest for five epochs.


class TrueError:
    """Follow the error against rows without noise; end the fit when it rises."""

    def __init__(self, X, X_clean, patience=5):
        self.X = X
        self.X_clean = X_clean
        self.patience = patience

    def setup(self, estimator, context):
        self.epochs, self.errors = [], []

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name != "epoch":
            return False
        rebuilt = fitted_estimator.reconstruct(self.X)
        self.errors.append(np.square(self.X_clean - rebuilt).sum(axis=1).mean())
        self.epochs.append(estimator.n_iter_)
        return min(self.errors) < min(self.errors[-self.patience :])


follow = TrueError(X_test, clean_test)
swae = SWAETransformer(8, max_iter=100, learning_rate="constant", random_state=SEED)
swae.set_callbacks(follow).fit(X_train)
print(f"ended after {swae.n_iter_} of {swae.max_iter} epochs; losses so far: {sorted(swae.history_)}")
assert swae.n_iter_ < swae.max_iter

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(follow.epochs, follow.errors, marker="o")
ax.set(xlabel="epoch", ylabel="error against rows\nwithout noise")
plt.show()

# %%
# In place of the lists, ``mlflow.log_metrics`` or the ``SummaryWriter`` of TensorBoard can be called in the
# method. scikit-learn's own ``ProgressBar`` and ``ScoringMonitor`` are set in the same way, on an estimator,
# a pipeline or a search.
#
# Going on
# --------
#
# A fit that was ended by a callback, or by Ctrl-C, is a fitted estimator. With ``warm_start=True`` a further
# ``fit`` trains for ``max_iter`` more epochs from there. With the constant learning rate that is the same as
# a fit that was never stopped, to the last bit. Here a callback ends a fit after 10 epochs of 30, and a
# second ``fit`` adds the other 20.


class Enough(TrueError):
    """End a fit after some epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and estimator.n_iter_ >= self.n_epochs


once = SWAETransformer(8, max_iter=30, learning_rate="constant", random_state=SEED).fit(X_train)
twice = SWAETransformer(8, max_iter=30, learning_rate="constant", random_state=SEED)
twice.set_callbacks(Enough(10)).fit(X_train)
print(f"after the stop: {twice.n_iter_} epochs")
twice.set_callbacks()  # no more of them
twice.set_params(warm_start=True, max_iter=20).fit(X_train)
print(f"after going on: {twice.n_iter_} epochs; codes equal to the bit: ", end="")
equal = np.array_equal(once.transform(X_test), twice.transform(X_test))
print(equal)
assert equal

# %%
# Conclusion
# ----------
#
# On this table the fit of all epochs rebuilds new rows worse than the one that stopped early, though its
# training rows look better. Early stopping needs no knowledge of the clean rows, only some rows held out. A
# callback can use whatever you know besides, and a fit that was ended is never lost: it can be used, and it
# can go on.
