"""The registry that a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coun.cli import app

if TYPE_CHECKING:
    from coun.registry import Registry, RegistryReader

registry_argument = click.argument("folder", metavar="DIR", type=app.PATH)


def open_registry(folder: Path, *, trust: bool = False) -> Registry:
    """Open the registry in *folder* for work; what it says goes to standard error."""
    from coun.registry import Registry

    return Registry.open(folder, say=lambda line: click.echo(line, err=True), trust=trust)


def read_registry(folder: Path) -> RegistryReader:
    """Open the registry in *folder* for listing, which needs no model and does not load torch."""
    from coun.registry.reading import RegistryReader

    return RegistryReader(folder)
