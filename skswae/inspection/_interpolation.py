"""The way from one row to another, through the codes and through the rows."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted


class InterpolationDisplay(_rows.RowsDisplay):
    """The way between two rows: mixtures of the rows themselves, and decoded mixtures of their codes.

    A code that has learned what rows look like leads through rows that might be; mixed rows show both ends
    at once. Make one with :meth:`from_estimator`; the parameters become attributes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows, whose range, means and standard deviations the colours and bars have.
    X_mixed, X_interpolated : ndarray of shape (n_steps, n_features)
        Mixtures of two of them, which come first and last, and decodings of the mixed codes.
    Z : ndarray of shape (n_steps, n_components)
        The mixed codes.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of rows that are images, flattened channel first.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    shares : ndarray of shape (n_steps,)
        Share of the second row in each mixture, from 0 to 1.
    kind_ : {"image", "curve", "heatmap", "bar"}
        How the rows were drawn.
    ax_ : matplotlib Axes
        The axes, or the place of the panels.
    axes_ : ndarray of Axes
        The panels: of curves (1, 2), mixed rows and decoded codes; of bars (n_steps, 1); else (1, 1).
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> from skswae.inspection import InterpolationDisplay
    >>> X = load_digits().data[:200] / 16
    >>> ae = AETransformer(8, max_iter=2, random_state=0).fit(X)
    >>> display = InterpolationDisplay.from_estimator(ae, X, ends=(3, 8), n_steps=5, image_shape=(8, 8))
    >>> display.shares.tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    def __init__(self, *, X, X_mixed, X_interpolated, Z, image_shape=None, feature_names=None):
        self.X = X
        self.X_mixed = X_mixed
        self.X_interpolated = X_interpolated
        self.Z = Z
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        ends=(0, 1),
        n_steps=8,
        step=None,
        image_shape=None,
        kind="auto",
        cmap=None,
        ax=None,
    ):
        """Mix two rows and their codes, and draw the way from the first to the second.

        Parameters
        ----------
        estimator : object
            Fitted, or a Pipeline; see :mod:`skswae.inspection`.
        X : array-like of shape (n_samples, n_features)
            Rows, at least the two. All of them count for the colours of a table's columns.
        ends : tuple of two int, default=(0, 1)
            Indices of the rows to go from and to.
        n_steps : int, default=8
            How many rows to draw, with both ends; at least 2.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of images. None: the network's, if it has one.
        kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        _rows.check_kind(kind)
        fitted = Fitted(estimator, step, ("transform", "inverse_transform"))
        rows = _rows.checked_rows(X, "X")
        chosen = np.asarray(ends)
        if (
            chosen.shape != (2,)
            or chosen.dtype.kind not in "iu"
            or not np.isin(chosen, range(len(rows))).all()
        ):
            raise ValueError(
                f"The 'ends' argument must be two indices of rows, from 0 to {len(rows) - 1}. "
                f"Got {ends!r} instead."
            )
        if not isinstance(n_steps, Integral) or isinstance(n_steps, bool) or n_steps < 2:
            raise ValueError(
                f"The 'n_steps' argument must be an integer of at least 2. Got {n_steps!r} instead."
            )
        share = np.linspace(0.0, 1.0, int(n_steps))[:, None]
        codes = fitted.encode(X)
        first, last = codes[chosen]
        Z = ((1 - share) * first + share * last).astype(codes.dtype, copy=False)
        display = cls(
            X=rows,
            X_mixed=(1 - share) * rows[chosen[0]] + share * rows[chosen[1]],
            X_interpolated=_rows.checked_rows(fitted.decode(Z), "X_interpolated", n_features=rows.shape[1]),
            Z=Z,
            image_shape=fitted.image_shape(rows.shape[1], image_shape),
            feature_names=_rows.names_of(X, estimator),
        )
        return display.plot(ax, kind=kind, cmap=cmap)

    def plot(self, ax=None, *, n_rows=None, kind="auto", cmap=None):
        """Draw the way.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a new figure, whose height suits the rows. Curves and bars divide the axes' place into
            panels.
        n_rows : int or None, default=None
            How many steps to draw, from the first one on. None: all, in lines of 10 images.
        kind : {"auto", "image", "curve", "heatmap", "bar"}, default="auto"
            See :mod:`skswae.inspection`; but "auto" takes a heat map, not bars, for few columns.
        cmap : str, Colormap or None, default=None
            Colours of grey images, of a heat map, or of curves by the share of the second row. None: grey,
            "coolwarm" and "viridis".

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
        if isinstance(kind, str) and kind == "auto" and self.image_shape is None:
            kind = "heatmap" if self.X_mixed.shape[1] <= _rows.MOST_CELLS else "curve"
        self._cmap = cmap or "viridis"
        return super().plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @property
    def shares(self) -> np.ndarray:
        """Share of the second row in each mixture."""
        return np.linspace(0.0, 1.0, len(self.Z))

    _one = "step"

    def _bands(self) -> _rows.Bands:
        return {"rows mixed": self.X_mixed, "codes mixed": self.X_interpolated}

    def _default_rows(self, kind: str) -> int:
        return len(self.Z)

    def _height(self, kind: str, n: int, n_bands: int, shape: Any, width: float) -> float | None:
        return None if kind == "curve" else super()._height(kind, n, n_bands, shape, width)

    def _draw_curves(self, bands: _rows.Bands, residuals: Any) -> np.ndarray:
        from matplotlib.cm import ScalarMappable

        colors = ScalarMappable(cmap=self._cmap)
        colors.set_clim(0.0, 1.0)
        x = _rows.abscissae(self.feature_names)
        found = _drawing.panels(self.ax_, 1, 2, sharex=True, sharey=True)
        for panel, (label, rows) in zip(found[0], bands.items()):
            for share, row in zip(self.shares, rows):
                at = np.arange(len(row)) if x is None else x
                panel.plot(at, row, color=colors.to_rgba(share), linewidth=1.0)
            panel.set_title(label, fontsize="medium")
        self.ax_.figure.colorbar(colors, ax=found[0].tolist(), label="share of the second row")
        return found
