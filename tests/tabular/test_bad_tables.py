"""Tables and parameters that cannot be used: errors that name the column or the parameter."""

import datetime
from datetime import timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skswae import AETransformer, SWAETransformer, VAETransformer
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from ..estimators import cheap
from .people import holes, people

X = people(60)
ZONED = X["born"].dt.tz_localize("Europe/Berlin")


def table_ae(Estimator=AETransformer, inner=None, **parameters):
    estimator = cheap(Estimator, **{"network": GatedMLP((8,)), "max_iter": 1, **(inner or {})})
    return TableAutoencoder(estimator, random_state=0, **parameters)


@pytest.fixture(scope="module")
def fitted():
    return table_ae().fit(X)


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        (X.assign(age=np.nan), ValueError, "Column 'age' of X must have a value that is not missing"),
        (X.assign(age=None), ValueError, "Column 'age' of X must have a value that is not missing"),
        (X.assign(born=pd.NaT), ValueError, "Column 'born' of X must have a value that is not missing"),
        (
            X.assign(mix=[1, "a"] * 30),
            TypeError,
            "Column 'mix' of X must hold .* of one type. Got .*int, str",
        ),
        (
            X.assign(mix=pd.Categorical([Decimal(i % 3) for i in range(60)])),
            TypeError,
            r"Column 'mix' of X must be of a type that a model file can hold. .* Got Decimal\('0'\)",
        ),
        (
            X.assign(when=ZONED.dt.tz_convert(timezone(timedelta(hours=1), "here"))),
            TypeError,
            "Column 'when' of X must be of a type that a model file can hold. .* Got datetime64",
        ),
        (X.assign(mix=[[1]] * 60), TypeError, "Column 'mix' of X must hold .* Got .*list"),
        (X.assign(mix=1j), TypeError, "Column 'mix' of X must hold .* Got complex"),
        (X.assign(fare=np.inf), ValueError, "Column 'fare' of X must hold finite or missing values"),
        (X.assign(when=[ZONED.iloc[0], X["born"].iloc[0]] * 30), TypeError, "Column 'when' of X"),
        (pd.concat([X, X[["age"]]], axis=1), ValueError, "names of their own. Got two of 'age'"),
        (X[["ship"]], ValueError, "X must have a column of two values or more"),
        (X[:1], ValueError, "X must have at least 2 rows to be learned. Got n_samples=1"),
        (X[:0], ValueError, "0 sample"),
        (X[[]], ValueError, "0 feature"),
        (X.set_axis([("a", i) for i in range(8)], axis=1), TypeError, "Names of columns of X"),
        (X["age"], ValueError, "2-dimensional"),
        (
            X.to_numpy(),
            ValueError,
            "X must be a frame of pandas or polars, or an array of numbers alone: could not",
        ),
        (scipy.sparse.eye(5), TypeError, "Sparse"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), ValueError, "infinity"),
        (pl.LazyFrame({"a": [1, 2]}), TypeError, "call its collect"),
        (pl.DataFrame({"a": [1, 2], "b": [[1], [2]]}), TypeError, "Column 'b' of X must hold"),
        (pl.DataFrame({"a": [1, 2], "b": [None, None]}), ValueError, "Column 'b' of X must have a value"),
        (None, ValueError, "2D array"),
    ],
)
def test_no_table_to_learn(table, error, match):
    with pytest.raises(error, match=match):
        table_ae().fit(table)


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        (X.assign(new=1), ValueError, "names unseen at fit time:\n- new"),
        (X.drop(columns="age"), ValueError, "yet now missing:\n- age"),
        (X.rename(columns={"age": "Age"}), ValueError, r"unseen at fit time:\n- Age\n.*now missing:\n- age"),
        (pd.concat([X, X[["age"]]], axis=1), ValueError, "names of their own. Got two of 'age'"),
        (X.assign(age="old"), TypeError, "Column 'age' of X must hold numbers, as in fit"),
        (
            X.assign(age=X["born"]),
            TypeError,
            "Column 'age' of X must hold numbers, as in fit. Got datetime64",
        ),
        (X.assign(sex=1), TypeError, "Column 'sex' of X must hold categories, as in fit. Got int64"),
        (X.assign(alone=2), TypeError, "Column 'alone' of X must hold booleans, as in fit"),
        (X.assign(born=ZONED), TypeError, "Column 'born' of X must have no time zone, as in fit"),
        (X.assign(born=1.0), TypeError, "Column 'born' of X must hold values of type datetime"),
        (X.assign(fare=-np.inf), ValueError, "Column 'fare' of X must hold finite"),
        (
            X.assign(sex="other"),
            ValueError,
            "Column 'sex' of X must have no levels but those seen .* 'other'",
        ),
        (X.assign(ship=3), TypeError, "Column 'ship' of X must hold categories"),
        (X[:0], ValueError, "0 sample"),
        (np.ones((3, 7)), ValueError, "X has 7 features, but .* is expecting 8"),
    ],
)
def test_another_table_than_the_fitted(fitted, table, error, match):
    calls = [fitted.transform, fitted.impute, fitted.score_samples, fitted.predict, fitted.reconstruct]
    for call in (*calls, lambda table: fitted.impute(table, n_draws=1)):
        with pytest.raises(error, match=f"(?s){match}"):
            call(table)


def test_zones():
    """Another zone is converted; with and without do not go together."""
    table = X.assign(born=ZONED)
    model = table_ae().fit(table)
    elsewhere = table.assign(born=ZONED.dt.tz_convert("Asia/Tokyo"))
    np.testing.assert_array_equal(model.transform(elsewhere), model.transform(table))
    assert model.impute(elsewhere)["born"].dtype == elsewhere["born"].dtype
    with pytest.raises(TypeError, match="Column 'born' of X must have a time zone, as in fit"):
        model.transform(X)


def test_unknown_levels_as_others():
    model = table_ae(handle_unknown="other").fit(X)
    strange = X.assign(sex="other")
    assert (model.impute(strange)["sex"] == "other").all()  # no hole
    assert set(model.reconstruct(strange)["sex"]) <= {"female", "male"}
    assert not np.array_equal(model.transform(strange), model.transform(X.assign(sex=None)))
    known = [model.score_samples(X.assign(sex=sex)) for sex in ("female", "male")]
    assert (model.score_samples(strange) < np.maximum(*known)).all()
    assert model.score(strange) < min(scores.mean() for scores in known) - 1.0


@pytest.mark.parametrize(
    "codes", [np.zeros((2, 3)), np.full((2, 2), np.nan), [["a", "b"]], np.zeros(2)], ids=str
)
def test_no_codes(fitted, codes):
    with pytest.raises(ValueError, match=r"X|2D"):
        fitted.inverse_transform(codes)


def test_codes_far_out(fitted):
    found = fitted.inverse_transform(np.full((2, 2), 1e30))
    assert not holes(found).any()
    assert found["age"].between(X["age"].min(), X["age"].max()).all()


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"column_weights": {"nope": 1}}, "'column_weights' parameter must name columns of X. Got 'nope'"),
        ({"column_weights": {"age": -1}}, "'column_weights' parameter must hold numbers .* -1 for 'age'"),
        ({"column_weights": {"age": np.nan}}, "'column_weights' parameter must hold numbers"),
        ({"column_weights": {"age": "2"}}, "'column_weights' parameter must hold numbers"),
        ({"column_weights": {"age": True}}, "'column_weights' parameter must hold numbers"),
        ({"column_weights": [1.0] * 8}, "'column_weights' parameter of TableAutoencoder"),
        ({"categorical_features": ["nope"]}, "'categorical_features' parameter must be names of columns"),
        ({"categorical_features": [True]}, "'categorical_features' parameter must be a mask of 8 columns"),
        ({"categorical_features": [8]}, "'categorical_features' parameter must be positions"),
        ({"categorical_features": None}, "'categorical_features' parameter"),
        ({"number_map": "rank"}, "'number_map' parameter must be 'quantile' or 'standard'"),
        ({"number_map": ["quantile"]}, "'number_map' parameter must be 'quantile' or 'standard'"),
        ({"handle_unknown": np.array(["error", "other"])}, "'handle_unknown' parameter must be 'error' or"),
        ({"min_frequency": 0}, "'min_frequency' parameter"),
        ({"min_frequency": 1.5}, "'min_frequency' parameter"),
        ({"hidden_share": 0.3}, "'hidden_share' parameter of TableAutoencoder"),
        ({"contamination": 0.6}, "'contamination' parameter of TableAutoencoder"),
        (
            {"inner": {"output_activation": "sigmoid"}},
            "'output_activation' parameter of the estimator .* 'sigmoid'",
        ),
        ({"inner": {"input_components": 5}}, "'input_components' parameter of the estimator .* Got 5"),
        ({"inner": {"scaling": None}}, "'scaling' parameter of the estimator .* Got None"),
        ({"inner": {"augment": np.negative}}, "'augment' parameter of the estimator .* must be None"),
        (
            {"inner": {"warm_start": True}},
            "'warm_start' parameter of the estimator .* must be False. Got True",
        ),
        ({"inner": {"reconstruction": "absolute_error"}}, "'reconstruction' parameter of the estimator"),
        ({"inner": {"n_components": 0}}, "'n_components' parameter of AETransformer"),
    ],
    ids=str,
)
def test_parameters(parameters, match):
    with pytest.raises(ValueError, match=match):
        table_ae(**parameters).fit(X)


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (VAETransformer(likelihood="bernoulli"), "'likelihood' parameter of the estimator .* 'bernoulli'"),
        (
            make_pipeline(SWAETransformer()),
            "'estimator' parameter of TableAutoencoder must be .* Got Pipeline",
        ),
        (PCA(2), "'estimator' parameter of TableAutoencoder must be .* Got PCA"),
        ("swae", "'estimator' parameter of TableAutoencoder must be"),
        (TableAutoencoder(), "'estimator' parameter must be an autoencoder of this package"),
    ],
    ids=str,
)
def test_estimators(estimator, match):
    with pytest.raises(ValueError, match=match):
        TableAutoencoder(estimator).fit(X)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        ([1, "a"] * 30, "'y' argument must hold classes of one type: numbers or texts. Got int, str"),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 30, "'y' argument .* Got date"),
        ([(1, 2), (3, 4)] * 30, "'y' argument .* Got tuple"),
        ([1.0, np.inf] * 30, "'y' argument must hold classes. Got inf"),
        ([1e300, 2e300] * 30, "'y' argument must hold classes"),
        (["a"] * 60, "'y' argument must hold at least two classes, .* Got 1"),
        ([-1, 1] * 30, "'y' argument must hold at least two classes, .* Got 1"),
        ([None] * 60, "'y' argument must hold at least two classes, .* Got 0"),
        (["a", "b"], "inconsistent numbers of samples"),
        (np.zeros((60, 2)), "1d array"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_classes(y, match):
    with pytest.raises(ValueError, match=match):
        table_ae().fit(X, y)


def test_a_target_of_numbers_is_left_out_so_that_a_regressor_may_follow():
    target = np.linspace(0, 1, 60)
    model = make_pipeline(table_ae(), Ridge())
    with pytest.warns(UserWarning, match="it leaves y out"):
        model.fit(X, target)
    assert model.predict(X).shape == (60,)
    assert not hasattr(model[0], "classes_")


def test_labels_that_differ_from_row_to_row():
    """All but a few of the texts are one row's: a warning that names the column, and none for kinds."""
    names = [f"n{min(i, 55)}" for i in range(60)]
    with pytest.warns(UserWarning, match="Column 'name' of X has a level of their own for 55 of the 60 rows"):
        table_ae().fit(X.assign(name=names))
    table_ae().fit(X.assign(name=[f"n{min(i, 54)}" for i in range(60)]))
    table_ae().fit(X.assign(name=[f"n{i // 2}" for i in range(60)]))


@pytest.mark.parametrize("n_draws", [0, -1, True, 1.5, "2"])
def test_numbers_of_draws(fitted, n_draws):
    with pytest.raises(ValueError, match="'n_draws' argument must be an integer of at least 1, or None"):
        fitted.impute(X, n_draws=n_draws)


def test_classes_that_were_not_fitted(fitted):
    for call in (fitted.predict_target, fitted.predict_target_proba):
        with pytest.raises(ValueError, match="must be fitted with classes y"):
            call(X)
