"""Functions from rows to features between which distances are taken."""

from __future__ import annotations

import pickle
import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skswae._constraints import RANDOM_STATE
from skswae._device import arithmetic, as_array, as_tensor, own_settings, resolve_device
from skswae._documentation import Documented
from skswae._random import forked_rng, without_generator
from skswae._validation import FLOATS
from skswae.metrics._checks import check_rows

_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


class InceptionFeatures:
    """The 2,048 features of an image by which the Frechet inception distance is defined.

    An object of this class is a function of rows: the last pooling layer of the 2015 Inception network [1]_
    with TensorFlow's weights and resizing, as the package torch-fidelity has them (``pip install
    "skswae[fid]"``). :class:`ClassifierFeatures` serve where its weights cannot be had.

    Parameters
    ----------
    image_shape : tuple of (channels, height, width)
        Shape of the image that a row is, flattened channel first; 1 or 3 channels. A grey channel serves as
        all three.
    weights_path : str or None, default=None
        File with the weights (91 MB), torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``, loaded
        in the first call. Loading may run code from the file: use one that you trust. None: from where
        torch-fidelity keeps them, downloaded if they are not there.
    batch_size : int, default=64
        Number of images at a time. Each is enlarged to 299 x 299.
    device : str or torch.device, default="auto"
        "auto" is "cuda" where there is one, else "cpu", on which 1,000 images take minutes.

    References
    ----------
    .. [1] C. Szegedy et al. Rethinking the Inception Architecture for Computer Vision. CVPR 2016.
       arXiv:1512.00567.

    Examples
    --------
    >>> from skswae.metrics import InceptionFeatures
    >>> InceptionFeatures((1, 28, 28))
    InceptionFeatures((1, 28, 28))
    """

    n_features_out = 2048

    @validate_params(
        {"image_shape": [tuple, list], "batch_size": [_AT_LEAST_1]}, prefer_skip_nested_validation=True
    )
    def __init__(self, image_shape, *, weights_path=None, batch_size=64, device="auto"):
        sizes = self.image_shape = tuple(image_shape)
        if len(sizes) != 3 or sizes[0] not in (1, 3) or not all(map(_AT_LEAST_1.is_satisfied_by, sizes)):
            raise ValueError(
                "The 'image_shape' argument must be (channels, height, width), with 1 or 3 channels. "
                f"Got {image_shape!r} instead."
            )
        self.weights_path = weights_path
        self.batch_size = batch_size
        self.device = device
        self._network: Any = None

    def __repr__(self) -> str:
        return f"InceptionFeatures({self.image_shape})"

    def __call__(self, X) -> np.ndarray:
        """Compute the features of images.

        Parameters
        ----------
        X : array-like of shape (n_samples, channels * height * width)
            Pixels in [0, 1]; rounded to bytes.

        Returns
        -------
        F : ndarray of shape (n_samples, 2048), float32
            Features.
        """
        X = self.check_pixels(X, "X")
        device = resolve_device(self.device)
        network = self._load().to(device)
        features = []
        with own_settings(), arithmetic(device):  # float32, not TF32: as everyone else's
            for batch in gen_batches(len(X), self.batch_size):
                pixels = np.rint(255 * np.clip(X[batch], 0, 1)).astype(np.uint8)
                images = pixels.reshape(-1, *self.image_shape)
                images = np.broadcast_to(images, (len(images), 3, *self.image_shape[1:]))
                features.append(as_array(network(as_tensor(images, device))[0]))
        return np.concatenate(features)

    def check_pixels(self, X: Any, name: str, *, min_samples: int = 1) -> np.ndarray:
        """Return images as float64 rows, or raise a ValueError that names the argument."""
        n_features = int(np.prod(self.image_shape))
        X = check_rows(X, name, min_samples=min_samples, n_features=n_features)
        if X.min() < -1e-6 or X.max() > 1 + 1e-6:
            raise ValueError(
                f"The {name!r} argument must be pixels in [0, 1]; np.clip({name}, 0, 1) brings back samples "
                f"outside. Got {X.min():g} to {X.max():g} instead."
            )
        return X

    def _load(self) -> Any:
        """Return the network, which the first call makes."""
        if self._network is not None:
            return self._network
        try:
            from torch_fidelity import FeatureExtractorInceptionV3
        except ImportError as error:
            raise ImportError(
                "The Inception network needs the packages torch-fidelity and torchvision: "
                f'pip install "skswae[fid]". {error}'
            ) from error
        try:
            with forked_rng(0):  # it draws weights, which it then replaces
                self._network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048"], feature_extractor_weights_path=self.weights_path
                )
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            where = "" if self.weights_path is None else f" from {self.weights_path!r}"
            raise OSError(
                f"The weights of the Inception network could not be loaded{where}: {error}. Download "
                "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases on GitHub (v0.2.0) "
                "and pass its path as weights_path, or put it into the folder 'checkpoints' of "
                "torch.hub.get_dir(). ClassifierFeatures, which compare models on one data set, need none."
            ) from error
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}  # loaded again where it is used next


class ClassifierFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Documented, BaseEstimator):
    """Features from a small classifier of the data set's own classes, for :func:`frechet_distance`.

    scikit-learn's ``MLPClassifier`` is trained on the training rows, images or not, and the activations of
    its last hidden layer are the features. A distance between them says whether samples have the content that
    tells classes apart. It compares models on one data set by one fitted classifier, and means nothing across
    data sets, classifiers or seeds. A fitted object is a function of rows, to be passed as ``features``.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 128)
        Number of units of each hidden layer; the last one is the number of features.
    max_iter : int or "auto", default="auto"
        Largest number of epochs; reaching it is no warning. "auto" is 200 up to 3,000 rows and fewer beyond,
        so that 600,000 rows are seen in all, but at least 10.
    random_state : int, RandomState or Generator instance, or None, default=0
        Seed of the classifier. It is fixed, as distances compare only by one and the same classifier.

    Attributes
    ----------
    classifier_, n_iter_ : MLPClassifier and int
        The fitted classifier, and its number of epochs.
    n_features_in_, feature_names_in_ : int and ndarray of shape (n_features_in_,)
        Number of features seen in :meth:`fit`, and their names if X has names that are all strings.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae.metrics import ClassifierFeatures, frechet_distance
    >>> X, y = load_digits(return_X_y=True)
    >>> features = ClassifierFeatures((64, 32)).fit(X[::2] / 16, y[::2])
    >>> print(f"{frechet_distance(X[::2] / 16, X[1::2] / 16, features=features):.0f}")
    0
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", _AT_LEAST_1],
        "max_iter": [_AT_LEAST_1, StrOptions({"auto"})],
        "random_state": RANDOM_STATE,
    }

    def __init__(self, hidden_layer_sizes=(256, 128), max_iter="auto", random_state=0):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X, y):
        """Train the classifier.

        Parameters
        ----------
        X, y : array-like of shape (n_samples, n_features) and (n_samples,)
            Training rows, in [0, 1] or standardised, and their classes, at least 2.

        Returns
        -------
        self : object
        """
        self._validate_params()
        if np.size(self.hidden_layer_sizes) == 0:
            got = f"Got {self.hidden_layer_sizes!r} instead."
            raise ValueError(f"The 'hidden_layer_sizes' parameter must have at least one layer. {got}")
        with own_settings():
            X, y = validate_data(self, X, y, dtype=FLOATS, order="C")
        X = X.astype(X.dtype.newbyteorder("="), copy=False)
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError("The 'y' argument must have at least 2 classes. Got 1 class instead.")
        auto = min(200, max(10, round(600_000 / len(X))))
        max_iter = auto if self.max_iter == "auto" else self.max_iter
        seed = without_generator(self.random_state)
        classifier = MLPClassifier(self.hidden_layer_sizes, max_iter=max_iter, random_state=seed)
        with warnings.catch_warnings(), own_settings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the features need no optimum
            self.classifier_ = classifier.fit(X, y)
        self.n_iter_ = classifier.n_iter_
        self._n_features_out = len(classifier.coefs_[-1])
        return self

    def transform(self, X):
        """Compute the activations of the last hidden layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        F : ndarray of shape (n_samples, hidden_layer_sizes[-1])
            Features, not below 0; computed and given in float32 if X has that dtype, else in float64.
        """
        X = self._validate(X)
        # MLPClassifier gives no hidden activations; its last layer, of the classes, is left out
        *layers, _ = zip(self.classifier_.coefs_, self.classifier_.intercepts_)
        for weights, bias in layers:
            X = np.maximum(X @ weights.astype(X.dtype, copy=False) + bias.astype(X.dtype, copy=False), 0)
        return X

    def __call__(self, X) -> np.ndarray:
        """Compute the features as an array, whatever ``set_output`` says."""
        return np.asarray(self.transform(X))

    def score(self, X, y) -> float:
        """Compute the accuracy of the classifier on held-out rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that it has not seen.
        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        accuracy : float
            In [0, 1].
        """
        X = self._validate(X)
        with own_settings():
            return float(self.classifier_.score(X, y))

    def _validate(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        with own_settings():
            X = validate_data(self, X, reset=False, dtype=FLOATS, order="C")
        return X.astype(X.dtype.newbyteorder("="), copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
