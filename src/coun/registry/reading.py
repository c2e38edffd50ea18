"""Read a registry: what is listed without loading a model, or what models need."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Self

from coun.errors import CounError
from coun.files import expanded
from coun.ledger import Ledger
from coun.registry.layout import DATABASE, version_folder
from coun.registry.state import State
from coun.registry.summarising import summarise
from coun.registry.summary import RegistrySummary, RequestSummary


def silent(line: str) -> None:
    """Print nothing."""


class RegistryReader:
    """What the ledger of a registry says. `Registry` adds everything that writes.

    Args:
        folder: an existing registry.
        say: receives lines for the person who waits; by default they are not shown.
        trust: run code that the records of versions name (see `coun.Run.open`).

    Raises: CounError if *folder* is not a registry.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> reader = RegistryReader(registry.folder)
    >>> reader.served.name, reader.summary().open
    ('1', ())
    """

    def __init__(
        self, folder: str | Path, *, say: Callable[[str], None] = silent, trust: bool = False
    ) -> None:
        self.folder = expanded(folder).absolute()
        self.say, self.trust = say, trust
        if not self.folder.is_dir():
            raise CounError(f"{folder} is not a folder; expected one made by coun registry init")
        self.ledger = Ledger(self.folder / DATABASE)

    @classmethod
    def open(
        cls, folder: str | Path, *, say: Callable[[str], None] = silent, trust: bool = False
    ) -> Self:
        """Open the registry in *folder*; the same as the constructor."""
        return cls(folder, say=say, trust=trust)

    def close(self) -> None:
        """Close the database."""
        self.ledger.close()

    def state(self) -> State:
        """What the entries of the ledger add up to."""
        return State.of(self.ledger.entries())

    @property
    def source(self) -> str:
        """The source of the data."""
        return str(self.state().created["source"])

    @property
    def served(self) -> Path:
        """The run folder of the version that is served now."""
        return version_folder(self.folder, self.state().served)

    def summary(self, *, today: datetime.date | None = None, check: bool = True) -> RegistrySummary:
        """What the registry holds, for tables, JSON and the page.

        Args:
            today: the day by which due dates are judged.
            check: also check the hashes of the ledger; `Registry.check` checks everything.

        Returns: versions, requests and certificates, and what is open or overdue.
        """
        return summarise(self.ledger, self.folder, today or datetime.date.today(), check=check)

    def request(self, number: int) -> RequestSummary:
        """The request with this number. Raises: CounError if there is none."""
        for request in self.summary(check=False).requests:
            if request.request == number:
                return request
        raise self.no_request(number)

    def no_request(self, number: int) -> CounError:
        """The error for a number that no request has."""
        numbers = ", ".join(map(str, self.state().requests)) or "none yet"
        return CounError(f"there is no request {number}; the requests are {numbers}")
