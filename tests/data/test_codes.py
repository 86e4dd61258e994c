"""Codes of all rows of a source, in a parquet file."""

import builtins
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skswae.data import BatchRows, LocalRows, ParquetRows, transform_parquet
from tests.data.stores import Store
from tests.estimators import swae
from tests.test_data_sources import Waves


@pytest.fixture(scope="module")
def model():
    return swae(max_iter=1).fit(Waves(60))


def written(path):
    table = pq.read_table(path)
    return table.column_names, np.column_stack([column.to_numpy() for column in table.columns])


@pytest.mark.parametrize("make", [None, np.array, Store])
def test_codes_are_those_of_transform(make, model, tmp_path):
    rows = Waves(5000)
    source = rows if make is None else make(rows.read(slice(None)))
    transform_parquet(model, source, tmp_path / "Z.parquet", row_group_size=1500)
    names, Z = written(tmp_path / "Z.parquet")
    assert names == ["swaetransformer0", "swaetransformer1"]
    np.testing.assert_array_equal(Z, model.transform(rows), strict=True)
    metadata = pq.ParquetFile(tmp_path / "Z.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(4)] == [1500, 1500, 1500, 500]
    assert rows.most_read <= 5000


def test_a_source_is_read_part_by_part(model, tmp_path):
    rows = Waves(9000)
    transform_parquet(model, rows, tmp_path / "Z.parquet")
    assert rows.most_read == 4096
    assert pq.ParquetFile(tmp_path / "Z.parquet").num_row_groups == 1


@pytest.mark.parametrize("make", [lambda c: c, pa.table, pd.DataFrame])
def test_columns_are_carried_along(make, model, tmp_path):
    ids = [f"row {i}" for i in range(50)]
    columns = make({"id": ids, "weight": np.arange(50) / 2})
    transform_parquet(model, Waves(50), tmp_path / "Z.parquet", with_columns=columns, row_group_size=20)
    table = pq.read_table(tmp_path / "Z.parquet")
    assert table.column_names == ["id", "weight", "swaetransformer0", "swaetransformer1"]
    assert table["id"].to_pylist() == ids
    np.testing.assert_array_equal(table["weight"], np.arange(50) / 2)


def test_names_of_columns_go_with_the_rows(iris, tmp_path):
    """From parquet to parquet: an estimator that has seen names sees them again, and warns of none."""
    frame = pd.DataFrame(iris, columns=list("abcd"))
    frame.to_parquet(tmp_path / "X.parquet")
    rows = ParquetRows(tmp_path / "X.parquet", dtype="float64")
    for model in (swae(max_iter=1).fit(rows), make_pipeline(StandardScaler(), swae(max_iter=1)).fit(frame)):
        transform_parquet(model, rows, tmp_path / "Z.parquet")
        np.testing.assert_array_equal(written(tmp_path / "Z.parquet")[1], model.transform(frame))
        transform_parquet(model, frame, tmp_path / "Z.parquet")
        np.testing.assert_array_equal(written(tmp_path / "Z.parquet")[1], model.transform(frame))
    with pytest.raises(ValueError, match="rows 0 to 149: The feature names should match"):
        transform_parquet(model, ParquetRows(tmp_path / "X.parquet", list("abdc")), tmp_path / "Z.parquet")


def test_a_frame_of_mixed_columns(iris, tmp_path):
    frame = pd.DataFrame(iris, columns=list("abcd")).assign(kind=["x", "y", "z"] * 50)
    kind = OneHotEncoder(sparse_output=False), ["kind"]
    columns = make_column_transformer(kind, remainder="passthrough")
    model = make_pipeline(columns, swae(max_iter=1)).fit(frame)
    transform_parquet(model, frame, tmp_path / "Z.parquet")
    np.testing.assert_array_equal(written(tmp_path / "Z.parquet")[1], model.transform(frame))
    model = clone(model).set_output(transform="pandas").fit(frame)
    transform_parquet(model, frame, tmp_path / "P.parquet")
    assert written(tmp_path / "P.parquet")[0] == written(tmp_path / "Z.parquet")[0]


def test_names_of_columns_need_no_pandas(iris, tmp_path, monkeypatch):
    pq.write_table(pa.table(dict(zip("abcd", iris.T.copy()))), tmp_path / "X.parquet")
    rows = ParquetRows(tmp_path / "X.parquet", dtype="float64")
    model = swae(max_iter=1).fit(rows)
    pipe = make_pipeline(StandardScaler(), model).fit(pd.DataFrame(iris, columns=list("abcd")))
    model = clone(model).fit(rows)
    monkeypatch.setitem(sys.modules, "pandas", None)
    transform_parquet(model, rows, tmp_path / "Z.parquet")
    np.testing.assert_array_equal(written(tmp_path / "Z.parquet")[1], model.transform(rows))
    with pytest.raises(ImportError, match=r"needs pandas for a Pipeline that .* names of columns: pip"):
        transform_parquet(pipe, rows, tmp_path / "Z.parquet")


def test_the_rows_are_not_replaced_by_codes(iris, tmp_path):
    path = tmp_path / "X.parquet"
    pq.write_table(pa.table(dict(zip("abcd", iris.T.copy()))), path)
    np.save(tmp_path / "X.npy", iris)
    np.save(tmp_path / "i.npy", iris.astype(int))
    (tmp_path / "link").symlink_to(path)
    rows = ParquetRows(tmp_path)
    model = swae(max_iter=1).fit(rows)
    for source, target in [
        (rows, path), (rows, tmp_path / "link"), (LocalRows(rows), path),
        *[(np.load(tmp_path / name, "r"), tmp_path / name) for name in ("X.npy", "i.npy")],
        (np.load(tmp_path / "X.npy", "r")[:9], tmp_path / "X.npy"),
    ]:  # fmt: skip
        before = target.read_bytes()
        with pytest.raises(ValueError, match=r"'path' argument must not be a file of the source. Got '.*/"):
            transform_parquet(model, source, target)
        assert target.read_bytes() == before
    model = swae(max_iter=1).fit(iris)
    transform_parquet(model, LocalRows(iris), tmp_path / "Z.parquet")
    np.testing.assert_array_equal(written(tmp_path / "Z.parquet")[1], model.transform(iris))


class Narrow(TransformerMixin, BaseEstimator):
    """Returns fewer columns than it has named."""

    def fit(self, X):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        return X[:, :1]

    def get_feature_names_out(self):
        return ["a", "b"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [({"source": Waves(9000, nan_at=8200)}, ValueError, "'source' argument, rows 8192 to 8999: .* NaN"),
     ({"source": Waves(9, n_features=4)}, ValueError, "rows 0 to 8: X has 4 features, but SWAETransformer"),
     ({"source": np.zeros((0, 5))}, ValueError, "'source' argument must have at least 1 row. Got none"),
     ({"source": BatchRows([np.zeros((9, 5))], 9)}, TypeError, "order of their own. Got BatchRows"),
     ({"path": 3}, TypeError, "'path' argument must be a path. Got int"),
     ({"path": "no/folder"}, FileNotFoundError, "folder of this file does not exist"),
     ({"row_group_size": 0}, ValueError, "'row_group_size' argument must be an integer .* Got 0"),
     ({"with_columns": {"id": [1, 2]}}, ValueError, "'with_columns' argument must have 9 rows.* Got 2"),
     ({"with_columns": {"swaetransformer1": range(9)}}, ValueError, r"none of those .* Got \['swaetransf"),
     ({"with_columns": {"a": [1], "b": []}}, ValueError, "must be a table, a frame or a dict of arrays"),
     ({"with_columns": pd.Series(range(9))}, TypeError, "a table, a frame or a dict of arrays. Got Series: "),
     ({"with_columns": 3}, TypeError, "must be a table, a frame or a dict of arrays"),
     ({"estimator": swae()}, NotFittedError, "not fitted"),
     ({"estimator": Narrow()}, ValueError, r"dense arrays of 2 columns.* Got \(9, 1\) from 9 rows")],
)  # fmt: skip
def test_a_failure_leaves_the_file_as_it_was(change, error, message, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "Z.parquet"
    path.write_bytes(b"the file from before")
    with pytest.raises(error, match=message):
        transform_parquet(**{"estimator": model, "source": Waves(9), "path": path, **change})
    assert [p.name for p in tmp_path.iterdir()] == ["Z.parquet"]
    assert path.read_bytes() == b"the file from before"


def test_without_pyarrow(model, tmp_path, monkeypatch):
    real = builtins.__import__

    def importing(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ImportError, match=r"pip install 'skswae\[parquet\]'. No module named 'pyarrow"):
        transform_parquet(model, Waves(9), tmp_path / "Z.parquet")
