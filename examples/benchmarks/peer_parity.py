"""VAE, WAE-MMD and VAMP beside pythae 0.1.2: do equal conditions give equal models?

Both sides get the same network and first weights, rows, batch size, number of steps, Adam at a constant rate
and objective; noise and the order of the rows are each side's own. First the objectives are compared at equal
weights and noise, then the trained models on test rows, by formulas written here. The bound is a test error
and a test loss of at most 1.03 times pythae's.

pythae is installed by the extra: pip install -e ".[peers]". MNIST is a folder with mnist.npz, given by --data
or by the environment variable SKSWAE_DATA; without it digits alone are run.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars: neither shown nor timed

import numpy as np
import torch
from _report import Report, parser
from quality_mnist import load
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from skswae import VAETransformer, VampPriorTransformer, WAETransformer
from skswae._latent import LatentVariableModule
from skswae._priors import PseudoInputs
from skswae._vampprior import VampPriorModule

try:
    from pythae.models import VAE, VAMP, WAE_MMD, VAEConfig, VAMPConfig, WAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
except ImportError as error:
    raise SystemExit('This benchmark needs pythae 0.1.2: pip install -e ".[peers]".') from error

KINDS = ("VAE", "WAE-MMD", "VAMP")
N_COMPONENTS = 8
N_PSEUDO_INPUTS = 50
BATCH_SIZE = 100
LEARNING_RATE = 1e-3
MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
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
    pseudo_inputs: Tensor | None
    mmd_weight: float
    seconds: float


def mmd_weight(X) -> float:
    """A fifth of the data's total variance, which is skswae's default: about 1 on digits, 10 on MNIST."""
    return 0.2 * float(X.var(axis=0).sum())


# ---------------------------------------------------------------------------
# skswae
# ---------------------------------------------------------------------------


class OneLevelModule(VampPriorModule):
    """VampPriorModule has two levels, pythae's VAMP one."""

    def __init__(self, parts, likelihood, posterior_scale_floor, n_pseudo_inputs):
        LatentVariableModule.__init__(self, parts, likelihood, posterior_scale_floor, parts.n_components)
        self.pseudo_inputs = PseudoInputs(parts.choose_rows(n_pseudo_inputs, "pseudo_inputs"))


class OneLevelVamp(VampPriorTransformer):
    """VampPriorTransformer with all components on one level."""

    def _build_module(self, parts):
        likelihood = self._make_likelihood(parts)
        return OneLevelModule(parts, likelihood, self.posterior_scale_floor, self.n_pseudo_inputs)


def fit_skswae(kind: str, X, epochs: int, seed: int):
    """A fitted transformer."""
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
    bernoulli = {"likelihood": "bernoulli", "posterior_scale_floor": 0, **common}
    if kind == "VAE":
        model = VAETransformer(N_COMPONENTS, **bernoulli)
    elif kind == "VAMP":
        model = OneLevelVamp(N_COMPONENTS, n_pseudo_inputs=N_PSEUDO_INPUTS, **bernoulli)
    else:
        model = WAETransformer(
            N_COMPONENTS,
            divergence="mmd",
            divergence_weight=mmd_weight(X),
            kernel="imq",
            kernel_scales=MMD_SCALES,
            input_noise=0.0,
            reconstruction="squared_error",
            **common,
        )
    return model.fit(X)


def skswae_side(kind: str, X, epochs: int, seed: int) -> Fitted:
    """Trained by skswae."""
    start = time.process_time()
    module = fit_skswae(kind, X, epochs, seed).module_
    seconds = time.process_time() - start
    posterior = (lambda x: (module.encode(x), None)) if kind == "WAE-MMD" else module.posterior
    rows = module.pseudo_inputs.rows.detach() if kind == "VAMP" else None
    return Fitted(posterior, module.decode, rows, mmd_weight(X), seconds)


# ---------------------------------------------------------------------------
# pythae
# ---------------------------------------------------------------------------


class PythaeEncoder(BaseEncoder):
    """PlainMLP's encoder as pythae's."""

    def __init__(self, n_features, seed, gaussian):
        super().__init__()
        self.network = PlainMLP(seed).build_encoder(n_features, N_COMPONENTS * (2 if gaussian else 1))
        self.gaussian = gaussian

    def forward(self, x):
        """The code, or its mean and log-variance."""
        h = self.network(x)
        if not self.gaussian:
            return ModelOutput(embedding=h)
        mean, log_variance = h.chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class PythaeDecoder(BaseDecoder):
    """PlainMLP's decoder as pythae's."""

    def __init__(self, n_features, seed):
        super().__init__()
        self.network = PlainMLP(seed).build_decoder(N_COMPONENTS, n_features)

    def forward(self, z):
        """Rows in [0, 1]."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def build_pythae(kind: str, X, seed: int):
    """A model with its first weights."""
    sizes = {"input_dim": X.shape[1:], "latent_dim": N_COMPONENTS}
    encoder = PythaeEncoder(X.shape[1], seed, gaussian=kind != "WAE-MMD")
    decoder = PythaeDecoder(X.shape[1], seed)
    if kind == "VAE":
        return VAE(VAEConfig(reconstruction_loss="bce", **sizes), encoder, decoder)
    if kind == "VAMP":
        config = VAMPConfig(
            reconstruction_loss="bce",
            number_components=N_PSEUDO_INPUTS,
            linear_scheduling_steps=0,
            **sizes,
        )
        return VAMP(config, encoder, decoder)
    config = WAE_MMD_Config(
        kernel_choice="imq", reg_weight=mmd_weight(X), kernel_bandwidth=1.0, scales=list(MMD_SCALES), **sizes
    )
    return WAE_MMD(config, encoder, decoder)


def pythae_side(kind: str, X, epochs: int, seed: int) -> Fitted:
    """Trained by pythae; its last epoch, as skswae's."""
    start = time.process_time()
    torch.manual_seed(seed)  # of VAMP's pseudo-inputs
    model = build_pythae(kind, X, seed)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=BATCH_SIZE,
            optimizer_cls="Adam",
            scheduler_cls=None,
            learning_rate=LEARNING_RATE,
            seed=seed,
            no_cuda=True,
        )
        TrainingPipeline(model=model, training_config=config)(train_data=X)
    seconds = time.process_time() - start
    model.eval()

    def posterior(x):
        output = model.encoder(x)
        return output.embedding, getattr(output, "log_covariance", None)

    rows = model.pseudo_inputs(model.idle_input).detach() if kind == "VAMP" else None
    return Fitted(posterior, lambda z: model.decoder(z).reconstruction, rows, mmd_weight(X), seconds)


# ---------------------------------------------------------------------------
# What is compared
# ---------------------------------------------------------------------------


def objective_difference(kind: str, X) -> tuple[float, float]:
    """Relative difference of both sides' training loss and of its gradient, at equal weights and noise."""
    module, peer = fit_skswae(kind, X, 1, 0).module_.train(), build_pythae(kind, X, 0)
    peer.encoder.network.load_state_dict(module.encoder.state_dict())
    peer.decoder.network.load_state_dict(module.decoder.state_dict())
    if kind == "VAMP":
        with torch.no_grad():
            peer.pseudo_inputs[0].weight.copy_(module.pseudo_inputs.rows.T)
            peer.pseudo_inputs[0].bias.zero_()
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
    """Squared error from posterior means, and the objective with fixed noise, means over the rows."""
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
    """The unbiased estimate with inverse multiquadratic kernels."""

    def kernel(a, b):
        squares = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
        return sum(c / (c + squares) for c in (2.0 * N_COMPONENTS * scale for scale in MMD_SCALES))

    n = len(z)
    within = kernel(z, z).fill_diagonal_(0.0).sum() + kernel(prior, prior).fill_diagonal_(0.0).sum()
    return float(within / (n * (n - 1)) - 2.0 * kernel(z, prior).mean())


def negative_elbo(fitted: Fitted, x, mean, log_variance, generator) -> float:
    """Summed over the rows, the mean over several draws."""

    def gaussian(mean, log_variance):
        return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)

    q = gaussian(mean, log_variance)
    if fitted.pseudo_inputs is None:
        prior = gaussian(torch.zeros(N_COMPONENTS), torch.zeros(N_COMPONENTS))
    else:
        weights = Categorical(torch.ones(len(fitted.pseudo_inputs)))
        prior = MixtureSameFamily(weights, gaussian(*fitted.posterior(fitted.pseudo_inputs)))
    total = 0.0
    for _ in range(N_DRAWS):
        z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=generator)
        total += float(nn.functional.binary_cross_entropy(fitted.decode(z), x, reduction="sum"))
        total += float((q.log_prob(z) - prior.log_prob(z)).sum())
    return total / N_DRAWS


def digits(seed: int):
    """Training and test rows in [0, 1], 70 to 30; training rows beyond whole batches are dropped."""
    X = (load_digits().data / 16).astype(np.float32)
    X_train, X_test = train_test_split(X, train_size=0.7, random_state=seed)
    return X_train[: len(X_train) // BATCH_SIZE * BATCH_SIZE], X_test


def compare(report, name: str, data: Callable, epochs: int, n_seeds: int) -> None:
    """Two rows a model."""
    for kind in KINDS:
        means = {}
        for side, fit in (("pythae", pythae_side), ("skswae", skswae_side)):
            found = []
            for seed in range(n_seeds):
                X_train, X_test = data(seed)
                fitted = fit(kind, X_train, epochs, seed)
                found.append((*error_and_loss(fitted, X_test), fitted.seconds))
            means[side], stds = np.mean(found, axis=0), np.std(found, axis=0, ddof=min(1, n_seeds - 1))
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(means[side][:2], stds)]
            verdict = ["", "", ""]
            if side == "skswae":
                ratios = means["skswae"][:2] / means["pythae"][:2]
                verdict = [f"{r:.3f}" for r in ratios] + ["yes" if max(ratios) <= BOUND else "no"]
            report.row(name, kind, side, *cells, *verdict, f"{means[side][2]:.1f}")


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--data", default=os.environ.get("SKSWAE_DATA"), help="folder of mnist.npz")
    arguments.add_argument("--digits-epochs", type=int, default=100, help="of 12 steps; 0: no digits")
    arguments.add_argument("--digits-seeds", type=int, default=5, help="seeds on digits")
    arguments.add_argument("--mnist-epochs", type=int, default=5, help="of 600 steps; 0: no MNIST")
    arguments.add_argument("--mnist-seeds", type=int, default=2, help="seeds on MNIST")
    arguments.add_argument("--mnist-rows", type=int, default=60_000, help="training rows of MNIST")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    report = Report("skswae beside pythae", arguments.output)
    report.add(
        f"Against pythae 0.1.2. Both: {N_COMPONENTS} components, two hidden layers of "
        f"{PlainMLP(0).hidden_size} units with ReLU, a sigmoid at the end, the same first weights (torch's "
        f"distribution, init='random'), batches of {BATCH_SIZE}, Adam at a constant {LEARNING_RATE}, the "
        "last epoch's model. VAE and VAMP with the Bernoulli likelihood and a free log-variance "
        "(posterior_scale_floor=0); WAE-MMD with squared errors, without input noise, and with the MMD of "
        "inverse multiquadratic kernels, weighted by a fifth of the data's total variance (about 1 on "
        f"digits, 10 on MNIST); VAMP with one level and {N_PSEUDO_INPUTS} pseudo-inputs, without warm-up. "
        "Noise and the order of the rows are each side's own."
    )
    report.add()
    report.add(
        "One difference is left: VAMP's pseudo-inputs. skswae's are rows, started at training rows and "
        "clipped to their range after each step; pythae's are a linear map of unit vectors, started at "
        "random, under a hard tanh, which gives no gradient outside (0, 1)."
    )
    report.add()
    report.add("## The objectives at equal weights and noise, on a batch of digits")
    report.add()
    report.header("model", "relative difference of the loss", "of its gradient")
    for kind in KINDS:
        report.row(kind, *(f"{d:.0e}" for d in objective_difference(kind, digits(0)[0])))
    report.add()
    report.add("## Trained models on test rows")
    report.add()
    report.add(
        "Error: squared, summed over features, from posterior means. Loss: the objective, of VAE and VAMP "
        f"the negative evidence lower bound with {N_DRAWS} draws a row. Both by the same code on both sides; "
        "mean and standard deviation over seeds. Ratios: skswae's mean by pythae's; the bound is "
        f"{BOUND} for both. CPU s: of one fit, building and (pythae) saving the model included. "
        f"Digits: {arguments.digits_epochs} epochs on 1,200 rows, {arguments.digits_seeds} seeds, each with "
        f"its own split. MNIST: {arguments.mnist_epochs} epochs on {arguments.mnist_rows:,} rows, "
        f"{arguments.mnist_seeds} seeds, 10,000 test rows."
    )
    report.add()
    columns = "test error", "test loss", "error ratio", "loss ratio", "bound met", "CPU s"
    report.header("data", "model", "side", *columns)
    if arguments.digits_epochs:
        compare(report, "digits", digits, arguments.digits_epochs, arguments.digits_seeds)
    if arguments.mnist_epochs and arguments.data is not None:
        X_train, X_test, *_ = load(arguments.data)
        rows = arguments.mnist_rows // BATCH_SIZE * BATCH_SIZE
        mnist = X_train[:rows], X_test
        compare(report, "MNIST", lambda seed: mnist, arguments.mnist_epochs, arguments.mnist_seeds)


if __name__ == "__main__":
    main()
