"""Memory of many calls of each class: 200 fits, 2,000 of partial_fit and of transform, 200 fits that fail.

Each class has a process of its own with one thread, 60 digits and a network of 16 units. After each tenth of
the calls of a kind the process's anonymous memory is looked at; its growth is the highest value after the
first tenth, in which torch and the allocator take what they keep, less the value then. The bound is 20 MB.
Threads and open files are counted then, too, and at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
from typing import Any

import numpy as np
import torch
from _harness import Part, Store, anonymous_mb, in_fresh_process, parser, run_script, yes
from sklearn.datasets import load_digits

import skswae
from skswae.networks import GatedMLP

BOUND = 20
CLASSES = {
    "AETransformer": {},
    "VAETransformer": {},
    "WAETransformer": {"divergence": "gan", "critic_layer_sizes": (8,)},
    "VampPriorTransformer": {"n_pseudo_inputs": 10},
    "MIMTransformer": {"n_pseudo_inputs": 10},
    "SWAETransformer": {},
}
CALLS = {"fit": 200, "partial_fit": 2_000, "transform": 2_000, "fit that fails": 200}


class Fails:
    """An augmentation that fails in the second epoch."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x, generator):
        self.calls += 1
        if self.calls > 1:
            raise ArithmeticError("on purpose")
        return x


def settled_mb() -> float:
    """Return the anonymous memory without what the allocator would give back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return anonymous_mb()


def counts() -> dict[str, int]:
    """Count the threads and the open files."""
    return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}


def work(task: dict) -> dict:
    """Make the calls of one class."""
    torch.set_num_threads(1)
    X = load_digits().data[:60] / 16
    parameters: dict[str, Any] = {"network": GatedMLP((16,)), "n_components": 2, "max_iter": 3}
    parameters |= {"random_state": 0, "device": "cpu", **CLASSES[task["class"]]}
    model = getattr(skswae, task["class"])(**parameters)
    return {call: many_calls(model, call, n_calls, X) for call, n_calls in CALLS.items()}


def many_calls(model: Any, call: str, n_calls: int, X: np.ndarray) -> dict[str, Any]:
    """Make calls of one kind, and return the memory after the first tenth of them, and what came on top."""
    seen, first = [], {}
    for number in range(n_calls):
        if call == "fit that fails":
            with contextlib.suppress(ArithmeticError):
                model.set_params(augment=Fails()).fit(X)
        else:
            getattr(model, call)(X)
        if (number + 1) % (n_calls // 10) == 0:
            seen.append(settled_mb())
            first = first or counts()
    growth = np.subtract(seen, seen[0])
    more = {name: n - first[name] for name, n in counts().items()}
    return {"calls": n_calls, "first": seen[0], "growth": max(growth), "end": growth[-1], "more": more}


def main():
    arguments = parser(__doc__, "resume").parse_args()
    store = Store(arguments.resume)
    page = Part("Memory of many calls", arguments.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    page.header(
        "class | call | tried | MB at first | MB of growth | MB more at the end | more threads, files"
    )
    lost = tried = 0
    for name in CLASSES:
        task = {"class": name}
        result = store.get(task, in_fresh_process, task)
        for call in CALLS:
            found = result[call]
            more = found["more"]
            lost += found["growth"] > BOUND or max(more.values()) > 0
            tried += 1
            cells = (f"{found[key]:.1f}" for key in ("first", "growth", "end"))
            page.row(name, call, f"{found['calls']:,}", *cells, f"{more['threads']}, {more['files']}")
    page.add()
    page.paragraph(
        f"Tried {tried}, flat within {BOUND} MB and without more threads or files {tried - lost}, "
        f"lost {lost}. Bound: none lost: {yes(lost == 0)}."
    )
    page.paragraph(store.note())
    sys.exit(lost > 0)


if __name__ == "__main__":
    run_script(main, work)
