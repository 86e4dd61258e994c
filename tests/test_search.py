"""Step 2 of Algorithm 1: exact on the CPU, whatever the rows are like."""

import numpy as np
import pytest
import torch

from skswae import _search
from skswae._search import closest


def brute_force(queries, keys, metric="euclidean"):
    """What `closest` minimises, of each pair, in float64 from differences."""
    q, u = queries.double().numpy(), keys.double().numpy()
    if metric == "euclidean":
        return ((q[:, None] - u) ** 2).sum(axis=2)
    # a zero vector is equally similar to everything
    length = np.maximum(np.linalg.norm(u, axis=1), 1e-300)
    return -(q[:, None] * (u / length[:, None])).sum(axis=2)


def assert_closest(chosen, queries, keys, metric="euclidean", rtol=1e-12):
    """The chosen distances are the smallest, and the chosen ones where no other is nearly as small."""
    cost = brute_force(queries, keys, metric)
    chosen = chosen.numpy()
    assert chosen.dtype == np.int64
    assert chosen.shape == (len(queries),)
    rows = np.arange(len(queries))
    smallest = cost.min(axis=1)
    # rounding of a float64 product is beside the longest of the centred rows
    slack = rtol * np.abs(cost).max(axis=1)
    assert np.all(cost[rows, chosen] <= smallest + slack)
    clear = (cost <= (smallest + slack)[:, None]).sum(axis=1) == 1
    np.testing.assert_array_equal(chosen[clear], cost.argmin(axis=1)[clear])


def draw(kind, n, d, rng):
    if kind == "random":
        X = rng.normal(size=(n, d))
    elif kind == "tight clusters":
        X = rng.normal(size=(3, d))[rng.integers(3, size=n)] + 1e-4 * rng.normal(size=(n, d))
    elif kind == "far away":
        X = 1000.0 + 0.1 * rng.normal(size=(n, d))
    elif kind == "of all lengths":
        X = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-4, 4, size=(n, 1))
    return torch.from_numpy(X)


@pytest.fixture(params=["small problems as they are", "float32 first"])
def search(request, monkeypatch):
    """Small problems are solved in float64 at once; also solve them as large ones."""
    if request.param == "float32 first":
        monkeypatch.setattr(_search, "_FEW_PRODUCTS", 0)


@pytest.mark.parametrize(("kind", "reached"), [("random", {False}), ("tight clusters", {True})])
def test_what_float32_leaves_undecided_is_looked_at_again(kind, reached, rng, monkeypatch):
    monkeypatch.setattr(_search, "_FEW_PRODUCTS", 0)
    calls = []
    again = _search._closest_of
    monkeypatch.setattr(_search, "_closest_of", lambda *a: calls.append(len(a[0])) or again(*a))
    x = draw(kind, 40, 5, rng).float()
    closest(x[:30], x[30:], "euclidean")
    assert {bool(calls)} == reached


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("kind", ["random", "tight clusters", "far away", "of all lengths"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_keys", [1, 2, 30, 700])
def test_step_2_is_exact_on_the_cpu(kind, metric, dtype, n_keys, rng):
    for n, d in [(60, 5), (1, 20)]:
        x = draw(kind, n + n_keys, d, rng).to(dtype)
        queries, keys = x[:n], x[n:]
        chosen = closest(queries, keys, metric)
        assert_closest(chosen, queries, keys, metric)
        norms = keys.square().sum(dim=1)
        assert torch.equal(closest(queries, keys, metric, norms), chosen)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("kind", ["random", "tight clusters", "far away"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_keys", [255, 256, 257, 512, 700])
def test_step_2_in_blocks_is_step_2_at_once(kind, metric, n_keys, rng, monkeypatch):
    x = draw(kind, 80 + n_keys, 6, rng).float()
    queries, keys = x[:80], x[80:]
    at_once = closest(queries, keys, metric)
    monkeypatch.setattr(_search, "_FEW_PRODUCTS", 0)
    monkeypatch.setattr(_search, "_NUMBERS", 1)
    in_blocks = closest(queries, keys, metric)
    assert_closest(in_blocks, queries, keys, metric)
    cost = brute_force(queries, keys, metric)
    rows = np.arange(80)
    np.testing.assert_allclose(cost[rows, in_blocks], cost[rows, at_once], rtol=1e-9)
    assert np.mean(in_blocks.numpy() == at_once.numpy()) > 0.95


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("numbers", [1, 2**21])
def test_step_2_takes_the_first_of_two_equal_keys(metric, dtype, numbers, rng, monkeypatch):
    """In one block and across them."""
    monkeypatch.setattr(_search, "_NUMBERS", numbers)
    different = torch.from_numpy(rng.normal(size=(300, 65))).to(dtype)
    queries = torch.from_numpy(rng.normal(size=(40, 65))).to(dtype)
    chosen = closest(queries, torch.cat([different, different]), metric)
    assert chosen.max() < 300
    assert_closest(chosen, queries, different, metric)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [3, 64])
def test_step_2_takes_one_of_many_equal_keys(metric, dtype, d, rng):
    two = torch.from_numpy(rng.normal(size=(2, d))).to(dtype)
    queries = torch.from_numpy(rng.normal(size=(40, d))).to(dtype)
    keys = two[torch.arange(101) % 2]
    assert torch.equal(closest(queries, keys, metric) % 2, closest(queries, two, metric))


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_vector_is_equally_similar_to_everything(dtype, rng):
    keys = torch.from_numpy(rng.normal(size=(6, 4))).to(dtype)
    assert closest(torch.zeros(3, 4, dtype=dtype), keys, "cosine").tolist() == [0, 0, 0]
    # a key of zeros has the similarity 0: it wins over opposite ones alone
    keys[2] = 0.0
    direction = torch.ones(1, 4, dtype=dtype)
    keys[[0, 1, 3, 4, 5]] = -keys[[0, 1, 3, 4, 5]].abs() - 0.1
    assert closest(direction, keys, "cosine").tolist() == [2]
    keys[4] = direction[0] * 1e-3
    assert closest(direction, keys, "cosine").tolist() == [4]
    assert closest(direction, torch.zeros(3, 4, dtype=dtype), "cosine").tolist() == [0]


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("where", ["query", "key", "all keys", "both"])
@pytest.mark.parametrize("n_keys", [1, 5, 300])
def test_nan_has_some_closest_key(metric, dtype, where, n_keys, rng, monkeypatch):
    """A training that diverges goes on to the message that says so."""
    monkeypatch.setattr(_search, "_NUMBERS", 1)
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


@pytest.mark.usefixtures("search")
def test_step_2_changes_nothing_that_it_is_given(rng):
    queries, keys = (torch.from_numpy(rng.normal(size=(n, 4))).float() for n in (9, 5))
    norms = keys.square().sum(dim=1)
    given = [queries, keys, norms]
    before = [t.clone() for t in given]
    for metric in ("euclidean", "cosine"):
        closest(*given[:2], metric, norms)
    assert all(torch.equal(a, b) for a, b in zip(given, before))


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_keys", [1, 30, 700])
def test_step_2_as_a_gpu_does_it_is_float32_s(metric, n_keys, rng, monkeypatch):
    """Without the second look: right wherever the distances differ by more than rounding."""
    monkeypatch.setattr(_search, "_NUMBERS", 1)
    x = draw("random", 90 + n_keys, 10, rng).float()
    queries, keys = x[:90], x[90:]
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    monkeypatch.setattr(_search, "_closest_of", None)
    chosen = closest(queries, keys, metric)
    first = closest(queries, keys[:256].repeat(3, 1), metric)  # blocks of 256: equal to the last bit
    monkeypatch.undo()
    assert_closest(chosen, queries, keys, metric, rtol=1e-5)
    assert first.max() < 256
