"""Membership inference: can an attacker tell forget rows from rows never seen?

All functions take logits, labels and masks as tensors and compute in float64.
"""

from coun.attacks.efficacy import efficacy_by_feature
from coun.attacks.lira import lira_offline, lira_online
from coun.attacks.logistic import entropy_attack_members, loss_attack_accuracy
from coun.attacks.rmia import rmia_ratio, rmia_score
from coun.attacks.roc_curves import Roc, curve, roc
from coun.attacks.signals import (
    confidence,
    correctness,
    entropy,
    features,
    loss,
    modified_entropy,
    probabilities,
    scaled_logit,
)
from coun.attacks.svc import svc_efficacy, svc_members
from coun.attacks.threshold import best_threshold, class_threshold_efficacy, class_thresholds
from coun.attacks.ulira import ulira_accuracy, ulira_log_odds

__all__ = [
    "Roc",
    "best_threshold",
    "class_threshold_efficacy",
    "class_thresholds",
    "confidence",
    "correctness",
    "curve",
    "efficacy_by_feature",
    "entropy",
    "entropy_attack_members",
    "features",
    "lira_offline",
    "lira_online",
    "loss",
    "loss_attack_accuracy",
    "modified_entropy",
    "probabilities",
    "rmia_ratio",
    "rmia_score",
    "roc",
    "scaled_logit",
    "svc_efficacy",
    "svc_members",
    "ulira_accuracy",
    "ulira_log_odds",
]
