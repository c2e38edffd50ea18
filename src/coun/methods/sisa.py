"""SISA: shards that vote, so that a request costs only part of a retraining."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.data import Data
from coun.engine import Task
from coun.models.ensemble import Layout
from coun.plans.method import FROZEN, Positive
from coun.plans.sharded import Sharded


@dataclass(frozen=True, config=FROZEN)
class Sisa(Sharded):
    """Retrain only the shards that hold a forgotten row, from the slice before it (SISA).

    A seeded permutation of all training rows is cut into shards, and each shard into slices.
    Slice r of a shard continues from slice r-1, on the rows of slices 0..r, for floor((r+1)k) -
    floor(rk) epochs with k = 2E/(R+1), which amounts to E passes over the shard. Shards vote;
    ties go to the lowest class; a shard with fewer than two rows left does not vote. Slices
    before the first forgotten row are kept too. Where a row is assigned never depends on other
    rows.

    Source: Bourtoule et al., IEEE S&P 2021. Its code cuts unshuffled rows into contiguous
        shards, keeps their order in every epoch (here: shuffled) and uses one constant rate
        (here: the recipe's whole schedule in each slice, so that every slice can vote). Its
        settings for Purchase are 20 epochs, batches of 16, SGD 1e-3; here the defaults are
        inherited from the Original. Five shards of two slices are our choice.
    """

    name: ClassVar[str] = "sisa"
    source: ClassVar[str] = "SISA, Bourtoule et al., IEEE S&P 2021"

    shards: Positive = Field(
        5, description="Number of networks that vote, S; each learns from 1/S of the rows."
    )
    slices: Positive = Field(
        2, description="Number of points in a shard from which retraining can start, R."
    )
    votes: Literal["one_hot", "softmax"] = Field(
        "one_hot", description="The vote of a shard: its predicted class, or its probabilities."
    )

    def layout(self, data: Data) -> Layout:
        return Layout(self.shards, self.slices, self.votes, len(data.train))

    def assign(self, task: Task, retained: Tensor, previous: Tensor | None) -> Tensor:
        if previous is not None:
            return previous
        order = torch.randperm(len(retained), generator=task.seeds.torch("shards"))
        assignment = torch.empty_like(order)
        for number, indices in enumerate(order.tensor_split(self.shards * self.slices)):
            assignment[indices] = number
        return assignment

    def slice_epochs(self, slice: int) -> int:
        start, end = (r * 2 * self.epochs // (self.slices + 1) for r in (slice, slice + 1))
        return end - start
