"""Every kind of page in a real browser: narrow and wide, light and dark, without network.

All pages of coun are made from the templates in `coun/report/templates`; each of them is here.
"""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coun
from coun.audit.auditing import audit
from coun.data.lookup import all_rows
from coun.demo.digit import ForgottenDigit
from coun.demo.mistake import MODELS, Answer, Mistake, WrongRow
from coun.demo.story import Story, _page
from coun.registry.page import write_page
from coun.report import Cell, Grid, Picture, Row, Section, write_audit, write_report
from coun.report.contact_sheet import contact_page
from coun.report.figures import gaps
from coun.report.picture import png

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
WIDTHS = (390, 1280)
TEMPLATES = Path(coun.__file__).parent / "report" / "templates"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")


def report_page(folder: Path) -> str:
    """A page with everything that `write_report` knows, and long names."""
    head = ["", *(f"column {k}" for k in range(14))]
    cells = ["a_very_long_name_of_a_method" * 2, *["12.34±0.56"] * 14]
    wide = Grid(head, [(m, cells) for m in ("best", "tied", "bad", "warn", "")], "A wide table")
    words = Grid.of(["what", "why", "who"], [["x" * 90, "long " * 40, "someone"]], words=True)
    facts = Grid.of(["fact", "value"], [["digest", "0123456789abcdef" * 8]])
    picture = Picture(gaps([], floor=0.5), "Shorter bars are better.")
    section = Section(
        "Results", "Three seeds, 2026-11-26.", [wide, words, facts], [picture], ["A note."],
        ["coun bench run a-long-name-of-a-config --out a/long/folder --workers 2 --seeds 0,1,2"],
    )  # fmt: skip
    write_report(
        folder / "report.html", "A title", "A lead.", [section], "Made today.",
        headline="Bad news.", alarm=True, failures=["one " * 30], warnings=["Do not believe this."],
    )  # fmt: skip
    return (folder / "report.html").read_text()


def demo_page(folder: Path) -> str:
    picture = png(np.zeros((8, 8), np.uint8))
    answers = {name: Answer(label, 0.93) for name, label in zip(MODELS, "833", strict=True)}
    rows = tuple(WrongRow(f"digit-{k:04d}", picture, k < 6, answers) for k in range(8))
    checks = tuple((f"check {result}", result) for result in ("PASSED", "WARNED", "FAILED"))
    part = Mistake(
        rows, 146, 9, dict.fromkeys(MODELS, 97.1), "finetune", 0.3, "no difference found",
        "No difference was found.", "None of 9 tests found one.", 6, checks,
        tuple((*check, "versions/2/model.safetensors " * 3) for check in checks),
    )  # fmt: skip
    cells = {name: Cell.of([12.5]) for name in ("average_gap", "unlearn_accuracy", "mia_efficacy")}
    shown = Picture(gaps([], floor=0.5), "").data
    digit = ForgottenDigit((Row("Retrain again", cells),), {}, {}, "tsne", shown, shown)
    return _page(Story(part, digit, folder / "report.html"), True, 30.0)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The source of every kind of page, by name."""
    folder = tmp_path_factory.mktemp("pages")
    data = coun.load("digits", limit=60)
    original = coun.train(data, "mlp", epochs=2)
    registry = coun.Registry.init(folder / "registry", original)
    registry.add(ids=data.ids[:5], reason="consent withdrawn")
    registry.fulfil(method="finetune", settings={"epochs": 1})
    registry.add(ids=data.ids[5:6], reason="wrong label", received="2026-01-02")
    write_page(registry.summary(), folder / "registry.html")
    forgot = registry.open_version(2)
    registry.close()
    write_audit(
        audit(forgot, original=original, split=forgot.split, relearn=False), folder / "audit"
    )
    return {
        "report": report_page(folder),
        "demo": demo_page(folder),
        "contact sheet": contact_page(data, all_rows(data)[:7]),
        "registry": (folder / "registry.html").read_text(),
        "certificate": (folder / "registry/certificates/1/certificate.html").read_text(),
        "audit": (folder / "audit/report.html").read_text(),
    }


def look(pages: dict[str, str], folder: Path, *, dark: bool) -> list[dict[str, Any]]:
    """What the browser says of each page in each width."""
    frames = "".join(
        f'<iframe title="{name}" style="width: {width}px; height: 900px; border: 0" '
        f'srcdoc="{html.escape(source)}"></iframe>'
        for name, source in pages.items()
        for width in WIDTHS
    )
    script = (Path(__file__).parent / "checks.js").read_text()
    scheme = '<meta name="color-scheme" content="light dark">'
    page = folder / f"all-{dark}.html"
    page.write_text(
        f"<!doctype html><html><head>{scheme}<script>{script}</script></head><body>{frames}"
        '<pre id="result"></pre></body></html>'
    )
    setting = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000",
            f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", *setting,
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    result = done.stdout.rpartition('<pre id="result">')[2].partition("</pre>")[0]
    looked: list[dict[str, Any]] = json.loads(html.unescape(result))
    return looked


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_readable_in_every_width_and_colour(pages, tmp_path, dark) -> None:
    looked = look(pages, tmp_path, dark=dark)
    assert {(page["page"], page["wide"]) for page in looked} == {
        (p, w) for p in pages for w in WIDTHS
    }
    assert all(page["dark"] == dark and page["words"] > 50 for page in looked)
    wrong = [f"{p['page']}, {p['wide']}: {fault}" for p in looked for fault in p["wrong"]]
    assert not wrong, "\n".join(wrong)


def test_the_checks_find_faults(tmp_path) -> None:
    bad = (
        '<html><body><p style="color: #999; background: #aaa">pale</p><img src="http://x/y.png">'
        '<div style="width: 3000px">wide</div><table><tr><td>1</td></tr></table></body></html>'
    )
    wrong = " ".join(look({"bad": bad}, tmp_path, dark=False)[0]["wrong"])
    for fault in ("pixels wide", "no language", "without a text", "without a name", "loads http",
                  "contrast 1", "without headers", "not one main"):  # fmt: skip
        assert fault in wrong


def test_every_template_is_looked_at() -> None:
    """A new template needs a page above."""
    names = {path.name for path in TEMPLATES.glob("*.html")}
    assert names == {"base.html", "report.html", "demo.html", "contact_sheet.html", "table.html"}
