"""`coun report`: one folder of results in; Markdown, LaTeX, CSV and a page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.bench import figures, published, render
from coun.bench.results import read
from coun.bench.tables import Block, blocks, legend
from coun.files import write_text
from coun.report import Grid, Picture, Section, write_report


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
    if paper:
        sections += _against(found, tables, None if paper is True else paper)
    sections.append(_protocol(found))
    about = legend(found)
    made = _made(found)
    failures = list(found["failures"].values())
    lost = "".join(f"\n- failed: {why}" for why in failures)
    texts = {
        "report.md": f"# {found['title']}\n\n{found['note']}\n{lost}\n\n"
        + "".join(map(render.markdown, sections))
        + f"{about}\n\n{made}\n",
        "report.tex": render.latex(shown),
        "report.csv": render.as_csv(tables),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    page = out / "report.html"
    write_report(
        page, found["title"], found["note"], sections, made, failures=failures, legend=about
    )
    return [*(out / name for name in texts), page]


def _section(block: Block, tables: Sequence[Block]) -> Section:
    pictures = _pictures(block, tables)
    return Section(block.title, render.summary(block), render.grids(block), pictures)


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
    ours = Grid.of(published.HEADER, map(published.texts, compared))
    wrong = Grid.of(
        ["printed row", "method", "printed gap", "from its own numbers"],
        published.contradictions(rows),
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
    rows = [[key, str(value)] for key, value in protocol.items() if key not in hidden]
    grid = Grid.of(["switch", ""], rows)
    return Section(f"Protocol {protocol['name']}", protocol["notes"], [grid])


def _pictures(block: Block, tables: Sequence[Block]) -> list[Picture]:
    if not block.methods:
        return []
    found = [
        Picture(
            figures.gap_bars(block),
            "Gap to Retrain: mean, standard deviation and every seed. Nothing can be told from "
            "Retrain below the dashed line.",
        ),
        Picture(
            figures.gap_against_cost(block),
            "Gap against cost. No method on the grey line is beaten by a cheaper one.",
        ),
    ]
    if block.ranks:
        found.append(
            Picture(
                figures.ranks(block),
                "Ranks by gap over bootstrap resamples of the seeds: 100 is a rank that does not "
                "depend on which seeds were run.",
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
