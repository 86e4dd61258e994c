"""The figures of the report: 1 and 3 to 6 of the paper, of the models that run.py has kept of trial 0."""

from __future__ import annotations

import argparse
import io
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import _measures
import _treatments
import joblib
import numpy as np
from _shared import put
from configurations import DATA
from results import Results, data_heading, data_name, heading
from sklearn.manifold import TSNE

from skswae.inspection import LatentDisplay, NeighborhoodDisplay

N_LOCAL = 100  # rows of Figure 1
N_POINTS = 2_000  # of t-SNE
N_IMAGES, N_COLUMNS = 24, 6
MAX_BYTES = 200_000
TITLES = {
    1: f"order of {N_LOCAL} test rows by distance to the first, in the codes (up) and in the rows (right)",
    3: "t-SNE of test rows' codes",
    4: "samples",
    5: "reconstructions of test rows",
    6: "reconstructions of noisy test rows",
}

# ---------------------------------------------------------------------------
# What is drawn
# ---------------------------------------------------------------------------


def projection(Z: np.ndarray) -> TSNE:
    """Return what makes two coordinates of codes, of few or of equal ones too."""
    varied = min(Z.shape) >= 2 and bool(np.ptp(Z, axis=0).any())
    perplexity = min(30.0, max(1.0, (len(Z) - 1) / 3))
    return TSNE(random_state=0, perplexity=perplexity, init="pca" if varied else "random")


def mosaic(X: np.ndarray, shape: Sequence[int], n_columns: int = N_COLUMNS) -> np.ndarray:
    """Return rows, channel first, as images beside and below each other, with white lines between them."""
    c, h, w = shape
    n_rows = -(-len(X) // n_columns)
    canvas = np.ones((n_rows * n_columns, c, h + 1, w + 1))
    canvas[: len(X), :, :h, :w] = np.clip(np.asarray(X, dtype=np.float64), 0, 1).reshape(-1, *shape)
    canvas = canvas.reshape(n_rows, n_columns, c, h + 1, w + 1).transpose(0, 3, 1, 4, 2)
    image = canvas.reshape(n_rows * (h + 1), n_columns * (w + 1), c)[:-1, :-1]
    return image[..., 0] if c == 1 else image


def pictures(number: int, models: dict[str, Any], split: _treatments.Split) -> dict[str, np.ndarray]:
    """Return Figure 4, 5 or 6: a mosaic by heading, for the models that can."""
    assert split.image_shape is not None
    clean = split.X_test[:N_IMAGES]
    found: dict[str, np.ndarray] = {} if number == 4 else {"Test rows": clean}
    if number == 6:
        noise = np.random.default_rng(0).standard_normal(clean.shape).astype(clean.dtype)
        found["With noise"] = clean + clean.dtype.type(_measures.NOISE) * noise
    for model, m in models.items():
        if number == 4:
            if hasattr(m, "sample"):
                found[heading(model)] = m.sample(N_IMAGES, random_state=0)
        elif hasattr(m, "inverse_transform"):
            X = found["With noise" if number == 6 else "Test rows"]
            found[heading(model)] = m.inverse_transform(m.transform(X))
    return {title: mosaic(X, split.image_shape) for title, X in found.items()}


# ---------------------------------------------------------------------------
# Drawing
# ---------------------------------------------------------------------------


def new_figure(n_panels: int, title: str, aspect: float) -> tuple[Any, list[Any]]:
    """Return a figure of matplotlib and its panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit(
            f"--figures needs matplotlib: pip install 'skswae[plot]' has it. ({error})"
        ) from error
    n_columns = min(5, n_panels)
    n_rows = -(-n_panels // n_columns)
    size = (n_columns * 2.2, n_rows * (2.2 * aspect + 0.25) + 0.35)
    figure = Figure(figsize=size, layout="constrained", dpi=100)
    figure.suptitle(title, fontsize=10)
    panels = list(np.ravel(figure.subplots(n_rows, n_columns, squeeze=False)))
    for panel in panels:
        panel.axis("off")
    return figure, panels


def save(figure: Any, path: pathlib.Path) -> None:
    """Write a PNG of at most 256 colours, with fewer dots where it would be large."""
    from PIL import Image

    for dpi in (100, 80, 60, 40):
        drawn, stored = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
        Image.open(drawn).convert("RGB").quantize(256).save(stored, format="png", optimize=True)
        if stored.tell() <= MAX_BYTES:
            break
    put(path, lambda beside: beside.write_bytes(stored.getvalue()))


def draw_orders(path: pathlib.Path, title: str, X: np.ndarray, codes: dict[str, np.ndarray]) -> None:
    """Draw Figure 1: the order of rows by their distance from the first, and that of their codes."""
    figure, panels = new_figure(len(codes), title, 1.0)
    for panel, (model, Z) in zip(panels, codes.items()):
        NeighborhoodDisplay.from_arrays(X, Z, kind="order", ax=panel)
        panel.set_title(heading(model), fontsize=8)
    save(figure, path)


def draw_maps(
    path: pathlib.Path, title: str, codes: dict[str, np.ndarray], labels: np.ndarray | None
) -> None:
    """Draw Figure 3: codes by t-SNE, coloured by their labels."""
    figure, panels = new_figure(len(codes), title, 1.0)
    for panel, (model, Z) in zip(panels, codes.items()):
        look = {"s": 2, "linewidths": 0}
        map_ = LatentDisplay.from_arrays(Z, labels, projection=projection(Z), ax=panel, scatter_kwargs=look)
        panel.set_title(heading(model), fontsize=8)
        if panel.get_legend() is not None:
            panel.get_legend().remove()
    if isinstance(map_.points_, list) and len(map_.points_) <= 20:  # classes: one legend for all
        options = {"loc": "outside right center", "fontsize": 7, "frameon": False}
        figure.legend(handles=map_.points_, markerscale=2.5, **options)
    save(figure, path)


def draw_images(path: pathlib.Path, title: str, found: dict[str, np.ndarray]) -> None:
    """Draw Figure 4, 5 or 6."""
    h, w = next(iter(found.values())).shape[:2]
    figure, panels = new_figure(len(found), title, h / w)
    for panel, (name, image) in zip(panels, found.items()):
        panel.set_title(name, fontsize=8)
        panel.imshow(image, cmap="gray", vmin=0, vmax=1)
    save(figure, path)


# ---------------------------------------------------------------------------
# Kept models
# ---------------------------------------------------------------------------


def load_models(
    folder: pathlib.Path, results: Results, row: tuple[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """Load the kept models of trial 0 in a row, and say why others are not among them."""
    models, messages = {}, []
    good = results.good
    good = good[(good["data"] == row[0]) & (good["n_components"] == row[1]) & (good["trial"] == 0)]
    known = {run.model: run for run in good.itertuples()}
    for run in (known[model] for model in results.models if model in known):
        path = folder / f"{run.key}.joblib"
        try:
            fitted, _, fingerprint = joblib.load(path)
        except FileNotFoundError:
            messages.append(f"{path.name} is not there")
        except Exception as error:  # whatever a file that is cut off, or of other classes, leads to
            messages.append(f"{path.name} cannot be loaded: {type(error).__name__}: {error}")
        else:
            if fingerprint == run.fingerprint:
                models[run.model] = fitted
            else:
                messages.append(f"{path.name} is of another run than {run.key}.json")
    return models, messages


def load_split(name: str, results: Results, options: argparse.Namespace) -> _treatments.Split:
    """Load the rows of trial 0; of a user's own file from where it was, or from where --data says it is."""
    path = name
    if name not in DATA:
        given = [text for text in options.data or () if data_name(text) == name]
        path = given[0] if given else results.runs["path"][results.runs["data"] == name].iloc[0]
        _treatments.own_files[path] = _treatments.read_file(path, options.target)
    return _treatments.load(path, 0, options.data_home)


def draw(
    results: Results, models_folder: pathlib.Path, options: argparse.Namespace
) -> tuple[list[tuple[str, pathlib.Path]], list[str]]:
    """Draw all figures; return their titles and files, and a line for each that could not be drawn.

    They are those of ``options.figure_cells``, or of each data set's largest dim-z that has runs.
    """
    drawn, messages = [], []
    largest = results.good.groupby("data")["n_components"].max()
    rows = options.figure_cells or [(s, largest[s]) for s in dict(results.rows) if s in largest]
    for name, n in rows:
        where = f"{data_heading(name)}, dim-z {n}"
        models, troubles = load_models(models_folder, results, (name, n))
        messages += troubles
        if not models:
            messages.append(f"no figures of {where}: no model of trial 0 is kept")
            continue
        try:
            split = load_split(name, results, options)
        except (OSError, ValueError, ImportError) as error:
            messages.append(f"no figures of {where}: its rows cannot be read: {error}")
            continue
        stem = f"{options.preset}_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}_{n}_figure"
        n_rows = {1: N_LOCAL, 3: N_POINTS}
        for figure, title in TITLES.items():
            full = f"Figure {figure}, {where}: {title}"
            path = options.figures / f"{stem}{figure}.png"
            if figure in n_rows:
                X = np.asarray(split.X_test[: n_rows[figure]], dtype=np.float64)
                codes = {model: np.asarray(m.transform(X), dtype=np.float64) for model, m in models.items()}
            if figure == 1:
                draw_orders(path, full, X, codes)
            elif figure == 3:
                draw_maps(path, full, codes, None if split.y_test is None else split.y_test[:N_POINTS])
            elif split.image_shape is None:
                messages.append(f"no figure {figure} of {where}: its rows are not images")
                continue
            else:
                found = pictures(figure, models, split)
                if not found:
                    messages.append(f"no figure {figure} of {where}: no model can draw it")
                    continue
                draw_images(path, full, found)
            drawn.append((full, path))
    return drawn, messages


def figure_lines(drawn: Sequence[tuple[str, pathlib.Path]], page: pathlib.Path | None) -> list[str]:
    """Return links from the page to the pictures."""
    if not drawn or page is None:
        return []
    lines = [
        "## Figures",
        "",
        "Of trial 0. VAE, VampPrior and MIM: posterior means. Samples: the model's own prior. Grey levels "
        "from 0 (black) to 1 (white).",
        "",
    ]
    for title, path in drawn:
        link = pathlib.Path(os.path.relpath(path, page.parent)).as_posix()
        lines += [f"{title}.", "", f"![{title}]({link})", ""]
    return lines
