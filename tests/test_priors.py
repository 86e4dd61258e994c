"""Gaussians and mixtures of them, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from skswae._priors import (
    PseudoInputs,
    bounded_log_variance,
    gaussian_log_prob,
    kl_to_standard_normal,
    mixture_log_prob,
    sample_gaussian,
    sample_mixture,
    standard_normal_log_prob,
)
from skswae._steps import RowAdam


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_bounded_log_variance():
    h = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=torch.float64)
    out = bounded_log_variance(h, math.exp(-3))
    torch.testing.assert_close(out[[0, 2, 4]], torch.tensor([-6.0, -2.0, 2.0], dtype=torch.float64))
    assert torch.all(out.diff() > 0)
    torch.testing.assert_close(bounded_log_variance(h, 2 * math.exp(-3)), out + 2 * math.log(2))


def test_sample_gaussian():
    mean = torch.tensor([[1.0, -2.0]]).expand(100_000, 2)
    log_variance = torch.tensor([[0.0, 2 * math.log(3.0)]]).expand(100_000, 2)
    z = sample_gaussian(mean, log_variance, torch.randn(mean.shape, generator=generator())).numpy()
    for j, (m, s) in enumerate([(1, 1), (-2, 3)]):
        assert stats.kstest(z[:, j], stats.norm(m, s).cdf).pvalue > 1e-3


def test_sample_mixture_is_the_mixture():
    mean = torch.tensor([[-4.0], [0.0], [5.0]])
    log_variance = 2 * torch.log(torch.tensor([[1.0], [0.1], [2.0]]))
    weights = torch.tensor([1.0, 3.0, 4.0])
    z = sample_mixture(mean, log_variance, weights, 100_000, generator()).numpy()[:, 0]

    def cdf(x):
        return sum(w / 8 * stats.norm(m, s).cdf(x) for w, m, s in [(1, -4, 1), (3, 0, 0.1), (4, 5, 2)])

    assert stats.kstest(z, cdf).pvalue > 1e-3


def test_a_weight_of_zero_is_never_drawn():
    mean = torch.arange(5.0)[:, None]
    log_variance = torch.full((5, 1), -60.0)
    weights = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    z = sample_mixture(mean, log_variance, weights, 10_000, generator())
    np.testing.assert_array_equal(np.unique(z.round()), [1.0, 3.0])


# ---------------------------------------------------------------------------
# Log-densities
# ---------------------------------------------------------------------------


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def as_torch(mean, log_variance):
    """The Gaussian with diagonal covariance, torch's."""
    return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)


def test_gaussian_log_prob_is_torch_s():
    z, mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1), 3 * random(50, 3, seed=2)
    expected = as_torch(mean, log_variance).log_prob(z)
    torch.testing.assert_close(gaussian_log_prob(z, mean, log_variance), expected, rtol=1e-12, atol=1e-12)
    # of each row under each Gaussian
    found = gaussian_log_prob(z[:, None, :], mean[:4], log_variance[:4])
    expected = as_torch(mean[:4], log_variance[:4]).log_prob(z[:, None, :])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_standard_normal_log_prob_is_torch_s():
    z = 3 * random(50, 3)
    zero = torch.zeros_like(z)
    torch.testing.assert_close(
        standard_normal_log_prob(z), as_torch(zero, zero).log_prob(z), rtol=1e-12, atol=1e-12
    )


def test_kl_to_standard_normal_is_torch_s():
    mean, log_variance = random(50, 3), 2 * random(50, 3, seed=1)
    zero = torch.zeros_like(mean)
    expected = kl_divergence(as_torch(mean, log_variance), as_torch(zero, zero))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected, rtol=1e-12, atol=1e-12)
    assert torch.all(kl_to_standard_normal(zero, zero) == 0)


def test_mixture_log_prob_is_torch_s():
    z, mean, log_variance = 2 * random(50, 3), 2 * random(7, 3, seed=1), random(7, 3, seed=2)
    mixture = MixtureSameFamily(
        Categorical(probs=torch.ones(7, dtype=torch.float64)), as_torch(mean, log_variance)
    )
    found = mixture_log_prob(z, mean, log_variance)
    torch.testing.assert_close(found, mixture.log_prob(z), rtol=1e-12, atol=1e-12)
    # a mixture of one, and of equal ones, is a Gaussian
    torch.testing.assert_close(
        mixture_log_prob(z, mean[:1].expand(5, 3), log_variance[:1].expand(5, 3)),
        as_torch(mean[0], log_variance[0]).log_prob(z), rtol=1e-12, atol=1e-12,
    )  # fmt: skip


def test_mixture_log_prob_near_and_far_away():
    """Against a loop in NumPy; far from all components every density is 0, its logarithm is not."""
    mean, log_variance = random(7, 3, seed=1), random(7, 3, seed=2)
    z = torch.cat([random(5, 3), 1e3 * random(5, 3), torch.full((1, 3), 1e8, dtype=torch.float64)])
    expected = []
    for row in z.numpy():
        logs = [
            sum(-0.5 * (math.log(2 * math.pi) + v + (x - m) ** 2 / math.exp(v)) for x, m, v in zip(row, *k))
            for k in zip(mean.tolist(), log_variance.tolist())
        ]
        highest = max(logs)
        expected.append(highest + math.log(sum(math.exp(a - highest) for a in logs) / 7))
    assert min(expected) < -1e14
    found = mixture_log_prob(z, mean, log_variance)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(
        mixture_log_prob(z.float(), mean.float(), log_variance.float()), expected, rtol=1e-5
    )


# ---------------------------------------------------------------------------
# Pseudo-inputs
# ---------------------------------------------------------------------------


def test_pseudo_inputs_range():
    """The range of the rows they start as, widened by others, never narrowed; a projection onto it."""
    rows = torch.tensor([[0.0, 5.0], [2.0, 3.0], [1.0, 4.0]])
    inputs = PseudoInputs(rows.clone())
    assert inputs.rows.requires_grad
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([0.0, 3.0], [2.0, 5.0])
    with torch.no_grad():
        inputs.rows[0] += torch.tensor([10.0, -10.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]
    inputs.widen([torch.tensor([[-1.0, 4.0], [0.5, 3.5]]), torch.tensor([[1.0, 7.0]])])
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([-1.0, 3.0], [2.0, 7.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]  # inside stays
    assert [name for name, _ in inputs.named_parameters()] == ["rows"]
    assert sorted(inputs.state_dict()) == ["highest", "lowest", "rows"]


def test_the_range_is_no_view_of_the_rows():
    """Of one pseudo-input the range is itself: it must not move along."""
    inputs = PseudoInputs(torch.tensor([[1.0, 2.0]]))
    with torch.no_grad():
        inputs.rows += 3.0
    assert inputs.lowest.tolist() == inputs.highest.tolist() == [1.0, 2.0]
    inputs.project()
    assert inputs.rows.tolist() == [[1.0, 2.0]]


def gradient_of(inputs, index, weight):
    """Of a weighted sum of the selected rows."""
    inputs.rows.grad = None
    (inputs.select(index) * weight).sum().backward()
    return inputs.rows.grad


@pytest.mark.parametrize("sparse", [False, True])
def test_selected_rows_and_their_gradient(sparse):
    inputs = PseudoInputs(random(5, 3))
    inputs.train_sparsely(sparse)
    index, weight = torch.tensor([4, 0, 4, 1]), random(4, 3, seed=1)
    assert torch.equal(inputs.select(index), inputs.rows[index])
    gradient = gradient_of(inputs, index, weight)
    assert gradient.is_sparse == sparse
    if sparse:
        assert gradient._indices().tolist() == [[4, 0, 4, 1]]  # as many rows as were selected
        gradient = gradient.to_dense()
    inputs.rows.grad = None
    (inputs.rows[index] * weight).sum().backward()
    torch.testing.assert_close(gradient, inputs.rows.grad, rtol=1e-15, atol=0)
    assert torch.all(gradient[2:4] == 0)


def test_a_sparse_projection_is_of_the_selected_rows():
    start = torch.tensor([[0.0, 5.0], [2.0, 3.0], [1.0, 4.0], [0.5, 4.5]])
    inputs = PseudoInputs(start.clone())
    inputs.train_sparsely(True)
    inputs.select(torch.tensor([2, 0, 2]))
    with torch.no_grad():
        inputs.rows += torch.tensor([10.0, -10.0])
    inputs.project()
    outside = start + torch.tensor([10.0, -10.0])
    assert inputs.rows.tolist() == [[2.0, 3.0], outside[1].tolist(), [2.0, 3.0], outside[3].tolist()]
    # none are selected any more: all
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0]] * 4


def test_without_sparse_gradients_all_rows_are_projected():
    inputs = PseudoInputs(random(4, 2))
    inputs.train_sparsely(True)
    inputs.select(torch.tensor([1]))
    inputs.train_sparsely(False)
    inputs.select(torch.tensor([1]))
    with torch.no_grad():
        inputs.rows += 100.0
    inputs.project()
    assert torch.equal(inputs.rows, inputs.highest.expand(4, 2))


def assert_are_square_norms(kept, rows):
    """Bit for bit those that would be computed from all rows, and right."""
    assert torch.equal(kept, rows.detach().to(kept.dtype).square().sum(dim=1))
    tolerance = 1e-14 if rows.dtype == torch.float64 else 1e-6
    expected = torch.from_numpy((rows.detach().double().numpy() ** 2).sum(axis=1))
    torch.testing.assert_close(kept.double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("d", [1, 7, 64, 785])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 6])
def test_square_norms_follow_the_steps_bit_for_bit(d, dtype, n):
    """Of an optimiser and of projections: what is kept is what would be computed."""
    inputs = PseudoInputs(random(9, d).to(dtype))
    inputs.train_sparsely(True)
    optimizer = RowAdam([inputs.rows], lr=0.5)  # far: many rows leave the range
    assert_are_square_norms(inputs.square_norms(), inputs.rows)
    for step in range(8):
        index = torch.randint(9, (n,), generator=generator(step))
        before = inputs.rows.detach().clone()
        gradient_of(inputs, index, random(n, d, seed=step).to(dtype))
        optimizer.step()
        inputs.project()
        assert not torch.equal(inputs.rows, before)
        assert_are_square_norms(inputs.square_norms(), inputs.rows)
    assert torch.all((inputs.rows >= inputs.lowest) & (inputs.rows <= inputs.highest))


def test_square_norms_are_kept_while_nothing_moves():
    inputs = PseudoInputs(random(9, 3))
    assert inputs.square_norms() is not inputs.square_norms()
    inputs.train_sparsely(True)
    assert inputs.square_norms() is inputs.square_norms()
    before = inputs.square_norms()
    inputs.select(torch.tensor([1, 2]))
    inputs.project()
    assert inputs.square_norms() is before  # brought up to date, not computed again
    inputs.train_sparsely(False)
    assert inputs.square_norms() is not inputs.square_norms()


@pytest.mark.parametrize("then", ["nothing", "a step", "a step, and norms before it"])
def test_square_norms_know_that_others_changed_the_rows(then):
    """Such as an interrupted training, which goes back to its last complete epoch."""
    inputs = PseudoInputs(random(9, 3))
    inputs.train_sparsely(True)
    optimizer = RowAdam([inputs.rows], lr=0.5)
    inputs.square_norms()
    inputs.load_state_dict({**inputs.state_dict(), "rows": random(9, 3, seed=1)})
    if then != "nothing":
        if then == "a step, and norms before it":
            assert_are_square_norms(inputs.square_norms(), inputs.rows)
        gradient_of(inputs, torch.tensor([3, 5]), random(2, 3, seed=2))
        optimizer.step()
        inputs.project()
    assert_are_square_norms(inputs.square_norms(), inputs.rows)
    with torch.no_grad():
        inputs.rows[2] += 1.0
    assert_are_square_norms(inputs.square_norms(), inputs.rows)
