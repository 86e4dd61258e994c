"""The Frechet distance: closed forms, the formula with SciPy's square root, and its invariances."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from sklearn.decomposition import PCA

from skswae.metrics import frechet_distance, frechet_inception_distance


@pytest.mark.parametrize(("n", "m", "d"), [(60, 40, 2), (500, 300, 20), (101, 1000, 100)])
def test_formula(n, m, d, rng):
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    Y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d))
    C, D, difference = np.cov(X.T), np.cov(Y.T), X.mean(axis=0) - Y.mean(axis=0)
    expected = difference @ difference + np.trace(C + D - 2 * scipy.linalg.sqrtm(C @ D).real)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(Y, X) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(50, 4), (4, 50), (2, 3)])
def test_equal_rows(n, d, rng):
    X = 100 * rng.normal(size=(n, d))
    assert 0 <= frechet_distance(X, X) < 1e-20
    assert frechet_distance(X, rng.permutation(X)) < 1e-20
    assert frechet_distance(X, X + 0.5) == pytest.approx(0.25 * d, rel=1e-9)  # a shift, and nothing else


@pytest.mark.parametrize(("n", "m"), [(5, 7), (7, 5), (5, 200), (200, 5)])
def test_without_full_rank(n, m, rng):
    """Fewer rows than features: by the sum of singular values."""
    X, Y = rng.normal(size=(n, 30)), 2 * rng.normal(size=(m, 30)) + 1
    A, B = ((A - A.mean(axis=0)) / np.sqrt(len(A) - 1) for A in (X, Y))
    shift, nuclear = X.mean(axis=0) - Y.mean(axis=0), np.linalg.svd(A @ B.T, compute_uv=False).sum()
    expected = shift @ shift + (A**2).sum() + (B**2).sum() - 2 * nuclear
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-11)


def test_digits_are_kept(rng):
    """Far from the origin, in other units, and where the formula would lose a difference among its traces."""
    X, Y = rng.normal(size=(300, 5)), 0.1 + 1.1 * rng.normal(size=(200, 5))
    expected = frechet_distance(X, Y)
    for offset in (1e6, -1e6):  # rows there are rounded to 1e-10
        assert frechet_distance(offset + X, offset + Y) == pytest.approx(expected, rel=1e-8)
    for factor in (1e-5, 3.0, 1e5):
        assert frechet_distance(factor * X, factor * Y) == pytest.approx(factor**2 * expected, rel=1e-12)
    X = 1e3 * rng.normal(size=(50, 4))
    Y = X.mean(axis=0) + (1 + 1e-7) * (X - X.mean(axis=0))
    assert frechet_distance(X, Y) == pytest.approx(1e-14 * np.trace(np.cov(X.T)), rel=1e-4)


def test_features(digits):
    X, _ = digits
    pca = PCA(5).fit(X)
    expected = frechet_distance(pca.transform(X[:100]), pca.transform(X[100:]))
    assert frechet_distance(X[:100], X[100:], features=pca.transform) == expected
    # rows of other widths than each other are for the features to refuse
    assert frechet_distance(X[:, :9], X[:, :4], features=lambda rows: rows[:, :4]) < 1e-20


ROWS = np.arange(15.0).reshape(5, 3)


@pytest.mark.parametrize(
    ("X", "Y", "features", "message"),
    [
        (ROWS[:1], ROWS, None, r"'X' argument cannot be used. .* 1 sample.* minimum of 2"),
        (ROWS, ROWS[:0], None, r"'Y' argument cannot be used. .* 0 sample"),
        (ROWS, ROWS[:, :2], None, r"equally many columns. Got 3 and 2"),
        (ROWS, np.where(ROWS == 4, np.nan, ROWS), None, r"'Y' argument cannot be used. Input contains NaN"),
        (ROWS, ROWS, "x", r"'features' parameter .* Got 'x'"),
        (ROWS, ROWS, lambda rows: rows[1:], r"'features' argument must give one row for each of the 5 rows"),
        (ROWS, ROWS, lambda rows: rows.sum(axis=1), r"'features\(X\)' argument .* Expected 2D"),
        (ROWS, ROWS[:, 1:], PCA(2).fit(ROWS).transform, r"'features' .* applied to Y. X has 2 features"),
        (ROWS, ROWS[:4], lambda rows: rows[:, : len(rows) - 2], r"equally many columns. Got 3 and 2"),
    ],
)
def test_bad_arguments(X, Y, features, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(X, Y, features=features)


def pixels(X):
    """The features that the stand-in has for grey images."""
    return np.tile(np.rint(255 * X), 3)


COUNTS = [(2049, 2100, "standard"), (2048, 2100, "standard"), (2100, 2048, "standard")]


@pytest.mark.parametrize(("n", "m", "mode"), [*COUNTS, (2100, 5100, "paper"), (2000, 200, "paper")])
def test_inception_distance(n, m, mode, monkeypatch, rng):
    """Between all rows, or the first 2,000 and 5,000 as in the paper."""
    monkeypatch.setattr("skswae.metrics.InceptionFeatures.__call__", lambda self, X: pixels(X))
    X, Y = rng.random((n, 4)), rng.random((m, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = frechet_inception_distance(X, Y, (1, 2, 2), mode=mode)
    if mode == "paper":
        X, Y = X[:2000], Y[:5000]
    assert found == pytest.approx(frechet_distance(pixels(X), pixels(Y)))
    warned = mode == "standard" and 2048 in (n, m)
    assert [(w.category, w.filename) for w in caught] == warned * [(UserWarning, __file__)]
    assert all(f"of {n} generated and {m} real images" in str(w.message) for w in caught)


def test_inception_distance_through_the_network(fidelity, rng):
    X, Y = rng.random((5, 4)), rng.random((6, 4))
    with pytest.warns(UserWarning, match=r"of 5 generated and 6 real images is too large"):
        found = frechet_inception_distance(X, Y, (1, 2, 2), weights_path="w", batch_size=3, device="cpu")
    assert found == pytest.approx(frechet_distance(pixels(X), pixels(Y)), rel=1e-6)
    (network,) = fidelity.made
    assert network.path == "w"
    assert [len(x) for x in network.batches] == [3, 2, 3, 3]


def test_inception_distance_with_bad_arguments(fidelity):
    rows = np.zeros((1999, 4))
    for other, mode, message in (
        (rows, "best", r"'mode' parameter .* Got"),
        (rows, "paper", r"'X_generated' argument cannot be used. .* 1999 sample"),
        (rows[:, 1:], "standard", r"'X_real' argument must have 4 features. Got 3"),
        (rows - 1, "standard", r"'X_real' argument must be pixels in \[0, 1\]; np.clip\(X_real, 0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            frechet_inception_distance(rows, other, (1, 2, 2), mode=mode)
    assert not fidelity.made
