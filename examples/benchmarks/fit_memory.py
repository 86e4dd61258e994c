"""Memory that a fit takes beyond its rows, by their number and width, with and without the PCA start.

The data are uniform random bytes, or float32 numbers in [0, 1]. Each fit is one epoch of SWAE's default, in a
fresh process of one thread. The memory is the peak of the process's anonymous memory in the fit, less what it
was before, when the data lay there.
"""

from __future__ import annotations

import numpy as np
import torch
from _harness import MemoryWatch, Page, Store, in_fresh_process, parser, run_script, yes

from skswae import SWAETransformer

SIZES = [(10_000, columns, dtype) for columns in (64, 784, 3_072, 12_288) for dtype in ("float32", "uint8")]
MOST_MB = 100  # the bound, with the default start


def work(task: dict) -> dict:
    """Measure one fit."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(task["rows"], task["columns"]), dtype=np.uint8)
    if task["dtype"] == "float32":
        X = X / np.float32(255)
    model = SWAETransformer(init=task["init"], max_iter=1, device="cpu", random_state=0)
    model.fit(X[:300])  # lazy imports
    with MemoryWatch() as memory:
        model.fit(X)
    return {"data": X.nbytes / 1e6, "added": memory.added}


def main():
    arguments = parser(__doc__, "resume").parse_args()
    store = Store(arguments.resume)
    page = Page("Memory of a fit", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    page.header(
        'rows | columns | type | MB of the data | MB added, `init="pca"` | MB added, `init="random"` | '
        f"at most {MOST_MB} MB"
    )
    for rows, columns, dtype in SIZES:
        size = {"rows": rows, "columns": columns, "dtype": dtype}
        tasks = [{**size, "init": init} for init in ("pca", "random")]
        found = [store.get(task, in_fresh_process, task) for task in tasks]
        added = (f"{f['added']:.0f}" for f in found)
        answer = yes(found[0]["added"] <= MOST_MB)
        page.row(f"{rows:,}", f"{columns:,}", dtype, f"{found[0]['data']:.0f}", *added, answer)
    page.add()
    page.paragraph(
        "The last column is of the default start. The memory includes the weights, their gradients and "
        "Adam's moments, 16 bytes a weight, and the activations of a step. The PCA start looks at 10,000 "
        "rows at most, block by block; more rows add 4 bytes each, for their order."
    )


if __name__ == "__main__":
    run_script(main, work)
