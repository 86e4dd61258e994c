"""What partial_fit costs beyond its training steps.

The default SWAE on 784 columns with 500 pseudo-inputs, fed by 64 rows a call. The steps alone are those of a
copy of its module on rows that are ready: the loss, its gradients, torch's fused Adam, and what the module
does after each step. CPU seconds of one thread; a call and a step take turns.
"""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from _harness import Page, interleaved, parser, ratio, spread, timed, yes

from skswae import SWAETransformer

N_FEATURES, N_PSEUDO_INPUTS, N_ROWS = 784, 500, 64
BOUND = 1.3


class Steps:
    """Training steps of a copy of a fitted estimator's module, and nothing else."""

    def __init__(self, estimator: SWAETransformer, rows: np.ndarray):
        self.module = copy.deepcopy(estimator.module_).train()
        self.x = torch.from_numpy(rows)
        self.generator = torch.Generator().manual_seed(0)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-3, fused=True)

    def step(self) -> None:
        """Take a step on all rows."""
        for _, terms in self.module.losses(self.x, self.generator):
            self.optimizer.zero_grad()
            terms["loss"].backward()
            self.optimizer.step()
            self.module.after_step()


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=100, help="calls of each side")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    # the first call fixes the number of pseudo-inputs, of which there are no more than rows
    model = SWAETransformer(n_pseudo_inputs=N_PSEUDO_INPUTS, device="cpu", random_state=0)
    model.partial_fit(rng.random((N_PSEUDO_INPUTS, N_FEATURES), dtype=np.float32))
    rows = rng.random((N_ROWS, N_FEATURES), dtype=np.float32)  # in [0, 1]: they are their own units
    steps = Steps(model, rows)
    clock = time.process_time
    runs = {
        "partial_fit": lambda: timed(clock, model.partial_fit, rows),
        "its step alone": lambda: timed(clock, steps.step),
    }
    interleaved(runs, 5)  # the first ones are slower
    page = Page("What partial_fit costs", arguments.output)
    page.paragraph(
        f"SWAETransformer(n_pseudo_inputs={N_PSEUDO_INPUTS}) after a first call; calls of partial_fit on "
        f"{N_ROWS} rows x {N_FEATURES} columns, and the training step of a copy of its module, in turns. CPU "
        f"milliseconds: the median and, in brackets, the range of {arguments.repeats}."
    )
    seconds = interleaved(runs, arguments.repeats)
    page.header("side | CPU ms")
    for side, values in seconds.items():
        page.row(side, spread(values, 1000))
    page.add()
    found = ratio(*seconds.values())
    page.paragraph(f"partial_fit by its step (bound: at most {BOUND}): {found:.2f}, {yes(found <= BOUND)}.")


if __name__ == "__main__":
    main()
