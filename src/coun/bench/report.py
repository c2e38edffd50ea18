"""`coun report`: one folder of results in; Markdown, LaTeX, CSV and a page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from coun.bench import figures, render
from coun.bench.protocols import MEANING
from coun.bench.results import read
from coun.bench.tables import Block, blocks, legend
from coun.files import write_text
from coun.report import Picture

PAGE = Environment(loader=PackageLoader("coun.bench"), autoescape=True, trim_blocks=True)


@dataclass
class Grid:
    """A table of the page: titles, and rows with a mark ("best", "tied" or nothing)."""

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass
class Section:
    """A part of the page."""

    title: str
    lead: str
    tables: Sequence[Grid] = ()
    pictures: Sequence[Picture] = field(default_factory=list)


def report(out: str | Path) -> list[Path]:
    """Write `report.md`, `report.tex`, `report.csv` and `report.html` into *out*; their paths.

    Raises: CounError if the results in *out* are missing or damaged.
    """
    out = Path(out)
    found = read(out)
    tables = blocks(found)
    shown = [block for block in tables if block.last]
    about = legend(found, MEANING[found["protocol"]["mia"]])
    made = _made(found)
    failures = list(found["failures"].values())
    lost = "".join(f"\n- failed: {why}" for why in failures)
    texts = {
        "report.md": f"# {found['title']}\n\n{found['note']}\n{lost}\n\n{render.markdown(shown)}\n"
        f"{about}\n\n{made}\n",
        "report.tex": render.latex(shown),
        "report.csv": render.as_csv(tables),
        "report.html": PAGE.get_template("bench.html").render(
            title=found["title"],
            note=found["note"],
            failures=failures,
            sections=[_section(block, tables) for block in shown],
            legend=about,
            made=made,
        ),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _section(block: Block, tables: Sequence[Block]) -> Section:
    rows = [
        ("best" if line.best else "tied" if line.tied else "", render.cells(block, line))
        for line in block.shown
    ]
    grids = [Grid(render.header(block), rows)]
    if block.module:
        tests = [
            (
                "",
                [
                    t.base,
                    f"{t.without:.2f}",
                    f"{t.with_:.2f}",
                    render.number(t.p, 4),
                    render.number(t.corrected, 4),
                ],
            )
            for t in block.module
        ]
        grids.append(Grid(["the module", "gap without", "gap with", "p", "Holm"], tests))
    return Section(block.title, render.summary(block), grids, _pictures(block, tables))


def _pictures(block: Block, tables: Sequence[Block]) -> list[Picture]:
    if not block.methods:
        return []
    found = [
        Picture(
            figures.gap_bars(block),
            "Gap to Retrain: mean, standard deviation and every seed. Orange reads forget data, "
            "blue does not; hatched has the module. Nothing can be told from Retrain below the "
            "dashed line.",
        ),
        Picture(
            figures.gap_against_cost(block),
            "Gap against cost. The grey line joins the methods that no cheaper one beats.",
        ),
    ]
    if block.ranks:
        found.append(
            Picture(
                figures.rank_bars(block),
                "Ranks by gap over bootstrap resamples of the seeds: a bar of one colour is a "
                "rank that does not depend on which seeds were run.",
            )
        )
    stages = [t for t in tables if (t.bed, t.scenario) == (block.bed, block.scenario)]
    if len(stages) > 1:
        found.append(Picture(figures.stage_curves(stages), "The gap after each stage."))
    for base, setting in figures.varied(block):
        found.append(
            Picture(
                figures.ablation_curve(block, base, setting),
                f"{base} over {setting}: the gap, and the signed differences it is made of.",
            )
        )
    return found


def _made(found: Mapping[str, Any]) -> str:
    done, planned = len(found["rows"]), found["planned"]
    seeds = ", ".join(map(str, found["config"]["seeds"]))
    where = found["environment"]
    part = "" if done == planned else f" {planned - done} of {planned} models have no result yet."
    return (
        f"{done} models measured; seeds {seeds}.{part} coun {found['coun']}, torch "
        f"{where['torch']}, Python {where['python']}, {where['gpu'] or where['machine']}."
    )
