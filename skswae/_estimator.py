"""The scikit-learn contract, once: parameters, public methods, attributes, pickles."""

from __future__ import annotations

import abc
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skswae import _fit, _inference
from skswae._device import arithmetic, as_array, resolve_device
from skswae._parameters import SHARED_NAMES, SharedParameters
from skswae._random import draw_seed, make_generator
from skswae._validation import validate_codes, validate_rows
from skswae.data import ArrayData, DataSource
from skswae.modules._base import AutoencoderModule, detached_copy
from skswae.modules._builder import NetworkBuilder


class BaseAutoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, SharedParameters, metaclass=abc.ABCMeta
):
    """Base class of generative autoencoders as scikit-learn transformers.

    A subclass says how its module is built (:meth:`_build_module`); everything else is here.
    """

    # parameters that cannot change while training goes on: they decide what the module consists of
    _structural_parameters: tuple[str, ...] = ("n_components", "init", "output_activation", "scaling")
    # parameters of the module's sample_prior, which may change after a fit
    _sampling_parameters: tuple[str, ...] = ()

    module_: AutoencoderModule
    history_: dict[str, np.ndarray]
    n_iter_: int
    batch_size_: int
    learning_rate_init_: float
    out_activation_: str
    _seed: int
    _fitted_parameters: dict[str, Any]

    # ------------------------------------------------------------------
    # For subclasses to write
    # ------------------------------------------------------------------

    @abc.abstractmethod
    def _build_module(self, build: NetworkBuilder) -> AutoencoderModule:
        """Build a new module from ``build`` and the parameters, which it gets by keyword."""

    def _own_parameters(self) -> dict[str, Any]:
        """Return the class's own parameters, by the names by which its module takes them.

        A value resolved from the data, an attribute with the name and an underscore, takes the parameter's
        place. Parameters of sampling are left out.
        """
        shared = {*SHARED_NAMES, *self._sampling_parameters}
        own = {name: value for name, value in self.get_params(deep=False).items() if name not in shared}
        return {name: vars(self).get(f"{name}_", value) for name, value in own.items()}

    def _check_parameters(self) -> None:
        """Check parameters against each other; the data are not known yet."""

    def _needs_unit_interval(self) -> bool:
        """Return whether the objective is defined for data in [0, 1] alone."""
        return False

    def _resolve(self, data: DataSource, n_rows: int) -> None:
        """Set a fitted attribute for each "auto" of the class, in the first fit.

        ``n_rows`` of the rows are trained on; the others are held out.
        """

    def _check_rows(self, data: DataSource) -> None:
        """Check training rows against the parameters, before anything is learned from them."""

    def _check_fitted(self, module: Any) -> None:
        """Warn of what went wrong in a training that did not fail."""

    # ------------------------------------------------------------------
    # Fitting
    # ------------------------------------------------------------------

    def fit(self, X, y=None, *, X_val=None, checkpoint=None, checkpoint_seconds=60.0, keep_checkpoint=False):
        """Learn the model from X.

        A KeyboardInterrupt while it trains, after the first epoch, ends the training with the last complete
        epoch and a warning.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least 2; in [0, 1] if the output activation is a sigmoid.
        y : Ignored
            Present for the API's consistency.
        X_val : array-like of shape (n_val_samples, n_features) or None, default=None
            The rows that ``early_stopping`` watches, in place of a part of X; in a pipeline, in the units of
            this step. They may lie anywhere: a cross-entropy or likelihood for data in [0, 1] takes numbers
            outside for 0 or 1.
        checkpoint : path-like or None, default=None
            A file that the state of the training is written to now and then, in a folder that exists. A fit
            that finds it there, because an earlier one with the same parameters and rows was killed, goes
            on from it, and ends as an undisturbed one would have, to the bit on the same machine with the
            same number of torch threads. With ``random_state=None`` it goes on with the earlier one's seed.
        checkpoint_seconds : float, default=60.0
            Seconds between two writings, at least 0; they happen at the ends of epochs.
        keep_checkpoint : bool, default=False
            Whether to leave the file there at the end of the fit, for a caller who removes it once the
            estimator is stored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter, an argument or the data cannot be used, the file is another fit's, or the training
            diverges. The estimator is then as it was before the call.
        MemoryError
            If the device has too little memory. The same holds.
        """
        _fit.fit(
            self,
            X,
            X_val=X_val,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            keep_checkpoint=keep_checkpoint,
        )
        return self

    def partial_fit(self, X, y=None):
        """Train for one epoch over X at the constant rate ``learning_rate_init``.

        The first call fixes what depends on the data: the output activation and the scaling, and whatever
        the class derives from them, such as a number of pseudo-inputs, a likelihood or a weight; later
        calls go on from there. ``early_stopping`` and ``learning_rate`` play no part. The codes that
        :meth:`sample` fits a density to are those of the rows of the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least 2 in the first call.
        y : Ignored
            Present for the API's consistency.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        _fit.partial_fit(self, X)
        return self

    # ------------------------------------------------------------------
    # Using a fitted model
    # ------------------------------------------------------------------

    def transform(self, X):
        """Map rows to their codes.

        The code of a row depends on that row alone, not on the batch, the order or earlier calls.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            In float32 if X is, else in float64; computed in the same.

        Raises
        ------
        ValueError
            If a row is so far from the training rows that its code overflows.
        """
        return self._apply(
            self._validate_rows(X), lambda module, rows: module.encode(module.scaler.standardize(rows))
        )

    def inverse_transform(self, X):
        """Map codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, from :meth:`transform` or of your own.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            In float32 if the codes are, else in float64; computed in the same.

        Raises
        ------
        ValueError
            If the codes do not have ``n_components`` columns, or a row overflows.
        """
        check_is_fitted(self)
        codes = validate_codes(self, X)
        if codes.n_features != self._n_features_out:
            raise ValueError(
                f"X must hold codes with n_components={self._n_features_out} columns to be decoded by "
                f"{type(self).__name__}. Got {codes.n_features} columns instead."
            )
        return self._apply(codes, lambda module, z: module.scaler.unstandardize(module.decode(z)))

    def reconstruct(self, X):
        """Encode and decode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            In float32 if X is, else in float64; computed in the same.

        Raises
        ------
        ValueError
            If a row is so far from the training rows that its reconstruction overflows.
        """
        return self._apply(self._validate_rows(X), _inference.reconstruct)

    def score_samples(self, X):
        """Minus the squared reconstruction error of each row, summed over features.

        Higher is better; low values mark rows unlike the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In float32 if X is, else in float64; computed in the same.

        Raises
        ------
        ValueError
            If a score overflows: errors above 1e19 do in float32, above 1e154 in float64.
        """

        def score(module: AutoencoderModule, rows: Tensor) -> Tensor:
            return -(rows - _inference.reconstruct(module, rows)).square().sum(dim=1)

        return self._apply(self._validate_rows(X), score)

    def score(self, X, y=None):
        """Mean of :meth:`score_samples`.

        It ranks reconstruction alone: a search by it always chooses the most components, and the least weight
        of anything but the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
            Present for the API's consistency.

        Returns
        -------
        score : float

        Raises
        ------
        ValueError
            As :meth:`score_samples`.
        """
        scores = self.score_samples(X)
        return float(np.sum(scores / len(scores), dtype=np.float64))  # the sum of the scores may overflow

    def sample(self, n_samples=1, *, prior="model", random_state=None):
        """Draw new rows: codes from a prior, then the decoder.

        Parameters
        ----------
        n_samples : int, default=1
        prior : {"model", "gmm"}, default="model"
            Where codes are drawn from: the model's own prior, or a mixture of Gaussians fitted to the codes
            of training rows afterwards (of at most 5,000; 10 Gaussians with full covariances, fewer on few
            rows), which any autoencoder can have: what a learned prior has to beat. It is fitted in each
            call.
        random_state : int, RandomState instance or None, default=None
            None draws afresh in each call, also on an estimator with a ``random_state``; pass an int to
            repeat.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64

        Raises
        ------
        ValueError
            If ``n_samples`` is not an integer of at least 1, or ``prior`` is neither of the two.

        References
        ----------
        P. Ghosh et al. From Variational to Deterministic Autoencoders. ICLR 2020.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
            raise ValueError(
                f"The 'n_samples' argument must be an integer of at least 1. Got {n_samples!r} instead."
            )
        if not isinstance(prior, str) or prior not in ("model", "gmm"):
            raise ValueError(f"The 'prior' argument must be 'model' or 'gmm'. Got {prior!r} instead.")
        module = self._module_for(torch.float32)
        self._validate_params()  # some may have been set since the fit
        seed = draw_seed(random_state)
        if prior == "gmm":
            Z = _inference.sample_gmm(as_array(module.codes.rows), int(n_samples), self._seed, seed)
        else:
            sampling = {name: getattr(self, name) for name in self._sampling_parameters}
            with torch.no_grad(), arithmetic(module.device):
                generator = make_generator(seed, module.device)
                Z = as_array(module.sample_prior(int(n_samples), generator, **sampling))
        # decoded in the model's float32, in the user's units in float64: small differences of large
        # numbers survive
        return self._apply(
            ArrayData(Z),
            lambda module, z: module.scaler.unstandardize(module.decode(z).double()),
            name="The codes drawn",
        )

    def _validate_rows(self, X) -> DataSource:
        check_is_fitted(self)
        return validate_rows(self, X, reset=False)

    def _apply(
        self,
        data: DataSource,
        function: Callable[[Any, Tensor], Tensor],
        n_rows: int = _inference.CHUNK_ROWS,
        name: str = "X",
    ) -> np.ndarray:
        """Apply a function of the module and rows; in float32 for float32, in float64 for all else."""
        dtype = torch.float32 if data.dtype == np.float32 else torch.float64
        return _inference.apply(self._module_for(dtype), data, function, dtype, n_rows, name)

    def _module_for(self, dtype: torch.dtype) -> AutoencoderModule:
        """Return the module on the device that ``device`` means now, in the dtype."""
        device = resolve_device(self.device)
        if self.module_.device != device:
            self.module_.to(device)
        self.module_.eval()
        if dtype == torch.float32:
            return self.module_
        return self._float64_copy.of(self.module_)

    # ------------------------------------------------------------------
    # Attributes
    # ------------------------------------------------------------------

    @property
    def loss_curve_(self) -> np.ndarray:
        """The training loss of each epoch: ``history_["loss"]``."""
        return self.history_["loss"]

    @property
    def location_(self) -> np.ndarray:
        """The row that is subtracted before the networks; zeros unless the scaling is on."""
        return as_array(self.module_.scaler.location).copy()

    @property
    def scale_(self) -> float:
        """The number that the rows are divided by before the networks; 1 unless the scaling is on."""
        return float(self.module_.scaler.scale)

    @property
    def _n_features_out(self) -> int:
        return self.module_.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ------------------------------------------------------------------
    # Pickles and copies: CPU tensors, no optimiser
    # ------------------------------------------------------------------

    def __getstate__(self):
        state = dict(super().__getstate__())
        for name in ("_moments", "_float64_copy"):
            state.pop(name, None)
        module = state.get("module_")
        if module is not None and module.device.type != "cpu":
            state["module_"] = detached_copy(module).to("cpu")
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "module_" in state:
            self._float64_copy = _inference.Float64Copy()
