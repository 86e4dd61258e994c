"""Rows drawn from a pass over the data, and rows stored in a module."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from skswae.modules._reservoir import Reservoir, StoredRows


def drawn(n_rows, of, batch_size, seed=0):
    reservoir = Reservoir(n_rows, torch.Generator().manual_seed(seed))
    for batch in torch.arange(of)[:, None].split(batch_size):
        reservoir.add(batch)
    return reservoir.rows()[:, 0].tolist()


def test_rows_are_drawn_uniformly_without_replacement():
    counts = np.zeros(50)
    for seed in range(400):
        chosen = drawn(5, of=50, batch_size=7, seed=seed)
        assert len(set(chosen)) == 5
        counts[chosen] += 1
    assert stats.chisquare(counts).pvalue > 1e-3
    assert drawn(5, of=50, batch_size=7) == drawn(5, of=50, batch_size=50)
    assert sorted(drawn(10, of=10, batch_size=4)) == list(range(10))


class Holder(nn.Module):
    def __init__(self, n_columns=3):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.codes = StoredRows(n_columns)


@pytest.mark.parametrize(("saved", "present"), [(7, 0), (2, 5), (0, 4)])
def test_stored_rows_of_any_number_are_loaded(saved, present):
    source, target = Holder(), Holder()
    assert len(source.codes) == 0
    source.codes.store(torch.arange(3.0 * saved, dtype=torch.float64).reshape(saved, 3))
    target.codes.store(torch.zeros(present, 3))
    target.load_state_dict(source.state_dict(), strict=True)
    assert target.codes.rows.dtype == torch.float32
    assert torch.equal(target.codes.rows, source.codes.rows)
    assert len(target.codes) == saved


def test_stored_rows_of_other_columns_are_refused():
    with pytest.raises(RuntimeError, match=r"size mismatch for codes\.rows"):
        Holder(4).load_state_dict(Holder(3).state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*codes\.rows"):
        Holder().load_state_dict(nn.ModuleDict({"linear": nn.Linear(2, 2)}).state_dict())
