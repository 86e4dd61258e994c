"""Matplotlib, axes and panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SMALL = "small"  # font size of labels beside many panels
NARROW = 5.0  # inches, below which panels and legends go below each other


def import_pyplot(caller: str) -> Any:
    """Import pyplot, or raise an ImportError that names the extra."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib: pip install 'skswae[plot]' has it. ({error})"
        ) from error
    return matplotlib.pyplot


def get_axes(ax: Any, caller: str, height: float | None = None) -> Any:
    """Return the axes given, or those of a new figure of that height; None is matplotlib's default."""
    plt = import_pyplot(caller)
    if ax is None:
        width, default = plt.rcParams["figure.figsize"]
        return plt.subplots(figsize=(width, height or default), layout="constrained")[1]
    if not isinstance(ax, plt.Axes):
        raise ValueError(f"The 'ax' argument must be None or an Axes of matplotlib. Got {ax!r} instead.")
    return ax


def panels(ax: Any, n_rows: int, n_columns: int, width_ratios: Any = None, **options: Any) -> np.ndarray:
    """Divide the place of the axes, which are switched off, into panels: (n_rows, n_columns)."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "The 'ax' argument must be part of a grid, such as plt.subplots makes, to be divided. "
            f"Got axes at {ax.get_position().bounds} instead."
        )
    ax.set_axis_off()
    return place.subgridspec(n_rows, n_columns, width_ratios=width_ratios).subplots(squeeze=False, **options)


def width_in_inches(ax: Any) -> float:
    """Return about how wide the axes are, before labels take their part."""
    return ax.figure.get_size_inches()[0] * ax.get_position().width


def name_columns(ax: Any, names: Sequence[str], width: float) -> None:
    """Write the names of columns below the axes, as many as there is room for."""
    step = max(1, int(np.ceil(len(names) * 0.16 / max(width, 0.5))))
    shown = range(0, len(names), step)
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    if len(set(short)) < len(set(names)):  # the ends may tell them apart
        short = [name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}" for name in names]
    turned = 90 if max(map(len, short)) > 2 else 0
    ax.set_xticks(shown, [short[i] for i in shown], rotation=turned, fontsize=SMALL)


def legend_above(ax: Any, n_columns: int, title: str | None = None, above: float = 0.2) -> None:
    """Write the legend above the axes, where it hides nothing, so many lines of its text higher."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=n_columns,
        frameon=False,
        fontsize=SMALL,
        title=title,
        title_fontsize=SMALL,
        alignment="left",
        borderaxespad=above,
        borderpad=0.1,
        columnspacing=1.0,
        handlelength=1.2,
    )


def look(defaults: dict[str, Any], given: dict[str, Any] | None, artist: Any) -> dict[str, Any]:
    """Return the arguments of matplotlib by default and as given, by whichever of their names.

    A colour that is given takes the place of colours by value.
    """
    from matplotlib.cbook import normalize_kwargs

    defaults, given = normalize_kwargs(defaults, artist), normalize_kwargs(given or {}, artist)
    if "c" in given or "color" in given:
        defaults = {name: value for name, value in defaults.items() if name not in ("c", "color", "cmap")}
    return {**defaults, **given}


def map_aspect(ax: Any, points: np.ndarray) -> None:
    """Draw both coordinates in one unit, unless one spreads much more than the other."""
    across, up = np.ptp(points, axis=0)
    if across < 4 * up and up < 4 * across:
        ax.set_aspect("equal", adjustable="box")


def colorbar_beside(ax: Any, drawn: Any, label: str) -> None:
    """Draw a colour bar as high as the axes, which their aspect may make smaller than their place."""
    ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.05, 1)), label=label)


def outlined() -> dict[str, Any]:
    """Return the look of points whose colours may be as dark or light as the background."""
    return {"edgecolors": line_color(), "linewidths": 0.4}


def line_color() -> Any:
    """Return the colour of axes, which is seen on a light and on a dark background."""
    from matplotlib import rcParams

    return rcParams["axes.edgecolor"]
