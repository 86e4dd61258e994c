"""What the package adds: import time, and the time of scikit-learn's checks on the defaults.

The import is timed in fresh processes, in turn with and without the package; check_estimator on one thread.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import torch
from _report import Report, parser
from sklearn.utils.estimator_checks import check_estimator

from skswae import SWAETransformer

PEERS = "import torch, sklearn"
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement):
    """Of a statement in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--processes", type=int, default=7)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    report = Report("What the package adds", arguments.output)

    report.add(f"## Import, {arguments.processes} fresh processes each")
    report.add()
    seconds(f"{PEERS}, skswae")  # the first one writes bytecode and fills the disk cache
    pairs = [(seconds(PEERS), seconds(f"{PEERS}, skswae")) for _ in range(arguments.processes)]
    report.header("statement", "median s", "all")
    for name, values in zip((PEERS, f"{PEERS}, skswae"), zip(*pairs)):
        report.row(
            f"`{name}`", f"{statistics.median(values):.2f}", ", ".join(f"{v:.2f}" for v in sorted(values))
        )
    added = statistics.median(b for _, b in pairs) - statistics.median(a for a, _ in pairs)
    report.add()
    report.add(f"Added: {added:.2f} s (bound: 0.3 s).")
    report.add()

    report.add("## `check_estimator(SWAETransformer())`, one thread")
    report.add()
    start, cpu = time.perf_counter(), time.process_time()
    results = check_estimator(SWAETransformer(), on_skip=None, on_fail=None)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    counts = {
        status: sum(r["status"] == status for r in results) for status in ("passed", "failed", "skipped")
    }
    report.add(
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped "
        f"({', '.join(r['check_name'] for r in results if r['status'] == 'skipped')}) "
        f"in {wall:.0f} s, {cpu:.0f} CPU s (bound: 60 s)."
    )


if __name__ == "__main__":
    main()
