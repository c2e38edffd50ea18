"""`coun data`: where data sets come from, whether a local copy is right, and decoded images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app

command = click.Group(
    "data",
    short_help="Show cached images and the data sets of the paper.",
    help="Show the decoded images that coun keeps, and where the data sets of the paper are.",
)
GIB = 2**30


@command.command(
    "cache",
    short_help="List or clear the decoded images on the disk.",
    cls=app.Command,
    help="List the decoded images that coun keeps on the disk, for all sources or for the one at "
    "PATH. COUN_CACHE names the folder, or is none; COUN_CACHE_GIB limits its size.",
)
@click.argument("path", metavar="[PATH]", type=app.PATH, required=False)
@click.option("--clear", is_flag=True, help="Delete them.")
@app.json_option
def cache(path: Path | None, clear: bool, as_json: bool) -> None:
    from coun.data.cache import cache_folder, entries
    from coun.data.cache import clear as clear_cache

    folder = cache_folder()
    source = None if path is None else str(path)
    if clear:
        freed = clear_cache(source)
        if as_json:
            app.emit({"folder": str(folder), "freed_bytes": freed})
            return
        app.console.print(f"freed {freed / GIB:,.2f} GiB in {folder}", markup=False)
        return
    listing: list[dict[str, Any]] = [
        {
            "source": entry.source,
            "images": entry.images,
            "bytes": entry.bytes,
            "file": str(entry.path),
            "stale": entry.is_stale(),
        }
        for entry in entries(source)
    ]
    if as_json:
        app.emit({"folder": str(folder) if folder else None, "entries": listing})
        return
    if folder is None:
        app.console.print("no decoded images are kept: COUN_CACHE is none")
        return
    table = Table("source", "images", "GiB", "state", box=SIMPLE_HEAD)
    for row in listing:
        state = "of files that changed or are deleted" if row["stale"] else "up to date"
        size = f"{row['bytes'] / GIB:,.2f}"
        table.add_row(Text(str(row["source"])), f"{row['images']:,}", size, state)
    if listing:
        app.console.print(table)
    app.console.print(Text(f"{len(listing)} entries in {folder}"))


@command.command(
    "where",
    short_help="Say where a data set of the paper comes from.",
    cls=app.Command,
    help="Say where the data sets of the paper, or the one called NAME, come from: address, size, "
    "checksum, layout. Nothing is downloaded.",
)
@click.argument("name", required=False)
@app.json_option
def where(name: str | None, as_json: bool) -> None:
    from coun.data.public import SETS, public_set

    sets = list(SETS.values()) if name is None else [public_set(name)]
    if as_json:
        app.emit([vars(facts) for facts in sets])
        return
    for facts in sets:
        lines = [
            f"{facts.name}: {facts.train:,} training and {facts.test:,} test images, "
            f"{facts.classes} classes, {facts.shape}",
            f"  from {facts.archive}",
            f"  {facts.bytes:,} bytes, MD5 {facts.md5}",
            f"  unpacks to {facts.layout}",
            f"  --data {facts.spelling}",
            f"  terms: {facts.terms}",
        ]
        click.echo("\n".join(lines))


@command.command(
    "check",
    short_help="Check a local copy of a data set.",
    cls=app.Command,
    help="Check a local copy of the data set NAME: the archive that was downloaded, by size and "
    "MD5, or the unpacked data as a source, by rows, classes and shape.",
)
@click.argument("name")
@click.argument("copy", metavar="ARCHIVE|SRC")
@app.json_option
def check(name: str, copy: str, as_json: bool) -> None:
    from coun.data.public import check_copy

    right = check_copy(name, copy)
    if as_json:
        app.emit({"name": name, "copy": copy, "right": right})
        return
    click.echo(f"{copy} is a whole copy of {name}: {'; '.join(right)}")
