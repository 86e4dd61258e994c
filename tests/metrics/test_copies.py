"""Distances of samples to real rows, by loops and at their ends."""

import numpy as np
import pytest

from skswae.metrics import duplicate_rate, nearest_row_ratio, precision_recall


def inside_by_loops(points, rows, k):
    """Share of points that some row has no farther than its own k-th neighbour."""
    radii = [sorted(np.linalg.norm(r - q) for q in rows)[k] for r in rows]  # the row itself is nearest
    return np.mean([any(np.linalg.norm(p - r) <= radius for r, radius in zip(rows, radii)) for p in points])


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
    states = [np.random.RandomState(0) for _ in range(2)]
    draws = [precision_recall(X, Y, random_state=seed) for seed in (0, 0, 1, 2, 3, *states, states[0])]
    assert draws[0][1] > 0.8
    assert draws[0] == draws[1]
    assert len(set(draws[1:5])) > 1
    assert draws[5] == draws[6] != draws[7]


def test_copies_by_loops(rng):
    train, held_out = rng.normal(size=(30, 3)), rng.normal(size=(200, 3))
    generated = np.concatenate([train[:5] + 1e-3, rng.normal(size=(20, 3))])
    near, usual = (np.linalg.norm(A[:, None] - train, axis=2).min(axis=1) for A in (generated, held_out))
    ratio = nearest_row_ratio(generated, train, held_out)
    assert ratio == pytest.approx(np.median(near) / np.median(usual))
    expected = np.mean(near <= np.quantile(usual, 0.01))
    assert 0.2 <= expected < 1
    assert duplicate_rate(generated, train, held_out) == expected


def test_copies_and_further_rows(rng):
    train, held_out, more = rng.normal(size=(3, 1000, 3))
    assert nearest_row_ratio(more, train, held_out) == pytest.approx(1, abs=0.1)
    assert duplicate_rate(more, train, held_out) == pytest.approx(0.01, abs=0.01)
    assert duplicate_rate(held_out, train, held_out) == 0.01
    assert duplicate_rate(train, train, np.concatenate([train[:50], more])) == 1  # some of it copied itself
    some = np.concatenate([train[:30], more[:70]])
    assert nearest_row_ratio(some, train, held_out) > 0.5
    assert duplicate_rate(some, train, held_out) == pytest.approx(0.3, abs=0.05)
    scaled = nearest_row_ratio(1e3 * some, 1e3 * train, 1e3 * held_out)
    assert scaled == pytest.approx(nearest_row_ratio(some, train, held_out))


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


def test_bad_arguments(rng):
    X = rng.normal(size=(10, 3))
    for function, arguments, message in (
        (lambda X: precision_recall(X, X, n_neighbors=0), [X], r"'n_neighbors' parameter .* Got 0"),
        (precision_recall, [X[:3], X], r"Expected n_neighbors < n_samples_fit, but n_neighbors = 3"),
        (precision_recall, [X, X[:, 1:]], r"'X_real' argument must have 3 features. Got 2"),
        (nearest_row_ratio, [X[:, 1:], X, X], r"'X_generated' argument must have 3 features. Got 2"),
        (duplicate_rate, [X, X, X[:0]], r"'X_held_out' argument cannot be used. .* 0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            function(*arguments)
