"""The denoising experiment against the grey levels that binary test rows were drawn from.

    python examples/paper/denoising_grey.py --output docs/results/paper_denoising.md

The errors of report.py are against the drawn zeros and ones, as the paper's: there a model gains by copying
the noise of the draw. Here reconstructions of such rows, with noise and without, are compared with the grey
images. Of the models that run.py has kept, trial 0.
"""

from __future__ import annotations

import pathlib

import _treatments
import joblib
import numpy as np
from _measures import NOISE
from _shared import Page, parser
from configurations import IN_PAPER, MODELS, PRESETS

from skswae.metrics import reconstruction_error

DATA = ("mnist", "fashion_mnist")


def errors(model, X: np.ndarray, grey: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the errors of noisy rows' and of clean rows' reconstructions against the grey rows."""
    noise = NOISE * np.random.default_rng(seed).standard_normal(X.shape)
    noisy = (X + noise).astype(X.dtype)
    decoded = (model.inverse_transform(model.transform(rows)) for rows in (noisy, X))
    first, second = (reconstruction_error(grey, rows) for rows in decoded)
    return first, second


def main() -> None:
    """Print, and write, a table."""
    arguments = parser(__doc__, gpu=True)
    arguments.add_argument("--preset", choices=PRESETS, default="cpu")
    arguments.add_argument("--results", type=pathlib.Path, default=pathlib.Path("paper_results"))
    arguments.add_argument("--data-home")
    options = arguments.parse_args()
    page = Page("Denoising against grey images", options.output)
    page.paragraph(
        "Of the models of [the tables](paper_cpu.md), trial 0. Binary test rows, normal noise of deviation "
        f"{NOISE} added to them: squared error, summed over pixels, of noisy rows' reconstructions / of "
        "clean rows' reconstructions, both against the grey images that the rows were drawn from. Rows "
        "themselves: the rows in place of reconstructions. VAE, VampPrior and MIM: posterior means."
    )
    models = [m for m in MODELS if m in (*IN_PAPER, "ae", "pca")]
    page.header(" | ".join(["data", "dim-z", "rows themselves", *(MODELS[m][0] for m in models)]))
    for data in DATA:
        split = _treatments.load(data, 0, options.data_home)
        grey = _treatments.load(f"{data}-grey", 0, options.data_home).X_test
        drawn = reconstruction_error(grey, split.X_test)
        with_noise = drawn + NOISE**2 * grey.shape[1]
        for n in PRESETS[options.preset].cells.get(data, ()):
            cells = []
            for m in models:
                path = options.results / options.preset / "models" / f"{data}_{n}_{m}_0.joblib"
                found = errors(joblib.load(path)[0], split.X_test, grey) if path.exists() else None
                cells.append(f"{found[0]:.2f} / {found[1]:.2f}" if found else "—")
            if set(cells) != {"—"}:
                page.row(data, n, f"{with_noise:.2f} / {drawn:.2f}", *cells)


if __name__ == "__main__":
    main()
