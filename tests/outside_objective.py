"""An objective outside the package, as CONTRIBUTING.md shows it."""

from skswae.base import AutoencoderModule, BaseAutoencoder, random_integers, standard_normal


class DenoisingModule(AutoencoderModule):
    def losses(self, x, generator):
        noise = standard_normal(x.shape, x, generator)
        error = x - self.decode(self.encode(x + 0.3 * noise))
        yield "autoencoder", {"loss": error.square().sum(dim=1).mean()}

    def sample_prior(self, n_samples, generator):
        return self.codes[random_integers(len(self.codes), n_samples, generator)]


class DenoisingTransformer(BaseAutoencoder):
    def _build_module(self, parts):
        return DenoisingModule(parts)
