"""ONNX files compute what the estimator does; they are written whole or not at all."""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skswae
from skswae import export, export_onnx
from skswae.networks import DCGANNet, GatedConvNet

from .estimators import ESTIMATORS, VARIANTS, cheap, swae, two_levels
from .outside_objective import DenoisingTransformer
from .own_networks import DropoutMLP, NormNet

METHODS = {"encoder": "transform", "decoder": "inverse_transform", "reconstruction": "reconstruct"}


def run(file, X):
    """The only output of a file, or of a model in memory, for the rows."""
    content = file.SerializeToString() if isinstance(file, onnx.ModelProto) else str(file)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def assert_agrees(path, estimator, X, part="encoder"):
    """In one batch and row by row: to 1e-5 of a column's standard deviation, and what float32 can tell."""
    given = estimator.transform(X) if part == "decoder" else X
    expected = np.asarray(getattr(estimator, METHODS[part])(given))
    spread = expected.std(axis=0, dtype=float)
    if part != "encoder":  # a column may hardly vary
        spread = np.maximum(spread, np.sqrt(np.mean(spread**2))) + np.spacing(np.abs(expected)) / 1e-5
    found = run(path, given)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    assert np.all(np.abs(found - expected) <= 1e-5 * spread)
    single = np.vstack([run(path, row[None]) for row in given[:3]])
    assert np.all(np.abs(single - expected[:3]) <= 1e-5 * (spread if part == "encoder" else spread[:3]))


@pytest.mark.slow
def test_a_file_of_the_encoder(digits, tmp_path):
    """Far from 0, where float32 rows less a float32 mean would lose the fifth digit of a code."""
    X = pd.DataFrame(16 * digits[0] + 1e4, columns=[f"pixel {i}" for i in range(64)], dtype=np.float32)
    estimator, path = swae().fit(X), tmp_path / "encoder.onnx"
    before = estimator.transform(X)
    export_onnx(estimator, path)
    np.testing.assert_array_equal(estimator.transform(X), before)
    path.write_bytes(path.read_bytes())  # nothing beside it is needed
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.onnx"]
    found = run(path, X.to_numpy())
    assert np.all(np.abs(found - before) <= 1e-5 * before.std(axis=0))

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(i.domain, i.version) for i in model.opset_import] == [("", export.OPSET)]
    assert [[v.name for v in values] for values in (model.graph.input, model.graph.output)] == [
        ["X"],
        ["codes"],
    ]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("n_samples", 64)
    properties = {p.key: p.value for p in model.metadata_props}
    assert json.loads(properties.pop("feature_names")) == list(X.columns)
    assert properties == {
        "skswae_version": skswae.__version__,
        "class": "SWAETransformer",
        "part": "encoder",
        "n_features": "64",
        "n_components": "2",
    }
    # no rows, no codes, no pseudo-inputs, and no files of this machine
    encoder = sum(p.numel() for p in estimator.module_.encoder.parameters()) + 3 * 64 + 2  # units
    assert sum(int(np.prod(t.dims)) for t in model.graph.initializer) <= encoder
    assert b".py" not in path.read_bytes()


def test_arguments_are_checked(digits, tmp_path):
    X, path = digits[0], tmp_path / "x.onnx"
    estimator = swae(max_iter=1).fit(X)
    with pytest.raises(NotFittedError):
        export_onnx(swae(), path)
    with pytest.raises(ValueError, match=r"'estimator' argument must be.*skl2onnx.*Got Pipeline"):
        export_onnx(make_pipeline(PCA(2)).fit(X), path)
    for part in ("codes", None, ["encoder"]):
        with pytest.raises(ValueError, match="'part' argument must be 'encoder'"):
            export_onnx(estimator, path, part)
    for opset in (17, 1000, 18.0, True, None):
        with pytest.raises(ValueError, match=r"'opset'.* must be an integer from 18 to"):
            export_onnx(estimator, path, opset=opset)
    with pytest.raises(FileNotFoundError, match="'path' argument must name a file in a folder that exists"):
        export_onnx(estimator, tmp_path / "none" / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package, digits, tmp_path, monkeypatch):
    estimator = swae(max_iter=1).fit(digits[0])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'the extra "onnx" of skswae.*{package}'):
        export_onnx(estimator, tmp_path / "x.onnx")


def test_a_file_is_replaced_whole_or_not_at_all(digits, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(export, "_build", lambda *_: onnx.ModelProto())
    write = pathlib.Path.write_bytes

    def full_disk(self, data):
        write(self, data[:10])
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="no space left"):
            export_onnx(swae(max_iter=1).fit(digits[0]), path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------
# Exports take 2 seconds each
# ---------------------------------------------------------------------------

CONVOLUTIONS = GatedConvNet((1, 8, 8), encoder_filters=(8, 8, 8, 8, 6), decoder_filters=(4,), hidden_size=16)
DCGAN = DCGANNet((1, 8, 8), filters=(8, 16, 32))
GREY = {"likelihood": "discretized_logistic", "n_bins": 17}


@pytest.mark.slow
@pytest.mark.parametrize(("Estimator", "parameters"), [*((E, {}) for E in ESTIMATORS), *VARIANTS])
def test_every_encoder(Estimator, parameters, digits, tmp_path):
    X = digits[0].astype(np.float32)
    estimator = cheap(Estimator, **parameters).fit(X)
    export_onnx(estimator, tmp_path / "x.onnx")
    assert_agrees(tmp_path / "x.onnx", estimator, X)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "make", "parameters", "unit"),
    [
        ("decoder", swae, {"network": DCGAN}, 1),
        ("decoder", swae, {}, 16),
        ("reconstruction", swae, {}, 16),
        ("reconstruction", two_levels, {"network": CONVOLUTIONS, **GREY}, 1),
        ("reconstruction", two_levels, {"input_components": 10}, 16),
    ],
)
def test_every_part(part, make, parameters, unit, digits, tmp_path):
    """Decoded by a sigmoid and by the identity, which is in the unit of the data and off their origin."""
    X = (unit * digits[0] + (unit > 1) * 1000).astype(np.float32)
    estimator = make(max_iter=1, **parameters).fit(X)
    assert estimator.out_activation_ == ("sigmoid" if unit == 1 else "identity")
    export_onnx(estimator, tmp_path / "x.onnx", part)
    assert_agrees(tmp_path / "x.onnx", estimator, X, part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "network"),
    [(two_levels, CONVOLUTIONS), (two_levels, DCGAN), (swae, DropoutMLP()), (swae, NormNet())],
    ids=["gated convolutions", "transposed convolutions", "dropout", "batch norm"],
)
def test_networks_on_10_000_rows(make, network, digits, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.permuted(np.tile(digits[0], (34, 1))[:10_000], axis=0).astype(np.float32)
    estimator = make(network=network, max_iter=1).fit(digits[0])
    export_onnx(estimator, tmp_path / "x.onnx", opset=21)
    assert_agrees(tmp_path / "x.onnx", estimator, X)


class Unsuitable(BaseEstimator):
    """An encoder that torch cannot follow."""

    def __init__(self, kind):
        self.kind = kind

    def build_encoder(self, n_features, n_outputs):
        return Decides(n_features, n_outputs) if self.kind == "decides" else Counts(n_features, n_outputs)

    def build_decoder(self, n_components, n_features):
        return nn.Linear(n_components, n_features)


class Decides(nn.Linear):
    """Its way depends on the numbers; a recording of one way would be wrong."""

    def forward(self, x):
        return super().forward(-x if x.mean() > 0 else x)


class Counts(nn.Linear):
    """The number of rows becomes a number of Python's."""

    def forward(self, x):
        return super().forward(x.reshape(len(x), -1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["decides", "counts"])
def test_a_network_that_cannot_be_followed_is_refused(kind, digits, tmp_path):
    estimator = swae(network=Unsuitable(kind), max_iter=1).fit(digits[0])
    with pytest.raises(
        ValueError, match=r"encoder of SWAETransformer cannot be exported.*functions of whole batch"
    ):
        export_onnx(estimator, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_that_is_too_large_or_wrong_is_refused(digits, tmp_path, monkeypatch):
    estimator = swae(max_iter=1).fit(digits[0])
    with monkeypatch.context() as patch:
        patch.setattr(export, "_MOST_BYTES", 1000)
        with pytest.raises(ValueError, match=r"a file holds at most 0.00 GB.*smaller network"):
            export_onnx(estimator, tmp_path / "x.onnx")
    forward = export._Part.forward
    monkeypatch.setattr(export._Part, "forward", lambda self, x: forward(self, x) + 0.1)
    with pytest.raises(ValueError, match="computes something else than the estimator"):
        export_onnx(estimator, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_codes_that_are_all_equal(tmp_path):
    """No number differs from another; rounding does not make the file a wrong one."""
    X = np.full((50, 4), 0.3, np.float32)
    estimator = cheap(skswae.AETransformer, scaling=None, output_activation="identity", max_iter=1).fit(X)
    export_onnx(estimator, tmp_path / "x.onnx", "reconstruction")
    np.testing.assert_allclose(run(tmp_path / "x.onnx", X), estimator.reconstruct(X), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pipeline_becomes_one_file(dtype, digits):
    """So does a search over pipelines, with another version of operators than the newest."""
    X, y = digits[0].astype(dtype), digits[1]
    model, version = make_pipeline(StandardScaler(), swae(n_components=4), KNeighborsClassifier(5)), None
    if dtype == np.float32:
        model, version = GridSearchCV(model, {"swaetransformer__n_components": [3]}, cv=2), 18
    model.fit(X, y)
    file = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False}, target_opset=version)
    np.testing.assert_array_equal(run(file, X), model.predict(X))


@pytest.mark.slow
def test_steps_side_by_side_and_classes_outside_the_package(digits):
    """Float64 rows far from 0 are standardised before they are float32; two graphs do not share names."""
    X = digits[0] + 1e6
    pipeline = make_pipeline(
        ColumnTransformer([("one", swae(), [*range(10, 30)]), ("other", swae(), [*range(30, 50)])]),
        FeatureUnion([("outside", DenoisingTransformer(2, max_iter=1, random_state=0)), ("pca", PCA(2))]),
    ).fit(X)
    codes = pipeline.transform(X)
    found = run(skl2onnx.to_onnx(pipeline, X[:1]), X)
    assert np.all(np.abs(found - codes) <= 1e-5 * codes.std(axis=0))
