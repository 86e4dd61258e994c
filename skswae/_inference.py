"""Functions of a fitted module applied to many rows: chunk by chunk, in the dtype of the caller."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skswae._device import arithmetic, as_array, as_tensor, default_settings
from skswae.data import DataSource
from skswae.modules._base import AutoencoderModule

CHUNK_ROWS = 512
"""Rows a call to a module outside training: near the peak of a matrix product, at little memory."""


def apply(
    module: AutoencoderModule,
    data: DataSource,
    function: Callable[[AutoencoderModule, Tensor], Tensor],
    dtype: torch.dtype,
    n_rows: int = CHUNK_ROWS,
    name: str = "X",
) -> np.ndarray:
    """Apply a function of the module and rows to all rows, chunk by chunk: an array of len(data) rows.

    The module is in evaluation mode and in ``dtype``. The function's result has one row for each row, and
    does not depend on the other rows of a chunk of ``n_rows``. A device that lacks the memory for a chunk
    gets smaller ones.

    Raises
    ------
    ValueError
        If a result is not finite; ``name`` is that of the rows in the message.
    """
    device, multiple = module.device, module.row_block
    out: np.ndarray | None = None
    start = 0
    with torch.no_grad(), arithmetic(device):
        while start < len(data):
            stop = min(start + n_rows, len(data))
            try:
                block = as_tensor(data.read(slice(start, stop)), device).to(dtype)
                if len(block) % multiple:
                    padding = block[-1:].expand(-len(block) % multiple, -1)
                    block = torch.cat([block, padding])
                chunk = as_array(function(module, block))[: stop - start]
                _check_finite(chunk, start, name)
            except torch.OutOfMemoryError:
                if n_rows <= multiple:
                    raise
                n_rows = max(multiple, n_rows // 2 // multiple * multiple)
                continue
            if out is None:
                out = np.empty((len(data), *chunk.shape[1:]), dtype=chunk.dtype)
            out[start:stop] = chunk
            start = stop
    assert out is not None
    return out


def _check_finite(results: np.ndarray, start: int, name: str) -> None:
    finite = np.isfinite(results)
    if not finite.all():
        row = start + int(np.argmin(finite.reshape(len(results), -1).all(axis=1)))
        cure = ", pass float64," if results.dtype == np.float32 else ""
        raise ValueError(
            f"{name} must hold numbers whose results are finite in {results.dtype}. Got an overflow in row "
            f"{row}: scale the rows before fitting{cure} or leave such a row out."
        )


def reconstruct(module: AutoencoderModule, rows: Tensor) -> Tensor:
    """Encode and decode rows in the user's units: (n, d) -> (n, d)."""
    return module.scaler.unstandardize(module.decode(module.encode(module.scaler.standardize(rows))))


class Float64Copy:
    """A module's copy in float64, made anew when a tensor of the module was replaced or written to.

    Making it for every row would take ten times as long as the row. Torch does not count what is written
    through ``.data``, and a hook or another attribute is no tensor: those changes are not seen.
    """

    def __init__(self) -> None:
        self._made_of: list[tuple[Tensor, int, int]] = []
        self._copy: AutoencoderModule | None = None

    def of(self, module: AutoencoderModule) -> AutoencoderModule:
        """Return the copy of this module."""
        tensors = [*module.parameters(), *module.buffers()]
        if any(tensor.is_inference() for tensor in tensors):  # their changes are not counted either
            return copy.deepcopy(module).double()
        now = [(tensor, tensor.data_ptr(), tensor._version) for tensor in tensors]
        if (
            self._copy is None
            or len(now) != len(self._made_of)
            or any(a[0] is not b[0] or a[1:] != b[1:] for a, b in zip(now, self._made_of))
        ):
            self._copy, self._made_of = copy.deepcopy(module).double(), now
        return self._copy


@default_settings()
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
