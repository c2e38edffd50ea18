"""What canaries show about a model: an exact test, and a lower bound on epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, mannwhitneyu

from coun.audit.scores import log_odds
from coun.data import Data
from coun.engine import predict
from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats
from coun.runs import Run

SHARES = (1.0, 0.5, 0.25, 0.125)  # of the canaries that are guessed at


@dataclass(frozen=True)
class CanaryAudit:
    """What canaries show.

    Attributes:
        effect: P(member scores higher than a non-member) - 1/2.
        p: one-sided, of members scoring no higher than non-members; exact by design.
        epsilon: lower bound on epsilon with *confidence*; 0 shows nothing.
        delta, confidence: as given.
        guesses, correct: of the bound.
        members, others: numbers of canaries.
    """

    effect: float
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
    test = mannwhitneyu(values[inside], values[~inside], alternative="greater")
    effect = float(test.statistic) / (inside.sum() * (~inside).sum()) - 0.5
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
        float(effect),
        float(test.pvalue),
        best[0],
        delta,
        confidence,
        best[1],
        best[2],
        int(inside.sum()),
        int((~inside).sum()),
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


def canary_scores(run: Run, data: Data) -> tuple[Floats, Floats]:
    """Log-odds of the canaries' labels (N,), and 1 for those that took part in training."""
    assert data.canaries is not None
    examples = data.canaries.examples
    odds = log_odds(predict(run.classifier, data, examples).logits, examples.labels)
    return odds, data.canaries.member.double().numpy()
