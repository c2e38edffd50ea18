"""Membership inference: can an attacker tell forget samples from samples never seen?"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor

from coun.errors import CounError


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the true class, (N,) float64; float32 would saturate at 1."""
    return torch.softmax(logits.double(), 1).gather(1, labels[:, None])[:, 0]


def svc_efficacy(members: Tensor, others: Tensor, targets: Tensor) -> float:
    """MIA efficacy: percent of *targets* that an RBF SVC takes for non-members.

    Args:
        members: feature of training samples the model kept, (N,) or (N, F), label 1.
        others: the same feature of samples never trained on, label 0.
        targets: the same feature of the forget set.

    Returns: 0..100. Higher means more forgotten, but the aim is Retrain's value.

    Raises: CounError if a group is empty.

    Source: Song and Mittal 2021 as used by SalUn, Sparse and CoUn: sklearn SVC, C = 3,
        gamma = 1/F, on raw features, in float64.
    """
    named = {"member": members, "non-member": others, "target": targets}
    for name, group in named.items():
        if len(group) == 0:
            raise CounError(f"the attack has no {name} samples; expected at least one")
    groups = [np.asarray(g, dtype=np.float64).reshape(len(g), -1) for g in named.values()]
    known, unknown, asked = groups
    attack = SVC(C=3, gamma="auto", kernel="rbf", cache_size=1000)
    attack.fit(np.concatenate([known, unknown]), np.repeat([1, 0], [len(known), len(unknown)]))
    return 100.0 * float(np.mean(attack.predict(asked) == 0))
