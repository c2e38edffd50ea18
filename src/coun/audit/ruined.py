"""Models that answer so few rows rightly that their levels say nothing about memory.

A constant answer is right for each row of its class, and uniform answers are surer of a class
that nobody was to know than a Retrain is. Neither is memory. Nor is a Retrain whose outputs are in
another order than the classes of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binom

from coun.audit.evidence import Evidence, FamilyInputs
from coun.audit.scores import Subject

LEFT = 0.5  # of the Retrains' accuracy on kept test rows
OF_LEVELS = ("level_", "answers", "top_rows")  # the other tests compare rows within one model


def is_ruined(inputs: FamilyInputs) -> bool:
    """Tell whether the models answer hardly any kept test rows rightly.

    That is: fewer than half as many as the Retrains, or no more than one answer to everything
    could by chance, at 1%. The latter counts in few classes, of which one answer fits many rows.
    """
    model = _kept(inputs.unlearned, inputs)
    if inputs.retrains and model < LEFT * _kept(inputs.retrains, inputs):
        return True
    labels = inputs.unlearned[0].labels("test").numpy()
    rows = np.bincount(labels[~np.isin(labels, inputs.parts.classes)])
    count, most = int(rows.sum()), int(rows.max(initial=0))
    return most < count and model * count <= binom.isf(0.01, count, most / count)


def without_direction(inputs: FamilyInputs, test: Evidence) -> Evidence:
    """*test* of ruined models without its direction, unless they know the rows by name.

    They do if they name more of the forgotten rows rightly than of any other class the same way,
    and this difference is larger than the Retrains' by more than the margin.
    """
    if test.direction != "under" or not test.name.startswith(OF_LEVELS):
        return test
    parts = inputs.parts  # where test rows differ by nature, all rows are listed ones
    listed = test.part == "listed" or not len(parts.exchangeable)
    slots = parts.listed if listed else parts.exchangeable
    model, exact = (
        np.mean([_informed(subject, slots) for subject in group])
        for group in (inputs.unlearned, inputs.retrains)
    )
    return replace(test, directed=test.directed and bool(model > exact + inputs.margin / 100))


def _kept(group: Sequence[Subject], inputs: FamilyInputs) -> float:
    """Mean share of right answers on test rows of classes that are not forgotten whole."""
    labels = group[0].labels("test").numpy()
    usual = ~np.isin(labels, inputs.parts.classes)
    right = [s.logits("test").argmax(1).numpy()[usual] == labels[usual] for s in group]
    return float(np.mean(right)) if usual.any() else 0.0


def _informed(subject: Subject, slots: np.ndarray) -> float:
    """The share of right answers on forgotten rows, less the largest that a wrong class gets.

    The latter is, for each name, the share of the test rows of one other class with this name.
    """
    labels = subject.labels("forget").numpy()[slots]
    right = subject.logits("forget").argmax(1).numpy()[slots] == labels
    answers, truth = subject.logits("test").argmax(1).numpy(), subject.labels("test").numpy()
    wrongly = {
        name: max((np.mean(answers[truth == k] == name) for k in {*truth} - {name}), default=0.0)
        for name in {*labels}
    }
    return float(np.mean(right) - np.mean([wrongly[name] for name in labels]))
