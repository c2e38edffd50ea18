"""The command line: each command parses, calls the library and prints."""

from __future__ import annotations

import click

from coun.cli import app, audit, bench, demo, evaluate, methods, report, train, unlearn


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="coun")
def coun() -> None:
    """Make a trained classifier forget, and prove it."""


for module in (demo, train, unlearn, evaluate, audit, bench, report, methods):
    coun.add_command(module.command)


def main() -> int:
    """Entry point of the `coun` command."""
    return app.run(coun)
