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
    origin = u.mean(axis=0) if metric == "euclidean" else 0.0
    if metric == "euclidean":
        cost = ((q[:, None] - u) ** 2).sum(axis=2)
    else:  # a zero vector is equally similar to everything
        u = u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        cost = -(q @ u.T)
    chosen = chosen.numpy()
    assert chosen.dtype == np.int64
    assert chosen.shape == (len(queries),)
    longest = np.linalg.norm(u - origin, axis=1).max()
    products = (np.linalg.norm(q - origin, axis=1) + longest) * longest
    slack = 4 * np.sqrt(q.shape[1]) * torch.finfo(queries.dtype).eps * products
    bound = cost.min(axis=1) + slack
    assert np.all(cost[np.arange(len(q)), chosen] <= bound)
    clear = (cost <= bound[:, None]).sum(axis=1) == 1
    np.testing.assert_array_equal(chosen[clear], cost.argmin(axis=1)[clear])
    return clear


def draw(kind, n, d, rng):
    if kind == "random":
        X = rng.normal(size=(n, d))
    elif kind == "tight clusters":
        X = rng.normal(size=(3, d))[rng.integers(3, size=n)] + 1e-2 * rng.normal(size=(n, d))
    elif kind == "far away":
        X = 1000.0 + 0.1 * rng.normal(size=(n, d))
    elif kind == "of all lengths":
        X = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-4, 4, size=(n, 1))
    return torch.from_numpy(X)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", ["random", "tight clusters", "far away", "of all lengths"])
@every_metric
@every_dtype
@pytest.mark.parametrize("n_keys", [1, 2, 30, 511, 512, 513, 1100])
def test_against_distances_in_float64(kind, metric, dtype, n_keys, rng):
    for n, d in [(60, 5), (1, 20)]:
        x = draw(kind, n + n_keys, d, rng).to(dtype)
        queries, keys = x[:n], x[n:]
        clear = assert_closest(closest(queries, keys, metric), queries, keys, metric)
        if dtype == torch.float64 and kind != "of all lengths":
            assert clear.all()  # so it is the closest one to all digits


@pytest.mark.parametrize("distance", [1e3, 1e5])
def test_clusters_far_from_the_origin(distance, rng):
    """A product about the origin would lose them: squared norms are 1e8 and more, their distances 2."""
    centres = torch.from_numpy(distance + rng.permutation(np.eye(8))).float()
    label = torch.from_numpy(rng.integers(8, size=200))
    queries = (centres[label].double() + 0.05 * torch.from_numpy(rng.normal(size=(200, 8)))).float()
    assert torch.equal(closest(queries, centres, "euclidean"), label)


@pytest.mark.usefixtures("block")
@every_metric
@every_dtype
def test_one_of_many_equal_keys(metric, dtype, rng):
    two = torch.from_numpy(rng.normal(size=(2, 64))).to(dtype)
    queries = torch.from_numpy(rng.normal(size=(40, 64))).to(dtype)
    keys = two[torch.arange(301) % 2]
    assert torch.equal(closest(queries, keys, metric) % 2, closest(queries, two, metric))


@every_dtype
def test_a_zero_vector_is_equally_similar_to_everything(dtype, rng):
    keys = torch.from_numpy(rng.normal(size=(6, 4))).to(dtype)
    chosen = closest(torch.zeros(3, 4, dtype=dtype), keys, "cosine")
    assert torch.all((chosen >= 0) & (chosen < 6))
    # a key of zeros has the similarity 0: it wins over opposite ones alone
    direction = torch.ones(1, 4, dtype=dtype)
    keys[2] = 0.0
    keys[[0, 1, 3, 4, 5]] = -keys[[0, 1, 3, 4, 5]].abs() - 0.1
    assert closest(direction, keys, "cosine").tolist() == [2]
    keys[4] = direction[0] * 1e-3
    assert closest(direction, keys, "cosine").tolist() == [4]


@pytest.mark.usefixtures("block")
@every_metric
@every_dtype
@pytest.mark.parametrize("where", ["query", "key", "all keys", "both"])
@pytest.mark.parametrize("n_keys", [1, 5, 300])
def test_nan_has_some_closest_key(metric, dtype, where, n_keys, rng):
    """A training that diverges goes on to the message that says so."""
    queries = torch.from_numpy(rng.normal(size=(7, 3))).to(dtype)
    keys = torch.from_numpy(rng.normal(size=(n_keys, 3))).to(dtype)
    if where in ("query", "both"):
        queries[1, 0] = torch.nan
    if where in ("key", "both"):
        keys[n_keys // 2] = torch.nan
    if where == "all keys":
        keys[:] = torch.nan
    chosen = closest(queries, keys, metric)
    assert torch.all((chosen >= 0) & (chosen < n_keys))
    if where == "query":
        sound = [0, 2, 3, 4, 5, 6]
        assert_closest(chosen[sound], queries[sound], keys, metric)


@every_metric
def test_nothing_given_is_changed_and_no_gradient_is_recorded(metric, rng):
    queries, keys = (torch.from_numpy(rng.normal(size=(n, 4))).float() for n in (9, 5))
    before = [queries.clone(), keys.clone()]
    chosen = closest(queries.requires_grad_(), torch.nn.Parameter(keys), metric)
    assert all(map(torch.equal, (queries, keys), before))
    # keys take the dtype of the queries; autocast changes nothing
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(closest(queries.double(), keys, metric), chosen)
        assert torch.equal(closest(queries, keys, metric), chosen)
