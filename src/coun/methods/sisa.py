"""SISA: shards that vote, so that a request costs a part of a retraining."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.data import Data
from coun.engine import Task
from coun.methods.sharded import Sharded
from coun.models.ensemble import Layout
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class Sisa(Sharded):
    """Retrain only the shards that hold a forgotten row, from the slice before it (SISA).

    A seeded permutation of all training rows is cut into shards, each into slices. Slice r
    of a shard goes on from slice r-1, on the rows of slices 0..r, for floor((r+1)k) -
    floor(rk) epochs with k = 2E/(R+1), which comes to E passes over the shard. Shards vote;
    ties go to the lowest class; a shard left with less than two rows abstains. Slices before the
    first forgotten row are kept as well. A row's place never depends on other rows.

    Source: Bourtoule et al., IEEE S&P 2021. Its code cuts unshuffled rows into contiguous
        shards, keeps their order in every epoch (here: shuffled) and has one constant rate
        (here: the recipe's whole schedule in each slice, so that every slice can vote). Its
        settings for Purchase are 20 epochs, batch 16, SGD 1e-3; here the open ones are the
        Original's own. Five shards of two slices are our choice.
    """

    name: ClassVar[str] = "sisa"
    source: ClassVar[str] = "SISA, Bourtoule et al., IEEE S&P 2021"

    shards: Positive = Field(5, description="S, networks that vote; each learns from 1/S of rows")
    slices: Positive = Field(2, description="R, points in a shard that retraining can start from")
    votes: Literal["one_hot", "softmax"] = Field(
        "one_hot", description="a shard's vote: its first choice, or its probabilities"
    )

    def layout(self, data: Data) -> Layout:
        return Layout(self.shards, self.slices, self.votes, len(data.train))

    def places(self, task: Task, kept: Tensor, old: Tensor | None) -> Tensor:
        if old is not None:
            return old
        order = torch.randperm(len(kept), generator=task.seeds.torch("shards"))
        places = torch.empty_like(order)
        for number, rows in enumerate(order.tensor_split(self.shards * self.slices)):
            places[rows] = number
        return places

    def sweeps(self, slice: int) -> int:
        until = [r * 2 * self.epochs // (self.slices + 1) for r in (slice, slice + 1)]
        return until[1] - until[0]
