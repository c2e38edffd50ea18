"""The page is complete, needs no other file, and escapes what it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

import coun
from coun.report import Grid, Picture, Section, tabulate, write_report
from coun.report.figures import gaps, prediction_row


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_and_escapes_names(tmp_path: Path) -> None:
    rows = tabulate({"<b>FT</b>": [{"average_gap": 1.0}], "CoUn": [{"average_gap": 0.5}]})
    pictures = [
        Picture(gaps(rows, 0.4), "caption one"),
        Picture(prediction_row({"Retrain": np.array([10.0, 90.0])}, ["a", "b"]), "caption two"),
    ]
    path = tmp_path / "report.html"
    write_report(
        path, "Title", "Lead", [Section("S", "L", [Grid.of_runs(rows)], pictures, ["note"])], "made"
    )
    tags = Tags()
    tags.feed(path.read_text())
    assert len(tags.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    for text in (
        "Title",
        "Lead",
        "<b>FT</b>",
        "0.50",
        "caption one",
        "caption two",
        "note",
        "made",
    ):
        assert text in tags.text
    assert "<b>FT" not in path.read_text()


def test_pictures_follow_the_first_table_and_long_tables_follow_the_pictures(
    tmp_path: Path,
) -> None:
    rows = tabulate({"FT": [{"average_gap": 1.0}]})
    tables = [Grid.of(["first"], [["1"]]), Grid.of(["second"], [[str(k)] for k in range(99)])]
    section = Section("S", "L", tables, [Picture(gaps(rows, 0.4), "the picture")], ["a note"])
    write_report(tmp_path / "report.html", "Title", "Lead", [section], "made")
    tags = Tags()
    tags.feed((tmp_path / "report.html").read_text())
    shown = [tags.text.index(text) for text in ("first", "the picture", "second", "a note")]
    assert shown == sorted(shown)


def test_charts_are_dark_on_a_dark_page(tmp_path: Path) -> None:
    """Each chart, and no photograph, has the class whose colours the page turns round."""
    path = tmp_path / "report.html"
    section = Section("S", "L", pictures=[Picture(gaps([], 0.5), "caption")])
    write_report(path, "Title", "Lead", [section], "made")
    page = path.read_text()
    dark = page[page.index(".chart {") :].partition("@media (prefers-color-scheme: dark)")[2]
    assert dark.lstrip(" {").startswith(".chart { filter: invert(")
    templates = Path(coun.report.__file__).parent / "templates"
    for name, charts in (("report.html", 1), ("demo.html", 2), ("contact_sheet.html", 0)):
        images = re.findall("<img[^>]*>", (templates / name).read_text())
        assert sum('class="chart"' in image for image in images) == charts
    assert page.count('<img class="chart"') == page.count("<img") == 1


def test_no_line_ends_inside_a_date_or_an_option(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    words = "Plant canaries (coun train --canaries) by 2026-11-27 & go on."
    write_report(path, "T", "", [], words, headline=words)
    text = path.read_text()
    for whole in ("--canaries", "2026-11-27"):
        assert text.count(f'<span class="whole">{whole}</span>') == 2
    assert "& go" not in text
