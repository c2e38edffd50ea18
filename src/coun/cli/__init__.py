"""The command line: each command parses its options, calls the library and prints the result.

Command modules import the library inside their functions, so that help, completion and errors
in the options are answered without loading torch.
"""

from __future__ import annotations

import importlib

import click

from coun import __version__
from coun.cli import process
from coun.errors import unknown

COMMANDS = (
    *("demo", "data", "rows", "train", "prepare", "unlearn", "evaluate", "audit", "history"),
    *(
        "registry",
        "request",
        "fulfil",
        "verify",
        "countersign",
        "export",
        "bench",
        "report",
        "methods",
    ),
)


class LazyGroup(click.Group):
    """A group that imports the module of a command when that command is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"coun.cli.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = words[0]
        if name not in COMMANDS and not name.startswith("-") and not context.resilient_parsing:
            raise click.UsageError(str(unknown("command", name, COMMANDS)) + ".", context)
        return super().resolve_command(context, words)


group = LazyGroup(
    "coun",
    help="Make a trained classifier forget, and show the evidence.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(__version__)(group)


def main() -> int:
    """Run the `coun` command with the arguments of the process; return the exit code."""
    return process.run(group)
