"""The base class of all modules: encoder, decoder, head, units, and codes of training rows."""

from __future__ import annotations

import abc
import copy
import functools
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from skswae._processes import active, gathered
from skswae._random import make_generator, normal_like
from skswae.data._scaler import Scaler, TrainingRows
from skswae.modules import _distributions
from skswae.modules._builder import NetworkBuilder, NetworkPart
from skswae.modules._columns import ColumnsFront, ColumnsHead
from skswae.modules._front import Front
from skswae.modules._heads import BinaryCrossEntropy, Head, Likelihood, SquaredError
from skswae.modules._initialization import (
    LinearStart,
    PrincipalComponents,
    pca_start,
    principal_components,
)
from skswae.modules._neighbors import NeighborTerm, Terms
from skswae.modules._reservoir import Reservoir, StoredRows
from skswae.modules._units import cost_of_the_mean

_MAX_CODES = 5000


class AutoencoderModule(nn.Module, abc.ABC):
    """An encoder, a decoder and an objective: the mathematics of one paper, without scikit-learn.

    A module is *built* by its constructor, from sizes and parameters alone; *initialised* from training rows
    by :meth:`initialize`; and *trained* by a loop that calls :meth:`losses`. A module built with the same
    parameters can be given the weights of another: ``load_state_dict(other.state_dict())``.

    The networks do not see rows in the units of the user but x = (row - location) / scale:
    ``x = scaler.standardize(rows)`` and ``rows = scaler.unstandardize(x)``. :meth:`encode`, :meth:`decode`
    and :meth:`loss` take and return rows in the units of the user. All methods with an argument ``x`` take
    it in the units of the networks: :meth:`losses`, :meth:`encode_x` and whatever a subclass adds. Encoders
    see ``front(x)``, its leading principal components where there are many features.

    A subclass writes :meth:`losses` and :meth:`sample_prior`. Whatever else its objective needs it builds
    from ``build`` in its constructor, which takes its parameters by keyword.

    Parameters
    ----------
    build : NetworkBuilder
        Builds networks of the right sizes.
    head : Head or None, default=None
        How the decoder's output becomes a mean, and what a row costs under it. None is the squared error.
    encoder, decoder : nn.Module or None, default=None
        None builds a network from ``front(x)`` to codes, and one from codes to rows.

    Attributes
    ----------
    encoder, decoder : nn.Module
    front : Front
        What the encoder sees of a row.
    head : Head
    scaler : Scaler
        From the units of the user to those of the networks: ``standardize``, and back: ``unstandardize``.
    neighbors : NeighborTerm or None
        The neighbour term that a training adds to :meth:`losses`, if there is one.
    codes : StoredRows
        ``codes.rows``, of shape (at most 5000, k), are codes of rows of the last training, drawn at random:
        for a density fitted to them afterwards.
    map_scale : float
        What distances of codes are multiplied by in the neighbour term at first: about the width of a map, 5,
        over that of the codes, where the objective fixes that.
    summed_buffers : tuple of str
        Names of the buffers in which :meth:`observe` sums over rows: several processes that share a fit look
        at different rows, and their sums are added up.
    learning_rates : dict of str to float
        Rates of players that do not take the estimator's.
    warmup : int
        Epochs until the objective is final, 0 unless a subclass sets it.
    epoch : int or inf
        The epoch under way, infinity outside of a training: set by :meth:`before_epoch`.
    """

    map_scale = 1.0
    summed_buffers: tuple[str, ...] = ()

    def __init__(
        self,
        build: NetworkBuilder,
        *,
        head: Head | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ):
        super().__init__()
        self.n_features = build.n_features
        self.n_components = build.n_components
        self.out_activation = build.out_activation
        self.warmup: int = 0
        self.epoch: float = math.inf
        self.learning_rates: dict[str, float] = {}
        self.front: Any = Front(build.n_features, build.n_inputs)
        self.encoder = build.encoder() if encoder is None else encoder
        self.decoder = build.decoder() if decoder is None else decoder
        self.head = SquaredError(build.out_activation) if head is None else head
        if build.columns is not None:
            self.front = ColumnsFront(build.columns)
            self.head = ColumnsHead(build.columns, isinstance(head, Likelihood))
        self.scaler = Scaler(build.n_features)
        self.codes = StoredRows(build.n_components)
        self.neighbors: NeighborTerm | None = None
        if build.neighbor_weight:
            self.neighbors = NeighborTerm(build.neighbor_weight, self.map_scale)
            if type(self).encode_x is not AutoencoderModule.encode_x:
                raise TypeError(
                    f"A module with a neighbour term must compute codes in encode_inputs(h), h = front(x). "
                    f"Got {type(self).__name__}, which has an encode_x of its own."
                )

    def initialize(self, data: TrainingRows, seed: int) -> None:
        """Set what depends on the training rows: the units, and the start of the networks.

        Parameters
        ----------
        data : TrainingRows
            The rows, in the units that the module is to have.
        seed : int
            Seed of the rows drawn. Each use draws by a name of its own (``named_seed(seed, "name")``), so
            that one more does not change the others, as a generator passed along would.
        """
        self.scaler.load_state_dict(data.scaler.state_dict())
        parts = [part for part in self.modules() if isinstance(part, NetworkPart) and part.linear is not None]
        if parts or self.front.reduces:
            found = principal_components(data, max(self.front.n_inputs, self.n_components), seed)
            self.front.initialize(found)
            if parts:
                start = self.front.behind(self.linear_start(data, found))
                for part in parts:
                    part.start_from(start)
        if self.neighbors is not None:
            self.neighbors.unit.fill_(self.unit_of_cost(data))

    def unit_of_cost(self, data: TrainingRows) -> float:
        """Return what it costs to decode every row to the mean row, or for a likelihood 1 a feature."""
        if isinstance(self.head, SquaredError):
            return data.total_variance() or 1.0  # 0 for constant rows
        if isinstance(self.head, BinaryCrossEntropy):
            return self.n_features * cost_of_the_mean(data, "binary_cross_entropy") or 1.0
        if isinstance(self.head, ColumnsHead):
            return float(self.head.price.sum()) or 1.0
        return float(self.n_features)

    def linear_start(self, data: TrainingRows, found: PrincipalComponents) -> LinearStart:
        """Return the solution of PCA that the networks start from; ``found`` may be more than k of it."""
        return pca_start(data, found, self.n_components, self.head)

    # -- in the units of the user ------------------------------------------

    def encode(self, rows: Tensor) -> Tensor:
        """Return the code of each row, without noise, of rows in the units of the user: (n, d) -> (n, k)."""
        return self.encode_x(self.scaler.standardize(rows))

    def decode(self, z: Tensor) -> Tensor:
        """Return the row of each code, in the units of the user: (n, k) -> (n, d)."""
        return self.scaler.unstandardize(self.decode_x(z))

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch of rows in the units of the user, differentiable: ().

        It is the first player's of :meth:`losses`, without a neighbour term: in the units of the networks, as
        those of ``history_``.
        """
        _, terms = next(iter(self.losses(self.scaler.standardize(rows), generator)))
        return terms["loss"]

    # -- in the units of the networks --------------------------------------

    def encode_x(self, x: Tensor) -> Tensor:
        """Return the code of each row, without noise: (n, d) -> (n, k)."""
        return self.encode_inputs(self.front(x))

    def encode_inputs(self, h: Tensor) -> Tensor:
        """Return the code of what the encoder sees of each row, without noise: (n, m) -> (n, k)."""
        return self.encoder(h)

    def decode_x(self, z: Tensor) -> Tensor:
        """Return the row of each code: (n, k) -> (n, d)."""
        return self.head.mean(self.raw_output(z))

    def raw_output(self, z: Tensor) -> Tensor:
        """Return the decoder's output of each code, which the head makes a row of: (n, k) -> (n, d)."""
        return self.decoder(z)

    @abc.abstractmethod
    def sample_prior(self, n_samples: int, generator: torch.Generator, *args: Any, **sampling: Any) -> Tensor:
        """Draw codes from the prior: (n_samples, k).

        ``sampling`` holds the estimator's parameters that may change after a fit, by their names.
        """

    def prior_components(self, **sampling: Any) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return means, log-variances and weights of a prior that is a mixture of Gaussians, else None.

        Of shapes (K, k), (K, k) and (K,), or of the upper level alone.
        """
        return None

    def sample_components(
        self, chosen: Tensor, generator: torch.Generator, mean: Tensor, log_variance: Tensor
    ) -> Tensor:
        """Draw a code of each component chosen of :meth:`prior_components`: (n,) -> (n, k)."""
        mean, log_variance = mean[chosen], log_variance[chosen]
        return _distributions.sample_gaussian(mean, log_variance, normal_like(mean, generator))

    # -- what the training loop calls --------------------------------------

    @abc.abstractmethod
    def losses(self, x: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        """Yield (player, terms) for a batch x of shape (n, d), in the units of the networks.

        ``terms["loss"]`` is what that player's parameters minimise; the other terms are recorded. Each is
        a mean over the batch of sums over features. A module with one player yields once. The first player's
        terms may hold "codes" of shape (n, k), those of :meth:`encode_x`, so that a neighbour term need not
        compute them; they are not recorded.
        """

    def training_losses(self, batch: Tensor, generator: torch.Generator) -> Iterator[tuple[str, Terms]]:
        """Yield :meth:`losses` of a batch of the training, with the neighbour term in the first player's.

        Where there is one, the batch is (n, d + m): rows, and beside each what an encoder sees of a row near.
        """
        # contiguous, for networks of one's own may take views of them
        x, near = (part.contiguous() for part in batch.tensor_split([self.n_features], dim=1))
        if self.training and isinstance(self.front, ColumnsFront):
            x = self.front.with_hidden_cells(x, generator)
        losses = iter(self.losses(x, generator))
        player, terms = next(losses)
        z = terms.get("codes")
        handed_on = z is not None and z.shape == (len(x), self.n_components)  # else it is a term like others
        terms = {name: value for name, value in terms.items() if not (handed_on and name == "codes")}
        if self.neighbors is not None:
            if z is not None and handed_on:
                z_near = self.encode_inputs(near)
            else:
                z, z_near = self.encode_inputs(torch.cat([self.front(x), near])).chunk(2)
            terms = self.neighbors.added(terms, gathered(z), gathered(z_near))
        yield player, terms
        yield from losses

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each player; by default one player has all that are not frozen."""
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    @property
    def objective_is_final(self) -> bool:
        """Whether the objective stays as it is from now on: the epochs of ``warmup`` are over."""
        return self.epoch >= self.warmup

    @property
    def objective_is_steady(self) -> bool:
        """Whether the objective is the same in all epochs of the warm-up, or that is over."""
        return self.objective_is_final

    @property
    def warms_up(self) -> bool:
        """Whether a loss is that of the warm-up: in training alone, for held-out rows meet the final one."""
        return self.training and not self.objective_is_final

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold a step; False unless a subclass promises it.

        The promise: :meth:`losses` waits for no number from the device, draws from its generator alone, and
        is the same work in each step once the objective is final, and before if it is steady.
        """
        return False

    def after_step(self) -> None:
        """Restore what must hold after every step of an optimiser, such as a projection."""

    def before_training(self, batches: Iterable[Tensor], accumulate: bool) -> None:
        """Look at the training rows of this training, in order, before its first epoch."""

    def before_epoch(self, epoch: int) -> None:
        """Take the number of the epoch that begins, from 0; later trainings count on."""
        self.epoch = epoch

    @torch.no_grad()
    def after_training(self, batches: Iterable[Tensor], accumulate: bool) -> None:
        """Pass over the training rows, in order, a last time; the codes of some are kept.

        With ``accumulate``, earlier calls on other rows count too.
        """
        reservoir = Reservoir(_MAX_CODES, make_generator(0, self.device))
        group = active()
        if group is not None:
            reservoir.skip(group.n_rows_before)
        for x in batches:
            z = self.encode_x(x)
            self.observe(x, z, accumulate)
            reservoir.add(z.float())
        if group is not None:
            reservoir.gather(group)
            for name in self.summed_buffers:
                group.combine(self.get_buffer(name))
        self.codes.store(reservoir.rows())

    def fade_sums(self, share: float) -> None:
        """Leave this share of what the ``summed_buffers`` hold."""
        group = active()
        for name in self.summed_buffers:
            # the sums of several processes are added up: the first one keeps what all have
            self.get_buffer(name).mul_(share if group is None or group.rank == 0 else 0.0)

    def observe(self, x: Tensor, z: Tensor, accumulate: bool) -> None:
        """Take a batch of the last pass, and its codes, into account."""

    # -- helpers -----------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return self.scaler.scale.device

    @property
    def bounded_output(self) -> bool:
        """Whether decoded rows lie in [0, 1]."""
        return self.out_activation == "sigmoid"

    @functools.cached_property
    def row_block(self) -> int:
        """Number that a batch's rows should be a multiple of, so that a row's result does not depend on them.

        A matrix product rounds otherwise for a few rows than for many: below 4, and below 16 for
        convolutions.
        """
        return 16 if any(isinstance(m, nn.modules.conv._ConvNd) for m in self.modules()) else 4


def detached_copy(
    module: nn.Module, memo: dict[int, Any] | None = None, dtype: torch.dtype | None = None
) -> Any:
    """Copy a module, on its device: no gradients, and tensors that own exactly their numbers.

    With ``dtype`` real numbers are of that type in the copy. ``copy.deepcopy`` takes several times as long,
    most of it for empty dictionaries of hooks.
    """
    memo = {} if memo is None else memo  # by identity: what two modules share stays shared
    if id(module) in memo:
        return memo[id(module)]
    if any(getattr(type(module), name, None) is not getattr(nn.Module, name, None) for name in _COPYING):
        tensors = dict(enumerate((*module.parameters(), *module.buffers())))
        detached_tensors(tensors, memo, dtype)
        return copy.deepcopy(module, memo)
    new = memo[id(module)] = module.__new__(type(module))
    for name, value in vars(module).items():
        if name in ("_parameters", "_buffers"):
            value = detached_tensors(value, memo, dtype)
        elif name == "_modules":
            value = {
                key: None if part is None else detached_copy(part, memo, dtype) for key, part in value.items()
            }
        elif type(value) in (dict, OrderedDict) and not value:
            value = memo.setdefault(id(value), type(value)())
        elif not isinstance(value, bool | int | float | str | None):
            value = copy.deepcopy(value, memo)
        new.__dict__[name] = value
    return new


_COPYING = ("__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__copy__")


def detached_tensors(
    tensors: Mapping[Any, Tensor | None], memo: dict[int, Any] | None = None, dtype: torch.dtype | None = None
) -> dict[Any, Any]:
    """Copy the parameters or buffers of a module, as :func:`detached_copy` does."""
    memo = {} if memo is None else memo
    for tensor in tensors.values():
        if tensor is not None and id(tensor) not in memo:
            new_dtype = dtype if tensor.is_floating_point() else None
            new = tensor.detach().to(
                new_dtype or tensor.dtype, copy=True, memory_format=torch.contiguous_format
            )
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, tensor.requires_grad)
            memo[id(tensor)] = new
    return {name: None if tensor is None else memo[id(tensor)] for name, tensor in tensors.items()}
