"""examples/benchmarks/_scale_search.py on few rows."""

import subprocess
import sys

import _scale_search


def test_a_search_is_measured_and_its_best_is_that_of_the_loop():
    results = _scale_search.measure(quick=True)
    loop, serial = results["ways"]["loop"], results["ways"]["serial"]
    assert loop["best"] == serial["best"] > 0.5
    assert results["arithmetic"]["products"] > 0
    assert results["arithmetic"]["with_adam"] < loop["cpu"]
    text = "\n".join(_scale_search.lines(results))
    assert "4 fits" in text
    assert text.count("not measured") == 3


def test_the_cpu_seconds_of_children_count():
    burn = "import time\nwhile time.process_time() < 0.6: pass"
    with _scale_search.CPUWatch() as cpu:
        child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
        subprocess.run([sys.executable, "-c", child], check=True)
    assert 0.4 < cpu.seconds < 1.2
