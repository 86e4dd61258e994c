"""VampPrior and MIM by a part of the pseudo-inputs in each step: what it saves, and what it costs.

The prior of both is a mixture of the posteriors of K = 500 pseudo-inputs. The exact objective encodes all of
them in each step; by default a step encodes as many as it has rows, drawn anew. Symmetric MIM
(sampling="symmetric") draws codes from the prior too: its exact form as many as there are rows, by default a
quarter as many.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from _harness import Page, Store, interleaved, mnist, parser, ratio, ratio_cell, spread, yes
from _watch import epoch_seconds
from quality_defaults import evaluate, splits

from skswae import MIMTransformer, SWAETransformer, VampPriorTransformer
from skswae.metrics import frechet_distance

ALL = {"n_pseudo_inputs_per_step": "all"}
FORMS = {
    "SWAE, full objective": SWAETransformer,
    "SWAE, warm-up": partial(SWAETransformer, warmup=3),
    "VampPrior, exact": partial(VampPriorTransformer, **ALL),
    "VampPrior": VampPriorTransformer,
    "MIM, exact": partial(MIMTransformer, **ALL),
    "MIM": MIMTransformer,
    "symmetric MIM, exact": partial(MIMTransformer, **ALL, sampling="symmetric", prior_draws_per_row=1.0),
    "symmetric MIM": partial(MIMTransformer, sampling="symmetric"),
}
BOUND = 1.5  # of an epoch of SWAE's full objective
BATCH_SIZES = 64, 512  # of the smallest and the largest fits
N_SAMPLES = 5000
N_ROWS, N_DRAWS = 500, 50  # of log p(x)


def seconds(X: np.ndarray, batch_size: int, repeats: int) -> dict:
    """Return the CPU seconds of epochs of every form, in turns."""

    def run(make):
        model = make(batch_size=batch_size, device="cpu", random_state=0)
        return epoch_seconds(model, X, time.process_time)

    return {"seconds": interleaved({name: partial(run, make) for name, make in FORMS.items()}, repeats)}


def cost(page: Page, store: Store, X: np.ndarray, repeats: int) -> None:
    """Add the tables of seconds."""
    page.section(
        "Seconds of an epoch",
        f"MNIST's first {len(X):,} rows, 8 components, defaults otherwise. CPU seconds of one thread for the "
        f"third epoch of a fresh fit: the median and, in brackets, the range of {repeats}, taken in turns; "
        "the range of the ratios is within a turn. SWAE's full objective is Algorithm 1, as in the last "
        "quarter of the epochs of its default fit; its warm-up is the others.",
    )
    page.header(
        f"batch | model | CPU s | times SWAE's full objective | at most {BOUND} | times SWAE's warm-up"
    )
    for batch_size in BATCH_SIZES:
        key = {"part": "seconds", "rows": len(X), "batch": batch_size, "repeats": repeats}
        found = store.get(key, seconds, X, batch_size, repeats)["seconds"]
        full, warmup = (found[name] for name in FORMS if name.startswith("SWAE"))
        for name, own in found.items():
            holds = "" if name.startswith("SWAE") else yes(ratio(own, full) <= BOUND)
            page.row(batch_size, name, spread(own), ratio_cell(own, full), holds, ratio_cell(own, warmup))
    page.add()


def quality_of(name: str, n_components: int, n_epochs: int, seed: int, data: list[np.ndarray]) -> dict:
    """Return what is measured of one fit."""
    X_train, X_test = (X.astype(np.float32) for X in data[:2])
    model = FORMS[name](n_components, max_iter=n_epochs, device="cpu", random_state=seed).fit(X_train)
    accuracy, error = evaluate(model, X_train, X_test, *data[2:])
    module, generator = model.module_, torch.Generator().manual_seed(0)
    with torch.no_grad():
        x = module.scaler.standardize(torch.from_numpy(X_test))
        (terms,) = (terms for _, terms in module.losses(x, generator))
        log_p = module.importance_log_likelihood(x[:N_ROWS], N_DRAWS, generator).mean()
    samples = model.sample(N_SAMPLES, random_state=seed)
    return {
        "5-NN accuracy": float(accuracy),
        "reconstruction error": float(error),
        "loss": float(terms["loss"]),
        "log p(x)": float(log_p),
        "Frechet distance": float(frechet_distance(samples, X_test)),
    }


def mean_and_error(values: np.ndarray) -> str:
    """Return mean and standard error."""
    return f"{np.mean(values):.4g} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2g}"


def quality(page, store, name, n_components, n_epochs, forms, tasks) -> None:
    """Add the table of one data set: (seed, data) of each task."""
    page.section(
        f"{name}, {n_components} components, {n_epochs} epochs",
        f"Means and standard errors over {len(tasks)} seeds; below each form its differences from the exact "
        "one at the same seed.",
    )
    found: dict[str, dict[str, np.ndarray]] = {}
    for form in forms:
        results = []
        for seed, data in tasks:
            key = {"data": name, "k": n_components, "epochs": n_epochs, "form": form, "seed": seed}
            key["rows"] = len(data[0])
            results.append(store.get(key, quality_of, form, n_components, n_epochs, seed, data))
        measures = [m for m in results[0] if isinstance(results[0][m], float)]
        found[form] = {m: np.array([r[m] for r in results]) for m in measures}
        if form == forms[0]:
            page.header(" | ".join(["form", *measures]))
        page.row(form, *(mean_and_error(values) for values in found[form].values()))
        exact = found.get(f"{form.split(',')[0]}, exact")
        if exact is not None and not form.endswith("exact"):
            page.row("difference", *(mean_and_error(found[form][m] - exact[m]) for m in measures))
    page.add()


def main():
    arguments = parser(__doc__, "data", "resume")
    arguments.add_argument("--rows", type=int, default=2000, help="of MNIST, for the seconds")
    arguments.add_argument("--repeats", type=int, default=3, help="epochs of each model")
    arguments.add_argument("--mnist-rows", type=int, default=10_000, help="training rows, for the quality")
    arguments.add_argument("--mnist-epochs", type=int, default=4)
    arguments.add_argument("--mnist-seeds", type=int, default=2)
    arguments.add_argument("--digits-epochs", type=int, default=40)
    arguments.add_argument("--digits-seeds", type=int, default=3)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Page("VampPrior and MIM by a part of the pseudo-inputs", arguments.output)
    store = Store(arguments.resume)
    page.paragraph("\n".join(__doc__.split("\n")[2:-1]))
    X_train, X_test, y_train, y_test = mnist(arguments.data)
    cost(page, store, X_train[: arguments.rows], arguments.repeats)
    page.paragraph(
        "In the tables that follow, loss: of held-out rows, by the exact objective; log p(x): of the first "
        f"{N_ROWS} of them, by importance sampling with {N_DRAWS} draws, both in the units of the networks; "
        f"Frechet distance of {N_SAMPLES:,} samples to the held-out rows, on the raw features."
    )
    forms = [name for name in FORMS if not name.startswith("SWAE")]
    digits = [(seed, data) for seed, *data in splits("digits", arguments.digits_seeds)]
    quality(page, store, "Digits", 8, arguments.digits_epochs, forms, digits)
    quality(page, store, "Digits", 32, arguments.digits_epochs, forms[:2], digits)
    n = arguments.mnist_rows
    rows = X_train[:n], X_test[:2000], y_train[:n], y_test[:2000]
    tasks = [(seed, rows) for seed in range(arguments.mnist_seeds)]
    quality(page, store, f"MNIST, {n:,} rows", 8, arguments.mnist_epochs, forms, tasks)
    page.paragraph(store.note())


if __name__ == "__main__":
    main()
