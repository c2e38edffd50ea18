"""What the README promises exists: the code of its examples, its options and its links."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from coun.cli import group
from coun.data import sources
from coun.methods import catalogue

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].split()
    for line in TEXT.splitlines()
    if line.startswith("    coun ") and not line.startswith("    coun bench")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_in_a_command_exists(words):
    command = group.get_command(click.Context(group), words[1])
    assert command is not None
    if isinstance(command, click.Group):
        command = command.commands[words[2]]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_link_leads_to_a_file():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_method_is_the_one_of_the_example():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    example = (ROOT / "examples/new_method.py").read_text(encoding="utf-8")
    assert any(block.strip() in example for block in blocks if "@dataclass" in block)


def test_every_method_is_listed_once():
    for name in catalogue():
        if name not in ("coun", "finetune"):
            assert len(re.findall(rf"`{name}`", TEXT)) == 1, name


def test_every_data_source_is_listed():
    for name in sources.catalogue():
        assert f"`{name}" in TEXT, name
