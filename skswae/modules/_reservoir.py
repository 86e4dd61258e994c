"""Rows kept from a pass over the data: drawn at random, and stored in a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skswae._processes import Group


class Reservoir:
    """Draw at most ``n_rows`` rows at random, without replacement, from all that are added.

    Each row gets a random key; those with the smallest keys stay. The generator is on the device of the rows.
    """

    def __init__(self, n_rows: int, generator: torch.Generator):
        self.n_rows = n_rows
        self.generator = generator
        self._rows: list[Tensor] = []
        self._keys: list[Tensor] = []

    def skip(self, n_rows: int) -> None:
        """Pass over rows that another process adds, so that keys are those of one process."""
        for n in (*([2**20] * (n_rows >> 20)), n_rows % 2**20):
            torch.rand(n, dtype=torch.float64, device=self.generator.device, generator=self.generator)

    def gather(self, group: Group) -> None:
        """Take what the reservoirs of all processes hold."""
        found = group.gather((self.rows().cpu(), self._keys[0].cpu()))
        device = self.generator.device
        self._rows, self._keys = ([part.to(device) for part in parts] for parts in zip(*found))

    def add(self, rows: Tensor) -> None:
        """Add rows to draw from: (n, k)."""
        key = torch.rand(len(rows), dtype=torch.float64, device=rows.device, generator=self.generator)
        self._rows.append(rows)
        self._keys.append(key)
        if sum(map(len, self._keys)) > 2 * self.n_rows:
            self.rows()

    def rows(self) -> Tensor:
        """Return the rows drawn so far: (at most n_rows, k)."""
        rows, keys = torch.cat(self._rows), torch.cat(self._keys)
        order = keys.argsort()[: self.n_rows]
        self._rows, self._keys = [rows[order]], [keys[order]]
        return self._rows[0]


class StoredRows(nn.Module):
    """A buffer ``rows`` of shape (m, n_columns), at first (0, n_columns), that loading resizes to any m."""

    rows: Tensor

    def __init__(self, n_columns: int):
        super().__init__()
        self.register_buffer("rows", torch.zeros((0, n_columns), dtype=torch.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def store(self, rows: Tensor) -> None:
        """Replace the rows: (m, k)."""
        self.rows = rows.to(self.rows)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}rows")
        if isinstance(saved, Tensor) and saved.shape[1:] == self.rows.shape[1:]:
            self.rows = self.rows.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
