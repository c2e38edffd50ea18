"""`coun report`: one folder of results in; Markdown, LaTeX, CSV and a page out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from coun.bench import figures, published, render
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


def report(out: str | Path, *, paper: str | Path | bool = False) -> list[Path]:
    """Write `report.md`, `report.tex`, `report.csv` and `report.html` into *out*; their paths.

    Args: paper: True sets the paper's printed values beside ours, a file those in it.

    Raises: CounError if the results in *out* are missing or damaged.
    """
    out = Path(out)
    found = read(out)
    tables = blocks(found)
    shown = [block for block in tables if block.last]
    sections = [_section(block, tables) for block in shown]
    extra = _against(found, tables, None if paper is True else paper) if paper else []
    extra.append(_protocol(found))
    about = legend(found, MEANING[found["protocol"]["mia"]])
    made = _made(found)
    failures = list(found["failures"].values())
    lost = "".join(f"\n- failed: {why}" for why in failures)
    texts = {
        "report.md": f"# {found['title']}\n\n{found['note']}\n{lost}\n\n{render.markdown(shown)}\n"
        f"{''.join(map(_markdown, extra))}{about}\n\n{made}\n",
        "report.tex": render.latex(shown),
        "report.csv": render.as_csv(tables),
        "report.html": PAGE.get_template("bench.html").render(
            title=found["title"],
            note=found["note"],
            failures=failures,
            sections=sections + extra,
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
    if not math.isnan(block.floor) and block.methods:
        grids.append(Grid(render.QUALITY, [("", texts) for texts in render.quality(block)]))
    return Section(block.title, render.summary(block), grids, _pictures(block, tables))


def _against(
    found: Mapping[str, Any], tables: Sequence[Block], file: str | Path | None
) -> list[Section]:
    """The paper beside this bench, and where the paper's print contradicts itself."""
    rows = published.read(file)
    compared = published.compare(found, tables, rows)
    within = [one.within for one in compared if one.within is not None]
    lead = (
        f"{sum(within)} of {len(within)} metrics lie within the combined 95% interval. The "
        "paper's gap is that of seed means; its settings were chosen with the answer in view."
        if compared
        else "No row of this bench is printed there: beds say with `paper` what to compare with."
    )
    ours = Grid(published.HEADER, [("", published.texts(one)) for one in compared])
    wrong = Grid(
        ["printed row", "method", "printed gap", "from its own numbers"],
        [("", texts) for texts in published.contradictions(rows)],
    )
    return [
        Section("Against the paper", lead, [ours] if compared else []),
        Section(
            "Printed gaps that do not follow from their own row",
            "Recomputed from the printed metrics and the printed Retrain of the same setting.",
            [wrong],
        ),
    ]


def _protocol(found: Mapping[str, Any]) -> Section:
    """Every switch of the protocol, so that no difference is silent."""
    protocol = found["protocol"]
    hidden = ("name", "notes")
    rows = [("", [key, str(value)]) for key, value in protocol.items() if key not in hidden]
    return Section(f"Protocol {protocol['name']}", protocol["notes"], [Grid(["switch", ""], rows)])


def _markdown(section: Section) -> str:
    """A section without pictures."""
    parts = [f"## {section.title}", section.lead]
    for grid in section.tables:
        lines = [grid.header, ["---"] * len(grid.header), *(texts for _, texts in grid.rows)]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n\n"


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
