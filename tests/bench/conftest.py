"""A bench that takes seconds: 200 digits, a small network, two seeds, two methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coun.bench import Config
from coun.bench.spec.reading import parse

TINY = """
title = "tiny"
seeds = [0, 1]
{top}

[compute]
checkpoint_every = 0.0

[[workload]]
name = "digits"
model = "mlp"
data = {{ source = "digits", limit = 200, test_limit = 100 }}
train = {{ epochs = 2 }}

[[scenario]]
{scenario}

[[method]]
name = "finetune"
label = "FT"
settings = {{ epochs = 1 }}

[[method]]
name = "coun"
label = "CoUn"
settings = {{ epochs = 1 }}
{more}
"""

TinyText = Callable[..., str]


@pytest.fixture(scope="session")
def tiny_text() -> TinyText:
    """Makes the text of a tiny config, with the given parts inserted."""

    def make(*, top: str = "", scenario: str = 'kind = "random"', more: str = "") -> str:
        return TINY.format(top=top, scenario=scenario, more=more)

    return make


@pytest.fixture
def tiny(tiny_text: TinyText) -> Config:
    return parse(tiny_text())


@pytest.fixture
def config_file(tiny_text: TinyText, tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny config to a file."""

    def make(name: str = "tiny.toml", **parts: str) -> Path:
        path = tmp_path / name
        path.write_text(tiny_text(**parts))
        return path

    return make
