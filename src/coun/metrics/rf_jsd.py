"""RF-JSD: whether forget rows are predicted as unseen rows of their classes; needs no Retrain."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import rel_entr

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, class_numbers, floats
from coun.metrics.divergence import js_divergence, probabilities
from coun.metrics.registry import Metric


def rf_jsd(
    forget_logits: Values,
    forget_labels: Values,
    test_logits: Values,
    test_labels: Values,
    definition: Literal["correct", "reference"] = "correct",
) -> float:
    """Compute the retrain-free Jensen-Shannon divergence (RF-JSD), in nats, 0..ln 2.

    For every class the mean prediction of the unlearned model for the forget rows is compared
    with the mean prediction of the model before unlearning for test rows; the result is the mean
    over the classes that both have. It is advice for where no Retrain can be had: means say
    nothing of single rows, and a Retrain has a value above 0 as well.

    Args:
        forget_logits, forget_labels: of the unlearned model on forget rows, (N, K) and (N,).
        test_logits, test_labels: of the model before unlearning on test rows, (M, K) and (M,).
        definition: "correct" as above; "reference" does what the authors' code does, KL(m||p) in
            the place of KL(p||m), and divides by the number of classes once more, so that its
            numbers are smaller.

    Raises: CounError if no class has both forget rows and test rows, and for another definition.

    Source: LoTUS (Spartalis et al., CVPR 2025). Its code also raises probabilities below 1e-8 to
        1e-8, which "reference" repeats.

    >>> round(rf_jsd([[9.0, 0.0]], [0], [[0.0, 9.0]], [0]), 2)
    0.69
    """
    forget = _class_means(forget_logits, forget_labels)
    test = _class_means(test_logits, test_labels)
    common = sorted(forget.keys() & test.keys())
    if not common:
        raise CounError("no class has both forget rows and test rows; expected one at least")
    p, q = (np.stack([means[c] for c in common]) for means in (forget, test))
    if definition == "correct":
        return js_divergence(p, q)
    if definition != "reference":
        raise CounError(f"RF-JSD definition {definition!r}; expected 'correct' or 'reference'")
    p, q = (np.maximum(x, 1e-8) for x in (p, q))
    p, q = p / p.sum(), q / q.sum()  # the whole table is one distribution
    middle = (p + q) / 2
    return float((rel_entr(middle, p) + rel_entr(middle, q)).sum() / 2 / len(common))


def _class_means(logits: Values, labels: Values) -> dict[int, Floats]:
    """The mean probabilities (K,) of the rows of each class that has some."""
    p = probabilities(floats(logits, "logits", 2))
    classes = class_numbers(labels, len(p), p.shape[1])
    return {int(c): p[classes == c].mean(0) for c in np.unique(classes)}


RF_JSD = Metric(
    "rf_jsd", "RF-JSD", "nats", rf_jsd,
    ("forget.logits", "forget.labels", "start.test.logits", "start.test.labels"),
    title="Forget rows against unseen rows of their classes (RF-JSD)",
    direction="lower", column=None, digits=3,
)  # fmt: skip
