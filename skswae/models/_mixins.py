"""Parameters and attributes that several estimators share, though not all."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skswae._device import as_array
from skswae._estimator import BaseAutoencoder
from skswae.data import DataSource


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


class PseudoInputMixin(BaseAutoencoder):
    """The pseudo-inputs of an estimator whose module has them: their number, and where they are."""

    module_: Any
    n_pseudo_inputs: int | str
    n_pseudo_inputs_: int

    def _resolve(self, data: DataSource, n_rows: int) -> None:
        super()._resolve(data, n_rows)
        K = self.n_pseudo_inputs
        if isinstance(K, str):  # "auto"
            K = min(500, max(1, n_rows // 6))
        self.n_pseudo_inputs_ = min(int(K), n_rows)

    @property
    def pseudo_inputs_(self) -> np.ndarray:
        """The pseudo-inputs u_1, ..., u_K in the units of the data: (K, n_features)."""
        module = self.module_
        return as_array(module.scaler.unstandardize(module.pseudo_inputs.rows.detach().double()))
