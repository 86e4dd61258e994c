"""The cache folder: one checked file of arrays for each data set.

The caches of pooch and fetch_openml keep downloads, which take seconds to unpack and parse in each call. The
hash is that of the arrays, as another zlib writes equal arrays to an unequal file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home

from skswae._warnings import warn

VARIABLE = "SKSWAE_DATA"
Arrays = dict[str, np.ndarray]


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
    citation: str
    urls: tuple[str, ...] = ()  # to try one after the other
    download: Callable[[str, Path], Arrays] | None = None  # (url, an empty folder) -> arrays
    hint: str = ""  # the end of the message for those who cannot download


def digest_of(arrays: Arrays) -> str:
    """Return the SHA-256 of the arrays' names, dtypes, shapes and bytes."""
    content = hashlib.sha256()
    for key, array in arrays.items():
        content.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def cache_folder(data_home: str | os.PathLike | None) -> Path:
    """Return the folder that an argument, the environment variable or scikit-learn names."""
    data_home = data_home or os.environ.get(VARIABLE)
    if data_home:
        return Path(data_home).expanduser()
    with _writing("scikit-learn's data folder"):
        return Path(get_data_home()) / "skswae"


def fetch(source: Source, folder: Path, download_if_missing: bool) -> Arrays:
    """Return the arrays of a source from the cache folder, else from the network by way of the folder."""
    arrays = read(source, folder)
    if arrays is not None:
        return arrays
    if not download_if_missing:
        problem = f"{source.name} is not in the cache folder, and download_if_missing=False."
        raise OSError(f"{problem} {_by_hand(source, folder)}")
    path = folder / source.filename
    with _writing(repr(str(path))):  # before anything is downloaded
        folder.mkdir(parents=True, exist_ok=True)
        # on the same disk, so that a complete file is moved to its place in one step
        scratch = tempfile.TemporaryDirectory(prefix=".", dir=folder, ignore_cleanup_errors=True)
    with scratch as name:
        arrays = _download(source, folder, name)
        complete = Path(name) / source.filename
        with _writing(repr(str(path))):
            # numpy's stubs take every keyword for its own allow_pickle
            np.savez_compressed(complete, **arrays, digest=digest_of(arrays))  # type: ignore[arg-type]
            os.replace(complete, path)
    return arrays


def read(source: Source, folder: Path) -> Arrays | None:
    """Return the arrays in the cache folder; None if there are none or, with a warning, they are damaged."""
    path = folder / source.filename
    try:
        content = io.BytesIO(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        with np.load(content, allow_pickle=False) as npz:
            arrays = {key: npz[key] for key in source.shapes}
            _check(arrays, source, source.digest or str(npz["digest"]))
            return arrays
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive raises nearly anything
        problem = f"is damaged, or is not {source.name}, and is not used: {type(error).__name__}: {error}."
        warn(f"{str(path)!r} {problem}", UserWarning)
        return None


def _check(arrays: Arrays, source: Source, digest: str | None) -> None:
    """Raise ValueError unless these are the source's arrays; a digest of None is not compared."""
    for key, shape in source.shapes.items():
        if arrays[key].shape != shape or arrays[key].dtype != np.uint8:
            found = f"{arrays[key].dtype} of {arrays[key].shape}"
            raise ValueError(f"{key} must be uint8 of shape {shape}, and is {found}")
    if digest is not None and (found := digest_of(arrays)) != digest:
        raise ValueError(f"the hash of its numbers is {found}, and should be {digest}")


def _download(source: Source, folder: Path, scratch: str) -> Arrays:
    """Return the arrays from the first address that has them, or raise one OSError if none has."""
    assert source.download is not None
    failures, cause = [], None
    for url in source.urls:
        try:
            # in a folder apart from the files of another address
            arrays = source.download(url, Path(tempfile.mkdtemp(dir=scratch)))
            _check(arrays, source, source.digest)
            return arrays
        except ImportError as error:
            package = f"{error.name}, which is not installed"
            raise ImportError(f'{source.name} needs {package}: pip install "skswae[datasets]".') from error
        except MemoryError:
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


@contextlib.contextmanager
def _writing(what: str) -> Iterator[None]:
    """Let errors of the block say which other folder can be named."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{what} cannot be written ({error}). Set the data_home argument or the environment variable "
            f"{VARIABLE} to a folder that can be."
        ) from error
