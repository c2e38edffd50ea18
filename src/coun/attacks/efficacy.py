"""Attacks on one model's predictions, registered as metrics."""

from __future__ import annotations

from torch import Tensor

from coun.attacks.signals import features, modified_entropy
from coun.attacks.svc import svc_efficacy
from coun.attacks.threshold import class_threshold_efficacy
from coun.metrics.registry import Metric


def efficacy_by_feature(
    members: Tensor,
    member_labels: Tensor,
    others: Tensor,
    other_labels: Tensor,
    targets: Tensor,
    target_labels: Tensor,
) -> dict[str, float]:
    """Measure the MIA efficacy, percent, of `svc_efficacy` on each feature of `features`.

    The fifth feature, all probabilities, is left out: it would take a minute where there are
    100 classes.

    Args:
        members, member_labels: logits of training rows that were retained, (N, K), and
            labels (N,).
        others, other_labels: of rows that no model was trained on, (M, K) and (M,).
        targets, target_labels: of the forget rows, (F, K) and (F,).

    >>> import torch
    >>> labels = torch.zeros(20, dtype=torch.long)
    >>> sure, unsure = torch.tensor([[9.0, 0.0]]).repeat(20, 1), torch.zeros(20, 2)
    >>> efficacy_by_feature(sure, labels, unsure, labels, sure, labels)["confidence"]
    0.0
    """
    pairs = ((members, member_labels), (others, other_labels), (targets, target_labels))
    groups = [features(logits, labels) for logits, labels in pairs]
    names = [name for name in groups[0] if name != "probabilities"]
    return {name: svc_efficacy(*(group[name] for group in groups)) for name in names}


def _threshold_efficacy(*values: Tensor) -> float:
    """Class-wise thresholds on the modified entropy; logits and labels of three groups."""
    pairs = zip(values[::2], values[1::2], strict=True)
    signals = [(-modified_entropy(logits, labels), labels) for logits, labels in pairs]
    return class_threshold_efficacy(*signals)


def _needs(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}.{kind}" for part in parts for kind in ("logits", "labels"))


MIA = Metric(
    "mia", "MIA by feature", "%", efficacy_by_feature, _needs("members", "others", "forget"),
    column=None,
)  # fmt: skip
MIA_EFFICACY = Metric(
    "mia_efficacy", "MIA", "%", lambda by_feature: by_feature["confidence"], ("metrics.mia",),
    title="MIA efficacy", column=40,
)  # fmt: skip
THRESHOLD_EFFICACY = Metric(
    "threshold_efficacy", "MIA by thresholds", "%", _threshold_efficacy,
    _needs("retain", "test", "forget"), title="MIA efficacy of one threshold for each class",
    column=None,
)  # fmt: skip
