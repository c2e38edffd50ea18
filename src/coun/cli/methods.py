"""`coun methods`: what there is, where it comes from and how it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app

if TYPE_CHECKING:
    from coun.plans.card import Card

LETTERS = {
    "retain": "R",
    "forget": "F",
    "held-out": "H",
    "original training": "O",
    "predictions": "P",
    "kept epochs": "K",
    "shards": "S",
}
LEGEND = (
    "R retain rows, F forget rows, H held-out rows, O the record of the Original's training; "
    "prepared before a request: P predictions of coun prepare, K epochs of "
    "coun train --keep-every, S shards of coun train --method"
)


@app.command(
    "methods",
    short_help="List the unlearning methods, or explain one.",
    help="List the unlearning methods, or show the card of the one called NAME, which may also be "
    "package.module:Class or ./file.py:Class.",
)
@click.argument("name", required=False)
@app.json_option
def command(name: str | None, as_json: bool) -> None:
    from coun.methods import broken_plugins, catalogue, describe, federated, find
    from coun.plans.card import Card

    kinds = catalogue() | federated()
    for reason in broken_plugins().values():
        click.echo(reason, err=True)
    chosen = None if name is None else kinds.get(name) or find(name, trust=True)
    if as_json:
        descriptions = {key: describe(kind) for key, kind in kinds.items()}
        app.emit(descriptions if chosen is None else describe(chosen))
    elif chosen is None:
        table = Table("method", "needs", "cost", "what it does, and its source", box=SIMPLE_HEAD)
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        table.columns[2].justify = "right"
        for key, kind in kinds.items():
            about = describe(kind)
            needs = "".join(LETTERS[role] for role in about["reads"])
            share = about["share_of_retrain"]
            cost = "" if share is None else f"{share:.2f}" if share >= 0.1 else f"{share:.3f}"
            what = Text.assemble(about["summary"], "\n", (about["source"], "dim"))
            table.add_row(key, needs, cost, what)
        app.console.print(table)
        app.console.print(f"Needs: {LEGEND}.", highlight=False)
        app.console.print(
            "Cost: at the defaults, as a share of a Retrain's operations, where 10% of the rows "
            "are forgotten and the Original was trained for 182 epochs.",
            highlight=False,
        )
        app.console.print(
            f"In a federation only (coun train --clients): {', '.join(federated())}.",
            highlight=False,
        )
        app.console.print(
            "coun methods NAME shows cost, limits and settings of one.", highlight=False
        )
    else:
        _show_card(Card.of(chosen))


def _show_card(card: Card) -> None:
    from coun.plans.card import HEADINGS

    app.console.print(f"{card.name}: {card.title}", highlight=False, markup=False)
    parts = Table.grid(padding=(0, 2))
    for key, text in card.parts.items():
        parts.add_row(Text(HEADINGS[key], style="bold"), Text(text))
    app.console.print(parts)
    settings = app.table("--set", "default", "range", "what it is")
    settings.columns[0].min_width = max((len(s.name) for s in card.settings), default=0)
    for setting in card.settings:
        name = Text(setting.name)
        settings.add_row(name, setting.default, setting.allowed, Text(setting.description))
    app.console.print(settings)
