"""The method that docs/adding-a-method.md shows works, from a package outside this one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder on the import path that holds the page's code as an installed package."""
    code, imports = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "your_package.py").write_text(f"{imports}\n\n{code}")
    info = tmp_path / "your_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: your-package\nVersion: 1.0\n")
    points = re.findall(r"```toml\n\[.*?\]\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[0]
    (info / "entry_points.txt").write_text(f"[coun.methods]\n{points.replace(chr(34), '')}")
    return tmp_path


def run(package: Path, *words: object) -> subprocess.CompletedProcess[str]:
    paths = [str(package), *(p for p in sys.path if p)]
    return subprocess.run(
        [sys.executable, "-m", "coun", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )


def test_it_is_fifteen_lines() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_it_is_listed_with_its_settings(package: Path) -> None:
    found = json.loads(run(package, "methods", "flatten", "--json").stdout)
    assert found["settings"]["strength"]["default"] == 0.1
    assert found["reads"] == ["forget", "retain"]


def test_it_forgets_and_takes_the_module(package: Path) -> None:
    original, out = package / "original", package / "forgot"
    made = run(
        package, "train", "--data", "digits", "--limit", 200, "--model", "cnn",
        "--set", "epochs=1", "--out", original, "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    made = run(
        package, "unlearn", original, "--method", "flatten", "--forget-fraction", 0.1,
        "--set", "epochs=1", "--set", "strength=0.5", "--contrast", "info_nce",
        "--out", out, "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    settings = json.loads((out / "run.json").read_text())["method"]["settings"]
    assert settings["strength"] == 0.5
    assert settings["contrast"]["loss"] == "info_nce"
