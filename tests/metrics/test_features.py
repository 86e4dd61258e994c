"""Inception's features, with a network in its place, and those of a classifier."""

import pickle
import runpy
import sys

import numpy as np
import pytest
import scipy.special
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skswae.metrics import ClassifierFeatures, InceptionFeatures, _features, frechet_distance


@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_are_three_channels_of_bytes(n_channels, fidelity, rng):
    X = rng.integers(256, size=(10, n_channels * 4 * 6)) / 255
    F = InceptionFeatures((n_channels, 4, 6), batch_size=4, device="cpu")(X)
    assert (F.shape, F.dtype) == ((10, 2048), np.float32)
    batches = fidelity.made[0].batches
    assert [len(x) for x in batches] == [4, 4, 2]
    expected = np.rint(255 * X).astype(np.uint8).reshape(10, n_channels, 4, 6)
    np.testing.assert_array_equal(torch.cat(batches), np.broadcast_to(expected, (10, 3, 4, 6)))
    np.testing.assert_array_equal(F[:, :24], expected[:, 0].reshape(10, 24))  # in the order of the rows
    F = InceptionFeatures((1, 1, 4), device="cpu")([[0, 1, 0.4999 / 255, 254.5001 / 255]])
    np.testing.assert_array_equal(F[0, :4], [0, 255, 0, 255])


def test_the_network_is_loaded_once_and_late(fidelity):
    state = torch.get_rng_state()
    features = InceptionFeatures((1, 2, 2), weights_path="somewhere.pth", device="cpu")
    assert not fidelity.made
    for _ in range(2):
        features(np.zeros((2, 4)))
    assert [network.path for network in fidelity.made] == ["somewhere.pth"]
    assert torch.equal(torch.get_rng_state(), state)
    content = pickle.dumps(features)
    assert len(content) < 1000  # no weights
    assert pickle.loads(content)(np.zeros((2, 4))).shape == (2, 2048)
    assert [network.path for network in fidelity.made] == 2 * ["somewhere.pth"]


def test_rows_that_are_no_images():
    outside = r"must be pixels in \[0, 1\]; np.clip\(X, 0, 1\) .* Got"
    width = r"'X' argument must have 4 features. Got 2"
    for row, message in (([-0.1, 1, 0.5, 0.5], outside), ([0, 255, 1, 1], outside), ([0, 1], width)):
        with pytest.raises(ValueError, match=message):
            InceptionFeatures((1, 2, 2))([row])
    for shape in (28, (28, 28), (2, 28, 28), (28, 28, 1), (1, 28, 0), (1, 2.5, 28)):
        with pytest.raises(ValueError, match=r"'image_shape' (parameter|argument) "):
            InceptionFeatures(shape)
    with pytest.raises(ValueError, match=r"'batch_size' parameter .* Got 0"):
        InceptionFeatures((1, 2, 2), batch_size=0)


def test_without_torch_fidelity(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    runpy.run_path(_features.__file__)  # does not import it
    with pytest.raises(ImportError, match=r'torch-fidelity and torchvision: pip install "skswae\[fid\]"'):
        InceptionFeatures((1, 2, 2))(np.zeros((2, 4)))


@pytest.mark.parametrize("error", [OSError("no network"), RuntimeError("missing keys"), EOFError("cut off")])
def test_without_weights(error, fidelity):
    fidelity.error = error
    advice = "pass its path as weights_path, or put it into the folder .*ClassifierF"
    for path, where in (("x.pth", " from 'x.pth'"), (None, "")):
        with pytest.raises(OSError, match=rf"could not be loaded{where}: {error}. Download .*{advice}"):
            InceptionFeatures((1, 2, 2), weights_path=path)(np.zeros((2, 4)))


@parametrize_with_checks([ClassifierFeatures(hidden_layer_sizes=(4, 3), max_iter=3)])
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


def test_features_lead_to_the_classifier_s_probabilities(digits):
    X, y = digits
    fitted = ClassifierFeatures((30, 10), max_iter=150).fit(X[:200], y[:200])
    F, mlp = fitted.transform(X), fitted.classifier_
    assert (F.shape, F.min()) == ((300, 10), 0)
    logits = F @ mlp.coefs_[-1] + mlp.intercepts_[-1]
    np.testing.assert_allclose(scipy.special.softmax(logits, axis=1), mlp.predict_proba(X), atol=1e-12)
    single = fitted(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, F, atol=1e-4)
    framed = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas")
    assert list(framed.transform(X).columns) == [f"classifierfeatures{i}" for i in range(10)]
    assert type(framed(X)) is np.ndarray  # for a distance
    assert fitted.score(X[200:], y[200:]) == np.mean(mlp.predict(X[200:]) == y[200:]) > 0.7
    whole, lacking = (frechet_distance(A, X[200:], features=fitted) for A in (X[:200], X[:200][y[:200] != 0]))
    assert lacking > 1.1 * whole  # a missing class is told


def test_auto_epochs(monkeypatch):
    asked = []

    def fit(self, X, y):
        asked.append((len(X), self.max_iter))
        self.n_iter_, self.coefs_ = 1, [np.zeros((1, 2))]
        return self

    monkeypatch.setattr("sklearn.neural_network.MLPClassifier.fit", fit)
    expected = [(40, 200), (3000, 200), (6000, 100), (10**5, 10), (50, 7)]
    for n_rows, n_epochs in expected:
        ClassifierFeatures(max_iter=7 if n_epochs == 7 else "auto").fit(
            np.ones((n_rows, 1)), np.arange(n_rows) % 2
        )
    assert asked == expected


def test_bad_layers_and_labels(digits):
    X, y = digits
    for layers in ((), [], 0, (5, 0), "wide", None):
        with pytest.raises(ValueError, match=r"hidden_layer_sizes"):
            ClassifierFeatures(layers).fit(X, y)
    for labels, message in ((0 * y, "at least 2 classes. Got 1 class"), (y + 0.5, "label type: continuous")):
        with pytest.raises(ValueError, match=message):
            ClassifierFeatures().fit(X, labels)
