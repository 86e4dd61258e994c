"""Parameters and attributes that several estimators share, though not all."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skswae._torch import as_array


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


class PseudoInputMixin:
    """What an estimator whose module has ``pseudo_inputs`` shows of them."""

    module_: Any

    @property
    def pseudo_inputs_(self) -> np.ndarray:
        """The pseudo-inputs u_1, ..., u_K in the units of the data: (K, n_features)."""
        module = self.module_
        return as_array(module.from_units(module.pseudo_inputs.rows.detach().double()))

    @property
    def n_pseudo_inputs_(self) -> int:
        """K."""
        return len(self.module_.pseudo_inputs.rows)
