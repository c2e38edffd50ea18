"""How far predictions are from Retrain's: two sets of probabilities of the same inputs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import entr, rel_entr, softmax

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats, pair
from coun.metrics.registry import Metric


def probabilities(logits: Values) -> Floats:
    """Softmax of *logits* (N, K) in float64; float32 would saturate at 1."""
    found: Floats = softmax(floats(logits, "logits", 2), axis=1)
    return found


def entropy(p: Values) -> Floats:
    """-sum p ln p of each row of *p* (N, K), in nats, 0..ln K."""
    found: Floats = entr(_checked(floats(p, "probabilities", 2))).sum(1)
    return found


def kl_divergence(p: Values, q: Values) -> float:
    """KL(p || q): summed over classes, averaged over samples, in nats.

    To compare with Retrain, p is Retrain's (N, K). Infinite where q has no mass and p has.
    """
    p, q = _two(p, q)
    return float(rel_entr(p, q).sum(1).mean())


def js_divergence(p: Values, q: Values) -> float:
    """Jensen-Shannon: (KL(p||m) + KL(q||m)) / 2, m = (p+q)/2; nats, 0..ln 2, always finite.

    Summed over classes, averaged over samples (N, K).

    Source: Bad Teacher (Chundawat et al. 2023) defines it so; its code computes KL(m||p),
        which is infinite at p = 0, and divides by the number of classes as well.
    """
    return float(js_rows(p, q).mean())


def js_rows(p: Values, q: Values) -> Floats:
    """`js_divergence` of each sample, (N,)."""
    p, q = _two(p, q)
    # p ln(2p/(p+q)), without halving p+q: half of the smallest float is 0.
    found: Floats = (rel_entr(2 * p, p + q) + rel_entr(2 * q, p + q)).sum(1) / 4
    return found


def zero_retrain_forgetting(
    p: Values, untrained: Values, definition: Literal["correct", "reference"] = "correct"
) -> float:
    """ZRF: 1 - JS between a model's predictions on the forget set and an untrained net's.

    Args:
        p, untrained: probabilities (N, K).
        definition: "correct" takes JS in nats, so ZRF is 1 - ln 2 at the least. "reference"
            does as the authors' code: KL(m||.) over N * K, near 1 merely by the 1/K, and
            minus infinity where a probability is 0.

    Source: Bad Teacher, Chundawat et al. 2023.
    """
    if definition == "correct":
        return 1 - js_divergence(p, untrained)
    if definition != "reference":
        raise CounError(f"ZRF definition {definition!r}; expected 'correct' or 'reference'")
    p, q = _two(p, untrained)
    middle = (p + q) / 2
    return 1 - float((rel_entr(middle, p) + rel_entr(middle, q)).mean() / 2)


def activation_distance(p: Values, q: Values, norm: Literal["l2", "rms", "l1"] = "l2") -> float:
    """Distance between two models' probabilities (N, K) of the same inputs.

    Args: norm: "l2" is the mean over samples of |p - q|_2 (Bad Teacher, SSD); "rms" the root
        of the mean of its square (SUPREME); "l1" the mean of |p - q|_1 (Golatkar et al.).
    """
    p, q = _two(p, q)
    if norm == "l1":
        return float(np.abs(p - q).sum(1).mean())
    squares = ((p - q) ** 2).sum(1)
    if norm == "rms":
        return float(np.sqrt(squares.mean()))
    if norm != "l2":
        raise CounError(f"norm {norm!r}; expected 'l2', 'rms' or 'l1'")
    return float(np.sqrt(squares).mean())


def agreement(a: Values, b: Values) -> float:
    """Percent of inputs that two models give the same class; logits or probabilities (N, K).

    Also called completeness. Ties go to the lowest class.
    """
    first, second = pair(a, b, "predictions", 2)
    return 100.0 * float(np.mean(first.argmax(1) == second.argmax(1)))


def _two(p: Values, q: Values) -> tuple[Floats, Floats]:
    first, second = pair(p, q, "probabilities", 2)
    return _checked(first), _checked(second)


def _checked(p: Floats) -> Floats:
    """*p*, if its rows are distributions: logits given by mistake would yield nonsense."""
    if not (p.min() >= 0 and np.abs(p.sum(1) - 1).max() < 1e-4):
        raise CounError("rows that are no probabilities; expected `probabilities(logits)`")
    return p


def _js_of_logits(logits: Values, retrain: Values) -> float:
    return js_divergence(probabilities(logits), probabilities(retrain))


BOTH = ("forget.logits", "retrain.forget.logits")
ROW_AGREEMENT = Metric(
    "row_agreement", "rows", "%", agreement, BOTH,
    title="Forget rows with Retrain's prediction", direction="higher", aims_at=100.0, column=60,
)  # fmt: skip
JS_TO_RETRAIN = Metric(
    "js_to_retrain", "JS", "nats", _js_of_logits, BOTH,
    title="Jensen-Shannon divergence to Retrain on forget rows", direction="lower", aims_at=0.0,
    column=70, digits=3,
)  # fmt: skip
