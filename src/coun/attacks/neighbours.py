"""The attack on a forgotten class through its neighbours: what do the other classes betray?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coun.metrics.registry import Metric

FOLDS = 5
FEWEST = 2 * FOLDS  # rows of a class and side, below which there is no value


def neighbour_attack(
    forget: Tensor, forget_labels: Tensor, unseen: Tensor, unseen_labels: Tensor
) -> float | None:
    """Tell trained rows of a forgotten class from unseen rows of it, by the other classes alone.

    The features are the log-probabilities of all classes but the forgotten one, as if it did not
    exist. A method that only lowers the probability of the forgotten class leaves what its rows
    look like among the neighbours, where rows that were trained on differ from rows that were
    not. Neither group was ever trained on by a Retrain, so 50 is its expectation.

    Args:
        forget, forget_labels: logits (N, K) and labels (N,) of forgotten training rows.
        unseen, unseen_labels: of test rows of the same classes, (M, K) and (M,).

    Returns: area under the ROC curve in percent, by a logistic regression in cross-validation
        (5 folds, drawn once), as the mean over the forgotten classes; None where every class has
        fewer than 10 rows on a side.

    Source: the idea is that of MIA-NN (Ebrahimpour-Boroojeny et al., 2025), which attacks class
        unlearning through the probabilities of neighbouring classes. The attack here is ours.

    >>> rows = torch.eye(3).repeat(20, 1)
    >>> same = torch.zeros(60, dtype=torch.int64)
    >>> 30 < neighbour_attack(rows, same, rows, same) < 70
    True
    """
    values = []
    for label in set(forget_labels.tolist()):
        sides = (forget[forget_labels == label], unseen[unseen_labels == label])
        if min(map(len, sides)) >= FEWEST and forget.shape[1] > 2:
            values.append(_auc(*(_others(side, label) for side in sides)))
    return float(np.mean(values)) if values else None


def _others(logits: Tensor, label: int) -> np.ndarray:
    """Log-probabilities (N, K - 1) of the classes other than *label*."""
    others = torch.arange(logits.shape[1]) != label
    return np.asarray(logits[:, others].double().log_softmax(1).numpy())


def _auc(members: np.ndarray, others: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression  # scikit-learn takes a second to import
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth = np.repeat([1, 0], [len(members), len(others)])
    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=200, class_weight="balanced")
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    rows = np.concatenate([members, others])
    scores = cross_val_predict(model, rows, truth, cv=folds, method="decision_function")
    return 100.0 * float(roc_auc_score(truth, scores))


NEIGHBOUR_ATTACK = Metric(
    "neighbour_attack", "neighbours", "%",
    lambda _, *values: neighbour_attack(*values),
    ("on_request", "forget.logits", "forget.labels",
     "forgotten_test.logits", "forgotten_test.labels"),
    title="AUC of the attack through neighbouring classes", direction="lower",
    column=None, digits=1,
)  # fmt: skip
