"""The code of a page as an installed package, and the command line that finds it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
Command = Callable[..., str]
PROGRAM = """
import json, sys
from coun.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    if code := main():
        sys.exit(code)
"""


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes the Python code of one page as the package it describes."""

    def write(page: str) -> Path:
        text = (DOCS / page).read_text(encoding="utf-8")
        code = "\n\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
        tables = re.findall(r'```toml\n\[project\.entry-points\."(.*?)"\]\n(.*?)```', text, re.S)
        (tmp_path / "your_package.py").write_text(code, encoding="utf-8")
        info = tmp_path / "your_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: your-package\nVersion: 1.0\n")
        points = (f"[{group}]\n{lines}".replace('"', "") for group, lines in tables)
        (info / "entry_points.txt").write_text("\n".join(points))
        return tmp_path

    return write


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the folder `photos`: eight photographs of each person and class."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for level, label in enumerate(("cat", "dog")):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for person in ("alice", "bob", "carol"):
            for number in range(8):
                pixels = random.integers(90 * level, 90 * level + 120, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{person}-{number}.png")
    return tmp_path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs commands of `coun` where the package is installed.

    All commands of one call share a process, because starting one takes seconds. The result
    is what they print on standard output.
    """

    def run(*commands: tuple[object, ...]) -> str:
        paths = [str(tmp_path), *(path for path in sys.path if path)]
        arguments = [[str(word) for word in words] for words in commands]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "120"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def example(install: Callable[[str], Path]) -> Callable[[str], ModuleType]:
    """Return a function that imports the Python code of one page."""

    def load(page: str) -> ModuleType:
        path = install(page) / "your_package.py"
        spec = importlib.util.spec_from_file_location("example_of_a_page", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
