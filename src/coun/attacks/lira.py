"""LiRA: is the attacked model more likely to have been trained with a row, or without it?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coun.attacks.gaussians import Bools, Centre, Floats, Gaussians
from coun.errors import CounError


def lira_online(
    target: Tensor,
    shadow: Tensor,
    member: Tensor,
    *,
    fixed_variance: bool = False,
    centre: Centre = "median",
) -> Tensor:
    """Score membership by shadow models that were trained with and without each row.

    The score is the log likelihood ratio ln N(phi; in) - ln N(phi; out).

    Args:
        target: phi (`scaled_logit`) under the model that is attacked, (N,), or (N, A) over A
            augmentations, whose scores are averaged.
        shadow: phi under M shadow models, (M, N) or (M, N, A).
        member: which rows each shadow model was trained on, (M, N) bool.
        fixed_variance: whether all rows share one standard deviation for each side, which
            is better with fewer than 64 models.
        centre: of each Gaussian; the authors' code takes the median, the paper the mean.

    Returns: scores (N,); a higher one means member.

    Raises: CounError if shapes disagree, or a row is in (or out of) fewer than 2 models,
        with a fixed variance fewer than 1.

    Source: Carlini et al. 2022, algorithm 1. Their code's fixed variance is that of the IN
        scores on both sides, and counts the differences between rows as spread; here each
        side has its own, about each row's centre.

    >>> shadow = torch.tensor([[3.0], [2.0], [-1.0], [0.0]])
    >>> member = torch.tensor([[True], [True], [False], [False]])
    >>> bool(lira_online(torch.tensor([2.5]), shadow, member) > 0)
    True
    """
    x, values, used = _arrays(target, shadow, member)
    inside = Gaussians.fit(values, used, centre=centre, pooled=fixed_variance)
    outside = Gaussians.fit(values, ~used, centre=centre, pooled=fixed_variance)
    return _mean(inside.log_density(x) - outside.log_density(x))


def lira_offline(
    target: Tensor,
    shadow: Tensor,
    member: Tensor,
    *,
    fixed_variance: bool = False,
    centre: Centre = "median",
    variant: Literal["one_sided", "two_sided"] = "one_sided",
) -> Tensor:
    """Score membership by how surprising phi is for models that never saw the row.

    The score is -ln Pr[Z > phi], where Z is the Gaussian of the OUT models: the paper's
    1 - Pr[Z > phi] in other units, which do not round to 1.

    Args:
        target, shadow, member, fixed_variance, centre: as for `lira_online`; IN models are not
            used.
        variant: "one_sided", or "two_sided" as in the authors' code, -ln N(phi; out), which
            also takes a phi that is much too *low* for that of a member.

    Returns: scores (N,); a higher one means member.

    Raises: CounError if shapes disagree, or a row is out of fewer than 2 models, with a
        fixed variance fewer than 1.

    Source: Carlini et al. 2022, equation 4.

    >>> shadow, member = torch.tensor([[-1.0], [0.0], [1.0]]), torch.zeros(3, 1, dtype=torch.bool)
    >>> low, high = (lira_offline(torch.tensor([x]), shadow, member) for x in (0.0, 3.0))
    >>> bool(low < high)
    True
    """
    x, values, used = _arrays(target, shadow, member)
    outside = Gaussians.fit(values, ~used, centre=centre, pooled=fixed_variance)
    return _mean(-(outside.log_tail(x) if variant == "one_sided" else outside.log_density(x)))


def _arrays(target: Tensor, shadow: Tensor, member: Tensor) -> tuple[Floats, Floats, Bools]:
    """The arguments as arrays, if their shapes agree."""
    if shadow.shape[1:] != target.shape or shadow.shape[:2] != member.shape:
        raise CounError(
            f"phi is {tuple(target.shape)}, under shadow models {tuple(shadow.shape)}, their "
            f"membership {tuple(member.shape)}; expected (N, ...), (M, N, ...) and (M, N)"
        )
    return target.double().numpy(), shadow.double().numpy(), member.bool().numpy()


def _mean(scores: Floats) -> Tensor:
    """The mean over augmentations, if there are any, (N,)."""
    return torch.from_numpy(np.asarray(scores.reshape(len(scores), -1).mean(1)))
