"""LiRA: is phi of the model under attack likelier with the sample in training, or without?"""

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
    """Log likelihood ratio ln N(phi; in) - ln N(phi; out) of each sample, (N,); higher is member.

    Args:
        target: phi (`scaled_logit`) under the model that is attacked, (N,), or (N, A) over A
            augmentations, whose scores are averaged.
        shadow: phi under M shadow models, (M, N) or (M, N, A).
        member: which samples each shadow model was trained on, (M, N) bool.
        fixed_variance: one standard deviation a side for all samples; better below 64 models.
        centre: of each Gaussian; the authors' code takes the median, the paper the mean.

    Raises: CounError if shapes disagree, or a sample is in (or out of) fewer than 2 models,
        with a fixed variance fewer than 1.

    Source: Carlini et al. 2022, algorithm 1. Their code's fixed variance is that of the IN
        scores on both sides, and counts the differences between samples as spread; here each
        side has its own, about each sample's centre.
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
    """How surprising phi is for a model that never saw the sample, (N,); higher is member.

    -ln Pr[Z > phi], Z the Gaussian of the OUT models: the paper's 1 - Pr[Z > phi] in other
    units, which do not round to 1. Arguments as for `lira_online`; IN models are not used.

    Args:
        variant: "two_sided" is the authors' code, -ln N(phi; out), which takes a phi that is
            much too *low* for a member's as well.

    Raises: CounError if shapes disagree, or a sample is out of fewer than 2 models, with a
        fixed variance fewer than 1.

    Source: Carlini et al. 2022, equation 4.
    """
    x, values, used = _arrays(target, shadow, member)
    outside = Gaussians.fit(values, ~used, centre=centre, pooled=fixed_variance)
    return _mean(-(outside.log_tail(x) if variant == "one_sided" else outside.log_density(x)))


def _arrays(target: Tensor, shadow: Tensor, member: Tensor) -> tuple[Floats, Floats, Bools]:
    if shadow.shape[1:] != target.shape or shadow.shape[:2] != member.shape:
        raise CounError(
            f"phi is {tuple(target.shape)}, under shadow models {tuple(shadow.shape)}, their "
            f"membership {tuple(member.shape)}; expected (N, ...), (M, N, ...) and (M, N)"
        )
    return target.double().numpy(), shadow.double().numpy(), member.bool().numpy()


def _mean(scores: Floats) -> Tensor:
    """Over augmentations, if there are any."""
    return torch.from_numpy(np.asarray(scores.reshape(len(scores), -1).mean(1)))
