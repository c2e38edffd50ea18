"""RULI: the attack on single vulnerable rows, for which many models of one request are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coun.attacks.signals import scaled_logit
from coun.attacks.ulira import FEWEST, ulira_accuracy, ulira_log_odds
from coun.errors import CounError
from coun.metrics.registry import Metric

SHARE = 0.1  # of the forget rows, the most vulnerable ones


@dataclass(frozen=True)
class VulnerableRows:
    """The forget rows that training changes most, and what an attacker tells of each.

    Attributes:
        slots: positions of the rows among the forget rows, most vulnerable first.
        vulnerability: how far apart the scaled logits of Originals and Retrains are, in pooled
            standard deviations.
        accuracy: percent of right answers about each row, "unlearned it" or "never saw it".
    """

    slots: list[int]
    vulnerability: list[float]
    accuracy: list[float]


def vulnerable_rows(
    unlearned: Sequence[Tensor],
    retrained: Sequence[Tensor],
    originals: Sequence[Tensor],
    labels: Tensor,
    *,
    share: float = SHARE,
) -> VulnerableRows:
    """Find the rows that the Originals know and Retrains do not, and attack each of them.

    An average over all forget rows hides a method that forgets the easy rows and leaves the few
    that training had changed much. The attack is U-LiRA's (`ulira_log_odds`): unlearned models
    against Retrains, each model scored by Gaussians that were fitted without it.

    Args:
        unlearned, retrained, originals: logits (N, K) of several models for the forget rows,
            3 or more of the first two and 2 or more Originals.
        labels: (N,).
        share: of the rows, at least one, that are attacked.

    Raises: CounError with too few models.

    Source: RULI (Naderloui et al., USENIX Security 2025), which attacks vulnerable rows by
        per-sample likelihood ratios. The authors' code estimates the two densities with kernels
        of bandwidth 1 in units of the scaled logit; here each is a Gaussian, which follows the
        spread of a row. The measure of vulnerability is ours.
    """
    if min(len(unlearned), len(retrained)) < FEWEST or len(originals) < 2:
        raise CounError(
            f"{len(unlearned)} unlearned models, {len(retrained)} Retrains and {len(originals)} "
            f"Originals; expected at least {FEWEST}, {FEWEST} and 2"
        )
    groups = [
        torch.stack([scaled_logit(x, labels) for x in logits]).double()
        for logits in (unlearned, retrained, originals)
    ]
    of_retrains, of_originals = groups[1], groups[2]
    spread = ((of_retrains.var(0) + of_originals.var(0)) / 2).sqrt().clamp(min=1e-6)
    apart = (of_originals.mean(0) - of_retrains.mean(0)) / spread
    slots = apart.argsort(descending=True)[: max(1, round(share * len(apart)))]
    phi = torch.cat([groups[0][:, slots], of_retrains[:, slots]])
    saw = torch.zeros(phi.shape, dtype=torch.bool)
    saw[: len(unlearned)] = True
    odds = ulira_log_odds(phi, saw)
    accuracy = [ulira_accuracy(odds[:, [k]], saw[:, [k]]) for k in range(len(slots))]
    return VulnerableRows(slots.tolist(), apart[slots].tolist(), accuracy)


def _mean_accuracy(
    unlearned: Sequence[Tensor],
    retrained: Sequence[Tensor],
    originals: Sequence[Tensor],
    labels: Tensor,
) -> float | None:
    if min(len(unlearned), len(retrained)) < FEWEST or len(originals) < 2:
        return None
    return float(np.mean(vulnerable_rows(unlearned, retrained, originals, labels).accuracy))


RULI = Metric(
    "ruli_accuracy", "RULI", "%", _mean_accuracy,
    ("runs.forget.logits", "retrain.runs.forget.logits", "original.runs.forget.logits",
     "forget.labels"),
    title="Accuracy of the attack on the most vulnerable rows (RULI)", direction="lower",
    column=None, digits=1,
)  # fmt: skip
