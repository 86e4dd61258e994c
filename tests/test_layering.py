"""Arrows between modules point one way, and objectives never meet."""

import ast
import pathlib

import skswae

PACKAGE = pathlib.Path(skswae.__file__).parent

# a module may import those of later layers
LAYERS = [
    {"__init__", "base", "datasets", "metrics"},
    {"_swae", "_ae", "_vae", "_wae", "_vampprior", "_mim"},
    {"_latent"},
    {"_mixins"},
    {"_base"},
    {"_data", "_training"},
    {"_module", "_steps"},
    {"networks", "_priors", "_likelihoods", "_divergences", "_rows", "_search", "_schedule"},
    {"_torch", "_checkpoint"},
]


def imports(path):
    """Names of the package's modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("skswae.")}
    return {name for name in found if (PACKAGE / f"{name}.py").exists()}


def test_imports_point_down():
    level = {name: i for i, names in enumerate(LAYERS) for name in names}
    for path in PACKAGE.glob("*.py"):
        for name in imports(path):
            assert level[path.stem] < level[name], f"{path.stem} imports {name}"


def test_the_loop_knows_no_objective():
    words = ("swae", "vae", "vamp", "mim", "critic", "pseudo", "reconstruction", "prior", "likelihood", "kl_")
    for name, allowed in (
        ("_training", {"_steps", "_torch", "_checkpoint"}),
        ("_steps", {"_torch"}),
        ("_rows", {"_torch"}),
        ("_checkpoint", set()),
    ):
        assert imports(PACKAGE / f"{name}.py") <= allowed
        text = (PACKAGE / f"{name}.py").read_text().lower().replace("skswae", "")
        # "mim" is in "minimise"
        assert not any(word in text.replace("minimi", "") for word in words), name


def test_objectives_never_meet():
    objectives = LAYERS[1]
    for name in objectives:
        assert not imports(PACKAGE / f"{name}.py") & objectives, name


def code_lines(path):
    """Lines with code on them: no blank lines, comments or docstrings."""
    tree = ast.parse(path.read_text())
    documented = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    strings = [n.body[0] for n in documented if ast.get_docstring(n) is not None]
    inside = {line for s in strings for line in range(s.lineno, s.end_lineno + 1)}
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in inside
        for number, line in enumerate(path.read_text().splitlines(), start=1)
    )


def test_an_objective_s_file_is_read_at_one_sitting():
    for name in LAYERS[1]:
        assert code_lines(PACKAGE / f"{name}.py") <= 260, name
        assert len((PACKAGE / f"{name}.py").read_text().splitlines()) <= 500, name


def test_nothing_prints_or_seeds_at_import():
    for path in PACKAGE.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Expr):
                assert isinstance(node.value, ast.Constant), f"{path.name}:{node.lineno}"


def test_random_numbers_are_private():
    """No call seeds or draws from a global stream, but for forked_rng, which puts it back."""
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            if call.startswith("np.random."):
                assert call.split(".")[2].startswith(("SeedSequence", "default_rng")), (
                    f"{path.name}:{node.lineno}"
                )
            if call in ("torch.manual_seed", "torch.seed", "random.seed"):
                raise AssertionError(f"{path.name}:{node.lineno}")
            if call in ("torch.rand", "torch.randn", "torch.randperm", "torch.randint"):
                assert "generator" in {k.arg for k in node.keywords}, f"{path.name}:{node.lineno}"
