"""What every module shares: encoder, decoder, output activation, units, and the start from PCA."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skswae import networks
from skswae._torch import as_array, derive_seed

Terms = dict[str, Tensor]


class AutoencoderModule(nn.Module, abc.ABC):
    """An encoder, a decoder and an objective; the mathematics of one paper, without scikit-learn.

    A subclass writes :meth:`losses` and :meth:`sample_prior`; whatever else its objective needs it builds
    from ``parts`` in its constructor.

    Parameters
    ----------
    parts : Parts
        Networks of the sizes that the data ask for, and the training rows.

    Attributes
    ----------
    location : Tensor of shape (d,), float64
    scale : Tensor of shape (), float64
        The module works on x = (row - location) / scale; see :meth:`to_units` and :meth:`from_units`.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, parts: Parts):
        super().__init__()
        self.n_components = parts.n_components
        self.out_activation = parts.out_activation
        self.encoder = parts.encoder()
        self.decoder = parts.decoder()
        self.register_buffer("location", parts.location.clone())
        self.register_buffer("scale", parts.scale.clone())

    # -- what the estimator calls ------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """The code of each row: (n, d) -> (n, k). Deterministic."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """The row of each code: (n, k) -> (n, d)."""
        return self.activate(self.decoder(z))

    @abc.abstractmethod
    def sample_prior(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Codes drawn from the prior: (n_samples, k)."""

    # -- what the training loop calls --------------------------------------

    @abc.abstractmethod
    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        """Yield (player, terms) for a batch x of shape (n, d).

        ``terms["loss"]`` is what that player's parameters minimise; the other terms are recorded. Each is
        a mean over the batch of sums over features. A module with one player yields once.
        """

    def players(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each player; one player with all that are not frozen unless there are more."""
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def after_step(self) -> None:
        """What must hold after every step of an optimiser, such as a projection."""

    def before_training(self, batches: Iterable[Tensor]) -> None:
        """A first look at the training rows of this training, in order."""

    def after_training(self, batches: Iterable[Tensor], keep: bool) -> None:
        """A last pass over the training rows in order; ``keep``: earlier passes over other rows count too."""

    # -- helpers -----------------------------------------------------------

    def has_shapes_of(self, network: Any) -> bool:
        """Whether the network would build an encoder and a decoder of the same weights."""
        sizes = self.location.numel(), self.n_components
        for role, part, (n_inputs, n_outputs) in (
            ("encoder", self.encoder, sizes),
            ("decoder", self.decoder, sizes[::-1]),
        ):
            fitted = part.network if isinstance(part, _LinearPath) else part
            fresh = networks.build(network, role, n_inputs, n_outputs, seed=0)
            if _shapes(fitted) != _shapes(fresh):
                return False
        return True

    def activate(self, logits: Tensor) -> Tensor:
        """The output activation: (n, d) -> (n, d)."""
        return torch.sigmoid(logits) if self.out_activation == "sigmoid" else logits

    def to_units(self, rows: Tensor) -> Tensor:
        """Rows in the user's units to the module's, in float64 arithmetic and the dtype of the rows."""
        return ((rows.double() - self.location) / self.scale).to(rows.dtype)

    def from_units(self, x: Tensor) -> Tensor:
        """The module's units to the user's, in float64 arithmetic and the dtype of x."""
        return (x.double() * self.scale + self.location).to(x.dtype)


# ---------------------------------------------------------------------------
# The parts that a module is built from
# ---------------------------------------------------------------------------


class Parts:
    """Networks of the sizes that the data ask for, started as ``init`` says, and the training rows.

    Parameters
    ----------
    network : object with build_encoder and build_decoder
    rows : Tensor of shape (n_samples, d), float32
        The training rows in the module's units.
    location, scale : Tensor of shape (d,) and (), float64
        The units; see :class:`AutoencoderModule`.
    n_components : int
    out_activation : {"identity", "sigmoid"}
    init : {"pca", "random"}
    seed : int
    """

    def __init__(
        self,
        network: Any,
        rows: Tensor,
        location: Tensor,
        scale: Tensor,
        *,
        n_components: int,
        out_activation: str,
        init: str,
        seed: int,
    ):
        self.network = network
        self.rows = rows
        self.location = location
        self.scale = scale
        self.n_features = rows.shape[1]
        self.n_components = n_components
        self.out_activation = out_activation
        self.seed = seed
        self._start = (
            _pca_start(self.choose_rows(_PCA_ROWS, "pca"), n_components, out_activation, seed)
            if init == "pca"
            else None
        )

    def encoder(self, part: str = "encoder") -> nn.Module:
        """A network from rows to codes: (n, d) -> (n, k)."""
        return self._encoder(part, self.n_components)

    def gaussian_encoder(self, part: str) -> nn.Module:
        """A network from rows to the mean and the free log-variance of codes: (n, d) -> (n, 2 k)."""
        return self._encoder(part, 2 * self.n_components)

    def decoder(self, part: str = "decoder") -> nn.Module:
        """A network from codes to rows before the activation: (n, k) -> (n, d)."""
        network = networks.build(
            self.network, "decoder", self.n_components, self.n_features, self._seed_of(part)
        )
        if self._start is None:
            return network
        weight = torch.zeros(self.n_features, self.n_components, dtype=torch.float32)
        weight[:, : self._start.rank] = self._start.decoder_weight
        started = torch.ones(self.n_features, dtype=torch.bool)
        return _LinearPath(weight, self._start.decoder_bias, network, started)

    def choose_rows(self, n_rows: int, part: str) -> Tensor:
        """At most ``n_rows`` different training rows, at random: (n_rows, d)."""
        rng = np.random.default_rng(self._seed_of(part))
        n_rows = min(n_rows, len(self.rows))
        chosen = rng.choice(len(self.rows), size=n_rows, replace=False)
        return self.rows[torch.from_numpy(chosen).to(self.rows.device)].cpu()

    def _encoder(self, part: str, n_outputs: int) -> nn.Module:
        network = networks.build(self.network, "encoder", self.n_features, n_outputs, self._seed_of(part))
        if self._start is None:
            return network
        weight = torch.zeros(n_outputs, self.n_features, dtype=torch.float32)
        bias = torch.zeros(n_outputs, dtype=torch.float32)
        weight[: self._start.rank] = self._start.encoder_weight
        bias[: self._start.rank] = self._start.encoder_bias
        # components beyond the rank of the data have no PCA start: they keep the network's first output
        started = torch.ones(n_outputs, dtype=torch.bool)
        started[self._start.rank : self.n_components] = False
        return _LinearPath(weight, bias, network, started)

    def _seed_of(self, part: str) -> int:
        # each part's weights depend on its own name only, so that another part's size or presence
        # does not change them
        return derive_seed(self.seed, *part.encode())


# ---------------------------------------------------------------------------
# The start from PCA: a linear path beside each network, which starts at zero
# ---------------------------------------------------------------------------

_PCA_ROWS = 10_000  # enough for the leading directions; a bound on the time and memory of the start
_LOGIT_MARGIN = 0.05


@dataclass(frozen=True)
class _LinearStart:
    encoder_weight: Tensor  # (rank, d)
    encoder_bias: Tensor  # (rank,)
    decoder_weight: Tensor  # (d, rank)
    decoder_bias: Tensor  # (d,)

    @property
    def rank(self) -> int:
        return len(self.encoder_bias)


def _pca_start(rows: Tensor, n_components: int, out_activation: str, seed: int) -> _LinearStart:
    """PCA's code times the number that makes its mean variance 1, and the least-squares map back.

    One number for all components, so that distances between codes are PCA's. Under a sigmoid the map back
    leads to the logits of the rows, moved away from 0 and 1.
    """
    from sklearn.decomposition import PCA  # here: importing it takes as long as the rest of the package

    x = as_array(rows).astype(np.float64)  # (n, d)
    mean = x.mean(axis=0)
    components = np.zeros((0, x.shape[1]))
    if np.ptp(x, axis=0).max() > 0:
        pca = PCA(min(n_components, *x.shape), random_state=seed % 2**32).fit(x)
        # directions without spread are rounding
        rank = int(np.sum(pca.singular_values_ > 1e-6 * pca.singular_values_[0]))
        components = pca.components_[:rank] / np.sqrt(np.mean(pca.explained_variance_[:rank]))
    z = (x - mean) @ components.T  # (n, rank)
    target = x
    if out_activation == "sigmoid":
        inside = np.clip(x, _LOGIT_MARGIN, 1.0 - _LOGIT_MARGIN)
        target = np.log(inside / (1.0 - inside))
    decoder_bias = target.mean(axis=0)
    # the codes are uncorrelated: one regression a component
    decoder = (target - decoder_bias).T @ z / np.sum(z**2, axis=0)  # (d, rank)
    return _LinearStart(
        *(
            torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))
            for a in (components, -components @ mean, decoder, decoder_bias)
        )
    )


class _LinearPath(nn.Module):
    """linear(x) + network(x), with the network's output zero at the start where ``started`` says so."""

    def __init__(self, weight: Tensor, bias: Tensor, network: nn.Module, started: Tensor):
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.float32)
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)
        self.network = network
        # a network whose last layer cannot be zeroed gets a factor per output instead, which learns slower
        self.gate: nn.Parameter | None = None
        if not _zero_outputs(network, weight.shape[1], started):
            self.gate = nn.Parameter((~started).float())

    def forward(self, x: Tensor) -> Tensor:
        out = self.network(x)
        if self.gate is not None:
            out = self.gate * out
        return self.linear(x) + out


def _zero_outputs(network: nn.Module, n_inputs: int, started: Tensor) -> bool:
    """Zero the last layer's weights of the outputs ``started``; False, and no change, if that fails."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    if not layers:
        return False
    last = layers[-1]
    if not all(p.requires_grad for p in last.parameters()):
        return False
    rows: Tensor | slice = slice(None)
    if not bool(started.all()):
        if not isinstance(last, nn.Linear) or last.out_features != len(started):
            return False
        rows = started
    before = [p.detach().clone() for p in last.parameters()]
    generator = torch.Generator().manual_seed(0)
    trial = torch.randn(16, n_inputs, generator=generator, dtype=torch.float32)
    network.eval()
    with torch.no_grad():
        for parameter in last.parameters():
            parameter[rows] = 0.0
    with torch.enable_grad():
        out = network(trial)[:, started]
        # a layer to which no gradient comes back would stay zero: under a ReLU, or before other layers
        loss = (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum()
    zeroed = bool((out == 0).all()) and loss.requires_grad
    if zeroed:
        (gradient,) = torch.autograd.grad(loss, last.weight, allow_unused=True)
        zeroed = gradient is not None and bool((gradient[rows] != 0).flatten(1).any(dim=1).all())
    if not zeroed:
        with torch.no_grad():
            for parameter, value in zip(last.parameters(), before):
                parameter.copy_(value)
    network.train()
    return zeroed


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items() if isinstance(value, Tensor)}
