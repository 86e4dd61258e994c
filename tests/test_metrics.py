"""The measures: identities, closed forms, brute force on tiny arrays, scikit-learn and scipy beside them."""

import inspect
import pickle
import re
import sys
import time
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats
import sklearn.manifold
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_score
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.neighbors._base import KNeighborsMixin
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skswae import AETransformer, SWAETransformer, metrics
from skswae.metrics import (
    ClassifierFeatures,
    InceptionFeatures,
    denoising_error,
    duplicate_rate,
    frechet_distance,
    frechet_inception_distance,
    frechet_scorer,
    knn_accuracy,
    knn_scorer,
    make_frechet_scorer,
    make_knn_scorer,
    make_trustworthiness_scorer,
    nearest_row_ratio,
    neighborhood_agreement,
    precision_recall,
    rank_agreement,
    reconstruction_error,
    trustworthiness_scorer,
)

from .estimators import cheap

# ---------------------------------------------------------------------------
# The public face
# ---------------------------------------------------------------------------


def test_public_names():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert metrics.trustworthiness is sklearn.manifold.trustworthiness
    own = {
        name
        for name, value in vars(metrics).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == metrics.__name__
    }
    assert own | {"trustworthiness"} == set(metrics.__all__)


@pytest.mark.parametrize("name", [n for n in metrics.__all__ if inspect.isroutine(getattr(metrics, n))])
def test_functions_are_documented(name):
    function = getattr(metrics, name)
    text = inspect.getdoc(function)
    if function.__module__ == metrics.__name__:
        parameters = list(inspect.signature(function).parameters)
        section = text.split("Parameters\n----------\n")[1].split("\n\nReturns\n")[0]
        assert re.findall(r"^(\w+) : ", section, flags=re.M) == parameters
        assert "\nRaises\n------\n" in text
        assert "\nExamples\n--------\n>>> " in text


# ---------------------------------------------------------------------------
# Reconstruction and denoising
# ---------------------------------------------------------------------------


def test_reconstruction_error_by_hand():
    assert reconstruction_error([[0, 0], [1, 2]], [[3, 4], [1, 1]]) == (25 + 1) / 2
    X = np.full((2, 3), 255, dtype=np.uint8)
    assert reconstruction_error(X, X + np.uint8(1)) == 3 * 255**2  # bytes do not wrap around


def test_reconstruction_error_is_minus_the_score(digits):
    X, _ = digits
    model = cheap(SWAETransformer).fit(X)
    assert reconstruction_error(X, model.reconstruct(X)) == pytest.approx(-model.score(X), rel=1e-12)


def test_reconstruction_error_of_other_shapes():
    with pytest.raises(
        ValueError, match=r"'X_reconstructed' argument must have the shape of X, \(2, 3\). Got"
    ):
        reconstruction_error(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shape of X"):
        reconstruction_error(np.ones((2, 3)), np.ones((1, 3)))


class Identity:
    """A model that gives back what it gets, and keeps it."""

    def __init__(self):
        self.seen = []

    def reconstruct(self, X):
        self.seen.append(np.asarray(X))
        return X


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_denoising_error_of_the_identity_is_the_noise(noise):
    X = np.random.default_rng(0).random((400, 50))
    error = denoising_error(Identity(), X, noise=noise, n_repeats=2, random_state=0)
    # a mean of 800 chi-squared numbers of 50 degrees, scaled
    assert error == pytest.approx(50 * noise**2, abs=5 * noise**2 * np.sqrt(2 * 50 / 800))


def test_denoising_error_compares_with_clean_rows():
    X = np.random.default_rng(0).random((40, 5))
    model = Identity()
    error = denoising_error(model, X, n_repeats=3, random_state=0)
    assert len(model.seen) == 3
    assert error == pytest.approx(np.mean([reconstruction_error(X, noisy) for noisy in model.seen]))
    assert not np.array_equal(model.seen[0], model.seen[1])


def test_denoising_error_without_noise_is_the_reconstruction_error(digits):
    X, _ = digits
    model = cheap(SWAETransformer).fit(X)
    clean = reconstruction_error(X, model.reconstruct(X))
    assert denoising_error(model, X, noise=0) == pytest.approx(clean, rel=1e-12)
    assert denoising_error(model, X, noise=0.3, random_state=0) > 1.02 * clean


def test_denoising_error_is_repeatable(iris):
    model = PCA(2).fit(iris)
    errors = [denoising_error(model, iris, random_state=seed) for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]
    assert denoising_error(model, iris) != denoising_error(model, iris)


def test_denoising_error_of_a_pipeline(iris):
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(iris)
    noisy = Identity()
    denoising_error(noisy, iris, random_state=0)
    rebuilt = pipe.inverse_transform(pipe.transform(noisy.seen[0]))
    assert denoising_error(pipe, iris, random_state=0) == pytest.approx(reconstruction_error(iris, rebuilt))


def test_denoising_error_clips(rng):
    model = Identity()
    X = rng.random((50, 4))
    denoising_error(model, X, noise=1.0, clip=(0.25, 0.75), random_state=0)
    assert model.seen[0].min() == 0.25
    assert model.seen[0].max() == 0.75
    denoising_error(model, X, noise=1.0, random_state=0)
    assert model.seen[1].min() < 0


def test_denoising_error_keeps_float32_and_column_names(iris):
    model = Identity()
    denoising_error(model, iris.astype(np.float32))
    denoising_error(model, iris)
    denoising_error(model, (10 * iris).astype(np.uint8))
    assert [X.dtype for X in model.seen] == [np.float32, np.float64, np.float64]
    frame = pd.DataFrame(iris, columns=list("abcd"))
    fitted = PCA(2).fit(frame)  # warns of rows without names, and warnings are errors
    assert denoising_error(fitted, frame, random_state=0) == pytest.approx(
        denoising_error(PCA(2).fit(iris), iris, random_state=0)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -0.1}, "'noise' argument must be a number of at least 0. Got -0.1"),
        ({"noise": "much"}, "'noise' argument must be a number"),
        ({"noise": np.nan}, "'noise' argument must be a number"),
        ({"n_repeats": 0}, "'n_repeats' argument must be an integer of at least 1. Got 0"),
        ({"clip": 1}, r"'clip' argument must be None or \(low, high\)"),
        ({"clip": (1, 0)}, r"'clip' argument must be None or \(low, high\), low < high. Got \(1, 0\)"),
    ],
)
def test_denoising_error_with_bad_arguments(arguments, message, iris):
    with pytest.raises(ValueError, match=message):
        denoising_error(PCA(2).fit(iris), iris, **arguments)


def test_denoising_error_of_what_cannot_reconstruct(iris):
    y = np.arange(len(iris)) % 2
    pipe = make_pipeline(PCA(2), KNeighborsClassifier()).fit(iris, y)
    with pytest.raises(ValueError, match=r"Got Pipeline that ends with KNeighborsClassifier instead"):
        denoising_error(pipe, iris)
    with pytest.raises(ValueError, match=r"must have reconstruct, or transform and inverse_transform"):
        denoising_error(make_pipeline(Normalizer(), PCA(2)).fit(iris), iris)


# ---------------------------------------------------------------------------
# k-NN accuracy
# ---------------------------------------------------------------------------

# so far off, distances have few digits left
KINDS = ["few columns", "many columns", "equal distances", "equal rows", "at 1e6", "at 1e8", "float32"]


def draw_codes(kind, rng):
    """Codes and classes that overlap, so that votes are tied as well."""
    n, d = 260, 40 if kind in ("many columns", "at 1e8") else 3
    y = rng.integers(4, size=n)
    Z = 0.6 * y[:, None] + rng.normal(size=(n, d))
    if kind == "equal distances":
        Z = Z.round()
    if kind == "equal rows":
        Z = Z[rng.integers(20, size=n)]
    if kind.startswith("at "):
        Z = float(kind[3:]) + Z
    if kind == "float32":
        Z = Z.astype(np.float32)
    return Z[:200], y[:200], Z[200:], y[200:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ks", [(3, 5, 10), (1, 2, 4), (10, 3), (150,), (4, 150), (7, 200)])
def test_knn_accuracy_is_scikit_learn_s(kind, ks, rng):
    Z_train, y_train, Z_test, y_test = draw_codes(kind, rng)
    expected = [KNeighborsClassifier(k).fit(Z_train, y_train).score(Z_test.astype(float), y_test) for k in ks]
    found = knn_accuracy(Z_train, y_train, Z_test, y_test, n_neighbors=ks)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)
    one = knn_accuracy(Z_train, y_train, Z_test, y_test, n_neighbors=ks[0])
    assert type(one) is float
    assert one == expected[0]


def test_distances_that_rounding_decides(rng):
    """Few neighbours are searched exactly, half of the rows by products; one row a call: each counts."""
    Z_train, y_train, Z_test, y_test = draw_codes("at 1e7", rng)
    for z, label in zip(Z_test[:, None], y_test[:, None]):
        expected = [KNeighborsClassifier(k).fit(Z_train, y_train).score(z, label) for k in (1, 4, 150)]
        found = knn_accuracy(Z_train, y_train, z, label, n_neighbors=(1, 4, 150))
        np.testing.assert_array_equal(found, expected)


def test_the_data_have_tied_votes(rng):
    """Or the test above does not see how they are broken."""
    Z_train, y_train, Z_test, _ = draw_codes("few columns", rng)
    votes = np.sort(KNeighborsClassifier(4).fit(Z_train, y_train).predict_proba(Z_test), axis=1)
    assert np.mean(votes[:, -1] == votes[:, -2]) > 0.1


def test_tied_votes_go_to_the_lowest_class():
    arguments = [[0.0], [1.0], [5.0]], ["b", "a", "c"], [[0.4]]
    np.testing.assert_array_equal(knn_accuracy(*arguments, ["a"], n_neighbors=(1, 2, 3)), [0, 1, 1])
    np.testing.assert_array_equal(knn_accuracy(*arguments, ["b"], n_neighbors=(1, 2, 3)), [1, 0, 0])


def test_knn_accuracy_searches_once_where_nothing_is_tied(rng, monkeypatch):
    calls = []
    search = KNeighborsMixin.kneighbors
    monkeypatch.setattr(
        KNeighborsMixin, "kneighbors", lambda self, *a, **k: calls.append(1) or search(self, *a, **k)
    )
    knn_accuracy(*draw_codes("few columns", rng), n_neighbors=(3, 5, 10))
    assert len(calls) == 1
    knn_accuracy(*draw_codes("equal rows", rng), n_neighbors=(3, 5, 10))
    assert len(calls) == 1 + 4


@pytest.mark.parametrize("k", [0, -1, 1.5, "5", None, True, 201, [3, 0], [], [[3]], [3, 201]])
def test_knn_accuracy_with_bad_numbers_of_neighbors(k, rng):
    with pytest.raises(ValueError, match=r"'n_neighbors' argument must be"):
        knn_accuracy(*draw_codes("few columns", rng), n_neighbors=k)


def test_knn_accuracy_with_rows_that_do_not_fit(rng):
    Z_train, y_train, Z_test, y_test = draw_codes("few columns", rng)
    with pytest.raises(
        ValueError, match=r"'y_train' argument must hold one class a row, 200 in all. Got 199"
    ):
        knn_accuracy(Z_train, y_train[1:], Z_test, y_test)
    with pytest.raises(ValueError, match=r"'y_test' argument must hold one class a row, 60 in all. Got 59"):
        knn_accuracy(Z_train, y_train, Z_test, y_test[1:])
    with pytest.raises(ValueError, match=r"'Z_test' argument must have as many features .* 3. Got 2"):
        knn_accuracy(Z_train, y_train, Z_test[:, 1:], y_test)
    with pytest.raises(ValueError, match=r"Unknown label type: continuous"):
        knn_accuracy(Z_train, y_train + 0.5, Z_test, y_test)


# ---------------------------------------------------------------------------
# Local structure
# ---------------------------------------------------------------------------


def agreement_by_loops(X, Z, k, targets):
    shares = []
    for t in targets:
        near = [
            {j for _, j in sorted((np.linalg.norm(A[j] - A[t]), j) for j in range(len(A)) if j != t)[:k]}
            for A in (X, Z)
        ]
        shares.append(len(near[0] & near[1]) / k)
    return np.mean(shares)


@pytest.mark.parametrize("k", [1, 3, 10, 29])
@pytest.mark.parametrize("targets", [None, [0], [3, 7, 7, 29]])
def test_neighborhood_agreement_by_loops(k, targets, rng):
    X = rng.normal(size=(30, 20))
    Z = X[:, :2] + rng.normal(size=(30, 2))
    expected = agreement_by_loops(X, Z, k, range(30) if targets is None else targets)
    found = neighborhood_agreement(X, Z, n_neighbors=k, targets=targets)
    assert found == pytest.approx(expected, abs=1e-12)
    assert k == 29 or 0 < found < 1 or targets is not None


def test_neighborhood_agreement_of_the_same(rng):
    X = rng.normal(size=(100, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert neighborhood_agreement(X, X) == 1
    assert neighborhood_agreement(X, 3 * X @ rotation + 7) == 1
    many = rng.normal(size=(100, 40))
    assert neighborhood_agreement(many, many + 1e7) > 0.99
    assert neighborhood_agreement(X, rng.normal(size=(100, 5))) == pytest.approx(10 / 99, abs=0.05)


def test_a_row_is_not_its_own_neighbor():
    """Also where more rows are equal to it than are searched for."""
    X = np.zeros((40, 2))
    assert 0 <= neighborhood_agreement(X, X, n_neighbors=3) <= 1
    for target in (0, 20, 39):
        found = metrics._neighbors(X, 3, np.array([target]))
        assert found.shape == (1, 3)
        assert len({target, *found[0]}) == 4


def spearman_by_loops(X, Z, targets):
    found = []
    for t in targets:
        of_X, of_Z = (np.delete(np.linalg.norm(A - A[t], axis=1), t) for A in (X, Z))
        found.append(scipy.stats.spearmanr(of_X, of_Z).statistic)
    return np.mean(found)


@pytest.mark.parametrize("targets", [None, [0], [3, 7, 7, 29]])
@pytest.mark.parametrize("whole", [False, True], ids=["numbers", "equal distances"])
def test_rank_agreement_is_scipy_s(targets, whole, rng):
    X = rng.normal(size=(30, 4))
    Z = X[:, :2] + rng.normal(size=(30, 2))
    if whole:
        X, Z = X.round(), Z.round()
    expected = spearman_by_loops(X, Z, range(30) if targets is None else targets)
    assert rank_agreement(X, Z, targets=targets) == pytest.approx(expected, abs=1e-12)


def test_rank_agreement_in_pieces(rng, monkeypatch):
    X, Z = rng.normal(size=(2, 30, 4))
    expected = rank_agreement(X, Z)
    batches = []
    monkeypatch.setattr(
        metrics, "gen_batches", lambda n, size: batches.append(size) or (slice(i, i + 1) for i in range(n))
    )
    assert rank_agreement(X, Z) == pytest.approx(expected, abs=1e-12)
    assert neighborhood_agreement(X, Z) > 0
    assert len(batches) == 2


def test_rank_agreement_at_its_ends(rng):
    X = rng.normal(size=(50, 3))
    assert rank_agreement(X, 2 * X + 1) == 1
    line = np.arange(5.0)[:, None]
    assert rank_agreement(line, np.array([4.0, 3, 2, 1, 0])[:, None]) == 1  # mirrored
    # farther in X is nearer in Z
    assert rank_agreement(line, np.array([0, 9.0, 8, 7, 6])[:, None], targets=[0]) == -1
    assert abs(rank_agreement(X, rng.normal(size=(50, 3)))) < 0.1


def test_codes_that_fell_together_have_no_order(rng):
    X = rng.normal(size=(50, 3))
    assert rank_agreement(X, np.ones((50, 2))) == 0
    assert rank_agreement(X, 1e6 * np.full((50, 2), np.pi)) == 0
    Z = np.ones((50, 1))
    Z[0] = 2.0  # all are equally far from row 0 alone
    assert rank_agreement(X, Z, targets=[0]) == 0
    assert rank_agreement(X, Z, targets=[1]) != 0


@pytest.mark.parametrize("function", [neighborhood_agreement, rank_agreement])
def test_pairs_that_do_not_fit(function, rng):
    X = rng.normal(size=(12, 3))
    with pytest.raises(ValueError, match=r"'Z' argument must have a code for each row of X, 12. Got 11"):
        function(X, X[1:])
    with pytest.raises(ValueError, match=r"'X' argument must have at least"):
        function(X[:1], X[:1])
    for targets in ([], 3, [[0]], [0.5], [True] * 12, ["a"]):
        with pytest.raises(ValueError, match=r"'targets' argument must be None or at least one index"):
            function(X, X, targets=targets)
    for targets in ([12], [-1, 3]):
        with pytest.raises(ValueError, match=r"'targets' argument must hold indices of rows, 0 to 11. Got"):
            function(X, X, targets=targets)


def test_more_neighbors_than_there_are(rng):
    X = rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match=r"at most the number of rows to choose from, 9. Got 10"):
        neighborhood_agreement(X, X)


# ---------------------------------------------------------------------------
# Frechet distance
# ---------------------------------------------------------------------------


def by_sqrtm(X, Y):
    """The formula, in float64."""
    C, D = np.cov(X.T), np.cov(Y.T)
    difference = X.mean(axis=0) - Y.mean(axis=0)
    return difference @ difference + np.trace(C + D - 2 * scipy.linalg.sqrtm(C @ D).real)


def with_moments(mean, covariance, n, rng):
    """Rows that have this mean and covariance exactly, up to rounding."""
    d = len(mean)
    Z = rng.normal(size=(n, d))
    Z -= Z.mean(axis=0)
    Z = Z @ np.linalg.inv(np.linalg.cholesky(np.cov(Z.T).reshape(d, d))).T
    return mean + Z @ np.linalg.cholesky(covariance).T


@pytest.mark.parametrize(("n", "m", "d"), [(60, 40, 2), (500, 300, 20), (101, 1000, 100)])
def test_frechet_distance_by_sqrtm(n, m, d, rng):
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    Y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d))
    expected = by_sqrtm(X, Y)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(Y, X) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rotated", [False, True], ids=["diagonal", "commuting"])
def test_frechet_distance_in_closed_form(rotated, rng):
    a, b = np.array([1.0, 4.0, 9.0]), np.array([0.25, 5.0, 1.0])
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0] if rotated else np.eye(3)
    X = with_moments(np.zeros(3), Q * a @ Q.T, 50, rng)
    Y = with_moments(np.ones(3), Q * b @ Q.T, 40, rng)
    expected = 3 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_one_feature(rng):
    X, Y = rng.normal(size=(30, 1)), 3 * rng.normal(size=(20, 1))
    expected = (X.mean() - Y.mean()) ** 2 + (X.std(ddof=1) - Y.std(ddof=1)) ** 2
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(50, 4), (4, 50), (2, 3)])
def test_frechet_distance_of_the_same(n, d, rng):
    X = 100 * rng.normal(size=(n, d))
    assert 0 <= frechet_distance(X, X) < 1e-20
    assert frechet_distance(X, rng.permutation(X)) < 1e-20
    assert frechet_distance(X, X + 0.5) == pytest.approx(0.25 * d, rel=1e-9)  # a shift, and nothing else


@pytest.mark.parametrize(("n", "m"), [(5, 7), (7, 5), (5, 200), (200, 5)])
def test_frechet_distance_without_full_rank(n, m, rng):
    """Fewer rows than features: by the sum of singular values, and by the formula beside a little noise."""
    d = 30
    X, Y = rng.normal(size=(n, d)), 2 * rng.normal(size=(m, d)) + 1
    A, B = ((A - A.mean(axis=0)) / np.sqrt(len(A) - 1) for A in (X, Y))
    difference = X.mean(axis=0) - Y.mean(axis=0)
    nuclear = np.linalg.svd(A @ B.T, compute_uv=False).sum()
    expected = difference @ difference + (A**2).sum() + (B**2).sum() - 2 * nuclear
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-11)
    # nothing but noise of 1e-6 in further directions, which makes the formula's covariances regular
    noisy_X, noisy_Y = (np.vstack([A, -A, 1e-6 * np.eye(d), -1e-6 * np.eye(d)]) for A in (X, Y))
    assert frechet_distance(noisy_X, noisy_Y) == pytest.approx(by_sqrtm(noisy_X, noisy_Y), rel=1e-4)


def test_frechet_distance_of_subspaces_that_do_not_meet():
    """Each varies along one line: at a right angle, then at another angle."""
    X, Y = np.zeros((2, 4, 6))
    X[:2, 0] = 1, -1  # variance 2/3
    Y[2:, 5] = 3, -3  # variance 6
    assert frechet_distance(X, Y) == pytest.approx(2 / 3 + 6, rel=1e-12)
    Y[2:, 0] = 2, -2  # variance 8/3 along X's line: Y's is at an angle of cosine 2 / sqrt(13) to it
    sigma = np.sqrt(2 / 3)
    expected = sigma**2 + 8 / 3 + 6 - 2 * sigma * np.sqrt(8 / 3 + 6) * (2 / np.sqrt(13))
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_frechet_distance_far_from_the_origin(offset, rng):
    X, Y = rng.normal(size=(300, 5)), 0.1 + 1.1 * rng.normal(size=(200, 5))
    # offset rows are rounded to 1e-10
    assert frechet_distance(offset + X, offset + Y) == pytest.approx(frechet_distance(X, Y), rel=1e-8)
    many = offset + rng.normal(size=(3000, 2))
    assert frechet_distance(many, rng.permutation(many)) < 1e-20


@pytest.mark.parametrize("factor", [1e-5, 3.0, 1e5])
def test_frechet_distance_goes_with_the_square_of_the_unit(factor, rng):
    X, Y = rng.normal(size=(40, 60)), 1 + rng.normal(size=(30, 60))
    expected = factor**2 * frechet_distance(X, Y)
    assert frechet_distance(factor * X, factor * Y) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_sees_small_differences(rng):
    """The formula as it stands would lose them among traces of 1e6."""
    X = 1e3 * rng.normal(size=(50, 4))
    Y = X.mean(axis=0) + (1 + 1e-7) * (X - X.mean(axis=0))
    expected = 1e-14 * np.trace(np.cov(X.T))
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_many_features_is_quick(rng):
    X, Y = rng.normal(size=(50, 500)), rng.normal(size=(2000, 500))
    start = time.process_time()
    assert frechet_distance(X, Y[:50]) > 0
    of_few = time.process_time() - start
    assert of_few < 0.5  # a product of 50 x 50, not of 500 x 500
    assert isinstance(frechet_distance(X, Y), float)


def test_frechet_distance_of_other_numbers(digits):
    X, _ = digits
    whole = (16 * X).astype(np.uint8)
    expected = frechet_distance(16 * X[:150], 16 * X[150:])
    assert frechet_distance(whole[:150], whole[150:]) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(whole[:150].tolist(), pd.DataFrame(whole[150:])) == pytest.approx(expected)
    assert frechet_distance(16 * X[:150].astype(np.float32), 16 * X[150:]) == pytest.approx(expected)


def test_frechet_distance_of_features(digits):
    X, _ = digits
    pca = PCA(5).fit(X)
    expected = frechet_distance(pca.transform(X[:100]), pca.transform(X[100:]))
    assert frechet_distance(X[:100], X[100:], features=pca.transform) == expected
    # rows of other widths than each other are for the features to refuse
    assert frechet_distance(X[:, :9], X[:, :4], features=lambda rows: rows[:, :4]) < 1e-20


def test_frechet_distance_with_bad_arguments(rng):
    X = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match=r"'X' argument must have at least 2 rows. Got 1"):
        frechet_distance(X[:1], X)
    with pytest.raises(ValueError, match=r"'Y' argument must have at least 2 rows. Got 0"):
        frechet_distance(X, X[:0])
    with pytest.raises(ValueError, match=r"'Y' argument must have as many features .* 3. Got 2"):
        frechet_distance(X, X[:, :2])
    with pytest.raises(ValueError, match=r"'X' argument must be 2D, .* Got 1 dimensions"):
        frechet_distance(X[0], X)
    for bad in (np.nan, np.inf):
        Y = X.copy()
        Y[1, 1] = bad
        with pytest.raises(ValueError, match=r"Input Y contains"):
            frechet_distance(X, Y)
    with pytest.raises(ValueError, match=r"'features' argument must be None or callable. Got 'x'"):
        frechet_distance(X, X, features="x")
    with pytest.raises(
        ValueError, match=r"'features' argument must give one row for each of the 5 rows of X"
    ):
        frechet_distance(X, X, features=lambda rows: rows[1:])
    with pytest.raises(ValueError, match=r"'features\(X\)' argument must be 2D"):
        frechet_distance(X, X, features=lambda rows: rows.sum(axis=1))
    with pytest.raises(ValueError, match=r"as many features for Y as for X. Got 2 and 3"):
        frechet_distance(X, X[:4], features=lambda rows: rows[:, : len(rows) - 2])


# ---------------------------------------------------------------------------
# Inception's features, with a network in its place
# ---------------------------------------------------------------------------


class FakeExtractor(torch.nn.Module):
    """Takes and gives what torch-fidelity's FeatureExtractorInceptionV3 does."""

    made = 0
    error = None

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__()
        assert isinstance(name, str)
        assert features_list == ["2048"]
        type(self).made += 1
        self.path, self.batches = feature_extractor_weights_path, []
        torch.rand(3)  # as layers do that draw their weights
        if self.error is not None:
            raise self.error

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.dim() == 4
        assert x.shape[1] == 3
        self.batches.append(x.clone())
        features = torch.zeros(len(x), 2048)
        features[:, : x[0].numel()] = x.flatten(1).float()
        return (features,)


@pytest.fixture
def fidelity(monkeypatch):
    """The class of the stand-in, fresh for each test."""
    Extractor = type("Extractor", (FakeExtractor,), {})
    module = types.ModuleType("torch_fidelity")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    return Extractor


def test_grey_images_are_three_equal_channels_of_bytes(fidelity, rng):
    X = rng.integers(256, size=(10, 4 * 6)) / 255
    features = InceptionFeatures((1, 4, 6), batch_size=4, device="cpu")
    F = features(X)
    assert F.shape == (10, 2048)
    assert F.dtype == np.float32
    batches = features._network.batches
    assert [len(x) for x in batches] == [4, 4, 2]
    images = torch.cat(batches).numpy()
    expected = np.rint(255 * X).astype(np.uint8).reshape(10, 4, 6)
    for channel in range(3):
        np.testing.assert_array_equal(images[:, channel], expected)
    np.testing.assert_array_equal(F[:, :24], expected.reshape(10, 24))  # in the order of the rows


def test_images_with_colours_are_channel_first(fidelity, rng):
    X = rng.random((3, 3 * 2 * 2))
    features = InceptionFeatures((3, 2, 2), device="cpu")
    features(X)
    images = features._network.batches[0].numpy()
    np.testing.assert_array_equal(images, np.rint(255 * X).astype(np.uint8).reshape(3, 3, 2, 2))


def test_values_are_rounded_to_bytes(fidelity):
    features = InceptionFeatures((1, 1, 4), device="cpu")
    features([[0, 1, 0.4999 / 255, 254.5001 / 255]])
    np.testing.assert_array_equal(features._network.batches[0][0, 0, 0], [0, 255, 0, 255])
    # x = (v + 0.5) / 256 gives back v
    F = InceptionFeatures((1, 16, 16), device="cpu")((np.arange(256)[None] + 0.5) / 256)
    np.testing.assert_array_equal(F[0, :256], np.arange(256))


def test_the_network_is_loaded_once_and_late(fidelity):
    state = torch.get_rng_state()
    features = InceptionFeatures((1, 2, 2), weights_path="somewhere.pth", device="cpu")
    assert fidelity.made == 0
    features(np.zeros((2, 4)))
    features(np.zeros((2, 4)))
    assert fidelity.made == 1
    assert features._network.path == "somewhere.pth"
    assert torch.equal(torch.get_rng_state(), state)
    copied = pickle.loads(pickle.dumps(features))
    assert copied._network is None
    assert copied.weights_path == "somewhere.pth"
    assert copied(np.zeros((2, 4))).shape == (2, 2048)


@pytest.mark.parametrize("low_high", [(-0.1, 1.0), (0.0, 1.1), (0.0, 255.0)])
def test_pixels_outside_the_range(low_high, fidelity):
    X = np.array([[*low_high, 0.5, 0.5]])
    with pytest.raises(ValueError, match=r"must be pixels in \[0, 1\]; np.clip\(X, 0, 1\) .* Got"):
        InceptionFeatures((1, 2, 2))(X)


def test_images_of_bad_shapes(fidelity):
    for shape in (28, (28, 28), (2, 28, 28), (28, 28, 1), (1, 28, 0), (1, 2.5, 28), None):
        with pytest.raises(ValueError, match=r"'image_shape' argument must"):
            InceptionFeatures(shape)
    with pytest.raises(ValueError, match=r"must have 4 features, for images of shape \(1, 2, 2\). Got 5"):
        InceptionFeatures((1, 2, 2))(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"'batch_size' argument must be an integer of at least 1. Got 0"):
        InceptionFeatures((1, 2, 2), batch_size=0)


def test_without_torch_fidelity(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    features = InceptionFeatures((1, 2, 2))
    with pytest.raises(ImportError, match=r'torch-fidelity and torchvision: pip install "skswae\[fid\]"'):
        features(np.zeros((2, 4)))


@pytest.mark.parametrize("error", [OSError("no network"), RuntimeError("missing keys"), EOFError("cut off")])
def test_without_weights(error, fidelity):
    fidelity.error = error
    with pytest.raises(OSError, match=rf"could not be loaded from 'x.pth': {error}. Download .*Classifier"):
        InceptionFeatures((1, 2, 2), weights_path="x.pth")(np.zeros((2, 4)))
    with pytest.raises(OSError, match=r"could not be loaded: .*weights_path, or put it into the folder"):
        frechet_inception_distance(np.zeros((2000, 4)), np.zeros((9, 4)), (1, 2, 2), mode="paper")


def test_frechet_inception_distance_is_that_of_the_features(fidelity, rng):
    X, Y = rng.random((5, 4)), rng.random((6, 4))
    with pytest.warns(UserWarning, match=r"of 5 generated and 6 real images is too large"):
        found = frechet_inception_distance(X, Y, (1, 2, 2), device="cpu")
    pixels = [np.tile(np.rint(255 * A), 3) for A in (X, Y)]
    assert found == pytest.approx(frechet_distance(*pixels), rel=1e-6)


@pytest.fixture
def compared(monkeypatch):
    """What is compared, and no comparison: it takes seconds for this many features."""
    calls = []
    monkeypatch.setattr(metrics, "frechet_distance", lambda *a, **k: calls.append((*a, *k.values())) or 1.5)
    return calls


@pytest.mark.parametrize(("n", "m", "warned"), [(2049, 2100, False), (2048, 2100, True), (2100, 2048, True)])
def test_frechet_inception_distance_of_all_rows(n, m, warned, fidelity, compared, rng):
    X, Y = rng.random((n, 4)), rng.random((m, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = frechet_inception_distance(X, Y, (1, 2, 2), weights_path="w", batch_size=7, device="cpu")
    assert found == 1.5
    ((rows, others, features),) = compared
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(others, Y)
    assert vars(features) == vars(InceptionFeatures((1, 2, 2), weights_path="w", batch_size=7, device="cpu"))
    assert [w.category for w in caught] == warned * [UserWarning]
    assert all(f"of {n} generated and {m} real images" in str(w.message) for w in caught)
    assert all(w.filename == __file__ for w in caught)


@pytest.mark.parametrize(("n", "m"), [(2100, 5100), (2000, 200)])
def test_frechet_inception_distance_as_in_the_paper(n, m, fidelity, compared, rng):
    X, Y = rng.random((n, 4)), rng.random((m, 4))
    assert frechet_inception_distance(X, Y, (1, 2, 2), mode="paper") == 1.5
    ((rows, others, _),) = compared
    np.testing.assert_array_equal(rows, X[:2000])
    np.testing.assert_array_equal(others, Y[:5000])


def test_frechet_inception_distance_with_bad_arguments(fidelity):
    rows = np.zeros((1999, 4))
    for mode in ("best", None, 1):
        with pytest.raises(ValueError, match=r"'mode' argument must be 'standard' or 'paper'. Got"):
            frechet_inception_distance(rows, rows, (1, 2, 2), mode=mode)
    with pytest.raises(ValueError, match=r"'X_generated' argument must have at least 2000 rows. Got 1999"):
        frechet_inception_distance(rows, rows, (1, 2, 2), mode="paper")
    with pytest.raises(ValueError, match=r"'X_real' argument must have as many features .* 4. Got 3"):
        frechet_inception_distance(rows, rows[:, 1:], (1, 2, 2))
    assert fidelity.made == 0


# ---------------------------------------------------------------------------
# A classifier's features
# ---------------------------------------------------------------------------


@parametrize_with_checks([ClassifierFeatures(hidden_layer_sizes=(4, 3), max_iter=3)])
def test_classifier_features_pass_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def classifier_features(digits):
    X, y = digits
    return ClassifierFeatures((30, 10), max_iter=150).fit(X[:200], y[:200])


def test_classifier_features_lead_to_the_classifier_s_probabilities(classifier_features, digits):
    X, _ = digits
    F = classifier_features.transform(X)
    assert F.shape == (300, 10)
    assert F.min() == 0
    mlp = classifier_features.classifier_
    logits = F @ mlp.coefs_[-1] + mlp.intercepts_[-1]
    np.testing.assert_allclose(scipy.special.softmax(logits, axis=1), mlp.predict_proba(X), atol=1e-12)


def test_classifier_features_of_one_layer(digits):
    X, y = digits
    features = ClassifierFeatures(7, max_iter=2).fit(X, y)
    mlp = features.classifier_
    np.testing.assert_allclose(features(X), np.maximum(X @ mlp.coefs_[0] + mlp.intercepts_[0], 0), atol=1e-12)


def test_classifier_features_know_the_classes(classifier_features, digits):
    X, y = digits
    assert classifier_features.score(X[200:], y[200:]) > 0.7
    assert classifier_features.score(X[:200], y[:200]) == np.mean(
        classifier_features.classifier_.predict(X[:200]) == y[:200]
    )


def test_classifier_features_in_float32(classifier_features, digits):
    X = digits[0]
    F = classifier_features(X.astype(np.float32))
    assert F.dtype == np.float32
    np.testing.assert_allclose(F, classifier_features(X), atol=1e-4)


def test_classifier_features_are_repeatable_and_travel(classifier_features, digits):
    X, y = digits
    expected = classifier_features(X)
    again = clone(classifier_features).fit(X[:200], y[:200])
    np.testing.assert_array_equal(again(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier_features))(X), expected)


def test_classifier_features_are_arrays_for_a_distance(classifier_features, digits):
    X, _ = digits
    framed = pickle.loads(pickle.dumps(classifier_features)).set_output(transform="pandas")
    F = framed.transform(X)
    assert list(F.columns) == [f"classifierfeatures{i}" for i in range(10)]
    assert type(framed(X)) is np.ndarray
    distance = frechet_distance(X[:150], X[150:], features=framed)
    assert distance == frechet_distance(framed(X[:150]), framed(X[150:]))


def test_classifier_features_tell_a_missing_class(classifier_features, digits):
    X, y = digits
    whole, lacking = X[:200], X[:200][y[:200] != 0]
    distances = [frechet_distance(A, X[200:], features=classifier_features) for A in (whole, lacking)]
    assert distances[1] > 1.1 * distances[0]


@pytest.mark.parametrize(("n_rows", "expected"), [(40, 200), (3000, 200), (6000, 100), (10**5, 10)])
def test_classifier_features_see_rows_enough(n_rows, expected, monkeypatch):
    asked = []

    def fit(self, X, y):
        asked.append(self.max_iter)
        self.n_iter_ = 1
        return self

    monkeypatch.setattr(metrics.MLPClassifier, "fit", fit)
    X, y = np.zeros((n_rows, 1)), np.arange(n_rows) % 2
    ClassifierFeatures().fit(X, y)
    ClassifierFeatures(max_iter=7).fit(X, y)
    assert asked == [expected, 7]


@pytest.mark.parametrize("layers", [(), [], 0, (5, 0), "wide", None, (2.5,)])
def test_classifier_features_of_bad_layers(layers, digits):
    with pytest.raises(ValueError, match=r"hidden_layer_sizes"):
        ClassifierFeatures(layers).fit(*digits)


def test_classifier_features_of_bad_data(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"at least 2 classes to be told apart. Got 1 class"):
        ClassifierFeatures().fit(X, np.zeros(len(X), dtype=int))
    with pytest.raises(ValueError, match=r"Unknown label type: continuous"):
        ClassifierFeatures().fit(X, y + 0.5)
    with pytest.raises(NotFittedError):
        ClassifierFeatures()(X)


# ---------------------------------------------------------------------------
# Precision, recall, copies
# ---------------------------------------------------------------------------


def inside_by_loops(points, rows, k):
    """Share of points that some row has no farther than its own k-th neighbour."""
    count = 0
    for p in points:
        for i, r in enumerate(rows):
            radius = sorted(np.linalg.norm(r - q) for j, q in enumerate(rows) if j != i)[k - 1]
            if np.linalg.norm(p - r) <= radius:
                count += 1
                break
    return count / len(points)


@pytest.mark.parametrize("outlier", [False, True])
@pytest.mark.parametrize(("k", "n_features"), [(1, 2), (3, 2), (3, 30), (19, 2)])
def test_precision_recall_by_loops(k, n_features, outlier, rng):
    X = rng.normal(size=(20, n_features))
    Y = 2 / np.sqrt(n_features) + 1.5 * rng.normal(size=(20, n_features))
    if outlier:  # must not widen the balls of the other rows
        X[0] = Y[1] = 1e7
    precision, recall = precision_recall(X, Y, n_neighbors=k)
    assert precision == pytest.approx(inside_by_loops(X, Y, k))
    assert recall == pytest.approx(inside_by_loops(Y, X, k))
    assert k == 19 or precision != recall


def test_precision_recall_at_its_ends(rng):
    X = rng.normal(size=(50, 4))
    assert precision_recall(X, rng.permutation(X)) == (1, 1)
    assert precision_recall(X, X + 100) == (0, 0)
    one_point = np.tile(X[:1], (50, 1))
    assert precision_recall(one_point, X) == (1, 1 / 50)  # its balls are points
    few_points = np.repeat(rng.normal(size=(20, 7)), 5, axis=0)  # distances of 0 come out as 1e-8
    assert precision_recall(few_points, few_points) == (1, 1)
    line = np.arange(10.0)[:, None]
    assert precision_recall(line, line + 0.5, n_neighbors=1) == (1, 1)
    assert precision_recall(line, line + 10.0, n_neighbors=1) == (0.1, 0.1)  # one at the very edge
    shifted = 1e6 + np.linspace(0, 0.9, 10)[:, None]
    assert precision_recall(shifted, shifted + 1e-3, n_neighbors=1) == (1, 1)
    assert precision_recall(shifted, shifted + 1.1, n_neighbors=1) == (0, 0)


def test_precision_recall_of_equal_counts(rng):
    """Sorted samples: the first ones alone would have half of the recall."""
    Y = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 100])
    X = np.concatenate([rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 100])
    _, recall = precision_recall(X, Y, random_state=0)
    assert recall > 0.8
    assert precision_recall(X, Y, random_state=0) == precision_recall(X, Y, random_state=0)
    draws = {precision_recall(X, Y, random_state=seed) for seed in range(5)}
    assert len(draws) > 1
    # which 200 they are follows from the seed alone
    chosen = X[np.random.default_rng(3).permutation(800)[:200]]
    assert precision_recall(X, Y, random_state=3) == precision_recall(chosen, Y)
    states = [np.random.RandomState(0) for _ in range(2)]
    assert precision_recall(X, Y, random_state=states[0]) == precision_recall(X, Y, random_state=states[1])
    assert states[0].rand() == states[1].rand() != np.random.RandomState(0).rand()


def test_precision_recall_with_bad_arguments(rng):
    X = rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match=r"at most the number of rows to choose from, 2. Got 3"):
        precision_recall(X[:3], X)
    with pytest.raises(ValueError, match=r"'n_neighbors' argument must be an integer of at least 1. Got 0"):
        precision_recall(X, X, n_neighbors=0)
    with pytest.raises(ValueError, match=r"'X_real' argument must have as many features .* 3. Got 2"):
        precision_recall(X, X[:, 1:])


def nearest_by_loops(A, train):
    return np.array([min(np.linalg.norm(a - t) for t in train) for a in A])


def test_copies_by_loops(rng):
    train, held_out = rng.normal(size=(30, 3)), rng.normal(size=(200, 3))
    generated = np.concatenate([train[:5] + 1e-3, rng.normal(size=(20, 3))])
    near, usual = nearest_by_loops(generated, train), nearest_by_loops(held_out, train)
    ratio = nearest_row_ratio(generated, train, held_out)
    assert ratio == pytest.approx(np.median(near) / np.median(usual))
    expected = np.mean(near <= np.quantile(usual, 0.01))
    assert 0.2 <= expected < 1
    assert duplicate_rate(generated, train, held_out) == expected


def test_copies_and_further_rows(rng):
    train, held_out, more = rng.normal(size=(3, 1000, 3))
    assert nearest_row_ratio(train[:100], train, held_out) == 0
    assert duplicate_rate(train[:100], train, held_out) == 1
    assert nearest_row_ratio(more, train, held_out) == pytest.approx(1, abs=0.1)
    assert duplicate_rate(more, train, held_out) == pytest.approx(0.01, abs=0.01)
    assert duplicate_rate(held_out, train, held_out) == 0.01
    assert duplicate_rate(train, train, np.concatenate([train[:50], more])) == 1  # some of it copied itself
    some = np.concatenate([train[:30], more[:70]])
    assert nearest_row_ratio(some, train, held_out) > 0.5
    assert duplicate_rate(some, train, held_out) == pytest.approx(0.3, abs=0.05)
    for unit in (1e-3, 1e3):
        scaled = [unit * A for A in (some, train, held_out)]
        assert nearest_row_ratio(*scaled) == pytest.approx(nearest_row_ratio(some, train, held_out))


@pytest.mark.parametrize("n_features", [3, 64])
@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
def test_copies_are_at_no_distance_at_all(n_features, offset, rng):
    train, held_out = offset + rng.normal(size=(2, 500, n_features))
    train[0] = 1e9  # one outlier
    copies = rng.permutation(train)
    assert nearest_row_ratio(copies, train, held_out) == 0
    assert duplicate_rate(copies, train, np.concatenate([copies[:50], held_out])) == 1
    with pytest.raises(ValueError, match=r"'X_held_out' argument must be rows that are not in X_train"):
        nearest_row_ratio(held_out, train, copies)


def test_copies_with_bad_arguments(rng):
    X = rng.normal(size=(10, 3))
    for function in (nearest_row_ratio, duplicate_rate):
        with pytest.raises(
            ValueError, match=r"'X_generated' argument must have as many features .* 3. Got 2"
        ):
            function(X[:, 1:], X, X)
        with pytest.raises(ValueError, match=r"'X_held_out' argument must have at least 1 rows. Got 0"):
            function(X, X, X[:0])
    with pytest.raises(ValueError, match=r"'X_held_out' argument must be rows that are not in X_train"):
        nearest_row_ratio(X + 1, X, X[:5])


# ---------------------------------------------------------------------------
# Scorers
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(digits):
    X, _ = digits
    return cheap(SWAETransformer, n_components=4).fit(X[:200])


@pytest.fixture(scope="module")
def fitted_pipeline(digits):
    X, _ = digits
    steps = [("drop", VarianceThreshold(1e-6)), ("scale", StandardScaler()), ("swae", cheap(SWAETransformer))]
    return Pipeline(steps).fit(X[:200])


@pytest.mark.parametrize("k", [1, 4, 5])
def test_knn_scorer_leaves_one_out(k, fitted, digits):
    X, y = (A[200:] for A in digits)
    names = np.array(list("jihgfedcba"))[y]  # tied votes go to the lowest of these, too
    Z = fitted.transform(X)
    expected = cross_val_score(KNeighborsClassifier(k), Z, names, cv=LeaveOneOut()).mean()
    assert make_knn_scorer(k)(fitted, X, names) == pytest.approx(expected, abs=1e-12)
    assert 0.3 < expected < 1


def test_knn_scorer_of_a_pipeline(fitted_pipeline, digits):
    X, y = (A[200:] for A in digits)
    expected = cross_val_score(KNeighborsClassifier(5), fitted_pipeline.transform(X), y, cv=LeaveOneOut())
    assert knn_scorer(fitted_pipeline, X, y) == pytest.approx(expected.mean(), abs=1e-12)


def test_frechet_scorer_of_a_model(fitted, digits):
    X = digits[0][200:]
    drawn = fitted.sample(100, random_state=0)
    assert frechet_scorer(fitted, X) == -frechet_distance(drawn, X)
    assert frechet_scorer(fitted, X) == frechet_scorer(fitted, X, digits[1][200:]) < 0
    other = -frechet_distance(fitted.sample(100, random_state=1), X)
    assert make_frechet_scorer(random_state=1)(fitted, X) == other != frechet_scorer(fitted, X)
    pca = PCA(3).fit(X)
    of_features = make_frechet_scorer(features=pca.transform)(fitted, X)
    assert of_features == -frechet_distance(pca.transform(drawn), pca.transform(X))


def test_frechet_scorer_brings_samples_into_the_units_of_the_rows(fitted_pipeline, digits):
    X = digits[0][200:]
    scaled = fitted_pipeline["swae"].sample(100, random_state=0)
    drawn = fitted_pipeline["scale"].inverse_transform(scaled)
    drawn = fitted_pipeline["drop"].inverse_transform(drawn)
    assert drawn.shape == X.shape != scaled.shape
    expected = -frechet_distance(drawn, X)
    assert frechet_scorer(fitted_pipeline, X) == pytest.approx(expected, rel=1e-12)
    # a Pipeline in a Pipeline, and one of a single step
    nested = Pipeline([("drop", fitted_pipeline["drop"]), ("rest", fitted_pipeline[1:])])
    assert frechet_scorer(nested, X) == pytest.approx(expected, rel=1e-12)
    alone = fitted_pipeline[2:]
    rows = fitted_pipeline[:2].transform(X)
    assert frechet_scorer(alone, rows) == -frechet_distance(scaled, rows)


def test_frechet_scorer_of_other_models_with_samples(iris):
    density = KernelDensity(bandwidth=0.1).fit(iris)
    assert -0.05 < frechet_scorer(density, iris) < 0


def test_trustworthiness_scorer_is_scikit_learn_s(fitted, fitted_pipeline, digits):
    X = digits[0][200:]
    for model in (fitted, fitted_pipeline):
        expected = sklearn.manifold.trustworthiness(X, model.transform(X), n_neighbors=5)
        assert trustworthiness_scorer(model, X) == expected < 1
    seven = make_trustworthiness_scorer(7, features=lambda rows: rows[:, :20])(fitted, X)
    assert seven == sklearn.manifold.trustworthiness(X[:, :20], fitted.transform(X), n_neighbors=7)


def test_trustworthiness_scorer_draws_from_many_rows(fitted, digits):
    X = digits[0]
    seen = []

    class Watched:
        def transform(self, rows):
            seen.append(rows)
            return fitted.transform(rows)

    scorer = make_trustworthiness_scorer(max_rows=50)
    score = scorer(Watched(), X)
    assert scorer(Watched(), X) == score
    assert len(seen[0]) == 50
    assert len(np.unique(seen[0], axis=0)) == 50
    assert not np.array_equal(seen[0], X[:50])
    assert score == sklearn.manifold.trustworthiness(seen[0], fitted.transform(seen[0]))
    assert make_trustworthiness_scorer(max_rows=50, random_state=1)(Watched(), X) != score


SCORERS = {
    "knn": knn_scorer,
    "frechet": frechet_scorer,
    "trustworthiness": trustworthiness_scorer,
}


def search_over(scorer, X, y, **options):
    grid = {"swae__beta": [0.0, 1.0], "swae__n_components": [1, 6]}
    swae = cheap(SWAETransformer, max_iter=10, learning_rate_init=0.01)
    pipe = Pipeline([("scale", StandardScaler(with_std=False)), ("swae", swae)])
    search = GridSearchCV(pipe, grid, scoring=scorer, cv=2, error_score="raise", **options)
    return search.fit(X, y)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_rank_beta_and_components(name, digits):
    X, y = (A[:240] for A in digits)
    search = search_over(SCORERS[name], X, y, refit=False)
    scores = search.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == 4
    assert search.best_params_["swae__n_components"] == 6
    # by hand, of the first candidate on the first fold
    first = clone(search.estimator).set_params(**search.cv_results_["params"][0])
    folds = GridSearchCV(first, {}, scoring=SCORERS[name], cv=2, refit=False).fit(X, y)
    assert folds.cv_results_["split0_test_score"][0] == search.cv_results_["split0_test_score"][0]


def test_scorers_in_other_processes(digits):
    X, y = (A[:160] for A in digits)
    serial, parallel = (search_over(SCORERS, X, y, refit="frechet", n_jobs=n) for n in (1, 2))
    for name in SCORERS:
        key = f"mean_test_{name}"
        np.testing.assert_allclose(parallel.cv_results_[key], serial.cv_results_[key], rtol=1e-9)
    assert parallel.best_params_ == serial.best_params_


def test_a_search_without_labels(digits):
    X = digits[0][:120]
    search = GridSearchCV(cheap(AETransformer), {"n_components": [1, 4]}, scoring=frechet_scorer, cv=2)
    assert search.fit(X).best_params_ == {"n_components": 4}
    search.set_params(scoring=knn_scorer, error_score="raise")
    with pytest.raises(ValueError, match=r"knn_scorer needs y, the class of each row: search.fit\(X, y\)"):
        search.fit(X)


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scorers_travel(scorer, fitted, digits):
    X, y = (A[200:] for A in digits)
    copied = pickle.loads(pickle.dumps(scorer))
    assert copied == scorer
    assert copied(fitted, X, y) == scorer(fitted, X, y)


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scorers_of_data_frames(scorer, iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    y = np.repeat([0, 1, 2], 50)
    pipe = make_pipeline(StandardScaler(), cheap(SWAETransformer))
    expected = scorer(pipe.fit(iris), iris, y)
    framed = clone(pipe).set_output(transform="pandas").fit(frame)
    # columns that lie otherwise in memory are summed in another order
    assert scorer(framed, frame, y) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_of_a_classifier(name, digits):
    X, y = (A[:100] for A in digits)
    pipe = make_pipeline(cheap(SWAETransformer), KNeighborsClassifier()).fit(X, y)
    message = f"{name}_scorer needs a .*Pipeline whose last step .*ends with KNeighborsClassifier instead"
    with pytest.raises(ValueError, match=message):
        SCORERS[name](pipe, X, y)
    with pytest.raises(ValueError, match=rf"{name}_scorer needs a.* Got KNeighborsClassifier instead"):
        SCORERS[name](pipe[-1], X, y)


def test_frechet_scorer_of_what_cannot_sample_or_go_back(iris):
    with pytest.raises(ValueError, match=r"frechet_scorer needs an estimator with sample.* Got PCA instead"):
        frechet_scorer(PCA(2).fit(iris), iris)
    pipe = make_pipeline(StandardScaler(), Normalizer(), cheap(AETransformer)).fit(iris)
    with pytest.raises(ValueError, match=r"can all be inverted.* Got StandardScaler, Normalizer instead"):
        frechet_scorer(pipe, iris)
    pipe = make_pipeline(FunctionTransformer(), "passthrough").fit(iris)
    with pytest.raises(ValueError, match=r"whose last step has sample"):
        frechet_scorer(pipe, iris)


def test_scorers_with_bad_arguments(fitted, digits):
    X, y = digits
    for make in (make_knn_scorer, make_trustworthiness_scorer):
        with pytest.raises(
            ValueError, match=r"'n_neighbors' argument must be an integer of at least 1. Got 0"
        ):
            make(0)
    for make in (make_frechet_scorer, make_trustworthiness_scorer):
        with pytest.raises(ValueError, match=r"'features' argument must be None or callable. Got 3"):
            make(features=3)
        with pytest.raises(
            ValueError, match=r"'random_state' argument must be an integer of at least 0. Got"
        ):
            make(random_state=None)
    with pytest.raises(ValueError, match=r"'max_rows' argument must be an integer of at least 3. Got 2"):
        make_trustworthiness_scorer(max_rows=2)
    with pytest.raises(ValueError, match=r"at most the number of rows to choose from, 4. Got 5"):
        knn_scorer(fitted, X[:5], y[:5])
    with pytest.raises(ValueError, match=r"less than half of the held-out rows, 10. Got 5"):
        trustworthiness_scorer(fitted, X[:10])
    with pytest.raises(ValueError, match=r"'X' argument must have at least 2 rows. Got 1"):
        frechet_scorer(fitted, X[:1])


# ---------------------------------------------------------------------------
# Everything
# ---------------------------------------------------------------------------


def test_nothing_moves_global_streams(digits):
    X, y = digits
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    denoising_error(PCA(2).fit(X), X, random_state=0)
    precision_recall(X[:100], X[100:], random_state=0)
    ClassifierFeatures(3, max_iter=1).fit(X, y)
    model = cheap(AETransformer).fit(X)
    for scorer in (*SCORERS.values(), make_trustworthiness_scorer(max_rows=50)):
        scorer(model, X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_arguments_stay_as_they_are(digits):
    X, y = digits  # not writable
    kept = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(X[:100], X[100:])
        precision_recall(X[:100], X[100:])
        nearest_row_ratio(X[:100], X[100:200], X[200:])
        knn_accuracy(X[:100], y[:100], X[100:], y[100:], n_neighbors=(1, 3))
        neighborhood_agreement(X, X)
        rank_agreement(X, X[:, ::-1], targets=[0, 1])
    np.testing.assert_array_equal(X, kept)
