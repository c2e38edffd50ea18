"""How large a share of the forgotten rows a model still treats as rows it was trained on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coun.attacks import scaled_logit
from coun.runs import Predictions

LEAST_SEPARATION = 0.02  # of members and non-members, below which memory cannot be measured
CONFIDENCE = 1.645  # standard errors of a 90% interval


class Remembered(NamedTuple):
    """The share of forgotten rows that a model treats as rows it was trained on.

    Attributes:
        share: an estimate; *low* and *high* are its 90% interval; all are cut to 0..1.
        harder: whether the whole interval lay below 0. The forgotten rows are then harder than test
            rows, by nature or because the model forgot too much, and this hides what it remembers.
    """

    share: float
    low: float
    high: float
    harder: bool = False


def remembered_share(predictions: Predictions) -> Remembered | None:
    """Estimate the share of forgotten rows that the model treats as rows it was trained on.

    One threshold on the log-odds of the true class separates retained rows from test rows best.
    With f, r and t the shares of forgotten, retained and test rows above it, the forgotten rows
    look like a mixture of (f - t) / (r - t) trained rows and other rows. Retained and test rows
    are those of the forgotten rows' classes where there are such rows.

    Rows that are by nature easier or harder than the test rows shift the estimate.

    Test rows of a class that is forgotten whole are no example of a class that the model never
    saw, because it knows them as well as the forgotten ones. Of such a class, the rows that are
    still given its name count as remembered.

    Returns: the estimate; None without forgotten rows, or if the model treats retained and test
        rows too much alike for any memory to show.
    """
    if "forget" not in predictions.labels:
        return None
    labels = predictions.labels["forget"]
    whole = ~torch.isin(labels, predictions.labels["retain"])
    named = (predictions.outputs["forget"].logits.argmax(1) == labels)[whole].double()
    found = []
    if len(named):
        value = float(named.mean())
        found.append((len(named), value, _error(value, len(named))))
    if len(named) < len(labels):
        mixture = _mixture(predictions, ~whole)
        if mixture is None:
            return None
        found.append((len(labels) - len(named), *mixture))
    share = sum(count * value for count, value, _ in found) / len(labels)
    error = math.hypot(*(count * error for count, _, error in found)) / len(labels)
    low, high = share - CONFIDENCE * error, share + CONFIDENCE * error
    cut = [min(1.0, max(0.0, value)) for value in (share, low, high)]
    return Remembered(cut[0], cut[1], cut[2], harder=high < 0)


def _mixture(predictions: Predictions, among: Tensor) -> tuple[float, float] | None:
    """The share for the forgotten rows *among* which to look, (N,) bool, and its error."""
    scores = {
        part: scaled_logit(predictions.outputs[part].logits, labels)
        for part, labels in predictions.labels.items()
    }
    forgotten = predictions.labels["forget"][among].unique()  # type: ignore[no-untyped-call]
    for part in ("retain", "test"):
        same = torch.isin(predictions.labels[part], forgotten)
        if bool(same.any()):
            scores[part] = scores[part][same]
    retain, test, forget = scores["retain"], scores["test"], scores["forget"][among]
    limits = torch.cat([retain, test]).unique()  # type: ignore[no-untyped-call]
    above = [_share_above(part, limits) for part in (retain, test)]
    best = int((above[0] - above[1]).argmax())
    r, t = float(above[0][best]), float(above[1][best])
    if r - t < LEAST_SEPARATION:
        return None
    f = float((forget >= limits[best]).double().mean())
    error = math.hypot(_error(f, len(forget)), _error(t, len(test))) / (r - t)
    return (f - t) / (r - t), error


def _error(share: float, count: int) -> float:
    """The standard error of a share; also of 0 and of 1, which few rows do not prove."""
    smoothed = (share * count + 1) / (count + 2)
    return math.sqrt(smoothed * (1 - smoothed) / count)


def _share_above(scores: Tensor, limits: Tensor) -> Tensor:
    """The share of *scores* that are at least each of the sorted *limits*."""
    below = torch.searchsorted(scores.sort().values, limits)
    return 1 - below.double() / len(scores)
