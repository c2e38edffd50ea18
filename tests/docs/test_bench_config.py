"""The pieces of docs/bench-config.md are keys that a config takes."""

from __future__ import annotations

import re

from docs.conftest import DOCS

from coun.bench.spec import reading

TEXT = (DOCS / "bench-config.md").read_text(encoding="utf-8")
BASE, DATA, SECTIONS, METRICS = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
KEYS = re.findall(r"^\| `([^`]*=[^`]*)`(?:, of a (\w+))? \|", TEXT, re.M)


def test_the_config_and_its_optional_parts_are_read():
    assert reading.parse(BASE).title == "CIFAR-10, a random 10%"
    reading.parse(METRICS + BASE + SECTIONS)
    reading.parse(re.sub(r"^data = .*$", DATA.strip(), BASE, flags=re.M))


def test_the_further_keys_are_read_where_the_page_places_them():
    assert len(KEYS) == 6
    plain = re.sub(r"^(contrast|vary|train) = .*$", "", BASE, flags=re.M)
    for shown, place in KEYS:
        line = shown.replace(", ...", "")
        # A key of a method or a workload stands below the name of it.
        after = {"method": 'name = "not"\n', "workload": 'model = "resnet18"\n'}.get(place, "")
        text = plain.replace(after, f"{after}{line}\n", 1)
        assert line in text
        if "preparation" in line:  # of a method that reads the predictions
            text = text.replace('"not"', '"out_of_fold"')
        reading.parse(text)
