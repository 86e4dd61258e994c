"""The networks that a module consists of, built from sizes and parameters alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skswae._constraints import check_weights
from skswae._random import named_seed
from skswae.modules._columns import Columns
from skswae.modules._initialization import LinearStart
from skswae.networks import _protocol
from skswae.networks._layers import GatedLayers


class NetworkBuilder:
    """Build the networks of a module; no rows are needed.

    The first weights of a part depend on ``seed`` and the part's name alone, so that the size or the presence
    of another part does not change them.

    Parameters
    ----------
    network : object with build_encoder and build_decoder
        Description of the networks, such as :class:`~skswae.networks.GatedMLP`.
    n_features : int
        d, the number of columns of a row.
    n_components : int
        k, the number of columns of a code.
    n_inputs : int or None, default=None
        m, the number of columns that an encoder sees of a row: its leading principal components, or all. None
        is ``n_features``.
    out_activation : {"identity", "sigmoid"}, default="identity"
        Activation of the decoder's output.
    init : {"pca", "random"}, default="pca"
        "pca" puts a linear path beside each network, which a later ``initialize`` sets to PCA's solution.
    seed : int, default=0
        Seed of the first weights.
    neighbor_weight : float, default=0.0
        Weight of the neighbour term, which a module adds to its losses in training unless it is 0.
    columns : Columns or None, default=None
        What the rows of a table consist of; None is rows of numbers.

    Examples
    --------
    >>> from skswae.base import NetworkBuilder
    >>> from skswae.networks import GatedMLP
    >>> build = NetworkBuilder(GatedMLP((16,)), n_features=64, n_components=2)
    >>> build.encoder().linear.weight.shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        network: Any,
        *,
        n_features: int,
        n_components: int,
        n_inputs: int | None = None,
        out_activation: str = "identity",
        init: str = "pca",
        seed: int = 0,
        neighbor_weight: float = 0.0,
        columns: Columns | None = None,
    ):
        self.network = network
        self.n_features = n_features
        self.n_components = n_components
        self.n_inputs = n_features if n_inputs is None else n_inputs
        self.out_activation = out_activation
        self.init = init
        self.seed = seed
        self.neighbor_weight = neighbor_weight
        self.columns = columns

    def encoder(self, part: str = "encoder") -> NetworkPart:
        """Build a network from what it sees of rows to codes: (n, m) -> (n, k)."""
        return self._part(part, "encoder", (self.n_inputs,), self.n_components, range(self.n_components))

    def gaussian_encoder(self, part: str, n_columns: int | None = None) -> NetworkPart:
        """Build a network from such rows to the mean and the free log-variance of codes: (n, m) -> (n, 2 k).

        With ``n_columns``, of that many first columns of the code.
        """
        columns = range(self.n_components if n_columns is None else n_columns)
        return self._part(part, "encoder", (self.n_inputs,), 2 * columns.stop, columns)

    def decoder(self, part: str = "decoder") -> NetworkPart:
        """Build a network from codes to rows before the activation: (n, k) -> (n, d)."""
        columns = range(self.n_components)
        return self._part(part, "decoder", (self.n_components,), self.n_features, columns)

    # With two levels, the upper one is the code's first columns, the lower one the rest.

    def joint_encoder(self, part: str, n_upper: int) -> NetworkPart:
        """Build a network from such a row and its upper code to the lower code's Gaussian: (n, 2 n_lower)."""
        columns = range(n_upper, self.n_components)
        n_outputs = 2 * (self.n_components - n_upper)
        return self._part(part, "joint_encoder", (self.n_inputs, n_upper), n_outputs, columns)

    def conditional_prior(self, part: str, n_upper: int) -> NetworkPart:
        """Build a network from an upper code to the lower code's Gaussian: (n, n_upper) -> (n, 2 n_lower)."""
        return self._part(part, "conditional_prior", (n_upper,), 2 * (self.n_components - n_upper), ())

    def joint_decoder(self, part: str, n_upper: int) -> NetworkPart:
        """Build a network from lower and upper codes to rows before the activation: (n, d)."""
        k = self.n_components
        columns = [*range(n_upper, k), *range(n_upper)]
        return self._part(part, "joint_decoder", (k - n_upper, n_upper), self.n_features, columns)

    def critic(self, part: str, layer_sizes: Sequence[int]) -> nn.Module:
        """Build a network that tells codes from draws of a prior: (n, k) -> (n, 1)."""
        return _protocol.build_critic(self.n_components, list(layer_sizes), named_seed(self.seed, part))

    def _part(
        self, part: str, role: str, inputs: tuple[int, ...], n_outputs: int, columns: Sequence[int]
    ) -> NetworkPart:
        check_weights(n_outputs * (sum(inputs) if self.init == "pca" else 1))  # of the linear path, or a bias
        network = _protocol.build(self.network, role, inputs, n_outputs, named_seed(self.seed, part))
        return NetworkPart(network, role, inputs, n_outputs, columns, linear=self.init == "pca")


class NetworkPart(nn.Module):
    """One network of a module: ``network(x)``, plus ``linear(x)`` where training starts from PCA.

    x may come in several pieces, of the widths ``inputs``; the linear map takes them side by side. At the
    start the network's output is zero. A network whose last layer cannot be set to zero gets a trainable
    factor for each output instead, ``gate``.

    Parameters
    ----------
    network : nn.Module
    role : {"encoder", "joint_encoder", "conditional_prior", "decoder", "joint_decoder"}
    inputs : tuple of int
        Widths of the inputs.
    n_outputs : int
    columns : sequence of int
        Columns of the code that the part puts out (encoders) or takes in (decoders), in their order.
    linear : bool
        Whether there is a linear path.
    """

    autocast_dtype: torch.dtype | None = None

    def __init__(
        self,
        network: nn.Module,
        role: str,
        inputs: tuple[int, ...],
        n_outputs: int,
        columns: Sequence[int],
        *,
        linear: bool,
    ):
        super().__init__()
        self.network = network
        self.role = role
        self.columns = list(columns)
        self.linear: nn.Linear | None = None
        self.gate: nn.Parameter | None = None
        if linear:
            self.linear = nn.utils.skip_init(
                nn.Linear, sum(inputs), n_outputs, device="cpu", dtype=torch.float32
            )
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
            if self._output_layer() is None:
                self.gate = nn.Parameter(torch.zeros(n_outputs, dtype=torch.float32, device="cpu"))

    def _output_layer(self) -> nn.Linear | nn.Conv2d | None:
        layer = _protocol.output_layer(self.network)
        # some outputs of an encoder may keep their first weights, which convolutions share between outputs
        if isinstance(layer, nn.Conv2d) and "encoder" in self.role:
            return None
        return layer

    @torch.no_grad()
    def start_from(self, start: LinearStart) -> None:
        """Set the linear path to PCA's solution, and the network's output to zero."""
        if self.linear is None:
            return
        weight, bias = torch.zeros_like(self.linear.weight), torch.zeros_like(self.linear.bias)
        started = torch.ones(len(bias), dtype=torch.bool)
        if "decoder" in self.role:
            padded = weight.new_zeros(len(weight), len(self.columns))
            padded[:, : start.rank] = start.decoder_weight
            weight.copy_(padded[:, self.columns])
            bias.copy_(start.decoder_bias)
        elif "encoder" in self.role:
            found = [column for column in self.columns if column < start.rank]
            weight[: len(found), : start.encoder_weight.shape[1]] = start.encoder_weight[found]
            bias[: len(found)] = start.encoder_bias[found]
            if start.log_variance is not None:
                bias[len(self.columns) :][: len(found)] = start.log_variance[found]
            # components beyond the rank of the data have no PCA start: they keep the network's first output
            started[len(found) : len(self.columns)] = False
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        layer = self._output_layer()
        if self.gate is not None:
            self.gate.copy_(~started)
        elif layer is not None:
            for parameter in layer.parameters():
                parameter[started if len(parameter) == len(started) else slice(None)] = 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        linear, given = self.linear, inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
        if self.autocast_dtype is not None:  # no cache: a CUDA graph would keep its first weights
            with torch.autocast(given.device.type, self.autocast_dtype, cache_enabled=False):
                out = self.network(*inputs).float()
        else:
            if self.training and linear is not None and type(self.network) is GatedLayers:
                together = self.network.plus(linear, given) if self.gate is None else None
                if together is not None:
                    return together
            out = self.network(*inputs)
        if self.gate is not None:
            out = self.gate * out
        return out if linear is None else linear(given) + out


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Within the block the module computes as after its training: for rows that are not the batch's.

    Batch norm takes its running statistics and leaves them as they are, dropout drops nothing; gradients
    flow. The batch goes first: a later step of the statistics would change what a gradient is taken at.

    Parameters
    ----------
    module : torch.nn.Module
        A network, or a part of one.
    """
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextlib.contextmanager
def reduced_precision(module: nn.Module, precision: str) -> Iterator[None]:
    """Within the block, "bf16" computes the networks of the module in bfloat16, and nothing else.

    Their inputs, outputs and weights stay float32; so do linear paths, searches, divergences and losses.
    """
    parts = [part for part in module.modules() if isinstance(part, NetworkPart)]
    for part in parts:
        part.autocast_dtype = torch.bfloat16 if precision == "bf16" else None
    try:
        yield
    finally:
        for part in parts:
            part.autocast_dtype = None
