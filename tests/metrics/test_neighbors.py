"""Neighbours of codes: scikit-learn and SciPy beside them, and loops."""

import numpy as np
import pytest
import scipy.stats
from sklearn.neighbors import KNeighborsClassifier

from skswae.metrics import knn_accuracy, neighborhood_agreement, rank_agreement

TARGETS = [None, [0], [3, 7, 7, 29]]


def codes(rng, dtype=np.float64):
    """Codes and classes that overlap, so that votes are tied as well."""
    y = rng.integers(4, size=260)
    Z = (0.6 * y[:, None] + rng.normal(size=(260, 3))).astype(dtype)
    return Z[:-60], y[:-60], Z[-60:], y[-60:]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_knn_accuracy_is_scikit_learn_s(dtype, rng):
    data = Z_train, y_train, Z_test, y_test = codes(rng, dtype)
    ks = (10, 1, 4, 200)
    models = [KNeighborsClassifier(k).fit(Z_train.astype(float), y_train) for k in ks]
    expected = [model.score(Z_test.astype(float), y_test) for model in models]
    found = knn_accuracy(*data, n_neighbors=ks)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)
    assert type(knn_accuracy(*data)) is float
    np.testing.assert_array_equal(knn_accuracy(*data, n_neighbors=[4]), expected[2:3])


@pytest.mark.parametrize("k", [0, 1.5, "5", None, 201, [3, 0], [[3]], [3, 201], [2.5], []])
def test_bad_numbers_of_neighbors(k, rng):
    with pytest.raises(ValueError, match=r"n_neighbors"):
        knn_accuracy(*codes(rng), n_neighbors=k)
    with pytest.raises(ValueError, match=r"'n_neighbors' .* Got"):
        neighborhood_agreement(*np.zeros((2, 10, 3)), n_neighbors=k)


@pytest.mark.parametrize("k", [1, 3, 10, 29])
@pytest.mark.parametrize("targets", TARGETS)
def test_neighborhood_agreement_by_loops(k, targets, rng):
    X = rng.normal(size=(30, 20))
    Z = X[:, :2] + rng.normal(size=(30, 2))

    def near(A, t):
        return set(sorted((j for j in range(30) if j != t), key=lambda j: np.linalg.norm(A[j] - A[t]))[:k])

    shares = [len(near(X, t) & near(Z, t)) / k for t in (range(30) if targets is None else targets)]
    found = neighborhood_agreement(X, Z, n_neighbors=k, targets=targets)
    assert found == pytest.approx(np.mean(shares), abs=1e-12)
    assert k == 29 or 0 < found < 1 or targets is not None


def test_neighborhood_agreement_at_its_ends(rng):
    X, many = rng.normal(size=(100, 5)), rng.normal(size=(100, 40))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert neighborhood_agreement(X, 3 * X @ rotation + 7) == 1
    assert neighborhood_agreement(X, rng.normal(size=(100, 5))) == pytest.approx(10 / 99, abs=0.05)
    assert neighborhood_agreement(many, many + 1e7) > 0.99
    same, line = np.zeros((40, 2)), np.arange(40.0)[:, None]
    for target in (0, 20, 39):  # a row is not its own neighbour, also where more are equal than searched for
        assert neighborhood_agreement(same, line, n_neighbors=39, targets=[target]) == 1
        assert neighborhood_agreement(same, same, n_neighbors=3, targets=[target]) == 1


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("decimals", [9, 0], ids=["numbers", "equal distances"])
def test_rank_agreement_is_scipy_s(targets, decimals, rng):
    X = rng.normal(size=(30, 4))
    X, Z = X.round(decimals), (X[:, :2] + rng.normal(size=(30, 2))).round(decimals)
    expected = []
    for t in range(30) if targets is None else targets:
        of_X, of_Z = (np.delete(np.linalg.norm(A - A[t], axis=1), t) for A in (X, Z))
        expected.append(scipy.stats.spearmanr(of_X, of_Z).statistic)
    assert rank_agreement(X, Z, targets=targets) == pytest.approx(np.mean(expected), abs=1e-12)


def test_rank_agreement_at_its_ends(rng):
    X = rng.normal(size=(50, 3))
    assert rank_agreement(X, 2 * X + 1) == pytest.approx(1)
    line = np.arange(5.0)[:, None]
    # farther in X is nearer in Z
    assert rank_agreement(line, np.array([0, 9.0, 8, 7, 6])[:, None], targets=[0]) == pytest.approx(-1)
    assert abs(rank_agreement(X, rng.normal(size=(50, 3)))) < 0.1
    assert rank_agreement(X, 1e6 * np.full((50, 2), np.pi)) == 0  # codes that fell together have no order
    Z = np.ones((50, 1))
    Z[0] = 2.0  # all are equally far from row 0 alone
    assert rank_agreement(X, Z, targets=[0]) == 0
    assert rank_agreement(X, Z, targets=[1]) != 0


@pytest.mark.parametrize("function", [neighborhood_agreement, rank_agreement])
def test_rows_that_do_not_fit(function, rng):
    X = rng.normal(size=(12, 3))
    with pytest.raises(ValueError, match=r"'Z_test' argument must have 3 features. Got 2"):
        knn_accuracy(X, np.arange(12), X[:, 1:], np.arange(12))
    bad_targets = r"'targets' (parameter|argument must be None or indices of rows)"
    targets = ([], 3, [[0]], [0.5], [True] * 12, ["a"], [12], [-1, 3])
    for X_, Z, given, message in (
        (X, X[1:], None, r"inconsistent numbers of samples: \[12, 11\]"),
        (X[:1], X[:1], None, r"'X' argument cannot be used. .* 1 sample"),
        *((X, X, t, bad_targets) for t in targets),
    ):
        with pytest.raises(ValueError, match=message):
            function(X_, Z, targets=given)
