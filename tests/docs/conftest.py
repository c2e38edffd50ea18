"""The code of a page as an installed package, and the command line that finds it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from coun import methods, plugins
from coun.cli import main
from coun.data import requests, sources
from coun.metrics import registry as metric_registry

DOCS = Path(__file__).parents[2] / "docs"
Command = Callable[..., str]
FOUND_ONCE = (
    plugins.registered,
    methods._all_methods,
    metric_registry._registered,
    requests._catalogue,
    sources._catalogue,
)


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
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Return a function that runs commands of `coun` where the package is installed.

    They run in this process, because to start one takes longer than what they do; that entry
    points are found by a new process is tested beside the code that finds them. The result is
    what they print on standard output.
    """

    def forget() -> None:
        for found in FOUND_ONCE:
            found.cache_clear()
        sys.modules.pop("your_package", None)

    def run(*commands: tuple[object, ...]) -> str:
        forget()  # what was found before the package was written
        printed = ""
        for words in commands:
            monkeypatch.setattr(sys, "argv", ["coun", *map(str, words)])
            code, text = main(), capsys.readouterr()
            assert code == 0, text.err
            printed += text.out
        return printed

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    yield run
    forget()


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
