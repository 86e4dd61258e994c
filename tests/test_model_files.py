"""Model files: whole or as they were, and no way in for strangers."""

import json
import os
import pathlib
import pickle
import resource
import struct
import sys

import numpy as np
import polars as pl
import pytest
import safetensors
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from skswae import load_model, save_model
from skswae._model_file import FORMAT_VERSION, _digest
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from .estimators import swae
from .own_networks import Plain


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file of a fitted model."""
    path = tmp_path_factory.mktemp("models") / "swae.safetensors"
    save_model(swae(max_iter=1).fit(load_digits().data[:60] / 16), path)
    return path


# ---------------------------------------------------------------------------
# Files are whole or as they were
# ---------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file(path, tmp_path, monkeypatch):
    model, target = load_model(path), tmp_path / "model"
    save_model(model, target)
    target.chmod(0o640)
    before = target.read_bytes()

    def full(tensors, filename, metadata):
        pathlib.Path(filename).write_bytes(before[:100])
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("skswae._model_file.save_file", full)
    with pytest.raises(OSError, match=r"could not be written.*No space left"):
        save_model(model, target)
    monkeypatch.undo()
    assert target.read_bytes() == before
    (tmp_path / "link").symlink_to(target)
    save_model(model.set_params(beta=0.3), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load_model(target).beta == 0.3
    assert target.stat().st_mode & 0o777 == 0o640
    assert {p.name for p in tmp_path.iterdir()} == {"model", "link"}


@pytest.mark.parametrize("bad", ["no/such/folder/model", "."])
def test_a_path_that_cannot_be_written(bad, path, tmp_path):
    with pytest.raises(OSError, match=r"no/such/folder|folder"):
        save_model(load_model(path), tmp_path / bad)
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_says_of_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")
    with pytest.raises(ValueError, match="must be that of a file"):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be that of a file"):
        load_model(tmp_path / "pipe")


OTHERS = {
    "a pickle": (pickle.dumps([1]), "looks like a pickle"),
    "a zip": (b"PK\3\4" + bytes(99), "looks like a zip archive"),
    "a checkpoint": (b"skswae checkpoint 4\n" + bytes(99), "is a checkpoint"),
}


@pytest.mark.parametrize(("content", "match"), OTHERS.values(), ids=OTHERS)
def test_what_another_file_is(content, match, tmp_path):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match=f"save_model has written.*{match}"):
        load_model(tmp_path / "other")


# ---------------------------------------------------------------------------
# Files of others
# ---------------------------------------------------------------------------


def parts_of(path):
    """Metadata and tensors of a model file."""
    with safetensors.safe_open(path, "pt") as file:
        names = file.keys()
        return json.loads(file.metadata()["skswae"]), {name: file.get_tensor(name) for name in names}


def forge(path, header, tensors):
    """Write a file whose checksum is right, as one may who means harm."""
    text = json.dumps(header)
    save_file(tensors, path, {"skswae": text, "sha256": _digest(text, tensors)})


def edited(*keys, value):
    """Set one entry of the header."""

    def edit(header, tensors):
        *place, last = keys
        for key in place:
            header = header[key]
        header[last] = value

    return edit


def of_the_fit(name, value):
    return edited("state", "_fitted_parameters", "dict", name, value=value)


def of_tensors(function):
    return lambda header, tensors: tensors.update(function(tensors))


def many_pseudo_inputs(header, tensors):
    """A number without the tensor that it has to agree with."""
    header["state"]["n_pseudo_inputs_"] = 10**8
    del tensors["module.pseudo_inputs.rows"], header["module"]["tensors"]["pseudo_inputs.rows"]


def of_no_columns(header, tensors):
    header["state"]["n_pseudo_inputs_"] = 10**8
    tensors["module.pseudo_inputs.rows"] = torch.zeros(10**8, 0)


HUGE = {"object": "skswae.networks.GatedMLP", "parameters": {"hidden_layer_sizes": [10**6, 10**6]}}
LONG = {"object": "skswae.networks.GatedMLP", "parameters": {"hidden_layer_sizes": [1] * 10**4}}
deep = 1
for _ in range(800):
    deep = [deep]
BIAS = "module.encoder.linear.bias"
FORGERIES = {
    "a newer format": (edited("format", value=FORMAT_VERSION + 1), "format 2, which is newer"),
    "no format": (edited("format", value="1"), "header is none"),
    "another class": (edited("class", value="AETransformer"), "'AETransformer', which is none"),
    "a network as class": (edited("class", value="skswae.networks.GatedMLP"), "none of this package's"),
    "a function to import": (edited("class", value="os.system"), "'os.system'"),
    "a call": (
        edited("state", "network", value={"object": "subprocess.Popen", "parameters": {"args": "true"}}),
        "'subprocess.Popen'",
    ),
    "an estimator as network": (
        edited("state", "network", value={"object": "skswae.SWAETransformer", "parameters": {}}),
        "needs a network",
    ),
    "a class as function": (edited("state", "augment", value={"function": "skswae.SWAETransformer"}), "SWAE"),
    "an unknown kind": (edited("state", "beta", value={"pickle": "gASVCg=="}), "unknown kind"),
    "a bad parameter": (edited("state", "beta", value=7), "'beta' parameter"),
    "a parameter of another type": (
        edited("state", "_fitted_parameters", "dict", "alpha", value="x"),
        "'alpha'",
    ),
    "an unknown parameter": (edited("state", "gamma", value=7), "the attribute 'gamma'"),
    "a hidden method": (edited("state", "transform", value=7), "the attribute 'transform'"),
    "a hidden class": (edited("state", "__class__", value=7), "the attribute '__class__'"),
    "an attribute of another type": (edited("state", "n_iter_", value="x"), "n_iter_ is a str"),
    "no such epochs": (edited("state", "n_iter_", value=5), "history_"),
    "another activation": (edited("state", "out_activation_", value="tanh"), "out_activation_"),
    "a huge code": (
        edited("state", "_fitted_parameters", "dict", "n_components", value=10**9),
        "codes.rows",
    ),
    "many features": (edited("state", "n_features_in_", value=10**9), "scaler.location"),
    "many pseudo-inputs": (edited("state", "n_pseudo_inputs_", value=10**9), "pseudo_inputs.rows"),
    "many pseudo-inputs without rows": (many_pseudo_inputs, "KeyError"),
    "many pseudo-inputs of no columns": (of_no_columns, "pseudo_inputs.rows must be of shape"),
    "huge layers": (of_the_fit("network", HUGE), "larger"),
    "many layers": (of_the_fit("network", LONG), "larger"),
    "deep nesting": (edited("state", "beta", value=deep), "SWAETransformer|recursion|nest"),
    "no weights": (lambda header, tensors: tensors.pop(BIAS), "KeyError"),
    "more weights": (of_tensors(lambda t: {"module.more": torch.zeros(3)}), "module.more"),
    "other names of weights": (
        edited("module", "tensors", "more", value={"tensor": BIAS}),
        "Unexpected key",
    ),
    "weights of another shape": (of_tensors(lambda t: {BIAS: torch.zeros(3)}), "size mismatch"),
    "weights of another type": (of_tensors(lambda t: {BIAS: t[BIAS].double()}), "is of torch.float64"),
    "an array that is not there": (
        edited("state", "history_", value={"dict": {"loss": {"array": "none"}}}),
        "KeyError",
    ),
}


@pytest.mark.parametrize(("edit", "match"), FORGERIES.values(), ids=FORGERIES)
def test_forged_files(edit, match, path, tmp_path):
    header, tensors = parts_of(path)
    edit(header, tensors)
    forge(tmp_path / "forged", header, tensors)
    before = most_memory()
    with pytest.raises(ValueError, match=f"(?s)(save_model has written|cannot be loaded).*{match}"):
        load_model(tmp_path / "forged")
    assert most_memory() - before < 200e6


def most_memory():
    """The most bytes that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def with_header(content, edit):
    """The file with its outer header edited as text."""
    length = struct.unpack("<Q", content[:8])[0]
    text = edit(content[8 : 8 + length])
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


DAMAGE = {
    "empty": lambda c: b"",
    "a few bytes": lambda c: c[:5],
    "half": lambda c: c[: len(c) // 2],
    "all but one byte": lambda c: c[:-1],
    "more bytes": lambda c: c + b"\0" * 8,
    "a header of exabytes": lambda c: struct.pack("<Q", 2**63) + c[8:],
    "a header over the limit": lambda c: struct.pack("<Q", 11 * 2**20) + b" " * (11 * 2**20),
    "no JSON": lambda c: with_header(c, lambda text: b"x" * len(text)),
    "no UTF-8": lambda c: with_header(c, lambda text: b"\xff" * len(text)),
    "a list": lambda c: with_header(c, lambda text: b"[]"),
    "deeply nested": lambda c: with_header(c, lambda text: b"[" * 10**6),
    "deeply nested objects": lambda c: with_header(c, lambda text: b'{"a":' * 10**6),
    "a duplicate key": lambda c: with_header(c, lambda text: text[:1] + b'"__metadata__":{},' + text[1:]),
    "a number with many digits": lambda c: with_header(c, lambda text: b"1" * 10**6),
    "NaN": lambda c: with_header(c, lambda text: b'{"a":NaN}'),
    "another model": lambda c: with_header(c, lambda text: b'{"__metadata__":{"format":"pt"}}'),
    "a pickle": lambda c: pickle.dumps({"a": 1}),
    "another type of numbers": lambda c: with_header(c, lambda text: text.replace(b'"F32"', b'"I32"')),
    "another shape": lambda c: with_header(
        c, lambda text: text.replace(b'"shape":[32,64]', b'"shape":[64,32]')
    ),
    "one digit of the checksum": lambda c: with_header(c, lambda text: flipped(text, b'"sha256":"')),
    "one bit of a weight": lambda c: c[:-40] + bytes([c[-40] ^ 1]) + c[-39:],
}


def flipped(text, before):
    at = text.index(before) + len(before)
    return text[:at] + (b"1" if text[at : at + 1] == b"0" else b"0") + text[at + 1 :]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files(damage, path, tmp_path):
    content = path.read_bytes()
    damaged = damage(content)
    assert damaged != content
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"'path' argument must be that of a whole file that skswae\.save_model"
    ):
        load_model(tmp_path / "damaged")


@pytest.mark.parametrize(
    "networks",
    [GatedMLP, "GatedMLP", 3, [GatedMLP()], [3], [Plain, type("Plain", (), {"__qualname__": "Plain"})]],
)
def test_networks_that_are_no_classes(networks, path):
    with pytest.raises(ValueError, match="'networks' argument must"):
        load_model(path, networks=networks)


def test_a_device_that_is_not_there(path):
    with pytest.raises(ValueError, match="'device' parameter"):
        load_model(path, device="cuda:99")
    assert load_model(path, device=torch.device("cpu")).device == torch.device("cpu")


def test_no_module_is_imported_for_a_name_in_a_file(path, tmp_path):
    """A name of a module that would leave a trace leaves none."""
    (tmp_path / "trace_of_import.py").write_text("raise SystemExit('imported')")
    header, tensors = parts_of(path)
    header["class"] = "trace_of_import.Model"
    header["state"]["network"] = {"object": "trace_of_import.Network", "parameters": {}}
    forge(tmp_path / "forged", header, tensors)
    sys.path.insert(0, os.fspath(tmp_path))
    try:
        with pytest.raises(ValueError, match="trace_of_import"):
            load_model(tmp_path / "forged")
    finally:
        sys.path.remove(os.fspath(tmp_path))
    assert "trace_of_import" not in sys.modules


def test_no_function_of_a_library_is_called_for_a_dtype_in_a_file(tmp_path, monkeypatch):
    """Of a table: the name of a dtype is that of no function beside it."""
    X = pl.DataFrame({"a": np.arange(20.0)})
    save_model(TableAutoencoder(swae(n_components=1, max_iter=1)).fit(X), tmp_path / "table")
    header, tensors = parts_of(tmp_path / "table")
    codec = header["wrapper"]["state"]["dict"]["codec_"]["dict"]
    field = codec["schema"]["dict"]["fields"][0]["dict"]
    assert field["dtype"] == {"dict": {"name": "Float64"}}
    field["dtype"]["dict"] = {"name": "read_csv", "source": "/etc/passwd"}
    forge(tmp_path / "forged", header, tensors)
    monkeypatch.setattr(pl, "read_csv", lambda **_: pytest.fail("called"))
    with pytest.raises(ValueError, match=r"cannot be loaded: A dtype must be described .*read_csv"):
        load_model(tmp_path / "forged")
