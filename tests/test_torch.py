"""Devices, arrays, seeds, and states that travel."""

import numpy as np
import pytest
import torch
from torch import nn

from skswae._torch import as_tensor, derive_seed, forked_rng, make_generator, portable_copy, resolve_device


def test_resolve_device():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    for device in ("gpu", "meta", "cuda:1000"):
        with pytest.raises(ValueError, match=f"'device' parameter must be .* Got '{device}' instead"):
            resolve_device(device)


def test_as_tensor_shares_what_it_can():
    X = np.arange(6.0).reshape(2, 3)
    assert as_tensor(X).data_ptr() == X.ctypes.data
    readonly = X.copy()
    readonly.flags.writeable = False
    for array in (readonly, X[::-1], X[:, ::-1], np.asfortranarray(X), X[:, ::2]):
        np.testing.assert_array_equal(as_tensor(array), array)
    as_tensor(readonly)[0, 0] = 5.0
    assert readonly[0, 0] == 0.0


def test_derived_seeds_differ_by_key_and_repeat():
    keys = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    seeds = {derive_seed(seed, *key) for seed in (0, 1, 2**31 - 2) for key in keys}
    assert len(seeds) == 3 * len(keys)
    assert derive_seed(3, 1, 2) == derive_seed(3, 1, 2)
    assert all(0 <= s < 2**63 for s in seeds)
    make_generator(max(seeds))


def test_forked_rng_puts_the_stream_back_after_an_error_too():
    before = torch.get_rng_state()
    drawn = []

    def draw_and_fail():
        with forked_rng(3):
            drawn.append(torch.rand(3))
            raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*drawn)


def test_portable_copies_own_exactly_their_numbers():
    module = nn.Linear(4, 3)
    table = torch.zeros(1000)
    module.register_buffer("view", table[:5])
    module.register_buffer("again", module.view)
    module.shared = nn.Module()
    module.shared.weight = module.weight
    module(torch.ones(1, 4)).sum().backward()
    copied = portable_copy(module)
    assert copied.view.untyped_storage().nbytes() == 5 * 4
    assert copied.shared.weight is copied.weight
    assert copied.again is copied.view
    assert copied.weight.grad is None
    assert module.weight.grad is not None
    assert torch.equal(copied.weight, module.weight)
    assert copied.weight.data_ptr() != module.weight.data_ptr()
