"""How well a score tells members from others: ROC, its area, and power at few false alarms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy  # scipy.stats takes half a second to import; as an attribute it is loaded on use
from numpy.typing import NDArray
from torch import Tensor

from coun.errors import CounError
from coun.metrics.statistics import Proportion, clopper_pearson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Curve(NamedTuple):
    """Counts at each threshold, (T,): who scores at least that much.

    Thresholds fall; the first, infinity, lets nobody through, the last everybody.
    """

    thresholds: Floats
    members: Ints
    others: Ints


@dataclass(frozen=True)
class Roc:
    """Power of one attack.

    Attributes:
        auc: area under the ROC curve, ties count half; 0.5 tells nothing.
        balanced_accuracy: the best mean of both groups' accuracies over all thresholds, 0..1.
        tpr_at_1, tpr_at_01: largest true positive rate with at most 1 %, 0.1 % of *others*
            taken for members (below 1 / others that means none), 0..1, with its exact 95 %
            Clopper-Pearson interval, the threshold taken as given.
        members, others: samples in each group.
    """

    auc: float
    balanced_accuracy: float
    tpr_at_1: Proportion
    tpr_at_01: Proportion
    members: int
    others: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def curve(members: Tensor, others: Tensor) -> Curve:
    """The ROC curve in counts, from scores (M,) and (O,); higher means member.

    Raises: CounError if a group is empty or a score is NaN.
    """
    m, o = (_sorted(name, x) for name, x in (("member", members), ("non-member", others)))
    thresholds = np.append(np.inf, np.unique(np.concatenate([m, o]))[::-1])
    passed = [len(x) - np.searchsorted(x, thresholds, side="left") for x in (m, o)]
    passed[0][0] = passed[1][0] = 0  # infinite scores pass no one through the first
    return Curve(thresholds, *passed)


def roc(members: Tensor, others: Tensor) -> Roc:
    """Measure scores (M,) of members against (O,) of others; higher means member.

    Raises: CounError if a group is empty or a score is NaN.

    Source: Carlini et al. 2022 for the true positive rate at low false positive rates.
    """
    points = curve(members, others)
    m, o = len(members), len(others)
    ranks = scipy.stats.rankdata(np.concatenate([_array(members), _array(others)]))[:m]

    def power(level: float) -> Proportion:
        return clopper_pearson(int(points.members[points.others <= level * o].max()), m)

    return Roc(
        auc=float((ranks.sum() - m * (m + 1) / 2) / (m * o)),
        balanced_accuracy=float((1 + (points.members / m - points.others / o).max()) / 2),
        tpr_at_1=power(0.01),
        tpr_at_01=power(0.001),
        members=m,
        others=o,
    )


def _array(scores: Tensor) -> Floats:
    return np.asarray(scores, dtype=np.float64)


def _sorted(name: str, scores: Tensor) -> Floats:
    values = np.sort(_array(scores))
    if len(values) == 0:
        raise CounError(f"the attack has no {name} samples; expected at least one")
    if np.isnan(values[-1]):
        raise CounError(f"a {name} sample's score is not a number; expected no NaN")
    return values
