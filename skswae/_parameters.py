"""The parameters that every estimator has: their text, constraints and defaults.

A class puts the text into its docstring by the lines ``{shared parameters}`` and ``{shared attributes}``.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Options, StrOptions

from skswae._constraints import RANDOM_STATE, Number
from skswae._documentation import Documented
from skswae.networks._protocol import check_network

SHARED_PARAMETERS = """\
network : object or None, default=None
    Description of the networks: an instance from :mod:`skswae.networks`, or one of your own with its two
    methods. None is ``GatedMLP()``. A search reaches its parameters: ``network__hidden_layer_sizes``.
init : {"pca", "random"}, default="pca"
    "pca" puts a trainable linear map beside each network and starts at PCA's solution, with the
    networks' last layers at zero. "random" is the papers' start, the networks alone.
input_components : int, "auto" or None, default="auto"
    Number of leading principal components of the rows that the encoders see in place of the rows; the
    decoder's rows have all features. They are found from at most 10,000 training rows and then fixed.
    "auto" is 64 for rows of more than 128 features, and None for others, for
    ``init="random"``, for networks that have to see all features, such as those of images, and for a first
    ``partial_fit`` of fewer than ten rows for each component, or of rows that differ in fewer directions.
    None: the rows themselves. Numbers below ``n_components`` count as that many, numbers above the
    directions in which the rows differ as these; a first ``partial_fit`` refuses the latter.
output_activation : {"auto", "identity", "sigmoid"}, default="auto"
    Activation of the decoder's output. "auto" is a sigmoid for a cost or likelihood of data in [0, 1], and
    for data whose minimum is 0 and maximum 1 (to 1 %), else the identity.
scaling : "auto" or None, default="auto"
    "auto": with an identity output the networks see the data less their mean, divided by one number
    that makes the mean variance 1, so that results do not depend on the unit or the origin. None: the
    data as they are.
augment : callable or None, default=None
    ``f(x, generator) -> x``, applied to each training batch, a tensor in the units of X on the
    training device, before everything else: input and target alike. It is applied to held-out rows
    with fixed noise, never in :meth:`transform`. Its results are checked in every call, their numbers once
    an epoch. It must be picklable if the estimator is to be.
neighbor_weight : float, default=0.0
    Weight, at least 0 and below 1e30, of a term that draws the codes of neighbouring rows together and pushes
    others apart, for maps of 2 or 3 components: UMAP's cross-entropy (L. McInnes, J. Healy, J. Melville 2018,
    arXiv:1802.03426) on codes of the encoder. It is a multiple of what it costs to decode every row to the
    mean row, or for a likelihood of 1 a feature; 16 makes a map that is mostly UMAP's. In each step a row is
    drawn to a neighbour or to a row between two of them, whose features (or ``input_components``) are those
    of one or the other at random: always among up to 5,000 rows, more rarely among more. Neighbours are
    looked for among all training rows, as the encoders see them: exactly up to 10,000 rows, approximately
    among more; ``augment`` leaves them as they are. In ``partial_fit``, and for a data source of your own,
    they are those in the batch, which makes a coarser map. The term needs a ``batch_size`` of 2 or more.
    ``history_["neighbor_loss"]`` has the term unweighted, "loss" contains it.
n_neighbors : int, default=15
    Neighbours of a row in that term; never more than there are other rows.
target_weight : float in [0, 1), default=0.0
    How much the classes ``y`` of :meth:`fit` count in the term: a neighbour of another class counts
    exp(-5 w / (1 - w)) times as much as one of the same, and where either row has none, exp(-w / (1 - w))
    times. 0.5 is UMAP's default, and these factors are then its own. At 0 ``y`` is ignored; above,
    ``neighbor_weight`` must be too, and a data source of your own is read by the numbers of rows.
max_iter : int or "auto", default="auto"
    Number of epochs, passes over the training rows. "auto" is 40 up to 9,000 rows, and fewer from there on,
    so that 360,000 rows are seen in all: 6 passes over 60,000 rows; at least 4. Early stopping may end
    sooner.
batch_size : int or "auto", default="auto"
    Number of rows in a step, or somewhat more: an epoch is cut into as many batches of at least this size as
    it has rows for, all nearly equal. Fewer than two batches' worth of rows are one batch. "auto" is 64 up
    to 6,400 rows, a 100th of the rows from there on, and at most 512.
solver : {"adam", "normalized_adam"}, default="adam"
    "normalized_adam" divides the gradient of each tensor of weights by its norm (plus 1e-7) before Adam sees
    it: the optimiser of the public code of VampPrior, MIM and SWAE, at the rate 5e-4.
learning_rate : {"auto", "one_cycle", "constant"}, default="auto"
    Course of the learning rate. "one_cycle" rises to ``learning_rate_init`` over the first 30 % of the steps
    and falls to nearly 0; "constant" is the papers'. "auto" is "constant" with early stopping, whose last
    epoch nobody knows beforehand, else "one_cycle".
learning_rate_init : float or "auto", default="auto"
    Constant rate, or the highest of the cycle; above 0. "auto" is 1.25e-3 for batches of 64, and grows with
    them: 1e-2 for 512 or more, 1.25e-3 at the least. :meth:`fit` on fewer than 600 rows takes less, in
    proportion to them, but with ``init="random"``.
early_stopping : "auto" or bool, default="auto"
    Whether to hold out rows, stop when their loss stops falling, and keep the best epoch. "auto" does so
    with ``max_iter="auto"`` where so few rows may have their noise learned, fewer than 15 for each feature
    but at least 20, unless there is a ``neighbor_weight``; and wherever :meth:`fit` is given ``X_val``.
validation_fraction : float in (0, 1), default=0.1
    Share of the rows held out by early stopping.
n_iter_no_change : int or inf, default=10
    Epochs without a gain of ``tol`` before early stopping ends the training. With "one_cycle" they count
    from the peak of the rate on.
tol : float, default=1e-4
    Smallest relative gain of the held-out loss that counts as one.
warm_start : bool, default=False
    Whether a further :meth:`fit` goes on for ``max_iter`` more epochs instead of starting anew. The
    optimiser's state goes on too, unless the estimator was pickled, copied or interrupted, or trained
    with early stopping, in between. What decides the shape of the model, and ``random_state``, must stay as
    they were.
device : str or torch.device, default="auto"
    "auto" is "cuda" where there is one, else "cpu". Setting it on a fitted model moves the model.
precision : {"float32", "tf32", "bf16"}, default="float32"
    Precision of the arithmetic in training. "tf32" rounds the factors of products and convolutions on a CUDA
    device to 10 bits, but for the search of pseudo-inputs, and is float32 elsewhere; "bf16" computes the
    networks in bfloat16, 8 bits, and nothing else; on a processor without instructions for it the fit warns
    and computes in float32. The weights and everything after the fit are float32 or finer.
random_state : int, RandomState or Generator instance, or None, default=None
    Seed of weights, batches and noise. Equal ints give bit-equal fits on one machine with equal numbers
    of torch threads. A fit draws one number, its seed, from a RandomState or a Generator, and so the next
    fit has another. Torch's and Python's global streams are never moved; None draws the seed from NumPy's.
verbose : int or bool, default=0
    Whether to show the losses of each epoch: by a bar on a terminal or in a notebook if rich is installed,
    else by a line of the logger "skswae" at level INFO, which goes to stderr where no logging is set up.
"""

SHARED_ATTRIBUTES = """\
loss_curve_ : ndarray of shape (n_iter_,)
    ``history_["loss"]``.
n_iter_ : int
    Epochs trained.
batch_size_ : int
    Resolved ``batch_size`` of the last call of ``fit`` or ``partial_fit``.
learning_rate_init_ : float
    Resolved ``learning_rate_init`` of that call.
early_stopping_ : bool
    Whether that call held rows out, or was given ``X_val``.
learning_rate_ : {"one_cycle", "constant"}
    Resolved ``learning_rate`` of that call.
input_components_ : int
    Columns that the encoders see: resolved ``input_components``, ``n_features_in_`` for None.
out_activation_ : {"identity", "sigmoid"}
    Resolved ``output_activation``.
location_ : ndarray of shape (n_features,)
    Row that is subtracted before the networks; zeros without scaling.
scale_ : float
    Number that is divided by after that; 1.0 without scaling.
n_features_in_ : int
    Features seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names, if X has names that are all strings.
"""

LIKELIHOOD_PARAMETERS = """\
likelihood : {"auto", "bernoulli", "gaussian", "discretized_logistic"}, default="auto"
    p(x | z). "bernoulli" is for zeros and ones (values between count as probabilities), "gaussian" for
    anything, "discretized_logistic" for numbers in [0, 1] on a grid, such as grey levels. "auto" is
    "bernoulli" for data of zeros and ones alone, else "gaussian".
likelihood_scale : {"shared", "per_feature"}, default="shared"
    Whether the learned scale of the last two is one number, or one for each feature.
n_bins : int, default=256
    Grey levels L of "discretized_logistic": the data are j / (L - 1) or (j + 1/2) / L.
"""


_TEXTS = {
    "shared parameters": SHARED_PARAMETERS,
    "shared attributes": SHARED_ATTRIBUTES,
    "likelihood parameters": LIKELIHOOD_PARAMETERS,
}


def fill_in(doc: str) -> str:
    """Put the shared texts in the place of their markers, indented as they are."""
    marker = re.compile(rf"^( *){{({'|'.join(_TEXTS)})}}\n", flags=re.M)
    return marker.sub(lambda found: textwrap.indent(_TEXTS[found[2]], found[1]), doc)


class SharedParameters(Documented, BaseEstimator):
    """The constructor of every estimator, as far as all have it."""

    _parameter_constraints: dict = {
        "n_components": [Number(Integral, 1, None, closed="left")],
        "network": "no_validation",  # networks._protocol.check_network
        "init": [StrOptions({"pca", "random"})],
        "input_components": [Number(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "output_activation": [StrOptions({"auto", "identity", "sigmoid"})],
        "scaling": [StrOptions({"auto"}), None],
        "augment": [callable, None],
        "neighbor_weight": [Number(Real, 0, 1e30, closed="left")],
        "n_neighbors": [Number(Integral, 1, None, closed="left")],
        "target_weight": [Number(Real, 0, 1, closed="left")],
        "max_iter": [Number(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Number(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "solver": [StrOptions({"adam", "normalized_adam"})],
        "learning_rate": [StrOptions({"auto", "one_cycle", "constant"})],
        "learning_rate_init": [Number(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Number(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            Number(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "tol": [Number(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "precision": [StrOptions({"float32", "tf32", "bf16"})],
        "random_state": RANDOM_STATE,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=8,
        *,
        network=None,
        init="pca",
        input_components="auto",
        output_activation="auto",
        scaling="auto",
        augment=None,
        neighbor_weight=0.0,
        n_neighbors=15,
        target_weight=0.0,
        max_iter="auto",
        batch_size="auto",
        solver="adam",
        learning_rate="auto",
        learning_rate_init="auto",
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.network = network
        self.init = init
        self.input_components = input_components
        self.output_activation = output_activation
        self.scaling = scaling
        self.augment = augment
        self.neighbor_weight = neighbor_weight
        self.n_neighbors = n_neighbors
        self.target_weight = target_weight
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params):
        """Set parameters by name, those of the network by ``network__`` and the name.

        They are set on a ``GatedMLP()`` if ``network`` is None, which stands for one.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : object
        """
        before = self.network
        nested = any(name.startswith("network__") for name in params)
        if nested and params.get("network", self.network) is None:
            params["network"] = check_network(None)
        try:
            return super().set_params(**params)
        except ValueError:
            self.network = before
            raise

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        if cls.__doc__ is not None:  # it is under python -OO
            cls.__doc__ = fill_in(cls.__doc__)


SHARED_NAMES = tuple(inspect.signature(SharedParameters).parameters)


def shared_parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Pick the parameters that estimators share from the arguments of a constructor.

    Parameters
    ----------
    arguments : dict
        The constructor's ``locals()``.

    Returns
    -------
    shared : dict
        Those of :class:`BaseAutoencoder`, for ``super().__init__(**shared)``.
    """
    return {name: arguments[name] for name in SHARED_NAMES if name in arguments}
