"""U-LiRA: can unlearned models that saw a row be told from models that never did?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coun.attacks.gaussians import Centre, Gaussians
from coun.attacks.signals import scaled_logit
from coun.errors import CounError
from coun.metrics.registry import Metric

FEWEST = 3  # models on each side


def ulira_log_odds(
    phi: Tensor, saw: Tensor, used: Tensor | None = None, *, centre: Centre = "mean"
) -> Tensor:
    """Score for each model and row whether the model saw the row before unlearning it.

    The score is ln N(phi; unlearned) - ln N(phi; never saw). Its Gaussians are fitted without
    the model that is scored, and without one model of the other side as well: if that side were
    complete, its better estimate alone would attract the answers, and a perfect unlearner would
    not get 50%.

    Args:
        phi: `scaled_logit` of N rows under M unlearned models, (M, N).
        saw: True where the model was trained on the row and unlearned it, False where it
            never saw it (and unlearned others, by the same procedure), (M, N) bool.
        used: False where a model belongs to neither side, for example because it still retains
            the row, (M, N) bool; its score is NaN.
        centre: of each Gaussian, "mean" or "median".

    Returns: log odds (M, N), float64; above 0 means that the model saw the row.

    Raises: CounError if shapes disagree, or a row has fewer than 3 models on a side.

    Source: Hayes et al. 2024 (as DeepUnlearn, Cadet et al. 2024, describe it). DeepUnlearn's
        scorer fits correctness instead of phi, scores only forgotten cases, and those it was
        fitted on.

    >>> saw = torch.tensor([[True]] * 4 + [[False]] * 4)  # 8 models, one row
    >>> phi = torch.tensor([[3.0], [3.2], [2.9], [3.1], [1.0], [1.2], [0.9], [1.1]])
    >>> (ulira_log_odds(phi, saw) > 0).flatten().tolist()
    [True, True, True, True, False, False, False, False]
    """
    if phi.ndim != 2 or saw.shape != phi.shape or (used is not None and used.shape != phi.shape):
        raise CounError(f"phi is {tuple(phi.shape)}; expected (M, N), and the masks as well")
    x, seen = phi.double().numpy(), saw.bool().numpy()
    counted = np.ones_like(seen) if used is None else used.bool().numpy()
    sides = (counted & seen, counted & ~seen)
    fewest = min(int(side.sum(0).min()) for side in sides)
    if fewest < FEWEST:
        raise CounError(
            f"a row has {fewest} models on one side; expected at least {FEWEST} on each"
        )
    # Models are numbered within their side; two with the same number are left out together.
    number = np.where(seen, sides[0].cumsum(0), sides[1].cumsum(0))
    odds = np.full(x.shape, np.nan)
    for m in range(len(x)):
        others = number != number[m]
        fits = [Gaussians.fit(x, side & others, centre=centre) for side in sides]
        odds[m] = fits[0].log_density(x[m]) - fits[1].log_density(x[m])
    odds[~counted] = np.nan
    return torch.from_numpy(odds)


def ulira_accuracy(log_odds: Tensor, saw: Tensor) -> float:
    """Measure the percentage of right answers to `ulira_log_odds`; 50 is ideal.

    It is the mean over both sides. NaN scores are left out; log odds of exactly 0 count half.

    Args: log_odds, saw: (M, N).

    >>> saw = torch.tensor([[True], [False]])
    >>> ulira_accuracy(torch.tensor([[1.0], [-2.0]]), saw)
    100.0
    """
    scored = ~log_odds.isnan()
    yes = 0.5 * (log_odds.sign() + 1)
    right = torch.where(saw, yes, 1 - yes)
    return 50.0 * float(right[scored & saw].mean() + right[scored & ~saw].mean())


def _accuracy_of_runs(
    unlearned: Sequence[Tensor], retrained: Sequence[Tensor], labels: Tensor
) -> float | None:
    """U-LiRA's accuracy from logits (N, K) of several runs of one request and of its Retrains."""
    if min(len(unlearned), len(retrained)) < FEWEST:
        return None
    phi = torch.stack([scaled_logit(logits, labels) for logits in (*unlearned, *retrained)])
    saw = torch.zeros(phi.shape, dtype=torch.bool)
    saw[: len(unlearned)] = True
    return ulira_accuracy(ulira_log_odds(phi, saw), saw)


ULIRA = Metric(
    "ulira_accuracy", "U-LiRA", "%", _accuracy_of_runs,
    ("runs.forget.logits", "retrain.runs.forget.logits", "forget.labels"),
    title="U-LiRA accuracy", direction="lower", column=77,
)  # fmt: skip
