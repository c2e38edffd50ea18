"""Attacks that compare one number with a threshold; a higher value means member."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coun.attacks.roc_curves import curve


def best_threshold(members: Tensor, others: Tensor) -> float:
    """Find the t for which "member if value >= t" has the best balanced accuracy.

    For groups of equal size this is the accuracy as well.

    Args: members, others: values (N,) and (M,).

    Returns: the highest of equally good thresholds; infinity where none is better than chance.

    Raises: CounError if a group is empty or a value is NaN.

    >>> best_threshold(torch.tensor([0.9, 0.8]), torch.tensor([0.3, 0.5]))
    0.800000011920929
    """
    points = curve(members, others)
    # The balanced accuracy in whole numbers, so that equally good thresholds compare as equal.
    gain = points.members * len(others) - points.others * len(members)
    return float(points.thresholds[int(np.argmax(gain))])


def class_thresholds(
    members: Tensor, member_labels: Tensor, others: Tensor, other_labels: Tensor, classes: int
) -> Tensor:
    """Find a best threshold for each class, (classes,) float64.

    A class that is missing in one group gets the threshold of all classes together.

    Args:
        members, others: values (N,) and (M,).
        member_labels, other_labels: their classes, 0 to classes - 1, of the same shapes.
        classes: the number of classes.

    Source: Song and Mittal 2021, section 4.1. Their code takes 0 for a class that is
        missing, and of equally good thresholds the first in the order of the rows.

    >>> members, others = torch.tensor([0.75, 0.5, 0.25]), torch.tensor([0.375, 0.25, 0.0])
    >>> labels = torch.tensor([0, 0, 1])
    >>> class_thresholds(members, labels, others, labels, classes=2).tolist()
    [0.5, 0.25]
    """
    overall = best_threshold(members, others)
    thresholds = torch.full((classes,), overall, dtype=torch.float64)
    for c in range(classes):
        m, o = members[member_labels == c], others[other_labels == c]
        if len(m) and len(o):
            thresholds[c] = best_threshold(m, o)
    return thresholds


def class_threshold_efficacy(
    members: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]
) -> float:
    """Measure the percentage of *targets* below the threshold of their class: non-members.

    Args: members, others, targets: values and labels, (N,) each.

    >>> labels = torch.zeros(2, dtype=torch.long)
    >>> groups = [torch.tensor(x) for x in ([0.9, 0.8], [0.3, 0.5], [0.4, 0.9])]
    >>> class_threshold_efficacy(*((values, labels) for values in groups))
    50.0
    """
    labels = [y for _, y in (members, others, targets)]
    thresholds = class_thresholds(*members, *others, 1 + int(torch.cat(labels).max()))
    values, classes = targets
    return 100.0 * float((values.double() < thresholds[classes]).double().mean())
