"""Canaries: marked rows whose membership is random by design, and what they show about a model.

A fair coin decides for each marked row whether it takes part in training. Membership is then
independent of everything else, so no Retrain and no assumption about rows is needed: a model that
never used the rows, or has forgotten them, cannot tell the two groups apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import binom, mannwhitneyu
from torch import Tensor

from coun.attacks import scaled_logit
from coun.data import Examples
from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats
from coun.seeds import Seeds

Mark = Literal["mislabelled", "augmented"]
SHARES = (1.0, 0.5, 0.25, 0.125)  # of the canaries that are guessed at


@dataclass(frozen=True, eq=False)
class Canaries:
    """Marked rows and the coin flips.

    Attributes:
        images: (N, C, H, W), or (N, ...) as the data has them.
        labels: (N,) int64, as the canaries are trained on.
        positions: (N,) int64, of the rows in the training part that they were made from.
        member: (N,) bool: whether the coin puts the row into training.
        mark: "mislabelled" or "augmented".
    """

    images: Tensor
    labels: Tensor
    positions: Tensor
    member: Tensor
    mark: Mark

    @classmethod
    def make(
        cls,
        examples: Examples,
        classes: int,
        count: int,
        *,
        seed: int = 0,
        mark: Mark = "mislabelled",
    ) -> Canaries:
        """Choose *count* rows of *examples*, mark them and flip a coin for each.

        Args:
            mark: "mislabelled": the row gets another label, drawn at random, which a network must
                memorise to fit; the row itself must leave the training part. "augmented": a copy,
                mirrored and with noise, under the right label; the weaker and less harmful mark.

        Raises: CounError for fewer than 2 classes, fewer than 8 canaries, or more than rows.

        >>> from coun import load
        >>> canaries = Canaries.make(load("digits").train, 10, 40)
        >>> len(canaries.labels), 8 < int(canaries.member.sum()) < 32
        (40, True)
        """
        if not 8 <= count <= len(examples) or classes < 2:
            raise CounError(
                f"{count} canaries of {len(examples)} rows in {classes} classes; expected 8 or "
                "more, at most one per row, and at least 2 classes"
            )
        generator = Seeds(seed).torch("canaries")
        positions = torch.randperm(len(examples), generator=generator)[:count].sort().values
        member = torch.rand(count, generator=generator) < 0.5
        labels = examples.labels[positions].cpu()
        images = examples.fetch(positions)
        if mark == "mislabelled":
            labels = (labels + torch.randint(1, classes, (count,), generator=generator)) % classes
        else:
            scale = 0.1 * (images.double().std() + 1e-6)
            noise = scale * torch.randn(images.shape, generator=generator, dtype=torch.float64)
            marked = images.flip(-1).double() + noise
            whole = not images.is_floating_point()
            images = (marked.round().clamp(0, 255) if whole else marked).to(images.dtype)
        return cls(images, labels, positions, member, mark)

    def scores(self, logits: Tensor, reference: Tensor | None = None) -> Floats:
        """Log-odds of the canaries' labels (N,), less those of a *reference* model's logits."""
        odds = scaled_logit(logits, self.labels)
        if reference is not None:
            odds = odds - scaled_logit(reference, self.labels)
        values: Floats = odds.numpy()
        return values


@dataclass(frozen=True)
class CanaryAudit:
    """What canaries show.

    Attributes:
        p: one-sided, of members scoring no higher than non-members; exact by design.
        epsilon: lower bound on epsilon with *confidence*; 0 shows nothing.
        delta, confidence: as given.
        guesses, correct: of the bound.
        members, others: numbers of canaries.
    """

    p: float
    epsilon: float
    delta: float
    confidence: float
    guesses: int
    correct: int
    members: int
    others: int


def audit_canaries(
    scores: Values, member: Values, *, delta: float = 0.0, confidence: float = 0.95
) -> CanaryAudit:
    """Test whether a model tells canaries that took part from those that did not.

    Args:
        scores: (N,), higher for rows that the model remembers.
        member: (N,) bool, the coin flips.
        delta: of the (epsilon, delta) differential privacy or unlearning that is questioned.
        confidence: of the lower bound on epsilon.

    The canaries with the highest scores are guessed to be members, as many with the lowest to be
    none, and the middle is left out. Four shares are tried, and the error is divided by four.

    Source: Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run", theorem
        5.2 and appendix D.

    Raises: CounError if all canaries or none took part, or numbers are out of range.

    >>> member = np.arange(100) < 50
    >>> audit_canaries(-np.arange(100.0), member).epsilon > 2
    True
    """
    values = floats(scores, "scores", 1)
    inside = floats(member, "member", 1).astype(bool)
    if len(values) != len(inside) or inside.all() or not inside.any():
        raise CounError(
            f"{int(inside.sum())} of {len(inside)} canaries took part, with {len(values)} scores; "
            "expected one score per canary, and some canaries on both sides"
        )
    if not (0 <= delta < 1 and 0 < confidence < 1):
        raise CounError(
            f"delta {delta}, confidence {confidence}; expected 0 <= delta < 1, 0 < confidence < 1"
        )
    p = float(mannwhitneyu(values[inside], values[~inside], alternative="greater").pvalue)
    order = np.argsort(-values, kind="stable")
    best = (0.0, 0, 0)
    for share in SHARES:
        half = int(len(values) * share / 2)
        if half == 0:
            continue
        correct = int(inside[order[:half]].sum() + (~inside[order[-half:]]).sum())
        error = (1 - confidence) / len(SHARES)
        bound = epsilon_bound(len(values), 2 * half, correct, delta=delta, error=error)
        best = max(best, (bound, 2 * half, correct))
    return CanaryAudit(
        p, best[0], delta, confidence, best[1], best[2], int(inside.sum()), int((~inside).sum())
    )


def epsilon_bound(
    count: int, guesses: int, correct: int, *, delta: float = 0.0, error: float = 0.05
) -> float:
    """The largest epsilon that *correct* right guesses refute with probability of error *error*.

    With delta = 0 it is the logit of Clopper and Pearson's lower limit of the share of right
    guesses: under epsilon each guess is right with probability e^epsilon / (1 + e^epsilon) at most.

    Args: count: canaries; guesses, correct: how many were guessed at, and rightly.

    >>> round(epsilon_bound(100, 100, 100), 2)  # 0.05 ** (1 / 100) is 0.9705
    3.49
    """
    if not 0 <= correct <= guesses <= count:
        raise CounError(
            f"{correct} right of {guesses} guesses on {count} canaries; expected right guesses <= "
            "guesses <= canaries"
        )
    if _refuting_p(count, guesses, correct, 0.0, delta) >= error:
        return 0.0
    low, high = 0.0, 1.0
    while high < 64 and _refuting_p(count, guesses, correct, high, delta) < error:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        if _refuting_p(count, guesses, correct, middle, delta) < error:
            low = middle
        else:
            high = middle
    return low


def _refuting_p(count: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Chance of so many right guesses or more under (epsilon, delta)."""
    share = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, share))
    if delta == 0 or correct == 0:
        return tail
    steps = np.arange(1, correct + 1)
    within = np.cumsum(binom.pmf(correct - steps, guesses, share)) / steps
    return float(min(1.0, tail + 2 * count * delta * within.max()))
