"""Out-of-fold matching: give forget rows the predictions of models that never saw them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data.out_of_fold import log_odds
from coun.engine import Phase, Stage, Task
from coun.errors import CounError
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, Positive, Training

EPOCHS_SHARE = 0.12  # of the Original's; with forget batches of a quarter: 0.15 of a Retrain


@dataclass(frozen=True, config=FROZEN)
class OutOfFoldMatching(Training):
    """Match what models that never saw the forget rows predict for them (out-of-fold matching).

    Cross-validation, done once before any request (`coun prepare`), says of every row what a model
    predicts that has not seen it. The method fine-tunes on both sets in one batch: it minimises
    CE(retain) + weight * (H + 2 KL(target || model)) with these predictions as targets of forget
    rows. H is the Huber loss of the log-odds of the true class, which pulls harder than KL where
    model and target are far apart. Each forget row has a target of its own, so none is forgotten
    too little or too much, and no Retrain of the request is needed to stop in time.

    The target of a row is the mean of the log-probabilities of all repeats. Because the mean of
    several models is less extreme than one model, the log-odds of the true class are then mapped,
    by rank, to those of the single repeats; the odds among the other classes stay.

    Limits: the models of folds saw rows like the forgotten ones. Whole classes are refused, and
    for clusters of similar rows the targets are too well informed, unless the cluster was one
    group of the preparation. Predictions of rows forgotten later were part of the preparation.

    Source: this project; it is oracle matching (Georgiev et al., ICLR 2025, arXiv 2410.23232)
        with cross-validation in the place of Retrains. docs/results/nearest.md has what was tried.
    """

    name: ClassVar[str] = "out_of_fold"
    source: ClassVar[str] = "this project, after oracle matching, Georgiev et al., ICLR 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    needs_out_of_fold: ClassVar[bool] = True

    epochs: Positive | None = Field(
        None, description="Passes over the retain set. Default: 0.12 of the Original's epochs."
    )
    weight: float = Field(0.1, ge=0, description="Weight of the forget term.")
    forget_batch_size: Positive | None = Field(
        None, description="Forget images per step. Default: a quarter of batch_size."
    )

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        epochs = self.epochs or max(1, round(EPOCHS_SHARE * original.get("epochs", 182)))
        filled = super().with_defaults_from(original)
        assert filled.batch_size
        size = self.forget_batch_size or max(1, filled.batch_size // 4)
        return replace(filled, epochs=epochs, forget_batch_size=size)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        wanted = targets(task)

        def matched(context: BatchContext) -> Tensor:
            # One forward pass for both sets, so that BatchNorm sees the mixture: forget rows
            # alone would meet their targets under statistics that the final model does not have.
            logits = context.forward(torch.cat([context.inputs(r) for r in ROLES])).logits
            retain, forget = torch.split(logits, [len(context.labels(r)) for r in ROLES])
            loss = F.cross_entropy(retain, context.labels("retain"))
            if not self.weight:
                return loss
            target = wanted[context.slots("forget")].to(forget.device)
            return loss + self.weight * distance(forget, target, context.labels("forget"))

        batch_sizes = {"retain": size, "forget": self.forget_batch_size or max(1, size // 4)}
        yield self.fit(Phase(Objective.of(matched), batch_sizes))


ROLES = ("retain", "forget")


def targets(task: Task) -> Tensor:
    """Compute the log-probabilities (n, K) that the forget rows should have.

    Raises: CounError if the model was not prepared, or a class is forgotten whole.
    """
    labels = {role: task.source(role).labels.cpu() for role in ROLES}
    whole = set(labels["forget"].tolist()) - set(labels["retain"].tolist())
    if whole:
        names = ", ".join(task.data.classes[label] for label in sorted(whole))
        raise CounError(
            f"the request forgets class {names} as a whole, and the models of folds have seen "
            "rows of it; use a method without out-of-fold predictions, such as coun or not"
        )
    predictions = torch.cat([task.unseen_predictions(role) for role in ROLES], 1)
    return averaged(predictions, torch.cat([labels[role] for role in ROLES]))[
        -len(labels["forget"]) :
    ]


def distance(logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean over rows of huber(log-odds, the target's) + 2 KL(target || model).

    Args: logits, target: (B, K), *target* log-probabilities; labels: (B,) int64.

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> distance(logits, logits.log_softmax(1), torch.tensor([0])).item()
    0.0
    """
    odds, wanted = log_odds(logits, labels), log_odds(target, labels)
    divergence = F.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)
    return F.huber_loss(odds, wanted) + 2 * divergence


def averaged(predictions: Tensor, labels: Tensor) -> Tensor:
    """Average repeats, but keep the spread that the log-odds of the true class have in each.

    Args: predictions: Log-probabilities (R, N, K); labels: (N,) int64.

    Returns: Log-probabilities (N, K); for one repeat its own.

    >>> even = torch.full((3, 2, 2), 0.5).log()
    >>> averaged(even, torch.tensor([0, 1])).exp().tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    mean = predictions.double().mean(0)
    odds = log_odds(mean, labels)
    single = torch.cat([log_odds(repeat, labels) for repeat in predictions.double()])
    # Of R * N sorted values each row takes the middle of the R that have its rank.
    ranked = single.sort().values.reshape(len(odds), len(predictions)).median(1).values
    odds = ranked[odds.argsort(stable=True).argsort()]
    of_class = F.one_hot(labels, mean.shape[1]).bool()
    others = mean.masked_fill(of_class, -torch.inf).log_softmax(1) + F.logsigmoid(-odds)[:, None]
    return torch.where(of_class, F.logsigmoid(odds)[:, None], others).float()
