"""
Synthetic rows, and how to test them
====================================

Could a classifier be trained on rows that a model has drawn, instead of the real ones? And are those rows
new, or copies? This page draws digits with :class:`~skswae.SWAETransformer` and with a mixture of Gaussians
on the pixels, trains classifiers on them, and tests these on real rows.
"""

# %%
# Two samplers
# ------------
#
# The mixture of Gaussians is tuned: the number of Gaussians is the one with the largest likelihood of
# validation rows, and the covariances are full, with a small constant on the diagonal, as some pixels are
# always empty.

from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skswae import SWAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=0)

X_fit, X_valid = train_test_split(X_train, test_size=0.2, random_state=0)
mixtures = [
    GaussianMixture(n, reg_covar=size, random_state=0).fit(X_fit)
    for n in (5, 10, 20, 30)
    for size in (1e-3, 1e-2)
]
gmm = max(mixtures, key=lambda mixture: mixture.score(X_valid)).fit(X_train)
print(f"{gmm.n_components} Gaussians, constant {gmm.reg_covar}")
swae = SWAETransformer(10, random_state=0).fit(X_train)

n_samples = 2000
drawn = {"GaussianMixture": gmm.sample(n_samples)[0], "SWAE": swae.sample(n_samples, random_state=0)}

# %%
# Train on synthetic rows, test on real ones
# ------------------------------------------
#
# The samplers know no classes. So each drawn row gets the class of most of its five nearest training rows.
# Classifiers are trained on the drawn rows and, for scale, on the real ones. Test rows are real.

from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

labels = KNeighborsClassifier(5).fit(X_train, y_train)
sets = {"real rows": (X_train, y_train)}
sets |= {name: (rows, labels.predict(rows)) for name, rows in drawn.items()}
accuracy = {}
print("trained on        logistic regression  random forest")
for name, (rows, classes) in sets.items():
    classifiers = LogisticRegression(max_iter=1000), RandomForestClassifier(random_state=0)
    accuracy[name] = [c.fit(rows, classes).score(X_test, y_test) for c in classifiers]
    print(f"{name:16}  {accuracy[name][0]:19.3f}  {accuracy[name][1]:13.3f}")

# %%
# Are they new?
# -------------
#
# A model could do well by handing out its training rows. :func:`~skswae.metrics.nearest_row_ratio` is below 1
# where samples are nearer to training rows than held-out rows are, and
# :func:`~skswae.metrics.duplicate_rate` is the share of samples that are as near as the nearest hundredth of
# held-out rows. :func:`~skswae.metrics.precision_recall` says how many samples lie among real rows, and how
# many real rows among samples.

from skswae.metrics import duplicate_rate, nearest_row_ratio, precision_recall

quality = {}
print("drawn from        nearest-row ratio  duplicates  precision  recall")
for name, rows in drawn.items():
    precision, recall = precision_recall(rows, X_test, random_state=0)
    ratio = nearest_row_ratio(rows, X_train, X_test)
    copies = duplicate_rate(rows, X_train, X_test)
    quality[name] = {"ratio": ratio, "copies": copies, "precision": precision, "recall": recall}
    print(f"{name:16}  {ratio:17.3f}  {copies:10.3f}  {precision:9.3f}  {recall:6.3f}")

# %%
# The words below hold if these do.

real, mixture, ours = accuracy.values()
assert ours[0] > mixture[0]
assert min(real) > max(*ours, *mixture)
assert quality["SWAE"]["precision"] > quality["GaussianMixture"]["precision"] + 0.2
assert quality["SWAE"]["recall"] < quality["GaussianMixture"]["recall"] - 0.1
assert quality["SWAE"]["ratio"] < 0.95 < 1.1 < quality["GaussianMixture"]["ratio"]
assert quality["SWAE"]["copies"] > quality["GaussianMixture"]["copies"]

# %%
# On a picture
# ------------
#
# :class:`~skswae.inspection.SampleDisplay` draws samples, and the nearest training row below each.

import matplotlib.pyplot as plt

from skswae.inspection import SampleDisplay

figure, axes = plt.subplots(2, 1, figsize=(7, 3.4), layout="constrained")
for axis, (name, rows) in zip(axes, drawn.items()):
    SampleDisplay.from_arrays(rows[::200], X_train, image_shape=(8, 8), cmap="gray_r", ax=axis)
    axis.set_title(name)
plt.show()

# %%
# Conclusion
# ----------
#
# Digits drawn by SWAE look like digits, and a logistic regression trained on them is better than one trained
# on draws of the mixture. For the random forest the table has the answer. Real rows are better than either
# for both classifiers: drawn rows are no substitute where the real ones may be used. The mixture draws rows
# with noise. They cover more of what real rows are like, and few of them could pass for real. SWAE draws
# smooth rows without the rare forms. They lie nearer to training rows than held-out rows do, and some are
# near-copies. So drawn rows are not anonymous by themselves: measure copies before you hand them out.
