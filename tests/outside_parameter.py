from numbers import Real

from sklearn.utils._param_validation import Interval

from skswae.base import AutoencoderModule, BaseAutoencoder


class SparseModule(AutoencoderModule):
    def __init__(self, build, *, sparsity):
        super().__init__(build)
        self.sparsity = sparsity

    def losses(self, x, generator):
        z = self.encode_x(x)
        cost, size = self.head.cost(x, self.decoder(z)).mean(), z.abs().sum(dim=1).mean()
        yield "autoencoder", {"loss": cost + self.sparsity * size, "cost": cost, "size": size}

    def sample_prior(self, n_samples, generator):
        raise NotImplementedError("A sparse autoencoder has no prior: use prior='gmm'.")


class SparseTransformer(BaseAutoencoder):
    _parameter_constraints = {
        **BaseAutoencoder._parameter_constraints,
        "sparsity": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_components=8, *, sparsity=0.1, max_iter="auto", random_state=None):
        super().__init__(n_components, max_iter=max_iter, random_state=random_state)
        self.sparsity = sparsity

    def _build_module(self, build):
        return SparseModule(build, **self._own_parameters())
