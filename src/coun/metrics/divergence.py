"""How far predictions are from Retrain's, for the same inputs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import rel_entr, softmax

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats, pair
from coun.metrics.registry import Metric


def probabilities(logits: Values) -> Floats:
    """Compute the softmax of *logits* (N, K) in float64, because float32 rounds to 1 too early.

    >>> probabilities([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """
    p: Floats = softmax(floats(logits, "logits", 2), axis=1)
    return p


def kl_divergence(p: Values, q: Values) -> float:
    """Compute KL(p || q), summed over classes and averaged over rows, in nats.

    Args: p, q: probabilities (N, K); to compare a model with Retrain, p is Retrain's.

    Returns: 0 for equal predictions; infinite where q is 0 and p is not.

    >>> kl_divergence([[1.0, 0.0]], [[0.5, 0.5]])
    0.6931471805599453
    """
    p, q = _two(p, q)
    return float(rel_entr(p, q).sum(1).mean())


def js_divergence(p: Values, q: Values) -> float:
    """Compute the Jensen-Shannon divergence, averaged over rows, in nats.

    It is (KL(p||m) + KL(q||m)) / 2 with m = (p + q) / 2, summed over classes.

    Args: p, q: probabilities (N, K).

    Returns: 0..ln 2, always finite.

    Source: Bad Teacher (Chundawat et al. 2023) defines it so; its code computes KL(m||p),
        which is infinite at p = 0, and divides by the number of classes as well.

    >>> js_divergence([[1.0, 0.0]], [[1.0, 0.0]])
    0.0
    """
    return float(js_rows(p, q).mean())


def js_rows(p: Values, q: Values) -> Floats:
    """Compute `js_divergence` for each row, (N,), in nats.

    Args: p, q: probabilities (N, K).

    >>> p, q = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    >>> js_rows(p, q).round(3).tolist()  # ln 2 is the largest value
    [0.693, 0.0]
    """
    p, q = _two(p, q)
    # p ln(2p/(p+q)), without halving p+q: half of the smallest float is 0.
    nats: Floats = (rel_entr(2 * p, p + q) + rel_entr(2 * q, p + q)).sum(1) / 4
    return nats


def zero_retrain_forgetting(
    p: Values, untrained: Values, definition: Literal["correct", "reference"] = "correct"
) -> float:
    """Compute zero-retrain forgetting (ZRF): 1 - JS between a model and an untrained network.

    Args:
        p: the model's probabilities on the forget rows, (N, K).
        untrained: those of a network with random weights, (N, K).
        definition: "correct" computes JS in nats, so that ZRF is at least 1 - ln 2.
            "reference" does what the authors' code does, KL(m||.) divided by N * K, which is
            near 1 merely because of the 1/K, and minus infinity where a probability is 0.

    Source: Bad Teacher, Chundawat et al. 2023.

    >>> zero_retrain_forgetting([[0.5, 0.5]], [[0.5, 0.5]])
    1.0
    """
    if definition == "correct":
        return 1 - js_divergence(p, untrained)
    if definition != "reference":
        raise CounError(f"ZRF definition {definition!r}; expected 'correct' or 'reference'")
    p, q = _two(p, untrained)
    middle = (p + q) / 2
    return 1 - float((rel_entr(middle, p) + rel_entr(middle, q)).mean() / 2)


def activation_distance(p: Values, q: Values, norm: Literal["l2", "rms", "l1"] = "l2") -> float:
    """Compute the distance between two models' probabilities for the same inputs.

    Args:
        p, q: (N, K).
        norm: "l2" is the mean over rows of |p - q|_2 (Bad Teacher, SSD), "rms" the root
            of the mean of its square (SUPREME), "l1" the mean of |p - q|_1 (Golatkar et al.).

    >>> activation_distance([[1.0, 0.0]], [[0.0, 1.0]], norm="l1")
    2.0
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
    """Compute the percentage of inputs for which two models predict the same class.

    It is also called completeness. Ties go to the lowest class.

    Args: a, b: logits or probabilities, (N, K).

    >>> agreement([[1.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [2.0, 1.0]])
    50.0
    """
    first, second = pair(a, b, "predictions", 2)
    return 100.0 * float(np.mean(first.argmax(1) == second.argmax(1)))


def _two(p: Values, q: Values) -> tuple[Floats, Floats]:
    first, second = pair(p, q, "probabilities", 2)
    return _checked(first), _checked(second)


def _checked(p: Floats) -> Floats:
    """*p*, if its rows are distributions: logits given by mistake must not pass unnoticed."""
    if not (p.min() >= 0 and np.abs(p.sum(1) - 1).max() < 1e-4):
        raise CounError("rows do not sum to 1; expected probabilities, as `probabilities(logits)`")
    return p


def _js_of_logits(logits: Values, retrain: Values) -> float:
    return js_divergence(probabilities(logits), probabilities(retrain))


BOTH = ("forget.logits", "retrain.forget.logits")
ROW_AGREEMENT = Metric(
    "row_agreement", "agreement", "%", agreement, BOTH,
    title="Forget rows with Retrain's prediction", direction="higher", column=60,
)  # fmt: skip
KL_TO_RETRAIN = Metric(
    "kl_to_retrain", "KL", "nats",
    lambda _, model, retrain: kl_divergence(probabilities(retrain), probabilities(model)),
    ("on_request", *BOTH), title="KL divergence from Retrain on forget rows", direction="lower",
    column=None, digits=3,
)  # fmt: skip
JS_TO_RETRAIN = Metric(
    "js_to_retrain", "JS", "nats", _js_of_logits, BOTH,
    title="Jensen-Shannon divergence to Retrain on forget rows", direction="lower",
    column=70, digits=3,
)  # fmt: skip
