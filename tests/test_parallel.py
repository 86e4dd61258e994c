"""Fits and calls in threads and processes: equal to serial ones, in time, and nothing is left of them.

The trials are those of the benchmark, which makes more of them; each has a process of its own.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "examples" / "benchmarks" / "reliability_parallel.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "trial", ["joblib, loky, n_jobs=-1", "fork while another thread trains, 2 torch threads"]
)
def test_equal_to_serial_and_nothing_left(trial):
    command = [sys.executable, "-W", "ignore", SCRIPT, "--worker", json.dumps({"trial": trial})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=400)
    finally:
        if process.poll() is None:  # it hangs: end its children, too
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0
    found = json.loads(out.splitlines()[-1])
    assert found["tried"] == found["equal"] > 30
    assert max(found["more"].values()) <= 0, found["more"]
