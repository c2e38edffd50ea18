"""The method of docs/adding-a-method.md works from a package outside this one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from docs.conftest import DOCS

PAGE = "adding-a-method.md"


def test_it_is_fifteen_lines() -> None:
    """The whole method, without its imports, is as short as the page promises."""
    _, code = re.findall(r"```python\n(.*?)```", (DOCS / PAGE).read_text(encoding="utf-8"), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_it_is_listed_and_takes_settings_and_the_contrastive_module(
    install: Callable[[str], Path], command: Callable[..., str]
) -> None:
    """`coun methods` describes it; `coun unlearn` runs it and records its settings."""
    folder = install(PAGE)
    original, out = folder / "original", folder / "unlearned"
    printed = command(
        ("methods", "flatten", "--json"),
        (
            *("train", "--data", "digits", "--limit", 200, "--model", "cnn"),
            *("--set", "epochs=1", "--out", original, "--json"),
        ),
        (
            *("unlearn", original, "--method", "flatten", "--forget-fraction", 0.1),
            *("--set", "epochs=1", "--set", "strength=0.5", "--contrast", "info_nce"),
            *("--out", out, "--json"),
        ),
    )
    about, _ = json.JSONDecoder().raw_decode(printed)
    assert about["settings"]["strength"]["default"] == 0.1
    assert about["reads"] == ["forget", "retain"]
    settings = json.loads((out / "run.json").read_text())["method"]["settings"]
    assert settings["strength"] == 0.5
    assert settings["contrast"]["loss"] == "info_nce"


def test_the_bench_compares_it(
    install: Callable[[str], Path], command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config of the page names the class in a file, and the report has its row."""
    folder = install(PAGE)
    monkeypatch.chdir(folder)
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    (config,) = re.findall(r"```toml\n(title.*?)```", text, re.S)
    (words,) = re.findall(r"^    coun (bench .*)$", text, re.M)
    (folder / "flatten.toml").write_text(config)
    # Under another name, because `install` has made the page's own name a plug-in.
    code = (folder / "your_package.py").read_text().replace('"flatten"', '"flatten_in_a_file"')
    (folder / "flatten.py").write_text(code)
    command([*words.split(), "--workers", 1])
    rows = json.loads((folder / "runs" / "flatten" / "results.json").read_text())["rows"]
    assert {"FT", "Flatten", "Original"} <= {row["row"] for row in rows}
