"""Divergences between samples, against double loops, POT, closed forms and numerical gradients."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from skswae.modules._divergences import (
    debiased,
    mmd,
    random_directions,
    sinkhorn_divergence,
    sliced_wasserstein,
)

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
EXACT = {"max_iter": 5000, "tol": 1e-10}  # float64
DIVERGENCES = {
    "mmd-imq": lambda x, y: mmd(x, y),
    "mmd-rbf": lambda x, y: mmd(x, y, "rbf"),
    "sliced": lambda x, y: sliced_wasserstein(x, y, directions(20, x.shape[1])),
    "sinkhorn": lambda x, y: sinkhorn_divergence(x, y, 0.5, **(EXACT if x.dtype == torch.float64 else {})),
}
every = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES.keys())
every_key = pytest.mark.parametrize("key", DIVERGENCES)
every_kernel = pytest.mark.parametrize("kernel", ["imq", "rbf"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(n, m, k, dtype=torch.float64, seed=0):
    """Draw samples of two distributions: N(0.5, 0.7^2) and N(0, 1)."""
    g = generator(seed)
    x = 0.5 + 0.7 * torch.randn((n, k), dtype=dtype, generator=g)
    return x, torch.randn((m, k), dtype=dtype, generator=g)


def directions(n_projections, k, dtype=torch.float64, seed=1):
    return random_directions(n_projections, k, generator(seed), dtype, "cpu")


@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 4)])
@every_key
def test_gradient_is_the_numerical_gradient(key, n, m):
    x, y = draw(n, n if key == "sliced" else m, 3)
    assert torch.autograd.gradcheck(DIVERGENCES[key], (x.requires_grad_(), y.requires_grad_()))


@every
def test_shift_invariance(divergence):
    """Far from the origin squared norms are 1e6, whose rounding would drown the distances."""
    x, y = (torch.round(z * 256) / 256 for z in draw(8, 8, 3, torch.float32))
    moved = divergence(x + 1024.0, y + 1024.0)  # exact: eighteen bits
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved, divergence(x, y), rtol=1e-4, atol=0)


@every_key
def test_rotation_symmetry_and_order(key):
    (x, y), divergence = draw(8, 8, 3), DIVERGENCES[key]
    rotation = torch.linalg.qr(torch.randn((3, 3), dtype=torch.float64, generator=generator())).Q
    turned = divergence(x @ rotation, y @ rotation)
    if key == "sliced":  # for given directions it is invariant only if they turn too
        turned = sliced_wasserstein(x @ rotation, y @ rotation, directions(20, 3) @ rotation)
    for value in (turned, divergence(y, x), divergence(x.flip(0), y)):
        torch.testing.assert_close(value, divergence(x, y), rtol=1e-9, atol=0)


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(divergence, dtype):
    x, y = (z.to(dtype) for z in draw(8, 8, 3))
    value = divergence(x, y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, divergence(x.double(), y.double()).float(), rtol=1e-4, atol=0)


@every
def test_equal_rows_have_finite_gradients(divergence):
    """A distance has none where it is 0; its square has."""
    x, y = draw(4, 8, 3)
    x = x.repeat(2, 1).requires_grad_()
    for other in (y, x.detach()):
        (gradient,) = torch.autograd.grad(divergence(x, other), x)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (6, 1)])
@every_key
def test_a_batch_of_one_row_trains(key, n, m):
    divergence = DIVERGENCES[key]
    x, y = draw(n, n if key == "sliced" else m, 3)
    value = divergence(x.requires_grad_(), y)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    # towards the prior: a small step downhill lowers the value
    assert divergence(x.detach() - 0.01 * x.grad, y) < value


def kernel_by_hand(a, b, kernel):
    constants, d = [2 * len(a) * s for s in SCALES], sum((a - b) ** 2)
    return sum(c / (c + d) if kernel == "imq" else math.exp(-d / c) for c in constants)


@every_kernel
@pytest.mark.parametrize(("n", "m"), [(7, 7), (5, 9)])
def test_mmd_against_a_double_loop(kernel, n, m):
    x, y = draw(n, m, 4)
    a, b = x.numpy(), y.numpy()
    xx = [kernel_by_hand(a[i], a[j], kernel) for i in range(n) for j in range(n) if i != j]
    yy = [kernel_by_hand(b[i], b[j], kernel) for i in range(m) for j in range(m) if i != j]
    xy = [kernel_by_hand(a[i], b[j], kernel) for i in range(n) for j in range(m)]
    expected = np.mean(xx) + np.mean(yy) - 2 * np.mean(xy)
    np.testing.assert_allclose(mmd(x, y, kernel), expected, rtol=1e-12)
    # float32: 7 kernels of at most 1, each to 1e-7
    np.testing.assert_allclose(mmd(x.float(), y.float(), kernel), expected, atol=2e-6, rtol=0)
    alone = sum(mmd(x, y, kernel, scales=(s,)) for s in SCALES)
    np.testing.assert_allclose(alone, expected, rtol=1e-12)


@every_kernel
def test_mmd_is_unbiased(kernel):
    g, same, other = generator(), [], []
    for _ in range(300):
        x, y = (torch.randn((size, 2), generator=g) for size in (10, 15))
        same.append(mmd(x, y, kernel).item())
        other.append(mmd(x + 1.0, y, kernel).item())
    standard_error = np.std(same) / math.sqrt(len(same))
    assert abs(np.mean(same)) < 4 * standard_error
    assert standard_error < 0.03 * np.mean(other)


@every_kernel
def test_mmd_of_one_row_is_the_biased_estimator(kernel):
    x, y = draw(1, 1, 3)
    k = kernel_by_hand(x[0].numpy(), y[0].numpy(), kernel)
    np.testing.assert_allclose(mmd(x, y, kernel), 2 * len(SCALES) - 2 * k, rtol=1e-12)
    np.testing.assert_allclose(mmd(x, x, kernel), 0.0, atol=1e-14)


def test_mmd_of_equal_rows():
    """Rounding must not make a squared distance negative: no kernel exceeds 1, however small its scale."""
    x = draw(20, 20, 8, torch.float32)[0].repeat(2, 1)
    assert abs(mmd(x, x, "rbf", scales=(1e-9,))) <= 2.0


@every_kernel
def test_mmd_has_a_second_derivative(kernel):
    x, y = draw(3, 4, 2)
    assert torch.autograd.gradgradcheck(lambda x: mmd(x, y, kernel), (x.requires_grad_(),))


def test_mmd_refuses_an_unknown_kernel():
    with pytest.raises(ValueError, match=r"kernel must be 'imq' or 'rbf'\. Got 'gaussian'"):
        mmd(*draw(3, 3, 2), kernel="gaussian")


def test_random_directions_are_uniform_on_the_sphere():
    d = directions(20_000, 3, torch.float32)
    assert torch.equal(d, directions(20_000, 3, torch.float32))
    assert not torch.equal(d, directions(20_000, 3, torch.float32, seed=2))
    torch.testing.assert_close(d.norm(dim=1), torch.ones(20_000))
    # Archimedes: every coordinate, along any axis, is uniform in [-1, 1]
    for coordinate in (d[:, 0], d[:, 2], d @ (torch.ones(3) / math.sqrt(3.0))):
        assert stats.kstest(coordinate.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_sliced_wasserstein_against_pot():
    x, y = draw(30, 30, 4)
    d = directions(25, 4)
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=d.T.numpy()) ** 2
    np.testing.assert_allclose(sliced_wasserstein(x, y, d), expected, rtol=1e-10)


def test_sliced_wasserstein_of_a_translation():
    """Projections move by <t, shift>; the mean of its square over the sphere is ||shift||^2 / k."""
    x, _ = draw(30, 30, 3)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    y = (x + shift)[torch.randperm(30, generator=generator())]
    d = directions(20_000, 3)
    torch.testing.assert_close(sliced_wasserstein(x, y, d[:7]), (d[:7] @ shift).square().mean())
    # 20 000 directions: standard error 0.6 %
    torch.testing.assert_close(sliced_wasserstein(x, y, d), shift.square().sum() / 3, rtol=0.03, atol=0)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_sliced_wasserstein_refuses_unequal_sizes(size):
    with pytest.raises(ValueError, match=rf"same shape.*Got \(5, 2\) and \({size}, 2\)"):
        sliced_wasserstein(*draw(5, size, 2), directions(3, 2))


def divergence_by_pot(x, y, epsilon):
    def cost(a, b):
        return ot.solve(ot.dist(a, b), reg=epsilon, reg_type="KL", max_iter=50_000, tol=1e-8).value

    x, y = x.numpy(), y.numpy()
    return cost(x, y) - cost(x, x) / 2 - cost(y, y) / 2


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 10.0])
@pytest.mark.parametrize(("n", "m", "k"), [(12, 12, 2), (8, 6, 3), (1, 9, 3)])
def test_sinkhorn_against_pot(n, m, k, epsilon):
    x, y = draw(n, m, k)
    expected = divergence_by_pot(x, y, epsilon)
    np.testing.assert_allclose(sinkhorn_divergence(x, y, epsilon, **EXACT), expected, rtol=1e-6)
    # a training batch in float32, with the default number of updates
    np.testing.assert_allclose(sinkhorn_divergence(x.float(), y.float(), epsilon), expected, rtol=2e-4)


@pytest.mark.parametrize("k", [2, 8, 40])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_default_updates_give_the_gradient(k, epsilon):
    """The worst of these is 0.02, at epsilon = 0.1 in 40 dimensions."""
    x, y = draw(64, 64, k)
    exact, quick = x.clone().requires_grad_(), x.float().requires_grad_()
    sinkhorn_divergence(exact, y, epsilon, max_iter=2000, tol=1e-8).backward()
    sinkhorn_divergence(quick, y.float(), epsilon).backward()
    assert (quick.grad - exact.grad).norm() < 0.04 * exact.grad.norm()


def test_momentum_is_dropped_where_it_overshoots():
    """60 updates give the gradient to 2e-12; to 3e-6 with momentum that is never dropped."""
    x, y = draw(64, 64, 2)
    few, many = x.clone().requires_grad_(), x.clone().requires_grad_()
    sinkhorn_divergence(few, y, 1.0, max_iter=60, tol=0.0).backward()
    sinkhorn_divergence(many, y, 1.0, max_iter=5000, tol=1e-13).backward()
    assert (few.grad - many.grad).norm() < 1e-8 * many.grad.norm()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_sinkhorn_in_other_units(scale):
    x, y = draw(12, 12, 3)
    found, expected = (
        sinkhorn_divergence(scale * x, scale * y, 0.5 * scale**2),
        sinkhorn_divergence(x, y, 0.5),
    )
    torch.testing.assert_close(found, scale**2 * expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 1.0, 100.0])
def test_equal_samples_are_a_minimum_at_zero(epsilon, dtype):
    """Whether the potentials have converged or not: the four problems move by the same rule."""
    x, _ = draw(32, 32, 8, dtype)
    for max_iter in (1, 10, 100):
        z = x.clone().requires_grad_()
        value = sinkhorn_divergence(z, x, epsilon, max_iter=max_iter)
        value.backward()
        rounding = 100 * torch.finfo(dtype).eps
        assert abs(value.item()) < rounding * torch.cdist(x, x).square().max()
        # a small epsilon magnifies the rounding of the cost, in the plan and so in the gradient
        assert z.grad.abs().max() < rounding * max(1.0, 1.0 / epsilon)


def test_sinkhorn_of_a_small_epsilon_is_optimal_transport():
    x, y = draw(16, 16, 2)
    expected = ot.emd2([], [], ot.dist(x.numpy(), y.numpy()))
    errors = [abs(sinkhorn_divergence(x, y, e, 5000, 1e-6).item() - expected) for e in (1.0, 0.1, 0.01)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3 * expected


@pytest.mark.parametrize(("n", "m"), [(64, 64), (64, 40)])
@pytest.mark.parametrize("relative", [1e-4, 1e-6])
def test_a_small_epsilon_in_float32(relative, n, m):
    """Exponents of 1e4 to 1e6: finite in log space only. 100 updates do not converge; the value is near."""
    x, y = draw(n, m, 8, torch.float32)
    cost = ot.dist(x.double().numpy(), y.double().numpy())
    value = sinkhorn_divergence(x.requires_grad_(), y, relative * cost.max())
    value.backward()
    assert torch.isfinite(x.grad).all()
    np.testing.assert_allclose(value.item(), ot.emd2([], [], cost), rtol=0.05)


def test_sinkhorn_of_a_large_epsilon_is_the_distance_of_the_means():
    """P = a b^T: E||x - y||^2 - E||x - x'||^2 / 2 - E||y - y'||^2 / 2 = ||E x - E y||^2."""
    x, y = draw(9, 14, 3)
    expected = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    torch.testing.assert_close(sinkhorn_divergence(x, y, 1e5), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30, 1.5e19])
def test_sinkhorn_reports_what_is_not_finite(bad):
    """A diverged encoder gives NaN or infinity, not an error or a loop without end."""
    x, y = draw(4, 4, 2, torch.float32)
    x[1, 0], y[0, 0] = bad, -bad  # 1.5e19: finite squared norms, infinite distance
    assert not math.isfinite(sinkhorn_divergence(x, y, 0.5))


@pytest.mark.parametrize("kind", ["mmd", "sliced", pytest.param("sinkhorn", marks=pytest.mark.slow)])
def test_the_prior_s_own_width_is_the_best_on_average(kind):
    """The slope in the width of x is 0 at that of y; without the halves it pulls x narrower."""
    g = generator()
    lines = random_directions(20, 4, g, torch.float32, "cpu")
    divergence = {
        "mmd": mmd,
        "sliced": lambda x, y: sliced_wasserstein(x, y, lines),
        "sinkhorn": lambda x, y: sinkhorn_divergence(x, y, 0.8),
    }[kind]

    def slopes(corrected):
        found = []
        for _ in range(200):
            x, y = torch.randn((2, 32, 4), generator=g)
            width = torch.ones((), requires_grad=True)
            value = debiased(divergence, width * x, y) if corrected else divergence(width * x, y)
            found.append(torch.autograd.grad(value, width)[0].item())
        return np.mean(found) / (np.std(found) / np.sqrt(len(found)))  # in standard errors

    if kind == "mmd":  # is without bias by itself
        assert abs(slopes(corrected=False)) < 4
    else:
        assert abs(slopes(corrected=True)) < 4
        assert slopes(corrected=False) > 8


@pytest.mark.slow
def test_the_debiased_distance_is_that_of_expected_quantiles():
    """On a line E D = 1/n sum_i (E x_(i) - E y_(i))^2 with the order statistics of half the rows."""
    n, width, shift, g = 10, 0.6, 0.3, generator()
    line = torch.ones(1, 1, dtype=torch.float64)
    samples = torch.randn((4000, 2, 2 * n, 1), dtype=torch.float64, generator=g)
    values = [
        debiased(lambda x, y: sliced_wasserstein(x, y, line), shift + width * x, y).item() for x, y in samples
    ]
    ranked = np.sort(np.random.default_rng(0).normal(size=(100_000, n)), axis=1).mean(axis=0)
    expected = np.mean((shift + width * ranked - ranked) ** 2)
    assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(len(values)) + 1e-3


def test_debiased_of_few_rows():
    x, y = draw(5, 5, 3)
    divergence = DIVERGENCES["sliced"]
    expected = divergence(x[:2], y[:2]) + divergence(x[2:4], y[2:4])
    expected = 0.5 * (expected - divergence(x[:2], x[2:4]) - divergence(y[:2], y[2:4]))
    torch.testing.assert_close(debiased(divergence, x, y), expected)
    torch.testing.assert_close(debiased(divergence, x[:1], y[:1]), divergence(x[:1], y[:1]))
