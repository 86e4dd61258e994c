"""Principal components in front of the encoders."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import InvalidParameterError

from skswae import AETransformer, SWAETransformer, VampPriorTransformer, load_model, save_model
from skswae.modules._front import AUTO_COMPONENTS, AUTO_FEATURES
from skswae.networks import GatedConvNet, GatedMLP

from ..estimators import ESTIMATORS, cheap
from ..models.tools import make_module

SMALL = {"n_components": 3, "network": GatedMLP((6,)), "max_iter": 2, "random_state": 0}


@pytest.fixture
def wide(rng):
    """200 rows of 30 features, most of whose variance lies along 5 directions."""
    signal = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 30))
    return (signal + 0.05 * rng.normal(size=signal.shape) + 7.0).astype(np.float32)


def test_the_front_is_pca_in_one_unit(wide):
    module, x = make_module(AETransformer, torch.from_numpy(wide), input_components=4, init="pca")
    pca = PCA(4).fit(wide.astype(np.float64))
    h = module.front(x)
    unit = np.sqrt(np.mean(pca.explained_variance_))
    assert_allclose(np.abs(h.numpy()), np.abs(pca.transform(x.numpy())) / unit, atol=1e-4)
    projected = pca.inverse_transform(pca.transform(x.numpy()))
    assert_allclose(module.front.inverse(h).numpy(), projected, atol=1e-4)
    assert_allclose(module.front(module.front.inverse(h)).numpy(), h.numpy(), atol=1e-5)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_start_is_pcas_behind_the_front(Estimator, wide):
    """The code of every row at the start is the same with and without components in front."""
    parameters = {"init": "pca", "n_components": 3}
    plain, x = make_module(Estimator, torch.from_numpy(wide), **parameters)
    front, _ = make_module(Estimator, torch.from_numpy(wide), input_components=5, **parameters)
    assert front.encoder.linear.weight.shape[1] == 5
    with torch.no_grad():
        z = plain.eval().encode_x(x)
        assert_allclose(front.eval().encode_x(x).numpy(), z.numpy(), atol=1e-4 * float(z.std()))
        assert_allclose(front.decode_x(z).numpy(), plain.decode_x(z).numpy(), atol=1e-4)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_off_and_as_many_as_features_are_the_rows_themselves(Estimator, digits):
    X = digits[0][:60]
    fits = [
        cheap(Estimator, **{**SMALL, "input_components": value}).fit(X) for value in ("auto", None, 64, 100)
    ]
    for fit in fits:
        assert fit.input_components_ == 64
        assert_array_equal(fit.transform(X), fits[0].transform(X))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_model_works_behind_a_front(Estimator, wide, tmp_path):
    model = cheap(Estimator, **{**SMALL, "input_components": 5}).fit(wide)
    assert model.input_components_ == 5
    Z = model.transform(wide)
    assert Z.shape == (200, 3)
    assert model.inverse_transform(Z).shape == model.sample(200).shape == wide.shape
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(wide), Z)
    save_model(model, tmp_path / "model")
    assert_array_equal(load_model(tmp_path / "model").transform(wide), Z)
    again = cheap(Estimator, **{**SMALL, "input_components": 5}).fit(wide)
    assert_array_equal(again.transform(wide), Z)
    # float64 is computed in float64
    assert_allclose(model.transform(wide[:7].astype(np.float64)), Z[:7], atol=1e-4 * Z.std())


def test_densities_are_behind_the_front(wide):
    """log p(x) by one draw is the difference of the densities at that draw, on both levels."""
    module, x = make_module(VampPriorTransformer, torch.from_numpy(wide), input_components=4)
    assert module.front.reduces
    z, log_q = module.draw_posterior(x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(module.posterior_log_prob(x, z), log_q)
    found = module.importance_log_likelihood(x, 1, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, module.log_likelihood(x, z) + module.prior_log_prob(z) - log_q)


@pytest.mark.parametrize("Estimator", [SWAETransformer, VampPriorTransformer])
def test_pseudo_inputs_are_rows_of_the_components(Estimator, wide):
    """They are learned among the components, and shown in the units of the rows."""
    model = cheap(Estimator, **{**SMALL, "input_components": 5, "n_pseudo_inputs": 10}).fit(wide)
    assert model.module_.pseudo_inputs.rows.shape == (10, 5)
    pca = PCA(5).fit(wide.astype(np.float64))
    u = model.pseudo_inputs_
    assert u.shape == (10, 30)
    assert_allclose(pca.inverse_transform(pca.transform(u)), u, atol=1e-3)
    assert np.all(
        np.abs(u - wide.mean(axis=0)).max(axis=0) < 3 * np.abs(wide - wide.mean(axis=0)).max(axis=0)
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_search_is_among_what_the_encoder_sees(metric, wide):
    parameters = {"input_components": 4, "n_pseudo_inputs": 20, "metric": metric}
    module, x = make_module(SWAETransformer, torch.from_numpy(wide), **parameters)
    rows = module.front.inverse(module.front(x)).numpy()
    u = module.front.inverse(module.pseudo_inputs.rows.detach()).numpy()
    if metric == "euclidean":
        expected = np.square(rows[:, None] - u).sum(axis=2).argmin(axis=1)
    else:
        norms = np.linalg.norm(u, axis=1)
        expected = (rows @ u.T / norms).argmax(axis=1)
    assert np.mean(module.assign(module.front(x)).numpy() == expected) > 0.99  # ties apart


def test_auto(rng):
    X = rng.normal(size=(100, AUTO_FEATURES + 64)).astype(np.float32)
    images = GatedConvNet((3, 8, 8), encoder_filters=(2,) * 5, decoder_filters=(2,))
    found = {
        name: AETransformer(**{**SMALL, **parameters}).fit(X[:, :columns]).input_components_
        for name, columns, parameters in [
            ("wide", AUTO_FEATURES + 1, {}),
            ("not wide enough", AUTO_FEATURES, {}),
            ("random", AUTO_FEATURES + 1, {"init": "random"}),
            ("images", AUTO_FEATURES + 64, {"network": images}),
        ]
    }
    wide = AUTO_FEATURES + 1
    assert found == {
        **{"wide": AUTO_COMPONENTS, "not wide enough": AUTO_FEATURES, "random": wide},
        "images": AUTO_FEATURES + 64,
    }
    X = X[:, :wide]
    assert AETransformer(**SMALL).fit(X[:20]).input_components_ == 19  # all directions that there are
    # the first rows of many are not asked for the components of all, unless they are enough and differ enough
    assert AETransformer(**SMALL).partial_fit(X).input_components_ == wide
    assert AETransformer(**SMALL).partial_fit(np.tile(X[:20], (40, 1))).input_components_ == wide
    more = np.tile(X, (7, 1)) + rng.normal(size=(700, wide)).astype(np.float32)
    assert AETransformer(**SMALL).partial_fit(more).input_components_ == AUTO_COMPONENTS


def test_constant_wide_rows_have_no_front():
    model = AETransformer(**SMALL).fit(np.full((20, AUTO_FEATURES + 1), 3.0))
    assert model.input_components_ == AUTO_FEATURES + 1


def test_not_fewer_than_the_components_of_the_code(wide):
    assert AETransformer(4, input_components=2, max_iter=1).fit(wide).input_components_ == 4


class Unaware(BaseEstimator):
    """A user's network, which says nothing about the order of features."""

    def build_encoder(self, n_features, n_outputs):
        return torch.nn.Linear(n_features, n_outputs)

    def build_decoder(self, n_components, n_features):
        return torch.nn.Linear(n_components, n_features)


class Aware(Unaware):
    takes_components = True


def test_a_network_must_say_that_it_takes_components(wide):
    with pytest.raises(InvalidParameterError, match=r"'input_components'.*5 with Unaware.*takes_components"):
        AETransformer(3, input_components=5, network=Unaware()).fit(wide)
    for network, asked, found in [(Unaware(), "auto", 30), (Aware(), 5, 5)]:
        model = AETransformer(3, input_components=asked, network=network, max_iter=1).fit(wide)
        assert model.input_components_ == found


def test_a_first_partial_fit_must_show_the_directions(wide):
    model = AETransformer(3, input_components=10)
    with pytest.raises(
        ValueError, match=r"first partial_fit.*10 directions.*input_components=10.*Got 8 rows"
    ):
        model.partial_fit(wide[:8])
    assert not hasattr(model, "module_")
    model.partial_fit(wide[:50]).partial_fit(wide[50:58])
    assert model.input_components_ == 10
    model.set_params(input_components=5)
    with pytest.raises(ValueError, match="'input_components' parameter must stay 10"):
        model.partial_fit(wide)
