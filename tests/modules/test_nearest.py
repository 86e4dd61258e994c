"""Step 2 of Algorithm 1, against distances in float64."""

import numpy as np
import pytest
import torch

from skswae.modules import _nearest
from skswae.modules._nearest import closest

every_metric = pytest.mark.parametrize("metric", ["euclidean", "cosine"])
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.fixture(params=[512, 100])
def block(request, monkeypatch):
    """Also take few keys at a time."""
    monkeypatch.setattr(_nearest, "_BLOCK", request.param)


def assert_closest(chosen, queries, keys, metric="euclidean"):
    """No other key is closer by more than the rounding of one product about the keys' mean."""
    q, u = queries.double().numpy(), keys.double().numpy()
    if metric == "euclidean":
        origin, cost = u.mean(axis=0), ((q[:, None] - u) ** 2).sum(axis=2)
    else:  # a zero vector is equally similar to everything
        u = u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        origin, cost = 0.0, -(q @ u.T)
    chosen = chosen.numpy()
    assert chosen.dtype == np.int64
    longest = np.linalg.norm(u - origin, axis=1).max()
    products = (np.linalg.norm(q - origin, axis=1) + longest) * longest
    bound = cost.min(axis=1) + 4 * np.sqrt(q.shape[1]) * torch.finfo(queries.dtype).eps * products
    assert np.all(cost[np.arange(len(q)), chosen] <= bound)
    clear = (cost <= bound[:, None]).sum(axis=1) == 1
    np.testing.assert_array_equal(chosen[clear], cost.argmin(axis=1)[clear])
    return clear


def draw(kind, n, d, rng):
    X = rng.normal(size=(n, d))
    if kind == "tight clusters":
        X = rng.normal(size=(3, d))[rng.integers(3, size=n)] + 1e-2 * X
    elif kind == "far away":
        X = 1000.0 + 0.1 * X
    elif kind == "of all lengths":
        X *= 10.0 ** rng.uniform(-4, 4, size=(n, 1))
    return torch.from_numpy(X)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", ["random", "tight clusters", "far away", "of all lengths"])
@every_metric
@every_dtype
@pytest.mark.parametrize("n_keys", [1, 2, 30, 512, 513, 1100])
def test_against_distances_in_float64(kind, metric, dtype, n_keys, rng):
    for n, d in [(60, 5), (1, 20)]:
        x = draw(kind, n + n_keys, d, rng).to(dtype)
        queries, keys = x[:n], x[n:]
        clear = assert_closest(closest(queries, keys, metric), queries, keys, metric)
        if dtype == torch.float64 and kind != "of all lengths":
            assert clear.all()  # so it is the closest one to all digits


@pytest.mark.parametrize("distance", [1e3, 1e5])
def test_clusters_far_from_the_origin(distance, rng):
    """A product about the origin would lose them: squared norms are 1e7 and more, their distances 2."""
    centres = torch.from_numpy(distance + rng.permutation(np.eye(8))).float()
    label = torch.from_numpy(rng.integers(8, size=200))
    queries = (centres[label].double() + 0.05 * torch.from_numpy(rng.normal(size=(200, 8)))).float()
    assert torch.equal(closest(queries, centres, "euclidean"), label)


@pytest.mark.usefixtures("block")
@every_metric
@every_dtype
def test_one_of_many_equal_keys(metric, dtype, rng):
    two, queries = (torch.from_numpy(rng.normal(size=(n, 64))).to(dtype) for n in (2, 40))
    keys = two[torch.arange(301) % 2]
    assert torch.equal(closest(queries, keys, metric) % 2, closest(queries, two, metric))


@every_dtype
def test_a_zero_vector_is_equally_similar_to_everything(dtype, rng):
    keys = -torch.from_numpy(rng.uniform(0.1, 1, size=(6, 4))).to(dtype)
    assert 0 <= closest(torch.zeros(1, 4, dtype=dtype), keys, "cosine") < 6
    # a key of zeros has the similarity 0: it wins over opposite ones alone
    direction = torch.ones(1, 4, dtype=dtype)
    keys[2] = 0.0
    assert closest(direction, keys, "cosine") == 2
    keys[4] = 1e-3
    assert closest(direction, keys, "cosine") == 4


@pytest.mark.usefixtures("block")
@every_metric
@every_dtype
@pytest.mark.parametrize("where", ["query", "key", "all keys"])
@pytest.mark.parametrize("n_keys", [1, 5, 300])
def test_nan_has_some_closest_key(metric, dtype, where, n_keys, rng):
    """A training that diverges goes on to the message that says so."""
    queries, keys = (torch.from_numpy(rng.normal(size=(n, 3))).to(dtype) for n in (7, n_keys))
    bad = {"query": queries[0], "key": keys[n_keys // 2], "all keys": keys}[where]
    bad.fill_(torch.nan)
    chosen = closest(queries, keys, metric)
    assert torch.all((chosen >= 0) & (chosen < n_keys))
    if where == "query":
        assert_closest(chosen[1:], queries[1:], keys, metric)


@every_metric
def test_nothing_given_is_changed_and_autocast_changes_nothing(metric, rng):
    queries, keys = (torch.from_numpy(rng.normal(size=(n, 4))).float() for n in (9, 5))
    before = [queries.clone(), keys.clone()]
    chosen = closest(queries.requires_grad_(), torch.nn.Parameter(keys), metric)
    assert all(map(torch.equal, (queries, keys), before))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(closest(queries, keys, metric), chosen)
    assert torch.equal(closest(queries.double(), keys, metric), chosen)  # keys take the queries' dtype
