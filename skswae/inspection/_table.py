"""The columns of synthetic tables over those of real ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted
from skswae.metrics._tables import similarities
from skswae.metrics._tables_columns import Column, read_tables
from skswae.tabular._frames import UNITS

_ACROSS = 4  # panels in a row
_MOST_BARS = 6
_DAYS_OF_DATES = -719162, 2932896  # since 1970: the years 1 to 9999, which matplotlib knows


class TableDisplay:
    """The distribution of each column in real and in synthetic rows: numbers, categories, times.

    Make one with :meth:`from_estimator` or :meth:`from_frames`; the parameters become attributes.

    Parameters
    ----------
    real, synthetic : dict of str or int to ndarray of shape (n_samples,)
        Values by the names of columns, or by the positions of an array's: float64, NaN where missing;
        datetime64 or timedelta64; or labels as Python objects, None where missing.
    similarity : dict of str or int to float or None, default=None
        Of each column, :func:`skswae.metrics.column_similarity`, written above its panel.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The place of the panels.
    axes_ : dict of str or int to matplotlib Axes
        The panels, by the names of columns.
    figure_ : matplotlib Figure

    See Also
    --------
    skswae.metrics.pair_similarity : How columns go together, which no panel shows.

    Examples
    --------
    >>> import pandas as pd
    >>> from skswae.inspection import TableDisplay
    >>> real = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "sex": ["f", "f", "m", None]})
    >>> synthetic = pd.DataFrame({"size": [3.0, 4.0], "sex": ["f", "m"]})
    >>> display = TableDisplay.from_frames(real, synthetic)
    >>> display.similarity
    {'size': 0.5, 'sex': 0.75}
    """

    def __init__(self, *, real, synthetic, similarity=None):
        self.real = real
        self.synthetic = synthetic
        self.similarity = similarity

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_samples=1000,
        random_state=None,
        sample_kwargs=None,
        step=None,
        categorical_features="from_dtype",
        columns=None,
        n_bins=20,
        ax=None,
    ):
        """Draw samples of a model, and compare their columns with those of rows.

        Parameters
        ----------
        estimator : object
            Fitted, with a method ``sample``, or a Pipeline; see :mod:`skswae.inspection`.
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Real rows, best held-out ones.
        n_samples : int, default=1000
            How many rows to draw.
        random_state : int, RandomState or Generator instance, or None, default=None
            Seed of the samples.
        sample_kwargs : dict or None, default=None
            Further arguments of ``sample``, such as ``{"conditions": {"sex": "female"}}``.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        categorical_features : "from_dtype" or array-like, default="from_dtype"
            Names, positions or a mask of columns that are categories whatever their dtype.
        columns, n_bins, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : TableDisplay

        Raises
        ------
        ValueError, TypeError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        fitted = Fitted(estimator, step, ("sample",))
        further = _rows.check_sample_kwargs(sample_kwargs)
        drawn = fitted.model.sample(n_samples, random_state=random_state, **further)
        synthetic = drawn if fitted.before is None else fitted.outputs(drawn)
        found = read_tables(categorical_features, X=X, samples=synthetic)
        return cls._of(found).plot(ax, columns=columns, n_bins=n_bins)

    @classmethod
    def from_frames(
        cls, real, synthetic, *, categorical_features="from_dtype", columns=None, n_bins=20, ax=None
    ):
        """Compare the columns of two tables that are there.

        Parameters
        ----------
        real, synthetic : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Real rows, best held-out ones, and rows drawn from a model. The columns must be the same.
        categorical_features : "from_dtype" or array-like, default="from_dtype"
            Names, positions or a mask of columns that are categories whatever their dtype.
        columns, n_bins, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : TableDisplay

        Raises
        ------
        ValueError, TypeError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_frames")
        found = read_tables(categorical_features, real=real, synthetic=synthetic)
        return cls._of(found).plot(ax, columns=columns, n_bins=n_bins)

    @classmethod
    def _of(cls, found: list[Column]) -> Any:
        real, synthetic = ({c.name: _values(c, table) for c in found} for table in (0, 1))
        return cls(real=real, synthetic=synthetic, similarity=similarities(found))

    def plot(self, ax=None, *, columns=None, n_bins=20):
        """Draw a panel for each column.

        Numbers and times are histograms between the 1st and the 99th percentile of the real values; what is
        outside counts in the outermost bins. Categories are bars of the 6 most frequent real levels, with all
        others as one. A missing share is a bar of its own, or is written below the numbers, that of the real
        rows first.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes of a grid, to be divided. None makes a new figure.
        columns : sequence of str or int, or None, default=None
            Names of the columns to draw, or positions of an array's. None: the first 16.
        n_bins : int, default=20
            Number of bins of a histogram, at least 2.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        known = list(self.real)
        shown = (
            known[:16] if columns is None else [columns] if isinstance(columns, str | int) else list(columns)
        )
        if not shown or any(name not in known for name in shown) or len(set(shown)) < len(shown):
            raise ValueError(
                f"The 'columns' argument must be None or some of {known}, each once. Got {columns!r} instead."
            )
        if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 2:
            raise ValueError(f"The 'n_bins' argument must be an int of at least 2. Got {n_bins!r} instead.")
        n_rows, n_columns = -(-len(shown) // _ACROSS), min(_ACROSS, len(shown))
        self.ax_ = _drawing.get_axes(ax, f"{type(self).__name__}.plot", height=0.6 + 1.9 * n_rows)
        self.figure_ = self.ax_.figure
        panels = _drawing.panels(self.ax_, n_rows, n_columns)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        self.axes_ = dict(zip(shown, panels.flat))
        for name, panel in self.axes_.items():
            values = self.real[name], self.synthetic[name]
            (_draw_bars if values[0].dtype == object else _draw_histogram)(panel, *values, int(n_bins))
            note = "" if self.similarity is None else f"  {self.similarity[name]:.2f}"
            short = str(name) if len(str(name)) <= 15 else f"{str(name)[:14]}…"
            panel.set_title(f"{short}{note}", fontsize=_drawing.SMALL, loc="left")
            panel.tick_params(labelsize=_drawing.SMALL)
            panel.set_yticks([])
        _drawing.legend_above(panels.flat[0], 2, above=2.2)  # above the titles
        return self


def _values(column: Column, table: int) -> np.ndarray:
    """Return the values of a column of one table, as the Display keeps them."""
    values, missing = column.values[table], column.missing()[table]
    if column.labels is not None:
        labels = np.empty(len(column.labels) + 1, dtype=object)  # the last is that of missing cells
        labels[:-1] = column.labels
        return labels[values]
    if column.kind:
        furthest = max(np.abs(v[~np.isnan(v)]).max(initial=0.0) for v in column.values)
        own = UNITS[column.unit]  # which is too fine if the other table has a longer one and far-out times
        unit = next(u for u, length in UNITS.items() if length >= own and furthest / (length // own) < 2**63)
        found = np.rint(np.where(missing, 0, values) / (UNITS[unit] // own)).astype(np.int64)
        found[missing] = np.iinfo(np.int64).min  # not a time
        return found.view(f"M8[{unit}]" if column.kind == "datetime" else f"m8[{unit}]")
    return values


def _days(times: np.ndarray) -> np.ndarray:
    """Return times as days, which may be more than fit into nanoseconds."""
    a_day = UNITS["D"] / UNITS[np.datetime_data(times.dtype)[0]]
    return np.where(np.isnat(times), np.nan, times.view(np.int64) / a_day)


def _draw_histogram(ax: Any, real: np.ndarray, synthetic: np.ndarray, n_bins: int) -> None:
    """Draw numbers or times: shares of all rows."""
    is_date = real.dtype.kind == "M"
    is_time = real.dtype.kind in "Mm"
    if is_time:
        real, synthetic = map(_days, (real, synthetic))
    there = [v[~np.isnan(v)] for v in (real, synthetic)]
    known = there[0] if len(there[0]) else there[1] if len(there[1]) else np.zeros(1)
    low, high = np.percentile(known, [1, 99])
    edges = np.linspace(low, high, n_bins + 1) if low < high else low + np.array([-0.5, 0.5])
    shares = [
        np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / len(all_rows)
        for v, all_rows in zip(there, (real, synthetic))
    ]
    ax.stairs(shares[0], edges, fill=True, color="C0", alpha=0.5, label="real")
    ax.stairs(shares[1], edges, color="C1", linewidth=1.5, label="synthetic")
    if is_time:
        first, last = _DAYS_OF_DATES
        is_date = is_date and first <= edges[0] and edges[-1] <= last
        ax.set_xlabel("" if is_date else "days", fontsize=_drawing.SMALL)
    gone = [1 - len(v) / len(all_rows) for v, all_rows in zip(there, (real, synthetic))]
    if any(gone):
        ax.set_xlabel(f"missing {gone[0]:.0%}, {gone[1]:.0%}", fontsize=_drawing.SMALL, loc="left")
    if is_date:
        ax.xaxis_date()
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=2, maxticks=4)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        ax.locator_params(axis="x", nbins=4)
        if not 1e-3 <= np.abs(edges).max() < 1e4:  # long ones would run into each other
            ax.xaxis.set_major_formatter(
                lambda value, _: f"{value:.4g}".replace("e+0", "e").replace("e-0", "e-")
            )


def _draw_bars(ax: Any, real: np.ndarray, synthetic: np.ndarray, _: int) -> None:
    """Draw categories: shares of all rows."""
    counts = [Counter(v.tolist()) for v in (real, synthetic)]
    levels = [level for level, _ in counts[0].most_common()] + [c for c in counts[1] if c not in counts[0]]
    levels = [level for level in levels if level is not None]
    shown = levels if len(levels) <= _MOST_BARS + 1 else levels[:_MOST_BARS]
    shares = [[c[level] / len(v) for level in shown] for c, v in zip(counts, (real, synthetic))]
    names = [str(level) for level in shown]
    if len(shown) < len(levels):
        names.append(f"{len(levels) - len(shown)} others")
        for share, c, v in zip(shares, counts, (real, synthetic)):
            share.append(sum(c[level] for level in levels[len(shown) :]) / len(v))
    if any(c[None] for c in counts):
        names.append("missing")
        for share, c, v in zip(shares, counts, (real, synthetic)):
            share.append(c[None] / len(v))
    at = np.arange(len(names))
    ax.bar(at - 0.2, shares[0], 0.4, color="C0", alpha=0.5, label="real")
    ax.bar(at + 0.2, shares[1], 0.4, color="C1", label="synthetic")
    _drawing.name_columns(ax, names, 2.0)  # all of them, which are few
