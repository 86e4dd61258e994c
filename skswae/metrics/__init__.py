"""Measures of codes, reconstructions and samples as functions of arrays, and scorers for a search.

Copies of training rows have the best Frechet distance, precision and recall that there are; only
:func:`nearest_row_ratio` and :func:`duplicate_rate` expose them.

All take whatever scikit-learn takes for rows, and compute in float64. Numbers above 1e150, whose squares may
not be finite, are refused.
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

__all__ = [
    "ClassifierFeatures",
    "InceptionFeatures",
    "category_distance",
    "denoising_error",
    "duplicate_rate",
    "frechet_distance",
    "frechet_inception_distance",
    "frechet_scorer",
    "knn_accuracy",
    "knn_scorer",
    "make_frechet_scorer",
    "make_knn_scorer",
    "make_trustworthiness_scorer",
    "nearest_row_ratio",
    "neighborhood_agreement",
    "precision_recall",
    "rank_agreement",
    "reconstruction_error",
    "trustworthiness",
    "trustworthiness_scorer",
]

for _name in set(__all__) - {"trustworthiness"}:  # which is scikit-learn's
    globals()[_name].__module__ = __name__
del _name
