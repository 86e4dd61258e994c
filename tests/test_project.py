"""What the project says of itself is true: commands, examples in docstrings and docs, versions."""

import ast
import doctest
import importlib
import inspect
import pathlib
import pickle
import pkgutil
import re

import pytest

import skswae

ROOT = pathlib.Path(__file__).parent.parent
COMMANDS = [
    'pip install -c .ci/constraints.txt -e ".[plot]" && python examples/gallery/plot_digits_pipeline.py',
    'pip install -c .ci/constraints.txt -e ".[test]" && pytest',
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_s_commands_are_what_ci_runs(command):
    readme = (ROOT / "README.md").read_text()
    fenced = re.findall(r"^```sh\n(.*?)\n```$", readme, flags=re.M | re.S)
    assert command in fenced
    assert len(fenced) == len(COMMANDS)
    assert command in (ROOT / ".ci" / "run").read_text()


def test_versions_agree():
    assert f"\nversion: {skswae.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def pins(name):
    lines = (ROOT / ".ci" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_both_ends_of_the_ranges_are_tested():
    """``.ci/lowest`` installs the lower bounds of what package and tests need; the newest have pins."""
    project = (ROOT / "pyproject.toml").read_text()
    lists = dict(re.findall(r"^(\w+) = \[(.*?)\]$", project, re.M | re.S))
    needed = ("dependencies", "test", *re.findall(r"skswae\[(\w+)\]", lists["test"]))
    names = re.findall(r'"([\w-]+)[>=]=', "".join(lists[name] for name in needed))
    lowest = pins("constraints_lowest.txt")
    assert sorted(names) == sorted(lowest)
    assert set(names) <= set(pins("constraints.txt"))
    for name, version in lowest.items():
        assert set(re.findall(rf'"{name}[>=]=(.*?)"', project)) == {version}, name


SLOW = (  # 1 to 8 seconds
    *("skswae.AETransformer", "skswae.MIMTransformer", "skswae.VampPriorTransformer", "skswae.export_onnx"),
    *("skswae.WAETransformer", "skswae.SWAETransformer", "skswae.VAETransformer"),
    "skswae.metrics.ClassifierFeatures",
)
MODULES = [importlib.import_module(m.name) for m in pkgutil.walk_packages(skswae.__path__, "skswae.")]
# a class is in the module that it names, a function in the one that it is written in
EXAMPLES = [
    example for m in (skswae, *MODULES) for example in doctest.DocTestFinder().find(m) if example.examples
]


@pytest.mark.parametrize(
    "example", [pytest.param(e, marks=[pytest.mark.slow] * (e.name in SLOW), id=e.name) for e in EXAMPLES]
)
def test_docstring_examples(example):
    assert doctest.DocTestRunner().run(example).failed == 0


PUBLIC = [
    *(skswae, skswae.base, skswae.datasets, skswae.inspection, skswae.metrics, skswae.networks),
    skswae.outliers,
]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda m: m.__name__)
def test_public_names_say_where_they_are_public(module):
    """In the repr of a class, in pickles, and where documentation looks for them."""
    for name in module.__all__:
        value = getattr(module, name)
        home = "sklearn.manifold._t_sne" if name == "trustworthiness" else module.__name__
        assert value.__module__ == home, name
        if inspect.isclass(value):
            assert repr(value) == f"<class '{home}.{name}'>"
        assert pickle.loads(pickle.dumps(value)) is value or not hasattr(value, "__qualname__")


def test_every_example_runs():
    """Those of all public classes and functions are found."""
    found = {e.name.rpartition(".")[2] for e in EXAMPLES}
    for module in PUBLIC:
        for name in module.__all__:
            if "\n>>> " in (inspect.getdoc(getattr(module, name)) or "") and name != "trustworthiness":
                assert name in found, name


BUILT = {"_build", "api", "gallery"}
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    if not BUILT & set(path.relative_to(ROOT).parts)
}
BLOCKS = {
    page: re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S) for page, text in TEXTS.items()
}
RUN_ELSEWHERE = {"docs/guide/mlflow.md": "test_mlflow", "CONTRIBUTING.md": "test_outside_objective"}


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p, blocks in BLOCKS.items() if blocks and p not in RUN_ELSEWHERE])
def test_examples_in_the_docs(page, tmp_path, monkeypatch):
    """Blocks of Python run, one after the other, in a folder where they may write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # what docs/scikit_learn.md asks for
    names = {"__name__": "page"}
    for block in BLOCKS[page]:
        exec(compile(block, page, "exec"), names)


def messages(path):
    """The texts of the calls of ``warn`` in a file, without the values put in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warn":
            parts = [n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)]
            yield "".join(part for part in parts if isinstance(part, str))


def test_the_guide_lists_what_fits_warn_of():
    """Each warning of the package but those of metrics, data sets and files, and no other."""
    section = TEXTS["docs/guide/warnings.md"].split("\n## The warnings\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = [re.findall("`(.*?)`", row)[0] for row in rows]
    package = pathlib.Path(skswae.__file__).parent
    others = {"metrics", "datasets", "persistence", "_state", "_wrappers"}
    files = [path for path in package.rglob("*.py") if not {path.parent.name, path.stem} & others]
    raised = [message for path in files for message in messages(path)]
    assert len(raised) == len(listed) >= 4
    for message in raised:
        assert sum(words in message for words in listed) == 1, message


def table(path, first):
    """Rows of the Markdown tables of a page, those whose first cell is one of ``first``."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] in first]


DOCS = ROOT / "docs"
SMALL = {"digits", "wine", "breast cancer", "iris"}


def test_figures_of_small_tables_are_the_results():
    measured = {tuple(r[:2]): r for r in table(DOCS / "results" / "quality_defaults.md", SMALL)}
    stated = table(DOCS / "choosing.md", SMALL)
    assert len(stated) == len(measured) == 7
    shown = [[*row[:4], *row[5:]] for row in table(ROOT / "README.md", SMALL)]  # without UMAP's cells
    assert len(shown) == 5
    for name, n_components, *figures, errors in stated + shown:
        row = measured[name, n_components]
        assert figures == [f"{float(cell.split()[0]):.3f}" for cell in row[3:6]]
        assert errors == f"{float(row[8]):.2f} / {float(row[9]):.2f}"


def test_the_models_on_digits_are_the_results():
    page = DOCS / "results" / "quality_defaults.md"
    names = {
        "AE", "VAE", "WAE-MMD", "WAE-GAN", "WAE-sliced", "WAE-Sinkhorn", "VampPrior", "MIM-symmetric",
        "MIM-encoder", "SWAE",
    }  # fmt: skip
    rows = table(page, names)
    fits = {r[0]: r for r in rows if len(r) == 5}
    frechet = {tuple(r[:2]): r[2].split()[0] for r in rows if len(r) == 10}
    stated = table(DOCS / "guide" / "models.md", names)
    assert {r[0] for r in stated} == names == set(fits)
    for name, accuracy, error, distances, seconds in stated:
        assert accuracy == f"{float(fits[name][1].split()[0]):.3f}"
        assert error == f"{float(fits[name][2]):.2f}"
        assert distances == f"{float(frechet[name, 'model']):.2f} / {float(frechet[name, 'gmm']):.2f}"
        assert seconds == f"{float(fits[name][3]):.0f}"


def timed(name):
    """Accuracy, seconds from the rows to the codes, and error of each method on the page of MNIST's times."""
    page = (DOCS / "results" / "time_to_quality.md").read_text()
    section = page.split(f"\n## {name} components\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for method, seconds, _, codes, _, _, accuracy, error in (row for row in rows[2:] if len(row) == 8):
        both = round(float(seconds or 0) + float(codes or 0), 2)  # as many places as the page has
        yield (
            method.removesuffix(" (default)"),
            (f"{float(accuracy):.3f}", f"{both:.{0 if both >= 10 else 1}f} s", error),
        )


def test_seconds_are_the_results():
    stated = [row for row in table(DOCS / "how_fast.md", {"MNIST, 8", "MNIST, 32"}) if len(row) == 5]
    assert {row[0] for row in stated} == {"MNIST, 8", "MNIST, 32"}
    for name, epochs, *cells in stated:
        measured = dict(timed(name))
        for cell, fit in zip(cells, (f"SWAE, {epochs} epochs", "UMAP", "PCA"), strict=True):
            assert cell == " in ".join(measured[fit][:2])


def test_the_readme_s_mnist_is_the_results():
    measured = dict(timed("MNIST, 8"))
    swae, pca, umap, raw = (measured[name] for name in ("SWAE, 6 epochs", "PCA", "UMAP", "raw rows"))
    (row,) = table(ROOT / "README.md", {"MNIST"})
    assert row[1:] == ["8", swae[0], pca[0], umap[0], raw[0], f"{swae[2]} / {pca[2]}"]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"SWAE took {swae[1]}, UMAP {umap[1]} and PCA {pca[1]}," in text


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", TEXTS[page]):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), link
