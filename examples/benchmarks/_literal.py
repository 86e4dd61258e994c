"""Algorithm 1 written plainly, for comparison, and the matrix products that a step of it cannot avoid.

The *literal* side is what one writes from the paper: gates of two linear maps, two calls of the decoder, Adam
as torch gives it, the closest pseudo-input by torch.cdist (the differences themselves, x[:, None] - u[None],
would fill memory at 4,000 pseudo-inputs). It minimises the objective of SWAETransformer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
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
    """Return parameters of estimators that agree with those of the other sides."""
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
    """Leave out the rows that would make a smaller batch, so that every side takes the same steps."""
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
    """Return the hidden layers of GatedMLP((300, 300)) and a linear map."""
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
        """Return equation (10) on a batch."""
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
    """Return the model with the network of both tables of SWAE."""
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
        """Yield every row once, in batches."""
        if self.X is None:
            for (x,) in self.loader:
                yield x.to(self.device)
        else:
            for index in torch.randperm(len(self.X), device=self.device).split(self.batch_size):
                yield self.X[index]

    def step(self, x: Tensor) -> Tensor:
        """Take a step; the loss stays on the device."""
        loss = self.model(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.model.pseudo_inputs.clamp_(0, 1)
        return loss.detach()

    def epoch(self) -> float:
        """Train for an epoch and return the mean loss."""
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
        """Return the operations of all passes for a row of the data."""
        return 2 * self.times_batch * self.k * self.n * self.passes


def swae_products(n_features: int, n_pseudo_inputs: int) -> list[Product]:
    """List the products of a step with GatedMLP((300, 300)): both gates in one, both decodings in one."""
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
    """Return the operations of an epoch, which do not depend on the batch size."""
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
        """Compute the products of so many steps."""
        for _ in range(n_steps):
            for x, weight, _, out, _ in self.layers:
                torch.mm(x, weight.t(), out=out[0])
            for x, weight, gradient, out, passes in reversed(self.layers):
                if passes > 1:
                    torch.mm(gradient.t(), x, out=out[1])
                if passes > 2:
                    torch.mm(gradient, weight, out=out[2])


class ProductsAndAdam:
    """The products, and Adam in one kernel on tensors of the parameters' sizes."""

    def __init__(self, products: BareProducts, parameters: Iterable[nn.Parameter]):
        self.products = products
        own = [nn.Parameter(torch.randn_like(parameter)) for parameter in parameters]
        for parameter in own:
            parameter.grad = torch.randn_like(parameter)
        self.optimizer = torch.optim.Adam(own, lr=LEARNING_RATE, fused=True)
        self.steps(3)

    def steps(self, n_steps: int) -> None:
        """Compute the products and the updates of so many steps."""
        for _ in range(n_steps):
            self.products.steps(1)
            self.optimizer.step()
