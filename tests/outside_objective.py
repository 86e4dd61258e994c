"""An objective outside the package, as CONTRIBUTING.md shows it."""

import torch

from skswae.base import AutoencoderModule, BaseAutoencoder


class DenoisingModule(AutoencoderModule):
    def losses(self, x, generator):
        noise = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        error = x - self.decode(self.encode(x + 0.3 * noise))
        yield "autoencoder", {"loss": error.square().sum(dim=1).mean()}

    def sample_prior(self, n_samples, generator):
        chosen = torch.randint(len(self.codes), (n_samples,), device=self.codes.device, generator=generator)
        return self.codes[chosen]


class DenoisingTransformer(BaseAutoencoder):
    def _build_module(self, parts):
        return DenoisingModule(parts)
