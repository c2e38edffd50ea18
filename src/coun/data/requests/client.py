"""Every row that one client of a federation holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from coun.data.data_set import Data
from coun.data.partition import Partition
from coun.data.requests.base import Request
from coun.errors import CounError


class Client(Request):
    """Forget every row that one client of a federation holds.

    Args:
        client: the number of the client, counted from 0.
        partition: which client holds which row. `coun unlearn` takes it from the run that it
            starts from, and a benchmark from the workload.

    >>> Client(client=3).describe()
    'client 3'
    """

    kind: Literal["client"] = "client"
    client: Annotated[int, Field(ge=0)]
    partition: Partition | None = None

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        numbers = self.numbers(data)
        return torch.isin(data.train.numbers, numbers)

    def numbers(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        if self.partition is None:
            raise CounError(
                f"the request names client {self.client} but not how rows are divided among "
                "clients; start from a run that was trained in a federation, or give partition=..."
            )
        if self.client >= self.partition.clients:
            raise CounError(
                f"the request names client {self.client}; expected 0 to "
                f"{self.partition.clients - 1}, because clients count from 0"
            )
        numbers, clients = self.partition.clients_by_number(data)
        return numbers[clients == self.client]

    def describe(self) -> str:
        within = f" of {self.partition.describe()}" if self.partition else ""
        return f"client {self.client}{within}"
