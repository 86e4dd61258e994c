"""What every module shares: encoder, decoder, output activation, units, and the start from PCA."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skswae import networks
from skswae._rows import Rows, in_units
from skswae._torch import as_array, derive_seed, make_generator

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
    codes : Tensor of shape (at most 5000, k)
        Codes of rows of the last training, drawn at random: for a density fitted to them afterwards. Earlier
        codes are no good, for the encoder has moved on.
    learning_rates : dict of str to float
        Rates of players that do not take the estimator's.
    """

    location: Tensor
    scale: Tensor
    codes: Tensor

    def __init__(self, parts: Parts):
        super().__init__()
        self.n_components = parts.n_components
        self.out_activation = parts.out_activation
        self.learning_rates: dict[str, float] = {}
        self._row_block = 0
        self.build_networks(parts)
        self.register_buffer("location", parts.location.clone())
        self.register_buffer("scale", parts.scale.clone())
        self.register_buffer("codes", torch.zeros((0, parts.n_components), dtype=torch.float32))

    def build_networks(self, parts: Parts) -> None:
        """Register the networks; a subclass with other ones than these two writes its own."""
        self.encoder = parts.encoder()
        self.decoder = parts.decoder()

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

    @property
    def settled(self) -> bool:
        """Whether the objective stays as it is from now on: no weight of it is warming up."""
        return True

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold a step; False unless a subclass promises it.

        That :meth:`losses` waits for no number from the device, draws by ``standard_normal`` and
        ``random_integers`` alone, and is the same work in each step once it has settled.
        """
        return False

    def sparse_parameters(self) -> list[nn.Parameter]:
        """Of the parameters those whose gradients are sparse: of which a step moves few rows."""
        return []

    def after_step(self) -> None:
        """What must hold after every step of an optimiser, such as a projection."""

    def before_training(self, batches: Iterable[Tensor]) -> None:
        """A first look at the training rows of this training, in order."""

    def before_epoch(self, epoch: int) -> None:
        """The number of the epoch that begins, from 0; later trainings count on."""

    @torch.no_grad()
    def after_training(self, batches: Iterable[Tensor], keep: bool) -> None:
        """A last pass over the training rows in order; ``keep``: earlier passes over other rows count too."""
        self.start_gathering(keep)
        generator = make_generator(0, self.codes.device)
        kept = Draw(_MAX_CODES, generator)
        for x in batches:
            z = self.encode(x)
            self.gather(x, z)
            kept.add(z.float())
        self.codes = kept.rows()

    def start_gathering(self, keep: bool) -> None:
        """Before the last pass: what :meth:`gather` adds to."""

    def gather(self, x: Tensor, z: Tensor) -> None:
        """A batch of the last pass, and its codes."""

    # -- helpers -----------------------------------------------------------

    def row_block(self) -> int:
        """Of how many rows a batch should be a multiple, so that a row's numbers do not depend on the rest.

        A matrix product rounds otherwise for a few rows than for many: below 4, and below 16 for
        convolutions.
        """
        if self._row_block == 0:
            convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.modules())
            self._row_block = 16 if convolves else 4
        return self._row_block

    def has_shapes_of(self, network: Any) -> bool:
        """Whether the network would build parts of the same weights."""
        for part in self.modules():
            built_as: Any = getattr(part, "_built_as", None)
            if built_as is not None:
                role, inputs, n_outputs = built_as
                fresh = networks.build(network, role, inputs, n_outputs, seed=0)
                if _shapes(part) != _shapes(fresh):
                    return False
        return True

    def activate(self, logits: Tensor) -> Tensor:
        """The output activation: (n, d) -> (n, d)."""
        return torch.sigmoid(logits) if self.out_activation == "sigmoid" else logits

    def to_units(self, rows: Tensor) -> Tensor:
        """Rows in the user's units to the module's, in float64 arithmetic and the dtype of the rows."""
        return in_units(rows, self.location, self.scale, rows.dtype)

    def from_units(self, x: Tensor) -> Tensor:
        """The module's units to the user's, in float64 arithmetic and the dtype of x."""
        return (x.double() * self.scale + self.location).to(x.dtype)


@contextlib.contextmanager
def reduced_precision(module: AutoencoderModule, precision: str) -> Iterator[None]:
    """Within the block, "bf16" computes the networks of ``parts`` in bfloat16, and nothing else.

    Their inputs, outputs and weights stay float32; so do the search, the divergences and the losses.
    """
    handles: list[Any] = []
    entered: list[torch.autocast] = []
    if precision == "bf16":
        device = module.scale.device.type

        def enter(*_: Any) -> None:
            # no cache: a graph would keep its first weights
            entered.append(torch.autocast(device, torch.bfloat16, cache_enabled=False))
            entered[-1].__enter__()

        def leave(part: nn.Module, inputs: Any, output: Any) -> Any:
            entered.pop().__exit__(None, None, None)
            return output.float() if isinstance(output, Tensor) else output

        for part in module.modules():
            if hasattr(part, "_built_as"):
                handles += [
                    part.register_forward_pre_hook(enter),
                    part.register_forward_hook(leave, always_call=True),
                ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        while entered:  # an interrupt calls no hooks
            entered.pop().__exit__(None, None, None)


_MAX_CODES = 5000


class Draw:
    """Rows drawn at random, without replacement, from all that are added: those of the smallest keys."""

    def __init__(self, n_rows: int, generator: torch.Generator):
        self.n_rows = n_rows
        self.generator = generator
        self._rows: list[Tensor] = []
        self._keys: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """More rows to draw from: (n, k)."""
        key = torch.rand(len(rows), dtype=torch.float64, device=rows.device, generator=self.generator)
        self._rows.append(rows)
        self._keys.append(key)
        if sum(map(len, self._keys)) > 2 * self.n_rows:
            self.rows()

    def rows(self) -> Tensor:
        """At most ``n_rows`` of them: (n_rows, k)."""
        rows, keys = torch.cat(self._rows), torch.cat(self._keys)
        order = keys.argsort()[: self.n_rows]
        self._rows, self._keys = [rows[order]], [keys[order]]
        return self._rows[0]


# ---------------------------------------------------------------------------
# The parts that a module is built from
# ---------------------------------------------------------------------------


class Parts:
    """Networks of the sizes that the data ask for, started as ``init`` says, and the training rows.

    Parameters
    ----------
    network : object with build_encoder and build_decoder
    rows : Rows
        The training rows, and the units; see :class:`AutoencoderModule`.
    n_components : int
    out_activation : {"identity", "sigmoid"}
    init : {"pca", "random"}
    seed : int
    """

    def __init__(
        self,
        network: Any,
        rows: Rows,
        *,
        n_components: int,
        out_activation: str,
        init: str,
        seed: int,
    ):
        self.network = network
        self.rows = rows
        self.location = rows.location
        self.scale = rows.scale
        self.n_features = rows.n_features
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
        return self._encoder(part, "encoder", (self.n_features,), self.n_components, slice(None))

    def gaussian_encoder(self, part: str, columns: slice = slice(None)) -> nn.Module:
        """A network from rows to the mean and the free log-variance of codes: (n, d) -> (n, 2 k).

        Of some columns of the code, if they are given.
        """
        n_outputs = 2 * len(range(self.n_components)[columns])
        return self._encoder(part, "encoder", (self.n_features,), n_outputs, columns)

    def decoder(self, part: str = "decoder") -> nn.Module:
        """A network from codes to rows before the activation: (n, k) -> (n, d)."""
        return self._decoder(part, "decoder", (self.n_components,), range(self.n_components))

    # Of two levels, the upper one is the code's first columns, the lower one the rest.

    def joint_encoder(self, part: str, n_upper: int) -> nn.Module:
        """From a row and its upper code to mean and free log-variance of the lower: (n, 2 n_lower)."""
        inputs, n_lower = (self.n_features, n_upper), self.n_components - n_upper
        return self._encoder(part, "joint_encoder", inputs, 2 * n_lower, slice(n_upper, None))

    def conditional_prior(self, part: str, n_upper: int) -> nn.Module:
        """From an upper code to mean and free log-variance of the lower one: (n, 2 n_lower)."""
        n_outputs = 2 * (self.n_components - n_upper)
        network = self._build(part, "conditional_prior", (n_upper,), n_outputs)
        if self._start is None:
            return network
        weight, bias = torch.zeros(n_outputs, n_upper), torch.zeros(n_outputs)
        return _LinearPath(weight, bias, network, torch.ones(n_outputs, dtype=torch.bool), (n_upper,))

    def joint_decoder(self, part: str, n_upper: int) -> nn.Module:
        """From lower and upper codes to rows before the activation: (n, n_lower), (n, n_upper) -> (n, d)."""
        k = self.n_components
        columns = [*range(n_upper, k), *range(n_upper)]
        return self._decoder(part, "joint_decoder", (k - n_upper, n_upper), columns)

    def critic(self, part: str, layer_sizes: list[int]) -> nn.Module:
        """A network that tells codes from codes: (n, k) -> (n, 1)."""
        return networks.build_critic(self.n_components, layer_sizes, self._seed_of(part))

    def generator(self, part: str) -> torch.Generator:
        """A generator of the part's own."""
        return make_generator(self._seed_of(part))

    def choose_rows(self, n_rows: int, part: str) -> Tensor:
        """At most ``n_rows`` different training rows, at random: (n_rows, d)."""
        rng = np.random.default_rng(self._seed_of(part))
        n_rows = min(n_rows, len(self.rows))
        chosen = rng.choice(len(self.rows), size=n_rows, replace=False)
        return self.rows.take(chosen)

    def _build(self, part: str, role: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
        network = networks.build(self.network, role, inputs, n_outputs, self._seed_of(part))
        # torch declares attributes of modules as tensors or modules; this one is plain data
        network._built_as = role, inputs, n_outputs  # type: ignore[assignment]
        return network

    def _encoder(
        self, part: str, role: str, inputs: tuple[int, ...], n_outputs: int, columns: slice
    ) -> nn.Module:
        network = self._build(part, role, inputs, n_outputs)
        if self._start is None:
            return network
        start = self._start.encoder_weight[columns]  # (at most the columns, d)
        weight = torch.zeros(n_outputs, sum(inputs), dtype=torch.float32)
        bias = torch.zeros(n_outputs, dtype=torch.float32)
        weight[: len(start), : self.n_features] = start
        bias[: len(start)] = self._start.encoder_bias[columns]
        # components beyond the rank of the data have no PCA start: they keep the network's first output
        started = torch.ones(n_outputs, dtype=torch.bool)
        started[len(start) : len(range(self.n_components)[columns])] = False
        return _LinearPath(weight, bias, network, started, inputs)

    def _decoder(self, part: str, role: str, inputs: tuple[int, ...], columns: Sequence[int]) -> nn.Module:
        network = self._build(part, role, inputs, self.n_features)
        if self._start is None:
            return network
        weight = torch.zeros(self.n_features, self.n_components, dtype=torch.float32)
        weight[:, : self._start.rank] = self._start.decoder_weight
        started = torch.ones(self.n_features, dtype=torch.bool)
        return _LinearPath(weight[:, list(columns)], self._start.decoder_bias, network, started, inputs)

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
    """linear(x) + network(x), with the network's output zero at the start where ``started`` says so.

    x may come in several pieces, of the widths ``inputs``; the linear map takes them side by side.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, network: nn.Module, started: Tensor, inputs: tuple[int, ...]
    ):
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], dtype=torch.float32)
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)
        self.network = network
        # a network whose last layer cannot be zeroed gets a factor per output instead, which learns slower
        self.gate: nn.Parameter | None = None
        if not _zero_outputs(network, inputs, started):
            self.gate = nn.Parameter((~started).float())

    def forward(self, *x: Tensor) -> Tensor:
        out = self.network(*x)
        if self.gate is not None:
            out = self.gate * out
        return self.linear(x[0] if len(x) == 1 else torch.cat(x, dim=1)) + out


def _zero_outputs(network: nn.Module, inputs: tuple[int, ...], started: Tensor) -> bool:
    """Zero the last layer's weights of the outputs ``started``; False, and no change, if that fails."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
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
    trial = [torch.randn(16, n, generator=generator, dtype=torch.float32) for n in inputs]
    network.eval()
    with torch.no_grad():
        for parameter in last.parameters():
            parameter[rows] = 0.0
    with torch.enable_grad():
        out = network(*trial)[:, started]
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
