"""The VampPrior: its mixture and its bound, against NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from skswae import VampPriorTransformer

from .test_latent_variable import LIKELIHOODS
from .tools import assert_terms, gated_mlp, gaussian_of, generator, latent_module, loss_of, normal_log_pdf


def mixture_log_pdf(module, z2, floor=0.05):
    """Return equation (9), each posterior computed by itself."""
    densities = [
        normal_log_pdf(z2, *gaussian_of(gated_mlp(module.encoder, u[None]), floor))
        for u in module.pseudo_inputs.rows.detach().numpy()
    ]
    return logsumexp(densities, axis=0) - np.log(len(densities))


@pytest.mark.parametrize("kl_weight", [0.0, 2.5])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_losses_equal_the_paper_s_bound_in_numpy(k, likelihood, kl_weight):
    floor = 0.1
    module, x = latent_module(
        VampPriorTransformer, likelihood, n_components=k, posterior_scale_floor=floor, kl_weight=kl_weight,
        likelihood_scale="per_feature" if k == 2 else "shared",
    )  # fmt: skip
    X, noise = x.numpy(), generator()

    def draw(mean, log_variance):
        e = torch.randn(mean.shape, dtype=torch.float64, generator=noise).numpy()
        return mean + np.exp(0.5 * log_variance) * e

    q2 = gaussian_of(gated_mlp(module.encoder, X), floor)
    z2 = draw(*q2)
    assert z2.shape == (20, max(1, k // 2))
    kl = normal_log_pdf(z2, *q2) - mixture_log_pdf(module, z2, floor)
    if k == 1:
        logits = gated_mlp(module.decoder, z2)
    else:
        q1 = gaussian_of(gated_mlp(module.lower_encoder, X, z2), floor)
        z1 = draw(*q1)
        p1 = gaussian_of(gated_mlp(module.lower_prior, z2), floor)
        kl += normal_log_pdf(z1, *q1) - normal_log_pdf(z1, *p1)
        logits = gated_mlp(module.decoder, z1, z2)
    log_p = module.head.log_prob(x, torch.from_numpy(logits))  # checked in modules/test_heads.py
    expected = {"reconstruction_loss": -log_p.mean().item(), "kl_divergence": kl.mean()}
    expected["loss"] = expected["reconstruction_loss"] + kl_weight * expected["kl_divergence"]
    assert_terms(loss_of(module, x), expected)
