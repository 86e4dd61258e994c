"""Every estimator against scikit-learn's own checks, and against the rules all of them share."""

import importlib
import inspect
import pkgutil
import re

import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import skswae
from skswae._estimator import BaseAutoencoder
from skswae.networks import GatedMLP

from .estimators import ESTIMATORS, VARIANTS, cheap
from .outside_objective import DenoisingTransformer

each = pytest.mark.parametrize("Estimator", ESTIMATORS)

SHARED = {
    "network": None, "init": "pca", "input_components": "auto", "output_activation": "auto",
    "scaling": "auto", "augment": None,
    "neighbor_weight": 0.0, "n_neighbors": 15, "target_weight": 0.0,
    "max_iter": "auto", "batch_size": "auto", "solver": "adam", "learning_rate": "auto",
    "learning_rate_init": "auto", "early_stopping": "auto", "validation_fraction": 0.1,
    "n_iter_no_change": 10, "tol": 1e-4, "warm_start": False, "device": "auto", "precision": "float32",
    "random_state": None, "verbose": 0,
}  # fmt: skip


@parametrize_with_checks(
    [cheap(E, max_iter=2) for E in ESTIMATORS]
    + [
        cheap(VARIANTS[0][0], max_iter=2, **VARIANTS[0][1]),
        cheap(skswae.AETransformer, max_iter=2, random_state=None),
    ]
    + [DenoisingTransformer(2, network=GatedMLP((16,)), max_iter=2, random_state=0, device="cpu")]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([cheap(E, **parameters) for E, parameters in VARIANTS[1:]])
def test_sklearn_checks_of_variants(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_sklearn_checks_on_the_defaults():
    results = check_estimator(skswae.SWAETransformer(), on_skip=None, on_fail="raise")
    skipped = [r["check_name"] for r in results if r["status"] == "skipped"]
    assert all("array_api" in name for name in skipped), skipped
    assert sum(r["status"] == "passed" for r in results) > 40


def test_every_estimator_is_exported():
    for module in pkgutil.walk_packages(skswae.__path__, "skswae."):
        importlib.import_module(module.name)

    def subclasses(cls):
        return {cls}.union(*(subclasses(c) for c in cls.__subclasses__()))

    found = {c for c in subclasses(BaseAutoencoder) if not inspect.isabstract(c)}
    assert {c for c in found if f"{c.__module__}.".startswith("skswae.")} == set(ESTIMATORS)
    assert {c.__name__ for c in ESTIMATORS} <= set(skswae.__all__) <= set(dir(skswae))


@each
def test_shared_parameters(Estimator):
    parameters = inspect.signature(Estimator).parameters
    names = list(parameters)
    assert (names[0], parameters["n_components"].default) == ("n_components", 8)
    assert names[-len(SHARED) :] == list(SHARED)
    assert {name: parameters[name].default for name in SHARED} == SHARED
    assert all(parameters[n].kind is inspect.Parameter.KEYWORD_ONLY for n in names[1:])
    assert set(names) == set(Estimator._parameter_constraints)


def documented(Estimator):
    """Parameter -> its text in the class docstring."""
    text = inspect.getdoc(Estimator).split("Parameters\n----------\n")[1].split("\n\nAttributes\n")[0]
    entries = re.split(r"^(\w+) : ", text, flags=re.M)[1:]
    return dict(zip(entries[::2], entries[1::2]))


@each
def test_docstring_documents_the_signature(Estimator):
    parameters = inspect.signature(Estimator).parameters
    texts = documented(Estimator)
    assert list(texts) == list(parameters)
    for name, text in texts.items():
        stated = re.search(r"default=(.+?)\n", text).group(1)
        assert eval(stated) == parameters[name].default, name
    first = documented(ESTIMATORS[0])
    assert {n: texts[n] for n in SHARED} == {n: first[n] for n in SHARED}


@each
def test_docstring_documents_the_attributes(Estimator, iris):
    fitted = cheap(Estimator, max_iter=1).fit(iris)
    text = inspect.getdoc(Estimator).split("Attributes\n----------\n")[1].split("\n\n")[0]
    names = set(re.findall(r"^(\w+) : ", text, flags=re.M))
    for name in names - {"feature_names_in_"}:  # the data have no names here
        assert hasattr(fitted, name), name
    properties = {n for n, v in inspect.getmembers(Estimator) if isinstance(v, property)}
    public = {n for n in {*vars(fitted), *properties} if n.endswith("_") and not n.startswith("_")}
    assert public <= names


@each
def test_public_methods_are_documented(Estimator):
    for name, method in inspect.getmembers(Estimator, inspect.isfunction):
        if name.startswith("_") or "sklearn" in method.__module__:
            continue
        doc = inspect.getdoc(method)
        assert doc, name
        for parameter in list(inspect.signature(method).parameters)[1:]:
            assert re.search(rf"^(\*\*)?{parameter} : ", doc, flags=re.M), (name, parameter)
        assert "Returns\n-------" in doc, name
