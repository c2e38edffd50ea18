"""RMIA: does the model raise the probability of a row more than it raises those of others?"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from coun.errors import CounError


def rmia_ratio(
    target: Tensor,
    shadow: Tensor,
    member: Tensor,
    *,
    a: float = 0.3,
    variant: Literal["correct", "reference"] = "correct",
) -> Tensor:
    """Compare the attacked model's probability of each row with that over all models.

    It is p(x) / P(x), where P(x) = ((1 + a) * mean of p over OUT models + 1 - a) / 2.

    Args:
        target: probability of the true class under the model that is attacked, (N,).
        shadow: the same under M shadow models, (M, N).
        member: which rows each shadow model was trained on, (M, N) bool.
        a: how IN models relate to OUT models, 0..1; the authors tune it on a pair of shadow
            models.
        variant: "correct", or "reference" to repeat the authors' code, which averages the K
            largest values of M = 2K models, where IN values count as 0. Of rows in K models
            these are the OUT values. Of population rows, which are in no model, they are the
            larger half of the OUT values: their ratios are too small, and the scores of all
            rows too high.

    Returns: ratios (N,), for `rmia_score`.

    Raises: CounError if shapes disagree, a is out of range, or a row is in every model.

    Source: Zarifzadeh et al. 2024 (RMIA), offline; its code ml_privacy_meter. Here OUT values
        are taken by index.

    >>> shadow, member = torch.tensor([[0.5], [0.7]]), torch.zeros(2, 1, dtype=torch.bool)
    >>> round(float(rmia_ratio(torch.tensor([0.9]), shadow, member)), 3)
    1.216
    """
    if shadow.shape[1:] != target.shape or shadow.shape != member.shape:
        raise CounError(
            f"p is {tuple(target.shape)}, under shadow models {tuple(shadow.shape)}, their "
            f"membership {tuple(member.shape)}; expected (N,), (M, N) and (M, N)"
        )
    if not 0 <= a <= 1:
        raise CounError(f"a is {a}; expected 0..1")
    out = ~member.bool()
    if not bool(out.any(0).all()):
        raise CounError("a row is in every shadow model; expected at least one without it")
    if variant == "reference":
        mean = _mean_of_largest(shadow.double(), out, a)
    else:
        mean = shadow.double().where(out, 0.0).sum(0) / out.sum(0)
    return target.double() / (((1 + a) * mean + 1 - a) / 2)


def _mean_of_largest(p: Tensor, out: Tensor, a: float) -> Tensor:
    """What ml_privacy_meter takes for the mean over OUT models, (N,)."""
    count = max(len(p) // 2, 1)
    if count > 1:
        return p.where(out, 0.0).sort(0, descending=True).values[:count].mean(0)
    # With two or three models it estimates the OUT value of an IN model instead.
    estimated = (p + a - 1) / a if a else (p - 0.7) / 0.3
    return p.where(out, estimated).mean(0)


def rmia_score(rows: Tensor, population: Tensor, *, gamma: float = 1.0) -> Tensor:
    """Score membership by the share of a population whose ratios are clearly smaller.

    Args:
        rows: `rmia_ratio` of the rows, (N,).
        population: `rmia_ratio` of rows from the same distribution that the attacked model
            was not trained on, (Z,).
        gamma: a row z of the population counts where ratio(x) / ratio(z) > gamma.

    Returns: shares (N,), 0..1; a higher one means member.

    Raises: CounError if the population is empty.

    >>> rmia_score(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 2.0])).tolist()
    [0.5, 1.0]
    """
    if len(population) == 0:
        raise CounError("the population is empty; expected at least one row")
    below = torch.searchsorted((gamma * population.double()).sort().values, rows.double())
    return below.double() / len(population)
