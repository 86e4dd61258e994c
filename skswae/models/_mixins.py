"""Parameters and attributes that several estimators share, though not all."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skswae._device import as_array, as_tensor
from skswae._estimator import BaseAutoencoder
from skswae._random import derive_seed, named_seed
from skswae.data import DataSource
from skswae.data._scaler import TrainingRows


class ReconstructionMixin:
    """The ``reconstruction`` parameter: the cost of a row and its decoding."""

    reconstruction: str
    output_activation: str

    _parameter_constraints: dict = {
        "reconstruction": [StrOptions({"squared_error", "binary_cross_entropy"})],
    }

    def _needs_unit_interval(self) -> bool:
        return self.reconstruction == "binary_cross_entropy"

    def _check_parameters(self) -> None:
        if self.reconstruction == "binary_cross_entropy" and self.output_activation == "identity":
            raise ValueError(
                "The 'output_activation' parameter must be 'sigmoid' or 'auto' with "
                "reconstruction='binary_cross_entropy'. Got 'identity' instead."
            )


_MOST_AUTO = 500


class PseudoInputMixin(BaseAutoencoder):
    """The pseudo-inputs of an estimator whose module has them: their number, and where they are."""

    module_: Any
    n_pseudo_inputs: int | str
    n_pseudo_inputs_: int
    _rows_seen: np.ndarray  # a checksum of each different row, until there are rows for all pseudo-inputs

    def _resolve(self, data: DataSource, n_rows: int, known_epochs: int | None) -> None:
        super()._resolve(data, n_rows, known_epochs)
        self.n_pseudo_inputs_ = self._affordable(n_rows)

    def _affordable(self, n_rows: int) -> int:
        """Return K for that many training rows."""
        if isinstance(self.n_pseudo_inputs, str):  # "auto"
            return min(_MOST_AUTO, max(1, n_rows // 6))
        return min(int(self.n_pseudo_inputs), n_rows)

    def _see_rows(self, module: Any, rows: TrainingRows, seed: int, resume: bool) -> None:
        """Count different rows; add pseudo-inputs, rows not seen before, if there are enough for more."""
        auto = isinstance(self.n_pseudo_inputs, str)
        most = _MOST_AUTO if auto else self.n_pseudo_inputs
        if self.n_pseudo_inputs_ == most:
            return
        # of numbers, not of their type and sign of 0; two rows of one checksum count as one
        chunks = (np.ascontiguousarray(chunk, np.float64) + 0.0 for chunk in rows.source.chunks())
        sums = np.array([zlib.crc32(row) for chunk in chunks for row in chunk], np.uint32)
        different, first = np.unique(sums, return_index=True)
        known = self._rows_seen if resume else different[:0]
        self._rows_seen = np.union1d(known, different)
        n_more = self._affordable(len(self._rows_seen)) - self.n_pseudo_inputs_
        if n_more > 0:
            new = first[~np.isin(different, known)]
            rng = np.random.default_rng(derive_seed(named_seed(seed, "pseudo_inputs"), self.n_pseudo_inputs_))
            chosen = rng.choice(new, n_more, replace=False)
            module.add_pseudo_inputs(rows.prepare(as_tensor(rows.source.read(chosen))))
            self.n_pseudo_inputs_ += n_more
        if self.n_pseudo_inputs_ == most:
            self._rows_seen = different[:0]

    @property
    def pseudo_inputs_(self) -> np.ndarray:
        """The pseudo-inputs u_1, ..., u_K in the units of the data: (K, n_features)."""
        module = self.module_
        rows = module.front.inverse(module.pseudo_inputs.rows.detach())
        return as_array(module.scaler.unstandardize(rows.double()))
