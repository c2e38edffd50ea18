"""The page that compares this library with others says of every method what was compared."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from coun import federated, methods

PAGE = Path(__file__).parents[2] / "docs" / "results" / "parity.md"


def test_every_method_is_on_the_page_once():
    text = PAGE.read_text(encoding="utf-8")
    rows = Counter(re.findall(r"(?m)^\| `(\w+)` \|", text.partition("\n## What was compared")[2]))
    assert rows == Counter([*methods.catalogue(), *federated.catalogue()])
