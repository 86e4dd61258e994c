"""The front: what the encoders see of a row, its leading principal components."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor, nn

from skswae.data._scaler import TrainingRows
from skswae.modules._columns import Columns
from skswae.modules._initialization import LinearStart, PrincipalComponents, principal_components
from skswae.networks._protocol import check_network

AUTO_COMPONENTS = 64
AUTO_FEATURES = 2 * AUTO_COMPONENTS
"""Features above which "auto" puts principal components in their place: below it costs more than it saves."""
_ROWS_A_COMPONENT = 10


def n_inputs(estimator: Any, rows: TrainingRows, seed: int) -> int:
    """Return the number of columns that the encoders see: m of ``input_components``, or d."""
    m, d = estimator.input_components, rows.n_features
    columns = getattr(estimator, "_columns", None)
    if columns is not None:
        if d != Columns.of(columns).n_features:
            raise ValueError(
                f"X must hold the rows of the table that this {type(estimator).__name__} belongs to; fit a "
                f"clone to others. Got {d} columns instead of {Columns.of(columns).n_features}."
            )
        return d
    takes_components = getattr(check_network(estimator.network), "takes_components", False)
    if isinstance(m, str):  # "auto"
        m = AUTO_COMPONENTS if takes_components and estimator.init == "pca" and d > AUTO_FEATURES else None
        if (
            m is not None
            and rows.more_to_come
            and len(rows) < _ROWS_A_COMPONENT * max(m, estimator.n_components)
        ):
            m = None
    if m is None:
        return d
    if not takes_components:
        raise InvalidParameterError(
            "The 'input_components' parameter must be 'auto' or None with a network that has to see all "
            f"features in their order. Got {m!r} with {type(estimator.network).__name__}, which has no "
            "attribute takes_components = True."
        )
    m = max(int(m), int(estimator.n_components))
    if m >= d:
        return d
    found = len(principal_components(rows, m, seed).variances[:m])
    if rows.more_to_come and found < m:
        if estimator.input_components == "auto":  # these rows cannot show those of the later ones
            return d
        raise ValueError(
            f"The first partial_fit must see rows of at least {m} directions with input_components="
            f"{estimator.input_components!r}, for they are fixed by it. Got {len(rows)} rows of {found}."
        )
    return min(m, found) or d  # constant rows have none


class Front(nn.Module):
    """Map rows to their leading principal components, in a unit in which their mean variance is 1.

    It is fixed: no optimiser moves it. Without fewer inputs than features it leaves rows as they are.

    Parameters
    ----------
    n_features : int
        d
    n_inputs : int
        m, the number of principal components, at most d.

    Attributes
    ----------
    reduces : bool
        Whether m < d. Only then are there the tensors below.
    origin : Tensor of shape (d,)
        The row whose image is 0.
    weight : Tensor of shape (m, d)
        Directions that are orthogonal, of length 1 / unit.
    unit : Tensor of shape ()
        Root mean variance of the components.
    """

    origin: Tensor
    weight: Tensor
    unit: Tensor

    def __init__(self, n_features: int, n_inputs: int):
        super().__init__()
        self.n_inputs = n_inputs
        self.reduces = n_inputs < n_features
        if self.reduces:
            self.register_buffer("origin", torch.zeros(n_features, dtype=torch.float32))
            self.register_buffer("weight", torch.zeros((n_inputs, n_features), dtype=torch.float32))
            self.register_buffer("unit", torch.ones((), dtype=torch.float32))

    def initialize(self, found: PrincipalComponents) -> None:
        """Take the first m of these principal components."""
        if self.reduces:
            unit = math.sqrt(float(found.variances[: self.n_inputs].mean()))
            self.origin.copy_(found.mean)
            self.weight.copy_(found.directions[: self.n_inputs] / unit)
            self.unit.fill_(unit)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the encoders see of each row: (n, d) -> (n, m)."""
        if not self.reduces:
            return x
        return nn.functional.linear(x, self.weight, -(self.weight @ self.origin))

    def seen(self, h: Tensor) -> Tensor | None:
        """Return 1 for what is known of a row, 0 for what is not; None if all is: (n, m) -> (n, m)."""
        return None

    def inverse(self, h: Tensor) -> Tensor:
        """Return the row of the spanned space whose image is h: (n, m) -> (n, d)."""
        return self.origin + (self.unit * h) @ (self.unit * self.weight) if self.reduces else h

    def behind(self, start: LinearStart) -> LinearStart:
        """Return the start whose encoder takes ``front(x)`` in place of x."""
        if not self.reduces:
            return start
        # a row of the spanned space is x = origin + unit^2 h weight
        return dataclasses.replace(
            start,
            encoder_weight=(self.unit * start.encoder_weight) @ (self.unit * self.weight).T,
            encoder_bias=start.encoder_bias + start.encoder_weight @ self.origin,
        )
