"""The part of the benchmarks' harness that these scripts use: it lies in a folder beside this one."""

import importlib
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "benchmarks"))
_harness = importlib.import_module("_harness")

Page = _harness.Page
Store = _harness.Store
circumstances = _harness.circumstances
escaped = _harness.escaped
markdown_table = _harness.markdown_table
named = _harness.named
parser = _harness.parser
put = _harness.put
put_text = _harness.put_text
save = _harness.save
