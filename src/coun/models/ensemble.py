"""Ensembles of networks that each saw a part of the data, as exact sharded methods train them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.models.outputs import Classifier

Votes = Literal["one_hot", "softmax", "normality"]
FORGOTTEN, UNUSED = -1, -2  # in `Shards.place`; unused rows were not chosen, or not assigned yet
FAR = 1e12  # a centre this far from every feature makes every input abnormal


@dataclass(frozen=True)
class Layout:
    """How the training rows of an ensemble are divided among its networks.

    It is part of the model's name, such as "ensemble:3x2:one_hot:200:resnet8".

    Args:
        shards: the number of parts; no two of them share a row.
        slices: the number of networks of each shard; network r learned from slices 0..r.
        votes: what a shard contributes: its most likely class, its probabilities, or how normal
            the input seems to it. In the last case shard c stands for class c, and its vote is
            minus the logarithm of `Shards.error`.
        rows: the number of training rows.
    """

    shards: int
    slices: int
    votes: Votes
    rows: int

    def name(self, network: str) -> str:
        """Return the name of this ensemble of networks that are called *network*."""
        return f"ensemble:{self.shards}x{self.slices}:{self.votes}:{self.rows}:{network}"

    @classmethod
    def parse(cls, name: str) -> tuple[Layout, str] | None:
        """Return the layout and the network's name of a name that `name` made, else None."""
        votes = "|".join(get_args(Votes))
        match = re.fullmatch(rf"ensemble:(\d+)x(\d+):({votes}):(\d+):(.+)", name)
        if not match:
            return None
        shards, slices, kind, rows, network = match.groups()
        return cls(int(shards), int(slices), kind, int(rows)), network  # type: ignore[arg-type]


class VotingHead(nn.Linear):
    """The mean of the votes as a linear layer, (B, S*K) to (B, K), without trainable weights.

    Being a linear layer, it is found as the head of the ensemble like that of any network.
    """

    def __init__(self, shards: int, classes: int) -> None:
        super().__init__(shards * classes, classes, bias=False)
        del self.weight
        self.register_buffer("weight", torch.empty(classes, shards * classes))
        self.set_voters(torch.ones(shards, dtype=torch.bool))

    def set_voters(self, voting: Tensor) -> None:
        """Count only the votes of the shards that are True in *voting*, (S,) bool.

        A vote's weight is rounded to 16 bits, so that sums of equally many votes are equal in
        whatever order they are added: ties remain ties.
        """
        share = round(2**16 / max(1, int(voting.sum()))) / 2**16
        eye = torch.eye(self.out_features)
        self.weight.copy_(torch.kron(share * voting.cpu().float()[None], eye))


class Shards(nn.Module):
    """An ensemble of S shards with R networks each, (B, ...) to logits (B, K).

    The last network of every shard votes; the earlier ones are where retraining starts. Equal
    counts of one-hot votes give equal logits, of which argmax takes the lowest class.

    Args:
        layout: shards, slices, votes and rows.
        make: makes one network with weights from the global generator.
        example: a batch of two inputs, to find the heads of the networks.
        head: the name of their last linear layer, where it cannot be found.

    Attributes:
        members: all networks; number s*R + r is slice r of shard s.
        place: (rows,) int32, for each training row the first member that learned from it, or
            `FORGOTTEN`, or `UNUSED`. It is saved with the weights: a later request needs
            nothing else.
        reference, centre, spread: for votes of "normality" only: a network that is never
            trained, and the mean and spread (S, D) of its features on the rows of each shard.
    """

    place: Tensor
    centre: Tensor
    spread: Tensor
    takes_padding = True  # of texts: the members need it to know their masks

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
        first = self.member(0)
        self.register_buffer("place", torch.full((layout.rows,), UNUSED, dtype=torch.int32))
        self.members_of_deleted_rows = torch.zeros(0, dtype=torch.int64)
        self.reference: Classifier | None = None
        if layout.votes == "normality":
            self.reference = Classifier(make(), head, example=example).eval()
            for name in ("centre", "spread"):
                self.register_buffer(name, torch.ones(layout.shards, first.in_features))
        voters = 1 if self.reference else layout.shards
        self.head = VotingHead(voters, first.out_features)

    def member(self, number: int) -> Classifier:
        """Return network *number*."""
        return cast(Classifier, self.members[number])

    @property
    def prepared(self) -> bool:
        """Whether any row has been assigned to a member."""
        return bool((self.place >= 0).any())

    def init_member(self, number: int) -> None:
        """Give member *number* its first weights: fresh ones, or those of the slice before it."""
        fresh = number % self.layout.slices == 0
        source = self.make() if fresh else self.member(number - 1).inner
        self.member(number).inner.load_state_dict(source.state_dict())

    def init_reference(self) -> None:
        """Draw new weights for the reference network, if there is one."""
        if self.reference is not None:
            self.reference.inner.load_state_dict(self.make().state_dict())

    def fit_reference_stats(self, shard: int, features: Tensor | None) -> None:
        """Record mean and spread of the reference's *features* (N, D) on the rows of *shard*.

        None, for a shard without rows, makes every input abnormal. Half of the mean deviation
        is added to each, so that features which hardly vary do not dominate the error.
        """
        self.centre[shard], self.spread[shard] = FAR, 1.0
        if features is not None:
            spread = features.std(0, correction=0)
            self.centre[shard] = features.mean(0)
            self.spread[shard] = (spread + spread.mean() / 2).clamp(min=1e-6)

    def train(self, mode: bool = True) -> Shards:
        """Set the mode of all networks but the reference, which is always in eval mode."""
        super().train(mode)
        if self.reference is not None:
            self.reference.eval()
        return self

    def save_assignment(self, place: Tensor) -> None:
        """Record *place* (rows,); shards with at least two rows, as training needs, may vote."""
        self.place.copy_(place)
        shards = place[place >= 0] // self.layout.slices
        if self.reference is None:
            self.head.set_voters(torch.bincount(shards, minlength=self.layout.shards) > 1)

    def drop_deleted_rows(self, present: Tensor) -> None:
        """Take the rows that are False in *present* (rows,) bool out of `place`.

        Members that learned from such a row are kept in `members_of_deleted_rows`, so that the
        next request trains them again.
        """
        learned = self.place[~present]
        self.members_of_deleted_rows = torch.unique(learned[learned >= 0]).long()
        self.place = self.place[present]
        self.layout = replace(self.layout, rows=len(self.place))

    def forward(self, x: Tensor) -> Tensor:
        last = range(self.layout.slices - 1, len(self.members), self.layout.slices)
        outputs = [self.member(number)(x) for number in last]
        if self.reference is not None:
            reference = self.reference(x).features
            errors = [self.error(c, out.features, reference) for c, out in enumerate(outputs)]
            votes = [-error.log()[:, None] for error in errors]
        elif self.layout.votes == "softmax":
            votes = [out.logits.softmax(1) for out in outputs]
        else:
            votes = [F.one_hot(y.argmax(1), y.shape[1]).to(y.dtype) for y, _ in outputs]
        return cast(Tensor, self.head(torch.cat(votes, 1)))

    def error(self, shard: int, features: Tensor, reference: Tensor) -> Tensor:
        """Return the mean squared difference of *features* to the reference's scaled ones, (B,).

        Args: features: of the shard's network, (B, D); reference: features of the reference
            network for the same inputs, (B, D). They are compared after (reference - centre) /
            spread of the shard. The result is at least 1e-12, so that its logarithm is finite.
        """
        target = (reference - self.centre[shard]) / self.spread[shard]
        return (features - target).square().mean(1).clamp(min=1e-12)
