"""Which lines of a table are meant: those with given values in given columns."""

from __future__ import annotations

import difflib
import logging
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coun.errors import CounError, counted

Where = Mapping[str, Collection[str]]  # values by column: the lines of a table to read

_log = logging.getLogger(__name__)


@dataclass
class Conditions:
    """What `where` asks of each line of the table at *path*, and which lines nearly fit.

    Attributes:
        places: the column numbers of the columns in *where*, from the header.

    >>> conditions = Conditions(Path("a.csv"), {"customer": ["Ann"]}, {"customer": 1})
    >>> conditions.hold(["1.png", "Ann"]), conditions.hold(["2.png", "Ben"])
    (True, False)
    """

    path: Path
    where: Where
    places: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._alike = {name: {_plain(v) for v in values} for name, values in self.where.items()}
        self._seen: dict[str, set[str]] = {name: set() for name in self.where}
        self._left_out: Counter[str] = Counter()

    def hold(self, cells: Sequence[str]) -> bool:
        """Tell whether the line with *cells* is meant."""
        values = {name: cells[place] for name, place in self.places.items()}
        for name, value in values.items():
            self._seen[name].add(value)
        other = {name: value for name, value in values.items() if value not in self.where[name]}
        if other and all(_plain(value) in self._alike[name] for name, value in values.items()):
            self._left_out.update(f"{name}={value}" for name, value in other.items())
        return not other

    def check(self) -> None:
        """Warn of values that differ in spelling only, after the last line.

        Raises: CounError for a value that no line has.
        """
        for name, values in self.where.items():
            for value in values:
                if value not in self._seen[name]:
                    near = difflib.get_close_matches(value, self._seen[name], n=1, cutoff=0.5)
                    hint = f" (did you mean '{near[0]}'?)" if near else ""
                    raise CounError(f"{self.path}: no line has '{value}' in column '{name}'{hint}")
        if self._left_out:
            _log.warning(
                "%s: --where compares exactly and leaves out %s; if these are meant, name them as "
                "well",
                self.path,
                ", ".join(f"'{text}' ({counted(n, 'row')})" for text, n in self._left_out.items()),
            )


def _plain(value: str) -> str:
    """*value* without differences in capitals, spaces and the code of accents."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
