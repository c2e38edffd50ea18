"""The attack of the tables on each feature of a sample, and the metrics it gives."""

from __future__ import annotations

from torch import Tensor

from coun.attacks.signals import features
from coun.attacks.svc import svc_efficacy
from coun.metrics.registry import Metric


def efficacy_by_feature(
    members: Tensor,
    member_labels: Tensor,
    others: Tensor,
    other_labels: Tensor,
    targets: Tensor,
    target_labels: Tensor,
) -> dict[str, float]:
    """Return the MIA efficacy, percent, of `svc_efficacy` by feature of `features`.

    The fifth feature, all probabilities, is left out: it would take a minute where there are
    100 classes.

    Args:
        members: logits of training rows that were retained, (N, K), with labels (N,).
        others: logits of rows that no model was trained on, (M, K), with labels (M,).
        targets: logits of the forget rows, (F, K), with labels (F,).
    """
    groups = [
        features(logits, labels)
        for logits, labels in (
            (members, member_labels), (others, other_labels), (targets, target_labels)
        )
    ]  # fmt: skip
    names = [name for name in groups[0] if name != "probabilities"]
    return {name: svc_efficacy(*(group[name] for group in groups)) for name in names}


MIA = Metric(
    "mia", "MIA by feature", "%", efficacy_by_feature,
    tuple(f"{part}.{kind}" for part in ("members", "others", "forget")
          for kind in ("logits", "labels")),
    column=None,
)  # fmt: skip
MIA_EFFICACY = Metric(
    "mia_efficacy", "MIA", "%", lambda by_feature: by_feature["confidence"], ("metrics.mia",),
    title="MIA efficacy", column=40,
)  # fmt: skip
