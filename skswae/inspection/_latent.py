"""A map of codes."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.decomposition import PCA

from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted

MOST_CLASSES = 20  # numbers of more different values are a scale


class LatentDisplay:
    """A map of codes, coloured by y, over what the decoder makes of the plane.

    Make one with :meth:`from_estimator` or :meth:`from_arrays`; the parameters become attributes.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_components)
        Codes.
    points : ndarray of shape (n_samples, 2)
        Where they are drawn.
    axis_names : tuple of str
        What the two axes are.
    y : ndarray of shape (n_samples,) or None, default=None
        Classes or numbers. Booleans, words, and whole numbers of up to 20 different values are classes with a
        legend; other numbers have a colour bar. ``y.astype(str)`` makes classes of any numbers.
    grid : ndarray of shape (n_grid**2, 2) or None, default=None
        Codes on a grid, line by line from the lower left.
    X_grid : ndarray of shape (n_grid**2, n_features) or None, default=None
        What they decode to.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of rows that are images, flattened channel first. Other rows of the grid are
        drawn as lines, in the order of their columns and of the height of their cell.

    Attributes
    ----------
    points_ : matplotlib PathCollection or list of them
        The points, or those of each class.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> from skswae.inspection import LatentDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> ae = AETransformer(2, max_iter=2, random_state=0).fit(X[:200])
    >>> display = LatentDisplay.from_estimator(ae, X[:200], y[:200], n_grid=8, image_shape=(8, 8))
    >>> display.X_grid.shape
    (64, 64)
    """

    def __init__(self, *, Z, points, axis_names, y=None, grid=None, X_grid=None, image_shape=None):
        self.Z = Z
        self.points = points
        self.axis_names = axis_names
        self.y = y
        self.grid = grid
        self.X_grid = X_grid
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        projection=None,
        n_grid=None,
        step=None,
        image_shape=None,
        ax=None,
        scatter_kwargs=None,
    ):
        """Encode rows and draw their codes.

        Parameters
        ----------
        estimator : object
            Fitted, or a Pipeline; see :mod:`skswae.inspection`.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or None, default=None
            Classes or numbers to colour by.
        projection : transformer or None, default=None
            What makes two coordinates of a code, such as ``TSNE(random_state=0)`` or ``umap.UMAP()``: its
            ``fit_transform`` is called, of a clone. None: two components as they are, one against its rank,
            and PCA for more.
        n_grid : int or None, default=None
            Draw n_grid x n_grid decoded codes behind the points, over the part of the plane where the codes
            are. Of codes with two components, without a projection.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of decoded images, with ``n_grid``. None: the
            network's, if it has one.
        ax, scatter_kwargs : optional
            As of :meth:`plot`.

        Returns
        -------
        display : LatentDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        needs = ("transform",) if n_grid is None else ("transform", "inverse_transform")
        fitted = Fitted(estimator, step, needs)
        if n_grid is None and image_shape is not None:
            raise ValueError(
                "The 'image_shape' argument must be None unless n_grid asks for decoded images. "
                f"Got {image_shape!r} instead."
            )
        display = cls._checked(fitted.encode(X), y, projection)
        if n_grid is not None:
            if not isinstance(n_grid, Integral) or isinstance(n_grid, bool) or n_grid < 2:
                raise ValueError(
                    f"The 'n_grid' argument must be None or an integer of at least 2. Got {n_grid!r} instead."
                )
            if display.Z.shape[1] != 2 or projection is not None:
                raise ValueError(
                    "The 'n_grid' argument must be None unless the codes have two components and no "
                    f"projection. Got {n_grid!r} with {display.Z.shape[1]} components instead."
                )
            display.grid = grid(display.Z, int(n_grid))
            display.X_grid = fitted.decode(display.grid)
            display.image_shape = fitted.image_shape(display.X_grid.shape[1], image_shape)
        return display.plot(ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_arrays(cls, Z, y=None, *, projection=None, ax=None, scatter_kwargs=None):
        """Draw codes that are there.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes.
        y : array-like of shape (n_samples,) or None, default=None
            Classes or numbers to colour by.
        projection : transformer or None, default=None
            As of :meth:`from_estimator`.
        ax, scatter_kwargs : optional
            As of :meth:`plot`.

        Returns
        -------
        display : LatentDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        return cls._checked(Z, y, projection).plot(ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def _checked(cls, Z: Any, y: Any, projection: Any) -> Any:
        Z = _rows.checked_rows(Z, "Z")
        if y is not None:
            y = np.asarray(y)
            if y.shape != (len(Z),):
                raise ValueError(f"The 'y' argument must have the shape {(len(Z),)}. Got {y.shape} instead.")
            if y.dtype.kind == "f" and not np.isfinite(y).all():
                raise ValueError("The 'y' argument must hold finite numbers, or words. Got NaN or infinity.")
        points, names = project(Z, projection)
        return cls(Z=Z, points=points, axis_names=names, y=y)

    def plot(self, ax=None, *, cmap=None, scatter_kwargs=None):
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a new figure.
        cmap : str, Colormap or None, default=None
            Colours of classes or numbers. None: "tab10" for up to 10 classes, "tab20" for up to 20, "turbo"
            for more, and "viridis" for numbers.
        scatter_kwargs : dict or None, default=None
            Arguments of matplotlib's ``scatter``.

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
        shape = None
        if self.X_grid is not None:
            shape = _rows.check_image_shape(self.image_shape, self.X_grid.shape[1])
        self.ax_ = _drawing.get_axes(ax, f"{type(self).__name__}.plot")
        from matplotlib.collections import PathCollection

        self.figure_ = self.ax_.figure
        if self.X_grid is not None:
            self._draw_grid(shape)
        base: dict[str, Any] = {"s": float(np.clip(6000 / len(self.points), 4, 24)), "linewidths": 0}
        if self.y is not None and not is_classes(self.y):
            base |= _drawing.outlined()
        if self.X_grid is not None:  # seen on any image
            base |= {"s": 2 * base["s"], "edgecolors": "white", "linewidths": 0.4}
        if self.y is None or not is_classes(self.y):
            colors = {"color": "C0"} if self.y is None else {"c": self.y, "cmap": cmap or "viridis"}
            look = _drawing.look({**colors, **base}, scatter_kwargs, PathCollection)
            self.points_: Any = self.ax_.scatter(*self.points.T, **look)
            if self.points_.get_array() is not None:
                _drawing.colorbar_beside(self.ax_, self.points_, "y")
        else:
            self._draw_classes(base, scatter_kwargs, cmap)
        self.ax_.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        if self.Z.shape[1] > 1:
            _drawing.map_aspect(self.ax_, self.points)
        return self

    def _draw_classes(self, base: dict[str, Any], given: dict[str, Any] | None, cmap: Any) -> None:
        from matplotlib import colormaps
        from matplotlib.collections import PathCollection

        y = self.y.astype(str) if self.y.dtype == object else self.y
        classes = np.unique(y)
        n = len(classes)
        chosen = colormaps.get_cmap(cmap or ("tab10" if n <= 10 else "tab20" if n <= 20 else "turbo"))
        few = chosen.N <= MOST_CLASSES  # a list of colours, not a scale
        self.points_ = []
        for i, c in enumerate(classes):
            color = chosen(i % chosen.N if few else i / max(1, n - 1))
            look = _drawing.look({"color": [color], "label": str(c), **base}, given, PathCollection)
            self.points_.append(self.ax_.scatter(*self.points[y == c].T, **look))
        legend = self.ax_.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            ncols=-(-n // 15),
            fontsize=_drawing.SMALL,
            frameon=False,
            handletextpad=0.2,
            columnspacing=0.8,
        )
        for handle in legend.legend_handles:
            handle.set_sizes([24])

    def _draw_grid(self, shape: Any) -> None:
        n = round(len(self.grid) ** 0.5)
        across, up = np.unique(self.grid[:, 0]), np.unique(self.grid[:, 1])
        width, height = across[1] - across[0], up[1] - up[0]
        if shape is None:
            self._draw_lines(width, height)
            return
        low, high = self.X_grid.min(), self.X_grid.max()
        scaled = (self.X_grid - low) / ((high - low) or 1.0)
        lines = [_rows.line_of_images(line, shape) for line in scaled.reshape(n, n, -1)[::-1]]
        whole = np.concatenate(lines)  # the lowest line is the last
        extent = (
            across[0] - width / 2,
            across[-1] + width / 2,
            up[0] - height / 2,
            up[-1] + height / 2,
        )
        _rows.show_image(self.ax_, whole, 0.0, 1.0, "gray", extent=extent, alpha=0.75, aspect="auto")

    def _draw_lines(self, width: float, height: float) -> None:
        from matplotlib.collections import LineCollection

        rows = self.X_grid
        low, high = rows.min(axis=0), rows.max(axis=0)
        if rows.shape[1] > _rows.MOST_CELLS:  # curves, whose columns have one unit
            low, high = low.min(), high.max()
        share = (rows - low) / np.where(high > low, high - low, 1.0) - 0.5
        x = np.linspace(-0.4, 0.4, rows.shape[1]) * width + self.grid[:, :1]
        lines = np.stack([x, self.grid[:, 1:] + 0.8 * height * share], axis=2)  # (n_grid**2, d, 2)
        color = _drawing.line_color()
        self.ax_.add_collection(LineCollection(list(lines), colors=color, linewidths=0.6, alpha=0.6))


def project(Z: np.ndarray, projection: Any = None) -> tuple[np.ndarray, tuple[str, str]]:
    """Return two coordinates a code, and what they are."""
    if projection is not None:
        if isinstance(projection, type) or not hasattr(projection, "fit_transform"):
            raise ValueError(
                "The 'projection' argument must be None or a transformer with fit_transform, such as "
                f"TSNE(). Got {projection!r} instead."
            )
        points = np.asarray(clone(projection).fit_transform(Z), dtype=np.float64)
        if points.shape != (len(Z), 2):
            raise ValueError(
                f"The 'projection' argument must make two coordinates of a code, {(len(Z), 2)} in all. "
                f"Got {points.shape} of {projection!r} instead."
            )
        name = type(projection).__name__
        return points, (f"{name} 0", f"{name} 1")
    if Z.shape[1] == 1:  # one number: the share of codes up to it, as the second
        return np.column_stack([Z, rankdata(Z, method="ordinal") / len(Z)]), ("code 0", "share of codes")
    if Z.shape[1] == 2:
        return Z, ("code 0", "code 1")
    if len(Z) < 2:
        raise ValueError(
            "The 'projection' argument must be a transformer for a single code, of which there are no "
            f"principal components. Got {projection!r} instead."
        )
    with np.errstate(invalid="ignore"):  # codes that are all equal
        pca = PCA(2, svd_solver="full").fit(Z)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    first, second = (f"PC {i} of codes ({share:.0%})" for i, share in enumerate(shares))
    return pca.transform(Z), (first, second)


def grid(Z: np.ndarray, n: int) -> np.ndarray:
    """Return codes on a grid whose cells cover the codes: (n**2, 2), the first component fastest."""
    low, high = Z.min(axis=0), Z.max(axis=0)
    size = np.where(high > low, high - low, 1.0)
    sides = low + size * (np.arange(n)[:, None] + 0.5) / n  # (n, 2)
    first, second = np.meshgrid(*sides.T)
    return np.column_stack([first.ravel(), second.ravel()])


def is_classes(y: np.ndarray) -> bool:
    """Tell whether y is classes rather than numbers on a scale."""
    if y.dtype.kind not in "iuf":
        return True
    return len(np.unique(y)) <= MOST_CLASSES and bool((y == np.floor(y)).all())
