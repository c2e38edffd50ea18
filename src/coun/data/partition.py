"""Which client of a federation holds which training row."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from coun.data.data_set import Data
from coun.errors import CounError

SMALLEST = 10  # rows that every client of a Dirichlet partition has at least
DRAWS = 200  # of a Dirichlet partition, before the settings are given up


class Partition(BaseModel):
    """How the training rows are divided among clients, seeded and recorded.

    All rows are divided, also those that are forgotten later, so that a request does not move
    any other row to another client. A row that is deleted from the source keeps its client.

    Args:
        clients: the number of clients.
        spread: "iid" gives every client a random part of equal size; "dirichlet" draws for each
            class which share of its rows every client gets.
        alpha: the concentration of the Dirichlet distribution: at 0.1 most clients hold one to
            three classes, at 100 the classes are spread almost evenly. "iid" ignores it.
        partition_seed: of the draws; it is independent of the seed of a run.

    Source: Hsu et al. 2019 (arXiv 1909.06335). As in the public code of NIID-Bench (Li et al.,
        ICDE 2022), a Dirichlet partition is drawn again until every client has at least 10 rows.

    >>> Partition(clients=3).assign(torch.tensor([0, 0, 0, 1, 1, 1])).bincount().tolist()
    [2, 2, 2]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: Annotated[int, Field(ge=1, le=10_000)] = 10
    spread: Literal["iid", "dirichlet"] = "iid"
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    partition_seed: int = 0

    def assign(self, labels: Tensor) -> Tensor:
        """Draw the client of every row.

        Args: labels: (N,) int64, of the rows in the order of their numbers.

        Returns: (N,) int64, clients counted from 0.

        Raises: CounError if there are too few rows for that many clients.
        """
        if len(labels) < self.clients:
            raise CounError(
                f"{self.clients} clients share {len(labels)} rows; expected a row for each client"
            )
        digest = hashlib.sha256(f"{self.partition_seed}/partition/{self.spread}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        if self.spread == "iid":
            client = np.empty(len(labels), dtype=np.int64)
            parts = np.array_split(generator.permutation(len(labels)), self.clients)
            for number, rows in enumerate(parts):
                client[rows] = number
            return torch.from_numpy(client)
        for _ in range(DRAWS):
            client = self._dirichlet(labels.cpu().numpy(), generator)
            if np.bincount(client, minlength=self.clients).min() >= SMALLEST:
                return torch.from_numpy(client)
        raise CounError(
            f"{DRAWS} Dirichlet partitions of {len(labels):,} rows with alpha {self.alpha:g} left "
            f"a client with fewer than {SMALLEST} rows; use fewer clients, a larger alpha, or "
            "another partition_seed"
        )

    def _dirichlet(self, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        client = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            rows = generator.permutation(np.flatnonzero(labels == label))
            shares = generator.dirichlet(np.full(self.clients, self.alpha))
            cuts = np.floor(np.cumsum(shares)[:-1] * len(rows)).astype(int)
            for number, part in enumerate(np.split(rows, cuts)):
                client[part] = number
        return client

    def clients_by_number(self, data: Data) -> tuple[Tensor, Tensor]:
        """Assign all training rows of *data*, those included that are deleted from the source.

        Returns: row numbers, sorted, and the client of each, both (N,) int64.
        """
        numbers, labels = data.train.numbers, data.train.labels.cpu()
        if data.absent is not None:
            numbers = torch.cat([numbers, data.absent.numbers])
            labels = torch.cat([labels, data.absent.labels])
        order = numbers.argsort()
        return numbers[order], self.assign(labels[order])

    def clients_of(self, data: Data) -> Tensor:
        """Return the client of every row of `data.train`, (n,) int64."""
        numbers, clients = self.clients_by_number(data)
        return clients[torch.searchsorted(numbers, data.train.numbers)]

    def digest(self, data: Data) -> str:
        """Return a hash of which client holds which row of *data*, for records."""
        pair = torch.stack(self.clients_by_number(data))
        return hashlib.sha256(pair.numpy().tobytes()).hexdigest()

    def describe(self) -> str:
        """Say in a few words how rows are divided.

        >>> Partition(spread="dirichlet").describe()
        '10 clients, dirichlet 0.1'
        """
        share = f" {self.alpha:g}" if self.spread == "dirichlet" else ""
        return f"{self.clients} clients, {self.spread}{share}"

    @classmethod
    def within(cls, settings: dict[str, Any]) -> Partition:
        """Return the partition among *settings* that hold more than a partition."""
        return cls(**{key: settings[key] for key in cls.model_fields if key in settings})
