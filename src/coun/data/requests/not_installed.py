"""A recorded request of a kind that is not installed here."""

from __future__ import annotations

from typing import Any, NoReturn

from pydantic import ConfigDict

from coun.data.data_set import Data
from coun.data.requests.base import Request
from coun.errors import CounError


class NotInstalled(Request):
    """What a record says of such a request; which rows it named is on record beside it.

    >>> NotInstalled(kind="brightest", fraction=0.1).describe()
    'brightest (fraction 0.1)'
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> NoReturn:
        """Refuse to choose rows again."""
        raise CounError(
            f"the kind of forget request '{self.kind}' is not installed, so its rows cannot be "
            "chosen again; install its package, or list the rows (--forget-index)"
        )

    def describe(self) -> str:
        """Return the kind and the settings on record."""
        settings = ", ".join(f"{name} {value}" for name, value in (self.model_extra or {}).items())
        return f"{self.kind} ({settings})" if settings else self.kind
