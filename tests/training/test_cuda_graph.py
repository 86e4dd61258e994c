"""On a card: replays of a CUDA graph train as eager steps do, bit for bit."""

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from skswae import SWAETransformer, VAETransformer
from skswae._device import arithmetic
from skswae.data import ArrayData, _loader
from skswae.modules._base import detached_copy
from skswae.training._cuda_graph import GraphedStep, side_stream
from skswae.training._loop import train
from skswae.training._step import TrainingStep

from ..estimators import cheap
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
    with arithmetic(CUDA, "float32"), side_stream(CUDA):
        step.prepare_training(lambda raw, generator: raw.float() / 16, 0.01, 336, 336)
        history = train(step, loader, epochs=range(3), batch_size=16, seed=3, callbacks=[]).history
        changed = [step.module.state_dict(), step.state_dict(), history]
        step.end_training()
    return changed


SWAE, VAE = (SWAETransformer, {"n_pseudo_inputs": 20}), (VAETransformer, {"warmup": 1})


@pytest.mark.parametrize("solver", ["adam", "normalized_adam"])
@pytest.mark.parametrize(
    ("model", "n_rows", "n_replays"),
    [
        (SWAE, 1797, 330),  # the first three steps of each size of batch are eager
        (SWAE, 1793, 330),  # one odd batch an epoch, which stays eager
        (VAE, 1797, 218),  # a graph would keep the weight that warms up in the first epoch
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


def test_a_step_that_cannot_be_captured_stays_eager():
    with pytest.warns(RuntimeWarning, match="HostNoise cannot be captured as a CUDA graph") as caught:
        found = run(GraphedStep(HostNoise(), capturable=True))
    assert len(caught) == 1
    assert_same(found, run(GraphedStep(HostNoise(), capturable=False)))  # without a warning


def test_rows_on_the_host_train_as_rows_on_the_card(monkeypatch):
    found = []
    for fits in (True, False):
        monkeypatch.setattr(_loader, "fits_on", lambda device, n_bytes, fits=fits: fits)
        module = detached_copy(fitted(SWAETransformer, n_pseudo_inputs=20)).to(CUDA)
        found.append(run(GraphedStep(module, capturable=True)))
    assert_same(*found)
