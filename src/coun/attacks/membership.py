"""Membership of forget rows as an attacker ranks them: area under the curve, and the low end."""

from __future__ import annotations

from torch import Tensor

from coun.attacks.roc_curves import Roc, roc
from coun.attacks.signals import scaled_logit
from coun.metrics.registry import Metric

NEEDS = ("on_request", "forget.logits", "forget.labels", "test.logits", "test.labels")


def forget_roc(forget: Tensor, forget_labels: Tensor, test: Tensor, test_labels: Tensor) -> Roc:
    """Rank forget rows against test rows by the scaled logit of their true class.

    Args:
        forget, forget_labels: logits (N, K) and labels (N,) of the forget rows.
        test, test_labels: of rows that the model was never trained on.

    Returns: the power of the attack; 0.5 as the area where nothing is remembered, if the rows are
        exchangeable, as in a random request. Otherwise Retrain's value is the one to compare with.
    """
    return roc(scaled_logit(forget, forget_labels), scaled_logit(test, test_labels))


FORGET_AUC = Metric(
    "forget_auc", "AUC", "%", lambda _, *values: 100.0 * forget_roc(*values).auc, NEEDS,
    title="AUC of forget against test rows", column=None, digits=1,
)  # fmt: skip
FORGET_TPR = Metric(
    "forget_tpr_at_1", "TPR@1%", "%",
    lambda _, *values: 100.0 * forget_roc(*values).tpr_at_1.share, NEEDS,
    title="True positive rate at 1% false positives, forget against test rows",
    column=None, digits=1,
)  # fmt: skip
