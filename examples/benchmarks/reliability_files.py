"""Model files that were damaged, mutated or forged: how many are refused, and whether any is read wrongly.

Each file is the file of a fitted model with one to eight changes at random places: bits, bytes, digits of the
header, bytes cut out, put in or moved, an end cut off, another length of the header. A file is refused (one
ValueError), or loads equal to the model that was saved in all weights, parameters and results. In the forged
files a value of the header is changed, or a weight, and the checksum is made to fit: the header's values may
then be anything, and a loaded model has the changed weights ("equal"). "MB added" is the most memory that
the process took beyond what it had.
"""

from __future__ import annotations

import collections
import json
import pathlib
import struct
import tempfile
import time
import warnings

import numpy as np
import safetensors
import torch
from _harness import MemoryWatch, Part, parser, yes
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from skswae import SWAETransformer, VampPriorTransformer, WAETransformer, load_model, save_model
from skswae._model_file import _digest
from skswae.networks import GatedMLP

OUTCOMES = ("refused", "equal", "loaded", "different", "crashed")


def digits(name: str, rng: np.random.Generator) -> str:
    """Change one digit of a text to another, or a letter to another."""
    places = [i for i, character in enumerate(name) if character.isalnum()]
    if not places:
        return name
    at = int(rng.choice(places))
    new = "0123456789" if name[at].isdigit() else "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return name[:at] + str(rng.choice(list(new))) + name[at + 1 :]


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content of a file with one change at random."""
    size, header = len(content), 8 + struct.unpack("<Q", content[:8])[0]
    header = min(header, size)
    kind = rng.integers(8)
    end = header if rng.random() < 0.6 else size  # the header more often than its share
    at = int(rng.integers(max(end, 1)))
    length = int(rng.integers(1, 40))
    if kind == 0:  # a bit
        return content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]
    if kind == 1:  # bytes
        return content[:at] + rng.bytes(length) + content[at + length :]
    if kind == 2:  # a letter or digit of the header
        text = content[8:header].decode("latin-1")
        return content[:8] + digits(text, rng).encode("latin-1") + content[header:]
    if kind == 3:  # cut out
        return content[:at] + content[at + length :]
    if kind == 4:  # put in
        return content[:at] + rng.bytes(length) + content[at:]
    if kind == 5:  # moved
        piece, rest = content[at : at + length], content[:at] + content[at + length :]
        to = int(rng.integers(len(rest)))
        return rest[:to] + piece + rest[to:]
    if kind == 6:  # an end cut off
        return content[:at]
    return struct.pack("<Q", int(rng.integers(2 ** int(rng.integers(1, 63))))) + content[8:]


def leaves(value, place=()):
    """All values of a piece of JSON, by their places."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, part in items for leaf in leaves(part, (*place, key))]
    return found if items else [place]


HOSTILE = [0, -1, 10**9, 2**70, 1e308, 0.5, "", "os.system", "a" * 10_000, None, True, [], {}, [[]] * 500]


def forged(header, tensors, rng):
    """Change a value of the header, or a weight; return whether it was a weight."""
    if rng.random() < 0.3:
        name = str(
            rng.choice([name for name in tensors if name.startswith("module.") and tensors[name].numel()])
        )
        values = tensors[name].reshape(-1)
        values[int(rng.integers(len(values)))] = int(rng.integers(2))
        return True
    *place, last = leaves(header)[int(rng.integers(len(leaves(header))))]
    for key in place:
        header = header[key]
    header[last] = HOSTILE[int(rng.integers(len(HOSTILE)))]
    return False


def equal(a, b, X) -> bool:
    """Whether two models are equal in weights, parameters and results."""
    states = [model.module_.state_dict() for model in (a, b)]
    return (
        states[0].keys() == states[1].keys()
        and all(torch.equal(value, states[1][name]) for name, value in states[0].items())
        and repr(a.get_params()) == repr(b.get_params())
        and repr(sorted(a.history_.items())) == repr(sorted(b.history_.items()))
        and np.array_equal(a.transform(X), b.transform(X))
    )


def outcome(path, saved, X, compare=equal) -> str:
    """What comes of loading a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load_model(path, device="cpu")
        return "equal" if compare(saved, found, X) else "different"
    except ValueError as error:
        clear = ("skswae.save_model has written", "cannot be loaded")
        return "refused" if any(text in str(error) for text in clear) else "crashed"
    except BaseException as error:  # also a panic of the library that reads
        print(f"crashed: {type(error).__name__}: {error}")
        return "crashed"


def mutate(path, n_files: int, seed: int, folder) -> collections.Counter:
    """Count what comes of that many mutated copies of a model's file."""
    content, saved, rng = (
        pathlib.Path(path).read_bytes(),
        load_model(path, device="cpu"),
        np.random.default_rng(seed),
    )
    X = np.linspace(0, 1, 3 * saved.n_features_in_).reshape(3, -1)
    target = pathlib.Path(folder) / "mutated"
    counts: collections.Counter = collections.Counter()
    while counts.total() < n_files:
        mutated = content
        for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.3 else 1):
            mutated = changed(mutated, rng) if len(mutated) > 8 else mutated
        if mutated != content:
            target.write_bytes(mutated)
            counts[outcome(target, saved, X)] += 1
    return counts


def forge(path, n_files: int, seed: int, folder) -> tuple[collections.Counter, collections.Counter]:
    """Count what comes of forged files: of changed headers, and of changed weights."""
    rng, target = np.random.default_rng(seed), pathlib.Path(folder) / "forged"
    headers: collections.Counter = collections.Counter()
    weights: collections.Counter = collections.Counter()

    def has_these_weights(tensors, found, X):
        return all(
            torch.equal(value, tensors[f"module.{name}"])
            for name, value in found.module_.state_dict().items()
        )

    for _ in range(n_files):
        with safetensors.safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["skswae"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        of_weights = forged(header, tensors, rng)
        text = json.dumps(header)
        save_file(tensors, target, {"skswae": text, "sha256": _digest(text, tensors)})
        if of_weights:
            weights[outcome(target, tensors, None, has_these_weights)] += 1
        else:
            found = outcome(target, None, None, lambda *_: True)
            headers["loaded" if found == "equal" else found] += 1
    return headers, weights


def gigabyte(folder) -> tuple[float, float, float]:
    """Return the size of a large model's file, and what saving and loading add to memory, in MB."""
    X = np.random.default_rng(0).normal(size=(40, 2000)).astype(np.float32)
    model = SWAETransformer(network=GatedMLP((6000, 6000)), max_iter=1, device="cpu", n_pseudo_inputs=2).fit(
        X
    )
    del model._moments
    path = pathlib.Path(folder) / "large"
    with MemoryWatch() as saving:
        save_model(model, path)
    del model
    with MemoryWatch() as loading:
        load_model(path, device="cpu")
    return path.stat().st_size / 1e6, saving.added, loading.added


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--files", type=int, default=20_000)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Part("Model files", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    X = load_digits().data[:100] / 16
    common = {"network": GatedMLP((16,)), "max_iter": 1, "random_state": 0, "device": "cpu"}
    models = [
        SWAETransformer(2, **common),
        WAETransformer(2, divergence="gan", critic_layer_sizes=(8,), **common),
        VampPriorTransformer(3, n_pseudo_inputs=5, **common),
    ]
    page.header(
        "model | files | tried | refused | equal | loaded | different | crashed | seconds each | MB added"
    )
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, model in enumerate(models):
            path = pathlib.Path(folder) / "model"
            save_model(model.fit(X), path)
            n_files = arguments.files // len(models) + 1
            name = type(model).__name__
            start = time.perf_counter()
            with MemoryWatch() as memory:
                mutated = mutate(path, n_files, i, folder)
            seconds = (time.perf_counter() - start) / n_files
            counts = (mutated[o] for o in OUTCOMES)
            page.row(name, "mutated", n_files, *counts, f"{seconds:.4f}", f"{memory.added:.0f}")
            with MemoryWatch() as memory:
                headers, weights = forge(path, n_files // 10, i, folder)
            counts = (headers[o] for o in OUTCOMES)
            page.row(name, "forged headers", headers.total(), *counts, "", f"{memory.added:.0f}")
            counts = (weights[o] for o in OUTCOMES)
            page.row(name, "forged weights", weights.total(), *counts, "", "")
            wrong += sum(c[o] for c in (mutated, headers, weights) for o in ("different", "crashed"))
        page.add()
        page.paragraph(f"Read wrongly or crashed: {wrong}. Bound: none: {yes(wrong == 0)}.")
        size, saving, loading = gigabyte(folder)
    page.paragraph(
        f"A model of {size:.0f} MB: saving adds {saving:.0f} MB to the process's anonymous memory, loading "
        f"it {loading:.0f} MB, of which the loaded model is {size:.0f}."
    )


if __name__ == "__main__":
    main()
