"""Where batches come from."""

import numpy as np
import pytest
import torch

from skswae._rows import HostSource, Rows, TensorSource

CPU = torch.device("cpu")


def numbered(n=25, d=3, dtype=np.float64):
    """Rows that tell their number: the first column."""
    X = np.arange(n * d).reshape(d, n).T
    return np.ascontiguousarray(X, dtype=dtype)


def host(X, **options):
    return HostSource(Rows(X, **options), CPU)


def on_device(X):
    return TensorSource(torch.from_numpy(X))


@pytest.fixture(params=[host, on_device], ids=["HostSource", "TensorSource"])
def make_source(request):
    return request.param


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (25, 10, [13, 12]),
        (30, 10, [10, 10, 10]),
        (10, 10, [10]),
        (9, 10, [9]),
        (1, 10, [1]),
        (5, 1, [1] * 5),
        (99, 10, [11] * 9),
        (23, 7, [8, 8, 7]),
    ],
)
def test_an_epoch_has_every_row_once_in_even_batches(make_source, n, batch_size, sizes):
    X = numbered(n)
    source = make_source(X)
    assert len(source) == n
    assert source.n_batches(batch_size) == len(sizes)
    for seed in range(3):
        batches = list(source.shuffled(batch_size, seed))
        assert [len(b) for b in batches] == sizes
        found = torch.cat(batches).numpy()
        np.testing.assert_array_equal(found[found[:, 0].argsort()], X)  # whole rows


def test_the_seed_decides_the_order(make_source):
    source = make_source(numbered(200))

    def order(seed):
        return torch.cat(list(source.shuffled(16, seed)))[:, 0].tolist()

    assert order(3) == order(3)
    orders = [order(seed) for seed in range(5)]
    assert len({tuple(o) for o in orders}) == 5
    assert all(o != sorted(o) for o in orders)


def test_the_order_does_not_depend_on_the_size_of_a_batch(make_source):
    source = make_source(numbered(50))
    assert torch.equal(torch.cat(list(source.shuffled(7, 1))), torch.cat(list(source.shuffled(50, 1))))


def test_every_row_comes_equally_often_at_each_place():
    source = on_device(numbered(4))
    first = [next(iter(source.shuffled(1, seed)))[0, 0].int().item() for seed in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(2000 * 3 / 16))


def test_global_streams_do_not_move(make_source):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(make_source(numbered()).shuffled(4, 0))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("batch_size", [1, 7, 25, 100])
def test_in_order(make_source, batch_size):
    X = numbered()
    batches = list(make_source(X).in_order(batch_size))
    np.testing.assert_array_equal(torch.cat(batches), X)
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch_size


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("where", ["memory", "read-only memory", "file", "part"])
def test_both_sources_give_the_same_batches(dtype, where, tmp_path):
    """In the dtype of the rows, from wherever they are."""
    X = numbered(40, dtype=dtype)
    index = None
    if where == "file":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert isinstance(X, np.memmap)
    elif where == "read-only memory":
        X.flags.writeable = False
    elif where == "part":
        index = np.random.default_rng(0).permutation(40)[:31]
    rows = Rows(X, index=index)
    first, second = HostSource(rows, CPU), TensorSource(rows.raw(slice(None)))
    chosen = np.array(X if index is None else X[index])
    assert len(first) == len(second) == len(chosen)
    for name, options in [("shuffled", (6, 5)), ("in_order", (7,))]:
        batches = [list(getattr(source, name)(*options)) for source in (first, second)]
        assert [b.dtype for b in batches[0]] == [torch.from_numpy(chosen[:1].copy()).dtype] * len(batches[0])
        assert len(batches[0]) == len(batches[1])
        for a, b in zip(*batches):
            assert torch.equal(a, b)
        found = torch.cat(batches[0]).numpy()
        np.testing.assert_array_equal(found if name == "in_order" else np.sort(found, axis=0),
                                      chosen if name == "in_order" else np.sort(chosen, axis=0))  # fmt: skip


@pytest.mark.parametrize("n", [1, 4096, 4097, 9000])
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_rows_on_a_device_are_all_rows_as_they_came(n, dtype):
    X = numbered(n, dtype=dtype)
    index = np.random.default_rng(0).permutation(n)[: max(1, n - 7)]
    for part in (None, index):
        found = Rows(X, index=part).on(CPU)
        np.testing.assert_array_equal(found, X if part is None else X[part], strict=True)
        found.zero_()
    np.testing.assert_array_equal(X, numbered(n, dtype=dtype))


@pytest.mark.parametrize("order", ["shuffled", "in_order"])
def test_a_batch_is_the_caller_s(order, tmp_path):
    """Changing it in place, as a network may, changes neither the rows nor a read-only file."""
    X = numbered(20)
    np.save(tmp_path / "X.npy", X)
    for rows in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        source = host(rows)
        for x in source.shuffled(5, 0) if order == "shuffled" else source.in_order(5):
            x.zero_()
    np.testing.assert_array_equal(X, numbered(20))
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


def test_rows_are_read_batch_by_batch():
    """One batch at a time, when it is asked for: a file may be larger than the memory."""

    class Counted(Rows):
        n_read = 0

        def raw(self, rows):
            raw = super().raw(rows)
            self.n_read += len(raw)
            return raw

    rows = Counted(numbered(100))
    batches = HostSource(rows, CPU).shuffled(10, 0)
    assert rows.n_read == 0
    for i in range(3):
        next(batches)
        assert rows.n_read == 10 * (i + 1)


# ---------------------------------------------------------------------------
# The two pinned buffers, on a device made of lists
# ---------------------------------------------------------------------------


class FakeDevice:
    """Copies that arrive as late as they may: when their event is waited for by host or stream."""

    type = "cuda"

    def __init__(self):
        self.pending = []  # (event, source, target), not yet copied
        self.n_early = 0  # batches that nothing waited for
        self.pinned = []
        self.most_pending = 0

    def arrive(self, event):
        """What was sent up to the event's last record."""
        while any(e is event for e, _, _ in self.pending):
            _, source, target = self.pending.pop(0)
            target.copy_(source)


def test_a_pinned_buffer_is_not_filled_while_it_is_on_its_way(monkeypatch):
    device = FakeDevice()
    sent = []

    class Event:
        def record(self, stream):
            device.pending += [(self, *pair) for pair in sent]
            sent.clear()
            device.most_pending = max(device.most_pending, len(device.pending))

        def synchronize(self):
            device.arrive(self)

    class Stream:
        def __init__(self, *_):
            self.waits = []

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait_event(self, event):
            self.waits.append(event)

    computing = Stream()

    class Sent(torch.Tensor):
        """A pinned buffer, whose copies to the device are late."""

        def to(self, target, non_blocking=False):
            assert target is device
            assert non_blocking
            late = torch.full(self.shape, -1, dtype=self.dtype).as_subclass(Arrived)
            sent.append((self.as_subclass(torch.Tensor), late))
            return late

    class Arrived(torch.Tensor):
        def record_stream(self, stream):
            assert stream is computing

    real_empty = torch.empty

    def empty(*args, pin_memory=False, **options):
        tensor = real_empty(*args, **options)
        if not pin_memory:
            return tensor
        device.pinned.append(tensor)
        return tensor.as_subclass(Sent)

    monkeypatch.setattr(torch, "empty", empty)
    for name, fake in [
        ("Stream", Stream),
        ("Event", Event),
        ("current_stream", lambda _: computing),
        ("stream", lambda stream: stream),
    ]:
        monkeypatch.setattr(torch.cuda, name, fake)

    X = numbered(50, dtype=np.int64)
    source = HostSource(Rows(X), device)
    expected = list(host(X).shuffled(8, 3))  # sizes 9, 9, 8, ...
    found = []
    for batch in source.shuffled(8, 3):
        found.append(batch)
        # the computing stream was told to wait for this copy, and may do so as late as it likes
        assert computing.waits[-1] in [event for event, _, _ in device.pending]
    assert device.most_pending == 2  # one is filled while the other is on its way
    assert len({id(event) for event in computing.waits}) == 2
    for event in computing.waits[-2:]:
        device.arrive(event)
    assert len(device.pinned) == 2
    assert [len(b) for b in found] == [len(b) for b in expected]
    for a, b in zip(found, expected):
        assert torch.equal(a.as_subclass(torch.Tensor), b)
    # in order the last batch is the smallest, and one longer than its buffer gets a new one
    found = list(source.in_order(20))
    for event in computing.waits[-2:]:
        device.arrive(event)
    np.testing.assert_array_equal(torch.cat([b.as_subclass(torch.Tensor) for b in found]), X)
