"""Measures of codes, reconstructions and samples as functions of arrays, and scorers for a search.

Copies of training rows have the best Frechet distance, precision and recall that there are; only
:func:`nearest_row_ratio` and :func:`duplicate_rate` expose them.

All take whatever scikit-learn takes for rows, and compute in float64. Numbers above 1e150, whose squares may
not be finite, are refused.

Those of tables take frames of pandas or polars, too, with categories, booleans, times and missing cells:
:func:`column_similarity`, :func:`pair_similarity`, :func:`train_on_synthetic`, :func:`detection_auc`,
:func:`nearest_record_ratio` and :func:`exact_copy_rate`. The last two expose copies there.
"""

from sklearn.manifold import trustworthiness

from skswae.metrics._categories import category_distance
from skswae.metrics._copies import duplicate_rate, nearest_row_ratio, precision_recall
from skswae.metrics._features import ClassifierFeatures, InceptionFeatures
from skswae.metrics._frechet import frechet_distance, frechet_inception_distance
from skswae.metrics._neighbors import knn_accuracy, neighborhood_agreement, rank_agreement
from skswae.metrics._reconstruction import denoising_error, reconstruction_error
from skswae.metrics._scorers import (
    frechet_scorer,
    knn_scorer,
    make_frechet_scorer,
    make_knn_scorer,
    make_trustworthiness_scorer,
    trustworthiness_scorer,
)
from skswae.metrics._tables import (
    column_similarity,
    exact_copy_rate,
    nearest_record_ratio,
    pair_similarity,
)
from skswae.metrics._tables_models import detection_auc, train_on_synthetic

__all__ = [
    "ClassifierFeatures",
    "InceptionFeatures",
    "category_distance",
    "column_similarity",
    "denoising_error",
    "detection_auc",
    "duplicate_rate",
    "exact_copy_rate",
    "frechet_distance",
    "frechet_inception_distance",
    "frechet_scorer",
    "knn_accuracy",
    "knn_scorer",
    "make_frechet_scorer",
    "make_knn_scorer",
    "make_trustworthiness_scorer",
    "nearest_record_ratio",
    "nearest_row_ratio",
    "neighborhood_agreement",
    "pair_similarity",
    "precision_recall",
    "rank_agreement",
    "reconstruction_error",
    "train_on_synthetic",
    "trustworthiness",
    "trustworthiness_scorer",
]

for _name in set(__all__) - {"trustworthiness"}:  # which is scikit-learn's
    globals()[_name].__module__ = __name__
del _name
