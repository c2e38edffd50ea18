"""NegMerge: subtract what several fine-tunings on the forget rows agree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Phase, Stage, Task
from coun.methods.unrolling import add
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, LearningRate, Positive, Schedule, Training


@dataclass(frozen=True, config=FROZEN)
class NegMerge(Training):
    """Fine-tune copies on the forget rows, and subtract the change on which all agree (NegMerge).

    Fine-tuning a copy on the forget rows shows in which direction the weights know it, and going
    the other way forgets it. Several copies are trained with different learning rates, and only
    what all agree on is subtracted, so that no single setting has to be chosen. Retain rows are
    not read, and BatchNorm statistics stay those of the Original.

    Formula: theta - scale * m, where an entry of m is the mean change over the copies if it has the
        same sign in all of them, else 0. Each copy starts from the Original and has half the
        learning rate of the one before.
    Cost: one forward and one backward pass of every forget row in each epoch of each copy.
    Limits: where the Original has fitted its forget rows their loss has hardly a gradient, the
        changes are small, and little is forgotten: raise `scale` or `lr`. Nothing repairs the
        retain rows. It needs the forget rows.
    Source: Kim, Han, Choe, "NegMerge: Sign-Consensual Weight Merging for Machine Unlearning",
        ICML 2025 (arXiv 2410.05583).
    Differences: the authors' code is for CLIP only. It merges in the same way, and subtracts the
        vector with a scale that is chosen on validation rows; there the copies differ in learning
        rate, epochs and augmentation. Four learning rates, 10 epochs and scale 1 are our choices.
    """

    name: ClassVar[str] = "negmerge"
    source: ClassVar[str] = "NegMerge, Kim et al., ICML 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"forget"})

    epochs: Positive | None = Field(10, description="Passes of each copy over the forget rows.")
    batch_size: Positive | None = Field(
        None, description="Forget rows per step. Default: inherited from the Original."
    )
    lr: LearningRate = Field(0.01)
    schedule: Schedule = Field("constant")
    copies: Positive = Field(4, description="Number of fine-tunings that are merged.")
    scale: float = Field(1.0, ge=0, description="Factor of the merged vector, lambda.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        start = {name: value.clone() for name, value in model.state_dict().items()}
        phase, base = Phase(cross_entropy("forget"), {"forget": size}), self.optimization()
        vectors = []
        for number in range(self.copies):
            optimizer = replace(base, lr=base.lr / 2**number)
            yield self.fit(phase, name=f"copy {number + 1}", optimizer=optimizer)
            vectors.append({n: p.detach() - start[n].to(p) for n, p in model.named_parameters()})
            yield Edit("return to the start", lambda m: m.load_state_dict(start))
        merged = {n: agreed([vector[n] for vector in vectors]) for n in vectors[0]}
        yield Edit("subtract what all agree on", lambda m: add(m, -self.scale, merged))


def agreed(vectors: Sequence[Tensor]) -> Tensor:
    """Average *vectors* where all of them have the same sign; elsewhere return 0.

    >>> agreed([torch.tensor([1.0, 1.0, 0.0]), torch.tensor([3.0, -1.0, 2.0])]).tolist()
    [2.0, 0.0, 0.0]
    """
    stacked = torch.stack(list(vectors))
    same = (stacked > 0).all(0) | (stacked < 0).all(0)
    return torch.where(same, stacked.mean(0), torch.zeros_like(stacked[0]))
