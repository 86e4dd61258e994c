"""The file of a model: tensors in the safetensors format, and a header in JSON with a checksum of all."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

import skswae
from skswae._files import replacing

FORMAT_VERSION = 1
"""Version of the files that are written. Those of it and all before it are read."""

_MOST_HEADER_BYTES = 4 * 2**20


def write(path: str | os.PathLike, text: str, tensors: dict[str, Tensor], name: str) -> None:
    """Write a header and tensors to a file, put in place at once; ``name`` is that of the class, for errors.

    Raises
    ------
    OSError, ValueError
        If it cannot be written, or the header is too long.
    """
    with replacing(path) as beside:
        try:
            save_file(tensors, beside, {"skswae": text, "sha256": _digest(text, tensors)})
        except safetensors.SafetensorError as error:
            raise OSError(f"The model could not be written to {os.fspath(path)!r}. {error}") from error
        length = _header_length(beside)
        if length > _MOST_HEADER_BYTES:
            raise ValueError(
                f"The parameters of {name} must take at most {_MOST_HEADER_BYTES:,} "
                f"bytes in a model file. Got {length:,}."
            )


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the header's text and of all tensors by name."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


_OTHERS = {
    b"\x80": "it looks like a pickle, which runs code when it is read: pickle.load, if you trust it",
    b"PK": "it looks like a zip archive, as skops and torch write: skops.io.load reads those of skops",
    b"skswae checkpoint": "it is a checkpoint, for fit(checkpoint=...)",
}


def looks_like(path: str) -> str:
    """Say what a file of something else is, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(20)
    return next((text for first, text in _OTHERS.items() if head.startswith(first)), "")


def read(path: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors of a file, which is mapped, if its checksum is right."""
    _check_header(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata, names = file.metadata(), file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    text = metadata["skswae"]
    if _digest(text, tensors) != metadata["sha256"]:
        raise ValueError("its checksum does not fit its content: it is damaged")
    header = _parsed(text)
    if not isinstance(header, dict) or type(header.get("format")) is not int:
        raise ValueError("its header is none of a model's")
    if header["format"] > FORMAT_VERSION:
        raise ValueError(
            f"it is of format {header['format']}, which is newer than {FORMAT_VERSION}, the newest that "
            f"skswae {skswae.__version__} reads"
        )
    return header, tensors


def _check_header(path: str) -> None:
    """Raise ValueError unless the header is a model's, before anything is allocated that it asks for."""
    size, length = os.path.getsize(path), _header_length(path)
    if length > min(size - 8, _MOST_HEADER_BYTES):
        raise ValueError(f"its header is said to be of {length:,} bytes, in a file of {size:,}")
    with open(path, "rb") as file:
        table = _parsed(file.read(8 + length)[8:].decode())
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or not {"skswae", "sha256"} <= set(metadata):
        raise ValueError("its header is none of a model's")


def _header_length(path: str | os.PathLike) -> int:
    with open(path, "rb") as file:
        return int.from_bytes(file.read(8), "little")


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_number)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"its header holds {text} as a number")
