"""KLOM: do many unlearned models answer as many Retrains do, sample by sample?"""

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
    """logit_y - ln sum_{k != y} exp(logit_k) of logits (N, K), labels (N,); clipped to +/-100.

    This is ln p_y/(1-p_y), without the rounding that a probability near 1 suffers.
    """
    rows, known = labelled(logits, labels)
    others = rows.copy()
    others[np.arange(len(rows)), known] = -np.inf
    own = rows[np.arange(len(rows)), known]
    found: Floats = np.clip(own - logsumexp(others, axis=1), -CLIP, CLIP)
    return found


def klom(unlearned: Values, retrained: Values, *, bins: int = 20) -> Floats:
    """KL(unlearned || Retrain) of each sample's margins over runs, in nats, (N,); 0 is ideal.

    Args: unlearned: margins (M, N) of M unlearned models; retrained: (R, N) of R Retrains.

    For each sample both groups are counted into *bins* equal bins over their joint range;
    shares of Retrain below 1e-5 are raised to it and all are divided by their sum.

    Source: Georgiev et al. 2024, "Attribute-to-Delete". Their counting drops the largest
        margin of a sample, as it lies on the last edge; here it belongs to the last bin.

    Raises: CounError if the numbers of samples differ.
    """
    mine, theirs = (np.clip(floats(x, "margins", 2), -CLIP, CLIP) for x in (unlearned, retrained))
    if mine.shape[1] != theirs.shape[1]:
        raise CounError(
            f"margins of {mine.shape[1]} and {theirs.shape[1]} samples; expected the same samples"
        )
    both = np.concatenate([mine, theirs])
    low, width = both.min(0), np.ptp(both, axis=0)
    scale = bins / np.where(width == 0, 1, width)
    p, q = (_shares((group - low) * scale, bins) for group in (mine, theirs))
    q = np.maximum(q, FLOOR)
    found: Floats = rel_entr(p, q / q.sum(1, keepdims=True)).sum(1)
    return found


def _shares(places: Floats, bins: int) -> Floats:
    """Share of the runs in each bin, (N, bins), for places (runs, N) in 0..bins."""
    runs, samples = places.shape
    cells = np.arange(samples) * bins + np.minimum(places.astype(np.int64), bins - 1)
    counts = np.bincount(cells.ravel(), minlength=samples * bins)
    found: Floats = counts.reshape(samples, bins) / runs
    return found


def mean_klom(unlearned: Sequence[Values], retrained: Sequence[Values], labels: Values) -> float:
    """Return the mean of `klom` over samples, in nats, of logits of many models.

    Args:
        unlearned: logits (N, K) of each of M unlearned models.
        retrained: logits (N, K) of each of R Retrains.
        labels: (N,).
    """
    groups = (np.stack([margins(logits, labels) for logits in x]) for x in (unlearned, retrained))
    return float(klom(*groups).mean())


def log_odds_correlation(logits: Values, retrain: Values, labels: Values) -> float:
    """Return the correlation over samples of two models' log-odds of the true class, -1..1.

    Args: logits, retrain: (N, K); labels: (N,). NaN where one model's log-odds are all equal.
    """
    both = [margins(x, labels) for x in (logits, retrain)]
    with np.errstate(invalid="ignore"):
        table: Floats = np.corrcoef(both)
    return float(table[0, 1])


KLOM = Metric(
    "klom", "KLOM", "nats", mean_klom,
    ("runs.forget.logits", "retrain.runs.forget.logits", "forget.labels"),
    title="KL divergence of margins to Retrains", direction="lower", aims_at=0.0, column=75,
)  # fmt: skip
LOG_ODDS_CORRELATION = Metric(
    "log_odds_correlation", "corr.", "", log_odds_correlation,
    ("forget.logits", "retrain.forget.logits", "forget.labels"),
    title="Correlation of log-odds with Retrain on forget rows", direction="higher", aims_at=1.0,
    column=None, digits=3,
)  # fmt: skip
