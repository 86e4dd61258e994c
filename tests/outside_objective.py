import torch

from skswae.base import AutoencoderModule, BaseAutoencoder, normal_like


class DenoisingModule(AutoencoderModule):
    def losses(self, x, generator):
        noise = normal_like(x, generator)
        error = x - self.decode_x(self.encode_x(x + 0.3 * noise))
        yield "autoencoder", {"loss": error.square().sum(dim=1).mean()}

    def sample_prior(self, n_samples, generator):
        codes = self.codes.rows
        return codes[torch.randint(len(codes), (n_samples,), device=codes.device, generator=generator)]


class DenoisingTransformer(BaseAutoencoder):
    def _build_module(self, build):
        return DenoisingModule(build)
