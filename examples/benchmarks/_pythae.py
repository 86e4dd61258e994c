"""pythae 0.1.2's side of comparisons: its VAE and WAE-MMD on networks of this package's interface.

It is installed by the extra: pip install -e ".[peers]".
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable

os.environ["TQDM_DISABLE"] = "1"  # progress bars: neither shown nor timed; before torch, which may read it

import torch
from torch import nn

try:
    from pythae.models import VAE, WAE_MMD, VAEConfig, WAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback
except ImportError as error:
    raise SystemExit('This benchmark needs pythae 0.1.2: pip install -e ".[peers]".') from error

N_COMPONENTS = 8
BATCH_SIZE = 100
LEARNING_RATE = 1e-3
MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

logging.disable(logging.INFO)  # pythae says much while it trains


def mmd_weight(X) -> float:
    """Return a fifth of the data's total variance, skswae's default: about 1 on digits, 10 on MNIST."""
    return 0.2 * float(X.var(axis=0).sum())


def wae_parameters(X) -> dict:
    """Return parameters of WAETransformer that agree with pythae's WAE-MMD."""
    return {
        "divergence": "mmd",
        "divergence_weight": mmd_weight(X),
        "kernel": "imq",
        "kernel_scales": MMD_SCALES,
        "input_noise": 0.0,
        "reconstruction": "squared_error",
    }


class Encoder(BaseEncoder):
    """A network as pythae's encoder."""

    def __init__(self, network: nn.Module, gaussian: bool):
        super().__init__()
        self.network = network
        self.gaussian = gaussian

    def forward(self, x):
        """Return the code, or its mean and log-variance."""
        h = self.network(x)
        if not self.gaussian:
            return ModelOutput(embedding=h)
        mean, log_variance = h.chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """A network as pythae's decoder."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z):
        """Return rows in [0, 1]."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def build(kind: str, X, network):
    """Return a model with its first weights, ``kind`` being "VAE" or "WAE-MMD"."""
    d = X.shape[1]
    sizes = {"input_dim": (d,), "latent_dim": N_COMPONENTS}
    decoder = Decoder(network.build_decoder(N_COMPONENTS, d))
    if kind == "VAE":
        encoder = Encoder(network.build_encoder(d, 2 * N_COMPONENTS), gaussian=True)
        return VAE(VAEConfig(reconstruction_loss="bce", **sizes), encoder, decoder)
    config = WAE_MMD_Config(
        kernel_choice="imq", reg_weight=mmd_weight(X), kernel_bandwidth=1.0, scales=list(MMD_SCALES), **sizes
    )
    encoder = Encoder(network.build_encoder(d, N_COMPONENTS), gaussian=False)
    return WAE_MMD(config, encoder, decoder)


def train(model, X, n_epochs: int, seed: int = 0, no_cuda: bool = True, callbacks: list | None = None):
    """Train a model in place, by Adam at a constant rate."""
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=n_epochs,
            per_device_train_batch_size=BATCH_SIZE,
            optimizer_cls="Adam",
            scheduler_cls=None,
            learning_rate=LEARNING_RATE,
            seed=seed,
            no_cuda=no_cuda,
        )
        TrainingPipeline(model=model, training_config=config)(train_data=X, callbacks=callbacks or [])
    return model


def epoch_seconds(
    kind: str, X, network, clock: Callable[[], float], n_epochs: int = 1, no_cuda: bool = True
) -> float:
    """Return the mean seconds of an epoch of a fresh training, between pythae's callbacks at both its ends.

    The first two epochs are a warm-up.
    """
    begins, ends = [], []

    class Marks(TrainingCallback):
        def on_epoch_begin(self, training_config, **keywords):
            begins.append(clock())

        def on_epoch_end(self, training_config, **keywords):
            ends.append(clock())

    train(build(kind, X, network), X, 2 + n_epochs, no_cuda=no_cuda, callbacks=[Marks()])
    return sum(end - begin for begin, end in zip(begins[2:], ends[2:])) / n_epochs
