"""Tables in and out, and what scikit-learn expects of an estimator."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skswae import AETransformer, SWAETransformer, VAETransformer, load_model, save_model
from skswae.networks import GatedMLP
from skswae.outliers import OutlierDetector
from skswae.persistence import TRUSTED_TYPES
from skswae.tabular import TableAutoencoder

from ..estimators import ESTIMATORS, assert_equal_fits, cheap
from .people import LIBRARIES, assert_like, holes, people, to_pandas


def table_ae(Estimator=AETransformer, inner=None, **parameters):
    """An unfitted model that takes a tenth of a second to fit."""
    estimator = cheap(Estimator, **{"network": GatedMLP((8,)), "max_iter": 1, **(inner or {})})
    return TableAutoencoder(estimator, **{"random_state": 0, **parameters})


@pytest.fixture(scope="module")
def X():
    return people()


@pytest.fixture(scope="module")
def y(X):
    return np.where(X["fare"] > X["fare"].median(), "dear", "cheap")


@pytest.fixture(scope="module")
def fitted(X, y):
    """One fit that tests only read."""
    return table_ae(SWAETransformer).fit(X, y)


@parametrize_with_checks([TableAutoencoder(cheap(AETransformer, network=GatedMLP((8,)), max_iter=2))])
@pytest.mark.slow
def test_sklearn_checks(estimator, check):
    check(estimator)


# ---------------------------------------------------------------------------
# The ten lines
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Estimator", "library"),
    [
        pytest.param(
            Estimator,
            library,
            marks=() if Estimator in (SWAETransformer, VAETransformer) else pytest.mark.slow,
        )
        for Estimator, library in zip(ESTIMATORS, [*LIBRARIES, "numpy", "polars"], strict=True)
    ],
)
def test_ten_lines(X, Estimator, library):
    df = LIBRARIES[library](X)
    model = table_ae(Estimator, {"n_components": 3, "max_iter": 3}).fit(df)
    Z = model.transform(df)
    assert Z.shape == (len(X), 3)
    assert np.isfinite(Z).all()
    back = model.inverse_transform(Z)
    assert_like(back, df)
    assert len(back) == len(X)
    assert not holes(back).any()
    new = model.sample(50, random_state=0)
    assert_like(new, df)
    assert not holes(new).any()
    girls = model.sample(10, conditions={"sex": "female", "age": (0, 30)}, random_state=0)
    assert_like(girls, df)
    found = to_pandas(girls)
    assert (found["sex"] == "female").all()
    assert found["age"].between(1, 30).all()
    full, (draw, other) = model.impute(df), model.impute(df, n_draws=2, random_state=0)
    mask = holes(df)
    assert mask.any()
    for imputed in (full, draw, other):
        assert_like(imputed, df)
        assert not holes(imputed).any()
        same = to_pandas(imputed).astype(object).where(~mask), to_pandas(df).astype(object).where(~mask)
        pd.testing.assert_frame_equal(*same)
    assert not to_pandas(draw).equals(to_pandas(other))
    scores, low = model.score_samples(df), model.predict(df)
    assert (low == -1).sum() == round(0.1 * len(X))
    np.testing.assert_array_equal(low == -1, scores < model.offset_)
    np.testing.assert_array_equal(model.decision_function(df), scores - model.offset_)


@pytest.mark.slow
def test_libraries_are_one(X):
    """The same values in another library are the same rows."""
    model = table_ae().fit(X)
    for make in LIBRARIES.values():
        np.testing.assert_array_equal(model.transform(make(X)), model.transform(X))
        again = table_ae().fit(make(X))
        np.testing.assert_array_equal(again.transform(make(X)), model.transform(X))
        assert again.offset_ == model.offset_


def test_arrays():
    X = np.random.default_rng(0).standard_normal((40, 3))
    X[::4, 1] = np.nan
    model = table_ae(column_weights={1: 2.0}).fit(X)
    assert_like(model.sample(3), X)
    full = model.impute(X)
    assert_like(full, X)
    np.testing.assert_array_equal(full[~np.isnan(X)], X[~np.isnan(X)])
    np.testing.assert_array_equal(model.transform(torch.from_numpy(X)), model.transform(X))
    np.testing.assert_array_equal(model.transform(X.tolist()), model.transform(X))
    assert model.sample(9, conditions={1: (0, None)}, random_state=0)[:, 1].min() >= 0
    whole = np.arange(40).reshape(20, 2)
    assert_like(table_ae().fit(whole).sample(5), whole)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 3


@pytest.mark.parametrize("index", [[0] * 120, pd.MultiIndex.from_product([range(12), range(10)])], ids=str)
def test_any_index(X, fitted, index):
    moved = X.set_axis(index)
    assert fitted.impute(moved).index.equals(moved.index)
    assert fitted.impute(moved, n_draws=1)[0].index.equals(moved.index)
    assert fitted.reconstruct(moved).index.equals(moved.index)
    np.testing.assert_array_equal(fitted.impute(moved)["fare"], X["fare"])


# ---------------------------------------------------------------------------
# An estimator of scikit-learn
# ---------------------------------------------------------------------------


def test_order_of_columns(X, fitted):
    turned = X[X.columns[::-1]]
    np.testing.assert_array_equal(fitted.transform(turned), fitted.transform(X))
    full = fitted.impute(turned)
    assert_like(full, turned)
    pd.testing.assert_frame_equal(full[X.columns], fitted.impute(X))
    assert list(fitted.feature_names_in_) == list(X.columns)
    numbered = X.set_axis(range(8), axis=1)
    model = clone(fitted).fit(numbered)
    assert_like(model.sample(2), numbered)
    assert not hasattr(model, "feature_names_in_")
    assert set(model.sample(5, conditions={1: "male"}, random_state=0)[1]) == {"male"}


def test_repeats(X, y, fitted):
    before = X.copy()
    again = clone(fitted).fit(X, y)
    assert_equal_fits(again.estimator_, fitted.estimator_)
    pd.testing.assert_frame_equal(X, before)
    assert (again.offset_, again.codec_.columns[0].low) == (fitted.offset_, fitted.codec_.columns[0].low)
    for draw in (
        functools.partial(TableAutoencoder.sample, n_samples=9),
        functools.partial(TableAutoencoder.sample, n_samples=9, conditions={"sex": "male"}),
        lambda model, random_state: model.impute(X, n_draws=2, random_state=random_state)[1],
    ):
        pd.testing.assert_frame_equal(draw(again, random_state=5), draw(fitted, random_state=5))
        assert not draw(fitted, random_state=6).equals(draw(fitted, random_state=5))
    assert not fitted.sample(30).equals(fitted.sample(30))
    other = clone(fitted).set_params(random_state=np.random.default_rng(3)).fit(X, y)
    assert (other.transform(X) != fitted.transform(X)).any()


def test_no_stream_of_others_is_touched(X, fitted):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    fitted.sample(3, conditions={"sex": "male"})
    fitted.impute(X, n_draws=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_the_estimator_is_cloned(X):
    inner = cheap(AETransformer, network=GatedMLP((8,)), max_iter=1)
    before = dict(vars(inner))
    model = TableAutoencoder(inner, random_state=3).fit(X)
    assert vars(inner) == before
    assert model.estimator is inner
    assert model.estimator_ is not inner
    rows = np.random.default_rng(0).standard_normal((10, 2))
    assert clone(model.estimator_).fit(rows).transform(rows).shape == (10, 2)  # of rows of numbers
    again = TableAutoencoder(model.estimator_, random_state=3).fit(X[["age", "sex"]])
    assert_like(again.sample(2), X[["age", "sex"]])


def test_parameters_after_the_fit(X, fitted):
    model = copy.deepcopy(fitted)
    Z, scores = model.transform(X), model.decision_function(X)
    model.set_params(estimator__n_components=1, contamination=0.4, handle_unknown="other", min_frequency=9)
    np.testing.assert_array_equal(model.transform(X), Z)
    np.testing.assert_array_equal(model.decision_function(X), scores)
    with pytest.raises(ValueError, match="'sex' of X must have no levels but those seen in fit"):
        model.transform(X.assign(sex="other"))
    model.fit(X)
    assert model.transform(X.assign(sex="other")).shape == (120, 1)
    assert (model.predict(X) == -1).sum() == 48
    assert not hasattr(model, "classes_")


def test_a_fit_that_fails_changes_nothing(X, fitted, monkeypatch):
    model = copy.deepcopy(fitted)
    before = pickle.dumps(model)

    def fails(match, *args, **arguments):
        with pytest.raises(ValueError, match=match):
            model.fit(*args, **arguments)
        assert pickle.dumps(model) == before

    fails("Column 'age' of X", X.assign(age=np.nan))
    fails("'y' argument", X, ["a"] * 120)
    fails("Column 'sex' of X", X, X_val=X.assign(sex="other"))
    fails("'checkpoint' argument", X, checkpoint="/no/folder/file")
    scores = "skswae.tabular._autoencoder.row_scores"
    monkeypatch.setattr(scores, lambda fitted, x: np.full(len(x), -np.inf))
    fails("scores of the training rows must be finite", X)

    def interrupt(fitted, x):
        raise KeyboardInterrupt

    monkeypatch.setattr(scores, interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert pickle.dumps(model) == before


def test_before_the_fit(X):
    model = table_ae()
    for name in ("transform", "impute", "score_samples", "predict", "decision_function", "score"):
        with pytest.raises(NotFittedError):
            getattr(model, name)(X)
    for call in (model.sample, model.get_feature_names_out, functools.partial(model.inverse_transform, X)):
        with pytest.raises(NotFittedError):
            call()


@pytest.mark.slow
def test_pipelines_and_searches(X, y):
    pipeline = make_pipeline(table_ae(inner={"max_iter": 10}), LogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.7
    grid = {"estimator__beta": [0.1, 1.0], "estimator__n_components": [1, 3]}
    search = GridSearchCV(table_ae(SWAETransformer), grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.estimator_.n_components == search.best_params_["estimator__n_components"]
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert best.score(X) == np.mean(best.score_samples(X))


@pytest.mark.parametrize(
    ("library", "frame"),
    [("pandas", pd.DataFrame), pytest.param("polars", pl.DataFrame, marks=pytest.mark.slow)],
)
def test_codes_as_frames(X, fitted, library, frame):
    names = ["tableautoencoder0", "tableautoencoder1"]
    assert fitted.get_feature_names_out().tolist() == names
    model = copy.deepcopy(fitted).set_output(transform=library)
    Z = model.transform(X)
    assert type(Z) is frame
    assert list(Z.columns) == names
    np.testing.assert_array_equal(Z.to_numpy(), fitted.transform(X))
    back = model.inverse_transform(Z)
    assert_like(back, X)
    if library == "pandas":
        assert back.index.equals(X.index)
    pd.testing.assert_frame_equal(model.impute(X), fitted.impute(X))
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    with sklearn.config_context(transform_output=library):  # inner fits must not see it
        again = clone(fitted).fit(X)
        assert type(again.transform(X)) is frame
        assert_like(again.impute(X), X)


@pytest.mark.slow
def test_other_arguments_of_the_fit(X):
    model = table_ae(inner={"early_stopping": True, "max_iter": 2})
    told = clone(model).fit(X, X_val=X[:30])
    assert np.isfinite(told.estimator_.history_["validation_loss"]).any()
    piped = make_pipeline(clone(model)).fit(X, tableautoencoder__X_val=X[:30])[0]
    assert_equal_fits(piped.estimator_, told.estimator_)
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="X_val"):
            make_pipeline(clone(model)).fit(X, X_val=X[:30])
        asked = clone(model).set_fit_request(X_val=True, checkpoint=True)
        routed = make_pipeline(asked).fit(X, X_val=X[:30])[0]
    assert_equal_fits(routed.estimator_, told.estimator_)
    with pytest.raises(TypeError, match=r"TableAutoencoder\.fit\(\) got an unexpected .* 'sample_weight'"):
        model.fit(X, sample_weight=np.ones(120))


def test_a_checkpoint_is_of_one_table(X, y, tmp_path):
    path = tmp_path / "checkpoint"
    model = table_ae(inner={"max_iter": 2})
    told = clone(model).fit(X, checkpoint=path, checkpoint_seconds=0, keep_checkpoint=True)
    assert_equal_fits(told.estimator_, clone(model).fit(X).estimator_)
    again = clone(model).fit(X, checkpoint=path, keep_checkpoint=True)
    assert_equal_fits(again.estimator_, told.estimator_)
    for other, table, classes in (
        (model, X[::-1], None),
        (model, X, y),
        (clone(model).set_params(column_weights={"age": 2.0}), X, None),
        (clone(model).set_params(hidden_share=0.05), X, None),
    ):
        with pytest.raises(ValueError, match="of another fit: "):
            clone(other).fit(table, classes, checkpoint=path)


# ---------------------------------------------------------------------------
# Pickles and files
# ---------------------------------------------------------------------------


def assert_same(a, b, X):
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    for draw in (
        lambda model: model.sample(5, random_state=0),
        lambda model: model.impute(X, n_draws=1, random_state=0)[0],
    ):
        first, second = draw(a), draw(b)
        assert_like(first, second)
        assert to_pandas(first).equals(to_pandas(second))
    assert set(vars(a)) == set(vars(b))


@pytest.mark.parametrize(
    "library",
    ["polars", *(pytest.param(name, marks=pytest.mark.slow) for name in ("arrow", "numpy"))],
)
def test_files_and_pickles(X, y, library, tmp_path):
    df, path = LIBRARIES[library](X), tmp_path / "model"
    weights = {"age": np.float64(2.0)}
    model = table_ae(VAETransformer, column_weights=weights, random_state=np.int64(3)).fit(df, y)
    save_model(model, path)
    loaded, pickled = load_model(path), pickle.loads(pickle.dumps(model))
    for other in (loaded, pickled):
        assert_same(other, model, df)
        assert other.classes_.tolist() == ["cheap", "dear"]
        np.testing.assert_array_equal(other.predict_target(df), model.predict_target(df))
        assert other.sample(4, y="dear", random_state=1).equals(model.sample(4, y="dear", random_state=1))
        assert_equal_fits(clone(other).fit(df, y).estimator_, model.estimator_)


@pytest.mark.slow
def test_parameters_in_files(X, tmp_path):
    rows = np.random.default_rng(0).integers(0, 4, (30, 3)).astype(float)
    model = table_ae(column_weights={0: 2}, categorical_features=np.array([False, True, False])).fit(rows)
    save_model(model, tmp_path / "a")
    loaded = load_model(tmp_path / "a")
    np.testing.assert_array_equal(loaded.sample(5, random_state=0), model.sample(5, random_state=0))
    assert loaded.column_weights == {0: 2.0}
    assert_equal_fits(clone(loaded).fit(rows).estimator_, model.estimator_)
    named = table_ae(categorical_features=np.array(["siblings"])).fit(X)
    save_model(named, tmp_path / "b")
    assert_same(load_model(tmp_path / "b"), named, X)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = table_ae(random_state=np.random.RandomState(0)).set_fit_request(X_val=True).fit(X)
        with pytest.warns(UserWarning, match="holds no metadata request and no random_state of this kind"):
            save_model(asked, tmp_path / "c")
    assert load_model(tmp_path / "c").random_state is None


@pytest.mark.slow
def test_skops(fitted, X):
    import skops.io

    again = skops.io.loads(skops.io.dumps(fitted), trusted=TRUSTED_TYPES)
    assert_same(again, fitted, X)


@pytest.mark.slow
def test_damaged_wrappers_are_refused(fitted, X, tmp_path, monkeypatch):
    """Whatever somebody writes into the header by hand."""
    from skswae import persistence

    detector = OutlierDetector(cheap(AETransformer, max_iter=1)).fit(np.eye(9))

    def refused(model, change, match=""):
        def wrong(estimator):
            wrapper, inner = real(estimator)
            change(wrapper)
            return wrapper, inner

        with monkeypatch.context() as patch:
            patch.setattr(persistence, "unwrapped", wrong)
            save_model(model, tmp_path / "wrong")
        with pytest.raises(ValueError, match=f"cannot be loaded: .*{match}"):
            load_model(tmp_path / "wrong")

    real = persistence.unwrapped
    save_model(detector, tmp_path / "right")
    assert load_model(tmp_path / "right").offset_ == detector.offset_
    for model in (detector, fitted):
        refused(model, lambda w: w.update({"class": "os.system"}), "none of this package's")
        refused(model, lambda w: w["state"].update(contamination=7), "'contamination' parameter")
        refused(model, lambda w: w["state"].update(offset_="low"), "its attributes")
        refused(model, lambda w: w["state"].pop("offset_"), "its attributes")
        refused(model, lambda w: w["state"].update(predict="no"), "its attributes")
        refused(model, lambda w: w["state"].update(extra_=1), "its attributes")
        refused(model, lambda w: w.pop("state"))
    refused(fitted, lambda w: w["state"]["codec_"]["columns"].pop())
    refused(fitted, lambda w: w["state"]["codec_"].pop("schema"))


@pytest.mark.slow
def test_files_of_wrappers_of_others(X, tmp_path):
    for model in (OutlierDetector(table_ae()), OutlierDetector(make_pipeline(cheap(AETransformer)))):
        rows = X if isinstance(model.estimator, TableAutoencoder) else np.eye(9)
        model.fit(rows)
        assert set(model.predict(rows)) <= {-1, 1}
        with pytest.raises(TypeError, match="The 'estimator' argument must be an estimator of this package"):
            save_model(model, tmp_path / "none")
    with pytest.raises(NotFittedError):
        save_model(table_ae(), tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nothing_is_said(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TableAutoencoder(SWAETransformer(2, max_iter=3, random_state=0, device="cpu")).fit(X)
        model.sample(3, conditions={"sex": "male", "born": (None, "1990-01-01")})
        model.impute(X, n_draws=1)
