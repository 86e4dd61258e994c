"""Devices, arrays, seeds, and states that travel."""

import threading

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from skswae._torch import (
    Tape,
    arithmetic,
    as_tensor,
    available_threads,
    derive_seed,
    forked_rng,
    limited_threads,
    make_generator,
    portable_copy,
    random_integers,
    resolve_device,
    standard_normal,
)

CPU = torch.device("cpu")
LIKE = torch.empty(0)


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


# ---------------------------------------------------------------------------
# Random numbers
# ---------------------------------------------------------------------------


def test_on_a_generator_the_numbers_are_torch_s():
    for dtype in (torch.float32, torch.float64):
        found = standard_normal((3, 4), torch.empty(0, dtype=dtype), make_generator(1))
        assert torch.equal(found, torch.randn(3, 4, dtype=dtype, generator=make_generator(1)))
    found = random_integers(7, 20, make_generator(1))
    assert torch.equal(found, torch.randint(7, (20,), generator=make_generator(1)))


def tape_of(capacity, seed=0):
    tape = Tape(capacity, CPU)
    tape.rewind(seed)
    return tape


def steps(tape, n, request):
    """What each of n steps gets."""
    found = []
    for _ in range(n):
        tape.prepare()
        tape.start()
        found.append(request(tape))
        tape.end()
    return found


def normals(*shape):
    return lambda tape: standard_normal(shape, LIKE, tape)


def mixed(tape):
    return (
        standard_normal((2, 3), LIKE, tape),
        random_integers(5, 4, tape),
        standard_normal((2,), torch.empty(0, dtype=torch.float64), tape),
    )


def test_a_tape_is_drawn_in_blocks_and_read_step_by_step():
    """Each request has a block of its own; they are drawn in the order of the requests."""
    found = steps(tape_of(4, seed=3), 10, mixed)
    generator = make_generator(3)
    for first in range(0, 10, 4):
        blocks = (
            torch.empty(4, 2, 3).normal_(generator=generator),
            torch.empty(4, 4, dtype=torch.int64).random_(5, generator=generator),
            torch.empty(4, 2, dtype=torch.float64).normal_(generator=generator),
        )
        for i, got in enumerate(found[first : first + 4]):
            for block, value in zip(blocks, got):
                assert value.dtype == block.dtype
                assert torch.equal(value, block[i])


def test_the_place_on_a_tape_is_counted_on_the_device():
    """What a replayed graph does: the same read, and the counter, without any Python."""
    tape, other = tape_of(5), tape_of(5)
    expected = steps(other, 5, normals(3))
    tape.prepare()
    tape.start()
    assert torch.equal(standard_normal((3,), LIKE, tape), expected[0])
    tape.end()
    (block,) = tape._drawn
    for i in range(1, 5):
        tape.prepare()
        assert torch.equal(block.index_select(0, tape.place)[0], expected[i])
        tape.place.add_(1)
    # a new block in the same memory, from its start
    address = block.data_ptr()
    tape.prepare()
    assert tape._drawn[0].data_ptr() == address
    assert tape.place.tolist() == [0]
    assert torch.equal(block[0], steps(other, 1, normals(3))[0])


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_tapes_of_one_seed_agree(capacity):
    a, b, c = (steps(tape_of(capacity, seed), 9, mixed) for seed in (1, 1, 2))
    for x, y, z in zip(a, b, c):
        assert all(map(torch.equal, x, y))
        assert not torch.equal(x[0], z[0])
    drawn = torch.stack([x[0] for x in a]).ravel()
    assert len(drawn.unique()) == len(drawn)  # no step has another's


def test_a_rewound_tape_is_a_new_one():
    """Wherever it was: in the middle of a block, at its end, before the first step."""
    for n_before in (0, 1, 3, 4, 6):
        tape = tape_of(4, seed=9)
        steps(tape, n_before, mixed)
        tape.rewind(1)
        for x, y in zip(steps(tape, 6, mixed), steps(tape_of(4, seed=1), 6, mixed)):
            assert all(map(torch.equal, x, y))


def test_what_a_tape_gave_stays():
    """A step's numbers are no view of a block that is drawn again."""
    (first,) = steps(tape := tape_of(1), 1, normals(3))
    before = first.clone()
    steps(tape, 3, normals(3))
    assert torch.equal(first, before)


@pytest.mark.parametrize(
    "odd",
    [
        lambda tape: (*mixed(tape), standard_normal((2, 3), LIKE, tape))[-1],  # more
        lambda tape: (standard_normal((3, 3), LIKE, tape), *mixed(tape))[0],  # another shape
        lambda tape: (mixed(tape), random_integers(5, 6, tape))[1],
        lambda tape: standard_normal((2, 3), torch.empty(0, dtype=torch.float64), tape),
        lambda tape: torch.randn(2, 3, generator=tape),  # by other means
        lambda tape: tape,  # nothing
    ],
)
def test_a_step_may_ask_for_something_else(odd):
    """It gets numbers that no other step has, and the next steps have theirs."""
    tape = tape_of(5)
    found = steps(tape, 2, mixed)
    (got,) = steps(tape, 1, odd)
    assert len(tape._drawn) == 3  # no further block, which nobody may ask for again
    found += [None, *steps(tape, 2, mixed)]
    expected = steps(tape_of(5), 5, mixed)
    for i in (0, 1, 3, 4):
        assert all(map(torch.equal, found[i], expected[i]))
    if isinstance(got, torch.Tensor) and got.is_floating_point():
        others = torch.cat([x[0].ravel() for x in expected])
        assert not torch.isin(got.float().ravel(), others).any()
    elif isinstance(got, torch.Tensor):
        assert got.shape == (6,)
    # and the next blocks are what two equal tapes have
    again = tape_of(5)
    steps(again, 2, mixed), steps(again, 1, odd), steps(again, 2, mixed)
    for x, y in zip(steps(tape, 7, mixed), steps(again, 7, mixed)):
        assert all(map(torch.equal, x, y))


def test_random_integers_of_another_range_are_in_it():
    tape = tape_of(50)
    steps(tape, 3, lambda tape: random_integers(1000, 20, tape))
    found = torch.cat(steps(tape, 20, lambda tape: random_integers(3, 20, tape)))
    assert torch.all((found >= 0) & (found < 3))


def test_a_tape_is_a_generator():
    tape = tape_of(3, seed=4)
    assert tape.device == CPU
    assert tape.initial_seed() == 4
    assert torch.equal(torch.randn(5, generator=tape), torch.randn(5, generator=make_generator(4)))
    assert torch.equal(
        torch.randperm(9, generator=tape_of(3, seed=4)), torch.randperm(9, generator=make_generator(4))
    )
    before = torch.get_rng_state()
    steps(tape, 5, mixed)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tape_s_numbers_are_distributed_as_they_should():
    tape = tape_of(64)
    found = steps(tape, 500, lambda tape: (normals(100)(tape), random_integers(7, 100, tape)))
    x = torch.stack([a for a, _ in found])
    assert stats.kstest(x.ravel().numpy(), stats.norm.cdf).pvalue > 1e-3
    assert abs(x.mean()) < 5 / np.sqrt(50_000)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / 50_000)
    # steps are independent of each other, also across blocks
    assert abs((x[:-1] * x[1:]).mean()) < 5 / np.sqrt(50_000)
    assert abs((x[:-64] * x[64:]).mean()) < 5 / np.sqrt(50_000)
    counts = torch.bincount(torch.cat([b for _, b in found]), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


# ---------------------------------------------------------------------------
# Arithmetic
# ---------------------------------------------------------------------------

MATMUL, CUDNN = torch.backends.cuda.matmul, torch.backends.cudnn
NEW = hasattr(MATMUL, "fp32_precision")  # from torch 2.9 on


def rounds_to_tf32():
    """Of products and of convolutions."""
    if NEW:
        return MATMUL.fp32_precision == "tf32", CUDNN.conv.fp32_precision == "tf32"
    return MATMUL.allow_tf32, CUDNN.allow_tf32


@pytest.fixture(params=[(False, True), (True, False)], ids=str)
def user_flags(request):
    """What a user may have set by the older flags, whatever it is."""
    before = MATMUL.allow_tf32, CUDNN.allow_tf32
    MATMUL.allow_tf32, CUDNN.allow_tf32 = request.param
    yield request.param
    MATMUL.allow_tf32, CUDNN.allow_tf32 = before


@pytest.mark.parametrize(("precision", "inside"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_arithmetic_sets_the_flags_and_puts_them_back(precision, inside, user_flags):
    with arithmetic(torch.device("cuda"), precision):
        assert rounds_to_tf32() == (inside, inside)
        with arithmetic(torch.device("cuda", 1)):
            assert rounds_to_tf32() == (False, False)
        assert rounds_to_tf32() == (inside, inside)
    assert (MATMUL.allow_tf32, CUDNN.allow_tf32) == user_flags
    with pytest.raises(ZeroDivisionError), arithmetic(torch.device("cuda"), precision):
        raise ZeroDivisionError
    assert rounds_to_tf32() == (MATMUL.allow_tf32, CUDNN.allow_tf32) == user_flags


@pytest.mark.skipif(not NEW, reason="this torch has the older flags alone")
def test_arithmetic_where_the_user_has_set_the_newer_flags():
    """torch refuses to read the older ones then."""
    before = MATMUL.fp32_precision, CUDNN.conv.fp32_precision
    try:
        MATMUL.fp32_precision = "tf32"
        with arithmetic(torch.device("cuda")):
            assert rounds_to_tf32() == (False, False)
        assert MATMUL.fp32_precision == "tf32"
        assert CUDNN.conv.fp32_precision == before[1]
    finally:
        MATMUL.fp32_precision, CUDNN.conv.fp32_precision = before


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_arithmetic_leaves_the_flags_alone_on_a_cpu(precision, user_flags):
    with arithmetic(CPU, precision):
        assert rounds_to_tf32() == user_flags


def test_arithmetic_keeps_other_threads_out():
    inside = threading.Event()

    def other():
        with arithmetic(torch.device("cuda")):
            inside.set()

    thread = threading.Thread(target=other)
    with arithmetic(torch.device("cuda"), "tf32"):
        thread.start()
        assert not inside.wait(0.1)
        assert rounds_to_tf32() == (True, True)
    assert inside.wait(10)
    thread.join()


def test_limited_threads():
    before = torch.get_num_threads()
    with limited_threads(3):
        assert torch.get_num_threads() == 3
        with limited_threads(None):
            assert torch.get_num_threads() == 3
        with limited_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), limited_threads(2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_limits_of_several_threads_do_not_leak():
    """Whoever leaves first, and also into threads that come later."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    entered, left, seen = threading.Event(), threading.Event(), {}

    def other():
        with limited_threads(1):
            entered.set()
            assert left.wait(10)
            seen["inside"] = torch.get_num_threads()
        seen["after"] = torch.get_num_threads()

    def later():
        seen["later"] = torch.get_num_threads()

    try:
        with limited_threads(1):
            thread = threading.Thread(target=other)
            thread.start()
            assert entered.wait(10)
            assert available_threads() == 2
        left.set()
        thread.join()
        thread = threading.Thread(target=later)
        thread.start()
        thread.join()
        assert seen == {"inside": 1, "after": 2, "later": 2}
        assert torch.get_num_threads() == available_threads() == 2
    finally:
        torch.set_num_threads(before)
