"""Functions of a fitted module applied to many rows: chunk by chunk, in the dtype of the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from skswae._device import arithmetic, as_array, as_tensor, own_settings
from skswae.data import ArrayData, DataSource
from skswae.data._array import TensorData
from skswae.data._checks import check_chunk
from skswae.data._dataset import held_by
from skswae.data._source import chunk_rows
from skswae.modules._base import AutoencoderModule, detached_copy, detached_tensors


def call_rows(n_features: int) -> int:
    """Return the rows of a call to a module outside training: near the peak of products, at little memory.

    512, or as many as hold 2**20 numbers, in multiples of 16: see ``AutoencoderModule.row_block``.
    """
    return max(16, min(512, chunk_rows(n_features, 2**20) // 16 * 16))


def apply(
    module: AutoencoderModule,
    data: DataSource,
    function: Callable[[AutoencoderModule, Tensor], Tensor],
    dtype: torch.dtype,
    n_rows: int | None = None,
    name: str = "X",
    out: Any = None,
) -> Any:
    """Apply a function of the module and rows to all rows, chunk by chunk: an array of len(data) rows.

    It is a tensor where the rows are, if ``data`` are those of a tensor; and ``out``, if that is given, to
    which the results are then written. Rows of a source of one's own are checked here.

    The module is in float32 and evaluation mode; the function gets it in ``dtype``. The function's result has
    one row for each row, and does not depend on the other rows of a chunk of ``n_rows``; None is
    :func:`call_rows`. A device that lacks the memory for a chunk gets smaller ones.

    Raises
    ------
    ValueError
        If a result is not finite; ``name`` is that of the rows in the message. If ``out`` does not fit.
    """
    device, multiple = module.device, module.row_block
    n_rows = n_rows or call_rows(data.n_features)
    known = isinstance(data, ArrayData | TensorData)
    written: Any = None
    start = 0
    with own_settings(), torch.no_grad():
        if dtype == torch.float64:
            module = _in_float64(module)
        while start < len(data):
            stop = min(start + n_rows, len(data))
            try:
                rows = data.read(slice(start, stop))
                if not known:
                    check_chunk(data, rows, start)
                block = as_tensor(rows, device).to(dtype)
                if len(block) % multiple:
                    block = torch.cat([block, block[-1:].expand(-len(block) % multiple, -1)])
                with arithmetic(device):
                    found = function(module, block)[: stop - start]
                chunk = found.to(data.X.device) if isinstance(data, TensorData) else as_array(found)
                _check_finite(chunk, start, name)
            except torch.OutOfMemoryError:
                if n_rows <= multiple:
                    raise
                n_rows = max(multiple, n_rows // 2 // multiple * multiple)
                continue
            if written is None:
                shape = (len(data), *chunk.shape[1:])
                if out is not None:
                    written = checked_out(out, chunk, shape, data)
                elif isinstance(chunk, Tensor):
                    written = chunk.new_empty(shape)
                else:
                    written = np.empty(shape, chunk.dtype)
            written[start:stop] = chunk
            start = stop
    assert written is not None
    return written


def checked_out(out: Any, chunk: np.ndarray | Tensor, shape: tuple[int, ...], data: DataSource) -> Any:
    """Return what results of this shape, and of the type of this chunk of them, are to be written to.

    Raises
    ------
    TypeError
        If it is no array, nor anything like one that can be written to by slices.
    ValueError
        If it is of another shape or type, cannot be written to, or shares memory with the rows.
    """
    if isinstance(chunk, Tensor):
        raise TypeError(
            "The 'out' argument must be None for a tensor with scikit-learn's array_api_dispatch on. "
            f"Got {type(out).__name__}."
        )
    if isinstance(out, Tensor) or not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(
            "The 'out' argument must be an array, a memory-mapped one, or one of h5py's or zarr's. "
            f"Got {type(out).__name__}."
        )
    if tuple(out.shape) != shape or out.dtype != chunk.dtype:
        raise ValueError(
            f"The 'out' argument must be of shape {shape} and {chunk.dtype}, as the results are. "
            f"Got {tuple(out.shape)} and {out.dtype}."
        )
    if _is_read_only(out):
        raise ValueError("The 'out' argument must be an array that can be written to. Got a read-only one.")
    if _overlap(out, held_by(data)):
        raise ValueError("The 'out' argument must have memory of its own. Got that of X.")
    return out


def _is_read_only(out: Any) -> bool:
    if isinstance(out, np.ndarray):
        return not out.flags.writeable
    # as zarr says it, and h5py
    return getattr(out, "read_only", None) is True or getattr(getattr(out, "file", None), "mode", None) == "r"


def _overlap(out: Any, rows: Any) -> bool:
    """Tell whether writing to the one changes the other, as far as it can be known."""
    if isinstance(out, np.ndarray):
        own, other = _memmap_of(out), _memmap_of(rows)
        if own is not None and other is not None and own is not other and own.filename == other.filename:
            return True  # two maps of one file have it at two places in memory
        work: Any = 10_000  # microseconds at most; NumPy's own annotation knows two special values alone
        try:
            return isinstance(rows, np.ndarray) and np.shares_memory(out, rows, max_work=work)
        except np.exceptions.TooHardError:
            return True
    # two objects of h5py or zarr that stand for one array are equal
    return out is rows or (type(out) is type(rows) and (out == rows) is True)


def _memmap_of(array: Any) -> Any:
    """Return the memory map that an array is, or is a part of; None if there is none."""
    found = None
    while isinstance(array, np.ndarray):
        found = array if isinstance(array, np.memmap) else found
        array = array.base
    return found


def _check_finite(results: np.ndarray | Tensor, start: int, name: str) -> None:
    if isinstance(results, Tensor):
        if bool(results.isfinite().all()):
            return
        results = as_array(results)
    finite = np.isfinite(results)
    if not finite.all():
        row = start + int(np.argmin(finite.reshape(len(results), -1).all(axis=1)))
        cure = ", pass float64," if results.dtype == np.float32 else ""
        raise ValueError(
            f"{name} must hold numbers whose results are finite in {results.dtype}. Got an overflow in row "
            f"{row}: scale the rows before fitting{cure} or leave such a row out."
        )


def _in_float64(module: AutoencoderModule) -> AutoencoderModule:
    """Return the module in float64 as it is now, for one call.

    A copy that is kept would have to be compared with the module number by number before each use: torch does
    not count what is written through ``.data``, and hooks and other attributes are no tensors. Most calls
    use one network of several, so each part is copied when it is first asked for; all at once if another
    attribute of it or of a part may lead to a part.
    """
    own = ("_parameters", "_buffers", "_modules")
    attributes = (item for part in module.modules() for item in vars(part).items())
    if not all(name in own or _is_plain(value) for name, value in attributes):
        return detached_copy(module, dtype=torch.float64)
    new: AutoencoderModule = object.__new__(type(module))
    vars(new).update(vars(module))
    for name in ("_parameters", "_buffers"):
        vars(new)[name] = detached_tensors(vars(module)[name], dtype=torch.float64)
    vars(new)["_modules"] = _PartsInFloat64(vars(module)["_modules"])
    return new


def _is_plain(value: Any) -> bool:
    """Tell whether it is a number, a text or a collection of such: no part of a module, and no way to one."""
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, list | tuple | set):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | None)


class _PartsInFloat64(dict[str, nn.Module | None]):
    """The parts of a module by name; those that have been asked for are copies in float64."""

    def __init__(self, parts: dict[str, nn.Module | None]):
        super().__init__(parts)
        self._left = set(parts)
        self._memo: dict[int, Any] = {}  # a part of two names stays one

    def __getitem__(self, name: str) -> nn.Module | None:
        part = super().__getitem__(name)
        if part is not None and name in self._left:
            self._left.remove(name)
            part = self[name] = detached_copy(part, self._memo, torch.float64)
        return part

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default

    def items(self):
        return {name: self[name] for name in self}.items()

    def values(self):
        return {name: self[name] for name in self}.values()


@own_settings()
def sample_gmm(codes: np.ndarray, n_samples: int, fit_seed: int, seed: int) -> np.ndarray:
    """Draw from a GaussianMixture fitted to the codes: (n, k) -> (n_samples, k), float32.

    ``fit_seed`` and ``seed`` are those of the mixture and of the draws.
    """
    from sklearn.mixture import GaussianMixture  # here: importing it takes longer than this package

    n_rows, k = codes.shape
    origin, spread = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    spread[spread == 0.0] = 1.0
    standardized = (codes - origin) / spread
    # a full covariance of k components needs a few times as many rows as it has columns
    n_gaussians = max(1, min(10, n_rows // (3 * (k + 1)), len(np.unique(codes, axis=0))))
    mixture = GaussianMixture(n_gaussians, random_state=fit_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation will do
        # scikit-learn wants two rows at least
        mixture.fit(standardized if n_rows > 1 else np.repeat(standardized, 2, axis=0))
    rng = np.random.RandomState(seed)
    Z, _ = mixture.set_params(random_state=rng).sample(n_samples)
    return (origin + spread * rng.permutation(Z)).astype(np.float32)  # sample sorts by Gaussian
