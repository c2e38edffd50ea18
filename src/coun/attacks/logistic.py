"""Logistic regression on one number: two protocols whose percentages point in opposite ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coun.errors import CounError


def loss_attack_accuracy(forget: Tensor, test: Tensor, *, splits: int = 10, seed: int = 0) -> float:
    """Percent of forget and unseen samples told apart by their loss; 50 is ideal.

    Args:
        forget, test: cross entropy (N,), (M,); of the larger group a random part as large
            as the smaller is used. Give test samples of the forgotten classes only.
        splits: random stratified splits, a tenth of the samples held out in each.
        seed: of the subset and of the splits.

    Returns: mean held-out accuracy.

    Raises: CounError for fewer than 10 samples in a group, or a loss that is not finite.

    Source: SCRUB (Kurmanji et al. 2023; 5 splits) and DeepUnlearn (10).
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    size = min(len(forget), len(test))
    if size < 10:
        raise CounError(f"the smaller group has {size} samples; expected at least 10 in each")
    rng = np.random.default_rng(seed)
    groups = [_column(x)[rng.permutation(len(x))[:size]] for x in (forget, test)]
    scores = cross_val_score(
        LogisticRegression(),
        np.concatenate(groups),
        np.repeat([1, 0], size),
        cv=StratifiedShuffleSplit(splits, test_size=0.1, random_state=seed),
        scoring="accuracy",
    )
    return 100.0 * float(scores.mean())


def entropy_attack_members(retain: Tensor, test: Tensor, forget: Tensor) -> float:
    """Percent of *forget* taken for **members** by their entropy; lower is more forgotten.

    The opposite direction of `svc_efficacy`, which counts non-members.

    Args:
        retain, test, forget: entropy of the prediction, (N,) each; all of the retain set
            (label 1) and all of the test set (label 0), balanced by class weights.

    Raises: CounError if a group is empty, or an entropy is not finite.

    Source: Bad Teacher (Chundawat et al. 2023) and SSD (Foster et al. 2024).
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    known, unknown, asked = (_column(x) for x in (retain, test, forget))
    attack = LogisticRegression(class_weight="balanced")
    attack.fit(np.concatenate([known, unknown]), np.repeat([1, 0], [len(known), len(unknown)]))
    return 100.0 * float(np.mean(attack.predict(asked) == 1))


def _column(values: Tensor) -> NDArray[np.float64]:
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    if len(column) == 0:
        raise CounError("the attack has an empty group of samples; expected at least one in each")
    if not np.isfinite(column).all():
        raise CounError("the attack found a value that is not finite; expected finite numbers")
    return column
