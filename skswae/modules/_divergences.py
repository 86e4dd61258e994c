"""Divergences between a sample of codes and a sample of the prior: latent terms of Wasserstein autoencoders.

Functions of two samples, differentiable in both. Half-precision samples are computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_ANNEALING = 4.0  # factor between successive epsilons: halves the length that the plan resolves


def _stack(x: Tensor, y: Tensor) -> Tensor:
    """Return the rows of both samples about their mean, at least in float32: (n, k), (m, k) -> (n + m, k)."""
    z = torch.cat([x, y])
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    # distances do not know of the origin, but their rounding does: large numbers lose digits
    return z - z.detach().mean(dim=0)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ||a_i - b_j||_2^2 by one matrix product: (n, k), (m, k) -> (n, m).

    No square root, hence no infinite gradient at equal rows. The rounding error of an entry is that of
    ||a_i||^2 + ||b_j||^2, which the kernels' and the plan's length scales exceed by far.
    """
    norms = b.square().sum(dim=1)
    product = torch.addmm(norms, a, b.T, alpha=-2.0)
    return (a.square().sum(dim=1, keepdim=True) + product).clamp_min(0.0)


def debiased(divergence: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return a transport cost less what two samples of the same distribution cost.

    The cost D of small samples is smallest for an x less wide than y: if the plan pairs rows of correlation
    r, an x of standard deviation c has E D = k (1 + c^2 - 2 c r), least at c = r. With halves of the samples,

    1/2 [D(x_1, y_1) + D(x_2, y_2) - D(x_1, x_2) - D(y_1, y_2)]

    has the expectation k r (1 - c)^2: the prior's own width is the best. A batch's value may be negative.

    Parameters
    ----------
    divergence : callable
        D, of two samples of equal size.
    x, y : Tensor of shape (n, k)
        Of an odd number of rows the last is left out. One row cannot be divided: that is D(x, y).

    Returns
    -------
    divergence : Tensor of shape ()

    References
    ----------
    Fatras et al., Minibatch optimal transport distances; analysis and applications, 2021: the debiased loss.
    """
    size = len(x) // 2
    if size == 0:
        return divergence(x, y)
    (x_1, x_2), (y_1, y_2) = (z[: 2 * size].split(size) for z in (x, y))
    across = divergence(x_1, y_1) + divergence(x_2, y_2)
    return 0.5 * (across - divergence(x_1, x_2) - divergence(y_1, y_2))


# ---------------------------------------------------------------------------
# Maximum mean discrepancy
# ---------------------------------------------------------------------------


def mmd(
    x: Tensor,
    y: Tensor,
    kernel: str = "imq",
    scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
) -> Tensor:
    """Estimate the squared maximum mean discrepancy without bias.

    1/(n(n-1)) sum_{i!=j} k(x_i, x_j) + 1/(m(m-1)) sum_{i!=j} k(y_i, y_j) - 2/(nm) sum_ij k(x_i, y_j)

    with k the sum over the scales s of C / (C + ||a - b||^2) or exp(-||a - b||^2 / C), C = 2 k s for codes of
    k components: the mean squared distance of two standard normal codes, times s.

    The first two terms are undefined for a sample of one row. There k(x_1, x_1), the number of scales, takes
    their place, as in the biased estimator: a constant, so that a last batch of one row trains, by the
    cross term.

    Parameters
    ----------
    x : Tensor of shape (n, k)
    y : Tensor of shape (m, k)
    kernel : {"imq", "rbf"}
        Inverse multiquadratic, or Gaussian.
    scales : sequence of float above 0

    Returns
    -------
    divergence : Tensor of shape ()
        Its expectation over samples is not negative; its value may be.

    References
    ----------
    Tolstikhin, Bousquet, Gelly & Schoelkopf, Wasserstein Auto-Encoders, ICLR 2018: Algorithm 2, and the
    constants of its public code with a prior of unit variance. Gretton et al., A Kernel Two-Sample Test,
    JMLR 2012: Lemma 6.
    """
    if kernel not in ("imq", "rbf"):
        raise ValueError(f"kernel must be 'imq' or 'rbf'. Got {kernel!r} instead.")
    (n, n_components), m = x.shape, len(y)
    z = _stack(x, y)
    constants = [2.0 * n_components * scale for scale in scales]
    i, j = torch.triu_indices(n + m, n + m, offset=1, device=z.device)  # each pair once
    distances = _squared_distances(z, z).flatten().index_select(0, i * (n + m) + j)
    weights = torch.full_like(distances, -2.0 / (n * m))
    weights.masked_fill_(j < n, 2.0 / max(1, n * (n - 1))).masked_fill_(i >= n, 2.0 / max(1, m * (m - 1)))
    of_one_row = len(constants) * ((n == 1) + (m == 1))
    return (weights * _kernel_sum(distances, kernel, constants)).sum() + of_one_row


def _kernel_sum(distances: Tensor, kernel: str, constants: Sequence[float]) -> Tensor:
    """Return the sum of the kernels of all scales, of the shape of the squared distances."""
    total = torch.zeros_like(distances)
    for constant in constants:  # in place: fewer large tensors to allocate
        if kernel == "imq":
            total.add_((distances + constant).reciprocal_(), alpha=constant)
        else:
            total.add_((distances / -constant).exp_())
    return total


# ---------------------------------------------------------------------------
# Sliced Wasserstein distance
# ---------------------------------------------------------------------------


def random_directions(
    n_projections: int,
    n_components: int,
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """Draw unit vectors, uniform on the sphere: (n_projections, n_components)."""
    directions = torch.randn((n_projections, n_components), dtype=dtype, device=device, generator=generator)
    return nn.functional.normalize(directions, dim=1)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """Return the squared 2-Wasserstein distance of projections on lines, mean over the directions.

    1/L sum_l 1/n sum_i (<t_l, x>_(i) - <t_l, y>_(i))^2, with a_(i) the i-th smallest of a_1, ..., a_n: on a
    line the optimal plan pairs equal ranks. About ||mean(x) - mean(y)||^2 / k for distant samples: each
    projection sees a k-th part of a squared distance.

    Parameters
    ----------
    x, y : Tensor of shape (n, k)
    directions : Tensor of shape (L, k)
        Unit vectors, as from :func:`random_directions`.

    Returns
    -------
    divergence : Tensor of shape ()
        Not negative.

    References
    ----------
    Kolouri, Pope, Martin & Rohde, Sliced-Wasserstein Auto-Encoders, ICLR 2019.
    """
    if x.shape != y.shape:
        raise ValueError(
            "x and y must have the same shape, since equal ranks are paired. "
            f"Got {tuple(x.shape)} and {tuple(y.shape)} instead."
        )
    z = _stack(x, y)
    projected = (directions.to(z.dtype) @ z.T).unflatten(1, (2, len(x)))  # (L, 2, n)
    ranked = projected.sort(dim=2).values
    return (ranked[:, 0] - ranked[:, 1]).square().mean()


# ---------------------------------------------------------------------------
# Sinkhorn divergence
# ---------------------------------------------------------------------------


def _across(potentials: Tensor) -> Tensor:
    """Move the potential of each problem's other sample to the last axis: (2, n, 2) -> (2, 1, 2, n)."""
    return potentials.permute(2, 0, 1)[:, None]


def _exponent_floor(dtype: torch.dtype) -> float:
    """Return the exponent below which a sum of exponentials of at most 0 leaves terms out, -78 in float32.

    Where exp underflows it takes 10 to 30 times as long, and small epsilons are mostly underflow.
    """
    return 0.9 * math.log(torch.finfo(dtype).tiny)


def _log_sum_exp_(a: Tensor) -> Tensor:
    """Return torch.logsumexp over the last axis without underflow, overwriting the argument."""
    largest = a.amax(dim=-1, keepdim=True)
    a.sub_(largest).clamp_(min=_exponent_floor(a.dtype)).exp_()
    return a.sum(dim=-1).log_().add_(largest.squeeze(-1))


@torch.no_grad()
def _potentials(cost: Tensor, log_weights: Tensor, epsilon: float, max_iter: int, tol: float) -> Tensor:
    """Return dual potentials of the four transport problems between two samples: (2, n, 2).

    [s, i, t] is the potential on sample s of the problem between samples s and t. ``cost``, of shape
    (2, n, 2, n), leads from row i of sample s to row j of sample t; ``log_weights``, of shape (2, n), is
    minus infinity for a row of padding; the others are those of :func:`sinkhorn_divergence`.
    """
    largest = cost.max().item()
    n_annealing = 0
    if epsilon < largest < math.inf:
        n_annealing = math.ceil(math.log(largest / epsilon, _ANNEALING))
    h = torch.zeros(cost.shape[:3], dtype=cost.dtype, device=cost.device)
    for step in range(n_annealing, 0, -1):
        coarse = epsilon * _ANNEALING**step
        image = _log_sum_exp_((_across(h) - cost) / coarse + log_weights).mul_(-coarse)
        h = image if step == n_annealing else (h + image) / 2.0

    # From here in units of epsilon. A symmetrised update is a step of gradient ascent on the concave dual, of
    # which the plain sequence needs hundreds where epsilon is small; Nesterov's momentum, dropped
    # whenever it points downhill (O'Donoghue & Candes 2015), needs about the square root of that. All
    # problems move by the same rule, so that equal samples give exactly zero at any iterate.
    log_kernel = cost.div(-epsilon).add_(log_weights)
    u = h / epsilon
    last, age = u, 0
    for _ in range(max_iter):
        step_u = _log_sum_exp_(log_kernel + _across(u)).add_(u).mul_(-0.5)
        new = u + step_u
        if 2.0 * step_u.abs().mean().item() <= tol:
            return new * epsilon
        move = new - last
        age = age + 1 if (step_u * move).sum().item() >= 0.0 else 0
        last, u = new, torch.add(new, move, alpha=age / (age + 3.0))
    return last * epsilon


def sinkhorn_divergence(
    x: Tensor, y: Tensor, epsilon: float, max_iter: int = 100, tol: float = 1e-3
) -> Tensor:
    """Return the entropic optimal transport cost between two samples, debiased.

    S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2, with OT(x, y) = min_P <P, C> + epsilon KL(P | a b^T) over the
    plans P of uniform marginals a and b, and C_ij = ||x_i - y_j||_2^2.

    S goes from the squared 2-Wasserstein distance, at epsilon = 0, to ||mean(x) - mean(y)||_2^2 at infinity.

    The potentials f, g are found without gradient by symmetrised Sinkhorn updates in log space. The value is
    then the mean of the dual objectives of (f, T f) and (T g, g), T being one update: its error is
    quadratic in theirs, and its gradient, through the cost in T alone, is the mean of the plans normalised by
    rows and by columns: the envelope theorem's where f and g are optimal.

    Parameters
    ----------
    x : Tensor of shape (n, k)
    y : Tensor of shape (m, k)
    epsilon : float above 0
        In units of a squared distance of codes: standard normal codes lie 2 k apart. Blurs lengths below
        sqrt(epsilon).
    max_iter : int
        Updates at this epsilon, at most, after about log4(max(C) / epsilon) at larger ones. For codes of
        about unit variance in 2 to 40 dimensions the defaults give the value to 1e-4 and the gradient to
        2e-2 from epsilon = 0.1 upwards, in 5 to 100 updates. At 0.01 they give the value to 2e-3, and in 8
        dimensions or more the gradient is half wrong: raise ``max_iter`` there.
    tol : float
        Stop when an update would move the potentials by at most tol * epsilon on average, that is, when the
        marginals of the plan are off by that factor. Out of reach of float32 where epsilon < 1e-4 max(C).

    Returns
    -------
    divergence : Tensor of shape ()
        Not negative, up to rounding and tolerance; zero for equal samples.

    References
    ----------
    Patrini et al., Sinkhorn AutoEncoders, UAI 2019. Genevay, Peyre & Cuturi, Learning Generative Models with
    Sinkhorn Divergences, AISTATS 2018. Feydy et al., Interpolating between Optimal Transport and MMD using
    Sinkhorn Divergences, AISTATS 2019.
    """
    n, m = len(x), len(y)
    size = max(n, m)
    z = _stack(x, y)
    log_weights = torch.full((2, size), -math.inf, dtype=z.dtype, device=z.device)
    log_weights[0, :n] = -math.log(n)
    log_weights[1, :m] = -math.log(m)
    if n != m:  # rows of weight zero fill the smaller sample up
        z = torch.cat([nn.functional.pad(part, (0, 0, 0, size - len(part))) for part in (z[:n], z[n:])])
    cost = _squared_distances(z, z).view(2, size, 2, size)
    h = _potentials(cost.detach(), log_weights, epsilon, max_iter, tol)
    exponents = (_across(h) - cost) / epsilon + log_weights  # (2, size, 2, size)
    floor = exponents.detach().amax(dim=-1, keepdim=True) + _exponent_floor(z.dtype)
    image = torch.logsumexp(exponents.clamp(min=floor), dim=-1) * -epsilon  # (2, size, 2)
    # per row, across minus within: large numbers cancel before they are summed
    both = h + image
    excess = torch.stack([both[0, :, 1] - both[0, :, 0], both[1, :, 0] - both[1, :, 1]])  # (2, size)
    return 0.5 * (log_weights.exp() * excess).sum()
