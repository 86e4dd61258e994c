"""The cache folder: one checked file of arrays for each data set.

The caches of pooch and fetch_openml keep what was downloaded, which takes seconds to unpack and parse in each
call. Here the arrays are kept, and the hash is of them: another zlib writes equal arrays to an unequal file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home

from skswae.datasets._archives import Arrays

VARIABLE = "SKSWAE_DATA"


@dataclass(frozen=True)
class Source:
    """A data set: its file in the cache folder, and where its numbers come from."""

    name: str
    filename: str
    shapes: Mapping[str, tuple[int, ...]]  # of the uint8 arrays in the file, in the order of the digest
    digest: str | None  # None: the file brings its own, as "digest"
    image_shape: tuple[int, int, int]
    target_names: tuple[str, ...]
    description: str
    urls: tuple[str, ...] = ()  # to try one after the other
    download: Callable[[str, Path], Arrays] | None = None  # (url, a folder for its files) -> arrays
    hint: str = ""  # the end of the message for those who cannot download


class _Damaged(Exception):
    """A file, or what came from an address, does not hold what it should."""


def digest_of(arrays: Arrays, keys: Iterable[str]) -> str:
    """Return the SHA-256 of the arrays' names, dtypes, shapes and bytes."""
    content = hashlib.sha256()
    for key in keys:
        array = np.ascontiguousarray(arrays[key])
        content.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        content.update(array.data)
    return content.hexdigest()


def cache_folder(data_home: str | os.PathLike | None) -> Path:
    """Return the folder that an argument, the environment variable or scikit-learn names."""
    data_home = data_home or os.environ.get(VARIABLE)
    if data_home:
        return Path(data_home).expanduser()
    try:
        return Path(get_data_home()) / "skswae"
    except OSError as error:
        raise OSError(
            f"scikit-learn's data folder cannot be made ({error}). Set the data_home argument or the "
            f"environment variable {VARIABLE} to a folder for the data."
        ) from error


def fetch(source: Source, folder: Path, download_if_missing: bool, stacklevel: int = 5) -> Arrays:
    """Return the arrays of a source from the cache folder, else from the network by way of the folder."""
    arrays = read(source, folder, stacklevel)
    if arrays is not None:
        return arrays
    if not download_if_missing:
        problem = f"{source.name} is not in the cache folder, and download_if_missing=False."
        raise OSError(f"{problem} {_by_hand(source, folder)}")
    try:  # before anything is downloaded
        folder.mkdir(parents=True, exist_ok=True)
        # in the same folder, hence on the same disk: moved from there in one step
        scratch = tempfile.TemporaryDirectory(
            prefix=f".{source.filename}-", dir=folder, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise OSError(
            f"{source.name} cannot be fetched: its folder {str(folder)!r} cannot be written ({error}). Set "
            f"the data_home argument or the environment variable {VARIABLE} to a folder that can."
        ) from error
    with scratch as name:
        arrays = _download(source, folder, Path(name))
        content = dict(arrays)
        if source.digest is None:
            content["digest"] = np.array(digest_of(arrays, source.shapes))
        try:
            # numpy's stubs take every keyword for its own allow_pickle
            np.savez_compressed(Path(name) / source.filename, **content)  # type: ignore[arg-type]
            os.replace(Path(name) / source.filename, folder / source.filename)  # no process sees a part of it
        except OSError as error:
            raise OSError(f"{str(folder / source.filename)!r} cannot be written: {error}.") from error
    return arrays


def read(source: Source, folder: Path, stacklevel: int) -> Arrays | None:
    """Return the arrays in the cache folder; None if there are none or, with a warning, they are damaged."""
    path = folder / source.filename
    try:
        with open(path, "rb") as file:
            try:
                with np.load(file, allow_pickle=False) as npz:
                    arrays = {key: npz[key] for key in source.shapes}
                    digest = str(npz["digest"]) if source.digest is None else source.digest
            except MemoryError:
                raise
            except Exception as error:  # a damaged archive raises nearly anything
                raise _Damaged(f"it cannot be read ({type(error).__name__}: {error})") from error
        _check(arrays, source, digest)
        return arrays
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be read: {error}.") from error
    except _Damaged as error:
        warnings.warn(
            f"{str(path)!r} is damaged, or is not {source.name}, and is not used: {error}.",
            UserWarning,
            stacklevel=stacklevel,
        )
        return None


def _check(arrays: Arrays, source: Source, digest: str | None) -> None:
    """Raise _Damaged unless these are the source's arrays; a digest of None is not compared."""
    for key, shape in source.shapes.items():
        array = arrays[key]
        if array.shape != tuple(shape) or array.dtype != np.uint8:
            raise _Damaged(f"{key} must be uint8 of shape {shape}, and is {array.dtype} of {array.shape}")
    if digest is not None and (found := digest_of(arrays, source.shapes)) != digest:
        raise _Damaged(f"the hash of its numbers is {found}, and should be {digest}")


def _download(source: Source, folder: Path, scratch: Path) -> Arrays:
    """Return the arrays from the first address that has them, or raise one OSError if none has."""
    failures = []
    cause: Exception | None = None
    for number, url in enumerate(source.urls):
        assert source.download is not None
        part = scratch / str(number)  # apart from the files of another address
        try:
            part.mkdir()
            arrays = source.download(url, part)
            _check(arrays, source, source.digest)
            return arrays
        except (ImportError, MemoryError):  # no fault of the network
            raise
        except Exception as error:  # there is no end to what a server, or a proxy before it, may send
            failures.append(f"{url}: {type(error).__name__}: {error}")
            cause = error
    problem = f"{source.name} could not be fetched ({'; '.join(failures)})."
    raise OSError(f"{problem} {_by_hand(source, folder)}") from cause


def _by_hand(source: Source, folder: Path) -> str:
    """Say how to do without the download."""
    arrays = ", ".join(f"{key} {shape}" for key, shape in source.shapes.items())
    own = " and digest, the hash of their content" if source.digest is None else ""
    return (
        f"{source.filename} has to lie in {str(folder)!r}, or in the folder that the data_home argument or "
        f"the environment variable {VARIABLE} names: copy it from a machine with a network where it has "
        f"been fetched, or make it from {' or '.join(source.urls)}. It holds uint8 arrays {arrays}{own}."
        f"{source.hint}"
    )
