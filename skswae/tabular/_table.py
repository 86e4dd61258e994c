"""The arrow from a table's cells to rows of an autoencoder, and back from its codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr
from sklearn.utils import gen_batches
from torch import Tensor

from skswae._random import make_generator, named_seed
from skswae.data import ArrayData
from skswae.data._source import chunk_rows
from skswae.modules._columns import MISSING, Columns, ColumnsHead
from skswae.tabular._conditional import Condition

Exact = tuple[int, float, float]
_FEW = 5  # training rows: one value that as few have may have hardly a probability
_NUMBER_NODES = 9  # of a quadrature over the noise of a number


@dataclass(frozen=True)
class Table:
    """Which columns of a table are learned, in the order of the networks' rows.

    Attributes
    ----------
    order : tuple of int
        Number of each learned column among those of the codec; ``n_codec`` stands for the target.
    n_codec : int
        Columns of the codec, constant ones too.
    n_rows : int
        Rows of the fit.
    columns : Columns
    """

    order: tuple[int, ...]
    n_codec: int
    n_rows: int
    columns: Columns

    @classmethod
    def of(
        cls,
        described: Sequence[Any],
        cells: np.ndarray,
        *,
        target_shares: np.ndarray | None,
        weights: np.ndarray,
        hidden_share: float,
    ) -> Table:
        """Make it of the codec's columns and the training rows' cells: (n, C), the target's last."""
        order, known = _layout(described, 0 if target_shares is None else len(target_shares))
        first = known["n_numbers"] + known["n_booleans"]
        observed = ~np.isnan(cells)
        location: list[Any] = []
        unit: list[Any] = []
        for j in order[:first]:
            values = cells[observed[:, j], j]
            location.append([values.mean()])
            unit.append([values.std() or 1.0])
        for j in order[first:]:
            shares = target_shares if j == len(described) else described[j].frequencies
            assert shares is not None
            location.append(shares)
            unit.append([np.sqrt((shares * (1.0 - shares)).sum()) or 1.0] * len(shares))
        columns = Columns(
            **known,
            location=np.concatenate(location),
            unit=np.concatenate(unit),
            observed=observed[:, order].mean(axis=0),
            weights=weights[order],
            hidden_share=hidden_share,
        )
        return cls(tuple(order), len(described), len(cells), columns)

    @classmethod
    def again(cls, described: Sequence[Any], columns: Columns, n_classes: int, n_rows: int) -> Table:
        """Make it of the codec's columns and the estimator's, as those of a file."""
        order, known = _layout(described, n_classes)
        if any(getattr(columns, name) != value for name, value in known.items()):
            raise ValueError("its columns and classes are others than those of its estimator")
        if type(n_rows) is not int or not 2 <= n_rows < 2**53:
            raise ValueError(f"its number of rows is {n_rows!r}")
        return cls(tuple(order), len(described), n_rows, columns)

    def condition(self, codec: Any, name: Any, value: Any) -> tuple[Condition | None, Exact | None]:
        """Return a condition in the units of the networks, and of a number the column and range in its own.

        That of a constant column, which is always met, is None.

        Raises
        ------
        ValueError
            If no row can meet it.
        """
        asked = codec.condition(name, value)
        if asked.index not in self.order:
            return None, None
        place = self.order.index(asked.index)
        start = int(self.columns.starts()[place])
        if asked.levels is not None:
            return Condition(place, start, levels=tuple(int(level) for level in asked.levels)), None
        location, unit = self.columns.location[start], self.columns.unit[start]
        low, high = (asked.low_score - location) / unit, (asked.high_score - location) / unit
        exact = asked.index, asked.low, asked.high
        share = ndtr(asked.high_score) - ndtr(asked.low_score)  # of the training rows, if it is by ranks
        single = asked.low == asked.high and share * self.n_rows < _FEW
        return Condition(place, start, low=float(low), high=float(high), is_single=single), exact

    def target_condition(self, level: int) -> Condition:
        """Return the condition of a class of the target."""
        (place,) = self.columns.targets
        return Condition(place, int(self.columns.starts()[place]), levels=(level,))

    def rows(self, cells: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        """Return rows of the networks: cells of the codec, (n, C), and of the target, (n,) -> (n, d)."""
        if target is None:
            target = np.full(len(cells), np.nan)
        return self.columns.rows(np.column_stack([cells, target])[:, self.order])

    def training_rows(self, cells: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        """Return :meth:`rows` in float32, with little memory beside."""
        x = np.empty((len(cells), self.columns.n_features), dtype=np.float32)
        for part in gen_batches(len(cells), chunk_rows(self.columns.n_features)):
            x[part] = self.rows(cells[part], None if target is None else target[part])
        return x

    def to_codec(self, cells: np.ndarray) -> np.ndarray:
        """Return cells in the codec's order, of constant columns 0, and the target's last: (n, C + 1)."""
        found = np.zeros((len(cells), self.n_codec + 1))
        found[:, self.order] = cells
        return found


def _layout(described: Sequence[Any], n_classes: int) -> tuple[list[int], dict[str, Any]]:
    """Return the learned columns in the order of the networks' rows, and what Columns has of it by name."""
    widths = {j: len(c.levels) for j, c in enumerate(described) if c.kind == "category"}
    if n_classes:
        widths[len(described)] = n_classes
    numbers = [j for j, c in enumerate(described) if c.kind == "number"]
    booleans = [j for j, c in enumerate(described) if c.kind == "boolean"]
    categories = sorted(widths, key=lambda j: widths[j])
    order = [*numbers, *booleans, *categories]
    return order, {
        "n_numbers": len(numbers),
        "n_booleans": len(booleans),
        "widths": tuple(widths[j] for j in categories),
        "targets": (order.index(len(described)),) if n_classes else (),
    }


class FittedTable:
    """A fitted autoencoder of a table's rows: what is computed of rows and codes, in cells.

    Parameters
    ----------
    table : Table
    estimator : BaseAutoencoder
        Fitted to ``table.rows``.
    codec : TableCodec
    """

    def __init__(self, table: Table, estimator: Any, codec: Any):
        self.table = table
        self.estimator = estimator
        self.codec = codec

    @property
    def head(self) -> ColumnsHead:
        """The head of the module, on its device."""
        head = self.estimator._module_on_device().head
        assert isinstance(head, ColumnsHead)
        return head

    def in_blocks(self, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Apply a function to rows of any width, part by part: with little memory for the networks' rows."""
        n = chunk_rows(self.table.columns.n_features)
        return np.concatenate([function(rows[part]) for part in gen_batches(len(rows), n)])

    def of_codes(self, Z: np.ndarray, function: Callable[[Any, Tensor], Tensor]) -> np.ndarray:
        """Apply a function of the head and the decoder's output to codes: (n, k) -> (n, ...)."""
        return self.estimator._apply(
            ArrayData(np.ascontiguousarray(Z)), lambda module, z: function(module.head, module.raw_output(z))
        )

    def of_rows(self, x: np.ndarray, function: Callable[[Any, Tensor, Tensor], Tensor]) -> np.ndarray:
        """Apply a function of the head, rows and the output for their codes: (n, d) -> (n, ...)."""

        def of_module(module: Any, x: Tensor) -> Tensor:
            return function(module.head, x, module.raw_output(module.encode_x(x)))

        return self.estimator._apply(ArrayData(x), of_module)

    def codes(self, cells: np.ndarray) -> np.ndarray:
        """Return the codes of the codec's cells: (n, C) -> (n, k)."""

        def block(cells: np.ndarray) -> np.ndarray:
            return self.estimator._apply(
                ArrayData(self.table.rows(cells)), lambda module, x: module.encode(x)
            )

        return self.in_blocks(cells, block)

    def cells(self, x: np.ndarray, missing: bool = False) -> np.ndarray:
        """Return the cells of rows, with ``missing`` NaN for those that are said to be: (n, d) -> (n, C)."""
        cells = self.table.columns.cells(x)
        if missing:
            cells[x[:, self.table.columns.n_values :] == MISSING] = np.nan
        return cells

    def decoded(
        self, Z: np.ndarray, seed: int | None = None, *, missing: bool = False, hidden: bool = False
    ) -> np.ndarray:
        """Return cells of codes: draws with a seed, else means and modes: (n, k) -> (n, C).

        With ``missing`` cells that are drawn to be missing are NaN. With ``hidden`` they are drawn given
        codes that have not seen them.
        """
        if seed is None:
            return self.in_blocks(Z, lambda Z: self.cells(self.of_codes(Z, lambda head, out: head.mean(out))))
        generator = make_generator(named_seed(seed, "cells"), self.estimator._module_on_device().device)

        def draw(head: ColumnsHead, output: Tensor) -> Tensor:
            return head.draw(output, generator, hidden)

        return self.in_blocks(Z, lambda Z: self.cells(self.of_codes(Z, draw), missing))

    def values(self, cells: np.ndarray) -> np.ndarray:
        """Return the codec's values of cells in the order of the networks: (n, C) -> (n, C_codec)."""
        return self.codec.values(self.table.to_codec(cells)[:, : self.table.n_codec])

    def expected_values(self, Z: np.ndarray) -> np.ndarray:
        """Return means of numbers in their own unit, and modes of others: (n, k) -> (n, C_codec)."""
        columns = self.table.columns
        n = columns.n_numbers
        cells = self.decoded(Z)
        found = self.values(cells)
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NUMBER_NODES)
        scale = self.head.hidden_noise.detach().cpu().double().numpy() * columns.unit[:n]
        total = np.zeros_like(found)
        for node, weight in zip(nodes, weights / weights.sum()):
            moved = cells.copy()
            moved[:, :n] += node * scale
            total += weight * self.values(moved)
        numbers = list(self.table.order[:n])
        found[:, numbers] = total[:, numbers]
        return found
