"""Rows drawn from a pass over the data, and rows stored in a module."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from skswae.modules._reservoir import Reservoir, StoredRows


def drawn(n_rows, batches, seed=0):
    reservoir = Reservoir(n_rows, torch.Generator().manual_seed(seed))
    for batch in batches:
        reservoir.add(batch)
    return reservoir.rows()


def test_fewer_rows_than_asked_for_all_stay():
    rows = torch.arange(10.0)[:, None]
    assert sorted(drawn(10, rows.split(4)).flatten().tolist()) == list(range(10))


def test_rows_are_drawn_uniformly_without_replacement():
    rows = torch.arange(50.0)[:, None]
    counts = np.zeros(50)
    for seed in range(400):
        chosen = drawn(5, rows.split(7), seed)[:, 0].long()
        assert len(set(chosen.tolist())) == 5
        counts[chosen] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_draw_depends_on_the_generator_alone():
    rows = torch.arange(60.0)[:, None]
    assert torch.equal(drawn(5, rows.split(7)), drawn(5, rows.split(7)))
    assert torch.equal(drawn(5, rows.split(60)), drawn(5, rows.split(20)))
    assert not torch.equal(drawn(5, rows.split(7)), drawn(5, rows.split(7), seed=1))


class Holder(nn.Module):
    def __init__(self, n_columns=3):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.codes = StoredRows(n_columns)


@pytest.mark.parametrize(("saved", "present"), [(7, 0), (2, 5), (0, 4)])
def test_stored_rows_of_any_number_are_loaded(saved, present):
    source, target = Holder(), Holder()
    assert len(source.codes) == 0
    source.codes.store(torch.randn(saved, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    target.codes.store(torch.zeros(present, 3))
    target.load_state_dict(source.state_dict(), strict=True)
    assert target.codes.rows.dtype == torch.float32
    assert torch.equal(target.codes.rows, source.codes.rows)
    assert len(target.codes) == saved


def test_stored_rows_of_other_columns_are_refused():
    with pytest.raises(RuntimeError, match=r"size mismatch for codes\.rows"):
        Holder(4).load_state_dict(Holder(3).state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*codes\.rows"):
        Holder().load_state_dict({k: v for k, v in Holder().state_dict().items() if k != "codes.rows"})
