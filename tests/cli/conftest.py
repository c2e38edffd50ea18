"""Call the command line in this process: fast, and the exit code comes back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coun.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def unmeasured() -> dict[str, str]:
    """The environment of a process whose coverage is not measured.

    The measurement starts before Python reads any of our code, where it swallows signals, and it
    writes a file of its own at the end, which fails where the disk is full.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


@pytest.fixture
def coun_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """`coun_command("train", ...)`, run in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["coun", *map(str, words)])
        code = main()
        text = capsys.readouterr()
        return Result(code, text.out, text.err)

    return call
