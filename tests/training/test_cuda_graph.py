"""On a card: replays of a CUDA graph train as eager steps do, bit for bit."""

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from skswae import SWAETransformer, VAETransformer, VampPriorTransformer
from skswae.data import ArrayData, _loader
from skswae.modules._base import detached_copy
from skswae.modules._neighbors import NeighborGraph, WithNeighbors
from skswae.training._cuda_graph import GraphedStep, side_stream
from skswae.training._loop import train
from skswae.training._step import TrainingStep

from ..estimators import ESTIMATORS, cheap
from ..own_networks import NormNet
from .test_step import Toy, assert_same

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)
X = load_digits().data.astype(np.uint8)  # 1797 rows: in each epoch 5 batches of 17 and 107 of 16


@functools.cache
def fitted(Estimator, **parameters):
    return cheap(Estimator, max_iter=1, **parameters).fit(X / 16).module_


def run(step, X=X):
    """Train for three epochs of one cycle of the rate; return all that has changed."""
    loader = _loader.Loader(ArrayData(X), CUDA)

    def prepare(raw, generator):
        return raw.float() / 16

    if getattr(step.module, "neighbors", None) is not None:
        loader.keeps_index = True
        graph = NeighborGraph(torch.from_numpy(X / np.float32(16)).to(CUDA), 5)
        prepare = WithNeighbors(prepare, loader, graph)
    with side_stream(CUDA):
        step.prepare_training(prepare, 0.01, 336, 336)
        history = train(step, loader, epochs=range(3), batch_size=16, seed=3, callbacks=[]).history
        changed = [step.module.state_dict(), step.state_dict(), history]
        step.end_training()
    return changed


SWAE = (SWAETransformer, {"n_pseudo_inputs": 20, "warmup": 0})
WARM, VAE = (SWAETransformer, {"n_pseudo_inputs": 20, "warmup": 1}), (VAETransformer, {"warmup": 1})
# whose steps go on with running statistics, and switch parts to evaluation and back
NORM = {"n_pseudo_inputs": 20, "network": NormNet()}
LATENT, VAMP = (SWAETransformer, {"assignment_space": "latent", **NORM}), (VampPriorTransformer, NORM)
SOME = (VampPriorTransformer, {"n_pseudo_inputs": 20, "n_pseudo_inputs_per_step": 5})  # drawn in each step
MAP = (SWAETransformer, {"n_pseudo_inputs": 20, "warmup": 0, "neighbor_weight": 1.0})


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
@pytest.mark.parametrize(
    ("model", "n_rows", "n_replays"),
    [
        (SWAE, 1797, 330),  # the first three steps of each size of batch are eager
        (SWAE, 1793, 330),  # one odd batch an epoch, which stays eager
        (WARM, 1797, 324),  # as many graphs again, for the first epoch
        (VAE, 1797, 218),  # a graph would keep the weight that warms up in the first epoch
        (LATENT, 1797, 330),
        (VAMP, 1797, 330),
        (SOME, 1797, 330),
        (MAP, 1797, 330),
    ],
)
def test_replays_train_as_eager_steps_do(model, n_rows, n_replays, solver, monkeypatch):
    seen, replay = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: seen.append(graph) or replay(graph))
    graphed, eager = (detached_copy(fitted(model[0], **model[1])).to(CUDA) for _ in range(2))
    found = run(GraphedStep(graphed, solver, capturable=graphed.capturable), X[:n_rows])
    assert len(seen) == n_replays
    assert_same(found, run(TrainingStep(eager, solver), X[:n_rows]))


class HostNoise(Toy):
    """Sends numbers from the host, which no graph can record, and draws on the device too."""

    device = CUDA

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(64, device=CUDA))

    def losses(self, x, generator):
        noise = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(x.device)
        noise = noise + torch.randn(64, device=x.device, generator=generator)
        yield "all", {"loss": (x + noise - self.value).square().mean()}


class Waiting(HostNoise):
    """Waits for a number from the device, which ends a capture."""

    def losses(self, x, generator):
        noise = torch.randn(64, device=x.device, generator=generator)
        if float(noise.sum()) == 0.0:
            raise AssertionError
        yield "all", {"loss": (x + noise - self.value).square().mean()}


@pytest.mark.parametrize("Module", [HostNoise, Waiting])
def test_a_step_that_cannot_be_captured_stays_eager(Module):
    message = f"{Module.__name__} cannot be captured as a CUDA graph"
    with pytest.warns(RuntimeWarning, match=message) as caught:
        found = run(GraphedStep(Module(), capturable=True))
    assert len(caught) == 1
    assert_same(found, run(GraphedStep(Module(), capturable=False)))  # without a warning


@pytest.mark.parametrize("Module", [HostNoise, Waiting])
def test_memory_comes_back_after_a_failed_capture(Module):
    """While the allocator takes a capture to be under way it keeps what another stream has used."""
    with pytest.warns(RuntimeWarning, match="cannot be captured"):
        run(GraphedStep(Module(), capturable=True))
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before, other = torch.cuda.memory_stats()["active_bytes.all.current"], torch.cuda.Stream()
    block = torch.empty(2**24, device=CUDA)
    block.record_stream(other)
    del block
    torch.cuda.synchronize()
    torch.empty(2**10, device=CUDA)  # the allocator looks at what is done when it is asked for more
    torch.cuda.empty_cache()
    assert torch.cuda.memory_stats()["active_bytes.all.current"] <= before


def test_what_a_fit_keeps_on_the_card_is_the_module():
    model = cheap(SWAETransformer, device="cuda", warm_start=True).fit(X / 16)
    kept = [
        value for own in model._moments[0].values() for values in own.values() for value in values.values()
    ]
    assert kept
    assert not any(value.is_cuda for value in kept)
    assert next(model.module_.parameters()).is_cuda
    model.fit(X / 16)
    assert model.n_iter_ == 6


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_flags_are_the_callers_outside_of_a_step(precision):
    seen = []

    def look(x, generator):
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        seen.append((torch.get_float32_matmul_precision(), matmul.allow_tf32, cudnn.allow_tf32))
        return x

    before = ("highest", False, True)
    cheap(SWAETransformer, device="cuda", precision=precision, augment=look).fit(X / 16)
    assert set(seen) == {before}


@pytest.mark.parametrize(
    "block", [lambda: torch.autocast("cuda", dtype=torch.bfloat16), torch.inference_mode]
)
def test_results_do_not_depend_on_the_callers_block(block):
    def results():
        model = cheap(VAETransformer, device="cuda").fit(X / 16)
        return model.transform(X / 16), model.score_samples(X / 16), model.sample(5, random_state=0)

    expected = results()
    with block():
        found = results()
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("neighbor_weight", [0.0, 4.0])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_deterministic_algorithms(Estimator, neighbor_weight):
    torch.use_deterministic_algorithms(True)
    try:
        model = cheap(Estimator, device="cuda", neighbor_weight=neighbor_weight).fit(X / 16)
        assert np.isfinite(model.sample(100, random_state=0)).all()
        assert np.isfinite(model.transform(X / 16)).all()
    finally:
        torch.use_deterministic_algorithms(False)


def test_rows_on_the_host_train_as_rows_on_the_card(monkeypatch):
    found = []
    for fits in (True, False):
        monkeypatch.setattr(_loader, "fits_on", lambda device, n_bytes, fits=fits: fits)
        module = detached_copy(fitted(SWAETransformer, n_pseudo_inputs=20)).to(CUDA)
        found.append(run(GraphedStep(module, capturable=True)))
    assert_same(*found)
