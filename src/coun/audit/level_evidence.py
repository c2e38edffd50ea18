"""Tests of levels: the model beside the Retrains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coun.audit.evidence import Evidence, FamilyInputs, Pending, relearned_copies
from coun.audit.levels import LevelTest, level_test
from coun.audit.power import rows_for_level
from coun.audit.rank_tests import Groups
from coun.audit.scores import MEANING, Subject, divergence
from coun.audit.top_rows import among_models, shared_with_neighbour, top_test
from coun.metrics.arrays import Floats, Ints

# Of the retained rows. Where most rows are forgotten, Retrains differ by whole regions of inputs:
# rows are then not independent, and true Retrains were accused in 3 of 24 audits.
FEW_LISTED = 0.25
# Of what sets Retrains apart on a row, shared by the row most like it. From here on rows are not
# compared one by one: where customers had eight versions of each row, true Retrains were accused in
# 8 of 50 audits, at values of 0.8 to 0.9; requests of other rows had 0 to 0.7.
SHARED = 0.7
LARGEST = float(np.log(2))  # Jensen-Shannon divergence of two answers, nats


def level_tests(
    inputs: FamilyInputs,
    part: str,
    slots: Ints,
    generator: np.random.Generator,
    *,
    alike: bool = False,
) -> list[Pending]:
    """The model's levels on the rows at *slots* beside the Retrains'.

    Args: alike: rows depend on each other, so that they are not compared one by one.
    """
    labels = inputs.unlearned[0].labels("forget").numpy()[slots]
    test_labels = inputs.unlearned[0].labels("test").numpy()
    usual = np.isin(test_labels, labels) & ~np.isin(test_labels, inputs.parts.classes)
    pending = []
    for name in inputs.names:
        model, exact = (_levels(group, name) for group in (inputs.unlearned, inputs.retrains))
        elsewhere = 0.0
        if len(inputs.retrains) == 1:
            weights = np.bincount(labels, minlength=test_labels.max() + 1)[test_labels] * usual
            gap = model[1].mean(0) - exact[1].mean(0)
            shift = float((weights * gap).sum() / weights.sum()) if weights.any() else 0.0
            elsewhere = min(abs(shift), 2 * inputs.margin)
        test = level_test(
            model[0].mean(0)[slots], exact[0][:, slots], margin=inputs.margin, elsewhere=elsewhere
        )
        remembered = inputs.memory.levels(name)
        pending.append(
            Pending(
                _level_evidence(f"level_{name}", MEANING[name], part, test, inputs.directed),
                rows_for_level(remembered[slots], test) if remembered is not None else None,
            )
        )
    copies = relearned_copies(inputs)
    if all(copies):
        right = [np.stack([c.right[slots] for c in group]) for group in copies]
        test = level_test(right[0].mean(0), right[1], margin=inputs.margin)
        about = MEANING["relearning"]
        evidence = _level_evidence("level_relearning", about, part, test, inputs.directed)
        pending.append(Pending(evidence))
    if len(inputs.retrains) > 1:
        pending.append(_distance_level(inputs, part, slots))
    few = len(slots) <= FEW_LISTED * len(inputs.unlearned[0].labels("retain"))
    if part == "listed" and inputs.directed and few and not alike:
        pending.append(_top_among_models(inputs, part, slots, generator))
    return pending


def rows_alike(inputs: FamilyInputs, slots: Ints) -> bool:
    """Do the Retrains differ on the rows at *slots* together, as on many pictures of a customer?"""
    scores = np.stack([s.scores["log_odds"].forget[slots] for s in inputs.retrains])
    features = [s.features("forget").flatten(1).double().numpy()[slots] for s in inputs.retrains]
    return shared_with_neighbour(scores, features) > SHARED


def _top_among_models(
    inputs: FamilyInputs, part: str, slots: Ints, generator: np.random.Generator
) -> Pending:
    """Are too many of the most extreme row scores of all models the audited model's?"""
    scores = [
        np.stack([_in_own_spread(s.scores["log_odds"], slots) for s in group])
        for group in (inputs.unlearned, inputs.retrains)
    ]
    strata, above = among_models(scores[0].mean(0), scores[1])
    test = top_test(strata, above, generator)
    about = f"this model's rows among the {test.size} most extreme of all models"
    excess = test.forgotten - test.expected
    return Pending(Evidence("top_rows", about, "rows", excess, test.p, "under", True, part))


def _in_own_spread(scores: Groups, slots: Ints) -> Floats:
    """Scores of the rows at *slots*, (N,), by the middle and the spread of the model's test rows.

    A model with a higher temperature is less sure of every row, right or wrong. In nats it would
    stand out on the rows that all models are wrong about, as if it remembered them.
    """
    middle = float(np.median(scores.test))
    values: Floats = (scores.forget[slots] - middle) / (np.abs(scores.test - middle).mean() or 1.0)
    return values


def _levels(group: Sequence[Subject], name: str) -> tuple[Floats, Floats]:
    """Levels in points of several models: forgotten rows (R, M) and test rows (R, O)."""
    forget, test = (np.stack(x) for x in zip(*(s.levels[name] for s in group), strict=True))
    return forget, test


def _level_evidence(
    name: str, meaning: str, part: str, test: LevelTest, directed: bool
) -> Evidence:
    return Evidence(
        name,
        f"{meaning}: level on the forgotten rows against the Retrains'",
        "points",
        test.difference,
        test.p,
        "under" if test.difference >= 0 else "over",
        directed,
        part,
        level=test,
    )


def _distance_level(inputs: FamilyInputs, part: str, slots: Ints) -> Pending:
    """Mean distance of each model to all others: every model has as many references."""
    count = len(inputs.retrains)
    pairs = np.zeros((count + 1, count + 1, len(slots)))
    for a in range(count + 1):
        for b in range(a):
            if a == count:
                rows = np.mean(
                    [divergence(u, inputs.retrains[b]).forget[slots] for u in inputs.unlearned], 0
                )
            else:
                rows = divergence(inputs.retrains[a], inputs.retrains[b]).forget[slots]
            pairs[a, b] = pairs[b, a] = rows
    values = pairs.sum(1) / count
    spread = 0.2 * float(values[:-1].mean())
    test = level_test(values[-1], values[:-1], margin=spread, unit=LARGEST, greater=True)
    about = "mean distance to the other models' answers on the forgotten rows"
    evidence = Evidence(
        "level_distance", about, "nats", test.difference, test.p, "away", False, part, level=test
    )
    return Pending(evidence)


def kept_test(inputs: FamilyInputs, part: str) -> Pending:
    """Is accuracy on *part* more than the margin below the Retrains'?

    Without this test a model that forgot everything would pass, because its forgotten rows look
    like test rows.
    """
    values = [
        -np.stack([100.0 * s.correct(part) for s in group])[:, _usual(inputs, part)]
        for group in (inputs.unlearned, inputs.retrains)
    ]
    test = level_test(
        values[0].mean(0), values[1], margin=inputs.margin, above=inputs.margin, greater=True
    )
    about = f"accuracy lost on {part} rows: more than {inputs.margin:g} points below the Retrains'"
    directed = inputs.directed or len(inputs.parts.listed) == 0
    evidence = Evidence(
        f"kept_{part}", about, "points", test.difference, test.p, "over", directed, "kept"
    )
    return Pending(replace(evidence, level=test))


def _usual(inputs: FamilyInputs, part: str) -> np.ndarray:
    """Rows of *part* whose class is not forgotten whole."""
    usual: np.ndarray = ~np.isin(inputs.unlearned[0].labels(part).numpy(), inputs.parts.classes)
    return usual
