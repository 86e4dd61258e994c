"""Batches."""

import numpy as np
import pytest
import torch

from skswae.data import ArrayData
from skswae.data._loader import Loader
from tests.data.test_source import numbered

CPU = torch.device("cpu")


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [(25, 10, [13, 12]), (9, 10, [9]), (99, 10, [11] * 9)])
def test_an_epoch_has_every_row_once_in_even_batches(n, batch_size, sizes):
    loader = Loader(ArrayData(numbered(n)), CPU)
    assert (len(loader), loader.n_batches(batch_size)) == (n, len(sizes))
    batches = list(loader.shuffled(batch_size, seed=0))
    assert [len(b) for b in batches] == sizes
    found = torch.cat(batches).numpy()
    np.testing.assert_array_equal(found[found[:, 0].argsort()], numbered(n))  # whole rows
    np.testing.assert_array_equal(torch.cat(list(loader.in_order(batch_size))), numbered(n))


def test_the_seed_alone_decides_the_order():
    def order(seed, batch_size=16):
        return np.concatenate(list(ArrayData(numbered(200)).shuffled(batch_size, seed)))[:, 0].tolist()

    assert order(3) == order(3, batch_size=50)
    assert len({tuple(order(seed)) for seed in range(5)} | {tuple(range(200))}) == 6


def test_a_batch_is_read_when_it_is_asked_for():
    class Counted(ArrayData):
        n_read = 0

        def read(self, index):
            self.n_read += len(index)
            return super().read(index)

    source = Counted(numbered(100))
    batches = Loader(source, CPU).shuffled(10, 0)
    assert [source.n_read, *(source.n_read for _ in zip(range(3), batches))] == [0, 10, 20, 30]


@pytest.mark.gpu
@pytest.mark.parametrize(("fits", "dtype"), [(True, np.uint8), (False, np.float32)])
def test_a_gpu_gets_the_same_batches(fits, dtype, monkeypatch):
    monkeypatch.setattr("skswae.data._loader.fits_on", lambda *_: fits)
    source = ArrayData(numbered(9000, dtype=dtype))
    loaders = [Loader(source, device) for device in (CPU, torch.device("cuda", 0))]
    for a, b in zip(*((*x.shuffled(64, 3), *x.in_order(100)) for x in loaders), strict=True):
        assert b.is_cuda
        assert torch.equal(a, b.cpu())
