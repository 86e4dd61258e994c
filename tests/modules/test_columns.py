"""Rows of tables: costs by column against an independent implementation, masks, and what is drawn."""

import math

import numpy as np
import pytest
import torch

from skswae.modules._columns import HIDDEN, MISSING, SHOWN, Columns, ColumnsFront, ColumnsHead

N_LEVELS = (2, 3, 3)


def made(weights=None, observed=None, hidden_share=0.0, targets=()):
    """Two numbers, a boolean, and categories of 2, 3 and 3 levels."""
    shares = [[0.25, 0.75], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
    location = np.concatenate([[0.5, -1.0], [0.3], *shares])
    unit = np.concatenate(
        [[2.0, 0.5], [math.sqrt(0.21)], *([math.sqrt(sum(p * (1 - p) for p in f))] * len(f) for f in shares)]
    )
    return Columns(
        n_numbers=2,
        n_booleans=1,
        widths=N_LEVELS,
        location=location,
        unit=unit,
        observed=np.ones(6) if observed is None else np.array(observed),
        weights=np.ones(6) if weights is None else np.array(weights),
        targets=targets,
        hidden_share=hidden_share,
    )


def random_cells(n, rng, missing=0.0):
    cells = np.column_stack(
        [rng.normal(size=(n, 2)), rng.integers(0, 2, n), *(rng.integers(0, L, n) for L in N_LEVELS)]
    ).astype(float)
    cells[rng.random(cells.shape) < missing] = np.nan
    return cells


def rows_of(columns, cells):
    return torch.from_numpy(columns.rows(cells))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_cells_to_rows_and_back(rng):
    columns = made()
    cells = random_cells(50, rng)
    x = columns.rows(cells)
    assert x.shape == (50, columns.n_features) == (50, 3 + 8 + 6)
    np.testing.assert_allclose(columns.cells(x), cells)
    assert (x[:, columns.n_values :] == SHOWN).all()


def test_each_column_has_variance_1():
    """Of rows with the shares of the fit: so columns count alike in distances and principal components."""
    columns = made()
    cells = np.full((1000, 6), np.nan)
    for j, counts in enumerate(([700, 300], [250, 750], [200, 300, 500], [600, 300, 100]), start=2):
        cells[:, j] = np.repeat(np.arange(len(counts)), counts)
    x = columns.rows(cells)
    for j in range(2, 6):
        own = x[:, : columns.n_values][:, columns.owner() == j]
        assert own.var(axis=0).sum() == pytest.approx(1.0)
        np.testing.assert_allclose(own.mean(axis=0), 0.0, atol=1e-12)


def test_missing_cells_are_0_and_unknown_ones_no_level(rng):
    columns = made()
    cells = random_cells(1, rng)
    cells[0, [0, 4]] = np.nan, -1.0
    x = columns.rows(cells)[0]
    owner = columns.owner()
    assert x[0] == 0.0
    assert x[columns.n_values :].tolist() == [MISSING, *[SHOWN] * 5]
    raw = x[: columns.n_values] * columns.unit + columns.location
    np.testing.assert_allclose(raw[owner == 4], 0.0, atol=1e-12)


def slow_cost(columns, cells, output, head):
    """The cost of each row by loops and scipy, on cells; without that of states."""
    n_rows, owner = len(cells), columns.owner()
    total = np.zeros(n_rows)
    for i in range(n_rows):
        for j in range(columns.n_columns):
            if np.isnan(cells[i, j]):
                continue
            out = output[i][: columns.n_values][owner == j]
            f = columns.location[owner == j]
            if j < 2:
                x = (cells[i, j] - columns.location[j]) / columns.unit[j]
                cost = (x - out[0]) ** 2
                if head.is_likelihood:
                    s = float(head.scale.detach()[j])
                    cost = 0.5 * cost / s**2 + math.log(s) + 0.5 * math.log(2 * math.pi)
                price = 1.0
            else:
                p = np.array([1 - f[0], f[0]]) if j == 2 else f
                logits = np.array([0.0, out[0]]) if j == 2 else out
                cost = math.log(np.exp(logits).sum()) - logits[int(cells[i, j])]
                price = 1.0 if head.is_likelihood else 1.0 / -(p * np.log(p)).sum()
            total[i] += columns.weights[j] * price * cost
    return total


@pytest.mark.parametrize("is_likelihood", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_cost_against_loops(rng, is_likelihood, missing):
    columns = made(weights=[1.0, 2.0, 0.5, 1.0, 3.0, 0.0])
    head = ColumnsHead(columns, is_likelihood).double()
    if is_likelihood:
        with torch.no_grad():
            head.log_scale.copy_(torch.tensor([0.02, -0.05]))
    cells = random_cells(20, rng, missing)
    output = torch.from_numpy(rng.normal(size=(20, columns.n_features)))
    found = head.cost(rows_of(columns, cells), output)
    np.testing.assert_allclose(found.detach(), slow_cost(columns, cells, output.numpy(), head), rtol=1e-5)
    if is_likelihood:
        assert torch.equal(head.log_prob(rows_of(columns, cells), output), -found)


def test_the_mean_costs_1_a_column():
    """Over rows with the shares and the variances of the fit, decoded to the mean row."""
    columns = made()
    head = ColumnsHead(columns, False).double()
    output = head.inverse(torch.zeros(1, columns.n_features, dtype=torch.float64), torch.zeros(0))
    cells = np.full((1000, 6), np.nan)
    for j in range(2):
        signs = np.repeat([-1.0, 1.0], 500)
        cells[:, j] = columns.location[j] + columns.unit[j] * signs
    for j, counts in enumerate(([700, 300], [250, 750], [200, 300, 500], [600, 300, 100]), start=2):
        cells[:, j] = np.repeat(np.arange(len(counts)), counts)
    costs = head.column_costs(rows_of(columns, cells), output.expand(1000, -1)) * head.price
    np.testing.assert_allclose(costs.mean(dim=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("is_likelihood", [False, True])
def test_gradient_of_the_cost(rng, is_likelihood):
    columns = made(observed=[0.8, 1, 1, 0.7, 1, 1])
    head = ColumnsHead(columns, is_likelihood).double()
    x = rows_of(columns, random_cells(4, rng, 0.3))
    output = torch.from_numpy(rng.normal(size=(4, columns.n_features))).requires_grad_()
    assert torch.autograd.gradcheck(lambda output: head.cost(x, output), output)
    (gradient,) = torch.autograd.grad(head.cost(x, output).sum(), output)
    missing = x[:, columns.n_values :] == MISSING
    assert not gradient[:, : columns.n_values][
        missing[:, columns.owner()]
    ].any()  # no pull of what is not there


def test_what_stands_under_a_mask_costs_nothing(rng):
    columns = made(observed=[0.5] * 6)
    head = ColumnsHead(columns, False).double()
    x = rows_of(columns, random_cells(10, rng, 0.5))
    output = torch.from_numpy(rng.normal(size=(10, columns.n_features)))
    other = x.clone()
    masked = (x[:, columns.n_values :] == MISSING)[:, columns.owner()]
    other[:, : columns.n_values][masked] = 7.0
    assert torch.equal(head.cost(x, output), head.cost(other, output))
    front = ColumnsFront(columns)
    assert torch.equal(front(x), front(other))


def test_missing_cells_are_predicted_where_there_are_some(rng):
    columns = made(observed=[0.8, 1.0, 1.0, 1.0, 1.0, 1.0])
    x = rows_of(columns, random_cells(10, rng))
    x[:4, columns.n_values] = MISSING
    for is_likelihood, price in ((True, 1.0), (False, 0.1 / -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))):
        head = ColumnsHead(columns, is_likelihood).double()
        output = torch.zeros(10, columns.n_features, dtype=torch.float64)
        without = head.cost(x, output)
        output[:, columns.n_values] = 2.0
        gain = without - head.cost(x, output)
        observed = x[:, columns.n_values] == SHOWN
        gains = torch.tensor([math.log(2.0) - math.log1p(math.exp(sign * 2.0)) for sign in (1, -1)])
        expected = gains.double()[observed.long()]
        torch.testing.assert_close(gain, price * expected, rtol=1e-5, atol=1e-7)
        output[:, columns.n_values + 1] = 5.0  # of a column without holes
        torch.testing.assert_close(without - head.cost(x, output), gain)


def test_mean_and_its_inverse(rng):
    """The inverse is linear, its mean row is the mean row, and it tells the levels."""
    columns = made()
    head = ColumnsHead(columns, False).double()
    cells = random_cells(30, rng)
    x = rows_of(columns, cells)
    a, b = x[:1], x[1:2]
    halfway = head.inverse(0.5 * (a + b), torch.zeros(0))
    torch.testing.assert_close(halfway, 0.5 * (head.inverse(a, None) + head.inverse(b, None)))
    zero = torch.zeros_like(a)
    zero[:, columns.n_values :] = SHOWN
    torch.testing.assert_close(head.mean(head.inverse(zero, None)), zero, atol=1e-6, rtol=0)
    np.testing.assert_allclose(columns.cells(head.mean(head.inverse(x, None)).numpy()), cells, atol=1e-6)


def test_draws_have_the_distribution_of_the_output():
    columns = made(observed=[0.7, 1, 1, 1, 1, 1], targets=(3,))
    head = ColumnsHead(columns, False).double()
    head.set_noise(torch.tensor([0.25, 4.0]), torch.tensor([1.0, 9.0]))
    output = torch.zeros(1, columns.n_features, dtype=torch.float64)
    output[0, :5] = torch.tensor([1.0, -2.0, 0.5, 1.0, 0.0])
    output[0, columns.n_values] = 1.5
    n = 40_000
    x = head.draw(output.expand(n, -1), torch.Generator().manual_seed(0))
    cells, state = columns.cells(x.numpy()), x[:, columns.n_values :]
    z = (cells[:, :2] - columns.location[:2]) / columns.unit[:2]
    np.testing.assert_allclose(z.mean(axis=0), [1.0, -2.0], atol=0.04)
    np.testing.assert_allclose(z.std(axis=0), [0.5, 2.0], rtol=0.02)
    p = 1.0 / (1.0 + math.exp(-0.5))
    assert cells[:, 2].mean() == pytest.approx(p, abs=0.01)
    assert (cells[:, 3] == 0).mean() == pytest.approx(math.e / (1.0 + math.e), abs=0.01)
    np.testing.assert_allclose(np.bincount(cells[:, 4].astype(int)) / n, 1 / 3, atol=0.01)
    assert (state[:, 0] == SHOWN).double().mean() == pytest.approx(1.0 / (1.0 + math.exp(-1.5)), abs=0.01)
    assert (state[:, [1, 2, 4, 5]] == SHOWN).all()
    assert (state[:, 3] == HIDDEN).all()
    unseen = head.draw(output.expand(n, -1), torch.Generator().manual_seed(0), hidden=True)
    z = (columns.cells(unseen.numpy())[:, :2] - columns.location[:2]) / columns.unit[:2]
    np.testing.assert_allclose(z.std(axis=0), [1.0, 3.0], rtol=0.02)


def test_hidden_cells(rng):
    """Hidden from the encoder, not from the cost: none in half of the rows, a share of all on average."""
    columns = made(hidden_share=0.2)
    front, head = ColumnsFront(columns), ColumnsHead(columns, False).double()
    cells = random_cells(20_000, rng, 0.2)
    x = rows_of(columns, cells)
    hidden = front.with_hidden_cells(x, torch.Generator().manual_seed(0))
    before, state = x[:, columns.n_values :], hidden[:, columns.n_values :]
    is_hidden = state == HIDDEN
    assert torch.equal(hidden[:, : columns.n_values], x[:, : columns.n_values])
    assert torch.equal(state == MISSING, before == MISSING)  # what is missing stays missing
    assert is_hidden[before == SHOWN].double().mean() == pytest.approx(0.2, abs=0.01)
    full = (before == SHOWN).all(dim=1)
    assert is_hidden[full].any(dim=1).double().mean() == pytest.approx(0.5 * (1 - 0.14), abs=0.04)
    output = torch.from_numpy(rng.normal(size=x.shape))
    assert torch.equal(head.cost(hidden, output), head.cost(x, output))
    h = front(hidden)
    gone = (state != SHOWN)[:, columns.owner()]
    assert not h[:, : columns.n_values][gone].any()
    assert torch.equal(h[:, columns.n_values :], (state == SHOWN).double())
    assert ColumnsFront(made()).with_hidden_cells(x, torch.Generator()) is x


def test_targets_are_never_seen(rng):
    columns = made(targets=(4,))
    cells = random_cells(10, rng)
    cells[:3, 4] = np.nan
    x = rows_of(columns, cells)
    assert x[:, columns.n_values + 4].tolist() == [MISSING] * 3 + [HIDDEN] * 7
    h = ColumnsFront(columns)(x)
    assert not h[:, : columns.n_values][:, columns.owner() == 4].any()
    assert not h[:, columns.n_values + 4].any()
    head = ColumnsHead(columns, False).double()
    output = torch.zeros(10, columns.n_features, dtype=torch.float64)
    costs = head.column_costs(x, output)[:, 4]
    assert not costs[:3].any()
    assert torch.allclose(costs[3:], torch.tensor(math.log(3.0), dtype=torch.float64))


def test_closest_over_what_is_seen(rng):
    """Step 2 among rows with holes: the distance over the values that are there, by brute force."""
    from skswae.modules._nearest import closest

    columns = made()
    front = ColumnsFront(columns)
    h = front(rows_of(columns, random_cells(40, rng, 0.4)))
    u = front(rows_of(columns, random_cells(15, rng)))
    found = closest(h, u, "euclidean", front.seen(h))
    seen = (h[:, columns.n_values :] == 1.0)[:, columns.owner()]
    differences = (h[:, None, : columns.n_values] - u[None, :, : columns.n_values]).square()
    distances = (differences * seen[:, None]).sum(dim=2)
    torch.testing.assert_close(distances.gather(1, found[:, None])[:, 0], distances.min(dim=1).values)


def test_plain_values_make_it_again():
    columns = made(targets=(3,), hidden_share=0.1)
    again = Columns.of(columns.plain())
    for name, value in vars(columns).items():
        np.testing.assert_array_equal(value, getattr(again, name))
