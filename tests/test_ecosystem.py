"""What scikit-learn builds of estimators, with one of the package's inside."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  (its import enables the search)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .estimators import assert_equal_fits, swae

y = load_iris().target
NAMES = ["sl", "sw", "pl", "pw"]
CODES = ["swaetransformer0", "swaetransformer1"]


def named(iris, library):
    """A frame of four numbers and a word."""
    frame = pd.DataFrame(iris, columns=NAMES, index=range(1000, 1150)).assign(kind=np.where(y > 0, "a", "b"))
    return frame if library == "pandas" else pl.from_pandas(frame)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_names_through_column_transformer_and_union(library, iris):
    """The setting of the process, or of the outermost estimator, reaches the codes."""
    frame = named(iris, library)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(StandardScaler(), swae(max_iter=1)), NAMES),
            ("words", OneHotEncoder(sparse_output=False), ["kind"]),
        ]
    )
    union = FeatureUnion([("pca", PCA(2)), ("ae", swae(max_iter=1))])
    expected = {
        "columns": [*(f"numbers__{name}" for name in CODES), "words__kind_a", "words__kind_b"],
        "union": ["pca__pca0", "pca__pca1", *(f"ae__{name}" for name in CODES)],
    }
    for name, whole, rows in (("columns", columns, frame), ("union", union, frame[NAMES])):
        plain = clone(whole).fit_transform(rows)
        assert type(plain) is np.ndarray
        with sklearn.config_context(transform_output=library):
            by_setting = clone(whole).fit(rows)
            found = [by_setting.transform(rows)]
        by_method = clone(whole).set_output(transform=library)
        found += [by_method.fit_transform(rows), by_method.transform(rows)]
        for result in found:
            assert type(result) is type(frame)
            assert list(result.columns) == expected[name] == list(by_setting.get_feature_names_out())
            np.testing.assert_array_equal(result.to_numpy(), plain)
            if library == "pandas":
                assert result.index.equals(frame.index)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_comes_back_for_frames(library, iris):
    """Codes are frames where that is asked for; rows and scores are arrays always."""
    frame = named(iris, library)[NAMES]
    fitted = swae(max_iter=1).fit(frame).partial_fit(frame)
    plain = {name: getattr(fitted, name)(frame) for name in ("transform", "reconstruct", "score_samples")}
    assert {type(found) for found in plain.values()} == {np.ndarray}
    fitted.set_output(transform=library)
    codes = fitted.transform(frame)
    assert type(codes) is type(frame)
    assert list(codes.columns) == CODES
    np.testing.assert_array_equal(codes.to_numpy(), plain["transform"])
    for name in ("reconstruct", "score_samples"):
        np.testing.assert_array_equal(getattr(fitted, name)(frame), plain[name], strict=True)
    for found in (fitted.inverse_transform(codes), fitted.sample(150)):
        assert type(found) is np.ndarray
        assert found.shape == iris.shape


def test_a_step_is_kept_in_the_memory_of_a_pipeline(iris, tmp_path):
    steps = [("scale", StandardScaler()), ("ae", swae(max_iter=1)), ("knn", KNeighborsClassifier())]
    first = Pipeline(steps, memory=str(tmp_path)).fit(iris, y)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pkl")}
    again = clone(first).set_params(knn__n_neighbors=3).fit(iris, y)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pkl")} == files
    assert len(files) == 2
    assert_equal_fits(first["ae"], again["ae"])
    np.testing.assert_array_equal(first[:-1].transform(iris), again[:-1].transform(iris))
    clone(first).set_params(ae__beta=0.3).fit(iris, y)
    assert len(list(tmp_path.rglob("*.pkl"))) == 3


def test_metadata_reaches_the_fit(iris, routing):
    """Held-out rows go through the earlier steps, if the pipeline is told so, and through a search whole."""
    ae = swae(early_stopping=True, max_iter=2).set_fit_request(X_val=True)
    steps = [("scale", StandardScaler()), ("ae", ae), ("knn", KNeighborsClassifier())]
    pipe = Pipeline(steps, transform_input=["X_val"]).fit(iris, y, X_val=iris[:30])
    scaled = pipe["scale"].transform(iris)
    assert_equal_fits(pipe["ae"], clone(ae).fit(scaled, X_val=scaled[:30]))
    search = GridSearchCV(pipe, {"ae__n_components": [2]}, cv=2, error_score="raise")
    assert_equal_fits(search.fit(iris, y, X_val=iris[:30]).best_estimator_["ae"], pipe["ae"])
    forgotten = make_pipeline(swae(early_stopping=True), KNeighborsClassifier())
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match=r"\[X_val\] are passed but"):
        forgotten.fit(iris, y, X_val=iris[:30])


@pytest.mark.slow
def test_halving_predictions_and_stacking(iris):
    pipe = make_pipeline(StandardScaler(), swae(), KNeighborsClassifier())
    halving = {"cv": 2, "error_score": "raise", "random_state": 0}
    grid = {"swaetransformer__n_components": [1, 2, 3]}
    by_rows = HalvingGridSearchCV(pipe, grid, min_resources=40, **halving).fit(iris, y)
    epochs = {"resource": "swaetransformer__max_iter", "min_resources": 1, "max_resources": 9}
    by_epochs = HalvingGridSearchCV(pipe, grid, **epochs, **halving).fit(iris, y)
    assert by_rows.n_resources_ == [40, 120]
    assert by_epochs.n_resources_ == [1, 3]
    assert min(by_rows.best_score_, by_epochs.best_score_) > 0.8
    assert np.mean(cross_val_predict(pipe, iris, y, cv=3) == y) > 0.8
    stack = StackingClassifier([("ae", pipe), ("linear", LogisticRegression(max_iter=1000))], cv=2)
    assert stack.fit(iris, y).score(iris, y) > 0.9


@pytest.mark.optuna
def test_the_examples_with_optuna(tmp_path):
    page = pathlib.Path(__file__).parent.parent / "docs" / "scikit_learn.md"
    blocks = re.findall(r"^```{code-block} python\n(.*?)^```$", page.read_text(), re.M | re.S)
    assert len(blocks) == 2
    script = tmp_path / "search.py"
    script.write_text("".join(blocks))
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    searched, studied = done.stdout.splitlines()
    assert {"swaetransformer__beta", "swaetransformer__n_components"} == set(re.findall(r"'(\w+)'", searched))
    assert {"beta", "n_components"} == set(re.findall(r"'(\w+)'", studied))
