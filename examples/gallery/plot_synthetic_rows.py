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
# The samplers know no classes. So each drawn row gets the class of most of its five nearest training rows.
#
# The mixture of Gaussians is tuned by what it is judged by: the number of Gaussians, and the constant on the
# diagonal of their full covariances, are those whose draws train the best logistic regression for validation
# rows. The likelihood of validation rows would choose worse, since some pixels are always empty, and they
# decide it. SWAE has its defaults.

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=0)

X_fit, X_valid, y_fit, y_valid = train_test_split(X_train, y_train, test_size=0.3, random_state=0)
n_samples = 2000


def usefulness(mixture):
    """Accuracy on validation rows of a classifier that was trained on draws."""
    rows = mixture.fit(X_fit).sample(n_samples)[0]
    classes = KNeighborsClassifier(5).fit(X_fit, y_fit).predict(rows)
    return LogisticRegression(max_iter=1000).fit(rows, classes).score(X_valid, y_valid)


mixtures = [
    GaussianMixture(n, reg_covar=size, random_state=0) for n in (5, 10, 20, 30) for size in (1e-4, 1e-3, 1e-2)
]
gmm = max(mixtures, key=usefulness).fit(X_train)
print(f"{gmm.n_components} Gaussians, constant {gmm.reg_covar}")
swae = SWAETransformer(10, random_state=0).fit(X_train)

drawn = {"GaussianMixture": gmm.sample(n_samples)[0], "SWAE": swae.sample(n_samples, random_state=0)}

# %%
# Train on synthetic rows, test on real ones
# ------------------------------------------
#
# Classifiers are trained on the drawn rows and, for scale, on the real ones. Test rows are real.

from sklearn.ensemble import RandomForestClassifier

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
assert ours[0] > mixture[0] - 0.01
assert mixture[1] > ours[1] + 0.01
assert min(real) > max(*ours, *mixture)
assert quality["SWAE"]["precision"] > quality["GaussianMixture"]["precision"] + 0.15
assert quality["SWAE"]["recall"] < quality["GaussianMixture"]["recall"] - 0.2
assert quality["SWAE"]["ratio"] < 0.95 < 1 < quality["GaussianMixture"]["ratio"]
assert quality["SWAE"]["copies"] > quality["GaussianMixture"]["copies"] + 0.01

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
# As training rows for a logistic regression, draws of SWAE are at least about as good as those of a tuned
# mixture. For a random forest the mixture's are better. Real rows are better than either for both
# classifiers: drawn rows are no substitute where the real ones may be used. Nearly all that SWAE draws lies
# among real rows, but its draws cover fewer of the forms that real rows have. The mixture covers more of
# them, with more draws that are off. SWAE's draws lie nearer to training rows than held-out rows do; decoded
# rows are smooth, which alone brings them nearer. The mixture's draws do not. Drawn rows are not anonymous by
# themselves: measure copies before you hand them out.
