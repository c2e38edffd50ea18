"""Attacks that compare one number with a threshold; a higher value means member."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coun.attacks.roc_curves import curve


def best_threshold(members: Tensor, others: Tensor) -> float:
    """The t for which "member if value >= t" has the best balanced accuracy.

    Of equally good ones the highest; infinity where no threshold beats chance. For groups
    of one size this is the accuracy as well.

    Raises: CounError if a group is empty or a value is NaN.
    """
    points = curve(members, others)
    # Whole numbers, so that ties are ties.
    gain = points.members * len(others) - points.others * len(members)
    return float(points.thresholds[int(np.argmax(gain))])


def threshold_efficacy(members: Tensor, others: Tensor, targets: Tensor) -> float:
    """Percent of *targets* that the best single threshold takes for non-members.

    A quick cross-check of `svc_efficacy` on one feature, (N,) each, where higher means
    member (pass minus the entropy); the two may differ, as an SVC can draw several lines.
    """
    return 100.0 * float((targets.double() < best_threshold(members, others)).double().mean())


def class_thresholds(
    members: Tensor, member_labels: Tensor, others: Tensor, other_labels: Tensor, classes: int
) -> Tensor:
    """A best threshold for each class, (classes,) float64, from values and labels (N,).

    A class that one group lacks gets the threshold of all classes together.

    Source: Song and Mittal 2021, section 4.1. Their code takes 0 for a class that is
        missing, and of equally good thresholds the first in the order of the samples.
    """
    everywhere = best_threshold(members, others)
    found = torch.full((classes,), everywhere, dtype=torch.float64)
    for c in range(classes):
        m, o = members[member_labels == c], others[other_labels == c]
        if len(m) and len(o):
            found[c] = best_threshold(m, o)
    return found


def class_threshold_efficacy(
    members: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]
) -> float:
    """Percent of *targets* below the threshold of their class: taken for non-members.

    Args: members, others, targets: values and labels, (N,) each.
    """
    labels = [y for _, y in (members, others, targets)]
    thresholds = class_thresholds(*members, *others, 1 + int(torch.cat(labels).max()))
    values, classes = targets
    return 100.0 * float((values.double() < thresholds[classes]).double().mean())
