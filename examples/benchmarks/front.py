"""The front of SWAE on six data sets: what its networks see of a row, as `input_components`.

With a front the encoder and the conditional prior see so many leading principal components of a row; None is
all columns, "auto" the default's choice. Seconds are CPU seconds of one thread for the fit, with the defaults
otherwise. 5-NN: the accuracy on codes of test rows. The error is the squared error of rebuilt test rows,
summed over columns. Where rows are drawn with noise, RMSE is the root of the mean squared difference between
rebuilt test rows and the same without noise. Seeds are the model's, and those of splits and spectra.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _data import DATA
from _harness import Page, Store, mean_and_std, parser
from sklearn.decomposition import PCA

from skswae import SWAETransformer
from skswae.metrics import knn_accuracy, reconstruction_error

NAME = "input_components"


def front(text: str) -> int | str | None:
    """Read a value of the parameter."""
    return {"none": None, "auto": "auto"}[text.lower()] if text.isalpha() else int(text)


def judge(model, split) -> dict:
    """Return accuracy, error and, where it is known, the distance to the clean rows."""
    Z, Z_test = model.transform(split.X), model.transform(split.X_test)
    rebuilt = model.inverse_transform(Z_test)
    found = {
        "accuracy": float(knn_accuracy(Z, split.y, Z_test, split.y_test)),
        "error": float(reconstruction_error(split.X_test, rebuilt)),
    }
    if split.clean is not None:
        found["rmse"] = float(np.sqrt(np.mean((rebuilt - split.clean) ** 2)))
    return found


def measure(make, split) -> dict:
    """Fit, and return the judgement, the CPU seconds, the epochs, and how many components were used."""
    model = make()
    start = time.process_time()
    model.fit(split.X)
    seconds = time.process_time() - start
    resolved = getattr(model, f"{NAME}_", None)
    epochs = getattr(model, "n_iter_", None)
    found = {"shape": split.X.shape, "seconds": seconds, "epochs": epochs, "resolved": resolved}
    return {**found, **judge(model, split)}


def makers(k: int, values, seed: int) -> dict:
    """Return what makes each model, by its name: PCA and a front a value."""
    found = {"PCA": lambda: PCA(k, random_state=seed)}
    for value in values:
        found[f"{NAME}={value!r}"] = lambda value=value: SWAETransformer(
            k, input_components=value, device="cpu", random_state=seed
        )
    return found


def add_row(page, name, results) -> None:
    """Add means and standard deviations over the seeds."""
    used = sorted({str(r["resolved"]) for r in results if r["resolved"] is not None})
    epochs = "" if results[0]["epochs"] is None else f"{np.mean([r['epochs'] for r in results]):.0f}"
    cells = [
        mean_and_std([r[key] for r in results], digits) if key in results[0] else ""
        for key, digits in (("seconds", 1), ("accuracy", 4), ("error", 3), ("rmse", 4))
    ]
    page.row(name, ", ".join(used), epochs, *cells)


def main():
    arguments = parser(__doc__, "data", "resume")
    arguments.add_argument("--data-sets", nargs="+", choices=DATA, default=list(DATA))
    values = [None, "auto", 20, 50, 100]
    arguments.add_argument("--values", nargs="+", type=front, default=values, help="none, auto or numbers")
    arguments.add_argument("--components", type=int, nargs="+", default=[8])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--rows", type=int, help="at most as many training rows")
    arguments.add_argument("--test-rows", type=int, help="at most as many test rows")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    store = Store(arguments.resume)
    size = {"rows": arguments.rows, "test_rows": arguments.test_rows}

    page = Page("The front", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n", 1)[1].split()))
    page.paragraph(f"Means and standard deviations over the seeds {', '.join(map(str, arguments.seeds))}.")
    for data in arguments.data_sets:
        splits = {}

        def rows(seed, data=data, splits=splits):
            if seed not in splits:  # one at a time in memory
                splits.clear()
                splits[seed] = DATA[data][1](arguments.data, seed).head(*size.values())
            return splits[seed]

        for k in arguments.components:
            results: dict[str, list[dict]] = {}
            for seed in arguments.seeds:
                for name, make in makers(k, arguments.values, seed).items():
                    settings = {"data": data, "k": k, "model": name, "seed": seed, **size}
                    found = store.get(settings, lambda make=make, seed=seed: measure(make, rows(seed)))
                    results.setdefault(name, []).append(found)
            shape = " x ".join(f"{n:,}" for n in results["PCA"][0]["shape"])
            page.section(f"{DATA[data][0]}: {shape}, {k} components")
            page.header(
                " | components used | epochs | CPU s of the fit | 5-NN | error | RMSE to the clean rows"
            )
            for name, found in results.items():
                add_row(page, name, found)
            page.add()
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
