"""`coun methods`: what there is, where it comes from and how it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app
from coun.errors import unknown

if TYPE_CHECKING:
    from coun.plans.card import Card

LETTERS = {
    "retain": "R",
    "forget": "F",
    "held-out": "H",
    "original training": "O",
    "predictions": "P",
    "kept epochs": "K",
}


@app.command(
    "methods", help="List the unlearning methods, or show the card of the one called NAME."
)
@click.argument("name", required=False)
@app.json_option
def command(name: str | None, as_json: bool) -> None:
    from coun.methods import broken_plugins, catalogue, describe, federated
    from coun.plans.card import Card

    known = catalogue() | federated()
    for reason in broken_plugins().values():
        click.echo(reason, err=True)
    if name is not None and name not in known:
        raise unknown("method", name, known)
    if as_json:
        found = {key: describe(kind) for key, kind in known.items()}
        app.emit(found if name is None else found[name])
    elif name is None:
        table = Table("method", "reads", "trains", "what it does, and its source", box=SIMPLE_HEAD)
        table.columns[0].no_wrap = True
        for key, kind in known.items():
            about = describe(kind)
            reads = " ".join(LETTERS[role] for role in about["reads"])
            what = Text.assemble(about["summary"], "\n", (about["source"], "dim"))
            table.add_row(key, reads, "yes" if about["trains"] else "no", what)
        app.console.print(table)
        legend = ", ".join(f"{letter} {role}" for role, letter in LETTERS.items())
        app.console.print(f"Reads: {legend} (made before by coun prepare).", highlight=False)
        app.console.print(
            f"In a federation only (coun train --clients): {', '.join(federated())}.",
            highlight=False,
        )
        app.console.print(
            "coun methods NAME shows cost, limits and settings of one.", highlight=False
        )
    else:
        _show_card(Card.of(known[name]))


def _show_card(card: Card) -> None:
    from coun.plans.card import HEADINGS

    app.console.print(f"{card.name}: {card.title}", highlight=False, markup=False)
    parts = Table.grid(padding=(0, 2))
    for key, text in card.parts.items():
        parts.add_row(Text(HEADINGS[key], style="bold"), Text(text))
    app.console.print(parts)
    settings = Table("--set", "default", "range", "what it is", box=SIMPLE_HEAD)
    for setting in card.settings:
        name = Text(setting.name, no_wrap=True)
        settings.add_row(name, setting.default, setting.allowed, Text(setting.description))
    app.console.print(settings)
