"""Codes are a function of the row: not of the batch, the order or earlier calls; and they keep its dtype."""

import copy

import numpy as np
import pytest
import torch

from skswae.networks import GatedConvNet, GatedMLP

from .estimators import swae, two_levels

both = pytest.mark.parametrize("make", [swae, two_levels])


MLP, CONVOLUTIONS = GatedMLP((16,)), GatedConvNet((1, 8, 8), decoder_filters=(4,), hidden_size=16)


@pytest.mark.parametrize(
    ("make", "network", "n_rows"), [(swae, MLP, 530), (two_levels, MLP, 530), (swae, CONVOLUTIONS, 60)]
)
def test_codes_do_not_depend_on_batch_order_or_calls(make, network, n_rows, digits):
    X = np.tile(digits[0], (2, 1))[:n_rows]  # more than one chunk of 512
    estimator = make(network=network, max_iter=1).fit(digits[0])
    for dtype in (np.float64, np.float32):
        Xd = X.astype(dtype)
        Z = estimator.transform(Xd)
        assert Z.dtype == dtype
        order = np.random.default_rng(0).permutation(len(X))
        others = {
            "order": estimator.transform(Xd[order])[np.argsort(order)],
            "single": np.vstack([estimator.transform(x[None]) for x in Xd[:15]]),
            "offset": np.vstack([estimator.transform(Xd[:7]), estimator.transform(Xd[7:])]),
        }
        tolerance = 1e-9 if dtype == np.float64 else 1e-5
        for name, other in others.items():
            assert np.all(np.abs(other - Z[: len(other)]) <= tolerance * Z.std(axis=0)), name
        np.testing.assert_array_equal(estimator.transform(Xd), Z)


@both
def test_codes_of_a_table_do_not_depend_on_the_batch(make, iris):
    """With more components than features, some of which are small."""
    X = iris.astype(np.float32)
    estimator = make(n_components=8, max_iter=10).fit(X)
    Z = estimator.transform(X)
    single = np.vstack([estimator.transform(x[None]) for x in X])
    assert np.all(np.abs(Z - single) <= 1e-5 * Z.std(axis=0))


@both
def test_float64_is_computed_in_float64(make, digits):
    X = digits[0]
    estimator = make().fit(X)
    module = copy.deepcopy(estimator.module_).double()
    with torch.no_grad():
        expected = module.encode(torch.tensor(X))
        decoded = module.decode(expected).numpy()
    Z = estimator.transform(X)
    np.testing.assert_allclose(Z, expected, rtol=1e-12)
    np.testing.assert_allclose(estimator.inverse_transform(Z), decoded, rtol=1e-12)
    np.testing.assert_allclose(estimator.reconstruct(X), decoded, rtol=1e-12)
    error = -np.square(X - decoded).sum(axis=1)
    np.testing.assert_allclose(estimator.score_samples(X), error, rtol=1e-10)
    assert np.abs(Z - estimator.transform(X.astype(np.float32))).max() > 0
    assert {p.dtype for p in estimator.module_.parameters()} == {torch.float32}


def test_dtypes_are_kept(digits):
    estimator = swae().fit(digits[0])
    for dtype in (np.float32, np.float64):
        X = digits[0].astype(dtype)
        Z = estimator.transform(X)
        for out in (Z, estimator.inverse_transform(Z), estimator.reconstruct(X), estimator.score_samples(X)):
            assert (type(out), out.dtype) == (np.ndarray, dtype)
        assert [len(f(X[:1])) for f in (estimator.transform, estimator.reconstruct)] == [1, 1]
    assert isinstance(estimator.score(digits[0]), float)
    assert estimator.sample(2).dtype == np.float64
