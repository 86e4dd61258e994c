"""Arrows between files point one way, objectives never meet, and files are read at one sitting."""

import ast
import pathlib
import sys

import pytest

import skswae

PACKAGE = pathlib.Path(skswae.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix()[:-3]: path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

SHARED = ("models/_latent_variable", "models/_mixins")
# a file may import those of later lines, or of its own folder; the longest prefix counts
LAYERS = [
    ("__main__",),
    ("inspection",),
    ("__init__", "base"),
    ("persistence",),
    ("_wrappers",),
    ("tabular",),
    ("datasets", "metrics"),
    ("models/_",),
    SHARED,
    ("_estimator",),
    ("_fit",),
    ("_callbacks",),
    ("_outcome",),
    ("_neighborhood",),
    ("_sharing",),
    ("_plan",),
    ("_state",),
    ("_diagnosis", "_validation"),
    ("_resume",),
    ("_inference", "_parameters", "export", "tabular/_codec"),
    ("training", "modules"),
    ("tabular/_conditions",),
    ("tabular/_columns",),
    ("tabular/_marginals",),
    ("networks", "data", "tabular/_frames"),
    ("outliers",),
    ("_model_file",),
    ("_constraints", "_device", "_encoding", "_files"),
    ("_documentation", "_random", "_warnings"),
    ("_processes",),
]
LEVEL = {prefix: level for level, prefixes in enumerate(LAYERS) for prefix in prefixes}
OBJECTIVES = [n for n in FILES if n.startswith("models/_") and n not in (*SHARED, "models/__init__")]


def layer(name):
    return max((prefix for prefix in LEVEL if name.startswith(prefix)), key=len)


def imports(name):
    """Names of the package's files that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {n.removeprefix("skswae.").replace(".", "/") for n in found if n.startswith("skswae.")}
    return {path for n in paths for path in (n, f"{n}/__init__") if path in FILES}


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    own = layer(name)
    for other in imports(name) - {"__init__"}:  # whose version the fingerprint of a checkpoint reads
        same_folder = own == layer(other) and own != "models/_"
        assert same_folder or LEVEL[own] < LEVEL[layer(other)], f"{name} imports {other}"


def test_objectives_never_meet():
    for name in OBJECTIVES:
        assert not imports(name) & set(OBJECTIVES), name


@pytest.mark.parametrize("name", ["_loop", "_step", "_optimizers", "_cuda_graph", "_checkpoint"])
def test_the_loop_knows_no_objective(name):
    words = ("swae", "vae", "vamp", "mim", "critic", "pseudo", "reconstruction", "prior", "likelihood", "kl_")
    text = FILES[f"training/{name}"].read_text().lower().replace("skswae", "").replace("minimi", "")
    assert [word for word in words if word in text] == []
    assert {layer(n) for n in imports(f"training/{name}")} <= {
        "training",
        "data",
        "_device",
        "_encoding",
        "_files",
        "_processes",
        "_random",
        "_warnings",
    }


def code_lines(name):
    """Lines with code on them: no blank lines, comments or docstrings."""
    nodes = [n for n in ast.walk(TREES[name]) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    strings = [n.body[0] for n in nodes if ast.get_docstring(n) is not None]
    inside = {line for s in strings for line in range(s.lineno, s.end_lineno + 1)}
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in inside
        for number, line in enumerate(FILES[name].read_text().splitlines(), start=1)
    )


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_at_one_sitting(name):
    """At most 450 lines, unless docstrings are most of them."""
    n_lines, n_code = len(FILES[name].read_text().splitlines()), code_lines(name)
    assert n_code <= 300
    assert n_lines <= 450 or n_code < n_lines / 2


HARD_DEPENDENCIES = {"joblib", "numpy", "safetensors", "scipy", "skswae", "sklearn", "torch"}


@pytest.mark.parametrize("name", FILES)
def test_optional_packages_are_imported_where_they_are_needed(name):
    """At the top of a file are the standard library and what every installation has."""
    found = set()
    for node in TREES[name].body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    assert found <= HARD_DEPENDENCIES | sys.stdlib_module_names


@pytest.mark.parametrize("name", FILES)
def test_nothing_runs_at_import_and_random_numbers_are_private(name):
    """No call seeds or draws from a global stream, but for forked_rng, which puts it back."""
    for node in TREES[name].body:
        assert not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant), f"{name}:{node.lineno}"
    for node in ast.walk(TREES[name]):
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        private = ("np.random.SeedSequence", "np.random.default_rng", "np.random.RandomState")
        assert not call.startswith("np.random.") or call.startswith(private), where
        assert call not in ("torch.manual_seed", "torch.seed", "random.seed"), where
        if call in ("torch.rand", "torch.randn", "torch.randperm", "torch.randint", "torch.multinomial"):
            assert "generator" in {k.arg for k in node.keywords}, where
