"""Networks that each saw a part of the data, and vote: what exact, sharded methods train."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.models.outputs import Classifier

Votes = Literal["one_hot", "softmax", "normality"]
GONE, UNUSED = -1, -2  # in `Shards.place`: forgotten; not chosen, or not placed yet
FAR = 1e12  # from any feature


@dataclass(frozen=True)
class Layout:
    """How an ensemble is cut, and the front of its name: "ensemble:3x2:one_hot:200:resnet8".

    Args:
        shards: parts that share no row.
        slices: networks a shard; number r learned from the rows of slices 0..r.
        votes: what a shard says: its first choice, its probabilities, or how normal it finds
            the input: minus the log of `error`, and shard c is class c.
        rows: training rows on file.
    """

    shards: int
    slices: int
    votes: Votes
    rows: int

    def name(self, network: str) -> str:
        """The name of this ensemble of the network of that name."""
        return f"ensemble:{self.shards}x{self.slices}:{self.votes}:{self.rows}:{network}"

    @classmethod
    def parse(cls, name: str) -> tuple[Layout, str] | None:
        """The layout and the network's name, of what `name` made; None for any other name."""
        votes = "|".join(get_args(Votes))
        found = re.fullmatch(rf"ensemble:(\d+)x(\d+):({votes}):(\d+):(.+)", name)
        if not found:
            return None
        shards, slices, kind, rows, network = found.groups()
        return cls(int(shards), int(slices), kind, int(rows)), network  # type: ignore[arg-type]


class Tally(nn.Linear):
    """The mean of the votes, as a linear layer without anything to train.

    It maps (B, S*K) to (B, K).
    """

    def __init__(self, shards: int, classes: int) -> None:
        super().__init__(shards * classes, classes, bias=False)
        del self.weight
        self.register_buffer("weight", torch.empty(classes, shards * classes))
        self.count(torch.ones(shards, dtype=torch.bool))

    def count(self, voting: Tensor) -> None:
        """Hear the shards that are True in *voting* (S,) bool.

        A share is cut to 16 bits, so that the sums of equally many are equal in any order.
        """
        share = round(2**16 / max(1, int(voting.sum()))) / 2**16
        eye = torch.eye(self.out_features)
        self.weight.copy_(torch.kron(share * voting.cpu().float()[None], eye))


class Shards(nn.Module):
    """S x R networks of one architecture; (B, ...) to logits (B, K).

    The last slice of every shard votes; earlier slices are where retraining starts. Equal
    counts of one-hot votes give equal logits, and argmax then takes the lowest class.

    Args:
        layout: shards, slices, votes, rows.
        make: makes one network, with weights from the global generator.
        example: a batch of two inputs, to find the networks' heads.
        head: the name of their last linear layer, where it cannot be found.

    Attributes:
        members: number s*R + r is slice r of shard s.
        place: (rows,) int32, per training row the first member that learned from it, or
            `GONE`, or `UNUSED`. Saved with the weights: a later request needs nothing else.
        reference, centre, spread: of "normality" only: a network that stays as it was made,
            and what its features (S, D) are like on each shard's rows.
    """

    place: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        layout: Layout,
        make: Callable[[], nn.Module],
        *,
        example: Tensor,
        head: str | None = None,
    ) -> None:
        super().__init__()
        self.layout, self.make = layout, make
        self.members = nn.ModuleList(
            Classifier(make(), head, example=example) for _ in range(layout.shards * layout.slices)
        )
        one = self.member(0).head
        self.register_buffer("place", torch.full((layout.rows,), UNUSED, dtype=torch.int32))
        self.reference: Classifier | None = None
        if layout.votes == "normality":
            self.reference = Classifier(make(), head, example=example).eval()
            for name in ("centre", "spread"):
                self.register_buffer(name, torch.ones(layout.shards, one.in_features))
        self.head = Tally(1 if self.reference else layout.shards, one.out_features)

    def member(self, number: int) -> Classifier:
        found = self.members[number]
        assert isinstance(found, Classifier)
        return found

    @property
    def prepared(self) -> bool:
        """Whether any row has its place."""
        return bool((self.place >= 0).any())

    def begin(self, number: int) -> None:
        """Give member *number* its start: fresh weights, or what the slice before it learned."""
        fresh = number % self.layout.slices == 0
        source = self.make() if fresh else self.member(number - 1).inner
        self.member(number).inner.load_state_dict(source.state_dict())

    def refer(self) -> None:
        """Draw the reference, if there is one, afresh."""
        if self.reference is not None:
            self.reference.inner.load_state_dict(self.make().state_dict())

    def measure(self, shard: int, known: Tensor | None) -> None:
        """Note what the reference's features (N, D) on the rows of *shard* are like.

        None, for no rows, makes every input abnormal. A deviation gets half the mean one
        added, so that features which hardly vary do not decide alone.
        """
        self.centre[shard], self.spread[shard] = FAR, 1.0
        if known is not None:
            spread = known.std(0, correction=0)
            self.centre[shard] = known.mean(0)
            self.spread[shard] = (spread + spread.mean() / 2).clamp(min=1e-6)

    def train(self, mode: bool = True) -> Shards:
        """As of any module, but for the reference, which is always in eval mode."""
        super().train(mode)
        if self.reference is not None:
            self.reference.eval()
        return self

    def settle(self, place: Tensor) -> None:
        """Note *place* (rows,), and hear the shards that have the two rows training takes."""
        self.place.copy_(place)
        shards = place[place >= 0] // self.layout.slices
        if self.reference is None:
            self.head.count(torch.bincount(shards, minlength=self.layout.shards) > 1)

    def forward(self, x: Tensor) -> Tensor:
        last = range(self.layout.slices - 1, len(self.members), self.layout.slices)
        seen = [self.member(number)(x) for number in last]
        if self.reference is not None:
            known = self.reference(x).features
            votes = [
                -self.error(c, out.features, known).log()[:, None] for c, out in enumerate(seen)
            ]
        elif self.layout.votes == "softmax":
            votes = [out.logits.softmax(1) for out in seen]
        else:
            votes = [F.one_hot(y.argmax(1), y.shape[1]).to(y.dtype) for y, _ in seen]
        return cast(Tensor, self.head(torch.cat(votes, 1)))

    def error(self, shard: int, features: Tensor, known: Tensor) -> Tensor:
        """How far a member's *features* are from the scaled ones of the reference, (B,).

        Mean squared difference to (known - centre) / spread, at least 1e-12.
        """
        target = (known - self.centre[shard]) / self.spread[shard]
        return (features - target).square().mean(1).clamp(min=1e-12)
