"""Rules on the source that no single test of behaviour would notice."""

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path

import pytest

import coun

ROOT = Path(coun.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
REPOSITORY = Path(__file__).parents[1]
SCRIPTS = [f for name in ("benchmarks", "examples") for f in (REPOSITORY / name).rglob("*.py")]

# Lower packages know nothing of higher ones; those on one level do not know each other.
LEVELS = [
    {"errors"},
    {"seeds", "files", "plugins", "trust"},
    {"data", "models", "metrics", "ledger"},
    {"objectives", "attacks"},
    {"engine"},
    {"plans"},
    {"methods"},
    {"federated", "multitask"},
    {"runs"},
    {"analysis"},
    {"audit"},
    {"report"},
    {"certificates"},
    {"registry"},
    {"demo", "bench", "integrations"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
VERSION = "__version__"  # a text, which every package may import
# See tensors, and errors to complain with; of coun nothing but what is named here.
PLAIN = {"metrics": {"errors", "plugins", "trust"}, "attacks": {"errors", "metrics"}}


def label(path):
    return str(path.relative_to(ROOT))


def part(path):
    """The package of a file: `data` for data/views.py, `errors` for errors.py."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """The coun packages that *path* imports; `coun` alone counts as `__init__`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno} has a relative import"
            names = [node.module]
            if node.module == "coun":
                names = [f"coun.{alias.name}" for alias in node.names if alias.name != VERSION]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "coun":
                computed = rest.split(".")[0]
                yield computed if computed in LEVEL else "__init__"


PACKAGES = [path.parent for path in FILES if path.name == "__init__.py"]


@pytest.mark.parametrize("folder", PACKAGES, ids=label)
def test_no_attribute_hides_a_module(folder):
    """`import package.module as m` gives the module, not a function of the same name."""
    package = importlib.import_module(".".join(("coun", *folder.relative_to(ROOT).parts)))
    for computed in pkgutil.iter_modules(package.__path__):
        if computed.name != "__main__":
            module = importlib.import_module(f"{package.__name__}.{computed.name}")
            assert getattr(package, computed.name) is module


def test_every_package_has_its_level():
    assert {part(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_point_one_way(path):
    own = part(path)
    for other in imported(path):
        if other == own:
            continue
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"
        assert other in PLAIN.get(own, {other}), f"{own} imports {other}"


@pytest.mark.parametrize("path", sorted(SCRIPTS), ids=lambda path: path.stem)
def test_scripts_import_names_that_exist(path):
    """Benchmarks take hours, so that tests do not run them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "coun":
            module = importlib.import_module(node.module)
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(submodule)


@pytest.mark.parametrize("path", FILES, ids=label)
def test_files_are_short(path):
    text = path.read_text(encoding="utf-8")
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    docstrings = sum(
        node.body[0].end_lineno - node.body[0].lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
    )
    assert len(text.splitlines()) - docstrings <= 350


@pytest.mark.parametrize("path", FILES, ids=label)
def test_nothing_read_from_a_file_is_executed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in {"eval", "exec", "compile", "__import__"}
        assert name not in {"pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load"}
        given = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name == "torch.load":
            assert given.get("weights_only") == "True"
        if name in {"np.load", "numpy.load"}:
            assert given.get("allow_pickle", "False") == "False"
