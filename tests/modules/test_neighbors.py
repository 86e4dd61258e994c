"""The neighbour term: UMAP's curve and cross-entropy, the graph of rows, draws from it."""

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit
from sklearn.neighbors import NearestNeighbors

from skswae.modules import _neighbors
from skswae.modules._neighbors import A, B, NeighborGraph, memberships, nearest_rows, neighbor_loss


def rows(n, m, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, m)).astype(np.float32))


def test_the_curve_is_the_one_closest_to_umap_s():
    d = np.linspace(0, 3, 300)
    wanted = np.where(d < 0.1, 1.0, np.exp(-(d - 0.1)))
    found, _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, wanted)
    np.testing.assert_allclose((A, B), found, rtol=1e-6)


def literal_loss(z, z_neighbor):
    """The cross-entropy, pair by pair."""

    def q(a, b):
        return 1 / (1 + A * np.linalg.norm(a - b) ** (2 * B))

    n = len(z)
    together = [-np.log(q(z[i], z_neighbor[i])) for i in range(n)]
    apart = [-np.log(1 - q(z[i], z[j])) for i in range(n) for j in range(n) if i != j]
    return np.mean(together) + 5 * np.mean(apart)


def test_the_loss_is_the_cross_entropy():
    z, near = (5 * rows(9, 2, seed).double() for seed in (0, 1))
    np.testing.assert_allclose(neighbor_loss(z, near), literal_loss(z.numpy(), near.numpy()), rtol=2e-3)
    assert torch.autograd.gradcheck(neighbor_loss, (z.requires_grad_(), near.requires_grad_()))


def test_the_loss_has_a_gradient_where_codes_are_equal():
    z = torch.zeros((4, 2), requires_grad=True)
    neighbor_loss(z, z.detach()).backward()
    assert torch.isfinite(z.grad).all()
    alone = torch.ones((1, 2), requires_grad=True)
    neighbor_loss(alone, torch.zeros((1, 2))).backward()
    assert torch.isfinite(alone.grad).all()


def test_a_large_batch_is_compared_with_a_part_of_itself(monkeypatch):
    monkeypatch.setattr(_neighbors, "_MOST_OTHERS", 3)
    z, near = 5 * rows(6, 2), rows(6, 2, 1)
    apart = ((z[:, None] - z[:3]).square().sum(dim=2) + 1e-3).numpy()
    pairs = [np.log1p(1 / (A * apart[i, j] ** B)) for i in range(6) for j in range(3) if i != j]
    together = np.log1p(A * ((z - near).square().sum(dim=1) + 1e-12).numpy() ** B)
    np.testing.assert_allclose(neighbor_loss(z, near), together.mean() + 5 * np.mean(pairs), rtol=1e-5)


def test_memberships_sum_to_the_logarithm_of_their_number():
    d = rows(20, 8).abs().sort(dim=1).values
    found = memberships(d)
    np.testing.assert_allclose(found.sum(dim=1), np.log2(8), rtol=1e-4)
    np.testing.assert_array_equal(found[:, 0], 1.0)
    assert (found.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("distances", [[[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]], [[0.0, 1.0, 2.0]], [[3.0]]])
def test_memberships_of_equal_rows_and_of_one_neighbor(distances):
    found = memberships(torch.tensor(distances))
    assert ((found >= 0) & (found <= 1)).all()
    assert found[0, 0] == 1.0


def test_the_nearest_rows_are_exact_for_few_rows(monkeypatch):
    monkeypatch.setattr(_neighbors, "_BLOCK", 1000)  # so that there are several blocks
    h = 1e4 + rows(300, 5)
    distances, index = nearest_rows(h, 7)
    wanted_distances, wanted = NearestNeighbors(n_neighbors=8).fit(h.double()).kneighbors(h.double())
    np.testing.assert_array_equal(index, wanted[:, 1:])
    np.testing.assert_allclose(distances, wanted_distances[:, 1:], atol=1e-3)


def test_the_nearest_rows_among_many_are_nearly_all_found(digits, monkeypatch):
    h = 1e4 + torch.tensor(digits[0], dtype=torch.float32)
    _, wanted = nearest_rows(h, 15)
    monkeypatch.setattr(_neighbors, "_EXACT_ROWS", 100)
    monkeypatch.setattr(_neighbors, "_CELL_ROWS", len(h) // 40)
    distances, index = nearest_rows(h, 15)
    found = np.mean([len(set(a) & set(b)) / 15 for a, b in zip(index.tolist(), wanted.tolist())])
    assert found > 0.95
    assert (index != torch.arange(len(h))[:, None]).all()
    np.testing.assert_allclose(distances, (h[index] - h[:, None]).square().sum(dim=2).sqrt(), atol=1e-3)


def test_the_nearest_rows_of_two_distant_groups_are_exact():
    """The rounding of distances between groups is more than the distances in them."""
    h = rows(200, 20)
    h[100:] += 1e4
    _, index = nearest_rows(h, 5)
    _, wanted = NearestNeighbors(n_neighbors=6).fit(h.double()).kneighbors(h.double())
    assert (index.sort(dim=1).values == torch.from_numpy(wanted[:, 1:]).sort(dim=1).values).all()


def test_a_search_among_many_rows_finds_as_many_as_it_should(monkeypatch):
    """Though all rows of the closest cells be fewer: here nearly all rows are in one cell."""
    monkeypatch.setattr(_neighbors, "_EXACT_ROWS", 10)
    monkeypatch.setattr(_neighbors, "_CELL_ROWS", 2)
    monkeypatch.setattr(_neighbors, "_CELLS", 1)
    h = torch.zeros((60, 2))
    h[:20] = 100 * rows(20, 2)
    _, index = nearest_rows(h, 9)
    assert all(len(set(own)) == 9 for own in index.tolist())
    assert (index != torch.arange(60)[:, None]).all()


def test_equal_rows_do_not_make_the_search_quadratic(monkeypatch):
    work, nearest_of = [], _neighbors._nearest_of

    def watched(h, queries, keys, k):
        work.append(len(queries) * len(keys))
        return nearest_of(h, queries, keys, k)

    monkeypatch.setattr(_neighbors, "_nearest_of", watched)
    monkeypatch.setattr(_neighbors, "_EXACT_ROWS", 10)
    monkeypatch.setattr(_neighbors, "_CELL_ROWS", 4)
    distances, _ = nearest_rows(torch.ones((2000, 3)), 5)
    assert (distances == 0).all()
    assert sum(work) <= 2000 * 16 * 4 * 4


def test_equal_rows_do_not_hide_the_neighbors_of_others(monkeypatch):
    monkeypatch.setattr(_neighbors, "_EXACT_ROWS", 10)
    monkeypatch.setattr(_neighbors, "_CELL_ROWS", 8)
    few = rows(1000, 8)
    found = []
    for h in (few, torch.cat([few, torch.zeros((1000, 8))])):
        exact, distances = torch.cdist(few, h).sort(dim=1).values[:, 5], nearest_rows(h, 5)[0][:1000, -1]
        found.append(float((distances <= exact * (1 + 1e-5)).float().mean()))
    assert found[1] > 0.8 * found[0]  # of rows whose neighbours were all found


def test_a_draw_is_between_two_neighbors():
    h = rows(50, 30)
    graph = NeighborGraph(h, 4)
    numbers = torch.arange(50).repeat(200)
    drawn = graph.draw(numbers, torch.Generator().manual_seed(0))
    options = h[graph.index[numbers]]  # (10000, 4, 30)
    is_of = drawn[:, None] == options
    assert is_of.any(dim=1).all()
    whole = is_of.sum(dim=2)  # numbers of each neighbour in a draw
    assert (whole.sort(dim=1).values[:, :2] == 0).all()  # those of two at most
    weights = memberships(torch.cdist(h, h).sort(dim=1).values[:, 1:5])
    shares = (weights / weights.sum(dim=1, keepdim=True)).mean(dim=0)
    np.testing.assert_allclose(whole.float().mean(dim=0) / 30, shares, atol=0.01)


def test_more_rows_are_drawn_to_neighbors_themselves(monkeypatch):
    monkeypatch.setattr(_neighbors, "_FEW_ROWS", 10)
    h = rows(50, 30)
    graph, numbers = NeighborGraph(h, 4), torch.arange(50).repeat(100)
    drawn = graph.draw(numbers, torch.Generator().manual_seed(0))
    is_whole = (drawn[:, None] == h[graph.index[numbers]]).all(dim=2).any(dim=1)
    shares = torch.diff(graph.shares, dim=1, prepend=torch.zeros((50, 1)))
    equal = shares.square().sum(dim=1).mean()  # both draws are of one neighbour
    assert float(is_whole.float().mean()) == pytest.approx(0.8 + 0.2 * float(equal), abs=0.02)


def test_classes_weigh_neighbors():
    h, labels = rows(40, 3), torch.arange(40) % 3 - 1
    w = 0.25 / 0.75
    plain, weighted = NeighborGraph(h, 39), NeighborGraph(h, 39, labels, 0.25)
    before, after = (torch.diff(g.shares, dim=1, prepend=torch.zeros((40, 1))) for g in (plain, weighted))
    own, other = labels[:, None], labels[plain.index]
    unknown, differ = (own < 0) | (other < 0), own != other
    factor = torch.where(unknown, np.exp(-w), torch.where(differ, np.exp(-5 * w), 1.0))
    wanted = before * factor
    np.testing.assert_allclose(after, wanted / wanted.sum(dim=1, keepdim=True), atol=1e-5)
    almost = NeighborGraph(h, 2, labels, 1 - 1e-9)
    own_class = labels[almost.index] == labels[:, None]
    none_of_own = ~own_class.any(dim=1) & (labels[almost.index] >= 0).all(dim=1) & (labels >= 0)
    assert none_of_own.any()
    np.testing.assert_allclose(almost.shares[none_of_own], NeighborGraph(h, 2).shares[none_of_own], atol=1e-5)
    # the only neighbour of the own class is far off
    line = torch.cat([torch.zeros(1), 1e-4 * torch.arange(1.0, 15.0), torch.ones(1)])[:, None]
    of_line = NeighborGraph(line, 15, torch.tensor([0, *[1] * 14, 0]), 0.97)
    assert float(of_line.shares[0, -2]) < 1e-6


def test_a_row_without_others_is_its_own_neighbor():
    h = rows(1, 3)
    assert torch.equal(
        NeighborGraph(h, 5).draw(torch.zeros(2, dtype=torch.int64), torch.Generator()), h[[0, 0]]
    )


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [10_000, 500])
def test_a_gpu_finds_the_same_rows(exact, monkeypatch):
    monkeypatch.setattr(_neighbors, "_EXACT_ROWS", exact)
    h = rows(3000, 8)
    here, there = nearest_rows(h, 10), nearest_rows(h.cuda(), 10)
    torch.testing.assert_close(there[0].cpu(), here[0])
    assert (there[1].cpu() == here[1]).float().mean() > 0.999  # rows as far away in another order
