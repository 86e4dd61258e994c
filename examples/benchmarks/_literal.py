"""What epoch_cost.py and epoch_cost_gpu.py share: Algorithm 1 written plainly, its products, and the timing.

The *literal* side is what one writes from the paper: gates of two linear maps, two calls of the decoder, Adam
as torch gives it, the closest pseudo-input by torch.cdist (the differences themselves, x[:, None] - u[None],
would fill memory at 4,000 pseudo-inputs). It minimises the objective of SWAETransformer.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from skswae.networks import GatedMLP

FULL = 60_000  # rows of MNIST, to which every cost is scaled
N_COMPONENTS = 8
BATCH_SIZE = 100
HIDDEN = (300, 300)
LEARNING_RATE = 1e-3
BETA = 0.5
SCALE_FLOOR = 0.1  # SWAETransformer's default


def shared_parameters(batch_size: int, device: str = "cpu") -> dict:
    """Of every estimator, as the other sides have them."""
    return {
        "n_components": N_COMPONENTS,
        "network": GatedMLP(HIDDEN),
        "init": "random",
        "output_activation": "sigmoid",
        "batch_size": batch_size,
        "learning_rate": "constant",
        "learning_rate_init": LEARNING_RATE,
        "device": device,
        "random_state": 0,
    }


def whole_batches(X, batch_size: int):
    """Without the rows that would make a smaller batch, so that every side takes the same steps."""
    return X[: max(1, len(X) // batch_size) * batch_size]


# ---------------------------------------------------------------------------
# Algorithm 1, plainly
# ---------------------------------------------------------------------------


class GatedDense(nn.Module):
    """h * sigmoid(g) by two linear maps."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.h = nn.Linear(n_inputs, n_outputs)
        self.g = nn.Linear(n_inputs, n_outputs)

    def forward(self, x):
        """(n, n_inputs) -> (n, n_outputs)."""
        return self.h(x) * torch.sigmoid(self.g(x))


def gated_mlp(n_inputs: int, n_outputs: int) -> nn.Module:
    """The hidden layers of GatedMLP((300, 300)) and a linear map."""
    sizes = [n_inputs, *HIDDEN]
    layers = [GatedDense(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_outputs))


class LiteralSWAE(nn.Module):
    """Encoder, conditional prior, decoder before its sigmoid, and pseudo-inputs as they are."""

    def __init__(self, encoder, prior, decoder, pseudo_inputs):
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        self.decoder = decoder
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.clone())

    def forward(self, x):
        """Equation (10) on a batch."""
        z_e = self.encoder(x)
        with torch.no_grad():
            index = torch.cdist(x, self.pseudo_inputs).argmin(1)
        mean, h = self.prior(self.pseudo_inputs[index]).chunk(2, dim=1)
        log_variance = 2 * math.log(SCALE_FLOOR) + 8 * torch.sigmoid(h)
        z_d = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        x_e, x_d = torch.sigmoid(self.decoder(z_e)), torch.sigmoid(self.decoder(z_d))
        x_loss = ((x - x_d) ** 2).sum(1).mean()
        reconstruction_loss = ((x - x_e) ** 2).sum(1).mean()
        z_loss = ((z_e - z_d) ** 2).sum(1).mean()
        return BETA * x_loss + (1 - BETA) * reconstruction_loss + z_loss


def literal_mlp(X: Tensor, n_pseudo_inputs: int) -> LiteralSWAE:
    """With the network of both tables of SWAE."""
    d = X.shape[1]
    return LiteralSWAE(
        gated_mlp(d, N_COMPONENTS),
        gated_mlp(d, 2 * N_COMPONENTS),
        gated_mlp(N_COMPONENTS, d),
        X[torch.randperm(len(X))[:n_pseudo_inputs]],
    )


class Literal:
    """The plain training loop, with rows on the host and a DataLoader, or resident on the device."""

    def __init__(
        self, model: LiteralSWAE, X: Tensor, batch_size: int, *, resident: bool, device: str = "cpu"
    ):
        self.model = model.to(device).train()
        self.device = device
        self.batch_size = batch_size
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)
        self.X = X.to(device) if resident else None
        self.loader = DataLoader(TensorDataset(X), batch_size=batch_size, shuffle=True)
        for x in itertools.islice(self.batches(), 3):  # Adam's state, and what torch loads when first used
            self.step(x)

    def batches(self) -> Iterator[Tensor]:
        """Every row once."""
        if self.X is None:
            for (x,) in self.loader:
                yield x.to(self.device)
        else:
            for index in torch.randperm(len(self.X), device=self.device).split(self.batch_size):
                yield self.X[index]

    def step(self, x: Tensor) -> Tensor:
        """One update; the loss stays on the device."""
        loss = self.model(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.model.pseudo_inputs.clamp_(0, 1)
        return loss.detach()

    def epoch(self) -> float:
        """The mean loss."""
        losses = [self.step(x) for x in self.batches()]
        return float(torch.stack(losses).mean())


# ---------------------------------------------------------------------------
# The products that a step cannot avoid
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Product:
    """(rows of a batch, k) x (k, n), and its gradients: 1 pass is forward alone, 2 are with the weights'
    gradient, 3 with the input's too."""

    name: str
    times_batch: int
    k: int
    n: int
    passes: int

    def flop(self) -> int:
        """Of all passes, for each row of the data."""
        return 2 * self.times_batch * self.k * self.n * self.passes


def swae_products(n_features: int, n_pseudo_inputs: int) -> list[Product]:
    """Of one step of SWAE with GatedMLP((300, 300)): both gates in one product, both decodings in one."""
    (h1, h2), k = HIDDEN, N_COMPONENTS
    return [
        Product("closest pseudo-input", 1, n_features, n_pseudo_inputs, 1),
        # rows of the data are not learned, pseudo-inputs are
        Product("encoder 1", 1, n_features, 2 * h1, 2),
        Product("encoder 2", 1, h1, 2 * h2, 3),
        Product("encoder 3", 1, h2, k, 3),
        Product("prior 1", 1, n_features, 2 * h1, 3),
        Product("prior 2", 1, h1, 2 * h2, 3),
        Product("prior 3", 1, h2, 2 * k, 3),
        Product("decoder 1", 2, k, 2 * h2, 3),
        Product("decoder 2", 2, h2, 2 * h1, 3),
        Product("decoder 3", 2, h1, n_features, 3),
    ]


def epoch_flop(n_features: int, n_pseudo_inputs: int, n_rows: int = FULL) -> int:
    """Of the products of an epoch, which do not depend on the batch size."""
    return n_rows * sum(product.flop() for product in swae_products(n_features, n_pseudo_inputs))


class BareProducts:
    """The products alone, on tensors of their own, in the order of a step: forward, then backward."""

    def __init__(self, products: list[Product], batch_size: int):
        self.layers = []
        for product in products:
            m, k, n = product.times_batch * batch_size, product.k, product.n
            x, weight, gradient = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
            out = torch.empty(m, n), torch.empty(n, k), torch.empty(m, k)
            self.layers.append((x, weight, gradient, out, product.passes))
        self.steps(3)

    def steps(self, n_steps: int) -> None:
        """As many steps."""
        for _ in range(n_steps):
            for x, weight, _, out, _ in self.layers:
                torch.mm(x, weight.t(), out=out[0])
            for x, weight, gradient, out, passes in reversed(self.layers):
                if passes > 1:
                    torch.mm(gradient.t(), x, out=out[1])
                if passes > 2:
                    torch.mm(gradient, weight, out=out[2])


# ---------------------------------------------------------------------------
# Timing
# ---------------------------------------------------------------------------

Clock = Callable[[], float]


def interleaved(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """The seconds that each run returns, in turns: A, B, C, A, B, C, ..."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(run())
    return seconds


def timed(clock: Clock, function: Callable, *arguments) -> float:
    """Seconds of a call."""
    start = clock()
    function(*arguments)
    return clock() - start


def skswae_seconds(estimator: type, parameters: dict, X, clock: Clock, n_epochs: int = 1) -> float:
    """Seconds of an epoch of a fresh fit, from the end of its second epoch: two are a warm-up.

    In them the memory is taken that later epochs use again.
    """
    marks = []

    class Timed(estimator):
        def _after_epoch(self, module, epoch, record, seconds):
            marks.append(clock())

    Timed(max_iter=2 + n_epochs, **parameters).fit(X)
    return (marks[-1] - marks[1]) / n_epochs


def pythae_seconds(kind: str, n_pseudo_inputs: int, X, batch_size: int, clock: Clock, **keywords) -> float:
    """Seconds of an epoch of a fresh training by pythae, as its callbacks at both ends of an epoch see it.

    The first two epochs are a warm-up. Keywords: n_epochs, and no_cuda for the trainer.
    """
    import peer_parity as peers  # here: it ends the program where pythae is not installed
    from pythae.trainers.training_callbacks import TrainingCallback

    n_epochs = keywords.pop("n_epochs", 1)
    begins, ends = [], []

    class Marks(TrainingCallback):
        def on_epoch_begin(self, training_config, **keywords):
            begins.append(clock())

        def on_epoch_end(self, training_config, **keywords):
            ends.append(clock())

    d = X.shape[1]
    model = peers.build_pythae("VAE" if kind == "VAMP" else kind, X, seed=0)
    network = GatedMLP(HIDDEN)
    model.encoder.network = network.build_encoder(d, N_COMPONENTS * (1 if kind == "WAE-MMD" else 2))
    model.decoder.network = network.build_decoder(N_COMPONENTS, d)
    if kind == "VAMP":
        config = peers.VAMPConfig(
            input_dim=(d,),
            latent_dim=N_COMPONENTS,
            reconstruction_loss="bce",
            number_components=n_pseudo_inputs,
            linear_scheduling_steps=0,
        )
        model = peers.VAMP(config, model.encoder, model.decoder)
    with tempfile.TemporaryDirectory() as folder:
        config = peers.BaseTrainerConfig(
            output_dir=folder,
            num_epochs=2 + n_epochs,
            per_device_train_batch_size=batch_size,
            optimizer_cls="Adam",
            scheduler_cls=None,
            learning_rate=LEARNING_RATE,
            seed=0,
            **keywords,
        )
        peers.TrainingPipeline(model=model, training_config=config)(train_data=X, callbacks=[Marks()])
    return sum(end - begin for begin, end in zip(begins[2:], ends[2:])) / n_epochs


def spread(values: list[float], factor: float = 1.0) -> str:
    """Median and range."""
    median, low, high = (factor * f(values) for f in (statistics.median, min, max))
    digits = 2 if median < 100 else 0
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def yes_or_no(met: bool) -> str:
    """The verdict on a bound."""
    return f"bound met: **{'yes' if met else 'no'}**"


def ratio(a: list[float], b: list[float]) -> float:
    """Of the medians."""
    return statistics.median(a) / statistics.median(b)


def ratio_cell(a: list[float], b: list[float]) -> str:
    """Ratio of the medians, and the range of the ratios within each turn."""
    within = [x / y for x, y in zip(a, b)]
    return f"{ratio(a, b):.2f} ({min(within):.2f} to {max(within):.2f})"
