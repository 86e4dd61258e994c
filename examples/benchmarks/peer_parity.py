"""VAE and WAE-MMD beside pythae 0.1.2: do equal conditions give equal models?

Both sides get the same network and first weights, rows, batch size, number of steps, Adam at a constant rate
and objective; noise and the order of the rows are each side's own. First the objectives are compared at equal
weights and noise, then the trained models on test rows, by formulas written here. The bound is a test error
and a test loss of at most 1.03 times pythae's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import _pythae
import numpy as np
import torch
from _harness import Page, mean_and_std, mnist, parser
from _pythae import BATCH_SIZE, LEARNING_RATE, MMD_SCALES, N_COMPONENTS, mmd_weight
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from skswae import VAETransformer, WAETransformer

KINDS = ("VAE", "WAE-MMD")
N_DRAWS = 10  # codes drawn for each test row
BOUND = 1.03


class PlainMLP(BaseEstimator):
    """Two hidden layers with ReLU and torch's first weights, which the seed decides, for both sides."""

    def __init__(self, seed, hidden_size=300):
        self.seed = seed
        self.hidden_size = hidden_size

    def build_encoder(self, n_features, n_outputs):
        """(n, n_features) -> (n, n_outputs)."""
        h = self.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * self.seed + n_features)
            layers = nn.Linear(n_features, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, n_outputs)
        return nn.Sequential(*layers)

    def build_decoder(self, n_components, n_features):
        """(n, n_components) -> (n, n_features), before the sigmoid."""
        return self.build_encoder(n_components, n_features)


@dataclass
class Fitted:
    """A trained model of either side, and the CPU seconds of its training."""

    posterior: Callable[[Tensor], tuple[Tensor, Tensor | None]]  # mean and log-variance, of WAE the code
    decode: Callable[[Tensor], Tensor]
    mmd_weight: float
    seconds: float


def fit_skswae(kind: str, X, epochs: int, seed: int):
    """Return a fitted transformer."""
    common = {
        "network": PlainMLP(seed),
        "init": "random",
        "output_activation": "sigmoid",
        "max_iter": epochs,
        "batch_size": BATCH_SIZE,
        "learning_rate": "constant",
        "learning_rate_init": LEARNING_RATE,
        "device": "cpu",
        "random_state": seed,
    }
    if kind == "VAE":
        model = VAETransformer(N_COMPONENTS, likelihood="bernoulli", posterior_scale_floor=0, **common)
    else:
        model = WAETransformer(N_COMPONENTS, **_pythae.wae_parameters(X), **common)
    return model.fit(X)


def skswae_side(kind: str, X, epochs: int, seed: int) -> Fitted:
    """Train by skswae."""
    start = time.process_time()
    module = fit_skswae(kind, X, epochs, seed).module_
    seconds = time.process_time() - start
    posterior = (lambda x: (module.encode(x), None)) if kind == "WAE-MMD" else module.posterior
    return Fitted(posterior, module.decode, mmd_weight(X), seconds)


def pythae_side(kind: str, X, epochs: int, seed: int) -> Fitted:
    """Train by pythae; its last epoch counts, as skswae's."""
    start = time.process_time()
    model = _pythae.train(_pythae.build(kind, X, PlainMLP(seed)), X, epochs, seed).eval()
    seconds = time.process_time() - start

    def posterior(x):
        output = model.encoder(x)
        return output.embedding, getattr(output, "log_covariance", None)

    return Fitted(posterior, lambda z: model.decoder(z).reconstruction, mmd_weight(X), seconds)


# ---------------------------------------------------------------------------
# What is compared
# ---------------------------------------------------------------------------


def objective_difference(kind: str, X) -> tuple[float, float]:
    """Return relative differences of the training loss and of its gradient, at equal weights and noise."""
    module, peer = fit_skswae(kind, X, 1, 0).module_.train(), _pythae.build(kind, X, PlainMLP(0))
    peer.encoder.network.load_state_dict(module.encoder.state_dict())
    peer.decoder.network.load_state_dict(module.decoder.state_dict())
    x = torch.from_numpy(X[:BATCH_SIZE])
    ((_, terms),) = module.losses(x, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    losses = terms["loss"], peer({"data": x}).loss
    gradients = []
    for loss, side in zip(losses, (module, peer)):
        parameters = [*side.encoder.parameters(), *side.decoder.parameters()]
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    (ours, theirs), (a, b) = (loss.item() for loss in losses), gradients
    return abs(ours / theirs - 1.0), float((a - b).norm() / b.norm())


@torch.no_grad()
def error_and_loss(fitted: Fitted, X) -> tuple[float, float]:
    """Return the squared error from posterior means, and the objective with fixed noise, over the rows."""
    generator = torch.Generator().manual_seed(0)
    x_all = torch.from_numpy(X)
    error = loss = 0.0
    for x in x_all.tensor_split(max(1, len(x_all) // 500)):
        mean, log_variance = fitted.posterior(x)
        cost = float((x - fitted.decode(mean)).square().sum())
        error += cost
        if log_variance is None:
            prior = torch.randn(mean.shape, generator=generator)
            loss += cost + fitted.mmd_weight * mmd(mean, prior) * len(x)
        else:
            loss += negative_elbo(fitted, x, mean, log_variance, generator)
    return error / len(x_all), loss / len(x_all)


def mmd(z: Tensor, prior: Tensor) -> float:
    """Return the unbiased estimate with inverse multiquadratic kernels."""

    def kernel(a, b):
        squares = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
        return sum(c / (c + squares) for c in (2.0 * N_COMPONENTS * scale for scale in MMD_SCALES))

    n = len(z)
    within = kernel(z, z).fill_diagonal_(0.0).sum() + kernel(prior, prior).fill_diagonal_(0.0).sum()
    return float(within / (n * (n - 1)) - 2.0 * kernel(z, prior).mean())


def negative_elbo(fitted: Fitted, x, mean, log_variance, generator) -> float:
    """Return the sum over the rows, the mean over several draws."""
    scale = torch.exp(0.5 * log_variance)
    prior = Independent(Normal(torch.zeros(N_COMPONENTS), torch.ones(N_COMPONENTS)), 1)
    total = N_DRAWS * float(kl_divergence(Independent(Normal(mean, scale), 1), prior).sum())
    for _ in range(N_DRAWS):
        z = mean + scale * torch.randn(mean.shape, generator=generator)
        total += float(nn.functional.binary_cross_entropy(fitted.decode(z), x, reduction="sum"))
    return total / N_DRAWS


def digits(seed: int):
    """Return training and test rows in [0, 1], 70 to 30; training rows beyond whole batches are dropped."""
    X = (load_digits().data / 16).astype(np.float32)
    X_train, X_test = train_test_split(X, train_size=0.7, random_state=seed)
    return X_train[: len(X_train) // BATCH_SIZE * BATCH_SIZE], X_test


def compare(page, name: str, data: Callable, epochs: int, n_seeds: int) -> None:
    """Add two rows a model."""
    for kind in KINDS:
        means = {}
        for side, fit in (("pythae", pythae_side), ("skswae", skswae_side)):
            found = []
            for seed in range(n_seeds):
                X_train, X_test = data(seed)
                fitted = fit(kind, X_train, epochs, seed)
                found.append((*error_and_loss(fitted, X_test), fitted.seconds))
            errors, losses, seconds = zip(*found)
            means[side] = np.array([np.mean(errors), np.mean(losses)])
            verdict = ["", "", ""]
            if side == "skswae":
                ratios = means["skswae"] / means["pythae"]
                verdict = [f"{r:.3f}" for r in ratios] + ["yes" if max(ratios) <= BOUND else "no"]
            cells = mean_and_std(errors), mean_and_std(losses), *verdict, f"{np.mean(seconds):.1f}"
            page.row(name, kind, side, *cells)


def main():
    arguments = parser(__doc__, "data")
    arguments.add_argument("--digits-epochs", type=int, default=100, help="of 12 steps; 0: no digits")
    arguments.add_argument("--digits-seeds", type=int, default=5, help="seeds on digits")
    arguments.add_argument("--mnist-epochs", type=int, default=5, help="of 600 steps; 0: no MNIST")
    arguments.add_argument("--mnist-seeds", type=int, default=2, help="seeds on MNIST")
    arguments.add_argument("--mnist-rows", type=int, default=60_000, help="training rows of MNIST")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Page("skswae beside pythae", arguments.output)
    page.paragraph(
        f"Against pythae 0.1.2. Both: {N_COMPONENTS} components, two hidden layers of "
        f"{PlainMLP(0).hidden_size} units with ReLU, a sigmoid at the end, the same first weights (torch's "
        f"distribution, init='random'), batches of {BATCH_SIZE}, Adam at a constant {LEARNING_RATE}, the "
        "last epoch's model. VAE with the Bernoulli likelihood and a free log-variance "
        "(posterior_scale_floor=0); WAE-MMD with squared errors, without input noise, and with the MMD of "
        "inverse multiquadratic kernels, weighted by a fifth of the data's total variance (about 1 on "
        "digits, 10 on MNIST). Noise and the order of the rows are each side's own."
    )
    page.section("The objectives at equal weights and noise, on a batch of digits")
    page.header("model | relative difference of the loss | of its gradient")
    for kind in KINDS:
        page.row(kind, *(f"{d:.0e}" for d in objective_difference(kind, digits(0)[0])))
    page.add()
    page.section(
        "Trained models on test rows",
        "Error: squared, summed over features, from posterior means. Loss: the objective, of VAE the "
        f"negative evidence lower bound with {N_DRAWS} draws a row. Both by the same code on both sides; "
        "mean and standard deviation over seeds. Ratios: skswae's mean by pythae's; the bound is "
        f"{BOUND} for both. CPU s: of one fit, building and (pythae) saving the model included. "
        f"Digits: {arguments.digits_epochs} epochs on 1,200 rows, {arguments.digits_seeds} seeds, each with "
        f"its own split. MNIST: {arguments.mnist_epochs} epochs on {arguments.mnist_rows:,} rows, "
        f"{arguments.mnist_seeds} seeds, 10,000 test rows.",
    )
    page.header("data | model | side | test error | test loss | error ratio | loss ratio | bound met | CPU s")
    if arguments.digits_epochs:
        compare(page, "digits", digits, arguments.digits_epochs, arguments.digits_seeds)
    if arguments.mnist_epochs:
        X_train, X_test, *_ = mnist(arguments.data)
        rows = X_train[: arguments.mnist_rows // BATCH_SIZE * BATCH_SIZE], X_test
        compare(page, "MNIST", lambda seed: rows, arguments.mnist_epochs, arguments.mnist_seeds)


if __name__ == "__main__":
    main()
