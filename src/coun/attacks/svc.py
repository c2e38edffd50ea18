"""The attack behind MIA in tables: a support vector machine on a feature of each row."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coun.attacks.interior import rbf_factor, svm_plane
from coun.errors import CounError

Floats = NDArray[np.float64]

C = 3.0
LARGE = 2000  # distinct rows; libsvm takes a second for so many
RANK = 300  # largest rank for `interior`; probabilities of 10 classes have about 250


def svc_efficacy(members: Tensor, others: Tensor, targets: Tensor) -> float:
    """Measure MIA efficacy: the percentage of *targets* that an RBF SVC takes for non-members.

    Args:
        members: a feature of training rows that were retained, (N,) or (N, F), label 1.
        others: the same feature of rows the model was never trained on, label 0.
        targets: the same feature of the forget rows.

    Returns: 0..100. A higher value means that more was forgotten; the aim is Retrain's value.

    Raises: CounError if a group is empty, or a value is not finite.

    Source: Song and Mittal 2021 as used by SalUn, Sparse and CoUn: sklearn SVC, C = 3,
        gamma = 1/F, on raw features, in float64.

    >>> members, others = torch.linspace(0.9, 1, 20), torch.linspace(0, 0.5, 20)
    >>> svc_efficacy(members, others, torch.tensor([0.1, 0.95]))
    50.0
    """
    return 100.0 * float((~svc_members(members, others, targets)).double().mean())


def svc_members(members: Tensor, others: Tensor, targets: Tensor, *, large: int = LARGE) -> Tensor:
    """Find out which *targets* the attack of `svc_efficacy` takes for members, (N,) bool.

    Equal rows of a group are merged into one whose weight is their number. That is the same
    optimisation problem (the sum of their dual variables is bounded by the sum of their
    bounds), and it turns 0/1 features or saturated confidences into a handful of points.

    Args:
        members, others, targets: as for `svc_efficacy`.
        large: with more distinct rows than this the problem is solved by `interior`, which
            comes nearer to the optimum than libsvm does at its default tolerance: 20,000
            distinct confidences take less than a second instead of half a minute. Features
            of high rank (the probabilities of 100 classes) are left to libsvm.

    >>> members, others = torch.tensor([[0.9], [0.95], [1.0]]), torch.tensor([[0.1], [0.3], [0.5]])
    >>> svc_members(members, others, torch.tensor([[0.97], [0.2]])).tolist()
    [True, False]
    """
    by_name = {"member": members, "non-member": others, "target": targets}
    inside, outside, queries = (_rows(name, group) for name, group in by_name.items())
    (x1, n1), (x0, n0) = (np.unique(g, axis=0, return_counts=True) for g in (inside, outside))
    x, y = np.concatenate([x1, x0]), np.repeat([1, -1], [len(x1), len(x0)])
    weights = np.concatenate([n1, n0]).astype(np.float64)
    gamma = 1 / x.shape[1]
    if len(x) > large:
        factor = rbf_factor(np.concatenate([x, queries]), gamma, most=RANK)
        plane = factor is not None and svm_plane(factor[: len(x)], y, C * weights)
        if factor is not None and plane:
            return torch.from_numpy(factor[len(x) :] @ plane[0] + plane[1] > 0)
    from sklearn.svm import SVC  # takes a second to import

    # A fixed state, because the default would draw from numpy's global generator.
    attack = SVC(C=C, gamma=gamma, kernel="rbf", cache_size=1000, random_state=0)
    attack.fit(x, y, sample_weight=weights)
    return torch.from_numpy(attack.predict(queries) == 1)


def _rows(name: str, group: Tensor) -> Floats:
    """One group as an array (N, F)."""
    if len(group) == 0:
        raise CounError(f"the attack has no {name} rows; expected at least one")
    rows = np.asarray(group, dtype=np.float64).reshape(len(group), -1)
    if not np.isfinite(rows).all():
        raise CounError(f"a {name} row's feature is not finite; expected finite numbers")
    return rows
