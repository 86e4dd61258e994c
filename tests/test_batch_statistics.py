"""Layers that compute otherwise in training: only the batch is computed so, whatever else a step encodes."""

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin
from torch import nn

from skswae import AETransformer, MIMTransformer, SWAETransformer, VampPriorTransformer
from skswae.networks import DCGANNet, GatedMLP

from .estimators import ESTIMATORS, VARIANTS, cheap
from .models.tools import check_gradients, latent_module, make_module
from .own_networks import DropoutMLP, NormNet

LATENT = (SWAETransformer, {"assignment_space": "latent"})
ENCODING_OTHERS = [
    LATENT, (VampPriorTransformer, {}), (MIMTransformer, {}), (MIMTransformer, {"sampling": "symmetric"})
]  # fmt: skip


class QuickDCGANNet(DCGANNet):
    """Running statistics that follow within a few steps."""

    def build_encoder(self, n_features, n_outputs):
        encoder = super().build_encoder(n_features, n_outputs)
        for norm in batch_norms(encoder).values():
            norm.momentum = 0.5
        return encoder


class SpectralNet(NormNet):
    """Batch norm, and a weight that each call in training brings nearer to its norm."""

    def build_encoder(self, n_features, n_outputs):
        layers = super().build_encoder(n_features, n_outputs)
        layers[0] = nn.utils.parametrizations.spectral_norm(layers[0])
        return layers


class NormedGatedMLP(GatedMLP):
    """This package's gated layers, with batch norm put between them."""

    def build_encoder(self, n_features, n_outputs):
        layers = super().build_encoder(n_features, n_outputs)
        layers.insert(1, nn.BatchNorm1d(self.hidden_layer_sizes[0]))
        return layers


def batch_norms(module):
    return {n: m for n, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}


@pytest.mark.parametrize(
    ("Estimator", "parameters"), [*((E, {}) for E in ESTIMATORS), *VARIANTS, *ENCODING_OTHERS]
)
def test_every_step_counts_one_batch(Estimator, parameters, digits):
    """In every part of every model; SWAE's decoder decodes two after a warm-up: codes and draws."""
    few = {"batch_size": 50, "max_iter": 2, **parameters}
    module = cheap(Estimator, network=NormNet(), **few).fit(digits[0]).module_
    counts = {name: int(norm.num_batches_tracked) for name, norm in batch_norms(module).items()}
    decodes_two = Estimator is SWAETransformer and "warmup" not in parameters
    twice = {name for name in counts if decodes_two and name.startswith("decoder.")}
    assert len(counts) >= 2
    assert counts == {name: 24 if name in twice else 12 for name in counts}


@pytest.mark.slow
@pytest.mark.parametrize(("Estimator", "parameters"), [(SWAETransformer, {}), *ENCODING_OTHERS])
def test_statistics_are_those_of_the_batches(Estimator, parameters, digits):
    """At a rate of nearly 0 every batch of all rows has the same, which the running ones approach."""
    X, n_steps = digits[0][:200].astype(np.float32), 20
    model = cheap(
        Estimator,
        n_components=3,
        network=QuickDCGANNet((1, 8, 8), filters=(4, 8)),
        learning_rate_init=1e-12,
        batch_size=200,
        max_iter=n_steps,
        **{"n_pseudo_inputs": 5, **parameters},
    ).fit(X)
    module = copy.deepcopy(model.module_)
    x = torch.from_numpy(X)
    with torch.no_grad():
        codes = module.encode_x(x)
    module.train()
    for norm in batch_norms(module).values():
        norm.momentum = 1.0  # the last batch alone
    with torch.no_grad():
        in_training = module.encode_x(x)
    left = 0.5**n_steps
    for name in batch_norms(module.encoder):
        found, last = (m.encoder.get_submodule(name) for m in (model.module_, module))
        for running, batch, first in (
            (found.running_mean, last.running_mean, 0.0),
            (found.running_var, last.running_var, 1.0),
        ):
            torch.testing.assert_close(running, left * first + (1 - left) * batch, rtol=1e-3, atol=1e-6)
    n_upper = getattr(module, "n_upper", 3)
    difference = (codes - in_training)[:, :n_upper].abs().amax(dim=0) / codes[:, :n_upper].std(dim=0)
    assert difference.max() < 0.02  # a batch's variance is divided by n, the running one by n - 1


@pytest.mark.parametrize("network", [NormNet(), DropoutMLP(p=0.5), SpectralNet()])
def test_the_latent_search_is_among_codes_as_after_training(network, digits):
    X = digits[0]
    swae = cheap(SWAETransformer, network=network, n_pseudo_inputs=20, assignment_space="latent").fit(X)
    expected = pairwise_distances_argmin(swae.transform(X), swae.transform(swae.pseudo_inputs_))
    module = copy.deepcopy(swae.module_).train()
    before = copy.deepcopy(module.state_dict())
    chosen = module.double().assign(torch.tensor(X))
    np.testing.assert_array_equal(chosen, expected)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value.to(before[name].dtype), before[name], rtol=0, atol=0)
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize("network", [NormNet(), DropoutMLP(p=0.5), SpectralNet()])
@pytest.mark.parametrize("Estimator", [VampPriorTransformer, MIMTransformer])
def test_the_prior_is_of_posteriors_as_after_training(Estimator, network, digits):
    """Its gradient reaches the pseudo-inputs and the encoder."""
    module = copy.deepcopy(cheap(Estimator, network=network).fit(digits[0]).module_)
    with torch.no_grad():
        expected = module.posterior(module.pseudo_inputs.rows)
    module.train()
    before = copy.deepcopy(module.state_dict())
    found = module.upper_prior_parameters()
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    z2 = torch.randn(7, module.n_upper, generator=torch.Generator().manual_seed(0))
    loss = -module.upper_prior_log_prob(z2, *found).mean()
    reached = [module.pseudo_inputs.rows, *(p for p in module.encoder.parameters() if p.ndim == 2)]
    assert all(g.any() for g in torch.autograd.grad(loss, reached))


@pytest.mark.parametrize(("Estimator", "parameters"), ENCODING_OTHERS[1:])
def test_gradients_beside_batch_norm(Estimator, parameters):
    """The batch by its own statistics, everything else by the running ones, which are held still here."""
    module, x = latent_module(Estimator, network=NormNet(), **parameters)
    for norm in batch_norms(module).values():
        norm.momentum = 0.0
        norm.running_mean.fill_(0.3)
    check_gradients(module, x)


def test_modes_are_put_back(digits):
    """Also of a part that is kept in evaluation mode, and after an error."""
    module, x = make_module(SWAETransformer, network=NormNet(), assignment_space="latent")
    frozen = next(iter(batch_norms(module.encoder).values())).eval()
    with pytest.raises(RuntimeError):
        module.assign(x[:, :2])
    module.assign(x)
    assert [part for part in module.modules() if not part.training] == [frozen]


@pytest.mark.parametrize("K", [1, 3])
def test_the_prior_of_gated_layers_with_batch_norm_is_asked_once_a_row(K):
    """The statistics are those of the batch, in which a pseudo-input counts as often as it is the closest."""
    module, x = make_module(SWAETransformer, network=NormedGatedMLP((6,)), n_pseudo_inputs=K)
    cell = module.assign(x)
    expected = copy.deepcopy(module).conditional_prior(module.pseudo_inputs.rows[cell])
    for found, value in zip(
        module.pseudo_inputs.mapped(cell, module.conditional_prior, module.prior.network),
        expected,
        strict=True,
    ):
        np.testing.assert_allclose(found.detach(), value.detach())


class Empty(nn.Dropout):
    """Has a length of 0, so that it is not true."""

    def __len__(self):
        return 0


@pytest.mark.parametrize("part", [nn.Dropout(0.5), Empty(0.5), nn.Sequential(Empty(0.5))])
def test_methods_put_every_part_in_evaluation_mode(part, digits):
    """A user may have trained one part in a loop of their own, whatever it is."""
    ae = cheap(AETransformer, max_iter=1).fit(digits[0])
    ae.module_.encoder = nn.Sequential(ae.module_.encoder, part).eval()
    expected = ae.transform(digits[0])
    list(part.modules())[-1].train()
    np.testing.assert_array_equal(ae.transform(digits[0]), expected)
