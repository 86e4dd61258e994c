"""The scikit-learn contract, once: parameters, validation, arrays, devices, pickles."""

from __future__ import annotations

import abc
import contextlib
import copy
import functools
import os
import pickle
import re
import textwrap
import warnings
import weakref
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from skswae import _data, networks
from skswae._checkpoint import Checkpoint
from skswae._module import AutoencoderModule, Parts, reduced_precision
from skswae._rows import HostSource, Rows, TensorSource
from skswae._schedule import Schedule, n_threads
from skswae._steps import GRAPH_MIN_STEPS, DeviceStep, EagerStep, side_stream
from skswae._torch import (
    arithmetic,
    as_array,
    as_tensor,
    draw_seed,
    fits_on,
    forked_rng,
    limited_threads,
    make_generator,
    portable_copy,
    resolve_device,
)
from skswae._training import EarlyStopping, train

# of modules that have computed in float64: what their copies were made of, and the copies
_in_float64: weakref.WeakKeyDictionary[AutoencoderModule, tuple[list, AutoencoderModule]]
_in_float64 = weakref.WeakKeyDictionary()

# rows a call to a module outside training: near the peak of a matrix product, at little memory
_CHUNK_ROWS = 512

# the text of what every estimator shares; a class puts it in its docstring by a line {shared parameters}
_SHARED_PARAMETERS = """\
network : object or None, default=None
    What the networks are built from: an instance from :mod:`skswae.networks`, or one of your own with its
    two methods. None is ``GatedMLP()``.
init : {"pca", "random"}, default="pca"
    "pca" puts a trainable linear map beside each network and starts at PCA's solution, with the
    networks' last layers at zero. "random" is the papers' start, the networks alone.
output_activation : {"auto", "identity", "sigmoid"}, default="auto"
    Of the decoder. "auto" is a sigmoid for a cost or likelihood of data in [0, 1], and for data whose
    minimum is 0 and maximum 1 (to 1 %), else the identity.
scaling : "auto" or None, default="auto"
    "auto": with an identity output the networks see the data less their mean, divided by one number
    that makes the mean variance 1, so that results do not depend on the unit or the origin. None: the
    data as they are.
augment : callable or None, default=None
    ``f(x, generator) -> x``, applied to each training batch, a tensor in the units of X on the
    training device, before everything else: input and target alike. It is applied to held-out rows
    with fixed noise, never in :meth:`transform`. It must be picklable if the estimator is to be.
max_iter : int or "auto", default="auto"
    Epochs: passes over the training rows. "auto" is 40 up to 12,000 rows, and fewer from there on, so that
    480,000 rows are seen in all: 8 passes over 60,000 rows; at least 4.
batch_size : int or "auto", default="auto"
    Rows a step, or somewhat more: an epoch is cut into as many batches of at least this size as it has
    rows for, all nearly equal. Fewer than two batches' worth of rows are one batch. "auto" is 64 up to
    12,800 rows, a 200th of the rows from there on, and at most 256.
solver : {"adam", "normalized_adam"}, default="adam"
    "normalized_adam" divides the gradient of each tensor of weights by its norm (plus 1e-7) before Adam sees
    it: the optimiser of the public code of VampPrior, MIM and SWAE, at the rate 5e-4.
learning_rate : {"one_cycle", "constant"}, default="one_cycle"
    Course of Adam's rate. "one_cycle" rises to ``learning_rate_init`` over the first 30 % of the steps
    and falls to nearly 0; "constant" is the papers'.
learning_rate_init : float or "auto", default="auto"
    Adam's rate, or the highest of the cycle; above 0. "auto" is 1.25e-3 for batches of 64, and grows with
    them: 5e-3 for 256 or more, 1.25e-3 at the least.
early_stopping : bool, default=False
    Whether to hold out rows, stop when their loss stops falling, and keep the best epoch.
validation_fraction : float in (0, 1), default=0.1
    Share of the rows held out by ``early_stopping``.
n_iter_no_change : int or inf, default=10
    Epochs without a gain of ``tol`` before ``early_stopping`` stops.
tol : float, default=1e-4
    Smallest relative gain of the held-out loss that counts as one.
warm_start : bool, default=False
    Whether a further :meth:`fit` goes on for ``max_iter`` more epochs instead of starting anew. The
    optimiser's state goes on too, unless the estimator was pickled, copied or interrupted, or stopped
    early, in between. What decides the shape of the model must stay as it was.
device : str or torch.device, default="auto"
    "auto" is "cuda" where there is one, else "cpu". Setting it on a fitted model moves the model.
precision : {"float32", "tf32", "bf16"}, default="float32"
    Of the arithmetic in training. "tf32" rounds the factors of products and convolutions on a CUDA device
    to 10 bits, but for the search of pseudo-inputs, and is float32 elsewhere; "bf16" computes the networks
    in bfloat16, 8 bits, and nothing else. The weights and everything after the fit are float32 or finer.
random_state : int, RandomState instance or None, default=None
    Seed of weights, batches and noise. Equal ints give bit-equal fits on one machine with equal numbers
    of torch threads. Torch's and Python's global streams are never moved; None draws a seed from
    NumPy's.
verbose : int or bool, default=0
    Whether to print the losses of each epoch.
"""

_SHARED_ATTRIBUTES = """\
loss_curve_ : ndarray of shape (n_iter_,)
    ``history_["loss"]``.
n_iter_ : int
    Epochs trained.
batch_size_ : int
    What ``batch_size`` came to in the last call of ``fit`` or ``partial_fit``.
learning_rate_init_ : float
    What ``learning_rate_init`` came to there.
out_activation_ : {"identity", "sigmoid"}
    What ``output_activation`` came to.
location_ : ndarray of shape (n_features,)
    What is subtracted before the networks; zeros without scaling.
scale_ : float
    What is divided by after that; 1.0 without scaling.
n_features_in_ : int
    Features seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names, if X has names that are all strings.
"""


class BaseAutoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, metaclass=abc.ABCMeta
):
    """A generative autoencoder as a scikit-learn transformer.

    A subclass says how its module is built (:meth:`_build_module`) and which of its parameters the module
    reads (:meth:`_configure`); everything else is here.
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "network": "no_validation",  # networks.check_network
        "init": [StrOptions({"pca", "random"})],
        "output_activation": [StrOptions({"auto", "identity", "sigmoid"})],
        "scaling": [StrOptions({"auto"}), None],
        "augment": [callable, None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "solver": [StrOptions({"adam", "normalized_adam"})],
        "learning_rate": [StrOptions({"one_cycle", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "precision": [StrOptions({"float32", "tf32", "bf16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    module_: AutoencoderModule
    history_: dict[str, np.ndarray]
    n_iter_: int
    batch_size_: int
    learning_rate_init_: float
    out_activation_: str
    _seed: int
    _structure: dict[str, Any]

    def __init__(
        self,
        n_components=8,
        *,
        network=None,
        init="pca",
        output_activation="auto",
        scaling="auto",
        augment=None,
        max_iter="auto",
        batch_size="auto",
        solver="adam",
        learning_rate="one_cycle",
        learning_rate_init="auto",
        early_stopping=False,
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
        self.output_activation = output_activation
        self.scaling = scaling
        self.augment = augment
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

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        if cls.__doc__ is not None:  # it is under python -OO
            for marker, text in (
                ("{shared parameters}", _SHARED_PARAMETERS),
                ("{shared attributes}", _SHARED_ATTRIBUTES),
            ):
                cls.__doc__ = _filled_in(cls.__doc__, marker, text)

    # ------------------------------------------------------------------
    # What a subclass writes
    # ------------------------------------------------------------------

    @abc.abstractmethod
    def _build_module(self, parts: Parts) -> AutoencoderModule:
        """A new module for the data behind ``parts``."""

    def _configure(self, module: Any) -> None:
        """Give the module the parameters that it reads; called before each training."""

    def _configure_sampling(self, module: Any) -> None:
        """Give the module those that it samples by, which may change after a fit."""

    def _check_parameters(self) -> None:
        """Check parameters against each other; the data are not known yet."""

    def _needs_unit_interval(self) -> bool:
        """Whether the objective is defined for data in [0, 1] alone."""
        return False

    def _resolve(self, X: np.ndarray) -> None:
        """Give an "auto" of the class a value, from the rows of the first fit."""

    def _check_rows(self, X: np.ndarray) -> None:
        """Check training rows against the parameters, before anything is learned from them."""

    def _check_fitted(self, module: Any) -> None:
        """Warn of what went wrong in a training that did not fail."""

    # ------------------------------------------------------------------
    # Fitting
    # ------------------------------------------------------------------

    def fit(self, X, y=None, *, X_val=None, checkpoint=None, checkpoint_seconds=60.0, keep_checkpoint=False):
        """Learn the model from X.

        A KeyboardInterrupt after the first epoch ends the training with the last complete epoch and a
        warning.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, at least 2; in [0, 1] if the output activation is a sigmoid.
        y : Ignored
            Present for the API's consistency.
        X_val : array-like of shape (n_val_samples, n_features) or None, default=None
            The rows that ``early_stopping`` watches, in place of a part of X; in a pipeline, in the units of
            this step.
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
        with self._all_or_nothing(), torch.inference_mode(False), torch.enable_grad():
            resume = self.warm_start and hasattr(self, "module_")
            self._fit(
                X,
                n_epochs=None,
                one_cycle=self.learning_rate == "one_cycle",
                early_stopping=self.early_stopping,
                resume=resume,
                keep=False,
                X_val=X_val,
                checkpoint=_checked_checkpoint(checkpoint, checkpoint_seconds, resume),
                checkpoint_seconds=checkpoint_seconds,
                keep_checkpoint=bool(keep_checkpoint),
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
        with self._all_or_nothing(), torch.inference_mode(False), torch.enable_grad():
            resume = hasattr(self, "module_")
            self._fit(X, n_epochs=1, one_cycle=False, early_stopping=False, resume=resume, keep=resume)
        return self

    def _fit(
        self,
        X,
        *,
        n_epochs: int | None,
        one_cycle: bool,
        early_stopping: bool,
        resume: bool,
        keep: bool,
        X_val=None,
        checkpoint: str | None = None,
        checkpoint_seconds: float = 0.0,
        keep_checkpoint: bool = False,
    ) -> None:
        self._validate_params()
        network = networks.check_network(self.network)
        self._check_parameters()
        device = resolve_device(self.device)
        X = validate_data(
            self,
            X,
            reset=not resume,
            dtype=[np.float64, np.float32, np.uint8],
            order="C",  # rows are read one by one
            ensure_min_samples=1 if keep else 2,
        )
        if X_val is not None:
            if not early_stopping:
                raise ValueError("The 'X_val' argument must be None without early_stopping=True. Got rows.")
            X_val = validate_data(
                self, X_val, reset=False, dtype=[np.float64, np.float32, np.uint8], order="C"
            )
        file = None
        if resume:
            self._check_resumable(network)
            seed = self._seed
        else:
            if checkpoint is None:
                seed = draw_seed(self.random_state)
            else:
                file = self._open_checkpoint(checkpoint, checkpoint_seconds, X, X_val)
                seed = file.seed
            self._resolve(X)
            self.out_activation_ = self._resolve_activation(X)
        for part in (X,) if X_val is None else (X, X_val):
            self._check_rows(part)
            if self.out_activation_ == "sigmoid":
                _data.check_unit_interval(part)

        with (
            self._clear_about_memory(device),
            arithmetic(device, self.precision),
            side_stream(device),
        ):
            self._train(
                X,
                network,
                device,
                seed,
                n_epochs=n_epochs,
                one_cycle=one_cycle,
                early_stopping=early_stopping,
                resume=resume,
                keep=keep,
                X_val=X_val,
                checkpoint=file,
                keep_checkpoint=keep_checkpoint,
            )

    def _open_checkpoint(
        self, path: str, every: float, X: np.ndarray, X_val: np.ndarray | None
    ) -> Checkpoint:
        """The file, with the seed that it holds or a new one."""
        saved = Checkpoint.read(path)
        if self.random_state is None and saved is not None:
            seed = int(saved["seed"])
        else:
            seed = draw_seed(self.random_state)
        from skswae import __version__  # here: it is known once the package is

        versions = __version__, str(torch.__version__)
        parts = [type(self).__module__, type(self).__qualname__, seed, X, X_val, *versions]
        parameters = self.get_params()
        for name in ("device", "verbose", "random_state"):
            del parameters[name]
        try:
            # one by one: the hash of a whole sees which of its parts are one object
            values = [(name, joblib.hash(_frozen(value))) for name, value in sorted(parameters.items())]
            fingerprint = joblib.hash([*map(joblib.hash, parts), values])
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"The 'checkpoint' argument must be None unless all parameters of {type(self).__name__} can "
                f"be pickled, to tell its fit from others. Got {error}"
            ) from error
        return Checkpoint(path, fingerprint, seed, every)

    def _train(
        self,
        X: np.ndarray,
        network: Any,
        device: torch.device,
        seed: int,
        *,
        n_epochs: int | None,
        one_cycle: bool,
        early_stopping: bool,
        resume: bool,
        keep: bool,
        X_val: np.ndarray | None,
        checkpoint: Checkpoint | None,
        keep_checkpoint: bool,
    ) -> None:
        """Build or copy the module, train it, and become fitted."""
        location = scale = None
        with torch.device("cpu"):  # whatever torch's default device is
            if resume:
                location, scale = self.module_.location.cpu(), self.module_.scale.cpu()
            elif self.scaling == "auto" and self.out_activation_ == "identity":
                location, scale = _data.find_units(X)
            bounded = self.out_activation_ == "sigmoid" and not _data.is_bounded(X)
            rows, held_out = Rows(X, location, scale, bounded=bounded), None
            if early_stopping and X_val is not None:
                bounded = self.out_activation_ == "sigmoid" and not _data.is_bounded(X_val)
                held_out = Rows(X_val, location, scale, bounded=bounded)
            elif early_stopping:
                rows, held_out = rows.split(self.validation_fraction, seed)
            if resume:
                module = copy.deepcopy(self.module_)
            else:
                parts = Parts(
                    network,
                    rows,
                    n_components=int(self.n_components),
                    out_activation=self.out_activation_,
                    init=self.init,
                    seed=seed,
                )
                module = self._build_module(parts)
        module.to(device)
        if device.type == "cuda":
            for parameter in module.parameters():
                if parameter.ndim == 4:  # convolutions are faster so; nothing else changes
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        self._configure(module)
        self._configure_sampling(module)

        source = self._source(rows, device)
        stopping = None
        if held_out is not None:
            stopping = EarlyStopping(self._source(held_out, device), self.n_iter_no_change, self.tol)
        first = self.n_iter_ if resume else 0
        preprocess = _data.Preparation(rows, self.augment, module)

        def prepared() -> Iterator[Tensor]:
            return (rows.prepare(raw) for raw in source.in_order(_CHUNK_ROWS))

        module.before_training(prepared())
        schedule = Schedule.of(self, len(rows))
        n_epochs = schedule.n_epochs if n_epochs is None else n_epochs
        n_steps = n_epochs * source.n_batches(schedule.batch_size)
        draws_from_global_streams = networks.draws_from_global_streams(network)
        options: dict[str, Any] = {
            "learning_rate": schedule.learning_rate,
            "n_steps": n_steps if one_cycle else None,
            "state": getattr(self, "_optimizer_state", None) if resume else None,
            "normalize": self.solver == "normalized_adam",
        }
        step: EagerStep
        if device.type == "cuda" and draws_from_global_streams and n_steps >= GRAPH_MIN_STEPS:
            warnings.warn(
                f"A network of your own, {type(network).__name__}, may draw from torch's global streams: "
                f"{type(self).__name__} trains without a CUDA graph, more slowly.",
                RuntimeWarning,
                stacklevel=4,
            )
        if device.type == "cuda":
            step = DeviceStep(
                module,
                preprocess,
                **options,
                n_steps_planned=n_steps,
                capturable=module.capturable and not draws_from_global_streams,
            )
        else:
            step = EagerStep(module, preprocess, **options)
        foreign = None
        if self.augment is not None or draws_from_global_streams:
            foreign = functools.partial(forked_rng, device=device)
        with (
            reduced_precision(module, self.precision),
            limited_threads(n_threads(module, schedule.batch_size, device)),
        ):
            result = train(
                module,
                source,
                step,
                epochs=range(first, first + n_epochs),
                batch_size=schedule.batch_size,
                seed=seed,
                device=device,
                early_stopping=stopping,
                preprocess=preprocess,
                on_epoch=self._after_epoch,
                foreign=foreign,
                checkpoint=checkpoint,
            )
        if result.interrupted:
            warnings.warn(
                f"The fit was interrupted: {type(self).__name__} keeps the "
                f"{len(result.history)} complete epochs of {n_epochs}.",
                ConvergenceWarning,
                stacklevel=4,
            )
        with torch.no_grad():
            module.after_training(prepared(), keep=keep)
        self._check_fitted(module)

        self._seed = seed
        self._structure = {name: _frozen(getattr(self, name)) for name in self._structural_parameters}
        self.module_ = portable_copy(module).to(device)
        self.n_iter_ = first + len(result.history)
        self.batch_size_, self.learning_rate_init_ = schedule.batch_size, schedule.learning_rate
        self.history_ = _joined(self.history_ if resume else {}, result.history, first)
        self._optimizer_state = None if result.restored else step.state()
        if checkpoint is not None and not keep_checkpoint and not result.interrupted:
            checkpoint.remove()

    @staticmethod
    def _source(rows: Rows, device: torch.device) -> HostSource | TensorSource:
        """The rows on the device if they fit, as they came; else in host memory."""
        if device.type != "cpu" and fits_on(device, rows.nbytes):
            return TensorSource(rows.on(device))
        return HostSource(rows, device)

    @contextlib.contextmanager
    def _clear_about_memory(self, device: torch.device) -> Iterator[None]:
        """Say what to change if a device's memory does not suffice for a fit."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"Fitting {type(self).__name__} needs more memory than {device} has free. Use a smaller "
                f"batch_size (got {self.batch_size!r}), a smaller network or fewer pseudo-inputs, or "
                f"device='cpu'. {error}"
            ) from error

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Put every attribute back if the block fails; no fitted object is ever changed in place."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    # parameters that cannot change while training goes on: they decide what the module consists of
    _structural_parameters: tuple[str, ...] = ("n_components", "output_activation", "scaling")

    def _check_resumable(self, network: Any) -> None:
        message = "The '{}' parameter must stay {} to go on training a fitted {}. Got {!r} instead."
        for name, fitted in self._structure.items():
            value = _frozen(getattr(self, name))
            if value != fitted:
                raise ValueError(message.format(name, repr(fitted), type(self).__name__, value))
        if not self.module_.has_shapes_of(network):
            raise ValueError(
                message.format("network", "one of the same weights", type(self).__name__, self.network)
            )
        if self._needs_unit_interval() and self.out_activation_ != "sigmoid":
            raise ValueError(
                f"A {type(self).__name__} fitted with an identity output must not go on training with a cost "
                "for data in [0, 1], such as reconstruction='binary_cross_entropy'. Fit a new one."
            )

    def _resolve_activation(self, X: np.ndarray) -> str:
        if self.output_activation != "auto":
            return self.output_activation
        if self._needs_unit_interval() or _data.in_unit_interval(X):
            return "sigmoid"
        return "identity"

    def _after_epoch(self, module: Any, epoch: int, record: dict[str, float], seconds: float) -> None:
        if self.verbose:
            terms = ", ".join(f"{name} = {value:.6g}" for name, value in record.items())
            print(f"[{type(self).__name__}] Epoch {epoch + 1}, {terms}, {seconds:.2f} s")

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
            Computed in, and of, float32 if X is of it, else float64.
        """
        X = self._validate_rows(X)
        return self._apply(X, lambda module, rows: module.encode(module.to_units(rows)))

    def inverse_transform(self, X):
        """Map codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, from :meth:`transform` or of your own.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Computed in, and of, float32 if the codes are of it, else float64.

        Raises
        ------
        ValueError
            If the codes do not have ``n_components`` columns.
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=[np.float64, np.float32], input_name="X", estimator=self)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X must hold codes with n_components={self._n_features_out} columns to be decoded by "
                f"{type(self).__name__}. Got {Z.shape[1]} columns instead."
            )
        return self._apply(Z, lambda module, z: module.from_units(module.decode(z)))

    def reconstruct(self, X):
        """Encode and decode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            Computed in, and of, float32 if X is of it, else float64.
        """
        return self._apply(self._validate_rows(X), _reconstruct)

    def score_samples(self, X):
        """Minus the squared reconstruction error of each row, summed over features.

        Higher is better; low values mark rows unlike the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,)
        """

        def score(module: AutoencoderModule, rows: Tensor) -> Tensor:
            return -(rows - _reconstruct(module, rows)).square().sum(dim=1)

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
        """
        return float(np.mean(self.score_samples(X)))

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
            If ``n_samples`` is not an integer of at least 1, or the prior is none of the two.

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
        self._configure_sampling(module)
        seed = draw_seed(random_state)
        if prior == "gmm":
            Z = _sample_mixture(as_array(module.codes), int(n_samples), self._seed, seed)
        else:
            generator = make_generator(seed, module.scale.device)
            with torch.no_grad(), arithmetic(module.scale.device):
                Z = as_array(module.sample_prior(int(n_samples), generator))
        # decoded in the model's float32, in the user's units in float64: small differences of large
        # numbers survive
        return self._apply(Z, lambda module, z: module.from_units(module.decode(z).double()))

    def _validate_rows(self, X) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=[np.float64, np.float32, np.uint8])

    def _apply(self, X: np.ndarray, function: Callable[[AutoencoderModule, Tensor], Tensor]) -> np.ndarray:
        """The function of the module and rows on the device, chunk by chunk, in the dtype of X.

        Bytes are computed in float64. A device that lacks the memory for a chunk gets smaller ones.
        """
        dtype = torch.float32 if X.dtype == np.float32 else torch.float64
        module = self._module_for(dtype)
        device = module.scale.device
        multiple = module.row_block()
        size = _CHUNK_ROWS
        out: np.ndarray | None = None
        start = 0
        with torch.no_grad(), arithmetic(device):
            while start < len(X):
                rows = slice(start, min(start + size, len(X)))
                n_rows = rows.stop - start
                try:
                    block = as_tensor(X[rows], device).to(dtype)
                    if n_rows % multiple:
                        padding = block[-1:].expand(-n_rows % multiple, -1)
                        block = torch.cat([block, padding])
                    chunk = as_array(function(module, block))[:n_rows]
                except torch.OutOfMemoryError:
                    if size <= multiple:
                        raise
                    size = max(multiple, size // 2 // multiple * multiple)
                    continue
                if out is None:
                    out = np.empty((len(X), *chunk.shape[1:]), dtype=chunk.dtype)
                out[rows] = chunk
                start = rows.stop
        assert out is not None
        return out

    def _module_for(self, dtype: torch.dtype) -> AutoencoderModule:
        """The module on the device that ``device`` means now, in the dtype."""
        device = resolve_device(self.device)
        module = self.module_
        if module.scale.device != device:
            module.to(device)
        module.eval()
        if dtype == torch.float32:
            return module
        # the copy is good as long as the numbers are the same that it was made of
        tensors = [*module.parameters(), *module.buffers()]
        if any(tensor.is_inference() for tensor in tensors):  # their changes are not counted
            return copy.deepcopy(module).double()
        state = [(id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors]
        made_of, copied = _in_float64.get(module, (None, module))
        if made_of != state:
            copied = copy.deepcopy(module).double()
            _in_float64[module] = state, copied
        return copied

    # ------------------------------------------------------------------
    # Attributes
    # ------------------------------------------------------------------

    @property
    def loss_curve_(self) -> np.ndarray:
        """The training loss of each epoch: ``history_["loss"]``."""
        return self.history_["loss"]

    @property
    def location_(self) -> np.ndarray:
        """What is subtracted from each feature before the networks; zeros unless the scaling is on."""
        return as_array(self.module_.location).copy()

    @property
    def scale_(self) -> float:
        """The one number by which the data are divided before the networks; 1 unless the scaling is on."""
        return float(self.module_.scale)

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
        state.pop("_optimizer_state", None)
        module = state.get("module_")
        if module is not None and module.scale.device.type != "cpu":
            state["module_"] = portable_copy(module)
        return state


def _checked_checkpoint(path: Any, every: Any, resume: bool) -> str | None:
    """The path, if the arguments make sense."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"The 'checkpoint' argument must be a path or None. Got {path!r} instead.")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"The 'checkpoint' argument must be a path in a folder that exists. Got {path!r}.")
    if not isinstance(every, Real) or isinstance(every, bool) or not float(every) >= 0:
        raise ValueError(
            f"The 'checkpoint_seconds' argument must be a number of at least 0. Got {every!r} instead."
        )
    if resume:
        raise ValueError(
            "The 'checkpoint' argument must be None when a fitted estimator with warm_start=True goes on. "
            f"Got {os.fspath(path)!r}."
        )
    return os.fspath(path)


def _filled_in(doc: str, marker: str, text: str) -> str:
    """The text in the marker's place, indented as it is."""
    return re.sub(
        rf"^( *){re.escape(marker)}\n", lambda found: textwrap.indent(text, found.group(1)), doc, flags=re.M
    )


def _sample_mixture(codes: np.ndarray, n_samples: int, fit_seed: int, seed: int) -> np.ndarray:
    """Draws from a GaussianMixture fitted to the codes: (n_samples, k), float32."""
    from sklearn.mixture import GaussianMixture  # here: importing it takes longer than this package

    n_rows, k = codes.shape
    origin, spread = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    spread[spread == 0.0] = 1.0
    standardised = (codes - origin) / spread
    # a full covariance of k components needs a few times as many rows as it has columns
    n_gaussians = max(1, min(10, n_rows // (3 * (k + 1)), len(np.unique(codes, axis=0))))
    mixture = GaussianMixture(n_gaussians, random_state=fit_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation will do
        # scikit-learn wants two rows at least
        mixture.fit(standardised if n_rows > 1 else np.repeat(standardised, 2, axis=0))
    rng = np.random.default_rng(seed)
    chosen = rng.choice(n_gaussians, size=n_samples, p=mixture.weights_)
    Z = rng.normal(size=(n_samples, k))
    for i, (mean, covariance) in enumerate(zip(mixture.means_, mixture.covariances_)):
        Z[chosen == i] = mean + Z[chosen == i] @ np.linalg.cholesky(covariance).T
    return (origin + spread * Z).astype(np.float32)


def _frozen(value: Any) -> Any:
    """A parameter that may be compared, and does not change with the caller's list."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def _reconstruct(module: AutoencoderModule, rows: Tensor) -> Tensor:
    return module.from_units(module.decode(module.encode(module.to_units(rows))))


def _joined(
    history: dict[str, np.ndarray], records: list[dict[str, float]], first: int
) -> dict[str, np.ndarray]:
    """Arrays of one number an epoch; NaN where an epoch did not have the term."""
    joined = {}
    for name in dict.fromkeys([*history, *records[0]]):
        before = history.get(name, np.full(first, np.nan))
        joined[name] = np.append(before, [record.get(name, np.nan) for record in records])
    return joined
