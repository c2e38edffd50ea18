"""Imports between the three rooms of the bench point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import coun.bench

ROOT = Path(coun.bench.__file__).parent
ROOMS = ["spec", "execute", "output"]  # each may import those before it
FILES = sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_room_imports_only_itself_and_the_rooms_before_it(path: Path) -> None:
    allowed = ROOMS[: ROOMS.index(path.parent.name) + 1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coun.bench"):
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert name.split(".")[2] in allowed, f"{path} imports {name}"


def test_modules_within_a_room_do_not_import_each_other_in_a_circle() -> None:
    imports = {}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{x.name}" for x in node.names)}
        imports[f"coun.bench.{path.parent.name}.{path.stem}"] = imported
    while imports:
        leaves = {name for name in imports if not imports[name] & (imports.keys() - {name})}
        assert leaves, f"import circle among {sorted(imports)}"
        imports = {name: names for name, names in imports.items() if name not in leaves}
