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

    The rows are divided into shards, each with a network of its own, and the networks vote. A
    request touches only the shards with forgotten rows, and these continue from the slice
    before the first of them. Where a row is assigned never depends on other rows.

    Formula: a seeded permutation of all training rows is cut into shards, and each shard into
        slices. Slice r of a shard continues from slice r-1, on the rows of slices 0..r, for
        floor((r+1)k) - floor(rk) epochs with k = 2E/(R+1), which amounts to E passes over the
        shard.
    Cost: the retraining of the affected slices; a random 10% affects every shard, and then costs a
        Retrain. The shards must have been trained before, which costs one training and is stated
        apart.
    Limits: it is exact, but another model: networks with a part of the rows each are worse than one
        network with all, and its Retrain is not the Retrain of the single network. Shards vote;
        ties go to the lowest class; a shard with fewer than two rows left does not vote.
    Source: Bourtoule et al., IEEE S&P 2021. Its settings for Purchase are 20 epochs, batches of 16,
        SGD 1e-3; here the defaults are inherited from the Original. Five shards of two slices are
        our choice.
    Differences: the authors' code cuts unshuffled rows into contiguous shards, keeps their order in
        every epoch (here: shuffled) and uses one constant rate (here: the recipe's whole schedule
        in each slice, so that every slice can vote).
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
