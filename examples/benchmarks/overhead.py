"""What the package adds: import time, and the time of scikit-learn's checks on the defaults.

Each import is timed in a fresh process that has imported torch and scikit-learn before; check_estimator runs
on one thread.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections import Counter

import torch
from _harness import Page, parser
from sklearn.utils.estimator_checks import check_estimator

from skswae import SWAETransformer

TIMED = """
import time
import torch, sklearn
start = time.perf_counter()
import skswae
print(time.perf_counter() - start)
"""


def seconds_to_import():
    """Time the import in a fresh process."""
    command = [sys.executable, "-c", TIMED]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--processes", type=int, default=7)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page = Page("What the package adds", arguments.output)
    page.section(f"`import skswae` after torch and scikit-learn, {arguments.processes} fresh processes")
    seconds_to_import()  # the first one writes bytecode and fills the disk cache
    seconds = sorted(seconds_to_import() for _ in range(arguments.processes))
    page.paragraph(
        f"Median {statistics.median(seconds):.2f} s (bound: 0.3 s); all: "
        f"{', '.join(f'{s:.2f}' for s in seconds)}."
    )
    page.section("`check_estimator(SWAETransformer())`, one thread")
    start, cpu = time.perf_counter(), time.process_time()
    results = check_estimator(SWAETransformer(), on_skip=None, on_fail=None)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    counts = Counter(r["status"] for r in results)
    page.paragraph(
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped "
        f"({', '.join(r['check_name'] for r in results if r['status'] == 'skipped')}) "
        f"in {wall:.0f} s, {cpu:.0f} CPU s (bound: 60 s)."
    )


if __name__ == "__main__":
    main()
