"""The parts of docs/results/scale.md are measured, on a small scale, and shown."""

import importlib

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("part", ["parquet", "sources"])
def test_a_part(part):
    module = importlib.import_module(f"_scale_{part}")
    lines = module.lines(module.measure(True))
    assert lines[0].startswith("## ")
    assert sum(line.startswith("| ") for line in lines) > 2
