"""U-LiRA: can unlearned models that saw a sample be told from models that never did?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coun.attacks.gaussians import Centre, Gaussians
from coun.errors import CounError


def ulira_log_odds(
    phi: Tensor, saw: Tensor, used: Tensor | None = None, *, centre: Centre = "mean"
) -> Tensor:
    """ln N(phi; unlearned) - ln N(phi; never saw) of each held-out model and sample, (M, N).

    Every score comes from Gaussians that were fitted without its own model, and without one
    model of the other side, so that both rest on as many and a perfect unlearner gets 50 %:
    with the other side whole, its better estimate alone would draw the answers to it.

    Args:
        phi: `scaled_logit` of N samples under M unlearned models, (M, N).
        saw: True where the model was trained on the sample and unlearned it, False where it
            never saw it (and unlearned others, by the same procedure), (M, N) bool.
        used: False where a model is neither, e.g. still retains the sample; its score is NaN.

    Returns: log odds, float64; p = sigmoid of them; above 0 means "was a member".

    Raises: CounError if shapes disagree, or a sample has fewer than 3 models on a side.

    Source: Hayes et al. 2024 (as DeepUnlearn, Cadet et al. 2024, describe it). DeepUnlearn's
        scorer fits correctness instead of phi, scores only forgotten cases, and those it was
        fitted on.
    """
    if phi.ndim != 2 or saw.shape != phi.shape or (used is not None and used.shape != phi.shape):
        raise CounError(f"phi is {tuple(phi.shape)}; expected (M, N), and the masks as well")
    x, seen = phi.double().numpy(), saw.bool().numpy()
    known = np.ones_like(seen) if used is None else used.bool().numpy()
    sides = (known & seen, known & ~seen)
    fewest = min(int(side.sum(0).min()) for side in sides)
    if fewest < 3:
        raise CounError(f"a sample has {fewest} models on one side; expected at least 3 on each")
    # The how-manieth of its side each model is; those of one number are left out together.
    place = np.where(seen, sides[0].cumsum(0), sides[1].cumsum(0))
    odds = np.full(x.shape, np.nan)
    for m in range(len(x)):
        kept = place != place[m]
        fits = [Gaussians.fit(x, side & kept, centre=centre) for side in sides]
        odds[m] = fits[0].log_density(x[m]) - fits[1].log_density(x[m])
    odds[~known] = np.nan
    return torch.from_numpy(odds)


def ulira_accuracy(log_odds: Tensor, saw: Tensor) -> float:
    """Percent of right answers to `ulira_log_odds`, the mean of both sides'; 50 is ideal.

    NaN scores are left out; odds of exactly one count half.
    """
    known = ~log_odds.isnan()
    yes = 0.5 * (log_odds.sign() + 1)
    right = torch.where(saw, yes, 1 - yes)
    return 50.0 * float(right[known & saw].mean() + right[known & ~saw].mean())
