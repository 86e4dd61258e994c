"""Rows of parquet files."""

import os
import pickle
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from skswae._plan import _content, content_hash
from skswae.data import ArrayData, Blocks, DataSource, ParquetRows
from skswae.data._checks import check_source
from tests.estimators import assert_equal_fits, swae

X = (load_digits().data[:600, 18:28] / 8 - 0.5).astype(np.float32)
NAMES = [f"p{j}" for j in range(10)]


def table(rows, names=NAMES):
    return pa.table({name: np.ascontiguousarray(column) for name, column in zip(names, rows.T)})


@pytest.fixture
def folder(tmp_path):
    """600 rows in three files, with row groups of 40 rows."""
    for i, start in enumerate(range(0, 600, 200)):
        pq.write_table(table(X[start : start + 200]), tmp_path / f"part-{i}.parquet", row_group_size=40)
    return tmp_path


def few(folder, n_groups=4, **parameters):
    return ParquetRows(folder, shuffle_bytes=n_groups * 40 * 40, **parameters)


class SameOrder(ArrayData):
    """An array that is shuffled as parquet rows are."""

    def __init__(self, like):
        super().__init__(np.asarray(like))
        self.blocks = like.blocks


def counted(monkeypatch):
    """Count the row groups that are decoded."""
    from skswae.data import _parquet

    groups, decode = [], _parquet.decode

    def counting(file, group, names, rows):
        groups.append(group)
        decode(file, group, names, rows)

    monkeypatch.setattr(_parquet, "decode", counting)
    return groups


# ---------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------


def test_it_looks_like_an_array(folder):
    rows = few(folder)
    check_source(rows)
    assert (rows.shape, len(rows), rows.dtype) == (X.shape, 600, np.float32)
    assert rows.feature_names == tuple(NAMES)
    index = np.random.default_rng(0).integers(-600, 600, 90)
    mask = np.arange(600) % 7 == 0
    for i in (slice(3, 9), slice(35, 250), slice(None), slice(None, None, -3), slice(5, 5), -1, index, mask):
        np.testing.assert_array_equal(rows[i], X[i], strict=True)
    np.testing.assert_array_equal(rows[index, ...], X[index], strict=True)
    np.testing.assert_array_equal(np.asarray(rows, np.float64), X.astype(np.float64), strict=True)
    for wrong in ([600], [-601], [1.5], (0, 1)):
        with pytest.raises(IndexError):
            rows[wrong]


def test_an_array_may_be_a_copy_but_not_none(folder):
    pq.write_table(table(X[:200]), folder / "part-0.parquet")
    rows = ParquetRows(folder / "part-0.parquet")  # one block, which is kept
    changed = rows.__array__(copy=True)
    changed[:] = 0
    np.testing.assert_array_equal(np.asarray(rows), X[:200], strict=True)
    with pytest.raises(ValueError, match="Got copy=False"):
        rows.__array__(copy=False)


@pytest.mark.parametrize("n_groups", [1, 4, 100])
def test_an_epoch_decodes_each_row_group_once(folder, n_groups, monkeypatch):
    rows, groups = few(folder, n_groups), counted(monkeypatch)
    found = np.concatenate(list(rows.shuffled(7, seed=1)))
    assert len(groups) == 15
    np.testing.assert_array_equal(found, X[rows.order(1)])
    assert sorted(rows.order(1)) == list(range(600))
    assert sum(map(len, rows._kept.rows.values())) <= 40 * n_groups
    groups.clear()
    np.testing.assert_array_equal(np.concatenate(list(rows.chunks(7))), X)
    assert len(groups) == (0 if n_groups == 100 else 15)


def test_reading_ahead_changes_nothing(folder):
    rows = few(folder)
    parts = [np.array([5, 3]), slice(80, 300), np.arange(600)[::-1], slice(0, 0)] * 5
    for a, b in zip(rows.read_parts(parts), DataSource.read_parts(rows, parts), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def test_paths(folder, tmp_path, monkeypatch):
    (folder / "_metadata.parquet").write_bytes(b"no rows")
    files = [folder / f"part-{i}.parquet" for i in range(3)]
    monkeypatch.chdir(folder)
    for path in (folder, str(folder), "*part*.parquet", files, ["part-0.parquet", "part-[12].parquet"]):
        np.testing.assert_array_equal(ParquetRows(path), X)
    swapped = ParquetRows(files[::-1])
    np.testing.assert_array_equal(swapped, np.concatenate([X[400:], X[200:400], X[:200]]))
    rows = ParquetRows("part-1.parquet")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(rows, X[200:400])
    (folder / "again.parquet").symlink_to(files[2])
    (folder / "part-9.parquet").symlink_to(files[0])
    np.testing.assert_array_equal(ParquetRows(folder), np.concatenate([X[400:], X[:400]]))
    np.testing.assert_array_equal(ParquetRows(folder / "part-?.parquet"), X)


def test_columns_and_types(tmp_path):
    frame = pd.DataFrame(
        {"b": [True, False, True], "i": [2, 3, 2**24 + 1], "d": [0.1, 0.2, 0.3], "h": np.float16([1, 2, 3])},
        index=["x", "y", "z"],
    )
    frame.to_parquet(tmp_path / "a.parquet")
    rows = ParquetRows(tmp_path)
    assert rows.feature_names == ("b", "i", "d", "h")  # without the index of pandas
    np.testing.assert_array_equal(rows, frame.astype(np.float32), strict=False)
    wide = ParquetRows(tmp_path, ["d", "i"], dtype="float64")
    np.testing.assert_array_equal(wide, frame[["d", "i"]].astype(np.float64))


# ---------------------------------------------------------------------------
# Shuffling
# ---------------------------------------------------------------------------


def test_blocks():
    """Every row once; never more together than fit; a block too large by itself; no small remainder."""
    sizes = np.array([3, 5, 1, 20, 4, 4, 2, 6])
    blocks = Blocks(np.concatenate([[0], np.cumsum(sizes)]), n_together=10)
    for seed in range(20):
        order = blocks.order(seed)
        assert sorted(order) == list(range(45))
        sets = list(blocks.sets(np.random.default_rng(seed)))
        assert sorted(np.concatenate(sets)) == list(range(8))
        assert all(sizes[s].sum() <= 10 or len(s) == 1 for s in sets)
    assert len({tuple(blocks.order(seed)) for seed in range(5)}) == 5
    even = Blocks(np.arange(0, 60, 10), n_together=40)  # 5 blocks, of which 4 fit
    assert [len(s) for s in even.sets(np.random.default_rng(0))] == [3, 2]
    all_at_once = Blocks(np.arange(0, 60, 10), n_together=50)
    assert np.abs(np.diff(all_at_once.order(0))).mean() > 10


def test_small_row_groups_are_joined_and_large_ones_warned_of(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(X), path, row_group_size=1)
    rows = ParquetRows(path, shuffle_bytes=320 * 40)
    assert set(np.diff(rows.blocks.starts)) == {10}
    np.testing.assert_array_equal(np.concatenate(list(rows.shuffled(50, 0))), X[rows.order(0)])
    pq.write_table(table(X), path, row_group_size=300)
    with pytest.warns(
        RuntimeWarning, match=r"Row group 0 of .*a.parquet takes 12,000 bytes.*at most 62 rows"
    ):
        rows = ParquetRows(path, shuffle_bytes=250 * 40)
    np.testing.assert_array_equal(np.concatenate(list(rows.shuffled(50, 0))), X[rows.order(0)])


@pytest.mark.parametrize("parameters", [{"max_iter": 2}, {"early_stopping": True, "max_iter": 2}])
def test_a_fit_is_that_of_an_array_in_the_same_order(folder, parameters):
    rows = few(folder)
    same = SameOrder(rows)
    a, b = swae(**parameters).fit(rows), swae(**parameters).fit(same)
    assert list(a.feature_names_in_) == NAMES
    a.feature_names_in_ = b.feature_names_in_ = None
    assert_equal_fits(a, b)
    del a.feature_names_in_, b.feature_names_in_
    np.testing.assert_array_equal(b.transform(X), b.transform(same))


def test_passes_of_a_fit(folder, monkeypatch):
    """Checks, variances, PCA, pseudo-inputs twice, their range, the epoch, the last pass, the diagnosis."""
    rows, groups = few(folder, 1), counted(monkeypatch)
    swae(max_iter=1, early_stopping=False, n_pseudo_inputs=20).fit(rows)
    assert len(groups) < 9 * 15  # the last row group of a pass is kept for the next


def test_held_out_rows_are_read_block_by_block(folder, monkeypatch):
    rows = few(folder, 1)
    train, held_out = rows.split(0.25, seed=0)
    assert (len(train), len(held_out)) == (450, 150)
    assert sorted([*train.index, *held_out.index]) == list(range(600))
    groups = counted(monkeypatch)
    for part in (train, held_out):
        for batches in (part.shuffled(8, 0), part.chunks(8)):
            groups.clear()
            found = np.concatenate(list(batches))
            assert len(groups) == 15
            assert len(np.unique(found, axis=0)) == len(np.unique(X[part.index], axis=0))


# ---------------------------------------------------------------------------
# Names, pickles, processes and threads
# ---------------------------------------------------------------------------


def test_names_of_columns(folder):
    rows = few(folder)
    estimator = swae(max_iter=1).fit(rows)
    codes = estimator.transform(rows)
    frame = pd.DataFrame(X, columns=NAMES)
    np.testing.assert_array_equal(estimator.transform(frame), codes)
    other = few(folder, columns=NAMES[::-1])
    with pytest.raises(ValueError, match=r"feature names should match.*Got 'p9' where 'p0' was"):
        estimator.transform(other)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.transform(ArrayData(X))
    with pytest.warns(UserWarning, match="fitted without feature names"):
        swae(max_iter=1).fit(X).transform(rows)
    assert not hasattr(estimator.fit(X), "feature_names_in_")


def test_a_pickle_has_no_rows(folder):
    rows = few(folder)
    rows.read(slice(None))
    text = pickle.dumps(rows)
    assert len(text) < 4000
    np.testing.assert_array_equal(pickle.loads(text), X)


def test_a_checkpoint_knows_its_files(folder):
    def told():
        return content_hash(_content(few(folder)))

    first = told()
    assert first == told()
    used = few(folder)
    used.read(slice(None))
    assert content_hash(_content(used)) == first
    os.utime(folder / "part-1.parquet", ns=(0, 0))
    assert told() != first


def test_no_thread_is_left(folder, monkeypatch):
    rows = few(folder)

    def ended():
        for thread in threading.enumerate():
            if thread.name == "ParquetRows":
                thread.join(10)
        return not any(thread.name == "ParquetRows" for thread in threading.enumerate())

    batches = rows.shuffled(8, 0)
    next(batches)
    assert ended()  # though the caller holds the rest
    assert len(list(batches)) == 74

    def failing(x, generator):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:  # which holds what the fit had
        swae(augment=failing).fit(rows)
    assert ended()
    assert error.value.__traceback__ is not None


def test_a_forked_process_reads_while_a_thread_of_its_parent_does(folder):
    rows = few(folder)
    with rows._kept.lock:
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(rows.read(slice(None)), X) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_forked_process_goes_on_with_a_pass_of_its_parent(folder, monkeypatch):
    """The thread that reads ahead is left behind, with some of its rows unread."""
    from skswae.data import _parquet

    begun, go_on, decode = threading.Event(), threading.Event(), _parquet.decode

    def waiting(file, group, names, rows):
        if os.getpid() == parent and threading.current_thread().name == "ParquetRows" and decoded:
            begun.set()
            assert go_on.wait(10)
        decoded.append(group)
        decode(file, group, names, rows)

    monkeypatch.setattr(_parquet, "decode", waiting)
    parent, decoded = os.getpid(), []
    rows = few(folder, 100)
    ahead = _parquet._Ahead(rows, [slice(i, i + 20) for i in range(0, 600, 20)])
    assert begun.wait(10)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(np.concatenate(ahead.result()), X) else 1)
    go_on.set()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    np.testing.assert_array_equal(np.concatenate(ahead.result()), X)


# ---------------------------------------------------------------------------
# What cannot be read
# ---------------------------------------------------------------------------


def bad(value, column="p3", row=130):
    """The rows as a frame, with one other value."""
    frame = pd.DataFrame(X[:200].astype(np.float64), columns=NAMES)
    frame.loc[row, column] = value
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.inf, "'p3' has infinity in float32"), (1e300, "'p3' has infinity in float32"),
     (None, "'p3' has missing values")],
)  # fmt: skip
def test_values_that_are_no_numbers(folder, value, message):
    pq.write_table(bad(value), folder / "part-1.parquet", row_group_size=40)
    rows = few(folder)
    for use in (swae().fit, lambda rows: list(rows.shuffled(9, 0))):
        with pytest.raises(ValueError, match=rf"Row group 3 of .*part-1.parquet could not be.*{message}"):
            use(rows)


def test_nan(folder):
    values = [np.ascontiguousarray(column) for column in X[:80].T.copy()]
    values[7][50] = np.nan
    pq.write_table(pa.table(dict(zip(NAMES, values))), folder / "part-1.parquet", row_group_size=40)
    with pytest.raises(ValueError, match=r"Row group 1 of .*part-1.parquet .* the column 'p7' has NaN"):
        np.asarray(few(folder))
    np.testing.assert_array_equal(few(folder, columns=NAMES[:7])[:280], [*X[:200, :7], *X[:80, :7]])


@pytest.mark.parametrize("use", [
    lambda rows: swae().fit(rows), lambda rows: next(rows.chunks()), lambda rows: next(rows.shuffled(9, 0)),
    lambda rows: check_source(rows), np.asarray, lambda rows: rows[:3],
    lambda rows: rows.split(0.5, 0)[0].chunks().__next__(),
])  # fmt: skip
def test_files_that_change_while_their_rows_are_kept(folder, use):
    rows = few(folder, 100)
    rows.read(slice(None))
    path = folder / "part-2.parquet"
    os.utime(path, ns=(0, 0))
    with pytest.raises(ValueError, match=r"part-2.parquet could not be read: it has changed since"):
        use(rows)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"part-2.parquet could not be read: it is no longer there"):
        use(rows)


def test_files_that_change(folder):
    rows = few(folder, 1)
    rows.read(slice(0, 1))
    path = folder / "part-2.parquet"
    content = path.read_bytes()
    pq.write_table(table(X[:200] + 1), path, row_group_size=40)
    with pytest.raises(
        ValueError, match=r"Row group 0 of .*part-2.parquet could not be read: it has changed"
    ):
        rows.read(slice(400, 401))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Row group 1 of .*part-2.parquet could not be read"):
        rows.read(np.array([440, 3]))
    path.write_bytes(content[:2000] + bytes(2000) + content[4000:])
    with pytest.raises(ValueError, match=r"Row group \d of .*part-2.parquet could not be read"):
        ParquetRows(path).read(slice(None))
    path.write_bytes(content[:-8])
    with pytest.raises(ValueError, match=r"part-2.parquet must be a parquet file"):
        few(folder)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [({"s": ["a", "b"]}, TypeError, "'s' of .*z.parquet must hold floating-point.*Got string"),
     ({"s": pa.array(["a", "b"]).dictionary_encode()}, TypeError, "Got dictionary"),
     ({"s": [[1.0], [2.0]]}, TypeError, "Got list"), ({"s": [{"x": 1}, {"x": 2}]}, TypeError, "Got struct"),
     ({"s": pa.array([1, 2], pa.timestamp("s"))}, TypeError, "Got timestamp"),
     ({"s": pa.array([1, 2], pa.decimal128(5, 2))}, TypeError, "Got decimal128"),
     ({"s": pa.nulls(2)}, TypeError, "Got null"),
     ({"t": [1.0, 2.0]}, ValueError, "must have the column 's' as .*a.parquet has. Got the columns 't'"),
     ({"s": [1.0, 2.0], "t": [1.0, 2.0]}, ValueError, "Got 't' too: name the columns")],
)  # fmt: skip
def test_files_of_another_schema(tmp_path, columns, error, message):
    pq.write_table(pa.table({"s": [1.0, 2.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table(columns), tmp_path / "z.parquet")
    with pytest.raises(error, match=message):
        ParquetRows(tmp_path)
    if "t" in columns and "s" in columns:
        assert ParquetRows(tmp_path, ["s"]).shape == (4, 1)


def test_arguments(folder):
    empty = folder / "empty"
    empty.mkdir()
    none = folder / "none"
    none.mkdir()
    pq.write_table(table(X[:0]), none / "a.parquet")
    link = folder / "link"
    link.symlink_to(folder / "part-0.parquet")
    twice = folder / "twice"
    twice.mkdir()
    pq.write_table(pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], ["s", "s"]), twice / "a.parquet")
    for path, parameters, error, message in [
        (empty, {}, FileNotFoundError, "'path' argument must be a parquet file, a folder"),
        (folder / "no.parquet", {}, FileNotFoundError, "where there is none"),
        (folder / "no*", {"columns": ["s"]}, FileNotFoundError, "where there is none"),
        ([], {}, ValueError, "'path' argument must be a path or a list"),
        (3, {}, ValueError, "'path' argument must be a path or a list"),
        ([folder / "part-0.parquet"] * 2, {}, ValueError, "must name each file once"),
        ([folder, link], {}, ValueError, "must name each file once. Got .*part-0.parquet' and .*link"),
        (none, {}, ValueError, "at least one row"),
        (twice, {}, ValueError, "must name each column once. Got 's' twice"),
        (twice, {"columns": ["s"]}, ValueError, "must have the column 's' once"),
        (folder / "part-0.parquet", {"columns": "p0"}, ValueError, "must be a list of at least one name"),
        (folder / "part-0.parquet", {"columns": []}, ValueError, "must be a list of at least one name"),
        (folder / "part-0.parquet", {"columns": ["p0", "q"]}, ValueError, "must have the column 'q'. Got"),
        (folder / "part-0.parquet", {"dtype": "int8"}, ValueError, "'dtype' argument must be"),
        (folder / "part-0.parquet", {"dtype": "what"}, ValueError, "'dtype' argument must be"),
        (folder / "part-0.parquet", {"shuffle_bytes": 0}, ValueError, "'shuffle_bytes' argument must be"),
        (folder / "part-0.parquet", {"shuffle_bytes": 1e8}, ValueError, "'shuffle_bytes' argument must be"),
    ]:
        with pytest.raises(error, match=message):
            ParquetRows(path, **parameters)


def test_pyarrow_is_asked_for_by_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"skswae\[parquet\]"):
        ParquetRows(folder)
