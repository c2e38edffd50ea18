"""Every method has a whole card, made from its docstring and its fields."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest

from coun.cli import main
from coun.methods import catalogue
from coun.plans.card import HEADINGS, Card, allowed_values


@pytest.mark.parametrize("name", catalogue())
def test_the_card_is_whole(name):
    """Idea, formula, cost, limits and source are there; the idea is two sentences or more."""
    kind = catalogue()[name]
    card = Card.of(kind)
    assert {"idea", "formula", "reads", "cost", "limits", "source", "module"} <= set(card.parts)
    assert list(card.parts) == [key for key in HEADINGS if key in card.parts]
    assert card.parts["idea"].count(".") >= 2
    assert card.share is not None, "python benchmarks/method_costs.py counts it"
    assert 0 < card.share < 1.5
    assert [setting.name for setting in card.settings] == [field.name for field in fields(kind)]
    assert all(setting.description for setting in card.settings)


def test_the_command_prints_the_card(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coun", "methods", "neggrad_plus"])
    monkeypatch.setenv("COLUMNS", "80")
    assert main() == 0
    printed = capsys.readouterr().out
    for heading in HEADINGS.values():
        assert heading in printed
    assert "forget_batch_size" in printed
    words = " ".join(line.strip() for line in printed.splitlines())
    assert "alpha * CE(retain) - (1 - alpha) * CE(forget)" in words


def test_without_docstrings_there_is_a_card(monkeypatch):
    """`python -OO` removes docstrings; source and settings remain."""
    kind = type("Bare", (catalogue()["finetune"],), {"__doc__": None, "source": "a paper"})
    card = Card.of(kind)
    assert card.parts["source"] == "a paper"
    assert "idea" not in card.parts


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, ">= 0, < 1"),
        ({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]}, "> 0"),
        ({"enum": ["sum", "mean"]}, "sum, mean"),
        ({"type": "boolean"}, "boolean"),
    ],
)
def test_ranges_are_said_in_words(schema, words):
    assert allowed_values(schema) == words
