"""Rows as images, curves, heat maps or bars: what the Displays of rows share."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skswae.inspection import _drawing
from skswae.metrics._checks import check_rows

KINDS = ("image", "curve", "heatmap", "bar")
MOST_BARS, MOST_CELLS = 16, 64
N_COLUMNS = 10  # images beside each other

Bands = dict[str, np.ndarray]  # label, rows (n, d)


class RowsDisplay(abc.ABC):
    """A Display of several sets of equally many rows, which belong together one by one."""

    X: np.ndarray
    image_shape: tuple[int, ...] | None
    feature_names: Sequence[str] | None
    _one = "row"  # what the rows are called
    _faint: str | None = None  # the set that is drawn behind the others, where they overlap

    @abc.abstractmethod
    def _bands(self) -> Bands:
        """Return the sets of rows by their labels."""

    def _reference(self) -> np.ndarray:
        """Return the rows whose range, means and deviations the colours and bars have."""
        return self.X

    def _residuals(self) -> np.ndarray | None:
        """Return differences of rows, to be drawn around 0."""
        return None

    def plot(self, ax=None, *, n_rows=None, kind="auto", cmap=None):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a new figure, whose height suits the rows. Curves and bars divide the axes' place into
            panels.
        n_rows : int or None, default=None
            How many of the rows to draw, from the first one on. None: up to 10, of curves and bars up to 4.
        kind : {"auto", "image", "curve", "heatmap", "bar"}, default="auto"
            See :mod:`skswae.inspection`.
        cmap : str, Colormap or None, default=None
            Colours of grey images or of a heat map. None: grey and "coolwarm". Residuals have "coolwarm".

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
        bands, residuals = self._bands(), self._residuals()
        n, d = next(iter(bands.values())).shape
        shape = check_image_shape(self.image_shape, d)
        self.kind_ = resolve_kind(kind, d, shape)
        if n_rows is None:
            n_rows = self._default_rows(self.kind_)
        elif not isinstance(n_rows, Integral) or isinstance(n_rows, bool) or n_rows < 1:
            raise ValueError(f"The 'n_rows' argument must be None or at least 1. Got {n_rows!r} instead.")
        n = min(n, int(n_rows))
        shown = {label: rows[:n] for label, rows in bands.items()}
        left = None if residuals is None else residuals[:n]
        n_bands = len(bands) + (left is not None)

        caller = f"{type(self).__name__}.plot"
        width = _drawing.import_pyplot(caller).rcParams["figure.figsize"][0]
        height = self._height(self.kind_, n, n_bands, shape, width)
        self.ax_ = _drawing.get_axes(ax, caller, height)
        if self.kind_ == "image":
            reference = self._reference()
            limits = float(reference.min()), float(reference.max())
            draw_images(self.ax_, shown, left, shape, limits, cmap or "gray")
            self.axes_ = np.array([[self.ax_]])
        elif self.kind_ == "curve":
            self.axes_ = self._draw_curves(shown, left)
        else:
            location, scale = units(self._reference())
            standard = {label: (rows - location) / scale for label, rows in shown.items()}
            left = None if left is None else left / scale
            names = column_names(self.feature_names, d)
            if self.kind_ == "heatmap":
                draw_heatmap(self.ax_, standard, left, names, cmap or "coolwarm")
                self.axes_ = np.array([[self.ax_]])
            else:
                self.axes_ = draw_bars(self.ax_, standard, left, names, self._one)
        self.figure_ = self.ax_.figure
        return self

    def _default_rows(self, kind: str) -> int:
        return 10 if kind in ("image", "heatmap") else 4

    def _height(self, kind: str, n: int, n_bands: int, shape: Any, width: float) -> float | None:
        """Return the height in inches of a new figure of that width; None is matplotlib's default."""
        if kind == "image":
            tall, wide = mosaic_size(n, n_bands, shape)
            height = (width - 1.2) * tall / wide + 0.3
        elif kind == "heatmap":
            height = n_bands * max(0.5, 0.14 * n) + 1.2
        else:
            height = 1.1 * n + 1.4
        return min(max(height, 1.0), 20.0)

    def _draw_curves(self, bands: Bands, residuals: np.ndarray | None) -> np.ndarray:
        x = abscissae(self.feature_names)
        return draw_curves(self.ax_, bands, residuals, x, self._one, self._faint)


# ---------------------------------------------------------------------------
# Choices and checks: the kind of picture, image shapes, rows, names, units
# ---------------------------------------------------------------------------


def check_kind(kind: Any) -> None:
    """Raise ValueError unless the kind is one."""
    if not isinstance(kind, str) or kind not in ("auto", *KINDS):
        raise ValueError(f"The 'kind' argument must be 'auto' or one of {KINDS}. Got {kind!r} instead.")


def resolve_kind(kind: str, n_features: int, image_shape: Any) -> str:
    """Return the kind that "auto" means."""
    check_kind(kind)
    if kind == "image" and image_shape is None:
        raise ValueError(
            "The 'image_shape' argument must be (channels, height, width) with kind='image', as the network "
            "has none that suits the rows. Got None instead."
        )
    if kind != "auto":
        return kind
    if image_shape is not None:
        return "image"
    if n_features <= MOST_BARS:
        return "bar"
    return "heatmap" if n_features <= MOST_CELLS else "curve"


def check_image_shape(image_shape: Any, n_features: int) -> tuple[int, int, int] | None:
    """Return (channels, height, width), or None for None."""
    if image_shape is None:
        return None
    sizes: Any = tuple(image_shape) if isinstance(image_shape, tuple | list | np.ndarray) else ()
    whole = all(isinstance(s, Integral) and not isinstance(s, bool) and int(s) > 0 for s in sizes)
    shape = (1, *sizes) if len(sizes) == 2 else sizes
    if not whole or len(shape) != 3 or shape[0] not in (1, 3) or math.prod(shape) != n_features:
        raise ValueError(
            "The 'image_shape' argument must be None, (height, width) or (channels, height, width) with "
            f"1 or 3 channels, and multiply to the rows' {n_features} features. Got {image_shape!r} instead."
        )
    return shape


def checked_rows(
    rows: Any, name: str, like: np.ndarray | None = None, n_features: int | None = None
) -> np.ndarray:
    """Return rows in float64, of the shape of others or of so many features."""
    found = check_rows(rows, name, n_features=n_features)
    if like is not None and found.shape != like.shape:
        raise ValueError(
            f"The {name!r} argument must have the shape {like.shape}. Got {found.shape} instead."
        )
    return found


def check_sample_kwargs(sample_kwargs: Any) -> dict[str, Any]:
    """Return further arguments of ``sample``, of which two have arguments of their own."""
    if {"n_samples", "random_state"} & set(sample_kwargs or {}):
        raise ValueError(
            "The 'sample_kwargs' argument must leave n_samples and random_state to the arguments of "
            f"these names. Got {sample_kwargs!r} instead."
        )
    return sample_kwargs or {}


def names_of(X: Any, estimator: Any = None) -> list[str] | None:
    """Return the names of the columns of a frame, or those that the estimator has seen."""
    names = getattr(X, "columns", None)
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def column_names(names: Sequence[str] | None, n_features: int) -> list[str]:
    """Return the names, or the numbers of the columns."""
    return [str(i) for i in range(n_features)] if names is None else list(names)


def abscissae(names: Sequence[str] | None) -> np.ndarray | None:
    """Return the names as numbers, if they are numbers that ascend."""
    try:
        found = np.array([float(name) for name in names or ()])
    except ValueError:
        return None
    return found if len(found) > 1 and np.isfinite(found).all() and (np.diff(found) > 0).all() else None


def units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the columns, 1 where they are constant."""
    scale = rows.std(axis=0)
    scale[np.ptp(rows, axis=0) == 0] = 1.0
    return rows.mean(axis=0), scale


# ---------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------


def _gap(shape: Any) -> int:
    """Return how many pixels there are between images."""
    return max(1, round(shape[1] / 12))


def _layout(n: int, shape: Any) -> tuple[int, int, int]:
    """Return images in a line, groups of lines, and pixels between groups."""
    return min(n, N_COLUMNS), -(-n // N_COLUMNS), max(2, shape[1] // 3)


def mosaic_size(n: int, n_bands: int, shape: Any) -> tuple[int, int]:
    """Return height and width of the whole in pixels of the images."""
    (n_beside, n_groups, between), gap = _layout(n, shape), _gap(shape)
    return n_groups * (n_bands * (shape[1] + gap) + between) - between - gap, n_beside * (
        shape[2] + gap
    ) - gap


def line_of_images(rows: np.ndarray, shape: Any) -> np.ndarray:
    """Return images beside each other, with NaN right of and below each: (height, width, channels)."""
    gap = _gap(shape)
    sides = ((0, 0), (0, 0), (0, gap), (0, gap))
    images = np.pad(rows.reshape(-1, *shape), sides, constant_values=np.nan)  # (n, c, h, w)
    return np.concatenate(images.transpose(0, 2, 3, 1), axis=1)


def show_image(ax: Any, picture: np.ndarray, low: float, high: float, cmap: Any, **options: Any) -> None:
    """Draw a grey or coloured image, of which NaN is transparent."""
    if picture.shape[2] == 1:
        ax.imshow(picture[..., 0], cmap=cmap, vmin=low, vmax=high, **options)
        return
    there = np.isfinite(picture[..., :1])
    colored = np.where(there, np.clip((picture - low) / (high - low), 0, 1), 0)
    ax.imshow(np.concatenate([colored, there], axis=2), **options)


def draw_images(
    ax: Any, bands: Bands, residuals: Any, shape: Any, limits: tuple[float, float], cmap: Any
) -> None:
    """Draw each band as lines of images, the bands of the same rows below each other."""
    n, n_bands = len(next(iter(bands.values()))), len(bands) + (residuals is not None)
    _, n_groups, between = _layout(n, shape)
    low, high = limits if limits[0] < limits[1] else (limits[0], limits[0] + 1.0)
    largest = 1.0 if residuals is None else float(np.abs(residuals).max()) or 1.0
    layers = [(label, rows, low, high, cmap) for label, rows in bands.items()]
    if residuals is not None:
        layers.append((f"residual\n±{largest:.2g}", residuals, -largest, largest, "coolwarm"))
    ticks, labels, top = [], [], 0
    for group in range(n_groups):
        for label, rows, least, most, colors in layers:
            picture = line_of_images(rows[group * N_COLUMNS : (group + 1) * N_COLUMNS], shape)
            tall, wide, _ = picture.shape
            show_image(ax, picture, least, most, colors, extent=(0, wide, top + tall, top))
            ticks.append(top + shape[1] / 2)
            labels.append(label)
            top += tall
        top += between
    tall, wide = mosaic_size(n, n_bands, shape)
    ax.set(xlim=(0, wide), ylim=(tall, 0), xticks=[])
    ax.set_yticks(ticks, labels, fontsize=_drawing.SMALL)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_facecolor("none")


# ---------------------------------------------------------------------------
# Tables and curves
# ---------------------------------------------------------------------------


def draw_heatmap(ax: Any, bands: Bands, residuals: Any, names: Sequence[str], cmap: Any) -> None:
    """Draw each band as a block of coloured cells, a line each row."""
    n, d = next(iter(bands.values())).shape
    layers = bands if residuals is None else {**bands, "residual": residuals}
    sizes = np.abs(np.concatenate(list(layers.values())))
    most = max(1.0, float(np.quantile(sizes, 0.99)))  # a single cell must not pale the others
    gap = max(0.5, n / 10)
    ticks = []
    for i, rows in enumerate(layers.values()):
        top = i * (n + gap)
        shown = ax.imshow(
            rows, cmap=cmap, vmin=-most, vmax=most, aspect="auto", extent=(-0.5, d - 0.5, top + n, top)
        )
        ticks.append(top + n / 2)
    ax.set(xlim=(-0.5, d - 0.5), ylim=(top + n, 0))
    ax.set_yticks(ticks, list(layers), fontsize=_drawing.SMALL)
    _drawing.name_columns(ax, names, 0.7 * _drawing.width_in_inches(ax))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_facecolor("none")
    beyond = "both" if sizes.max() > most else "neither"
    ax.figure.colorbar(shown, ax=ax, label="standard deviations", extend=beyond)


def _row_panels(ax: Any, n: int, residuals: Any, one: str) -> np.ndarray:
    """Return a panel for each row, and one for its residual."""
    found = _drawing.panels(ax, n, 1 if residuals is None else 2, sharex=True)
    for i, panel in enumerate(found[:, 0]):
        panel.set_ylabel(f"{one} {i}", fontsize=_drawing.SMALL)
    for panel in found.ravel():
        panel.tick_params(labelsize=_drawing.SMALL)
        panel.spines[["top", "right"]].set_visible(False)
    if residuals is not None:
        most = 1.05 * float(np.abs(residuals).max()) or 1.0
        for panel in found[:, 1]:
            panel.set_ylim(-most, most)
            panel.axhline(0, color=_drawing.line_color(), linewidth=0.6)
    return found


def draw_curves(
    ax: Any, bands: Bands, residuals: Any, x: np.ndarray | None, one: str, faint: str | None
) -> np.ndarray:
    """Draw a panel each row with a line each band, and the residual beside it."""
    n, d = next(iter(bands.values())).shape
    x = np.arange(d) if x is None else x
    found = _row_panels(ax, n, residuals, one)
    for i in range(n):
        for j, (label, rows) in enumerate(bands.items()):
            look = {"zorder": 1.5, "alpha": 0.5} if label == faint else {}
            found[i, 0].plot(x, rows[i], color=f"C{j}", linewidth=1.0, label=label, **look)
        if residuals is not None:
            found[i, 1].plot(x, residuals[i], color=f"C{len(bands)}", linewidth=0.8, label="residual")
    for panel in found[0]:
        _drawing.legend_above(panel, len(bands))
    return found


def draw_bars(ax: Any, bands: Bands, residuals: Any, names: Sequence[str], one: str) -> np.ndarray:
    """Draw a panel each row with a bar each band and column, and the residual beside it."""
    n, d = next(iter(bands.values())).shape
    found = _row_panels(ax, n, residuals, one)
    width = 0.8 / len(bands)
    for i in range(n):
        for j, (label, rows) in enumerate(bands.items()):
            x = np.arange(d) + (j - (len(bands) - 1) / 2) * width
            found[i, 0].bar(x, rows[i], width, color=f"C{j}", label=label)
        found[i, 0].axhline(0, color=_drawing.line_color(), linewidth=0.6)
        if residuals is not None:
            found[i, 1].bar(np.arange(d), residuals[i], 0.8, color=f"C{len(bands)}", label="residual")
    for panel in found[0]:
        _drawing.legend_above(panel, len(bands), "standard deviations")
    for panel in found[-1]:
        _drawing.name_columns(panel, names, 0.8 * _drawing.width_in_inches(ax) / found.shape[1])
    return found
