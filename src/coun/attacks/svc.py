"""The attack of the tables: an RBF support vector machine on a feature of each sample."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coun.attacks.interior import rbf_factor, svm_plane
from coun.errors import CounError

Floats = NDArray[np.float64]

C = 3.0
LARGE = 2000  # libsvm takes a second for so many
RANK = 300  # probabilities of 10 classes have about 250


def svc_efficacy(members: Tensor, others: Tensor, targets: Tensor) -> float:
    """MIA efficacy: percent of *targets* that an RBF SVC takes for non-members.

    Args:
        members: feature of training samples the model kept, (N,) or (N, F), label 1.
        others: the same feature of samples never trained on, label 0.
        targets: the same feature of the forget set.

    Returns: 0..100. Higher means more forgotten, but the aim is Retrain's value.

    Raises: CounError if a group is empty, or a value is not finite.

    Source: Song and Mittal 2021 as used by SalUn, Sparse and CoUn: sklearn SVC, C = 3,
        gamma = 1/F, on raw features, in float64.
    """
    return 100.0 * float((~svc_members(members, others, targets)).double().mean())


def svc_members(members: Tensor, others: Tensor, targets: Tensor, *, large: int = LARGE) -> Tensor:
    """Which *targets* the attack of `svc_efficacy` takes for members, (N,) bool.

    Equal samples of a group enter as one with their count as weight. That is the same
    optimisation problem (the sum of their dual variables has the sum of their bounds), and
    0/1 features or saturated confidences become a handful of points.

    Args:
        large: above so many distinct samples the same problem goes to `interior`, which is
            nearer to the optimum than libsvm at its default tolerance: 20,000 distinct
            confidences take less than a second in place of half a minute. Features of a
            high rank (the probabilities of 100 classes) stay with libsvm.
    """
    named = {"member": members, "non-member": others, "target": targets}
    known, unknown, asked = (_rows(name, group) for name, group in named.items())
    (x1, n1), (x0, n0) = (np.unique(g, axis=0, return_counts=True) for g in (known, unknown))
    x, y = np.concatenate([x1, x0]), np.repeat([1, -1], [len(x1), len(x0)])
    weights = np.concatenate([n1, n0]).astype(np.float64)
    gamma = 1 / x.shape[1]
    if len(x) > large:
        factor = rbf_factor(np.concatenate([x, asked]), gamma, most=RANK)
        plane = factor is not None and svm_plane(factor[: len(x)], y, C * weights)
        if factor is not None and plane:
            return torch.from_numpy(factor[len(x) :] @ plane[0] + plane[1] > 0)
    from sklearn.svm import SVC  # takes a second to import

    # A fixed state, because the default would draw from numpy's global generator.
    attack = SVC(C=C, gamma=gamma, kernel="rbf", cache_size=1000, random_state=0)
    attack.fit(x, y, sample_weight=weights)
    return torch.from_numpy(attack.predict(asked) == 1)


def _rows(name: str, group: Tensor) -> Floats:
    if len(group) == 0:
        raise CounError(f"the attack has no {name} samples; expected at least one")
    rows = np.asarray(group, dtype=np.float64).reshape(len(group), -1)
    if not np.isfinite(rows).all():
        raise CounError(f"a {name} sample's feature is not finite; expected finite numbers")
    return rows
