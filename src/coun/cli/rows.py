"""`coun rows`: which rows a source has, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app
from coun.cli.data_options import data_options, load_data, with_id_column
from coun.cli.start import served_version
from coun.errors import CounError, counted, visible
from coun.files import atomically, expanded, write_text

if TYPE_CHECKING:
    from coun.data import Data
    from coun.data.lookup import Row
    from coun.runs.run_rows import RunRow

SHORT = 24  # letters of an id up to which other columns are broken before it


@app.command(
    "rows",
    short_help="List the rows of data, of a run or of a registry.",
    help="List the rows of SRC with number, id, class and part: the names that --forget-index "
    "and --forget-ids take. For a run folder, list the rows that the run recorded, also those "
    "that are deleted by now, and which request forgot each; for a registry, those of the version "
    "that it serves.",
)
@click.argument("source", metavar="SRC|RUN|REGISTRY")
@click.option("--find", metavar="TEXT", default="", help="Only rows whose id contains TEXT.")
@click.option(
    "--like",
    metavar="IMAGE",
    type=app.PATH,
    help="The rows that look most like a picture, nearest first, by their pixels.",
)
@click.option(
    "--features",
    metavar="RUN",
    type=app.PATH,
    help="With --like: compare the features of this run's model instead of pixels.",
)
@click.option(
    "--suspicious",
    is_flag=True,
    help="For a run folder that coun prepare worked on: only the rows whose labels look wrong to "
    "models that never saw them, the least credible label first.",
)
@click.option(
    "--limit-shown",
    type=click.IntRange(min=1),
    default=20,
    help="Number of rows to show.  [default: 20]",
)
@click.option(
    "--out",
    type=app.PATH,
    help="Also write a new file: the ids of all these rows as .txt, or pictures of the shown ones "
    "as .png or .html.",
)
@click.option("--id-column", metavar="NAME", help="Column of the ids, in a source with columns.")
@data_options
@app.trust_option
@app.json_option
def command(
    source: str,
    find: str,
    like: Path | None,
    features: Path | None,
    suspicious: bool,
    limit_shown: int,
    out: Path | None,
    id_column: str | None,
    limits: dict[str, Any],
    trust: bool,
    as_json: bool,
) -> None:
    from coun.data.lookup import all_rows, rows_of_source

    _check_options(find, like, features, out)
    folder = served_version(expanded(source))
    if (folder / "run.json").exists():
        source = str(folder)
        if like is not None or limits or id_column or (out and out.suffix.lower() != ".txt"):
            raise CounError(
                f"{source} is a run folder, which holds no pictures; of the options it takes "
                "--find, --suspicious, --limit-shown, --json and --out FILE.txt"
            )
        if suspicious:
            _suspicious_rows(source, find, limit_shown, out, trust, as_json=as_json)
        else:
            _rows_of_run(source, find, limit_shown, out, as_json=as_json)
        return
    if suspicious:
        raise CounError(
            f"--suspicious needs a run folder, and {source} is a data source; train a model and "
            "prepare it (coun train --folds)"
        )
    sheet = out if out is not None and out.suffix.lower() != ".txt" else None
    if like is None and sheet is None:
        rows, opened = rows_of_source(source, find, **with_id_column(source, limits, id_column))
        spelling = opened.spelling
        for note in opened.content.notes:
            click.echo(note, err=True)
    else:
        data = load_data(source, limits, id_column)
        spelling = data.source
        if like is None:
            rows = all_rows(data, find)
        else:
            rows = _alike(data, like, features, limit_shown, trust)
    matches, total, rows = rows, len(rows), rows[:limit_shown]
    if not rows:
        raise CounError(f"no row of {source} has '{find}' in its id; leave out --find to see ids")
    if sheet is not None:
        _write_pictures(sheet, data, rows)
    elif out is not None:
        _write_ids(out, *_nameable(matches))
    if as_json:
        keys = ("number", "id", "label", "part", "distance")
        listing = [{key: getattr(row, key) for key in keys} for row in rows]
        app.emit({"source": spelling, "rows": total, "shown": listing})
        return
    _show(rows, total if like is None else len(rows))


def _check_options(find: str, like: Path | None, features: Path | None, out: Path | None) -> None:
    """Refuse options that exclude each other, and an output that cannot be written."""
    if features is not None and like is None:
        raise CounError("--features needs --like, the picture to look for")
    if like is not None and find:
        raise CounError("--find and --like are two ways to look for rows; give one of them")
    if out is not None and out.suffix.lower() not in (".png", ".html", ".txt"):
        raise CounError(f"--out is {out}; expected a name that ends in .png, .html or .txt")
    if out is not None and out.exists():
        raise CounError(f"{out} exists; choose another --out, or delete it first")


def _rows_of_run(
    folder: str, find: str, limit_shown: int, out: Path | None, *, as_json: bool
) -> None:
    """List the rows that the run in *folder* recorded, forgotten ones first."""
    from coun.runs import rows_of_run

    known = rows_of_run(folder)
    rows = [row for row in known if find.casefold() in row.id.casefold()]
    if not rows:
        hashed = any(row.id.startswith("hmac:") for row in known)
        raise CounError(
            f"no row of {folder} has '{find}' in its id; "
            + ("forgotten rows have no readable ids" if hashed else "leave out --find to see ids")
        )
    rows.sort(key=lambda row: not row.forgotten_by)
    if out is not None:
        _write_ids(out, *_nameable(rows))
    if as_json:
        keys = ("number", "id", "label", "part", "forgotten_by")
        shown = [{key: getattr(row, key) for key in keys} for row in rows[:limit_shown]]
        app.emit({"run": folder, "rows": len(rows), "shown": shown})
        return
    _print_rows(
        ("number", "id", "class", "part", "forgotten by"),
        [
            (str(row.number), _short(row.id), row.label, row.part, row.forgotten_by)
            for row in rows[:limit_shown]
        ],
    )
    _print_rest(limit_shown, len(rows))


def _short(row_id: str) -> str:
    """An id as a table shows it: of a keyed hash, the first digits of the key and of the hash."""
    scheme, *parts = row_id.split(":")
    if scheme == "hmac" and len(parts) == 2:
        return f"hmac:{parts[0][:8]}:{parts[1][:8]}…"
    return row_id


def _suspicious_rows(
    folder: str, find: str, limit_shown: int, out: Path | None, trust: bool, *, as_json: bool
) -> None:
    """List the rows of the run in *folder* whose labels look wrong."""
    from coun.runs import Run, suspicious_labels

    run = Run.open(folder, allow_missing=True, trust=trust)
    rows = [row for row in suspicious_labels(run) if find.casefold() in row.id.casefold()]
    if out is not None:
        _write_ids(out, [row.id for row in rows])
    if as_json:
        app.emit({"run": folder, "rows": len(rows), "shown": [vars(r) for r in rows[:limit_shown]]})
        return
    _print_rows(
        ("number", "id", "class", "looks like", "credible"),
        [
            (str(row.number), row.id, row.label, row.suggested, f"{row.probability:.1%}")
            for row in rows[:limit_shown]
        ],
    )
    app.console.print(
        f"{min(limit_shown, len(rows)):,} of {len(rows):,} suspicious rows; look at each before "
        "you delete it",
        highlight=False,
    )


def _alike(data: Data, picture: Path, folder: Path | None, count: int, trust: bool) -> list[Row]:
    """The rows nearest to the picture, by pixels or by the features of the run in *folder*."""
    from coun.data import Examples, TensorExamples
    from coun.data.lookup import nearest_rows, read_picture

    image = read_picture(picture, data)
    if folder is None:
        return nearest_rows(data, image, count)
    import torch
    from torch import Tensor

    from coun.engine.prediction import predict
    from coun.runs import Run

    classifier = Run.open(folder, trust=trust).classifier

    def features(examples: Examples) -> Tensor:
        outputs = predict(
            classifier, data, examples, progress=True, title="features", anywhere=True
        )
        return outputs.features

    zero = torch.zeros(1, dtype=torch.int64)
    query = features(TensorExamples(image[None], zero, zero))
    return nearest_rows(data, image, count, features=features, picture_features=query)


def _show(rows: list[Row], total: int) -> None:
    compared = rows[0].distance is not None
    lines = []
    for row in rows:
        distance = [] if row.distance is None else [f"{row.distance:.4g}"]
        lines.append([str(row.number), row.id, row.label, row.part, *distance])
    _print_rows(("number", "id", "class", "part", *(("distance",) if compared else ())), lines)
    _print_rest(len(rows), total)


def _print_rows(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print a table of rows, whose second column are ids, which are never cut."""
    table = Table(*heads, box=SIMPLE_HEAD)
    rows = [[visible(cell) for cell in cells] for cells in lines]
    table.columns[1].overflow = "fold"
    table.columns[1].no_wrap = all(len(cells[1]) <= SHORT for cells in rows)
    for cells in rows:
        table.add_row(*map(Text, cells))  # brackets are not markup
    app.console.print(table)


def _print_rest(shown: int, total: int) -> None:
    """Say how to see the rows that a table leaves out."""
    if total > shown:
        app.console.print(
            f"{shown:,} of {total:,} rows; more with --limit-shown, fewer with --find",
            highlight=False,
        )


def _write_ids(path: Path, ids: Sequence[str], unnamed: int = 0) -> None:
    """Write *ids*, one per line, and say so, because a table may show a part of them only.

    Args: unnamed: number of rows that were found and cannot be named by an id.
    """
    left_out = ""
    if unnamed:
        rows = counted(unnamed, "test row")
        left_out = f"; {rows} left out, because ids that are numbers name training rows"
    if unnamed and not ids:
        raise CounError(f"{path} would be empty{left_out}; expected training rows")
    write_text(path, "".join(f"{name}\n" for name in ids))
    click.echo(f"{counted(len(ids), 'id')} written to {path}{left_out}", err=True)


def _nameable(rows: Sequence[Row | RunRow]) -> tuple[list[str], int]:
    """The ids that a request can name, and the number of rows without one."""
    ids = [row.id for row in rows if row.nameable]
    return ids, len(rows) - len(ids)


def _write_pictures(path: Path, data: Data, rows: list[Row]) -> None:
    """Write the pictures of *rows* to a contact sheet for a person to look at."""
    from coun.report.contact_sheet import contact_page, contact_sheet

    if path.suffix.lower() == ".html":
        write_text(path, contact_page(data, rows))
    else:
        with atomically(path) as temporary:
            temporary.write_bytes(contact_sheet(data, rows))
