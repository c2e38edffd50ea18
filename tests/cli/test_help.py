"""`--help` shows what most calls need first, and the other options by topic."""

from __future__ import annotations

import re

import click
import pytest

import coun


def sections(text: str) -> dict[str, list[str]]:
    """The options under each heading, in order."""
    parts = re.split(r"^(\w[\w ]*):\n", text, flags=re.M)[1:]
    return {
        heading: re.findall(r"^  (?:-h, )?(--[\w-]+)", body, re.M)
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize(
    ("command", "first", "topics"),
    [
        ("train", ["--data", "--model", "--out"], ["Data", "Images", "Rows to forget"]),
        ("unlearn", ["--method", "--out"], ["Rows to forget", "Contrastive loss", "Data"]),
        ("audit", ["--against", "--original", "--out"], ["Tests", "Page", "Data"]),
        ("prepare", ["--folds", "--repeats"], ["Computation"]),
        ("fulfil", ["--method", "--set", "--budget"], ["Gates", "Computation"]),
    ],
)
def test_what_most_calls_need_stands_first(coun_command, command, first, topics) -> None:
    shown = sections(coun_command(command, "--help").out.partition("\n")[2])
    assert list(shown)[: 1 + len(topics)] == ["Options", *topics]
    assert shown["Options"][: len(first)] == first
    assert shown["Options"][-1] == "--help"


@pytest.mark.parametrize("command", ["train", "unlearn", "audit", "prepare", "fulfil", "evaluate"])
def test_every_option_is_listed_once(coun_command, command) -> None:
    shown = sections(coun_command(command, "--help").out.partition("\n")[2])
    listed = [option for options in shown.values() for option in options]
    options = coun.cli.group.get_command(None, command).params
    expected = [option.opts[0] for option in options if isinstance(option, click.Option)]
    assert sorted(listed) == sorted([*expected, "--help"])
