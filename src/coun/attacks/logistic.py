"""Logistic regression on one number: two protocols whose percentages have opposite meanings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coun.errors import CounError


def loss_attack_accuracy(forget: Tensor, test: Tensor, *, splits: int = 10, seed: int = 0) -> float:
    """Measure how well the loss tells forget rows from unseen ones, in percent.

    Args:
        forget: cross entropy of the forget rows, (N,).
        test: cross entropy of test rows of the forgotten classes, (M,). Of the larger group
            a random part is used that is as large as the smaller one.
        splits: the number of random stratified splits, which each hold out a tenth.
        seed: of the random part and of the splits.

    Returns: mean held-out accuracy; 50 is ideal.

    Raises: CounError for fewer than 10 rows in a group, or a loss that is not finite.

    Source: SCRUB (Kurmanji et al. 2023; 5 splits) and DeepUnlearn (10).

    >>> import torch
    >>> members = torch.linspace(0.0, 0.2, 20)  # rows that were learned have small losses
    >>> loss_attack_accuracy(members, torch.linspace(1.0, 3.0, 20))
    100.0
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    size = min(len(forget), len(test))
    if size < 10:
        raise CounError(f"the smaller group has {size} rows; expected at least 10 in each")
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
    """Measure the share of forget rows whose entropy is that of **members**, in percent.

    A lower value means that more was forgotten. `svc_efficacy` has the opposite direction: it
    counts non-members.

    Args:
        retain: entropies of all retain rows (label 1), (N,).
        test: entropies of the whole test set (label 0), (M,); weights balance the two labels.
        forget: entropies of the forget rows, (F,).

    Raises: CounError if a group is empty, or an entropy is not finite.

    Source: Bad Teacher (Chundawat et al. 2023) and SSD (Foster et al. 2024).

    >>> import torch
    >>> retain, test = torch.linspace(0, 0.1, 20), torch.linspace(0.9, 1, 20)
    >>> entropy_attack_members(retain, test, torch.tensor([0.0, 1.0]))
    50.0
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    members, others, targets = (_column(x) for x in (retain, test, forget))
    attack = LogisticRegression(class_weight="balanced")
    attack.fit(np.concatenate([members, others]), np.repeat([1, 0], [len(members), len(others)]))
    return 100.0 * float(np.mean(attack.predict(targets) == 1))


def _column(values: Tensor) -> NDArray[np.float64]:
    """*values* as one feature for scikit-learn, (N, 1)."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    if len(column) == 0:
        raise CounError("the attack has an empty group of rows; expected at least one in each")
    if not np.isfinite(column).all():
        raise CounError("a value given to the attack is not finite; expected finite numbers")
    return column
