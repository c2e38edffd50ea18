"""KLOM: whether many unlearned models answer like many Retrains, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp, rel_entr

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats, labelled
from coun.metrics.registry import Metric

CLIP = 100.0  # margins beyond this are all the same certainty
FLOOR = 1e-5  # of Retrain's share of a bin, so that the divergence stays finite


def margins(logits: Values, labels: Values) -> Floats:
    """Compute the log-odds of the true class, ln p_y / (1 - p_y), (N,), clipped to +/-100.

    It is computed as logit_y - ln sum_{k != y} exp(logit_k), which does not suffer from the
    rounding of a probability near 1.

    Args: logits: (N, K); labels: (N,).

    >>> margins([[2.0, 0.0]], [0]).tolist()
    [2.0]
    """
    rows, truth = labelled(logits, labels)
    others = rows.copy()
    others[np.arange(len(rows)), truth] = -np.inf
    # The last bits differ from those of torch, with which `coun.attacks.signals` computes this.
    of_class = rows[np.arange(len(rows)), truth]
    odds: Floats = np.clip(of_class - logsumexp(others, axis=1), -CLIP, CLIP)
    return odds


def klom(unlearned: Values, retrained: Values, *, bins: int = 20) -> Floats:
    """Compute for each row KL(unlearned || Retrain) of its margins over runs, (N,), in nats.

    For each row both groups are counted into equal bins over their joint range. Shares of
    Retrain below 1e-5 are raised to it, and all are divided by their sum.

    Args:
        unlearned: margins (M, N) of M unlearned models.
        retrained: margins (R, N) of R Retrains.
        bins: their number.

    Returns: 0 is ideal.

    Source: Georgiev et al. 2024, "Attribute-to-Delete". Their counting drops the largest
        margin of a row, as it lies on the last edge; here it belongs to the last bin.

    Raises: CounError if the numbers of rows differ.

    >>> margins = np.array([[1.0, 1.0], [1.1, 1.1], [0.9, 0.9]])  # 3 models, 2 rows
    >>> klom(margins + [0.0, 5.0], margins).round(1).tolist()  # the second row stands out
    [0.0, 11.5]
    """
    groups = [np.clip(floats(x, "margins", 2), -CLIP, CLIP) for x in (unlearned, retrained)]
    sizes = [group.shape[1] for group in groups]
    if sizes[0] != sizes[1]:
        raise CounError(f"margins of {sizes[0]} and {sizes[1]} rows; expected the same rows")
    both = np.concatenate(groups)
    low, width = both.min(0), np.ptp(both, axis=0)
    scale = bins / np.where(width == 0, 1, width)
    p, q = (_shares((group - low) * scale, bins) for group in groups)
    q = np.maximum(q, FLOOR)
    nats: Floats = rel_entr(p, q / q.sum(1, keepdims=True)).sum(1)
    return nats


def _shares(places: Floats, bins: int) -> Floats:
    """The share of runs in each bin, (N, bins), for places (runs, N) in 0..bins."""
    runs, rows = places.shape
    cells = np.arange(rows) * bins + np.minimum(places.astype(np.int64), bins - 1)
    counts = np.bincount(cells.ravel(), minlength=rows * bins)
    shares: Floats = counts.reshape(rows, bins) / runs
    return shares


def mean_klom(unlearned: Sequence[Values], retrained: Sequence[Values], labels: Values) -> float:
    """Compute the mean of `klom` over rows, in nats, from the logits of several models.

    Args:
        unlearned: logits (N, K) of each of M unlearned models.
        retrained: logits (N, K) of each of R Retrains.
        labels: (N,).

    >>> logits = [[[1.0, 0.0]], [[2.0, 0.0]]]
    >>> round(mean_klom(logits, logits, [0]), 3)
    0.0
    """
    groups = (np.stack([margins(logits, labels) for logits in x]) for x in (unlearned, retrained))
    return float(klom(*groups).mean())


def log_odds_correlation(logits: Values, retrain: Values, labels: Values) -> float:
    """Compute the correlation over rows of two models' log-odds of the true class, -1..1.

    Args: logits, retrain: (N, K); labels: (N,).

    Returns: NaN where the log-odds of one model are all equal, as those of one row are.

    >>> logits = [[1.0, 0.0], [3.0, 0.0]]
    >>> round(log_odds_correlation(logits, logits, [0, 0]), 3)
    1.0
    """
    both = [margins(x, labels) for x in (logits, retrain)]
    if len(both[0]) < 2:
        return float("nan")
    with np.errstate(invalid="ignore"):
        table: Floats = np.corrcoef(both)
    return float(table[0, 1])


KLOM = Metric(
    "klom", "KLOM", "nats", mean_klom,
    ("runs.forget.logits", "retrain.runs.forget.logits", "forget.labels"),
    title="KL divergence of margins to Retrains", direction="lower", column=75,
)  # fmt: skip
LOG_ODDS_CORRELATION = Metric(
    "log_odds_correlation", "corr.", "", log_odds_correlation,
    ("forget.logits", "retrain.forget.logits", "forget.labels"),
    title="Correlation of log-odds with Retrain on forget rows", direction="higher",
    column=72, digits=3,
)  # fmt: skip
