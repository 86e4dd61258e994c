"""Model files of tables whose parts do not belong together, and are refused."""

import copy
import functools
import json

import numpy as np
import pytest

from skswae import AETransformer, load_model, persistence
from skswae._encoding import Encoder
from skswae._model_file import write
from skswae._wrappers import unwrapped
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from ..estimators import cheap
from .people import people


@pytest.fixture(scope="module")
def fitted():
    X = people(60)
    estimator = cheap(AETransformer, network=GatedMLP((8,)), max_iter=1)
    return TableAutoencoder(estimator, random_state=0).fit(X, np.resize(["p", "q", "r"], len(X)))


@pytest.fixture(scope="module")
def described(fitted):
    """What a file of the model holds: its header, its tensors, and what wraps its estimator."""
    wrapper, inner = unwrapped(fitted)
    return *persistence._described(inner, wrapper), wrapper, inner._columns


def forge(path, described, place, change):
    """Write a file in which one place is changed: to a value, or to what a function makes of it."""
    header, tensors, wrapper, rows = copy.deepcopy(described)
    codec = wrapper["state"]["codec_"]
    schema = codec["schema"]
    column, field = ({part["name"]: part for part in parts} for parts in (codec["columns"], schema["fields"]))
    root = {**wrapper, "rows": rows, "codec": codec, "schema": schema, "column": column, "field": field}
    *keys, last = place.split()
    parent = functools.reduce(dict.__getitem__, keys, root)
    parent[last] = change(parent[last]) if callable(change) else change
    codec["columns"], schema["fields"] = list(column.values()), list(field.values())
    encoder = Encoder()
    header["wrapper"] = encoder.mapping({**wrapper, "state": root["state"]}, "wrapper")
    header["state"]["_columns"] = encoder.encode(root["rows"], "state._columns")
    others = {name: t for name, t in tensors.items() if not name.startswith(("wrapper.", "state._columns."))}
    write(path, json.dumps(header), {**others, **encoder.tensors}, "forged")


def test_a_file_that_is_not_changed(fitted, described, tmp_path):
    forge(tmp_path / "same", described, "state offset_", lambda offset: offset)
    loaded, X = load_model(tmp_path / "same"), people(60)
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    assert loaded.offset_ == fitted.offset_
    assert loaded.n_features_in_ == 8
    assert loaded.feature_names_in_.tolist() == list(X.columns)
    assert loaded.classes_.tolist() == ["p", "q", "r"]
    assert loaded.sample(9, y="q", random_state=0).equals(fitted.sample(9, y="q", random_state=0))


def with_(**values):
    return lambda old: {**old, **values}


def first(value):
    """An array or list with another first entry."""

    def change(old):
        new = list(old)
        new[0] = value
        return np.array(new) if isinstance(old, np.ndarray) else new

    return change


def short(old):
    return old[:-1]


def backwards(old):
    return old[::-1]


def negative(old):
    return -old


def beside(old):
    return old + 5.0


nan, inf = float("nan"), float("inf")
EDITS = [
    ("state table_", -5),
    ("state table_", "a"),
    ("state offset_", nan),
    ("state", with_(feature_names_in_=np.array(list("abcdefgh"), dtype=object))),
    *[("state targets_ classes", list(classes)) for classes in ("pq", "pqrs", "ppr", "qpr")],
    ("state targets_", with_(classes=list("pq"), shares=np.full(2, 0.5))),
    ("rows", with_(n_numbers=5, n_booleans=0)),
    ("rows n_numbers", 4.0),
    ("rows widths", (3, 3, 2)),
    ("rows widths", (2, 2, 4)),
    ("rows targets", (6,)),
    ("rows targets", ()),
    ("rows location", first(nan)),
    ("rows location", short),
    ("rows location", beside),
    ("rows unit", lambda old: 0.0 * old),
    ("rows unit", negative),
    ("rows unit", lambda old: old[:1]),
    ("rows observed", beside),
    ("rows weights", negative),
    ("rows hidden_share", 7.0),
    ("codec handle_unknown", "maybe"),
    ("column class level_of", first(9)),
    ("column class level_of", backwards),
    ("column class levels", short),
    ("column class levels", lambda old: [old[0]] * 3),
    ("column class known", lambda old: [old[0]] * 3),
    ("column class known", []),
    ("column class kind", "number"),
    ("column age kind", "other"),
    ("column age", with_(low=5.0, high=-5.0)),
    ("column age low", nan),
    ("column born step", 0),
    ("column born origin", 0.5),
    ("column born top", 0),
    ("column age name", "other"),
    ("column age map", None),
    ("column ship map", {}),
    ("column age map knots", backwards),
    ("column age map knots", short),
    ("column age map left", first(nan)),
    ("column age map middle", backwards),
    (
        "column age map",
        lambda old: {**old, **dict.fromkeys(("knots", "left", "middle", "right"), np.zeros(0))},
    ),
    ("column age map spread", 0.0),
    ("column age map low", 100.0),
    ("field age name", "other"),
    ("field age name", "fare"),
    ("field age kind", "other"),
    ("field fare kind", "category"),
    ("field siblings kind", "float"),
    ("field born unit", None),
    ("field born zoned", True),
    ("schema library", "polars"),
]
RELATIVES = [
    ("state table_", 0),
    ("state table_", 60.0),
    ("state offset_", inf),
    ("state offset_", 1),
    ("state", with_(n_features_in_=3)),
    ("state targets_", None),
    ("state targets_ classes", [["p"], ["q"], ["r"]]),
    ("state targets_", with_(classes=list("pqrs"), shares=np.full(4, 0.25))),
    ("rows", with_(n_numbers=3, n_booleans=2)),
    ("rows n_numbers", -1),
    ("rows n_booleans", True),
    ("rows widths", (1, 3, 4)),
    ("rows targets", (6, 7)),
    ("rows targets", (99,)),
    ("rows location", first(inf)),
    ("rows unit", first(nan)),
    ("rows observed", first(nan)),
    ("rows observed", short),
    ("rows weights", first(inf)),
    ("rows weights", short),
    ("rows hidden_share", nan),
    ("codec number_map", "maybe"),
    ("column class level_of", first(-1)),
    ("column class level_of", short),
    ("column class level_of", lambda old: old + 0.5),
    ("column class levels", first("zeroth")),
    ("column class levels", lambda old: [*old, "fourth"]),
    ("column class levels", [1, 2, 3]),
    ("column class kind", "boolean"),
    ("column class kind", "constant"),
    ("column sex kind", "boolean"),
    ("column alone kind", "category"),
    ("column ship kind", "category"),
    ("column age kind", "constant"),
    ("column age kind", "category"),
    ("column age low", "x"),
    ("column age high", inf),
    ("column age high", beside),
    ("column age step", 2),
    ("column age origin", 1),
    ("column fare is_integer", True),
    ("column siblings is_integer", False),
    ("column siblings top", 99),
    ("column born step", -1),
    ("column born step", 1.5),
    ("column born origin", 2**70),
    ("column age map knots", first(nan)),
    ("column age map knots", lambda old: old.reshape(1, -1)),
    ("column age map left", short),
    ("column age map right", first(-inf)),
    ("column age map spread", nan),
    ("column age map exponent", 5000),
    ("column age map exponent", 0.5),
    ("field fare kind", "integer"),
    ("field fare kind", "datetime"),
    ("field sex kind", "float"),
    ("field alone kind", "category"),
    ("field born unit", "D"),
    ("field born kind", "timedelta"),
    ("field class dtype", {"name": "int64"}),
    ("schema library", "array"),
]
SLOW = [*(edit for i, edit in enumerate(EDITS) if i % 4), *RELATIVES]


@pytest.mark.parametrize(
    ("place", "change"), [*EDITS[::4], *(pytest.param(*edit, marks=pytest.mark.slow) for edit in SLOW)]
)
def test_parts_that_do_not_belong_together(place, change, described, tmp_path):
    forge(tmp_path / "forged", described, place, change)
    with pytest.raises(ValueError, match=r"The model in '.*forged' cannot be loaded: "):
        load_model(tmp_path / "forged")
