"""`coun verify`: is a certificate genuine, and is it about this model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from coun.cli import app
from coun.errors import CounError, TamperingFound

if TYPE_CHECKING:
    from coun.certificates import Verification

SYMBOLS = {"PASSED": "✓", "WARNED": "!", "FAILED": "✕"}


@app.command(
    "verify",
    short_help="Check the certificate of a deletion request.",
    help="Check the certificate of a deletion request: its signature, the model, the certificate "
    "before it, and its result. Needs no network.\n\n"
    "Exit code 4 if anything was changed, 3 if the certificate says that the request failed, 2 if "
    "the file is not a certificate.",
)
@click.argument("certificate", metavar="CERTIFICATE", type=app.PATH)
@click.option(
    "--model",
    metavar="FILE",
    type=app.PATH,
    help="The model file, or the run folder, that the certificate is about.",
)
@click.option(
    "--registry",
    metavar="DIR",
    type=app.PATH,
    help="The registry that must have issued it; its public keys are the expected signers.",
)
@click.option(
    "--key",
    "keys",
    metavar="PUB",
    multiple=True,
    type=app.PATH,
    help="A public key that must have signed it; may be repeated.",
)
@click.option(
    "--card",
    metavar="FILE",
    type=app.PATH,
    help="Also write what it says as a section of a model card, in Markdown.",
)
@app.json_option
@click.pass_context
def command(
    context: click.Context,
    certificate: Path,
    model: Path | None,
    registry: Path | None,
    keys: tuple[Path, ...],
    card: Path | None,
    as_json: bool,
) -> None:
    from coun.certificates import model_card, verify
    from coun.files import write_text

    if card is not None and card.exists():
        raise CounError(f"{card} exists; choose another --card, or delete it first")
    verification = verify(certificate, model=model, registry=registry, keys=keys or None)
    if as_json:
        app.emit(verification.to_json())
    else:
        _show(verification)
    if verification.tampered:
        context.exit(TamperingFound.exit_code)
    statement = verification.statement
    if card is not None and statement is not None:
        write_text(card, model_card(statement, verification.keyids))
    if statement is not None and statement.predicate.result == "FAILED":
        context.exit(app.NEGATIVE)


def _show(verification: Verification) -> None:
    from coun.certificates.page import headline

    table = Table("", "check", "", box=None, show_header=False)
    table.columns[2].overflow = "fold"
    for check in verification.checks:
        symbol = f"{SYMBOLS[check.result]} {check.result}"
        table.add_row(symbol, check.name, app.console.render_str(check.message, markup=False))
    app.console.print(table)
    statement = verification.statement
    if verification.tampered:
        names = ", ".join(dict.fromkeys(check.name for check in verification.failures))
        app.console.print(f"NOT GENUINE, or not of this model: {names}.", markup=False)
    elif statement is not None:
        app.console.print(headline(statement.predicate), markup=False, highlight=False)
        app.console.print(statement.predicate.statement, markup=False, highlight=False)
