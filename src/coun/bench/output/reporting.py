"""The report of a bench: from its results to Markdown, LaTeX, CSV and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.bench.output import maps, published, render, semantics
from coun.bench.output.latex import HEAD, Latex, latex_of_grid, slug
from coun.bench.output.latex import latex as write_latex
from coun.bench.output.result_table import ResultTable, cautions_of
from coun.bench.output.results import read
from coun.bench.output.seed_tests import ensemble_grid, seed_tests
from coun.bench.output.semantics import semantics_tables
from coun.bench.output.tables import legend, result_tables
from coun.files import refuse_other_text, write_text
from coun.report import Grid, Picture, Section, write_report
from coun.report.picture import save_figure

MEASURED = "models measured; seed"
MARKS = {  # what a file of an earlier report holds, by name
    "report.md": MEASURED,
    "report.tex": HEAD.partition(" and ")[0],
    "report.csv": "workload,scenario,stage,row,",
    "report.html": MEASURED,
}
FIGURES = "figures"  # the folder of the pictures as files
MAP = (
    "Features of forget rows (marks) and retain rows (dots) in the plane, in the colour of the "
    "predicted class. Neighbourhoods can be compared between models, positions cannot."
)


def report(
    out: str | Path,
    *,
    paper: str | Path | bool = False,
    latex: Latex | None = None,
    figures: bool = False,
) -> list[Path]:
    """Write `report.md`, `report.tex`, `report.csv` and `report.html` into *out*.

    Args:
        out: the folder of a bench.
        paper: True compares with the values printed in the CoUn paper, a file with those in it.
        latex: columns, digits, brackets and labels of `report.tex`.
        figures: write every picture to `figures/` of *out* as well, as PDF and as SVG.

    Returns: the paths of the files.

    Raises: CounError if the results in *out* are missing or damaged, or if one of the files is
        there and is not an earlier report.

    >>> import tempfile
    >>> from coun.bench import bench
    >>> out = tempfile.mkdtemp()
    >>> _ = bench("demo", out, tiny=True, minutes=0, quiet=True)
    >>> [path.name for path in report(out)]
    ['report.md', 'report.tex', 'report.csv', 'report.html']
    """
    out = Path(out)
    refuse_other_reports(out)
    results = read(out)
    tables = result_tables(results)
    shown = [table for table in tables if table.last]
    printed = published.read(None if paper is True else paper) if paper else []
    sections = [_section(out, results, table, tables, printed) for table in shown]
    if paper:
        sections += _comparison(results, tables, printed)
    sections += [_legend(results), _protocol(results)]
    origin = _origin(results)
    failures = list(results["failures"].values())
    failed = "".join(f"\n- failed: {render.plain_markdown(reason)}" for reason in failures)
    warnings = cautions_of(shown)
    box = "".join(f"> **Caution.** {text}\n>\n" for text in warnings).removesuffix(">\n")
    texts = {
        "report.md": f"# {render.plain_markdown(results['title'])}\n\n"
        + results["note"].replace("<", "&lt;")
        + f"\n{failed}\n\n{box}\n"
        + "".join(map(render.markdown, sections))
        + f"{origin}\n",
        "report.tex": _tex(results, shown, latex or Latex()),
        "report.csv": render.as_csv(tables),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    page = out / "report.html"
    title, note = results["title"], results["note"]
    write_report(
        page,
        title,
        note,
        sections,
        origin,
        failures=failures,
        warnings=warnings,
        legend="",
    )
    saved = _save_pictures(sections, out / FIGURES) if figures else []
    return [*(out / name for name in texts), *saved, page]


def refuse_other_reports(out: Path) -> None:
    """Refuse a folder in which a report would overwrite a file that is not an earlier report."""
    for name, mark in MARKS.items():
        refuse_other_text(out / name, mark, "an earlier report of coun")


def _tex(results: Mapping[str, Any], tables: Sequence[ResultTable], how: Latex) -> str:
    """The tables for a paper: those of results and of the module, and the tests by seed."""
    parts = [write_latex(tables, how)]
    for table in tables:
        for name, grid in (
            ("tests", seed_tests(results, table)),
            ("all-seeds", ensemble_grid(results, table)),
        ):
            if grid is not None:
                label = f"{how.label}{name}-{slug(table.title)}"
                caption = f"{table.title}: {grid.header[0]}. {grid.note}".strip()
                parts.append(latex_of_grid(grid, caption, label))
    return "\n\n".join(parts) + "\n" * (len(parts) > 1)


def _save_pictures(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write each picture that has a name as PDF and as SVG; files of maps are there already."""
    saved = []
    for section in sections:
        for picture in section.pictures:
            if picture.name and not isinstance(picture.figure, Path):
                stem = f"{slug(section.title)}-{slug(picture.name)}"
                paths = [folder / f"{stem}{suffix}" for suffix in (".pdf", ".svg")]
                saved += save_figure(picture.figure, paths)
    return saved


def _section(
    out: Path,
    results: Mapping[str, Any],
    table: ResultTable,
    tables: Sequence[ResultTable],
    printed: Sequence[published.Published],
) -> Section:
    pictures = _pictures(table, tables, published.improvements_of(results, table, printed))
    name = maps.name_of(table.workload, table.scenario, table.stage)
    if (drawn := out / maps.FOLDER / f"{name}.png").is_file():
        pictures.append(Picture(drawn, MAP))
    followed = semantics_tables(results, table.workload, table.scenario, table.stage)
    further = (seed_tests(results, table), ensemble_grid(results, table))
    grids = [
        *render.grids(table),
        *(grid for grid in further if grid is not None),
        *(part.grid for part in followed),
    ]
    return Section(table.title, render.summary(table), grids, pictures)


def _comparison(
    results: Mapping[str, Any],
    tables: Sequence[ResultTable],
    printed: Sequence[published.Published],
) -> list[Section]:
    """The paper's values beside those of this bench, and contradictions within the paper."""
    followed = [
        part
        for table in tables
        if table.last
        for part in semantics_tables(results, table.workload, table.scenario, table.stage)
    ]
    compared = published.compare(results, tables, printed) + semantics.compare(results, followed)
    within = [pair.within for pair in compared if pair.within is not None]
    lead = (
        f"{sum(within)} of {len(within)} metrics lie within the combined 95% interval. The "
        "paper's gap is that of the means over seeds; its settings were selected by the reported "
        "gap."
        if compared
        else "The paper has none of the rows of this bench. A workload names the rows that it is "
        "compared with by its key `paper`."
    )
    beside = Grid.of(published.HEADER, map(published.texts, compared))
    contradictions = Grid.of(
        ["printed row", "method", "printed gap", "from its own numbers"],
        published.contradictions(printed),
    )
    return [
        Section("Comparison with the paper", lead, [beside] if compared else []),
        Section(
            "Printed gaps that contradict their own row",
            "Each gap was recomputed from the printed metrics and the printed Retrain of the same "
            "setting.",
            [contradictions],
        ),
    ]


def _legend(results: Mapping[str, Any]) -> Section:
    """The meaning of columns and marks."""
    lead = "A value is good if it is near Retrain's, not if it is high or low."
    grid = Grid.of(["column", "meaning"], legend(results), words=True)
    return Section("What the columns mean", lead, [grid])


def _protocol(results: Mapping[str, Any]) -> Section:
    """Every switch of the protocol, so that every difference is visible."""
    protocol = results["protocol"]
    rows = [
        [key, str(value)]
        for key, value in protocol.items()
        if key not in ("name", "notes") and value != {}
    ]
    grid = Grid.of(["switch", "value"], rows, words=True)
    return Section(f"Protocol {protocol['name']}", protocol["notes"], [grid])


def _pictures(
    table: ResultTable, tables: Sequence[ResultTable], printed: Mapping[str, float]
) -> list[Picture]:
    # Matplotlib is slow to import, and workers, which import this package too, draw nothing.
    from coun.bench.output import figures

    if not table.methods:
        return []
    pictures = [
        Picture(
            figures.gap_bars(table),
            "Gap to Retrain: mean, standard deviation, and a circle for each seed. Dashed: the "
            "mean gap between two Retrains (the floor).",
            "gaps",
        ),
        Picture(
            figures.gap_against_cost(table),
            "Gap against cost. The grey line joins the methods that are nearer to Retrain than "
            "every cheaper one.",
            "gap-against-cost",
        ),
    ]
    if table.module:
        pictures.append(
            Picture(
                figures.improvements(table, printed),
                "By how many percent the contrastive module makes the mean gap of each method "
                "smaller; below 0, larger. A circle is one seed: the change of its gap, in percent "
                "of the mean gap without the module.",
                "improvements",
            )
        )
    if table.ranks:
        pictures.append(
            Picture(
                figures.ranks(table),
                "Ranks by gap over bootstrap resamples of the seeds: at 100, the rank does not "
                "depend on which seeds were run.",
                "ranks",
            )
        )
    stages = [t for t in tables if (t.workload, t.scenario) == (table.workload, table.scenario)]
    if len(stages) > 1:
        pictures.append(
            Picture(figures.stage_curves(stages), "The gap after each stage.", "stages")
        )
    for base, setting in figures.ablations(table):
        pictures.append(
            Picture(
                figures.ablation_curve(table, base, setting),
                f"{base} over {setting}: the gap, and the signed differences that it averages.",
                f"{base}-{setting}",
            )
        )
    return pictures


def _origin(results: Mapping[str, Any]) -> str:
    """How many models were measured, with which versions and on which machines."""
    measured, planned = len(results["rows"]), results["planned"]
    seeds = sorted({row["seed"] for row in results["rows"]})
    missing = planned - measured
    part = f" {missing} of {planned} models have no result yet." if missing else ""
    parts = results.get("merged", [results])
    machines = dict.fromkeys(_machine(part["coun"], part["environment"]) for part in parts)
    return (
        f"{measured} {MEASURED}{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}.{part} "
        f"{'; '.join(machines)}."
    )


def _machine(version: str, environment: Mapping[str, Any]) -> str:
    where = environment["gpu"] or environment["machine"]
    return f"coun {version}, torch {environment['torch']}, Python {environment['python']}, {where}"
