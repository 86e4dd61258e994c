"""Synthetic tables beside real ones: columns, pairs of columns, and copies of training rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from skswae._device import own_settings
from skswae.metrics._tables_columns import Column, bins_of, read_tables


@own_settings()
def column_similarity(real, synthetic, *, categorical_features="from_dtype") -> dict[Any, float]:
    """Compare the distribution of each column of a synthetic table with that of a real one [1]_.

    For numbers and times, 1 minus the Kolmogorov-Smirnov distance, the largest difference between the two
    distribution functions; missing cells count as larger than every number. For categories and booleans,
    1 minus the total variation, half the sum of the differences between the levels' shares; missing is a
    level. Both are the "column shapes" of sdmetrics, which leaves missing cells out.

    Parameters
    ----------
    real, synthetic : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Rows of the source, and rows drawn from a model. The columns must be the same: of two
        frames in any order, of an array in that of the frame.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        Names, positions (in the real table) or a mask of columns that are categories whatever their dtype.
        Columns of text, categories and booleans always are.

    Returns
    -------
    similarity : dict of str to float
        By the names of the columns of ``real`` (positions for an array), in [0, 1]; 1 for equal shares.
        Chance alone lowers it, the more the fewer the rows and the more the levels: compare with further real
        rows in the place of the synthetic ones.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, or the two do not have the same columns of the same kinds.

    References
    ----------
    .. [1] DataCebo. SDMetrics: KSComplement and TVComplement. https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from skswae.metrics import column_similarity
    >>> real = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "sex": ["f", "f", "m", None]})
    >>> synthetic = pd.DataFrame({"size": [3.0, 4.0], "sex": ["f", "m"]})
    >>> column_similarity(real, synthetic)
    {'size': 0.5, 'sex': 0.75}
    """
    return similarities(read_tables(categorical_features, real=real, synthetic=synthetic))


def similarities(columns: list[Column]) -> dict[Any, float]:
    """Return the similarity of each column of two tables."""
    return {c.name: 1 - (_largest_gap(c) if c.is_number else _variation(c.values)) for c in columns}


def _largest_gap(column: Column) -> float:
    """Return the largest difference between the two distribution functions."""
    ordered = [np.sort(v[~np.isnan(v)]) for v in column.values]
    at = np.concatenate(ordered)
    shares = [np.searchsorted(o, at, side="right") / len(v) for o, v in zip(ordered, column.values)]
    return float(np.abs(shares[0] - shares[1]).max(initial=0.0))


def _variation(codes: tuple[np.ndarray, ...]) -> float:
    """Return the total variation between the codes of two tables."""
    found = [np.unique(c, return_counts=True) for c in codes]
    every = np.union1d(found[0][0], found[1][0])
    shares = np.zeros((2, len(every)))
    for share, (values, counts), c in zip(shares, found, codes):
        share[np.searchsorted(every, values)] = counts / len(c)
    return min(float(0.5 * np.abs(shares[0] - shares[1]).sum()), 1.0)  # but for rounding


@own_settings()
def pair_similarity(real, synthetic, *, categorical_features="from_dtype") -> dict[tuple[Any, Any], float]:
    """Compare how pairs of columns go together in a synthetic table and in a real one [1]_.

    For two columns of numbers or times, 1 minus half the difference between Spearman's rank correlations,
    over the rows where both are there; a column that is constant in those rows has correlation 0. For other
    pairs, 1 minus the total variation between the two contingency tables: missing is a level, and numbers
    are put into 10 bins between the quantiles of the real column, where a value that fills more than one bin
    has one of its own. Both are the "column pair trends" of sdmetrics, whose correlation is Pearson's
    by default and whose bins are of equal width.

    Parameters
    ----------
    real, synthetic : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Rows of the source, and rows drawn from a model. The columns must be the same: of two
        frames in any order, of an array in that of the frame.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        As of :func:`column_similarity`.

    Returns
    -------
    similarity : dict of (str, str) to float
        By the names of the two columns, in the order of ``real``, in [0, 1]; 1 for equal trends. Chance alone
        lowers it, for categories far more than that of the columns alone: compare with further real rows.
        Columns that do not depend on each other in either table agree, too, so that a mean over many
        columns of noise is close to 1.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, or the two do not have the same columns of the same kinds.

    References
    ----------
    .. [1] DataCebo. SDMetrics: CorrelationSimilarity and ContingencySimilarity.
       https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from skswae.metrics import pair_similarity
    >>> real = pd.DataFrame({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4], "c": ["x", "x", "y", "y"]})
    >>> synthetic = pd.DataFrame({"a": [1, 2, 3, 4], "b": [4, 3, 2, 1], "c": ["x", "x", "y", "y"]})
    >>> pair_similarity(real, synthetic)
    {('a', 'b'): 0.0, ('a', 'c'): 1.0, ('b', 'c'): 0.0}
    """
    columns = read_tables(categorical_features, real=real, synthetic=synthetic)
    binned = [bins_of(column) for column in columns]
    found = {}
    for i, j in combinations(range(len(columns)), 2):
        a, b = columns[i], columns[j]
        if a.is_number and b.is_number:
            rho = [_rank_correlation(x, y) for x, y in zip(a.values, b.values)]
            value = 1 - abs(rho[0] - rho[1]) / 2
        else:
            (codes, _), (others, n_codes) = binned[i], binned[j]
            value = 1 - _variation(tuple(x * n_codes + y for x, y in zip(codes, others)))
        found[a.name, b.name] = float(value)
    return found


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's correlation over the rows where both are there; 0 if one of them is constant."""
    there = ~(np.isnan(x) | np.isnan(y))
    ranks = [rankdata(v[there]) - (there.sum() + 1) / 2 for v in (x, y)]
    scale = np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1] / scale) if scale > 0 else 0.0


@own_settings()
def exact_copy_rate(synthetic, train, *, categorical_features="from_dtype") -> float:
    """Compute the share of synthetic rows that equal a training row in all columns.

    Missing cells equal missing cells. Numbers are compared as float64, times to the 256 ns that this holds.
    :func:`nearest_record_ratio` shows rows that are nearly copies.

    Parameters
    ----------
    synthetic, train : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Rows drawn from a model, and the rows that it was fitted to. The columns must be the same.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        As of :func:`column_similarity`.

    Returns
    -------
    rate : float
        In [0, 1]. It is not 0 for new real rows of a table with few different ones: compare with the rate of
        held-out rows.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, or the two do not have the same columns of the same kinds.

    Examples
    --------
    >>> import pandas as pd
    >>> from skswae.metrics import exact_copy_rate
    >>> train = pd.DataFrame({"age": [31, 44], "sex": ["f", "m"]})
    >>> exact_copy_rate(pd.DataFrame({"age": [44, 44], "sex": ["f", "m"]}), train)
    0.5
    """
    rows = _row_numbers(read_tables(categorical_features, train=train, synthetic=synthetic))
    return float(np.isin(rows[1], rows[0]).mean())


def _row_numbers(columns: list[Column]) -> list[np.ndarray]:
    """Return a number of each row, which equal rows of all tables share."""
    lengths = np.cumsum([len(v) for v in columns[0].values])
    numbers = np.zeros(lengths[-1], dtype=np.int64)
    for column in columns:
        values, codes = np.unique(np.concatenate(column.values), return_inverse=True)  # one of all NaN
        numbers = np.unique(numbers * len(values) + codes, return_inverse=True)[1]
    return np.split(numbers, lengths[:-1])


@own_settings()
def nearest_record_ratio(synthetic, train, held_out, *, categorical_features="from_dtype") -> float:
    """Compare the distance of synthetic rows to the training rows with that of held-out rows, after [1]_.

    The ratio is the mean distance of a synthetic row to the training row that is closest to it over the
    same of a held-out row. The distance is Gower's [2]_, the mean over columns of a distance in [0, 1]: for
    categories 0 for equal levels and 1 for others; for numbers and times the difference between their ranks
    among the training rows, as shares (Gower has the difference over the range, in which one outlier makes
    all other differences small); 1 where one of two cells is missing, and 0 where both are.

    Parameters
    ----------
    synthetic, train, held_out : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
        Rows drawn from a model, rows that it was fitted to, and rows of the same source that it was not. The
        columns must be the same.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        As of :func:`column_similarity`.

    Returns
    -------
    ratio : float
        0 for copies of training rows, 1 for further held-out rows. A mean hides a few copies among others:
        :func:`exact_copy_rate` counts them. It takes time in proportion to the rows times the training
        rows times the columns: about 10 s for 10,000, 10,000 and 15.

    Raises
    ------
    ValueError, TypeError
        If a table cannot be read, the three do not have the same columns of the same kinds, or every
        held-out row equals a training row, so that no ratio is defined.

    References
    ----------
    .. [1] Z. Zhao, A. Kunar, R. Birke, L. Y. Chen. CTAB-GAN: Effective Table Data Synthesizing. ACML 2021.
       arXiv:2102.08369. Its distance to the closest record.
    .. [2] J. C. Gower. A General Coefficient of Similarity and Some of Its Properties. Biometrics 27, 1971.

    Examples
    --------
    >>> import pandas as pd
    >>> from skswae.metrics import nearest_record_ratio
    >>> train = pd.DataFrame({"age": [20, 30, 40, 50], "sex": ["f", "f", "m", "m"]})
    >>> held_out = pd.DataFrame({"age": [20, 50], "sex": ["m", "f"]})
    >>> nearest_record_ratio(train.head(1), train, held_out)
    0.0
    """
    columns = read_tables(categorical_features, train=train, synthetic=synthetic, held_out=held_out)
    scaled = [_in_unit_interval(column) for column in columns]
    generated, new = (np.mean(list(_nearest(scaled, table))) for table in (1, 2))
    if new == 0:
        raise ValueError(
            "The 'held_out' argument must have rows that are not in 'train', else no ratio is defined. Got "
            "copies of training rows alone."
        )
    return float(generated / new)


_MISSING = 2.0  # at least 1 away from all ranks
_CELLS = 1 << 20  # distances at a time, which stay in the processor's cache better than more do


def _in_unit_interval(column: Column) -> tuple[bool, list[np.ndarray]]:
    """Return whether a column is of numbers, and its ranks among the first table's, or its codes."""
    if not column.is_number:
        return False, list(column.values)
    ordered = np.sort(column.values[0][~np.isnan(column.values[0])])
    n = max(len(ordered), 1)
    sides: list[Any] = ["left", "right"]
    ranks = [sum(np.searchsorted(ordered, v, side) for side in sides) / (2 * n) for v in column.values]
    return True, [np.where(np.isnan(v), _MISSING, r) for v, r in zip(column.values, ranks)]


def _nearest(columns: list[tuple[bool, list[np.ndarray]]], table: int) -> Iterator[float]:
    """Yield the distance of each row of a table to the nearest row of the first."""
    n_rows, n_train = (len(columns[0][1][t]) for t in (table, 0))
    step = max(1, _CELLS // n_train)
    for start in range(0, n_rows, step):
        total = np.zeros((min(step, n_rows - start), n_train), dtype=np.float32)
        for is_number, values in columns:
            rows, train = values[table][start : start + step, None], values[0]
            if is_number:
                total += np.minimum(np.abs(rows.astype(np.float32) - train.astype(np.float32)), 1)
            else:
                total += rows != train
        yield from total.min(axis=1) / len(columns)
