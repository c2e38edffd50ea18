"""The settings of a federation: which client holds which rows, and how long a round is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from coun.data import Data
from coun.data.partition import Partition
from coun.errors import CounError, require_type, unknown

KEY = "federation"  # under which a federation stands among the settings of a method


class Federation(Partition):
    """Clients that train on their own rows, and a server that averages their models (FedAvg).

    Args:
        local_epochs: epochs that a client trains in each round. A method of E epochs takes
            E / local_epochs rounds, rounded up, so an epoch remains one pass over all rows.
        partition_sha256: the hash of which client holds which row; a run records it, so that
            the same settings on other rows are noticed.

    All clients take part in every round, except those with fewer than two rows to train on.

    Source: FedAvg, McMahan et al., AISTATS 2017.

    >>> Federation(clients=4, local_epochs=2).describe()
    '4 clients, iid, 2 local epochs'
    """

    local_epochs: Annotated[int, Field(ge=1)] = 1
    partition_sha256: str = ""

    @classmethod
    def of(cls, settings: Federation | Mapping[str, Any]) -> Federation:
        """Make a federation of its *settings*. Raises: CounError for one that does not fit."""
        if isinstance(settings, Federation):
            return settings
        require_type(settings, Mapping, "federation", "a Federation, or its settings by name")
        try:
            return cls(**settings)
        except ValidationError as error:
            # A wrong name comes first: the other setting may be missing because of it.
            first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
            place = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise unknown("setting of a federation", place, sorted(cls.model_fields)) from None
            message = first["msg"].replace("Input should be ", "")
            keys = ", ".join(sorted(cls.model_fields))
            raise CounError(
                f"federation: {place} is {first['input']!r}; expected {message}; known: {keys}"
            ) from None

    @property
    def partition(self) -> Partition:
        """Which client holds which rows, without the other settings."""
        return Partition.within(self.model_dump())

    def bound_to(self, data: Data) -> Self:
        """Return the same federation with the hash of its partition of *data*.

        Raises: CounError if it has the hash of another partition.
        """
        digest = self.digest(data)
        if self.partition_sha256 not in ("", digest):
            raise CounError(
                "the rows of the data are not those that were divided among the clients, so every "
                "client would get others; use the data of the run"
            )
        return self.model_copy(update={"partition_sha256": digest})

    def describe(self) -> str:
        epochs = f"{self.local_epochs} local epoch{'s' * (self.local_epochs != 1)}"
        return f"{super().describe()}, {epochs}"


def federation_of(settings: Mapping[str, Any]) -> Federation | None:
    """Return the federation among the *settings* of a method; None for plain training.

    >>> federation_of({"epochs": 3, "federation": {"clients": 4}}).clients
    4
    """
    recorded = settings.get(KEY)
    return Federation.of(recorded) if recorded else None
