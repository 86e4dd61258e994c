"""The denoising experiment against the grey levels that binary test rows were drawn from.

    python examples/paper/denoising_grey.py --output docs/results/paper_denoising.md

The errors of report.py are against the drawn zeros and ones, as the paper's: there a model gains by copying
the noise of the draw. Here reconstructions of such rows, with noise and without, are compared with the grey
images. Of the models that run.py has kept, trial 0.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import _treatments
import joblib
import numpy as np
from _measures import NOISE
from configurations import IN_PAPER, MODELS, PRESETS
from run import hardware, versions

from skswae.metrics import reconstruction_error

DATA = ("mnist", "fashion_mnist")


def errors(model, X: np.ndarray, grey: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Mean squared errors against the grey rows: of the noisy rows' reconstructions, of the clean rows'."""
    noise = NOISE * np.random.default_rng(seed).standard_normal(X.shape)
    noisy = (X + noise).astype(X.dtype)
    decoded = (model.inverse_transform(model.transform(rows)) for rows in (noisy, X))
    first, second = (reconstruction_error(grey, rows) for rows in decoded)
    return first, second


def main() -> None:
    """Print, and write, a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("paper_results"))
    parser.add_argument("--data-home")
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# Denoising against grey images",
        "",
        f"{time.strftime('%Y-%m-%d')}, {hardware()}. {packages}.",
        "",
        f"Made by `python examples/paper/denoising_grey.py --preset {options.preset}` of the models of "
        "[the tables](paper_cpu.md), trial 0.",
        "",
        f"Binary test rows, normal noise of deviation {NOISE} added to them: squared error, summed over "
        "pixels, of noisy rows' reconstructions / of clean rows' reconstructions, both against the grey "
        "images that the rows were drawn from. Rows themselves: the rows in place of reconstructions. VAE, "
        "VampPrior and MIM: posterior means.",
        "",
    ]
    models = [m for m in MODELS if m in (*IN_PAPER, "ae", "pca")]
    heads = ["data", "dim-z", "rows themselves", *(MODELS[m][0] for m in models)]
    lines += ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for data in DATA:
        split = _treatments.load(data, 0, options.data_home)
        grey = _treatments.load(f"{data}-grey", 0, options.data_home).X_test
        drawn = reconstruction_error(grey, split.X_test)
        with_noise = drawn + NOISE**2 * grey.shape[1]
        for n in PRESETS[options.preset].cells.get(data, ()):
            cells = []
            for m in models:
                path = options.results / options.preset / "models" / f"{data}_{n}_{m}_0.joblib"
                if not path.exists():
                    cells.append("—")
                    continue
                noisy, clean = errors(joblib.load(path)[0], split.X_test, grey)
                cells.append(f"{noisy:.2f} / {clean:.2f}")
            if set(cells) != {"—"}:
                row = [data, str(n), f"{with_noise:.2f} / {drawn:.2f}", *cells]
                lines.append("| " + " | ".join(row) + " |")
                print(lines[-1], flush=True)
    if options.output is not None:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
