"""Outliers by any model that scores rows, in scikit-learn's convention: 1 for inliers, -1 for outliers."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OutlierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from skswae._constraints import Number
from skswae._documentation import Documented

__all__ = ["OutlierDetector"]


class OutlierThresholdMixin(OutlierMixin):
    """Mixin of an estimator that has ``score_samples``: the threshold below which rows are outliers.

    A subclass has the parameter ``contamination``, takes the constraint of it from here, and calls
    ``_set_threshold`` with the scores of the training rows at the end of its fit.

    Attributes
    ----------
    offset_ : float
        The threshold of the scores.
    """

    _parameter_constraints: dict = {
        "contamination": [StrOptions({"auto"}), Number(Real, 0, 0.5, closed="right")],
    }

    contamination: float | str
    offset_: float

    def score_samples(self, X: Any) -> Any:
        """Return the scores of rows, low for outliers: (n,). A subclass has one of its own."""
        raise NotImplementedError(f"{type(self).__name__} needs a method 'score_samples'.")

    def _set_threshold(self, scores: Any) -> None:
        """Find ``offset_`` from the scores of the training rows."""
        scores = np.asarray(scores, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # infinite scores are refused below
            if self.contamination == "auto":
                quarter, half = np.percentile(scores, [25, 50])
                offset = quarter - 3 * (half - quarter)
            else:
                offset = np.percentile(scores, 100 * float(self.contamination))
        if not np.isfinite(offset):
            raise ValueError(
                f"The scores of the training rows must be finite at the threshold of {type(self).__name__}, "
                f"contamination={self.contamination!r}. Got {offset}."
            )
        self.offset_ = float(offset)

    def decision_function(self, X):
        """Subtract the threshold from the scores of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as :meth:`score_samples` takes them.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``: negative for outliers.
        """
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell outliers from inliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as :meth:`score_samples` takes them.

        Returns
        -------
        labels : ndarray of int of shape (n_samples,)
            -1 for outliers, whose score is below ``offset_``, and 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)


class OutlierDetector(OutlierThresholdMixin, MetaEstimatorMixin, Documented, BaseEstimator):
    """Outliers by the ``score_samples`` of any estimator: this package's, a pipeline, PCA, KernelDensity.

    The autoencoders' score is minus the squared error of a row's reconstruction: outliers are rows that the
    model cannot rebuild. Scale columns first, for else those of large numbers decide alone.

    Parameters
    ----------
    estimator : object
        With ``fit`` and ``score_samples``, whose scores are lower for rows that are less normal. It is cloned
        before it is fitted.
    contamination : float in (0, 0.5] or "auto", default=0.1
        Share of the training rows that are outliers: the threshold is that quantile of their scores. "auto"
        is a rule for scores of any unit and skewness [1]_: the first quartile less 3 times the distance from
        it to the median. It marks 0.35 % of the rows if the scores are normal, and about 3 % if minus the
        scores are exponential.

    Attributes
    ----------
    estimator_ : object
        The fitted clone.
    offset_ : float
        The threshold: rows of lower scores are outliers.
    n_features_in_ : int
        Number of features, if ``estimator_`` tells it.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, if ``estimator_`` tells them.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers without a model of the rows.

    Notes
    -----
    The threshold comes from rows that the model was fitted to. A model that has learned them by heart scores
    new rows lower, and marks more than the contamination of them: choose ``estimator`` with fewer
    components, or ``offset_`` by scores of held-out rows.

    References
    ----------
    .. [1] A. C. Kimber. Exploratory Data Analysis for Possibly Censored Data from Skewed Distributions.
       Applied Statistics 39, 1990.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skswae import AETransformer
    >>> from skswae.outliers import OutlierDetector
    >>> X = load_wine().data
    >>> model = make_pipeline(StandardScaler(), AETransformer(3, max_iter=5, random_state=0))
    >>> detector = OutlierDetector(model, contamination=0.05).fit(X)
    >>> int((detector.predict(X) == -1).sum())
    9
    """

    _parameter_constraints: dict = {
        **OutlierThresholdMixin._parameter_constraints,
        "estimator": [HasMethods(["fit", "score_samples"])],
    }

    def __init__(self, estimator, *, contamination=0.1):
        self.estimator = estimator
        self.contamination = contamination

    def fit(self, X, y=None, **fit_params):
        """Fit the estimator, and find the threshold from the scores of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, as the estimator takes them.
        y : array-like of shape (n_samples,) or None, default=None
            Passed on to the estimator's ``fit``.
        **fit_params : dict
            Further arguments of the estimator's ``fit``; with scikit-learn's metadata routing, those that it
            requests.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter, the data or the estimator's scores cannot be used.
        """
        self._validate_params()
        if get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        estimator = clone(self.estimator)
        estimator.fit(X, y, **fit_params)
        scores = _checked(estimator, X)
        self._set_threshold(scores)
        self.estimator_ = estimator
        return self

    def score_samples(self, X):
        """Scores of rows by the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the estimator takes them.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The lower, the less normal.
        """
        check_is_fitted(self)
        return _checked(self.estimator_, X)

    @property
    def n_features_in_(self):
        """Number of features seen in ``fit``."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the features seen in ``fit``."""
        check_is_fitted(self)
        return self.estimator_.feature_names_in_

    def get_metadata_routing(self):
        """Tell scikit-learn's metadata routing that ``fit`` calls the estimator's.

        Returns
        -------
        routing : MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags, tags.non_deterministic = inner.input_tags, inner.non_deterministic
        return tags


def _checked(estimator: Any, X: Any) -> np.ndarray:
    """Return the estimator's scores, or raise a ValueError if they are not one number for each row."""
    scores = np.asarray(estimator.score_samples(X))
    if scores.ndim != 1 or scores.dtype.kind not in "fiu" or np.isnan(scores).any():
        raise ValueError(
            "The 'estimator' parameter must be a model whose score_samples gives one number for each row. "
            f"Got {type(estimator).__name__}, which gives {scores.dtype} of shape {scores.shape}"
            f"{' with NaN' * (scores.dtype.kind == 'f' and bool(np.isnan(scores).any()))}."
        )
    return scores


for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
