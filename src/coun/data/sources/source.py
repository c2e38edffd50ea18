"""What a kind of data source declares about itself."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coun.data.data_set import Data
from coun.data.sources.table import Table

RECORDED = ("encoding",)  # arguments that only records give, and no user


@dataclass(frozen=True)
class Source:
    """One kind of data source, `NAME` or `NAME:ARGUMENT` on the command line.

    A module of `coun.data.sources` declares it as `SOURCE`; another package registers its own
    as an entry point of the group `coun.sources`. Nothing else has to be edited.

    Args:
        name: the word before the colon.
        read: reads the source, given the argument, if there is one, and by keyword those of
            its keyword-only parameters that the user set. A `Table` is decoded only as far as
            `--limit` needs.
        summary: what the source reads, in one line, for help and error messages.
        argument: what follows the colon, in capitals; empty if nothing does. One that starts
            with PATH arrives as a `pathlib.Path` with `~` expanded, any other as text.

    >>> Source("digits", lambda: None, "scikit-learn's digits", argument="").spelling
    'digits'
    """

    name: str
    read: Callable[..., Data | Table]
    summary: str
    argument: str = "PATH"

    @property
    def spelling(self) -> str:
        """How the source is written: `folder:PATH`."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the further arguments of `load` that this source takes."""
        parameters = inspect.signature(self.read).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def to_record(self, option: str, value: Any) -> Any:
        """*value* of an option as records keep it: paths absolute, so that they stay valid."""
        annotation = str(inspect.signature(self.read).parameters[option].annotation)
        if isinstance(value, str | os.PathLike) and "Path" in annotation:
            return os.path.abspath(os.path.expanduser(value))
        return value
