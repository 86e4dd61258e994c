"""The training step as a CUDA graph, which replays its kernels without Python between them.

It follows torch's documentation: random numbers come from a generator that the graph registers, so that a
replay draws what an eager step would; rates and Adam's counters are tensors on the device; warm-up steps are
steps of the training. ``docs/results/gpu.md`` says what was run on a card.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skswae._warnings import warn
from skswae.training._step import Preprocess, TrainableModule, TrainingStep

MIN_STEPS = 100
"""Least number of steps to come for which a graph is captured: it costs what some tens of them save."""

_EAGER_STEPS = 3  # of each graph's kind before it is captured: what allocates once has done so


class GraphedStep(TrainingStep):
    """A :class:`TrainingStep` on a CUDA device, most of whose updates are replays of a graph.

    There is one for each size of batch; a warm-up whose objective is steady has graphs of its own.

    What looks at the batch or draws from other streams, as ``augment`` does, runs before the graph. A step
    that cannot be captured stays eager, with a warning.

    Parameters
    ----------
    module : AutoencoderModule
    solver : {"adam", "normalized_adam"}
    precision : {"float32", "tf32", "bf16"}
    capturable : bool
        False keeps every step eager: for modules that draw from torch's global streams, or that do not
        promise ``capturable``.
    """

    def __init__(
        self,
        module: TrainableModule,
        solver: str = "adam",
        precision: str = "float32",
        *,
        capturable: bool,
    ):
        super().__init__(module, solver, precision)
        self._capturable = capturable
        # both by rows and whether the objective is final; the first counts eager steps
        self._seen: dict[tuple[int, bool], int] = {}
        self._graphs: dict[tuple[int, bool], tuple[Tensor, torch.cuda.CUDAGraph]] = {}
        self._pool: Any = None
        self._steps_to_come = 0

    def prepare_training(
        self,
        preprocess: Preprocess | None,
        learning_rate: float,
        n_steps: int | None,
        n_steps_to_come: int = 0,
    ) -> None:
        super().prepare_training(preprocess, learning_rate, n_steps, n_steps_to_come)
        self._steps_to_come = n_steps_to_come

    def end_training(self) -> None:
        """Let go of the graphs too, and of their memory."""
        super().end_training()
        self._seen, self._graphs, self._pool = {}, {}, None

    def update(self, x: Tensor, generator: torch.Generator) -> None:
        """Replay the graph of the batch's size, or move every player eagerly."""
        kind = len(x), self.module.objective_is_final
        if kind not in self._graphs and self._is_worth_a_graph(kind):
            self._capture(kind, x, generator)
        if kind in self._graphs:
            static, graph = self._graphs[kind]
            static.copy_(x)
            graph.replay()
        else:
            super().update(x, generator)
            # a weight that rises is a number that a graph would keep
            if self.module.objective_is_steady:
                self._seen[kind] = self._seen.get(kind, 0) + 1
        self._steps_to_come -= 1

    def _is_worth_a_graph(self, kind: tuple[int, bool]) -> bool:
        return (
            self._capturable and self._seen.get(kind, 0) >= _EAGER_STEPS and self._steps_to_come >= MIN_STEPS
        )

    def _capture(self, kind: tuple[int, bool], x: Tensor, generator: torch.Generator) -> None:
        """Record an update without doing it."""
        static, graph = x.clone(), torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            graph.register_generator_state(generator)
            # in the stream that the steps run in, so that gradients meet in it
            stream = torch.cuda.current_stream(x.device)
            with (
                _without_the_warning_of_an_empty_graph(),
                torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"),
            ):
                super().update(static, generator)
        except Exception as error:  # whatever torch refuses to record
            self._capturable = False
            _close_pool(x.device, self._pool)
            # a failed capture may leave the generator waiting for its end: a fresh state has the same numbers
            generator.graphsafe_set_state(generator.clone_state())
            warn(
                f"The training step of {type(self.module).__name__} cannot be captured as a CUDA graph, and "
                f"runs without one, more slowly: {error.__context__ or error}",
                RuntimeWarning,
            )
        else:
            self._graphs[kind] = static, graph


@contextlib.contextmanager
def _without_the_warning_of_an_empty_graph() -> Iterator[None]:
    """Leave it to the warning of a failed capture, which says more."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA Graph is empty")
        yield


def _close_pool(device: torch.device, pool: Any) -> None:
    """Tell torch's allocator that a capture that failed is over.

    torch itself does so only if the capture ends well; until then it returns no memory that other streams
    have used, in the whole process.
    """
    index = device.index if device.index is not None else torch.cuda.current_device()
    with contextlib.suppress(AttributeError, RuntimeError):  # no such functions, or nothing is open
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Within the block a CUDA device works in a stream of its own, as capturing asks for.

    Fits in several threads take turns: what one does in that stream while another captures would be recorded.
    """
    if device.type != "cuda":
        yield
        return
    with _side_stream_lock:
        # one for all fits, for memory is kept by stream
        if device not in _side_streams:
            _side_streams[device] = torch.cuda.Stream(device)
        stream = _side_streams[device]
        outside = torch.cuda.current_stream(device)
        stream.wait_stream(outside)
        try:
            with torch.cuda.device(device), torch.cuda.stream(stream):
                yield
        finally:
            outside.wait_stream(stream)


_side_streams: dict[torch.device, torch.cuda.Stream] = {}
_side_stream_lock = threading.RLock()
