"""
Saving and shipping a model
===========================

A fitted model can go to a file in four ways. They differ in what the file holds, in who can read it, and in
whether reading it can run code that came with the file. This page writes all four, loads them again, and
compares the results.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# A model
# -------
#
# A short fit on scikit-learn's digits. The rows are float32, which ONNX needs; the other ways take any type.

import os
import pickle
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skswae import SWAETransformer, export_onnx, load_model, save_model
from skswae.inspection import ReconstructionDisplay
from skswae.metrics import duplicate_rate
from skswae.persistence import TRUSTED_TYPES

SEED = 0
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=SEED)
swae = SWAETransformer(8, max_iter=8, random_state=SEED).fit(X_train)
codes = swae.transform(X_test)

folder = tempfile.TemporaryDirectory()
sizes = {}


def place(name):
    """Return the path of a file in the temporary folder."""
    return os.path.join(folder.name, name)


# %%
# One estimator: ``save_model``
# -----------------------------
#
# The file is in the safetensors format: numbers, and a header in JSON with the parameters.
# :func:`~skswae.load_model` looks the class up in its own list and builds it from the parameters. It runs no
# code of the file's, so it may read files from somebody else. The codes of the loaded model are equal to the
# bit.

save_model(swae, place("digits.safetensors"))
again = load_model(place("digits.safetensors"))
assert np.array_equal(again.transform(X_test), codes)
assert np.array_equal(again.sample(5, random_state=SEED), swae.sample(5, random_state=SEED))
sizes["save_model"] = os.path.getsize(place("digits.safetensors"))

# %%
# A damaged file is refused.

with open(place("digits.safetensors"), "rb") as file:
    content = bytearray(file.read())
content[-100] ^= 1  # a single bit
with open(place("damaged.safetensors"), "wb") as file:
    file.write(content)
try:
    load_model(place("damaged.safetensors"))
except ValueError as error:
    refusal = str(error)
print(refusal.replace(folder.name, "..."))

# %%
# A pipeline: skops
# -----------------
#
# `skops <https://skops.readthedocs.io>`__ writes all steps of a pipeline to one file, and reads only types
# that it is told to trust. ``TRUSTED_TYPES`` has those of this package.

try:
    import skops.io
except ImportError:
    skops = None
    print("skops is not installed (pip install skops), so this part of the page has not been run.")
else:
    pipe = make_pipeline(
        StandardScaler(), SWAETransformer(8, max_iter=8, random_state=SEED), LogisticRegression(max_iter=1000)
    ).fit(X_train, y_train)
    skops.io.dump(pipe, place("pipe.skops"))
    print("types to trust:", skops.io.get_untrusted_types(file=place("pipe.skops")))
    loaded = skops.io.load(place("pipe.skops"), trusted=TRUSTED_TYPES)
    assert np.array_equal(loaded.predict_proba(X_test), pipe.predict_proba(X_test))
    sizes["skops, a pipeline"] = os.path.getsize(place("pipe.skops"))

# %%
# What a model computes: ONNX
# ---------------------------
#
# An ONNX file needs neither Python nor torch where it runs. It holds the encoder, the decoder or both.
# Another runtime computes it, so the codes are equal up to the rounding of float32, and not to the bit.

try:
    import onnxruntime
    import onnxscript  # noqa: F401  (writing needs it)
except ImportError:
    onnxruntime = None
    print("ONNX is not installed (the extra onnx has it), so this part of the page has not been run.")
else:
    export_onnx(swae, place("encoder.onnx"))
    session = onnxruntime.InferenceSession(place("encoder.onnx"))
    (onnx_codes,) = session.run(["codes"], {"X": X_test})
    difference = np.abs(onnx_codes - codes).max() / codes.std()
    print(f"largest difference of a code, in standard deviations: {difference:.1e}")
    assert difference < 1e-4
    sizes["ONNX, the encoder"] = os.path.getsize(place("encoder.onnx"))

# %%
# Within one program: pickle
# --------------------------
#
# Pickles work with everything, also with networks and functions of your own, and are what joblib sends to
# its workers. Reading one runs whatever code the file names: never load a pickle from somebody whom you
# would not let run programs on your machine.

with open(place("digits.pkl"), "wb") as file:
    pickle.dump(swae, file)
with open(place("digits.pkl"), "rb") as file:
    unpickled = pickle.load(file)
assert np.array_equal(unpickled.transform(X_test), codes)
sizes["pickle"] = os.path.getsize(place("digits.pkl"))

# %%
# Sizes
# -----

n_weights = sum(parameter.numel() for parameter in swae.module_.parameters())
print(f"{n_weights:,} weights of 4 bytes: {4 * n_weights / 1e6:.2f} MB")
for way, size in sizes.items():
    print(f"{way:18} {size / 1e6:.2f} MB")

figure, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
ax.barh(list(sizes), [size / 1e6 for size in sizes.values()])
ax.invert_yaxis()
ax.set(xlabel="size of the file in MB")
plt.show()

# %%
# What a file tells about the rows
# --------------------------------
#
# No file holds the table of training rows. A file of the whole model is not free of them, however: the
# pseudo-inputs of a SWAE start as training rows, and training may leave them near where they were. How
# many of them are training rows still, to a thousandth of the pixels' range, and how many are as near to one
# as the nearest hundredth of held-out rows? And the file keeps the codes of up to 5,000 training rows for
# ``sample(prior="gmm")``, which the decoder makes rows of again.

pseudo_inputs = load_model(place("digits.safetensors")).pseudo_inputs_
distances = np.abs(pseudo_inputs[:, None] - X_train[None]).max(axis=2)  # the largest difference of a pixel
distance, nearest = distances.min(axis=1), distances.argmin(axis=1)
n_copies = int((distance < 1e-3).sum())
print(f"{n_copies} of {len(pseudo_inputs)} pseudo-inputs are training rows")
near = duplicate_rate(pseudo_inputs, X_train, X_test)
print(f"{near:.0%} are as near to a training row as only 1% of the held-out rows are")
assert near > 0.5

order = np.argsort(distance)[np.linspace(0, len(distance) - 1, 10).astype(int)]
display = ReconstructionDisplay.from_arrays(X_train[nearest[order]], pseudo_inputs[order], image_shape=(8, 8))
display.ax_.set_yticks(display.ax_.get_yticks(), ["nearest\ntraining row", "pseudo-input", "difference"])
display.figure_.set_size_inches(8, 3)
plt.show()

# %%
# The pictures are ordered from the pseudo-input that is nearest to a training row to the one that is
# farthest from all. Most are near enough to show the row that they come from. Where rows are confidential,
# treat a saved model as you treat the rows. An ONNX file has the weights of its part only, and neither
# pseudo-inputs nor codes.

folder.cleanup()

# %%
# Conclusion
# ----------
#
# Use ``save_model`` to keep one estimator or to send it, skops for a pipeline, ONNX to run the encoder or
# the decoder where there is no Python, and pickle within your own programs alone. All but ONNX give the same
# codes to the bit after loading, on one machine with the same versions.
