"""`coun methods`: what there is, where it comes from and how it is set."""

from __future__ import annotations

from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from coun.cli import app
from coun.errors import unknown

LETTERS = {
    "retain": "R",
    "forget": "F",
    "held-out": "H",
    "original training": "O",
    "predictions": "P",
}


@app.command("methods", help="List the unlearning methods, or the settings of the one called NAME.")
@click.argument("name", required=False)
@app.json_option
def command(name: str | None, as_json: bool) -> None:
    from coun.methods import broken_plugins, catalogue, describe

    known = catalogue()
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
        app.console.print("coun methods NAME shows the settings of one.", highlight=False)
    else:
        _show_settings(name, describe(known[name]))


def _show_settings(name: str, about: dict[str, Any]) -> None:
    app.console.print(f"{name}: {about['summary']}", highlight=False)
    app.console.print(f"Source: {about['source']}", highlight=False)
    table = Table("--set", "default", "range", "what it is")
    for key, field in about["settings"].items():
        default = "automatic" if field["default"] is None else str(field["default"])
        table.add_row(key, default, _range(field), field["description"])
    app.console.print(table)


def _range(field: dict[str, Any]) -> str:
    """What a JSON schema allows, in words: "> 0", "0 <= x < 1", "sum, mean"."""
    kinds = [field, *field.get("anyOf", [])]
    merged = {key: value for kind in kinds for key, value in kind.items()}
    if "enum" in merged:
        return ", ".join(merged["enum"])
    bounds = (
        ("exclusiveMinimum", ">"),
        ("minimum", ">="),
        ("exclusiveMaximum", "<"),
        ("maximum", "<="),
    )
    found = [f"{sign} {merged[word]:g}" for word, sign in bounds if word in merged]
    return ", ".join(found) or field.get("type", "")
