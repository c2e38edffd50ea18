"""Fine-tuning in which every forget row is given a distribution of its own to predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.attacks.signals import log_odds
from coun.data import Data, Split
from coun.engine import Phase, Stage, Task, predict
from coun.engine.device import sent
from coun.errors import CounError, counted
from coun.models import Classifier
from coun.objectives import BatchContext, Objective
from coun.plans.epochs import one_stage_per_epoch
from coun.plans.method import FROZEN, Positive, Training

MATCHING_EPOCHS = 0.12  # of the Original's; with forget batches of a quarter: 0.15 of a Retrain
ROLES = ("retain", "forget")
# Where the targets are moved before each epoch, an epoch at the usual rate, that of `Training`,
# does not show what is missed. The low rate shows it, and needs this number of steps in all.
USUAL_RATE, LOW_RATE, MANY_STEPS = 0.05, 0.03, 50
FEW_STEPS = 10  # with 8 or fewer, no request of single rows of iris or wine came nearer to Retrain
TRAINED_AT = 0.1  # the learning rate of models that these rates are for
LowRate = Annotated[
    float,
    Field(
        gt=0,
        description=f"Peak learning rate. For fewer than {MANY_STEPS} steps in all, {USUAL_RATE} "
        "is better.",
    ),
]


@dataclass(frozen=True, config=FROZEN)
class Matching(Training):
    """Base class of methods that fine-tune and match a target for each forget row.

    Every step minimises CE(retain) + retain_weight * D(retain, before) + weight * D(forget, target)
    over one batch of both sets. D is `distance`, and "before" are the answers of the model from
    which unlearning starts: few epochs do not bring the confidence of retain rows back, and the
    rows would look less like members than those of a Retrain do. Because each forget row has a
    target, none is forgotten too little or too much, and no Retrain of the request is needed to
    stop in time. If the forget rows are so many that an epoch would not reach each of them, their
    batches are larger, and `weight` is in proportion, as it is where they do not fill a batch. A
    subclass has `targets`.

    Class attributes:
        fits_whole_classes: whether the targets are those of a Retrain for whole classes, too.
        corrected_epochs: how many epochs at the end begin with a correction of the targets; None
            corrects before each epoch but the first, for which `lr` is a `LowRate`.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    all_forget_rows: ClassVar[bool] = True
    fits_whole_classes: ClassVar[bool] = False
    corrected_epochs: ClassVar[int | None] = 2

    epochs: Positive | None = Field(
        None, description="Passes over the retain rows. Default: 0.12 of the Original's epochs."
    )
    weight: float = Field(0.1, ge=0, description="Weight of the forget term with a full batch.")
    retain_weight: float = Field(
        0.2, ge=0, description="Weight of the term that keeps the answers to retain rows."
    )
    correction: float = Field(
        1.0,
        ge=0,
        description="Share of what the model misses in the mean by which the targets are moved "
        "between epochs; 0 moves none.",
    )
    forget_batch_size: Positive | None = Field(
        None,
        description="Forget rows per step, or as many as an epoch needs to have each of them, with "
        "the weight in proportion. Default: a quarter of batch_size.",
    )

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        epochs = self.epochs or max(1, round(MATCHING_EPOCHS * original.get("epochs", 182)))
        filled = super().with_defaults_from(original)
        assert filled.batch_size
        size = self.forget_batch_size or max(1, filled.batch_size // 4)
        return replace(filled, epochs=epochs, forget_batch_size=size)

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if not self.fits_whole_classes:
            refuse_whole_classes(data, split)

    @classmethod
    def rate_for(cls, steps: int, original: Mapping[str, Any] | None = None) -> float:
        """Return the learning rate that serves a number of *steps* in all.

        Args: original: settings of the Original's training with SGD. Where its rate was low, the
            usual ones would lead far away from it: they ruined models that 0.01 had trained.

        >>> from coun.methods import find
        >>> [find("held_out", trust=False).rate_for(steps) for steps in (10, 100)]
        [0.05, 0.03]
        """
        rate = LOW_RATE if cls.corrected_epochs is None and steps >= MANY_STEPS else USUAL_RATE
        return float(f"{rate * cls.share_of_rate(original or {}):.3g}")

    @staticmethod
    def share_of_rate(original: Mapping[str, Any]) -> float:
        """Tell which part of a usual rate fits a model that SGD has trained.

        >>> [Matching.share_of_rate({"optimizer": "sgd", "lr": lr}) for lr in (0.05, 0.1, 0.4)]
        [0.5, 1.0, 1.0]
        """
        known = original.get("optimizer") == "sgd" and original.get("lr")
        return min(1.0, original["lr"] / TRAINED_AT) if known else 1.0

    def steps_for(self, split: Split) -> int:
        """Return how many steps the request of *split* takes in all."""
        epochs, size = self.budget()
        return epochs * ceil(len(split.retain) / size)

    def doubts(self, split: Split) -> list[str]:
        steps = self.steps_for(split)
        if steps < FEW_STEPS:
            return [
                f"{self.name} makes {counted(steps, 'step')} in all, after which the forget rows "
                f"may be known as before; expected {FEW_STEPS} or more: give more epochs (--set "
                "epochs=...), or retrain, which so little training makes cheap"
            ]
        # Another rate than the default was chosen by whoever gave it.
        if self.optimizer != "sgd" or self.lr != LOW_RATE or self.rate_for(steps) == LOW_RATE:
            return []
        return [
            f"{self.name} makes {counted(steps, 'step')} in all, for which its lr "
            f"of {self.lr} is low; use --set lr={USUAL_RATE} for fewer than {MANY_STEPS} steps"
        ]

    def targets(self, task: Task, retained: Tensor) -> Tensor:
        """Compute the log-probabilities (n, K) that the forget rows should have, in their order.

        Args: retained: what the model answers to the retain rows, log-probabilities (m, K).
        """
        raise NotImplementedError

    def missed(self, odds: Tensor, target: Tensor) -> float:
        """Tell by how many nats the targets are missed in all: the mean over the forget rows.

        Args: odds, target: (n,), log-odds of the true class, of the model and of the targets.
        """
        return float((target - odds).mean())

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        before = answers(task, "retain")
        target, labels = self.targets(task, before), task.source("forget").labels.cpu()
        weights = {"retain": self.retain_weight, "forget": self.weight}
        batch_sizes = {"retain": size, "forget": self.forget_batch_size or max(1, size // 4)}
        # Many forget rows come in larger batches, so that an epoch has each of them once. A row
        # weighs the same among many and among few, which come up in every step: with the weight of
        # a batch, one row swings around its target, and its model loses accuracy.
        small, reached = batch_sizes["forget"], ceil(size * len(labels) / len(before))
        weights["forget"] *= max(reached, min(small, len(labels))) / small
        batch_sizes["forget"] = max(small, reached)
        odds = log_odds(target, labels)

        def phase(shift: float) -> Phase:
            by_role = {"retain": before, "forget": with_log_odds(target, labels, odds + shift)}

            def matched(context: BatchContext) -> Tensor:
                # One forward pass for both sets, so that BatchNorm sees the mixture: forget rows
                # alone would meet their targets under statistics that the final model lacks.
                outputs = context.forward(torch.cat([context.inputs(r) for r in ROLES])).logits
                parts = torch.split(outputs, [len(context.labels(r)) for r in ROLES])
                logits = dict(zip(ROLES, parts, strict=True))
                loss = F.cross_entropy(logits["retain"], context.labels("retain"))
                for role, weight in weights.items():
                    if weight:
                        targets = sent(by_role[role][context.slots(role)], outputs.device)
                        loss = loss + weight * distance(logits[role], targets, context.labels(role))
                return loss

            return Phase(Objective.of(matched), batch_sizes)

        whole = self.fit(phase(0.0))
        if not self.correction:
            yield whole
            return
        shift = 0.0
        first = 1 if self.corrected_epochs is None else whole.epochs - self.corrected_epochs
        for number, epoch in enumerate(one_stage_per_epoch(whole)):
            if number >= max(1, first):
                present = log_odds(answers(task, "forget"), labels)
                if not bool(present.isfinite().all()):
                    raise CounError(
                        f"after epoch {number} the model answers forget rows with values that are "
                        "not finite; expected finite numbers; try a lower learning rate (lr)"
                    )
                shift += self.correction * self.missed(present, odds)
            yield replace(epoch, phases=(phase(shift),))


def labels_by_role(task: Task) -> dict[str, Tensor]:
    """Return the labels of the retain and the forget rows, on the CPU."""
    return {role: task.source(role).labels.cpu() for role in ROLES}


def refuse_whole_classes(data: Data, split: Split | None) -> None:
    """Refuse a request for a whole class, which the models that give targets know.

    Raises: CounError that names the classes.
    """
    if split is None:
        return
    labels = data.train.labels.cpu()
    forget, retain = (set(labels[split.rows(data, role)].tolist()) for role in ("forget", "retain"))
    if whole := forget - retain:
        names = ", ".join(data.classes[label] for label in sorted(whole))
        raise CounError(
            f"the request forgets class {names} as a whole, and the models that give targets know "
            "this class; use a method for classes, such as class_matching or not"
        )


def answers(task: Task, role: str) -> Tensor:
    """Compute what the model now answers to the rows of *role*, log-probabilities (n, K)."""
    rows = task.data.train.take(task.indices(role))
    task.charge(len(rows), grad=False)
    outputs = predict(task.classifier, task.data, rows, with_features=False)
    return outputs.logits.log_softmax(1)


def distance(logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean over rows of huber(log-odds, the target's) + 2 KL(target || model).

    Args: logits, target: (B, K), *target* log-probabilities; labels: (B,) int64.

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> distance(logits, logits.log_softmax(1), torch.tensor([0])).item()
    0.0
    """
    odds, target_odds = log_odds(logits, labels), log_odds(target, labels)
    divergence = F.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)
    return F.huber_loss(odds, target_odds) + 2 * divergence


def averaged(predictions: Tensor, labels: Tensor) -> Tensor:
    """Average repeats, but keep the spread that the log-odds of the true class have in each.

    Args: predictions: Log-probabilities (R, N, K); labels: (N,) int64.

    Returns: log-probabilities (N, K); for one repeat its own.

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
    return with_log_odds(mean, labels, odds).float()


def of_equal_rank(values: Tensor, reference: Tensor) -> Tensor:
    """Give each of *values* (n,) the quantile of *reference* (m,) that has its rank, float64.

    Equal values share their mean rank: by position, the forget rows would always come last.

    >>> of_equal_rank(torch.tensor([5.0, 1.0]), torch.tensor([0.0, 4.0])).tolist()
    [3.0, 1.0]
    """
    _, place, counts = np.unique(values.numpy(), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return torch.quantile(reference.double(), torch.from_numpy(middle[place] / len(values)))


def rank_among(values: Tensor, everyone: Tensor) -> Tensor:
    """Tell which share of *everyone* (k,) is below each of *values* (n,), float64, (n,).

    Args: everyone: holds *values* and others. Equal values count as half below.

    >>> rank_among(torch.tensor([5.0]), torch.arange(6.0)).item() == 5.5 / 6
    True
    """
    ranked = everyone.sort().values
    below, up_to = (torch.searchsorted(ranked, values, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(everyone))


def with_log_odds(logits: Tensor, labels: Tensor, odds: Tensor) -> Tensor:
    """Set the log-odds of the true class, and keep the odds among the other classes.

    Args: logits: (N, K); labels: (N,) int64; odds: (N,), in nats.

    Returns: log-probabilities (N, K).

    >>> with_log_odds(torch.zeros(1, 3), torch.tensor([0]), torch.zeros(1)).exp().tolist()
    [[0.5, 0.25, 0.25]]
    """
    of_class = F.one_hot(labels, logits.shape[1]).bool()
    others = logits.masked_fill(of_class, -torch.inf).log_softmax(1) + F.logsigmoid(-odds)[:, None]
    return torch.where(of_class, F.logsigmoid(odds)[:, None], others)
