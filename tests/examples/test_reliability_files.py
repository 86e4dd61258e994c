"""examples/benchmarks/reliability_files.py: 500 of its many files."""

import pytest
import reliability_files
from sklearn.datasets import load_digits

from skswae import save_model

from ..estimators import swae


@pytest.mark.slow
def test_mutated_and_forged_files(tmp_path):
    """Whatever is changed, the file is refused, or it is the model that was saved."""
    path = tmp_path / "model"
    save_model(swae(max_iter=1).fit(load_digits().data[:60] / 16), path)
    counts = reliability_files.mutate(path, 500, seed=0, folder=tmp_path)
    assert counts["different"] == counts["crashed"] == 0
    assert counts["refused"] > 400
    assert counts.total() == 500
    headers, weights = reliability_files.forge(path, 40, seed=0, folder=tmp_path)
    assert headers["crashed"] == weights["crashed"] == weights["different"] == 0
    assert headers["refused"] > 10
    assert weights["equal"] > 3
