"""Measures of synthetic tables by classifiers and regressors that are fitted to them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.utils._param_validation import HasMethods, validate_params

from skswae._constraints import RANDOM_STATE, Number
from skswae._device import own_settings
from skswae.metrics._checks import make_rng
from skswae.metrics._tables_columns import Column, dense_matrices, histogram_matrices, read_tables


@validate_params(
    {"estimator": [HasMethods(["fit", "score"]), None], "random_state": RANDOM_STATE},
    prefer_skip_nested_validation=True,
)
@own_settings()
def train_on_synthetic(
    synthetic, test, target, estimator=None, *, categorical_features="from_dtype", random_state=None
) -> float:
    """Fit a model to synthetic rows, and score it on real ones, after [1]_.

    Parameters
    ----------
    synthetic, test : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Rows drawn from a model, and real rows that it was not fitted to. The columns must be the same.
    target : str or int
        Name of the column to predict; for an array, its position. Rows where it is missing are left out.
    estimator : object or None, default=None
        A classifier for a target of categories or booleans, a regressor for one of numbers. None:
        scikit-learn's ``HistGradientBoostingClassifier`` or ``HistGradientBoostingRegressor``, which see
        categories and missing cells as they are, with leaves of a 20th of the rows, between 2 and 20. Another
        one, which is cloned, gets numbers without NaN:
        numbers standardised by the synthetic rows, 0 where missing with a column that says so, and
        categories one-hot. Of a column's levels the 254 most frequent count, and all others as one.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        As of :func:`column_similarity`. A target of numbers that are classes belongs here.
    random_state : int, RandomState or Generator instance, or None, default=None
        Seed of the default estimator, which draws rows to validate on if there are more than 10,000.

    Returns
    -------
    score : float
        The estimator's ``score`` on ``test``: accuracy, or R^2. A class that the synthetic rows have lost is
        never predicted; if they have one alone, that is predicted for all rows. Compare with the
        score after training on the real training rows, as many as the model saw.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, the two do not have the same columns of the same kinds, ``target`` is none
        of them, or one table has it nowhere.

    References
    ----------
    .. [1] C. Esteban, S. L. Hyland, G. Ratsch. Real-Valued (Medical) Time Series Generation with Recurrent
       Conditional GANs. 2017. arXiv:1706.02633. Section 4.1.2.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skswae.metrics import train_on_synthetic
    >>> synthetic = pd.DataFrame({"size": [1, 2, 8, 9], "kind": ["small", "small", "large", "large"]})
    >>> test = pd.DataFrame({"size": [1, 9, 9, 5], "kind": ["small", "large", "large", "huge"]})
    >>> train_on_synthetic(synthetic, test, "kind", DecisionTreeClassifier(random_state=0))
    0.75
    """
    columns = read_tables(categorical_features, test=test, synthetic=synthetic)
    names = [column.name for column in columns]
    if isinstance(target, bool) or target not in names or len(names) < 2:
        raise ValueError(
            f"The 'target' argument must be one of two or more columns, {names}. Got {target!r}."
        )
    goal = columns.pop(names.index(target))
    there = [~missing for missing in goal.missing()]
    for name, rows in zip(("test", "synthetic"), there):
        if not rows.any():
            raise ValueError(
                f"Column {target!r}, the target, must have values. Got missing ones alone in {name!r}."
            )
    columns = [Column(c.name, tuple(v[t] for v, t in zip(c.values, there)), c.labels) for c in columns]
    y_test, y = (v[t] for v, t in zip(goal.values, there))
    Boosting = HistGradientBoostingRegressor if goal.is_number else HistGradientBoostingClassifier
    matrices, model = _prepared(columns, Boosting, estimator, random_state, reference=1)
    if not goal.is_number and len(np.unique(y)) == 1:
        model = DummyClassifier()
    return float(model.fit(matrices[1], y).score(matrices[0], y_test))


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict_proba"]), HasMethods(["fit", "decision_function"]), None],
        "cv": [Number(Integral, 2, None, closed="left")],
        "random_state": RANDOM_STATE,
    },
    prefer_skip_nested_validation=True,
)
@own_settings()
def detection_auc(
    real, synthetic, estimator=None, *, cv=3, categorical_features="from_dtype", random_state=None
) -> float:
    """Compute how well a classifier tells synthetic rows from real ones [1]_, as an area under the ROC curve.

    Parameters
    ----------
    real, synthetic : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Real rows, best such that the model was not fitted to, and rows drawn from it. The columns must be the
        same. Take as many of the one as of the other.
    estimator : object or None, default=None
        A classifier. None: scikit-learn's ``HistGradientBoostingClassifier``. What another one gets is
        written at :func:`train_on_synthetic`; ``LogisticRegression()`` looks at the means of columns
        alone.
    cv : int, default=3
        Number of folds, of rows in random order.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        As of :func:`column_similarity`.
    random_state : int, RandomState or Generator instance, or None, default=None
        Seed of the folds and of the default estimator. Pass an int for the same result in each call.

    Returns
    -------
    auc : float
        Mean over the folds: 0.5 if the rows cannot be told apart, 1 if every one can. Copies of real rows
        bring it below 0.5, as a row in one fold then has its copy, of the other label, in another. A good
        classifier finds the smallest things, such as a number that is a whole one in real rows alone: near 1
        does not mean that samples are of no use.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, has fewer than ``cv`` rows, or the two do not have the same columns of the
        same kinds.

    References
    ----------
    .. [1] D. Lopez-Paz, M. Oquab. Revisiting Classifier Two-Sample Tests. ICLR 2017. arXiv:1610.06545.

    Examples
    --------
    >>> import numpy as np
    >>> from skswae.metrics import detection_auc
    >>> rng = np.random.default_rng(0)
    >>> real, synthetic = rng.normal(0, 1, (100, 2)), rng.normal(9, 1, (100, 2))
    >>> detection_auc(real, synthetic, random_state=0)
    1.0
    """
    columns = read_tables(categorical_features, real=real, synthetic=synthetic)
    lengths = [len(v) for v in columns[0].values]
    if min(lengths) < cv:
        raise ValueError(
            f"The 'real' and 'synthetic' arguments must have at least cv={cv} rows. Got {lengths[0]} and "
            f"{lengths[1]}."
        )
    seed = int(make_rng(random_state).integers(2**31))
    matrices, model = _prepared(columns, HistGradientBoostingClassifier, estimator, seed, reference=0)
    folds = StratifiedKFold(cv, shuffle=True, random_state=seed)
    X, y = np.concatenate(matrices), np.repeat([0, 1], lengths)
    return float(cross_val_score(model, X, y, cv=folds, scoring="roc_auc", error_score="raise").mean())


def _prepared(
    columns: list[Column], Boosting: Any, estimator: Any, random_state: Any, reference: int
) -> tuple[list[np.ndarray], Any]:
    """Return the tables' rows as the estimator takes them, and a clone of it, or the default."""
    if estimator is not None:
        return dense_matrices(columns, reference), clone(estimator)
    matrices, categories = histogram_matrices(columns)
    seed = int(make_rng(random_state).integers(2**31))
    leaf = int(np.clip(len(matrices[reference]) // 20, 2, 20))  # 20 of few rows would be no tree at all
    return matrices, Boosting(categorical_features=categories, min_samples_leaf=leaf, random_state=seed)
