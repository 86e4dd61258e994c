"""What was tried to bring SWAE's accuracy per second up, and what was kept: one change at a time.

Algorithm 1 in a plain loop of torch, with switches that the package does not have. Base: the encoder and the
conditional prior see 64 leading principal components, at unit mean variance, and the closest pseudo-input is
looked for among them; three gated networks of (300, 300) with a linear path each, which starts at PCA's
solution; 8 components, 500 pseudo-inputs (or a sixth of the rows), beta 0.5, the prior's scale starts on its
floor of 0.1; Adam, one-cycle rate with its peak of 1e-2 at 0.3 of the steps, batches of 256, 4 epochs.

Seconds are CPU seconds of one thread for the fit, principal components included. 5-NN is the accuracy on
codes of test rows, the error the squared error of rebuilt test rows, summed over columns. The base is fitted
with three seeds at least, so that its spread says what a difference between two rows of the table is worth;
on a machine with other work the seconds vary more.

A trial at more epochs is there to be compared at equal seconds. "Kept" is the decision for the package's
defaults, which differ from the base: they have a warm-up, more epochs and other rates for so many rows.

`--resume FILE` keeps finished trials; with `--finished` the page is written of those alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import torch
from _data import DATA
from _harness import Page, Store, mean_and_std, parser
from torch import Tensor, nn

from skswae._random import initialized_from, make_generator
from skswae.metrics import knn_accuracy, reconstruction_error
from skswae.modules._distributions import bounded_log_variance, free_log_variance, sample_gaussian
from skswae.modules._nearest import closest
from skswae.networks._layers import GatedLayers, gated_layers

K_CODE, N_PSEUDO_INPUTS, BETA, FLOOR = 8, 500, 0.5, 0.1
START_ROWS = 10_000  # from which the start is computed
MUON_RATE, NEWTON_SCHULZ = 0.05, (3.4445, -4.7750, 2.0315)  # the coefficients of torch.optim.Muon
NOISE_SEEDS = [0, 1, 2]

# ---------------------------------------------------------------------------
# The trials
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What a trial may change; the defaults are the base."""

    n_epochs: int = 4
    batch_size: int = 256
    rate: float = 1e-2
    rise: float = 0.3
    fall: str = "cosine"
    betas: tuple[float, float] = (0.9, 0.999)
    averaging: float = (
        0.0  # decay of the moving average of weights over the second half of the steps; 0: none
    )
    muon: bool = False
    warmup: float = 0.0  # share of the steps, the first ones, without the x-loss
    n_decodings: int = 2  # of a row in a step
    share_of_features: float = 1.0  # in both reconstruction terms of a step
    prior_per_cell: bool = False
    encoder: tuple[int, ...] = (300, 300)
    prior: tuple[int, ...] = (300, 300)
    decoder: tuple[int, ...] = (300, 300)
    last_rank: int | None = None  # of the decoder's last layer
    front: int | None = 64  # None: the rows themselves
    whitening: float = 0.0  # components are divided by their standard deviation to this power


@dataclass(frozen=True)
class Trial:
    """A change of the base: what it is, whether it was kept, and why."""

    text: str
    kept: str
    why: str
    changes: dict = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(**self.changes)


def same(hidden: tuple[int, ...]) -> dict:
    """Give the three networks these hidden layers."""
    return {"encoder": hidden, "prior": hidden, "decoder": hidden}


TRIALS = {
    "base": Trial("base", "", "what the others are compared with"),
    "6-epochs": Trial("6 epochs", "", "what more seconds buy without a change", {"n_epochs": 6}),
    # batches and rates
    "batch-64": Trial(
        "batch 64, rate 2.5e-3", "no", "small batches cost more a row", {"batch_size": 64, "rate": 2.5e-3}
    ),
    "batch-128": Trial(
        "batch 128, rate 5e-3",
        "no",
        "costs more a row, no better at equal time",
        {"batch_size": 128, "rate": 5e-3},
    ),
    "batch-512": Trial(
        "batch 512, rate 1.5e-2",
        "for more rows",
        "too few steps at this number of rows; the default where there are many",
        {"batch_size": 512, "rate": 1.5e-2},
    ),
    "rise": Trial("rise in 0.1 of the steps", "no", "no gain", {"rise": 0.1}),
    "linear-fall": Trial("linear fall of the rate", "no", "no gain beyond the noise", {"fall": "linear"}),
    "beta-2": Trial("Adam's beta_2 0.98", "no", "no gain", {"betas": (0.9, 0.98)}),
    "beta-1": Trial("Adam's beta_1 0.8", "no", "no gain", {"betas": (0.8, 0.999)}),
    "averaging": Trial(
        "weights averaged (0.99) over the second half",
        "no",
        "no gain; the falling rate averages already",
        {"averaging": 0.99},
    ),
    # Muon
    "muon": Trial(
        "Muon on the hidden matrices",
        "no",
        "better a step than Adam with large batches, but dearer; to be tried again on more rows",
        {"muon": True},
    ),
    "muon-512": Trial(
        "Muon, batch 512, rate 1.5e-2",
        "no",
        "as above",
        {"muon": True, "batch_size": 512, "rate": 1.5e-2},
    ),
    # less work in a step
    "warmup-half": Trial(
        "no x-loss in the first half of the steps", "", "a smaller error for less work", {"warmup": 0.5}
    ),
    "warmup": Trial(
        "no x-loss in the first three quarters",
        "yes",
        "a smaller error still; the end sees all of the objective",
        {"warmup": 0.75},
    ),
    "warmup-all": Trial(
        "no x-loss at all",
        "no",
        "another objective (beta = 0): the decoder never meets draws from the prior",
        {"warmup": 1.0},
    ),
    "one-decoding": Trial(
        "one decoding a row", "no", "cheaper, but the gradient is noisier", {"n_decodings": 1}
    ),
    "one-decoding-6": Trial(
        "one decoding a row, 6 epochs", "no", "no better at equal time", {"n_decodings": 1, "n_epochs": 6}
    ),
    "half-features": Trial(
        "a random half of the features", "no", "cheaper, but a larger error", {"share_of_features": 0.5}
    ),
    "half-features-6": Trial(
        "a random half of the features, 6 epochs",
        "no",
        "no better at equal time",
        {"share_of_features": 0.5, "n_epochs": 6},
    ),
    "quarter-features": Trial(
        "a random quarter of the features", "no", "a larger error still", {"share_of_features": 0.25}
    ),
    "prior-per-cell": Trial(
        "conditional prior asked once a pseudo-input",
        "yes",
        "less work for the same numbers",
        {"prior_per_cell": True},
    ),
    # other networks
    "small-prior": Trial(
        "conditional prior (100, 100)",
        "no",
        "cheaper and as good here; left as wide as the paper's encoder",
        {"prior": (100, 100)},
    ),
    "one-layer": Trial("one hidden layer (300)", "no", "cheaper, but worse", same((300,))),
    "narrow": Trial("networks (200, 200)", "no", "cheaper, but worse", same((200, 200))),
    "narrow-decoder": Trial(
        "decoder (300, 150)", "no", "a larger error at equal epochs", {"decoder": (300, 150)}
    ),
    "low-rank": Trial(
        "last layer of rank 100", "no", "hardly cheaper, and a larger error", {"last_rank": 100}
    ),
    # the front
    "half-white": Trial("components whitened by half", "no", "no gain", {"whitening": 0.5}),
    "white": Trial(
        "components whitened wholly", "no", "small components are mostly noise", {"whitening": 1.0}
    ),
    "front-32": Trial("32 components", "no", "hardly cheaper, and less of the row is seen", {"front": 32}),
    "front-100": Trial("100 components", "no", "dearer for no clear gain", {"front": 100}),
    "rows": Trial("rows themselves, no front", "no", "dearer and no better", {"front": None}),
}

# ---------------------------------------------------------------------------
# Model
# ---------------------------------------------------------------------------


def beside(network: GatedLayers, path: nn.Linear, x: Tensor) -> Tensor:
    """Return the network's output plus its linear path's, as the package computes them."""
    together = network.plus(path, x) if network.training else None
    return path(x) + network(x) if together is None else together


class Model(nn.Module):
    """The three networks with their linear paths at PCA's solution, and the pseudo-inputs.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Training rows in [0, 1].
    settings : Settings
    generator : torch.Generator
    """

    def __init__(self, X: Tensor, settings: Settings, generator: torch.Generator):
        super().__init__()
        n, d = X.shape
        self.settings = settings
        self.generator = generator
        rows = X[torch.randperm(n, generator=generator)[:START_ROWS]].double()
        mean = rows.mean(dim=0)
        variances, directions = torch.linalg.eigh((rows - mean).T @ (rows - mean) / (len(rows) - 1))
        variances, directions = variances.flip(0), directions.flip(1).T  # (d,), (d, d): a row each
        self.cost_unit = float(variances.sum() / d)  # what alpha is a multiple of
        self._set_front(mean, variances, directions)
        m = self.n_inputs
        with initialized_from(generator):
            self.encoder = gated_layers([m, *settings.encoder, K_CODE])
            self.prior = gated_layers([m, *settings.prior, 2 * K_CODE])
            self.decoder = gated_layers([K_CODE, *settings.decoder, min(settings.last_rank or d, d)])
        self.encoder_path, self.prior_path = nn.Linear(m, K_CODE), nn.Linear(m, 2 * K_CODE)
        self.decoder_path = nn.Linear(K_CODE, d)
        self.basis = None
        if settings.last_rank is not None:
            self.basis = nn.Parameter(torch.zeros(self.decoder[-1].out_features, d))
        self._start(rows, mean, variances, directions)
        with torch.no_grad():
            H = self.front(X)
        chosen = torch.randperm(n, generator=generator)[: min(N_PSEUDO_INPUTS, max(1, n // 6))]
        self.pseudo_inputs = nn.Parameter(H[chosen])
        self.lowest, self.highest = H.amin(dim=0), H.amax(dim=0)

    def _set_front(self, mean: Tensor, variances: Tensor, directions: Tensor) -> None:
        """Set what makes the networks' input of a row, and the code in PCA's unit of that input."""
        unit = variances[:K_CODE].mean().sqrt()
        if self.settings.front is None:
            self.n_inputs, self.front_weight = len(mean), None
            self.code_weight = directions[:K_CODE] / unit
            self.code_bias = -self.code_weight @ mean
            return
        # the last components of rows with constant columns cannot be whitened
        self.n_inputs = m = min(self.settings.front, int((variances > 1e-6 * variances[0]).sum()))
        scales = variances[:m] ** (-0.5 * self.settings.whitening)
        scales = scales / (variances[:m] * scales.square()).mean().sqrt()
        weight = directions[:m] * scales[:, None]
        self.front_weight, self.front_bias = weight.float(), (-weight @ mean).float()
        self.code_weight = torch.eye(K_CODE, m, dtype=torch.float64) / (scales[:K_CODE, None] * unit)
        self.code_bias = torch.zeros(K_CODE)

    @torch.no_grad()
    def _start(self, rows: Tensor, mean: Tensor, variances: Tensor, directions: Tensor) -> None:
        """Start the linear paths at PCA's code and its reconstruction, and the networks at 0."""
        for network in (self.encoder, self.prior, self.decoder):
            nn.init.zeros_(network[-1].weight)
            nn.init.zeros_(network[-1].bias)
        for path in (self.encoder_path, self.prior_path):
            nn.init.zeros_(path.weight)
            path.weight[:K_CODE] = self.code_weight
            path.bias[:K_CODE] = self.code_bias
        self.prior_path.bias[K_CODE:] = free_log_variance(torch.tensor(2.0 * math.log(FLOOR)), FLOOR)
        # the decoder's path is the regression of the rows' logits on the codes
        codes = (rows - mean) @ directions[:K_CODE].T / variances[:K_CODE].mean().sqrt()
        margin = rows.std(dim=0, correction=0).clamp(1e-6, 0.05)
        logits = torch.logit(torch.minimum(torch.maximum(rows, margin), 1.0 - margin))
        centre = logits.mean(dim=0)
        self.decoder_path.weight.copy_((logits - centre).T @ codes / codes.square().sum(dim=0))
        self.decoder_path.bias.copy_(centre)
        if self.basis is not None:
            _, vectors = torch.linalg.eigh((logits - centre).T @ (logits - centre))
            self.basis.copy_(vectors.flip(1).T[: len(self.basis)])

    def front(self, x: Tensor) -> Tensor:
        """Return what encoder and prior see: (n, d) -> (n, m)."""
        if self.front_weight is None:
            return x
        return nn.functional.linear(x, self.front_weight, self.front_bias)

    def encode(self, h: Tensor) -> Tensor:
        """(n, m) -> (n, k)."""
        return beside(self.encoder, self.encoder_path, h)

    def conditional_prior(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of p(z | u) for indices of pseudo-inputs: (n,) -> (n, k) each."""
        position = None
        if self.settings.prior_per_cell:
            cell, position = torch.unique(cell, return_inverse=True)
        u = nn.functional.embedding(cell, self.pseudo_inputs)
        output = beside(self.prior, self.prior_path, u)
        if position is not None:
            output = output.index_select(0, position)
        mean, h = output.chunk(2, dim=1)
        return mean, bounded_log_variance(h, FLOOR)

    def decode(self, z: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return all columns of the rows, or those alone: (n, k) -> (n, d) or (n, len(columns))."""
        if self.basis is not None:
            return torch.sigmoid(torch.addmm(self.decoder_path(z), self.decoder(z), self.basis))
        if columns is None:
            return torch.sigmoid(beside(self.decoder, self.decoder_path, z))
        last, path = self.decoder[-1], self.decoder_path
        weight = torch.cat([a.weight.index_select(0, columns) for a in (last, path)], dim=1)
        bias = (last.bias + path.bias).index_select(0, columns)
        return torch.sigmoid(nn.functional.linear(torch.cat([self.decoder[:-1](z), z], dim=1), weight, bias))

    def reconstruction(self, x: Tensor, z_d: Tensor, z_e: Tensor) -> Tensor:
        """Return both terms in the data space, or an estimate without bias of their sum."""
        columns, factor = None, 1.0
        if self.settings.share_of_features < 1.0:
            d = x.shape[1]
            columns = torch.randperm(d, generator=self.generator)[
                : round(d * self.settings.share_of_features)
            ]
            x, factor = x.index_select(1, columns), d / len(columns)
        if self.settings.n_decodings == 1:
            from_prior = torch.rand(len(x), 1, generator=self.generator) < BETA
            cost = (x - self.decode(torch.where(from_prior, z_d, z_e), columns)).square().sum()
        else:
            y_d, y_e = self.decode(torch.cat([z_d, z_e]), columns).chunk(2)
            cost = BETA * (x - y_d).square().sum() + (1.0 - BETA) * (x - y_e).square().sum()
        return factor * cost / len(x)

    def loss(self, x: Tensor, warming: bool) -> Tensor:
        """Return equation (10) on a batch of rows, (n, d); with beta = 0 while it is warming up."""
        h = self.front(x)
        z_e = self.encode(h)
        mean, log_variance = self.conditional_prior(closest(h, self.pseudo_inputs, "euclidean"))
        z_d = sample_gaussian(mean, log_variance, torch.randn(mean.shape, generator=self.generator))
        z_loss = (z_e - z_d).square().sum() / len(x)
        if warming:
            return (x - self.decode(z_e)).square().sum() / len(x) + self.cost_unit * z_loss
        return self.reconstruction(x, z_d, z_e) + self.cost_unit * z_loss


# ---------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------


def orthogonal(gradient: Tensor, n_steps: int = 3) -> Tensor:
    """Return a matrix with the gradient's singular vectors and singular values of about 1."""
    a, b, c = NEWTON_SCHULZ
    x = gradient.T if gradient.shape[0] > gradient.shape[1] else gradient
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(n_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if gradient.shape[0] > gradient.shape[1] else x


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon without weight decay, in float32 and with 3 steps of Newton-Schulz, not 5.

    torch's computes in bfloat16, which a processor without instructions for it does many times slower.
    """

    def __init__(self, parameters, rate: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1.0 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]))
                p.add_(update, alpha=-group["lr"] * math.sqrt(max(1.0, p.shape[0] / p.shape[1])))


def optimizers(model: Model, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return Adam, and Muon for the matrices between hidden layers if asked for."""
    networks = (model.encoder, model.prior, model.decoder)
    hidden = [layer.linear.weight for network in networks for layer in network[1:-1]] if settings.muon else []
    rest = [p for p in model.parameters() if not any(p is q for q in hidden)]
    adam = torch.optim.Adam(rest, lr=settings.rate, betas=settings.betas, fused=True)
    return [adam, Muon(hidden, MUON_RATE)] if hidden else [adam]


def share_of_peak(step: int, n_steps: int, settings: Settings) -> float:
    """Return the one-cycle rate of a step, by its peak."""
    top = settings.rise * n_steps
    if step < top:
        return 0.04 + 0.96 * (1.0 - math.cos(math.pi * step / top)) / 2.0
    done = (step - top) / (n_steps - top)
    return 1.0 - done if settings.fall == "linear" else (1.0 + math.cos(math.pi * done)) / 2.0


def fitted(X: Tensor, settings: Settings, seed: int) -> Model:
    """Train a model by Algorithm 1."""
    generator = make_generator(seed)
    model = Model(X, settings, generator)
    solvers = optimizers(model, settings)
    peaks = [solver.param_groups[0]["lr"] for solver in solvers]
    n_batches = max(1, len(X) // settings.batch_size)
    n_steps = settings.n_epochs * n_batches
    average: list[Tensor] = []
    for epoch in range(settings.n_epochs):
        order = torch.randperm(len(X), generator=generator).tensor_split(n_batches)
        for step, index in enumerate(order, epoch * n_batches):
            for solver, peak in zip(solvers, peaks):
                solver.param_groups[0]["lr"] = peak * share_of_peak(step, n_steps, settings)
                solver.zero_grad()
            model.loss(X[index], step < settings.warmup * n_steps).backward()
            for solver in solvers:
                solver.step()
            with torch.no_grad():
                model.pseudo_inputs.clamp_(model.lowest, model.highest)
                if settings.averaging and step >= n_steps // 2:
                    now = list(model.parameters())
                    average = average or [p.clone() for p in now]
                    torch._foreach_lerp_(average, now, 1.0 - settings.averaging)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), average):
            parameter.copy_(value)
    return model


def measure(split, settings: Settings, seed: int) -> dict:
    """Fit and judge; a short fit first, so that what torch loads when first used does not count."""
    X, X_test = torch.from_numpy(split.X), torch.from_numpy(split.X_test)
    fitted(X[:1000], replace(settings, n_epochs=1), seed)
    start = time.process_time()
    model = fitted(X, settings, seed)
    seconds = time.process_time() - start
    with torch.no_grad():
        Z, Z_test = (model.encode(model.front(rows)) for rows in (X, X_test))
        rebuilt = model.decode(Z_test)
    return {
        "seconds": seconds,
        "accuracy": float(knn_accuracy(Z.numpy(), split.y, Z_test.numpy(), split.y_test)),
        "error": float(reconstruction_error(split.X_test, rebuilt.numpy())),
    }


# ---------------------------------------------------------------------------
# Page
# ---------------------------------------------------------------------------


class NotMeasured(Exception):
    """A trial that is not among the finished ones."""


def refuse(*_) -> dict:
    """Measure nothing."""
    raise NotMeasured


def cells(results: list[dict]) -> list[str]:
    """Return seconds, accuracy and error: numbers for one seed, means and standard deviations for more."""
    found = []
    for key, digits in (("seconds", 1), ("accuracy", 4), ("error", 2)):
        values = [result[key] for result in results]
        found.append(f"{values[0]:.{digits}f}" if len(values) == 1 else mean_and_std(values, digits))
    return found


def listed(seeds: list[int]) -> str:
    """Name seeds."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def main():
    options = parser(__doc__, "data", "resume")
    sets = ["mnist", "fashion_mnist", "coil20", "digits"]  # rows in [0, 1]
    options.add_argument("--data-sets", nargs="+", choices=sets, default=["mnist"])
    options.add_argument("--rows", type=int, default=20_000, help="training rows, the first ones")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="of every trial")
    options.add_argument(
        "--only", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="NAME", help="trials"
    )
    options.add_argument("--finished", action="store_true", help="measure nothing: write what --resume has")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    store = Store(arguments.resume)

    page = Page("Trials: what brings accuracy per second up", arguments.output)
    for text in __doc__.split("\n\n")[1:-1]:
        page.paragraph(" ".join(text.split()))
    page.paragraph(
        f"Here: {listed(arguments.seeds)} of every trial. Not tried: a schedule-free optimiser, and fewer "
        "rows in the first epochs. Muon is torch.optim.Muon's rule written in float32, with 3 steps of "
        "Newton-Schulz in place of 5: torch's computes in bfloat16, many times slower on a processor without "
        "instructions for it. One decoding a row: z with probability beta, else E(x). A part of the "
        "features: drawn anew in each step. Both leave the expectation of the loss as it is."
    )
    for data in arguments.data_sets:
        split = DATA[data][1](arguments.data, 0).head(arguments.rows, None)
        page.section(
            f"{DATA[data][0]}: {len(split.X):,} x {split.X.shape[1]}, {len(split.X_test):,} test rows"
        )
        page.header("trial | CPU s | 5-NN | error | kept | why")

        make = refuse if arguments.finished else measure
        known = {}

        def result(name, seed, data=data, split=split, make=make, known=known):
            if (name, seed) not in known:
                settings = TRIALS[name].settings
                part = {"data": data, "rows": len(split.X), "seed": seed, **asdict(settings)}
                known[name, seed] = store.get(part, make, split, settings, seed)
            return known[name, seed]

        rows = [(name, arguments.seeds) for name in TRIALS if name in arguments.only]
        if rows and rows[0][0] == "base" and set(NOISE_SEEDS) - set(arguments.seeds):
            rows.insert(1, ("base", NOISE_SEEDS))
        for name, seeds in rows:
            trial = TRIALS[name]
            text = trial.text if seeds is arguments.seeds else f"{trial.text}, {listed(seeds)}"
            try:
                found = cells([result(name, seed) for seed in seeds])
            except NotMeasured:
                found = ["not measured", "", ""]
            page.row(text, *found, trial.kept, trial.why)
        page.add()
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
