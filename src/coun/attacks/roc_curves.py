"""How well a score separates members from others: the ROC curve, its area, and its low end."""

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
    """For each of T falling thresholds, how many rows have at least that score, (T,).

    No row passes the first threshold, infinity; every row passes the last.
    """

    thresholds: Floats
    members: Ints
    others: Ints


@dataclass(frozen=True)
class Roc:
    """The power of one attack.

    Attributes:
        auc: the area under the ROC curve, where ties count half; 0.5 is pure chance.
        balanced_accuracy: the best mean of both groups' accuracies over all thresholds, 0..1.
        tpr_at_1, tpr_at_01: the largest true positive rate, 0..1, at which at most 1% or 0.1%
            of *others* are taken for members (none of them, if 1 / others is larger), with
            its exact 95% Clopper-Pearson interval for a fixed threshold.
        members, others: the number of rows in each group.

    >>> import torch
    >>> attack = roc(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0]))
    >>> attack.auc, attack.tpr_at_1.share, attack.members
    (0.75, 0.5, 2)
    """

    auc: float
    balanced_accuracy: float
    tpr_at_1: Proportion
    tpr_at_01: Proportion
    members: int
    others: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain numbers and dicts."""
        return asdict(self)


def curve(members: Tensor, others: Tensor) -> Curve:
    """Compute the ROC curve of a score, in counts.

    Args: members, others: scores (M,) and (O,); a higher one means member.

    Raises: CounError if a group is empty or a score is NaN.

    >>> import torch
    >>> curve(torch.tensor([3.0, 1.0]), torch.tensor([2.0])).members.tolist()
    [0, 1, 1, 2]
    """
    m, o = (_sorted(name, x) for name, x in (("member", members), ("non-member", others)))
    thresholds = np.append(np.inf, np.unique(np.concatenate([m, o]))[::-1])
    passed = [len(x) - np.searchsorted(x, thresholds, side="left") for x in (m, o)]
    passed[0][0] = passed[1][0] = 0  # even rows with an infinite score do not pass
    return Curve(thresholds, *passed)


def roc(members: Tensor, others: Tensor) -> Roc:
    """Measure how well a score separates members from others.

    Args: members, others: scores (M,) and (O,); a higher one means member.

    Raises: CounError if a group is empty or a score is NaN.

    Source: Carlini et al. 2022 for the true positive rate at low false positive rates.

    >>> import torch
    >>> roc(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])).auc
    0.75
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
        raise CounError(f"the attack has no {name} rows; expected at least one")
    if np.isnan(values[-1]):
        raise CounError(f"a {name} row's score is not a number; expected no NaN")
    return values
