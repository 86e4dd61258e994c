"""Past one machine: rows in files, several processes, searches on a cluster, models behind a port.

Each part is measured in a process of its own and stored; the page has the parts that are stored.

Run with:  python scale.py --resume scale.json --output ../../docs/results/scale.md
"""

from __future__ import annotations

import importlib
from typing import Any

import _harness

PARTS = ["parquet", "sources", "processes", "search", "serving"]


def work(task: dict[str, Any]) -> dict[str, Any]:
    return importlib.import_module(f"_scale_{task['part']}").measure(task["quick"])


def main() -> None:
    parser = _harness.parser(__doc__, "resume")
    parser.add_argument(
        "--parts", nargs="*", choices=PARTS, default=PARTS, help="parts to measure and to show"
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds in place of minutes: numbers of no meaning"
    )
    arguments = parser.parse_args()
    store = _harness.Store(arguments.resume)
    page = _harness.Page("Past one machine", arguments.output)
    for part in arguments.parts:
        task = {"part": part, "quick": arguments.quick}
        found = store.get(task, _harness.in_fresh_process, task)
        for line in importlib.import_module(f"_scale_{part}").lines(found):
            page.add(line)
    page.paragraph(store.note())


if __name__ == "__main__":
    _harness.run_script(main, work)
