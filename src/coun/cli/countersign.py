"""`coun countersign`: add a second signature to a certificate."""

from __future__ import annotations

from pathlib import Path

import click

from coun.cli import app


@app.command(
    "countersign",
    short_help="Add a signature to a certificate.",
    help="Add a signature to CERTIFICATE, for example that of a data protection officer. What the "
    "certificate says stays as it is, and so does its place in the chain of its registry.\n\n"
    "Exit code 4 if the certificate was changed.",
)
@click.argument("certificate", metavar="CERTIFICATE", type=app.PATH)
@click.option(
    "--key", metavar="FILE", type=app.PATH, required=True, help="The private key of the signer."
)
@app.json_option
def command(certificate: Path, key: Path, as_json: bool) -> None:
    from coun.certificates import countersign, verify

    countersign(certificate, key)
    keyids = verify(certificate).keyids
    if as_json:
        app.emit({"certificate": str(certificate), "keyids": keyids})
        return
    names = ", ".join(keyid[:12] for keyid in keyids)
    click.echo(f"{certificate} is signed by {len(keyids)} keys: {names}")
