"""`coun methods`: what there is, where it comes from and what it reads."""

from __future__ import annotations

import click
from rich.table import Table

from coun.cli import app
from coun.methods import catalogue, describe


@click.command("methods")
@app.json_option
def command(as_json: bool) -> None:
    """List the unlearning methods."""
    if as_json:
        app.emit({name: describe(kind) for name, kind in catalogue().items()})
        return
    table = Table("method", "what it does", "reads", "trains", "source", title="Methods")
    for name, kind in catalogue().items():
        reads = ", ".join(sorted(kind.reads))
        table.add_row(name, kind.summary(), reads, "yes" if kind.trains else "no", kind.source)
    app.console.print(table)
