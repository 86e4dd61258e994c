"""Figure 1 of the SWAE paper: whether rows that are close are close in the codes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import rankdata

from skswae.inspection import _drawing, _rows
from skswae.inspection._latent import project
from skswae.inspection._steps import Fitted
from skswae.metrics import rank_agreement


class NeighborhoodDisplay:
    """The order of rows by their distance from one of them, in the data and in the codes.

    Figure 1 of the SWAE paper: a map of the codes, coloured by the place of each row in the data, where the
    target has 0 and the furthest row the last place; beside it those places against the places in the
    codes. Codes that keep the order lie on the diagonal. Make one with :meth:`from_estimator` or
    :meth:`from_arrays`; the parameters become attributes.

    Parameters
    ----------
    data_order, code_order : ndarray of int of shape (n_samples,)
        Place of each row by its Euclidean distance from the target; equally distant rows as they come.
    points : ndarray of shape (n_samples, 2)
        The map: codes of two components, the first two principal components of more, or a single one against
        its rank.
    axis_names : tuple of str
        What the two axes of the map are.
    target : int
        Index of the target.
    rank_agreement : float
        Spearman's correlation of both distances, :func:`skswae.metrics.rank_agreement`.
    name : str or None, default=None
        Name of the model, for the title.

    Attributes
    ----------
    points_, order_points_ : matplotlib PathCollection or None
        The points of the map and of the order, or None if they are not drawn.
    ax_ : matplotlib Axes
        The axes, or the place of the panels.
    axes_ : ndarray of Axes
        The panels: for "both" (1, 2), or (2, 1) in a narrow place; else (1, 1).
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skswae import SWAETransformer
    >>> from skswae.datasets import make_gmm
    >>> from skswae.inspection import NeighborhoodDisplay
    >>> X, _ = make_gmm(300, random_state=0)
    >>> swae = SWAETransformer(2, max_iter=3, random_state=0).fit(X[:200])
    >>> display = NeighborhoodDisplay.from_estimator(swae, X[200:])
    >>> int(display.data_order[display.target])
    0
    """

    def __init__(self, *, data_order, code_order, points, axis_names, target, rank_agreement, name=None):
        self.data_order = data_order
        self.code_order = code_order
        self.points = points
        self.axis_names = axis_names
        self.target = target
        self.rank_agreement = rank_agreement
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X, *, target=0, step=None, kind="both", ax=None):
        """Compare the distances of rows and of their codes.

        Parameters
        ----------
        estimator : object
            Fitted, or a Pipeline; see :mod:`skswae.inspection`.
        X : array-like of shape (n_samples, n_features)
            At least 3 rows; the paper has 100 that were held out. In a pipeline their distances are those of
            the rows as the model gets them.
        target : int, default=0
            Index of the row from which distances are taken.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        kind, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : NeighborhoodDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        fitted = Fitted(estimator, step, ("transform",))
        inputs = fitted.inputs(X)
        Z = np.asarray(fitted.model.transform(inputs))
        return cls.from_arrays(inputs, Z, target=target, name=fitted.name, kind=kind, ax=ax)

    @classmethod
    def from_arrays(cls, X, Z, *, target=0, name=None, kind="both", ax=None):
        """Compare the distances of rows and codes that are there.

        Parameters
        ----------
        X, Z : array-like of shape (n_samples, n_features) and (n_samples, n_components)
            At least 3 rows, and their codes in the same order.
        target : int, default=0
            Index of the row from which distances are taken.
        name : str or None, default=None
            Name of the model, for the title.
        kind, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : NeighborhoodDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        rows, codes = _rows.checked_rows(X, "X"), _rows.checked_rows(Z, "Z")
        if len(rows) < 3 or len(rows) != len(codes):
            raise ValueError(
                "The 'X' and 'Z' arguments must have equally many rows, at least 3. Got "
                f"{len(rows)} and {len(codes)} instead."
            )
        index = int(target) if isinstance(target, Integral) and not isinstance(target, bool) else -1
        if not 0 <= index < len(rows):
            raise ValueError(
                f"The 'target' argument must be the index of a row, from 0 to {len(rows) - 1}. "
                f"Got {target!r} instead."
            )
        points, names = project(codes)
        return cls(
            data_order=places(rows, index),
            code_order=places(codes, index),
            points=points,
            axis_names=names,
            target=index,
            rank_agreement=rank_agreement(rows, codes, targets=[index]),
            name=name,
        ).plot(ax, kind=kind)

    def plot(self, ax=None, *, kind="both", scatter_kwargs=None):
        """Draw the map, the order or both.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a new figure. "both" divides the axes' place into panels.
        kind : {"both", "map", "order"}, default="both"
            The map of codes, the places in the data and in the codes, or both beside each other.
        scatter_kwargs : dict or None, default=None
            Arguments of matplotlib's ``scatter`` for the points of both.

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
        if not isinstance(kind, str) or kind not in ("both", "map", "order"):
            raise ValueError(f"The 'kind' argument must be 'both', 'map' or 'order'. Got {kind!r} instead.")
        caller = f"{type(self).__name__}.plot"
        width = _drawing.import_pyplot(caller).rcParams["figure.figsize"][0]
        height = 1.7 * width if width < _drawing.NARROW else 0.5 * width
        self.ax_ = _drawing.get_axes(ax, caller, height if kind == "both" else None)
        self.figure_ = self.ax_.figure
        self.points_ = self.order_points_ = None
        drawn = ("map", "order") if kind == "both" else (kind,)
        self.axes_ = np.array([[self.ax_]])
        if kind == "both":
            stacked = _drawing.width_in_inches(self.ax_) < 0.75 * _drawing.NARROW
            self.axes_ = _drawing.panels(self.ax_, *((2, 1) if stacked else (1, 2)))
        draw = {"map": self._draw_map, "order": self._draw_order}
        for panel, part in zip(self.axes_.ravel(), drawn):
            draw[part](panel, scatter_kwargs)
        return self

    @staticmethod
    def _scatter(panel: Any, points: np.ndarray, look: dict[str, Any], given: Any) -> Any:
        from matplotlib.collections import PathCollection

        return panel.scatter(*points.T, **_drawing.look(look, given, PathCollection))

    def _draw_map(self, panel: Any, given: dict[str, Any] | None) -> None:
        look = {"s": 16, "c": self.data_order, "cmap": "viridis", **_drawing.outlined()}
        self.points_ = self._scatter(panel, self.points, look, given)
        panel.plot(*self.points[self.target], marker="X", color="red", markeredgecolor="white", markersize=10)
        panel.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1], title=self.name or "codes")
        _drawing.map_aspect(panel, self.points)
        if self.points_.get_array() is not None:
            _drawing.colorbar_beside(panel, self.points_, "place in the data")

    def _draw_order(self, panel: Any, given: dict[str, Any] | None) -> None:
        last = len(self.data_order) - 1
        panel.plot([0, last], [0, last], color=_drawing.line_color(), linewidth=0.8, alpha=0.6)
        places = np.column_stack([self.data_order, self.code_order])
        self.order_points_ = self._scatter(panel, places, {"s": 16, "color": "C0"}, given)
        panel.set(
            xlabel="place in the data",
            ylabel="place in the codes",
            title=f"rank agreement {self.rank_agreement:.2f}",
            aspect="equal",
        )


def places(A: np.ndarray, target: int) -> np.ndarray:
    """Return the place of each row by its distance from the target, 0 for that itself: (n,)."""
    distances = np.square(A - A[target]).sum(axis=1)
    distances[target] = -1.0
    return rankdata(distances, method="ordinal").astype(int) - 1
