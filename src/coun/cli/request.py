"""`coun request`: enter deletion requests, and see what became of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app
from coun.cli.forget_options import WHERE_HELP, values_by_column
from coun.cli.registry_folder import open_registry, read_registry, registry_argument
from coun.errors import CounError, TamperingFound, counted, visible

if TYPE_CHECKING:
    from coun.registry import RequestSummary

command = click.Group("request", help="Enter, list and close deletion requests of a registry.")
_number = click.argument("number", metavar="N", type=click.IntRange(min=1))
_source = click.option(
    "--data", "source", metavar="SRC", help="Where the data is now, if it was moved."
)


@command.command(
    "add",
    cls=app.Command,
    help="Enter a request. The rows are named by id, by number, by content or by class; these "
    "options may be repeated and combined. The ids are kept until the request is fulfilled; after "
    "that only keyed hashes of them.",
)
@registry_argument
@click.option(
    "--ids",
    multiple=True,
    metavar="FILE",
    type=app.PATH,
    help="File of row ids, as 'coun rows' shows them: text with one per line, csv or json.",
)
@click.option(
    "--index",
    multiple=True,
    metavar="FILE",
    type=app.PATH,
    help="File of row numbers, in the same forms.",
)
@click.option(
    "--match",
    multiple=True,
    metavar="FILE_OR_FOLDER",
    type=app.PATH,
    help="Picture, or folder of pictures: rows with the same pixels are meant.",
)
@click.option("--class", "classes", multiple=True, metavar="NAME", help="A whole class.")
@click.option("--id-column", metavar="NAME", help="Column to read in the files.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help=WHERE_HELP)
@click.option("--with-copies", is_flag=True, help="Also take exact copies of the rows.")
@click.option(
    "--reason", default="", metavar="TEXT", help="Kept in the ledger for good: name no one in it."
)
@click.option("--received", metavar="DATE", help="YYYY-MM-DD.  [default: today]")
@click.option("--due", metavar="DATE", help="YYYY-MM-DD.  [default: 30 days after --received]")
@click.option(
    "--near-copies",
    type=float,
    metavar="SIMILARITY",
    help="Also show rows that look almost like these to the model, such as from 0.97, on a page "
    "for a person to judge. They do not join this request.",
)
@_source
@app.trust_option
@app.json_option
def add(
    folder: Path,
    ids: tuple[Path, ...],
    index: tuple[Path, ...],
    match: tuple[Path, ...],
    classes: tuple[str, ...],
    id_column: str | None,
    where: tuple[str, ...],
    with_copies: bool,
    reason: str,
    received: str | None,
    due: str | None,
    near_copies: float | None,
    source: str | None,
    trust: bool,
    as_json: bool,
) -> None:
    if near_copies is not None and not 0 < near_copies <= 1:
        raise CounError(f"--near-copies is {near_copies:g}; expected above 0 and at most 1")
    if where and not (ids or index):
        raise CounError("--where needs --ids or --index with a .csv file of rows")
    from coun.data.request_files import read_ids, read_index

    conditions = values_by_column(where)
    registry = open_registry(folder, trust=trust)
    if near_copies is not None:  # a model that cannot be opened is refused before the request is
        registry.open_version(registry.state().served, source)  # entered
    data = registry.data(source)[0] if ids or index else None
    request = registry.add(
        ids=[name for file in ids for name in read_ids(file, id_column, conditions, data)],
        numbers=[
            n for file in index for n in read_index(file, id_column, conditions, data).tolist()
        ],
        match=match,
        classes=classes,
        copies=with_copies,
        reason=reason,
        received=received,
        due=due,
        data=data or source,
    )
    page = None
    if near_copies is not None:
        page = registry.near_copies(request.request, near_copies, data=source)
    if page is not None:
        click.echo(
            f"near-copies to judge: {page}; enter those that are meant with: coun request add "
            f"{shlex.quote(str(folder))} --ids {shlex.quote(str(page.with_suffix('.txt')))}",
            err=True,
        )
    elif near_copies is not None:
        click.echo("no other row is that similar", err=True)
    _report(request, as_json)


@command.command(
    "list",
    short_help="List all requests and their states.",
    cls=app.Command,
    help="List all requests: what is open, overdue, fulfilled or withdrawn.\n\nExit code 4 if the "
    "ledger was changed.",
)
@registry_argument
@app.json_option
def list_requests(folder: Path, as_json: bool) -> int:
    summary = read_registry(folder).summary()
    if as_json:
        app.emit([request.model_dump(mode="json") for request in summary.requests])
    else:
        app.console.print(table_of(summary.requests))
    for problem in summary.ledger.problems:
        click.echo(f"tampering: {problem}", err=True)
    return TamperingFound.exit_code if summary.ledger.problems else 0


@command.command("show", cls=app.Command, help="Show one request.")
@registry_argument
@_number
@app.json_option
def show(folder: Path, number: int, as_json: bool) -> None:
    request = read_registry(folder).request(number)
    if as_json:
        app.emit(request.model_dump(mode="json"))
        return
    for name, value in request.model_dump(mode="json").items():
        if value not in (None, ""):
            click.echo(f"{name.replace('_', ' ')}: {value}")


@command.command(
    "withdraw", cls=app.Command, help="Close an open request; its rows and its key are deleted."
)
@registry_argument
@_number
@app.json_option
def withdraw(folder: Path, number: int, as_json: bool) -> None:
    _report(open_registry(folder).withdraw(number), as_json)


@command.command(
    "shred",
    cls=app.Command,
    help="Destroy the key of a fulfilled request. Nothing then links its record to a row. The "
    "rows must be deleted from the source first.",
)
@registry_argument
@_number
@_source
@app.json_option
def shred(folder: Path, number: int, source: str | None, as_json: bool) -> None:
    _report(open_registry(folder).shred(number, data=source), as_json)


def table_of(requests: tuple[RequestSummary, ...]) -> Table:
    """A table of requests for the terminal."""
    table = Table("no.", "state", "rows", "received", "due", "version", "reason", box=SIMPLE_HEAD)
    for request in requests:
        state = Text("overdue", "red") if request.overdue else Text(request.state)
        state += ", key shredded" * request.shredded
        state += ", last attempt failed" * (request.result == "FAILED")
        table.add_row(
            str(request.request),
            state,
            f"{request.rows:,}",
            request.received,
            request.due,
            "" if request.version is None else str(request.version),
            visible(request.reason),
        )
    return table


def _report(request: RequestSummary, as_json: bool) -> None:
    if as_json:
        app.emit(request.model_dump(mode="json"))
        return
    rows = counted(request.rows, "training row")
    if request.test_rows:
        rows += f" and {counted(request.test_rows, 'test row')} that measurements leave out"
    due = f", due {request.due}" * (request.state == "open") + ", overdue" * request.overdue
    shredded = "; its key is destroyed" * request.shredded
    click.echo(f"request {request.request}: {request.state}, {rows}{due}{shredded}")
