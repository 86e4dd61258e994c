"""Seeds by name, and global streams that are put back."""

import pytest
import torch

from skswae._random import derive_seed, forked_rng, make_generator, named_seed


def test_seeds_differ_by_key_and_name_and_repeat():
    keys = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    names = ["encoder", "decoder", "encode"]
    seeds = {derive_seed(seed, *key) for seed in (0, 1, 2**31 - 2) for key in keys}
    seeds |= {named_seed(seed, name) for seed in (0, 1, 2**31 - 2) for name in names}
    assert len(seeds) == 3 * (len(keys) + len(names))
    assert (derive_seed(3, 1, 2), named_seed(5, "prior")) == (derive_seed(3, 1, 2), named_seed(5, "prior"))
    assert all(0 <= seed < 2**63 for seed in seeds)
    make_generator(max(seeds))


def test_forked_streams_are_put_back_after_an_error_too():
    before, drawn = torch.get_rng_state(), []
    for seed in (3, 3, 4):
        with forked_rng(seed):
            drawn.append(torch.rand(3))
    with pytest.raises(ZeroDivisionError), forked_rng(5):
        drawn.append(torch.rand(1) / (1 // 0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
