"""The pages read well as text: their prose is wrapped."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/results").glob("*.md"), *ROOT.glob("*.md")]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_prose_is_longer_than_120_characters(page):
    prose = page.read_text("utf-8").split("```")[::2]
    lines = [line for part in prose for line in part.splitlines() if line[:1] not in {"|", "#"}]
    assert [line for line in lines if len(line) > 120] == []


@pytest.fixture
def wrapped(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("wrapped").wrapped
    del sys.modules["wrapped"]


def test_a_page_of_a_benchmark_is_wrapped_and_says_the_same(wrapped):
    command = "`coun bench " + "paper/table2 " * 8 + "`"
    item = "- an item that is " + "long " * 30 + "and ends"
    table, short = "| a | " + "b " * 80 + "|", "A short line.\nAnother one.\n- An item."
    code = "```sh\n" + "x " * 90 + "\n\n" + "y " * 90 + "\n```"
    head, made = f"# {'A heading ' * 20}", f"Made by {command}: 3 audits."
    page = f"{head}\n\n{short}\n\n{made}\n\n{item}\n\n{table}\n\n{code}\n"
    result = wrapped(page)
    assert result.split() == page.split()
    for whole in (command, table, short, code):
        assert whole in result
    assert "\n  long" in result  # the item hangs
    outside = [line for line in result.split("```")[0].splitlines() if line[:1] not in {"|", "#"}]
    assert max(map(len, outside)) <= 120
    assert wrapped(result) == result


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CODE_OF_CONDUCT.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_link_is_called_by_what_it_leads_to_and_not_by_a_file(page):
    """On the site no file has this name."""
    assert re.findall(r"\[[^]\n]*\.md\]\(", page.read_text("utf-8")) == []
