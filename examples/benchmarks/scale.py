"""Past one machine: rows in files, several processes, searches on a cluster, models behind a port.

Each part is measured in a process of its own, and its numbers are kept in a JSON file of the folder of
results. A part whose file is there is not measured again: delete it for that.

Run with:  python scale.py --results scale --output ../../docs/results/scale.md
"""

from __future__ import annotations

import importlib
import json
import pathlib
from typing import Any

import _harness

PARTS = ["parquet", "sources", "processes", "search", "serving"]


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Measure a part."""
    return importlib.import_module(f"_scale_{task['part']}").measure(task["quick"])


def main() -> None:
    parser = _harness.parser(__doc__)
    parser.add_argument("--results", type=pathlib.Path, metavar="FOLDER", help="numbers of the parts")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what the page has")
    parser.add_argument("--quick", action="store_true", help="a trial of seconds, whose numbers mean nothing")
    parser.add_argument(
        "--note", default="", metavar="TEXT", help="what else there is to say of the measurements"
    )
    arguments = parser.parse_args()
    page = _harness.Page("Past one machine", arguments.output)
    page.paragraph(arguments.note)
    for part in arguments.parts:
        path = None if arguments.results is None else arguments.results / f"{part}.json"
        kept = json.loads(path.read_text()) if path is not None and path.exists() else None
        if kept is None:
            found = _harness.in_fresh_process({"part": part, "quick": arguments.quick})
            kept = {**_harness.circumstances(), "found": found}
            if path is not None:
                _harness.put_text(path, json.dumps(kept, indent=1) + "\n")
        for line in importlib.import_module(f"_scale_{part}").lines(kept["found"]):
            page.add(line)
        page.paragraph(f"Measured {kept['date']}, {kept['hardware']}, {_harness.named(kept['versions'])}.")


if __name__ == "__main__":
    _harness.run_script(main, work)
