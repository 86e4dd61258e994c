"""An autoencoder of tables: frames in, frames out."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from skswae._constraints import RANDOM_STATE, Number
from skswae._documentation import Documented
from skswae._estimator import BaseAutoencoder
from skswae._random import draw_seed, make_generator, named_seed
from skswae._validation import validate_codes
from skswae.models._swae import SWAETransformer
from skswae.modules._columns import Columns, ColumnsHead
from skswae.outliers import OutlierThresholdMixin
from skswae.tabular._codec import TableCodec
from skswae.tabular._conditional import Condition, draw_codes, draw_rows
from skswae.tabular._imputation import drawn_frames, filled_frame
from skswae.tabular._scores import learn_noise, row_scores
from skswae.tabular._table import Exact, FittedTable, Table
from skswae.tabular._targets import Targets


class TableAutoencoder(
    OutlierThresholdMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Documented, BaseEstimator
):
    r"""A learned, invertible, generative code of tables: of mixed types, with missing cells, in and out.

    Columns of numbers, booleans, categories, texts, times and durations become rows of numbers, an
    autoencoder of this package is fitted to these, and what comes back is a table again: with the columns,
    their order, types and categories of the one that was fitted.

    Each column has a cost of its own: a squared error (for a model with a likelihood a Gaussian with a scale
    of its own) for numbers, which times and durations are too, and a cross-entropy for categories and
    booleans. Cells without a value cost nothing. The encoder sees the values and which cells have one, and in
    training some more cells are hidden from it, so that it learns to do without them.

    Parameters
    ----------
    estimator : estimator of this package or None, default=None
        The model, which is cloned; None is ``SWAETransformer(16, early_stopping=False)``. Any of the six,
        with their defaults for what concerns rows: ``output_activation``, ``scaling``, ``reconstruction`` or
        ``likelihood``, ``input_components`` and ``augment``; ``metric`` of SWAE and ``sampling`` of MIM; and
        without ``warm_start``, for each fit begins anew. ``likelihood_scale`` is per column.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        Columns that are categories beside those whose type says so (categorical, text, object): their names,
        their numbers, or a mask, as in :class:`~sklearn.ensemble.HistGradientBoostingClassifier`.
    number_map : {"quantile", "standard"}, default="quantile"
        How numbers become numbers of the networks. "quantile" maps a column by its ranks to a standard
        normal: heavy tails, several modes and many equal values do no harm, and samples have the column's
        distribution. "standard" subtracts the mean and divides by the standard deviation. Both are
        increasing; what comes back is within the range of the training rows.
    handle_unknown : {"error", "other"}, default="error"
        What :meth:`transform` and others do with a category that the fit has not seen: an error, or a row
        that has none of those known.
    min_frequency : int or float, default=1
        Categories of fewer rows, or of a smaller share, count as one level, which comes back as the most
        frequent of them. 1 keeps all.
    column_weights : dict of column to float or None, default=None
        Weights of columns' costs, at least 0, by name, or by number for an array; 1 for others. With a
        likelihood anything but 1 makes the bound another one.
    hidden_share : float in [0, 0.25], default=0.2
        Mean share of the cells that are hidden from the encoder in training: none in half of the rows, and
        up to 4 times as many in the others. 0 is for tables without holes, where only codes and samples
        matter: imputation and scores ask the networks to do without cells.
    contamination : float in (0, 0.5] or "auto", default=0.1
        Share of the training rows that :meth:`predict` is to call outliers; "auto" as in
        :class:`~skswae.outliers.OutlierDetector`.
    random_state : int, RandomState or Generator instance, or None, default=None
        For the fit. None leaves it to the ``random_state`` of ``estimator``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model. Its ``history_`` has the losses; its own methods take rows of numbers, which are
        no table.
    classes_ : ndarray of shape (n_classes,)
        The classes of y, if there were any.
    offset_ : float
        Rows whose score is lower are outliers.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, of a frame.

    See Also
    --------
    SWAETransformer : Rows of numbers.
    skswae.outliers.OutlierDetector : Outliers by a model of rows of numbers.

    Notes
    -----
    A category costs as much as a number for each of its levels: with one of 1,000 levels a fit of ten other
    columns takes three to four times as long (``examples/benchmarks/tables.py``), and 4 KB of memory a row.

    References
    ----------
    .. [1] A. Nazabal et al. Handling Incomplete Heterogeneous Data using VAEs. Pattern Recognition, 2020.
       Heads by column type, and costs of observed cells alone.
    .. [2] D. Rezende, S. Mohamed, D. Wierstra. Stochastic Backpropagation and Approximate Inference in Deep
       Generative Models. ICML 2014. Repeated draws of missing cells.
    .. [3] J. Besag. Statistical Analysis of Non-Lattice Data. The Statistician 24, 1975. Scores of rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_wine
    >>> from skswae import SWAETransformer
    >>> from skswae.tabular import TableAutoencoder
    >>> wine = load_wine(as_frame=True)
    >>> df = wine.data.assign(kind=pd.Categorical.from_codes(wine.target, ["a", "b", "c"]))
    >>> model = TableAutoencoder(SWAETransformer(4, max_iter=5), random_state=0).fit(df)
    >>> Z = model.transform(df)
    >>> Z.shape, model.inverse_transform(Z).shape, model.sample(3, random_state=0)["kind"].dtype
    ((178, 4), (178, 14), CategoricalDtype(categories=['a', 'b', 'c'], ordered=False, categories_dtype=str))
    >>> model.sample(3, conditions={"kind": "a", "alcohol": (13, 14)}, random_state=0)["kind"].tolist()
    ['a', 'a', 'a']
    """

    _parameter_constraints: dict = {
        **OutlierThresholdMixin._parameter_constraints,
        "estimator": [HasMethods(["fit", "transform", "inverse_transform", "sample"]), None],
        "column_weights": [dict, None],
        "hidden_share": [Number(Real, 0, 0.25, closed="both")],
        "random_state": RANDOM_STATE,
    }

    estimator_: Any
    codec_: TableCodec
    table_: Table
    targets_: Targets | None

    def __init__(
        self,
        estimator=None,
        *,
        categorical_features="from_dtype",
        number_map="quantile",
        handle_unknown="error",
        min_frequency=1,
        column_weights=None,
        hidden_share=0.2,
        contamination=0.1,
        random_state=None,
    ):
        self.estimator = estimator
        self.categorical_features = categorical_features
        self.number_map = number_map
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency
        self.column_weights = column_weights
        self.hidden_share = hidden_share
        self.contamination = contamination
        self.random_state = random_state

    # ------------------------------------------------------------------
    # Fitting
    # ------------------------------------------------------------------

    def fit(self, X, y=None, *, X_val=None, checkpoint=None, checkpoint_seconds=60.0, keep_checkpoint=False):
        """Learn the model from a table.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array of numbers, of shape (n_samples, n_features)
            At least 2 rows. Columns may be of numbers, booleans, categories, texts, times and durations, and
            have missing cells: NaN, None, NaT, NA, null. In arrays all columns are numbers.
        y : array-like of shape (n_samples,) or None, default=None
            Classes, which the model learns to tell from the code: :meth:`predict_target`, and rows of a class
            by :meth:`sample`. -1 and missing ones are rows without a class. Other numbers than whole ones are
            left out with a warning, so that a regressor may follow in a pipeline.
        X_val : like X, or None, default=None
            Rows that early stopping watches, as in :meth:`SWAETransformer.fit`.
        checkpoint : path-like or None, default=None
            A file from which a fit of the same table goes on that was killed, as in
            :meth:`SWAETransformer.fit`.
        checkpoint_seconds : float, default=60.0
            Seconds between two writings of it, at least 0.
        keep_checkpoint : bool, default=False
            Whether to leave the file there at the end of the fit.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            If a parameter, or a column, which it names, cannot be used. The estimator is as it was then.
        """
        self._validate_params()
        inner = self._checked_estimator()
        codec = TableCodec(
            categorical_features=self.categorical_features,
            number_map=self.number_map,
            handle_unknown=self.handle_unknown,
            min_frequency=self.min_frequency,
        ).fit(X)
        cells = codec.encode(X)
        targets, target = (None, None) if y is None else Targets.of(y, len(cells))
        table = Table.of(
            codec.columns,
            np.column_stack([cells, np.full(len(cells), np.nan) if target is None else target]),
            target_shares=None if targets is None else targets.shares,
            weights=self._weights(codec),
            hidden_share=float(self.hidden_share),
        )
        inner._columns = table.columns.plain()
        inner.fit(
            table.training_rows(cells, target),
            X_val=None if X_val is None else table.training_rows(codec.encode(X_val)),
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            keep_checkpoint=keep_checkpoint,
        )
        fitted = FittedTable(table, inner, codec)
        learn_noise(fitted, cells)
        self._set_threshold(row_scores(fitted, cells))
        self.estimator_, self.codec_, self.table_, self.targets_ = inner, codec, table, targets
        self._set_names()
        return self

    def _set_names(self) -> None:
        """Set what the parts know of the columns and classes as attributes."""
        for name in _NAMES:
            self.__dict__.pop(name, None)
        names = [column.name for column in self.codec_.columns]
        self.n_features_in_ = len(names)
        if all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        if self.targets_ is not None:
            self.classes_ = self.targets_.classes

    def _checked_estimator(self) -> Any:
        """Return an unfitted copy of the estimator, with a seed of its own."""
        given = self.estimator
        inner = SWAETransformer(16, early_stopping=False) if given is None else clone(given)
        if not isinstance(inner, BaseAutoencoder):
            raise ValueError(
                "The 'estimator' parameter must be an autoencoder of this package. Got "
                f"{type(inner).__name__}."
            )
        for name, allowed in _OF_NUMBERS.items():
            value = getattr(inner, name, allowed[0])
            if not any(value is a or value == a for a in allowed):
                raise ValueError(
                    f"The {name!r} parameter of the estimator in TableAutoencoder must be "
                    f"{' or '.join(map(repr, allowed))}. Got {value!r}."
                )
        if self.random_state is not None:
            inner.set_params(random_state=draw_seed(self.random_state))
        return inner

    def _weights(self, codec: TableCodec) -> np.ndarray:
        """Return the weight of each column, and of the target: (n_features + 1,)."""
        found = np.ones(len(codec.columns) + 1)
        places = {column.name: j for j, column in enumerate(codec.columns)}
        for name, weight in (self.column_weights or {}).items():
            if name not in places:
                raise ValueError(
                    f"The 'column_weights' parameter must name columns of X. Got {name!r}, which is none."
                )
            if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 <= float(weight) < np.inf:
                raise ValueError(
                    f"The 'column_weights' parameter must hold numbers of at least 0. Got {weight!r} for "
                    f"{name!r}."
                )
            found[places[name]] = float(weight)
        return found

    # ------------------------------------------------------------------
    # Codes, and back
    # ------------------------------------------------------------------

    def transform(self, X):
        """Map rows to their codes; rows with missing cells too.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            With the columns of the fit, in any order if they have names.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components), float64
            A frame after ``set_output``.

        Raises
        ------
        ValueError
            If a column is missing, new, or of another type, or a category is unknown.
        """
        return self._fitted.codes(self._cells(X))

    def inverse_transform(self, X):
        """Map codes to a table: the number that the decoder gives, and the likeliest level.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : DataFrame or array of shape (n_samples, n_features)
            As the table of the fit.
        """
        fitted = self._fitted
        return self._framed(fitted.decoded(self._codes(X)), _index_of(X))

    def reconstruct(self, X):
        """Encode and decode rows: ``inverse_transform(transform(X))``, with the index of X.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`.

        Returns
        -------
        X_reconstructed : DataFrame or array of shape (n_samples, n_features)
        """
        fitted = self._fitted
        return self._framed(fitted.decoded(fitted.codes(self._cells(X))), _index_of(X))

    # ------------------------------------------------------------------
    # New rows
    # ------------------------------------------------------------------

    def sample(
        self,
        n_samples=1,
        *,
        conditions=None,
        y=None,
        noise=True,
        missing_values=False,
        prior="model",
        random_state=None,
    ):
        """Draw new rows: a code from a prior, and cells given it.

        With conditions, codes are drawn by how well they fit: by importance sampling, of a prior that is a
        mixture of pseudo-inputs with these reweighted first. The conditioned cells are drawn within the
        condition, so that all rows meet it.

        Parameters
        ----------
        n_samples : int, default=1
            How many, at least 1.
        conditions : dict of column to condition, or None, default=None
            Of a category its level, or a list of some; of a boolean True or False; of a number or a time one
            value, or a range (low, high), both included, None for an open end. A whole number that float64
            cannot hold, in a column that spans more than 2**53 of them, is refused: give a range.
        y : object or None, default=None
            A class of the y of the fit.
        noise : bool, default=True
            Whether cells are drawn given the code: levels with their probabilities, numbers with the noise
            that the code leaves. False takes means and the likeliest levels.
        missing_values : bool, default=False
            Whether cells may be missing, as often as the model has learned. Not those of conditions.
        prior : {"model", "gmm"}, default="model"
            As in :meth:`SWAETransformer.sample`.
        random_state : int, RandomState or Generator instance, or None, default=None
            None draws afresh in each call; pass an int to repeat.

        Returns
        -------
        X : DataFrame or array of shape (n_samples, n_features)
            As the table of the fit.

        Raises
        ------
        ValueError
            If an argument cannot be used; if a condition is impossible; or if the model finds hardly a code
            that fits, because rows that meet the conditions are rarer than the training rows can tell.
        """
        fitted = self._fitted
        _check_sampling(n_samples, prior, noise=noise, missing_values=missing_values)
        if missing_values and not noise:
            raise ValueError("The 'missing_values' argument must be False with noise=False. Got True.")
        seed = draw_seed(random_state)
        given = self._conditions(conditions, y)
        if not given:
            Z = fitted.estimator._sample_codes(int(n_samples), prior, seed)
            return self._framed(fitted.decoded(Z, seed if noise else None, missing=missing_values))
        met = [condition for condition, _ in given]
        Z = draw_codes(fitted, int(n_samples), met, prior, seed, self.table_.n_rows)
        generator = make_generator(named_seed(seed, "cells"), fitted.estimator._module_on_device().device)
        drawn_with = generator if noise else None

        def block(Z: np.ndarray) -> np.ndarray:
            x = fitted.of_codes(Z, lambda head, output: draw_rows(head, output, met, drawn_with))
            return fitted.cells(x, missing=missing_values)

        values = fitted.values(fitted.in_blocks(Z, block))
        for column, low, high in (exact for _, exact in given if exact is not None):
            values[:, column] = np.clip(values[:, column], low, high)
        return self.codec_.frame(values)

    def _conditions(self, conditions: Any, y: Any) -> list[tuple[Condition, Exact | None]]:
        """Return each condition, and of numbers the column and the range in its own unit."""
        if conditions is not None and not isinstance(conditions, Mapping):
            raise ValueError(
                "The 'conditions' argument must be a dictionary of columns, or None. Got "
                f"{type(conditions).__name__}."
            )
        found = [
            self.table_.condition(self.codec_, name, value) for name, value in (conditions or {}).items()
        ]
        if y is not None:
            if self.targets_ is None:
                raise ValueError("The 'y' argument must be None unless fit has had classes. Got a class.")
            found.append((self.table_.target_condition(self.targets_.level(y)), None))
        return [(c, exact) for c, exact in found if c is not None]

    def impute(self, X, *, n_draws=None, random_state=None):
        """Fill in the missing cells of a table.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`; the rows of the fit, or new ones.
        n_draws : int or None, default=None
            None fills in what is expected: the mean of numbers, in their own unit, and the likeliest level.
            A number asks for as many tables whose missing cells are drawn, those of a row together: for
            multiple imputation, where what is uncertain has to stay so.
        random_state : int, RandomState or Generator instance, or None, default=None
            For draws.

        Returns
        -------
        X_imputed : DataFrame or array, or list of them
            X with every missing cell filled in, and nothing else changed.
        """
        fitted = self._fitted
        if n_draws is None:
            return filled_frame(fitted, X)
        if not isinstance(n_draws, Integral) or isinstance(n_draws, bool) or n_draws < 1:
            raise ValueError(
                f"The 'n_draws' argument must be an integer of at least 1, or None. Got {n_draws!r}."
            )
        return drawn_frames(fitted, X, int(n_draws), draw_seed(random_state))

    # ------------------------------------------------------------------
    # Scores and classes
    # ------------------------------------------------------------------

    def score_samples(self, X):
        """Log-probability of each row's cells: low for unusual rows.

        The log-pseudolikelihood, in nats: the sum of the log-probabilities of cells, each given a code that
        has not seen it. A fifth of the columns is hidden at a time. The score is low for cells that do not
        fit the others. Numbers count in the units of the networks, with the noise that was left in the
        training rows, so that columns are comparable. Of a row with missing cells it is the mean over the
        others, times the number of columns.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
        """
        return row_scores(self._fitted, self._cells(X))

    def score(self, X, y=None):
        """Mean of :meth:`score_samples`: for a search.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`.
        y : Ignored
            Present for the API's consistency.

        Returns
        -------
        score : float
        """
        return float(np.mean(self.score_samples(X)))

    def predict_target_proba(self, X):
        """Return the probabilities of the classes of y, from the codes of rows.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            If the fit has had no y.
        """
        fitted = self._fitted
        if self.targets_ is None:
            raise ValueError(f"{type(self).__name__} must be fitted with classes y to predict them.")
        (column,) = fitted.table.columns.targets
        start = int(fitted.table.columns.starts()[column])
        width = len(self.targets_.classes)

        def classes(head: ColumnsHead, x: Any, output: Any) -> Any:
            return head.probabilities(output)[:, start : start + width]

        def block(cells: np.ndarray) -> np.ndarray:
            return fitted.of_rows(self.table_.rows(cells), classes)

        found = fitted.in_blocks(self._cells(X), block)
        return found / found.sum(axis=1, keepdims=True)

    def predict_target(self, X):
        """Return the likeliest class of y of each row, from its code.

        :meth:`predict` tells outliers from inliers.

        Parameters
        ----------
        X : DataFrame or array of shape (n_samples, n_features)
            As for :meth:`transform`.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        probabilities = self.predict_target_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    # ------------------------------------------------------------------

    @property
    def _fitted(self) -> FittedTable:
        check_is_fitted(self)
        return FittedTable(self.table_, self.estimator_, self.codec_)

    def _cells(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.codec_.encode(X)

    def _codes(self, X: Any) -> np.ndarray:
        """Return codes as an array, checked: (n, k)."""
        codes = validate_codes(self.estimator_, X)
        if codes.n_features != self._n_features_out:
            raise ValueError(
                f"X must hold codes with n_components={self._n_features_out} columns to be decoded by "
                f"{type(self).__name__}. Got {codes.n_features} columns instead."
            )
        return np.asarray(codes.read(slice(0, len(codes))))

    def _framed(self, cells: np.ndarray, index: Any = None) -> Any:
        return self.codec_.frame(self._fitted.values(cells), index)

    @property
    def _n_features_out(self) -> int:
        return self.estimator_._n_features_out

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64"]
        tags.input_tags.allow_nan = True
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    # ------------------------------------------------------------------
    # Pickles and model files: plain values and arrays beside the estimator
    # ------------------------------------------------------------------

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "estimator_" in state:
            state["codec_"], state["table_"] = self.codec_.state(), self.table_.n_rows
            state["targets_"] = None if self.targets_ is None else self.targets_.state()
            for name in _NAMES:  # which these know
                state.pop(name, None)
        return state

    def __setstate__(self, state):
        state = dict(state)
        if "estimator_" in state:
            state["codec_"] = codec = TableCodec.from_state(state["codec_"])
            targets = None if state["targets_"] is None else Targets.from_state(state["targets_"])
            columns = Columns.of(state["estimator_"]._columns)
            n_classes = 0 if targets is None else len(targets.classes)
            state["targets_"] = targets
            state["table_"] = Table.again(codec.columns, columns, n_classes, state["table_"])
        super().__setstate__(state)
        if "estimator_" in state:
            self._set_names()


_NAMES = ("n_features_in_", "feature_names_in_", "classes_")

# parameters of the estimator that concern rows of numbers, or its own next fit, and what they must be
_OF_NUMBERS: dict[str, tuple[Any, ...]] = {
    "output_activation": ("auto", "identity"),
    "scaling": ("auto",),
    "input_components": ("auto", None),
    "augment": (None,),
    "reconstruction": ("squared_error",),
    "likelihood": ("auto", "gaussian"),
    "warm_start": (False,),
    "metric": ("euclidean",),
    "sampling": ("encoder",),
}


def _index_of(X: Any) -> Any:
    """Return the index of a pandas frame, None of others."""
    return X.index if hasattr(X, "iloc") else None


def _check_sampling(n_samples: Any, prior: Any, **flags: Any) -> None:
    if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
        raise ValueError(
            f"The 'n_samples' argument must be an integer of at least 1. Got {n_samples!r} instead."
        )
    if not isinstance(prior, str) or prior not in ("model", "gmm"):
        raise ValueError(f"The 'prior' argument must be 'model' or 'gmm'. Got {prior!r} instead.")
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"The {name!r} argument must be True or False. Got {value!r} instead.")
