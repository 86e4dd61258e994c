"""Put the benchmarks' folder on the path, where the harness lies that all scripts share."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "benchmarks"))
