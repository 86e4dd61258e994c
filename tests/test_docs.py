"""The documentation: names, links and figures; docstrings and the built pages, by the marker docs."""

import ast
import html.parser
import importlib
import inspect
import json
import pathlib
import pkgutil
import re
import runpy
import subprocess
import sys
import urllib.parse

import pytest

import skswae
from skswae import __main__, _documentation
from skswae.networks import GatedMLP

ROOT = pathlib.Path(__file__).parent.parent
SITE = ROOT / "docs" / "_build" / "html"
MODULES = [
    "skswae",
    *(m.name for m in pkgutil.walk_packages(skswae.__path__, "skswae.") if "._" not in m.name),
]
MODULES = [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")]
PUBLIC = {
    f"{module}.{name}": getattr(importlib.import_module(module), name)
    for module in MODULES
    for name in importlib.import_module(module).__all__
}


def home(path):
    """The one place of a name that is public in two modules: where a class or function says it is."""
    value = PUBLIC[path]
    stated = f"{getattr(value, '__module__', '')}.{path.rpartition('.')[2]}"
    return stated if PUBLIC.get(stated) is value else path


PAGES = {home(path) for path in PUBLIC} - {"skswae.metrics.trustworthiness"}  # which is scikit-learn's


def test_the_reference_lists_every_public_name():
    listed, module = [], None
    for line in (ROOT / "docs" / "api.rst").read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split(":: ")[1]
        elif re.fullmatch(r"   \w+", line):
            listed.append(f"{module}.{line.strip()}")
    assert sorted(listed) == sorted(PAGES)


@pytest.mark.parametrize(
    "path",
    sorted(p for p in PAGES if hasattr(PUBLIC[p], "_get_doc_link") and not inspect.isabstract(PUBLIC[p])),
)
def test_the_html_of_an_estimator_links_to_its_page(path, monkeypatch):
    needed = {"image_shape": (1, 8, 8), "estimator": skswae.AETransformer()}
    estimator = PUBLIC[path](
        **{n: needed[n] for n in inspect.signature(PUBLIC[path]).parameters if n in needed}
    )
    assert estimator._get_doc_link() == ""  # rather than a dead link
    assert "skswae." not in "".join(re.findall('href="(.*?)"', estimator._repr_html_()))
    monkeypatch.setattr(_documentation, "ADDRESS", "https://docs.example/skswae")
    link = f"https://docs.example/skswae/api/{path}.html"
    assert estimator._get_doc_link() == link
    assert f'href="{link}"' in estimator._repr_html_()


def test_a_class_of_somebody_else_has_no_page(monkeypatch):
    monkeypatch.setattr(_documentation, "ADDRESS", "https://docs.example/skswae")

    class Other(GatedMLP):
        pass

    assert Other()._get_doc_link() == ""


def test_what_a_bug_report_should_say(capsys):
    __main__.main()
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["skswae"] == skswae.__version__
    assert re.fullmatch(r"\d+\.\d+.*", lines["torch"])
    assert "cores" in lines["cpu"]
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(r'"([\w-]+)>=', re.search(r"^dependencies = .*$", project, re.M)[0])
    assert list(__main__.NEEDED) == needed
    assert __main__.versions(("no-such-package",)) == ["no-such-package: not installed"]


@pytest.mark.slow
def test_it_is_printed_by_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "skswae"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"skswae: {skswae.__version__}\npython: ")


def numbers(text):
    return [n.replace(",", "") for n in re.findall(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])", text)]


def test_the_decision_table_s_figures_are_the_results():
    """Each decimal number of a row is a number of the page that the row cites, rounded."""
    lines = (ROOT / "docs" / "choosing.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "](results/" in line]
    assert len(rows) >= 12
    for row in rows:
        page = (ROOT / "docs" / re.search(r"\]\((results/\w+\.md)", row)[1]).read_text()
        measured = [float(n) for n in numbers(page)]
        stated = numbers(row.split("|")[3])
        assert stated, row
        for number in stated:
            places = len(number.partition(".")[2])
            assert any(f"{m:.{places}f}" == number for m in measured), (number, row)


# ---------------------------------------------------------------------------
# The gallery
# ---------------------------------------------------------------------------

GALLERY = sorted((ROOT / "examples" / "gallery").glob("*.py"))


def test_the_gallery_s_pages_are_those_that_have_a_place():
    ordered = runpy.run_path(str(ROOT / "docs" / "conf.py"))["PAGES_IN_ORDER"]
    assert len(ordered) == 18
    assert sorted(f"plot_{name}.py" for name in ordered) == [path.name for path in GALLERY]


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_page_of_the_gallery_checks_what_it_says(path):
    """It has a title, pictures, asserts, and words at the end; and it leaves the backend to the reader."""
    text = path.read_text()
    title, line = ast.get_docstring(ast.parse(text)).splitlines()[:2]
    assert set(line) == {"="}
    assert len(line) >= len(title)
    kinds = {type(node) for node in ast.walk(ast.parse(text))}
    assert ast.Assert in kinds
    assert "\nplt.show()\n" in text
    assert "matplotlib.use" not in text
    last = text.rpartition("# %%\n")[2].strip().splitlines()
    assert last[0] == "# Conclusion"
    assert all(words.startswith("#") for words in last)


# ---------------------------------------------------------------------------
# Docstrings
# ---------------------------------------------------------------------------

NOT_KEPT = {
    "ES01": "a summary may say it all",
    "SA01": "what belongs together is together in the reference",
    "EX01": "a class and a function have an example (below), a method need not",
    "RT02": "returned values are named, as scikit-learn's are",
    "RT03": "of `self : object` and its like the type says it all",
    "PR08": "a description may start with the equation's letter",
}
# whose methods a subclass writes or a module calls: CONTRIBUTING.md says what goes in and comes out
PROTOCOLS = (
    "AutoencoderModule",
    "DataSource",
    "ArrayData",
    "BatchRows",
    "Blocks",
    "LocalRows",
    "ParquetRows",
    "SlicedRows",
    "NetworkBuilder",
    "DCGANNet",
    "GatedConvNet",
    "GatedMLP",
)
EXCEPTIONS = {
    **{(f"{name}.*", code): "see above" for name in PROTOCOLS for code in ("PR01", "RT01", "YD01")},
    ("check_pixels", "PR01"): "the metrics' own",
    ("check_pixels", "RT01"): "the metrics' own",
    ("evaluation_mode", "YD01"): "a context manager that yields nothing",
    ("score_samples", "SS05"): "'Minus' is no verb",
}
WITHOUT_EXAMPLE = {
    "skswae.base.AutoencoderModule": "CONTRIBUTING.md has objectives that run, of this and the next three",
    "skswae.base.BaseAutoencoder": "",
    "skswae.base.evaluation_mode": "",
    "skswae.base.shared_parameters": "",
    "skswae.persistence.InconsistentVersionWarning": "raised by no code of a user's",
}


def documented():
    """Paths of public functions and classes, and of the classes' members that are the package's."""
    for path in sorted(PAGES):
        value = PUBLIC[path]
        if inspect.isclass(value) or inspect.isfunction(value):
            yield path
        for name in dir(value) if inspect.isclass(value) else ():
            member = inspect.getattr_static(value, name)
            member = inspect.unwrap(
                getattr(member, "fget", None) or getattr(member, "__func__", None) or member
            )
            if not name.startswith("_") and str(getattr(member, "__module__", "")).startswith("skswae"):
                yield f"{path}.{name}"


@pytest.mark.docs
@pytest.mark.parametrize("path", list(documented()))
def test_docstrings_are_numpydoc(path):
    from numpydoc.validate import validate

    *_, owner, name = path.split(".")
    errors = dict(validate(path)["errors"])
    for code in errors.keys() - NOT_KEPT.keys():
        assert {(name, code), (f"{owner}.*", code)} & EXCEPTIONS.keys(), (code, errors[code])
    assert path not in PAGES - WITHOUT_EXAMPLE.keys() or "EX01" not in errors


# ---------------------------------------------------------------------------
# The built pages
# ---------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """The ids of a page, and what it loads and links to."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])
        elif tag == "link" and attributes.get("rel") not in ("canonical", "search"):
            self.loads.add(attributes["href"])
        elif attributes.get("src"):
            self.loads.add(attributes["src"])


@pytest.fixture(scope="module")
def site():
    """Pages by path, as ``python -m sphinx -b html docs docs/_build/html`` has built them."""
    paths = [p for p in SITE.rglob("*.html") if "_static" not in p.parts]
    assert len(paths) > len(PAGES), f"Build the documentation into {SITE} first."
    return {path: Page(path) for path in paths}


@pytest.mark.docs
def test_links_of_the_site_lead_somewhere(site):
    dead = []
    for path, page in site.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            known = site[target].ids if target in site else None
            fragment = urllib.parse.unquote(parts.fragment)
            if not target.exists() or (fragment and known is not None and fragment not in known):
                dead.append((str(path.relative_to(SITE)), link))
    assert dead == []


@pytest.mark.docs
def test_the_site_loads_nothing_from_elsewhere(site):
    for path, page in site.items():
        for load in page.loads:
            parts = urllib.parse.urlsplit(load)
            assert (parts.scheme, parts.netloc) == ("", ""), (path, load)
            assert (path.parent / urllib.parse.unquote(parts.path)).exists(), (path, load)
    assert any("mathjax" in load for load in site[SITE / "guide" / "method.html"].loads)
    assert list(SITE.glob("_static/mathjax/output/chtml/fonts/woff-v2/*.woff"))


@pytest.mark.docs
def test_the_site_has_a_page_for_every_public_name(site):
    for name in PAGES:
        assert name in site[SITE / "api" / f"{name}.html"].ids


@pytest.mark.docs
def test_a_page_of_the_reference_has_every_parameter(site):
    for name in PAGES:
        if inspect.isclass(PUBLIC[name]) and hasattr(PUBLIC[name], "get_params"):
            text = (SITE / "api" / f"{name}.html").read_text()
            for parameter in inspect.signature(PUBLIC[name]).parameters:
                assert f"<dt><strong>{parameter}</strong>" in text, (name, parameter)


@pytest.mark.docs
def test_search_finds_beta():
    text = (SITE / "searchindex.js").read_text()
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\);?\s*", text, re.S)[1])
    found = set()
    for where in ("terms", "titleterms"):
        pages = index[where]["beta"]
        found |= {index["docnames"][i] for i in (pages if isinstance(pages, list) else [pages])}
    assert {"guide/parameters", "api/skswae.SWAETransformer"} <= found
