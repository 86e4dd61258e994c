"""Encoders and decoders: the networks of the papers, and the protocol for a user's own.

A *network* describes an encoder and a decoder without holding weights: a scikit-learn ``BaseEstimator``
with two methods, each of which returns a fresh :class:`torch.nn.Module`:

``build_encoder(n_features, n_outputs)``
    A module that maps rows of shape (n, n_features) to (n, n_outputs). An encoder of codes has
    ``n_components`` outputs, one of Gaussians (the conditional prior of SWAE) twice as many.
``build_decoder(n_components, n_features)``
    A module that maps codes of shape (n, n_components) to (n, n_features), *before* the output
    activation: under a sigmoid it returns logits.

A network whose encoders may see the principal components of rows in their place (``input_components``) says
so by an attribute ``takes_components = True``; ``n_features`` is then the number of these. One of
convolutions, which need the order of the features, does not.

As a ``BaseEstimator`` it can be cloned and searched over; an estimator whose ``network`` is None has a
:class:`GatedMLP`:

>>> from sklearn.datasets import load_iris
>>> from sklearn.model_selection import GridSearchCV
>>> from skswae import AETransformer
>>> grid = {"network__hidden_layer_sizes": [(5,), (50, 50)]}
>>> search = GridSearchCV(AETransformer(2, random_state=0), grid, cv=2).fit(load_iris().data)
>>> search.best_estimator_.network
GatedMLP(hidden_layer_sizes=(50, 50))

Models with two levels of codes (VampPrior, MIM) have a lower level z1 and an upper one z2. They ask for
more parts, each of which a network may build in a method of its own:

``build_joint_encoder(n_features, n_upper, n_outputs)``
    q(z1 | x, z2): ``forward(x, z2)`` maps (n, n_features) and (n, n_upper) to (n, n_outputs).
``build_conditional_prior(n_upper, n_outputs)``
    p(z1 | z2): ``forward(z2)`` maps (n, n_upper) to (n, n_outputs).
``build_joint_decoder(n_lower, n_upper, n_features)``
    p(x | z1, z2): ``forward(z1, z2)`` maps (n, n_lower) and (n, n_upper) to (n, n_features), before the
    output activation.

The first two describe Gaussians: ``n_outputs`` is twice the components of z1. A network without such a
method gets the part composed, with gated layers of 300 units:

- joint encoder: 300 outputs of its ``build_encoder`` for x, beside a gated layer of z2; on both together
  a gated layer and a linear map;
- conditional prior: two gated layers and a linear map;
- joint decoder: its ``build_decoder``, on z1 and z2 side by side.

Which network the tables of SWAE's paper (Sun & Guo, UAI 2021) rest on:

================  ====================================================================================
VAE, SWAE         :class:`GatedConvNet`, one level
VampPrior, MIM    :class:`GatedConvNet`, two levels: VampPrior's convHVAE (L = 2)
WAE-GAN, WAE-MMD  :class:`DCGANNet`, the network of the WAE paper
Figure 1          :class:`GatedMLP`
================  ====================================================================================

The gated blocks are those of VampPrior (Tomczak & Welling, AISTATS 2018), which the paper of SWAE uses too.
"""

from skswae.networks._dcgan import DCGANNet
from skswae.networks._gated import GatedConvNet, GatedMLP

__all__ = ["DCGANNet", "GatedConvNet", "GatedMLP"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
