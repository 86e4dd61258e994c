"""The scikit-learn contract, once: parameters, public methods, attributes, pickles."""

from __future__ import annotations

import abc
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

import skswae
from skswae import _fit, _inference, _state, export
from skswae._callbacks import OF_THE_FIT, CallbackSupportMixin
from skswae._constraints import check_affordable
from skswae._device import arithmetic, as_array, own_settings, resolve_device
from skswae._parameters import SHARED_NAMES, SharedParameters
from skswae._random import draw_seed, make_generator, named_seed
from skswae._resume import module_parameters
from skswae._validation import validate_codes, validate_rows
from skswae.data import ArrayData, DataSource
from skswae.data._checks import check_numbered
from skswae.data._scaler import TrainingRows
from skswae.modules._base import AutoencoderModule
from skswae.modules._builder import NetworkBuilder
from skswae.modules._heads import Likelihood


class BaseAutoencoder(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    SharedParameters,
    metaclass=abc.ABCMeta,
):
    """Base class of generative autoencoders as scikit-learn transformers.

    A subclass says how its module is built (``_build_module``); everything else is here.

    Parameters
    ----------
    n_components : int, default=8
        Dimension of the code.
    {shared parameters}
    """

    # parameters that cannot change while training goes on: they decide what the module consists of
    _structural_parameters: tuple[str, ...] = (
        *("n_components", "init", "output_activation", "scaling"),
        "random_state",  # of the first weights, and of each epoch's numbers from them on
    )
    # parameters of the module's sample_prior, which may change after a fit
    _sampling_parameters: tuple[str, ...] = ()

    # keys of history_ that are there even if no epoch had them
    _terms: tuple[str, ...] = ()

    module_: AutoencoderModule
    history_: dict[str, np.ndarray]
    n_iter_: int
    batch_size_: int
    learning_rate_init_: float
    early_stopping_: bool
    learning_rate_: str
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

    def _resolve(self, data: DataSource, n_rows: int, known_epochs: int | None) -> None:
        """Set a fitted attribute for each "auto" of the class, in the first fit.

        ``n_rows`` of the rows are trained on; the others are held out. ``known_epochs`` is the number of
        epochs where the training has them all, in one cycle of rates, and else None.
        """

    def _see_rows(self, module: Any, rows: TrainingRows, seed: int, resume: bool) -> None:
        """Look at the rows of a training before its optimisers are made; the module may grow with them.

        ``resume`` is whether training goes on with a fitted module, of which this one is a copy.
        """

    def _check_rows(self, data: DataSource) -> None:
        """Check training rows against the parameters, before anything is learned from them."""

    # ------------------------------------------------------------------
    # Fitting
    # ------------------------------------------------------------------

    def fit(self, X, y=None, *, X_val=None, checkpoint=None, checkpoint_seconds=60.0, keep_checkpoint=False):
        """Learn the model from X.

        A KeyboardInterrupt while it trains, after the first epoch, ends the training with the last complete
        epoch and a warning. In one of the fits of a search, a cross-validation, an ensemble or a loop of
        joblib's it propagates, as it does everywhere before the first epoch ends. A callback that returns
        True at the end of an epoch ends the training too (``set_callbacks``, with scikit-learn 1.9 or newer).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least 2; in [0, 1] if the output activation is a sigmoid.
        y : array-like of shape (n_samples,) or None, default=None
            Classes, which count with ``target_weight`` above 0, -1 for a row without one; else ignored.
        X_val : array-like of shape (n_val_samples, n_features) or None, default=None
            The rows that early stopping watches, in place of a part of X; in a pipeline, in the units of
            this step. Not with ``early_stopping=False``. They may lie anywhere: a cross-entropy or likelihood
            for data in [0, 1] takes numbers outside for 0 or 1.
        checkpoint : path-like or None, default=None
            A file that the state of the training is written to before the first epoch and then now and then,
            in a folder that exists. A fit that finds it there, because an earlier one with the same
            parameters and rows was killed, goes on from it, and ends as an undisturbed one would have, to the
            bit on the same machine with the same number of torch threads. With ``random_state=None`` it goes
            on with the earlier one's seed. Reading it runs no code.
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
        OSError
            If the checkpoint cannot be written before the first epoch. The same holds.

        Warns
        -----
        RuntimeWarning
            If the checkpoint cannot be written later, or removed: the training goes on, the earlier file is
            as it was, and writing is tried again after ``checkpoint_seconds``. Others are in the user guide.
        ConvergenceWarning
            If the fit has come to nothing: at most 2,000 training rows are reconstructed hardly better than
            by their mean row, or much worse than by as many principal components. It names what is likely
            to help. Up to 3 epochs from random weights (``init="random"``) are not judged. Also after an
            interrupt.
        """
        _fit.fit(
            self,
            X,
            y,
            X_val=X_val,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            keep_checkpoint=keep_checkpoint,
        )
        return self

    def partial_fit(self, X, y=None):
        """Train for one epoch over X at the constant rate ``learning_rate_init``.

        The first call fixes what depends on the data: the output activation and the scaling, and whatever
        the class derives from them, such as a likelihood or a weight; later calls go on from there. Only the
        number of pseudo-inputs grows with the rows. ``early_stopping`` and ``learning_rate`` play no part.
        The codes that :meth:`sample` fits a density to are those of the rows of the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least 2 in the first call.
        y : array-like of shape (n_samples,) or None, default=None
            As in :meth:`fit`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As :meth:`fit`.

        Warns
        -----
        ConvergenceWarning
            As :meth:`fit`, in the call of the 10th epoch, the 100th and so on (``n_iter_``), about the rows
            of that call, if they are more than 5 times ``n_components``.
        """
        _fit.partial_fit(self, X, y)
        return self

    # ------------------------------------------------------------------
    # Using a fitted model
    # ------------------------------------------------------------------

    def fit_transform(self, X, y=None, **fit_params):
        """Fit to rows, and return their codes: ``fit(X, y, **fit_params).transform(X)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : array-like of shape (n_samples,) or None, default=None
            As for :meth:`fit`.
        **fit_params : dict
            Other arguments of :meth:`fit`.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            As :meth:`transform` returns them.

        Raises
        ------
        TypeError
            If the order of the rows may change, as that of :class:`~skswae.data.BatchRows`.
        ValueError, MemoryError, OSError
            As :meth:`fit` and :meth:`transform`.
        """
        if isinstance(X, DataSource):
            check_numbered(X)  # before the training
        return super().fit_transform(X, y, **fit_params)

    def transform(self, X, *, out=None):
        """Map rows to their codes.

        The code of a row depends on that row alone, not on the batch, the order or earlier calls. With
        scikit-learn's ``array_api_dispatch`` on, this and other methods that take rows or codes return a
        tensor on the device of X if X is a torch tensor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, which may lie anywhere.
        out : ndarray of shape (n_samples, n_components) or None, default=None
            What the codes are written to, chunk by chunk, and what is then returned: an array or a
            memory-mapped one, or an array of h5py or zarr, of the type of the codes. After an error it may
            hold some of them. Not with a container of ``set_output``.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            In float32 if X is, else in float64; computed in the same.

        Raises
        ------
        ValueError
            If a row is so far from the training rows that its code overflows, or ``out`` does not fit.
        TypeError
            If ``out`` is none of these.
        """
        if out is not None and _get_output_config("transform", self)["dense"] != "default":
            raise ValueError(
                "The 'out' argument must be None unless transform returns arrays, as "
                f"set_output(transform='default') says. Got {type(out).__name__}."
            )
        return self._apply(self._validate_rows(X), lambda module, rows: module.encode(rows), out=out)

    def inverse_transform(self, X, *, out=None):
        """Map codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, from :meth:`transform` or of your own.
        out : ndarray of shape (n_samples, n_features) or None, default=None
            What the rows are written to, chunk by chunk, and what is then returned: an array or a
            memory-mapped one, or an array of h5py or zarr, of the type of the rows. After an error it may
            hold some of them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            The mean of the rows that a code stands for. In float32 if the codes are, else in float64;
            computed in the same. An array, also for codes in a frame and after ``set_output``, which concerns
            :meth:`transform` alone: ``pandas.DataFrame(X_original, columns=model.feature_names_in_)``.

        Raises
        ------
        ValueError
            If the codes do not have ``n_components`` columns, a row overflows, or ``out`` does not fit.
        TypeError
            If ``out`` is none of these.
        """
        check_is_fitted(self)
        codes = validate_codes(self, X)
        if codes.n_features != self._n_features_out:
            raise ValueError(
                f"X must hold codes with n_components={self._n_features_out} columns to be decoded by "
                f"{type(self).__name__}. Got {codes.n_features} columns instead."
            )
        return self._apply(codes, lambda module, z: module.decode(z), out=out)

    def reconstruct(self, X, *, out=None):
        """Encode and decode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, which may lie anywhere.
        out : ndarray of shape (n_samples, n_features) or None, default=None
            What the rows are written to, chunk by chunk, and what is then returned: an array or a
            memory-mapped one, or an array of h5py or zarr, of the type of the rows. After an error it may
            hold some of them.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            In float32 if X is, else in float64; computed in the same. An array, as that of
            :meth:`inverse_transform`, also for rows in a frame.

        Raises
        ------
        ValueError
            If a row is so far from the training rows that its reconstruction overflows, or ``out`` does not
            fit.
        TypeError
            If ``out`` is none of these.
        """
        rows = self._validate_rows(X)
        return self._apply(rows, lambda module, rows: module.decode(module.encode(rows)), out=out)

    def score_samples(self, X):
        """Minus the squared reconstruction error of each row, summed over features.

        Higher is better; low values mark rows unlike the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, which may lie anywhere.

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
            decoded = module.head.compared(rows, module.decode(module.encode(rows)))
            return -(rows - decoded).square().sum(dim=1)

        return self._apply(self._validate_rows(X), score)

    def score(self, X, y=None):
        """Mean of :meth:`score_samples`.

        It ranks reconstruction alone: a search by it always chooses the most components, and the least weight
        of anything but the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, which may lie anywhere.
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
        if isinstance(scores, Tensor):
            scores = as_array(scores)
        return float(np.sum(scores / len(scores), dtype=np.float64))  # the sum of the scores may overflow

    def sample(
        self, n_samples=1, *, prior="model", observation_noise=False, as_frame=False, random_state=None
    ):
        """Draw new rows: a code from a prior, then the decoder's row for it.

        That row is the mean of the rows that the code stands for, as :meth:`inverse_transform`'s is. It lacks
        what the code leaves out: where rows are noisy, samples vary less than they. A model with a likelihood
        p(x | z) (VAE, VampPrior, MIM) has learned that noise, and draws it with ``observation_noise=True``:
        samples are then draws from the model's p(x), as those of scikit-learn's ``GaussianMixture`` are.

        Means are the default because every model has them, and papers show and measure them; because
        pixels with independent noise look like no image; and because noise of one scale falls on features
        without any, too, and leaves their range. For tables, draw the noise.

        Parameters
        ----------
        n_samples : int, default=1
            How many, at least 1.
        prior : {"model", "gmm"}, default="model"
            Where codes are drawn from: the model's own prior, or a mixture of Gaussians fitted to the codes
            of training rows afterwards (of at most 5,000; 10 Gaussians with full covariances, fewer on few
            rows), which any autoencoder can have: what a learned prior has to beat. It is fitted in each
            call.
        observation_noise : bool, default=False
            Whether to draw each row from p(x | z) rather than to take its mean. With an int as
            ``random_state`` the codes are the same either way. Draws of a Gaussian may leave the range of the
            data, those of a Bernoulli are zeros and ones, and those of a discretised logistic j / (L - 1)
            with L = ``n_bins``. AE, WAE and SWAE have no likelihood, whatever their cost, and refuse True.
        as_frame : bool, default=False
            Whether to return a pandas DataFrame. Its columns are ``feature_names_in_`` where :meth:`fit` has
            seen names, else numbers.
        random_state : int, RandomState or Generator instance, or None, default=None
            None draws afresh in each call, also on an estimator with a ``random_state``; pass an int to
            repeat.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features), float64
            As ``as_frame`` says, whatever ``set_output`` does.

        Raises
        ------
        ValueError
            If ``n_samples`` is not an integer of at least 1, ``prior`` is neither of the two, or
            ``observation_noise`` is True and the model has no likelihood.
        MemoryError
            If this machine has no memory for as many samples.
        ImportError
            If ``as_frame`` is True and pandas cannot be imported.

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
        for name, value in (("observation_noise", observation_noise), ("as_frame", as_frame)):
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"The {name!r} argument must be True or False. Got {value!r} instead.")
        module = self._module_on_device()
        if observation_noise and not isinstance(module.head, Likelihood):
            raise ValueError(
                f"The 'observation_noise' argument must be False for {type(self).__name__}, which has "
                "learned no likelihood p(x | z) to draw rows from. Got True instead."
            )
        d, k = self.n_features_in_, self._n_features_out
        decoded = k + (4 if as_frame else 2) * d  # rows in float64, which pandas copies
        check_affordable(
            int(n_samples) * max(decoded, 4 + 6 * k),  # or codes while they are drawn
            f"The samples that the 'n_samples' argument asks for, {n_samples!r},",
            "draw fewer at a time",
        )
        if as_frame:
            try:
                import pandas
            except ImportError as error:
                raise ImportError(f"The 'as_frame' argument must be False without pandas. {error}") from error
        self._validate_params()  # some may have been set since the fit
        seed = draw_seed(random_state)
        Z = self._sample_codes(int(n_samples), prior, seed)
        noise = make_generator(named_seed(seed, "observation_noise"), module.device)

        def rows(module: Any, z: Tensor) -> Tensor:
            # decoded in the model's float32, in the user's units in float64: small differences of large
            # numbers survive
            if observation_noise:
                x = module.head.draw(module.raw_output(z).double(), noise)
            else:
                x = module.decode_x(z).double()
            return module.scaler.unstandardize(x)

        X = self._apply(ArrayData(Z), rows, name="The codes drawn")
        return pandas.DataFrame(X, columns=getattr(self, "feature_names_in_", None)) if as_frame else X

    def _sample_codes(self, n_samples: int, prior: str, seed: int) -> np.ndarray:
        """Draw codes: (n_samples, k), float32."""
        module = self._module_on_device()
        if prior == "gmm":
            return _inference.sample_gmm(as_array(module.codes.rows), n_samples, self._seed, seed)
        sampling = {name: getattr(self, name) for name in self._sampling_parameters}
        with own_settings(), torch.no_grad(), arithmetic(module.device):
            generator = make_generator(seed, module.device)
            return as_array(module.sample_prior(n_samples, generator, **sampling))

    def _validate_rows(self, X) -> DataSource:
        check_is_fitted(self)
        return validate_rows(self, X, reset=False, to_learn=False)

    def _apply(
        self,
        data: DataSource,
        function: Callable[[Any, Tensor], Tensor],
        n_rows: int | None = None,
        name: str = "X",
        out: Any = None,
    ) -> Any:
        """Apply a function of the module and rows; in float32 for float32, in float64 for all else."""
        dtype = torch.float32 if data.dtype == np.float32 else torch.float64
        return _inference.apply(self._module_on_device(), data, function, dtype, n_rows, name, out)

    def _module_on_device(self) -> AutoencoderModule:
        """Return the module in evaluation mode, on the device that ``device`` means now."""
        device = resolve_device(self.device)
        if self.module_.device != device:
            with own_settings():  # tensors that may be trained again
                self.module_.to(device)
        if _trains(self.module_):
            self.module_.eval()
        return self.module_

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
    # Methods that skl2onnx calls, so that a step of a pipeline needs no registration
    # ------------------------------------------------------------------

    def onnx_shape_calculator(self):
        """Tell ``skl2onnx.to_onnx`` how to find the shape of the codes.

        Returns
        -------
        shape_calculator : callable
        """
        return export.skl2onnx_shapes

    def onnx_converter(self):
        """Tell ``skl2onnx.to_onnx`` how to make a graph of :meth:`transform`.

        Returns
        -------
        converter : callable
        """
        return export.skl2onnx_convert

    # ------------------------------------------------------------------
    # Pickles and copies: plain values and arrays, no optimiser
    # ------------------------------------------------------------------

    def __getstate__(self):
        state = dict(super().__getstate__())
        for name in ("_moments", *OF_THE_FIT):
            state.pop(name, None)
        state[_state.VERSION_KEY] = skswae.__version__
        if "module_" in state:
            state["module_"] = _state.plain_module(self)
        return state

    def __setstate__(self, state):
        state = dict(state)
        _state.warn_of_version(self, state.pop(_state.VERSION_KEY, None), "module_" in state)
        module = state.pop("module_", None)  # a half-made estimator is not fitted
        super().__setstate__(state)
        if module is not None:
            self._fitted_parameters = {**module_parameters(self), **self._fitted_parameters}
            rebuilt = module if isinstance(module, AutoencoderModule) else _state.rebuilt_module(self, module)
            self.module_ = rebuilt


def _trains(module: nn.Module) -> bool:
    """Tell whether a part is in training mode, in a tenth of the time of ``eval``."""
    parts = [module]
    for part in parts:  # which grows in the loop
        if part.training:
            return True
        parts += [inner for inner in part._modules.values() if inner is not None]
    return False
